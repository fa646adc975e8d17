"""The flower scripts against a server on this machine, with tiny pictures and a made datasplits.mat."""
import functools, http.server, io, os, subprocess, sys, tarfile, threading
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

SCRIPTS = Path(__file__).resolve().parents[2] / 'scripts'
MOVED = b'<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>301 Moved Permanently</title>\n</head></html>\n'
EACH = 4                                        # pictures of each of the 17 flowers: 2 train, 1 val, 1 test
EXPECT = ['--expect', '34,17,17']


def archive(path, pictures):
    """A .tgz with jpg/<name> for each of {name: bytes}."""
    with tarfile.open(path, 'w:gz') as tar:
        for name, content in pictures.items():
            info = tarfile.TarInfo(f'jpg/{name}')
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def jpeg(number):
    """A tiny picture whose grey value tells its number."""
    file = io.BytesIO()
    Image.new('RGB', (8, 8), (number % 256,) * 3).save(file, 'jpeg', quality=95)
    return file.getvalue()


@pytest.fixture
def server(tmp_path):
    """A site laid out like the authors', on a loopback port; .root is its folder, .asked lists what was asked for."""
    root = tmp_path / 'site'
    (root / '17').mkdir(parents=True)
    total = 17 * EACH
    archive(root / '17' / '17flowers.tgz', {f'image_{i:04d}.jpg': jpeg(i) for i in range(1, total + 1)} | {'files.txt': b'names'})
    numbers = np.arange(1, total + 1)
    of_kind = (numbers - 1) % EACH
    splits = {'trn2': numbers[of_kind < 2], 'val2': numbers[of_kind == 2], 'tst2': numbers[of_kind == 3],
              'trn1': numbers[:3], 'val1': numbers[3:6], 'tst1': numbers[6:]}
    scipy.io.savemat(root / '17' / 'datasplits.mat', splits)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)
    asked = []
    site = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=root))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    site.root, site.asked, site.url = root, asked, f'http://127.0.0.1:{site.server_port}'
    yield site
    site.shutdown()
    site.server_close()


def fetch(script, *args, url='http://127.0.0.1:9'):
    env = {**os.environ, 'PYTHON': sys.executable, 'FLOWERS_URL': url, 'no_proxy': '*'}
    return subprocess.run(['bash', SCRIPTS / script, *map(str, args)], env=env, capture_output=True, text=True, timeout=60)


def refused(done, *words):
    """Status 2, a clear last line that has the words in it, no traceback."""
    assert done.returncode == 2, done
    last = done.stderr.strip().splitlines()[-1]
    assert all(word in last for word in words), last
    assert 'Traceback' not in done.stderr


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    return folder


def test_fetches_and_sorts(server, data):
    done = fetch('fetch_flowers17.sh', '--data', data, *EXPECT, url=server.url)
    assert done.returncode == 0, done
    assert '68 pictures' in done.stdout and '34 train, 17 val, 17 test' in done.stdout
    flowers = data / 'oxford-flowers17'
    assert [len(list((flowers / split).glob('*/*.jpg'))) for split in ('train', 'val', 'test')] == [34, 17, 17]
    # picture i belongs to flower (i - 1) // EACH and to the split that the second set of datasplits.mat says
    for i in range(1, 17 * EACH + 1):
        split = ('train', 'train', 'val', 'test')[(i - 1) % EACH]
        file = flowers / split / str((i - 1) // EACH) / f'image_{i:04d}.jpg'
        assert abs(int(np.asarray(Image.open(file)).mean()) - i) <= 1
    # once more: only checked, nothing fetched
    server.asked.clear()
    assert fetch('fetch_flowers17.sh', '--data', data, *EXPECT, url=server.url).returncode == 0
    assert server.asked == []


def test_whole_set_is_expected_by_default(server, data):
    refused(fetch('fetch_flowers17.sh', '--data', data, url=server.url), '34/17/17', '680/340/340')
    assert not (data / 'oxford-flowers17').exists()


def test_goes_on_with_what_is_there(server, data):
    (data / 'flowers-17').mkdir()
    whole = (server.root / '17' / '17flowers.tgz').read_bytes()
    (data / 'flowers-17' / '17flowers.tgz.part').write_bytes(whole[:300])
    (data / 'flowers-17' / 'datasplits.mat').write_bytes((server.root / '17' / 'datasplits.mat').read_bytes())
    done = fetch('fetch_flowers17.sh', '--data', data, *EXPECT, url=server.url)
    assert done.returncode == 0, done
    assert not any('datasplits' in line for line in server.asked)
    assert (data / 'flowers-17' / '17flowers.tgz').read_bytes() == whole


@pytest.mark.parametrize('file', ['17flowers.tgz', 'datasplits.mat'])
def test_saved_error_page_is_refused(server, data, file):
    good = (server.root / '17' / file).read_bytes()
    (server.root / '17' / file).write_bytes(MOVED)
    refused(fetch('fetch_flowers17.sh', '--data', data, *EXPECT, url=server.url), file, 'web page')
    assert not (data / 'oxford-flowers17').exists() and not (data / 'flowers-17' / file).exists()
    (server.root / '17' / file).write_bytes(good)
    assert fetch('fetch_flowers17.sh', '--data', data, *EXPECT, url=server.url).returncode == 0


def test_no_network(data):
    refused(fetch('fetch_flowers17.sh', '--data', data), '17flowers.tgz', '--from')


def test_from_folder(server, data):
    done = fetch('fetch_flowers17.sh', '--from', server.root / '17', '--data', data, *EXPECT)
    assert done.returncode == 0 and (data / 'oxford-flowers17' / 'test' / '16').is_dir(), done


def test_from_finished_folder(server, data, tmp_path):
    assert fetch('fetch_flowers17.sh', '--data', data, *EXPECT, url=server.url).returncode == 0
    other = tmp_path / 'other'
    other.mkdir()
    done = fetch('fetch_flowers17.sh', '--from', data, '--data', other, *EXPECT)
    assert done.returncode == 0 and len(list(other.glob('oxford-flowers17/train/*/*.jpg'))) == 34, done


def test_from_empty_folder(data, tmp_path):
    refused(fetch('fetch_flowers17.sh', '--from', tmp_path, '--data', data), '17flowers.tgz')
    refused(fetch('fetch_flowers17.sh', '--from', tmp_path / 'nowhere', '--data', data), 'nowhere')


def test_mat_that_is_a_web_page_in_from(server, data):
    (server.root / '17' / 'datasplits.mat').write_bytes(MOVED)
    refused(fetch('fetch_flowers17.sh', '--from', server.root / '17', '--data', data, *EXPECT), 'datasplits.mat', 'saved web page')
    assert not (data / 'oxford-flowers17').exists()


def test_broken_picture_is_named(server, data):
    pictures = {f'image_{i:04d}.jpg': jpeg(i) for i in range(1, 17 * EACH + 1)}
    pictures['image_0042.jpg'] = pictures['image_0042.jpg'][:len(pictures['image_0042.jpg']) // 2]
    archive(server.root / '17' / '17flowers.tgz', pictures)
    refused(fetch('fetch_flowers17.sh', '--data', data, *EXPECT, url=server.url), 'image_0042.jpg', 'decoded')
    assert sorted(f.name for f in data.iterdir()) == ['flowers-17']


def test_missing_picture_is_named(server, data):
    archive(server.root / '17' / '17flowers.tgz', {f'image_{i:04d}.jpg': jpeg(i) for i in range(1, 17 * EACH)})
    refused(fetch('fetch_flowers17.sh', '--data', data, *EXPECT, url=server.url), f'image_{17 * EACH:04d}.jpg', 'missing')


def test_splits_that_overlap_are_refused(server, data):
    numbers = np.arange(1, 69)
    scipy.io.savemat(server.root / '17' / 'datasplits.mat', {'trn2': numbers[:34], 'val2': numbers[:17], 'tst2': numbers[51:]})
    refused(fetch('fetch_flowers17.sh', '--data', data, *EXPECT, url=server.url), 'datasplits.mat', 'each once')


def test_flowers102(data, tmp_path):
    """Both layouts: torchvision's Flowers102 and the course's folders, with labels counted from 0."""
    source = tmp_path / 'source'
    source.mkdir()
    total = 102 * 3
    archive(source / '102flowers.tgz', {f'image_{i:05d}.jpg': jpeg(i) for i in range(1, total + 1)})
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(1, 103), 3))
    scipy.io.savemat(source / 'imagelabels.mat', {'labels': labels})
    first, second, third = np.argsort(labels, kind='stable').reshape(102, 3).T + 1
    scipy.io.savemat(source / 'setid.mat', {'trnid': first, 'valid': second, 'tstid': third})
    done = fetch('fetch_flowers102.sh', '--from', source, '--data', data, '--expect', '102,102,102')
    assert done.returncode == 0, done
    assert {'jpg', 'imagelabels.mat', 'setid.mat'} <= {f.name for f in (data / 'flowers-102').iterdir()}
    i = second[7]
    assert labels[i - 1] == 8 and (data / 'oxford-flowers102' / 'val' / '7' / f'image_{i:05d}.jpg').is_file()
