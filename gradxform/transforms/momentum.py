"""Momentum: a velocity that gradients accelerate and friction slows.

For each array, with gradient g_t at step t = 1, 2, ..., momentum β and velocity v_0 = 0:

    v_t = β v_{t-1} + g_t
    u_t = v_t                 heavy ball
    u_t = β v_t + g_t         Nesterov: the gradient as it will be one step on

A constant gradient g ends at v = g / (1 - β): momentum 0.9 takes ten times the steps of plain SGD
at the same learning rate. As in torch and optax, g_t has weight 1, not 1 - β.

References:
  Polyak, 1964, https://doi.org/10.1016/0041-5553(64)90137-5
  Sutskever et al., 2013, equations 1 to 4, https://proceedings.mlr.press/v28/sutskever13.html
"""

from typing import NamedTuple

from jax import Array

from ..core import tree
from ..core.arguments import Decay, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByMomentumState(NamedTuple):
    """The velocity."""

    trace: Params  # v_t: structure and shapes of the parameters


@transformation
def scale_by_momentum(
    momentum: Decay = 0.9, nesterov: bool = False, *, state_dtype: StateDType = None
) -> InitUpdate:
    """Replace the gradient g by a velocity: v = momentum v + g.

    Args:
      momentum: the part of the velocity that each step keeps, in [0, 1).
      nesterov: whether to look one step ahead: u = momentum v + g instead of u = v.
      state_dtype: dtype of the velocity; by default the parameter's, but at least float32.

    Returns:
      A transformation with state `ScaleByMomentumState`: 4 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByMomentumState:
        return ScaleByMomentumState(trace=tree.zeros_like(params, state_dtype))

    def update(updates: Updates, state: ScaleByMomentumState) -> tuple[Updates, State]:
        updates, trace = tree.lift(
            _momentum_rule, updates, state.trace, momentum=momentum, nesterov=nesterov
        )
        return updates, ScaleByMomentumState(trace)

    return init, update


def _momentum_rule(g: Array, v: Array, *, momentum: Value, nesterov: bool) -> tuple[Array, Array]:
    """(g_t, v_{t-1}) -> (u_t, v_t)."""
    v = momentum * v + g
    return (momentum * v + g if nesterov else v), v
