# ruff: noqa
# A correct submission that loops over everything and vectorises nothing.
import math, random
import numpy as np
from util import *

def initialize_weights(in_size, out_size, params, name=''):
    limit = math.sqrt(6) / math.sqrt(in_size + out_size)
    W, b = np.empty((in_size, out_size)), np.empty(out_size)
    for j in range(out_size):
        b[j] = 0
        for i in range(in_size):
            W[i, j] = random.random() * 2 * limit - limit
    params['W' + name], params['b' + name] = W, b

def sigmoid(x):
    res = np.zeros(x.shape)
    for i, v in np.ndenumerate(x):
        if v >= 0:
            res[i] = 1 / (1 + math.exp(-v))
        else:
            res[i] = math.exp(v) / (1 + math.exp(v))
    return res

def forward(X, params, name='', activation=sigmoid):
    W, b = params['W' + name], params['b' + name]
    pre_act = np.zeros((X.shape[0], W.shape[1]))
    for n in range(X.shape[0]):
        for j in range(W.shape[1]):
            pre_act[n, j] = b[j]
            for i in range(W.shape[0]):
                pre_act[n, j] += X[n, i] * W[i, j]
    post_act = activation(pre_act)
    params['cache_' + name] = (X, pre_act, post_act)
    return post_act

def softmax(x):
    res = np.zeros(x.shape)
    for n in range(len(x)):
        c = -max(x[n])
        s = [math.exp(v + c) for v in x[n]]
        for k in range(len(s)):
            res[n, k] = s[k] / sum(s)
    return res

def compute_loss_and_acc(y, probs):
    loss, right = 0, 0
    for n in range(len(y)):
        true = list(y[n]).index(1)
        loss -= math.log(max(probs[n][true], 1e-12))
        if list(probs[n]).index(max(probs[n])) == true:
            right += 1
    return loss, right / len(y)

def sigmoid_deriv(post_act):
    return post_act - post_act * post_act

def backwards(delta, params, name='', activation_deriv=sigmoid_deriv):
    W, b = params['W' + name], params['b' + name]
    X, pre_act, post_act = params['cache_' + name]
    grad_W, grad_b, grad_X = np.zeros(W.shape), np.zeros(b.shape), np.zeros(X.shape)
    slope = activation_deriv(post_act)
    for n in range(len(X)):
        for j in range(W.shape[1]):
            d = delta[n, j] * slope[n, j]
            grad_b[j] += d
            for i in range(W.shape[0]):
                grad_W[i, j] += X[n, i] * d
                grad_X[n, i] += W[i, j] * d
    params['grad_W' + name] = grad_W
    params['grad_b' + name] = grad_b
    return grad_X

def get_random_batches(x, y, batch_size):
    left = list(range(x.shape[0]))
    batches = []
    while left:
        chosen = random.sample(left, min(batch_size, len(left)))
        for c in chosen:
            left.remove(c)
        batches.append([np.array([x[c] for c in chosen]), np.array([y[c] for c in chosen])])
    return batches
