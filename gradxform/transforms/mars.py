"""Gradients with less noise: each corrected by its change from the one before (MARS).

For each array, with gradient g_t at step t = 1, 2, ... and g_0 = g_1:

    c_t = g_t + gamma b1 / (1 - b1) (g_t - g_{t-1})
    u_t = c_t min(1, max_norm / |c_t|)

with |c_t| the Euclidean norm of the array. A mean of the c_t with decay b1 lags less behind the
gradient of the current parameters than a mean of the g_t: with gamma = 1 and both gradients from
the same batch, it is STORM, whose noise falls as the parameters settle. This is the paper's
approximation (MARS-approx), where g_{t-1} is the gradient that was computed at the step before, on
another batch; it costs no second gradient, and calls for a small gamma.

It goes in front of any scaling with a momentum of decay b1: in front of Adam it is MARS-AdamW
(`scale_by_mars` is both in one, with one b1), in front of Lion MARS-Lion. The authors' code takes
g_0 to be zero, which makes the first c_t 1 + gamma b1 / (1 - b1) times as long.

Reference: Yuan et al., 2024, Algorithms 1 and 2, https://arxiv.org/abs/2411.10438
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import CorrectedDecay, Decay, NonNegative, Positive, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, whole_arrays_where
from .adam import adam_rule
from .adan import change_of_gradient


class ReduceGradientVarianceState(NamedTuple):
    """The gradient of the step before."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    previous_gradient: Params  # g_t: structure and shapes of the parameters


class ScaleByMarsState(NamedTuple):
    """Adam's averages, and the gradient of the step before."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # v_t: likewise, real, never negative
    previous_gradient: Params  # g_t: likewise


@transformation
@leaf_wise
@whole_arrays_where(lambda arguments: arguments["max_norm"] is not None)
def reduce_gradient_variance(
    gamma: NonNegative = 0.025,
    b1: Decay = 0.95,
    max_norm: Positive | None = 1.0,
    *,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Add to each gradient a part of its change since the step before.

    Args:
      gamma: the strength of the correction; 0.025 in the paper, 0 for none.
      b1: decay of the momentum that comes after, in [0, 1).
      max_norm: bound on the norm of each array of c_t, in units of the gradient; None for no
        bound. In the paper it is 1.
      state_dtype: dtype of the old gradient; by default the parameter's, but at least float32.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ReduceGradientVarianceState`: 4 bytes a parameter in float32.
    """

    def init(params: Params) -> ReduceGradientVarianceState:
        return ReduceGradientVarianceState(
            count=jnp.zeros((), jnp.int32),
            previous_gradient=tree.zeros_like(params, state_dtype),
        )

    def update(updates: Updates, state: ReduceGradientVarianceState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        updates, previous = tree.lift(
            _variance_rule,
            updates,
            state.previous_gradient,
            weight=_weight(gamma, b1),
            max_norm=max_norm,
            first=t == 1,
        )
        return updates, ReduceGradientVarianceState(t, previous)

    return init, update


@transformation
@leaf_wise
@whole_arrays_where(lambda arguments: arguments["max_norm"] is not None)
def scale_by_mars(
    b1: CorrectedDecay = 0.95,
    b2: CorrectedDecay = 0.99,
    eps: NonNegative = 1e-8,
    gamma: NonNegative = 0.025,
    max_norm: Positive | None = 1.0,
    *,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Rescale each coordinate by Adam's moments of the corrected gradients (MARS-AdamW).

    Args:
      b1: decay of the first moment, in [0, 1), and what the correction is made for.
      b2: decay of the second moment, in [0, 1).
      eps: added to the root, in units of the gradient. A gradient of zeros has update 0 even if
        `eps` is 0.
      gamma: the strength of the correction; see `reduce_gradient_variance`.
      max_norm: bound on the norm of each array of c_t, or None.
      state_dtype: dtype of the three buffers; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleByMarsState`: 12 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByMarsState:
        return ScaleByMarsState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
            previous_gradient=tree.zeros_like(params, state_dtype),
        )

    def update(updates: Updates, state: ScaleByMarsState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        updates, *buffers = tree.lift(
            _mars_rule,
            updates,
            state.mu,
            state.nu,
            state.previous_gradient,
            weight=_weight(gamma, b1),
            max_norm=max_norm,
            first=t == 1,
            b1=b1,
            b2=b2,
            eps=eps,
            c1=numerics.bias_correction(b1, t),
            c2=numerics.bias_correction(b2, t),
        )
        return updates, ScaleByMarsState(t, *buffers)

    return init, update


def _weight(gamma: Value, b1: Value) -> Value:
    if isinstance(b1, float):
        return gamma * b1 / (1.0 - b1)
    return numerics.divide(gamma * b1, 1.0 - b1)  # 0 for b1 = 1, whose mean takes nothing in


def _mars_rule(
    g: Array,
    mu: Array,
    nu: Array,
    previous: Array,
    *,
    weight: Value,
    max_norm: Value | None,
    first: Array,
    **moments: Value,
) -> tuple[Array, Array, Array, Array]:
    """(g_t, m_{t-1}, v_{t-1}, g_{t-1}) -> (u_t, m_t, v_t, g_t)."""
    c, previous = _variance_rule(g, previous, weight=weight, max_norm=max_norm, first=first)
    return *adam_rule(c, mu, nu, **moments), previous


def _variance_rule(
    g: Array, previous: Array, *, weight: Value, max_norm: Value | None, first: Array
) -> tuple[Array, Array]:
    """(g_t, g_{t-1}) -> (u_t, g_t), with weight = gamma b1 / (1 - b1)."""
    c = g + weight * change_of_gradient(g, previous, first)
    if max_norm is not None:
        norm = numerics.root(numerics.array_sum(numerics.abs_sq(c)))
        longer, one = norm > max_norm, jnp.ones_like(norm)
        c = c * jnp.where(longer, max_norm / jnp.where(longer, norm, one), one)
    # A copy: outside of `jit` the state would hold the very array that was passed in.
    return c, jnp.array(g, copy=True)
