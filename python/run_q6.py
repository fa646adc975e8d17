"""Question 6: compress the characters with PCA.

    python python/run_q6.py                     a second; real data if it is there, else the built-in handwriting
    python python/run_q6.py --components 64

Learns 32 principal components of the training images by SVD, reconstructs validation images from 32 numbers each, and reports the mean PSNR
(17.11 dB on NIST36 rebuilt from EMNIST by-class). Writes results/q6.json and figures/q6_*.png.
"""
import numpy as np

import datasets, experiment, figures


def fit(x, components):
    """Mean (D,) and projection matrix (D, components) of x (N, D): the leading right singular vectors of the centred data."""
    mean = x.mean(axis=0)
    _, _, Vt = np.linalg.svd(x - mean, full_matrices=False)
    return mean, Vt[:components].T


def reconstruct(x, mean, projection):
    """x (N, D) -> (N, D) through its code (N, components); mean and projection come from the training set."""
    return (x - mean) @ projection @ projection.T + mean


def main(argv=None):
    run = experiment.start('q6', __doc__, argv, components=32)
    train, valid = (datasets.load_nist36(split, run.data) for split in ('train', 'valid'))

    mean, projection = fit(train.x, run.args.components)
    recon = reconstruct(valid.x, mean, projection)

    shown = datasets.two_of_each(valid, 'A', 'M', 'S', '3', '8')
    run.figure('reconstructions', figures.side_by_side(original=valid.x[shown], PCA=recon[shown]))
    run.figure('components', figures.image_grid(projection.T, symmetric=True))
    return run.finish(psnr_valid=datasets.psnr(valid.x, recon), projection_shape=projection.shape,
                      rank=int(np.linalg.matrix_rank(projection)))


if __name__ == '__main__':
    experiment.script(main)
