"""Adan: Adam with Nesterov's momentum, read off the change from one gradient to the next.

For each array, with gradient g_t at step t = 1, 2, ..., d_t = g_t - g_{t-1}, d_1 = 0 and
m_0 = v_0 = n_0 = 0:

    m_t = b1 m_{t-1} + (1 - b1) g_t                    mean
    v_t = b2 v_{t-1} + (1 - b2) d_t                    mean of the changes
    n_t = b3 n_{t-1} + (1 - b3) |g_t + b2 d_t|²        second moment, one step ahead
    u_t = (m_t / (1 - b1^t) + b2 v_t / (1 - b2^t))  /  (sqrt(n_t / (1 - b3^t)) + eps)

The paper writes β for 1 - b: its (0.02, 0.08, 0.01) are (0.98, 0.92, 0.99) here, and its factor
1 - β2 is b2. It starts from m_0 = g_0 and n_0 = |g_0|²; its code from zero with the corrections
above, as here. optax has the factor 1 - b2 in the place of b2, 0.08 for 0.92, which takes most of
the looking ahead away.

Reference: Xie et al., 2022, Algorithm 1, https://arxiv.org/abs/2208.06677
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import CorrectedDecay, NonNegative, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates
from .rms import over_root


class ScaleByAdanState(NamedTuple):
    """Three averages, and the gradient of the step before."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    mu_change: Params  # v_t: likewise
    nu: Params  # n_t: likewise, real, never negative
    previous_gradient: Params  # g_t: likewise


@transformation
def scale_by_adan(
    b1: CorrectedDecay = 0.98,
    b2: CorrectedDecay = 0.92,
    b3: CorrectedDecay = 0.99,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Rescale each coordinate by Adan's means of gradients and of their changes.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the mean of the changes, in [0, 1), and the weight of the step ahead.
      b3: decay of the second moment, in [0, 1).
      eps: added to the root, in units of the gradient. A coordinate whose gradients have all been
        zero has update 0 even if `eps` is 0.
      eps_root: added under the root, in squared units of the gradient.
      state_dtype: dtype of the four buffers; by default the parameter's, but at least float32. In
        16 bit, changes that are small beside the gradient are lost.

    Returns:
      A transformation with state `ScaleByAdanState`: 16 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByAdanState:
        return ScaleByAdanState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            mu_change=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
            previous_gradient=tree.zeros_like(params, state_dtype),
        )

    def update(updates: Updates, state: ScaleByAdanState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        updates, *buffers = tree.lift(
            _adan_rule,
            updates,
            state.mu,
            state.mu_change,
            state.nu,
            state.previous_gradient,
            b1=b1,
            b2=b2,
            b3=b3,
            eps=eps,
            eps_root=eps_root,
            c1=numerics.bias_correction(b1, t),
            c2=numerics.bias_correction(b2, t),
            c3=numerics.bias_correction(b3, t),
            first=t == 1,
        )
        return updates, ScaleByAdanState(t, *buffers)

    return init, update


def _adan_rule(
    g: Array,
    mu: Array,
    mu_change: Array,
    nu: Array,
    previous: Array,
    *,
    b1: Value,
    b2: Value,
    b3: Value,
    eps: Value,
    eps_root: Value,
    c1: Array,
    c2: Array,
    c3: Array,
    first: Array,
) -> tuple[Array, ...]:
    """(g_t, m_{t-1}, v_{t-1}, n_{t-1}, g_{t-1}) -> (u_t, m_t, v_t, n_t, g_t), c = 1 - b^t."""
    change = change_of_gradient(g, previous, first)
    mu = numerics.ema(mu, g, b1)
    mu_change = numerics.ema(mu_change, change, b2)
    nu = numerics.ema(nu, numerics.abs_sq(g + b2 * change), b3)
    u = over_root(mu / c1 + b2 * mu_change / c2, nu / c3, eps, eps_root)
    # A copy: outside of `jit` the state would hold the very array that was passed in.
    return u, mu, mu_change, nu, jnp.array(g, copy=True)


def change_of_gradient(g: Array, previous: Array, first: Array) -> Array:
    """g_t - g_{t-1}; 0 at the first step, which has no gradient before it."""
    return jnp.where(first, jnp.zeros_like(g), g - previous)
