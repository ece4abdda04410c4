"""The first blocks, optimizers and ways to combine them.

A twin is one step, `(s, g, w, **hyperparameters) -> u`: what it remembers (everything starts at
zero), the gradients and the parameters, both by name. Hyperparameters are numbers by then.
"""

import math

import numpy as np

from .memory import each_array

# Steps along the gradient


@each_array
def identity(s, g, w):
    return g


@each_array
def scale(s, g, w, factor):
    return factor * g


@each_array
def scale_by_learning_rate(s, g, w, learning_rate):
    """Robbins & Monro 1951."""
    return -learning_rate * g


@each_array
def scale_by_momentum(s, g, w, momentum=0.9, nesterov=False):
    """Polyak 1964, equation 9, with the velocity before the learning rate; Nesterov's form as in
    Sutskever 2013, equations 3 and 4, rewritten for the parameters that the gradient is taken at.
    """
    s.v = momentum * s.v + g
    return momentum * s.v + g if nesterov else s.v


def sgd(s, g, w, learning_rate, momentum=None, nesterov=False):
    if momentum is not None:
        g = scale_by_momentum(s, g, w, momentum, nesterov)
    return {k: -learning_rate * g[k] for k in g}


# Steps over their own size


def root(v, eps, eps_root):
    return np.sqrt(v + eps_root) + eps


@each_array
def scale_by_rss(s, g, w, initial_accumulator_value=0.0, eps=1e-10, eps_root=0.0):
    """Duchi 2011, figure 1, diagonal: g / (δ + sqrt(sum of g²))."""
    if not s.started:
        s.started, s.sum = True, initial_accumulator_value
    s.sum = s.sum + abs(g) ** 2
    return g / root(s.sum, eps, eps_root)


@each_array
def scale_by_rms(
    s, g, w, decay=0.9, eps=1e-8, centered=False, eps_root=0.0, initial_accumulator_value=0.0
):
    """Graves 2013, equations 38 to 40: n and g there are v and m here; eps there is under the
    root.
    """
    if not s.started:
        s.started, s.v = True, initial_accumulator_value
    s.v = decay * s.v + (1 - decay) * abs(g) ** 2
    s.m = decay * s.m + (1 - decay) * g
    variance = s.v - abs(s.m) ** 2 if centered else s.v
    return g / root(variance, eps, eps_root)


@each_array
def scale_by_adam(
    s, g, w, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=False, bias_correction=True
):
    """Kingma & Ba 2015, algorithm 1; Nesterov's form as in Dozat 2016, algorithm 2, with a constant
    μ and without the factor that it puts on v.
    """
    s.t = s.t + 1
    s.m = b1 * s.m + (1 - b1) * g
    s.v = b2 * s.v + (1 - b2) * abs(g) ** 2
    if not bias_correction:
        return (b1 * s.m + (1 - b1) * g if nesterov else s.m) / root(s.v, eps, eps_root)
    c1 = s.weight(b1=b1)
    m_hat = s.m / c1
    if nesterov:
        m_hat = b1 * s.m / (1 - b1 * (1 - c1)) + (1 - b1) * g / c1
    v_hat = s.v / s.weight(b2=b2)
    return m_hat / root(v_hat, eps, eps_root)


@each_array
def scale_by_lion(s, g, w, b1=0.9, b2=0.99):
    """Chen 2023, algorithm 2."""
    c = b1 * s.m + (1 - b1) * g
    s.m = b2 * s.m + (1 - b2) * g
    return np.sign(c)


def adagrad(s, g, w, learning_rate, initial_accumulator_value=0.0, eps=1e-10, eps_root=0.0):
    u = scale_by_rss(s, g, w, initial_accumulator_value, eps, eps_root)
    return {k: -learning_rate * u[k] for k in g}


def rmsprop(
    s,
    g,
    w,
    learning_rate,
    decay=0.9,
    eps=1e-8,
    centered=False,
    eps_root=0.0,
    initial_accumulator_value=0.0,
    momentum=None,
    nesterov=False,
):
    squares = s.of("squares")
    u = scale_by_rms(squares, g, w, decay, eps, centered, eps_root, initial_accumulator_value)
    return sgd(s.of("velocity"), u, w, learning_rate, momentum, nesterov)


def adam(s, g, w, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, bias_correction=True):
    u = scale_by_adam(s, g, w, b1, b2, eps, eps_root, bias_correction=bias_correction)
    return {k: -learning_rate * u[k] for k in g}


def adamw(
    s,
    g,
    w,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.01,
    eps_root=0.0,
    bias_correction=True,
    mask=None,
):
    """Loshchilov & Hutter 2019, algorithm 2 with α = 1, so that η is the learning rate."""
    u = scale_by_adam(s, g, w, b1, b2, eps, eps_root, bias_correction=bias_correction)
    lam = decay_of(weight_decay, mask, w)
    return {k: -learning_rate * (u[k] + lam[k] * w[k]) for k in g}


def lion(s, g, w, learning_rate, b1=0.9, b2=0.99, weight_decay=1e-3, mask=None):
    u, lam = scale_by_lion(s, g, w, b1, b2), decay_of(weight_decay, mask, w)
    return {k: -learning_rate * (u[k] + lam[k] * w[k]) for k in g}


# Decay and clipping


def decay_of(weight_decay, mask, w):
    """λ of each array: 0 where the mask, a tree or a function of the parameters, says False."""
    chosen = mask(w) if callable(mask) else mask or dict.fromkeys(w, True)
    return {k: weight_decay if chosen[k] else 0.0 for k in w}


def add_decoupled_weight_decay(s, g, w, weight_decay=0.01, mask=None):
    lam = decay_of(weight_decay, mask, w)
    return {k: g[k] + lam[k] * w[k] for k in g}


def add_l2_regularization(s, g, w, l2=1e-4, mask=None):
    """The gradient of l2/2 |w|²."""
    lam = decay_of(l2, mask, w)
    return {k: g[k] + lam[k] * w[k] for k in g}


@each_array
def clip_by_value(s, g, w, max_value):
    if np.iscomplexobj(g):
        real, imag = (np.minimum(np.maximum(x, -max_value), max_value) for x in (g.real, g.imag))
        return real + 1j * imag
    return np.minimum(np.maximum(g, -max_value), max_value)


def clip_by_global_norm(s, g, w, max_norm, on_nonfinite="propagate"):
    """Pascanu 2013, algorithm 1, for finite gradients."""
    norm = math.sqrt(sum(np.sum(abs(x) ** 2) for x in g.values()))
    if norm >= max_norm:
        return {k: max_norm / norm * g[k] for k in g}
    return g


# Combination


def chain(s, g, w, *links):
    for link in links:
        g = link(g, w)
    return g


def named_chain(s, g, w, *links):
    return chain(s, g, w, *(link for _, link in links))
