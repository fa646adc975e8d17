# ruff: noqa
import numpy as np
from scipy import ndimage

def findLetters(image):
    dark = image.mean(axis=2)
    paper = ndimage.median_filter(ndimage.zoom(dark, 0.1, order=1), 15)
    paper = ndimage.zoom(paper, (dark.shape[0] / paper.shape[0], dark.shape[1] / paper.shape[1]), order=1)
    bw = np.where(dark < 0.75 * paper, 0.0, 1.0)
    labels, count = ndimage.label(ndimage.binary_dilation(bw == 0, np.ones((3, 3)), 2))
    bboxes = []
    for rows, columns in ndimage.find_objects(labels):
        if rows.stop - rows.start > 0.02 * image.shape[1] or columns.stop - columns.start > 0.02 * image.shape[1]:
            bboxes.append(np.array([rows.start, columns.start, rows.stop, columns.stop]))
    return bboxes, bw.astype(np.float32)
