"""What the grader asks of run_q2.py, q3_weights.pickle, q4.py and run_q5.py.

Scripts are run as a student would run them; numbers are read from what they print or from the network they leave behind. run_q5.py is stopped after a few
steps: standing between it and nn.py, the grader sees its layers and how its weights move, whatever the code looks like.
"""
import io
import re
import runpy
import sys
import time

import numpy as np

from grade_checks import ACTIVATIONS, IMPORT_PARTS, Enough, LookYourself, Wrong, array, explain, logistic, part, same, shares


# ---------------------------------------------------------------- Q2.5.1 run_q2.py

NUMBER = r'([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf)'


class Tee(io.TextIOBase):
    """What a script prints, kept (the first megabyte) and passed on."""

    def __init__(self, onward):
        self.onward, self.text = onward, []

    def write(self, text):
        if len(self.text) < 20000:
            self.text.append(text[:2000])
        return self.onward.write(text)

    def flush(self):
        self.onward.flush()

    def isatty(self):
        return False


def run_script(s, name, seed=0):
    """Run a student's script as `python name.py` would. Returns (its global names, what it printed, the exception it ended with or None)."""
    path = s.file(name)
    if (s.folder / 'nn.py').is_file():
        s.load('nn')
    np.random.seed(seed)
    kept, sys.stdout, sys.argv = sys.stdout, Tee(sys.stdout), [f'{name}.py']
    names, ended = {}, None
    try:
        names = runpy.run_path(str(path), run_name='__main__')
    except (Enough, LookYourself):
        raise
    except BaseException as error:      # a script may end in sys.exit(0)
        ended = None if isinstance(error, SystemExit) and error.code in (None, 0) else error
    finally:
        text, sys.stdout = ''.join(sys.stdout.text), kept
    return names, text, ended


def printed(pattern, text):
    """The numbers that stand in text after pattern; nan counts as infinite."""
    return [float(found.replace('nan', 'inf')) for found in re.findall(pattern + NUMBER, text.lower())]


def trained(names):
    """(loss, accuracy) of the network that a run of run_q2.py left in its global names, or (None, None)."""
    try:
        x, y, p = (names[k] for k in ('x', 'y', 'params'))
        probs = shares(logistic(x @ p['Wlayer1'] + p['blayer1']) @ p['Woutput'] + p['boutput'])
        return float(-np.sum(y * np.log(np.maximum(probs, 1e-300)))), float(np.mean(probs.argmax(axis=1) == y.argmax(axis=1)))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None, None


TOTAL_ERROR = (r'\btotal(?:[ _]+(?:relative|gradient))?(?:[ _]+error)?\s*[:=]?\s*', r'\berror\b.*\bgot\s*', r'\berrors?\s*[:=]?\s*')    # the likeliest first


def numbers_of_q2(s):
    """What up to three runs of run_q2.py come to: {'loss', 'accuracy', 'error'}, the best of each, since one start in a hundred is unlucky; and 'ended'."""
    if 'q2' in s.cache:
        return s.cache['q2']
    best, started = {}, time.monotonic()
    for seed in range(3):
        names, text, best['ended'] = run_script(s, 'run_q2', seed)
        loss, accuracy = trained(names)
        losses = printed(r'\bloss\s*[:=]?\s*', text) + [loss] * (loss is not None)
        accuracies = [a if a <= 1 else a / 100 for a in printed(r'\bacc(?:uracy)?\s*[:=]?\s*', text) if a <= 100] + [accuracy] * (accuracy is not None)
        loss, accuracy = min(losses, default=None), max(accuracies, default=None)
        totals = next(filter(None, (printed(pattern, text) for pattern in TOTAL_ERROR)), [])
        error = totals[-1] if totals else None
        for key, value, better in (('loss', loss, min), ('accuracy', accuracy, max), ('error', error, min)):
            if value is not None:
                best[key] = better(best.get(key, value), value)
        good = best.get('loss', 99) < 35 and best.get('accuracy', 0) > 0.75 and best.get('error', 1) < 1e-4
        if good or best['ended'] or len(best) < 4 or time.monotonic() - started > 5 * (seed + 1):
            break       # settled, or too slow for another run
    s.cache['q2'] = best
    return best


@part('Q2.5.1', 'run_q2.py runs to its end', 1)
def q2_runs(s):
    ended = numbers_of_q2(s)['ended']
    if ended:
        raise Wrong(explain(ended, s.folder))


def number_of_q2(s, key, what, example):
    """One of numbers_of_q2. Raises Wrong if it was not printed."""
    numbers = numbers_of_q2(s)
    if key not in numbers:
        raise Wrong(f'the script ends before it prints its {what}' if numbers['ended'] else f'no {what} is printed; print it as "{example}"')
    return numbers[key]


@part('Q2.5.1', 'loss below 35', 1)
def q2_loss(s):
    loss = number_of_q2(s, 'loss', 'loss', 'loss: 12.34')
    if loss >= 35:
        raise Wrong(f'the loss after training is {loss:.2f}; it should come below 35')


@part('Q2.5.1', 'accuracy above 75 %', 1)
def q2_accuracy(s):
    accuracy = number_of_q2(s, 'accuracy', 'accuracy', 'acc: 0.98')
    if accuracy <= 0.75:
        raise Wrong(f'the accuracy after training is {accuracy:.0%}; it should come above 75 %')


@part('Q2.5.1', 'gradient check: total below 1e-4', 2)
def q2_gradients(s):
    error = number_of_q2(s, 'error', 'total of the gradient check', 'total 1.23e-06')
    if error >= 1e-4:
        raise Wrong(f'the printed total error of the gradients is {error:.3g}; it should be below 1e-4')
    if error == 0:
        raise Wrong('the printed total error of the gradients is exactly 0: the gradients seem to be compared with themselves')


# ---------------------------------------------------------------- Q3.1.1 q3_weights.pickle (no code of the student's runs here)

WEIGHTS = {'Wlayer1': (1024, 64), 'blayer1': (64,), 'Woutput': (64, 36), 'boutput': (36,)}


def weights(s):
    """What q3_weights.pickle holds, opened without running anything that it names."""
    import experiment
    if 'weights' not in s.cache:
        path = s.folder / 'q3_weights.pickle'
        if not path.is_file():
            raise Wrong('q3_weights.pickle is missing; run_q3.py makes it')
        try:
            s.cache['weights'] = experiment.load_pickle(path)
        except experiment.UserError as error:
            raise Wrong(str(error).replace(str(path), path.name)) from None
    if not isinstance(s.cache['weights'], dict):
        raise Wrong(f'q3_weights.pickle holds a {type(s.cache["weights"]).__name__}, not a dict of parameters')
    return s.cache['weights']


@part('Q3.1.1', 'q3_weights.pickle opens: a dict of arrays', 1)
def weights_open(s):
    found = weights(s)
    extra = [k for k in found if k not in WEIGHTS]
    if extra and all(k in found for k in WEIGHTS):
        s.advise(f'q3_weights.pickle holds {len(extra)} more than the parameters ({", ".join(map(str, extra[:4]))}); save the keys without an underscore')


@part('Q3.1.1', 'Wlayer1 (1024, 64), blayer1, Woutput (64, 36), boutput', 1)
def weights_shapes(s):
    found = weights(s)
    for name, shape in WEIGHTS.items():
        if name not in found:
            alike = [k for k, v in found.items() if np.shape(v) == shape]
            raise Wrong(f'{name} is missing{f"; {alike[0]} has its shape, but the scripts look for {name}" if alike else f"; there are {list(found)[:8]}"}')
        if not np.isfinite(array(found[name], shape, name)).all():
            raise Wrong(f'{name} holds nan or inf')


@part('Q3.1.1', 'validation accuracy at least 75 %', 3)
def weights_accuracy(s):
    found = weights(s)
    try:
        W1, b1, W2, b2 = (array(found[name], shape, name).astype(float) for name, shape in WEIGHTS.items())
    except (KeyError, Wrong):
        raise Wrong('cannot be measured without Wlayer1, blayer1, Woutput and boutput of these shapes') from None
    kit = s.kit()
    scores = logistic(kit['x'] / 255.0 @ W1 + b1) @ W2 + b2
    accuracy = np.mean(scores.argmax(axis=1) == kit['labels'])
    reads = f'the network reads {accuracy:.1%} of the {len(kit["labels"])} validation characters right ({kit["origin"]})'
    if 0.5 <= accuracy < 0.75 and str(kit['origin']).startswith('built-in'):    # 77 % on NIST36 is 68 % on the built-in handwriting
        raise LookYourself(f'{reads}; it should be 75 % on the NIST36 that it was trained on: name that with --data')
    if not accuracy >= 0.75:
        raise Wrong(f'{reads}; it should be 75 %')


# ---------------------------------------------------------------- Q4.2 findLetters

@part('Q4.2', 'q4.py can be imported', 0.5)
def q4_imports(s):
    s.load('q4')


IMPORT_PARTS.add(q4_imports)


def letters(s, i):
    """findLetters on page i, once. Returns (boxes (n, 4) as given, bw, page, true boxes)."""
    if i not in s.cache:
        page, true = s.kit()[f'page{i}'] / 255.0, s.kit()[f'boxes{i}']
        got = s.get('q4', 'findLetters')(page.copy())
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong(f'findLetters must return (bboxes, bw), not {type(got).__name__}')
        if np.shape(got[0]) == page.shape[:2]:
            raise Wrong('bboxes and bw are exchanged: return (bboxes, bw)')
        try:
            boxes = np.asarray(list(got[0]), float)
        except (TypeError, ValueError):
            raise Wrong('bboxes must be a list of [y1, x1, y2, x2]') from None
        s.cache[i] = boxes, got[1], page, true
    return s.cache[i]


ORDERS = {
    '[y1, x1, y2, x2]': lambda b: b, '[x1, y1, x2, y2]': lambda b: b[:, [1, 0, 3, 2]], '[y1, y2, x1, x2]': lambda b: b[:, [0, 2, 1, 3]],
    '[x1, x2, y1, y2]': lambda b: b[:, [2, 0, 3, 1]], '[y2, x2, y1, x1]': lambda b: b[:, [2, 3, 0, 1]],
    '[y, x, height, width]': lambda b: np.hstack([b[:, :2], b[:, :2] + b[:, 2:]]),
    '[x, y, width, height]': lambda b: np.hstack([b[:, 1::-1], b[:, 1::-1] + b[:, :1:-1]]),
}


def matched(boxes, true):
    """How many of the true boxes have a box of their own that overlaps them by 0.4 (intersection over union)."""
    low, high = np.maximum(boxes[:, None, :2], true[None, :, :2]), np.minimum(boxes[:, None, 2:], true[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=2)
    area = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1) for b in (boxes, true)]
    overlap = inter / np.maximum(area[0][:, None] + area[1][None] - inter, 1e-9)
    hits = 0
    while overlap.size and overlap.max() >= 0.4:
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        overlap[i], overlap[:, j] = 0, 0
        hits += 1
    return hits


def ordered(s, i):
    """(boxes as [y1, x1, y2, x2], the order they were given in, how many match, page, true boxes)."""
    boxes, _, page, true = letters(s, i)
    if boxes.size == 0:
        return np.zeros((0, 4)), '[y1, x1, y2, x2]', 0, page, true
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise Wrong(f'bboxes must be rows of four numbers, [y1, x1, y2, x2]; they form {boxes.shape}')
    hits = {name: matched(reorder(boxes), true) for name, reorder in ORDERS.items()}
    best = max(hits, key=lambda name: (hits[name], name == '[y1, x1, y2, x2]'))
    if hits[best] < len(true) / 4:      # by chance
        best = '[y1, x1, y2, x2]'
    return ORDERS[best](boxes), best, hits[best], page, true


@part('Q4.2', 'boxes are [y1, x1, y2, x2]', 1.5)
def box_order(s):
    boxes, order, hits, page, true = ordered(s, 0)
    if order != '[y1, x1, y2, x2]':
        sentence = 'x and y are swapped' if order == '[x1, y1, x2, y2]' else 'the order of the numbers is wrong'
        raise Wrong(f'{sentence}: the boxes are {order}; the course\'s are [y1, x1, y2, x2], rows first, as regionprops(...).bbox gives them')
    if hits < len(true) / 4:
        raise Wrong(f'{hits} of {len(boxes)} boxes lie on one of the {len(true)} characters: too few to tell' if len(boxes) else 'there are no boxes')


def add_page_parts(i, what, weight):
    @part('Q4.2', f'{what}: at least 90 % of the characters found', weight)
    def recall(s):
        boxes, _, hits, _, true = ordered(s, i)
        if hits < 0.9 * len(true):
            raise Wrong(f'{hits} of {len(true)} characters have a box of their own; {len(boxes)} boxes were given')

    @part('Q4.2', f'{what}: at least 90 % of the boxes are characters', weight)
    def precision(s):
        boxes, _, hits, _, true = ordered(s, i)
        if hits < 0.9 * max(1, len(boxes)):
            raise Wrong(f'{hits} of {len(boxes)} boxes lie on a character ({len(true)} characters, full stops not counted)')


add_page_parts(0, 'an even page', 1.5)
@part('Q4.2', 'bw: as large as the image, float in 0..1', 1)
def bw_form(s):
    _, bw, page, _ = letters(s, 0)
    bw = array(bw, page.shape[:2], 'bw')
    if bw.min() < 0 or bw.max() > 1:
        raise Wrong(f'bw goes from {bw.min():.4g} to {bw.max():.4g}; it should lie in 0..1')
    if bw.dtype.kind != 'f':
        s.advise(f'bw is {bw.dtype}; the course\'s is float')


@part('Q4.2', 'bw: characters 0 on background 1', 2)
def bw_polarity(s):
    boxes, bw, page, true = letters(s, 0)
    bw = np.asarray(bw)
    bw = array(bw[..., 0] if bw.ndim == 3 else bw, page.shape[:2], 'bw').astype(float)
    grey, paper = page.mean(axis=2), np.ones(page.shape[:2], bool)
    ink = []
    for y1, x1, y2, x2 in true.astype(int):
        window = slice(y1, y2), slice(x1, x2)
        paper[max(0, y1 - 15):y2 + 15, max(0, x1 - 15):x2 + 15] = False
        ink.append(bw[window][grey[window] <= np.quantile(grey[window], 0.08)].mean())
    scale = max(1.0, bw.max())
    ink, background = float(np.mean(ink)) / scale, float(np.median(bw[paper])) / scale
    if ink > background:
        raise Wrong(f'bw is white on black: characters are {ink:.2f} and the background {background:.2f}; the course wants characters 0 on background 1')
    if ink > 0.45 or background < 0.55:
        raise Wrong(f'characters should be 0 and the background 1 in bw; they are {ink:.2f} and {background:.2f}')


add_page_parts(1, 'a page with shadows', 1)     # last: a findLetters too slow for two pages loses this one alone


# ---------------------------------------------------------------- Q5.1 run_q5.py: watched at its first few steps

STEPS = 4


class Watch:
    """Stands between run_q5.py and nn.py, and notes what each step of the training does."""

    def __init__(self, s):
        self.s, self.nn, self.steps, self.current = s, s.load('nn'), [], None
        self.forward, self.backwards = s.get('nn', 'forward'), s.get('nn', 'backwards')
        self.nn.forward, self.nn.backwards = self.on_forward, self.on_backwards

    def on_forward(self, X, params, name='', *args, **kwargs):
        if np.shape(X)[-1] == 1024:
            self.close(params)
            self.current = {'params': snapshot(params), 'layers': [], 'grads': {}, 'X': np.array(X, float)}
        out = self.forward(X, params, name, *args, **kwargs)
        if self.current is not None:
            activation = args[0] if args else kwargs.get('activation', self.nn.sigmoid)
            self.current['layers'].append((str(name), np.shape(params['W' + name]), kind_of(activation), np.array(X, float), np.array(out, float)))
        return out

    def on_backwards(self, delta, params, name='', *args, **kwargs):
        result = self.backwards(delta, params, name, *args, **kwargs)
        if self.current is not None:
            self.current['grads'] |= {k + name: np.array(params[f'grad_{k}{name}'], float) for k in 'Wb'}
        return result

    def close(self, params):
        """A new pass begins: the last one was a step of the training if it went backwards too."""
        if self.current and self.current['grads']:
            self.current['after'] = snapshot(params)
            self.steps.append(self.current)
            if len(self.steps) == STEPS:
                raise Enough


def snapshot(params):
    """A copy of the parameters: keys without an underscore that hold arrays."""
    return {k: np.array(v, float) for k, v in params.items() if '_' not in str(k) and isinstance(v, np.ndarray)}


def kind_of(activation):
    """'relu', 'sigmoid', 'tanh', 'linear' or 'another', by what the function does."""
    probe = np.array([[-2.0, -0.5, 0.0, 1.5]])
    try:
        got = np.asarray(activation(probe.copy()), float)
    except Exception:       # a student's function may fail in any way; then it is none of these
        return 'another'
    return next((name for name, (g, _) in ACTIVATIONS.items() if got.shape == probe.shape and np.allclose(got, g(probe))), 'another')


def q5_steps(s):
    """The first STEPS steps of run_q5.py's training. Raises Wrong if it fails before, LookYourself if it does not train through nn.forward and nn.backwards."""
    if 'q5' in s.cache:
        return s.cache['q5']
    watch, ended = Watch(s), None
    try:
        _, _, ended = run_script(s, 'run_q5')
    except Enough:
        pass
    if not watch.steps and ended:
        raise Wrong(explain(ended, s.folder))
    if len(watch.steps) < 2:
        raise LookYourself('run_q5.py does not train through nn.forward and nn.backwards')
    s.cache['q5'] = watch.steps
    return watch.steps


@part('Q5.1.1', 'layers 1024-32-32-32-1024', 2)
def q5_layers(s):
    shapes = [shape for _, shape, *_ in q5_steps(s)[0]['layers']]
    if shapes != [(1024, 32), (32, 32), (32, 32), (32, 1024)]:
        raise Wrong(f'the layers should be 1024-32, 32-32, 32-32 and 32-1024; they are {", ".join(f"{a}-{b}" for a, b in shapes)}')


@part('Q5.1.1', 'relu, relu, relu, sigmoid', 1.5)
def q5_activations(s):
    kinds = [kind for _, _, kind, *_ in q5_steps(s)[0]['layers']]
    if kinds != ['relu', 'relu', 'relu', 'sigmoid']:
        raise Wrong(f'the activations should be relu, relu, relu, sigmoid; they are {", ".join(kinds)}')


@part('Q5.1.1', 'gradient of the squared error', 1.5)
def q5_delta(s):
    step = q5_steps(s)[0]
    name, _, kind, hidden, out = step['layers'][-1]
    slope = ACTIVATIONS.get(kind, ACTIVATIONS['sigmoid'])[1]        # a wrong activation has its own part
    if out.shape != step['X'].shape or 'W' + name not in step['grads']:
        raise Wrong(f'the output {out.shape} is not compared with the input {step["X"].shape}')
    right = hidden.T @ (2 * (out - step['X']) * slope(out))
    same(step['grads']['W' + name], right, f"params['grad_W{name}'] in the first step", [
        ('the derivative of (out - x)² is 2 (out - x); the 2 is missing', right / 2),
        ('the gradient is averaged over the batch; the course sums', right / len(out)),
        ('the gradient is averaged over the batch; the course sums', right / 2 / len(out)),
        ('the sign is wrong', -right)], tolerance=1e-5)


def fit_momentum(steps, key):
    """(a, b, misfit) of W's steps as a * (the step before) + b * gradient, by least squares; misfit relative to the steps' size."""
    moves = [step['after'][key] - step['params'][key] for step in steps]
    before = np.concatenate([np.zeros(moves[0].size), *(m.ravel() for m in moves[:-1])])
    gradients = np.concatenate([step['grads'][key].ravel() for step in steps])
    moved = np.concatenate([m.ravel() for m in moves])
    if not np.isfinite(moved).all() or not np.abs(moved).max() > 0:
        raise Wrong(f'{key} does not change from step to step' if np.isfinite(moved).all() else f'{key} becomes nan or inf')
    columns = np.stack([before / max(np.abs(before).max(), 1e-300), gradients / max(np.abs(gradients).max(), 1e-300)], axis=1)
    coefficients = np.linalg.lstsq(columns, moved, rcond=None)[0]
    misfit = np.abs(moved - columns @ coefficients).max() / np.abs(moved).max()
    return coefficients[0] / max(np.abs(before).max(), 1e-300), coefficients[1] / max(np.abs(gradients).max(), 1e-300), misfit


@part('Q5.1.2', 'M = 0.9 M - learning rate x gradient; W = W + M', 5)
def q5_momentum(s):
    steps = q5_steps(s)
    for key in ('W' + steps[0]['layers'][0][0], 'b' + steps[0]['layers'][-1][0]):
        if key not in steps[0]['grads'] or key not in steps[0]['after']:
            raise Wrong(f'{key} has no gradient')
        a, b, misfit = fit_momentum(steps, key)
        if misfit > 1e-3:     # float32 weights round by 1e-5 of a step
            raise LookYourself(f'the steps of {key} are no mixture of the last step and the gradient (another optimiser?)')
        if b >= 0:
            raise Wrong(f'{key} goes up the gradient: the step is {b:.3g} x gradient')
        if abs(a) < 0.01:
            raise Wrong(f'{key} moves by {b:.3g} x gradient alone: there is no momentum, or M starts anew in every step')
        if abs(a - 0.9) > 0.01:
            raise Wrong(f'{key} moves by {a:.3f} of its last step and {b:.3g} x gradient; the factor should be 0.9')
        if abs(b / -3e-5 - 1) > 0.01:
            s.advise(f'the learning rate is {-b:.3g}; the handout starts at 3e-5')
