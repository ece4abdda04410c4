"""Yogi: Adam with a second moment that moves towards the squared gradient by bounded steps.

For each array, with gradient g_t at step t = 1, 2, ... and m_0 = 0:

    m_t = b1 m_{t-1} + (1 - b1) g_t
    v_t = v_{t-1} - (1 - b2) sign(v_{t-1} - |g_t|²) |g_t|²
    u_t = m_t / (sqrt(v_t) + eps)

Adam's v_t falls by (1 - b2) of itself at each step with a small gradient, Yogi's by (1 - b2) of
the squared gradient: it rises as fast, but forgets in proportion to what replaces it, so that a
few small gradients do not make the next steps long.

Reference: Zaheer et al., 2018, Algorithm 2,
https://papers.nips.cc/paper/2018/hash/90365351ccc7437a1309dc64e4db32a3-Abstract.html
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import CorrectedDecay, NonNegative, NonNegativeNumber, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates
from .rms import over_root


class ScaleByYogiState(NamedTuple):
    """A mean of gradients, and what follows their squares."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # v_t: likewise, real, never negative


@transformation
def scale_by_yogi(
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    eps: NonNegative = 1e-3,
    *,
    eps_root: NonNegative = 0.0,
    initial_accumulator_value: NonNegativeNumber = 0.0,
    bias_correction: bool = False,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Rescale each coordinate by a mean over the root of Yogi's second moment.

    In float32 the square of a gradient above about 1e19 is infinite: such a coordinate stands still
    from then on, and after a second one it is NaN.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: 1 - b2 is the part of the squared gradient that the second moment moves by, in [0, 1).
      eps: added to the root, in units of the gradient; the paper's 1e-3 is far from nothing. A
        coordinate whose gradients have all been zero has update 0 even if `eps` is 0.
      eps_root: added under the root, in squared units of the gradient.
      initial_accumulator_value: v_0, in squared units of the gradient. Implementations mostly have
        1e-6, TensorFlow's and optax's among them; optax starts the mean from it as well, so that a
        parameter without a gradient moves. Google's first code took the mean of the squared
        gradients over 1000 batches at w_0: a good v_0, where one is known.
      bias_correction: whether to divide m_t by 1 - b1^t and v_t by 1 - b2^t, as in TensorFlow and
        optax, though v_t is no average from zero. Without it, as in the paper, the first update is
        up to (1 - b1) / sqrt(1 - b2) in size, 3.2 at the defaults.
      state_dtype: dtype of both buffers; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.

    Returns:
      A transformation with state `ScaleByYogiState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByYogiState:
        return ScaleByYogiState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True, fill=initial_accumulator_value),
        )

    def update(updates: Updates, state: ScaleByYogiState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        updates, mu, nu = tree.lift(
            _yogi_rule,
            updates,
            state.mu,
            state.nu,
            b1=b1,
            b2=b2,
            eps=eps,
            eps_root=eps_root,
            c1=numerics.bias_correction(b1, t) if bias_correction else 1.0,
            c2=numerics.bias_correction(b2, t) if bias_correction else 1.0,
        )
        return updates, ScaleByYogiState(t, mu, nu)

    return init, update


def _yogi_rule(
    g: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Value,
    b2: Value,
    eps: Value,
    eps_root: Value,
    c1: Value,
    c2: Value,
) -> tuple[Array, Array, Array]:
    """(g_t, m_{t-1}, v_{t-1}) -> (u_t, m_t, v_t), with c = 1 - b^t, or 1."""
    square = numerics.abs_sq(g)
    mu = numerics.ema(mu, g, b1)
    nu = nu - (1.0 - b2) * jnp.sign(nu - square) * square
    return over_root(mu / c1, nu / c2, eps, eps_root), mu, nu
