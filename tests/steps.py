"""Ten steps with changing gradients and parameters, and how far apart two runs of them are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 10
SHAPES = {"kernel": (3, 4), "bias": (5,), "temperature": ()}
# Gradients grow and shrink from step to step, so that clipping sets in and lets go again.
_SIZES = (1.0, 0.1, 3.0, 0.03, 0.3, 10.0, 0.01, 1.0, 0.1, 0.3)


@functools.cache
def inputs(grad_dtype="float32", param_dtype="float32"):
    """The gradients and the parameters of each step: two lists of dicts of NumPy arrays.

    One coordinate never has a gradient, and one has none for three steps.
    """
    rng = np.random.default_rng(20)
    complex_ = np.issubdtype(np.dtype(param_dtype), np.complexfloating)

    def normal(shape):
        x = rng.normal(size=shape)
        return np.asarray(x + 1j * rng.normal(size=shape) if complex_ else x)

    grads, params = [], []
    w = {k: normal(shape) for k, shape in SHAPES.items()}
    for t, size in enumerate(_SIZES):
        g = {k: size * normal(shape) for k, shape in SHAPES.items()}
        g["bias"][0] = 0.0
        g["bias"][1] *= t > 2
        grads.append({k: x.astype(grad_dtype) for k, x in g.items()})
        params.append({k: x.astype(param_dtype) for k, x in w.items()})
        w = {k: x + 0.1 * normal(x.shape) for k, x in w.items()}
    return grads, params


def updates_of(tx, grads, params, between=None, *, jit=True, **extra):
    """The update of each step; `between(t, state)` may change the state before step t."""
    update = jax.jit(tx.update) if jit else tx.update
    state, updates = tx.init(jax.tree.map(jnp.asarray, params[0])), []
    for t, (g, w) in enumerate(zip(grads, params, strict=True)):
        if between is not None:
            state = between(t, state)
        g, w = jax.tree.map(jnp.asarray, (g, w))
        u, state = update(g, state, w, **extra)
        updates.append(u)
    return updates


def first(tx, grads, params=None, **extra):
    """The first update, eagerly; the parameters are zeros unless they are given."""
    params = jax.tree.map(jnp.zeros_like, grads) if params is None else params
    return tx.update(grads, tx.init(params), params, **extra)[0]


def widened(trees):
    """The same numbers in NumPy's double precision."""

    def wide(x):
        x = np.asarray(x)
        return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)

    return [{k: wide(x) for k, x in tree.items()} for tree in trees]


def distance(actual, expected):
    """The largest error of any array at any step, in units of that array's largest element."""
    worst = 0.0
    for a, b in zip(widened(actual), widened(expected), strict=True):
        assert a.keys() == b.keys()
        for k in b:
            assert a[k].shape == b[k].shape
            error, size = np.max(abs(a[k] - b[k])), np.max(abs(b[k]))
            assert not np.isnan(error)
            worst = max(worst, error / size if size else (np.inf if error else 0.0))
    return worst
