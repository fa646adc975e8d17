"""What all scripts share: flags, the results file, weights files, how errors end a script, and the table of run_all.sh."""
import collections, json, os, pickle, signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import pytest

import experiment
from experiment import UserError

CODE = Path(experiment.__file__).parent


def begin(tmp_path, *flags, **options):
    return experiment.start('q9', 'Question 9: a test.', ['--out', str(tmp_path), *flags], **options)


# ---------------------------------------------------------------- flags

def test_flags_defaults_and_quick(tmp_path):
    options = dict(epochs=experiment.option(50, quick=2), learning_rate=3e-3, photos=experiment.option([], positional=True, nargs='*'), resume=False)
    args = begin(tmp_path, **options).args
    assert (args.epochs, args.learning_rate, args.photos, args.resume, args.seed, args.quick) == (50, 3e-3, [], False, 0, False)
    args = begin(tmp_path, '--quick', **options).args
    assert (args.epochs, args.learning_rate) == (2, 3e-3)
    # what is asked for wins
    args = begin(tmp_path, 'a.png', 'b.png', '--quick', '--epochs', '7', '--learning-rate', '1', '--resume', '--seed', '5', **options).args
    assert (args.epochs, args.learning_rate, args.photos, args.resume, args.seed) == (7, 1.0, ['a.png', 'b.png'], True, 5)


@pytest.mark.parametrize('flags', [['--epochs', 'many'], ['--seed', '-1'], ['--nonsense'], ['--seed', '1.5']])
def test_wrong_flags_exit_with_2(tmp_path, flags, capsys):
    with pytest.raises(SystemExit) as stop:
        begin(tmp_path, *flags, epochs=50)
    assert stop.value.code == 2 and flags[0] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_missing_data_folder(tmp_path):
    with pytest.raises(UserError, match='/no/such/folder does not exist'):
        begin(tmp_path, '--data', '/no/such/folder')


def test_help_tells_the_defaults(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        begin(tmp_path, '--help', epochs=experiment.option(50, 'passes over 100% of the data', quick=2))
    said = capsys.readouterr().out
    assert stop.value.code == 0 and 'Question 9: a test.' in said and 'passes over 100% of the data (default 50, 2 with --quick)' in ' '.join(said.split())


def test_seed_makes_the_random_numbers(tmp_path, capsys):
    a, b, c = (begin(tmp_path, '--seed', seed).rng.random(3) for seed in '445')
    assert (a == b).all() and (a != c).all() and 'seed 4' in capsys.readouterr().out


# ---------------------------------------------------------------- results

def test_results_file(tmp_path, monkeypatch, capsys):
    run = begin(tmp_path, '--seed', '3')
    run.data.record('points', 'four clouds')
    returned = run.finish(loss=np.float32(0.5), accuracy=float('nan'), worst=[1.0, np.inf], counts=np.arange(3), shape=(2, 3), path=tmp_path,
                          flag=np.bool_(True))
    saved = json.loads((tmp_path / 'results' / 'q9.json').read_text())
    assert saved == returned
    assert (saved['data'], saved['seed'], saved['quick'], saved['question']) == ('four clouds', 3, False, 'q9')
    assert saved['seconds'] >= 0 and saved['versions']['numpy'] == np.__version__
    assert (saved['loss'], saved['accuracy'], saved['worst'], saved['counts'], saved['shape']) == (0.5, None, [1.0, None], [0, 1, 2], [2, 3])
    assert saved['path'] == str(tmp_path) and saved['flag'] is True
    assert str(tmp_path / 'results' / 'q9.json') in capsys.readouterr().out


def test_results_are_whole_or_not_there(tmp_path):
    """A result that cannot be written leaves the earlier one, and nothing beside it."""
    begin(tmp_path).finish(loss=1.0)
    with pytest.raises(TypeError):
        begin(tmp_path).finish(loss=object())
    assert [p.name for p in (tmp_path / 'results').iterdir()] == ['q9.json']
    assert json.loads((tmp_path / 'results' / 'q9.json').read_text())['loss'] == 1.0


def test_figure_is_written_beside_and_renamed(tmp_path):
    class Figure:
        def savefig(self, path, format):
            assert path.name != 'q9_one.png' and format == 'png' and not (tmp_path / 'figures' / 'q9_one.png').exists()
            path.write_bytes(b'half')
            raise OSError('disk full')
    with pytest.raises(OSError, match='disk full'):
        begin(tmp_path).figure('one', Figure())
    assert list((tmp_path / 'figures').iterdir()) == []


def test_out_keeps_everything_below(tmp_path):
    run = begin(tmp_path)
    assert {run.results, run.figures, run.weights} == {tmp_path / 'results', tmp_path / 'figures', tmp_path}
    default = experiment.start('q9', 'doc', [])
    assert (default.results, default.weights) == (CODE.parent / 'writeup' / 'results', CODE)


# ---------------------------------------------------------------- how a script ends

def run_script(tmp_path, body):
    script = tmp_path / 'run_q9.py'
    script.write_text(f'import sys, time\nsys.path.insert(0, {str(CODE)!r})\nimport experiment\ndef main():\n    {body}\nexperiment.script(main)\n')
    return [sys.executable, str(script)]


def test_user_error_is_one_line_and_status_2(tmp_path):
    done = subprocess.run(run_script(tmp_path, "raise experiment.UserError('x.mat is broken; fetch it again')"), capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (2, 'run_q9.py: x.mat is broken; fetch it again\n', '')


def test_bugs_keep_their_traceback(tmp_path):
    done = subprocess.run(run_script(tmp_path, '1 / 0'), capture_output=True, text=True)
    assert done.returncode == 1 and 'ZeroDivisionError' in done.stderr


def test_interrupt_is_one_line_and_status_130(tmp_path):
    script = subprocess.Popen(run_script(tmp_path, "print('ready', flush=True); time.sleep(60)"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert script.stdout.readline() == 'ready\n'
    time.sleep(0.1)
    script.send_signal(signal.SIGINT)
    _, err = script.communicate(timeout=20)
    assert script.returncode == 130 and len(err.splitlines()) == 1 and 'interrupted' in err


# ---------------------------------------------------------------- weights files

def test_pickle_of_a_network_comes_back(tmp_path):
    params = collections.Counter({'W': np.random.default_rng(0).random((3, 2)), 'b': np.zeros(2, np.float32), 'loss': np.float64(3), 'name': 'x'})
    experiment.save_pickle(tmp_path / 'w.pickle', params)
    back = experiment.load_pickle(tmp_path / 'w.pickle')
    assert isinstance(back, collections.Counter) and (back['W'] == params['W']).all() and back['b'].dtype == np.float32 and back['loss'] == 3
    assert [p.name for p in tmp_path.iterdir()] == ['w.pickle']


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol(tmp_path, protocol):
    params = {'Wlayer1': np.asfortranarray(np.arange(6.0).reshape(2, 3)), 'n': np.int64(2), 'list': [1, (2.5, None)], 'u': 'é'}
    (tmp_path / 'w.pickle').write_bytes(pickle.dumps(params, protocol))
    back = experiment.load_pickle(tmp_path / 'w.pickle')
    assert (back['Wlayer1'] == params['Wlayer1']).all() and back['n'] == 2 and back['list'] == params['list'] and back['u'] == 'é'


@pytest.mark.parametrize('module', [b'numpy.core.multiarray', b'numpy._core.multiarray'])
def test_pickles_of_numpy_1_and_2(tmp_path, module):
    """Protocol 2, as a student's older Python wrote it: the module's name stands in the file as text."""
    content = pickle.dumps({'W': np.arange(4.0)}, 2)
    content = content.replace(b'numpy._core.multiarray', module).replace(b'numpy.core.multiarray', module)
    assert module in content
    (tmp_path / 'w.pickle').write_bytes(content)
    assert (experiment.load_pickle(tmp_path / 'w.pickle')['W'] == np.arange(4.0)).all()


class Call:
    """Pickles as a call of function(*arguments)."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('call', [Call(os.system, 'touch hacked'), Call(eval, "open('hacked', 'w')"), Call(exec, "open('hacked', 'w')"),
                                  Call(getattr, os, 'system'), Call(subprocess.call, ['touch', 'hacked']), Call(np.fromfile, '/etc/passwd')])
def test_pickles_that_call_anything_are_refused(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, 4) if call.call[0] is not getattr else ():       # a module cannot be pickled; written by hand below
        Path('w.pickle').write_bytes(pickle.dumps({'W': call}, protocol))
        with pytest.raises(UserError, match='w.pickle: the pickle asks for .*only numpy arrays'):
            experiment.load_pickle('w.pickle')
    Path('w.pickle').write_bytes(b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR.")
    with pytest.raises(UserError, match='builtins.getattr'):
        experiment.load_pickle('w.pickle')
    assert not Path('hacked').exists()


@pytest.mark.parametrize('content', [b'', b'<html>404</html>', b'\x80\x04\x95', pickle.dumps(np.arange(1000.0))[:500]])
def test_broken_pickles(tmp_path, content):
    (tmp_path / 'w.pickle').write_bytes(content)
    with pytest.raises(UserError, match='w.pickle is not a readable pickle .*; run run_q3.py first'):
        experiment.load_pickle(tmp_path / 'w.pickle', 'run run_q3.py first')


def test_missing_pickle(tmp_path):
    with pytest.raises(UserError, match='w.pickle is missing; run run_q3.py first'):
        experiment.load_pickle(tmp_path / 'w.pickle', 'run run_q3.py first')


# ---------------------------------------------------------------- tables

def test_summary_of_all_questions(tmp_path, capsys):
    records = {'q2': dict(loss=20.123456, accuracy=0.975, quick=True), 'q3': dict(best={'test_accuracy': 0.8812, 'valid_accuracy': None}), 'q8': {}}
    for question, extra in records.items():
        (tmp_path / f'{question}.json').write_text(json.dumps({'data': 'built-in handwriting', 'seconds': 12.3, **extra}))
    experiment.summary(tmp_path, {'q2': (0, 12), 'q3': (0, 1), 'q4': (1, 2), 'q5': (0, 3), 'q8': (0, 4), 'writeup': (0, 5)})
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert 'loss 20.12, accuracy 97.5 %' in lines['q2'] and lines['q2'].endswith(' 12') and 'built-in handwriting, quick' in lines['q2']
    assert 'test 88.1 %' in lines['q3'] and 'valid' not in lines['q3']
    assert 'FAILED with status 1' in lines['q4'] and 'no results file' in lines['q5'] and 'see its output' in lines['q8']
    assert 'writeup.pdf' in lines['writeup'] and 'in all 27 seconds' in lines['in']


def test_progress_counts_down(capsys):
    progress = experiment.Progress(10, done=6, every=2)
    for _ in range(4):
        progress.line(loss=0.5)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and 'epoch   8/10  loss 0.5' in said[0] and said[-1].endswith('0 s left')


def test_a_trial_leaves_real_results_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment.datasets, 'TOP', tmp_path)
    real, trial, named = (experiment.start('q2', 'A test.', argv) for argv in ([], ['--quick'], ['--quick', '--out', str(tmp_path / 'named')]))
    assert trial.results.parent == trial.figures.parent == trial.weights == real.results.parent / 'quick'
    assert named.weights == tmp_path / 'named' and real.weights == experiment.CODE


def test_a_folder_that_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / 'taken').write_text('a file')
    done = subprocess.run([sys.executable, CODE / 'run_q2.py', '--quick', '--out', tmp_path / 'taken'], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and 'taken' in done.stderr and '--out' in done.stderr
    assert 'expected' not in done.stdout
