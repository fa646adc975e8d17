# ruff: noqa
import copy
import numpy as np
from nn import *
from util import *

g = [np.random.multivariate_normal(m, np.diag(v), 10) for m, v in
     [((3.6, 40), (0.05, 10)), ((3.9, 10), (0.01, 5)), ((3.4, 30), (0.25, 5)), ((2.0, 10), (0.5, 10))]]
x = np.vstack(g)
y = np.kron(np.eye(4), np.ones((10, 1)))
params = {}
initialize_weights(2, 25, params, 'layer1')
initialize_weights(25, 4, params, 'output')

max_iters = 500
learning_rate = 1e-3
for itr in range(max_iters):
    total_loss, accs = 0, []
    for xb, yb in get_random_batches(x, y, 5):
        h1 = forward(xb, params, 'layer1')
        probs = forward(h1, params, 'output', softmax)
        loss, acc = compute_loss_and_acc(yb, probs)
        total_loss += loss
        accs.append(acc)
        delta1 = probs
        delta1[np.arange(probs.shape[0]), yb.argmax(axis=1)] -= 1
        delta2 = backwards(delta1, params, 'output', linear_deriv)
        backwards(delta2, params, 'layer1', sigmoid_deriv)
        for k in ('Wlayer1', 'blayer1', 'Woutput', 'boutput'):
            params[k] -= learning_rate * params['grad_' + k]
    if itr % 100 == 0:
        print("itr: {:02d} \t loss: {:.2f} \t acc : {:.2f}".format(itr, total_loss, np.mean(accs)))

def current_loss():
    return compute_loss_and_acc(y, forward(forward(x, params, 'layer1'), params, 'output', softmax))[0]

probs = forward(forward(x, params, 'layer1'), params, 'output', softmax)
delta = backwards(probs - y, params, 'output', linear_deriv)
backwards(delta, params, 'layer1', sigmoid_deriv)
params_orig = copy.deepcopy(params)
eps = 1e-6
for k, v in params.items():
    if '_' in k:
        continue
    for i in np.ndindex(v.shape):
        v[i] += eps
        above = current_loss()
        v[i] -= 2 * eps
        below = current_loss()
        v[i] += eps
        params['grad_' + k][i] = (above - below) / (2 * eps)

total_error = 0
for k in [k for k in params if k.startswith('grad_')]:
    err = np.abs(params[k] - params_orig[k]) / np.maximum(np.abs(params[k]), np.abs(params_orig[k]))
    total_error += err.sum()
print('total {:.2e}'.format(total_error))
