"""Question 7.2: crops, the new layer, where weights come from, and both networks on drawn flowers."""
import json, shutil

import numpy as np
import pytest
import scipy.io

import datasets, experiment

torch = pytest.importorskip('torch')
pytest.importorskip('torchvision')
import run_q7_2, torch_nets, torchvision, torchvision.transforms.v2  # noqa: E402  (they need torch)
from PIL import Image  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny networks: threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """No weights in torch's cache, whatever this machine has there."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))


@pytest.fixture
def weights(tmp_path):
    """A state dict of squeezenet1_1, random but always the same."""
    torch.manual_seed(1)
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / 'squeezenet.pth')
    return tmp_path / 'squeezenet.pth'


def begin(tmp_path, *argv):
    return run_q7_2.arguments(['--out', str(tmp_path / 'out'), *map(str, argv)])


def flowers(pictures, labels=None):
    """A Flowers of pictures given as arrays (H, W, 3)."""
    labels = np.zeros(len(pictures), int) if labels is None else labels
    return run_q7_2.Flowers([(Image.fromarray(p), 0) for p in pictures], list(range(len(pictures))), labels, ('a', 'b'))


def test_quick_run_without_weights_or_flowers(tmp_path, capsys):
    result = run_q7_2.main(['--quick', '--out', str(tmp_path)])
    said = capsys.readouterr().out
    assert 'fetch_flowers17.sh' in said and 'flowers are drawn' in said and '--weights' in said
    assert result == json.loads((tmp_path / 'results' / 'q7_2.json').read_text())
    assert 'procedural' in result['data'] and 'random' in result['weights']
    for part in ('fine_tuned', 'from_scratch'):
        assert {'train_accuracy', 'valid_accuracy', 'test_accuracy', 'epochs', 'parameters_trained'} <= set(result[part])
        assert (tmp_path / f'q7_2_{part}.pt').exists()
        for figure in ('confusion', 'predictions', 'filters'):
            assert (tmp_path / 'figures' / f'q7_2_{part}_{figure}.png').exists()
    assert result['fine_tuned']['parameters_trained'] == 1024 * 17 + 17
    # what was saved is what was trained
    net = run_q7_2.FlowerNet(17)
    torch_nets.load_weights(net, tmp_path / 'q7_2_from_scratch.pt')
    assert not list(tmp_path.rglob('*.part')) and not list(tmp_path.rglob('*checkpoint*'))


def test_only_the_new_layer_changes(tmp_path, weights):
    result = run_q7_2.main(['--quick', '--only', 'fine_tuned', '--weights', str(weights), '--out', str(tmp_path / 'out')])
    before, after = torch.load(weights, weights_only=True), torch.load(tmp_path / 'out' / 'q7_2_fine_tuned.pt', weights_only=True)
    features = [name for name in before if name.startswith('features')]
    assert features and all(torch.equal(before[name], after[name]) for name in features)
    assert after['classify.linear.weight'].abs().max() > 0
    assert result['weights'] == 'ImageNet, squeezenet.pth' and 'from_scratch' not in result


def test_unfreezing_changes_all_layers(tmp_path, weights):
    result = run_q7_2.main(['--quick', '--only', 'fine_tuned', '--weights', str(weights), '--unfreeze', '1', '--out', str(tmp_path / 'out')])
    before, after = torch.load(weights, weights_only=True), torch.load(tmp_path / 'out' / 'q7_2_fine_tuned.pt', weights_only=True)
    assert not torch.equal(before['features.0.weight'], after['features.0.weight'])
    assert result['fine_tuned']['parameters_trained'] > 700_000 and result['fine_tuned']['new_layer_only']['epochs'] == 2


def test_weights_in_the_data_folder_are_found(tmp_path, weights, builtin):
    shutil.copy(weights, tmp_path / 'squeezenet1_1-abc.pth')
    net, origin = run_q7_2.imagenet_weights(begin(tmp_path, '--data', tmp_path))
    assert origin == 'ImageNet, squeezenet1_1-abc.pth'
    assert torch.equal(net.features[0].weight, torch.load(weights, weights_only=True)['features.0.weight'])


@pytest.mark.parametrize('content', [b'', b'<html>moved</html>', 'other'])
def test_bad_weights_are_refused(tmp_path, content):
    file = tmp_path / 'bad.pth'
    if content == 'other':
        torch.save({'a': torch.zeros(3)}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(experiment.UserError, match='bad.pth'):
        run_q7_2.imagenet_weights(begin(tmp_path, '--weights', file))
    with pytest.raises(experiment.UserError, match='nowhere.pth'):
        run_q7_2.imagenet_weights(begin(tmp_path, '--weights', tmp_path / 'nowhere.pth'))


def test_downloaded_weights_are_only_weights(tmp_path, weights, monkeypatch):
    """A checked state dict is asked for; without a network, one line."""
    def fetch(url, check_hash, progress, weights_only):
        assert url.startswith('https://') and check_hash and weights_only
        (tmp_path / 'hub' / 'checkpoints').mkdir(parents=True)
        shutil.copy(weights, tmp_path / 'hub' / 'checkpoints' / url.split('/')[-1])
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', fetch)
    _, origin = run_q7_2.imagenet_weights(begin(tmp_path, '--download'))
    assert origin.startswith('ImageNet, squeezenet1_1')
    shutil.rmtree(tmp_path / 'hub')

    def fail(*args, **kwargs):
        raise OSError('no network')
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', fail)
    with pytest.raises(experiment.UserError, match='no network.*--weights'):
        run_q7_2.imagenet_weights(begin(tmp_path, '--download'))


@pytest.mark.parametrize('argv', [('--epochs', 0), ('--learning-rate', -1), ('--learning-rate', 'nan'), ('--unfreeze', -2)])
def test_bad_numbers_are_refused(tmp_path, argv):
    with pytest.raises(experiment.UserError, match=argv[0]):
        begin(tmp_path, *argv)


def test_missing_flowers102(tmp_path):
    with pytest.raises(experiment.UserError, match='fetch_flowers102.sh'):
        run_q7_2.load(begin(tmp_path, '--flowers', '102'))


def test_flowers102(tmp_path, monkeypatch):
    """Through torchvision, with its checksums switched off for a tiny set: pictures and labels belong together, labels count from 0."""
    folder = tmp_path / 'flowers-102'
    (folder / 'jpg').mkdir(parents=True)
    for i in range(1, 307):
        Image.new('RGB', (8, 8), (i % 256,) * 3).save(folder / 'jpg' / f'image_{i:05d}.jpg')
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(1, 103), 3))
    scipy.io.savemat(folder / 'imagelabels.mat', {'labels': labels})
    parts = np.argsort(labels, kind='stable').reshape(102, 3).T + 1
    scipy.io.savemat(folder / 'setid.mat', dict(zip(('trnid', 'valid', 'tstid'), parts)))
    monkeypatch.setattr(torchvision.datasets.Flowers102, '_check_integrity', lambda self: True)
    run = begin(tmp_path, '--data', tmp_path, '--flowers', '102')
    for split, numbers in zip(run_q7_2.load(run), parts):
        assert split.labels.tolist() == list(range(102)) and len(split.names) == 102
        assert abs(int(split.picture(7)[0, 0, 0]) - numbers[7] % 256) <= 2
    assert 'flowers-102' in run.data.used()


def test_labels_are_the_folders_names(tmp_path):
    """Sorted as words, folder 10 comes third; its label is 10 all the same."""
    train, valid, test = run_q7_2.load(begin(tmp_path))
    for split in (train, valid, test):
        for i, label in enumerate(split.labels):
            assert run_q7_2.file_of(split.source, split.rows[i]).replace('\\', '/').split('/')[-2] == str(label)
    assert (len(train), len(valid), len(test)) == (68, 34, 34)


def test_broken_picture_is_named(tmp_path, builtin):
    shutil.copytree(builtin / 'oxford-flowers17', tmp_path / 'data' / 'oxford-flowers17')
    victim = sorted((tmp_path / 'data' / 'oxford-flowers17' / 'val' / '3').iterdir())[0]
    victim.write_bytes(b'<html>moved</html>')
    _, valid, _ = run_q7_2.load(begin(tmp_path, '--data', tmp_path / 'data'))
    with pytest.raises(experiment.UserError, match=victim.name):
        run_q7_2.Crops(valid, 16)


def test_missing_class_folder_is_named(tmp_path, builtin):
    shutil.copytree(builtin / 'oxford-flowers17', tmp_path / 'data' / 'oxford-flowers17')
    shutil.rmtree(tmp_path / 'data' / 'oxford-flowers17' / 'test' / '5')
    with pytest.raises(experiment.UserError, match='test'):
        run_q7_2.load(begin(tmp_path, '--data', tmp_path / 'data'))


def test_middle_crop_undoes_the_squashing():
    """A wide picture's middle crop is its middle square: a disc stays a disc. Mirrored, it is the mirror image."""
    rows, columns = np.mgrid[:60, :120]
    disc = ((rows - 30) ** 2 + (columns - 50) ** 2 < 20 ** 2).astype(np.uint8) * 255
    crops = run_q7_2.Crops(flowers([np.repeat(disc[..., None], 3, axis=2)]), 60)
    got = crops.fixed(torch.tensor([0]))[0, 0].numpy()
    wanted = disc[:, 30:90] / 255
    assert np.abs(got - wanted).mean() < 0.03 and np.abs(got[:, ::-1] - wanted).mean() > 0.2
    mirrored = crops.fixed(torch.tensor([0]), mirror=True)[0, 0].numpy()
    assert np.allclose(mirrored, got[:, ::-1], atol=1e-4)
    assert len(list(crops.views(torch.tensor([0])))) == 10


def test_random_crops_repeat_with_the_generator_and_stay_in_range():
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    crops, rows = run_q7_2.Crops(flowers([picture] * 6), 24), torch.arange(6)
    a, b = (crops(rows, slice(None), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b) and a.shape == (6, 3, 24, 24) and a.min() >= 0 and a.max() <= 1
    assert (a[0] - a[1]).abs().mean() > 0.01
    # a rank's share is what one process has at these places
    assert torch.allclose(crops(rows, slice(1, None, 2), torch.Generator().manual_seed(3)), a[1::2], atol=1e-6)


def test_relight_without_change_is_the_identity():
    crops = run_q7_2.Crops(flowers([np.zeros((8, 8, 3), np.uint8)]), 8)
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(crops.relight(x, torch.ones(3, 3), torch.zeros(3)), x, atol=1e-5)
    grey = crops.relight(x, torch.tensor([[1.0, 1, 0]] * 3), torch.zeros(3))
    assert torch.allclose(grey[:, 0], grey[:, 1], atol=1e-2) and torch.allclose(grey[:, 0], grey[:, 2], atol=1e-2)


def test_pooled_features_are_mean_and_maximum(weights):
    net = run_q7_2.FlowerSqueezeNet(torchvision.models.squeezenet1_1().features, 17).eval()
    x = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        normalised = torchvision.transforms.v2.functional.normalize(x, run_q7_2.MEAN, run_q7_2.STD)
        maps = net.features(normalised).flatten(2)
        assert torch.allclose(net.pooled(x), torch.cat([maps.mean(2), maps.max(2).values], 1), atol=1e-5)


def test_views_of_a_picture_are_averaged_as_probabilities():
    torch.manual_seed(0)
    layer = run_q7_2.NewLayer(5, inputs=7).eval()
    torch.nn.init.normal_(layer.linear.weight)
    x = torch.randn(3, 4, 7)                                        # three pictures, four views
    assert torch.allclose(layer(x).exp(), torch.stack([layer(x[:, v]).softmax(1) for v in range(4)]).mean(0), atol=1e-6)


def test_mean_probability():
    scores = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])             # two views of one picture
    assert torch.allclose(run_q7_2.mean_probability(scores).exp(), scores.softmax(-1).mean(0))


def test_new_layer_learns_drawn_flowers(tmp_path, weights, monkeypatch):
    """On random features of four small drawings of each of 17 kinds: far above the 6 % of chance on new drawings, few as they are (25 to 35 % measured)."""
    monkeypatch.setattr(run_q7_2, 'QUICK', dict(run_q7_2.QUICK, sides=(96,), pictures=4))
    argv = ['--quick', '--only', 'fine_tuned', '--weights', str(weights), '--epochs', '150', '--out', str(tmp_path / 'out')]
    result = run_q7_2.main(argv)['fine_tuned']
    assert result['train_accuracy'] > 0.8 and result['valid_accuracy'] + result['test_accuracy'] > 2 * 0.15


def test_share_without_rows(tmp_path):
    picture = np.zeros((40, 50, 3), np.uint8)
    crops = run_q7_2.Crops(flowers([picture]), 24)
    assert crops(torch.tensor([0]), slice(1, None, 2), torch.Generator()).shape == (0, 3, 24, 24)


def test_network_from_scratch_learns_drawn_flowers(tmp_path):
    """Forty short epochs on four drawings of each of 17 kinds: far above the 6 % of chance on new drawings (38 % measured)."""
    train, valid, _ = run_q7_2.load(begin(tmp_path))
    torch_nets.seed(0)
    net = torch_nets.to_device(run_q7_2.FlowerNet(17, widths=(16, 32, 48), hidden=64))
    batches = torch_nets.Batches(torch.arange(len(train)), train.labels, 17, run_q7_2.Crops(train, 48), seed=0)
    crops = run_q7_2.Crops(valid, 48)
    torch_nets.fit(net, batches, (crops.fixed(torch.arange(len(valid))), valid.labels), epochs=40, optimiser=torch.optim.AdamW(net.parameters(), lr=5e-3))
    found = run_q7_2.averaged_scores(net, crops).argmax(1).numpy()
    assert (found == valid.labels).mean() > 0.25


@pytest.mark.real_data
def test_real_flowers_are_split_as_in_the_course(real_data_dir, tmp_path):
    if not (real_data_dir / 'oxford-flowers17').is_dir():
        pytest.skip('no flowers beside the real NIST36 (scripts/fetch_flowers17.sh)')
    splits = run_q7_2.load(begin(tmp_path, '--data', real_data_dir))
    assert [np.bincount(s.labels).tolist() for s in splits] == [[40] * 17, [20] * 17, [20] * 17]
    assert splits[0].names == run_q7_2.NAMES17 and datasets.Data(real_data_dir).folder == real_data_dir
