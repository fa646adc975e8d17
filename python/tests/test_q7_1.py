"""Question 7.1: the networks, the training loop, the readers of data, and training on several processes."""
import json, os, subprocess, sys
from pathlib import Path

import numpy as np
import pytest

import datasets, experiment, handwriting, nn, q4

torch = pytest.importorskip('torch')
import run_q7_1, torch_nets  # noqa: E402  (they need torch)

CODE = Path(run_q7_1.__file__).parent


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny networks: threads cost more than they bring, and a sum must come out the same twice."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(each=40, classes='AX07', seed=0):
    """(x, y): built-in characters as CharacterNet takes them, some of each class."""
    text = classes * each
    x = handwriting.characters(text, size=28, look='emnist', rng=np.random.default_rng(seed))
    return torch.tensor(x[:, None], dtype=torch.float32), torch.tensor([classes.index(c) for c in text])


class Interrupted(torch_nets.Batches):
    """Batches that are interrupted, as by Ctrl-C, when epoch `last` begins."""

    last = None

    def __call__(self, epoch):
        if epoch == self.last:
            raise KeyboardInterrupt
        return super().__call__(epoch)


def train(file=None, epochs=3, resume=False, last=None, width=4, schedule=torch_nets.one_cycle, learning_rate=5e-3, seed=0):
    """A short training on four classes; returns (net, history)."""
    torch_nets.seed(0)
    net = torch_nets.CharacterNet(4, width=width)
    batches = Interrupted(*pictures(), 16, torch_nets.Distort(), seed=seed)
    batches.last = last
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate)
    history = torch_nets.fit(net, batches, pictures(6, seed=1), epochs=epochs, optimiser=optimiser, schedule=schedule, average=0.9, file=file,
                             resume=resume)
    return net, history


def same_weights(a, b, **tolerance):
    a, b = (x if isinstance(x, dict) else x.state_dict() for x in (a, b))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name].numpy(), b[name].numpy(), err_msg=name, **tolerance)


# ---------------------------------------------------------------- networks

@pytest.mark.parametrize('size', [28, 32])
@pytest.mark.parametrize('classes, third', [(10, False), (36, False), (47, True)])
def test_network_takes_both_sizes(size, classes, third):
    assert torch_nets.CharacterNet(classes, width=4, third=third)(torch.zeros(3, 1, size, size)).shape == (3, classes)


@pytest.mark.parametrize('third', [False, True])
def test_saved_network_is_opened_whatever_its_size(tmp_path, third):
    torch_nets.seed(0)
    net, x = torch_nets.CharacterNet(5, width=6, third=third).eval(), torch.rand(3, 1, 28, 28)
    torch_nets.save(net.state_dict(), tmp_path / 'net.pt')
    opened = torch_nets.open_character_net(tmp_path / 'net.pt', classes=5)
    torch.testing.assert_close(torch_nets.scores(opened, x), torch_nets.scores(net, x))


def test_torch_repeats_the_numpy_network():
    """Same weights, same order: same loss curve as nn.py, and the same weights at the end."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(50, 20)), rng.integers(0, 5, 50)
    characters = datasets.Characters(x, np.eye(5)[labels])
    params = {}
    nn.initialize_weights(20, 8, params, 'layer1', rng=rng)
    nn.initialize_weights(8, 5, params, 'output', rng=rng)
    net = torch_nets.FullyConnected(params)
    batches = torch_nets.Batches(x, labels, 16, seed=3)
    history = torch_nets.fit(net, batches, (x, labels), epochs=20, optimiser=torch.optim.SGD(net.parameters(), lr=0.05), mean=False,
                             schedule=torch_nets.constant)
    losses = run_q7_1.numpy_losses(params, characters, batches.order, 20, 16, 0.05)
    np.testing.assert_allclose([h['loss'] for h in history], losses, rtol=1e-10)
    assert losses[-1] < 0.8 * losses[0]
    if history[-1]['valid_accuracy'] == max(h['valid_accuracy'] for h in history):       # then the last weights are the ones kept
        np.testing.assert_allclose(net[0].weight.detach().numpy().T, params['Wlayer1'], rtol=1e-8)


# ---------------------------------------------------------------- batches

def test_every_row_once_an_epoch_in_a_new_order():
    batches = torch_nets.Batches(torch.arange(23.0)[:, None], torch.arange(23), 5, seed=1)
    orders = [torch.cat([y for _, y, _ in batches(epoch)]).tolist() for epoch in (0, 1, 0)]
    assert [sorted(o) for o in orders] == [list(range(23))] * 3
    assert orders[0] == orders[2] != orders[1]
    assert [(len(y), rows) for _, y, rows in batches(0)] == [(5, 5)] * 4 + [(3, 3)] and len(batches) == 5
    assert all((x[:, 0].long() == y).all() for x, y, _ in batches(4))


def test_distortion_is_the_same_for_a_share_of_the_batch():
    """What a rank makes of its rows is what one process makes of them: the draws are for the whole batch."""
    x, _ = pictures(4)
    distort = torch_nets.Distort()
    whole = distort(x, slice(None), torch.Generator().manual_seed(5))
    half = distort(x, slice(1, None, 2), torch.Generator().manual_seed(5))
    torch.testing.assert_close(half, whole[1::2])
    assert (whole - x).abs().mean() > 0.01


def test_share_without_rows(monkeypatch):
    """The last batch has one row, and this is the second of two ranks: an empty share that the network takes."""
    monkeypatch.setattr(torch_nets, 'rank', lambda: 1)
    monkeypatch.setattr(torch_nets, 'world', lambda: 2)
    shares = list(torch_nets.Batches(*pictures(9, classes='A'), 4, torch_nets.Distort())(0))
    assert [(len(x), len(y), rows) for x, y, rows in shares] == [(2, 2, 4), (2, 2, 4), (0, 0, 1)]
    assert torch_nets.CharacterNet(4, width=4).eval()(shares[-1][0]).shape == (0, 4)


def test_distortion_of_nothing_changes_nothing():
    x, _ = pictures(2)
    still = torch_nets.Distort(degrees=0, shear=0, scale=0, shift=0, bend=0, pen=0)
    torch.testing.assert_close(still(x, slice(None), torch.Generator()), x, atol=1e-4, rtol=0)


def test_last_epochs_are_distorted_in_their_own_way():
    x, y = pictures(2)
    batches = torch_nets.Batches(x, y, 8, torch_nets.Distort(), order=lambda epoch: np.arange(8), late=(2, torch_nets.Distort(strength=0)))
    moved = [(next(iter(batches(epoch)))[0] - x).abs().mean().item() for epoch in range(4)]
    assert min(moved[:2]) > 0.01 and max(moved[2:]) < 1e-4


def test_pen_gets_thicker_and_thinner():
    x, _ = pictures(25)
    pen = torch_nets.Distort(degrees=0, shear=0, scale=0, shift=0, bend=0, pen=1)
    ink = pen(x, slice(None), torch.Generator().manual_seed(0)).sum((1, 2, 3)) / x.sum((1, 2, 3))
    assert (ink < 0.9).any() and (ink > 1.1).any()


def test_schedules():
    assert torch_nets.constant(0.3) == 1
    assert torch_nets.cosine(0) == 1 and abs(torch_nets.cosine(1)) < 1e-12
    peak = max(np.linspace(0, 1, 101), key=torch_nets.one_cycle)
    rounds = [torch_nets.two_rounds(done, 0.8) for done in (0.16, 0.799, 0.801, 0.999)]
    assert rounds[0] > 0.99 and rounds[1] < 0.01 and 0.24 < rounds[2] <= 0.25 and rounds[3] < 0.001
    assert 0.15 < peak < 0.25 and torch_nets.one_cycle(0) < 0.1 and abs(torch_nets.one_cycle(1)) < 1e-12


# ---------------------------------------------------------------- the loop

def test_short_training_learns_four_classes():
    net, history = train(epochs=10, width=8)
    assert len(history) == 10
    loss, accuracy = torch_nets.evaluate(net, *pictures(10, seed=2))
    assert accuracy > 0.85 and loss < 0.6, (accuracy, loss)


def test_best_weights_of_validation_are_kept():
    """A rate that blows up late must not spoil what was kept."""
    net, history = train(epochs=6, width=8, schedule=lambda done: 1.0 if done < 0.6 else 1e4)
    best = max(h['valid_accuracy'] for h in history)
    assert history[-1]['valid_accuracy'] < best
    assert torch_nets.evaluate(net, *pictures(6, seed=1))[1] == pytest.approx(best)


def test_resume_equals_no_interruption(tmp_path):
    whole, history = train(tmp_path / 'whole.pt', epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'parts.pt', epochs=4, last=2)
    assert [p.name for p in tmp_path.glob('parts*')] == ['parts.checkpoint.pt']
    parts, resumed = train(tmp_path / 'parts.pt', epochs=4, resume=True)
    same_weights(parts, whole, rtol=0, atol=0)
    assert [h['loss'] for h in resumed] == [h['loss'] for h in history]
    same_weights(torch_nets.load(tmp_path / 'parts.pt'), parts, rtol=0, atol=0)
    # what is done is not done again, until it is forgotten
    _, again = train(tmp_path / 'parts.pt', epochs=4, resume=True)
    assert again == resumed
    torch_nets.forget(tmp_path / 'parts.pt')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['parts.pt', 'whole.checkpoint.pt', 'whole.pt']


def test_resume_refuses_another_plan(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'a.pt', epochs=4, last=1)
    with pytest.raises(experiment.UserError, match='other settings'):
        train(tmp_path / 'a.pt', epochs=5, resume=True)
    with pytest.raises(experiment.UserError, match='other settings'):
        train(tmp_path / 'a.pt', epochs=4, resume=True, seed=1)


def test_weights_of_another_network_and_broken_files(tmp_path):
    torch_nets.save(torch_nets.CharacterNet(10, width=4).state_dict(), tmp_path / 'ten.pt')
    with pytest.raises(experiment.UserError, match='another network'):
        torch_nets.load_weights(torch_nets.CharacterNet(47, width=4), tmp_path / 'ten.pt')
    (tmp_path / 'broken.pt').write_bytes(b'not a state dict')
    with pytest.raises(experiment.UserError, match='broken.pt'):
        torch_nets.load(tmp_path / 'broken.pt')
    with pytest.raises(experiment.UserError, match='train'):
        torch_nets.load(tmp_path / 'none.pt')


# ---------------------------------------------------------------- data

def test_emnist_comes_out_upright(tmp_path):
    """The files hold transposed pictures; what load_torchvision returns must look like handwriting's upright ones, class by class."""
    handwriting.write_emnist(tmp_path, per_class=(12, 2))
    handwriting.write_mnist(tmp_path, train=200, test=50)
    data = datasets.Data(tmp_path)
    x, y = run_q7_1.load_torchvision('emnist', True, data)
    assert x.shape == (12 * 47, 1, 28, 28) and x.dtype == np.float32 and 0 <= x.min() and x.max() == 1
    rng = np.random.default_rng(9)
    for symbol in 'TFLJ7':
        mean = x[y == run_q7_1.CLASSES47.index(symbol), 0].mean(axis=0)
        like = handwriting.characters(symbol * 12, size=28, look='emnist', rng=rng).mean(axis=0)
        assert np.corrcoef(mean.ravel(), like.ravel())[0, 1] > np.corrcoef(mean.T.ravel(), like.ravel())[0, 1] + 0.1, symbol
    x, y = run_q7_1.load_torchvision('mnist', True, data)
    assert x.shape == (200, 1, 28, 28)
    seven = x[y == 7, 0].mean(axis=0)
    like = handwriting.characters('7' * 20, size=28, look='mnist', rng=rng).mean(axis=0)
    assert np.corrcoef(seven.ravel(), like.ravel())[0, 1] > np.corrcoef(seven.T.ravel(), like.ravel())[0, 1] + 0.1


@pytest.mark.real_data
@pytest.mark.parametrize('kind, classes', [('emnist', run_q7_1.CLASSES47), ('mnist', '0123456789')])
def test_real_sets_come_out_upright(real_data_dir, kind, classes):
    """Real characters look like the strokes that handwriting.py draws, and less like them when transposed."""
    if not (real_data_dir / kind.upper() / 'raw').is_dir():
        pytest.skip(f'no real {kind.upper()} (run_q7_1.py --download)')
    x, y = run_q7_1.load_torchvision(kind, False, datasets.Data(real_data_dir))
    rng = np.random.default_rng(9)
    for symbol in sorted(set('TFLJ7') & set(classes)):
        mean = x[y == classes.index(symbol), 0].mean(axis=0)
        like = handwriting.characters(symbol * 20, size=28, look=kind, rng=rng).mean(axis=0)
        assert np.corrcoef(mean.ravel(), like.ravel())[0, 1] > np.corrcoef(mean.T.ravel(), like.ravel())[0, 1] + 0.1, symbol


def test_nist36_is_upright_with_bright_ink(tmp_path):
    handwriting.write_nist36(tmp_path, per_class=(8, 2, 2))
    x, y = run_q7_1.load_nist36('train', datasets.Data(tmp_path))
    assert x.shape == (288, 1, 32, 32) and x.mean() < 0.5
    tee = x[y == datasets.CLASSES.index('T'), 0].mean(axis=0)
    assert tee[4:10].mean() > 1.2 * tee[:, 4:10].mean()              # its bar lies across the top, not down the left


def test_broken_idx_file_is_one_clear_line(tmp_path):
    handwriting.write_mnist(tmp_path, train=50, test=20)
    raw = tmp_path / 'MNIST' / 'raw' / 'train-images-idx3-ubyte'
    raw.write_bytes(raw.read_bytes()[:1000])
    with pytest.raises(experiment.UserError, match='MNIST'):
        run_q7_1.load_torchvision('mnist', True, datasets.Data(tmp_path))


def test_failed_download_is_one_line(tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError('Error downloading a.gz:\nTried https://b.org, got:\nno network\n')
    monkeypatch.setattr('torchvision.datasets.MNIST.download', fail)
    with pytest.raises(experiment.UserError, match='MNIST could not be downloaded.*no network') as caught:
        run_q7_1.load_torchvision('mnist', True, datasets.Data(tmp_path), download=True)
    assert '\n' not in str(caught.value)


def test_held_out_pictures_are_not_trained_on():
    x = np.arange(100.0)[:, None]
    (kept, _), (held, labels) = run_q7_1.hold_out(x, np.arange(100))
    assert len(held) == 20 and not set(kept.ravel()) & set(held.ravel()) and (held.ravel() == labels).all()


# ---------------------------------------------------------------- reading

def test_47_classes_become_36():
    """A network that is sure of class k: what the reader makes of it."""
    assert run_q7_1.CLASSES47 == handwriting.CLASSES47
    sure = 0.01 + np.eye(47)
    log_probs, names = q4.log_probabilities(np.zeros((47, 1, 1)), lambda crops: sure, run_q7_1.CLASSES47, lambda distance: distance, [{}])
    assert sorted(names) == sorted(datasets.CLASSES) and log_probs.shape == (47, 36)
    assert ''.join(names[k] for k in log_probs.argmax(axis=1)) == '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZABDEFGHNQRT'


def test_a_bare_stroke_is_no_capital_l():
    names = run_q7_1.CLASSES47
    one, eye, ell = (names.index(c) for c in '1IL')
    p = np.full((2, 47), 1e-4)
    p[0, [one, eye, ell]] = 0.4, 0.25, 0.35          # a stroke
    p[1, [one, eye, ell]] = 0.001, 0.01, 0.98        # a capital L
    stroke, capital = run_q7_1.capitals(lambda crops: p)(None)
    assert stroke[ell] < 0.15 < 0.4 < stroke[eye] and stroke[one] == 0.4 and stroke.sum() == pytest.approx(p[0].sum())
    assert capital.argmax() == ell and capital[ell] > 0.9 and p[0, ell] == 0.35


def test_crops_reach_the_network_upright_and_bright():
    """What the EMNIST network sees of a page's T is like the T it was trained on, and not like its transpose; likewise for NIST36's dark ink."""
    bw = np.ones((120, 100))
    bw[20:30, 20:80] = bw[20:100, 46:56] = 0
    distance = q4.glyphs(np.array([[20, 20, 100, 80]]), bw)
    seen = []

    class Look(torch.nn.Module):
        def forward(self, x):
            seen.append(x.numpy()[0, 0])
            return torch.zeros(len(x), 47)
    run_q7_1.probabilities(Look())(q4.emnist_look(distance))
    run_q7_1.probabilities(Look(), invert=True)(q4.nist36_look(distance))
    for picture, look in zip(seen, ('emnist', 'nist36')):
        like = handwriting.characters('T' * 30, size=len(picture), look=look, rng=np.random.default_rng(3)).mean(axis=0)
        like = like if look == 'emnist' else 1 - like
        right, turned = (np.corrcoef(p.ravel(), like.ravel())[0, 1] for p in (picture, picture.T))
        assert right > 0.35 and right > turned + 0.2, look


def test_two_networks_read_together():
    """Each sees its own look, and they agree on classes although EMNIST's are 47 in another order."""
    bw = np.ones((120, 100))
    bw[20:30, 20:80] = bw[20:100, 46:56] = 0
    distance, seen = q4.glyphs(np.array([[20, 20, 100, 80]]), bw), {}

    def sure(name, classes, symbol):
        def classify(crops):
            seen[name] = crops
            return np.tile(0.01 + 0.9 * np.array([c == symbol for c in classes]), (len(crops), 1))
        return classify
    both = run_q7_1.together(sure('nist36', datasets.CLASSES, 'T'), sure('emnist', run_q7_1.CLASSES47, 't'))
    p = both(run_q7_1.both_looks(distance))
    assert p.shape == (1, 36) and datasets.CLASSES[p.argmax()] == 'T'
    np.testing.assert_allclose(seen['nist36'], q4.nist36_look(distance), atol=1e-6)
    np.testing.assert_allclose(seen['emnist'], q4.emnist_look(distance), atol=1e-6)


def test_balance_takes_the_class_frequencies_out():
    net = torch_nets.CharacterNet(3, width=4).eval()
    x = torch.rand(5, 1, 28, 28)
    before = torch_nets.scores(net, x).softmax(1)
    torch_nets.balance(net, np.array([0] * 60 + [1] * 30 + [2] * 10))
    expected = before / torch.tensor([0.6, 0.3, 0.1])
    torch.testing.assert_close(torch_nets.scores(net, x).softmax(1), expected / expected.sum(1, keepdim=True))


def test_read_reports_a_photo_by_every_network_there_is(tmp_path, monkeypatch, capsys):
    """With weights as they come (random), what is read is nonsense, but the boxes, the score and the figures are there."""
    monkeypatch.setattr(experiment, 'CODE', tmp_path / 'no_weights')
    page = handwriting.page(['HELLO 73', 'WORLD'], np.random.default_rng(1), difficulty=0, width=700, pen='pen')
    (tmp_path / 'photos').mkdir()
    handwriting.save_image(tmp_path / 'photos' / 'page.png', page.image)
    (tmp_path / 'photos' / 'ground_truth.json').write_text(json.dumps({'page.png': page.lines}))
    argv = ['--read', str(tmp_path / 'photos' / 'page.png'), '--out', str(tmp_path)]
    with pytest.raises(experiment.UserError, match='q7_1_emnist.pt is missing.*--only emnist'):
        run_q7_1.main(argv)
    for part, classes in (('emnist', 47), ('nist36', 36)):
        torch_nets.save(torch_nets.CharacterNet(classes, width=4).state_dict(), tmp_path / f'q7_1_{part}.pt')
    result = run_q7_1.main(argv)
    assert set(result['readers']) == {'EMNIST network', 'NIST36 network', 'both networks'}
    photo = result['photos']['page.png']
    assert photo['boxes'] == result['characters'] == 12 and result['edits'] == photo['edits'] > 0 and len(photo['lines']) == 2
    assert {p.name for p in (tmp_path / 'figures').iterdir()} == {'q7_1_boxes_page.png', 'q7_1_crops_page.png'}
    assert 'page.png: 12 characters' in capsys.readouterr().out


# ---------------------------------------------------------------- the script, alone and on two processes

@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """A data folder with a few characters of NIST36."""
    folder = tmp_path_factory.mktemp('data')
    handwriting.write_nist36(folder, per_class=(6, 2, 2))
    return folder


@pytest.mark.parametrize('precision, difference', [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_fully_connected_learns_and_follows_numpy(tmp_path, monkeypatch, precision, difference):
    """Forty epochs on twenty built-in pictures of each class: 36 classes, so chance is 3 %. float32 is what a device without float64 gets."""
    monkeypatch.setattr(torch_nets, 'precision', lambda: precision)
    result = run_q7_1.main(['--only', 'fully_connected', '--epochs', '40', '--learning-rate', '0.005', '--out', str(tmp_path)])['fully_connected']
    assert result['test_accuracy'] > 0.4 and result['seed'] == 0 and result['processes'] == 1
    assert result['largest_loss_difference'] < difference
    assert torch_nets.load(tmp_path / 'q7_1_fully_connected.pt')['0.weight'].dtype == precision


def test_resume_refuses_another_training_set(small, tmp_path):
    """Real and built-in NIST36 are equally large: the steps alone would not tell their trainings apart."""
    argv = ['--quick', '--data', str(small), '--out', str(tmp_path), '--only', 'nist36']
    run = run_q7_1.arguments(argv)
    run_q7_1.train_parts(run, ['nist36'])               # leaves its checkpoint, as a script that is interrupted later on
    with pytest.raises(experiment.UserError, match='belongs to a run with other settings'):
        run_q7_1.main([*argv, '--resume', '--train-on', 'builtin'])


def test_one_part_of_an_interrupted_script_can_be_resumed_alone(small, tmp_path, capsys):
    argv = ['--quick', '--data', str(small), '--out', str(tmp_path)]
    run_q7_1.train_parts(run_q7_1.arguments(argv), ['fully_connected', 'mnist', 'nist36'])
    capsys.readouterr()
    run_q7_1.main([*argv, '--resume', '--only', 'nist36'])
    assert 'resuming after epoch 2' in capsys.readouterr().out


def test_resumed_script_repeats_no_part_that_was_done(small, tmp_path, monkeypatch):
    argv = ['--only', 'fully_connected', 'nist36', '--epochs', '2', '--data', str(small), '--out', str(tmp_path)]
    fit, convolutional = torch_nets.fit, run_q7_1.convolutional
    first = []
    monkeypatch.setattr(torch_nets, 'fit', lambda *args, **kwargs: first.append(fit(*args, **kwargs)) or first[-1])

    def interrupted(*args):
        raise KeyboardInterrupt
    monkeypatch.setattr(run_q7_1, 'convolutional', interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_q7_1.main(argv)
    monkeypatch.setattr(run_q7_1, 'convolutional', convolutional)
    result = run_q7_1.main([*argv, '--resume'])
    assert result['fully_connected']['history'] == first[0] and len(result['nist36']['history']) == 2      # seconds and all
    assert not list(tmp_path.glob('*checkpoint*'))


def test_parts_stay_beside_each_other_as_long_as_the_data_is_the_same(small, tmp_path):
    argv = ['--epochs', '1', '--out', str(tmp_path)]
    run_q7_1.main([*argv, '--only', 'fully_connected', '--seed', '3'])
    both = run_q7_1.main([*argv, '--only', 'mnist'])
    assert {'fully_connected', 'mnist'} <= set(both) and set(both['data_sets']) == {'NIST36', 'MNIST'}
    assert (both['fully_connected']['seed'], both['mnist']['seed'], both['seed']) == (3, 0, 0)
    other = run_q7_1.main([*argv, '--only', 'fully_connected', '--data', str(small)])
    assert 'mnist' not in other and set(other['data_sets']) == {'NIST36'}


def run_script(small, out, *launcher):
    command = [sys.executable, *launcher, CODE / 'run_q7_1.py', '--only', 'fully_connected', 'nist36', '--epochs', '2', '--data', small, '--out', out]
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads((out / 'results' / 'q7_1.json').read_text())


def test_two_processes_equal_one(small, tmp_path):
    printed_one, one = run_script(small, tmp_path / 'one')
    printed_two, two = run_script(small, tmp_path / 'two', '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2')
    assert printed_two.count('epoch   2/2') == printed_one.count('epoch   2/2') == 2          # rank 0 alone prints
    assert one['nist36']['processes'] == 1 and two['nist36']['processes'] == 2
    same_weights(*(torch_nets.load(tmp_path / n / 'q7_1_fully_connected.pt') for n in ('one', 'two')), rtol=1e-9, atol=1e-12)
    for part, tolerance in (('fully_connected', 1e-9), ('nist36', 1e-3)):
        for key in ('loss', 'valid_loss'):
            np.testing.assert_allclose(*([h[key] for h in r[part]['history']] for r in (one, two)), rtol=tolerance, err_msg=f'{part} {key}')


@pytest.mark.parametrize('arguments, said', [(['--only', 'flowers'], 'invalid choice'), (['--data', '/no/such/folder'], 'does not exist'),
                                             (['--read', 'no_such_photo.jpg'], 'no_such_photo.jpg')])
def test_bad_input_is_one_line_and_status_2(arguments, said, tmp_path):
    result = subprocess.run([sys.executable, str(CODE / 'run_q7_1.py'), '--out', str(tmp_path), *arguments], capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and said in result.stderr and 'Traceback' not in result.stderr


def test_what_to_train_on(tmp_path):
    """Built-in characters are added to the real training set or replace it; the test set is the real one either way. A stand-in is not added to itself."""
    handwriting.write_nist36(tmp_path / 'real', seed=5, per_class=(4, 2, 2))
    sizes = {}
    for choice in ('real', 'both', 'builtin', 'all'):
        run = run_q7_1.arguments(['--data', str(tmp_path / 'real'), '--out', str(tmp_path)])
        sizes[choice] = [len(y) for _, y in run_q7_1.load('nist36', run, choice)]
    assert sizes == {'real': [144, 72, 72], 'both': [162, 72, 72], 'builtin': [720, 360, 72], 'all': [216, 72, 72]}
    assert len(run_q7_1.load('nist36', run_q7_1.arguments(['--out', str(tmp_path)]), 'both')[0][1]) == 720
