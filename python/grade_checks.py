"""What the grader asks of nn.py, questions 2.1 to 2.4, and how a part of a question is written.

A part is a function of a Student. It returns when all is well; otherwise it raises Wrong with a sentence that shows the smallest example. Parts are run in
a separate process (grade_sandbox.py), one after the other, and stand for themselves: what sigmoid gets wrong does not count against backwards.
grade_scripts.py has the parts that look at the scripts, the pickle and q4.py.
"""
import difflib
import importlib
import linecache
import re
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np


class Wrong(Exception):
    """A part does not hold; the message says what was expected and what came."""


class LookYourself(Exception):
    """The code cannot be recognised: a person has to look at it."""


class Enough(BaseException):
    """Raised inside a student's script when as much of it has run as the grader needs; not an Exception, so that 'except Exception' lets it pass."""


PARTS = {}              # {'Q2.1.2': [(name, weight, function), ...]}, in the order in which they run
IMPORT_PARTS = set()    # the functions for which a name that NumPy removed costs points if it stops the import; elsewhere it is a note


def part(question, name, weight):
    """Register a function as a part of question that is worth weight points, on the handout's scale."""
    def add(function):
        PARTS.setdefault(question, []).append((name, weight, function))
        return function
    return add


# ---------------------------------------------------------------- the student's files

# numpy's own list of what it threw out of its main namespace, with what to write instead
REMOVED = {
    'float': ('float', float, '1.24'), 'int': ('int', int, '1.24'), 'object': ('object', object, '1.24'), 'bool': ('bool', bool, '1.24'),
    'complex': ('complex', complex, '1.24'),
    'str': ('str', str, '1.24'), 'long': ('int', int, '1.24'), 'unicode': ('str', str, '1.24'), 'float_': ('np.float64', np.float64, '2.0'),
    'complex_': ('np.complex128', np.complex128, '2.0'), 'Inf': ('np.inf', np.inf, '2.0'), 'Infinity': ('np.inf', np.inf, '2.0'),
    'infty': ('np.inf', np.inf, '2.0'), 'NaN': ('np.nan', np.nan, '2.0'), 'NAN': ('np.nan', np.nan, '2.0'), 'product': ('np.prod', np.prod, '2.0'),
    'cumproduct': ('np.cumprod', np.cumprod, '2.0'), 'alltrue': ('np.all', np.all, '2.0'), 'sometrue': ('np.any', np.any, '2.0'),
    'round_': ('np.round', np.round, '2.0'), 'in1d': ('np.isin', np.isin, '2.4'),
}


class Student:
    """The student's modules, imported when a part asks for them.

    folder    where their files lie
    modules   {name: module} that are imported already (the tests use this)
    kit       path of the .npz with pages and validation characters
    advice    sentences that cost no points
    removed   uses of names that NumPy removed: (while importing?, sentence)
    """

    def __init__(self, folder, modules=None, kit=None, tell=lambda **event: None):
        self.folder, self.modules, self.kit_file, self.tell = Path(folder).resolve(), dict(modules or {}), kit, tell
        self.advice, self.removed, self.importing, self.cache = [], [], 0, {}

    def load(self, name):
        """The module called name. Raises Wrong if there is no such file."""
        if name not in self.modules:
            self.file(name)
            self.tell(importing=name)
            self.importing += 1
            try:
                self.modules[name] = importlib.import_module(name)
            finally:
                self.importing -= 1
            self.tell(imported=name)
        return self.modules[name]

    def file(self, name):
        """The path of name.py, made ready to run without a screen. Raises Wrong if it is missing or no text."""
        path = self.folder / f'{name}.py'
        if not path.is_file():
            raise Wrong(f'{name}.py is missing')
        code = path.read_bytes()
        if b'\0' in code:
            raise Wrong(f'{name}.py is no Python text: it holds null bytes; save it as UTF-8')
        if b'matplotlib.use' in code:
            import matplotlib
            matplotlib.use = lambda *_, **__: None      # asking for a window, as in use('TkAgg'), is no mistake where there is one
        return path

    def get(self, module, name):
        """The function called name in module. Raises Wrong if it is missing, naming the nearest."""
        found = getattr(self.load(module), name, None)
        if callable(found):
            return found
        own = [n for n, v in vars(self.load(module)).items() if callable(v) and getattr(v, '__module__', module) == module]
        near = difflib.get_close_matches(name, own, 1, 0.5)
        raise Wrong(f'{module}.py has no function {name}{f"; it has {near[0]}, but the scripts call {name}" if near else ""}')

    def __getattr__(self, name):
        """student.softmax is nn.softmax; the activations of util.py come from wherever nn.py has them, else from util.py."""
        if name in ('linear', 'linear_deriv', 'tanh', 'tanh_deriv', 'relu', 'relu_deriv') and not hasattr(self.load('nn'), name):
            return self.get('util', name)
        return self.get('nn', name)

    def advise(self, sentence):
        """Say something that costs no points."""
        if sentence not in self.advice:
            self.advice.append(sentence)

    def kit(self):
        """The pages with their boxes, and the validation characters."""
        if 'kit' not in self.cache:
            self.cache['kit'] = dict(np.load(self.kit_file))
        return self.cache['kit']

    def stand_in_for_removed_names(self):
        """Let np.float and the like mean what they used to, in the student's files only, and remember where they were used."""
        original = np.__getattr__

        def look_up(name):
            frame = sys._getframe(1)
            while frame.f_back and 'importlib' in frame.f_code.co_filename:     # from numpy import float
                frame = frame.f_back
            file = frame.f_code.co_filename
            if name not in REMOVED or not file.startswith(str(self.folder)):
                return original(name)
            instead, value, version = REMOVED[name]
            code = linecache.getline(file, frame.f_lineno).strip()
            self.removed.append((self.importing > 0, f'{Path(file).name} line {frame.f_lineno} uses np.{name}, which NumPy removed in {version} '
                                                     f'(this is {np.__version__}): the code stops there; write {instead}: {code}'))
            return value
        np.__getattr__ = look_up


HINTS = [
    (r"(cannot import name|has no attribute) 'compare_psnr'", 'it is skimage.metrics.peak_signal_noise_ratio since scikit-image 0.18'),
    (r"unexpected keyword argument 'multichannel'", 'scikit-image 0.19 replaced multichannel=True by channel_axis=-1'),
    (r"unexpected keyword argument 'selem'", 'scikit-image 0.19 renamed selem to footprint'),
    (r"unexpected keyword argument 'neighbors'", 'scikit-image 0.18 replaced neighbors by connectivity'),
    (r"(cannot import name|has no attribute) '(square|rectangle)'", 'scikit-image 0.26 has footprint_rectangle((n, n)) instead'),
    (r"(cannot import name|has no attribute) '(imread|imresize|imsave)'", 'scipy.misc lost it; use skimage.io and skimage.transform'),
    (r"No module named 'torch", 'questions 2 to 6 are numpy only'),
    (r'^EOFError: EOF when reading a line', 'nobody types an answer while code is graded'),
    (r'^BdbQuit', 'a breakpoint is left in the code'),
]


def explain(error, folder):
    """One sentence for an exception: the student's line in which it came up, what it says, and what to do where that is known."""
    if isinstance(error, Wrong):
        return str(error)
    where = ''
    try:
        said = str(error)
    except Exception:       # a student's own exception may fail in any way
        said = ''
    if isinstance(error, SyntaxError) and error.filename:
        where = f'{Path(error.filename).name} line {error.lineno}: '
        text, code = f'{type(error).__name__}: {error.msg}', (error.text or '').strip()
    else:
        own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(folder))]
        if own:
            where = f'{Path(own[-1].filename).name} line {own[-1].lineno}: '
        text, code = f'{type(error).__name__}{f": {said}" if said else ""}', own[-1].line.strip() if own and own[-1].line else ''
    if isinstance(error, MemoryError):
        text = f'asks for more memory than the grader gives ({said or "MemoryError"})'
    if isinstance(error, SystemExit):
        text = f'calls sys.exit({"" if error.code is None else repr(error.code)}), which ends the program'
    if isinstance(error, OSError) and error.errno == 27:
        text = 'writes a file larger than the grader allows'
    hint = next((f' ({hint})' for pattern, hint in HINTS if re.search(pattern, text)), '')
    return f'{where}{text[:500]}{hint}{f": {code[:200]}" if code else ""}'


def run_part(student, function):
    """Run one part. Returns None if it holds, else the sentence that says why not. LookYourself and Enough pass through."""
    known = len(student.removed)
    why = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            function(student)
    except (LookYourself, Enough):
        raise
    except BaseException as error:      # SystemExit too: a student's sys.exit() must not end the grading
        why = explain(error, student.folder)
    used = [sentence for importing, sentence in student.removed[known:] if not importing or function in IMPORT_PARTS]
    for importing, sentence in student.removed[known:]:
        if importing and function not in IMPORT_PARTS:
            student.advise(sentence)
    return '; '.join(dict.fromkeys(used + ([why] if why else []))) or None


# ---------------------------------------------------------------- comparing

def show(value):
    """A short text for a value in a sentence."""
    if isinstance(value, np.ndarray) and value.size > 6:
        return f'an array {value.shape}'
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, separator=', ', suppress_small=True).replace('\n', '')
    return f'{value:.6g}' if isinstance(value, (float, np.floating)) else repr(value)[:80]


def array(got, shape, what):
    """got as an array of numbers of that shape; raises Wrong if it is not."""
    if got is None:
        raise Wrong(f'{what} is None: is a return missing?')
    try:
        got = np.asarray(got)
    except ValueError as error:
        raise Wrong(f'{what} is not an array ({error})') from None
    if got.dtype.kind not in 'biuf':
        raise Wrong(f'{what} is not an array of numbers but {type(got).__name__} of {got.dtype}')
    if got.shape != tuple(shape):
        raise Wrong(f'{what} has shape {got.shape}; expected {tuple(shape)}')
    return got


def same(got, want, what, alternatives=(), tolerance=1e-6):
    """Raise Wrong unless got equals want. alternatives: (sentence, value) pairs, to say which known mistake gives what came."""
    want = np.asarray(want, float)
    try:
        shaped = array(got, want.shape, what)
    except Wrong:
        known_mistake(got, alternatives, what)
        raise
    bad = ~np.isclose(shaped, want, rtol=tolerance, atol=tolerance)
    if bad.any():
        known_mistake(got, alternatives, what)
        i = tuple(int(k) for k in np.argwhere(bad)[0])
        raise Wrong(f'{what}{list(i) if i else ""} should be {show(float(want[i]))} but is {show(float(shaped[i]))}')


def known_mistake(got, alternatives, what):
    """Raise Wrong with the sentence of the alternative that got equals, if there is one."""
    for sentence, value in alternatives:
        try:
            hit = np.shape(got) == np.shape(value) and np.allclose(np.asarray(got, float), value, rtol=1e-6, atol=1e-9)
        except (TypeError, ValueError):
            hit = False
        if hit:
            raise Wrong(f'{what}: {sentence}')


def logistic(x):
    """The grader's own sigmoid."""
    z = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, z) / (1 + z)


def shares(x):
    """The grader's own softmax, per row."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# ---------------------------------------------------------------- Q2.1.2 weights

@part('Q2.1.2', 'nn.py can be imported', 0.5)
def nn_imports(s):
    s.load('nn')


IMPORT_PARTS.add(nn_imports)


def fresh_layer(s, sizes=(40, 25), name='layer1', params=None):
    params = {} if params is None else params
    s.initialize_weights(*sizes, params, name)
    for key in ('W' + name, 'b' + name):
        if key not in params:
            raise Wrong(f"initialize_weights({sizes[0]}, {sizes[1]}, params, '{name}') left no params['{key}'], but {sorted(map(str, params)) or 'nothing'}")
    return params


@part('Q2.1.2', 'W has shape (in, out)', 0.5)
def weight_shape(s):
    W = fresh_layer(s)['Wlayer1']
    if np.shape(W) == (25, 40):
        raise Wrong('W is (out, in) = (25, 40); the course multiplies XW with examples in rows, so it must be (in, out) = (40, 25)')
    if array(W, (40, 25), 'W').dtype.kind != 'f':
        raise Wrong(f'W holds {np.asarray(W).dtype}, not floats')


@part('Q2.1.2', 'W is uniform in ±sqrt(6 / (in + out))', 1)
def weight_bound(s):
    bound = np.sqrt(6 / 500)
    W = np.asarray(fresh_layer(s, (300, 200))['Wlayer1'], float)
    largest, spread = np.abs(W).max(), W.std()
    if not np.isfinite(W).all() or largest == 0:
        raise Wrong('W is all zeros: every hidden unit would learn the same' if np.isfinite(W).all() else 'W holds nan or inf')
    if largest <= bound * 1.001 and abs(spread / (bound / np.sqrt(3)) - 1) < 0.05 and abs(W.mean()) < 0.05 * bound:
        return
    kind = 'not uniform' if abs(largest / spread - np.sqrt(3)) > 0.1 else 'uniform'
    if W.min() >= 0:
        kind = 'never negative'
    raise Wrong(f'for 300 inputs and 200 outputs W should be uniform in ±{bound:.4f} (sqrt(6 / 500)); it is {kind}, from {W.min():.4f} to {W.max():.4f}')


@part('Q2.1.2', 'b is zero, (out,)', 0.5)
def bias(s):
    b = fresh_layer(s)['blayer1']
    if np.ndim(b) == 2:
        raise Wrong(f'b is two-dimensional, {np.shape(b)}; the course\'s is one-dimensional, (25,): np.zeros(out_size)')
    same(b, np.zeros(25), 'b')


@part('Q2.1.2', 'layers are independent', 0.5)
def fresh_each_time(s):
    import collections
    params = collections.Counter()      # question 5 hands in a Counter
    for name in ('hidden', 'hidden2', 'output'):
        fresh_layer(s, (7, 7), name, params)
    if np.array_equal(params['Whidden'], params['Whidden2']):
        raise Wrong('two layers of 7 x 7 got the same weights: is the seed set inside initialize_weights?')
    strange = [k for k in params if k not in {a + b for a in 'Wb' for b in ('hidden', 'hidden2', 'output')} and '_' not in str(k)]
    if strange:
        raise Wrong(f"params['{strange[0]}'] was added: scripts take every key without an underscore for a parameter")


# ---------------------------------------------------------------- Q2.2.1 forward

@part('Q2.2.1', 'sigmoid', 1)
def sigmoid_values(s):
    x = np.array([[-2.0, 0.0, 3.0], [0.5, -0.5, 1.0]])
    kept = x.copy()
    same(s.sigmoid(x), logistic(kept), 'sigmoid([[-2, 0, 3], [0.5, -0.5, 1]])')
    if not np.array_equal(x, kept):
        raise Wrong('sigmoid changes its input')


@part('Q2.2.1', 'sigmoid at -1000 and 1000', 1)
def sigmoid_ends(s):
    with warnings.catch_warnings(record=True) as seen, np.errstate(over='warn', divide='warn', invalid='warn', under='ignore'):
        warnings.simplefilter('always')
        got = np.asarray(s.sigmoid(np.array([-1000.0, 1000.0])), float)
    if got.shape != (2,) or not np.allclose(got, [0, 1], atol=1e-8, rtol=0):
        raise Wrong(f'sigmoid([-1000, 1000]) should be [0, 1] but is {show(got)}: exp(1000) overflows; give exp only numbers <= 0')
    if seen:
        s.advise(f'sigmoid([-1000, 1000]) is right but warns "{seen[0].message}": exp(1000) overflows on the way; give exp only numbers <= 0, '
                 'or use scipy.special.expit')


def a_layer(rng, rows=6, inputs=5, outputs=4, name='layer1'):
    X = rng.normal(size=(rows, inputs))
    return X, {'W' + name: rng.normal(size=(inputs, outputs)), 'b' + name: rng.normal(size=outputs)}


@part('Q2.2.1', 'forward returns g(XW + b)', 1)
def forward_value(s):
    X, params = a_layer(np.random.default_rng(1))
    pre = X @ params['Wlayer1'] + params['blayer1']
    got = s.forward(X, params, 'layer1')
    same(got, logistic(pre), "forward(X, params, 'layer1')", [
        ('the bias is not added', logistic(pre - params['blayer1'])), ('returns the pre-activation XW + b, without the activation', pre)])
    same(s.forward(X, params, 'layer1', np.tanh), np.tanh(pre), "forward(X, params, 'layer1', tanh)", [
        ('uses sigmoid whatever activation is handed in', logistic(pre))])


@part('Q2.2.1', "params['cache_' + name] is (X, pre_act, post_act)", 1)
def forward_cache(s):
    X, params = a_layer(np.random.default_rng(2), name='output')
    pre = X @ params['Woutput'] + params['boutput']
    s.forward(X, params, 'output')
    cache = params.get('cache_output')
    if not isinstance(cache, (tuple, list)) or len(cache) != 3:
        raise Wrong("forward must leave params['cache_output'] = (X, pre_act, post_act) for backwards")
    for got, want, what in zip(cache, (X, pre, logistic(pre)), ('first, X', 'second, pre_act', 'third, post_act')):
        same(got, want, f'cache, {what}', [('pre_act and post_act are exchanged', logistic(pre)), ('pre_act and post_act are exchanged', pre)])


# ---------------------------------------------------------------- Q2.2.2 softmax

@part('Q2.2.2', 'rows are probabilities', 1)
def softmax_values(s):
    x = np.array([[1.0, 2.0, 3.0], [0.5, 0.5, -1.0]])
    wrong = []
    for e in (np.exp(x), np.exp(x - x.max()), np.exp(x - x.max(axis=1, keepdims=True)), np.exp(x - x.max(axis=0))):     # however it was shifted
        wrong += [('normalises columns, not rows', e / e.sum(axis=0)), ('divides by the sum over the whole batch, not over each row', e / e.sum())]
    same(s.softmax(x.copy()), shares(x), 'softmax([[1, 2, 3], [0.5, 0.5, -1]])', wrong)


@part('Q2.2.2', 'large numbers, each row shifted by its maximum', 1)
def softmax_shifted(s):
    x = np.array([[1000.0, 1001.0], [-1000.0, -1001.0]])
    got = array(s.softmax(x.copy()), (2, 2), 'softmax([[1000, 1001], [-1000, -1001]])')
    if not np.isfinite(got).all():
        row = 0 if not np.isfinite(got[0]).all() else 1
        advice = 'the exponent must be shifted by the row\'s maximum' if row == 0 else 'the shift must be each row\'s own maximum, not the whole batch\'s'
        raise Wrong(f'softmax([{show(x[row])}]) in a batch of two should be {show(shares(x)[row])} but is {show(got[row])}: {advice}')
    same(got, shares(x), 'softmax([[1000, 1001], [-1000, -1001]])')


@part('Q2.2.2', 'its input stays as it was', 1)
def softmax_input(s):
    x = np.array([[1.0, 2.0, 3.0], [3.0, 5.0, 4.0]])
    kept = x.copy()
    s.softmax(x)
    if not np.array_equal(x, kept):
        raise Wrong(f'softmax changes its input: the row [1, 2, 3] is {show(x[0])} afterwards (x -= ... works in place; write x = x - ...)')


# ---------------------------------------------------------------- Q2.2.3 loss and accuracy

Y3 = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]])
P3 = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3]])


def loss_and_acc(s, y, p):
    got = s.compute_loss_and_acc(y, p)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise Wrong(f'compute_loss_and_acc must return (loss, acc), not {show(got)}')
    for value, what in zip(got, ('loss', 'accuracy')):
        if np.shape(value) != ():
            raise Wrong(f'the {what} must be one number, not an array {np.shape(value)}')
    return float(got[0]), float(got[1])


@part('Q2.2.3', 'loss: cross-entropy summed over the rows', 1)
def loss_value(s):
    want = -np.log([0.7, 0.8, 0.2, 0.4]).sum()
    loss, acc = loss_and_acc(s, Y3.copy(), P3.copy())
    same(loss, want, 'the loss of four rows', [
        ('it is the mean over the rows; the course sums', want / 4), ('it is the mean over all elements; the course sums', want / 12),
        ('the sign is wrong', -want), ('it uses log2, not the natural logarithm', want / np.log(2)),
        ('it uses log10, not the natural logarithm', want / np.log(10)),
        ('loss and accuracy are exchanged: return (loss, acc)', 0.75),
        ('it is a squared error, not the cross-entropy', ((Y3 - P3) ** 2).sum())], tolerance=1e-4)      # log(p + 1e-6) passes
    if acc == 0.75 and not np.isfinite(loss):
        raise Wrong(f'the loss is {loss}')


@part('Q2.2.3', 'accuracy: a fraction', 1)
def accuracy_value(s):
    loss, acc = loss_and_acc(s, Y3.copy(), P3.copy())
    want = -np.log([0.7, 0.8, 0.2, 0.4]).sum()
    same(acc, 0.75, 'the accuracy of four rows, three of them right', [
        ('it is in percent; the course uses a fraction, 0.75', 75.0), ('it is the number of right rows; the course uses a fraction, 0.75', 3.0),
        ('loss and accuracy are exchanged: return (loss, acc)', want), ('it is the fraction that is wrong', 0.25)])


@part('Q2.2.3', 'finite when a probability is 0', 1)
def loss_of_zero(s):
    y = np.array([[1.0, 0, 0], [0, 1, 0]])
    loss, _ = loss_and_acc(s, y, np.array([[1.0, 0, 0], [0.5, 0.5, 0]]))
    if not np.isfinite(loss):
        raise Wrong(f'y = [1, 0, 0], probs = [1, 0, 0]: the loss should be 0 but is {loss} (0 log 0); keep log away from 0, e.g. np.maximum(probs, 1e-300)')
    if abs(loss - np.log(2)) > 1e-3:
        raise Wrong(f'y = [[1, 0, 0], [0, 1, 0]], probs = [[1, 0, 0], [.5, .5, 0]]: the loss should be 0.693 but is {loss:.4g}')
    loss, _ = loss_and_acc(s, y, np.array([[0.0, 1, 0], [0.5, 0.5, 0]]))
    if not np.isfinite(loss):
        raise Wrong(f'y = [1, 0, 0], probs = [0, 1, 0]: the loss is {loss}, the log of zero; it should stay finite, e.g. np.log(np.maximum(probs, 1e-300))')


# ---------------------------------------------------------------- Q2.3.1 backwards

ACTIVATIONS = {     # the grader's own: function, derivative from the output, derivative wrongly taken from the input
    'sigmoid': (logistic, lambda y: y * (1 - y)),
    'tanh': (np.tanh, lambda y: 1 - y**2),
    'relu': (lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(float)),
    'linear': (lambda x: x, np.ones_like),
}


def backward_case(activation='sigmoid', seed=3, rows=6):
    """One layer with its cache filled in by the grader. Returns params, delta, and a dict of right and wrong answers."""
    rng = np.random.default_rng(seed)
    X, params = a_layer(rng, rows)
    g, deriv = ACTIVATIONS[activation]
    pre = X @ params['Wlayer1'] + params['blayer1']
    params['cache_layer1'] = (X, pre, g(pre))
    delta = rng.normal(size=pre.shape)
    d = delta * deriv(g(pre))
    return params, delta, {'X': X, 'W': params['Wlayer1'].copy(), 'd': d, 'of_pre': delta * deriv(pre), 'plain': delta}


def alternatives(answers, formula, rows=6):
    """(sentence, value) of the mistakes that are often made, for one of the three gradients."""
    return [('it is averaged over the batch; the course sums', formula(answers['d']) / rows),
            ('delta is not multiplied by the derivative of the activation', formula(answers['plain'])),
            ('activation_deriv gets pre_act; it is written for post_act, the output', formula(answers['of_pre'])),
            ('the sign is wrong', -formula(answers['d']))]


def called_backwards(s, activation='sigmoid', **kwargs):
    params, delta, answers = backward_case(activation, **kwargs)
    derivative = () if activation == 'sigmoid' else (getattr(s, activation + '_deriv'),)     # sigmoid's is the default
    answers['dX'] = s.backwards(delta, params, 'layer1', *derivative)
    return params, answers


def gradient(params, key):
    if key not in params:
        have = [k for k in params if str(k).startswith('grad')]
        raise Wrong(f"backwards leaves no params['{key}']{f', but {have}' if have else ''}")
    return params[key]


@part('Q2.3.1', 'sigmoid_deriv, from the output', 1)
def sigmoid_derivative(s):
    y = np.array([0.1, 0.5, 0.9])
    same(s.sigmoid_deriv(y.copy()), y * (1 - y), 'sigmoid_deriv([0.1, 0.5, 0.9])', [
        ('it takes its argument for the input of sigmoid; it is the output: y (1 - y)', logistic(y) * (1 - logistic(y)))])


@part('Q2.3.1', 'gradients are stored, shaped like W and b', 2)
def gradient_shapes(s):
    params, answers = called_backwards(s)
    for key in ('Wlayer1', 'blayer1'):
        got, want = np.shape(gradient(params, 'grad_' + key)), params[key].shape
        if got != want:
            note = '; b is one-dimensional, so sum over the rows without keepdims' if key[0] == 'b' and len(got) == 2 else ''
            raise Wrong(f"params['grad_{key}'] has shape {got}; {key} has {want}{note}")
    if not np.array_equal(params['Wlayer1'], answers['W']):
        raise Wrong('backwards changes W; it should only leave the gradient, the script takes the step')


@part('Q2.3.1', 'dLoss/dW', 2)
def gradient_W(s):
    params, answers = called_backwards(s)
    X = answers['X']
    same(gradient(params, 'grad_Wlayer1'), X.T @ answers['d'], "params['grad_Wlayer1']", alternatives(answers, lambda d: X.T @ d))


@part('Q2.3.1', 'dLoss/db', 1)
def gradient_b(s):
    params, answers = called_backwards(s)
    got = np.asarray(gradient(params, 'grad_blayer1'))
    if got.size == 4:
        got = got.reshape(4)        # its shape has its own part
    same(got, answers['d'].sum(axis=0), "params['grad_blayer1']", alternatives(answers, lambda d: d.sum(axis=0)))


@part('Q2.3.1', 'returns dLoss/dX', 2)
def gradient_X(s):
    _, answers = called_backwards(s)
    W = answers['W']
    same(answers['dX'], answers['d'] @ W.T, 'what backwards returns, dLoss/dX,', alternatives(answers, lambda d: d @ W.T))


@part('Q2.3.1', 'any activation: tanh, relu, linear', 1)
def other_activations(s):
    for activation in ('tanh', 'relu', 'linear'):
        params, answers = called_backwards(s, activation, seed=4)
        X = answers['X']
        same(gradient(params, 'grad_Wlayer1'), X.T @ answers['d'], f"params['grad_Wlayer1'] with {activation}_deriv",
             alternatives(answers, lambda d, X=X: X.T @ d))


@part('Q2.3.1', 'two layers agree with central differences', 1)
def two_layers(s):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(5, 3)), np.eye(2)[[0, 1, 1, 0, 1]]
    params = {'Wlayer1': rng.normal(size=(3, 4)), 'blayer1': rng.normal(size=4), 'Woutput': rng.normal(size=(4, 2)), 'boutput': rng.normal(size=2)}
    probs = s.forward(s.forward(x, params, 'layer1'), params, 'output', s.softmax)
    probs -= y      # in place, as the course's script does
    s.backwards(s.backwards(probs, params, 'output', s.linear_deriv), params, 'layer1', s.sigmoid_deriv)

    def loss():
        p = shares(logistic(x @ params['Wlayer1'] + params['blayer1']) @ params['Woutput'] + params['boutput'])
        return -(y * np.log(p)).sum()
    for key in ('Wlayer1', 'blayer1', 'Woutput', 'boutput'):
        got = array(gradient(params, 'grad_' + key), params[key].shape, f"params['grad_{key}']")
        same(got, central_differences(params[key], loss), f"params['grad_{key}'] of 3-4-2", tolerance=1e-5)


def central_differences(w, loss, eps=1e-6):
    """dLoss/dw by (f(w + eps) - f(w - eps)) / (2 eps), one scalar at a time."""
    grad = np.zeros_like(w)
    for i in np.ndindex(w.shape):
        kept = w[i]
        w[i] = kept + eps
        above = loss()
        w[i] = kept - eps
        grad[i] = (above - loss()) / (2 * eps)
        w[i] = kept
    return grad


# ---------------------------------------------------------------- Q2.4.1 batches

def batches(s, rows=40, size=5):
    """get_random_batches on rows that know their number. Returns [(numbers of x's rows, numbers of y's rows), ...]; raises Wrong if they are not pairs."""
    x = np.stack([np.arange(rows), np.arange(rows) + 0.5], axis=1)
    got = s.get_random_batches(x.copy(), np.eye(rows), size)
    if got is None:
        raise Wrong('get_random_batches returns None: is a return missing?')
    found = []
    for pair in got:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise Wrong(f'get_random_batches must return a list of pairs (xb, yb), not of {type(pair).__name__}')
        xb, yb = (np.asarray(p) for p in pair)
        if xb.ndim != 2 or yb.ndim != 2 or xb.shape[1] != 2 or yb.shape[1] != rows:
            raise Wrong(f'a batch of {size} of the rows (2,) and labels ({rows},) has shapes {xb.shape} and {yb.shape}')
        if len(xb) != len(yb):
            raise Wrong(f'a batch has {len(xb)} rows of x and {len(yb)} of y')
        if len(xb):
            found.append((xb[:, 0].astype(int), yb.argmax(axis=1)))
    return found


def once_each(found, rows, what):
    """Raise Wrong unless every row is in exactly one batch."""
    counts = np.bincount(np.concatenate([x for x, _ in found] or [np.zeros(0, int)]), minlength=rows)
    twice, never = np.flatnonzero(counts > 1), np.flatnonzero(counts == 0)
    if len(twice):
        never = f', row {never[0]} in none' if len(never) else ''
        raise Wrong(f'{what}: rows are repeated: row {twice[0]} comes {counts[twice[0]]} times{never}; cut one permutation of all rows into pieces')
    if len(never):
        raise Wrong(f'{what}: {len(never)} row{"s" if len(never) > 1 else ""} of {rows} in no batch')


@part('Q2.4.1', 'a list of (xb, yb), batch_size rows each', 1)
def batch_form(s):
    sizes = [len(x) for x, _ in batches(s)]
    if sizes != [5] * 8:
        raise Wrong(f'40 rows in batches of 5 should be 8 batches of 5, not {len(sizes)}: {sizes[:10]}')


@part('Q2.4.1', 'every row once', 1)
def batch_rows(s):
    once_each(batches(s), 40, '40 rows in batches of 5')


@part('Q2.4.1', 'the tail is kept', 1)
def batch_tail(s):
    for rows, size in ((23, 5), (3, 5)):
        found = batches(s, rows, size)
        total = sum(len(x) for x, _ in found)
        if total < rows:
            raise Wrong(f'{rows} rows in batches of {size}: only {total} are handed out, the tail of {rows - total} is lost')
        once_each(found, rows, f'{rows} rows in batches of {size}')
        if max(len(x) for x, _ in found) > size:
            s.advise(f'{rows} rows in batches of {size}: a batch has {max(len(x) for x, _ in found)} rows; a shorter last batch is usual')


@part('Q2.4.1', 'rows stay beside their labels', 1)
def batch_pairs(s):
    for x, y in batches(s):
        if not np.array_equal(x, y):
            i = int(np.flatnonzero(x != y)[0])
            raise Wrong(f'row {x[i]} of x comes with the label of row {y[i]}: x and y must be reordered by the same permutation')


@part('Q2.4.1', 'in random order', 1)
def batch_order(s):
    first, second = ([x for x, _ in batches(s, 200, 5)] for _ in range(2))
    if np.array_equal(np.concatenate(first), np.arange(200)):
        raise Wrong('the rows come in their old order; sorted classes must be mixed')
    if all(np.ptp(x) == 4 for x in first):
        raise Wrong('each batch holds neighbours, only the batches are in random order: rows must be mixed before they are cut')
    if np.array_equal(np.concatenate(first), np.concatenate(second)):
        raise Wrong('two calls give the same order: is the seed set inside get_random_batches?')
