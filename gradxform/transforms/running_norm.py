"""Division by the norm that an array's gradients have had: one number a layer (NovoGrad).

For each array, with gradient g_t at step t = 1, 2, ... and |g| its Euclidean norm:

    v_1 = |g_1|²
    v_t = decay v_{t-1} + (1 - decay) |g_t|²
    u_t = g_t / (sqrt(v_t) + eps)

Every array's update has about norm 1, whatever its size, and its coordinates keep their
proportions. Starting from |g_1|² takes the place of a bias correction.

Reference: Ginsburg et al., 2019, Algorithm 1, https://arxiv.org/abs/1905.11286
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import Decay, NonNegative
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, whole_arrays


class NormMoment(NamedTuple):
    """The second moment of one array's norm."""

    v: Array  # v_t: 0-d, real


class ScaleByRunningNormState(NamedTuple):
    """One number an array, and one counter for all of them."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    nu: Params  # the parameters' structure without a framework's boxes: a `NormMoment` an array


@transformation
@leaf_wise
@whole_arrays
def scale_by_running_norm(
    decay: Decay = 0.98, eps: NonNegative = 1e-8, *, axis_name: AxisName = None
) -> InitUpdate:
    """Divide the gradient of each array by the root of a moving average of its squared norm.

    In float32 an array stands still from the first gradient on whose norm is above about 1e19: its
    square is infinite.

    Args:
      decay: the part of the average that each step keeps, in [0, 1).
      eps: added to the root, in units of the gradient's norm. A gradient of zeros has update 0
        even if `eps` is 0.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleByRunningNormState`: one scalar for each array.
    """

    def init(params: Params) -> ScaleByRunningNormState:
        return ScaleByRunningNormState(
            count=jnp.zeros((), jnp.int32), nu=tree.of_other_shapes(_zero, params)
        )

    def update(updates: Updates, state: ScaleByRunningNormState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        updates, nu = tree.lift(
            _running_norm_rule, updates, state.nu, decay=decay, eps=eps, first=t == 1
        )
        return updates, ScaleByRunningNormState(t, nu)

    return init, update


def _zero(p: Any) -> NormMoment:
    dtype = p.dtype if hasattr(p, "dtype") else jnp.result_type(p)
    return NormMoment(jnp.zeros((), numerics.real_dtype(jax.dtypes.canonicalize_dtype(dtype))))


def _running_norm_rule(
    g: Array, nu: NormMoment, *, decay: Value, eps: Value, first: Array
) -> tuple[Array, NormMoment]:
    """(g_t, v_{t-1}) -> (u_t, v_t)."""
    square = numerics.array_sum(numerics.abs_sq(g))
    v = jnp.where(first, square, numerics.ema(nu.v, square, decay))
    return numerics.divide(g, numerics.root(v), eps), NormMoment(v)
