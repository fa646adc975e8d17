"""rebuild_nist36.py on a small EMNIST by-class made here, in torchvision's layout."""
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import datasets, handwriting

pytest.importorskip('torchvision')
SCRIPT = Path(__file__).resolve().parents[2] / 'scripts' / 'rebuild_nist36.py'
spec = importlib.util.spec_from_file_location('rebuild_nist36', SCRIPT)
rebuild = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rebuild)


def write_by_class(folder, text, part='test', edit=lambda x: x):
    """folder/EMNIST/raw/emnist-byclass-<part>-*: built-in characters in EMNIST's look, stored transposed, as the original's are."""
    x = handwriting.characters(text, 28, 'emnist', np.random.default_rng(0))
    x = edit(np.round(255 * x).astype(np.uint8))
    handwriting.write_idx(folder / 'EMNIST' / 'raw', f'emnist-byclass-{part}', x.transpose(0, 2, 1), np.array([rebuild.BY_CLASS.index(c) for c in text]))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(rebuild, 'PER_CLASS', {'train': 8, 'valid': 3, 'test': 2})


def test_files_are_as_the_courses(tmp_path, small, capsys):
    write_by_class(tmp_path, 13 * (datasets.CLASSES + 'abdefghnqrt'))
    rebuild.main(['--emnist', str(tmp_path), '--out', str(tmp_path / 'new')])
    assert 'rebuilt' in capsys.readouterr().out
    data = datasets.Data(tmp_path / 'new')
    seen = []
    for split, count in rebuild.PER_CLASS.items():
        characters = datasets.load_nist36(split, data)      # keys, shapes, labels are checked on loading
        assert np.array_equal(characters.labels, np.repeat(np.arange(36), count))
        seen.extend(row.tobytes() for row in characters.x)
    assert len(set(seen)) == len(seen)                      # no picture twice, nor in two splits
    # the course's look: dark ink on a background of about 0.94, the whole range used, letters 19 to 29 pixels long
    x = datasets.load_nist36('train', data).x
    assert x.min() == 0 and x.max() == 1 and 0.92 < np.median(x) < 0.96
    assert 0.74 < x.mean() < 0.86 and 0.25 < x.std() < 0.34
    ink = datasets.upright(x) < 0.5
    longest = np.maximum(ink.any(axis=2).sum(axis=1), ink.any(axis=1).sum(axis=1))
    # a little less where the ends of strokes are thin
    assert np.percentile(longest, 5) >= 18 and longest.max() <= 31 and 23 < np.median(longest) < 27
    border = np.concatenate([datasets.upright(x)[:, 0], datasets.upright(x)[:, -1]])
    assert np.median(border) > 0.9


def test_letters_are_upright(tmp_path, small):
    """An L has its bar at the bottom and its stem on the left; a mirrored or transposed one would not."""
    write_by_class(tmp_path, 13 * datasets.CLASSES)
    rebuild.main(['--emnist', str(tmp_path), '--out', str(tmp_path / 'new')])
    train = datasets.load_nist36('train', datasets.Data(tmp_path / 'new'))
    mean = 1 - datasets.upright(train.x[train.labels == datasets.CLASSES.index('L')]).mean(axis=0)
    top, bottom, left, right = mean[:12].sum(), mean[20:].sum(), mean[:, :13].sum(), mean[:, 19:].sum()
    assert bottom > 1.25 * top and left > 1.25 * right


def test_course_look_by_hand():
    """A bar of 20 x 4 pixels comes out centred, 19 to 29 pixels long, five times as long as wide."""
    glyph = np.zeros((28, 28), np.uint8)
    glyph[3:23, 1:5] = 255
    picture = rebuild.course_look(glyph, np.random.default_rng(0))
    ink = picture < 0.5
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert 19 <= len(rows) <= 29 and len(rows) / 6.5 < len(columns) < len(rows) / 3.9
    assert abs(rows.mean() - 15.5) <= 1 and abs(columns.mean() - 15.5) <= 1
    assert picture.min() == 0 and picture.max() == 1


def test_rare_letters_come_from_the_training_part_too(tmp_path, small):
    write_by_class(tmp_path, 13 * datasets.CLASSES.replace('K', '') + 5 * 'K')
    with pytest.raises(datasets.UserError, match='training pictures'):
        rebuild.main(['--emnist', str(tmp_path), '--out', str(tmp_path / 'new')])
    write_by_class(tmp_path, 8 * 'K', part='train')
    rebuild.main(['--emnist', str(tmp_path), '--out', str(tmp_path / 'new')])
    assert len(list((tmp_path / 'new').iterdir())) == 3


def test_too_few_pictures(tmp_path, small):
    write_by_class(tmp_path, 13 * datasets.CLASSES.replace('K', '') + 5 * 'K')
    write_by_class(tmp_path, 7 * 'K', part='train')
    with pytest.raises(datasets.UserError, match='12 pictures of K, 13 are needed'):
        rebuild.main(['--emnist', str(tmp_path), '--out', str(tmp_path / 'new')])
    assert not (tmp_path / 'new').exists()


def test_empty_pictures_are_passed_over(tmp_path, small):
    def blank(x):
        x[:36] = 0
        return x
    write_by_class(tmp_path, 14 * datasets.CLASSES, edit=blank)
    rebuild.main(['--emnist', str(tmp_path), '--out', str(tmp_path / 'new')])
    assert np.isfinite(datasets.load_nist36('test', datasets.Data(tmp_path / 'new')).x).all()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / 'nist36_valid.mat').write_bytes(b'mine')
    with pytest.raises(datasets.UserError, match='nist36_valid.mat is there already'):
        rebuild.main(['--emnist', str(tmp_path), '--out', str(tmp_path)])
    assert (tmp_path / 'nist36_valid.mat').read_bytes() == b'mine'


def test_missing_emnist_is_one_line(tmp_path):
    with pytest.raises(datasets.UserError, match='not to be had in .*--emnist') as error:
        rebuild.main(['--emnist', str(tmp_path), '--out', str(tmp_path / 'new')])
    assert str(tmp_path) in str(error.value) and '\n' not in str(error.value) and not (tmp_path / 'new').exists()


def test_wrong_seed(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        rebuild.main(['--seed', '-1', '--out', str(tmp_path)])
    assert stop.value.code == 2 and '--seed' in capsys.readouterr().err and not list(tmp_path.iterdir())
