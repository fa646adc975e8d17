"""The networks of question 7 and the one loop that trains them all.

PyTorch does what nn.py does by hand: `forward` builds a graph, `loss.backward()` walks it in reverse, and the optimiser takes the
step. What is left to write is what surrounds the step, and it is the same for every network: shuffle, distort, step along a schedule,
validate, keep the best weights, save enough to go on after an interruption. That is `fit`.

A script uses it like this:

    torch_nets.seed(0)
    net = torch_nets.to_device(torch_nets.CharacterNet(classes=36))
    batches = torch_nets.Batches(x, y, batch_size=64, distort=torch_nets.Distort(), seed=0)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    history = torch_nets.fit(net, batches, (x_valid, y_valid), epochs=20, optimiser=optimiser, file='python/q7_1_nist36.pt')
    loss, accuracy = torch_nets.evaluate(net, x_test, y_test)

Started by `torchrun --nproc_per_node=2 python/run_q7_1.py`, every process runs the same lines on its share of each batch: the draws are
made for the whole batch on every rank and each takes every world-size-th row, gradients are averaged by DistributedDataParallel, batch
normalisation and metrics sum over the ranks. The result is that of one process up to rounding, or, with dropout, up to what is dropped. Only rank 0 prints and
writes.
"""
import atexit, contextlib, math, os, time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from experiment import UserError, writing

# ------------------------------------------------------------ processes and devices

def rank():
    """Which of the processes this is, 0 .. world() - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def world():
    """How many processes train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def join():
    """Join the group that torchrun announces in the environment; nothing to do without it. NCCL between GPUs, gloo between CPUs."""
    if 'WORLD_SIZE' in os.environ and not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ['LOCAL_RANK']) % torch.cuda.device_count())
        dist.init_process_group('nccl' if cuda else 'gloo')
        atexit.register(dist.destroy_process_group)


@contextlib.contextmanager
def one_by_one():
    """Rank 0 goes first, then the others: for data that is fetched or made on first use."""
    if rank() > 0:
        dist.barrier()
    yield
    if rank() == 0 and world() > 1:
        dist.barrier()


def same_everywhere(value):
    """Is value, anything that can be pickled, the same on all ranks?"""
    values = [value] * world()
    if world() > 1:
        dist.all_gather_object(values, value)
    return all(other == value for other in values)


def say(*words):
    """Print, on rank 0 only and at once."""
    if rank() == 0:
        print(*words, flush=True)


def device():
    """CUDA if there is one, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device('cuda', torch.cuda.current_device())
    return torch.device('mps' if torch.backends.mps.is_available() else 'cpu')


def precision():
    """The most precise float type of the device: float64, which MPS lacks."""
    return torch.float32 if device().type == 'mps' else torch.float64


def to_device(net):
    """net on the device; convolutions run about 15 % faster on the CPU with channels last in memory."""
    return net.to(device(), memory_format=torch.channels_last)


def seed(number):
    """Seed torch's global generator: initial weights and dropout. The order and the distortion of batches have their own (`Batches`)."""
    torch.manual_seed(number)


def _summed(*numbers):
    """The numbers, summed over all ranks."""
    if world() == 1:
        return numbers
    total = torch.tensor(numbers, dtype=precision(), device=device())
    dist.all_reduce(total)
    return tuple(total.tolist())


# ------------------------------------------------------------ networks

class FullyConnected(nn.Sequential):
    """Question 3's network: in -> hidden sigmoid units -> classes, on rows or pictures. `forward` returns scores; softmax is part of the loss.

    params  nn.py's dictionary to start from: Wlayer1 (in, hidden), blayer1, Woutput (hidden, classes), boutput; torch stores W transposed

    Its weights, and what it is shown, are of the type `precision()`.
    """

    def __init__(self, params):
        (inputs, hidden), classes = params['Wlayer1'].shape, len(params['boutput'])
        super().__init__(nn.Linear(inputs, hidden, dtype=precision()), nn.Sigmoid(), nn.Linear(hidden, classes, dtype=precision()))
        with torch.no_grad():
            for layer, name in ((self[0], 'layer1'), (self[2], 'output')):
                layer.weight.copy_(torch.from_numpy(params['W' + name].T))
                layer.bias.copy_(torch.from_numpy(params['b' + name]))

    def forward(self, x):
        return super().forward(x.flatten(1))


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks, and of the gradients that come back: what one rank puts in is in the sum of each."""

    @staticmethod
    def forward(context, x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(context, grad):
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the batch of all ranks together (torch's own SyncBatchNorm wants GPUs)."""

    def forward(self, x):
        if world() == 1 or not self.training:
            return super().forward(x)
        rows = x.new_full((1,), x.numel() / x.shape[1])
        moments = _SumOverRanks.apply(torch.cat([x.sum((0, 2, 3)), (x * x).sum((0, 2, 3)), rows]))
        count = moments[-1].detach()
        mean, square = (moments[:-1] / count).chunk(2)
        var = square - mean * mean
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(var + self.eps)
        return x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]


def convolution(channels_in, channels_out, size=3):
    """Convolution, batch normalisation, ReLU; the picture keeps its size."""
    weights = nn.Conv2d(channels_in, channels_out, size, padding=size // 2, bias=False)
    return nn.Sequential(weights, BatchNorm(channels_out), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """x + two convolutions of x: the layers only learn what is to be changed, and gradients pass them by (He et al. 2015)."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.second = convolution(channels, channels), convolution(channels, channels)
        self.second[-1] = nn.Identity()                 # the ReLU comes after the sum

    def forward(self, x):
        return F.relu(x + self.second(self.first(x)))


class CharacterNet(nn.Module):
    """A small network for pictures of single characters: (N, 1, H, W), ink bright on 0 -> scores (N, classes).

    Convolutions with batch normalisation, the picture halved and the channels doubled twice, then the mean over the picture and one linear layer. The first
    convolution looks at 5x5 pixels and the picture is halved right after it: pixels are cheap to look at and dear to compute on. No layer depends on the
    picture's size: 28x28 and 32x32 both do.

    On validation (NIST36, 15 epochs, about 0.8 ms a picture on one core for each): three pairs of 3x3 93.7 %, halved early 94.0 %, with residuals 94.4 %.

    width   channels of the first convolution
    third   a third stage: the picture halved and the channels doubled once more, one convolution. Two thirds more weights for a tenth more time, which
            74,000 pictures of EMNIST can fill (mean recall on validation 90.2 to 90.4 instead of 89.9 %), and 10,800 of NIST36 cannot (94.6 instead of 94.7 %)
    """

    def __init__(self, classes, width=24, third=False):
        super().__init__()
        self.features = nn.Sequential(
            convolution(1, width, 5), nn.MaxPool2d(2),
            convolution(width, 2 * width), Residual(2 * width), nn.MaxPool2d(2),
            convolution(2 * width, 4 * width), Residual(4 * width))
        channels = 4 * width
        if third:
            self.features.extend([nn.MaxPool2d(2), convolution(channels, 2 * channels)])
            channels *= 2
        self.classify = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classify(self.features(x).mean((2, 3)))


@torch.no_grad()
def balance(net, labels):
    """Make a CharacterNet that was trained on unequal classes expect all classes alike, in place: subtract log(share in training) from each class's bias.

    By Bayes' rule p(class | x) is proportional to p(x | class) p(class), and a trained network has learnt p(class) with the rest (Menon et al. 2021).

    labels (N,) class numbers of the training set
    """
    share = torch.bincount(torch.as_tensor(labels), minlength=len(net.classify.bias)).clamp(min=1) / len(labels)
    net.classify.bias -= share.log().to(net.classify.bias)


def count_parameters(net):
    """How many numbers training adjusts."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


# ------------------------------------------------------------ batches

class Batches:
    """Shuffled batches of pictures in memory; called with an epoch's number, yields that epoch's (x, y, rows of the whole batch).

    x           (N, ...) float tensor or array
    y           (N,) class numbers
    distort     distort(x, keep, generator) -> rows `keep` of x, distorted anew each time; None leaves them as they are
    order       order(epoch) -> (N,) row numbers; None shuffles by seed and epoch
    late        (epoch, distort): from that epoch on, distort in this way instead

    Order and distortion depend on the seed and the epoch's number only, so a resumed run sees what an uninterrupted one sees. Every row
    comes once an epoch, the tail included. With several processes each gets rows rank, rank + world, ... of every batch.
    """

    def __init__(self, x, y, batch_size, distort=None, seed=0, order=None, late=None):
        self.x, self.y = torch.as_tensor(x), torch.as_tensor(y).long()
        self.batch_size, self.distort, self.seed = batch_size, distort, seed
        self.order = order or self._shuffled
        self.late = late or (math.inf, None)

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def _shuffled(self, epoch):
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.x))

    def __call__(self, epoch):
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + epoch)
        order = torch.as_tensor(self.order(epoch))
        for start in range(0, len(order), self.batch_size):
            rows = order[start:start + self.batch_size]
            keep = slice(rank(), None, world())
            distort = self.late[1] if epoch >= self.late[0] else self.distort
            x = distort(self.x[rows], keep, generator) if distort else self.x[rows[keep]]
            yield x.to(device()), self.y[rows[keep]].to(device()), len(rows)


class Distort:
    """Write the characters again: turned, slanted, stretched, shifted, bent by a smooth random field, with a thicker or thinner pen.

    The whole batch at once: one affine map per picture plus a coarse grid of random displacements, enlarged to a smooth field, make one
    sampling grid.

    degrees    standard deviation of the rotation       shear    of the slant, as dx/dy
    scale      of log height and log width, each         shift    of the shift, in pixels
    bend       of the displacements, in pixels, on a `knots` x `knots` grid
    pen        share of pictures whose strokes are thickened or thinned, by up to a pixel
    strength   multiplies all of these
    """

    def __init__(self, degrees=7.0, shear=0.12, scale=0.08, shift=1.0, bend=0.8, knots=5, pen=0.3, strength=1.0):
        self.degrees, self.shear, self.scale, self.shift = (strength * x for x in (degrees, shear, scale, shift))
        self.bend, self.knots, self.pen = strength * bend, knots, strength * pen

    def __call__(self, x, keep, generator):
        n, _, height, width = x.shape
        normal = torch.randn(n, 6, generator=generator)[keep]
        knots = torch.randn(n, 2, self.knots, self.knots, generator=generator)[keep]
        pen = torch.rand(n, 2, generator=generator)[keep]
        x = x[keep]
        if not len(x):              # the last batch can have fewer rows than there are ranks
            return x
        grid = self.affine(normal, height, width)
        field = F.interpolate(knots, (height, width), mode='bicubic', align_corners=True)
        grid = grid + (field * (2 * self.bend / width)).permute(0, 2, 3, 1)
        x = F.grid_sample(x, grid, mode='bilinear', padding_mode='border', align_corners=False)
        return self.change_pen(x, pen) if self.pen else x

    def affine(self, normal, height, width):
        """(n, 6) standard normal draws -> sampling grid (n, height, width, 2) in -1..1."""
        angle = normal[:, 0] * math.radians(self.degrees)
        cos, sin = angle.cos(), angle.sin()
        wide, tall = (normal[:, 1] * self.scale).exp(), (normal[:, 2] * self.scale).exp()
        slant = normal[:, 3] * self.shear
        right, down = normal[:, 4] * (2 * self.shift / width), normal[:, 5] * (2 * self.shift / height)
        rows = torch.stack([cos * wide, (cos * slant - sin) * tall, right, sin * wide, (sin * slant + cos) * tall, down], 1)
        return F.affine_grid(rows.view(-1, 2, 3), (len(normal), 1, height, width), align_corners=False)

    def change_pen(self, x, draw):
        """Mix x with its maximum (thicker) or minimum (thinner) over a plus of five pixels; draw (n, 2), uniform: which way, how much."""
        which, much = draw[:, 0], draw[:, 1, None, None, None]
        for rows, sign in ((which < self.pen / 2, 1), (which > 1 - self.pen / 2, -1)):
            part = sign * x[rows]
            plus = torch.maximum(F.max_pool2d(part, (3, 1), 1, (1, 0)), F.max_pool2d(part, (1, 3), 1, (0, 1)))
            x[rows] = sign * torch.lerp(part, plus, much[rows])
        return x


# ------------------------------------------------------------ schedules: share of training done -> factor on the rates

def constant(done):
    return 1.0


def cosine(done):
    """From 1 down to 0 along half a cosine."""
    return 0.5 + 0.5 * math.cos(math.pi * done)


def one_cycle(done, warm=0.2):
    """Up from 0.05 to 1 in the first fifth, then down to 0 along half a cosine."""
    return 0.05 + 0.95 * done / warm if done < warm else cosine((done - warm) / (1 - warm))


def two_rounds(done, first):
    """one_cycle in the first share of training, then down once more along half a cosine, from a quarter of the full rate."""
    return one_cycle(done / first) if done < first else 0.25 * cosine((done - first) / (1 - first))


# ------------------------------------------------------------ training

@torch.no_grad()
def scores(net, x, batch_size=500):
    """Scores (N, classes), on the CPU, of x (N, ...), in evaluation mode (the mode is put back afterwards)."""
    training = net.training
    net.eval()
    x = torch.as_tensor(x)
    out = torch.cat([net(part.to(device())).cpu() for part in x.split(batch_size)])
    net.train(training)
    return out


def mean_recall(net, x, y):
    """Accuracy with every class counting alike: the mean over classes of the share of its pictures that is recognised."""
    right = scores(net, x).argmax(1).numpy() == np.asarray(y)
    return float(np.mean([right[np.asarray(y) == k].mean() for k in np.unique(y)]))


def evaluate(net, x, y, batch_size=500):
    """(mean cross-entropy, accuracy 0..1) of net on x (N, ...), y (N,); each rank does its share and all get the sum."""
    x, y = torch.as_tensor(x)[rank()::world()], torch.as_tensor(y).long()[rank()::world()]
    out = scores(net, x, batch_size)
    loss, right, count = _summed(F.cross_entropy(out, y, reduction='sum').item(), (out.argmax(1) == y).sum().item(), len(y))
    return loss / count, right / count


def _step(model, optimiser, x, y, rows, smoothing, mean):
    """One step on this rank's share (x, y) of a batch of `rows`; returns its summed loss and number of right answers."""
    out = model(x)
    loss = F.cross_entropy(out, y, reduction='sum', label_smoothing=smoothing)
    optimiser.zero_grad(set_to_none=True)
    # DistributedDataParallel averages gradients over ranks: times world() makes it the sum, as one process has it.
    (loss * world() / (rows if mean else 1)).backward()
    optimiser.step()
    return loss.item(), (out.argmax(1) == y).sum().item()


@torch.no_grad()
def _follow(average, net, decay, step):
    """Move the running average of the weights, `average`, towards net's; faster at first, so that the random start is soon forgotten."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    current = net.state_dict()
    for name, value in average.items():
        value.lerp_(current[name], weight) if value.is_floating_point() else value.copy_(current[name])


def _copy(state):
    return {name: value.detach().clone() for name, value in state.items()}


def _to_device(state):
    return {name: value.to(device()) for name, value in state.items()}


def fit(net, batches, valid, *, epochs, optimiser, schedule=one_cycle, smoothing=0.0, average=None, mean=True, file=None, resume=False,
        label='', about=None):
    """Train net and leave the weights that were best on validation in it; returns the history.

    net        on its device (`to_device`), changed in place
    batches    a `Batches`: batches(epoch) yields (x, y, rows of the whole batch), len(batches) is the number of steps
    valid      (x, y) of the validation set
    optimiser  of torch.optim, over net's parameters; before each step a group's rate is set to its own times schedule(share done)
    smoothing  label smoothing, 0..1
    average    decay of a running average of the weights, which is then what is validated and kept; None for none
    mean       True: the gradient is the batch's mean, as usual in torch; False: the sum, as in nn.py
    file       where the best weights (a state dict) go at the end, and after every epoch, in *.checkpoint.pt, what --resume needs; that stays until
               `forget(file)`, so that a script of several trainings can be resumed without repeating those that were done
    resume     go on from that checkpoint if it is there
    label      begins each printed line
    about      what else tells this training from others of as many steps (a dict), such as its data: resuming another one is refused

    returns a list with a dict per epoch: loss, accuracy (training, with distortion and dropout on), valid_loss, valid_accuracy, seconds
    """
    rates = [group['lr'] for group in optimiser.param_groups]
    kept = _Kept(net, optimiser, average, file, plan={'epochs': epochs, 'steps': len(batches), 'rates': rates, 'seed': batches.seed, **(about or {})})
    if resume:
        kept.load()
    model = nn.parallel.DistributedDataParallel(net) if world() > 1 else net
    for epoch in range(len(kept.history), epochs):
        began, loss, right, count = time.perf_counter(), 0.0, 0, 0
        net.train()
        for i, (x, y, rows) in enumerate(batches(epoch)):
            step = epoch * len(batches) + i
            for group, rate in zip(optimiser.param_groups, rates):
                group['lr'] = rate * schedule(step / (epochs * len(batches)))
            part_loss, part_right = _step(model, optimiser, x, y, rows, smoothing, mean)
            loss, right, count = loss + part_loss, right + part_right, count + len(y)
            if average:
                _follow(kept.average, net, average, step)
        loss, right, count = _summed(loss, right, count)
        kept.validate(valid, loss=loss / count, accuracy=right / count, began=began)
        say(_line(label, kept.history, epochs))
        kept.save()
    net.load_state_dict(kept.best)
    if file and rank() == 0:
        save(kept.best, file)
    return kept.history


def _checkpoint(file):
    return Path(file).with_suffix('.checkpoint.pt')


def forget(file):
    """Remove the checkpoint of the training whose weights are in file: the script is done."""
    _checkpoint(file).unlink(missing_ok=True)


def _generators():
    """Where torch's global random numbers come from: the CPU's generator and the device's, which dropout uses there."""
    return [torch] if device().type == 'cpu' else [torch, getattr(torch, device().type)]


class _Kept:
    """What lasts from epoch to epoch: history, best weights, running average; saved and loaded together with net and optimiser."""

    def __init__(self, net, optimiser, average, file, plan):
        self.net, self.optimiser, self.plan = net, optimiser, plan
        self.average = _copy(net.state_dict()) if average else None
        self.best, self.history = _copy(net.state_dict()), []
        self.checkpoint = _checkpoint(file) if file else None

    def validate(self, valid, began, **numbers):
        """Measure on validation, with the averaged weights if there are any, and keep the weights if they are the best so far."""
        current = self.average or self.net.state_dict()
        trained = _copy(self.net.state_dict()) if self.average else None
        self.net.load_state_dict(current)
        valid_loss, valid_accuracy = evaluate(self.net, *valid)
        if not self.history or valid_accuracy >= max(h['valid_accuracy'] for h in self.history):
            self.best = _copy(current)
        if trained:
            self.net.load_state_dict(trained)
        self.history.append({**numbers, 'valid_loss': valid_loss, 'valid_accuracy': valid_accuracy, 'seconds': time.perf_counter() - began})

    def save(self):
        if self.checkpoint and rank() == 0:
            save({'plan': self.plan, 'net': self.net.state_dict(), 'optimiser': self.optimiser.state_dict(), 'average': self.average,
                  'best': self.best, 'history': self.history, 'random': [g.get_rng_state() for g in _generators()]}, self.checkpoint)

    def read(self):
        """What is in the checkpoint, None if there is none; it must belong to the same plan."""
        if not self.checkpoint or not self.checkpoint.exists():
            return None
        state = load(self.checkpoint)
        if state.get('plan') != self.plan:
            raise UserError(f'{self.checkpoint}: belongs to a run with other settings ({state.get("plan")}, now {self.plan}); '
                            'use those, or leave out --resume')
        return state

    def load(self):
        """Go on from the checkpoint if there is one. Rank 0 reads it for all: the other machines need not have the file."""
        found = [self.read() if rank() == 0 else None]
        if world() > 1:
            dist.broadcast_object_list(found)
        state = found[0]
        if state is None:
            return say('nothing to resume: starting from the beginning')
        self.net.load_state_dict(state['net'])
        self.optimiser.load_state_dict(state['optimiser'])
        for generator, numbers in zip(_generators(), state['random']):
            generator.set_rng_state(numbers)
        self.best, self.average, self.history = _to_device(state['best']), state['average'] and _to_device(state['average']), state['history']
        say(f'resuming after epoch {len(self.history)}')


def _line(label, history, epochs):
    """One line for the epoch just done."""
    last, done = history[-1], len(history)
    left = (epochs - done) * float(np.median([h['seconds'] for h in history]))
    return (f'{label + "  " if label else ""}epoch {done:3d}/{epochs}  loss {last["loss"]:.4f}  train {last["accuracy"]:.2%}  '
            f'valid {last["valid_accuracy"]:.2%}  {last["seconds"]:.1f} s, {left:.0f} s left')


# ------------------------------------------------------------ files

def save(state, file):
    """Write a state dict to file, beside it first: never half a file."""
    with writing(file) as part:
        torch.save(state, part)


def load(file):
    """What `save` wrote to file, on the CPU. weights_only: a file from elsewhere cannot run code."""
    file = Path(file)
    if not file.is_file():
        raise UserError(f'{file}: not found; train first, without --read')
    try:
        return torch.load(file, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UserError(f'{file}: not a PyTorch state dict ({type(error).__name__}); delete it and train again') from None


def load_weights(net, file):
    """Put the state dict in `file` into net; one clear line if it belongs to another network."""
    try:
        net.load_state_dict(load(file))
    except (RuntimeError, AttributeError, TypeError):
        raise UserError(f'{file}: the weights of another network; delete it and train again') from None
    return net


def open_character_net(file, classes):
    """The CharacterNet, of any width and number of stages, whose weights are in file, on the device and ready to use."""
    try:
        state = load(file)
        width, third = len(state['features.0.0.weight']), 'features.8.0.weight' in state
    except (KeyError, TypeError):
        raise UserError(f'{file}: the weights of another network; delete it and train again') from None
    return to_device(load_weights(CharacterNet(classes, width, third), file)).eval()
