"""How fast this project is, measured beside what a user would pick instead, on this machine, in one run.

    python python/benchmark.py                           everything: about 8 minutes on two cores with nothing else to do
    python python/benchmark.py --only training reading   some of it: training, growth, reading, augmentation, startup
    python python/benchmark.py --quick                   every step once, on next to nothing, in half a minute

training      an epoch of 1024-64-36 by nn.py, by the course's plain loop on nn.py, by scikit-learn and by PyTorch, and the time that its matrix products
              alone take here, which no training can beat; several batch sizes and numbers of hidden units
growth        time and memory for up to a million rows read from a mapped file (1 GB, in the folder for temporary files), for more hidden units, more
              photos, larger photos; whether several processes (torchrun) would pay
reading       pages, sample and course's, with the network of python/run_q3.py (run that first) and with Tesseract (apt-get install tesseract-ocr)
augmentation  warped copies of characters, beside scipy and torchvision
startup       seconds and modules before each script's first line

All contestants run in turns (a, b, c, a, b, c, ...), so that a busy moment hits them alike; a time is the median of the rounds after the first, with the
number of threads that suits that contestant best. Ratios below 1 mean that this project is faster. A contestant that is not installed is left out.
Writes results/benchmark.json, of this run's parts only, and figures/benchmark_*.png.
"""
import ast, contextlib, importlib.metadata, importlib.util, os, platform, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

import augment, benchmark_growth, benchmark_peers, datasets, experiment, figures, q4, run_q3

SETTINGS = {        # of the training: type, batch size, hidden units
    'float32': ('float32', 50, 64), 'float64': ('float64', 50, 64),
    'batch_5': ('float32', 5, 64), 'batch_32': ('float32', 32, 64), 'batch_128': ('float32', 128, 64), 'batch_512': ('float32', 512, 64),
    'hidden_256': ('float32', 50, 256), 'hidden_1024': ('float32', 50, 1024),
}
COPIES = {'ours': 10_000, 'scipy_affine': 2000, 'torchvision_affine': 400, 'torchvision_elastic': 100}     # characters to augment
SPENT = 20      # seconds on one setting, after which three rounds are enough
PACKAGES = {'sklearn': 'scikit-learn', 'torch': 'torch', 'scipy_affine': 'scipy', 'torchvision_affine': 'torchvision', 'torchvision_elastic': 'torchvision'}
NAMES = {'ours': 'this project', 'course': "the course's loop", 'sklearn': 'scikit-learn', 'torch': 'PyTorch', 'limit': 'matrix products alone',
         'tesseract': 'Tesseract', 'findLetters': 'findLetters alone', 'scipy_affine': 'scipy, affine', 'torchvision_affine': 'torchvision, affine',
         'torchvision_elastic': 'torchvision, affine and elastic'}


# ---------------------------------------------------------------- measuring

def installed(name):
    """Can contestant name be run here?"""
    package = PACKAGES.get(name)
    if package is None:
        return True
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def thread_counts(quick=False):
    """The numbers of threads to try: 1, 2, 4, ... up to the cores of this machine. [None], as things are, without threadpoolctl, which sets them."""
    if not importlib.util.find_spec('threadpoolctl'):
        return [None]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return [1] if quick else [2**i for i in range(cores.bit_length())]


@contextlib.contextmanager
def limited(threads):
    """So many threads for numpy's products, for scikit-learn, for PyTorch, and for programs that are started (Tesseract); None leaves all as it is."""
    if threads is None:
        yield
        return
    import threadpoolctl
    torch, before = sys.modules.get('torch'), os.environ.get('OMP_THREAD_LIMIT')
    os.environ['OMP_THREAD_LIMIT'] = str(threads)
    with threadpoolctl.threadpool_limits(threads):
        if torch:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            os.environ.pop('OMP_THREAD_LIMIT')
            if before is not None:
                os.environ['OMP_THREAD_LIMIT'] = before


def alternate(contestants, repetitions, threads=(None,)):
    """Run contestants {name: function()} in turns, once to warm up and then `repetitions` times, with each number of threads.

    Threads that wait for each other on a busy machine can cost minutes: more of them than suits a contestant best are given up after one round if they take
    twice as long.

    returns ({name: {threads: median seconds}}, {name: what its function returned in the last round that all took part in})
    """
    seconds, returned = {name: {n: [] for n in threads} for name in contestants}, {}
    began = time.perf_counter()
    for done in range(repetitions + 1):
        for n in threads:
            for name in [name for name in contestants if n in seconds[name]]:
                with limited(n):
                    time.sleep(0.1)         # the last one's threads look for more work before they go to sleep, and take the core's other half meanwhile
                    started = time.perf_counter()
                    result = contestants[name]()
                    seconds[name][n].append(time.perf_counter() - started)
                if done <= 1:
                    returned[name] = result
        if done == 1:
            seconds = {name: worth_trying(by_threads) for name, by_threads in seconds.items()}
        if done >= 3 and time.perf_counter() - began > SPENT:
            break
    return {name: {n: float(np.median(times[1:])) for n, times in by_threads.items()} for name, by_threads in seconds.items()}, returned


def worth_trying(by_threads):
    """Those of {threads: seconds of each round} that may turn out best."""
    best = min(by_threads, key=lambda n: by_threads[n][-1])
    return {n: times for n, times in by_threads.items() if times[-1] < 2 * by_threads[best][-1] or n < best}


def best_threads(measured):
    """From alternate()'s medians: {name: seconds} and {name: threads}, each with the number of threads that is best for it."""
    threads = {name: min(by_threads, key=by_threads.get) for name, by_threads in measured.items()}
    return {name: measured[name][n] for name, n in threads.items()}, threads


def ratio(ours, theirs):
    """ours / theirs, None where there is no theirs."""
    return ours / theirs if theirs else None


def cell(value, form='{:.2f}', none='-'):
    """A table's cell."""
    return none if value is None else form.format(value)


# ---------------------------------------------------------------- training

def train_setting(x, y, hidden, batch_size, run):
    """Measure one epoch with all contestants."""
    contestants = {name: make(x, y, hidden, batch_size) for name, make in benchmark_peers.TRAINING.items() if installed(name)}
    measured, losses = alternate(contestants, run.args.repetitions, thread_counts(run.args.quick))
    seconds, threads = best_threads(measured)
    fastest = min((name for name in ('sklearn', 'torch') if name in seconds), key=seconds.get, default=None)
    return {
        'dtype': x.dtype.name, 'batch_size': batch_size, 'hidden': hidden, 'seconds': seconds, 'threads': threads,
        'loss': {name: loss for name, loss in losses.items() if loss is not None},
        'fastest_peer': fastest, 'to_fastest_peer': ratio(seconds['ours'], seconds.get(fastest)),
        'course_to_fastest_peer': ratio(seconds['course'], seconds.get(fastest)), 'share_of_limit': seconds['limit'] / seconds['ours'],
        'limit_gflops': benchmark_peers.flops(len(x), hidden) / seconds['limit'] / 1e9,
    }


def training(run):
    """One epoch in all SETTINGS."""
    characters = datasets.load_nist36('train', run.data, np.float32)
    rows = slice(200 if run.args.quick else None)
    x, y = characters.x[rows], characters.y[rows]
    result = {}
    for name, (dtype, batch_size, hidden) in SETTINGS.items():
        result[name] = train_setting(x.astype(dtype), y.astype(dtype), hidden, batch_size, run)
        print(f'training, {name.replace("_", " ")}: {result[name]["seconds"]["ours"]:.3f} s', flush=True)
    contestants = list(result['float32']['seconds'])
    print(f'an epoch of {len(x)} pictures, milliseconds (threads)')
    experiment.table([training_row(setting, contestants) for setting in result.values()],
                     ['type', 'batch', 'hidden', *(NAMES[c] for c in contestants), 'to fastest peer', "course's to it", 'of the limit', 'fastest'])
    series = {NAMES[c]: [1e6 * setting['seconds'][c] / len(x) for setting in result.values()] for c in contestants}
    run.figure('training', figures.bars([name.replace('_', '\n') for name in result], {'microseconds a picture': series}, log=True))
    return {'rows': len(x), 'repetitions': run.args.repetitions, 'settings': result}


def training_row(setting, contestants):
    """A row of the table; the last cell says who trains fastest, the limit aside."""
    seconds, threads = setting['seconds'], setting['threads']
    times = [f'{1e3 * seconds[c]:.0f}{cell(threads[c], " ({})", "")}' for c in contestants]
    winner = min((c for c in contestants if c != 'limit'), key=seconds.get)
    return [setting['dtype'], setting['batch_size'], setting['hidden'], *times, cell(setting['to_fastest_peer']), cell(setting['course_to_fastest_peer']),
            f'{setting["share_of_limit"]:.0%}', NAMES[winner]]


# ---------------------------------------------------------------- growth

def growth(run):
    """How time and memory grow; benchmark_growth.py."""
    quick, repetitions = run.args.quick, min(run.args.repetitions, 3)
    characters = datasets.load_nist36('train', run.data, np.float32)
    result = benchmark_growth.training(characters, quick, repetitions) | benchmark_growth.pictures(quick, repetitions)
    counts = thread_counts(quick)
    if installed('torch') and counts != [None]:
        result['processes'] = benchmark_growth.processes(lambda steps: alternate(steps, 3 * run.args.repetitions, counts)[0], quick)
    else:
        print('growth: torch or threadpoolctl (scikit-learn) is not installed; several processes are left out')
    sizes = {'rows': 'rows', 'photos': 'photos', 'megapixels': 'megapixels of a photo'}
    shown = {label: result[part] for part, label in sizes.items() if part in result}
    if shown:
        run.figure('growth', figures.growth(shown))
    return result


# ---------------------------------------------------------------- reading

def read_photo(path, truth, classify, run):
    """Read one picture with all contestants: seconds, threads and, where the truth is known, edits of each."""
    image = datasets.load_photo(path)
    contestants = {'ours': lambda: q4.read(datasets.load_photo(path), classify).lines, 'findLetters': lambda: q4.findLetters(image)}
    if benchmark_peers.tesseract_version():
        contestants['tesseract'] = lambda: benchmark_peers.tesseract(path)
    measured, lines = alternate(contestants, min(run.args.repetitions, 3), thread_counts(run.args.quick))
    seconds, threads = best_threads(measured)
    scores = {name: datasets.score(lines[name], truth) for name in ('ours', 'tesseract') if name in lines and truth}
    return {'megapixels': image.shape[0] * image.shape[1] / 1e6, 'seconds': seconds, 'threads': threads,
            'characters': scores['ours']['characters'] if truth else None, 'edits': {name: score['edits'] for name, score in scores.items()},
            'to_tesseract': ratio(seconds['ours'], seconds.get('tesseract'))}


def start_of_tesseract(run):
    """Seconds that Tesseract takes for an empty picture: it is a program, and starts anew for every page."""
    from PIL import Image
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'empty.png'
        Image.new('L', (64, 64), 255).save(path)
        measured, _ = alternate({'tesseract': lambda: benchmark_peers.tesseract(path)}, run.args.repetitions, thread_counts(run.args.quick))
    return best_threads(measured)[0]['tesseract']


def reading(run):
    """Every picture in images/."""
    weights = run.weights_file('q3_weights.pickle')
    if not weights.exists():
        print(f'reading: {experiment.shorten(weights)} is missing; left out (python python/run_q3.py makes it)')
        return {}
    classify, paths, truths = q4.numpy_classifier(run_q3.load_weights(weights)), datasets.photos(), datasets.ground_truth()
    paths = [path for path in paths if path.name.startswith('sample_')][:2] if run.args.quick else paths
    run.data.record('photos', ', '.join(path.name for path in paths))
    photos = {path.name: read_photo(path, truths.get(path.name), classify, run) for path in paths}
    readers = ['ours', 'tesseract'] if benchmark_peers.tesseract_version() else ['ours']
    known = [photo for photo in photos.values() if photo['edits']]
    result = {'photos': photos, 'seconds': {name: sum(photo['seconds'][name] for photo in photos.values()) for name in [*readers, 'findLetters']},
              'characters': sum(photo['characters'] for photo in known), 'edits': {name: sum(photo['edits'][name] for photo in known) for name in readers}}
    result['to_tesseract'] = ratio(result['seconds']['ours'], result['seconds'].get('tesseract'))
    experiment.table([[name, cell(p['characters'], '{}'), p['seconds']['findLetters'], *(v for r in readers for v in (p['seconds'][r], p['edits'].get(r, '-'))),
                       cell(p['to_tesseract'])] for name, p in [*photos.items(), ('together', result)]],
                     ['photo', 'characters', 'findLetters alone, s', *(f'{NAMES[r]}, {unit}' for r in readers for unit in ('s', 'edits')), 'time to Tesseract'])
    if 'tesseract' in readers:
        result['tesseract_start_seconds'] = start_of_tesseract(run)
        print(f'  Tesseract takes {result["tesseract_start_seconds"]:.2f} s for an empty picture; it was made for print')
    else:
        print('  Tesseract is not installed; for its columns, apt-get install tesseract-ocr')
    panels = {'seconds': {NAMES[r]: [photo['seconds'][r] for photo in photos.values()] for r in readers},
              'edits': {NAMES[r]: [photo['edits'].get(r, np.nan) for photo in photos.values()] for r in readers}}
    run.figure('reading', figures.bars([Path(name).stem for name in photos], panels))
    return result


# ---------------------------------------------------------------- augmentation

def augmentation(run):
    """A new copy of each of some characters, fewer for the slow. Ours shifts, turns, stretches, slants, bends and changes the pen; the others do less."""
    x = datasets.load_nist36('train', run.data, np.float32).x
    counts = {name: min(len(x), count // (20 if run.args.quick else 1)) for name, count in COPIES.items() if installed(name)}
    pictures, rng, augmenter = x.reshape(-1, augment.SIDE, augment.SIDE), np.random.default_rng(0), augment.Augmenter(x[:counts['ours']])
    contestants = {'ours': lambda: augmenter.draw(rng)} | {
        name: make(pictures[:counts[name]]) for name, make in benchmark_peers.AUGMENTATION.items() if name in counts}
    seconds, threads = best_threads(alternate(contestants, run.args.repetitions, thread_counts(run.args.quick))[0])
    rate = {name: counts[name] / s for name, s in seconds.items()}
    to_peers = {name: r / rate['ours'] for name, r in rate.items() if name != 'ours'}
    experiment.table([[NAMES[name], counts[name], f'{rate[name]:.0f}', cell(threads[name], '{}'), cell(to_peers.get(name), '{:.4f}')] for name in seconds],
                     ['augmentation', 'characters', 'a second', 'threads', 'our time to theirs'])
    return {'characters': counts, 'per_second': rate, 'threads': threads, 'to_peers': to_peers}


# ---------------------------------------------------------------- start-up

STARTED = """
import atexit, runpy, sys
atexit.register(lambda: print(len(sys.modules), file=sys.stderr))
sys.path[0], sys.argv = sys.argv[1], sys.argv[2:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def modules_at_help(script):
    """How many modules script has imported when it prints its --help. Raises RuntimeError if it does not."""
    done = subprocess.run([sys.executable, '-c', STARTED, str(experiment.CODE), str(script), '--help'], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{script} --help failed:\n{done.stderr}')
    return int(done.stderr.split()[-1])


def reaches(script, package, seen=None):
    """Does a script import package anywhere, also late, inside a function, or in a file of ours that it imports?"""
    seen = set() if seen is None else seen
    seen.add(script)
    nodes = list(ast.walk(ast.parse(script.read_text(encoding='utf-8'))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    tops = {name.partition('.')[0] for name in names}
    files = [script.with_name(f'{name}.py') for name in tops]
    return package in tops or any(reaches(file, package, seen) for file in files if file.is_file() and file not in seen)


def startup(run):
    """Every script's --help."""
    scripts = sorted(experiment.CODE.glob('run_*.py')) + [experiment.CODE / 'grade.py', experiment.CODE / 'benchmark.py']
    scripts = [script for script in scripts if script.name in ('run_q2.py', 'run_q6.py')] if run.args.quick else scripts
    scripts = [script for script in scripts if installed('torch') or not reaches(script, 'torch')]
    modules = {}
    contestants = {script.name: lambda script=script: modules.update({script.name: modules_at_help(script)}) for script in scripts}
    seconds, _ = best_threads(alternate(contestants, min(run.args.repetitions, 3))[0])
    result = {script.name: {'seconds': seconds[script.name], 'modules': modules[script.name], 'torch': reaches(script, 'torch')} for script in scripts}
    experiment.table([[name, r['seconds'], r['modules'], 'yes' if r['torch'] else 'never'] for name, r in result.items()],
                     ['--help of', 'seconds', 'modules', 'imports torch'])
    return {'scripts': result}


# ---------------------------------------------------------------- all of it

SECTIONS = {'training': training, 'growth': growth, 'reading': reading, 'augmentation': augmentation, 'startup': startup}


def machine():
    """What was measured on: processor, cores, how busy it was (runnable processes over the last minute), and the versions of what was compared with."""
    cpuinfo = Path('/proc/cpuinfo')
    names = [line.partition(': ')[2] for line in cpuinfo.read_text().splitlines() if line.startswith('model name')] if cpuinfo.exists() else []
    return {'processor': names[0] if names else platform.processor() or platform.machine(), 'cores': os.cpu_count(), 'system': platform.system(),
            'load': os.getloadavg()[0] if hasattr(os, 'getloadavg') else None,
            'peers': {package: importlib.metadata.version(package) for name, package in PACKAGES.items() if installed(name)}
            | {'tesseract': benchmark_peers.tesseract_version()}}


def measured(name, run):
    """What one section found; None, with a line that says why, if it could not be measured: the others' numbers are kept."""
    try:
        return SECTIONS[name](run)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(f'{name}: left out: {" ".join(str(error).split())}')
        return None


def main(argv=None):
    run = experiment.start('benchmark', __doc__, argv,
                           only=experiment.option(None, 'these parts alone', choices=list(SECTIONS), nargs='+', metavar='PART'),
                           repetitions=experiment.option(7, 'rounds of every measurement after the first (3 at most where a round is long)', quick=1))
    here = machine()
    print(f'{here["processor"]}, {here["cores"]} cores, load {cell(here["load"])}')
    if here['load'] and here['load'] > 0.5:
        print('other programs keep this machine busy: times will be longer than they are, and uneven')
    for package in sorted({PACKAGES[name] for name in PACKAGES if not installed(name)}):
        print(f'{package} is not installed; its columns are left out (pip install {package})')
    return run.finish(machine=here, **{name: measured(name, run) for name in SECTIONS if name in (run.args.only or SECTIONS)})


if __name__ == '__main__':
    experiment.script(main)
