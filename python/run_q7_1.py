"""Question 7.1: the characters again, in PyTorch: a fully connected network, then convolutional ones on MNIST, NIST36 and EMNIST.

    python python/run_q7_1.py                             all four, then reads images/; half an hour on two free cores, half a minute with --quick
    python python/run_q7_1.py --only mnist                some parts: fully_connected, mnist, nist36, emnist (which then reads images/)
    python python/run_q7_1.py --read photo.jpg ...        reads photos with the saved EMNIST network; no training
    python python/run_q7_1.py --seed 1 --out DIR          once more with other random numbers; a mean over seeds says more than one of them
    python python/run_q7_1.py --train-on builtin          trains on the built-in handwriting only, tests on the real sets (with --out DIR, to keep the others)
    python python/run_q7_1.py --resume                    goes on after an interruption, from the last whole epoch
    torchrun --nproc_per_node=2 python/run_q7_1.py        the same on two processes, or GPUs; on two machines, typed on each of them (HOST is the first):
    torchrun --nnodes=2 --nproc_per_node=1 --rdzv_backend=c10d --rdzv_endpoint=HOST:29500 python/run_q7_1.py

What more processes are worth is in the results file, as "processes" and "seconds_per_epoch" of each part; one epoch is enough to see it:
python python/run_q7_1.py --only nist36 --epochs 1 --out DIR, then the same by torchrun.

7.1.1 repeats question 3 with torch: from the same weights and in the same order its loss is that of nn.py. 7.1.2 to 7.1.4 train one small convolutional
network, CharacterNet, on three sets; the one for EMNIST then reads the boxes that findLetters finds on the photos. Settings were chosen on validation
pictures taken from the training sets, and for the photos on pages made by handwriting.py.

Writes results/q7_1.json, figures/q7_1_*.png and, beside the code, q7_1_{fully_connected,mnist,nist36,emnist}.pt (state dicts).
"""
import contextlib, functools, json, sys, time

import numpy as np
import torch

import datasets, experiment, figures, nn, q4, run_q3, torch_nets

PARTS = ['fully_connected', 'mnist', 'nist36', 'emnist']

# What was chosen on validation.
# gentle     so many epochs at the end distort less, in a round of their own: width and slant, which tell 0 from O and 1 from I, are lost in strong distortion
# train_on   as many built-in characters as real ones cost the NIST36 network a point (93.6 instead of 94.6 % after 20 epochs), one to eight real ones a third
#            of a point (94.4 instead of 94.7 %). They cost the EMNIST network nothing (89.8 % after 7 epochs either way), which then knows ways of writing
#            that are rare in EMNIST, such as a 1 with flag and foot
RECIPES = {
    'fully_connected': dict(epochs=50, batch_size=36, learning_rate=3e-3, hidden=64),
    'mnist': dict(epochs=11, batch_size=128, learning_rate=4e-3, width=16, third=False, gentle=2, train_on='real'),
    'nist36': dict(epochs=24, batch_size=64, learning_rate=3e-3, width=24, third=False, gentle=5, train_on='real'),
    'emnist': dict(epochs=12, batch_size=128, learning_rate=4e-3, width=24, third=True, gentle=3, train_on='both'),
}
QUICK = dict(epochs=2, width=8, pictures=1500)      # of each set, under --quick
KEPT = [*PARTS, 'photos', 'readers', 'characters', 'edits', 'lines_exact', 'lines']       # what --only and --read leave of earlier results
READER, BOTH = 'EMNIST network', 'both networks'
SCORES = ('characters', 'edits', 'lines_exact', 'lines_true')
HELD_OUT = 5000                # of the training pictures of MNIST and EMNIST, for validation
FEW = 8                        # where built-in characters are added to real ones, at most one to so many
CLASSES47 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt'              # EMNIST balanced, in the order of its labels


# ---------------------------------------------------------------- data: pictures (N, 1, H, W), upright, ink bright on 0; labels (N,)

def load_nist36(split, data, builtin=False):
    """NIST36 with the ink bright, as the other two sets have it. builtin: the built-in stand-in, even where the real files are."""
    characters = datasets.load_nist36(split, data, dtype=np.float32, builtin=builtin)
    return 1 - datasets.upright(characters.x)[:, None].copy(), characters.labels


def load_torchvision(kind, train, data, download=False, builtin=False):
    """MNIST or EMNIST balanced through torchvision, as float32 in 0..1. EMNIST is stored transposed: turned upright here."""
    from torchvision.datasets import EMNIST, MNIST
    make = MNIST if kind == 'mnist' else lambda root, **rest: EMNIST(root, split='balanced', **rest)
    if download and not builtin:
        try:
            make(str(data.folder), train=train, download=True)
        except Exception as error:              # no network, a full disk, a broken archive ...
            raise experiment.UserError(f'{kind.upper()} could not be downloaded to {data.folder} ({" ".join(str(error).split())}); '
                                       'try again, or leave out --download') from None
    folder = (datasets.mnist_folder if kind == 'mnist' else datasets.emnist_folder)(data, builtin)
    try:
        found = make(str(folder), train=train)
        x, y = found.data.numpy(), found.targets.numpy()
    except Exception as error:                  # torchvision raises many kinds for a broken file
        raise experiment.UserError(f'{folder / kind.upper() / "raw"}: cannot be read ({type(error).__name__}: {error}); '
                                   + datasets.mend(folder / kind.upper(), 'remove the folder, or fetch it again with --download')) from None
    if x.ndim != 3 or x.shape[1:] != (28, 28) or len(x) != len(y) or not len(x):
        raise experiment.UserError(f'{folder / kind.upper() / "raw"}: pictures {x.shape} and labels {y.shape} do not fit; '
                                   + datasets.mend(folder / kind.upper(), 'fetch it again with --download'))
    x = x.swapaxes(1, 2) if kind == 'emnist' else x
    return np.ascontiguousarray(x[:, None], np.float32) / 255, y


def hold_out(x, y):
    """(x, y) of the training pictures and of those held out for validation, a fixed random choice."""
    order = np.random.default_rng(0).permutation(len(x))
    kept, held = order[min(HELD_OUT, len(x) // 5):], order[:min(HELD_OUT, len(x) // 5)]
    return (x[kept], y[kept]), (x[held], y[held])


def load_splits(part, run, builtin=False):
    """(train, valid, test), each (x, y), of the real set, or with builtin of its built-in stand-in."""
    if part == 'nist36':
        return tuple(load_nist36(split, run.data, builtin) for split in ('train', 'valid', 'test'))
    train, test = (load_torchvision(part, train, run.data, run.args.download, builtin) for train in (True, False))
    return *hold_out(*train), test


def joined(a, b):
    """The pictures and labels of a, then those of b."""
    return tuple(map(np.concatenate, zip(a, b)))


def load(part, run, train_on='real'):
    """(train, valid, test), each (x, y). train_on 'both' adds some built-in characters to the real training set, 'builtin' trains and validates on nothing
    else, 'all' adds the validation set to the training set, for a last training after everything has been chosen (the validation accuracy then means nothing).
    What is tested on is the real set in any case. Where there is no real set, its stand-in serves alone.
    """
    train, valid, test = load_splits(part, run)
    if train_on == 'all':
        train = joined(train, valid)
    elif train_on != 'real' and not run.data.stands_in(part.upper()):
        made, made_valid, _ = load_splits(part, run, builtin=True)
        step = -(-len(made[0]) * FEW // len(train[0]))
        train, valid = (made, made_valid) if train_on == 'builtin' else (joined(train, (x[::step] for x in made)), valid)
    if not run.args.quick:
        return train, valid, test
    return tuple((x[::step], y[::step]) for x, y in (train, valid, test) for step in [max(1, len(x) // QUICK['pictures'])])


# ---------------------------------------------------------------- 7.1.1: question 3 in torch

def numpy_losses(params, characters, order, epochs, batch_size, learning_rate):
    """Mean loss per epoch of nn.py's own training, rows in the order order(epoch); changes params."""
    layers = [('layer1', nn.sigmoid), ('output', nn.softmax)]
    losses = []
    for epoch in range(epochs):
        rows = order(epoch)
        cut = [rows[i:i + batch_size] for i in range(0, len(rows), batch_size)]
        batches = ((characters.x[part], characters.y[part]) for part in cut)
        losses.append(nn.train_epoch(batches, params, layers, learning_rate)[0])
    return losses


def fully_connected(run, recipe):
    """Train question 3's network in torch and in numpy, from the same weights in the same order; compare."""
    with torch_nets.one_by_one():
        train, valid, test = (datasets.load_nist36(split, run.data) for split in ('train', 'valid', 'test'))
    params = {}
    nn.initialize_weights(1024, recipe['hidden'], params, 'layer1', rng=run.rng)
    nn.initialize_weights(recipe['hidden'], 36, params, 'output', rng=run.rng)
    net = torch_nets.to_device(torch_nets.FullyConnected(params))
    seen, seen_valid, seen_test = ((torch.as_tensor(part.x).to(torch_nets.precision()), part.labels) for part in (train, valid, test))
    batches = torch_nets.Batches(*seen, recipe['batch_size'], seed=run.args.seed)
    # nn.py sums the gradient over the batch and takes plain steps
    optimiser = torch.optim.SGD(net.parameters(), lr=recipe['learning_rate'])
    history = torch_nets.fit(net, batches, seen_valid, epochs=recipe['epochs'], optimiser=optimiser, schedule=torch_nets.constant, mean=False,
                             file=run.weights / weights_name('fully_connected'), resume=run.args.resume, label='7.1.1', about=about('nist36', recipe, run))
    by_hand = numpy_losses(params, train, batches.order, recipe['epochs'], recipe['batch_size'], recipe['learning_rate'])
    torch_losses = [h['loss'] for h in history]
    difference = float(np.max(np.abs(np.array(by_hand) - torch_losses)))
    torch_nets.say(f'7.1.1  largest difference of the two loss curves: {difference:.1e}')
    if torch_nets.rank() == 0:
        run.figure('fully_connected', figures.same_curves({'numpy': by_hand, 'torch': torch_losses}, 'epoch', 'mean training loss'))
        percents = {label: [100 * h[key] for h in history] for label, key in (('training', 'accuracy'), ('validation', 'valid_accuracy'))}
        run.figure('fully_connected_accuracy', figures.curves(percents, 'epoch', 'accuracy, %'))
    return {**summary(net, history, run, recipe, seen, seen_test), 'largest_loss_difference': difference}


# ---------------------------------------------------------------- 7.1.2 to 7.1.4: convolutional networks

def convolutional(part, run, recipe):
    """Train CharacterNet on one set; figures of its curves and confusions."""
    with torch_nets.one_by_one():
        train, valid, test = load(part, run, recipe['train_on'])
    if run.data.stands_in(part.upper()) and not (run.args.epochs or run.args.quick):
        recipe = recipe | {'epochs': -(-recipe['epochs'] // 2)}         # the stand-in alone: drawn characters are learnt in half the time
    classes = classes_of(part)
    torch_nets.seed(run.args.seed)
    net = torch_nets.to_device(torch_nets.CharacterNet(len(classes), recipe['width'], recipe['third']))
    first = max(1, recipe['epochs'] - recipe['gentle'])
    usual, late = (torch_nets.Distort(strength=strength) for strength in (1, 0.35))
    batches = torch_nets.Batches(*train, recipe['batch_size'], usual, seed=run.args.seed, late=(first, late))
    schedule = functools.partial(torch_nets.two_rounds, first=first / recipe['epochs'])
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe['learning_rate'], weight_decay=0.05)
    history = torch_nets.fit(net, batches, valid, epochs=recipe['epochs'], optimiser=optimiser, schedule=schedule, smoothing=0.1, average=0.998,
                             file=run.weights / weights_name(part), resume=run.args.resume, label=part, about=about(part, recipe, run))
    if part == 'emnist':            # a balanced set by definition, and a balanced test set: where a copy has fewer of some classes, the network shall not care
        torch_nets.balance(net, train[1])
        if torch_nets.rank() == 0:
            torch_nets.save(net.state_dict(), run.weights / weights_name(part))
    result = summary(net, history, run, recipe, train, test) | {'valid_mean_recall': torch_nets.mean_recall(net, *valid)}
    if torch_nets.rank() == 0:
        draw(part, run, net, history, batches, test, classes)
    return result


def classes_of(part):
    """The names of a set's classes in the order of its labels."""
    return {'mnist': '0123456789', 'nist36': datasets.CLASSES, 'emnist': CLASSES47}[part]


def draw(part, run, net, history, batches, test, classes):
    """Learning curves, confusion matrix, and what the network sees in training."""
    columns = {key: [100 * h[key] for h in history] for key in ('accuracy', 'valid_accuracy')}
    run.figure(f'{part}_curves', figures.curves({'training, distorted': columns['accuracy'], 'validation': columns['valid_accuracy']}, 'epoch', 'accuracy, %'))
    predicted = torch_nets.scores(net, test[0]).argmax(1).numpy()
    matrix = np.zeros((len(classes), len(classes)), int)
    np.add.at(matrix, (test[1], predicted), 1)
    run.figure(f'{part}_confusion', figures.confusion(matrix, classes))
    x, _, _ = next(iter(batches(0)))
    run.figure(f'{part}_distorted', figures.image_grid(x[:64, 0].cpu().numpy(), columns=16))


def about(part, recipe, run):
    """What a checkpoint must have been made with to go on from it: the recipe, and where the set of this part came from."""
    return {'recipe': recipe, 'data': run.data.sets[part.upper()]}


def summary(net, history, run, recipe, train, test):
    """What the results file says about one network."""
    result = {
        'train_accuracy': torch_nets.evaluate(net, *train)[1], 'valid_accuracy': max(h['valid_accuracy'] for h in history),
        'test_accuracy': torch_nets.evaluate(net, *test)[1], 'test_pictures': len(test[1]), 'epochs': len(history),
        'parameters': torch_nets.count_parameters(net), 'seconds_per_epoch': float(np.median([h['seconds'] for h in history])),
        'train_on': recipe.get('train_on', 'real'), 'processes': torch_nets.world(), 'seed': run.args.seed, 'history': history,
    }
    torch_nets.say('  train {train_accuracy:.2%}  valid {valid_accuracy:.2%}  test {test_accuracy:.2%}  {parameters} parameters  '
                   '{seconds_per_epoch:.1f} s an epoch, processes: {processes}'.format(**result))
    return result


# ---------------------------------------------------------------- reading photos

def weights_name(part):
    """The file that a part's weights go to."""
    return f'q7_1_{part}.pt'


def probabilities(net, invert=False):
    """A classifier for q4.read: crops (n, size, size), upright, -> (n, classes). invert: the crops have dark ink, the network was trained on bright."""
    def classify(crops):
        x = np.asarray(crops, np.float32)[:, None]
        return torch_nets.scores(net, 1 - x if invert else x).softmax(1).numpy()
    return classify


def capitals(classify):
    """classify for pages of capitals and digits: the part of L that is a bare stroke goes to I.

    EMNIST's class L holds the small l too, so for a bare stroke the network divides its belief between 1, I and L; a capital L it tells from 1 and I. What
    share of L's is a bare stroke is taken to be the share of 1 and I among the three. On pages of the built-in handwriting, this halves the errors.
    """
    one, eye, ell = (CLASSES47.index(c) for c in '1IL')

    def corrected(crops):
        p = classify(crops).copy()
        stroke = p[:, one] + p[:, eye]
        moved = p[:, ell] * stroke / (stroke + p[:, ell])
        p[:, eye] += moved
        p[:, ell] -= moved
        return p
    return corrected


def both_looks(distance, **variant):
    """Crops (n, 32, 60) as both networks see them, ink bright: 32 columns in NIST36's look, then 28 in EMNIST's."""
    emnist = np.pad(q4.emnist_look(distance, **variant), ((0, 0), (2, 2), (0, 0)))
    return np.concatenate([1 - q4.nist36_look(distance, **variant), emnist], axis=2)


def together(nist36, emnist):
    """A classifier of both_looks(): the geometric mean of two networks' probabilities, small letters counted as capitals."""
    merge = np.array([[c.upper() == name for name in datasets.CLASSES] for c in CLASSES47], float)

    def classify(crops):
        return np.sqrt(nist36(1 - crops[:, :, :32]) * (emnist(crops[:, 2:-2, 32:]) @ merge))
    return classify


def readers(run):
    """{name: how q4.read is to read} for question 3's network and the two convolutional ones, as far as their weights are there; EMNIST's must be."""
    found = {}
    emnist, nist36 = (run.weights_file(weights_name(part)) for part in ('emnist', 'nist36'))
    pickled = run.weights_file('q3_weights.pickle')
    if not emnist.exists():
        raise experiment.UserError(f'{experiment.shorten(emnist)} is missing; train it first: python python/run_q7_1.py --only emnist')
    net = torch_nets.open_character_net(emnist, len(CLASSES47))
    found[READER] = dict(classify=capitals(probabilities(net)), classes=CLASSES47, look=q4.emnist_look)
    if nist36.exists():
        found['NIST36 network'] = dict(classify=probabilities(torch_nets.open_character_net(nist36, len(datasets.CLASSES)), invert=True))
        found[BOTH] = dict(classify=together(found['NIST36 network']['classify'], found[READER]['classify']), look=both_looks)
    if pickled.exists():
        found['64 sigmoid units'] = dict(classify=q4.numpy_classifier(run_q3.load_weights(pickled)))
    return found


def read_photo(run, path, ways, truth):
    """Read one photo in each of the ways; print and draw what the EMNIST network reads. Returns {name of the way: what the results file says}."""
    image, result = datasets.load_photo(path), {}
    for name, way in ways.items():
        began = time.perf_counter()
        page = q4.read(image, **way)
        score = datasets.score(page.lines, truth) if truth else dict.fromkeys(SCORES)
        result[name] = {'lines': page.lines, 'boxes': len(page.boxes), 'seconds': time.perf_counter() - began, **score}
        if name == READER:
            scored = f', {score["edits"]} edits, {score["lines_exact"]} of {len(truth)} lines exact' if truth else ''
            print(f'{path.name}: {len(page.boxes)} characters{scored}')
            print(*(f'    {line}' for line in page.lines), sep='\n', flush=True)
            run.figure(f'boxes_{path.stem}', figures.page(image, [np.concatenate(line) for line in page.words]))
            if len(page.boxes):
                run.figure(f'crops_{path.stem}', figures.lines_of_crops(page.crops, page.lines))
    return result


def read_photos(run, paths):
    """Read the photos with every network there is; returns what the results file says: each photo by the EMNIST network, and the totals of each network."""
    ways = readers(run)
    truths = {folder: datasets.ground_truth(folder) for folder in {path.parent for path in paths}}
    run.data.record('photos', ', '.join(path.name for path in paths))
    results = {path.name: read_photo(run, path, ways, truths[path.parent].get(path.name)) for path in paths}
    totals = {}
    for name in ways:
        known = [result[name] for result in results.values() if result[name]['characters'] is not None]
        totals[name] = {key: sum(result[key] for result in known) if known else None for key in SCORES}
    if any(total['characters'] for total in totals.values()):
        experiment.table([[name, *total.values()] for name, total in totals.items()], ['reader', 'characters', 'edits', 'lines exact', 'of'])
    best = totals[READER]
    return {'photos': {name: result[READER] for name, result in results.items()}, 'readers': totals,
            'characters': best['characters'], 'edits': best['edits'], 'lines_exact': best['lines_exact'], 'lines': best['lines_true']}


# ---------------------------------------------------------------- the whole question

def train_parts(run, parts):
    """Train the named parts; returns {part: summary}."""
    results = {}
    for part in parts:
        recipe = dict(RECIPES[part])
        if run.args.quick:
            recipe |= {name: QUICK[name] for name in ('epochs', 'width') if name in recipe}
        recipe['epochs'] = run.args.epochs or recipe['epochs']
        recipe['batch_size'] = run.args.batch_size or recipe['batch_size']
        recipe['learning_rate'] = run.args.learning_rate or recipe['learning_rate']
        if 'train_on' in recipe:
            recipe['train_on'] = run.args.train_on or recipe['train_on']
        results[part] = fully_connected(run, recipe) if part == 'fully_connected' else convolutional(part, run, recipe)
    return results


def earlier(run):
    """The parts that an earlier run on the same data left in the results file: --only and --read replace their own part and keep the others."""
    try:
        record = json.loads((run.results / 'q7_1.json').read_text())
        sets, parts = record['data_sets'], {part: record[part] for part in KEPT if part in record}
        same = all(sets.get(name, source) == source for name, source in run.data.sets.items() if name != 'photos')
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    if run.args.quick or record.get('quick') or not same:
        return {}
    run.data.sets = sets | run.data.sets
    return parts


def arguments(argv):
    """Begin the run."""
    option = experiment.option
    run = experiment.start(
        'q7_1', __doc__, argv,
        only=option(None, 'train these parts alone', choices=PARTS, nargs='+', metavar='PART'),
        read=option(None, 'read these photos (none named: images/) with the saved EMNIST network; train nothing', nargs='*', metavar='PHOTO'),
        epochs=option(None, "instead of the recipe's", type=int),
        batch_size=option(None, "instead of the recipe's", type=int),
        learning_rate=option(None, "instead of the recipe's", type=float),
        train_on=option(None, "instead of the recipe's: real, builtin, both, or all (the validation set, too); tested is on the real sets in any case",
                        choices=['real', 'builtin', 'both', 'all']),
        resume=option(False, 'go on from where an interrupted run stopped'),
        download=option(False, 'let torchvision fetch MNIST and EMNIST (0.6 GB) into the data folder'))
    for name in ('epochs', 'batch_size', 'learning_rate'):
        if getattr(run.args, name) is not None and not 0 < getattr(run.args, name) < float('inf'):
            raise experiment.UserError(f'--{name.replace("_", "-")} must be above zero, not {getattr(run.args, name)}')
    return run


def main(argv=None):
    torch_nets.join()
    with contextlib.redirect_stdout(sys.stdout if torch_nets.rank() == 0 else None):
        run = arguments(argv)
        parts = [] if run.args.read is not None else run.args.only or PARTS
        paths = datasets.photos(run.args.read or ())
        results = train_parts(run, parts)
        if torch_nets.rank() > 0:
            return None
        if run.args.read is not None or 'emnist' in parts:
            results |= read_photos(run, paths)
        record = run.finish(**earlier(run) | results)
        for part in parts:
            torch_nets.forget(run.weights / weights_name(part))
        return record


if __name__ == '__main__':
    experiment.script(main)
