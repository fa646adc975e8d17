"""More handwriting from the same handwriting: every picture slightly moved, turned, stretched, bent, and written with another pen.

A network with 65,000 weights learns 10,800 pictures by heart in a few minutes; it then knows those pictures and not the letters. If no picture ever comes
twice in the same shape, only what the shapes have in common can be learnt. The label stays: an A that leans is an A.

A warp says, for every pixel of the new picture, from where in the old one its value is fetched. That field of source positions is a weighted sum of a few
fixed fields, so all pictures are warped by one matrix product and one bilinear look-up (no loop over pictures):

    1                        shift
    row, column              rotation, scale, shear: the linear part of an affine map
    cos(k row) cos(l col)    slow waves, k and l up to three half periods: the smooth bends of a hand (elastic warp; Simard et al. 2003 blur noise instead)

The pen is changed before that, by blending a picture with its thickened (darkest neighbour) or thinned (lightest neighbour) self.
Rows are pictures as NIST36 stores them, dark ink on light paper; that they are stored transposed does not matter here.
"""
from concurrent.futures import ThreadPoolExecutor

import numpy as np

SIDE = 32
WAVES = [(k, l) for k in range(4) for l in range(4) if 0 < k + l <= 4]
CHUNK = 256         # pictures at a time: few enough for their fields to stay in the processor's cache

# how much of each: standard deviations, in pixels for shift and bend, radians for rotation, fractions for the others
STRENGTH = dict(shift=0.5, rotation=0.12, scale=0.08, shear=0.15, bend=0.8, pen=0.1)


def basis():
    """The fixed fields, (3 + waves, 1024) float32: one, row, column (from the centre, in pixels), then the waves."""
    rows, columns = np.indices((SIDE, SIDE)).reshape(2, -1)
    middle = (SIDE - 1) / 2
    angle = np.pi * (np.arange(SIDE) + 0.5) / SIDE
    waves = [np.outer(np.cos(k * angle), np.cos(l * angle)).ravel() for k, l in WAVES]
    return np.array([np.ones(SIDE * SIDE), rows - middle, columns - middle, *waves], np.float32)


BASIS = basis()


def random_fields(n, rng, strength):
    """Weights (n, 2, 3 + waves) of the basis fields that give n random source maps: [:, 0] for the row, [:, 1] for the column of the source."""
    s = strength
    angle, slant = rng.normal(0, s['rotation'], n), rng.normal(0, s['shear'], n)
    zoom = np.exp(rng.normal(0, s['scale'], (n, 2)))
    weights = np.empty((n, 2, len(BASIS)), np.float32)
    weights[:, :, 0] = (SIDE - 1) / 2 + rng.normal(0, s['shift'], (n, 2))
    weights[:, 0, 1], weights[:, 0, 2] = zoom[:, 0] * np.cos(angle), -zoom[:, 1] * np.sin(angle)
    weights[:, 1, 1], weights[:, 1, 2] = zoom[:, 0] * np.sin(angle) + slant, zoom[:, 1] * np.cos(angle)
    # a wave of twice the frequency bends twice as sharply: its height is halved
    heights = np.array([1 / (k + l) for k, l in WAVES], np.float32)
    weights[:, :, 3:] = rng.normal(0, s['bend'], (n, 2, len(WAVES))) * heights
    return weights


def warp(padded, weights):
    """Pictures seen through source maps.

    padded    (n, 34, 34) float32, each picture with one pixel of margin; what lies further out has the margin's value
    weights   (n, 2, fields) from random_fields()

    returns (n, 1024) float32: the value at each source position, bilinear between the four pixels around it
    """
    n, width = len(padded), SIDE + 2
    source = (weights.reshape(2 * n, -1) @ BASIS).reshape(n, 2, -1)
    source += 1
    np.clip(source, 0, width - 1.001, out=source)
    corner = np.trunc(source)
    source -= corner
    down, right = source[:, 0], source[:, 1]
    start = np.arange(n, dtype=np.float32)[:, None] * (width * width)      # float32 counts exactly up to 2**24, 14,000 pictures
    index = (corner[:, 0] * width + corner[:, 1] + start).astype(np.intp)
    flat = padded.ravel()
    upper = flat.take(index, mode='clip')
    upper += right * (flat.take(index + 1, mode='clip') - upper)
    lower = flat.take(index + width, mode='clip')
    lower += right * (flat.take(index + (width + 1), mode='clip') - lower)
    upper += down * (lower - upper)
    return upper


class Augmenter:
    """Draws warped copies of a fixed set x (N, 1024)."""

    def __init__(self, x, **strength):
        """strength: any of STRENGTH, to change it."""
        self.strength = STRENGTH | strength
        pictures = np.asarray(x, np.float32).reshape(-1, SIDE, SIDE)
        self.padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode='edge')
        self.thick, self.thin = neighbours(self.padded, np.minimum), neighbours(self.padded, np.maximum)

    def rows(self, which, rng):
        """New copies of pictures which (indices or a slice), (n, 1024) float32."""
        pictures = self.padded[which]
        n, strength = len(pictures), self.strength
        if strength['pen']:
            blend = rng.normal(0, strength['pen'], n).clip(-1, 1).astype(np.float32)
            other = np.where((blend > 0)[:, None, None], self.thick[which], self.thin[which])
            pictures = pictures + np.abs(blend)[:, None, None] * (other - pictures)
        return warp(pictures, random_fields(n, rng, strength))

    def draw(self, rng):
        """One new copy of every picture, in order, (N, 1024) float32."""
        out = np.empty((len(self.padded), SIDE * SIDE), np.float32)
        for start in range(0, len(out), CHUNK):
            out[start:start + CHUNK] = self.rows(slice(start, start + CHUNK), rng)
        return out

    def epochs(self, seed, first, last):
        """Yields (epoch, copies) for first <= epoch < last.

        The next set is drawn in a second thread while the caller trains on this one (numpy computes outside Python's lock). Each epoch has random numbers of
        its own, so a training that resumes sees what it would have seen.
        """
        def draw(epoch):
            return self.draw(np.random.default_rng([seed, epoch, 1]))
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(draw, first)
            for epoch in range(first, last):
                copies = coming.result()
                if epoch + 1 < last:
                    coming = ahead.submit(draw, epoch + 1)
                yield epoch, copies


def neighbours(padded, extreme):
    """Each pixel and its four neighbours reduced by extreme (np.minimum thickens dark ink, np.maximum thins it); padded (n, 34, 34), same out."""
    out = padded.copy()
    for part, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:, :, 1:], np.s_[:, :, :-1]), (np.s_[:, :, :-1], np.s_[:, :, 1:])):
        extreme(out[part], padded[other], out=out[part])
    return out
