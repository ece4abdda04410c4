"""Problems that the laws are tested on: awkward trees, and gradients that change each step.

Most laws run eagerly: JAX compiles each operation once for all rows of the catalog, which is much
faster than compiling every row.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import CATALOG, Row
from jax import lax

import gradxform as gx

NARROW = ("float16", "bfloat16")
FLOATS = (*NARROW, "float32", "float64")

# An optimizer is a chain of the blocks and wrappers of other rows, so a law about trees, types or
# placement that holds for those and for some chains holds for it: `test_every_optimizer_is_made_
# of_rows` in test_laws_value.py. What depends on numbers is tested on every row.
CHAINS = ("sgd", "adamw", "adafactor", "lamb", "polyak_sgd", "prodigy", "sophia")
STRUCTURAL = tuple(row for row in CATALOG if row.kind != "optimizer" or row.name in CHAINS)

every_row = pytest.mark.parametrize("row", CATALOG, ids=str)
every_structure = pytest.mark.parametrize("row", STRUCTURAL, ids=str)


def rows(keep: Callable[[Row], Any], among: Iterable[Row] = CATALOG) -> pytest.MarkDecorator:
    """Parametrize over the rows that have a trait."""
    chosen = [row for row in among if keep(row)]
    assert chosen, "no row has this trait"
    return pytest.mark.parametrize("row", chosen, ids=str)


def structures(keep: Callable[[Row], Any]) -> pytest.MarkDecorator:
    """Parametrize over the blocks, wrappers and chains that have a trait."""
    return rows(keep, STRUCTURAL)


class Layer(NamedTuple):
    """A container that occurs nowhere else, so that a state's buffers can be told by it."""

    kernel: Any
    bias: Any


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Numbers of about unit size, rounded once to the dtype; NumPy's, so nothing is compiled."""
    x = rng.standard_normal(shape)
    if jnp.issubdtype(dtype, np.complexfloating):
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x).astype(jnp.dtype(dtype))


def normal(shape: tuple[int, ...], dtype: Any = "float32", seed: int = 0) -> jax.Array:
    """Numbers of about unit size, rounded once to the dtype."""
    return jnp.asarray(draw(np.random.default_rng(seed), shape, dtype))


def awkward(dtype: Any = "float32", seed: int = 0) -> Any:
    """Every container, a leaf of every rank, one of size 0 and one that is missing."""
    return {
        "layer": Layer(normal((3, 4), dtype, seed), normal((4,), dtype, seed + 1)),
        "list": [normal((), dtype, seed + 2), (None, normal((2, 1, 3), dtype, seed + 3))],
        "empty": normal((0, 3), dtype, seed),
    }


def small(dtype: Any = "float32", seed: int = 0) -> dict[str, jax.Array]:
    """A matrix and a scalar: the least that tells leaves apart, for what must be compiled."""
    return {"w": normal((4, 3), dtype, seed), "s": normal((), dtype, seed + 1)}


def one_leaf_per_dtype(dtypes: Iterable[str], seed: int = 0) -> dict[str, jax.Array]:
    """One vector of each dtype, so that one run tests all of them."""
    return {dtype: normal((6,), dtype, seed + i) for i, dtype in enumerate(dtypes)}


def gradients(params: Any, steps: int = 5, seed: int = 1) -> Any:
    """Different gradients for several steps, stacked along a new first axis, as NumPy arrays."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: draw(rng, (steps, *np.shape(p)), p.dtype), params)


def at(stacked: Any, index: int) -> Any:
    """One of the stacked trees."""
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[index]), stacked)


def stack(trees: Iterable[Any]) -> Any:
    """One tree of many, with a new first axis, as NumPy arrays."""
    return jax.tree.map(lambda *x: np.stack(x), *trees)


def times(c: complex, tree: Any) -> Any:
    """A tree multiplied by a number, as NumPy arrays in single precision."""

    def one(x: Any) -> np.ndarray:
        x = c * np.asarray(x)
        return np.asarray(x).astype("complex64" if np.iscomplexobj(x) else "float32")

    return jax.tree.map(one, tree)


def follow(tx: Any, params: Any, grads: Any, extra: dict[str, Any] | None = None) -> Any:
    """Train over stacked gradients: the stacked updates, and the last parameters and state."""
    state, history = tx.init(params), []
    for t in range(len(jax.tree.leaves(grads)[0])):
        updates, state = tx.update(at(grads, t), state, params, **(extra or {}))
        params = gx.apply_updates(params, updates)
        history.append(updates)
    return stack(history), params, state


def scan(tx: Any, params: Any, grads: Any, extra: dict[str, Any] | None = None) -> Any:
    """`follow` as one program."""

    def step(carry: Any, g: Any) -> Any:
        params, state = carry
        updates, state = tx.update(g, state, params, **(extra or {}))
        return (gx.apply_updates(params, updates), state), updates

    last, updates = lax.scan(step, (params, tx.init(params)), grads)
    return updates, *last


def nodes(tree: Any) -> Iterator[Any]:
    """Every container of a tree and every leaf."""
    yield tree
    for child in jax.tree.leaves(tree, is_leaf=lambda x: x is not tree):
        if child is not tree:
            yield from nodes(child)


def types(tree: Any) -> Any:
    """What a compiled program depends on: structure, shapes, dtypes and weak types."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(x.shape, x.dtype, x.weak_type) for x in leaves]


def assert_equal(actual: Any, expected: Any) -> None:
    """Two trees of arrays are the same bit for bit, NaN included."""
    _compare(actual, expected, np.testing.assert_array_equal)


def assert_close(actual: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Two trees of arrays agree within a tolerance."""

    def compare(a: np.ndarray, e: np.ndarray) -> None:
        np.testing.assert_allclose(a, e, rtol=rtol, atol=atol)

    _compare(actual, expected, compare)


def _compare(actual: Any, expected: Any, compare: Callable[[Any, Any], None]) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        compare(_wide(a), _wide(e))


def _wide(x: Any) -> np.ndarray:
    """As NumPy's own widest dtype: its tests know no bfloat16."""
    x = np.asarray(x)
    return x.astype("complex128") if np.iscomplexobj(x) else x.astype("float64")
