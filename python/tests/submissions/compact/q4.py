# ruff: noqa
import numpy as np
import skimage
import skimage.measure
import skimage.color
import skimage.filters
import skimage.morphology
import skimage.segmentation

def findLetters(image):
    bboxes = []
    grey = skimage.filters.gaussian(skimage.color.rgb2gray(image), 1.5)
    ink = grey < skimage.filters.threshold_local(grey, 101, offset=0.06)
    ink = skimage.morphology.closing(ink, np.ones((5, 5)))
    for region in skimage.measure.regionprops(skimage.measure.label(ink, connectivity=2)):
        y1, x1, y2, x2 = region.bbox
        if max(y2 - y1, x2 - x1) > 0.02 * image.shape[1]:
            bboxes.append((y1, x1, y2, x2))
    bw = 1.0 - ink
    return bboxes, bw
