"""Lion: the sign of a mean of gradients, so that one buffer is enough.

For each array, with gradient g_t at step t = 1, 2, ... and m_0 = 0:

    u_t = sign(b1 m_{t-1} + (1 - b1) g_t)
    m_t = b2 m_{t-1} + (1 - b2) g_t

Every coordinate moves by exactly the learning rate, which therefore is 3 to 10 times smaller than
Adam's, and the decay that goes with it as much larger. For complex arrays sign(z) = z / |z|.

Reference: Chen et al., 2023, Algorithm 2, https://arxiv.org/abs/2302.06675
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import Decay, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByLionState(NamedTuple):
    """The mean of gradients."""

    mu: Params  # m_t: structure and shapes of the parameters


@transformation
def scale_by_lion(
    b1: Decay = 0.9, b2: Decay = 0.99, *, state_dtype: StateDType = None
) -> InitUpdate:
    """Replace each coordinate by the sign of an average of its gradients.

    Args:
      b1: weight of the old mean in the update, in [0, 1).
      b2: weight of the old mean in the new one, in [0, 1).
      state_dtype: dtype of the mean; by default the parameter's, but at least float32.

    Returns:
      A transformation with state `ScaleByLionState`: 4 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByLionState:
        return ScaleByLionState(mu=tree.zeros_like(params, state_dtype))

    def update(updates: Updates, state: ScaleByLionState) -> tuple[Updates, State]:
        updates, mu = tree.lift(_lion_rule, updates, state.mu, b1=b1, b2=b2)
        return updates, ScaleByLionState(mu)

    return init, update


def _lion_rule(g: Array, mu: Array, *, b1: Value, b2: Value) -> tuple[Array, Array]:
    """(g_t, m_{t-1}) -> (u_t, m_t)."""
    new = numerics.ema(mu, g, b2)
    if isinstance(b2, float) and b2 > 0 and not (isinstance(b1, float) and b1 > 2 * b2):
        # The same mean from m_t: b1 m + (1 - b1) g = (b1 / b2) m_t + (1 - b1 / b2) g. The loop of
        # the parameters then does not read m_{t-1}, which XLA would copy to overwrite it. It is as
        # exact unless b1 / b2, by which it multiplies the rounding of m_t, is large.
        return jnp.sign(numerics.ema(new, g, b1 / b2)), new
    return jnp.sign(numerics.ema(mu, g, b1)), new
