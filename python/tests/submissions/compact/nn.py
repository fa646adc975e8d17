# ruff: noqa
# A correct submission in few lines; the tests break it in one place at a time.
import numpy as np
from util import *

def initialize_weights(in_size, out_size, params, name=''):
    bound = np.sqrt(6 / (in_size + out_size))
    params['W' + name] = np.random.uniform(-bound, bound, (in_size, out_size))
    params['b' + name] = np.zeros(out_size)

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def forward(X, params, name='', activation=sigmoid):
    W, b = params['W' + name], params['b' + name]
    pre_act = X @ W + b
    post_act = activation(pre_act)
    params['cache_' + name] = (X, pre_act, post_act)
    return post_act

def softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True)

def compute_loss_and_acc(y, probs):
    loss = -np.sum(y * np.log(probs + 1e-300))
    acc = np.mean(y.argmax(axis=1) == probs.argmax(axis=1))
    return loss, acc

def sigmoid_deriv(post_act):
    return post_act * (1.0 - post_act)

def backwards(delta, params, name='', activation_deriv=sigmoid_deriv):
    W, b = params['W' + name], params['b' + name]
    X, pre_act, post_act = params['cache_' + name]
    d = delta * activation_deriv(post_act)
    grad_W = X.T @ d
    grad_b = d.sum(axis=0)
    grad_X = d @ W.T
    params['grad_W' + name] = grad_W
    params['grad_b' + name] = grad_b
    return grad_X

def get_random_batches(x, y, batch_size):
    order = np.random.permutation(len(x))
    batches = []
    for i in range(0, len(x), batch_size):
        chosen = order[i:i + batch_size]
        batches.append((x[chosen], y[chosen]))
    return batches
