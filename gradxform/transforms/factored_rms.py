"""Adafactor's second moment: the means of rows and columns in the place of every number.

For each matrix, with gradient G_t at step t = 1, 2, ..., and R_0 = C_0 = 0:

    β_t = 1 - t^(-decay_rate)
    R_t = β_t R_{t-1} + (1 - β_t) mean over columns (|G_t|² + eps)
    C_t = β_t C_{t-1} + (1 - β_t) mean over rows    (|G_t|² + eps)
    V_t = R_t C_t / mean(R_t)                       the best product of a column and a row
    U_t = G_t / sqrt(V_t)

n + m numbers stand for n m. Of an array with more axes the two longest are the rows and columns;
a vector or a small array keeps V_t whole. β_1 = 0, so that the averages need no correction for
their zero start, and β_t grows to 1, so that they forget less and less.

Reference: Shazeer & Stern, 2018, Algorithms 2, 4 and 5, https://arxiv.org/abs/1804.04235
"""

from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import Decay, NonNegative, Size, StateDType, TracedWholeNumber
from ..core.factory import transformation
from ..core.hyperparams import ScalarRule
from ..core.numerics import Value
from ..core.shards import AxisName, WholeShards
from ..core.types import (
    InitUpdate,
    Params,
    State,
    Updates,
    leaf_wise,
    no_state,
    whole_arrays,
    whole_arrays_where,
)
from .norms import block_rms

DecayRate = Annotated[
    Any,
    ScalarRule(
        check.Interval(
            low=0.0,
            low_open=True,
            high=1.0,
            hint="It is the power of the step in 1 - β_t; 0.8 is usual.",
        )
    ),
]


class FactoredMoment(NamedTuple):
    """The second moment of one array, without one of its two longest axes each."""

    v_row: Array  # R_t: the second of those axes averaged away
    v_col: Array  # C_t: the first


class ScaleByFactoredRmsState(NamedTuple):
    """The second moments."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    nu: Params  # the parameters' structure without a framework's boxes: for each array a
    # `FactoredMoment`, or where it is too small for one V_t as an array of its shape; real


@transformation
@leaf_wise
@whole_arrays_where(lambda arguments: arguments["factored"])
def scale_by_factored_rms(
    *,
    decay_rate: DecayRate = 0.8,
    decay: Decay | None = None,
    eps: NonNegative = 1e-30,
    decay_offset: TracedWholeNumber = 0,
    factored: bool = True,
    min_dim_size_to_factor: Size = 128,
    state_dtype: StateDType = None,
    axis_name: WholeShards = None,
) -> InitUpdate:
    """Divide by a root-mean-square of past gradients that is kept as rows and columns.

    In float32 the square of a gradient above about 1e19 is infinite: one makes NaN of its whole
    array, here as in torch and optax.

    Args:
      decay_rate: how fast β_t goes to 1, in (0, 1]. 0.8 is the paper's; larger remembers more.
      decay: β_t itself in the place of the power of t: a schedule, which should start at 0 since
        nothing is corrected for the zero start. With a bound, as Zhai et al. (2021) train vision
        transformers: `lambda step: jnp.minimum(1 - (step + 1.0) ** -0.8, 0.999)`.
      eps: added to the squared gradients, in their units. torch adds nothing there and bounds the
        moments from below instead.
      decay_offset: a step that counts as the first, for a run that goes on with the state of
        another: t = max(step - decay_offset, 1). The steps up to it have β = 0.
      factored: whether matrices are kept as rows and columns; False keeps a number a parameter.
      min_dim_size_to_factor: the least length of both longest axes; an array with a shorter one
        keeps a number a parameter. torch factors the last two axes of every array.
      state_dtype: dtype of the moments; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.
      axis_name: `()` inside of `jax.shard_map` where each shard is a whole; see
        `clip_by_global_norm`. Other shards are refused: its result is no sum over them.

    Returns:
      A transformation with state `ScaleByFactoredRmsState`: 4 (n + m) bytes for a large n by m
      matrix in float32, 4 bytes a parameter for small arrays.
    """

    def init(params: Params) -> ScaleByFactoredRmsState:
        def moment(p: Any) -> Array | FactoredMoment:
            full: Array = tree.zeros_like(p, state_dtype, real=True)
            if not (factored and _is_factored(full.shape, min_dim_size_to_factor)):
                return full
            rows, columns = _two_longest(full.shape)
            # Sums of zeros, because only what is computed follows the sharding of the parameter.
            return FactoredMoment(jnp.sum(full, columns), jnp.sum(full, rows))

        return ScaleByFactoredRmsState(
            count=jnp.zeros((), jnp.int32), nu=tree.of_other_shapes(moment, params)
        )

    def update(updates: Updates, state: ScaleByFactoredRmsState) -> tuple[Updates, State]:
        count = numerics.increment(state.count)
        updates, nu = tree.lift(
            _second_moment_rule,
            updates,
            state.nu,
            fresh=_fresh(count, decay_offset, decay_rate, decay),
            eps=eps,
        )
        return updates, ScaleByFactoredRmsState(count, nu)

    return init, update


def _fresh(count: Array, decay_offset: int, decay_rate: Value, decay: Value | None) -> Value:
    """1 - β_t, with t counted from the offset where β_t is not given."""
    if decay is not None:
        return 1.0 - decay
    t = jnp.maximum(count - decay_offset, 1).astype(numerics.scalar_dtype())
    return t**-decay_rate


def _second_moment_rule(
    g: Array, nu: Array | FactoredMoment, *, fresh: Value, eps: Value
) -> tuple[Array, Array | FactoredMoment]:
    """(G_t, moment_{t-1}) -> (U_t, moment_t), with fresh = 1 - β_t."""
    if isinstance(nu, FactoredMoment):
        return _factored_rule(g, nu, fresh=fresh, eps=eps)
    v = _mean(nu, numerics.abs_sq(g) + eps, fresh)
    return numerics.divide(g, numerics.root(v)), v


def _factored_rule(
    g: Array, moment: FactoredMoment, *, fresh: Value, eps: Value
) -> tuple[Array, FactoredMoment]:
    rows, columns = _two_longest(g.shape)
    square = numerics.abs_sq(g) + eps
    v_row = _mean(moment.v_row, jnp.mean(square, columns), fresh)
    v_col = _mean(moment.v_col, jnp.mean(square, rows), fresh)
    row, col = jnp.expand_dims(v_row, columns), jnp.expand_dims(v_col, rows)
    relative = numerics.divide(row, jnp.mean(row, rows, keepdims=True))
    u = numerics.divide(g, numerics.root(relative) * numerics.root(col))
    return u, FactoredMoment(v_row, v_col)


def _mean(average: Array, value: Array, fresh: Value) -> Array:
    """β average + (1 - β) value; 1 - β is small, and its digits would be lost in β."""
    return (1.0 - fresh) * average + fresh * value


def _two_longest(shape: tuple[int, ...]) -> tuple[int, int]:
    """The axes of the rows and of the columns, in the order of the array."""
    rows, columns = sorted(np.argsort(shape, stable=True)[-2:])
    return int(rows), int(columns)


def _is_factored(shape: tuple[int, ...], smallest: int) -> bool:
    return len(shape) > 1 and all(shape[axis] >= smallest for axis in _two_longest(shape))


@transformation
@leaf_wise
@whole_arrays
def scale_by_parameter_rms(
    min_scale: NonNegative = 1e-3, *, axis_name: AxisName = None
) -> InitUpdate:
    """Scale each array by the root-mean-square of its parameters: relative step sizes.

    Args:
      min_scale: floor of the root-mean-square, in units of the parameters, so that arrays that
        start at zero can move.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        updates = tree.lift(_parameter_rms_rule, updates, params=params, min_scale=min_scale)
        return updates, state

    return no_state, update


def _parameter_rms_rule(g: Array, *, p: Array, min_scale: Value) -> Array:
    return jnp.maximum(block_rms(p), min_scale) * g
