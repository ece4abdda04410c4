"""What came after Adam, each step as its paper writes it.

Where a paper's β is the weight of the new value, as in Adan, b = 1 - β here.
"""

import math

import numpy as np

from .adam_family import descend, descend_and_decay
from .foundation import decay_of, root, scale_by_adam, scale_by_momentum
from .memory import each_array


@each_array
def scale_by_adan(s, g, w, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=0.0):
    """Xie 2022, algorithm 1, from zero and with the bias corrections of the authors' code."""
    s.t = s.t + 1
    beta_1, beta_2, beta_3 = 1 - b1, 1 - b2, 1 - b3
    difference = g - s.g if s.t > 1 else 0 * g
    s.m = (1 - beta_1) * s.m + beta_1 * g
    s.v = (1 - beta_2) * s.v + beta_2 * difference
    s.n = (1 - beta_3) * s.n + beta_3 * abs(g + (1 - beta_2) * difference) ** 2
    s.g = g
    m, v, n = s.m / s.weight(b1=b1), s.v / s.weight(b2=b2), s.n / s.weight(b3=b3)
    return (m + (1 - beta_2) * v) / root(n, eps, eps_root)


def adan(
    s,
    g,
    w,
    learning_rate,
    b1=0.98,
    b2=0.92,
    b3=0.99,
    eps=1e-8,
    eps_root=0.0,
    weight_decay=0.02,
    mask=None,
):
    u = scale_by_adan(s, g, w, b1, b2, b3, eps, eps_root)
    return descend_and_decay(u, w, learning_rate, weight_decay, mask)


@each_array
def scale_by_adadelta(s, g, w, rho=0.95, eps=1e-6):
    """Zeiler 2012, algorithm 1, with the minus sign left out."""
    s.g2 = rho * s.g2 + (1 - rho) * abs(g) ** 2
    delta = np.sqrt(s.x2 + eps) / np.sqrt(s.g2 + eps) * g
    s.x2 = rho * s.x2 + (1 - rho) * abs(delta) ** 2
    return delta


def adadelta(s, g, w, learning_rate=1.0, rho=0.95, eps=1e-6):
    return descend(scale_by_adadelta(s, g, w, rho, eps), learning_rate)


@each_array
def scale_by_running_norm(s, g, w, decay=0.98, eps=1e-8):
    """Ginsburg 2019, algorithm 1, the second moment of a layer."""
    s.t = s.t + 1
    square = np.sum(abs(g) ** 2)
    s.v = square if s.t == 1 else decay * s.v + (1 - decay) * square
    return g / (np.sqrt(s.v) + eps)


def novograd(
    s,
    g,
    w,
    learning_rate,
    momentum=0.95,
    decay=0.98,
    eps=1e-8,
    weight_decay=0.0,
    mask=None,
):
    """Ginsburg 2019, algorithm 1: m = β1 m + (g / (sqrt(v) + eps) + d w), β1 the momentum."""
    u, d = scale_by_running_norm(s.of("norm"), g, w, decay, eps), decay_of(weight_decay, mask, w)
    u = {k: u[k] + d[k] * w[k] for k in u}
    return descend(scale_by_momentum(s.of("momentum"), u, w, momentum), learning_rate)


@each_array
def scale_by_laprop(s, g, w, b1=0.9, b2=0.999, eps=1e-15):
    """Ziyin 2020, algorithm 1, with b1 for μ and b2 for ν."""
    s.t = s.t + 1
    s.n = b2 * s.n + (1 - b2) * abs(g) ** 2
    s.m = b1 * s.m + (1 - b1) * g / (np.sqrt(s.n / s.weight(b2=b2)) + eps)
    return s.m / s.weight(b1=b1)


def laprop(s, g, w, learning_rate, b1=0.9, b2=0.999, eps=1e-15, weight_decay=0.0, mask=None):
    u = scale_by_laprop(s, g, w, b1, b2, eps)
    return descend_and_decay(u, w, learning_rate, weight_decay, mask)


@each_array
def scale_by_ademamix(s, g, w, b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-8, eps_root=0.0):
    """Pagliardini 2024, algorithm 1."""
    s.t = s.t + 1
    s.m1 = b1 * s.m1 + (1 - b1) * g
    s.m2 = b3 * s.m2 + (1 - b3) * g
    s.v = b2 * s.v + (1 - b2) * abs(g) ** 2
    m1_hat = s.m1 / s.weight(b1=b1)
    v_hat = s.v / s.weight(b2=b2)
    return (m1_hat + alpha * s.m2) / root(v_hat, eps, eps_root)


def ademamix(
    s,
    g,
    w,
    learning_rate,
    b1=0.9,
    b2=0.999,
    b3=0.9999,
    alpha=5.0,
    eps=1e-8,
    eps_root=0.0,
    weight_decay=0.0,
    mask=None,
):
    u = scale_by_ademamix(s, g, w, b1, b2, b3, alpha, eps, eps_root)
    return descend_and_decay(u, w, learning_rate, weight_decay, mask)


@each_array
def scale_by_adopt(s, g, w, b1=0.9, b2=0.9999, eps=1e-6, clip_exponent=0.25):
    """Taniguchi 2024, algorithm 2, where g_0 sets v_0 and nothing else."""
    if not s.started:
        s.started, s.t, s.v = True, 0, abs(g) ** 2
        return 0 * g
    s.t = s.t + 1
    x = g / np.maximum(np.sqrt(s.v), eps)
    if clip_exponent is not None:
        x = x * np.minimum(1.0, s.t**clip_exponent / np.maximum(abs(x), 1e-300))
    s.m = b1 * s.m + (1 - b1) * x
    s.v = b2 * s.v + (1 - b2) * abs(g) ** 2
    return s.m


def adopt(
    s,
    g,
    w,
    learning_rate,
    b1=0.9,
    b2=0.9999,
    eps=1e-6,
    clip_exponent=0.25,
    weight_decay=0.0,
    mask=None,
):
    u = scale_by_adopt(s, g, w, b1, b2, eps, clip_exponent)
    return descend_and_decay(u, w, learning_rate, weight_decay, mask)


@each_array
def reduce_gradient_variance(s, g, w, gamma=0.025, b1=0.95, max_norm=1.0):
    """Yuan 2024, algorithm 2, lines 4 and 5, with the approximation of section 3.4."""
    previous = s.g if s.started else g  # x_1 = x_0
    s.started, s.g = True, g
    c = g + gamma * b1 / (1 - b1) * (g - previous)
    norm = math.sqrt(np.sum(abs(c) ** 2))
    return c / norm * max_norm if max_norm is not None and norm > max_norm else c


def scale_by_mars(s, g, w, b1=0.95, b2=0.99, eps=1e-8, gamma=0.025, max_norm=1.0):
    """Yuan 2024, algorithm 2, lines 6 to 8 but for the decay."""
    c = reduce_gradient_variance(s.of("difference"), g, w, gamma, b1, max_norm)
    return scale_by_adam(s.of("adam"), c, w, b1, b2, eps)


def mars(
    s,
    g,
    w,
    learning_rate,
    b1=0.95,
    b2=0.99,
    eps=1e-8,
    gamma=0.025,
    max_norm=1.0,
    weight_decay=0.0,
    mask=None,
):
    u = scale_by_mars(s, g, w, b1, b2, eps, gamma, max_norm)
    return descend_and_decay(u, w, learning_rate, weight_decay, mask)
