"""Second moments in less than a number a parameter."""

import math

import numpy as np

from .foundation import decay_of
from .layerwise import descend
from .memory import each_array
from .shaping import clip_by_block_rms, rms


def factored_axes(shape, smallest):
    """The two largest axes, if both have at least `smallest` elements: (rows, columns)."""
    if len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=lambda axis: (shape[axis], axis))
    columns, rows = order[-1], order[-2]
    return (rows, columns) if shape[rows] >= smallest else None


@each_array
def scale_by_factored_rms(
    s,
    g,
    w,
    decay_rate=0.8,
    decay=None,
    eps=1e-30,
    decay_offset=0,
    factored=True,
    min_dim_size_to_factor=128,
):
    """Shazeer & Stern 2018, algorithms 4 and 5, with β = 1 - t^-decay_rate of section 7.2."""
    s.t = s.t + 1
    t = max(s.t - decay_offset, 1)
    beta = 1 - t**-decay_rate if decay is None else decay
    square = abs(g) ** 2 + eps
    axes = factored_axes(g.shape, min_dim_size_to_factor) if factored else None
    if axes is None:
        s.v = beta * s.v + (1 - beta) * square
        v = s.v
    else:
        rows, columns = axes
        s.r = beta * s.r + (1 - beta) * np.sum(square, axis=columns, keepdims=True)
        s.c = beta * s.c + (1 - beta) * np.sum(square, axis=rows, keepdims=True)
        v = s.r * s.c / np.sum(s.r, axis=rows, keepdims=True)
    return np.where(v > 0, g / np.sqrt(np.where(v > 0, v, 1.0)), 0.0)


@each_array
def scale_by_parameter_rms(s, g, w, min_scale=1e-3):
    """Shazeer & Stern 2018, section 8: max(ε2, RMS(X)) U."""
    return max(min_scale, rms(w)) * g


@each_array
def scale_by_ema(s, g, w, momentum=0.9, debias=False):
    s.t, s.m = s.t + 1, momentum * s.m + (1 - momentum) * g
    return s.m / s.weight(momentum=momentum) if debias else s.m


def adafactor(
    s,
    g,
    w,
    learning_rate=None,
    decay_rate=0.8,
    decay=None,
    eps=1e-30,
    max_rms=1.0,
    min_scale=1e-3,
    momentum=None,
    weight_decay=0.0,
    decay_offset=0,
    factored=True,
    min_dim_size_to_factor=128,
    mask=None,
):
    """Shazeer & Stern 2018, algorithm 4: α_t = max(ε2, RMS(X)) ρ_t, ρ_t = min(1e-2, 1/sqrt(t))."""
    s.t = s.t + 1
    rate = min(1e-2, 1 / math.sqrt(s.t)) if learning_rate is None else learning_rate
    u = scale_by_factored_rms(
        s.of("v"), g, w, decay_rate, decay, eps, decay_offset, factored, min_dim_size_to_factor
    )
    if max_rms is not None:
        u = clip_by_block_rms(s, u, w, max_rms)
    if min_scale is not None:
        u = scale_by_parameter_rms(s, u, w, min_scale)
    if momentum is not None:
        u = scale_by_ema(s.of("m"), u, w, momentum)
    lam = decay_of(weight_decay, mask, w)
    return descend(rate, {k: u[k] + lam[k] * w[k] for k in g})


@each_array
def scale_by_sm3(s, g, w):
    """Anil 2019, algorithm SM3-II, with one cover set for each index of each axis."""
    sets = [(axis, i) for axis in range(g.ndim) for i in range(g.shape[axis])] or [()]
    mu = s.__dict__.setdefault("mu", dict.fromkeys(sets, 0.0))
    new, u = dict.fromkeys(sets, 0.0), np.zeros(g.shape, g.dtype)
    for index in np.ndindex(g.shape):
        covering = list(enumerate(index)) or [()]
        nu = min(mu[r] for r in covering) + abs(g[index]) ** 2
        u[index] = g[index] / math.sqrt(nu) if nu else 0.0
        for r in covering:
            new[r] = max(new[r], nu)
    s.mu = new
    return u


def sm3(s, g, w, learning_rate, momentum=0.9):
    """Anil 2019, section 5: SM3-II with momentum, m = β m + (1 - β) u."""
    u = scale_by_sm3(s.of("mu"), g, w)
    return descend(learning_rate, scale_by_ema(s.of("m"), u, w, momentum) if momentum else u)
