"""AdaBelief: long steps where the gradient comes as its mean foretold, short ones where not.

For each array, with gradient g_t at step t = 1, 2, ... and m_0 = s_0 = 0:

    m_t = b1 m_{t-1} + (1 - b1) g_t
    s_t = b2 s_{t-1} + (1 - b2) |g_t - m_t|² + eps
    u_t = m_t / (1 - b1^t)  /  (sqrt(s_t / (1 - b2^t)) + eps)

Adam divides by the size of the gradients, AdaBelief by their deviation from m_t, so a steady
gradient makes steps longer than the learning rate, without a bound but the one that eps sets. The
first update is 1 / b1 in size, because m_1 is itself a part of g_1.

Reference: Zhuang et al., 2020, Algorithm 2, https://arxiv.org/abs/2010.07468
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import CorrectedDecay, NonNegative, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByBeliefState(NamedTuple):
    """The mean of the gradients, and that of their squared deviations from it."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # s_t: likewise, real, never negative


@transformation
def scale_by_belief(
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    eps: NonNegative = 1e-16,
    *,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Rescale each coordinate by its mean over the deviation from it.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the squared deviation, in [0, 1).
      eps: added to s_t at each step, in squared units of the gradient, and to the root, in units
        of it, as in the paper and its code (optax has a number for each). s_t of a steady gradient
        ends at eps / (1 - b2). A coordinate that has not deviated has update 0 if `eps` is 0.
      state_dtype: dtype of both buffers; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.

    Returns:
      A transformation with state `ScaleByBeliefState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByBeliefState:
        return ScaleByBeliefState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
        )

    def update(updates: Updates, state: ScaleByBeliefState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        updates, mu, nu = tree.lift(
            _belief_rule,
            updates,
            state.mu,
            state.nu,
            b1=b1,
            b2=b2,
            eps=eps,
            c1=numerics.bias_correction(b1, t),
            c2=numerics.bias_correction(b2, t),
        )
        return updates, ScaleByBeliefState(t, mu, nu)

    return init, update


def _belief_rule(
    g: Array, mu: Array, nu: Array, *, b1: Value, b2: Value, eps: Value, c1: Array, c2: Array
) -> tuple[Array, Array, Array]:
    """(g_t, m_{t-1}, s_{t-1}) -> (u_t, m_t, s_t), with c = 1 - b^t."""
    mu = numerics.ema(mu, g, b1)
    # `eps` is added to the new term first: XLA repeats an addition to the sum in the loop of the
    # parameters, which then reads the old s_t, so that it cannot be overwritten in place.
    nu = b2 * nu + ((1.0 - b2) * numerics.abs_sq(g - mu) + eps)
    return numerics.divide(mu / c1, numerics.root(nu / c2), eps), mu, nu
