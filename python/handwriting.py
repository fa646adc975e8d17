"""Handwriting that needs no download: pen strokes -> characters, data sets, pages (and flowers).

    python python/handwriting.py --text "HELLO WORLD" --writer 7 -o page.png      a page of one's own, in a second
    python python/handwriting.py --text "1. MILK\\n2. EGGS" --difficulty 0.9

A character is a few strokes, each a curve through a few points (glyphs.py lists the ways people write them). A writer is a random draw: slant, width,
how round the corners are, how steady the hand, how thick the pen, which way of writing each letter. Every character varies a little around its
writer's. Since the curves are linear in their points, thousands of characters are bent at once with one matrix product per way of writing; the pen is
then drawn by the distance of each pixel from the nearest piece of curve. The same strokes become 32x32 pictures in the look of NIST36,
28x28 pictures in the looks of MNIST and EMNIST, and whole photographed pages whose characters' boxes are known exactly.

Everything random comes from numpy's Generator, so that a seed gives the same characters on every machine.
"""
import argparse
import json
import os
import shutil
import string
from dataclasses import dataclass

import numpy as np
import scipy.io
import skimage.color
import skimage.io
from scipy import ndimage

import experiment
import glyphs

CLASSES36 = string.ascii_uppercase + string.digits                      # NIST36's order
CLASSES47 = string.digits + string.ascii_uppercase + 'abdefghnqrt'      # EMNIST balanced's order
MERGED = 'cijklmopsuvwxyz'                                              # small letters that EMNIST balanced counts as their capitals
SYMBOLS = string.digits + string.ascii_letters
SPAN = 6                                                                # pieces of polyline between two points of a stroke
LOOKS = ('nist36', 'emnist', 'mnist')
# Letters that are common in running text come from there, written smaller than those that people filled into a form's boxes: brought to
# one size, their pen is thicker.
COMMON = dict.fromkeys('OIA', 1.35) | dict.fromkeys('CENRSTLV02D', 1.15)


# ---------------------------------------------------------------------------------------------------------------------------------- strokes

def spline(points, corners):
    """Matrix (S, P) that takes a stroke's P points to S = (P - 1) SPAN + 1 points along the curve through them.

    Catmull-Rom: between points 1 and 2 of four neighbours 0..3 the curve is the cubic with tangents (p2 - p0) / 2 and (p3 - p1) / 2.
    At an end or a corner the missing neighbour is mirrored (2 p1 - p2), so that the curve arrives straight.
    """
    matrix = np.zeros(((points - 1) * SPAN + 1, points))
    t = np.arange(SPAN + 1) / SPAN
    cubic = 0.5 * np.stack([-t + 2*t**2 - t**3, 2 - 5*t**2 + 3*t**3, t + 4*t**2 - 3*t**3, -t**2 + t**3], axis=1)
    ends = {0, points - 1, *corners}
    for p in range(points - 1):
        rows = slice(p * SPAN, (p + 1) * SPAN + 1)
        block = np.zeros((SPAN + 1, points))
        block[:, p] += cubic[:, 1]
        block[:, p + 1] += cubic[:, 2]
        if p in ends:
            block[:, p] += 2 * cubic[:, 0]
            block[:, p + 1] -= cubic[:, 0]
        else:
            block[:, p - 1] += cubic[:, 0]
        if p + 1 in ends:
            block[:, p + 1] += 2 * cubic[:, 3]
            block[:, p] -= cubic[:, 3]
        else:
            block[:, p + 2] += cubic[:, 3]
        matrix[rows] = block
    return matrix


@dataclass
class Way:
    """One way of writing a character, ready for many at once: P points in K strokes become S points along the pen's path."""
    points: np.ndarray      # (P, 2)
    stroke: np.ndarray      # (P,) which stroke a point belongs to
    sharp: np.ndarray       # (S, P) curve with its corners
    smooth: np.ndarray      # (S, P) the same with every corner rounded
    reach: np.ndarray       # (P, P) what to add to the points for every unit by which the strokes' ends overshoot
    down: np.ndarray        # (S - 1,) pen on paper between a point of the path and the next


def prepare(strokes):
    """Way from glyphs.parse()'s list of (points, corners)."""
    sizes = [len(p) for p, _ in strokes]
    total, samples = sum(sizes), sum((n - 1) * SPAN + 1 for n in sizes)
    sharp, smooth, reach = np.zeros((samples, total)), np.zeros((samples, total)), np.zeros((total, total))
    down = np.ones(samples - 1, bool)
    p = s = 0
    for points, corners in strokes:
        n, m = len(points), (len(points) - 1) * SPAN + 1
        sharp[s:s + m, p:p + n] = spline(n, corners)
        smooth[s:s + m, p:p + n] = spline(n, [])
        for end, inner in ((0, 1), (n - 1, n - 2)):
            length = np.hypot(*(points[end] - points[inner]))
            reach[p + end, p + end] += 1 / length
            reach[p + end, p + inner] -= 1 / length
        p, s = p + n, s + m
        if s < samples:
            down[s - 1] = False
    stroke = np.repeat(np.arange(len(sizes)), sizes)
    return Way(np.concatenate([q for q, _ in strokes]), stroke, sharp, smooth, reach, down)


WAYS = {c: (np.cumsum(weights), [prepare(w) for w in ways]) for c, (weights, ways) in glyphs.parse().items()}


class Writer:
    """n random hands, every property an array (n,); lengths in hundredths of a capital's height. unsteady scales how much a hand strays:
    1 for characters hastily filled into forms, less for a page that is meant to be read."""

    def __init__(self, rng, n=1, unsteady=1.0):
        self.n = n
        self.slant = rng.normal(0.22, 0.22, n)                      # x shift per unit of height
        self.width = np.exp(rng.normal(0.20, 0.18, n))
        self.roundness = rng.uniform(0, 0.7, n)                     # 0 keeps corners, 1 makes them curves
        self.wobble = unsteady * np.exp(rng.normal(np.log(4.6), 0.35, n))      # how far points stray
        self.overshoot = rng.normal(0, 3, n)                        # of the strokes' ends
        self.loose = unsteady * np.exp(rng.normal(np.log(4.6), 0.4, n))        # how far strokes miss each other
        self.pen = np.exp(rng.normal(np.log(7.5), 0.30, n))         # radius
        self.bend = rng.normal(0, 0.03, n)                          # straight lines curve
        self.habit = rng.random((n, len(SYMBOLS)))                  # which way of writing each character


def trace(symbols, writers, rng, who=None):
    """Paths of the pen for a string of N symbols by writers[who] (N numbers; None: all by writer 0, or one each if there are N).

    Returns path (N, S, 2) in hundredths of a capital's height, y down, base line at 100; radius (N, S); down (N, S - 1), False where the pen is lifted
    or the path, padded to the longest, has ended.
    """
    n = len(symbols)
    if who is None:
        who = np.arange(n) if writers.n == n else np.zeros(n, int)
    number = np.array([SYMBOLS.index(c) for c in symbols], int)
    pick = np.where(rng.random(n) < 0.8, writers.habit[who, number], rng.random(n))
    noise = rng.normal(size=(n, 32, 2)), rng.normal(size=(n, 6, 2)), rng.normal(size=(n, 2, 32))
    longest = max(len(w.down) + 1 for c in set(symbols) for w in WAYS[c][1])
    path, down = np.zeros((n, longest, 2)), np.zeros((n, longest - 1), bool)
    for c in dict.fromkeys(symbols):
        edges, ways = WAYS[c]
        mine = np.flatnonzero(number == SYMBOLS.index(c))
        way_of = np.minimum(np.searchsorted(edges, pick[mine]), len(ways) - 1)
        for v, way in enumerate(ways):
            i = mine[way_of == v]
            if len(i):
                path[i, :len(way.sharp)] = curve(way, writers, who[i], [z[i] for z in noise])
                path[i, len(way.sharp):] = path[i, len(way.sharp) - 1][:, None]
                down[i, :len(way.down)] = way.down
    warp(path, writers, who, rng)
    return path, pressure(writers.pen[who], path.shape[:2], rng), down


def curve(way, writers, who, noise):
    """(n, S, 2): the way's points, displaced by the hands who (n,) and standard normal noise, and the curve through them."""
    points = way.points + writers.wobble[who, None, None] * noise[0][:, :len(way.points)]
    points += writers.loose[who, None, None] * noise[1][:, np.minimum(way.stroke, 5)]
    ends = writers.overshoot[who, None] + 3 * noise[2][:, 0, :len(way.points)]
    points += ends[:, :, None] * np.einsum('pq,nqd->npd', way.reach, points)
    roundness = writers.roundness[who, None, None]
    return (1 - roundness) * (way.sharp @ points) + roundness * (way.smooth @ points)


def warp(path, writers, who, rng):
    """Bend whole characters in place: bars move up or down, one side grows, lines curve; then width, slant and a small turn."""
    n = len(path)
    z = rng.normal(size=(n, 10))
    x, y = path[..., 0] / 100 - 0.3, path[..., 1] / 100 - 0.5
    column = [z[:, k, None] for k in range(10)]
    y = y + 0.12 * column[0] * (0.25 - y**2)                                        # the middle higher or lower
    x = x * (1 + 0.18 * column[1] * y) + (writers.bend[who, None] + 0.03 * column[2]) * (4 * y**2 - 1)
    y = y * (1 + 0.12 * column[3] * x) + 0.10 * column[4] * (4 * x**2 - 0.2)
    x = x + 0.02 * column[5] * np.sin(7 * y + 6 * column[6])
    x = x * (writers.width[who, None] * np.exp(0.10 * column[7])) - (writers.slant[who, None] + 0.12 * column[8]) * y
    turn = 0.05 * column[9]
    path[..., 0], path[..., 1] = 100 * (x * np.cos(turn) - y * np.sin(turn)) + 30, 100 * (x * np.sin(turn) + y * np.cos(turn)) + 50


def pressure(pen, shape, rng):
    """Radius of the pen along each path (n, S): slowly changing by some percent."""
    a, phase = rng.normal(size=(2, shape[0], 1))
    t = np.linspace(0, 6, shape[1])
    return pen[:, None] * np.exp(0.08 * a * np.sin(t + 3 * phase))


# ---------------------------------------------------------------------------------------------------------------------------------- pixels

def coverage(path, radius, down, shape):
    """How much of each pixel is inked, (N, H, W) in 0..1, for paths (N, S, 2) and radii (N, S) in pixels; pixel (0, 0) has its centre at (0, 0).

    A pixel at distance d from the middle of a stroke of radius r gets 0.5 + r - d, clipped. Each short piece of path is looked at only from the
    pixels around it: pieces are sorted into a few sizes of square windows, so that every size is one numpy expression.
    """
    n, (height, width) = len(path), shape
    margin = 1
    depth = np.full((n, height + 2 * margin, width + 2 * margin), -1e3, np.float32)
    image, piece = np.nonzero(down)
    a, b = path[image, piece], path[image, piece + 1]
    r = 0.5 * (radius[image, piece] + radius[image, piece + 1])
    low = np.floor(np.minimum(a, b) - r[:, None] - 0.5).astype(int)
    size = np.ceil((np.abs(b - a).max(1) + 2 * r + 2) / 3).astype(int) * 3
    for s in np.unique(size):
        for part in np.array_split(np.flatnonzero(size == s), 1 + int((size == s).sum() * s * s // 2_000_000)):
            offsets = np.arange(s)
            xs, ys = low[part, :1] + offsets, low[part, 1:] + offsets
            d = distance(xs, ys, a[part], b[part])
            xs, ys = np.clip(xs, -1, width) + margin, np.clip(ys, -1, height) + margin
            index = (image[part, None] * depth.shape[1] + ys)[:, :, None] * depth.shape[2] + xs[:, None, :]
            np.maximum.at(depth.reshape(-1), index.reshape(-1), (r[part, None, None] - d).astype(np.float32).reshape(-1))
    return np.clip(depth[:, margin:-margin, margin:-margin] + 0.5, 0, 1)


def distance(xs, ys, a, b):
    """(m, s, s) distances of the pixels xs, ys (m, s) from the segments a-b (m, 2)."""
    along = b - a
    squared = np.maximum((along**2).sum(1), 1e-12)
    dx, dy = xs - a[:, :1], ys - a[:, 1:]
    t = (dx * (along[:, :1] / squared[:, None]))[:, None, :] + (dy * (along[:, 1:] / squared[:, None]))[:, :, None]
    np.clip(t, 0, 1, out=t)
    return np.hypot(dx[:, None, :] - t * along[:, 0, None, None], dy[:, :, None] - t * along[:, 1, None, None])


def extent(path, radius, down):
    """Inked boxes (N, 2), (N, 2): smallest and largest x, y of each path with its pen's radius."""
    inked = np.zeros(path.shape[:2], bool)
    inked[:, :-1] |= down
    inked[:, 1:] |= down
    low = np.where(inked[..., None], path - radius[..., None], np.inf).min(1)
    high = np.where(inked[..., None], path + radius[..., None], -np.inf).max(1)
    return low, high


def fit(path, radius, down, side, size):
    """Scale and move paths so that the longer side of the ink is `side` (N,) pixels and its box is in the middle of size x size pixels.
    The pen scales with the writing, but stays at least 0.6 pixels in radius."""
    low, high = extent(path, radius, down)
    scale = side / (high - low).max(1)
    middle = (low + high) / 2
    return (path - middle[:, None]) * scale[:, None, None] + (size - 1) / 2, np.maximum(radius * scale[:, None], 0.6)


def characters(text, size=32, look='nist36', rng=None, writers=None):
    """Pictures of the characters of text, upright: float (N, size, size) in 0..1.

    look      'nist36': dark (0) on light (about 0.94), with the faint ringing of a bicubic reduction; longest side 19..29 of 32 pixels
              'emnist': light (1) on dark (0), slightly blurred, filling the picture but for 2 pixels a side; capitals that EMNIST merges with their
                        small letters are written either way
              'mnist':  the same, in a box of 20 of 28 pixels, centred at the centre of mass
    rng       numpy Generator (None: seed 0)
    writers   Writer with one hand for all, or one hand for each of the N characters (None: N new ones)
    """
    if look not in LOOKS:
        raise ValueError(f'look is {look!r}: choose one of {", ".join(LOOKS)}')
    unknown = sorted(set(text) - set(SYMBOLS))
    if unknown:
        raise ValueError(f'no handwriting for {"".join(unknown)!r}: only {SYMBOLS}')
    rng = rng or np.random.default_rng(0)
    writers = writers or Writer(rng, max(len(text), 1))
    if look == 'emnist':
        small = rng.random(len(text)) < 0.4
        text = ''.join(c.lower() if s and c.lower() in MERGED else c for c, s in zip(text, small))
    out = np.zeros((len(text), size, size))
    for start in range(0, len(text), 1000):
        part = text[start:start + 1000]
        who = np.arange(start, start + len(part)) if writers.n == len(text) else np.zeros(len(part), int)
        path, radius, down = trace(part, writers, rng, who)
        radius *= np.array([COMMON.get(c, 1) for c in part])[:, None] * np.exp(rng.normal(0, 0.12, (len(part), 1)))
        out[start:start + len(part)] = LOOK[look](path, radius, down, size, rng)
    return out


def nist36_look(path, radius, down, size, rng):
    """(N, size, size): what a binary picture becomes when it is reduced bicubically and stretched from its minimum to its maximum."""
    side = np.clip(rng.normal(25, 1.5, len(path)), 19, 29) * size / 32
    ink = coverage(*fit(path, radius, down, side, size), down, (size, size))
    for axis in (1, 2):
        ink = ndimage.correlate1d(ink, [-0.045, 1.09, -0.045], axis=axis, mode='constant')
    low, high = ink.min((1, 2), keepdims=True), ink.max((1, 2), keepdims=True)
    return 1 - (ink - low) / (high - low)


def emnist_look(path, radius, down, size, rng):
    """(N, size, size): 24 of 28 pixels, slightly blurred."""
    path, radius = fit(path, radius, down, np.full(len(path), 24 * size / 28), size)
    ink = ndimage.gaussian_filter(coverage(path, radius, down, (size, size)), (0, 0.5, 0.5))
    return ink / ink.max((1, 2), keepdims=True)


def mnist_look(path, radius, down, size, rng):
    """(N, size, size): 20 of 28 pixels, the centre of mass in the middle."""
    path, radius = fit(path, radius, down, np.full(len(path), 20 * size / 28), size)
    ink = coverage(path, radius, down, (size, size))
    grid = np.arange(size) - (size - 1) / 2
    weight = ink.sum((1, 2))
    offset = np.stack([(ink * grid).sum((1, 2)) / weight, (ink * grid[:, None]).sum((1, 2)) / weight], axis=1)
    return coverage(path - offset[:, None], radius, down, (size, size))


LOOK = {'nist36': nist36_look, 'emnist': emnist_look, 'mnist': mnist_look}


# ---------------------------------------------------------------------------------------------------------------------------------- data sets

def save_beside(path, save):
    """save(temporary path), then rename: an interrupted run leaves no half-written file."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    folder, name = os.path.split(path)
    part = os.path.join(folder, f'.part{os.getpid()}-{name}')
    try:
        save(part)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)


def write_nist36(folder, seed=0, per_class=(300, 100, 50)):
    """Write nist36_{train,valid,test}.mat: keys '<split>_data' (N, 1024) and '<split>_labels' (N, 36) one-hot, float64, sorted by class, A-Z then 0-9,
    pictures stored transposed, as in the course's files. Every character has a writer of its own; no writer is in two splits."""
    for split, count, rng in zip(('train', 'valid', 'test'), per_class, np.random.default_rng([seed, 36]).spawn(3)):
        text = ''.join(c * count for c in CLASSES36)
        x = characters(text, 32, 'nist36', rng).transpose(0, 2, 1).reshape(-1, 1024)
        content = {f'{split}_data': np.round(x, 3), f'{split}_labels': np.repeat(np.eye(36), count, axis=0)}
        save_beside(os.path.join(folder, f'nist36_{split}.mat'), lambda path, c=content: scipy.io.savemat(path, c, do_compression=True))


def write_mnist(folder, seed=0, train=10000, test=2000):
    """Write folder/MNIST/raw/*-ubyte, MNIST's four files, as torchvision reads them: digits in random order (the original has 60000 + 10000)."""
    for name, count, rng in zip(('train', 't10k'), (train, test), np.random.default_rng([seed, 10]).spawn(2)):
        x, labels = shuffled_bytes(string.digits, count, 'mnist', rng)
        write_idx(os.path.join(folder, 'MNIST', 'raw'), name, x, labels)


def write_emnist(folder, seed=0, per_class=(600, 100)):
    """Write folder/EMNIST/raw/emnist-balanced-*-ubyte, as torchvision reads them: 47 classes in random order, pictures transposed like the original's
    (which has 2400 + 400 of each class)."""
    for split, count, rng in zip(('train', 'test'), per_class, np.random.default_rng([seed, 47]).spawn(2)):
        x, labels = shuffled_bytes(CLASSES47, count * 47, 'emnist', rng)
        write_idx(os.path.join(folder, 'EMNIST', 'raw'), f'emnist-balanced-{split}', x.transpose(0, 2, 1), labels)


def shuffled_bytes(classes, count, look, rng):
    """count pictures (count, 28, 28) uint8 of the classes in equal parts, in random order, and their labels."""
    labels = rng.permutation(np.arange(count) % len(classes))
    x = characters(''.join(classes[k] for k in labels), 28, look, rng)
    return np.round(255 * x).astype(np.uint8), labels


def write_idx(folder, name, x, labels):
    """LeCun's idx files: 4 bytes magic (0, 0, 8 = bytes, number of dimensions), big-endian dimensions, values."""
    for array, kind in ((x, 'images-idx3'), (labels, 'labels-idx1')):
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, '>i4').tobytes()
        content = head + np.ascontiguousarray(array, np.uint8).tobytes()
        save_beside(os.path.join(folder, f'{name}-{kind}-ubyte'), lambda path, c=content: open(path, 'wb').write(c))


# ---------------------------------------------------------------------------------------------------------------------------------- pages

@dataclass
class Page:
    """A photographed page and what is on it."""
    image: np.ndarray       # (H, W, 3) float in 0..1
    lines: list             # its lines, as written
    boxes: np.ndarray       # (n, 4) int [y1, x1, y2, x2], half-open: the ink of each character in reading order; full stops have none
    text: str               # the n characters


PENS = {                    # radius in hundredths of a capital's height, opacity, grain, colours (RGB)
    'pencil': ((2.5, 4.0), (0.60, 0.80), 0.35, [(0.22, 0.22, 0.24), (0.30, 0.30, 0.30)]),
    'pen':    ((2.2, 3.8), (0.85, 0.97), 0.06, [(0.08, 0.10, 0.40), (0.05, 0.05, 0.10), (0.10, 0.15, 0.55)]),
    'marker': ((4.5, 8.0), (0.88, 0.98), 0.03, [(0.05, 0.05, 0.06), (0.10, 0.12, 0.45), (0.55, 0.08, 0.10), (0.05, 0.35, 0.15)]),
}


def page(lines, rng, writer=None, difficulty=0.3, width=1200, pen=None):
    """A Page that looks like a photo of a handwritten sheet.

    lines       list of lines (or one string with newlines): letters (written as capitals), digits, spaces and full stops
    writer      Writer of one hand (None: a new one)
    difficulty  0: flat, evenly lit, steady; 1: sloping lines, perspective, shadow, the desk around the sheet, blur and noise
    width       of the picture in pixels; its height follows from the number of lines
    pen         'pencil', 'pen' or 'marker' (None: any)
    """
    lines = [' '.join(line.upper().split()) for line in (lines.split('\n') if isinstance(lines, str) else lines)]
    unknown = sorted(set(''.join(lines)) - set(CLASSES36 + ' .'))
    if unknown or not any(set(line) & set(CLASSES36) for line in lines):
        raise ValueError(f'cannot write {"".join(unknown)!r}: a page holds letters, digits, spaces and full stops' if unknown else 'nothing to write')
    writer = writer or Writer(rng, unsteady=0.6)
    radii, opacity, grain, colours = PENS[pen or str(rng.choice(list(PENS)))]
    path, radius, down, text = lay_out(lines, writer, rng, difficulty, rng.uniform(*radii))
    paths, radius, shape, sheet = photograph(path, radius, down, rng, difficulty, width)
    ink, boxes = draw(paths, radius, down, shape)
    written = np.array([c != '.' for c in text])
    grains = ndimage.gaussian_filter(rng.normal(size=shape), 0.8)
    alpha = ink * rng.uniform(*opacity) * np.clip(1 - grain * (0.5 + 1.5 * grains), 0, 1)
    surface = paper(shape, sheet, rng, difficulty)
    image = surface * (1 - alpha[..., None]) + np.array(colours[rng.integers(len(colours))]) * alpha[..., None]
    image = camera(image, rng, difficulty)
    return Page(image, lines, boxes[written], ''.join(np.array(list(text))[written]))


def lay_out(lines, writer, rng, difficulty, pen):
    """Write the lines on a sheet without borders: paths (N, S, 2) and radii (N, S) in hundredths of a capital, down (N, S - 1), the N characters."""
    text = ''.join(lines).replace(' ', '')
    path, radius, down = trace(text.replace('.', 'i'), writer, rng)
    radius = radius * (pen / writer.pen[0])
    dots = np.array([c == '.' for c in text])
    path[dots] = path[dots, :1] * 0 + np.cumsum(rng.normal(0, 0.6, (dots.sum(), path.shape[1], 2)), axis=1).clip(-2, 2) + [0, 97]
    path = (path - [0, 100]) * np.exp(rng.normal(0, 0.03 + 0.04 * difficulty, len(text)))[:, None, None] + [0, 100]
    low, high = extent(path, radius, down)
    gap, space, pitch = rng.uniform(22, 60), rng.uniform(80, 140), rng.uniform(170, 260)
    slope, k = rng.normal(0, 0.012 * (1 + difficulty)), 0
    for row, line in enumerate(lines):
        x, wave, tilt = rng.normal(0, 15), rng.uniform(0, 6), slope + rng.normal(0, 0.006 * (1 + difficulty))
        for c in line:
            if c == ' ':
                x += space * np.exp(rng.normal(0, 0.1))
                continue
            rise = tilt * x + 3 * np.sin(x / 300 + wave) + rng.normal(0, 2 + 2 * difficulty)
            path[k] += [x - low[k, 0], row * pitch + rise]
            x += high[k, 0] - low[k, 0] + (0.5 if c == '.' else 1) * gap * np.exp(rng.normal(0, 0.15 + 0.15 * difficulty))
            k += 1
    return path, radius, down, text


def photograph(path, radius, down, rng, difficulty, width):
    """Look at the sheet through a camera: paths and radii in pixels, the picture's (H, W), and the sheet's corners (4, 2) in pixels, clockwise."""
    low, high = extent(path, radius, down)
    low, high = low.min(0), high.max(0)
    border = rng.uniform(60, 160, 4)
    low, high = low - border[:2], high + border[2:]
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    size = high - low
    turn = rng.normal(0, 0.012 * difficulty)
    seen = (corners - low) / size[0] - 0.5 * size / size[0]
    seen = seen @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    seen = seen * (1 + rng.normal(0, 0.02 * difficulty, (4, 1))) + rng.normal(0, 0.008 * difficulty, (4, 2))
    desk = rng.random() < difficulty * 0.8
    edge = rng.uniform(0.02, 0.08, 4) if desk else np.zeros(4)
    low_seen, high_seen = seen.min(0) - edge[:2], seen.max(0) + edge[2:]
    scale = (width - 1) / (high_seen[0] - low_seen[0])
    seen = (seen - low_seen) * scale
    shape = int(np.ceil((high_seen[1] - low_seen[1]) * scale)) + 1, width
    matrix = homography(corners, seen)
    if not desk:                                                # the sheet goes on beyond the picture
        seen = np.array([[-1, -1], [2, -1], [2, 2], [-1, 2]]) * 10 * max(shape)
    return project(matrix, path), radius * scale / size[0], shape, seen


def homography(a, b):
    """The perspective map (3, 3) that takes four points a (4, 2) to b (4, 2)."""
    rows = [[x, y, 1, 0, 0, 0, -u * x, -u * y] for (x, y), (u, _) in zip(a, b)] + [[0, 0, 0, x, y, 1, -v * x, -v * y] for (x, y), (_, v) in zip(a, b)]
    return np.append(np.linalg.solve(rows, np.concatenate([b[:, 0], b[:, 1]])), 1).reshape(3, 3)


def project(matrix, points):
    """Apply a homography to points (..., 2)."""
    q = points @ matrix[:, :2].T + matrix[:, 2]
    return q[..., :2] / q[..., 2:]


def draw(path, radius, down, shape):
    """Ink (H, W) in 0..1 of all characters and the box of each, (N, 4) [y1, x1, y2, x2]: where it covers at least half of a pixel."""
    ink, boxes = np.zeros(shape), np.zeros((len(path), 4), int)
    for i in range(len(path)):
        low, high = extent(path[i:i + 1], radius[i:i + 1], down[i:i + 1])
        x1, y1 = np.maximum(np.floor(low[0]).astype(int) - 1, 0)
        x2, y2 = np.minimum(np.ceil(high[0]).astype(int) + 2, shape[::-1])
        own = coverage(path[i:i + 1] - [x1, y1], radius[i:i + 1], down[i:i + 1], (y2 - y1, x2 - x1))[0]
        ink[y1:y2, x1:x2] = np.maximum(ink[y1:y2, x1:x2], own)
        ys, xs = np.flatnonzero((own >= 0.5).any(1)), np.flatnonzero((own >= 0.5).any(0))
        if not len(ys):
            raise ValueError(f'{shape[1]} pixels are too few for this text: its strokes vanish; make the picture wider')
        boxes[i] = y1 + ys[0], x1 + xs[0], y1 + ys[-1] + 1, x1 + xs[-1] + 1
    return ink, boxes


def paper(shape, corners, rng, difficulty):
    """The empty sheet and, outside its corners, the desk, in their light: (H, W, 3)."""
    y, x = np.mgrid[:shape[0], :shape[1]].astype(float)
    tint = rng.uniform(0.82, 0.97) * (1 - np.array([0, 0.02, 0.06]) * rng.uniform(0, 1 + difficulty))
    fibre = 0.006 * ndimage.gaussian_filter(rng.normal(size=shape), 1) * 3 + 0.01 * blotches(shape, 40, rng)
    sheet = tint + fibre[..., None]
    inside = np.full(shape, np.inf)
    for a, b in zip(corners, np.roll(corners, -1, axis=0)):
        inside = np.minimum(inside, ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / np.hypot(*(b - a)))
    grain = blotches((shape[0], 1), 3, rng) + 0.5 * blotches(shape, 60, rng)
    desk = np.array([(0.36, 0.25, 0.17), (0.25, 0.25, 0.27), (0.50, 0.38, 0.26)][rng.integers(3)]) * (1 + 0.08 * grain[..., None])
    desk = desk * (1 - 0.4 * np.exp(np.minimum(inside, 0) / 12))[..., None]
    weight = np.clip(inside + 0.5, 0, 1)[..., None]
    return (sheet * weight + desk * (1 - weight)) * light(x, y, shape, rng, difficulty)[..., None]


def light(x, y, shape, rng, difficulty):
    """Brightness (H, W): a gradient, darker corners, and with difficulty the soft shadow of a hand or a head."""
    u, v = x / shape[1] - 0.5, y / shape[0] - 0.5
    a, b, c = rng.normal(0, 0.05 + 0.12 * difficulty, 3)
    bright = 1 + a * u + b * v - abs(c) * (u**2 + v**2)
    angle, where, soft = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.5), rng.uniform(0.03, 0.15)
    shadow = 1 / (1 + np.exp(-(u * np.cos(angle) + v * np.sin(angle) - where) / soft))
    return np.clip(bright - rng.uniform(0, 0.45) * difficulty * shadow, 0.2, 1.1)


def blotches(shape, scale, rng):
    """Smooth noise (H, W) of unit size with features of `scale` pixels: coarse noise, enlarged."""
    coarse = rng.normal(size=tuple(int(np.ceil(s / scale)) + 3 for s in shape))
    rows, columns = (np.arange(s) / scale + 1 for s in shape)
    return ndimage.map_coordinates(coarse, np.meshgrid(rows, columns, indexing='ij'), order=3)


def camera(image, rng, difficulty):
    """Blur, noise of the sensor (a little coarser than a pixel, as JPEG leaves it) and 8 bits."""
    image = ndimage.gaussian_filter(image, (0.5 + 0.7 * difficulty,) * 2 + (0,))
    noise = ndimage.gaussian_filter(rng.normal(size=image.shape), (0.6, 0.6, 0)) * (0.004 + 0.03 * difficulty)
    return np.round(255 * np.clip(image + noise, 0, 1)) / 255


SAMPLES = {                 # file: (lines, seed, difficulty, pen)
    'sample_1.png': (['SHOPPING LIST', '1. 6 EGGS', '2. BREAD AND JAM', '3. 500 G FLOUR', '4. CHEQUERED TAPE'], 21, 0.0, 'pen'),
    'sample_2.png': (['THE QUICK BROWN FOX', 'JUMPS OVER THE', 'LAZY DOG'], 12, 0.35, 'marker'),
    'sample_3.png': (['A B C D E F G H I', 'J K L M N O P Q R', 'S T U V W X Y Z', '0 1 2 3 4 5 6 7 8 9'], 33, 0.2, 'pencil'),
    'sample_4.png': (['DESKS ARE DARK', 'SHADOWS ARE LONG', 'READ ME ANYWAY'], 44, 1.0, 'pen'),
}


def write_samples(folder):
    """Write the sample pages (grey) and their lines into folder/ground_truth.json, beside what that file already holds."""
    truth_path = os.path.join(folder, 'ground_truth.json')
    truth = json.load(open(truth_path)) if os.path.exists(truth_path) else {}
    for name, (lines, seed, difficulty, pen) in SAMPLES.items():
        made = page(lines, np.random.default_rng(seed), difficulty=difficulty, width=900, pen=pen)
        save_image(os.path.join(folder, name), skimage.color.rgb2gray(made.image))
        truth[name] = made.lines
    save_beside(truth_path, lambda path: open(path, 'w').write(json.dumps(truth, indent=1) + '\n'))


def save_image(path, image):
    """Write a float picture in 0..1 as 8 bits."""
    content = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    save_beside(path, lambda part: skimage.io.imsave(part, content, check_contrast=False))


# ---------------------------------------------------------------------------------------------------------------------------------- flowers

def species(label):
    """What the flowers of a class have in common: petals, their pointedness, colours (hue, saturation, value), size of the centre, rows of petals."""
    rng = np.random.default_rng([17, label])
    hues = (0.15, 0.83, 0.0, 0.62, 0.09, 0.92, 0.72, 0.17, 0.97)
    return dict(petals=(5, 6, 8, 13, 3, 4, 21)[label % 7], point=rng.uniform(0.35, 1.8), hue=hues[label % 9], white=label % 5 == 0,
                inner=rng.random(), centre=rng.uniform(0.08, 0.4), centre_hue=rng.choice([0.13, 0.06, 0.3]), rows=1 + label % 3)


def flower_picture(label, size, rng):
    """(size, size, 3): one to four flowers of a class before blurred leaves."""
    green = skimage.color.hsv2rgb(np.stack([0.28 + 0.05 * blotches((size, size), size / 4, rng), np.full((size, size), 0.55),
                                            np.clip(0.3 + 0.12 * blotches((size, size), size / 8, rng), 0.02, 1)], axis=-1).clip(0, 1))
    picture = green * rng.uniform(0.6, 1.2)
    kind = species(label)
    for _ in range(rng.integers(1, 5)):
        colour, alpha = bloom(kind, size, rng)
        picture = picture * (1 - alpha) + colour * alpha
    picture = ndimage.gaussian_filter(picture, (0.7, 0.7, 0)) * rng.uniform(0.75, 1.15)
    return np.clip(picture + rng.normal(0, 0.02, picture.shape), 0, 1)


def bloom(kind, size, rng):
    """One flower: colours (size, size, 3) and opacity (size, size, 1). Petal k covers angles where r < R |cos(n (angle - a_k) / 2)|^point."""
    y, x = np.mgrid[:size, :size] / size - rng.uniform(0.25, 0.75, (2, 1, 1))
    tilt, turn = rng.uniform(0.6, 1), rng.uniform(0, 2 * np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / tilt
    radius, angle = np.hypot(u, v), np.arctan2(v, u) + 0.1 * rng.normal()
    full = rng.uniform(0.18, 0.42)
    hue, colour, alpha = kind['hue'] + rng.normal(0, 0.015), np.zeros((size, size, 3)), np.zeros((size, size, 1))
    for row in range(kind['rows']):
        reach = full * (1 - 0.25 * row)
        petal = np.abs(np.cos(kind['petals'] * (angle + row * np.pi / kind['petals']) / 2)) ** kind['point']
        inside = np.clip((reach * (0.35 + 0.65 * petal) - radius) * size / 2 + 0.5, 0, 1)[..., None]
        t = np.clip(radius / reach, 0, 1)
        value = (0.95 - 0.12 * row) * (0.7 + 0.3 * petal)
        saturation = np.full_like(t, 0.08) if kind['white'] else np.clip(0.9 - 0.5 * kind['inner'] * (1 - t), 0, 1)
        # for one hue, HSV's red, green and blue are straight lines in the saturation: a tenth of hsv2rgb's time
        leaf = value[..., None] * (1 - saturation[..., None] * (1 - skimage.color.hsv2rgb(np.array([hue % 1, 1, 1]))))
        colour, alpha = colour * (1 - inside) + leaf * inside, np.maximum(alpha, inside)
    disc = np.clip((full * kind['centre'] - radius) * size / 2 + 0.5, 0, 1)[..., None]
    heart = skimage.color.hsv2rgb(np.array([kind['centre_hue'], 0.85, 0.8])) * (0.9 + 0.1 * np.sin(90 * radius / full) * np.sin(13 * angle))[..., None]
    return colour * (1 - disc) + heart * disc, alpha


def write_flowers(folder, seed=0, per_class=(24, 12, 12), size=160):
    """Write folder/oxford-flowers17/{train,val,test}/<0..16>/image_XXXX.jpg: 17 classes of drawn flowers, size x size pixels (the real set: 40 + 20 + 20)."""
    target, part = (os.path.join(folder, name) for name in ('oxford-flowers17', f'.part{os.getpid()}-oxford-flowers17'))
    number = 0
    try:
        for split, count, rng in zip(('train', 'val', 'test'), per_class, np.random.default_rng([seed, 17]).spawn(3)):
            for label in range(17):
                for _ in range(count):
                    number += 1
                    save_image(os.path.join(part, split, str(label), f'image_{number:04d}.jpg'), flower_picture(label, size, rng))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------------------------------- command

def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--text', default='HELLO WORLD', help=r'what to write; \n starts a new line (default HELLO WORLD)')
    parser.add_argument('--writer', type=int, default=0, help='number of the hand that writes, 0 or more (default 0)')
    parser.add_argument('--difficulty', type=float, default=0.3, help='0: flat and evenly lit, to 1: slope, shadow, desk, noise (default 0.3)')
    parser.add_argument('--pen', choices=list(PENS), help='otherwise the writer chooses')
    parser.add_argument('--width', type=int, default=1200, help='of the picture, in pixels (default 1200)')
    parser.add_argument('-o', '--output', default='page.png', help='picture to write, .png or .jpg (default page.png)')
    parser.add_argument('--samples', metavar='DIR', help='write the sample pages and their ground truth into DIR instead')
    args = parser.parse_args(argv)
    if args.writer < 0 or args.width < 1 or not 0 <= args.difficulty <= 1:
        parser.error('--writer is 0 or more, --width at least 1, --difficulty from 0 to 1')
    if not args.output.lower().endswith(('.png', '.jpg', '.jpeg')):
        parser.error(f'-o {args.output}: the name must end in .png or .jpg')
    try:
        if args.samples:
            write_samples(args.samples)
            print(f'{args.samples}: {", ".join(SAMPLES)} and ground_truth.json')
            return
        made = page(args.text.replace('\\n', '\n'), np.random.default_rng(args.writer), difficulty=args.difficulty, width=args.width, pen=args.pen)
        save_image(args.output, made.image)
    except (ValueError, OSError) as error:
        raise experiment.UserError(error) from None
    print(f'{args.output}: {len(made.text)} characters in {len(made.lines)} lines, {made.image.shape[1]} x {made.image.shape[0]} pixels')


if __name__ == '__main__':
    experiment.script(main)
