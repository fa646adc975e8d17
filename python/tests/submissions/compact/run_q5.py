# ruff: noqa
from collections import Counter
import numpy as np
import scipy.io
import matplotlib.pyplot as plt
from nn import *

train_x = scipy.io.loadmat('../data/nist36_train.mat')['train_data']
valid_x = scipy.io.loadmat('../data/nist36_valid.mat')['valid_data']
max_iters = 100
batch_size = 36
learning_rate = 3e-5
hidden_size = 32
batches = get_random_batches(train_x, np.ones((train_x.shape[0], 1)), batch_size)
params = Counter()
layers = ['layer1', 'hidden', 'hidden2', 'output']
initialize_weights(1024, hidden_size, params, 'layer1')
initialize_weights(hidden_size, hidden_size, params, 'hidden')
initialize_weights(hidden_size, hidden_size, params, 'hidden2')
initialize_weights(hidden_size, 1024, params, 'output')

for itr in range(max_iters):
    total_loss = 0
    for xb, _ in batches:
        h = forward(xb, params, 'layer1', relu)
        h = forward(h, params, 'hidden', relu)
        h = forward(h, params, 'hidden2', relu)
        out = forward(h, params, 'output', sigmoid)
        total_loss += np.sum((out - xb) ** 2)
        delta = 2 * (out - xb)
        delta = backwards(delta, params, 'output', sigmoid_deriv)
        for name in ('hidden2', 'hidden', 'layer1'):
            delta = backwards(delta, params, name, relu_deriv)
        for name in layers:
            for k in ('W' + name, 'b' + name):
                params['m_' + k] = 0.9 * params['m_' + k] - learning_rate * params['grad_' + k]
                params[k] += params['m_' + k]
    if itr % 20 == 19:
        learning_rate *= 0.9
plt.plot([1, 2])
plt.show()
