"""Gradients without their mean, or without their length.

    centralize    u_i = g_i - mean(g_i)      for each output unit i, over its inputs
    normalize     u = g / |g|                with |g| the norm over all arrays of the tree

A centralized gradient keeps the sum of each unit's weights where it is. A normalized one keeps
the direction only: the learning rate is the length of the step.

References:
  Yong et al., 2020, equation 1, https://arxiv.org/abs/2004.01461
  Hazan, Levy & Shalev-Shwartz, 2015, Algorithm 1, https://arxiv.org/abs/1507.02030
"""

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import NonNegative
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName, WholeShards
from ..core.types import InitUpdate, State, Updates, leaf_wise, no_state, whole_arrays
from .norms import Axis, summed_axes


@transformation
@leaf_wise
@whole_arrays
def centralize_gradients(*, axis: Axis = None, axis_name: WholeShards = None) -> InitUpdate:
    """Subtract from each output unit's gradient its mean over the inputs (GC).

    Vectors and scalars pass as they are. Put it first, where the gradient comes in.

    Args:
      axis: the axes of the inputs; by default all but the last, as in JAX's kernels (in, out) and
        (height, width, in, out). optax averages over all but the first, which are the inputs in
        torch's layout.
      axis_name: `()` inside of `jax.shard_map` where each shard is a whole; see
        `clip_by_global_norm`. Other shards are refused: its result is no sum over them.
    """

    def update(updates: Updates, state: State) -> tuple[Updates, State]:
        return tree.lift(_centralize_rule, updates, axis=axis), state

    return no_state, update


def _centralize_rule(g: Array, *, axis: Axis) -> Array:
    if g.ndim < 2 or g.size == 0:
        return g
    inputs = summed_axes(g, axis, tuple(range(g.ndim - 1)))
    return g - jnp.mean(g, axis=inputs, keepdims=True)


@transformation
@whole_arrays
def normalize_by_global_norm(eps: NonNegative = 0.0, *, axis_name: AxisName = None) -> InitUpdate:
    """Divide all updates by their global norm, so that they have length 1 together.

    The norm is right in all the range of float32: updates of 1e25, or of 1e-25, get length 1, too.

    Args:
      eps: added to the norm, in units of the gradient; updates well below it stay short. Updates
        of zeros stay zeros even if `eps` is 0, which is the default; optax's is 1e-6.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.
    """

    def update(updates: Updates, state: State) -> tuple[Updates, State]:
        norm = numerics.global_norm(updates)
        return tree.lift(_normalize_rule, updates, norm=norm, eps=eps), state

    return no_state, update


def _normalize_rule(g: Array, *, norm: Array, eps: Value) -> Array:
    return numerics.divide(g, norm, eps)
