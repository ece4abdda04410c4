"""Random keys for the arrays of a tree."""

from typing import Any

import jax


def keys_like(key: jax.Array, updates: Any) -> Any:
    """A random key of its own for each array of `updates`, an absent one among them counted."""
    leaves, structure = jax.tree.flatten(updates, is_leaf=lambda x: x is None)
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree.unflatten(structure, list(keys)[: len(leaves)])
