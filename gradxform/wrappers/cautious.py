"""Caution: no step where the direction disagrees with the gradient.

For each array, with gradient g_t and the direction u_t that another transformation makes of it:

    φ_t = 1 where u_t g_t > 0, else 0
    u_t <- u_t φ_t  size / (count of φ_t + ξ)

A momentum goes on in its old direction for a while after the gradient has turned. Here such
coordinates wait, and the others take over their share of the step, so that its mean size stays.
What remains never points uphill, and the loss of a small enough step cannot rise.

Reference: Liang, Chen, Liu & Liu, 2024, https://arxiv.org/abs/2411.16085
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import NonNegative, Transformation
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import (
    InitUpdate,
    Params,
    State,
    Updates,
    inside,
    leaf_wise,
    update_wide,
    whole_arrays,
)
from ..transforms.scale import scale_by_learning_rate


@transformation
@leaf_wise
@whole_arrays
def cautious(
    inner: Transformation, xi: NonNegative = 1.0, *, axis_name: AxisName = None
) -> InitUpdate:
    """Keep the coordinates of a direction that agree in sign with the gradient, and rescale them.

    It goes around the scaling, before weight decay and learning rate:

        chain(
            cautious(scale_by_adam()),
            add_decoupled_weight_decay(0.1),
            scale_by_learning_rate(1e-3),
        )

    Args:
      inner: what makes a direction uphill of the gradient. It may not hold
        `scale_by_learning_rate`: a step downhill agrees with no gradient.
      xi: ξ, added to the count of the coordinates kept. The paper's 1 keeps the factor finite and
        halves the step of an array with one element. With 0 the factor is one over the part that
        is kept, as in the authors' later code, which takes a part below 1/1000 as 1/1000.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with the state of `inner`.

    Raises:
      ValueError: `inner` holds `scale_by_learning_rate`.
    """
    check.require(
        all(_factory(tx) is not scale_by_learning_rate for tx in inside(inner)),
        "the inner transformation holds `scale_by_learning_rate`, which points downhill: no "
        "coordinate of it would agree with the gradient. Put the learning rate behind, as in "
        "`chain(cautious(scale_by_adam()), scale_by_learning_rate(1e-3))`.",
    )

    def init(params: Params) -> State:
        return inner.init(params)

    def update(
        updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        direction, state = update_wide(inner, updates, state, params, **extra)
        kept, _ = tree.lift(_cautious_rule, updates, direction, xi=xi)
        return kept, state

    return init, update


def _cautious_rule(g: Array, u: Array, *, xi: Value) -> tuple[Array, Array]:
    """(g_t, u_t) -> (what is kept of u_t, u_t). A complex u agrees if it has a part along g."""
    # The product of the signs: that of the numbers may underflow. What is not a number is kept:
    # compiled, NaN times False is 0.
    agrees = ~(jnp.real(jnp.conj(jnp.sign(g)) * jnp.sign(u)) <= 0)
    size = jnp.full_like(jnp.real(u), numerics.array_size(u), shape=())
    # Rows are counted in whole numbers, and only their sums in floats: an array may hold more
    # than either type counts.
    rows = jnp.sum(jnp.atleast_1d(agrees), axis=-1)
    count = numerics.array_sum(rows.astype(size.dtype))
    return u * agrees.astype(size.dtype) * numerics.divide(size, count + xi), u


def _factory(tx: Any) -> Any:
    return tx.recipe.factory if hasattr(tx, "recipe") else None
