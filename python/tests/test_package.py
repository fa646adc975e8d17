"""package.sh: what is in the zip, that it runs elsewhere, and what is refused."""
import ast, os, subprocess, sys, zipfile
from pathlib import Path

import pytest

import datasets

SCRIPTS = datasets.TOP / 'scripts'
pytest.importorskip('typst')
sys.path.insert(0, str(SCRIPTS))
import package  # noqa: E402


@pytest.fixture
def out(tmp_path):
    """The --out DIR of two runs."""
    folder = tmp_path / 'out'
    (folder / 'results').mkdir(parents=True)
    (folder / 'results' / 'q6.json').write_text('{"question": "q6", "data": "built-in handwriting", "seed": 0, "seconds": 1, "psnr_valid": 17.0}')
    (folder / 'q3_weights.pickle').write_bytes(b'weights')
    return folder


def test_zip_and_pdf(tmp_path, out, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    package.main(['aexample', '--out', str(out)])
    said = capsys.readouterr().out
    with zipfile.ZipFile('aexample.zip') as archive:
        names = set(archive.namelist())
        assert archive.read('nn.py') == (package.CODE / 'nn.py').read_bytes()
        archive.extractall('elsewhere')
    code = {name for name in names if name.endswith('.py')}
    assert code >= {'nn.py', 'util.py', 'q4.py', 'run_q2.py', 'run_q3.py', 'run_q4.py', 'run_q5.py', 'run_q6.py', 'run_q7.py'}
    assert names - code == {'q3_weights.pickle', 'results/q6.json'}
    assert not {'benchmark.py', 'grade.py'} & names and 'q5_weights.pickle (python python/run_q5.py)' in said
    # every module of the project that any of the files imports is there
    for name in code:
        for node in ast.walk(ast.parse(Path('elsewhere', name).read_text())):
            for module in [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []:
                assert f'{module}.py' in names or not (package.CODE / f'{module}.py').exists(), (name, module)
    for name in names:
        assert name in said
    assert Path('aexample.pdf').read_bytes().startswith(b'%PDF')
    assert sorted(os.listdir('.')) == ['aexample.pdf', 'aexample.zip', 'elsewhere', 'out']
    # and it works where the project is not
    env = {**os.environ, 'MPLBACKEND': 'agg'}
    done = subprocess.run([sys.executable, 'run_q6.py', '--out', 'o'], cwd='elsewhere', env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('name', ['', 'a', '1abc', 'a b', '../abc', 'abc@andrew.cmu.edu', 'a' * 40])
def test_bad_ids(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(datasets.UserError, match='no Andrew id'):
        package.main([name])
    assert os.listdir('.') == []


def test_missing_out_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(datasets.UserError, match='nowhere does not exist'):
        package.main(['aexample', '--out', 'nowhere'])


def test_zip_that_does_not_run_is_not_made(tmp_path, out, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(package, 'HANDOUT', ['run_q2.py'])
    monkeypatch.setattr(package, 'with_imports', lambda files: [package.CODE / 'run_q2.py'])        # forgets what it imports
    with pytest.raises(datasets.UserError, match="run_q2.py fails: ModuleNotFoundError"):
        package.main(['aexample', '--out', str(out)])
    assert os.listdir('.') == ['out']


def test_imports_inside_functions_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(package, 'CODE', tmp_path)
    for name, text in {'a.py': 'import os, b', 'b.py': 'def f():\n    from c import x\n    import numpy.linalg', 'c.py': '', 'd.py': 'import a'}.items():
        (tmp_path / name).write_text(text)
    assert [path.name for path in package.with_imports(['a.py'])] == ['a.py', 'b.py', 'c.py']
    with pytest.raises(datasets.UserError, match='e.py is missing'):
        package.with_imports(['e.py'])


def test_command_says_what_is_wrong_in_one_line(tmp_path):
    done = subprocess.run([sys.executable, SCRIPTS / 'package.py', 'a b'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
