"""Question 6: compress the characters with PCA.

    python python/run_q6.py                     a few seconds; real data if it is there, else the built-in handwriting
    python python/run_q6.py --components 64

Learns 32 principal components of the training images by SVD, reconstructs validation images from 32 numbers each, and reports the mean PSNR
(17.11 dB on NIST36 rebuilt from EMNIST by-class), and the PSNR with 1 to 256 components. Where run_q5.py has trained on the same data, its autoencoders stand
beside PCA. Writes results/q6.json and figures/q6_*.png.
"""
import json, time

import numpy as np

import datasets, experiment, figures

MOST = 256      # components of the curve
SHOWN = 'AMS38' # two of each are shown, in question 5 too


def fit(x, components):
    """Mean (D,) and projection matrix (D, components) of x (N, D): the leading right singular vectors of the centred data.

    With X - mean = Q R and Q's columns orthonormal, X - mean and R have the same right singular vectors, and R has D rows instead of N: half the time, and
    nothing as large as U is made (N x N, 0.9 GB, had full_matrices been left True).
    """
    mean = x.mean(axis=0)
    _, _, Vt = np.linalg.svd(np.linalg.qr(x - mean, mode='r'), full_matrices=False)
    return mean, Vt[:components].T


def reconstruct(x, mean, projection):
    """x (N, D) -> (N, D) through its code (N, components); mean and projection come from the training set."""
    return (x - mean) @ projection @ projection.T + mean


def psnr_by_components(x, mean, projection):
    """Mean PSNR of x (N, D) with the first 1, 2, ... columns of projection, without reconstructing once for each.

    The columns are orthonormal, so each takes its squared coefficient off the squared error, which with none is |x - mean|².
    """
    centred = x - mean
    error = (centred**2).sum(axis=1, keepdims=True) - np.cumsum((centred @ projection)**2, axis=1)
    return (-10 * np.log10(np.maximum(error / x.shape[1], 1e-20))).mean(axis=0)


def peak_memory():
    """The most memory this process has held so far, in MB; nan where the system does not tell."""
    try:
        import resource, sys
    except ImportError:     # Windows
        return float('nan')
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)


def autoencoder(run):
    """(question 5's results, its weights) if they are there and were made from the data used here, else (None, None)."""
    results, weights = run.results / 'q5.json', run.weights / 'q5_weights.pickle'
    if not (results.exists() and weights.exists()):
        print('no autoencoder to compare with; train one with python/run_q5.py')
        return None, None
    try:
        found = json.loads(results.read_text())
    except ValueError as error:
        raise experiment.UserError(f'{experiment.shorten(results)} cannot be read ({error}); run python/run_q5.py again, or remove it') from None
    if found['data'] != run.data.used():
        print(f'the autoencoder of {experiment.shorten(results)} was trained on {found["data"]}; not compared')
        return None, None
    return found, experiment.load_pickle(weights)


def draw_curve(run, curve, components, found):
    """PSNR against the number of components; the autoencoders' points where they are known."""
    fig = figures.curves({'PCA': curve}, 'numbers kept per picture', 'validation PSNR, dB')
    ax = fig.axes[0]
    ax.set_xscale('log', base=2)
    ax.set_xticks([1, 2, 4, 8, 16, 32, 64, 128, 256], labels=['1', '2', '4', '8', '16', '32', '64', '128', '256'])
    ax.plot(components, curve[components - 1], 'o', color=figures.colour('PCA'))
    ax.annotate(f'{curve[components - 1]:.2f}', (components, curve[components - 1]), (-6, 4), textcoords='offset points', ha='right')
    if found:
        for name, label, marker in (('course', 'autoencoder as set', 's'), ('best', 'best autoencoder', 'D')):
            psnr = found[name]['psnr_valid']
            ax.plot(found['best']['code_length'], psnr, marker, label=label, color=figures.colour('course' if name == 'course' else 'autoencoder'), ls='')
            place = dict(xytext=(7, -11)) if name == 'course' else dict(xytext=(-6, 4), ha='right')       # apart from PCA's, which is near
            ax.annotate(f'{psnr:.2f}', (found['best']['code_length'], psnr), textcoords='offset points', **place)
        ax.legend()
    run.figure('psnr', fig)


def print_table(pca, found):
    """Parameters, code length, PSNR and seconds of PCA and, where known, the autoencoders."""
    rows = [['PCA', pca['parameters'], pca['code_length'], round(pca['psnr'], 2), round(pca['seconds'], 1)]]
    if found:
        rows += [[label, found['best']['parameters'], found['best']['code_length'], round(found[name]['psnr_valid'], 2), round(found[name]['seconds'], 1)]
                 for name, label in (('course', 'autoencoder as set'), ('best', 'best autoencoder'))]
    experiment.table(rows, ['', 'parameters', 'code', 'PSNR, dB', 'seconds'])


def main(argv=None):
    run = experiment.start('q6', __doc__, argv, components=experiment.option(32, f'numbers kept of each picture, 1 to {MOST}'))
    components = run.args.components
    if not 1 <= components <= MOST:
        raise experiment.UserError(f'--components must be 1 to {MOST}, not {components}')
    train, valid = (datasets.load_nist36(split, run.data) for split in ('train', 'valid'))

    started = time.perf_counter()
    mean, all_components = fit(train.x, MOST)
    projection = all_components[:, :components]
    recon = reconstruct(valid.x, mean, projection)
    seconds = time.perf_counter() - started
    psnr, rank, memory = datasets.psnr(valid.x, recon), int(np.linalg.matrix_rank(projection)), peak_memory()
    print(f'projection matrix {projection.shape[0]} x {projection.shape[1]}, rank {rank}; {seconds:.1f} s, at most {memory:.0f} MB; mean PSNR {psnr:.2f} dB')

    curve = psnr_by_components(valid.x, mean, all_components)
    found, weights = autoencoder(run)
    print_table({'parameters': mean.size + projection.size, 'code_length': components, 'psnr': psnr, 'seconds': seconds}, found)
    draw_curve(run, curve, components, found)
    shown = datasets.two_of_each(valid, *SHOWN)
    rows = {'original': valid.x[shown]}
    if found:
        import run_q5
        rows['autoencoder'] = run_q5.reconstruct(valid.x[shown], weights)
    run.figure('reconstructions', figures.side_by_side(**rows, PCA=recon[shown]))
    run.figure('components', figures.image_grid(projection.T, symmetric=True))
    return run.finish(psnr_valid=psnr, projection_shape=projection.shape, rank=rank, fit_seconds=seconds, memory_mb=memory,
                      psnr_by_components=curve, autoencoder_psnr=found['best']['psnr_valid'] if found else None)


if __name__ == '__main__':
    experiment.script(main)
