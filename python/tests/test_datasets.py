"""Where data comes from, what is refused and with which words, and how a page is scored."""
import json, os, shutil

import numpy as np
import pytest
import scipy.io

import datasets
from datasets import Data, UserError


@pytest.fixture
def folder(tmp_path, builtin):
    """A --data folder with a sound small NIST36 of its own."""
    for file in builtin.glob('nist36_*.mat'):
        shutil.copy(file, tmp_path)
    return tmp_path


def change(folder, edit, split='train'):
    """Rewrite one file after edit(content) has changed its dict in place."""
    path = folder / f'nist36_{split}.mat'
    content = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith('__')}
    edit(content)
    scipy.io.savemat(path, content)
    return path


# ---------------------------------------------------------------- where it comes from

def test_loads_what_is_in_the_folder(folder):
    data = Data(folder)
    train = datasets.load_nist36('train', data)
    assert train.x.shape == (720, 1024) and train.y.shape == (720, 36) and train.x.dtype == np.float64 and train.x.flags.c_contiguous
    assert np.array_equal(train.labels, np.repeat(np.arange(36), 20))
    assert data.used() == f'{folder.name}/nist36_*.mat' and datasets.nist36_origin(data) == "another build than the course's"
    assert datasets.load_nist36('valid', data, np.float32).x.dtype == np.float32


def test_order_of_places(folder, tmp_path, monkeypatch, builtin):
    """--data, then NN_DATA, then data/."""
    (tmp_path / 'other').mkdir()
    monkeypatch.setenv('NN_DATA', str(folder))
    assert Data().folder == folder and Data(tmp_path / 'other').folder == tmp_path / 'other'
    monkeypatch.delenv('NN_DATA')
    assert Data().folder == datasets.TOP / 'data'
    monkeypatch.setenv('NN_DATA', '/no/such/folder')
    with pytest.raises(UserError, match='/no/such/folder does not exist'):
        Data()


def test_builtin_is_announced_once(tmp_path, capsys, builtin):
    data = Data(tmp_path)
    for split in ('train', 'valid', 'test'):
        datasets.load_nist36(split, data)
    said = capsys.readouterr().out
    assert said.count('built-in stand-in') == 1 and str(tmp_path) in said and 'get_data.sh' in said
    assert data.used() == 'built-in handwriting' == datasets.nist36_origin(data) and not list(tmp_path.iterdir())


def test_builtin_is_made_once(tmp_path, monkeypatch, builtin):
    made = []

    def make(folder):
        made.append(folder)
        folder.mkdir()
        for file in builtin.glob('nist36_*.mat'):
            shutil.copy(file, folder)
    monkeypatch.setattr(datasets, 'BUILTIN', tmp_path / 'builtin')
    monkeypatch.setattr('handwriting.write_nist36', make)
    for _ in range(2):
        assert len(datasets.load_nist36('test', Data(tmp_path)).x) == 360
    assert made == [tmp_path / 'builtin']


def test_part_of_a_set_is_refused(folder):
    (folder / 'nist36_valid.mat').unlink()
    with pytest.raises(UserError, match='nist36_valid.mat is missing beside nist36_train.mat'):
        datasets.load_nist36('train', Data(folder))


def test_folders_for_torchvision(tmp_path, builtin):
    data = Data(tmp_path)
    assert datasets.mnist_folder(data) == datasets.emnist_folder(data) == builtin and datasets.flowers17_folder(data) == builtin / 'oxford-flowers17'
    assert set(data.sets) == {'MNIST', 'EMNIST', 'flowers'} and data.used() == 'built-in handwriting'
    for split in ('train', 'val', 'test'):
        (tmp_path / 'oxford-flowers17' / split).mkdir(parents=True)
    assert datasets.flowers17_folder(Data(tmp_path)) == tmp_path / 'oxford-flowers17'


def test_fingerprint_is_gits(tmp_path):
    """`printf 'what is up, doc?' | git hash-object --stdin`, from the book Pro Git."""
    (tmp_path / 'file').write_text('what is up, doc?')
    assert datasets.git_fingerprint(tmp_path / 'file') == 'bd9dbf5aae1a3862dd1526723246b20206e5fc37'


# ---------------------------------------------------------------- what is refused

BROKEN = {
    "has no 'train_data'": lambda c: c.pop('train_data'),
    "has no 'train_labels'": lambda c: c.update(labels=c.pop('train_labels')),
    "'train_data' is not a matrix of numbers": lambda c: c.update(train_data=np.array(['a', 'b'])),
    "shapes (720, 784) and (720, 36) instead of (N, 1024) and (N, 36)": lambda c: c.update(train_data=c['train_data'][:, :784]),
    "shapes (719, 1024) and (720, 36)": lambda c: c.update(train_data=c['train_data'][:-1]),
    "shapes (720, 1024) and (720, 10)": lambda c: c.update(train_labels=c['train_labels'][:, :10]),
    "some pixels are not finite": lambda c: c['train_data'].__setitem__((3, 4), np.nan),
    "pixels from 0 to 255 instead of about 0 to 1": lambda c: c.update(train_data=255 * c['train_data']),
    "labels are not one-hot": lambda c: c['train_labels'].__setitem__((5, slice(None)), 1),
    "labels are not one-hot ": lambda c: c.update(train_labels=c['train_labels'] * 2),
}


@pytest.mark.parametrize('message', BROKEN)
def test_broken_contents(folder, message):
    path = change(folder, BROKEN[message])
    with pytest.raises(UserError) as error:
        datasets.load_nist36('train', Data(folder))
    said = str(error.value)
    assert said.startswith(f'{path}: ') and message.strip() in said and 'get_data.sh' in said and '\n' not in said


@pytest.mark.parametrize('content', [b'', b'<html><title>301 Moved Permanently</title></html>', b'MATLAB 5.0 MAT-file' + bytes(300)])
def test_files_that_are_no_mat_files(folder, content):
    (folder / 'nist36_train.mat').write_bytes(content)
    with pytest.raises(UserError, match='nist36_train.mat') as error:
        datasets.load_nist36('train', Data(folder))
    assert '\n' not in str(error.value)


def test_truncated_file(folder):
    path = folder / 'nist36_test.mat'
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match='nist36_test.mat cannot be read'):
        datasets.load_nist36('test', Data(folder))


# ---------------------------------------------------------------- pictures and numbers

def test_upright_and_back(builtin):
    train = datasets.load_nist36('train', Data(builtin))
    pictures = datasets.upright(train.x)
    assert pictures.shape == (720, 32, 32) and (datasets.flatten(pictures) == train.x).all()
    assert (pictures[0] == train.x[0].reshape(32, 32).T).all()
    ink = 1 - pictures[train.labels == datasets.CLASSES.index('L')].mean(axis=0)
    assert ink[20:].sum() > 1.25 * ink[:12].sum()           # the bar of an L is at the bottom


def test_two_of_each(builtin):
    valid = datasets.load_nist36('valid', Data(builtin))
    shown = datasets.two_of_each(valid, 'B', '9')
    assert list(valid.labels[shown]) == [1, 1, 35, 35] and len(set(shown)) == 4


def test_psnr_by_hand():
    """Errors of 0.1 everywhere are 20 dB, of 0.01 40 dB; the mean is taken over rows."""
    x = np.zeros((2, 5))
    assert datasets.psnr(x, np.array([[0.1] * 5, [-0.01] * 5])) == pytest.approx(30)
    assert np.isfinite(datasets.psnr(x, x))


@pytest.mark.parametrize('a, b, distance', [('', '', 0), ('ABC', '', 3), ('', 'AB', 2), ('KITTEN', 'SITTING', 3), ('SUNDAY', 'SATURDAY', 3), ('AB', 'BA', 2),
                                            ('O0', '00', 1)])
def test_edits(a, b, distance):
    assert datasets.edits(a, b) == datasets.edits(b, a) == distance


def test_score_counts_letters_and_digits_only():
    truth = ['1. MAKE A LIST', '2. REST']
    assert datasets.score(['1 MAKE A LIST', '2 REST'], truth) == {'characters': 15, 'edits': 0, 'lines_exact': 2, 'lines_true': 2}
    assert datasets.score(['1 make  a list', '2REST'], truth) == {'characters': 15, 'edits': 0, 'lines_exact': 1, 'lines_true': 2}
    assert datasets.score(['I MAKE A LIST', '2 RES'], truth) == {'characters': 15, 'edits': 2, 'lines_exact': 0, 'lines_true': 2}


def test_score_of_lost_and_added_lines():
    truth = ['AB', 'CD', 'EF']
    assert datasets.score([], truth) == {'characters': 6, 'edits': 6, 'lines_exact': 0, 'lines_true': 3}
    assert datasets.score(['AB', 'EF'], truth)['lines_exact'] == 2 and datasets.score(['AB', 'EF'], truth)['edits'] == 2
    assert datasets.score(['AB', 'X', 'CD', 'EF'], truth) == {'characters': 6, 'edits': 1, 'lines_exact': 3, 'lines_true': 3}


def test_same_line_is_not_counted_twice():
    """One line read cannot be exact for two true ones."""
    assert datasets.score(['AB'], ['AB', 'AB'])['lines_exact'] == 1


def test_ground_truth(tmp_path):
    assert datasets.ground_truth(tmp_path) == {}
    (tmp_path / 'ground_truth.json').write_text('{"a.jpg": ["X"]}')
    assert datasets.ground_truth(tmp_path) == {'a.jpg': ['X']}
    (tmp_path / 'ground_truth.json').write_text('{')
    with pytest.raises(UserError, match='ground_truth.json is not valid JSON'):
        datasets.ground_truth(tmp_path)


def test_ground_truth_in_git_has_the_four_photos():
    truth = json.loads((datasets.IMAGES / 'ground_truth.json').read_text())
    lines = [truth[f] for f in ('01_list.jpg', '02_letters.jpg', '03_haiku.jpg', '04_deep.jpg')]
    assert [len(x) for x in lines] == [8, 5, 3, 3] and sum(c.isalnum() for x in lines for line in x for c in line) == 246


def test_writing_leaves_all_or_nothing(tmp_path):
    target = tmp_path / 'new' / 'file'
    with pytest.raises(ZeroDivisionError), datasets.writing(target) as part:
        part.write_text('half')
        raise ZeroDivisionError
    assert list((tmp_path / 'new').iterdir()) == []
    with datasets.writing(target) as part:
        part.write_text('whole')
        assert not target.exists()
    assert target.read_text() == 'whole' and len(list((tmp_path / 'new').iterdir())) == 1


@pytest.mark.real_data
def test_real_nist36(real_data_dir):
    data = Data(real_data_dir)
    for split, each in (('train', 300), ('valid', 100), ('test', 50)):
        characters = datasets.load_nist36(split, data)
        assert np.array_equal(characters.labels, np.repeat(np.arange(36), each)) and 0.77 < characters.x.mean() < 0.81
    assert data.used() == f'{real_data_dir.name}/nist36_*.mat' and datasets.nist36_origin(data) != 'built-in handwriting'
