"""Adamax: Adam with the largest gradient, slowly forgotten, in the place of a root-mean-square.

For each array, with gradient g_t at step t = 1, 2, ... and m_0 = n_0 = 0:

    m_t = b1 m_{t-1} + (1 - b1) g_t
    n_t = max(b2 n_{t-1}, |g_t| + eps)
    u_t = m_t / (1 - b1^t) / n_t

It is the limit of Adam with p-th powers of the gradients for p to infinity. A maximum from zero
has no bias, so only the mean is corrected. No coordinate of u_t is above (1 - b1) / (1 - b1 / b2),
1.01 at the defaults.

Reference: Kingma & Ba, 2015, Algorithm 2, https://arxiv.org/abs/1412.6980
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import CorrectedDecay, Decay, NonNegative, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByAdamaxState(NamedTuple):
    """A mean and a maximum a parameter."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # n_t: likewise, real, never negative


@transformation
def scale_by_adamax(
    b1: CorrectedDecay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Rescale each coordinate by the largest of its recent gradients.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the maximum, in [0, 1).
      eps: added to each |g_t|, in units of the gradient, as in torch and optax; the paper has
        none. A coordinate whose gradients have all been zero has update 0 even if `eps` is 0.
      state_dtype: dtype of both buffers; by default the parameter's, but at least float32.
        bfloat16 rounds b2 n = 0.999 n back to n, so that the maximum is never forgotten.

    Returns:
      A transformation with state `ScaleByAdamaxState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByAdamaxState:
        return ScaleByAdamaxState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
        )

    def update(updates: Updates, state: ScaleByAdamaxState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        updates, mu, nu = tree.lift(
            _adamax_rule,
            updates,
            state.mu,
            state.nu,
            b1=b1,
            b2=b2,
            eps=eps,
            c1=numerics.bias_correction(b1, t),
        )
        return updates, ScaleByAdamaxState(t, mu, nu)

    return init, update


def _adamax_rule(
    g: Array, mu: Array, nu: Array, *, b1: Value, b2: Value, eps: Value, c1: Array
) -> tuple[Array, Array, Array]:
    """(g_t, m_{t-1}, n_{t-1}) -> (u_t, m_t, n_t), with c1 = 1 - b1^t."""
    mu = numerics.ema(mu, g, b1)
    nu = jnp.maximum(b2 * nu, jnp.abs(g) + eps)
    return numerics.divide(mu / c1, nu), mu, nu
