"""findLetters, rows, words, crops and the reader, on pages whose characters are known: drawn by hand here, or rendered by handwriting.py."""
import subprocess, sys, textwrap, time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import datasets, handwriting, nn, q4

CODE = Path(q4.__file__).parent


def blank(height=400, width=600, paper=0.9):
    return np.full((height, width, 3), paper)


def ell(image, y, x, size=40, pen=5, ink=0.1):
    """Draw an L."""
    image[y:y + size, x:x + pen] = ink
    image[y + size - pen:y + size, x:x + size * 2 // 3] = ink
    return [y, x, y + size, x + size * 2 // 3]


def page_of_ells(rows=3, columns=6, **kwargs):
    image = blank()
    return image, np.array([ell(image, 40 + 110 * i, 50 + 80 * j, **kwargs) for i in range(rows) for j in range(columns)])


def overlaps(boxes, truth):
    """Intersection over union, (n, m)."""
    low, high = np.maximum(boxes[:, None, :2], truth[None, :, :2]), np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, truth)]
    return shared / (area[0][:, None] + area[1] - shared)


def same_boxes(boxes, truth, slack=2):
    assert len(boxes) == len(truth)
    assert np.abs(boxes - truth).max() <= slack


# ---------------------------------------------------------------- findLetters

def test_boxes_and_picture_of_plain_letters():
    image, truth = page_of_ells()
    boxes, bw = q4.findLetters(image)
    same_boxes(boxes, truth)
    assert boxes.dtype.kind == 'i' and bw.dtype.kind == 'f' and bw.shape == image.shape[:2] and set(np.unique(bw)) == {0, 1}
    assert bw[60, 52] == 0 and bw[60, 65] == 1 and (bw == 0).sum() == pytest.approx((image[..., 0] < 0.5).sum(), rel=0.2)


@pytest.mark.parametrize('make', [
    lambda p: p.mean(axis=2), lambda p: p[..., :1], lambda p: p.astype(np.float32),
    lambda p: (p * 255).astype(np.uint8), lambda p: (p * 65535).astype(np.uint16),
    lambda p: np.dstack([p, np.ones(p.shape[:2])]), lambda p: np.asfortranarray(p), lambda p: p[::-1, ::-1][::-1, ::-1],
    lambda p: np.dstack([np.where(p < 0.5, p, 0), p[..., 0] < 0.5]),      # black beneath full transparency
])
def test_any_kind_of_picture(make):
    image, truth = page_of_ells()
    given = make(image)
    kept = given.copy()
    same_boxes(q4.findLetters(given)[0], truth)
    assert np.array_equal(given, kept)


@pytest.mark.parametrize('shape', [(5,), (0, 4, 3), (4, 4, 7), (2, 2, 2, 3)])
def test_what_is_no_picture(shape):
    with pytest.raises(ValueError, match='a picture has shape'):
        q4.findLetters(np.zeros(shape))


@pytest.mark.parametrize('image', [
    blank(), np.zeros((50, 60, 3)), np.ones((1, 1, 3)), np.ones((3, 400)), np.full((200, 200, 3), np.nan),
    -blank(), np.pad(np.ones((3, 500, 3)), ((200, 200), (0, 0), (0, 0))), np.random.default_rng(1).random((300, 400, 3)),
    np.linspace(0.3, 1, 600)[None, :, None] * blank(), np.clip(0.8 + np.random.default_rng(0).normal(0, 0.04, (400, 600, 3)), 0, 1)],
    ids=['paper', 'black', 'one pixel', 'strip', 'nan', 'negative', 'bright strip', 'strong noise', 'gradient', 'noise'])
def test_nothing_written_gives_no_boxes(image):
    boxes, bw = q4.findLetters(image)
    assert boxes.shape == (0, 4) and bw.shape == image.shape[:2] and bw.min() == 1
    assert q4.find_rows(boxes) == []


def test_one_letter_at_the_border():
    image = blank()
    truth = [ell(image, 0, 0), ell(image, 360, 573), ell(image, 150, 300)]
    same_boxes(q4.findLetters(image)[0], np.array(truth)[[0, 2, 1]])


def test_specks_full_stops_and_lines_get_no_box():
    image, truth = page_of_ells()
    image[72:79, 90:97] = 0.1                       # a full stop
    image[115:118, 20:580] = 0.2                    # a line across the page
    for y, x in np.random.default_rng(1).integers(0, 390, (40, 2)):
        image[y:y + 2, x:x + 2] = 0.3               # specks
    boxes, bw = q4.findLetters(image)
    same_boxes(boxes, truth)
    assert bw[75, 93] == 0 and bw[116, 300] == 1    # the full stop stays in the picture, the line does not


def test_broken_strokes_are_joined():
    image, truth = blank(), []
    for x in (50, 150, 250, 350, 450):
        truth.append(ell(image, 100, x))
        ell(image, 250, x)
    image[120:124] = 0.9                            # across the stems
    image[:, 58:61] = 0.9                           # the foot of the first, apart from its stem
    boxes = q4.findLetters(image)[0]
    same_boxes(boxes[:5], np.array(truth))
    assert len(boxes) == 10


def test_shadow_with_a_hard_edge_and_faint_pencil():
    image, truth = page_of_ells(ink=0.6)
    image *= np.where(np.arange(600) > 333, 0.65, 1)[:, None]        # between two columns
    same_boxes(q4.findLetters(image)[0], truth)


def test_desk_around_the_sheet():
    image, truth = page_of_ells()
    rng = np.random.default_rng(2)
    desk = np.clip(0.3 + 0.05 * rng.normal(size=(520, 720)).cumsum(axis=1) / 20 + rng.normal(0, 0.02, (520, 720)), 0.1, 0.45)[..., None].repeat(3, axis=2)
    y, x = np.mgrid[:400, :600]
    inside = (x > 20 + 0.05 * y) & (x < 590 - 0.03 * y) & (y > 10 + 0.02 * x)        # not quite a rectangle
    desk[60:460, 60:660][inside] = image[inside]
    same_boxes(q4.findLetters(desk)[0], truth + 60)


def on_a_desk(sheet, shape, y, x, turn=0.0, bright=0.35):
    """sheet (h, w, 3), its upper left corner at y, x of a picture of shape with a textured desk, turned (radians) about that corner; (picture, matrix)."""
    rng = np.random.default_rng(3)
    desk = bright * (1 + 0.1 * handwriting.blotches(shape, 9, rng) + 0.15 * handwriting.blotches(shape, 90, rng))
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = ndimage.affine_transform(sheet[..., 0], back, -back @ [y, x], output_shape=shape, order=1, cval=-1)
    return np.clip(np.where(moved < 0, desk, moved), 0, 1)[..., None].repeat(3, axis=2), np.linalg.inv(back)


@pytest.mark.parametrize('noise', [0, 0.06])
def test_sheet_that_fills_a_tenth_of_the_photo(noise):
    image, truth = page_of_ells()
    picture, _ = on_a_desk(image, (1300, 1900), 480, 700)
    picture = np.clip(picture + np.random.default_rng(4).normal(0, noise, picture.shape), 0, 1)
    same_boxes(q4.findLetters(picture)[0], truth + [480, 700, 480, 700])


def test_turned_sheet_that_leaves_the_photo():
    image, truth = page_of_ells()
    picture, matrix = on_a_desk(image, (430, 720), -5, 40, turn=0.07)
    corners = np.array([[matrix @ [y, x] for y in (y1, y2) for x in (x1, x2)] for y1, x1, y2, x2 in truth]) + [-5, 40]
    same_boxes(q4.findLetters(picture)[0], np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1), slack=4)


@pytest.mark.parametrize('desk', [False, True])
def test_deep_shadow_with_a_sharp_edge(desk):
    """As dark as a desk, and as sharp; what is written in it says that it is none."""
    image, truth = page_of_ells()
    if desk:
        image, _ = on_a_desk(image, (500, 700), 50, 50)
        truth = truth + 50
    y, x = np.mgrid[:image.shape[0], :image.shape[1]]
    image *= (1 - 0.58 / (1 + np.exp((430 - x) / 1.5)))[..., None]
    same_boxes(q4.findLetters(image)[0], truth)


def test_faint_writing_in_a_shaded_corner_beside_the_desk():
    image, truth = page_of_ells(ink=0.7)
    truth = np.concatenate([truth, [ell(image, 348, 8, ink=0.7)]])
    y, x = np.mgrid[:400, :600]
    image *= (1 - 0.5 * np.exp(-((y - 400) ** 2 + x ** 2) / 180 ** 2))[..., None]
    picture, _ = on_a_desk(image, (480, 700), 30, 20, bright=0.2)
    boxes = q4.findLetters(picture)[0]
    same_boxes(boxes[np.lexsort((boxes[:, 1], boxes[:, 0] // 40))], truth + [30, 20, 30, 20])


def test_rendered_pages():
    """Fifty pages, from flat scans to photos of a lit desk."""
    rng, found, right, boxes_found = np.random.default_rng(11), 0, 0, 0
    for difficulty in np.linspace(0, 1, 50):
        page = handwriting.page(['THE FIVE BOXING', '1. WIZARDS JUMP', 'QUICKLY 2087'], rng, difficulty=difficulty, width=900)
        boxes, _ = q4.findLetters(page.image)
        hit = overlaps(boxes, page.boxes) > 0.5
        found, right, boxes_found = found + len(page.boxes), right + hit.any(axis=0).sum(), boxes_found + len(boxes)
        assert len(q4.find_rows(boxes)) == 3
    assert right / found >= 0.99 and right / boxes_found >= 0.99


def test_twelve_megapixels_and_small_pictures():
    image, truth = page_of_ells()
    large = np.kron(image, np.ones((7, 7, 1)))[:, :4284]            # 2800 x 4200
    began = time.perf_counter()
    boxes, bw = q4.findLetters(large)
    assert time.perf_counter() - began < 5                          # 0.7 s on a free core; tests share theirs
    same_boxes(boxes, truth * 7, slack=14)
    assert bw.shape == large.shape[:2]
    small = image[::2, ::2]                                         # 0.06 megapixels
    same_boxes(q4.findLetters(small)[0], truth // 2)


# ---------------------------------------------------------------- rows and words

def boxes_on_line(text, y=0, slope=0.0, size=20, letter=8, space=24, x=0):
    boxes = []
    for c in text:
        if c == ' ':
            x += space - letter
        else:
            top = y + slope * x
            boxes.append([top, x, top + size, x + size * 3 // 4])
            x += size * 3 // 4 + letter
    return np.round(boxes).astype(int)


@pytest.mark.parametrize('slope', [0, 0.1, -0.15])
def test_rows_follow_a_slope(slope):
    rows = [boxes_on_line('AB CDEFG HI JKLMNOP QR', y=200 + 32 * i, slope=slope, x=40 * (i % 2)) for i in range(5)]
    mixed = np.random.default_rng(0).permutation(np.concatenate(rows))
    found = q4.find_rows(mixed)
    assert len(found) == 5 and all(np.array_equal(a, b) for a, b in zip(found, rows))


def test_rows_of_two_columns_and_of_one_box():
    left, right = boxes_on_line('ABC', y=10), boxes_on_line('DEF', y=12, x=600)
    assert [len(row) for row in q4.find_rows(np.concatenate([right, left]))] == [6]
    assert [len(row) for row in q4.find_rows(left[:1])] == [1]
    assert q4.find_rows(np.zeros((0, 4))) == []


@pytest.mark.parametrize('text, space', [('TO DO A LIST OF THINGS', 20), ('TO DO A LIST OF THINGS', 32), ('A B C D E F G', 24), ('SENTENCE', 24)])
def test_words(text, space):
    row = boxes_on_line(text, space=space)
    row[:, [1, 3]] += np.random.default_rng(3).integers(-1, 2, (len(row), 1))
    assert [len(word) for word in q4.find_words(row)] == [len(word) for word in text.split()]


def test_words_of_few_characters():
    assert [len(word) for word in q4.find_words(boxes_on_line('A NAP'))] == [1, 3]
    assert [len(word) for word in q4.find_words(boxes_on_line('A'))] == [1]
    assert q4.find_words(np.zeros((0, 4), int)) == [] and q4.word_gap([]) > 0


# ---------------------------------------------------------------- crops

def test_cut_out_leaves_the_neighbour_out():
    bw = np.ones((60, 80))
    bw[10:50, 10:14] = bw[46:50, 10:30] = 0         # an L
    bw[5:55, 28:32] = 0                             # a longer stroke in its corner, not connected
    bw[44:52, 26:34] = 1
    mask = q4.cut_out([10, 10, 50, 30], bw)
    assert mask.shape == (40, 20) and mask[:, :4].all() and not mask[:30, 18:].any()


def test_looks_of_the_training_sets(builtin):
    image, truth = page_of_ells(size=60, pen=4)
    distance = q4.glyphs(truth[:2] * 0 + [[40, 50, 100, 90]], q4.findLetters(image)[1])
    dark, bright = q4.nist36_look(distance), q4.emnist_look(distance)
    assert dark.shape == (2, 32, 32) and bright.shape == (2, 28, 28)
    assert 0.9 < np.median(dark) < 1 and dark.min() == 0 and dark.max() == 1
    assert bright[:, :2].max() < 0.1 and bright[:, :, :2].max() < 0.1 and bright.max() > 0.9
    ys, xs = np.nonzero(dark[0] < 0.5)
    assert np.ptp(ys) + 1 in (24, 25, 26) and abs(ys.min() + ys.max() - 31) <= 1 and abs(xs.min() + xs.max() - 31) <= 1
    assert dark[0, :, :14].mean() < dark[0, :, 18:].mean() and dark[0, 22:].mean() < dark[0, :10].mean()     # upright: stem left, foot below


@pytest.mark.parametrize('pen', [2, 5, 12])
def test_any_pen_is_redrawn_with_the_same_width(pen):
    image, truth = page_of_ells(size=70, pen=pen, columns=4, rows=2)
    distance = q4.glyphs(truth, 1.0 * (image[..., 0] > 0.5))
    redrawn = q4.nist36_look(distance)[0] < 0.5
    assert 3 <= redrawn[10].sum() <= 5              # the stem: PEN of 25 pixels


# ---------------------------------------------------------------- reading

def by_shape(answers):
    """A classifier that has looked the answers up: knows crops by their order."""
    def classify(crops):
        return np.eye(36)[[datasets.CLASSES.index(c) for c in answers]][:len(crops)]
    return classify


def test_read_any_classifier():
    page = handwriting.page(['ABC 123', 'DE'], np.random.default_rng(0), difficulty=0)
    reading = q4.read(page.image, by_shape('ABC123DE'))
    assert reading.lines == ['ABC 123', 'DE'] and reading.text == 'ABC123DE'
    assert reading.crops.shape == (8, 32, 32) and [[len(w) for w in line] for line in reading.words] == [[3, 3], [2]]
    classes = handwriting.CLASSES47
    small = q4.read(page.image, lambda crops: np.eye(47)[[classes.index(c) for c in 'aBC123dE']], classes=classes, look=q4.emnist_look)
    assert small.lines == ['ABC 123', 'DE'] and small.crops.shape == (8, 28, 28)


def test_read_a_blank_page():
    reading = q4.read(blank(), by_shape(''))
    assert reading.lines == [] and reading.text == '' and reading.boxes.shape == (0, 4) and len(reading.crops) == 0


def spell(text, doubt, lengths, numbered=()):
    """spell() where each character of text is as likely as its look-alike in doubt."""
    p = np.full((len(text), 36), 1e-3)
    for i, pair in enumerate(zip(text, doubt)):
        for c in pair:
            p[i, datasets.CLASSES.index(c)] = 0.4 if pair[0] != pair[1] else 0.9
    return q4.spell(np.log(p), datasets.CLASSES, lengths, numbered or [False] * len(lengths))


def test_a_word_is_letters_or_digits():
    assert spell('LIST2015', 'L15TZ0I5', [[4, 4]]) == 'LIST2015'
    assert spell('1984O', '1984O', [[4, 1]]) == '1984O'


def test_a_single_character_follows_its_line_and_a_number_its_full_stop():
    assert spell('NOPQ', 'N0PQ', [[1, 1, 1, 1]]) == 'NOPQ'
    assert spell('8907', '89O7', [[1, 1, 1, 1]]) == '8907'
    assert spell('IMAKE', '1MAKE', [[1, 4]]) == 'IMAKE'
    assert spell('IMAKE', '1MAKE', [[1, 4]], [True]) == '1MAKE'


def test_a_list_has_numbers():
    page = handwriting.page(['1. MAKE A LIST', 'MAKE A LIST.'], np.random.default_rng(2), difficulty=0, width=1000)
    boxes, bw = q4.findLetters(page.image)
    rows = q4.find_rows(boxes)
    assert [q4.numbered(q4.find_words(row, q4.word_gap(rows)), bw) for row in rows] == [True, False]


# ---------------------------------------------------------------- old scripts

OLD_SCRIPT = '''
import os
import pickle, string
import numpy as np
import skimage.io
import skimage.transform
import matplotlib
import matplotlib.pyplot as plt
import matplotlib.patches
from nn import *
from q4 import *

for name in sorted(os.listdir('../images')):
    im1 = skimage.img_as_float(skimage.io.imread(os.path.join('../images', name)))[:, :, :3]
    bboxes, bw = findLetters(im1)
    plt.imshow(bw, cmap='gray')
    for bbox in bboxes:
        minr, minc, maxr, maxc = bbox
        plt.gca().add_patch(matplotlib.patches.Rectangle((minc, minr), maxc - minc, maxr - minr, fill=False, edgecolor='red'))
    plt.close()
    bboxes = sorted(bboxes, key=lambda b: (b[0] + b[2]) / 2)
    rows, last = [], None
    for bbox in bboxes:
        middle = (bbox[0] + bbox[2]) / 2
        if last is None or middle - last > (bbox[2] - bbox[0]) / 2:
            rows.append([])
        rows[-1].append(bbox)
        last = middle
    letters = np.array([_ for _ in string.ascii_uppercase[:26]] + [str(_) for _ in range(10)])
    params = pickle.load(open('q3_weights.pickle', 'rb'))
    for row in rows:
        row.sort(key=lambda b: b[1])
        line = ''
        for y1, x1, y2, x2 in row:
            crop = bw[y1:y2, x1:x2]
            pad = max(crop.shape) // 5
            crop = np.pad(crop, ((pad, pad), (pad + (y2 - y1) // 4, pad + (y2 - y1) // 4)), 'constant', constant_values=1)
            x = skimage.transform.resize(crop, (32, 32)).T.reshape(1, -1)
            probs = softmax(forward(x, params, 'layer1') @ params['Woutput'] + params['boutput'])
            line += letters[np.argmax(probs[0])]
        print(line)
'''


def test_an_old_script_runs(tmp_path):
    for name in ('nn.py', 'util.py', 'q4.py', 'datasets.py'):
        (tmp_path / 'python').mkdir(exist_ok=True)
        (tmp_path / 'python' / name).write_text((CODE / name).read_text())
    (tmp_path / 'python' / 'old_q4.py').write_text(textwrap.dedent(OLD_SCRIPT))
    (tmp_path / 'images').mkdir()
    page = handwriting.page(['OLD', 'SCRIPTS'], np.random.default_rng(1), difficulty=0.1, width=500)
    Image.fromarray((255 * page.image).astype(np.uint8)).save(tmp_path / 'images' / 'page.png')
    params = {}
    nn.initialize_weights(1024, 64, params, 'layer1')
    nn.initialize_weights(64, 36, params, 'output')
    import pickle
    (tmp_path / 'python' / 'q3_weights.pickle').write_bytes(pickle.dumps(params))
    done = subprocess.run([sys.executable, 'old_q4.py'], cwd=tmp_path / 'python', capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [len(line) for line in done.stdout.split()] == [3, 7]


# ---------------------------------------------------------------- reading files

def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_load_photo_takes_any_file(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (20, 30, 3), np.uint8)
    loaded = datasets.load_photo(save(tmp_path / 'c.png', colour))
    assert loaded.dtype == float and np.allclose(loaded, colour / 255)
    grey = datasets.load_photo(save(tmp_path / 'g.png', colour[..., 0]))
    assert grey.shape == (20, 30, 3) and np.allclose(grey[..., 1], colour[..., 0] / 255)
    deep = (colour[..., 0].astype(np.uint16) * 257)
    assert np.allclose(datasets.load_photo(save(tmp_path / 'd.png', deep))[..., 2], colour[..., 0] / 255, atol=1e-3)
    assert np.allclose(datasets.load_photo(save(tmp_path / 'd.tif', deep // 4))[..., 2], deep // 4 / 65535, atol=1e-3)     # dim stays dim
    clear = np.dstack([colour, np.zeros((20, 30), np.uint8)])
    assert np.allclose(datasets.load_photo(save(tmp_path / 'a.png', clear)), 1)
    assert np.allclose(datasets.load_photo(save(tmp_path / 'b.png', colour[..., 0] > 128))[..., 0], colour[..., 0] > 128)


def test_load_photo_turns_it_upright(tmp_path):
    picture = np.zeros((20, 30), np.uint8)
    picture[:5] = 255
    exif = Image.Exif()
    exif[0x0112] = 6        # the camera was held on its side: turn clockwise
    loaded = datasets.load_photo(save(tmp_path / 'e.jpg', picture, exif=exif, quality=95))
    assert loaded.shape == (30, 20, 3) and loaded[:, -4:].min() > 0.9 and loaded[:, :10].max() < 0.1


@pytest.mark.parametrize('content', [b'', b'<html>moved</html>', b'\x89PNG\r\n\x1a\n broken'])
def test_load_photo_refuses_what_is_none(tmp_path, content):
    (tmp_path / 'x.png').write_bytes(content)
    with pytest.raises(datasets.UserError, match='x.png cannot be read as a picture'):
        datasets.load_photo(tmp_path / 'x.png')


@pytest.mark.parametrize('seen, read', [
    ([{'2': 0.5, '1': 0.3}, {'2': 0.9}, {'3': 0.9}], '123'),       # the first is more like a 2, but lists count
    ([{'1': 0.9}, {'5': 0.9}, {'9': 0.9}], '159'),                 # these do not, clearly
    ([{'9': 0.9}, {'1': 0.9}], '91'),                              # 10 would need two characters
    ([{'8': 0.5, '3': 0.4}], '8'),                                 # one number is no list
])
def test_the_numbers_of_a_list_count_up(seen, read):
    names = datasets.CLASSES
    probs = np.full((len(seen), len(names)), 1e-3)
    for row, known in zip(probs, seen):
        for digit, p in known.items():
            row[names.index(digit)] = p
    found = q4.count_up(np.log(probs), names, [(i, 1) for i in range(len(seen))])
    text = ''.join(found.get(i, names[26 + probs[i, 26:].argmax()]) for i in range(len(seen)))
    assert text == read
