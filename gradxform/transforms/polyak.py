"""The stochastic Polyak step size: as long as the loss says that the minimum is away.

With loss f, its smallest value f* and gradient g, |g| the norm over all arrays of the tree:

    γ = min((f - f*)₊ / (c |g|²), γ_max)
    u = γ g

(f - f*) / |g| is the distance at which the tangent of f reaches f*. A model that can fit each
batch has f* = 0. The bound holds where the gradient vanishes before the loss does.

References:
  Loizou et al., 2021, SPS_max, https://arxiv.org/abs/2002.10542
  Garrigos, Gower & Schaipp, 2023 (the positive part), https://arxiv.org/abs/2307.14528
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..core import numerics, tree
from ..core.arguments import Positive, Scalar
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, whole_arrays
from .scale import scale_rule


class ScaleByPolyakState(NamedTuple):
    """What the loss and the gradient gave."""

    step_size: Array  # γ of the last update; 0 before the first

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"step_size": self.step_size}


@transformation
@whole_arrays
def scale_by_polyak(
    *,
    max_step_size: Positive = 1.0,
    f_min: Scalar = 0.0,
    c: Positive = 0.5,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Scale all gradients by Polyak's step size; `update` needs the loss as `value=`.

    In float32 the step is 0 where |g| is below about 1e-19 or above about 1e19: its square is out
    of range.

    The loss must be that of the batch that the gradient is of. A gradient of zeros, or a loss at
    or below `f_min`, gives an update of zeros.

    Args:
      max_step_size: γ_max, in units of a learning rate.
      f_min: f*, the smallest value of the loss, or a guess from below. One above the losses that
        come stops the training.
      c: the caution. The paper proves 1/2 best for strongly convex losses and 1 for convex ones,
        and takes 0.2 for deep networks; optax has 1.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleByPolyakState`: one scalar.
    """

    def init(params: Params) -> ScaleByPolyakState:
        del params
        return ScaleByPolyakState(jnp.zeros((), numerics.scalar_dtype()))

    def update(
        updates: Updates, state: ScaleByPolyakState, *, value: ArrayLike
    ) -> tuple[Updates, State]:
        del state
        square = numerics.global_sum(numerics.abs_sq, updates)
        loss = jnp.asarray(value, square.dtype)
        step_size = _step_size(loss, square, max_step_size, f_min, c)
        updates = tree.lift(scale_rule, updates, factor=step_size)
        return updates, ScaleByPolyakState(step_size)

    return init, update


def _step_size(loss: Array, square: Array, max_step_size: Value, f_min: Value, c: Value) -> Array:
    """(f, |g|²) -> γ; 0 where g is 0."""
    gap = jnp.maximum(loss - f_min, 0.0)
    return jnp.minimum(numerics.divide(gap, c * square), max_step_size)
