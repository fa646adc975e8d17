"""The grader: catches the mistakes that copies of the homework really have, passes correct code in any style, survives any code, and reports it right.

Mistakes are made by replacing a line of a correct submission (submissions/compact) and looking at exactly which parts fail: neither fewer nor more. These
run in this process, since they are our own; what must be survived runs as a student's code would.
"""
import csv
import html
import importlib.util
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

import datasets, experiment, grade, grade_checks, grade_sandbox, grade_scripts  # noqa: F401
import nn as own_nn

HERE = Path(__file__).resolve().parent
SUBMISSIONS = HERE / 'submissions'
NN_QUESTIONS = ['Q2.1.2', 'Q2.2.1', 'Q2.2.2', 'Q2.2.3', 'Q2.3.1', 'Q2.4.1']


@pytest.fixture(scope='module')
def desk(builtin):
    with grade.Desk() as desk:
        yield desk


@pytest.fixture(scope='module')
def small_kit(desk, tmp_path_factory):
    """The desk's kit with pages of half the size, which are read in a quarter of the time."""
    kit = dict(np.load(desk.kit))
    for i in range(len(grade.PAGES)):
        kit[f'page{i}'], kit[f'boxes{i}'] = kit[f'page{i}'][::2, ::2], kit[f'boxes{i}'] // 2
    path = tmp_path_factory.mktemp('kit') / 'kit.npz'
    np.savez(path, **kit)
    return path


@pytest.fixture
def broken(tmp_path, monkeypatch, small_kit):
    """A function (style, {(file, old): new}) -> Student: a copy of a submission with some lines replaced, imported here."""
    monkeypatch.setattr(np, '__getattr__', np.__getattr__)      # the student's stand-in for removed names goes away after the test
    monkeypatch.setattr(sys, 'argv', sys.argv)
    monkeypatch.setattr(sys, 'path', [str(tmp_path / 'python'), *sys.path])

    def make(style='compact', changes=()):
        folder = tmp_path / 'python'
        shutil.copytree(SUBMISSIONS / style, folder)
        for file, old, new in changes:
            text = (folder / file).read_text()
            assert text.count(old) == 1, f'{old!r} stands {text.count(old)} times in {file}'
            (folder / file).write_text(text.replace(old, new))
        student = grade_checks.Student(folder, kit=small_kit)
        student.stand_in_for_removed_names()
        student.importing = 1
        for name in ('util', 'nn', 'q4'):
            if (folder / f'{name}.py').exists():
                spec = importlib.util.spec_from_file_location(name, folder / f'{name}.py')
                module = importlib.util.module_from_spec(spec)
                monkeypatch.setitem(sys.modules, name, module)
                spec.loader.exec_module(module)
                student.modules[name] = module
        student.importing = 0
        return student
    return make


def failures(student, questions):
    """{(question, part): sentence} of the parts that fail."""
    if isinstance(questions, str):
        questions = [questions]
    found = {}
    for question in questions:
        for name, _, function in grade_checks.PARTS[question]:
            why = grade_checks.run_part(student, function)
            if why is not None:
                found[question, name] = why
    return found


# ---------------------------------------------------------------- correct code passes, whatever it looks like

@pytest.mark.parametrize('style', ['compact', 'loops', 'old_scripts'])
def test_correct_styles_pass(broken, style):
    assert failures(broken(style), NN_QUESTIONS) == {}


def test_own_network_passes(tmp_path, small_kit):
    student = grade_checks.Student(Path(own_nn.__file__).parent, modules={'nn': own_nn}, kit=small_kit)
    assert failures(student, NN_QUESTIONS) == {}
    assert student.advice == []


@pytest.mark.parametrize('changes', [
    [('nn.py', 'np.zeros(out_size)', 'np.zeros((out_size,), dtype=np.float64)')],
    [('nn.py', '(x[chosen], y[chosen])', '[x[chosen, :], y[chosen, :]]')],
    [('nn.py', 'return 1 / (1 + np.exp(-x))', 'return 0.5 * (1 + np.tanh(x / 2))')],
    [('nn.py', "params['grad_W' + name] = grad_W", "params['grad_W' + name] = sum(np.outer(X[i], d[i]) for i in range(len(X)))")],
    [('nn.py', 'probs + 1e-300', 'np.where(y > 0, np.maximum(probs, 1e-200), 1.0)')],
    [('nn.py', '    return batches', '    np.random.shuffle(order)\n    return tuple(batches)')],
    [('nn.py', 'from util import *', 'from util import *\nimport matplotlib.pyplot as plt')],
    [('nn.py', '    batches = []\n', ''), ('nn.py', 'batches.append((x[chosen], y[chosen]))\n    return batches', 'yield x[chosen], y[chosen]')],
], ids=lambda changes: changes[0][1][:20])
def test_correct_variants_pass(broken, changes):
    assert failures(broken(changes=changes), NN_QUESTIONS) == {}


# ---------------------------------------------------------------- mistakes in nn.py: (name, old, new, the parts that fail, what the sentence says)

MISTAKES = [
    # batches
    ('tail lost', 'range(0, len(x), batch_size)', 'range(0, len(x) - batch_size + 1, batch_size)', [('Q2.4.1', 'the tail is kept')], 'tail of 3 is lost'),
    ('rows repeated', 'chosen = order[i:i + batch_size]', 'chosen = np.random.choice(len(x), min(batch_size, len(x) - i))',
     [('Q2.4.1', 'every row once'), ('Q2.4.1', 'the tail is kept')], 'rows are repeated'),
    ('all the same', 'chosen = order[i:i + batch_size]', 'chosen = order[:batch_size][:len(x) - i]',
     [('Q2.4.1', 'every row once'), ('Q2.4.1', 'the tail is kept')], 'comes 8 times'),
    ('pairs broken', '(x[chosen], y[chosen])', '(x[chosen], y[np.random.permutation(len(x))[i:i + batch_size]])',
     [('Q2.4.1', 'rows stay beside their labels')], 'by the same permutation'),
    ('old order', 'order = np.random.permutation(len(x))', 'order = np.arange(len(x))', [('Q2.4.1', 'in random order')], 'old order'),
    ('seed inside', 'order = np.random.permutation(len(x))', 'np.random.seed(1)\n    order = np.random.permutation(len(x))',
     [('Q2.4.1', 'in random order')], 'seed'),
    ('batches not returned', '    return batches', '    pass', 'Q2.4.1', 'return missing'),
    # gradients
    ('averaged', 'grad_W = X.T @ d', 'grad_W = X.T @ d / len(X)',
     [('Q2.3.1', p) for p in ('dLoss/dW', 'any activation: tanh, relu, linear', 'two layers agree with central differences')], 'averaged over the batch'),
    ('bias averaged', 'grad_b = d.sum(axis=0)', 'grad_b = d.mean(axis=0)',
     [('Q2.3.1', p) for p in ('dLoss/db', 'two layers agree with central differences')], 'averaged over the batch'),
    ('bias gradient 2-D', 'grad_b = d.sum(axis=0)', 'grad_b = d.sum(axis=0, keepdims=True)',
     [('Q2.3.1', p) for p in ('gradients are stored, shaped like W and b', 'two layers agree with central differences')], 'one-dimensional'),
    ('no activation derivative', 'd = delta * activation_deriv(post_act)', 'd = delta',
     [('Q2.3.1', p) for p in ('dLoss/dW', 'dLoss/db', 'returns dLoss/dX', 'any activation: tanh, relu, linear', 'two layers agree with central differences')],
     'not multiplied by the derivative'),
    ('derivative of the input', 'activation_deriv(post_act)', 'activation_deriv(pre_act)', None, 'written for post_act'),
    ('dX forgotten', 'return grad_X', 'pass', [('Q2.3.1', p) for p in ('returns dLoss/dX', 'two layers agree with central differences')], 'return missing'),
    ('dX without the derivative', 'grad_X = d @ W.T', 'grad_X = delta @ W.T', [('Q2.3.1', 'returns dLoss/dX')], 'not multiplied by the derivative'),
    ('takes the step itself', "params['grad_W' + name] = grad_W", "params['grad_W' + name] = grad_W; W -= 0.1 * grad_W", None, 'changes W'),
    ('sigmoid_deriv of the input', 'return post_act * (1.0 - post_act)', 'return sigmoid(post_act) * (1 - sigmoid(post_act))', None, 'it is the output'),
    # weights
    ('b two-dimensional', 'np.zeros(out_size)', 'np.zeros((1, out_size))', [('Q2.1.2', 'b is zero, (out,)')], 'two-dimensional'),
    ('b random', 'np.zeros(out_size)', 'np.random.uniform(-bound, bound, out_size)', [('Q2.1.2', 'b is zero, (out,)')], 'should be 0'),
    ('bound too small', 'np.sqrt(6 / (in_size + out_size))', 'np.sqrt(6) / (in_size + out_size)',
     [('Q2.1.2', 'W is uniform in ±sqrt(6 / (in + out))')], 'sqrt(6 / 500)'),
    ('normal', 'np.random.uniform(-bound, bound, (in_size, out_size))', 'np.random.normal(0, bound / 3**.5, (in_size, out_size))',
     [('Q2.1.2', 'W is uniform in ±sqrt(6 / (in + out))')], 'not uniform'),
    ('never negative', 'uniform(-bound, bound,', 'uniform(0, bound,', [('Q2.1.2', 'W is uniform in ±sqrt(6 / (in + out))')], 'never negative'),
    ('W transposed', 'uniform(-bound, bound, (in_size, out_size))', 'uniform(-bound, bound, (out_size, in_size))',
     [('Q2.1.2', 'W has shape (in, out)')], 'must be (in, out)'),
    ('every layer the same', 'bound = np.sqrt', 'np.random.seed(0); bound = np.sqrt', [('Q2.1.2', 'layers are independent')], 'same weights'),
    # forward
    ('overflow', 'return 1 / (1 + np.exp(-x))', 'return np.exp(x) / (1 + np.exp(x))', [('Q2.2.1', 'sigmoid at -1000 and 1000')], 'nan'),
    ('sigmoid in place', 'return 1 / (1 + np.exp(-x))', 'x[:] = 1 / (1 + np.exp(-x)); return x', None, 'changes its input'),
    ('no bias', 'pre_act = X @ W + b', 'pre_act = X @ W', None, 'bias is not added'),
    ('always sigmoid', 'post_act = activation(pre_act)', 'post_act = sigmoid(pre_act)', None, 'whatever activation'),
    ('cache exchanged', '(X, pre_act, post_act)\n    return', '(X, post_act, pre_act)\n    return', None, 'exchanged'),
    ('cache without name', "params['cache_' + name] = ", "params['cache_'] = ", None, 'must leave'),
    # softmax
    ('not shifted', 'x = x - x.max(axis=1, keepdims=True)', 'pass', [('Q2.2.2', 'large numbers, each row shifted by its maximum')], "the row's maximum"),
    ('shifted by one maximum', 'x.max(axis=1, keepdims=True)', 'x.max()',
     [('Q2.2.2', 'large numbers, each row shifted by its maximum')], "each row's own maximum"),
    ('changes its input', 'x = x - x.max(axis=1, keepdims=True)', 'x -= x.max(axis=1, keepdims=True)', [('Q2.2.2', 'its input stays as it was')], 'in place'),
    ('columns', 'return e / e.sum(axis=1, keepdims=True)', 'return e / e.sum(axis=0)', None, 'normalises columns'),
    # loss
    ('log of zero', 'np.log(probs + 1e-300)', 'np.log(probs)', [('Q2.2.3', 'finite when a probability is 0')], '0 log 0'),
    ('log of zero, by index', '-np.sum(y * np.log(probs + 1e-300))', '-np.log(probs[np.arange(len(y)), y.argmax(axis=1)]).sum()',
     [('Q2.2.3', 'finite when a probability is 0')], 'log of zero'),
    ('mean loss', '-np.sum(y * np.log(probs + 1e-300))', '-np.sum(y * np.log(probs + 1e-300)) / len(y)', None, 'the course sums'),
    ('sign', '-np.sum(y', 'np.sum(y', None, 'sign is wrong'),
    ('percent', 'acc = np.mean(', 'acc = 100 * np.mean(', [('Q2.2.3', 'accuracy: a fraction')], 'percent'),
    ('counted', 'acc = np.mean(', 'acc = np.sum(', [('Q2.2.3', 'accuracy: a fraction')], 'number of right rows'),
    ('exchanged', 'return loss, acc', 'return acc, loss', None, 'exchanged'),
    ('an array', 'return loss, acc', 'return np.array([loss]), acc', 'Q2.2.3', 'must be one number, not an array (1,)'),
    # names
    ('name changed', 'def compute_loss_and_acc(', 'def compute_loss_and_accuracy(', 'Q2.2.3', 'it has compute_loss_and_accuracy'),
]


@pytest.mark.parametrize('old, new, parts, says', [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistake_is_caught(broken, old, new, parts, says):
    found = failures(broken(changes=[('nn.py', old, new)]), NN_QUESTIONS)
    assert any(says in why for why in found.values()), found
    if isinstance(parts, list):
        assert sorted(found) == sorted(parts), found
    elif parts:
        assert {question for question, _ in found} == {parts}, found


def test_batches_of_neighbours(broken):
    student = broken(changes=[('nn.py', 'order = np.random.permutation(len(x))', 'order = np.arange(len(x))'),
                              ('nn.py', '    return batches', '    import random; random.shuffle(batches)\n    return batches')])
    assert list(failures(student, 'Q2.4.1')) == [('Q2.4.1', 'in random order')]


def test_a_warning_costs_nothing_but_is_told(broken):
    student = broken()
    assert failures(student, 'Q2.2.1') == {}
    assert 'overflow' in student.advice[0]


def test_np_float_in_a_function_costs_its_part_alone(broken):
    student = broken(changes=[('nn.py', 'acc = np.mean(y.argmax', 'acc = np.float(1) * np.mean(y.argmax')])
    found = failures(student, NN_QUESTIONS)
    assert {question for question, _ in found} == {'Q2.2.3'}
    why = found['Q2.2.3', 'accuracy: a fraction']
    assert re.search(r'nn\.py line \d+ uses np\.float, which NumPy removed in 1\.24', why) and 'write float: acc = np.float(1)' in why


def test_np_float_at_the_top_costs_the_import_alone(tmp_path, desk):
    shutil.copytree(SUBMISSIONS / 'compact', tmp_path / 'python')
    nn = tmp_path / 'python' / 'nn.py'
    nn.write_text(nn.read_text().replace('from util import *', 'from util import *\nREAL = np.float'))
    weights, softmax = grade.grade(tmp_path, desk, only=['Q2.1.2', 'Q2.2.2'])['questions']
    assert [p['part'] for p in weights['parts'] if not p['holds']] == ['nn.py can be imported']
    assert weights['parts'][0]['why'].endswith('write float: REAL = np.float')
    assert softmax['score'] == softmax['max'] and 'np.float' in softmax['notes'][0]


# ---------------------------------------------------------------- q4.py

Q4_MISTAKES = [
    ('white on black', 'bw = 1.0 - ink', 'bw = ink * 1.0', [('Q4.2', 'bw: characters 0 on background 1')], 'white on black'),
    ('x and y swapped', 'append((y1, x1, y2, x2))', 'append((x1, y1, x2, y2))', [('Q4.2', 'boxes are [y1, x1, y2, x2]')], 'x and y are swapped'),
    ('height and width', 'append((y1, x1, y2, x2))', 'append((y1, x1, y2 - y1, x2 - x1))', [('Q4.2', 'boxes are [y1, x1, y2, x2]')], '[y, x, height, width]'),
    ('0 to 255', 'bw = 1.0 - ink', 'bw = 255.0 * (1 - ink)', [('Q4.2', 'bw: as large as the image, float in 0..1')], '255'),
    ('colour', 'bw = 1.0 - ink', 'bw = np.dstack([1.0 - ink] * 3)', [('Q4.2', 'bw: as large as the image, float in 0..1')], 'shape'),
    ('boxes twice', 'append((y1, x1, y2, x2))', 'extend([(y1, x1, y2, x2)] * 2)', None, 'boxes lie on a character'),
    ('letters run together', 'np.ones((5, 5))', 'np.ones((51, 51))', None, 'have a box of their own'),
    ('one value alone', 'return bboxes, bw', 'return bboxes', None, 'must return (bboxes, bw)'),
    ('exchanged', 'return bboxes, bw', 'return bw, bboxes', None, 'are exchanged'),
    ('boxes of a smaller picture', 'append((y1, x1, y2, x2))', 'append((y1 // 2, x1 // 2, y2 // 2, x2 // 2))', None, 'too few to tell'),
    ('new scikit-image', 'skimage.filters.gaussian(skimage.color.rgb2gray(image), 1.5)', 'skimage.filters.gaussian(image, 1.5, multichannel=True)[..., 0]',
     None, 'channel_axis=-1'),
]


@pytest.mark.parametrize('old, new, parts, says', [m[1:] for m in Q4_MISTAKES], ids=[m[0] for m in Q4_MISTAKES])
def test_q4_mistake_is_caught(broken, old, new, parts, says):
    found = failures(broken(changes=[('q4.py', old, new)]), 'Q4.2')
    assert any(says in why for why in found.values()), found
    if parts:
        assert list(found) == parts, found


@pytest.mark.parametrize('style', ['compact', 'loops'])
def test_q4_styles_pass(broken, style):
    assert failures(broken(style), 'Q4.2') == {}


def test_q4_boolean_bw_is_told_but_passes(broken):
    student = broken(changes=[('q4.py', 'bw = 1.0 - ink', 'bw = ~ink')])
    assert failures(student, 'Q4.2') == {}
    assert any('bool' in sentence for sentence in student.advice)


# ---------------------------------------------------------------- scripts and weights

def test_course_style_q2_passes(broken):
    assert failures(broken(), 'Q2.5.1') == {}


@pytest.mark.parametrize('file, old, new, parts, says', [
    ('run_q2.py', 'max_iters = 500', 'max_iters = 3', ['loss below 35', 'accuracy above 75 %'], 'it should come below 35'),
    ('run_q2.py', "print('total {:.2e}'.format(total_error))", 'pass', ['gradient check: total below 1e-4'], 'no total'),
    ('run_q2.py', 'backwards(probs - y,', 'backwards(y - probs,', ['gradient check: total below 1e-4'], 'should be below 1e-4'),
    ('run_q2.py', 'eps = 1e-6', 'eps = np.float(1e-6)', ['run_q2.py runs to its end'], 'np.float'),
    ('run_q2.py', 'total_error = 0\n', 'total_error = unknown\n', ['run_q2.py runs to its end', 'gradient check: total below 1e-4'], "'unknown' is not"),
], ids=['too short', 'not printed', 'wrong sign', 'np.float', 'crash at the end'])
def test_q2_script_mistakes(broken, file, old, new, parts, says):
    faster = [] if 'max_iters' in old else [('run_q2.py', 'max_iters = 500', 'max_iters = 400')]
    found = failures(broken(changes=[(file, old, new), *faster]), 'Q2.5.1')
    assert [part for _, part in found] == parts, found
    assert any(says in why for why in found.values()), found


@pytest.fixture
def in_course_layout(tmp_path, desk, monkeypatch):
    """The current folder is python/, with the course's data beside it."""
    shutil.copytree(desk.folder / 'course' / 'data', tmp_path / 'data')

    def go(student):
        monkeypatch.chdir(student.folder)
        return student
    return go


@pytest.mark.parametrize('old, new, question, says', [
    ('', '', None, ''),
    ('initialize_weights(hidden_size, 1024,', 'initialize_weights(hidden_size, 1024, params, "x"); initialize_weights(hidden_size, 1024,', None, ''),
    ('hidden_size = 32', 'hidden_size = 32; import matplotlib; matplotlib.use("TkAgg")', None, ''),
    ("'hidden2', relu)", "'hidden2', tanh)", 'Q5.1.1', 'relu, relu, tanh, sigmoid'),
    ('from nn import *', 'from nn import *\nfrom skimage.measure import compare_psnr', 'both', 'peak_signal_noise_ratio'),
    ('delta = 2 * (out - xb)', 'delta = out - xb', 'Q5.1.1', 'the 2 is missing'),
    ('hidden_size = 32', 'hidden_size = 64', 'Q5.1.1', '1024-64'),
    ("0.9 * params['m_' + k] - learning_rate", '- learning_rate', 'Q5.1.2', 'no momentum'),
    ("0.9 * params['m_' + k]", "0.5 * params['m_' + k]", 'Q5.1.2', '0.500'),
    ("params[k] += params['m_' + k]", "params[k] -= params['m_' + k]", 'Q5.1.2', 'up the gradient'),
    ("'../data/nist36_train.mat'", "'nist36_train.mat'", 'both', 'No such file'),
], ids=['right', 'spare layer', 'window', 'tanh', 'compare_psnr', 'factor 2', '64 units', 'no momentum', 'momentum 0.5', 'uphill', 'wrong path'])
def test_q5(broken, in_course_layout, old, new, question, says):
    student = in_course_layout(broken(changes=[('run_q5.py', old, new)] if old else []))
    found = failures(student, ['Q5.1.1', 'Q5.1.2'])
    assert {q for q, _ in found} == {None: set(), 'both': {'Q5.1.1', 'Q5.1.2'}}.get(question, {question}), found
    assert any(says in why for why in found.values()) or question is None, found


def test_q5_wrong_output_costs_the_activation_alone(broken, in_course_layout):
    student = in_course_layout(broken(changes=[('run_q5.py', "'output', sigmoid)", "'output', linear)"),
                                               ('run_q5.py', "'output', sigmoid_deriv)", "'output', linear_deriv)")]))
    assert list(failures(student, 'Q5.1.1')) == [('Q5.1.1', 'relu, relu, relu, sigmoid')]


def test_q5_that_does_not_use_nn_is_left_to_people(broken, in_course_layout):
    student = in_course_layout(broken())
    (student.folder / 'run_q5.py').write_text('print("my own loop")\n')
    with pytest.raises(grade_checks.LookYourself):
        failures(student, 'Q5.1.1')


def weights_that_read(kit):
    """Weights of 1024-64-36 that read the kit's characters, trained on them: here it only matters how they are judged."""
    rng, params = np.random.default_rng(0), {}
    x, y = kit['x'] / 255.0, np.eye(36)[kit['labels']]
    own_nn.initialize_weights(1024, 64, params, 'layer1', rng=rng)
    own_nn.initialize_weights(64, 36, params, 'output', rng=rng)
    for _ in range(60):
        own_nn.train_epoch(own_nn.get_random_batches(x, y, 20, rng), params, [('layer1', own_nn.sigmoid), ('output', own_nn.softmax)], 0.002, 0.9)
    return {name: params[name] for name in own_nn.parameter_names(params)}


@pytest.fixture(scope='module')
def good_weights(desk):
    return weights_that_read(np.load(desk.kit))


class Dangerous:
    def __reduce__(self):
        return os.system, ('touch was_run',)


def test_weights(tmp_path, small_kit, good_weights):
    def judged(content):
        (tmp_path / 'q3_weights.pickle').write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
        return failures(grade_checks.Student(tmp_path, kit=small_kit), 'Q3.1.1')
    assert judged(good_weights) == {}
    assert judged({**good_weights, 'grad_Wlayer1': np.zeros(3)}) == {}
    accuracy = ('Q3.1.1', 'validation accuracy at least 75 %')
    assert list(judged({name: np.zeros_like(w) for name, w in good_weights.items()})) == [accuracy]
    renamed = {name.replace('layer1', 'hidden'): w for name, w in good_weights.items()}
    assert 'Whidden has its shape' in judged(renamed)['Q3.1.1', 'Wlayer1 (1024, 64), blayer1, Woutput (64, 36), boutput']
    assert 'shape (1, 64)' in ' '.join(judged({**good_weights, 'blayer1': good_weights['blayer1'][None]}).values())
    assert len(judged(b'\x80\x04nonsense')) == 3
    assert set(judged((good_weights, 1)).values()) == {'q3_weights.pickle holds a tuple, not a dict of parameters'}
    assert 'of these shapes' in judged({**good_weights, 'Wlayer1': good_weights['Wlayer1'].T})[accuracy]
    assert 'system' in ' '.join(judged(Dangerous()).values())
    assert not Path('was_run').exists()


def test_weights_that_read_built_in_handwriting_less_well_are_left_to_people(tmp_path, small_kit, good_weights):
    """A network that reads three quarters of NIST36 reads two thirds of the built-in handwriting: the grader, which has no NIST36, must not call it wrong."""
    kit = dict(np.load(small_kit))
    kit['labels'] = np.where(np.arange(len(kit['labels'])) % 3 == 0, (kit['labels'] + 1) % 36, kit['labels'])
    (tmp_path / 'q3_weights.pickle').write_bytes(pickle.dumps(good_weights))
    np.savez(tmp_path / 'kit.npz', **kit)
    with pytest.raises(grade_checks.LookYourself, match='--data'):
        failures(grade_checks.Student(tmp_path, kit=tmp_path / 'kit.npz'), 'Q3.1.1')
    np.savez(tmp_path / 'kit.npz', **{**kit, 'origin': 'data/nist36_*.mat'})
    assert list(failures(grade_checks.Student(tmp_path, kit=tmp_path / 'kit.npz'), 'Q3.1.1')) == [('Q3.1.1', 'validation accuracy at least 75 %')]


def test_own_python_gets_full_marks(tmp_path, desk, good_weights):
    code = tmp_path / 'python'
    code.mkdir()
    for file in Path(own_nn.__file__).parent.glob('*.py'):
        shutil.copy(file, code)
    (code / 'q3_weights.pickle').write_bytes(pickle.dumps(good_weights))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = grade.grade(tmp_path, desk, seconds=100)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result['holds'] and result['score'] == result['max'] == 58, grade.as_text(result)
    assert used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime < 28       # of processor time: others may be busy on this machine


# ---------------------------------------------------------------- code that must be survived

DISASTERS = '''
import os, shutil, subprocess, sys, time, socket
import numpy as np

def initialize_weights(*args):
    while True:
        pass

def sigmoid(x):
    sys.exit(0)

def forward(*args):
    os._exit(0)

def softmax(x):
    return np.ones((10 << 30) // 8)

def compute_loss_and_acc(y, probs):
    line = 'x' * 100000
    for _ in range(10000):
        print(line)

def sigmoid_deriv(y):
    socket.create_connection(('192.0.2.1', 80), 1)

def backwards(*args):
    while True:
        os.fork()

def get_random_batches(x, y, size):
    try:
        shutil.rmtree(VICTIM)
    finally:
        shutil.rmtree(os.getcwd())
'''


def test_disasters_are_survived(tmp_path, desk, monkeypatch):
    folder, victim = tmp_path / 'student', tmp_path / 'victim'
    folder.mkdir()
    victim.mkdir()
    (folder / 'nn.py').write_text(DISASTERS.replace('VICTIM', repr(str(victim))))
    monkeypatch.setitem(grade.SECONDS, 'Q2.1.2', 1.5)
    result = grade.grade(folder, desk, only=NN_QUESTIONS)
    text = {q['question']: ' '.join([p['why'] for p in q['parts']] + q['notes']) for q in result['questions']}
    assert 'stopped after 2 s (an endless loop' in text['Q2.1.2']
    assert 'calls sys.exit(0)' in text['Q2.2.1'] and 'ended by itself in the middle' in text['Q2.2.1']
    assert 'asks for more memory than the grader gives' in text['Q2.2.2']
    assert 'prints more than 5 MB' in text['Q2.2.3']
    assert 'tries to reach the network, which is refused: 192.0.2.1:80' in text['Q2.3.1']
    assert 'starts more than 40 processes' in text['Q2.3.1']
    assert 'deletes its working folder' in text['Q2.4.1'] and 'lets nothing be changed outside the working folder' in text['Q2.4.1']
    assert victim.is_dir() and (folder / 'nn.py').is_file()
    assert result['score'] == 0.5 and not result['holds']       # it can be imported
    assert not list(desk.folder.glob('submission_*'))


def test_import_that_hangs_is_waited_for_once(tmp_path, desk, monkeypatch):
    (tmp_path / 'nn.py').write_text('while True: pass\n')
    for question in NN_QUESTIONS:
        monkeypatch.setitem(grade.SECONDS, question, 1.5)
    result = grade.grade(tmp_path, desk, only=NN_QUESTIONS)
    assert result['seconds'] < 6 and result['score'] == 0
    assert 'nn.py was stopped after 2 s (an endless loop, or too slow) while it was imported' in result['questions'][3]['parts'][0]['why']


def test_endless_loops_leave_time_for_later_questions(tmp_path, desk, monkeypatch):
    """Where every question hangs until it is stopped, each still has a second, and all together take no more than the time for a submission."""
    clock, had = [0.0], {}

    def hangs(question, desk, work, broken, left, points, slower):
        had[question] = left
        clock[0] += min(left, grade.SECONDS.get(question, 5))
        return grade.judge(question, points, [], 'hangs', 0)
    monkeypatch.setattr(grade, 'time', types.SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(grade, 'ask', hangs)
    (tmp_path / 'nn.py').touch()
    grade.grade(tmp_path, desk)
    assert list(had) == list(grade.QUESTIONS) and min(had.values()) > 1 and clock[0] <= 28


@pytest.mark.parametrize('code, says', [
    ('print(1)'.encode('utf-16'), 'nn.py is no Python text: it holds null bytes; save it as UTF-8'),
    (b'class Odd(Exception):\n    def __str__(self):\n        raise ValueError\ndef softmax(x):\n    raise Odd\n', 'nn.py line 5: Odd: raise Odd'),
    (b'import argparse\nargparse.ArgumentParser().parse_args()\n', 'nn.py has no function softmax'),
    (b'def softmax(x):\n    return input()\n', 'nobody types an answer'),
    (b'def softmax(x):\n    breakpoint()\n', 'a breakpoint is left in the code'),
    (b'from scipy.misc import imread\n', 'use skimage.io'),
], ids=['UTF-16', 'odd exception', 'arguments', 'input', 'breakpoint', 'scipy.misc'])
def test_odd_files(tmp_path, desk, code, says):
    (tmp_path / 'nn.py').write_bytes(code)
    assert all(says in part['why'] for part in grade.grade(tmp_path, desk, only=['Q2.2.2'])['questions'][0]['parts'])


def test_programs_that_use_the_network_are_not_started_where_they_would_have_it(tmp_path):
    script = 'import os, sys; sys.path.insert(0, sys.argv[1]); import grade_sandbox\n' \
             'grade_sandbox.install_hook(lambda **event: print(event), [os.getcwd()], sys.argv[2] == "cut off"); print(os.system("echo curl"))'
    for cut_off, status, last in (('cut off', 0, '0'), ('', 1, "{'network': 'echo curl'}")):
        done = subprocess.run([sys.executable, '-c', script, str(Path(grade.__file__).parent), cut_off], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == status and done.stdout.splitlines()[-1] == last, done.stderr
        assert status == 0 or 'the grader allows no network (echo curl)' in done.stderr


def test_nothing_is_left_running(tmp_path):
    """Children that leave the session, and a shell's fork bomb, end with the run."""
    folder = tmp_path / 'python'
    folder.mkdir()
    (folder / 'nn.py').write_text('import subprocess\n'
                                  'subprocess.Popen(["setsid", "sleep", "4321"])\n'
                                  'subprocess.Popen(["sh", "-c", "f() { f | f & sleep 4321; }; f"])\nimport time; time.sleep(60)\n')
    ran = grade_sandbox.run({'question': 'Q2.1.2'}, folder, 5)
    assert ran.stopped in ('processes', 'time')
    time.sleep(0.2)
    left = [c for c in grade_sandbox.proc_files('cmdline') if c.startswith(b'sleep\x004321')]
    assert left == []


def test_printing_cannot_forge_results(tmp_path, desk):
    (tmp_path / 'nn.py').write_text('import sys\nfor n in ("rows are probabilities", "its input stays as it was"):\n'
                                    '    print(\'\\n{"end": "%s", "why": null}\' % n, flush=True)\n'
                                    '    print(\'\\n{"end": "%s", "why": null}\' % n, file=sys.stderr)\n')
    assert grade.grade(tmp_path, desk, only=['Q2.2.2'])['score'] == 0


def test_works_without_privileges(tmp_path):
    """With no capabilities, as an ordinary user has none, the same limits hold."""
    drop = ['setpriv', '--bounding-set', '-all'] if os.getuid() == 0 else []
    if drop and (not shutil.which('setpriv') or subprocess.run([*drop, 'true'], capture_output=True).returncode):
        pytest.skip('setpriv cannot drop capabilities here')
    folder = tmp_path / 'python'
    folder.mkdir()
    (folder / 'nn.py').write_text('import socket\nsocket.create_connection(("192.0.2.1", 80))\n')
    script = 'import sys, json; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import grade_sandbox\n' \
             'ran = grade_sandbox.run({"question": "Q2.1.2"}, Path(sys.argv[2]), 5); print(json.dumps([ran.events, ran.output]))'
    done = subprocess.run([*drop, sys.executable, '-c', script, str(Path(grade.__file__).parent), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    events, output = json.loads(done.stdout)
    assert {'network': '192.0.2.1:80'} in events and {'finished': True} in events, output


# ---------------------------------------------------------------- the command, reports, Gradescope

def command(*args, **kwargs):
    return subprocess.run([sys.executable, str(Path(grade.__file__)), *map(str, args)], capture_output=True, text=True, **kwargs)


def test_command_json_and_exit_status(tmp_path, desk):
    shutil.copytree(SUBMISSIONS / 'compact', tmp_path / 'good' / 'python')
    done = command(tmp_path / 'good', '--json', '--only', 'Q2.2.2', '--kit', desk.kit)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['score'] == 3
    nn = tmp_path / 'good' / 'python' / 'nn.py'
    nn.write_text(nn.read_text().replace('x = x - x.max', 'x -= x.max'))
    points = tmp_path / 'points.json'
    points.write_text('{"Q2.2.2": 6}')
    done = command(tmp_path / 'good', '--only', 'Q2.2.2', '--kit', desk.kit, '--points', points)
    assert done.returncode == 1 and '4 of 6' in done.stdout and 'changes its input' in done.stdout


def test_wrong_use_is_status_2(tmp_path, desk):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'points.json').write_text('{"Q9": 1}')
    for args, says in ([[], 'name one submission'], [['nowhere'], 'is not a folder'], [[tmp_path / 'empty', '--kit', desk.kit], 'holds none of nn.py'],
                       [['--all', tmp_path / 'empty'], 'no folders'], [[SUBMISSIONS / 'compact', '--points', tmp_path / 'points.json'], 'Q9'],
                       [[SUBMISSIONS / 'compact', '--kit', tmp_path / 'none.npz'], 'is missing'],
                       [[SUBMISSIONS / 'compact', '--kit', tmp_path / 'points.json'], 'the kit is no file of']):
        done = command(*args, env={**os.environ, 'TMPDIR': str(tmp_path)})
        assert not list(tmp_path.glob('grade_*'))
        assert done.returncode == 2 and says in done.stderr and 'Traceback' not in done.stderr, (args, done.stderr)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_ends_soon_and_leaves_nothing(tmp_path, desk, number):
    for name in 'abc':
        (tmp_path / 'all' / name).mkdir(parents=True)
        (tmp_path / 'all' / name / 'nn.py').write_text('open("begun", "w")\nwhile True: pass\n')
    (tmp_path / 'tmp').mkdir()
    process = subprocess.Popen([sys.executable, str(Path(grade.__file__)), '--all', str(tmp_path / 'all'), '--kit', str(desk.kit), '--seconds', '600',
                                '--out', str(tmp_path)], env={**os.environ, 'TMPDIR': str(tmp_path / 'tmp')}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not list(tmp_path.glob('tmp/**/begun')):
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number and not list((tmp_path / 'tmp').iterdir()) and not (tmp_path / 'grades.csv').exists()


NASTY = '<img src=x onerror=document.title=1>'


@pytest.fixture(scope='module')
def class_of_four(tmp_path_factory, desk):
    """Three submissions and something that is none, graded: (folder with grades.csv and report.html, what was printed)."""
    folder = tmp_path_factory.mktemp('class')
    for name in ('ann', NASTY):
        shutil.copytree(SUBMISSIONS / 'compact', folder / 'all' / name)
    nn = folder / 'all' / NASTY / 'nn.py'
    nn.write_text(nn.read_text().replace('def softmax(x):', 'def softmax(x):\n    '
                                      'raise ValueError("</li><script>document.title=1</script>\\x1b[2J\\udcff\\u202e")'))
    with zipfile.ZipFile(folder / 'all' / '=bob.zip', 'w') as archive:
        archive.write(SUBMISSIONS / 'loops' / 'nn.py', 'hw/=bob/python/nn.py')
    (folder / 'all' / 'nothing').mkdir()
    done = command('--all', folder / 'all', '--out', folder, '--kit', desk.kit, '--only', 'Q2.1.2', 'Q2.2.2')
    assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr
    return folder, done.stdout


def test_all_writes_csv(class_of_four):
    folder, printed = class_of_four
    rows = list(csv.DictReader(open(folder / 'grades.csv', newline='')))
    assert [(r['submission'], r['score'], r['Q2.2.2']) for r in rows] == [(NASTY, '3', '0'), ("'=bob.zip", '6', '3'), ('ann', '6', '3'), ('nothing', '0', '0')]
    assert 'holds none of' in rows[3]['notes']
    assert len(re.findall(r'^\[\d/4\] .* of 6, ', printed, re.M)) == 4 and '\x1b' not in printed


def test_report_shows_and_does_not_obey(class_of_four):
    text = (class_of_four[0] / 'report.html').read_text()
    assert '<img' not in text and text.count('<script>') == 1 and not re.search('[\x1b\u202e]', text)
    assert '&lt;img src=x' in text and '&lt;/li&gt;&lt;script&gt;' in text
    assert not re.search(r'(src|href)="(?!#)', text) and 'http' not in re.sub(r'http-equiv', '', text)


def test_report_in_a_browser(class_of_four, tmp_path):
    """On a telephone's width nothing sticks out, columns sort both ways, a name opens its details."""
    browser = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if browser is None:
        pytest.skip('no chromium')
    probe = """<script>
        const names = () => [...document.querySelectorAll('#grades tbody tr')].map(row => row.cells[0].textContent), said = {};
        said.width = [innerWidth, document.documentElement.scrollWidth];
        const button = column => document.querySelectorAll('#grades th button')[column];
        button(1).click(); said.up = names(); button(1).click(); said.down = names();
        button(0).click(); said.byName = names(); button(0).click(); said.byNameDown = names();
        document.querySelectorAll('#grades a')[1].click(); said.open = document.querySelectorAll('body > details[open]').length;
        said.title = document.title;
        parent.document.getElementById('said').textContent = JSON.stringify(said);
    </script></body>"""
    # a browser's own window cannot be as narrow as a telephone; a frame can
    report = (class_of_four[0] / 'report.html').read_text().replace('</body>', probe)
    page = tmp_path / 'telephone.html'
    page.write_text(f'<pre id="said"></pre><iframe style="width: 375px; height: 700px; border: 0" srcdoc="{html.escape(report)}"></iframe>')
    done = subprocess.run([browser, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path / "profile"}',
                           '--dump-dom', page.as_uri()], capture_output=True, text=True, timeout=60)
    said = json.loads(html.unescape(re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.S)[1]))
    assert said['width'][1] <= said['width'][0] == 375
    assert said['up'][0] == 'nothing' and said['up'][1] == NASTY and said['down'][-1] == 'nothing' and said['down'][-2] == NASTY
    assert said['byName'][-2:] == ['ann', 'nothing'] and said['byNameDown'] == said['byName'][::-1]
    assert said['open'] == 1 and said['title'] == 'Grades'


def test_gradescope_package(tmp_path, desk):
    """The autograder zip, unpacked where Gradescope unpacks it, grades a submission there."""
    done = subprocess.run(['bash', str(datasets.TOP / 'scripts' / 'package_grader.sh'), '--kit', str(desk.kit), '-o', str(tmp_path / 'autograder.zip')],
                          capture_output=True, text=True, env={**os.environ, 'PYTHON': sys.executable})
    assert done.returncode == 0, done.stderr
    root = tmp_path / 'autograder'
    with zipfile.ZipFile(tmp_path / 'autograder.zip') as archive:
        names = archive.namelist()
        assert {'setup.sh', 'run_autograder'} <= set(names) and 'nn.py' not in names     # no solution where students' code runs
        archive.extractall(root / 'source')
    (root / 'results').mkdir()
    shutil.copytree(SUBMISSIONS / 'compact', root / 'submission', ignore=shutil.ignore_patterns('run_*', 'q4.py'))
    shutil.copy(root / 'source' / 'run_autograder', root / 'run_autograder')
    env = {**os.environ, 'AUTOGRADER': str(root), 'PYTHON': sys.executable}
    done = subprocess.run(['bash', str(root / 'run_autograder')], capture_output=True, text=True, cwd=root, env=env)
    assert done.returncode == 0, done.stderr
    results = json.loads((root / 'results' / 'results.json').read_text())
    tests = {t['number']: t for t in results['tests']}
    assert tests['2.3.1']['score'] == tests['2.3.1']['max_score'] == 10 and tests['2.3.1']['visibility'] == 'visible'
    assert tests['4.2']['score'] == 0 and 'q4.py is missing' in tests['4.2']['output']
    assert tests['6']['max_score'] == 0 and results['score'] == 28
    assert all(set(t) == {'name', 'number', 'score', 'max_score', 'output', 'visibility'} for t in results['tests'])

    shutil.rmtree(root / 'submission')
    (root / 'submission').mkdir()
    done = subprocess.run(['bash', str(root / 'run_autograder')], capture_output=True, text=True, cwd=root, env=env)
    results = json.loads((root / 'results' / 'results.json').read_text())
    assert results['score'] == 0 and 'holds none of nn.py' in results['output']


@pytest.mark.real_data
def test_weights_are_judged_on_the_data_in_use(real_data_dir, tmp_path):
    grade.make_kit(tmp_path / 'kit.npz', datasets.Data(real_data_dir))
    kit = np.load(tmp_path / 'kit.npz')
    assert kit['x'].shape == (3600, 1024) and 'nist36' in str(kit['origin'])


def test_findletters_of_this_project_on_the_pages(desk):
    """The pages are fair: a good findLetters finds every character."""
    student = grade_checks.Student(experiment.CODE, modules={'q4': pytest.importorskip('q4')}, kit=desk.kit)
    for i in range(len(grade.PAGES)):
        boxes, order, hits, _, true = grade_scripts.ordered(student, i)
        assert order == '[y1, x1, y2, x2]' and hits == len(true) and len(boxes) <= hits + 1
