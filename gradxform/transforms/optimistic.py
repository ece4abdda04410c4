"""Optimistic gradients: the next gradient is guessed to change as the last one did.

For each array, with gradient g_t at step t = 1, 2, ... and g_0 = g_1:

    u_t = α g_t + β (g_t - g_{t-1})

With α = β = 1 that is 2 g_t - g_{t-1}. On a game such as min_x max_y x y plain gradient descent
spirals outwards; this comes to rest.

References:
  Daskalakis et al., 2018, equation 4, https://arxiv.org/abs/1711.00141
  Mokhtari, Ozdaglar & Pattathil, 2020, https://arxiv.org/abs/1901.08511
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import Scalar, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByOptimisticGradientState(NamedTuple):
    """The last gradient."""

    count: Array  # type: ignore[assignment]  # int32, steps taken so far
    previous_gradient: Params  # g_t: structure and shapes of the parameters


@transformation
def scale_by_optimistic_gradient(
    alpha: Scalar = 1.0, beta: Scalar = 1.0, *, state_dtype: StateDType = None
) -> InitUpdate:
    """Add to each gradient beta times its change since the last step.

    The first step has no change yet: it is alpha g, as if the step before it had stood still.

    Args:
      alpha: the factor of the gradient.
      beta: the factor of its change; 0 is plain gradient descent.
      state_dtype: dtype of the last gradient; by default the parameter's, but at least float32.

    Returns:
      A transformation with state `ScaleByOptimisticGradientState`: 4 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByOptimisticGradientState:
        return ScaleByOptimisticGradientState(
            jnp.zeros((), jnp.int32), tree.zeros_like(params, state_dtype)
        )

    def update(updates: Updates, state: ScaleByOptimisticGradientState) -> tuple[Updates, State]:
        updates, previous = tree.lift(
            _optimistic_rule,
            updates,
            state.previous_gradient,
            first=state.count == 0,
            alpha=alpha,
            beta=beta,
        )
        count = numerics.increment(state.count)
        return updates, ScaleByOptimisticGradientState(count, previous)

    return init, update


def _optimistic_rule(
    g: Array, previous: Array, *, first: Array, alpha: Value, beta: Value
) -> tuple[Array, Array]:
    """(g_t, g_{t-1}) -> (u_t, g_t)."""
    u = alpha * g + beta * (g - jnp.where(first, g, previous))
    return u, jnp.copy(g)  # a buffer of its own, so that the next step may be given this one's
