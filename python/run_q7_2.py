"""Question 7.2: flowers, by a network that has seen a million pictures, and by one that has seen only these.

    python python/run_q7_2.py                             both networks on Flowers-17; about 10 minutes on two cores, half a minute with --quick
    python python/run_q7_2.py --weights squeezenet.pth    ImageNet weights from a file (otherwise: squeezenet1_1*.pth in the data folder, or torch's cache)
    python python/run_q7_2.py --download                  lets torchvision fetch those weights (5 MB)
    python python/run_q7_2.py --unfreeze 5                then 5 epochs more with all layers of SqueezeNet at a small rate; a minute an epoch
    python python/run_q7_2.py --flowers 102               Flowers-102 (bash scripts/fetch_flowers102.sh); an hour
    python python/run_q7_2.py --resume                    goes on with from_scratch after an interruption, from the last whole epoch
    torchrun --nproc_per_node=2 python/run_q7_2.py        on two processes, GPUs or machines, as run_q7_1.py

fine_tuned    SqueezeNet 1.1 with a new classifier layer. Its features are frozen, so they are computed once: for each picture at four sizes, mirrored and not.
              The new layer, linear in each feature's mean and maximum over the picture, then learns from them in seconds.
from_scratch  three convolutional and two fully connected layers; from random weights, with every picture cut, turned and coloured anew each epoch.

Both give a picture the mean probability over several views. Settings were chosen on the validation pictures; the test pictures are looked at once, at the end.
Writes results/q7_2.json, figures/q7_2_*.png and, beside the code, q7_2_fine_tuned.pt and q7_2_from_scratch.pt (state dicts).
"""
import contextlib, json, math, sys, time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.transforms.v2.functional import center_crop, resize

import datasets, experiment, figures, torch_nets
from experiment import UserError

PARTS = ['fine_tuned', 'from_scratch']
FROM_SCRATCH = 'q7_2_from_scratch.pt'
SIDES = (192, 224, 288, 352)            # shorter side of the pictures that SqueezeNet sees, in pixels
QUICK = dict(sides=(64,), size=48, pictures=3)      # of each class, under --quick
SIZE = 96                               # side of the crops that the network from scratch sees, in pixels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)        # of ImageNet's colours, as torchvision's weights expect them
NAMES17 = ('daffodil', 'snowdrop', 'lily of the valley', 'bluebell', 'crocus', 'iris', 'tiger lily', 'tulip', 'fritillary', 'sunflower', 'daisy',
           'colt\'s foot', 'dandelion', 'cowslip', 'buttercup', 'windflower', 'pansy')


# ---------------------------------------------------------------- pictures

@dataclass
class Flowers:
    """One split: pictures still in their files, labels (N,), names of the classes."""
    source: object              # source[i][0] is picture i as PIL has it
    rows: list                  # which of them
    labels: np.ndarray
    names: tuple

    def __len__(self):
        return len(self.rows)

    def picture(self, i, side=None):
        """Picture i as a uint8 tensor (3, H, W); with `side`, resized so that its shorter side has as many pixels. Raises UserError if it is broken."""
        try:
            picture = self.source[self.rows[i]][0].convert('RGB')
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f'{file_of(self.source, self.rows[i])} cannot be read as a picture ({error}); fetch the flowers again') from None
        if side:
            factor = side / min(picture.size)
            picture = picture.resize([max(1, round(factor * n)) for n in picture.size], 3)          # 3: bicubic
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def file_of(source, row):
    """Where picture `row` of a torchvision data set lies."""
    return source.samples[row][0] if hasattr(source, 'samples') else source._image_files[row]


def load(run):
    """The three splits, (train, valid, test), each a Flowers."""
    splits = [load102(split, run) if run.args.flowers == '102' else load17(split, run) for split in ('train', 'val', 'test')]
    if run.data.stands_in('flowers'):
        print('These flowers are drawn: what is learnt from them says little about real ones')
        run.data.record('flowers', 'built-in procedural flowers')
        splits = [Flowers(s.source, s.rows, s.labels, tuple(f'kind {i}' for i in range(17))) for s in splits]
    return [few(s, QUICK['pictures']) for s in splits] if run.args.quick else splits


def load17(split, run):
    """A split of Flowers-17, real or drawn. ImageFolder sorts the folders' names as words (0, 1, 10, 11, ...): the names are the labels."""
    folder = datasets.flowers17_folder(run.data) / split
    try:
        source = torchvision.datasets.ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise UserError(f'{folder}: {str(error).splitlines()[0]}; delete {folder.parent} and run scripts/fetch_flowers17.sh') from None
    if set(source.classes) != {str(label) for label in range(17)}:
        raise UserError(f'{folder}: folders 0 to 16 expected, not {" ".join(source.classes)}; delete {folder.parent} and run scripts/fetch_flowers17.sh')
    labels = np.array([int(source.classes[target]) for target in source.targets])
    return Flowers(source, list(range(len(labels))), labels, NAMES17)


def load102(split, run):
    """A split of Flowers-102."""
    try:
        source = torchvision.datasets.Flowers102(str(run.data.folder), split)
    except RuntimeError:
        raise UserError(f'{run.data.folder / "flowers-102"} does not hold Flowers-102; get it with bash scripts/fetch_flowers102.sh') from None
    run.data.record('flowers', f'{run.data.folder.name}/flowers-102')
    return Flowers(source, list(range(len(source))), np.array(source._labels), tuple(str(i) for i in range(102)))


def few(flowers, each):
    """The first `each` pictures of every class."""
    rows = [i for label in sorted(set(flowers.labels)) for i in np.flatnonzero(flowers.labels == label)[:each]]
    return Flowers(flowers.source, [flowers.rows[i] for i in rows], flowers.labels[rows], flowers.names)


class Crops:
    """All pictures of a split in memory, squashed to squares, and crops cut out of them: by chance for training, at fixed places for evaluation.

    Rows are picture numbers, so that a `torch_nets.Batches` over the numbers can call this as its `distort`. Crops are (n, 3, size, size), 0..1; the squashing
    is undone in the cutting. A crop's side is `scale` shorter sides of its picture.

    scale    least and largest        degrees  of rotation, either way       stretch  largest ratio of height to width, either way
    light    of brightness, contrast and saturation, each a factor 1 - light to 1 + light
    hue      of the turn of the colour circle, either way, in whole turns
    """

    PLACES = (1.0, 0, 0), (0.8, 0, 0), (0.65, 0, 0), (0.8, -0.7, -0.7), (0.8, 0.7, 0.7)      # scale, place between the picture's edges (-1..1), across and down

    def __init__(self, flowers, size, scale=(0.5, 1.1), degrees=20, stretch=1.3, light=0.25, hue=0.03):
        self.size, self.scale, self.degrees, self.stretch, self.light, self.hue = size, scale, degrees, stretch, light, hue
        stored, sides = round(1.5 * size), []
        self.pictures = torch.empty(len(flowers), 3, stored, stored, dtype=torch.uint8)
        for i in range(len(flowers)):
            picture = flowers.picture(i)
            height, width = picture.shape[1:]
            sides.append((width / min(height, width), height / min(height, width)))
            self.pictures[i] = resize(picture, [stored, stored], antialias=True)
        self.sides = torch.tensor(sides)            # (N, 2): width and height, in shorter sides

    def cut(self, rows, scale, place, angle, mirror, stretch):
        """Crops of pictures `rows`; the rest are tensors (n,), `place` (n, 2)."""
        if not len(rows):           # the last batch can have fewer rows than there are ranks
            return torch.empty(0, 3, self.size, self.size)
        sides = self.sides[rows]
        cos, sin, flip = angle.cos(), angle.sin(), 1 - 2 * mirror.float()
        wide, tall = scale * stretch ** 0.5, scale / stretch ** 0.5
        centre = place * (1 - scale[:, None] / sides).clamp(min=0)
        across = torch.stack([flip * cos * wide, -sin * tall], 1) / sides[:, :1]
        down = torch.stack([flip * sin * wide, cos * tall], 1) / sides[:, 1:]
        affine = torch.stack([torch.cat([across, centre[:, :1]], 1), torch.cat([down, centre[:, 1:]], 1)], 1)
        grid = F.affine_grid(affine, (len(rows), 3, self.size, self.size), align_corners=False)
        return F.grid_sample(self.pictures[rows].float() / 255, grid, padding_mode='reflection', align_corners=False)

    def __call__(self, rows, keep, generator):
        """Random crops of pictures rows[keep], in random light; the draws are made for all rows."""
        draw = torch.rand(len(rows), 10, generator=generator)[keep]
        swing = 2 * draw - 1
        low, high = self.scale
        x = self.cut(rows[keep], low + (high - low) * draw[:, 0], swing[:, 1:3], swing[:, 3] * math.radians(self.degrees), draw[:, 4] < 0.5,
                     self.stretch ** swing[:, 5])
        return self.relight(x, 1 + self.light * swing[:, 6:9], 2 * math.pi * self.hue * swing[:, 9])

    def relight(self, x, factors, turn):
        """x (n, 3, H, W) with brightness, contrast and saturation times `factors` (n, 3), and its colours turned by `turn` (n,), in radians."""
        bright, contrast, saturation = (factors[:, i, None, None, None] for i in range(3))
        x = x * bright
        level = x.mean((1, 2, 3), keepdim=True)
        x = level + (x - level) * contrast
        # YIQ: Y is grey, and hue is the direction of (I, Q)
        to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
        turned = torch.zeros(len(x), 3, 3)
        turned[:, 0, 0] = 1
        turned[:, 1, 1] = turned[:, 2, 2] = turn.cos()
        turned[:, 2, 1] = turn.sin()
        turned[:, 1, 2] = -turn.sin()
        turned[:, 1:] *= saturation[:, 0]
        return torch.einsum('nij,njhw->nihw', torch.linalg.inv(to_yiq) @ turned @ to_yiq, x).clamp(0, 1)

    def fixed(self, rows, scale=1.0, across=0.0, down=0.0, mirror=False):
        """One crop of each picture at the same place; by default the middle square."""
        n = len(rows)
        return self.cut(rows, torch.full((n,), scale), torch.tensor([[across, down]]).repeat(n, 1), torch.zeros(n), torch.full((n,), mirror), torch.ones(n))

    def views(self, rows):
        """The fixed views over which probabilities are averaged, one after the other."""
        for place in self.PLACES:
            for mirror in (False, True):
                yield self.fixed(rows, *place, mirror)


def mean_probability(scores):
    """(V, N, classes), scores of N pictures in V views -> (N, classes): the logarithm of the mean probability, scores again."""
    return scores.log_softmax(-1).logsumexp(0) - math.log(len(scores))


# ---------------------------------------------------------------- SqueezeNet with a new classifier

class NewLayer(nn.Module):
    """Pooled features (N, inputs), or those of several views of each picture (N, V, inputs), -> scores (N, classes).

    SqueezeNet ends in a 1x1 convolution averaged over the picture, which is linear in the features' means. This layer sees their maxima too: a flower
    in a corner has a high maximum and a low mean (Flowers-17, validation: 96.8 % with both, 95.2 % with the means alone, 4 seeds each). The features
    reach into the tens and differ in scale; they are normalised by their mean and standard deviation on the training set.
    """

    def __init__(self, classes, inputs=1024, dropout=0.5):
        super().__init__()
        self.register_buffer('mean', torch.zeros(inputs))
        self.register_buffer('std', torch.ones(inputs))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(inputs, classes)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x):
        if x.ndim == 3:
            return mean_probability(self(x.flatten(0, 1)).view(*x.shape[:2], -1).transpose(0, 1))
        return self.linear(self.dropout((x - self.mean) / self.std))


class FlowerSqueezeNet(nn.Module):
    """SqueezeNet 1.1's features and a NewLayer: pictures (N, 3, H, W), 0..1, of any size -> scores (N, classes)."""

    def __init__(self, features, classes):
        super().__init__()
        self.features, self.classify = features, NewLayer(classes)
        for name, value in (('mean', MEAN), ('std', STD)):
            self.register_buffer(name, torch.tensor(value).view(3, 1, 1), persistent=False)

    def pooled(self, x):
        """Mean and maximum over the picture of each of the 512 features: (N, 1024)."""
        x = self.features((x - self.mean) / self.std)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)

    def forward(self, x):
        return self.classify(self.pooled(x))


def imagenet_weights(run):
    """(SqueezeNet 1.1 of torchvision, where its weights come from)."""
    net = torchvision.models.squeezenet1_1()
    url = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url
    places = [Path(run.args.weights)] if run.args.weights else [*sorted(run.data.folder.glob('squeezenet1_1*.pth')),
                                                               Path(torch.hub.get_dir()) / 'checkpoints' / url.split('/')[-1]]
    if run.args.weights and not places[0].is_file():
        raise UserError(f'{places[0]}: no such file; --weights wants a state dict of torchvision\'s squeezenet1_1')
    with torch_nets.one_by_one():
        if run.args.download and not run.args.weights and not any(place.is_file() for place in places):
            try:
                torch.hub.load_state_dict_from_url(url, check_hash=True, progress=False, weights_only=True)
            except Exception as error:              # no network, a full disk, a changed file ...
                raise UserError(f'{url} could not be downloaded ({error}); fetch it by hand and name it with --weights FILE') from None
    found = next((place for place in places if place.is_file()), None)
    if not torch_nets.same_everywhere(found and found.name):
        raise UserError('some of the processes find ImageNet weights and others do not; put the file on every machine and name it with --weights FILE')
    if found:
        return load_squeezenet(net, found), f'ImageNet, {found.name}'
    print('SqueezeNet: no ImageNet weights (get them with --download, or name a file with --weights); its features stay random')
    return net, 'random: no ImageNet weights were there'


def load_squeezenet(net, file):
    """Put the state dict in file into net. Raises UserError if it is not one of squeezenet1_1."""
    try:
        net.load_state_dict(torch.load(file, map_location='cpu', weights_only=True))
    except Exception as error:                  # a broken file can fail in any way
        raise UserError(f'{file}: not a state dict of torchvision\'s squeezenet1_1 ({type(error).__name__}); get it with --download') from None
    return net


@torch.no_grad()
def frozen_features(net, flowers, sides):
    """(N, V, 1024): net's pooled features of every picture in each of its views, which are `sides` sizes, as it is and mirrored."""
    net.eval()
    found = []
    for i in range(len(flowers)):
        views = []
        for side in sides:
            x = flowers.picture(i, side).to(torch_nets.device()).float() / 255
            views.append(net.pooled(torch.stack([x, x.flip(2)])))
        found.append(torch.cat(views).cpu())
    return torch.stack(found)


def features_of_all(net, splits, sides):
    """frozen_features of the three splits, with a line for each."""
    found = []
    for name, flowers in zip(('train', 'valid', 'test'), splits):
        began = time.perf_counter()
        found.append(frozen_features(net, flowers, sides))
        torch_nets.say(f'fine_tuned  frozen features of {len(flowers)} {name} pictures in {2 * len(sides)} views: {time.perf_counter() - began:.0f} s')
    return found


def any_view(x, keep, generator):
    """The `distort` of stored features: (n, V, 1024) -> one view of each, by chance, (n, 1024)."""
    view = torch.randint(x.shape[1], (len(x),), generator=generator)
    return x[torch.arange(len(x)), view][keep]


def fine_tune(run, splits):
    """Train the new layer on frozen features, then perhaps all layers; returns (results, scores of the test pictures, network)."""
    torch_nets.seed(run.args.seed)
    train, valid, test = splits
    squeezenet, origin = imagenet_weights(run)
    net = torch_nets.to_device(FlowerSqueezeNet(squeezenet.features, len(train.names)))
    sides = QUICK['sides'] if run.args.quick else SIDES
    x = features_of_all(net, splits, sides)
    layer = net.classify
    layer.mean.copy_(x[0].mean((0, 1)))
    layer.std.copy_(x[0].std((0, 1)) + 1e-6)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=run.args.learning_rate or 3e-3, weight_decay=0.01)
    batches = torch_nets.Batches(x[0], train.labels, 64, any_view, seed=run.args.seed)
    history = torch_nets.fit(layer, batches, (x[1], valid.labels), epochs=epochs(run, 60), optimiser=optimiser, smoothing=0.1, label='fine_tuned')
    results = summary(history, torch_nets.count_parameters(layer), [torch_nets.scores(layer, part) for part in x], splits)
    if run.args.unfreeze:
        results = {**unfreeze(run, net, splits, sides), 'new_layer_only': results}
        x[2] = frozen_features(net, test, sides)
    if torch_nets.rank() == 0:
        torch_nets.save(net.state_dict(), run.weights / 'q7_2_fine_tuned.pt')
    return {**results, 'weights': origin}, torch_nets.scores(layer, x[2]), net


def unfreeze(run, net, splits, sides):
    """Train all layers for --unfreeze epochs at a small rate, on random crops; returns results as fine_tune does."""
    train, valid, _ = splits
    crops, looked_at = Crops(train, 2 * sides[0] if run.args.quick else 224, light=0.15), Crops(valid, 224)
    rates = [{'params': net.features.parameters(), 'lr': 3e-5}, {'params': net.classify.parameters(), 'lr': 3e-4}]
    history = torch_nets.fit(net, torch_nets.Batches(torch.arange(len(train)), train.labels, 32, crops, seed=run.args.seed),
                             (looked_at.fixed(torch.arange(len(valid))), valid.labels), epochs=run.args.unfreeze,
                             optimiser=torch.optim.AdamW(rates, weight_decay=0.01), smoothing=0.1, average=0.99, label='all layers')
    outputs = [torch_nets.scores(net.classify, part) for part in features_of_all(net, splits, sides)]
    return summary(history, torch_nets.count_parameters(net), outputs, splits)


# ---------------------------------------------------------------- from scratch

class FlowerNet(nn.Module):
    """Three convolutional and two fully connected layers: (N, 3, H, W), 0..1 -> scores (N, classes).

    What the last convolution finds is summed up as its mean and its maximum over the picture and its means over the four quarters: colour
    and texture matter more than place, and the fully connected layers stay small enough for forty pictures of a kind.
    """

    def __init__(self, classes, widths=(64, 128, 256), hidden=256, dropout=0.3):
        super().__init__()
        a, b, c = widths
        self.first = nn.Conv2d(3, a, 7, stride=2, padding=3, bias=False)
        self.features = nn.Sequential(
            self.first, torch_nets.BatchNorm(a), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(a, b, 3, padding=1, bias=False), torch_nets.BatchNorm(b), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(b, c, 3, padding=1, bias=False), torch_nets.BatchNorm(c), nn.ReLU())
        self.hidden = nn.Sequential(nn.Dropout(dropout), nn.Linear(6 * c, hidden, bias=False), torch_nets.BatchNorm(hidden), nn.ReLU())
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, classes))

    def forward(self, x):
        x = self.features((x - 0.4) / 0.25)
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3)), F.adaptive_avg_pool2d(x, 2).flatten(1)], 1)
        dropout, linear, norm, relu = self.hidden
        x = relu(norm(linear(dropout(x))[:, :, None, None]))[:, :, 0, 0]
        return self.classify(x)


def averaged_scores(net, crops):
    """Scores (N, classes) of all pictures of crops, over its fixed views."""
    parts = torch.arange(len(crops.pictures)).split(100)
    return torch.cat([mean_probability(torch.stack([torch_nets.scores(net, view) for view in crops.views(rows)])) for rows in parts])


def from_scratch(run, splits):
    """Train FlowerNet from random weights; returns (results, scores of the test pictures, network)."""
    torch_nets.seed(run.args.seed)
    train, valid, test = splits
    crops = [Crops(flowers, QUICK['size'] if run.args.quick else SIZE) for flowers in splits]
    net = torch_nets.to_device(FlowerNet(len(train.names)))
    usual = 35 if run.data.stands_in('flowers') else 70         # drawn flowers are learnt in half the time
    optimiser = torch.optim.AdamW(net.parameters(), lr=run.args.learning_rate or 2e-3, weight_decay=0.05)
    history = torch_nets.fit(net, torch_nets.Batches(torch.arange(len(train)), train.labels, 32, crops[0], seed=run.args.seed),
                             (crops[1].fixed(torch.arange(len(valid))), valid.labels), epochs=epochs(run, usual), optimiser=optimiser, smoothing=0.1,
                             average=0.995, file=run.weights / FROM_SCRATCH, resume=run.args.resume, label='from_scratch')
    outputs = [averaged_scores(net, part) for part in crops]
    return summary(history, torch_nets.count_parameters(net), outputs, splits), outputs[2], net


# ---------------------------------------------------------------- results and figures

def epochs(run, usual):
    return run.args.epochs or (2 if run.args.quick else usual)


def summary(history, parameters, outputs, splits):
    """What the results file says about one network; outputs are its scores on the three splits."""
    accuracy = {f'{name}_accuracy': float((out.argmax(1).numpy() == flowers.labels).mean())
                for name, out, flowers in zip(('train', 'valid', 'test'), outputs, splits)}
    torch_nets.say('  train {train_accuracy:.2%}  valid {valid_accuracy:.2%}  test {test_accuracy:.2%}'.format(**accuracy))
    return {**accuracy, 'test_pictures': len(splits[2]), 'epochs': len(history), 'parameters_trained': parameters,
            'seconds': sum(h['seconds'] for h in history), 'history': history}


def draw(run, results, test, outputs, nets):
    """Learning curves on one plot, confusion matrix of the better network, a grid of its predictions, first-layer filters."""
    words = {'fine_tuned': 'fine-tuned', 'from_scratch': 'from scratch'}
    series = {f'{words[part]}, {name}': [100 * h[key] for h in results[part]['history']]
              for part in PARTS if part in results for name, key in (('training', 'accuracy'), ('validation', 'valid_accuracy'))}
    run.figure('curves', figures.curves(series, 'epoch', 'accuracy, %'))
    for part, out in outputs.items():
        predicted = out.argmax(1).numpy()
        matrix = np.zeros((len(test.names), len(test.names)), int)
        np.add.at(matrix, (test.labels, predicted), 1)
        fig = figures.confusion(matrix, test.names)
        fig.axes[0].tick_params(axis='x', rotation=90)
        run.figure(f'{part}_confusion', fig)
        run.figure(f'{part}_predictions', prediction_grid(test, out))
        first = nets[part].features[0].weight.detach().cpu().permute(0, 2, 3, 1).numpy()
        run.figure(f'{part}_filters', figures.colour_grid(first / (2 * np.abs(first).max((1, 2, 3), keepdims=True)) + 0.5, columns=16))


def prediction_grid(test, out, columns=6, rows=4):
    """Test pictures, a few of them misread, with what the network says and how sure it is."""
    sure, predicted = (value.numpy() for value in out.softmax(1).max(1))
    def spread(found, most):
        return found[np.linspace(0, len(found) - 1, min(len(found), most)).astype(int)]
    wrong = spread(np.flatnonzero(predicted != test.labels), columns)
    shown = [*spread(np.flatnonzero(predicted == test.labels), columns * rows - len(wrong)), *wrong]
    squares = [center_crop(test.picture(i, 128), [128, 128]).permute(1, 2, 0).numpy() / 255 for i in shown]
    titles = [f'{test.names[predicted[i]]} {sure[i]:.0%}' + ('' if predicted[i] == test.labels[i] else f'\n(is {test.names[test.labels[i]]})') for i in shown]
    return figures.colour_grid(np.stack(squares), columns, titles, [predicted[i] == test.labels[i] for i in shown])


def earlier(run):
    """What an earlier run on the same data left in the results file: --only replaces its own part and keeps the other."""
    path = run.results / 'q7_2.json'
    try:
        record = json.loads(path.read_text())
        same = record['data_sets'] == run.data.sets and not record['quick']
        return {part: record[part] for part in [*PARTS, 'weights'] if part in record} if same and run.args.only and not run.args.quick else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def arguments(argv):
    """Begin the run."""
    option = experiment.option
    run = experiment.start(
        'q7_2', __doc__, argv,
        flowers=option('17', '17 or 102: how many kinds', choices=['17', '102']),
        weights=option(None, "ImageNet weights: a state dict of torchvision's squeezenet1_1", metavar='FILE'),
        download=option(False, 'let torchvision fetch the ImageNet weights'),
        only=option(None, 'train this network alone', choices=PARTS),
        epochs=option(None, 'instead of 60 (fine_tuned) and 70 (from_scratch), or 35 on drawn flowers', type=int),
        learning_rate=option(None, 'instead of 3e-3 (fine_tuned) and 2e-3 (from_scratch)', type=float),
        unfreeze=option(0, 'then so many epochs with all layers of SqueezeNet', metavar='EPOCHS'),
        resume=option(False, 'go on with from_scratch where an interrupted run stopped'))
    for name in ('epochs', 'learning_rate'):
        if getattr(run.args, name) is not None and not 0 < getattr(run.args, name) < math.inf:
            raise UserError(f'--{name.replace("_", "-")} must be above zero, not {getattr(run.args, name)}')
    if run.args.unfreeze < 0:
        raise UserError(f'--unfreeze must not be negative, not {run.args.unfreeze}')
    return run


def main(argv=None):
    torch_nets.join()
    with contextlib.redirect_stdout(sys.stdout if torch_nets.rank() == 0 else None):
        run = arguments(argv)
        with torch_nets.one_by_one():
            splits = load(run)
        results, outputs, nets = earlier(run), {}, {}
        for part, train in zip(PARTS, (fine_tune, from_scratch)):
            if run.args.only in (None, part):
                results[part], outputs[part], nets[part] = train(run, splits)
        results['weights'] = results.get('fine_tuned', {}).pop('weights', results.get('weights'))
        if torch_nets.rank() > 0:
            return None
        draw(run, results, splits[2], outputs, nets)
        record = run.finish(**results)
        if 'from_scratch' in nets:
            torch_nets.forget(run.weights / FROM_SCRATCH)
        return record


if __name__ == '__main__':
    experiment.script(main)
