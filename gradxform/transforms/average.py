"""The exponential moving average of what comes in.

For each array, with gradient or update g_t at step t = 1, 2, ... and m_0 = 0:

    m_t = momentum m_{t-1} + (1 - momentum) g_t
    u_t = m_t                         or, debiased, m_t / (1 - momentum^t)

`scale_by_momentum` with the same number gives m_t / (1 - momentum): the same direction, and longer
steps.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import CorrectedDecay, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByEmaState(NamedTuple):
    """The average."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    ema: Params  # m_t: structure and shapes of the parameters


@transformation
def scale_by_ema(
    momentum: CorrectedDecay = 0.9, debias: bool = False, *, state_dtype: StateDType = None
) -> InitUpdate:
    """Replace each array by the exponential moving average of what it has been.

    Args:
      momentum: the part of the average that each step keeps, in [0, 1): a memory of about
        1 / (1 - momentum) steps. optax calls it decay.
      debias: whether to undo the pull towards the zero start; optax does unless told otherwise.
      state_dtype: dtype of the average; by default the parameter's, but at least float32.

    Returns:
      A transformation with state `ScaleByEmaState`: 4 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByEmaState:
        return ScaleByEmaState(jnp.zeros((), jnp.int32), tree.zeros_like(params, state_dtype))

    def update(updates: Updates, state: ScaleByEmaState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        correction = numerics.bias_correction(momentum, t) if debias else 1.0
        updates, ema = tree.lift(
            _ema_rule, updates, state.ema, momentum=momentum, correction=correction
        )
        return updates, ScaleByEmaState(t, ema)

    return init, update


def _ema_rule(g: Array, m: Array, *, momentum: Value, correction: Value) -> tuple[Array, Array]:
    """(g_t, m_{t-1}) -> (u_t, m_t)."""
    m = numerics.ema(m, g, momentum)
    return m / correction, m
