"""Bounds on the length of each array, and of each unit's part of it.

For each array g, with |g| its Euclidean norm and RMS(g) = |g| / sqrt(n) for n numbers:

    by block norm    u = g min(1, c / |g|)
    by block RMS     u = g min(1, c / RMS(g))                        as Adafactor bounds its steps
    adaptive         u_i = g_i min(1, λ max(|w_i|, eps) / |g_i|)     for each unit i of weights w

A global norm scales all arrays by one factor, so a single wild layer slows down the rest; here
each layer, or each unit, answers for itself. In exchange the direction of the step changes.

References:
  Pascanu, Mikolov & Bengio, 2013, Algorithm 1, https://arxiv.org/abs/1211.5063
  Shazeer & Stern, 2018, section 6, https://arxiv.org/abs/1804.04235
  Brock et al., 2021, equation 3 (AGC), https://arxiv.org/abs/2102.06171
"""

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import Mask, NonNegative, Positive
from ..core.factory import transformation
from ..core.mask import mask_tree
from ..core.numerics import Value
from ..core.shards import AxisName, WholeShards
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, no_state, whole_arrays
from .norms import Axis, block_norm, block_rms, fan_in, summed_axes


@transformation
@leaf_wise
@whole_arrays
def clip_by_block_norm(max_norm: Positive, *, axis_name: AxisName = None) -> InitUpdate:
    """Scale each array by a factor of its own so that its norm is at most max_norm.

    In float32 an array whose norm is above about 1e19 becomes zeros: its square is infinite.

    Arrays within the bound pass bit for bit; a coordinate that is not finite spoils its own array
    only.

    Args:
      max_norm: the bound c on the norm of each array, in units of the gradient.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.
    """

    def update(updates: Updates, state: State) -> tuple[Updates, State]:
        return tree.lift(_block_norm_rule, updates, max_norm=max_norm), state

    return no_state, update


def _block_norm_rule(g: Array, *, max_norm: Value) -> Array:
    return _factor(block_norm(g), max_norm) * g


@transformation
@leaf_wise
@whole_arrays
def clip_by_block_rms(max_rms: Positive = 1.0, *, axis_name: AxisName = None) -> InitUpdate:
    """Scale each array so that its root-mean-square is at most max_rms.

    In float32 an array whose norm is above about 1e19 becomes zeros: its square is infinite.

    Behind a scaling that makes coordinates of about unit size, the bound 1 cuts the steps
    that an outdated second moment makes too long.

    Args:
      max_rms: the bound c, in units of the update that comes in. 1 is Adafactor's, where it is
        called d; optax has no default.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.
    """

    def update(updates: Updates, state: State) -> tuple[Updates, State]:
        return tree.lift(_block_rms_rule, updates, max_rms=max_rms), state

    return no_state, update


def _block_rms_rule(g: Array, *, max_rms: Value) -> Array:
    return _factor(block_rms(g), max_rms) * g


@transformation
@leaf_wise
@whole_arrays
def adaptive_gradient_clip(
    clipping: Positive = 0.01,
    eps: NonNegative = 1e-3,
    *,
    axis: Axis = None,
    mask: Mask = None,
    axis_name: WholeShards = None,
) -> InitUpdate:
    """Bound each unit's gradient by a fraction of the norm of its weights (AGC).

    In float32 a unit whose gradient's norm is above about 1e19 gets zeros: its square is infinite.

    A unit is what feeds one output: a column of a kernel (in, out), one head's column of a
    projection (in, heads, size), a filter of a convolution (..., in, out), a vector as a whole.

    Args:
      clipping: λ, the largest ratio of a gradient's norm to its weights'. 0.01 is the paper's for
        batches of 4096; smaller batches bear more. optax has no default.
      eps: floor of the weights' norm, in units of the parameters, so that units that start at
        zero can move. With 0 they never do.
      axis: the axes that one norm sums over, for arrays with at least two axes in another layout;
        a 1-d convolution (width, in, out) needs `axis=(0, 1)`.
      mask: which arrays are clipped: a tree or prefix tree of bools, or a function from the
        parameters to one. The paper leaves the last, linear layer out.
      axis_name: `()` inside of `jax.shard_map` where each shard is a whole; see
        `clip_by_global_norm`. Other shards are refused: its result is no sum over them.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        chosen = mask_tree("adaptive_gradient_clip", mask, params)
        updates = tree.lift(
            _adaptive_rule,
            updates,
            params=params,
            where=chosen,
            clipping=clipping,
            eps=eps,
            axis=axis,
        )
        return updates, state

    return no_state, update


def _adaptive_rule(g: Array, *, p: Array, clipping: Value, eps: Value, axis: Axis) -> Array:
    axes = summed_axes(p, axis, fan_in(p))
    g_norm, p_norm = (
        numerics.root(jnp.sum(numerics.abs_sq(x), axis=axes, keepdims=True)) for x in (g, p)
    )
    return _factor(g_norm, clipping * jnp.maximum(p_norm, eps)) * g


def _factor(size: Array, bound: Value) -> Array:
    """min(1, bound / size), exactly 1 within the bound; NaN where the size is NaN."""
    one = jnp.ones_like(size)
    within = size <= bound
    return jnp.where(within, one, bound / jnp.where(within, one, size))
