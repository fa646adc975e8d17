"""What benchmark.py measures this project beside: the same work, done with what a user would pick instead.

Each function makes one contestant and returns it: a function without arguments that does the work once. Contestants of a training all begin with the same
weights, take the same steps (plain gradient descent, the learning rate divided by the batch size where the gradient is the batch's sum) and return the mean
loss of their epoch, so that it can be seen that they did the same. The peers get their fast ways: PyTorch no DataLoader, which would fetch row by row, and
neither it nor scikit-learn is asked for the accuracy.
"""
import shutil, subprocess

import numpy as np

import nn

LAYERS = [('layer1', nn.sigmoid), ('output', nn.softmax)]
RATE = 0.01         # for the mean loss of a batch


def new_params(hidden, dtype):
    """Weights of 1024-hidden-36, always the same."""
    params, rng = {}, np.random.default_rng(0)
    nn.initialize_weights(1024, hidden, params, 'layer1', rng=rng)
    nn.initialize_weights(hidden, 36, params, 'output', rng=rng)
    return {name: value.astype(dtype) for name, value in params.items()}


# ---------------------------------------------------------------- one epoch of 1024-hidden-36

def ours(x, y, hidden, batch_size):
    """nn.py's own loop; reshuffles, keeps loss and accuracy."""
    params, rng = new_params(hidden, x.dtype), np.random.default_rng(1)
    return lambda: nn.train_epoch(nn.shuffled_batches(x, y, batch_size, rng), params, LAYERS, RATE / batch_size)[0]


def course(x, y, hidden, batch_size):
    """The loop that the course's run_q3.py asks for, on nn.py: batches drawn once, every function called as the handout says."""
    params = new_params(hidden, x.dtype)
    batches = nn.get_random_batches(x, y, batch_size, np.random.default_rng(1))

    def epoch():
        total = 0
        for xb, yb in batches:
            probs = nn.forward(nn.forward(xb, params, 'layer1'), params, 'output', nn.softmax)
            loss, _ = nn.compute_loss_and_acc(yb, probs)
            total += loss
            delta = nn.backwards(probs - yb, params, 'output', nn.linear_deriv)
            nn.backwards(delta, params, 'layer1', nn.sigmoid_deriv)
            for name in nn.parameter_names(params):
                params[name] -= RATE / batch_size * params['grad_' + name]
        return total / len(x)
    return epoch


def sklearn(x, y, hidden, batch_size):
    """MLPClassifier, an epoch at a time; reshuffles. ImportError where scikit-learn is not installed."""
    from sklearn.neural_network import MLPClassifier
    labels, params = y.argmax(axis=1), new_params(hidden, x.dtype)
    net = MLPClassifier(hidden, activation='logistic', solver='sgd', alpha=0, batch_size=min(batch_size, len(x)), learning_rate_init=RATE, momentum=0,
                        nesterovs_momentum=False, shuffle=True, random_state=1)
    net.partial_fit(x[:batch_size], labels[:batch_size], classes=np.arange(y.shape[1]))         # makes the arrays that now get the common weights
    for mine, name in zip(net.coefs_ + net.intercepts_, ('Wlayer1', 'Woutput', 'blayer1', 'boutput')):
        mine[:] = params[name]
    return lambda: net.partial_fit(x, labels).loss_


def torch(x, y, hidden, batch_size):
    """PyTorch on the CPU; reshuffles. ImportError where it is not installed."""
    import torch, torch_nets
    net = torch.nn.Sequential(*torch_nets.FullyConnected(new_params(hidden, x.dtype))).to(torch.from_numpy(x).dtype)
    optimiser = torch.optim.SGD(net.parameters(), lr=RATE)
    loss_function = torch.nn.CrossEntropyLoss()
    pictures, labels, generator = torch.from_numpy(x), torch.from_numpy(y.argmax(axis=1)), torch.Generator().manual_seed(1)

    def epoch():
        total = torch.zeros(())
        for rows in torch.randperm(len(pictures), generator=generator).split(batch_size):
            loss = loss_function(net(pictures[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.detach() * len(rows)
        return float(total) / len(pictures)
    return epoch


def limit(x, y, hidden, batch_size):
    """Only the five matrix products of each step, of the same shapes, into arrays made beforehand: no training on this machine and numpy can be faster."""
    full, rest = divmod(len(x), batch_size)
    steps = [(full, products(batch_size, hidden, y.shape[1], x.dtype))] + ([(1, products(rest, hidden, y.shape[1], x.dtype))] if rest else [])

    def epoch():
        for times, multiply in steps:
            for _ in range(times):
                multiply()
    return epoch


def products(n, hidden, classes, dtype):
    """A function that does the matrix products of one step with n pictures: forward, the gradients of both W, and the gradient that goes back to layer 1."""
    rng = np.random.default_rng(0)
    X, W1, H, W2, D = (rng.random(shape).astype(dtype) for shape in ((n, 1024), (1024, hidden), (n, hidden), (hidden, classes), (n, classes)))
    XW1, HW2, XD, HD, DW2 = np.empty_like(H), np.empty_like(D), np.empty_like(W1), np.empty_like(W2), np.empty_like(H)

    def multiply():
        np.matmul(X, W1, out=XW1)
        np.matmul(H, W2, out=HW2)
        np.matmul(H.T, D, out=HD)
        np.matmul(D, W2.T, out=DW2)
        np.matmul(X.T, H, out=XD)
    return multiply


def flops(n, hidden, classes=36):
    """Multiplications and additions of an epoch's matrix products over n pictures: two layers forward, both weights' gradients, and one gradient back."""
    return 2 * n * hidden * (2 * 1024 + 3 * classes)


TRAINING = {'ours': ours, 'course': course, 'sklearn': sklearn, 'torch': torch, 'limit': limit}


def torch_step(network, batch_size=None):
    """A training step of one of question 7.1's networks, 'fully connected' or 'CharacterNet' (EMNIST), on noise.

    returns (function, bytes of gradients, how many sums over all processes a step would need)
    """
    import torch, torch_nets
    if network == 'CharacterNet':
        net, x = torch_nets.CharacterNet(47, third=True).to(memory_format=torch.channels_last), torch.rand(batch_size or 128, 1, 28, 28)
    else:
        net, x = torch_nets.FullyConnected(new_params(64, np.float32)).to(torch.float32), torch.rand(batch_size or 36, 1024)
    optimiser, labels = torch.optim.AdamW(net.parameters()), torch.arange(len(x)) % 36

    def step():
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x), labels).backward()
        optimiser.step()
    normalised = sum(isinstance(layer, torch_nets.BatchNorm) for layer in net.modules())        # each sums forward and backward
    return step, 4 * torch_nets.count_parameters(net), 1 + 2 * normalised


# ---------------------------------------------------------------- augmentation: a warped copy of each of pictures (n, 32, 32)

def scipy_affine(pictures):
    """scipy.ndimage.affine_transform, a random rotation, slant, zoom and shift for each picture; no bending, no change of pen."""
    from scipy import ndimage
    rng, middle, out = np.random.default_rng(0), (pictures.shape[1] - 1) / 2, np.empty_like(pictures)

    def draw():
        for i, picture in enumerate(pictures):
            angle, slant, zoom = rng.normal(0, 0.12), rng.normal(0, 0.15), 1 + rng.normal(0, 0.08)
            cos, sin = np.cos(angle), np.sin(angle)
            matrix = zoom * np.array([[cos, -sin], [sin + slant, cos]])
            shift = middle - matrix @ (middle, middle) + rng.normal(0, 0.5, 2)
            ndimage.affine_transform(picture, matrix, shift, output=out[i], order=1, mode='nearest')
        return out
    return draw


def torchvision(pictures, *more):
    """torchvision's RandomAffine for each picture (a whole batch would get one and the same), then the transforms more."""
    import torch
    from torchvision.transforms import v2
    affine = v2.RandomAffine(degrees=14, translate=(0.03, 0.03), scale=(0.85, 1.15), shear=(-17, 17), interpolation=v2.InterpolationMode.BILINEAR, fill=1.0)
    transform, batch = v2.Compose([affine, *more]), torch.from_numpy(pictures)[:, None]
    return lambda: torch.stack([transform(picture) for picture in batch])


def torchvision_elastic(pictures):
    """RandomAffine, then ElasticTransform, for each picture."""
    from torchvision.transforms import v2
    return torchvision(pictures, v2.ElasticTransform(alpha=20.0, sigma=5.0, fill=1.0))


AUGMENTATION = {'scipy_affine': scipy_affine, 'torchvision_affine': torchvision, 'torchvision_elastic': torchvision_elastic}


# ---------------------------------------------------------------- reading

def tesseract(path):
    """Lines that Tesseract reads in a picture. --psm 6, one block of text, suits these pages best of its modes; it was made for print."""
    done = subprocess.run(['tesseract', str(path), 'stdout', '--psm', '6'], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.strip()]


def tesseract_version():
    """Tesseract's version, None where it is not installed."""
    if not shutil.which('tesseract'):
        return None
    done = subprocess.run(['tesseract', '--version'], capture_output=True, text=True)
    return (done.stdout or done.stderr).split()[1]
