"""Questions 1.6 and 2.1, measured: what the theory says about activations and first weights, seen in nn.py's own layers.

    python python/run_theory.py             two seconds; needs no data

Draws sigmoid and tanh with their derivatives, sends gradients back through ten layers of sigmoid, tanh and ReLU, follows the spread of the activations
through ten layers from zero, small, Xavier and large weights, and trains question 2's network from zeros. Writes results/theory.json and
figures/theory_*.png.
"""
import numpy as np

import experiment, figures, nn, run_q2

DEPTH = 10
ACTIVATIONS = {'sigmoid': nn.sigmoid, 'tanh': nn.tanh, 'relu': nn.relu}


# ---------------------------------------------------------------- a deep stack of equal layers

def xavier(rng, width):
    """Weights (width, width) as nn.initialize_weights draws them."""
    params = {}
    nn.initialize_weights(width, width, params, rng=rng)
    return params['W']


STARTS = {      # the ways to start that question 2.1.3 compares: a function (rng, width) -> W
    'zero': lambda rng, width: np.zeros((width, width)),
    'small': lambda rng, width: rng.uniform(-0.01, 0.01, (width, width)),
    'Xavier': xavier,
    'large': lambda rng, width: rng.uniform(-1, 1, (width, width)),
}


def deep_pass(rng, activation, start, width, examples=200, depth=DEPTH):
    """Send random inputs forward and random gradients back through depth layers of the given width.

    returns (outputs, gradients): the output of every layer and the gradient with respect to every layer's input, each a list of depth arrays
    (examples, width), the layer next to the input first. Inputs and the gradient at the top are standard normal.
    """
    params, layers = {}, [(str(i), activation) for i in range(depth)]
    for name, _ in layers:
        params['W' + name], params['b' + name] = start(rng, width), np.zeros(width)
    nn.predict(rng.normal(size=(examples, width)), params, layers)
    delta, gradients = rng.normal(size=(examples, width)), []
    for name, _ in reversed(layers):
        delta = nn.backwards(delta, params, name, nn.DERIVATIVE[activation])
        gradients.insert(0, delta)
    return [params['cache_' + name][2] for name, _ in layers], gradients


def gradient_norms(rng, activation, width, repeats):
    """Root mean square of the gradient at the input of each layer, (depth,), from Xavier weights; the gradient at the top has 1. Mean over repeats, of logs."""
    norms = [[np.sqrt(np.mean(g ** 2)) for g in deep_pass(rng, activation, xavier, width)[1]] for _ in range(repeats)]
    return np.exp(np.mean(np.log(norms), axis=0))


def spreads(rng, start, width, repeats):
    """Standard deviation of tanh units' outputs, and of the gradients that come back, per layer: two arrays (depth,), means over repeats."""
    passes = [deep_pass(rng, nn.tanh, start, width) for _ in range(repeats)]
    return tuple(np.mean([[np.std(layer) for layer in one[part]] for one in passes], axis=0) for part in (0, 1))


# ---------------------------------------------------------------- what a network learns from zeros

def trained(rng, activation, zeros, iterations=500):
    """Train question 2's network 2-25-4, standardised inputs, from zeros or from Xavier weights.

    returns accuracy, loss, how many hidden units differ from one another, and whether the hidden weights moved at all
    """
    x, y = run_q2.make_points(rng)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    params, layers = run_q2.new_network(rng), [('layer1', activation), ('output', nn.softmax)]
    if zeros:
        params = {name: np.zeros_like(value) for name, value in params.items()}
    first = params['Wlayer1'].copy()
    for _ in range(iterations):
        nn.train_epoch(nn.get_random_batches(x, y, 5, rng), params, layers, learning_rate=0.02)
    loss, accuracy = nn.compute_loss_and_acc(y, nn.predict(x, params, layers))
    units = np.vstack([params['Wlayer1'], params['blayer1'], params['Woutput'].T]).T      # all weights that touch a unit, one row each
    return {'accuracy': accuracy, 'loss': loss, 'different_units': len(np.unique(units.round(9), axis=0)),
            'moved': bool(np.abs(params['Wlayer1'] - first).max() > 0)}


# ---------------------------------------------------------------- figures

def draw_activations():
    """Sigmoid and tanh, and their derivatives, side by side."""
    x = np.linspace(-6, 6, 601)
    fig, (left, right) = figures.new(1, 2, size=(6.6, 2.5))
    for name, function, derivative in (('sigmoid', nn.sigmoid, nn.sigmoid_deriv), ('tanh', nn.tanh, nn.tanh_deriv)):
        left.plot(x, function(x), label=name, color=figures.colour(name))
        right.plot(x, derivative(function(x)), label=name, color=figures.colour(name))
    left.set(xlabel='x', ylabel='output', ylim=(-1.15, 1.15))
    right.set(xlabel='x', ylabel='derivative', ylim=(0, 1.08))
    left.legend(loc='lower right')
    return fig


def draw_gradients(norms):
    """Gradient size against the layer it has reached, one line per activation."""
    fig, ax = figures.new(size=(5, 2.8))
    layers = np.arange(DEPTH, 0, -1)
    for (name, values), marker in zip(norms.items(), 'osD'):
        ax.plot(layers, values[::-1], marker=marker, markersize=4, label={'relu': 'ReLU'}.get(name, name), color=figures.colour(name))
    ax.set(xlabel='layer that the gradient has come back through', ylabel='gradient, of 1 at the top', yscale='log', xticks=layers)
    ax.invert_xaxis()
    ax.legend()
    return fig


def draw_spreads(forward, backward):
    """Spread of activations (left) and of gradients (right) per layer, one line per way to start. Zero has no place on the right's logarithmic axis."""
    fig, (left, right) = figures.new(1, 2, size=(6.6, 2.7))
    layers = np.arange(1, DEPTH + 1)
    for i, (name, marker) in enumerate(zip(STARTS, 'o^sD')):
        style = dict(marker=marker, markersize=4, label=name, color=figures.colour(name, i))
        left.plot(layers, forward[name], **style)
        if np.min(backward[name]) > 0:
            right.plot(layers, backward[name], **style)
    left.set(xlabel='layer', ylabel='spread of the outputs', xticks=layers, ylim=(-0.04, 1.04))
    right.set(xlabel='layer', ylabel='spread of the gradients', yscale='log', xticks=layers)
    handles, names = left.get_legend_handles_labels()
    fig.legend(handles, names, loc='outside upper center', ncols=4)
    return fig


def main(argv=None):
    run = experiment.start('theory', __doc__, argv,
                           width=experiment.option(64, 'units in each layer'),
                           repeats=experiment.option(20, 'networks to average over', quick=3))
    run.data.record('theory', 'random inputs')
    width, repeats = run.args.width, run.args.repeats
    if width < 1 or repeats < 1:
        raise experiment.UserError('--width and --repeats must be at least 1')
    norms = {name: gradient_norms(run.rng, activation, width, repeats) for name, activation in ACTIVATIONS.items()}
    per_layer = {name: float(values[0] ** (1 / DEPTH)) for name, values in norms.items()}
    experiment.table([[name, values[0], per_layer[name]] for name, values in norms.items()], ['activation', f'gradient after {DEPTH} layers', 'per layer'])

    measured = {name: spreads(run.rng, start, width, repeats) for name, start in STARTS.items()}
    forward, backward = ({name: both[part] for name, both in measured.items()} for part in (0, 1))
    experiment.table([[name, forward[name][0], forward[name][-1], backward[name][0]] for name in STARTS],
                     ['weights', 'spread, layer 1', f'layer {DEPTH}', 'gradient, layer 1'])

    zeros = {f'{name} {"zeros" if zeros else "Xavier"}': trained(run.rng, ACTIVATIONS[name], zeros) for zeros in (True, False) for name in ACTIVATIONS}
    experiment.table([[name, *one.values()] for name, one in zeros.items()], ['2-25-4 from', 'accuracy', 'loss', 'different units', 'moved'])

    run.figure('activations', draw_activations())
    run.figure('gradients', draw_gradients(norms))
    run.figure('initialisation', draw_spreads(forward, backward))
    return run.finish(depth=DEPTH, width=width, gradient_norms=norms, gradient_per_layer=per_layer,
                      spread_activations=forward, spread_gradients=backward, from_zeros=zeros)


if __name__ == '__main__':
    experiment.script(main)
