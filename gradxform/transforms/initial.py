"""The parameters as training found them, and how far they have come since."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.types import Params, Updates


def initial(params: Params) -> Params:
    """Copies of the parameters: in their own dtype, which loses nothing, and sharded like them."""

    def copy(p: Any) -> Array:
        return jnp.array(p, jnp.result_type(p), copy=True)

    return jax.tree.map(copy, params)


def distance(params: Params, start: Params) -> Array:
    """The Euclidean distance of two trees with the same dtypes, summed in at least float32."""
    return numerics.root(numerics.global_sum(lambda p, p0: numerics.abs_sq(p - p0), params, start))


def descent(updates: Updates, params: Params, start: Params) -> Array:
    """<g, x_0 - x>: by how much the gradients say that the way back to the start goes uphill."""
    terms, _ = tree.lift(_descent_rule, updates, start, params=params)
    return numerics.global_sum(jnp.real, terms)


def _descent_rule(g: Array, p0: Array, *, p: Array) -> tuple[Array, Array]:
    return jnp.sum(jnp.real(jnp.conj(g) * (p0 - p))), p0
