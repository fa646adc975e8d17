"""get_data.sh against a server on this machine: the zip files as they should be, and every way in which they come broken.

The script is copied to a small checkout in a temporary folder, with the fingerprints of made-up files in place of the course's.
"""
import http.server, os, re, shutil, signal, subprocess, sys, threading, time, zipfile
from pathlib import Path

import numpy as np
import pytest

import datasets

SCRIPTS = Path(__file__).resolve().parents[2] / 'scripts'
CHARACTERS = ['nist36_train.mat', 'nist36_valid.mat', 'nist36_test.mat']
PICTURES = ['01_list.jpg', '02_letters.jpg', '03_haiku.jpg', '04_deep.jpg']
TOOLS = 'bash sh dirname basename cat cp mv rm mkdir chmod find head grep sed cut wc tr sha1sum printf env'.split()
NOWHERE = 'http://127.0.0.1:9'          # nothing answers there


def contents(names, seed):
    """{name: bytes} that do not compress; .mat files begin as such do."""
    rng = np.random.default_rng(seed)
    return {name: (b'MATLAB 5.0 MAT-file ' if name.endswith('.mat') else b'\xff\xd8') + rng.bytes(20000) for name in names}


def write_zip(path, files):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


class Checkout:
    """A folder with scripts/ whose fingerprints are those of files; files lie on a server's folder as data.zip and images.zip."""

    def __init__(self, top):
        self.top, self.files = top, contents(CHARACTERS + PICTURES, seed=1)
        (top / 'scripts').mkdir(parents=True)
        for script in ('setup.sh', 'download.sh'):
            shutil.copy(SCRIPTS / script, top / 'scripts')
        text = (SCRIPTS / 'get_data.sh').read_text()
        for name, content in self.files.items():
            file = top / 'file'
            file.write_bytes(content)
            text, replaced = re.subn(rf'({name}\)\s+echo )[0-9a-f]{{40}}', rf'\g<1>{datasets.git_fingerprint(file)}', text)
            assert replaced == 1
            file.unlink()
        (top / 'scripts' / 'get_data.sh').write_text(text)

    def run(self, *args, url=NOWHERE, cwd=None, path=None):
        env = {**os.environ, 'PYTHON': sys.executable, 'NN_DATA_URL': url, 'no_proxy': '*', 'PATH': str(path) if path else os.environ['PATH']}
        return subprocess.run([shutil.which('bash'), self.top / 'scripts' / 'get_data.sh', *map(str, args)], cwd=cwd, env=env, capture_output=True,
                              text=True, timeout=60)

    def there(self):
        """Names of all files in data/ and images/."""
        return sorted(p.name for folder in ('data', 'images') for p in (self.top / folder).rglob('*') if p.is_file())

    def complete(self):
        """All seven files are there with the right contents, and nothing else."""
        return self.there() == sorted(self.files) and all(
            (self.top / ('images' if name.endswith('jpg') else 'data') / name).read_bytes() == content for name, content in self.files.items())


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / 'checkout')


class Site(http.server.ThreadingHTTPServer):
    """Serves folder at .url, ranges included; .asked lists (path, Range); .breaks_after cuts every answer short: it closes the connection, or .stalls."""

    def __init__(self, folder, checkout):
        super().__init__(('127.0.0.1', 0), Handler)
        self.folder, self.url, self.asked = folder, f'http://127.0.0.1:{self.server_port}', []
        self.breaks_after, self.stalls = None, threading.Event()
        folder.mkdir()
        write_zip(folder / 'data.zip', {f'data/{name}': checkout.files[name] for name in CHARACTERS} | {'__MACOSX/._nist36_train.mat': b'x'})
        write_zip(folder / 'images.zip', {name: checkout.files[name] for name in PICTURES})


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get('Range')))
        file = self.server.folder / self.path.strip('/')
        if not file.is_file():
            return self.send_error(404)
        content, begin = file.read_bytes(), 0
        wanted = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        if wanted:
            begin = int(wanted[1])
            if begin >= len(content):
                return self.send_error(416)
        self.send_response(206 if wanted else 200)
        self.send_header('Content-Length', str(len(content) - begin))
        if wanted:
            self.send_header('Content-Range', f'bytes {begin}-{len(content) - 1}/{len(content)}')
        self.end_headers()
        self.wfile.write(content[begin:][:self.server.breaks_after])
        if self.server.stalls.is_set():
            self.wfile.flush()
            time.sleep(5)

    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path, checkout):
    site = Site(tmp_path / 'site', checkout)
    threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True).start()
    yield site
    site.shutdown()
    site.server_close()


def path_with(tmp_path, *tools):
    """A folder for PATH with the tools that every machine has, and these."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for tool in [*TOOLS, *tools]:
        if shutil.which(tool):
            (folder / tool).symlink_to(shutil.which(tool))
    return folder


def refused(done, *words):
    """Status 2, the words among what was said, advice on what to do, no traceback."""
    assert done.returncode == 2, done
    for word in [*words, 'What to do', '--from', 'rebuild_nist36.py', 'built-in']:
        assert word in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr


# ---------------------------------------------------------------- from the network

def test_fingerprints_are_the_courses():
    text = (SCRIPTS / 'get_data.sh').read_text()
    for name, sha in datasets.COURSE_FILES.items():
        assert re.search(rf'{name}\)\s+echo {sha};;', text)


@pytest.mark.parametrize('place', ['scripts', '.', '/'])
def test_fetches_from_any_folder(checkout, site, place):
    done = checkout.run(url=site.url, cwd=checkout.top / place)
    assert done.returncode == 0 and checkout.complete(), done
    assert "nist36_test.mat - the course's files" in done.stdout
    # once more: nothing is asked for
    site.asked.clear()
    assert checkout.run(url=site.url).returncode == 0 and site.asked == []


@pytest.mark.parametrize('tools', [('wget', 'unzip'), ('curl',), ()], ids=['wget and unzip', 'curl', 'python only'])
def test_tools_that_are_there(checkout, site, tmp_path, tools):
    path = path_with(tmp_path, *tools)
    if not all((path / tool).exists() for tool in tools):
        pytest.skip(f'{" or ".join(tools)} is not installed here')
    done = checkout.run(url=site.url, path=path)
    assert done.returncode == 0 and checkout.complete(), done


@pytest.mark.parametrize('tool', ['wget', 'curl', None])
def test_interrupted_and_resumed(checkout, site, tmp_path, tool):
    path = path_with(tmp_path, *([tool] if tool else []))
    if tool and not (path / tool).exists():
        pytest.skip(f'{tool} is not installed here')
    site.breaks_after = 9000
    done = checkout.run(url=site.url, path=path)
    refused(done, 'data.zip cannot be fetched')
    got = (checkout.top / 'data' / 'data.zip.part').stat().st_size
    assert got >= 9000 and not set(checkout.there()) & set(checkout.files)
    site.breaks_after = None
    site.asked.clear()
    assert checkout.run(url=site.url, path=path).returncode == 0 and checkout.complete()
    assert ('/data.zip', f'bytes={got}-') in site.asked


@pytest.mark.parametrize('tool', ['wget', 'curl', None])
def test_ctrl_c_stops_it_and_it_goes_on_later(checkout, site, tmp_path, tool):
    path = path_with(tmp_path, *([tool] if tool else []))
    if tool and not (path / tool).exists():
        pytest.skip(f'{tool} is not installed here')
    site.breaks_after = 9000
    site.stalls.set()
    env = {**os.environ, 'PYTHON': sys.executable, 'NN_DATA_URL': site.url, 'no_proxy': '*', 'PATH': str(path)}
    running = subprocess.Popen([shutil.which('bash'), checkout.top / 'scripts' / 'get_data.sh'], env=env, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    while not site.asked and running.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=20)
    assert running.returncode == -signal.SIGINT and 'Traceback' not in said
    assert not set(checkout.there()) & set(checkout.files) and {path for path, _ in site.asked} == {'/data.zip'}
    site.breaks_after = None
    site.stalls.clear()
    assert checkout.run(url=site.url, path=path).returncode == 0 and checkout.complete()


def test_a_server_that_cannot_go_on_in_the_middle(checkout, site, monkeypatch, tmp_path):
    """It sends the whole file again, which must not be hung on to the part that is there."""
    (checkout.top / 'data').mkdir()
    (checkout.top / 'data' / 'data.zip.part').write_bytes((site.folder / 'data.zip').read_bytes()[:9000])
    monkeypatch.setattr(Handler, 'do_GET', lambda self, answer=Handler.do_GET: (self.headers.__delitem__('Range'), answer(self)))
    assert checkout.run(url=site.url).returncode == 0 and checkout.complete()


def test_started_by_sh(checkout, site):
    env = {**os.environ, 'PYTHON': sys.executable, 'NN_DATA_URL': site.url, 'no_proxy': '*'}
    done = subprocess.run(['sh', 'get_data.sh'], cwd=checkout.top / 'scripts', env=env, capture_output=True, text=True)
    assert done.returncode == 0 and checkout.complete(), done


def test_part_that_is_whole_already(checkout, site):
    (checkout.top / 'data').mkdir()
    shutil.copy(site.folder / 'data.zip', checkout.top / 'data' / 'data.zip.part')
    assert checkout.run(url=site.url).returncode == 0 and checkout.complete()


def test_truncated_zip(checkout, site):
    whole = (site.folder / 'data.zip').read_bytes()
    (site.folder / 'data.zip').write_bytes(whole[:30000])
    refused(checkout.run(url=site.url), 'data.zip is not a whole zip file')
    assert checkout.there() == PICTURES             # the other one was fetched
    (site.folder / 'data.zip').write_bytes(whole)
    assert checkout.run(url=site.url).returncode == 0 and checkout.complete()


def test_truncated_zip_without_unzip(checkout, site, tmp_path):
    (site.folder / 'data.zip').write_bytes((site.folder / 'data.zip').read_bytes()[:30000])
    refused(checkout.run(url=site.url, path=path_with(tmp_path)), 'data.zip is not a whole zip file (File is not a zip file)')


def test_not_found(checkout, site):
    (site.folder / 'data.zip').unlink()
    refused(checkout.run(url=site.url), '404', 'data.zip cannot be fetched')
    assert checkout.there() == PICTURES


def test_web_page_saved_as_zip(checkout, site):
    (site.folder / 'images.zip').write_bytes(b'<!DOCTYPE HTML>\n<html><head><title>301 Moved Permanently</title></head></html>')
    refused(checkout.run(url=site.url), 'images.zip answered with a web page')
    assert checkout.there() == sorted(CHARACTERS)


def test_wrong_contents(checkout, site):
    write_zip(site.folder / 'data.zip', contents(CHARACTERS, seed=2))
    refused(checkout.run(url=site.url), "nist36_train.mat is not the course's file")
    assert checkout.there() == PICTURES


def test_file_missing_in_zip(checkout, site):
    write_zip(site.folder / 'images.zip', {name: checkout.files[name] for name in PICTURES[:3]})
    refused(checkout.run(url=site.url), 'images.zip holds no 04_deep.jpg')
    assert checkout.there() == sorted(CHARACTERS)


def test_server_does_not_answer(checkout):
    refused(checkout.run(), 'data.zip cannot be fetched', 'images.zip cannot be fetched')
    assert checkout.there() == []


def test_only_what_is_missing_is_fetched(checkout, site):
    (checkout.top / 'data').mkdir()
    for name in CHARACTERS:
        (checkout.top / 'data' / name).write_bytes(b'MATLAB my own')
    done = checkout.run(url=site.url)
    assert done.returncode == 0 and {path for path, _ in site.asked} == {'/images.zip'}
    assert 'another build' in done.stdout
    assert all((checkout.top / 'data' / name).read_bytes() == b'MATLAB my own' for name in CHARACTERS)


# ---------------------------------------------------------------- from a folder

@pytest.fixture
def copy(tmp_path, checkout):
    """Somebody's copy: data/ a link to a folder, with other sets, images/ with a ground truth of its own, all read-only."""
    folder, real = tmp_path / 'copy', tmp_path / 'elsewhere'
    for name, content in {**checkout.files, 'EMNIST/raw/emnist-balanced-train-images-idx3-ubyte': b'e', 'MNIST/raw/train-labels-idx1-ubyte': b'm',
                          'oxford-flowers17/train/0/image_0001.jpg': b'f', 'squeezenet1_1-b8a52dc0.pth': b's', 'README.md': b'r'}.items():
        file = (folder / 'images' if name in PICTURES else real) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o444)
    (folder / 'data').symlink_to(real)
    (folder / 'images' / 'ground_truth.json').write_text('{}')
    return folder


def state(folder):
    """Every file below folder, links followed, with its contents and the time of its last change."""
    return {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else None) for root, _, files in os.walk(folder, followlinks=True)
            for p in (Path(root), *(Path(root) / f for f in files))}


def test_from_folder(checkout, copy):
    (checkout.top / 'images').mkdir()
    (checkout.top / 'images' / 'ground_truth.json').write_text('mine')
    before = state(copy)
    done = checkout.run('--from', copy)
    assert done.returncode == 0 and "the course's files" in done.stdout, done
    assert state(copy) == before
    data = checkout.top / 'data'
    assert all((data / name).read_bytes() == checkout.files[name] for name in CHARACTERS)
    assert all((checkout.top / 'images' / name).read_bytes() == checkout.files[name] for name in PICTURES)
    assert (data / 'EMNIST/raw/emnist-balanced-train-images-idx3-ubyte').read_bytes() == b'e' and (data / 'MNIST/raw/train-labels-idx1-ubyte').is_file()
    assert (data / 'oxford-flowers17/train/0/image_0001.jpg').is_file() and (data / 'squeezenet1_1-b8a52dc0.pth').is_file()
    assert not (data / 'README.md').exists() and (checkout.top / 'images' / 'ground_truth.json').read_text() == 'mine'
    assert not any(p.is_symlink() for p in data.rglob('*')) and not list(checkout.top.rglob('*.part'))
    # what was there is left alone, the rest comes
    (data / 'nist36_test.mat').unlink()
    (data / 'nist36_train.mat').write_bytes(b'mine')
    done = checkout.run('--from', copy)
    assert done.returncode == 0 and (data / 'nist36_train.mat').read_bytes() == b'mine' and (data / 'nist36_test.mat').is_file()
    assert done.stdout.endswith(f'1 files and folders copied from {copy}; what was there already was left alone\n')


def test_from_another_build(checkout, tmp_path):
    (tmp_path / 'build' / 'data').mkdir(parents=True)
    for name, content in contents(CHARACTERS, seed=3).items():
        (tmp_path / 'build' / 'data' / name).write_bytes(content)
    done = checkout.run('--from', tmp_path / 'build')
    assert done.returncode == 0 and "not the course's files (another build)" in done.stdout
    assert checkout.there() == sorted(CHARACTERS)


def test_from_a_folder_with_the_zip_files(checkout, site):
    before = state(site.folder)
    done = checkout.run('--from', site.folder, cwd=checkout.top / 'scripts')
    assert done.returncode == 0 and checkout.complete() and state(site.folder) == before, done


def test_from_part_of_the_set(checkout, copy):
    (copy / 'data' / 'nist36_test.mat').unlink()
    done = checkout.run('--from', copy)
    assert done.returncode == 2 and 'nist36_test.mat' in done.stderr and 'all three' in done.stderr
    assert not set(checkout.there()) & set(CHARACTERS)


def test_from_a_folder_with_nothing(checkout, tmp_path):
    (tmp_path / 'empty').mkdir()
    done = checkout.run('--from', tmp_path / 'empty')
    assert done.returncode == 2 and "empty holds nothing of the course's" in done.stderr


def test_from_a_web_page(checkout, copy):
    file = copy / 'data' / 'nist36_valid.mat'
    file.chmod(0o644)
    file.write_text('<html>301</html>')
    done = checkout.run('--from', copy)
    assert done.returncode == 2 and 'nist36_valid.mat is not a .mat file' in done.stderr
    assert not set(checkout.there()) & set(CHARACTERS)


@pytest.mark.parametrize('arguments', [('--from',), ('--from', '/no/such/folder'), ('--data', '/no/such/folder'), ('--form', '.')])
def test_wrong_arguments(checkout, arguments):
    done = checkout.run(*arguments)
    assert done.returncode == 2 and arguments[0] in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (checkout.top / 'data').exists()


def test_other_data_folder(checkout, copy, tmp_path):
    (tmp_path / 'mine').mkdir()
    assert checkout.run('--from', copy, '--data', tmp_path / 'mine').returncode == 0
    assert (tmp_path / 'mine' / 'nist36_train.mat').is_file() and not set(checkout.there()) & set(CHARACTERS)
