"""benchmark.py in its smallest setting: that the tables are complete and the ratios follow from the times; no time has to be met."""
import json, subprocess, sys

import numpy as np
import pytest

import benchmark, benchmark_growth, benchmark_peers, datasets, experiment, run_q3

PYTHON = datasets.TOP / 'python'
PEERS = [name for name in ('sklearn', 'torch') if benchmark.installed(name)]


@pytest.fixture(scope='module')
def quick(tmp_path_factory):
    """(record, folder) of one run of everything, reading with untrained weights."""
    out = tmp_path_factory.mktemp('benchmark')
    experiment.save_pickle(out / 'q3_weights.pickle', run_q3.new_network(0))
    return benchmark.main(['--quick', '--out', str(out)]), out


def characters(n=120):
    train = datasets.load_nist36('train', dtype=np.float32)
    rows = np.random.default_rng(0).permutation(len(train.x))[:n]
    return train.x[rows], train.y[rows]


# ---------------------------------------------------------------- the whole command

def test_every_part_is_there(quick):
    record, out = quick
    assert json.loads((out / 'results' / 'benchmark.json').read_text()) == record
    assert set(benchmark.SECTIONS) < set(record) and record['machine']['cores'] >= 1 and record['machine']['processor']
    assert {path.name for path in (out / 'figures').iterdir()} == {f'benchmark_{name}.png' for name in ('training', 'growth', 'reading')}


def test_training_is_complete_and_ratios_follow_from_times(quick):
    settings = quick[0]['training']['settings']
    assert {(s['dtype'], s['batch_size'], s['hidden']) for s in settings.values()} == set(benchmark.SETTINGS.values()) and quick[0]['training']['rows'] == 200
    for setting in settings.values():
        seconds = setting['seconds']
        assert set(seconds) == set(setting['threads']) == {'ours', 'course', 'limit', *PEERS} and min(seconds.values()) > 0
        assert setting['share_of_limit'] == pytest.approx(seconds['limit'] / seconds['ours'])
        if PEERS:
            assert setting['to_fastest_peer'] == pytest.approx(seconds['ours'] / min(seconds[name] for name in PEERS))
            assert setting['course_to_fastest_peer'] == pytest.approx(seconds['course'] / min(seconds[name] for name in PEERS))
            assert seconds[setting['fastest_peer']] == min(seconds[name] for name in PEERS)


def test_contestants_did_the_same_work(quick):
    """From the same weights, as many epochs: the same loss, but for the order of the pictures."""
    for setting in quick[0]['training']['settings'].values():
        losses = np.array(list(setting['loss'].values()))
        assert len(losses) == 2 + len(PEERS) and losses == pytest.approx(losses[0], rel=0.03)


def test_growth_is_complete(quick):
    growth = quick[0]['growth']
    assert set(growth['rows']) == {'500', '1000'} and set(growth['hidden']) == {'64', '16'} and set(growth['photos']) == {'1', '2'}
    assert growth['rows']['1000']['data_mb'] == pytest.approx(1024 * 1000 / 2**20) and growth['megapixels']['0.4']['boxes'] > 10
    for sizes in (growth[part] for part in ('rows', 'hidden', 'photos', 'megapixels')):
        assert all(found['seconds'] > 0 and 'beyond_mb' in found for found in sizes.values())


@pytest.mark.skipif('torch' not in PEERS or benchmark.thread_counts() == [None], reason='needs torch and threadpoolctl')
def test_processes_are_estimated_from_the_step(quick):
    estimate = quick[0]['growth']['processes']
    for network in estimate['networks'].values():
        gains = [network['speedup'][p] for p in ('2', '4', '8')]
        assert 0 < gains[0] < 2 and gains[1] < 4 and gains[2] < 8
    exchange = network['gradient_mb'] * 2**20 / estimate['bandwidth_assumed']        # the last one, CharacterNet
    assert network['step_seconds'] / gains[0] > network['step_seconds'] / 2 + exchange


def test_reading_is_complete(quick):
    reading = quick[0]['reading']
    readers = {'ours', 'tesseract'} if benchmark_peers.tesseract_version() else {'ours'}
    assert set(reading['photos']) == {'sample_1.png', 'sample_2.png'} and set(reading['edits']) == readers
    for photo in reading['photos'].values():
        assert set(photo['seconds']) == {*readers, 'findLetters'} and photo['characters'] > 30
    assert reading['seconds']['ours'] == pytest.approx(sum(photo['seconds']['ours'] for photo in reading['photos'].values()))
    assert reading['edits']['ours'] == sum(photo['edits']['ours'] for photo in reading['photos'].values()) > 0      # the weights are untrained


def test_augmentation_is_complete(quick):
    found = quick[0]['augmentation']
    assert {'ours', 'scipy_affine'} <= set(found['per_second']) and found['characters']['ours'] == 500
    for name, value in found['to_peers'].items():
        assert value == pytest.approx(found['per_second'][name] / found['per_second']['ours'])


def test_startup_is_complete(quick):
    scripts = quick[0]['startup']['scripts']
    assert set(scripts) == {'run_q2.py', 'run_q6.py'}
    assert all(found['seconds'] > 0 and found['modules'] > 50 and not found['torch'] for found in scripts.values())


def test_without_the_peers(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, 'installed', lambda name: name not in ('sklearn', 'torch', 'torchvision_affine', 'torchvision_elastic'))
    monkeypatch.setattr(benchmark, 'thread_counts', lambda quick: [None])
    monkeypatch.setattr(benchmark_peers, 'tesseract_version', lambda: None)
    monkeypatch.setattr(benchmark, 'SETTINGS', {'float32': ('float32', 50, 64)})
    experiment.save_pickle(tmp_path / 'q3_weights.pickle', run_q3.new_network(0))
    record = benchmark.main(['--quick', '--out', str(tmp_path), '--only', 'training', 'reading', 'augmentation'])
    setting, said = record['training']['settings']['float32'], capsys.readouterr().out
    assert set(setting['seconds']) == {'ours', 'course', 'limit'} and setting['to_fastest_peer'] is None and setting['fastest_peer'] is None
    assert set(record['augmentation']['per_second']) == {'ours', 'scipy_affine'} and record['reading']['to_tesseract'] is None
    assert 'pip install scikit-learn' in said and 'apt-get install tesseract-ocr' in said and not {'growth', 'startup'} & set(record)


def test_what_cannot_be_measured_is_left_out(tmp_path, capsys, monkeypatch):
    def fail(path):
        raise subprocess.CalledProcessError(1, ['tesseract', path])
    monkeypatch.setattr(benchmark_peers, 'tesseract_version', lambda: '5')
    monkeypatch.setattr(benchmark_peers, 'tesseract', fail)
    monkeypatch.setattr(benchmark, 'COPIES', {'ours': 200})
    experiment.save_pickle(tmp_path / 'q3_weights.pickle', run_q3.new_network(0))
    record = benchmark.main(['--quick', '--out', str(tmp_path), '--only', 'reading', 'augmentation'])
    assert record['reading'] is None and record['augmentation']['per_second']['ours'] > 0
    assert 'reading: left out' in capsys.readouterr().out


def test_without_weights_reading_says_how_to_get_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(experiment, 'CODE', tmp_path)
    assert benchmark.main(['--quick', '--out', str(tmp_path), '--only', 'reading'])['reading'] == {}
    assert 'python/run_q3.py' in capsys.readouterr().out


def test_wrong_part_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(['--only', 'everything'])
    assert stopped.value.code == 2 and 'everything' in capsys.readouterr().err


# ---------------------------------------------------------------- measuring

def test_contestants_take_turns():
    calls = []
    measured, last = benchmark.alternate({name: lambda name=name: calls.append(name) or len(calls) for name in 'ab'}, 3)
    assert calls == list('abababab') and last == {'a': 3, 'b': 4}
    assert benchmark.best_threads({'a': {1: 3.0, 2: 2.0}, 'b': {1: 1.0, 2: 4.0}}) == ({'a': 2.0, 'b': 1.0}, {'a': 2, 'b': 1})


def test_too_many_threads_are_given_up_after_a_round():
    rounds = {1: [9.0, 2.0], 2: [1.0, 1.0], 4: [9.0, 1.9], 8: [1.0, 2.1]}
    assert benchmark.worth_trying(rounds) == {n: rounds[n] for n in (1, 2, 4)}
    assert benchmark.worth_trying({None: [1.0]}) == {None: [1.0]}


def test_the_median_leaves_the_first_round_out(monkeypatch):
    clock = iter([0, 0, 100, 0, 1, 0, 9, 0, 2, 0])          # begun; then start and end of four rounds
    monkeypatch.setattr(benchmark.time, 'perf_counter', lambda: next(clock))
    assert benchmark.alternate({'a': lambda: None}, 3)[0] == {'a': {None: 2}}


def test_threads_are_set_and_set_back(monkeypatch):
    threadpoolctl = pytest.importorskip('threadpoolctl')
    monkeypatch.setenv('OMP_THREAD_LIMIT', '7')

    def blas():
        return {library['num_threads'] for library in threadpoolctl.threadpool_info() if library['user_api'] == 'blas'}
    before = blas()
    for n in (1, 2):
        with benchmark.limited(n):
            assert blas() == {n} and benchmark.os.environ['OMP_THREAD_LIMIT'] == str(n)
        assert blas() == before and benchmark.os.environ['OMP_THREAD_LIMIT'] == '7'


def test_limit_does_all_products_of_the_epoch(monkeypatch):
    counted, multiply = [], np.matmul
    monkeypatch.setattr(np, 'matmul', lambda a, b, out: counted.append(2 * a.shape[0] * a.shape[1] * b.shape[1]) or multiply(a, b, out=out))
    x, y = characters(110)
    benchmark_peers.limit(x, y, 8, 50)()
    assert len(counted) == 3 * 5 and sum(counted) == benchmark_peers.flops(110, 8)


def test_training_contestants_learn():
    x, y = characters()
    for name in ['ours', 'course', *PEERS]:
        epoch = benchmark_peers.TRAINING[name](x, y, 16, 5)
        losses = [epoch() for _ in range(5)]
        assert losses[0] > losses[-1] > 0, name


def test_augmentation_contestants_change_every_picture_its_own_way():
    pictures = np.repeat(characters(1)[0].reshape(1, 32, 32), 4, axis=0)
    for name, make in benchmark_peers.AUGMENTATION.items():
        if benchmark.installed(name):
            out = np.asarray(make(pictures)()).reshape(4, 1024)
            assert len(np.unique(out.round(4), axis=0)) == 4 and 0.1 < np.corrcoef(out.mean(axis=0), pictures[0].ravel())[0, 1], name


def test_memory_is_that_of_the_work_alone():
    """Not what this process holds, and not the rows that are only mapped."""
    code = 'import benchmark_growth, numpy; print(benchmark_growth.measured(lambda: numpy.ones(8 * 2**20))["beyond_mb"])'
    done = subprocess.run([sys.executable, '-c', code], cwd=PYTHON, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(64, abs=3)


def test_streaming_copies_no_more_than_a_batch(tmp_path):
    benchmark_growth.write_rows(tmp_path, datasets.load_nist36('train', dtype=np.float32), 30_000)
    found = benchmark_growth.alone('stream', str(tmp_path), 30_000, 16)
    assert found['data_mb'] == pytest.approx(29.3, abs=0.1) and found['beyond_mb'] < 10


def test_questions_2_to_6_never_import_torch():
    assert not any(benchmark.reaches(PYTHON / f'run_q{q}.py', 'torch') for q in range(2, 7)) and benchmark.reaches(PYTHON / 'run_q7.py', 'torch')


def test_late_imports_count(tmp_path):
    (tmp_path / 'a.py').write_text('import os, b\n')
    (tmp_path / 'b.py').write_text('import a\ndef late():\n    from heavy.parts import one\n')
    assert benchmark.reaches(tmp_path / 'a.py', 'heavy') and not benchmark.reaches(tmp_path / 'a.py', 'heavier')


def test_readme_takes_its_numbers_from_the_results(quick, tmp_path):
    record, folder = quick
    readme = tmp_path / 'README.md'
    readme.write_text('# A\n\n### Speed\n\nold\n\n## Data\n\nkept\n')
    write = [sys.executable, datasets.TOP / 'scripts' / 'readme_speed.py']
    done = subprocess.run([*write, folder / 'results' / 'benchmark.json', readme], capture_output=True, text=True)
    text = readme.read_text()
    assert done.returncode == 0, done.stderr
    assert text.startswith('# A\n\n### Speed\n\n`python') and text.endswith('\n\n## Data\n\nkept\n') and 'old' not in text
    assert f'| {1000 * record["training"]["settings"]["float32"]["seconds"]["ours"]:.0f} ms |' in text
    assert all(item in text for item in ('* Growth: ', '* Reading ', '* Augmentation: ', '* Start-up: '))
    (tmp_path / 'part.json').write_text('{"machine": {}}')
    done = subprocess.run([*write, tmp_path / 'part.json', readme], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and readme.read_text() == text
