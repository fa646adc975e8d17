"""How time and memory grow, for benchmark.py: rows, hidden units, photos and their pixels, and whether several processes would pay.

Each size runs in an interpreter of its own (alone()), since the most memory that a process has held never goes down again.
"""
import json, os, shutil, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

import benchmark_peers, datasets, experiment, nn, q4, run_q3, run_q6

ROWS, QUICK_ROWS = (10_000, 100_000, 1_000_000), (500, 1000)
HIDDEN, QUICK_HIDDEN = (64, 256, 1024), (64, 16)
PHOTOS, QUICK_PHOTOS = (1, 2, 4, 8), (1, 2)
MEGAPIXELS, QUICK_MEGAPIXELS = (0.1, 0.5, 2, 10, 50), (0.1, 0.4)
BATCH = 128
BANDWIDTH, LATENCY = 1e9, 1e-4      # assumed between processes: bytes a second (10 Gbit Ethernet, or one machine's memory, with overhead), seconds a message


# ---------------------------------------------------------------- one size, in a process of its own

def peak_memory():
    """The most memory this process has held, in MB. On Linux getrusage would count what the parent held when it started us."""
    try:
        status = Path('/proc/self/status').read_text()
        return int(status.partition('VmHWM:')[2].split()[0]) / 1024
    except (OSError, ValueError, IndexError):
        return run_q6.peak_memory()


def measured(work, held=0):
    """Seconds that work() takes, and the MB it needs beyond what the process held before and beyond `held` MB of data mapped from a file."""
    before, started = peak_memory(), time.perf_counter()
    work()
    return {'seconds': time.perf_counter() - started, 'beyond_mb': peak_memory() - before - held}


def stream(folder, rows, hidden):
    """Train for an epoch on the first rows of a memory-mapped file of bytes; only the batch at hand becomes numbers."""
    x, labels = (np.asarray(np.load(Path(folder) / f'{name}.npy', mmap_mode='r'))[:rows] for name in ('pixels', 'labels'))
    params, one_hot, scale = benchmark_peers.new_params(hidden, np.float32), np.eye(36, dtype=np.float32), np.float32(1 / 255)
    batches = ((xb * scale, one_hot[yb]) for xb, yb in nn.shuffled_batches(x, labels, BATCH, np.random.default_rng(0)))
    mapped = x.nbytes / 2**20
    return measured(lambda: nn.train_epoch(batches, params, benchmark_peers.LAYERS, benchmark_peers.RATE / BATCH), mapped) | {'data_mb': mapped}


def find_letters(path, megapixels):
    """findLetters on a picture enlarged or reduced to so many million pixels, float32 RGB."""
    page = datasets.load_photo(path).astype(np.float32)
    factor = (megapixels * 1e6 / (page.shape[0] * page.shape[1])) ** 0.5
    image, found = q4.resize_nearest(page, [round(factor * side) for side in page.shape[:2]]), []
    return measured(lambda: found.extend(q4.findLetters(image)[0])) | {'data_mb': image.nbytes / 2**20, 'boxes': len(found)}


def read_pages(paths):
    """Read pages one after the other, with untrained weights, which take the same time."""
    classify = q4.numpy_classifier(run_q3.new_network(0))
    return measured(lambda: [q4.read(datasets.load_photo(path), classify) for path in paths])


def alone(function, *args):
    """What a function of this file returns in a fresh interpreter, with one thread for numpy's products."""
    code = f'import json, sys; sys.path.insert(0, {str(experiment.CODE)!r}); import benchmark_growth; print(json.dumps(benchmark_growth.{function}(*{args!r})))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env={**os.environ, 'OPENBLAS_NUM_THREADS': '1'})
    if done.returncode:
        raise RuntimeError(f'{function}{args} failed:\n{done.stderr}')
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(function, sizes, repetitions):
    """function alone for each of sizes {name: arguments}, all in turns; {name: its results, medians}."""
    results = {name: [] for name in sizes}
    for _ in range(repetitions):
        for name, args in sizes.items():
            results[name].append(alone(function, *args))
    return {name: {key: float(np.median([r[key] for r in each])) for key in each[0]} for name, each in results.items()}


# ---------------------------------------------------------------- the parts

def write_rows(folder, characters, rows):
    """pixels.npy (rows, 1024) and labels.npy (rows,), bytes, in folder: characters again and again."""
    x, labels = (255 * characters.x).clip(0, 255).astype(np.uint8), characters.labels.astype(np.uint8)
    pixels = np.lib.format.open_memmap(folder / 'pixels.npy', 'w+', np.uint8, (rows, x.shape[1]))
    for start in range(0, rows, len(x)):
        pixels[start:start + len(x)] = x[:rows - start]
    np.save(folder / 'labels.npy', np.resize(labels, rows))


def training(characters, quick, repetitions):
    """An epoch by number of rows (64 hidden units) and by hidden units (the fewest rows)."""
    rows, hidden = (QUICK_ROWS, QUICK_HIDDEN) if quick else (ROWS, HIDDEN)
    with tempfile.TemporaryDirectory(prefix='benchmark-') as folder:
        room = shutil.disk_usage(folder).free
        possible = [n for n in rows if 1.2 * 1025 * n < room]
        if len(possible) < len(rows):
            print(f'growth: {folder} has no room for {rows[-1]} rows, {1025 * rows[-1] / 1e9:.2g} GB; left out (TMPDIR names another folder)')
        if not possible:
            return {}
        write_rows(Path(folder), characters, possible[-1])
        found = in_turns('stream', {(n, h): (folder, n, h) for n, h in [(n, HIDDEN[0]) for n in possible] + [(rows[0], h) for h in hidden if h != HIDDEN[0]]},
                         repetitions)
    experiment.table([[n, h, r['seconds'], 1e6 * r['seconds'] / n, r['data_mb'], r['beyond_mb']] for (n, h), r in found.items()],
                     ['rows', 'hidden units', 'seconds an epoch', 'microseconds a row', 'MB of data, mapped', 'MB beyond'])
    by_rows = {n: r for (n, h), r in found.items() if h == HIDDEN[0]}
    return {'rows': by_rows, 'hidden': {h: r for (n, h), r in found.items() if n == rows[0]}}


def pictures(quick, repetitions):
    """Reading by number of photos, findLetters by their size."""
    pages = [str(path) for path in sorted(datasets.IMAGES.glob('sample_*.png'))]
    if not pages:
        print(f'growth: no sample_*.png in {datasets.IMAGES}; photos left out')
        return {}
    counts, sizes = (QUICK_PHOTOS, QUICK_MEGAPIXELS) if quick else (PHOTOS, MEGAPIXELS)
    photos = in_turns('read_pages', {n: (pages[:1] * n,) for n in counts}, repetitions)
    experiment.table([[n, r['seconds'], r['seconds'] / n, r['beyond_mb']] for n, r in photos.items()],
                     ['photos', 'seconds', 'seconds each', 'MB beyond Python'])
    megapixels = in_turns('find_letters', {m: (pages[0], m) for m in sizes}, repetitions)
    experiment.table([[m, r['boxes'], r['seconds'], r['data_mb'], r['beyond_mb']] for m, r in megapixels.items()],
                     ['megapixels', 'boxes', 'seconds of findLetters', 'MB of picture', 'MB beyond'])
    return {'photos': photos, 'megapixels': megapixels}


def processes(measure, quick):
    """Question 7's training on several processes (torchrun), estimated from one: each computes its share of a batch, then they add up their gradients.

    A step of p processes takes (a step on one core) / p + the exchange; ring all-reduce sends 2 (p - 1) / p times the gradients in 2 (p - 1) messages, and
    batch normalisation two sums of its own per layer. Assumed are BANDWIDTH, LATENCY, and that computing does not slow down beside its neighbours'.
    """
    networks = {name: benchmark_peers.torch_step(name, 8 if quick else None) for name in ('fully connected', 'CharacterNet')}
    seconds = measure({name: step for name, (step, _, _) in networks.items()})
    result = {}
    for name, (_, gradient_bytes, sums) in networks.items():
        one = seconds[name][1]
        speedup = {p: one / (one / p + 2 * (p - 1) * (gradient_bytes / p / BANDWIDTH + sums * LATENCY)) for p in (2, 4, 8)}
        result[name] = {'step_seconds': one, 'threads_speedup': one / min(seconds[name].values()), 'gradient_mb': gradient_bytes / 2**20, 'speedup': speedup}
    experiment.table([[name, 1e3 * r['step_seconds'], r['gradient_mb'], r['threads_speedup'], *r['speedup'].values(), 'yes' if r['speedup'][2] > 1 else 'no']
                      for name, r in result.items()],
                     ['network', 'ms a step, one core', 'MB of gradients', 'gain by threads', 'gain by 2 processes', '4', '8', 'does it pay?'])
    print(f'  gains are estimates: {BANDWIDTH / 1e9:g} GB/s and {1e3 * LATENCY:g} ms a message between processes are assumed')
    return {'bandwidth_assumed': BANDWIDTH, 'latency_assumed': LATENCY, 'networks': result}
