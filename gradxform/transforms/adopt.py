"""ADOPT: Adam that divides by the past only, and so converges with any b2.

For each array, with gradients g_0, g_1, ..., m_0 = 0 and v_0 = |g_0|²; the first update is zero,
and for t = 1, 2, ...:

    x_t = g_t / max(sqrt(v_{t-1}), eps)
    m_t = b1 m_{t-1} + (1 - b1) clip(x_t, t^clip_exponent)
    v_t = b2 v_{t-1} + (1 - b2) |g_t|²
    u_t = m_t

In Adam a large gradient shrinks itself, being part of v_t, while small ones count in full, so the
mean update may point away from the mean gradient. v_{t-1} knows nothing of g_t. The price is that
x_t has no bound where gradients were zero or tiny before: hence the clipping of each coordinate.

Reference: Taniguchi et al., 2024, Algorithm 2, https://arxiv.org/abs/2411.02853
(Algorithm 1 is clip_exponent=None; optax's documentation cites another paper.)
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import Decay, NonNegative, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByAdoptState(NamedTuple):
    """A mean of rescaled gradients, and the second moment that rescales the next."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # v_t: likewise, real, never negative


@transformation
def scale_by_adopt(
    b1: Decay = 0.9,
    b2: Decay = 0.9999,
    eps: NonNegative = 1e-6,
    *,
    clip_exponent: NonNegative | None = 0.25,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Average gradients that are each divided by the size of those before it.

    Args:
      b1: decay of the mean, in [0, 1).
      b2: decay of the second moment, in [0, 1): any value converges.
      eps: least denominator, in units of the gradient. With 0, a coordinate whose gradients before
        have all been zero does not move.
      clip_exponent: the bound on each coordinate of x_t is t^clip_exponent, on the modulus of a
        complex one; None for no bound. The bound is 1 at the first update that moves anything and
        10 after 10,000, so until then it is clipping that decides about rare large gradients.
      state_dtype: dtype of both buffers; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.

    Returns:
      A transformation with state `ScaleByAdoptState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByAdoptState:
        return ScaleByAdoptState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
        )

    def update(updates: Updates, state: ScaleByAdoptState) -> tuple[Updates, State]:
        t = state.count
        updates, mu, nu = tree.lift(
            _adopt_rule,
            updates,
            state.mu,
            state.nu,
            b1=b1,
            b2=b2,
            eps=eps,
            bound=None if clip_exponent is None else _bound(t, clip_exponent),
            first=t == 0,
        )
        return updates, ScaleByAdoptState(numerics.increment(t), mu, nu)

    return init, update


def _adopt_rule(
    g: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Value,
    b2: Value,
    eps: Value,
    bound: Array | None,
    first: Array,
) -> tuple[Array, Array, Array]:
    """(g_t, m_{t-1}, v_{t-1}) -> (u_t, m_t, v_t); the first gradient only sets v_0."""
    x = numerics.divide(g, jnp.maximum(numerics.root(nu), eps))
    if bound is not None:
        x = jnp.where(jnp.abs(x) > bound, bound * jnp.sign(x), x)
    mu = jnp.where(first, mu, numerics.ema(mu, x, b1))
    square = numerics.abs_sq(g)
    return mu, mu, jnp.where(first, square, numerics.ema(nu, square, b2))


def _bound(t: Array, exponent: Value) -> Array:
    """t^exponent."""
    return jnp.power(t.astype(numerics.scalar_dtype()), exponent)
