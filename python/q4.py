"""From a photo of a page to its text: find the characters, put them in reading order, show each to a network.

A photo of handwriting is dark strokes on something brighter, but no one threshold tells them apart: the light falls off across the page, a hand throws a
shadow, the desk around the sheet is darker than the ink. So findLetters first asks how bright the empty paper would be at every place, and takes for ink
what is much darker than that. Connected ink makes pieces; pieces that belong together make characters; characters make rows, rows make words. Each
character is then drawn again in the look of the pictures the network was trained on, and each word is read as letters or as digits, whichever is likelier.

    bboxes, bw = findLetters(image)                                     Q4.2
    rows = find_rows(bboxes); words = find_words(rows[0])               reading order
    page = read(image, classify)                                        Q4.4, with any classifier; page.lines is the text

Nothing here is tuned to particular photos: lengths are in heights of a character, and thresholds come from the page itself.
"""
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

import datasets
from nn import forward, sigmoid, softmax

WORKING_PIXELS = 2.2e6      # findLetters works on a copy of about this size
CANVAS, LONGEST = 96, 64    # a glyph is first brought to this square, its longer side to this length, in pixels
PEN = 0.165                 # typical width of a stroke in the training pictures (NIST36, EMNIST), per longer side of the character

# lengths in heights of a character, chosen on rendered pages
BROKEN = 0.13               # widest gap between a single stroke and the character it broke from
USUAL_SPACE = 0.75          # between words and within, where a page has too little to tell
ONE_HEAP = 0.6              # where all gaps are alike, they are spaces if wider
HEAPS = 3.5                 # distance between two heaps of gaps, per spread within, from which they are two

# letters or digits: how much likelier a word is of the kind of its line, and the number of a list to be digits; 3 to 30 read rendered pages of sentences, lists
# and tables equally well. NEXT: how much likelier the number of a list is to be the next one
KIND, NUMBERED, NEXT = 10, 30, 30


# ---------------------------------------------------------------- Q4.2: find the characters

def findLetters(image):
    """Find the handwritten characters in a photo of a page.

    image   float RGB (H, W, 3) in 0..1; grey (H, W), RGBA and integer types are taken too

    returns (bboxes, bw):
        bboxes  (n, 4) int, [y1, x1, y2, x2] of each character, half-open as in skimage, in reading order; (0, 4) for an empty page
        bw      (H, W) float, ink of characters and full stops 0 on background 1

    1. Reduce: average blocks of pixels until about two million are left. What follows takes the same time for any camera.
    2. Find the sheet: the largest region without a sharp edge inside. Darker regions that reach the picture's border are desk.
    3. Divide by the paper: a morphological closing paints over strokes and leaves the paper's brightness, shadows and all.
    4. Threshold: ink is at least half as dark as the darkest ink nearby and stands out of the noise; it goes on where it is a third as dark (hysteresis).
    5. Label the connected pieces of ink, and pass over those without a sharp outline or much fainter than most, which are shadow. The height of a character
       is the one that most ink has.
    6. Part lines that touch: in pieces much taller than a character only the dark core of the strokes counts.
    7. Join pieces of one character: above one another, or a fragment or single stroke beside what it broke from.
    8. Drop what is no character: specks, full stops, lines, and whatever lies across the edge of the sheet.
    """
    image = as_grey(image)
    grey, factor = reduce(image)
    desk = find_desk(grey)
    contrast = contrast_to_paper(grey, desk)
    ink, core = find_ink(contrast)
    labels, pieces = find_pieces(ink, contrast, desk)
    height = character_height(pieces)
    tall = np.flatnonzero(pieces.sides[0] > 1.6 * height) + 1
    if len(tall):
        labels, pieces = find_pieces(np.where(np.isin(labels, tall), core, ink), contrast, desk)
    owner = join_pieces(pieces, labels, height)
    bboxes, kept = keep_characters(pieces, owner, height)
    kept |= full_stops(pieces, bboxes, height)
    bw = enlarge(~np.concatenate([[False], kept])[labels], factor, image.shape)
    return reading_order(clip_boxes(bboxes * factor, image.shape)), bw


def as_grey(image):
    """Any picture as float32 brightness, (H, W) or still (H, W, 3), in 0..1. Raises ValueError where it is no picture."""
    image = np.asarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f'a picture has shape (H, W) or (H, W, 3), not {image.shape}')
    if image.dtype.kind in 'iub':
        image = image / np.float32(1 if image.dtype == bool else np.iinfo(image.dtype).max)
    if image.ndim == 3 and image.shape[2] in (2, 4):        # transparent shows white paper
        alpha = image[..., -1:]
        image = image[..., :-1] * alpha + (1 - alpha)
    return image


def reduce(image):
    """(H, W) or (H, W, c) -> (grey (h, w) float32, factor): means over factor x factor blocks; the last block is filled up by repeating the edge."""
    factor = max(1, round((image.shape[0] * image.shape[1] / WORKING_PIXELS) ** 0.5))
    weights = np.array([0.299, 0.587, 0.114] if image.ndim == 3 and image.shape[2] == 3 else [1.0], np.float32) / factor**2
    height, width = -(-image.shape[0] // factor), -(-image.shape[1] // factor)
    rows = np.minimum(np.arange(height) * factor, image.shape[0] - 1)
    total = image[rows].astype(np.float32)
    for i in range(1, factor):
        total += image[np.minimum(rows + i, image.shape[0] - 1)]
    total = total.reshape(height, image.shape[1], -1) @ weights
    total = np.pad(total, ((0, 0), (0, width * factor - image.shape[1])), mode='edge')
    grey = total.reshape(height, width, factor).sum(axis=2)
    return np.nan_to_num(np.maximum(grey, 0), nan=1, posinf=1), factor


def enlarge(picture, factor, shape):
    """The inverse of reduce() for a mask: every pixel becomes factor x factor, cut to shape; float32."""
    wide = np.repeat(picture.astype(np.float32), factor, axis=1)[:, :shape[1]]
    return np.repeat(wide, factor, axis=0)[:shape[0]]


def find_desk(grey):
    """Mask (h, w) of what lies around the sheet: what is much darker, reaches the picture's border, and meets the sheet in a sharp edge. May be empty."""
    step = max(1, min(grey.shape) // 250)
    small = grey[:grey.shape[0] // step * step, :grey.shape[1] // step * step]
    small = small.reshape(small.shape[0] // step, step, -1, step).mean(axis=(1, 3))
    closed = ndimage.grey_closing(small, size=max(3, min(small.shape) // 25))           # no thin ink
    sheet = find_sheet(small, closed)
    edge = ndimage.binary_dilation(local_ratio(closed) > 1.25, iterations=2)
    labels, _ = ndimage.label(~sheet)
    at_border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    desk = np.zeros(sheet.shape, bool)
    for part in (labels == i for i in at_border if i):
        if part.mean() > 0.002 and edge[ndimage.binary_dilation(part) & sheet].mean() > 0.6:
            desk |= part
    desk = ndimage.binary_dilation(desk, iterations=2)
    return resize_nearest(desk & ~desk.all(), grey.shape)


def find_sheet(small, closed):
    """Mask of the sheet in a picture, with and without its ink: the smooth region that is largest and brightest, and what is about as bright beside it.

    A deep shadow with a sharp edge looks like a desk; but where there is writing in it, it lies on the sheet.
    """
    region = smooth_region(closed)
    labels, _ = ndimage.label(closed >= np.where(region, 0.45, 0.6) * np.median(closed[region]))
    sheet = ndimage.binary_fill_holes(labels == np.argmax(np.bincount(labels[region & (labels > 0)])))
    shade = smooth_region(np.where(sheet, 0, closed))
    return sheet | ndimage.binary_dilation(shade, iterations=3) if written(small, shade, sheet) else sheet


def smooth_region(closed):
    """Mask of the largest and brightest region without a sharp edge inside."""
    labels, count = ndimage.label(local_ratio(closed) < 1.2)
    size = np.bincount(labels.ravel(), minlength=count + 1) * ndimage.median(closed, labels, np.arange(count + 1))**4
    size[0] = -1                # the edges; or all, where nothing is smooth
    return labels == np.argmax(size)


def local_ratio(closed):
    """How much brighter the brightest of a pixel and its neighbours is than the darkest; in the dark, differences count less."""
    return (ndimage.maximum_filter(closed, 3) + 0.05) / (ndimage.minimum_filter(closed, 3) + 0.05)


def written(small, shade, sheet):
    """Is there writing in the shade? Then ink as dark as the sheet's stands out of a ground about as smooth as the sheet's, and is not much rarer."""
    contrast = contrast_to_paper(small, np.zeros(small.shape, bool))
    parts = [contrast[ndimage.binary_erosion(part, iterations=5)] for part in (shade, sheet)]
    if min(map(len, parts)) < 1000:
        return False
    shade, sheet = (part - np.median(part) for part in parts)
    ink = max(0.5 * np.percentile(sheet, 99.5), 0.1)
    rough = np.median(np.abs(shade)), np.median(np.abs(sheet))
    return rough[0] < min(3 * rough[1] + 0.01, ink / 6) and np.mean(shade > ink) > 0.25 * np.mean(sheet > ink)


def resize_nearest(mask, shape):
    """mask stretched to shape, without interpolation."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, mask.shape))
    return mask[np.ix_(rows, columns)]


def contrast_to_paper(grey, desk):
    """How much darker than the paper, (h, w) in about 0..1: 0 on paper in any light, 1 for black. 0 on the desk, which lends the paper no brightness."""
    smooth = ndimage.gaussian_filter(grey, 0.7)
    window = max(5, min(grey.shape) // 8 | 1)           # odd, or the closing would move edges by a pixel
    widened = ndimage.maximum_filter(np.where(desk, 0, smooth), window)
    paper = ndimage.minimum_filter(np.where(desk, np.inf, widened), window)
    contrast = np.where(desk, 0, 1 - smooth / np.maximum(paper, 1e-3))
    return contrast - np.median(contrast[::5, ::5])


def find_ink(contrast):
    """Two masks (h, w): ink, by a threshold with hysteresis that follows the darkest ink around, and its darker core."""
    sample = contrast[::3, ::3]
    noise = 1.4826 * np.median(np.abs(sample))
    window = max(5, min(contrast.shape) // 8)
    darkest = ndimage.gaussian_filter(ndimage.maximum_filter(contrast[::4, ::4], max(1, window // 4)), window / 16)
    darkest = np.maximum(resize_nearest(darkest, contrast.shape), max(8 * noise, 0.12))
    labels, count = ndimage.label(contrast > 0.33 * darkest, structure=np.ones((3, 3)))
    strong = np.zeros(count + 1, bool)
    strong[labels[contrast > 0.5 * darkest]] = True
    strong[0] = False
    return strong[labels], contrast > 0.6 * darkest


@dataclass
class Pieces:
    """Connected pieces of ink: boxes (n, 4) [y1, x1, y2, x2], area (n,) in pixels, astray (n,): shadow, or lies across the edge of the sheet."""
    boxes: np.ndarray
    area: np.ndarray
    astray: np.ndarray

    @property
    def sides(self):
        """Height and width of each, (n,) and (n,)."""
        return self.boxes[:, 2] - self.boxes[:, 0], self.boxes[:, 3] - self.boxes[:, 1]


def find_pieces(ink, contrast, desk):
    """Label the ink: labels (h, w), 0 on paper, and Pieces, of which piece i has label i + 1."""
    labels, count = ndimage.label(ink, structure=np.ones((3, 3)))
    boxes = np.array([[y.start, x.start, y.stop, x.stop] for y, x in ndimage.find_objects(labels)], int).reshape(-1, 4)
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    edge = ndimage.binary_dilation(desk, iterations=3) if desk.any() else desk
    astray = np.isin(np.arange(1, count + 1), np.unique(labels[edge]))
    inside, around = contrast_of(labels, contrast, count)
    # a shadow has no sharp outline, or is much fainter than the ink of the page
    ink = inside > 0.25 * (np.median(contrast[labels > 0]) if count else 0)
    return labels, Pieces(boxes, area, astray | (around > 0.4 * inside) | ~ink)


def contrast_of(labels, contrast, count):
    """Mean contrast (count,) inside each of the pieces 1 ... count, and (count,) in a ring 2 to 5 pixels off it."""
    ring = np.where(ndimage.maximum_filter(labels, 5) > 0, 0, ndimage.maximum_filter(labels, 11))

    def mean(where):
        picked = where > 0
        where = where[picked]
        total = np.bincount(where, contrast[picked], minlength=count + 1)
        return (total / np.maximum(np.bincount(where, minlength=count + 1), 1))[1:]
    return mean(labels), mean(ring)


def surround(boxes):
    """The box around all of boxes (n, 4)."""
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def character_height(pieces):
    """Height of most characters in pixels: the median over pieces, each counted by its ink, so that specks have no say. 0 without pieces.

    What lies around all else, as a frame does, has no say either.
    """
    height, width = pieces.sides
    fit = ~pieces.astray & (height >= 5) & (width < 6 * height)
    if not fit.any():
        return 0.0
    frame = np.all(np.abs(pieces.boxes - surround(pieces.boxes[fit])) <= 2, axis=1)
    if np.sum(fit & ~frame) > 2:
        fit &= ~frame
    order = np.argsort(height[fit])
    # a stroke's ink grows with its length; the square root keeps one great blot from outvoting a page
    weight = np.cumsum(np.sqrt(pieces.area[fit][order]) * height[fit][order])
    return float(height[fit][order][np.searchsorted(weight, weight[-1] / 2)])


# ---------------------------------------------------------------- from pieces to characters

def join_pieces(pieces, labels, height):
    """Which character each piece belongs to, (n,): the index of one of its pieces.

    Two pieces join if, in units of the larger one's height (or of half a character, if that is more),
        one stands above the other: they share most of the narrower one's width, with a gap of at most 0.3 between them, or
        one is a fragment, less than 0.6 high, that lies within 0.12 of the other, or
        one is a single stroke, and ink comes as near as 0.13: the stem of a K, a leg of an M;
    and if what they make is not much larger than a character.
    """
    owner = np.arange(len(pieces.area))
    tall, wide = pieces.sides
    large = np.flatnonzero((np.maximum(tall, wide) >= 0.12 * height) & ~pieces.astray & (tall < 4 * height) & (wide < 6 * height))
    if len(large) < 2:
        return owner
    boxes = pieces.boxes.astype(float)
    pairs = [sorted(pair, key=lambda k: -pieces.area[k]) for pair in large[near_pairs(boxes[large], 1.5 * height)].tolist()]
    for first, second in sorted(pairs, key=lambda pair: -pieces.area[pair[1]]):
        i, j = root(owner, first), root(owner, second)
        if i != j and (belong_together(boxes[i], boxes[j], height) or broken_off(first, second, boxes[i], boxes[j], pieces, labels, height)):
            owner[j] = i
            boxes[i] = surround(boxes[[i, j]])
    return np.array([root(owner, i) for i in range(len(owner))])


def near_pairs(boxes, reach):
    """Pairs (m, 2) of boxes whose centres are within reach of one another."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return cKDTree(centres).query_pairs(reach, output_type='ndarray')


def broken_off(first, second, a, b, pieces, labels, height):
    """Is one of two pieces, first and second, a single stroke that ends close to the other? a and b: boxes of the characters they belong to so far."""
    if max(a[3], b[3]) - min(a[1], b[1]) > 1.1 * height or max(a[2], b[2]) - min(a[0], b[0]) > 1.4 * height:
        return False
    box = pieces.boxes[[first, second]]
    reach = BROKEN * height
    if (np.maximum(box[0, :2], box[1, :2]) - np.minimum(box[0, 2:], box[1, 2:])).max() > reach:
        return False
    ink = [np.argwhere(labels[y1:y2, x1:x2] == k + 1) + [y1, x1] for k, (y1, x1, y2, x2) in zip((first, second), box)]
    if not any(single_stroke(points) for points in ink):
        return False
    return cKDTree(ink[0]).query(ink[1], distance_upper_bound=reach)[0].min() <= reach


def single_stroke(points):
    """Do ink pixels (n, 2) make one fairly straight stroke? Then they spread much less across than along (principal axes)."""
    if len(points) < 3:
        return True
    small, large = np.linalg.eigvalsh(np.cov(points.T))
    return small < 0.1 * large


def root(owner, i):
    """Follow owner to the piece that owns itself."""
    while owner[i] != i:
        i = owner[i]
    return i


def belong_together(a, b, height):
    """Are boxes a and b parts of one character? See join_pieces()."""
    size = np.minimum(a[2:] - a[:2], b[2:] - b[:2])
    gap_y, gap_x = np.maximum(a[:2], b[:2]) - np.minimum(a[2:], b[2:])         # negative: overlap
    joined_y, joined_x = np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])
    larger = max(a[2] - a[0], b[2] - b[0])
    unit = max(larger, 0.5 * height)
    if joined_y > 1.5 * max(unit, 0.8 * height) or joined_x > 1.7 * max(unit, 0.8 * height):
        return False
    stacked = -gap_x >= 0.5 * size[1] and gap_y <= 0.3 * unit
    fragment = size[0] < 0.6 * larger and max(gap_x, gap_y) <= 0.12 * unit
    return stacked or fragment


def keep_characters(pieces, owner, height):
    """Boxes (m, 4) of the characters, and which pieces (n,) make them up: not what is too small, too long, or across the edge of the sheet."""
    characters, index = np.unique(owner, return_inverse=True)
    boxes = np.empty((len(characters), 4), int)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(int).max, 0
    np.minimum.at(boxes[:, :2], index, pieces.boxes[:, :2])
    np.maximum.at(boxes[:, 2:], index, pieces.boxes[:, 2:])
    tall, wide = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    good = (tall >= max(0.4 * height, 6)) & (tall <= 3.5 * height) & (wide <= 4 * height) & (wide <= 2.5 * tall)
    good &= ~np.isin(characters, owner[pieces.astray])
    return boxes[good], good[index] if len(index) else np.zeros(0, bool)


def full_stops(pieces, bboxes, height):
    """Which pieces (n,) are full stops: small and round, to the right of a character, level with its foot. They get no box, but stay in the picture."""
    tall, wide = pieces.sides
    found = (np.maximum(tall, wide) < 0.4 * height) & (np.minimum(tall, wide) > 0.05 * height) & ~pieces.astray
    for i in np.flatnonzero(found):
        y1, x1, y2, _ = pieces.boxes[i]
        foot = bboxes[:, 2] - (y1 + y2) / 2
        found[i] = np.any((x1 >= bboxes[:, 3] - 0.1 * height) & (x1 - bboxes[:, 3] < 0.8 * height) & (np.abs(foot) < 0.25 * height))
    return found


def clip_boxes(boxes, shape):
    """Boxes cut to the picture."""
    return np.minimum(boxes, [shape[0], shape[1], shape[0], shape[1]])


# ---------------------------------------------------------------- rows and words

def reading_order(bboxes):
    """Boxes (n, 4) sorted: row after row, left to right."""
    rows = find_rows(bboxes)
    return np.concatenate(rows) if rows else np.zeros((0, 4), int)


def find_rows(bboxes):
    """Group boxes into rows of text.

    bboxes  (n, 4) [y1, x1, y2, x2] in any order

    returns a list of (k, 4) arrays, rows from top to bottom, boxes from left to right.

    1. Straighten: the slope of most pairs of neighbours is the page's; take it out.
    2. From left to right, put each box to the row whose last three boxes it continues, or begin a new row.
    3. Put rows together that continue one another.
    """
    bboxes = np.asarray(bboxes).reshape(-1, 4)
    if not len(bboxes):
        return []
    centres = (bboxes[:, :2] + bboxes[:, 2:]) / 2
    height = np.median(bboxes[:, 2] - bboxes[:, 0])
    y = centres[:, 0] - page_slope(centres, height) * centres[:, 1]
    rows = []
    for i in np.argsort(centres[:, 1], kind='stable'):
        distance = [abs(y[i] - np.mean(y[row[-3:]])) for row in rows]
        nearest = int(np.argmin(distance)) if rows else -1
        if rows and distance[nearest] < 0.6 * height:
            rows[nearest].append(i)
        else:
            rows.append([i])
    rows = join_rows(rows, bboxes, y, height)
    rows.sort(key=lambda row: np.mean(y[row]))
    return [bboxes[row] for row in rows]


def page_slope(centres, height):
    """dy/dx of the lines: the median over pairs of neighbours, each box with the nearest to its right that is not above or below it."""
    dy = centres[None, :, 0] - centres[:, None, 0]
    dx = centres[None, :, 1] - centres[:, None, 1]
    right = (dx > 0.3 * height) & (dx < 4 * height) & (np.abs(dy) < 0.5 * dx)
    cost = np.where(right, dx + 2 * np.abs(dy), np.inf)
    nearest = cost.argmin(axis=1)
    found = np.isfinite(cost[np.arange(len(cost)), nearest])
    if not found.any():
        return 0.0
    i, j = np.flatnonzero(found), nearest[found]
    return float(np.median(dy[i, j] / dx[i, j]))


def join_rows(rows, bboxes, y, height):
    """Join rows, lists of indices, where one goes on at the height where the other ends and beside it."""
    rows = sorted(rows, key=len, reverse=True)
    kept = []
    for row in rows:
        x1, x2 = bboxes[row, 1].min(), bboxes[row, 3].max()
        for other in kept:
            taken = bboxes[other]
            overlap = np.minimum(x2, taken[:, 3]) - np.maximum(x1, taken[:, 1])
            near = np.argsort(np.maximum(taken[:, 1] - x2, x1 - taken[:, 3]))[:3]
            if overlap.max() <= 0.1 * height and abs(np.mean(y[row]) - np.mean(y[np.array(other)[near]])) < 0.6 * height:
                other.extend(row)
                other.sort(key=lambda i: bboxes[i, 1] + bboxes[i, 3])
                break
        else:
            kept.append(list(row))
    return kept


def gaps(row):
    """Free width (k - 1,) between each box of a row and the next; negative where they overlap."""
    return row[1:, 1] - np.maximum.accumulate(row[:, 3])[:-1]


def word_gap(rows):
    """The width, in pixels, above which a gap is a space between words, found from all rows of a page.

    Gaps fall into two heaps, within and between words. If the heaps do not lie apart there is but one: a page of single characters, or of single words, and
    the middle of all gaps says which.
    """
    if not rows or max(map(len, rows)) < 2:
        return 1.0
    height = np.median(np.concatenate([row[:, 2] - row[:, 0] for row in rows]))
    values = np.sort(scale_gap(np.concatenate([gaps(row) for row in rows]) / height))
    usual, cut = scale_gap(USUAL_SPACE), best_cut(values)
    if cut is None:
        single = np.median(values) > scale_gap(ONE_HEAP)
        cut = min(usual, values[0] - 0.01) if single else max(usual, values[-1] + 0.01)
    return float(height * (np.exp(cut) - 1))


def scale_gap(gap):
    """Gaps in heights of a character, on a scale on which narrow and wide ones vary alike."""
    return np.log(1 + np.maximum(gap, -0.5))


def best_cut(values):
    """Where to cut sorted values, on the scale of scale_gap(), into two heaps; None if they are one.

    The best cut leaves little spread within the heaps, falls in a wide empty interval, and is not far from the usual width of a space.
    """
    best = None
    for i in range(1, len(values)):
        low, high = values[:i], values[i:]
        spread = np.sqrt((np.sum((low - low.mean())**2) + np.sum((high - high.mean())**2)) / len(values) + 0.05**2)
        cut = (values[i - 1] + values[i]) / 2
        cost = np.log(spread) - 0.3 * np.log(values[i] - values[i - 1] + 0.02) + 0.5 * ((cut - scale_gap(USUAL_SPACE)) / 0.8)**2
        if best is None or cost < best[0]:
            best = cost, cut, (high.mean() - low.mean()) / spread
    return best[1] if best and best[2] > HEAPS else None


def find_words(row, gap=None):
    """Cut a row (k, 4) into words, a list of (m, 4) arrays, at gaps wider than gap pixels (default: what word_gap finds in this row alone)."""
    if not len(row):
        return []
    gap = word_gap([row]) if gap is None else gap
    return np.split(row, np.flatnonzero(gaps(row) > gap) + 1)


# ---------------------------------------------------------------- from a box to the network's input

def cut_out(bbox, bw):
    """The ink of one character, and not what its neighbours reach into its box with: bool (h, w), True on ink.

    bbox [y1, x1, y2, x2] and bw as findLetters returns them. A piece counts as the character's own if most of it lies in the box.
    """
    y1, x1, y2, x2 = (int(v) for v in bbox)
    margin = max(y2 - y1, x2 - x1) // 3
    step = max(1, max(y2 - y1, x2 - x1) // (2 * LONGEST))
    top, left = max(0, y1 - margin // step * step), max(0, x1 - margin // step * step)
    ink = bw[top:y2 + margin:step, left:x2 + margin:step] < 0.5
    labels, count = ndimage.label(ink, structure=np.ones((3, 3)))
    y1, x1, y2, x2 = (y1 - top) // step, (x1 - left) // step, -((top - y2) // step), -((left - x2) // step)
    within = np.bincount(labels[y1:y2, x1:x2].ravel(), minlength=count + 1)
    own = 2 * within > np.bincount(labels.ravel(), minlength=count + 1)
    own[0] = False
    mask = own[labels][y1:y2, x1:x2]
    return mask if mask.any() else ink[y1:y2, x1:x2]


def glyphs(bboxes, bw):
    """The characters in boxes (n, 4) of bw as distances to their outlines, (n, CANVAS, CANVAS) float32, negative inside.

    Each is enlarged or reduced so that its longer side is LONGEST pixels, and centred. As distances, a stroke is made wider or thinner by adding a number.
    """
    return np.stack([outline_distance(centre(cut_out(box, bw))) for box in bboxes]) if len(bboxes) else np.zeros((0, CANVAS, CANVAS), np.float32)


def centre(mask):
    """mask (h, w) cut to its ink, its longer side brought to LONGEST, in the middle of CANVAS x CANVAS: bool."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(ys):
        return np.zeros((CANVAS, CANVAS), bool)
    mask = mask[ys[0]:ys[-1] + 1, xs[0]:xs[-1] + 1]
    scale = LONGEST / max(mask.shape)
    rows, columns = (resampling(n, CANVAS, n / 2, scale, linear_kernel) for n in mask.shape)
    return ndimage.gaussian_filter(rows @ mask.astype(np.float32) @ columns.T, 0.6) > 0.5


def outline_distance(mask):
    """Signed distance in pixels to the outline of mask, negative inside."""
    if not mask.any():
        return np.full(mask.shape, CANVAS, np.float32)
    return (ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)).astype(np.float32)


def linear_kernel(t):
    return np.maximum(0, 1 - np.abs(t))


def cubic_kernel(t):
    """Keys' bicubic kernel (a = -1/2), with the overshoot that rings around strokes."""
    t = np.abs(t)
    return np.where(t < 1, (1.5 * t - 2.5) * t**2 + 1, np.where(t < 2, ((2.5 - 0.5 * t) * t - 4) * t + 2, 0))


def resampling(size_in, size_out, middle, scale, kernel):
    """Matrix (size_out, size_in) that samples a line of pixels so that position middle comes to the centre, enlarged by scale; smooths when it reduces."""
    at = (np.arange(size_out) + 0.5 - size_out / 2) / scale + middle - 0.5
    weights = kernel((at[:, None] - np.arange(size_in)) * min(scale, 1))
    total = 1 / min(scale, 1)           # what the weights sum to, well inside; beyond the edges there is paper
    return (weights / total).astype(np.float32)


def pen_width(distance):
    """Width of the strokes (n,) in pixels, from distances (n, s, s): the mean depth inside a stroke is a quarter of its width."""
    inside = distance < 0
    depth = -np.sum(distance * inside, axis=(1, 2)) / np.maximum(inside.sum(axis=(1, 2)), 1)
    return 4 * depth


def redraw(distance, pen, size, longest, kernel, angle=0.0, slant=0.0, blur=0.0):
    """Draw glyphs again with a chosen pen: distances (n, CANVAS, CANVAS) -> (n, size, size), ink 1 on 0, not clipped.

    pen      width of the strokes wanted, per longer side of the character
    longest  the longer side of the result, in its pixels
    angle    turn (radians), slant (dx per dy): a variant of the same character
    """
    grow = np.clip((pen * LONGEST - pen_width(distance)) / (2 - 2 * pen), -4, 8)     # wider strokes make the character longer, too
    ink = np.clip(0.5 - (distance - grow[:, None, None]), 0, 1)
    if angle or slant:
        matrix = np.array([[1, 0], [slant, 1]]) @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = (CANVAS - 1) / 2 * (1 - matrix.sum(axis=1))
        ink = np.stack([ndimage.affine_transform(picture, matrix, offset, order=1) for picture in ink])
    if blur:
        ink = ndimage.gaussian_filter(ink, (0, blur, blur))
    out = np.zeros((len(ink), size, size), np.float32)
    for n, picture in enumerate(ink):
        ys, xs = np.flatnonzero(picture.max(axis=1) > 0.5), np.flatnonzero(picture.max(axis=0) > 0.5)
        if len(ys):
            scale = longest / (max(np.ptp(ys), np.ptp(xs)) + 1)
            rows, columns = (resampling(CANVAS, size, (k[0] + k[-1] + 1) / 2, scale, kernel) for k in (ys, xs))
            out[n] = rows @ picture @ columns.T
    return out


def nist36_look(distance, pen=PEN, **variant):
    """Crops (n, 32, 32) as NIST36 shows characters, upright: longer side 25 pixels, bicubic with its ringing, ink near 0 on paper near 0.94."""
    crops = redraw(distance, pen, 32, 25, cubic_kernel, **variant)
    low, high = crops.min(axis=(1, 2), keepdims=True), crops.max(axis=(1, 2), keepdims=True)
    return 1 - (crops - low) / np.maximum(high - low, 1e-6)


def emnist_look(distance, pen=PEN, **variant):
    """Crops (n, 28, 28) as EMNIST shows characters, upright: blurred, longer side 24 pixels with 2 around, bicubic, ink near 1 on 0."""
    return np.clip(redraw(distance, pen, 28, 23, cubic_kernel, blur=1.0, **variant), 0, 1)


# ---------------------------------------------------------------- Q4.4: read

VARIANTS = [dict(), dict(angle=0.15), dict(angle=-0.15), dict(slant=0.25), dict(slant=-0.25), dict(pen=0.8 * PEN), dict(pen=1.2 * PEN)]


@dataclass
class Reading:
    """What was read on a page.

    lines   the text, one string per row, words separated by one space
    rows    boxes of each row, a list of (k, 4); words: the same cut further, a list of lists
    boxes   (n, 4), all boxes in reading order; text: their n characters; crops (n, size, size) as the classifier saw them
    bw      the picture of the ink
    """
    lines: list
    words: list
    boxes: np.ndarray
    text: str
    crops: np.ndarray
    bw: np.ndarray


def numpy_classifier(params):
    """A classifier from the 64-unit network of question 3: crops (n, 32, 32), upright, -> probabilities (n, 36)."""
    def classify(crops):
        hidden = forward(datasets.flatten(crops), params, 'layer1', sigmoid)
        return forward(hidden, params, 'output', softmax)
    return classify


def read(image, classify, classes=datasets.CLASSES, look=nist36_look, variants=VARIANTS):
    """Read a photo of a page.

    image     as for findLetters
    classify  any function from crops (n, size, size), upright, in that look, to class probabilities (n, len(classes))
    classes   the class names as one string; small letters count as capitals
    look      nist36_look, emnist_look, or any function from glyphs() and variant arguments to crops
    variants  the ways in which each crop is shown; the log-probabilities are averaged

    returns a Reading
    """
    bboxes, bw = findLetters(image)
    rows = find_rows(bboxes)
    gap = word_gap(rows)
    words = [find_words(row, gap) for row in rows]
    boxes = np.concatenate(rows) if rows else np.zeros((0, 4), int)
    distance = glyphs(boxes, bw)
    crops = look(distance)
    log_probs, names = log_probabilities(distance, classify, classes, look, variants)
    text = spell(log_probs, names, [[len(word) for word in line] for line in words], [numbered(line, bw) for line in words])
    lines = split(text, words)
    return Reading(lines, words, boxes, text, crops, bw)


def log_probabilities(distance, classify, classes, look, variants):
    """Mean log-probability (n, 36) of each capital and digit over the variants, and their names."""
    names = ''.join(dict.fromkeys(classes.upper()))
    merge = np.array([[c.upper() == name for name in names] for c in classes], float)
    if not len(distance):
        return np.zeros((0, len(names))), names
    return np.mean([np.log(np.asarray(classify(look(distance, **v)), float) @ merge + 1e-4) for v in variants], axis=0), names


def numbered(line, bw):
    """Does the first word of a line, of several, end in a full stop, as the number in a list does? line: words (m, 4) of boxes."""
    if len(line) < 2:
        return False
    y1, _, y2, x1 = line[0][-1]
    ink = bw[(y1 + 3 * y2) // 4:y2 + (y2 - y1) // 4, x1:min(line[1][0, 1], x1 + y2 - y1)] < 0.5
    labels, _ = ndimage.label(ink)
    # the character's own foot may reach into the strip; a full stop lies clear of its left edge
    return any(x.start > 0 for _, x in ndimage.find_objects(labels))


def spell(log_probs, names, lengths, numbered):
    """Letters or digits, word by word: the text (n characters) from log_probs (n, classes).

    lengths    for each line, the number of characters in each of its words
    numbered   for each line, whether it begins with a number and a full stop, by its looks

    A word is either letters or digits, whichever its characters make likelier together. That leaves single characters in doubt, O or 0, I or 1: a line has
    mostly one kind, so a word counts as KIND times likelier to be of its line's kind, and the number of a list as NUMBERED times likelier to be digits.
    """
    digit = np.array([name.isdigit() for name in names])
    best = np.column_stack([np.where(kind, log_probs, -np.inf).max(axis=1) for kind in (~digit, digit)])
    text, start, starts = [], 0, []
    for line, number in zip(lengths, numbered):
        if number:
            starts.append((start, line[0]))
        ends = start + np.cumsum(line)
        words = np.array([best[end - n:end].sum(axis=0) for n, end in zip(line, ends)])        # (words, 2): as letters, as digits
        words += line_prior(words)
        words[0, 1] += np.log(NUMBERED) * number
        for n, end, word in zip(line, ends, words):
            kind = digit if word[1] > word[0] else ~digit
            text += [names[c] for c in np.where(kind, log_probs[end - n:end], -np.inf).argmax(axis=1)]
        start += sum(line)
    if 2 * sum(text[first].isdigit() for first, _ in starts) >= len(starts):         # a list may be numbered in letters, too
        for i, digit in count_up(log_probs, names, starts).items():
            text[i] = digit
    return ''.join(text)


def count_up(log_probs, names, starts):
    """The numbers of a list, if they may well count up: {index of a character: digit}, empty if they do not.

    starts   (index of the first character, number of characters) of each number, from the top of the page down

    Each number is taken to be NEXT times likelier to follow the one above than to be any other.
    """
    def likelihood(numbers):
        return sum(log_probs[start + k, names.index(digit)] for (start, _), number in zip(starts, numbers) for k, digit in enumerate(number))
    lists = [[str(first + i) for i in range(len(starts))] for first in range(100)]
    lists = [numbers for numbers in lists if [len(number) for number in numbers] == [length for _, length in starts]]
    if len(starts) < 2 or not lists:
        return {}
    best = max(lists, key=likelihood)
    digits = [names.index(name) for name in names if name.isdigit()]
    freely = sum(log_probs[start:start + length, digits].max(axis=1).sum() for start, length in starts)
    if likelihood(best) + np.log(NEXT) * (len(starts) - 1) < freely:
        return {}
    return {start + k: digit for (start, _), number in zip(starts, best) for k, digit in enumerate(number)}


def line_prior(words):
    """Log-probabilities (2,) of letters and digits in a line, from what all its words (m, 2) look like, each of which may still be of the other kind."""
    same, other = np.log([KIND / (1 + KIND), 1 / (1 + KIND)])
    letters, digits = (np.logaddexp(words[:, k] + same, words[:, 1 - k] + other).sum() for k in (0, 1))
    return np.array([same, other] if letters >= digits else [other, same])


def split(text, words):
    """text cut into lines and words like words, boxes: a list of strings."""
    letters = iter(text)
    return [' '.join(''.join(next(letters) for _ in word) for word in line) for line in words]
