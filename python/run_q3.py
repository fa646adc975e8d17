"""Question 3: one hidden layer of 64 sigmoid units learns to read characters.

    python python/run_q3.py                          the course's three trainings, then the best one: about 3 minutes
    python python/run_q3.py --resume                 go on where an interrupted run stopped; the result is the same
    python python/run_q3.py --weights FILE           no training: accuracy and figures of saved weights
    python python/run_q3.py --train-on builtin       train on the built-in handwriting only, test on the real set
    python python/run_q3.py --train-on both          add the built-in handwriting to the real training set
    python python/run_q3.py --train-on all           add the validation set: its own accuracy then says nothing any more

First the assignment as set: 50 epochs at a learning rate that suits, ten times it and a tenth (about 77 % of the validation set of NIST36 rebuilt from EMNIST
by-class). Then the same network, still 1024-64-36 and numpy, trained better: on augmented pictures, in principal components, and by a larger
network that has been trained in the same way first (the recipe is below). Everything was chosen on the validation set.
Writes q3_weights.pickle, results/q3.json and figures/q3_*.png.
"""
import os, time

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')      # small matrices: two threads take half as long again as one, on a busy machine far more

import numpy as np                                                      # noqa: E402  (numpy reads the line above when it is loaded)

import augment, datasets, experiment, figures, nn, run_q6               # noqa: E402

LAYERS = [('layer1', nn.sigmoid), ('output', nn.softmax)]
HIDDEN = 64
CLEARLY_WRONG = 10      # rows of the list of confusions, and pictures in each row of the samples

# the best network's recipe
BATCH, RATE, MOMENTUM = 64, 1e-2, 0.9       # the rate is for the summed loss, and falls to nothing along half a cosine
TEACHER = 512           # hidden units of the network that is trained first, and whose answers the 64 units then learn
TEMPERATURE = 2         # divides the teacher's scores, so that what it holds for the second likeliest shows
DECAY = 0.03            # each step also shrinks the weights by rate x DECAY: no weight stays large that the pictures do not keep large
COMPONENTS = 128        # it learns from the pictures' principal components: the finest detail, left out, tells hands apart rather than letters
EVENNESS = 0.1          # component i is divided by the root of (its variance + EVENNESS times the largest): gradient descent crawls along small ones


# ---------------------------------------------------------------- training

def new_network(seed, dtype=np.float64, inputs=1024, hidden=HIDDEN):
    """params of inputs-hidden-36 with fresh weights."""
    params, rng = {}, np.random.default_rng(seed)
    nn.initialize_weights(inputs, hidden, params, 'layer1', rng=rng)
    nn.initialize_weights(hidden, 36, params, 'output', rng=rng)
    return {name: value.astype(dtype) for name, value in params.items()}


def parameters(params):
    """Only what is learnt, as copies."""
    return {name: params[name].copy() for name in nn.parameter_names(params)}


def measure(params, characters):
    """Mean cross-entropy and accuracy on characters."""
    loss, acc = nn.compute_loss_and_acc(characters.y, nn.predict(characters.x, dict(params), LAYERS))
    return loss / len(characters.x), acc


def record(history, **numbers):
    """Append each number to the list of its name."""
    for name, value in numbers.items():
        history.setdefault(name, []).append(value)


def train_plain(train, valid, learning_rate, epochs, batch_size, seed):
    """Q3.1.1: batches drawn once, plain gradient descent on the summed loss. Returns params and the history per epoch."""
    params, history = new_network(seed, train.x.dtype), {}
    batches = nn.get_random_batches(train.x, train.y, batch_size, np.random.default_rng([seed, 1]))
    progress = experiment.Progress(epochs, every=10)
    for _ in range(epochs):
        loss, acc = nn.train_epoch(batches, params, LAYERS, learning_rate)
        valid_loss, valid_acc = measure(params, valid)
        record(history, train_loss=loss, valid_loss=valid_loss, train_accuracy=acc, valid_accuracy=valid_acc)
        progress.line(loss=loss, accuracy=acc, valid=valid_acc)
    return parameters(params), history


def coordinates(x):
    """Mean (1024,) and matrix T (1024, COMPONENTS) such that (x - mean) T are the leading principal components of x, of similar spread, 1 on average."""
    mean, projection = run_q6.fit(x, COMPONENTS)
    variance = ((x - mean) @ projection).var(axis=0)
    T = projection / np.sqrt(variance + EVENNESS * variance[0])
    return mean, T / np.sqrt(np.mean(((x - mean) @ T).var(axis=0)))


def tempered(params, factor):
    """params, its network's scores multiplied by factor: below 1 for milder probabilities, above 1 for more decided ones."""
    return params | {name: factor * params[name] for name in ('Woutput', 'boutput')}


class Training:
    """The training of one network on augmented pictures, as a state that can be saved after any epoch and gone on from.

    It learns from x' = (x - m) T, and so finds a W' that takes x'. That is a network on the pictures themselves, since x' W' + b = x (T W') + (b - m T W'):
    folded() says so in numbers, and what is saved is an ordinary 1024-64-36.

    With a teacher, the params of a larger network trained in the same way, it learns the teacher's probabilities instead of the labels (Hinton et al. 2015).
    They say more: that this 5 is nearly an S, and that one is nothing else. Both networks' scores are divided by TEMPERATURE meanwhile.
    """

    STATE = ('done', 'history', 'seconds', 'mean', 'T', 'params', 'kept', 'kept_accuracy')

    def __init__(self, train, epochs, seed, hidden=HIDDEN, teacher=None):
        self.train, self.epochs, self.seed = train, epochs, seed
        self.teacher = teacher and tempered(teacher, 1 / TEMPERATURE)
        self.augmenter = augment.Augmenter(train.x)
        self.mean, self.T = coordinates(self.augmenter.draw(np.random.default_rng([seed, 0])))
        self.params = new_network(seed, train.x.dtype, COMPONENTS, hidden)
        self.kept, self.kept_accuracy = None, -1.0
        self.done, self.history, self.seconds = 0, {}, 0.0

    def state(self):
        """All that changes in training, and what that depends on."""
        return {name: getattr(self, name) for name in self.STATE} | {'params': {k: v for k, v in self.params.items() if not k.startswith(('cache_', 'grad_'))}}

    def go_on_from(self, state):
        for name in self.STATE:
            setattr(self, name, state[name])

    def epoch(self, copies):
        """One pass over copies, augmented pictures in the order of the training set, in fresh random batches. Returns loss and accuracy on them afterwards."""
        rng = np.random.default_rng([self.seed, self.done, 2])
        x = (copies - self.mean) @ self.T
        y = nn.predict(x, dict(self.teacher), LAYERS) if self.teacher else self.train.y
        steps = -(-len(x) // BATCH)
        for i, batch in enumerate(nn.shuffled_batches(x, y, BATCH, rng)):
            rate = RATE * (1 + np.cos(np.pi * (self.done + i / steps) / self.epochs)) / 2
            nn.train_epoch([batch], self.params, LAYERS, rate, MOMENTUM)
            for name in ('Wlayer1', 'Woutput'):
                self.params[name] *= 1 - rate * DECAY
        self.done += 1
        return measure(self.learnt(), datasets.Characters(x, self.train.y))

    def learnt(self):
        """Its weights on x', at the usual temperature."""
        return tempered(parameters(self.params), TEMPERATURE if self.teacher else 1)

    def folded(self):
        """The weights of the same network on the pictures as they are, float64."""
        weights = {name: value.astype(np.float64) for name, value in self.learnt().items()}
        weights['Wlayer1'] = self.T @ weights['Wlayer1']
        weights['blayer1'] -= self.mean @ weights['Wlayer1']
        return weights

    def run(self, valid, save):
        """Train to the end, calling save() after every epoch; keeps the weights of the best validation accuracy in self.kept."""
        progress = experiment.Progress(self.epochs, done=self.done, every=max(1, self.epochs // 25))
        started = time.perf_counter() - self.seconds
        for _, copies in self.augmenter.epochs(self.seed, self.done, self.epochs):
            loss, acc = self.epoch(copies)
            weights = self.folded()
            valid_loss, valid_acc = measure({name: value.astype(valid.x.dtype) for name, value in weights.items()}, valid)
            record(self.history, train_loss=loss, valid_loss=valid_loss, train_accuracy=acc, valid_accuracy=valid_acc)
            if valid_acc >= self.kept_accuracy:
                self.kept, self.kept_accuracy = weights, valid_acc
            self.seconds = time.perf_counter() - started
            save()
            progress.line(loss=loss, accuracy=acc, valid=valid_acc)


# ---------------------------------------------------------------- what it has learnt

def confusion_matrix(true, predicted, classes):
    """Counts (classes, classes), rows true, columns predicted."""
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (true, predicted), 1)
    return matrix


def most_confused(matrix, names, count=CLEARLY_WRONG):
    """The count largest entries off the diagonal as [true, predicted, count], most frequent first."""
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind='stable')[:count]
    return [[names[i], names[j], int(wrong[i, j])] for i, j in zip(*np.unravel_index(order, wrong.shape)) if wrong[i, j]]


def samples(characters, predicted, rng):
    """Indices of ten random pictures read rightly and ten read wrongly (fewer if there are not so many)."""
    right = predicted == characters.labels
    return [rng.permutation(np.flatnonzero(which))[:CLEARLY_WRONG] for which in (right, ~right)]


def draw_results(run, test, initial, weights):
    """Figures of one network: its weights before and after, its confusions on the test set, pictures read rightly and wrongly. Returns the worst confusions."""
    predicted = nn.predict(test.x, dict(weights), LAYERS).argmax(axis=1)
    matrix = confusion_matrix(test.labels, predicted, len(test.classes))
    confused = most_confused(matrix, test.classes)
    before = f'before training (all within ±{np.abs(initial["Wlayer1"]).max():.2g})'
    run.figure('weights', figures.grids({before: initial['Wlayer1'].T, 'after training': weights['Wlayer1'].T}))
    run.figure('confusion', figures.confusion(matrix, test.classes))
    shown = np.concatenate(samples(test, predicted, run.rng))
    names = [f'{test.classes[t]}' if t == p else f'{test.classes[t]} as {test.classes[p]}' for t, p in zip(test.labels[shown], predicted[shown])]
    run.figure('samples', figures.image_grid(test.x[shown], columns=CLEARLY_WRONG, titles=names))
    print('most confused on the test set:', ', '.join(f'{a} read as {b} {n} times' for a, b, n in confused))
    return confused


# ---------------------------------------------------------------- the question

def load(run, choice):
    """Train, valid and test, float32. choice 'builtin' trains and chooses on built-in characters only, 'both' adds them to the training set, 'all' adds the
    validation set to it, for a last training after everything has been chosen; the test set stays as it is.
    """
    train, valid, test = (datasets.load_nist36(split, run.data, np.float32) for split in ('train', 'valid', 'test'))
    if choice == 'real':
        return train, valid, test
    if choice == 'all':
        return together(train, valid), valid, test
    made, made_valid = (datasets.load_nist36(split, run.data, np.float32, builtin=True) for split in ('train', 'valid'))
    return (made, made_valid, test) if choice == 'builtin' else (together(train, made), valid, test)


def together(a, b):
    """The characters of a, then those of b."""
    return datasets.Characters(np.concatenate([a.x, b.x]), np.concatenate([a.y, b.y]))


class Checkpoint:
    """What an interrupted run leaves behind, beside the weights; removed when all is done."""

    def __init__(self, run, settings):
        self.path, self.settings = run.weights / 'q3_checkpoint.pickle', settings
        self.content = {'settings': settings, 'plain': [], 'teacher': None, 'best': None}

    def load(self):
        """Take up the last run's state, if there is one; raises UserError if that was made with other settings."""
        if not self.path.exists():
            print(f'nothing to resume at {experiment.shorten(self.path)}; starting from the beginning')
            return
        content = experiment.load_pickle(self.path, 'start again without --resume')
        if content.get('settings') != self.settings:
            raise experiment.UserError(f'{experiment.shorten(self.path)} was made with {content.get("settings")}, not {self.settings}; '
                                       'give the same flags, or start again without --resume')
        self.content = content

    def save(self, **parts):
        self.content |= parts
        experiment.save_pickle(self.path, self.content)

    def remove(self):
        self.path.unlink(missing_ok=True)


def plain_trainings(run, train, valid, checkpoint):
    """Q3.1.1 and Q3.1.2 at three learning rates; returns a list of {learning_rate, params, history}."""
    done = checkpoint.content['plain']
    for rate in [run.args.learning_rate * factor for factor in (1, 10, 0.1)][len(done):]:
        print(f'as set: learning rate {rate:g}, batches of {run.args.batch_size}', flush=True)
        params, history = train_plain(train, valid, rate, run.args.epochs, run.args.batch_size, run.args.seed)
        done = done + [{'learning_rate': rate, 'params': params, 'history': history}]
        checkpoint.save(plain=done)
    return done


def best_training(run, train, valid, checkpoint):
    """The best network: a large one first, then 64 units that learn from it. Returns the finished Training of each."""
    teacher = Training(train, run.args.teacher_epochs, run.args.seed, TEACHER)
    finish(teacher, 'teacher', f'teacher, {TEACHER} hidden units', valid, checkpoint)
    best = Training(train, run.args.best_epochs, run.args.seed, teacher=parameters(teacher.params))
    finish(best, 'best', 'best', valid, checkpoint)
    return teacher, best


def finish(training, name, label, valid, checkpoint):
    """Train to the end, from the state that the checkpoint has of this name."""
    if checkpoint.content[name]:
        training.go_on_from(checkpoint.content[name])
    if training.done < training.epochs:
        print(f'{label}: {training.epochs} epochs of augmented pictures', flush=True)
        training.run(valid, lambda: checkpoint.save(**{name: training.state()}))


def load_weights(path):
    """The four parameters of a 1024-64-36 network, from a pickle by this script or any copy of the homework. Raises UserError if it holds other things."""
    weights = experiment.load_pickle(path, 'train some with python/run_q3.py')
    hidden = np.shape(weights.get('Wlayer1'))[-1:] if isinstance(weights, dict) else ()
    for name, shape in {'Wlayer1': (1024, *hidden), 'blayer1': hidden, 'Woutput': (*hidden, 36), 'boutput': (36,)}.items():
        found = np.shape(weights.get(name)) if isinstance(weights, dict) else None
        if found != shape or not hidden:
            raise experiment.UserError(f'{path}: {name} is {found or "missing"} instead of {shape}; give a q3_weights.pickle')
    return weights


def accuracies(params, train, valid, test):
    return {f'{name}_accuracy': measure(params, characters)[1] for name, characters in (('train', train), ('valid', valid), ('test', test))}


def draw_curves(run, histories, titles):
    run.figure('accuracy', figures.panels(histories, ['train_accuracy', 'valid_accuracy'], 'accuracy', titles))
    run.figure('loss', figures.panels(histories, ['train_loss', 'valid_loss'], 'mean cross-entropy', titles, logy=True))


def main(argv=None):
    run = experiment.start('q3', __doc__, argv,
                           epochs=experiment.option(50, 'epochs of each training as set', quick=3),
                           learning_rate=experiment.option(2e-3, 'step size of the trainings as set; also run at 10 times and a tenth of it'),
                           batch_size=experiment.option(16, 'pictures per step of the trainings as set'),
                           best_epochs=experiment.option(400, 'epochs of the best network', quick=4),
                           teacher_epochs=experiment.option(150, 'epochs of the larger network that it learns from', quick=2),
                           resume=experiment.option(False, 'go on where an interrupted run with the same flags stopped', action='store_true'),
                           weights=experiment.option(None, 'evaluate these weights instead of training', metavar='FILE'),
                           train_on=experiment.option('real', 'what to train on', choices=['real', 'builtin', 'both', 'all']))
    train, valid, test = load(run, run.args.train_on)
    if run.args.weights:
        weights = load_weights(run.args.weights)
        confused = draw_results(run, test, new_network(run.args.seed), weights)
        return run.finish(plain=[], best=accuracies(weights, train, valid, test) | {'epochs': None}, confused=confused)

    flags = ('seed', 'epochs', 'learning_rate', 'batch_size', 'best_epochs', 'teacher_epochs', 'train_on', 'quick')
    checkpoint = Checkpoint(run, {name: getattr(run.args, name) for name in flags} | {'data': run.data.used()})
    if run.args.resume:
        checkpoint.load()
    plain = plain_trainings(run, train, valid, checkpoint)
    teacher, best = best_training(run, train, valid, checkpoint)
    experiment.save_pickle(run.weights / 'q3_weights.pickle', best.kept)

    rows = [{'learning_rate': p['learning_rate'], **accuracies(p['params'], train, valid, test)} for p in plain]
    result = accuracies(best.kept, train, valid, test) | {
        'epochs': best.epochs, 'teacher_epochs': teacher.epochs, 'teacher_valid_accuracy': teacher.kept_accuracy, 'seconds': teacher.seconds + best.seconds}
    experiment.table([[f'as set, {r["learning_rate"]:g}', *(r[f'{s}_accuracy'] for s in ('train', 'valid', 'test'))] for r in rows]
                     + [['best', *(result[f'{s}_accuracy'] for s in ('train', 'valid', 'test'))]], ['training', 'train', 'valid', 'test'])
    draw_curves(run, [p['history'] for p in plain] + [best.history], [f'learning rate {p["learning_rate"]:g}' for p in plain] + ['best'])
    confused = draw_results(run, test, new_network(run.args.seed), best.kept)
    checkpoint.remove()
    return run.finish(plain=rows, best=result, confused=confused)


if __name__ == '__main__':
    experiment.script(main)
