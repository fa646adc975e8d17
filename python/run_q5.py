"""Question 5: an autoencoder, 1024-32-32-32-1024, that keeps 32 numbers of a character and draws it again from them.

    python python/run_q5.py                    the course's training with five seeds, then the best one: about 2 minutes
    python python/run_q5.py --course-seeds 1   one seed only: less than a minute

First as set: ReLU, total squared error, momentum, 100 epochs. That gives about 16 dB, depending on the seed, and loses to PCA, which also keeps
32 numbers (17.11 dB on NIST36 rebuilt from EMNIST by-class), for three reasons:

* the steps are small for a network that starts from noise: after 100 epochs the loss is still falling;
* units die: a ReLU that is 0 for every picture has no gradient and never comes back, and the code has only 32 of them;
* a code that must not be negative describes less than one with both signs.

The best network has the same sizes, and so the same 32 numbers, but its hidden units are linear and it starts as PCA (a linear autoencoder's optimum): the
sigmoid at the end, which PCA lacks, then only has to be learnt. It minimises the noise in decibels, which is what PSNR measures, with Adam: 19.2 dB after 20
epochs. One change after the other, on validation: Adam, 20 epochs on centred pictures, 17.0 dB; linear units 18.0 dB; the start from PCA 19.17 dB; the loss in
decibels 19.23 dB.
Writes q5_weights.pickle, results/q5.json and figures/q5_*.png; run_q6.py compares with PCA.
"""
import time
from collections import Counter

import numpy as np

import datasets, experiment, figures, nn, run_q6

SIZES = [1024, 32, 32, 32, 1024]
NAMES = ['layer1', 'layer2', 'layer3', 'output']
COURSE_LAYERS = list(zip(NAMES, [nn.relu, nn.relu, nn.relu, nn.sigmoid]))
BEST_LAYERS = list(zip(NAMES, [nn.linear, nn.linear, nn.linear, nn.sigmoid]))

# the course's training
COURSE_BATCH, COURSE_RATE, COURSE_MOMENTUM = 36, 3e-5, 0.9

# the best network's: Adam, the rate falls to nothing along half a cosine
BEST_BATCH, BEST_RATE, BEST_MOMENTUM, BEST_SECOND = 64, 2e-3, 0.9, 0.999
STEEPNESS = 6       # the sigmoid's slope is at most 1/4, and less where a pixel is nearly black or white: PCA's output is enlarged before it


# ---------------------------------------------------------------- training

def new_network(seed, dtype):
    """A Counter of params of the four layers with fresh weights: what is not there yet, such as momentum, counts as 0."""
    params, rng = Counter(), np.random.default_rng(seed)
    for name, n_in, n_out in zip(NAMES, SIZES[:-1], SIZES[1:]):
        nn.initialize_weights(n_in, n_out, params, name, rng=rng)
    for name in nn.parameter_names(params):
        params[name] = params[name].astype(dtype)
    return params


def train_course(train, valid, epochs, seed):
    """Q5.1: total squared error, momentum, learning rate x 0.9 every 20 epochs. Returns params and history: squared error per picture, PSNR."""
    params, history = new_network(seed, train.x.dtype), {'loss': [], 'psnr': []}
    batches = nn.get_random_batches(train.x, train.x, COURSE_BATCH, np.random.default_rng([seed, 1]))
    progress = experiment.Progress(epochs, every=20)
    for epoch in range(epochs):
        rate = COURSE_RATE * 0.9 ** (epoch // 20)
        loss, _ = nn.train_epoch(batches, params, COURSE_LAYERS, rate, COURSE_MOMENTUM, nn.squared_error)
        history['loss'].append(loss)
        history['psnr'].append(datasets.psnr(valid.x, nn.predict(valid.x, dict(params), COURSE_LAYERS)))
        progress.line(loss=loss, valid_psnr=history['psnr'][-1])
    return params, history


def dead_units(x, params, layers):
    """How many hidden units give 0 for every picture in x."""
    params = dict(params)
    nn.predict(x, params, layers)
    return sum(int((~params['cache_' + name][2].any(axis=0)).sum()) for name, _ in layers[:-1])


def noise(out, target):
    """Minus PSNR in dB, summed over pictures, no accuracy (nan), and dLoss/d(out).

    With e = |out - target|², PSNR = -10 log10(e / pixels), so dLoss/d(out) = 10 / ln 10 · 2 (out - target) / e: half the error counts the same whether a
    picture is hard or easy. e is taken as at least 1e-6 a pixel (60 dB), where it would be divided by 0.
    """
    delta = out - target
    error = np.maximum(np.einsum('ij,ij->i', delta, delta), 1e-6 * delta.shape[1])[:, None]
    return float(10 * np.log10(error / delta.shape[1]).sum()), float('nan'), (20 / np.log(10)) * delta / error


def start_from_pca(x):
    """params that nearly are PCA: centred pictures -> 32 components -> logits of the mean picture plus STEEPNESS times what the components say."""
    mean, projection = run_q6.fit(x, SIZES[2])
    spread = ((x - mean) @ projection).std(axis=0)
    balance = np.sqrt(spread * spread.mean())       # between the layers, so that all components reach the code with like sizes
    clipped = np.clip(mean, 0.02, 0.98)
    params = {'Wlayer1': projection / balance, 'blayer1': np.zeros(SIZES[1]),
              'Wlayer2': np.eye(SIZES[1]), 'blayer2': np.zeros(SIZES[2]),
              'Wlayer3': np.eye(SIZES[2]), 'blayer3': np.zeros(SIZES[3]),
              'Woutput': STEEPNESS * (projection * balance).T, 'boutput': np.log(clipped / (1 - clipped))}
    return {name: value.astype(x.dtype) for name, value in params.items()}


def fold(params, mean):
    """Weights for pictures x from weights for x - mean, float64: (x - mean) W + b = x W + (b - mean W)."""
    weights = {name: params[name].astype(np.float64) for name in nn.parameter_names(params)}
    weights['blayer1'] -= mean @ weights['Wlayer1']
    return weights


def train_best(train, valid, epochs, seed, save):
    """The best autoencoder. Calls save(weights) now and then; returns its weights and the history as train_course does."""
    mean, params = train.x.mean(axis=0), start_from_pca(train.x)
    history, progress = {'loss': [], 'psnr': []}, experiment.Progress(epochs, every=max(1, epochs // 20))
    for epoch in range(epochs):
        total = 0
        batches = nn.get_random_batches(train.x - mean, train.x, BEST_BATCH, np.random.default_rng([seed, epoch, 2]))
        for i, batch in enumerate(batches):
            rate = BEST_RATE * (1 + np.cos(np.pi * (epoch + i / len(batches)) / epochs)) / 2
            total += nn.train_epoch([batch], params, BEST_LAYERS, rate, BEST_MOMENTUM, noise, BEST_SECOND)[0] * len(batch[0])
        weights = fold(params, mean)
        history['loss'].append(total / len(train.x))
        history['psnr'].append(reconstruction_psnr(valid, weights, BEST_LAYERS))
        progress.line(train_psnr=-history['loss'][-1], valid_psnr=history['psnr'][-1])
        if epoch % 10 == 9:
            save(weights)
    return weights, history


# ---------------------------------------------------------------- the question

def reconstruct(x, weights, layers=BEST_LAYERS):
    """x (N, 1024) -> (N, 1024) through its code of 32 numbers."""
    return nn.predict(x, dict(weights), layers)


def reconstruction_psnr(characters, weights, layers):
    return datasets.psnr(characters.x, reconstruct(characters.x, weights, layers))


def count_parameters(weights):
    return sum(weights[name].size for name in nn.parameter_names(weights))


def course_runs(run, train, valid):
    """Q5.1 and Q5.2 with several seeds; returns the first one's params and history, and the numbers of all."""
    runs, started = [], time.perf_counter()
    for seed in range(run.args.seed, run.args.seed + run.args.course_seeds):
        print(f'as set, seed {seed}', flush=True)
        params, history = train_course(train, valid, run.args.epochs, seed)
        runs.append((params, history, dead_units(train.x, params, COURSE_LAYERS)))
    params, history, _ = runs[0]
    return params, history, {'psnr_valid': history['psnr'][-1], 'loss_train': history['loss'], 'epochs': run.args.epochs,
                             'psnr_seeds': [h['psnr'][-1] for _, h, _ in runs], 'dead_units': [dead for *_, dead in runs],
                             'seconds': (time.perf_counter() - started) / len(runs)}


def main(argv=None):
    run = experiment.start('q5', __doc__, argv,
                           epochs=experiment.option(100, 'epochs of the training as set', quick=3),
                           course_seeds=experiment.option(5, 'how many seeds to train as set', quick=2),
                           best_epochs=experiment.option(20, 'epochs of the best network', quick=3))
    train, valid = (datasets.load_nist36(split, run.data, np.float32) for split in ('train', 'valid'))
    course_params, course_history, course = course_runs(run, train, valid)

    print(f'best: {run.args.best_epochs} epochs from PCA', flush=True)
    started = time.perf_counter()
    file = run.weights / 'q5_weights.pickle'
    weights, history = train_best(train, valid, run.args.best_epochs, run.args.seed, lambda w: experiment.save_pickle(file, w))
    experiment.save_pickle(file, weights)
    best = {'psnr_valid': history['psnr'][-1], 'psnr_train': reconstruction_psnr(train, weights, BEST_LAYERS), 'epochs': run.args.best_epochs,
            'parameters': count_parameters(weights), 'code_length': SIZES[2], 'seconds': time.perf_counter() - started}
    pca = datasets.psnr(valid.x, run_q6.reconstruct(valid.x, *run_q6.fit(train.x, SIZES[2])))

    experiment.table([['autoencoder as set', course['psnr_valid'], course['seconds']], ['autoencoder, best', best['psnr_valid'], best['seconds']],
                      ['PCA, 32 components', pca, '']], ['', 'valid PSNR, dB', 'seconds'])
    print(f'as set, over seeds: {min(course["psnr_seeds"]):.2f} to {max(course["psnr_seeds"]):.2f} dB; dead units of 96: {course["dead_units"]}')
    shown = datasets.two_of_each(valid, *run_q6.SHOWN)
    x = valid.x[shown]
    run.figure('loss', figures.curves({'course': course_history['loss']}, 'epoch', 'squared error per picture'))
    longest = max(len(history['psnr']), len(course_history['psnr']))
    run.figure('psnr', figures.curves({'course': course_history['psnr'], 'autoencoder': history['psnr'], 'PCA': [pca] * longest},
                                      'epoch', 'validation PSNR, dB'))
    run.figure('reconstructions', figures.side_by_side(original=x, course=reconstruct(x, course_params, COURSE_LAYERS), best=reconstruct(x, weights)))
    return run.finish(course=course, best=best, pca_psnr_valid=pca)


if __name__ == '__main__':
    experiment.script(main)
