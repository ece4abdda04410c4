"""Work that is done on some steps only, and stays a branch under `vmap`."""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.custom_batching import custom_vmap


@custom_vmap
def for_any(due: Array) -> Array:
    """Whether any member of a batch is due: the predicate to give to `lax.cond`.

    `vmap` turns a condition that differs between members into a selection, which computes both
    branches on every step. One that is the same for all members stays a branch. The branch taken
    must then itself leave the members alone that are not due, by selecting with `due`.
    """
    return due


@for_any.def_vmap
def _for_any_batched(size: int, batched: Any, due: Array) -> tuple[Array, bool]:
    del size, batched
    return for_any(jnp.any(due, axis=0)), False
