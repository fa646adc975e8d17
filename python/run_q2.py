"""Question 2: the network's parts, checked one by one, then trained on four clouds of points.

    python python/run_q2.py                 three seconds; needs no data
    python python/run_q2.py --seed 7

Prints each check of questions 2.1 to 2.4 as "expected / got", trains 2-25-4 for 500 iterations (loss below 35, accuracy above 75 %), and compares every
gradient with central differences (summed relative error below 1e-4). Writes results/q2.json and figures/q2_*.png.
"""
import numpy as np

import experiment, figures, nn

LAYERS = [('layer1', nn.sigmoid), ('output', nn.softmax)]
MEANS = np.array([(3.6, 40), (3.9, 10), (3.4, 30), (2.0, 10)])
VARIANCES = np.array([(0.05, 10), (0.01, 5), (0.25, 5), (0.5, 10)])


def make_points(rng, each=10):
    """Four Gaussian clouds: x (4 each, 2) and one-hot y (4 each, 4)."""
    x = np.concatenate([rng.normal(mean, np.sqrt(variance), (each, 2)) for mean, variance in zip(MEANS, VARIANCES)])
    return x, np.repeat(np.eye(4), each, axis=0)


def new_network(rng):
    """params of 2-25-4 with fresh weights."""
    params = {}
    nn.initialize_weights(2, 25, params, 'layer1', rng=rng)
    nn.initialize_weights(25, 4, params, 'output', rng=rng)
    return params


class Checks:
    """Prints "name: expected / got" lines and counts those that do not hold."""

    def __init__(self):
        self.failed = 0

    def __call__(self, name, expected, got, holds):
        self.failed += not holds
        print(f'  {name}: expected {expected} / got {got}{"" if holds else "   <-- does not hold"}')


def check_parts(check, params, x, y, rng):
    """Questions 2.1 to 2.4, in the course's order; returns the untrained network's loss and accuracy."""
    bound = np.sqrt(6 / 27)
    check('2.1 bias', 'zeros (25,)', f'{np.abs(params["blayer1"]).max():.1g} {params["blayer1"].shape}', not params['blayer1'].any())
    largest = np.abs(params['Wlayer1']).max()
    check('2.1 weights', f'(2, 25) within ±{bound:.2f}', f'{params["Wlayer1"].shape} within ±{largest:.2f}', largest <= bound)

    ends = nn.sigmoid(np.array([-1000.0, 1000.0]))
    check('2.2.1 sigmoid(-1000), sigmoid(1000)', '0, 1', f'{ends[0]:g}, {ends[1]:g}', tuple(ends) == (0, 1))
    h1 = nn.forward(x, params, 'layer1')
    check('2.2.1 hidden layer', '(40, 25)', h1.shape, h1.shape == (40, 25))
    probs = nn.forward(h1, params, 'output', nn.softmax)
    sums = probs.sum(axis=1)
    check('2.2.2 probabilities', '(40, 4), > 0, rows sum to 1', f'{probs.shape}, >= {probs.min():.2g}, {sums.min():.4f}..{sums.max():.4f}',
          probs.min() > 0 and np.allclose(sums, 1))
    loss, acc = nn.compute_loss_and_acc(y, probs)
    check('2.2.3 loss', 'about 40 ln 4 = 55, up to 79', f'{loss:.2f}', 40 < loss < 110)
    check('2.2.3 accuracy', 'about 0.25, by chance', f'{acc:.2f}', 0 <= acc <= 0.75)

    delta = nn.backwards(probs - y, params, 'output', nn.linear_deriv)
    nn.backwards(delta, params, 'layer1', nn.sigmoid_deriv)
    for name in nn.parameter_names(params):
        shape = params['grad_' + name].shape
        check(f'2.3.1 gradient of {name}', params[name].shape, shape, shape == params[name].shape)

    sizes = [len(xb) for xb, _ in nn.get_random_batches(x, y, 5, rng)]
    check('2.4 batches of 5', '8 x 5', f'{len(sizes)} x {sizes[0]}', sizes == [5] * 8)
    return loss, acc


def train(params, x, y, rng, iterations, learning_rate, batch_size):
    """The course's loop; returns the history of total loss and accuracy per iteration, as met on the way."""
    history = {'loss': [], 'accuracy': []}
    for itr in range(iterations):
        loss, acc = nn.train_epoch(nn.get_random_batches(x, y, batch_size, rng), params, LAYERS, learning_rate)
        history['loss'].append(loss * len(x))
        history['accuracy'].append(acc)
        if itr % 100 == 0 or itr == iterations - 1:
            print(f'  itr: {itr:03d}  loss: {loss * len(x):.2f}  acc: {acc:.2f}')
    return history


def check_gradients(check, params, x, y, eps=1e-6):
    """Question 2.5: backwards() against central differences, over every scalar of every parameter. Returns the total relative error."""
    nn.gradients(x, y, params, LAYERS)
    errors = nn.gradient_errors(params, lambda: nn.compute_loss_and_acc(y, nn.predict(x, params, LAYERS))[0], eps)
    for name, (relative, absolute) in errors.items():
        print(f'  {name}: summed relative error {relative:.2e}, largest absolute error {absolute:.2e}')
    total = sum(relative for relative, _ in errors.values())
    largest = max(absolute for _, absolute in errors.values())
    check('2.5 total relative error', '< 1e-4, or all absolute ones < 1e-6', f'{total:.2e}, {largest:.2e}', total < 1e-4 or largest < 1e-6)
    return total


def main(argv=None):
    run = experiment.start('q2', __doc__, argv,
                           iterations=experiment.option(500, 'passes over the 40 points', quick=300),
                           learning_rate=experiment.option(1e-3, 'step size'),
                           batch_size=experiment.option(5, 'points per step'))
    run.data.record('points', 'four random clouds of points')
    check = Checks()
    x, y = make_points(run.rng)
    params = new_network(run.rng)
    check_parts(check, params, x, y, run.rng)

    history = train(params, x, y, run.rng, run.args.iterations, run.args.learning_rate, run.args.batch_size)
    loss, accuracy = nn.compute_loss_and_acc(y, nn.predict(x, params, LAYERS))
    check('2.4 trained', 'loss < 35, accuracy > 0.75', f'{loss:.2f}, {accuracy:.2f}', loss < 35 and accuracy > 0.75)
    gradient_error = check_gradients(check, params, x, y)

    run.figure('regions', figures.decision_regions(x, y.argmax(axis=1), lambda points: nn.predict(points, params, LAYERS).argmax(axis=1)))
    run.figure('loss', figures.curves({'train': history['loss']}, 'iteration', 'loss, summed over 40 points'))
    return run.finish(loss=loss, accuracy=accuracy, gradient_error=gradient_error, checks_failed=check.failed)


if __name__ == '__main__':
    experiment.script(main)
