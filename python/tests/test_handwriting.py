"""The built-in handwriting: shapes of curves, looks of the sets, files as the real ones, pages whose boxes are exact."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from scipy import ndimage
from skimage.io import imread

import glyphs, handwriting

PYTHON = Path(handwriting.__file__).parent
HAIKU = ['AN OLD SILENT POND. 1', 'A FROG JUMPS IN. 2 3', 'SPLASH 4 5 6 7 8 9 0']


# ---------------------------------------------------------------------------------------------------------------------------------- strokes

def test_every_symbol_has_ways_and_weights_that_sum_to_one():
    ways = glyphs.parse()
    assert set(handwriting.SYMBOLS) == set(ways)
    for symbol, (weights, strokes) in ways.items():
        assert abs(weights.sum() - 1) < 1e-9 and len(weights) == len(strokes), symbol


def test_parse_stroke_by_hand():
    points, corners = glyphs.parse_stroke('0,100 33,0 | 68,-5')
    assert points.tolist() == [[0, 100], [33, 0], [68, -5]] and corners == [1]


def test_a_curve_passes_its_points_and_a_corner_is_straight_on_both_sides():
    points = np.array([[0, 0], [10, 20], [30, 10]], float)
    for corners in ([], [1]):
        curve = handwriting.spline(3, corners) @ points
        np.testing.assert_allclose(curve[[0, handwriting.SPAN, -1]], points, atol=1e-12)
    first = (handwriting.spline(3, [1]) @ points)[:handwriting.SPAN + 1]
    np.testing.assert_allclose(np.cross(np.append(points[1], 0), np.column_stack([first, np.zeros(len(first))])), 0, atol=1e-9)


def test_distance_by_hand():
    grid = np.array([[0, 1, 2]])
    d = handwriting.distance(grid, grid, np.array([[0.0, 0]]), np.array([[1.0, 0]]))[0]     # from the segment (0,0)-(1,0)
    np.testing.assert_allclose(d, [[0, 0, 1], [1, 1, np.sqrt(2)], [2, 2, np.sqrt(5)]])


def test_coverage_of_a_bar_is_its_area():
    path, down = np.array([[[5.0, 8], [25.0, 8]]]), np.ones((1, 1), bool)
    ink = handwriting.coverage(path, np.full((1, 2), 2.0), down, (17, 31))[0]
    assert abs(ink.sum() - (20 * 4 + np.pi * 4)) < 2
    np.testing.assert_allclose(ink, ink[::-1], atol=1e-6)


def test_what_leaves_the_picture_does_not_come_back_on_the_other_side():
    path = np.array([[[-4.0, 5], [4.0, 5]], [[100, 100], [120, 100]]], float)
    ink = handwriting.coverage(path, np.ones((2, 2)), np.ones((2, 1), bool), (12, 12))
    assert ink[0, 5, 0] == 1 and ink[0, :, 8:].sum() == 0 and ink[1].sum() == 0


# ---------------------------------------------------------------------------------------------------------------------------------- looks

def test_nist36_look():
    x = handwriting.characters(handwriting.CLASSES36 * 10, rng=np.random.default_rng(1))
    assert x.shape == (360, 32, 32) and x.min() == 0 and x.max() == 1
    assert abs(x.mean() - 0.793) < 0.02 and abs(x.std() - 0.311) < 0.03          # the real set's
    assert abs(np.median(x, axis=(1, 2)).mean() - 0.94) < 0.01                     # the background below white: ringing
    inked = x < 0.5
    side = np.maximum(inked.any(1).sum(1), inked.any(2).sum(1))
    assert np.percentile(side, 1) >= 17 and side.max() <= 31


def test_emnist_and_mnist_looks():
    x = handwriting.characters('0123456789' * 10, 28, 'emnist', np.random.default_rng(1))
    assert x[:, :1].max() < 0.2 and x.max() == 1 and 0.1 < x.mean() < 0.3
    x = handwriting.characters('0123456789' * 10, 28, 'mnist', np.random.default_rng(1))
    grid = np.arange(28) - 13.5
    assert abs((x.sum(1) @ grid / x.sum((1, 2))).mean()) < 0.1                      # centre of mass in the middle
    assert abs(x.sum(2) @ grid / x.sum((1, 2))).max() < 0.7


def test_characters_are_upright():
    mean = {c: handwriting.characters(c * 40, rng=np.random.default_rng(2)).mean(0) for c in 'LT7'}
    assert mean['L'][22:].sum() < mean['L'][:10].sum() and mean['L'][:, :16].sum() < mean['L'][:, 16:].sum()       # dark: the foot, the left side
    for c in 'T7':
        assert mean[c][:10].sum() < mean[c][22:].sum()                              # dark: the bar


def test_a_writer_stays_alike_and_two_differ():
    a, b = (handwriting.Writer(np.random.default_rng(s)) for s in (1, 2))
    def mean(w, s):
        return handwriting.characters('R' * 60, rng=np.random.default_rng(s), writers=w).mean(0)
    assert np.abs(mean(a, 3) - mean(a, 4)).mean() < 0.5 * np.abs(mean(a, 3) - mean(b, 4)).mean()


def test_unknown_characters_and_looks_are_named():
    with pytest.raises(ValueError, match='[ÄÖ]'):
        handwriting.characters('AÖ')
    with pytest.raises(ValueError, match='nist36, emnist, mnist'):
        handwriting.characters('A', look='course')


def test_nearest_class_mean_recognises_other_writers():
    """The classes are told apart across writers by the crudest of classifiers; shapes mixed up in the table would show here."""
    text = ''.join(c * 40 for c in handwriting.CLASSES36)
    train, test = (handwriting.characters(text, rng=np.random.default_rng(s)).reshape(36, 40, 1024) for s in (5, 6))
    means = train.mean(1)
    guess = ((test[:, :, None] - means) ** 2).sum(-1).argmin(-1)
    right = (guess == np.arange(36)[:, None]).mean(1)
    assert right.mean() > 0.5 and right.min() > 0.1


# ---------------------------------------------------------------------------------------------------------------------------------- sets

def test_nist36_files_are_like_the_real_ones(tmp_path):
    handwriting.write_nist36(tmp_path, seed=3, per_class=(4, 3, 2))
    for split, count in (('train', 4), ('valid', 3), ('test', 2)):
        content = scipy.io.loadmat(tmp_path / f'nist36_{split}.mat')
        x, y = content[f'{split}_data'], content[f'{split}_labels']
        assert x.shape == (36 * count, 1024) and x.dtype == y.dtype == np.float64
        np.testing.assert_array_equal(y, np.repeat(np.eye(36), count, axis=0))
    seven = scipy.io.loadmat(tmp_path / 'nist36_train.mat')['train_data'].reshape(36, 4, 32, 32)[33].mean(0)
    assert seven[:, :10].mean() < seven[:, 22:].mean()                             # stored transposed: the bar of the 7 is on the left
    assert not list(tmp_path.glob('.part*'))


def test_a_seed_gives_the_same_set_and_splits_share_nothing(tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        handwriting.write_nist36(tmp_path / name, seed=seed, per_class=(2, 2, 2))
    x = {(n, s): scipy.io.loadmat(tmp_path / n / f'nist36_{s}.mat')[f'{s}_data'] for n in 'abc' for s in ('train', 'valid')}
    np.testing.assert_array_equal(x['a', 'train'], x['b', 'train'])
    assert np.abs(x['a', 'train'] - x['c', 'train']).mean() > 0.05
    assert np.abs(x['a', 'train'] - x['a', 'valid']).mean() > 0.05


def read_idx(path):
    raw = path.read_bytes()
    shape = np.frombuffer(raw, '>i4', raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def test_idx_files(tmp_path):
    handwriting.write_mnist(tmp_path, train=50, test=20)
    handwriting.write_emnist(tmp_path, per_class=(3, 2))
    digits, labels = (read_idx(tmp_path / 'MNIST' / 'raw' / f'train-{k}-ubyte') for k in ('images-idx3', 'labels-idx1'))
    assert digits.shape == (50, 28, 28) and digits.max() == 255 and np.bincount(labels).tolist() == [5] * 10
    raw = tmp_path / 'EMNIST' / 'raw'
    letters, labels = (read_idx(raw / f'emnist-balanced-train-{k}-ubyte') for k in ('images-idx3', 'labels-idx1'))
    assert letters.shape == (141, 28, 28) and np.bincount(labels).tolist() == [3] * 47 and (np.diff(labels.astype(int)) < 0).any()
    el = letters[labels == handwriting.CLASSES47.index('E')].mean(0)               # transposed: the stem of the E is on top
    assert el[:12].sum() > el[16:].sum()


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def fail(path):
        Path(path).write_text('half')
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        handwriting.save_beside(str(tmp_path / 'x.mat'), fail)
    assert list(tmp_path.iterdir()) == []


def test_flowers(tmp_path):
    handwriting.write_flowers(tmp_path, per_class=(2, 1, 1), size=48)
    files = sorted((tmp_path / 'oxford-flowers17').glob('*/*/*.jpg'))
    assert len(files) == 17 * 4 and imread(files[0]).shape == (48, 48, 3)
    assert {f.parent.name for f in files} == {str(k) for k in range(17)} and {f.parent.parent.name for f in files} == {'train', 'val', 'test'}


# ---------------------------------------------------------------------------------------------------------------------------------- pages

def test_page_boxes_hold_the_ink_exactly():
    made = handwriting.page(HAIKU, np.random.default_rng(4), difficulty=0, pen='marker')
    assert made.text == ''.join(HAIKU).replace(' ', '').replace('.', '') and made.boxes.shape == (len(made.text), 4)
    assert made.image.shape[2] == 3 and made.image.min() >= 0 and made.image.max() <= 1
    grey = made.image.mean(-1)
    dark = grey < ndimage.median_filter(grey[::4, ::4], 21).repeat(4, 0).repeat(4, 1)[:grey.shape[0], :grey.shape[1]] - 0.2
    for y1, x1, y2, x2 in made.boxes:
        assert 0 <= y1 < y2 <= grey.shape[0] and 0 <= x1 < x2 <= grey.shape[1]
        inside = dark[y1 - 3:y2 + 3, x1 - 3:x2 + 3]
        ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert np.abs(np.array([ys[0], xs[0], ys[-1] + 1 - (y2 - y1), xs[-1] + 1 - (x2 - x1)]) - 3).max() <= 3
    outside = dark.copy()
    for y1, x1, y2, x2 in made.boxes:
        outside[y1 - 2:y2 + 2, x1 - 2:x2 + 2] = False
    assert ndimage.label(outside)[1] <= 2 * ''.join(HAIKU).count('.') + 2           # the full stops, and nothing else


def test_pages_are_in_reading_order_and_hard_ones_show_the_desk():
    hard = [handwriting.page(HAIKU, np.random.default_rng(s), difficulty=1) for s in range(6)]
    for made in hard:
        lines = np.cumsum([0] + [len(line.replace(' ', '').replace('.', '')) for line in HAIKU])
        for a, b in zip(lines[:-1], lines[1:]):
            assert (np.diff(made.boxes[a:b, 1]) > 0).all()
    assert any(made.image[:8].mean() < 0.6 * np.median(made.image) for made in hard)


def test_a_seed_gives_the_same_page():
    a, b = (handwriting.page('HELLO', np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.boxes, b.boxes)


def test_what_cannot_be_written_is_said():
    with pytest.raises(ValueError, match='!'):
        handwriting.page('HELLO!', np.random.default_rng(0))
    with pytest.raises(ValueError, match='nothing to write'):
        handwriting.page(' . ', np.random.default_rng(0))


def test_homography_takes_corners_to_corners():
    a, b = np.array([[0, 0], [4, 0], [4, 3], [0, 3]], float), np.array([[1, 1], [9, 0], [8, 7], [0, 6]], float)
    np.testing.assert_allclose(handwriting.project(handwriting.homography(a, b), a), b, atol=1e-9)


def test_sample_pages_are_committed_with_their_text():
    images = PYTHON.parent / 'images'
    truth = json.loads((images / 'ground_truth.json').read_text())
    for name, (lines, *_) in handwriting.SAMPLES.items():
        assert truth[name] == lines and (images / name).stat().st_size < 300_000
    assert {'01_list.jpg', '02_letters.jpg', '03_haiku.jpg', '04_deep.jpg'} <= set(truth)


def command(*arguments):
    return subprocess.run([sys.executable, PYTHON / 'handwriting.py', *map(str, arguments)], capture_output=True, text=True)


def test_command_line(tmp_path):
    good = command('--text', 'HELLO WORLD', '--writer', 7, '-o', tmp_path / 'page.png')
    assert good.returncode == 0 and '10 characters in 1 line' in good.stdout and imread(tmp_path / 'page.png').shape[1] == 1200


@pytest.mark.parametrize('arguments, said', [
    (['--text', 'GRÜSSE'], 'Ü'), (['--text', ' . '], 'nothing to write'), (['--width', 20], '20 pixels are too few'), (['--width', 0], '--width'),
    (['--writer', -1], '--writer'), (['--difficulty', 'nan'], '--difficulty'), (['-o', 'page'], '-o page'), (['-o', '/proc/page.png'], '/proc/')])
def test_a_wrong_command_ends_in_a_line_and_writes_nothing(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    bad = command(*arguments)
    assert bad.returncode == 2 and said in bad.stderr.splitlines()[-1] and 'Traceback' not in bad.stderr and not list(tmp_path.iterdir())


def test_sample_pages_are_those_in_images(tmp_path):
    assert 'sample_1.png' in command('--samples', tmp_path).stdout
    images = PYTHON.parent / 'images'
    truth, kept = (json.loads((folder / 'ground_truth.json').read_text()) for folder in (tmp_path, images))
    for name in handwriting.SAMPLES:
        assert truth[name] == kept[name]
        made, there = imread(tmp_path / name).astype(int), imread(images / name).astype(int)
        assert made.shape == there.shape and np.abs(made - there).max() <= 2
