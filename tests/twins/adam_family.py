"""Adam's next of kin, each step as its paper writes it."""

import math
from decimal import Decimal, localcontext

import numpy as np

from .foundation import decay_of, root, scale_by_adam
from .memory import each_array


def descend(u, learning_rate):
    return {k: -learning_rate * x for k, x in u.items()}


def descend_and_decay(u, w, learning_rate, weight_decay, mask):
    """Loshchilov & Hutter 2019: the decay is added after the scaling."""
    lam = decay_of(weight_decay, mask, w)
    return {k: -learning_rate * (u[k] + lam[k] * w[k]) for k in u}


def nadam(s, g, w, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0):
    u = scale_by_adam(s, g, w, b1, b2, eps, eps_root, nesterov=True)
    return descend(u, learning_rate)


def nadamw(
    s,
    g,
    w,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.01,
    eps_root=0.0,
    mask=None,
):
    u = scale_by_adam(s, g, w, b1, b2, eps, eps_root, nesterov=True)
    return descend_and_decay(u, w, learning_rate, weight_decay, mask)


@each_array
def scale_by_amsgrad(s, g, w, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, bias_correction=None):
    """Reddi 2018, algorithm 2, and the two ways in which libraries correct its averages."""
    s.t = s.t + 1
    s.m = b1 * s.m + (1 - b1) * g
    s.v = b2 * s.v + (1 - b2) * abs(g) ** 2
    m, v = s.m, s.v
    if bias_correction is not None:
        m = m / s.weight(b1=b1)
    if bias_correction == "before":
        v = v / s.weight(b2=b2)
    s.v_hat = np.maximum(s.v_hat, v)
    v = s.v_hat
    if bias_correction == "after":
        v = v / s.weight(b2=b2)
    return m / root(v, eps, eps_root)


def amsgrad(s, g, w, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, bias_correction=None):
    u = scale_by_amsgrad(s, g, w, b1, b2, eps, eps_root, bias_correction)
    return descend(u, learning_rate)


@each_array
def scale_by_adamax(s, g, w, b1=0.9, b2=0.999, eps=1e-8):
    """Kingma & Ba 2015, algorithm 2, with eps, which keeps u_t above zero."""
    s.t = s.t + 1
    s.m = b1 * s.m + (1 - b1) * g
    s.u = np.maximum(b2 * s.u, abs(g) + eps)
    return s.m / s.weight(b1=b1) / s.u


def adamax(s, g, w, learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    return descend(scale_by_adamax(s, g, w, b1, b2, eps), learning_rate)


def adamaxw(s, g, w, learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.01, mask=None):
    u = scale_by_adamax(s, g, w, b1, b2, eps)
    return descend_and_decay(u, w, learning_rate, weight_decay, mask)


def lengths_of(s, b2):
    """ρ_t and ρ, with 60 digits: a small ρ_t is the difference of large numbers.

    Of a decay that has changed, ρ_t is that of the constant with the same product by t.
    """
    with localcontext(prec=60):
        beta, t = Decimal(float(b2)), int(s.t)
        s.product = beta * (s.product or 1)
        rho_inf, mean = 2 / (1 - beta) - 1, s.product ** (1 / Decimal(t))
        rho = 2 / (1 - mean) - 1 - 2 * t * s.product / (1 - s.product)
        return float(min(rho, rho_inf)), float(rho_inf)


@each_array
def scale_by_radam(s, g, w, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=4.0):
    """Liu 2020, algorithm 2."""
    s.t = s.t + 1
    s.v = b2 * s.v + (1 - b2) * abs(g) ** 2
    s.m = b1 * s.m + (1 - b1) * g
    m_hat, v_hat = s.m / s.weight(b1=b1), s.v / s.weight(b2=b2)
    rho, rho_inf = lengths_of(s, b2)
    if rho > threshold:
        size = root(v_hat, eps, eps_root)
        r = math.sqrt(((rho - 4) * (rho - 2) * rho_inf) / ((rho_inf - 4) * (rho_inf - 2) * rho))
        return r * m_hat / size
    return m_hat


def radam(s, g, w, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=4.0):
    return descend(scale_by_radam(s, g, w, b1, b2, eps, eps_root, threshold), learning_rate)


@each_array
def scale_by_belief(s, g, w, b1=0.9, b2=0.999, eps=1e-16):
    """Zhuang 2020, algorithm 2."""
    s.t = s.t + 1
    s.m = b1 * s.m + (1 - b1) * g
    s.s = b2 * s.s + (1 - b2) * abs(g - s.m) ** 2 + eps
    m_hat = s.m / s.weight(b1=b1)
    s_hat = s.s / s.weight(b2=b2)
    return m_hat / (np.sqrt(s_hat) + eps)


def adabelief(s, g, w, learning_rate, b1=0.9, b2=0.999, eps=1e-16, weight_decay=0.0, mask=None):
    u = scale_by_belief(s, g, w, b1, b2, eps)
    return descend_and_decay(u, w, learning_rate, weight_decay, mask)


@each_array
def scale_by_yogi(
    s,
    g,
    w,
    b1=0.9,
    b2=0.999,
    eps=1e-3,
    eps_root=0.0,
    initial_accumulator_value=0.0,
    bias_correction=False,
):
    """Zaheer 2018, algorithm 2; the correction is Adam's."""
    if not s.t:
        s.v = initial_accumulator_value
    s.t = s.t + 1
    square = abs(g) ** 2
    s.m = b1 * s.m + (1 - b1) * g
    s.v = s.v - (1 - b2) * np.sign(s.v - square) * square
    if bias_correction:
        return s.m / s.weight(b1=b1) / root(s.v / s.weight(b2=b2), eps, eps_root)
    return s.m / root(s.v, eps, eps_root)


def yogi(
    s,
    g,
    w,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-3,
    eps_root=0.0,
    initial_accumulator_value=0.0,
    bias_correction=False,
):
    u = scale_by_yogi(s, g, w, b1, b2, eps, eps_root, initial_accumulator_value, bias_correction)
    return descend(u, learning_rate)
