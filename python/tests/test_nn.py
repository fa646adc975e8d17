"""The network's functions against hand-worked numbers, central differences and PyTorch's automatic gradients."""
import collections, warnings

import numpy as np
import pytest
import torch

import nn

SHAPES = [(1, 1, 1), (1, 7, 3), (40, 2, 25), (3, 50, 4), (17, 5, 1)]
ACTIVATIONS = [(nn.sigmoid, torch.sigmoid), (nn.tanh, torch.tanh), (nn.relu, torch.relu), (nn.linear, lambda x: x)]


def layer(W, b, name=''):
    return {'W' + name: np.array(W, float), 'b' + name: np.array(b, float)}


# ---------------------------------------------------------------- Q2.1

def test_initialisation_is_uniform_in_the_glorot_bound():
    params = {}
    assert nn.initialize_weights(300, 200, params, 'layer1', rng=np.random.default_rng(1)) is None
    W, b, bound = params['Wlayer1'], params['blayer1'], np.sqrt(6 / 500)
    assert W.shape == (300, 200) and b.shape == (200,) and W.dtype == b.dtype == np.float64
    assert not b.any()
    assert np.abs(W).max() <= bound
    counts, _ = np.histogram(W, bins=20, range=(-bound, bound))
    assert counts.min() > 0.93 * W.size / 20 and counts.max() < 1.07 * W.size / 20      # flat: 3000 in each of 20 bins, 4 sigma = 7 %
    assert W.var() == pytest.approx(2 / 500, rel=0.02)


def test_initialisation_repeats_with_a_seed_and_differs_without():
    a, b, c, d = {}, {}, {}, {}
    nn.initialize_weights(4, 5, a, rng=np.random.default_rng(3))
    nn.initialize_weights(4, 5, b, rng=np.random.default_rng(3))
    nn.initialize_weights(4, 5, c)
    nn.initialize_weights(4, 5, d)
    assert (a['W'] == b['W']).all() and (c['W'] != d['W']).any()


# ---------------------------------------------------------------- Q2.2

def test_forward_by_hand():
    # [1 2] W + b = [1*1 + 2*3 + 0.5, 1*2 + 2*4 - 1] = [7.5, 9]
    params = layer([[1, 2], [3, 4]], [0.5, -1])
    X = np.array([[1.0, 2.0]])
    y = nn.forward(X, params, '', nn.linear)
    assert y.tolist() == [[7.5, 9.0]]
    kept = params['cache_']
    assert kept[0] is X and kept[1].tolist() == [[7.5, 9.0]] and kept[2] is y


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_sigmoid_is_exact_at_the_ends_and_accurate_between(dtype):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ends = nn.sigmoid(np.array([-1000, 1000, np.finfo(dtype).max, np.finfo(dtype).min], dtype))
        x = np.linspace(-80, 80, 4001).astype(dtype)
        y = nn.sigmoid(x)
    assert ends.tolist() == [0, 1, 1, 0] and y.dtype == dtype
    exact = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    assert np.abs(y / exact - 1).max() < 4 * np.finfo(dtype).eps        # relative accuracy in both tails


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_softmax_is_safe_and_leaves_its_input(dtype):
    x = np.array([[1e4, -1e4, 0], [1, 2, 3], [-1e4, -1e4, -1e4]], dtype)
    before = x.copy()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        p = nn.softmax(x)
        wide = nn.softmax(np.array([[np.finfo(dtype).max, np.finfo(dtype).min]], dtype))
    assert (x == before).all() and p.dtype == dtype
    assert p[0].tolist() == [1, 0, 0] and wide.tolist() == [[1, 0]]
    e = np.exp([1, 2, 3])
    assert p[1] == pytest.approx(e / e.sum(), rel=1e-6)
    assert p[2] == pytest.approx(1 / 3)
    assert nn.softmax(x[1:2] + 77) == pytest.approx(p[1:2], rel=1e-5)   # Q1.1: shifts cancel


def test_loss_by_hand_is_a_sum():
    y = np.array([[1, 0], [0, 1], [0, 1]])
    probs = np.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]])
    loss, acc = nn.compute_loss_and_acc(y, probs)
    assert loss == pytest.approx(-(np.log(0.5) + np.log(0.75) + np.log(0.1)))
    assert acc == pytest.approx(2 / 3)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_loss_is_finite_at_probabilities_zero_and_one(dtype):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        wrong, acc = nn.compute_loss_and_acc(np.eye(2), np.eye(2, dtype=dtype)[::-1])
        right, _ = nn.compute_loss_and_acc(np.eye(2), np.eye(2, dtype=dtype))
    assert np.isfinite(wrong) and wrong > 100 and right == 0 and acc == 0


# ---------------------------------------------------------------- Q2.3

def test_backwards_by_hand():
    # one example, y = tanh(w.x + b) with w.x + b = 0, so tanh' = 1: the gradients are delta times x, delta, and delta times w
    params = layer([[2], [-1]], [0])
    nn.forward(np.array([[1.0, 2.0]]), params, '', nn.tanh)
    grad_X = nn.backwards(np.array([[3.0]]), params, '', nn.tanh_deriv)
    assert params['grad_W'].tolist() == [[3], [6]] and params['grad_b'].tolist() == [3] and grad_X.tolist() == [[6, -3]]


@pytest.mark.parametrize('activation, peer', ACTIVATIONS)
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_gradients_equal_torch(shape, activation, peer, dtype):
    n, inputs, outputs = shape
    rng = np.random.default_rng(n)
    X, W, b, delta = (rng.normal(size=s).astype(dtype) for s in [(n, inputs), (inputs, outputs), (outputs,), (n, outputs)])
    params = {'Wa': W, 'ba': b}
    y = nn.forward(X, params, 'a', activation)
    grad_X = nn.backwards(delta, params, 'a', nn.DERIVATIVE[activation])

    tX, tW, tb = (torch.tensor(a, requires_grad=True) for a in (X, W, b))
    ty = peer(tX @ tW + tb)
    ty.backward(torch.tensor(delta))
    tolerance = dict(rtol=1e-4, atol=1e-5) if dtype == np.float32 else dict(rtol=1e-10, atol=1e-12)
    for mine, theirs in [(y, ty.detach()), (grad_X, tX.grad), (params['grad_Wa'], tW.grad), (params['grad_ba'], tb.grad)]:
        assert mine.dtype == dtype and mine.shape == tuple(theirs.shape)
        np.testing.assert_allclose(mine, theirs.numpy(), **tolerance)


@pytest.mark.parametrize('hidden', [nn.sigmoid, nn.tanh, nn.relu, nn.linear])
@pytest.mark.parametrize('loss_function, last', [(nn.cross_entropy, nn.softmax), (nn.squared_error, nn.sigmoid)])
def test_gradients_of_a_deep_network_equal_central_differences(hidden, loss_function, last):
    rng = np.random.default_rng(5)
    params, layers = {}, [('a', hidden), ('b', hidden), ('c', last)]
    for (name, _), (i, o) in zip(layers, [(4, 6), (6, 5), (5, 3)]):
        nn.initialize_weights(i, o, params, name, rng=rng)
        params['b' + name] += rng.normal(size=o)
    x, y = rng.normal(size=(9, 4)), np.eye(3)[rng.integers(3, size=9)]
    nn.gradients(x, y, params, layers, loss_function)
    errors = nn.gradient_errors(params, lambda: loss_function(nn.predict(x, params, layers), y)[0])
    assert set(errors) == {'Wa', 'ba', 'Wb', 'bb', 'Wc', 'bc'}
    assert max(absolute for _, absolute in errors.values()) < 1e-7
    assert sum(relative for relative, _ in errors.values()) < 1e-4


def test_gradient_check_finds_a_wrong_gradient_and_restores_the_weights():
    rng = np.random.default_rng(0)
    params, layers = {}, [('a', nn.softmax)]
    nn.initialize_weights(3, 2, params, 'a', rng=rng)
    before = params['Wa'].copy()
    x, y = rng.normal(size=(6, 3)), np.eye(2)[rng.integers(2, size=6)]
    nn.gradients(x, y, params, layers)
    params['grad_Wa'][1, 0] *= 1.01
    errors = nn.gradient_errors(params, lambda: nn.compute_loss_and_acc(y, nn.predict(x, params, layers))[0])
    assert errors['Wa'][0] > 0.005 and errors['ba'][0] < 1e-6
    assert (params['Wa'] == before).all()


def test_backwards_may_skip_the_input_gradient():
    params = layer(np.ones((3, 2)), [0, 0])
    nn.forward(np.ones((4, 3)), params)
    assert nn.backwards(np.ones((4, 2)), params, input_grad=False) is None
    assert params['grad_W'].shape == (3, 2)


def test_a_counter_serves_as_params_and_probs_may_be_overwritten():
    """As old scripts do: Counter for params, and `probs[np.arange(N), y] -= 1` in place after forward."""
    params = collections.Counter()
    nn.initialize_weights(3, 4, params, 'layer1')
    nn.initialize_weights(4, 2, params, 'output')
    x, y = np.random.default_rng(0).normal(size=(5, 3)), np.eye(2)[[0, 1, 1, 0, 1]]
    h = nn.forward(x, params, 'layer1')
    probs = nn.forward(h, params, 'output', nn.softmax)
    wanted = probs - y
    probs[np.arange(5), y.argmax(axis=1)] -= 1
    delta = nn.backwards(probs, params, 'output', nn.linear_deriv)
    nn.backwards(delta, params, 'layer1', nn.sigmoid_deriv)
    np.testing.assert_allclose(params['grad_Woutput'], h.T @ wanted)
    np.testing.assert_allclose(params['grad_Wlayer1'], x.T @ (wanted @ params['Woutput'].T * h * (1 - h)))


# ---------------------------------------------------------------- Q2.4

@pytest.mark.parametrize('count, size', [(40, 5), (41, 5), (7, 3), (5, 50), (1, 1), (6, 6)])
def test_batches_hold_every_row_once_and_keep_pairs(count, size):
    x = np.arange(count, dtype=float)[:, None] * [1, 10]
    y = np.arange(count)[:, None] + 1000
    batches = nn.get_random_batches(x, y, size)
    assert isinstance(batches, list) and len(batches) == -(-count // size)
    assert [len(xb) for xb, _ in batches[:-1]] == [size] * (len(batches) - 1)
    rows = np.concatenate([xb for xb, _ in batches])
    labels = np.concatenate([yb for _, yb in batches])
    assert sorted(rows[:, 0]) == list(range(count))
    assert (labels[:, 0] - 1000 == rows[:, 0]).all() and (rows[:, 1] == 10 * rows[:, 0]).all()


def test_batches_are_shuffled_and_repeat_with_a_seed():
    x = np.arange(100.0)[:, None]
    def order(rng=None):
        return np.concatenate([xb for xb, _ in nn.get_random_batches(x, x, 10, rng)])[:, 0].tolist()
    assert order() != sorted(order()) and order() != order()
    assert order(np.random.default_rng(4)) == order(np.random.default_rng(4))


# ---------------------------------------------------------------- training

def test_update_is_the_handouts_momentum():
    params = {'Wa': np.array([1.0]), 'ba': np.array([0.0]), 'grad_Wa': np.array([2.0]), 'grad_ba': np.array([-1.0])}
    nn.update(params, 0.1, momentum=0.9)
    assert params['m_Wa'] == pytest.approx(-0.2) and params['Wa'] == pytest.approx(0.8) and params['ba'] == pytest.approx(0.1)
    params['grad_Wa'] = np.array([1.0])
    nn.update(params, 0.1, momentum=0.9)                     # m = 0.9 * -0.2 - 0.1 = -0.28
    assert params['m_Wa'] == pytest.approx(-0.28) and params['Wa'] == pytest.approx(0.52)


def test_update_without_momentum_is_plain_descent():
    params = {'Wa': np.array([1.0]), 'grad_Wa': np.array([2.0])}
    nn.update(params, 0.25)
    assert params['Wa'] == 0.5 and 'm_Wa' not in params


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_training_learns_and_keeps_the_type(dtype):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    x = (rng.normal(size=(300, 2)) + 4 * np.eye(3, 2)[labels]).astype(dtype)
    y = np.eye(3, dtype=dtype)[labels]
    params, layers = {}, [('a', nn.tanh), ('b', nn.softmax)]
    nn.initialize_weights(2, 16, params, 'a', rng=rng)
    nn.initialize_weights(16, 3, params, 'b', rng=rng)
    for name in nn.parameter_names(params):
        params[name] = params[name].astype(dtype)
    first = nn.train_epoch(nn.get_random_batches(x, y, 20, rng), params, layers, 1e-3, 0.9)
    for _ in range(20):
        last = nn.train_epoch(nn.get_random_batches(x, y, 20, rng), params, layers, 1e-3, 0.9)
    assert last[0] < 0.3 * first[0] and last[1] > 0.95
    assert all(params[name].dtype == dtype for name in nn.parameter_names(params))
