# ruff: noqa
# A correct submission as they often look: everything through np.dot, np.expand_dims, np.split, shuffled zips.
import numpy as np
from util import *
# do not include any more libraries here!

def initialize_weights(in_size, out_size, params, name=''):
    W, b = None, None
    high = (6.0 / (in_size + out_size)) ** 0.5
    W = np.random.rand(in_size, out_size) * 2 * high - high
    b = np.zeros((out_size,))
    params['W' + name] = W
    params['b' + name] = b

def sigmoid(x):
    res = None
    res = np.where(x > 0, 1.0 / (1.0 + np.exp(-np.maximum(x, 0))), np.exp(np.minimum(x, 0)) / (1.0 + np.exp(np.minimum(x, 0))))
    return res

def forward(X, params, name='', activation=sigmoid):
    pre_act, post_act = None, None
    W = params['W' + name]
    b = params['b' + name]
    pre_act = np.dot(X, W) + np.expand_dims(b, 0)
    post_act = activation(pre_act)
    params['cache_' + name] = (X, pre_act, post_act)
    return post_act

def softmax(x):
    res = None
    c = -np.max(x, axis=1)
    numerator = np.exp((x.T + c).T)
    res = np.divide(numerator, np.tile(np.sum(numerator, 1).reshape(-1, 1), (1, x.shape[1])))
    return res

def compute_loss_and_acc(y, probs):
    loss, acc = None, None
    p = np.clip(probs, 1e-15, 1)
    loss = -np.sum(np.log(np.sum(p * y, axis=1)))
    hits = np.zeros(y.shape[0])
    hits[np.argmax(y, 1) == np.argmax(probs, 1)] = 1
    acc = np.sum(hits) / float(hits.shape[0])
    return loss, acc

def sigmoid_deriv(post_act):
    res = post_act * (1.0 - post_act)
    return res

def backwards(delta, params, name='', activation_deriv=sigmoid_deriv):
    grad_X, grad_W, grad_b = None, None, None
    W = params['W' + name]
    b = params['b' + name]
    X, pre_act, post_act = params['cache_' + name]
    delta = np.multiply(delta, activation_deriv(post_act))
    grad_W = np.einsum('ni,nj->ij', X, delta)
    grad_b = np.dot(delta.T, np.ones((X.shape[0], 1))).flatten()
    grad_X = np.dot(W, delta.T).T
    params['grad_W' + name] = grad_W
    params['grad_b' + name] = grad_b
    return grad_X

def get_random_batches(x, y, batch_size):
    both = np.hstack((x, y))
    np.random.shuffle(both)
    n = int(np.ceil(both.shape[0] / batch_size))
    return [(piece[:, :x.shape[1]], piece[:, x.shape[1]:]) for piece in np.array_split(both, n)]
