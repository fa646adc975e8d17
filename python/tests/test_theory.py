"""Every derivation of the writeup's questions 1 and 2.1, checked numerically, and the script that measures them."""
import json

import numpy as np
import pytest

import nn
import run_q2
import run_theory

RNG = np.random.default_rng(1)


def central(function, x, eps=1e-6):
    """Gradient of a scalar function of an array by central differences."""
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = eps
        gradient[i] = (function(x + step) - function(x - step)) / (2 * eps)
    return gradient


# ---------------------------------------------------------------- Q1.1, Q1.2

def test_softmax_is_invariant_to_translation_and_to_nothing_else():
    x = RNG.normal(size=(50, 7))
    for c in (-300, -1.5, 20, 1e4):
        assert np.allclose(nn.softmax(x + c), nn.softmax(x), atol=1e-12)
    p = nn.softmax(x)
    differences = x[:, :, None] - x[:, None, :]
    assert np.allclose(np.log(p[:, :, None] / p[:, None, :]), differences)      # the ratios fix all differences


def test_minus_the_maximum_is_the_shift_that_cannot_fail():
    def plainly(x):
        e = np.exp(x)
        return e / e.sum()
    with np.errstate(all='ignore'):
        assert np.isfinite(plainly(np.array([709.7, 0]))).all() and not np.isfinite(plainly(np.array([709.8, 0]))).all()
        assert not np.isfinite(plainly(np.array([-745.2, -746]))).all() and np.isfinite(plainly(np.array([-745.1, -746]))).all()
    for x in ([709.8, 0], [-745.2, -746], [1e6, -1e6]):
        shifted = np.exp(np.array(x) - max(x))
        assert shifted.max() == 1 and 1 <= shifted.sum() <= len(x)
        assert np.allclose(nn.softmax(np.array([x])), shifted / shifted.sum())


def test_softmax_gives_a_probability_distribution():
    p = nn.softmax(RNG.normal(scale=5, size=(200, 9)))
    assert (p > 0).all() and (p < 1).all() and np.allclose(p.sum(axis=1), 1)
    assert (nn.softmax(np.array([[3.0], [-8.0]])) == 1).all()        # d = 1
    two = nn.softmax(np.array([[1.0, 2.0]]))[0]
    assert np.isclose(two[1] / two[0], np.e)        # one more unit of score, e times the weight


# ---------------------------------------------------------------- Q1.3, Q1.4

def test_layers_without_activation_are_one_affine_map():
    sizes = [5, 8, 3, 6, 4]
    layers = [(RNG.normal(size=(out, into)), RNG.normal(size=out)) for into, out in zip(sizes, sizes[1:])]
    W, b = np.eye(5), np.zeros(4)
    for matrix, _ in layers:
        W = matrix @ W
    for l, (_, bias) in enumerate(layers):
        after = np.eye(sizes[l + 1])
        for matrix, _ in layers[l + 1:]:
            after = matrix @ after
        b = b + after @ bias
    x = h = RNG.normal(size=5)
    for matrix, bias in layers:
        h = matrix @ h + bias
    assert np.allclose(h, W @ x + b)
    assert np.linalg.matrix_rank(W) == 3        # the smallest layer


def test_sigmoid_derivative_comes_from_the_value_and_is_bounded():
    x = np.linspace(-30, 30, 2001)
    analytic = nn.sigmoid_deriv(nn.sigmoid(x))
    numerical = (nn.sigmoid(x + 1e-5) - nn.sigmoid(x - 1e-5)) / 2e-5
    assert np.allclose(analytic, numerical, atol=1e-10)
    assert analytic.max() == 0.25 and x[analytic.argmax()] == 0
    inner = np.abs(x) < 12      # further out 1 - sigmoid(x) has few digits left
    assert (analytic < np.exp(-np.abs(x)))[inner].all()
    assert np.allclose(analytic, 1 / (4 * np.cosh(x / 2) ** 2))
    assert nn.sigmoid_deriv(nn.sigmoid(5.0)) < 0.01


# ---------------------------------------------------------------- Q1.5

def test_gradients_of_one_example_in_columns():
    k, d = 4, 6
    W, x, b, c = RNG.normal(size=(k, d)), RNG.normal(size=d), RNG.normal(size=k), RNG.normal(size=k)

    def loss(W, x, b):
        return np.sum(np.sin(W @ x + b) * c)
    delta = np.cos(W @ x + b) * c
    assert np.allclose(np.outer(delta, x), central(lambda W: loss(W, x, b), W), atol=1e-8)
    assert np.allclose(W.T @ delta, central(lambda x: loss(W, x, b), x), atol=1e-8)
    assert np.allclose(delta, central(lambda b: loss(W, x, b), b), atol=1e-8)


def test_gradients_of_a_batch_in_rows_are_those_of_the_code():
    X, W, b, C = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.normal(size=(5, 4))

    def loss(X, W, b):
        return np.sum(C * np.tanh(X @ W + b))
    Delta = C * (1 - np.tanh(X @ W + b) ** 2)
    derived = X.T @ Delta, Delta.T @ np.ones(5), Delta @ W.T
    params = {'W': W, 'b': b}
    nn.forward(X, params, '', nn.tanh)
    coded_X = nn.backwards(C, params, '', nn.tanh_deriv)
    numerical = central(lambda W: loss(X, W, b), W), central(lambda b: loss(X, W, b), b), central(lambda X: loss(X, W, b), X)
    for one, two, three in zip(derived, (params['grad_W'], params['grad_b'], coded_X), numerical):
        assert np.allclose(one, two) and np.allclose(one, three, atol=1e-8)


def test_softmax_and_cross_entropy_leave_probability_minus_label():
    z, t = RNG.normal(size=(3, 5)), np.eye(5)[[0, 3, 3]]
    numerical = central(lambda z: -np.sum(t * np.log(nn.softmax(z))), z)
    assert np.allclose(nn.softmax(z) - t, numerical, atol=1e-8)


# ---------------------------------------------------------------- Q1.6

def test_tanh_is_a_scaled_and_shifted_sigmoid():
    x = np.linspace(-20, 20, 1001)
    assert np.allclose(np.tanh(x), 2 * nn.sigmoid(2 * x) - 1, atol=1e-15)
    assert np.allclose(nn.tanh_deriv(np.tanh(x)), 4 * nn.sigmoid_deriv(nn.sigmoid(2 * x)), atol=1e-15)


def test_tanh_is_steeper_exactly_within_the_crossing():
    crossing = 2 * np.arccosh((1 + np.sqrt(3)) / 2)
    assert round(crossing, 2) == 1.66
    x = np.linspace(-6, 6, 4001)
    steeper = 1 - np.tanh(x) ** 2 > nn.sigmoid_deriv(nn.sigmoid(x))
    assert (steeper == (np.abs(x) < crossing)).all()


def test_gradient_bound_through_sigmoid_layers():
    """||dJ/dh_0|| <= 4^-L prod ||W_l|| ||dJ/dh_L||, per example."""
    rng, depth, width = np.random.default_rng(3), 6, 8
    params, layers = {}, [(str(i), nn.sigmoid) for i in range(depth)]
    for name, _ in layers:
        nn.initialize_weights(width, width, params, name, rng=rng)
    nn.predict(rng.normal(size=(20, width)), params, layers)
    top = delta = rng.normal(size=(20, width))
    for name, _ in reversed(layers):
        delta = nn.backwards(delta, params, name)
    bound = np.prod([np.linalg.norm(params['W' + name], 2) / 4 for name, _ in layers]) * np.linalg.norm(top, axis=1)
    assert (np.linalg.norm(delta, axis=1) <= bound).all()


def test_measured_gradients_vanish_in_the_order_that_the_theory_says():
    norms = {name: run_theory.gradient_norms(np.random.default_rng(0), g, 32, 5) for name, g in run_theory.ACTIVATIONS.items()}
    per_layer = {name: values[0] ** (1 / run_theory.DEPTH) for name, values in norms.items()}
    assert 0.2 < per_layer['sigmoid'] <= 0.25
    assert 0.65 < per_layer['relu'] < 0.76 < per_layer['tanh'] < 1       # 1 / sqrt(2) for ReLU
    assert all((np.diff(values) > 0).all() for values in norms.values())        # smaller at every layer on the way back


# ---------------------------------------------------------------- Q2.1

def zero_network():
    params = run_q2.new_network(np.random.default_rng(0))
    return {name: np.zeros_like(value) for name, value in params.items()}


@pytest.mark.parametrize('activation', [nn.sigmoid, nn.tanh, nn.relu])
def test_from_zeros_hidden_units_stay_equal(activation):
    rng, params, layers = np.random.default_rng(0), zero_network(), [('layer1', activation), ('output', nn.softmax)]
    x, y = run_q2.make_points(rng)
    for _ in range(30):
        nn.train_epoch(nn.get_random_batches(x, y, 5, rng), params, layers, 1e-2)
    assert np.allclose(params['Wlayer1'], params['Wlayer1'][:, :1]) and np.allclose(params['Woutput'], params['Woutput'][:1])
    assert params['boutput'].any()
    assert params['Wlayer1'].any() == (activation is nn.sigmoid)
    if activation is not nn.sigmoid:        # the same answer for every input
        assert np.ptp(nn.predict(x, params, layers), axis=0).max() == 0


def test_zero_is_stationary_for_a_full_balanced_batch():
    params, (x, y) = zero_network(), run_q2.make_points(np.random.default_rng(0))
    nn.gradients(x, y, params, run_q2.LAYERS)
    assert all(np.abs(params['grad_' + name]).max() < 1e-12 for name in nn.parameter_names(params))


def test_the_variance_of_a_layer_and_the_bound():
    rng, n_in, n_out, deviation = np.random.default_rng(0), 300, 500, 0.07
    W = rng.normal(scale=deviation, size=(n_in, n_out))
    x, delta = rng.normal(scale=2, size=(400, n_in)), rng.normal(scale=3, size=(400, n_out))
    assert np.var(x @ W) == pytest.approx(n_in * deviation**2 * 4, rel=0.05)
    assert np.var(delta @ W.T) == pytest.approx(n_out * deviation**2 * 9, rel=0.05)
    a = np.sqrt(6 / (n_in + n_out))
    assert np.var(rng.uniform(-a, a, 10**6)) == pytest.approx(2 / (n_in + n_out), rel=0.01)


def test_spreads_of_the_four_ways_to_start():
    forward, backward = {}, {}
    for name, start in run_theory.STARTS.items():
        forward[name], backward[name] = run_theory.spreads(np.random.default_rng(0), start, 48, 3)
    assert not forward['zero'].any() and not backward['zero'].any()
    assert forward['small'][-1] < 1e-9 and backward['small'][0] < 1e-9
    assert 0.1 < forward['Xavier'][-1] < forward['Xavier'][0] < 0.8 and 0.1 < backward['Xavier'][0] < 1
    assert forward['large'].min() > 0.8 and backward['large'][0] > 10


# ---------------------------------------------------------------- Q5.1

def test_momentum_unrolled_is_a_fading_sum_of_gradients():
    params, gradients = {'W': np.zeros(3), 'b': np.zeros(1)}, RNG.normal(size=(12, 3))
    for g in gradients:
        params['grad_W'], params['grad_b'] = g, np.zeros(1)
        nn.update(params, 0.1, momentum=0.9)
    unrolled = -0.1 * sum(0.9 ** (len(gradients) - 1 - s) * g for s, g in enumerate(gradients))
    assert np.allclose(params['m_W'], unrolled)
    for _ in range(300):
        params['grad_W'] = np.ones(3)
        nn.update(params, 0.1, momentum=0.9)
    assert np.allclose(params['m_W'], -10 * 0.1)        # ten times the plain step


# ---------------------------------------------------------------- the script

def test_the_script_writes_what_the_writeup_reads(tmp_path):
    result = run_theory.main(['--quick', '--out', str(tmp_path), '--width', '24'])
    assert json.loads((tmp_path / 'results/theory.json').read_text()) == result
    assert {p.name for p in (tmp_path / 'figures').iterdir()} == {f'theory_{name}.png' for name in ('activations', 'gradients', 'initialisation')}
    zeros = result['from_zeros']
    assert [zeros[f'{name} zeros']['different_units'] for name in ('sigmoid', 'tanh', 'relu')] == [1, 1, 1]
    assert [zeros[f'{name} zeros']['moved'] for name in ('sigmoid', 'tanh', 'relu')] == [True, False, False]
    assert zeros['tanh zeros']['accuracy'] == 0.25 and zeros['sigmoid Xavier']['different_units'] == 25
