"""What bounds, centers or disturbs the gradient before it is used."""

import functools
import hashlib
import math

import jax
import numpy as np

from .memory import each_array


def norm(x):
    return math.sqrt(np.sum(abs(x) ** 2))


def rms(x):
    return norm(x) / math.sqrt(x.size)


@each_array
def clip_by_block_norm(s, g, w, max_norm):
    """Pascanu 2013, algorithm 1, for one array."""
    return max_norm / norm(g) * g if norm(g) > max_norm else g


@each_array
def clip_by_block_rms(s, g, w, max_rms=1.0):
    """Shazeer & Stern 2018, section 6: U / max(1, RMS(U) / d)."""
    return g / max(1.0, rms(g) / max_rms)


def units(x, axis):
    """The axes that belong to one output unit, in the layout of JAX's kernels."""
    if axis is not None and x.ndim > 1:
        return axis
    if np.squeeze(x).ndim <= 1:
        return tuple(range(x.ndim))
    return 0 if x.ndim in (2, 3) else tuple(range(x.ndim - 1))


def chosen_by(mask, w):
    """What a mask, a tree or a function of the parameters, says of each array."""
    return mask(w) if callable(mask) else mask or dict.fromkeys(w, True)


def adaptive_gradient_clip(s, g, w, clipping=0.01, eps=1e-3, axis=None, mask=None):
    """Brock 2021, equation 3, for each unit i: λ |W_i|* / |G_i| G_i if |G_i| / |W_i|* > λ."""
    chosen = chosen_by(mask, w)

    def clip(g, w):
        over = units(w, axis)
        g_norm = np.sqrt(np.sum(abs(g) ** 2, axis=over, keepdims=True))
        w_norm = np.maximum(np.sqrt(np.sum(abs(w) ** 2, axis=over, keepdims=True)), eps)
        too_long = g_norm / w_norm > clipping
        return np.where(too_long, clipping * w_norm / np.where(too_long, g_norm, 1.0) * g, g)

    return {k: clip(g[k], w[k]) if chosen[k] else g[k] for k in g}


@each_array
def centralize_gradients(s, g, w, axis=None):
    """Yong 2020, equation 1: each output unit's gradient minus its mean over the inputs."""
    if g.ndim < 2:
        return g
    over = tuple(range(g.ndim - 1)) if axis is None else axis
    return g - np.mean(g, axis=over, keepdims=True)


def add_gradient_noise(s, g, w, eta=0.01, gamma=0.55, seed=0):
    """Neelakantan 2015, equation 1: N(0, σ²) with σ² = η / (1 + t)^γ, t = 0, 1, ...

    The normal numbers are JAX's, from a key for each step and path.
    """
    t = int(s.t)
    s.t = t + 1
    sigma = math.sqrt(eta / (1 + t) ** gamma)
    step_key = jax.random.fold_in(jax.random.key(seed), t)

    def key_of(path):
        digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
        words = (int.from_bytes(half, "big") for half in (digest[:4], digest[4:]))
        return functools.reduce(jax.random.fold_in, words, step_key)

    def noise(key, x):
        if np.iscomplexobj(x):
            parts = jax.random.normal(key, (2, *x.shape), "float32")
            return np.asarray(parts[0] + 1j * parts[1], np.complex128) / math.sqrt(2)
        return np.asarray(jax.random.normal(key, x.shape, "float32"), np.float64)

    return {k: g[k] + sigma * noise(key_of(k), g[k]) for k in g}


def normalize_by_global_norm(s, g, w, eps=0.0):
    length = math.sqrt(sum(np.sum(abs(x) ** 2) for x in g.values())) + eps
    return {k: x / length if length else x for k, x in g.items()}
