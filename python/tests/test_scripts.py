"""run_all.sh, test.sh and setup.sh in a small checkout whose questions are stubs and whose .venv only writes down what it is asked to install."""
import os, shutil, subprocess, sys
from pathlib import Path

import pytest

import datasets

QUESTION = '''
import json, os, sys
from pathlib import Path
print('Q ran with', sys.argv[1:])
out = Path(sys.argv[sys.argv.index('--out') + 1] if '--out' in sys.argv else Path(__file__).parent.parent / 'writeup') / 'results'
out.mkdir(parents=True, exist_ok=True)
(out / 'Q.json').write_text(json.dumps({'data': 'some data', 'seconds': 3, 'loss': 0.25}))
'''


class Checkout:
    def __init__(self, top):
        self.top = top
        for name in ('python/tests', 'scripts', 'writeup', '.venv/bin'):
            (top / name).mkdir(parents=True)
        for name in ('scripts/run_all.sh', 'scripts/test.sh', 'scripts/setup.sh', 'python/experiment.py', 'python/datasets.py'):
            shutil.copy(datasets.TOP / name, top / name)
        for name in ('requirements.txt', 'writeup/requirements.txt', 'python/tests/requirements.txt'):
            (top / name).write_text(f'# {name}\n')
        (top / '.venv/bin/python').write_text(
            f'#!/bin/sh\ncase "$1 $2" in "-m pip"|"-m pytest") echo "$@" >> "{top}/log";; *) exec "{sys.executable}" "$@";; esac\n')
        (top / '.venv/bin/python').chmod(0o755)
        (top / 'scripts/build_writeup.sh').write_text('echo "writeup built with [$*]"\n')

    def question(self, name, text=QUESTION):
        (self.top / 'python' / f'run_{name}.py').write_text(text.replace('Q.json', f'{name}.json').replace('Q ran', f'{name} ran'))

    def run(self, script, *args, cwd='/'):
        env = {**os.environ, 'PYTHON': '/no/such/python'}
        return subprocess.run(['bash', self.top / 'scripts' / script, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)

    def log(self):
        return [line for line in (self.top / 'log').read_text().splitlines() if '--version' not in line] if (self.top / 'log').exists() else []


@pytest.fixture
def checkout(tmp_path):
    checkout = Checkout(tmp_path / 'a folder')          # with a space in its name
    for name in ('q2', 'q3', 'q7_1', 'q7_2', 'q7', 'theory'):
        checkout.question(name)
    return checkout


def test_all_questions_in_order(checkout):
    done = checkout.run('run_all.sh')
    assert done.returncode == 0, done
    assert [line for line in done.stdout.splitlines() if ' ran with' in line] == [f'{q} ran with []' for q in ('q2', 'q3', 'q7_1', 'q7_2', 'theory')]
    assert 'writeup built with []' in done.stdout
    table = done.stdout[done.stdout.index('== what came out'):]
    assert all(f'\n  {q} ' in table for q in ('q2', 'q3', 'q7_1', 'q7_2', 'theory')) and 'some data' in table and 'loss 0.25' in table
    assert 'results in ' in table and f'{checkout.top}/writeup/results, figures in '[1:] in table


def test_flags_are_passed_on(checkout, tmp_path):
    """Relative folders mean those of the place where the command was given."""
    (tmp_path / 'data').mkdir()
    done = checkout.run('run_all.sh', '--quick', '--data', 'data', '--out', 'my out', '--seed', 3, cwd=tmp_path)
    assert done.returncode == 0, done
    assert "q7_2 ran with ['--quick', '--data', 'data', '--out', 'my out', '--seed', '3']" in done.stdout
    assert 'writeup built with [--out my out]' in done.stdout
    assert (tmp_path / 'my out' / 'results' / 'q3.json').exists() and not (checkout.top / 'writeup' / 'results').exists()


def test_goes_on_after_a_failure(checkout):
    checkout.question('q3', 'import sys; sys.exit("q3 is broken")')
    (checkout.top / 'writeup' / 'results').mkdir()
    (checkout.top / 'writeup' / 'results' / 'q3.json').write_text('{"data": "of an earlier run", "seconds": 1}')
    done = checkout.run('run_all.sh')
    assert done.returncode == 1 and 'q7_2 ran' in done.stdout and 'writeup built' in done.stdout
    assert 'FAILED with status 1' in done.stdout and 'of an earlier run' not in done.stdout
    assert done.stderr.endswith('run_all.sh: failed: q3\n')


def test_interrupt_stops_everything(checkout):
    checkout.question('q3', 'import sys; sys.exit(130)')
    done = checkout.run('run_all.sh')
    assert done.returncode == 130 and 'q2 ran' in done.stdout and 'q7_1 ran' not in done.stdout


def test_failing_writeup_is_told(checkout):
    (checkout.top / 'scripts' / 'build_writeup.sh').write_text('exit 2\n')
    done = checkout.run('run_all.sh')
    assert done.returncode == 1 and done.stderr.endswith('failed: writeup\n') and 'what came out' in done.stdout


@pytest.mark.parametrize('arguments', [['--quik'], ['--data', '/no/such/folder'], ['--seed'], ['q3']])
def test_wrong_flags_stop_before_the_first_question(checkout, arguments):
    done = checkout.run('run_all.sh', *arguments)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and arguments[-1] in done.stderr
    assert 'ran' not in done.stdout and checkout.log() == []


@pytest.mark.parametrize('script', ['run_all.sh', 'get_data.sh'])
def test_help(script):
    done = subprocess.run(['bash', datasets.TOP / 'scripts' / script, '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and f'bash scripts/{script}' in done.stdout and '#' not in done.stdout


def test_installs_once(checkout):
    for _ in range(2):
        assert checkout.run('run_all.sh').returncode == 0
    assert len(checkout.log()) == 1 and 'requirements.txt' in checkout.log()[0] and 'tests' not in checkout.log()[0]
    (checkout.top / 'requirements.txt').write_text('# something new\n')
    checkout.run('run_all.sh')
    assert len(checkout.log()) == 2


def test_tests_take_pytests_flags(checkout):
    assert checkout.run('test.sh', '-k', 'nn and not q3').returncode == 0
    assert checkout.log()[-1] == '-m pytest -q -k nn and not q3' and 'python/tests/requirements.txt' in checkout.log()[0]


def test_failed_install_is_told_and_tried_again(checkout):
    python = checkout.top / '.venv/bin/python'
    good = python.read_text()
    python.write_text(good.replace('>> ', '&& [ "$3" = --version ] >> '))
    done = checkout.run('run_all.sh')
    assert done.returncode == 2 and 'pip could not install' in done.stderr and 'ran' not in done.stdout
    python.write_text(good)
    assert checkout.run('run_all.sh').returncode == 0


def test_broken_environment_is_made_anew(checkout):
    """An interrupted first start leaves a .venv without pip; with no Python to make another, that is said."""
    (checkout.top / '.venv/bin/python').unlink()
    done = checkout.run('run_all.sh')
    assert done.returncode == 2 and 'Python 3.10 or newer is needed (/no/such/python' in done.stderr


def test_makes_the_environment(checkout, tmp_path):
    """With a stand-in for python3 that answers -m venv by putting the recording one in place."""
    made = checkout.top / '.venv/bin/python'
    recording = tmp_path / 'recording'
    shutil.move(made, recording)
    base = tmp_path / 'python3'
    base.write_text(f'#!/bin/sh\n[ "$2" = venv ] || exec "{sys.executable}" "$@"\nmkdir -p "$4/bin"; cp "{recording}" "$4/bin/python"\n')
    base.chmod(0o755)
    env = {**os.environ, 'PYTHON': str(base)}
    done = subprocess.run(['bash', checkout.top / 'scripts' / 'run_all.sh'], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and f'setup: making {checkout.top}/.venv' in done.stdout and len(checkout.log()) == 1, done


def test_scripts_are_sound_bash():
    for script in (datasets.TOP / 'scripts').glob('*.sh'):
        subprocess.run(['bash', '-n', script], check=True)


def test_every_question_is_run():
    """run_all.sh names the questions that exist, and all of them but run_q7.py, which runs two of them again."""
    text = (datasets.TOP / 'scripts' / 'run_all.sh').read_text()
    listed = text.partition('for question in ')[2].partition('; do')[0].split()
    there = {Path(p).stem.removeprefix('run_') for p in (datasets.TOP / 'python').glob('run_*.py')}
    assert there - {'q7'} <= set(listed) and len(listed) == len(set(listed))
