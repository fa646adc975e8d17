"""Activation functions and their derivatives, as the course gives them.

Every derivative but relu's takes the function's *output*, because that is what the forward pass has kept: for y = tanh(x), dy/dx = 1 - y².
(For relu either serves: y > 0 exactly where x > 0.)
"""
import numpy as np


def linear(x):
    """x, unchanged: the activation of a layer without one."""
    return x


def linear_deriv(post_act):
    """Ones, shaped like post_act and of its type."""
    return np.ones_like(post_act)


def tanh(x):
    """Hyperbolic tangent, elementwise."""
    return np.tanh(x)


def tanh_deriv(post_act):
    """d tanh(x)/dx = 1 - tanh(x)², from the output."""
    return 1 - post_act**2


def relu(x):
    """max(x, 0), elementwise."""
    return np.maximum(x, 0)


def relu_deriv(x):
    """1 where x > 0, else 0 (also at 0, where the derivative is not defined); a float array. Takes relu's input or its output."""
    return (x > 0).astype(x.dtype if x.dtype.kind == 'f' else float)
