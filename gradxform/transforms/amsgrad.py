"""AMSGrad: Adam over the largest second moment so far, so that the steps cannot grow again.

For each array, with gradient g_t at step t = 1, 2, ... and m_0 = v_0 = v^_0 = 0:

    m_t = b1 m_{t-1} + (1 - b1) g_t
    v_t = b2 v_{t-1} + (1 - b2) |g_t|²
    v^_t = max(v^_{t-1}, v_t)
    u_t = m_t / (sqrt(v^_t) + eps)

Adam forgets a large gradient after about 1 / (1 - b2) steps and then steps far on small ones; if
the large ones are rare and right, it moves away from the minimum, whatever the learning rate. Here
the factor of the learning rate never grows.

The paper corrects no bias, so the first update is (1 - b1) / sqrt(1 - b2) in size, 3.2 at the
defaults. Libraries correct it, each in its own place: torch takes the maximum first and divides it
by 1 - b2^t afterwards, so that the factor of the learning rate still grows at first; optax divides
before the maximum, which the first gradient may then hold for ever.

Reference: Reddi, Kale & Kumar, 2018, Algorithm 2, https://arxiv.org/abs/1904.09237
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import CorrectedDecay, NonNegative, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates
from .rms import over_root


class ScaleByAmsgradState(NamedTuple):
    """Adam's averages, and the largest second moment."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # v_t: likewise, real
    nu_max: Params  # v^_t: likewise, real, never falls


@transformation
def scale_by_amsgrad(
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    bias_correction: Literal["before", "after"] | None = None,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Rescale each coordinate by Adam's mean over its largest second moment so far.

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: added to the root, in units of the gradient. A coordinate whose gradients have all been
        zero has update 0 even if `eps` is 0.
      eps_root: added under the root, in squared units of the gradient.
      bias_correction: None as in the paper; "before" divides m_t and v_t by 1 - b^t before the
        maximum, as in optax; "after" divides m_t and v^_t after it, as in torch.
      state_dtype: dtype of the three buffers; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.

    Returns:
      A transformation with state `ScaleByAmsgradState`: 12 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByAmsgradState:
        return ScaleByAmsgradState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
            nu_max=tree.zeros_like(params, state_dtype, real=True),
        )

    def update(updates: Updates, state: ScaleByAmsgradState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        corrected = bias_correction is not None
        c2 = numerics.bias_correction(b2, t)
        updates, mu, nu, nu_max = tree.lift(
            _amsgrad_rule,
            updates,
            state.mu,
            state.nu,
            state.nu_max,
            b1=b1,
            b2=b2,
            eps=eps,
            eps_root=eps_root,
            c1=numerics.bias_correction(b1, t) if corrected else 1.0,
            before=c2 if bias_correction == "before" else 1.0,
            after=c2 if bias_correction == "after" else 1.0,
        )
        return updates, ScaleByAmsgradState(t, mu, nu, nu_max)

    return init, update


def _amsgrad_rule(
    g: Array,
    mu: Array,
    nu: Array,
    nu_max: Array,
    *,
    b1: Value,
    b2: Value,
    eps: Value,
    eps_root: Value,
    c1: Value,
    before: Value,
    after: Value,
) -> tuple[Array, Array, Array, Array]:
    """(g_t, m_{t-1}, v_{t-1}, v^_{t-1}) -> (u_t, m_t, v_t, v^_t).

    c1, and the divisor of v before or after the maximum, are 1 - b^t or 1.
    """
    mu = numerics.ema(mu, g, b1)
    nu = numerics.ema(nu, numerics.abs_sq(g), b2)
    nu_max = jnp.maximum(nu_max, nu / before)
    return over_root(mu / c1, nu_max / after, eps, eps_root), mu, nu, nu_max
