"""Adam: a running mean of gradients over a running root-mean-square of them.

For each array, with gradient g_t at step t = 1, 2, ... and m_0 = v_0 = 0:

    m_t = b1 m_{t-1} + (1 - b1) g_t            first moment
    v_t = b2 v_{t-1} + (1 - b2) |g_t|²         second moment
    u_t = m_t / (1 - b1^t)  /  (sqrt(v_t / (1 - b2^t)) + eps)

The factors 1 - b^t undo the pull towards the zero start: at t = 1 they cancel it, and
u_1 = g_1 / (|g_1| + eps), a sign. Scaling all gradients by c > 0 leaves u_t as it was (up to
eps), so a learning rate applied to u_t is a step length in units of the parameters. Where a decay
changes (a schedule, a tunable), b^t is the product b_1 ... b_t there and in all that follow Adam.

In float32, as in torch and optax, one gradient above about 1e19 has an infinite square: that
coordinate stands still from then on. Those below about 1e-19 have the square 0.

NAdam (`nesterov`) puts the mean as it will be one step on, the same gradient taken for the next,
in the place of m_t / (1 - b1^t):

    b1 m_t / (1 - b1^(t+1)) + (1 - b1) g_t / (1 - b1^t)

This is Dozat's with a constant μ and without the factor b2 that he puts on v_t / (1 - b2^t), as in
optax. torch's `NAdam` lets μ_t rise to b1 as b1 (1 - 0.96^(t momentum_decay) / 2), and has products
of the μ_t in the place of the powers of b1. At momentum_decay = 0.004 it is half of b1 at first
and within 1 % of it after 24,000 steps; with a very large momentum_decay it is this one.

References:
  Kingma & Ba, 2015, Algorithm 1, https://arxiv.org/abs/1412.6980
  Dozat, 2016, Algorithm 2, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
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


class ScaleByAdamState(NamedTuple):
    """Two averages a parameter, and one counter for all of them."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # v_t: likewise, real, never negative


@transformation
def scale_by_adam(
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    nesterov: bool = False,
    bias_correction: bool = True,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Rescale each coordinate to about unit size by Adam's two moments.

    Args:
      b1: decay of the first moment, in [0, 1): a memory of about 1 / (1 - b1) steps.
      b2: decay of the second moment, in [0, 1). Usually nearer 1 than `b1`.
      eps: floor of the denominator, in units of the gradient: coordinates whose gradients stay
        well below it take steps in proportion to them. A gradient of zeros has update 0 even if
        `eps` is 0.
      eps_root: added to v_t / (1 - b2^t) under the root, in squared units of the gradient.
      nesterov: whether to look one step ahead (NAdam, with a constant momentum; torch's rises).
      bias_correction: whether the averages are divided by 1 - b^t. Without it, as in the code of
        the original BERT, the first update is (1 - b1) / sqrt(1 - b2) in size, 3.2 at the defaults.
      state_dtype: dtype of both moments; by default the parameter's, but at least float32.
        bfloat16 halves the memory, and rounds off most of what b2 = 0.999 changes in v: v rises
        with large gradients and never falls again. {"mu": "bfloat16"} stores the first alone so.

    Returns:
      A transformation with state `ScaleByAdamState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByAdamState:
        return ScaleByAdamState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
        )

    def update(updates: Updates, state: ScaleByAdamState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)

        def weight(decay: Value, *, ahead: bool = False) -> Value:
            return numerics.bias_correction(decay, t, ahead=ahead) if bias_correction else 1.0

        updates, mu, nu = tree.lift(
            adam_rule,
            updates,
            state.mu,
            state.nu,
            b1=b1,
            b2=b2,
            eps=eps,
            c1=weight(b1),
            c2=weight(b2),
            c1_next=weight(b1, ahead=True) if nesterov else None,
            eps_root=eps_root,
        )
        return updates, ScaleByAdamState(t, mu, nu)

    return init, update


def adam_rule(
    g: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Value,
    b2: Value,
    eps: Value,
    c1: Value,
    c2: Value,
    c1_next: Value | None = None,
    eps_root: Value = 0.0,
) -> tuple[Array, Array, Array]:
    """(g_t, m_{t-1}, v_{t-1}) -> (u_t, m_t, v_t), c = 1 - b^t or 1; Nesterov's if c1_next is."""
    mu = numerics.ema(mu, g, b1)
    nu = numerics.ema(nu, numerics.abs_sq(g), b2)
    mean = mu / c1 if c1_next is None else b1 * mu / c1_next + (1.0 - b1) * g / c1
    return over_root(mean, nu / c2, eps, eps_root), mu, nu
