"""SM3: AdaGrad's sums in as many numbers as the axes are long.

For each array, with gradient g_t at step t = 1, 2, ...; a slice r is all that shares one index of
one axis (the rows and the columns of a matrix), and μ_0 = 0:

    ν_t(i) = min over the slices r with i of μ_{t-1}(r)  +  |g_t(i)|²
    u_t(i) = g_t(i) / sqrt(ν_t(i))
    μ_t(r) = max over the i in r of ν_t(i)

ν_t(i) is never below AdaGrad's sum of |g(i)|², so SM3 takes the shorter steps; it is close where
large gradients come in rows and columns, as those of embeddings do. For a vector each slice is a
single number, and SM3 is AdaGrad from zero without eps.

Reference: Anil et al., 2019, Algorithm SM3-II, https://arxiv.org/abs/1901.11150
"""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import StateDType
from ..core.factory import transformation
from ..core.shards import WholeShards
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, whole_arrays


class ScaleBySM3State(NamedTuple):
    """The largest sums of squares."""

    mu: Params  # the parameters' structure without a framework's boxes: for each array a tuple
    # with the μ_t of each axis, a vector as long as that axis; for a number the sum itself; real


@transformation
@leaf_wise
@whole_arrays
def scale_by_sm3(*, state_dtype: StateDType = None, axis_name: WholeShards = None) -> InitUpdate:
    """Divide by the root of an upper bound of AdaGrad's sums, kept for rows and columns only.

    A coordinate whose slices have had no gradient has update 0. There is no eps: optax adds 1e-8
    under the root.

    Args:
      state_dtype: dtype of the sums; by default the parameter's, but at least float32. In 16 bit
        they soon stop growing.
      axis_name: `()` inside of `jax.shard_map` where each shard is a whole; see
        `clip_by_global_norm`. Other shards are refused: its result is no sum over them.

    Returns:
      A transformation with state `ScaleBySM3State`: 4 (n + m) bytes for an n by m matrix in
      float32, 4 bytes a parameter for a vector.
    """

    def init(params: Params) -> ScaleBySM3State:
        def sums(p: Any) -> tuple[Array, ...]:
            full: Array = tree.zeros_like(p, state_dtype, real=True)
            # Sums of zeros, because only what is computed follows the sharding of the parameter.
            return tuple(jnp.sum(full, others) for others in _others(full.ndim))

        return ScaleBySM3State(tree.of_other_shapes(sums, params))

    def update(updates: Updates, state: ScaleBySM3State) -> tuple[Updates, State]:
        updates, mu = tree.lift(_sm3_rule, updates, state.mu)
        return updates, ScaleBySM3State(mu)

    return init, update


def _sm3_rule(g: Array, mu: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
    """(g_t, μ_{t-1}) -> (u_t, μ_t)."""
    bounds = [jnp.expand_dims(m, others) for m, others in zip(mu, _others(g.ndim), strict=True)]
    nu = functools.reduce(jnp.minimum, bounds) + numerics.abs_sq(g)
    mu = tuple(jnp.max(nu, others, initial=0.0) for others in _others(g.ndim))
    return numerics.divide(g, numerics.root(nu)), mu


def _others(ndim: int) -> list[tuple[int, ...]]:
    """For each axis the other ones; no axes for a number, which is a slice of its own."""
    return [tuple(j for j in range(ndim) if j != i) for i in range(ndim)] or [()]
