"""AdEMAMix: Adam with a second, much slower mean of the gradients.

For each array, with gradient g_t at step t = 1, 2, ... and m1_0 = m2_0 = v_0 = 0:

    m1_t = b1 m1_{t-1} + (1 - b1) g_t          fast mean
    m2_t = b3 m2_{t-1} + (1 - b3) g_t          slow mean
    v_t = b2 v_{t-1} + (1 - b2) |g_t|²
    u_t = (m1_t / (1 - b1^t) + alpha m2_t)  /  (sqrt(v_t / (1 - b2^t)) + eps)

A mean of the last 10 gradients follows the loss, one of the last 10,000 carries what they have in
common. The slow one is not corrected: it fills up over 1 / (1 - b3) steps, which softens the
start. For runs of another length b3 is to be chosen anew: 1 / (1 - b3) well below the length.

The paper raises alpha and b3 over the first T steps, usually all of them, so that a large alpha
does not let the start diverge. Both are arguments that follow a schedule as any other:

    ademamix(1e-3, b3=linear_half_life(0.9, 0.9999, T), alpha=linear_schedule(0.0, 5.0, T))

Reference: Pagliardini, Ablin & Grangier, 2024, Algorithm 1, https://arxiv.org/abs/2409.03137
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import CorrectedDecay, Decay, NonNegative, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates
from .rms import over_root


class ScaleByAdemamixState(NamedTuple):
    """Two means of the gradients and one of their squares."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m1_t: structure and shapes of the parameters
    mu_slow: Params  # m2_t: likewise
    nu: Params  # v_t: likewise, real, never negative


@transformation
def scale_by_ademamix(
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    b3: Decay = 0.9999,
    alpha: NonNegative = 5.0,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Rescale each coordinate by Adam's second moment, from a fast and a slow mean.

    Args:
      b1: decay of the fast mean, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      b3: decay of the slow mean, in [0, 1); the paper warms it up, see `linear_half_life`.
      alpha: weight of the slow mean; 4 to 10 in the paper, which warms it up linearly from 0.
        `optax.contrib.scale_by_ademamix` has 6 by default, its `ademamix` 5.
      eps: added to the root, in units of the gradient. A gradient of zeros has update 0 even if
        `eps` is 0.
      eps_root: added under the root, in squared units of the gradient.
      state_dtype: dtype of the three buffers; by default the parameter's, but at least float32.
        bfloat16 rounds off most of what b3 = 0.9999 changes in m2.

    Returns:
      A transformation with state `ScaleByAdemamixState`: 12 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByAdemamixState:
        return ScaleByAdemamixState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            mu_slow=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
        )

    def update(updates: Updates, state: ScaleByAdemamixState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        updates, *buffers = tree.lift(
            _ademamix_rule,
            updates,
            state.mu,
            state.mu_slow,
            state.nu,
            b1=b1,
            b2=b2,
            b3=b3,
            alpha=alpha,
            eps=eps,
            eps_root=eps_root,
            c1=numerics.bias_correction(b1, t),
            c2=numerics.bias_correction(b2, t),
        )
        return updates, ScaleByAdemamixState(t, *buffers)

    return init, update


def _ademamix_rule(
    g: Array,
    mu: Array,
    mu_slow: Array,
    nu: Array,
    *,
    b1: Value,
    b2: Value,
    b3: Value,
    alpha: Value,
    eps: Value,
    eps_root: Value,
    c1: Array,
    c2: Array,
) -> tuple[Array, Array, Array, Array]:
    """(g_t, m1_{t-1}, m2_{t-1}, v_{t-1}) -> (u_t, m1_t, m2_t, v_t), with c = 1 - b^t."""
    mu = numerics.ema(mu, g, b1)
    mu_slow = numerics.ema(mu_slow, g, b3)
    nu = numerics.ema(nu, numerics.abs_sq(g), b2)
    mean = mu / c1 + alpha * mu_slow
    return over_root(mean, nu / c2, eps, eps_root), mu, mu_slow, nu
