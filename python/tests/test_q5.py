"""Question 5: the momentum of the handout, gradients through ReLUs and decibels, and an autoencoder that beats PCA."""
import json
from collections import Counter

import numpy as np
import pytest
import skimage.metrics

import datasets, experiment, nn, run_q5, run_q6


def small_network(rng, activations):
    """A Counter of params of 6-4-3-4-6 and its layers."""
    params = Counter()
    for name, n_in, n_out in zip(run_q5.NAMES, [6, 4, 3, 4], [4, 3, 4, 6]):
        nn.initialize_weights(n_in, n_out, params, name, rng=rng)
        params['b' + name] += rng.normal(0, 0.3, n_out)
    return params, list(zip(run_q5.NAMES, activations))


@pytest.mark.parametrize('hidden', [nn.relu, nn.linear, nn.tanh])
@pytest.mark.parametrize('loss_function', [nn.squared_error, run_q5.noise])
def test_gradients_are_those_of_central_differences(hidden, loss_function):
    rng = np.random.default_rng(4)
    params, layers = small_network(rng, [hidden] * 3 + [nn.sigmoid])
    x = rng.uniform(0, 1, (7, 6))
    nn.gradients(x, x, params, layers, loss_function)
    assert all(np.abs(params['grad_' + name]).max() > 1e-3 for name in nn.parameter_names(params))
    for relative, absolute in nn.gradient_errors(params, lambda: loss_function(nn.predict(x, params, layers), x)[0]).values():
        assert absolute < 1e-6 and relative < 1e-4


def test_momentum_is_the_handouts_update():
    """m = 0.9 m - rate grad, W = W + m, by hand for three steps on one weight; m starts as a Counter's 0."""
    params = Counter(Wa=np.array([[1.0]]), ba=np.array([0.5]))
    expected, m = 1.0, 0.0
    for grad in (2.0, -1.0, 4.0):
        params['grad_Wa'], params['grad_ba'] = np.array([[grad]]), np.array([0.0])
        nn.update(params, 0.1, 0.9)
        m = 0.9 * m - 0.1 * grad
        expected += m
        assert params['Wa'].item() == pytest.approx(expected, abs=1e-15) and params['m_Wa'].item() == pytest.approx(m, abs=1e-15)
    assert params['ba'].item() == 0.5


def test_adam_is_torchs():
    torch = pytest.importorskip('torch')
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3, 4))
    params, weight = {'Wa': start.copy()}, torch.tensor(start.copy(), requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=0.02, betas=(0.8, 0.99))
    for _ in range(20):
        params['grad_Wa'] = rng.normal(size=(3, 4))
        nn.update(params, 0.02, 0.8, second=0.99)
        weight.grad = torch.tensor(params['grad_Wa'])
        optimiser.step()
    assert params['Wa'] == pytest.approx(weight.detach().numpy(), abs=1e-12)


def test_noise_is_minus_psnr():
    rng = np.random.default_rng(1)
    x, out = rng.uniform(size=(2, 5, 64))
    one_by_one = [skimage.metrics.peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(x, out)]
    assert -run_q5.noise(out, x)[0] / 5 == pytest.approx(np.mean(one_by_one)) == pytest.approx(datasets.psnr(x, out))
    loss, _, delta = run_q5.noise(x, x)
    assert np.isfinite(loss) and not delta.any()


def test_starts_close_to_pca_and_folding_changes_nothing():
    x = datasets.load_nist36('train').x
    params, mean = run_q5.start_from_pca(x), x.mean(axis=0)
    weights = run_q5.fold(params, mean)
    assert nn.predict(x - mean, params, run_q5.BEST_LAYERS) == pytest.approx(run_q5.reconstruct(x, weights), abs=1e-10)
    pca = datasets.psnr(x, run_q6.reconstruct(x, *run_q6.fit(x, 32)))
    assert datasets.psnr(x, run_q5.reconstruct(x, weights)) > pca - 2


def test_dead_units_are_counted():
    params, layers = small_network(np.random.default_rng(0), [nn.relu] * 3 + [nn.sigmoid])
    params['blayer1'] = np.array([-100.0, 100.0, -100.0, 100.0])
    params['blayer2'], params['blayer3'] = np.full(3, 100.0), np.full(4, 100.0)
    assert run_q5.dead_units(np.random.default_rng(1).uniform(size=(9, 6)), params, layers) >= 2
    params['blayer1'] += 200
    assert run_q5.dead_units(np.random.default_rng(1).uniform(size=(9, 6)), params, layers) < 4


def test_course_network_is_the_courses():
    params = run_q5.new_network(0, np.float64)
    assert isinstance(params, Counter)
    assert [params['W' + name].shape for name in run_q5.NAMES] == [(1024, 32), (32, 32), (32, 32), (32, 1024)]
    assert [g for _, g in run_q5.COURSE_LAYERS] == [nn.relu, nn.relu, nn.relu, nn.sigmoid]


def test_command_beats_pca_and_keeps_its_word(tmp_path):
    result = run_q5.main(['--quick', '--out', str(tmp_path), '--course-seeds', '1', '--best-epochs', '6'])
    assert json.loads((tmp_path / 'results' / 'q5.json').read_text()) == result and result['data'] == 'built-in handwriting'
    assert result['best']['psnr_valid'] > result['pca_psnr_valid'] > result['course']['psnr_valid'] > 5
    course = result['course']
    assert len(course['loss_train']) == course['epochs'] == 3 and (np.diff(course['loss_train']) < 0).all() and course['loss_train'][0] < 1024
    assert course['psnr_seeds'][0] == course['psnr_valid'] and len(course['psnr_seeds']) == len(course['dead_units']) == 1
    assert {p.name for p in (tmp_path / 'figures').iterdir()} == {'q5_loss.png', 'q5_psnr.png', 'q5_reconstructions.png'}
    weights = experiment.load_pickle(tmp_path / 'q5_weights.pickle')
    assert [weights['W' + name].shape for name in run_q5.NAMES] == [(1024, 32), (32, 32), (32, 32), (32, 1024)] and len(weights) == 8
    assert all(w.dtype == np.float64 for w in weights.values()) and result['best']['parameters'] == sum(w.size for w in weights.values())
    valid = datasets.load_nist36('valid')
    assert datasets.psnr(valid.x, run_q5.reconstruct(valid.x, weights)) == pytest.approx(result['best']['psnr_valid'], abs=1e-3)


@pytest.mark.real_data
def test_ten_epochs_beat_pca_on_real_characters(real_data_dir):
    data = datasets.Data(real_data_dir)
    train, valid = (datasets.load_nist36(split, data, np.float32) for split in ('train', 'valid'))
    small = datasets.Characters(train.x[::3], train.y[::3])
    weights, history = run_q5.train_best(small, valid, 3, 0, lambda weights: None)
    assert history['psnr'][-1] > datasets.psnr(valid.x, run_q6.reconstruct(valid.x, *run_q6.fit(train.x, 32))) + 1
