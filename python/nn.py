"""A neural network by hand, in numpy alone.

A layer multiplies its input by a matrix, adds a bias and bends the result: y = g(XW + b), one example in each row of X. Stack a few, end in softmax, and
the last row-vector is a probability for each class. Training asks, for every weight, "would the loss fall if you grew?": the answer, the gradient, is
carried backwards from the loss through the layers by the chain rule, and every weight takes a small step downhill.

Everything a network knows is in one dict, `params`:

    params['W' + name], params['b' + name]     a layer's weights (in, out) and bias (out,): a key without an underscore is a parameter
    params['cache_' + name]                    what forward() saw and made, kept for backwards()
    params['grad_W' + name], ['grad_b' + name] the loss's gradient, summed over the batch
    params['m_W' + name], ...                  momentum: what update() remembers of earlier steps

The first eight functions, initialize_weights to get_random_batches, are questions 2.1 to 2.4 of the homework, with its signatures; what follows them is the
one training loop that questions 2, 3 and 5 share, and the gradient check. The handout's Q1.5 derives what backwards() computes.
"""
import numpy as np

from util import linear, linear_deriv, relu, relu_deriv, tanh, tanh_deriv


# ---------------------------------------------------------------- Q2.1: weights

def initialize_weights(in_size, out_size, params, name='', rng=None):
    """Put a fresh layer into params: W (in_size, out_size) and b (out_size,), float64.

    W is uniform in ±sqrt(6 / (in + out)), b is zero. That bound (Glorot & Bengio 2010, eq. 16) gives Var(W) = 2 / (in + out), which keeps the variance of
    the activations, forward, and of the gradients, backward, about the same from layer to layer.

    rng   a numpy.random.Generator, for repeatable weights; by default a fresh one
    """
    rng = np.random.default_rng() if rng is None else rng
    bound = np.sqrt(6 / (in_size + out_size))
    params['W' + name] = rng.uniform(-bound, bound, (in_size, out_size))
    params['b' + name] = np.zeros(out_size)


# ---------------------------------------------------------------- Q2.2: forward

def sigmoid(x):
    """1 / (1 + exp(-x)), elementwise, for any finite x.

    exp(-x) overflows for large negative x, so both halves are written with z = exp(-|x|), which lies in (0, 1]:
        x >= 0:  1 / (1 + z)        x < 0:  z / (1 + z), the same multiplied by z/z
    """
    z = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, z) / (1 + z)


def forward(X, params, name='', activation=sigmoid):
    """One layer, y = g(XW + b).

    X (N, in) -> y (N, out); keeps params['cache_' + name] = (X, pre_act, post_act) for backwards().
    """
    pre_act = X @ params['W' + name]
    pre_act += params['b' + name]
    post_act = activation(pre_act)
    params['cache_' + name] = (X, pre_act, post_act)
    return post_act


def softmax(x):
    """exp(x_i) / sum_j exp(x_j) per row; x (N, classes) is left as it was.

    A constant added to a row cancels between numerator and denominator (Q1.1). With c = -max(x) every exponent is <= 0: nothing overflows, and the sum is at
    least 1, so nothing is divided by zero.
    """
    with np.errstate(over='ignore'):    # a difference too wide for the type becomes -inf, and its exp the right 0
        e = np.exp(x - x.max(axis=1, keepdims=True))
    e /= e.sum(axis=1, keepdims=True)
    return e


def compute_loss_and_acc(y, probs):
    """Cross-entropy and accuracy of a batch.

    y       one-hot labels, (N, classes)
    probs   predicted probabilities, (N, classes)

    returns (loss, acc): loss = -sum over rows and classes of y log(probs), a sum and not a mean; acc the fraction of rows whose likeliest class is the true
    one. A probability of 0 counts as the smallest positive number of its type, so the loss stays finite.
    """
    smallest = np.finfo(probs.dtype if probs.dtype.kind == 'f' else float).tiny
    loss = -np.vdot(y, np.log(np.maximum(probs, smallest)))
    right = np.count_nonzero(y.argmax(axis=1) == probs.argmax(axis=1))
    return float(loss), right / len(y)


# ---------------------------------------------------------------- Q2.3: backward

def sigmoid_deriv(post_act):
    """The derivative of sigmoid from its output: with y = 1 / (1 + exp(-x)), dy/dx = exp(-x) / (1 + exp(-x))² = y (1 - y)."""
    return post_act * (1 - post_act)


def backwards(delta, params, name='', activation_deriv=sigmoid_deriv, *, input_grad=True):
    """Back-propagate through one layer, y = g(XW + b).

    With d = delta * g'(y), elementwise, and the chain rule on each scalar of XW + b (handout Q1.5):
        dL/dW_ij = sum_n X_ni d_nj          so dL/dW = X^T d
        dL/db_j  = sum_n d_nj               so dL/db = sum of d over the rows
        dL/dX_ni = sum_j d_nj W_ij          so dL/dX = d W^T

    delta             dL/dy, (N, out)
    params            holds what forward() left there; gets 'grad_W' + name and 'grad_b' + name, summed over the batch
    activation_deriv  g' as a function of the output y
    input_grad        False skips dL/dX, which nothing needs in the first layer and which costs as much as dL/dW

    returns dL/dX, (N, in), or None
    """
    X, _, post_act = params['cache_' + name]
    d = delta * activation_deriv(post_act)
    params['grad_W' + name] = X.T @ d
    params['grad_b' + name] = d.sum(axis=0)
    return d @ params['W' + name].T if input_grad else None


# ---------------------------------------------------------------- Q2.4: batches

def get_random_batches(x, y, batch_size, rng=None):
    """All rows of x (N, ...) and y (N, ...) in random order, cut into a list of (xb, yb).

    Every row is in exactly one batch, still beside its label; the last batch is shorter where batch_size does not divide N.
    """
    return list(shuffled_batches(x, y, batch_size, rng))


def shuffled_batches(x, y, batch_size, rng=None):
    """What get_random_batches() lists, a batch at a time as it is asked for: no copy of the whole set is made, and a batch is still in the cache when used."""
    rng = np.random.default_rng() if rng is None else rng
    order = rng.permutation(len(x))
    for i in range(0, len(x), batch_size):
        rows = order[i:i + batch_size]
        yield x.take(rows, axis=0), y.take(rows, axis=0)


# ---------------------------------------------------------------- the training loop of questions 2, 3 and 5

# softmax stands with linear_deriv: cross_entropy() below gives dLoss/d(pre_act) at once, so the output layer has nothing to multiply
DERIVATIVE = {sigmoid: sigmoid_deriv, tanh: tanh_deriv, relu: relu_deriv, linear: linear_deriv, softmax: linear_deriv}


def parameter_names(params):
    """The keys of params that are learnt: those without an underscore."""
    return [name for name in params if '_' not in name]


def predict(x, params, layers):
    """x (N, in) through all layers, a list of (name, activation); returns the last one's output."""
    for name, activation in layers:
        x = forward(x, params, name, activation)
    return x


def cross_entropy(probs, y):
    """Loss and accuracy of softmax outputs, and dLoss/d(pre_act) = probs - y (softmax and logarithm cancel to that)."""
    return *compute_loss_and_acc(y, probs), probs - y


def squared_error(out, target):
    """Total squared error, no accuracy (nan), and dLoss/d(out) = 2 (out - target)."""
    delta = out - target
    return float(np.vdot(delta, delta)), float('nan'), 2 * delta


def gradients(x, y, params, layers, loss_function=cross_entropy):
    """Forward and backward through all layers: leaves every 'grad_' in params, returns (loss, accuracy) of this batch."""
    loss, acc, delta = loss_function(predict(x, params, layers), y)
    for i, (name, activation) in reversed(list(enumerate(layers))):
        delta = backwards(delta, params, name, DERIVATIVE[activation], input_grad=i > 0)
    return loss, acc


def update(params, learning_rate, momentum=0.0, second=0.0):
    """One step of gradient descent on every parameter, in place.

    plain          W = W - learning_rate grad
    momentum       m = momentum m - learning_rate grad,  W = W + m (handout Q5.1.2): what consecutive gradients agree on adds up
    second > 0     Adam (Kingma & Ba 2015): m and v are running means of grad and grad², with memories momentum and second, W = W - learning_rate m / sqrt(v).
                   Every weight moves about learning_rate a step, whether its gradients are large or small. (Both means start at 0; their divisors undo that.)

    Keeps m and v in params['m_' + name] and ['v_' + name], the number of Adam's steps in ['t_' + name].
    """
    for name in parameter_names(params):
        grad = params['grad_' + name]
        if second:
            m = params['m_' + name] = momentum * params.get('m_' + name, 0) + (1 - momentum) * grad
            v = params['v_' + name] = second * params.get('v_' + name, 0) + (1 - second) * grad**2
            t = params['t_' + name] = params.get('t_' + name, 0) + 1
            params[name] -= learning_rate / (1 - momentum**t) * m / (np.sqrt(v / (1 - second**t)) + 1e-8)
            continue
        step = learning_rate * grad
        if momentum:
            m = params['m_' + name] = momentum * params.get('m_' + name, 0) - step
            params[name] += m
        else:
            params[name] -= step


def train_epoch(batches, params, layers, learning_rate, momentum=0.0, loss_function=cross_entropy, second=0.0):
    """One pass over batches, an iterable of (xb, yb). Returns (loss, accuracy), each the mean over all examples, as met on the way.

    momentum, second   of update(), which takes a step after each batch
    """
    total_loss = total_correct = count = 0
    for xb, yb in batches:
        loss, acc = gradients(xb, yb, params, layers, loss_function)
        update(params, learning_rate, momentum, second)
        total_loss, total_correct, count = total_loss + loss, total_correct + acc * len(xb), count + len(xb)
    return total_loss / count, total_correct / count


# ---------------------------------------------------------------- Q2.5: are the gradients right?

def numerical_gradient(params, name, loss, eps=1e-6):
    """dLoss/d(params[name]) by central differences, (f(w + eps) - f(w - eps)) / (2 eps), one scalar w at a time.

    loss   a function without arguments that computes the loss from params as they are

    Its error is of order eps² by truncation and 1e-16 loss / eps by rounding. Works on any parameter of any network; params is as before afterwards.
    """
    w = params[name]
    grad = np.zeros_like(w)
    for i in np.ndindex(w.shape):
        kept = w[i]
        w[i] = kept + eps
        above = loss()
        w[i] = kept - eps
        below = loss()
        w[i] = kept
        grad[i] = (above - below) / (2 * eps)
    return grad


def gradient_errors(params, loss, eps=1e-6):
    """Compare every params['grad_' + name] with central differences of loss.

    returns {name: (relative, absolute)}: the course's sum of |difference| / max(|numerical|, |analytic|) over the parameter's scalars, and the largest
    |difference|. A relative error alone says little where a gradient is nearly zero (saturated units): 1.3 % of random starts miss 1e-4 for that reason.
    """
    errors = {}
    for name in parameter_names(params):
        analytic = params['grad_' + name]
        numerical = numerical_gradient(params, name, loss, eps)
        difference = np.abs(numerical - analytic)
        scale = np.maximum(np.abs(numerical), np.abs(analytic))
        relative = np.divide(difference, scale, out=np.zeros_like(difference), where=scale > 0)
        errors[name] = (float(relative.sum()), float(difference.max()))
    return errors
