"""Random numbers that belong to the run, the block, the array and the step.

A block keeps a seed in its state: the one that it was given, mixed with its place among the parts
of the whole. An array's key is made of that and the array's path. Places and paths are hashed by
functions that give the same in every process.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from . import position, tree

# How states call the data of a random key where it is a plain array, as Optax's do.
_RAW_KEYS = ("key", "rng", "rng_key")


_DRAWN: ContextVar[list[tuple[Any, position.Path]] | None] = ContextVar("_DRAWN", default=None)


@contextlib.contextmanager
def seeds_drawn() -> Iterator[list[tuple[Any, position.Path]]]:
    """The seeds that are asked for here, each with the place that it is mixed with."""
    found: list[tuple[Any, position.Path]] = []
    token = _DRAWN.set(found)
    try:
        yield found
    finally:
        _DRAWN.reset(token)


def own_seed(seed: Any) -> jax.Array:
    """The seed that a block begins with, to be called in its `init`: int32, from 0 on.

    It is `seed` itself for a transformation that stands alone or first, and else differs from that
    of all other parts of the whole.
    """
    place = position.here()
    while place and place[-1] == "0":  # no part begins where another ends
        place = place[:-1]
    drawn = _DRAWN.get()
    if drawn is not None:
        drawn.append((seed, place))
    mixed = jnp.array(seed, jnp.int32, copy=True)
    return mixed ^ np.int32(_words(place)[0] >> 1) if place else mixed


def keys_like(key: jax.Array, updates: Any) -> Any:
    """A random key for each array of `updates`, made of `key` and the array's path."""
    leaves = tree_flatten_with_path(tree.unboxed(updates), is_leaf=lambda x: x is None)[0]
    structure: Any = jax.tree.structure(updates, is_leaf=lambda x: x is None)
    words = [_words([keystr(path, simple=True, separator="/")]) for path, _ in leaves]
    keys: list[Any] = []
    if words:
        fold = jax.vmap(jax.random.fold_in)
        first, second = np.array(words, np.uint32).T
        keys = list(fold(jax.vmap(jax.random.fold_in, (None, 0))(key, first), second))
    return jax.tree.unflatten(structure, keys)


def of_run(state: Any, key: jax.Array) -> Any:
    """A state whose random numbers are those of a run, which has this key.

    The key is mixed into every random key of the state, also where one stands as a plain array
    called `key`, `rng` or `rng_key`, and into every whole number called `seed`.
    """
    word = jax.random.bits(key, (), jnp.uint32)

    def mixed(path: Any, x: Any) -> Any:
        name = _name(path)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.fold_in(x, word) if x.ndim == 0 else x
        if name in _RAW_KEYS and x.dtype == jnp.uint32 and x.ndim == 1:
            return jax.random.key_data(jax.random.fold_in(jax.random.wrap_key_data(x), word))
        if name == "seed" and jnp.issubdtype(x.dtype, np.integer):
            return x ^ (word >> np.uint32(1)).astype(x.dtype)
        return x

    return jax.tree.map_with_path(mixed, state)


def _words(names: Iterable[str]) -> tuple[int, int]:
    """64 bits of names."""
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")


def _name(path: Any) -> str:
    return keystr(path[-1:], simple=True) if path else ""
