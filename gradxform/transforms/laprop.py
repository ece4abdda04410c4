"""LaProp: Adam with the division first and the momentum after it.

For each array, with gradient g_t at step t = 1, 2, ... and n_0 = m_0 = 0:

    n_t = b2 n_{t-1} + (1 - b2) |g_t|²
    m_t = b1 m_{t-1} + (1 - b1) g_t / (sqrt(n_t / (1 - b2^t)) + eps)
    u_t = m_t / (1 - b1^t)

Adam divides a mean of old gradients by the size of new ones, which has a bound only if
b1 < sqrt(b2). Here each gradient is divided by a size that it is part of, at most
1 / sqrt(1 - b2) times smaller, so any b1 goes with any b2: b2 = 0 gives a mean of signs.

Reference: Ziyin, Wang & Ueda, 2020, Algorithm 1, https://arxiv.org/abs/2002.04839
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import CorrectedDecay, NonNegative, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByLapropState(NamedTuple):
    """A mean of rescaled gradients, and the second moment that rescales them."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # n_t: likewise, real, never negative


@transformation
def scale_by_laprop(
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    eps: NonNegative = 1e-15,
    *,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Average gradients that are each rescaled to about unit size.

    Args:
      b1: decay of the mean, μ in the paper, in [0, 1).
      b2: decay of the second moment, ν in the paper, in [0, 1).
      eps: added to the root, in units of the gradient. A gradient of zeros adds 0 even if `eps` is
        0.
      state_dtype: dtype of both buffers; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.

    Returns:
      A transformation with state `ScaleByLapropState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByLapropState:
        return ScaleByLapropState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
        )

    def update(updates: Updates, state: ScaleByLapropState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        updates, mu, nu = tree.lift(
            _laprop_rule,
            updates,
            state.mu,
            state.nu,
            b1=b1,
            b2=b2,
            eps=eps,
            c1=numerics.bias_correction(b1, t),
            c2=numerics.bias_correction(b2, t),
        )
        return updates, ScaleByLapropState(t, mu, nu)

    return init, update


def _laprop_rule(
    g: Array, mu: Array, nu: Array, *, b1: Value, b2: Value, eps: Value, c1: Array, c2: Array
) -> tuple[Array, Array, Array]:
    """(g_t, m_{t-1}, n_{t-1}) -> (u_t, m_t, n_t), with c = 1 - b^t."""
    nu = numerics.ema(nu, numerics.abs_sq(g), b2)
    mu = numerics.ema(mu, numerics.divide(g, numerics.root(nu / c2), eps), b1)
    return mu / c1, mu, nu
