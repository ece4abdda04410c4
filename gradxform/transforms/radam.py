"""RAdam: Adam that waits until its second moment can be trusted, so that it needs no warmup.

For each array, with gradient g_t at step t = 1, 2, ... and m_0 = v_0 = 0:

    m_t = b1 m_{t-1} + (1 - b1) g_t
    v_t = b2 v_{t-1} + (1 - b2) |g_t|²
    m^_t = m_t / (1 - b1^t)
    ρ_t = ρ - 2 t b2^t / (1 - b2^t)         with ρ = 2 / (1 - b2) - 1
    u_t = r_t m^_t / (sqrt(v_t / (1 - b2^t)) + eps)    if ρ_t > threshold
    u_t = m^_t                                         else
    r_t = sqrt((ρ_t - 4) (ρ_t - 2) ρ / ((ρ - 4) (ρ - 2) ρ_t))

ρ_t is the number of gradients that v_t averages over: about t at first, ρ in the end. Over so few
of them the variance of 1 / sqrt(v_t) is large, and for ρ_t up to 4 infinite. r_t scales it to
where it ends. The first steps are plain momentum: not of Adam's size, but of the gradient's. With
b2 up to 0.6, ρ is at most 4 and all steps are.

Reference: Liu et al., 2020, Algorithm 2, https://arxiv.org/abs/1908.03265
"""

import math
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import CorrectedDecay, NonNegative, StateDType
from ..core.factory import transformation
from ..core.hyperparams import ScalarRule
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates
from .rms import over_root

Length = Annotated[
    Any, ScalarRule(check.Interval(low=4.0, hint="Below 4 the variance is infinite."))
]


class ScaleByRadamState(NamedTuple):
    """Adam's averages."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # v_t: likewise, real, never negative


@transformation
def scale_by_radam(
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    threshold: Length = 4.0,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Rescale each coordinate by Adam's moments, with the variance of the scale rectified.

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: added to the root, in units of the gradient; torch adds it to sqrt(v_t) instead. A
        gradient of zeros has update 0 even if `eps` is 0.
      eps_root: added under the root, in squared units of the gradient.
      threshold: the length ρ_t that the average must exceed to be used, at least 4. The paper has
        4 (from step 5 on, at b2 = 0.999); its code, torch and optax have 5 (from step 6 on).
      state_dtype: dtype of both moments; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.

    Returns:
      A transformation with state `ScaleByRadamState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByRadamState:
        return ScaleByRadamState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
        )

    def update(updates: Updates, state: ScaleByRadamState) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        length = _length(b2, t)
        tractable = length > threshold
        updates, mu, nu = tree.lift(
            _radam_rule,
            updates,
            state.mu,
            state.nu,
            b1=b1,
            b2=b2,
            eps=eps,
            eps_root=eps_root,
            c1=numerics.bias_correction(b1, t),
            c2=numerics.bias_correction(b2, t),
            tractable=tractable,
            r=_rectification(b2, length, tractable),
        )
        return updates, ScaleByRadamState(t, mu, nu)

    return init, update


def _radam_rule(
    g: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Value,
    b2: Value,
    eps: Value,
    eps_root: Value,
    c1: Array,
    c2: Array,
    tractable: Array,
    r: Array,
) -> tuple[Array, Array, Array]:
    """(g_t, m_{t-1}, v_{t-1}) -> (u_t, m_t, v_t), with c = 1 - b^t."""
    mu = numerics.ema(mu, g, b1)
    nu = numerics.ema(nu, numerics.abs_sq(g), b2)
    mean = mu / c1
    adapted = r * over_root(mean, nu / c2, eps, eps_root)
    return jnp.where(tractable, adapted, mean), mu, nu


def _rectification(b2: Value, length: Array, tractable: Array) -> Array:
    """r_t; 1 where it is not used."""
    one = jnp.ones_like(length)
    length = jnp.where(tractable, length, 4.0 * one)
    inverse = jnp.where(tractable, (1.0 - b2) / (1.0 + b2), one / 8.0)  # of ρ; 0 for b2 = 1
    above, below = (length - 4.0) * (length - 2.0), (1.0 - 4.0 * inverse) * (1.0 - 2.0 * inverse)
    ratio = above / length * (inverse / below)
    return numerics.root(jnp.where(tractable, ratio, one))


def _length(b2: Value, t: Array) -> Array:
    """ρ_t, between t at first and ρ in the end.

    The difference in the paper is of two numbers near 2 / (1 - b2) and loses the digits of a
    small ρ_t. With b2 = e^-y it is coth(y/2) + t - t coth(t y/2), where the 1/x of both coth
    cancel: ρ_t = t + f(y/2) - t f(t y/2), with f(x) = coth(x) - 1/x, which is x/3 for small x.

    Of a decay that has changed it is the length for the constant one that leaves as much of the
    start by t, and at most ρ.
    """
    dtype = numerics.scalar_dtype()
    constant = isinstance(b2, float)
    if constant:
        y = jnp.asarray(-math.log(b2) if b2 > 0 else math.inf, dtype)
    else:
        y = -numerics.log_kept(b2, t) / t.astype(dtype)
    t = t.astype(dtype)
    length = t * _one_minus_langevin(t * y / 2.0) + 1.0 - _one_minus_langevin(y / 2.0)
    return length if constant else jnp.minimum(length, (1.0 + b2) / (1.0 - b2))


def _one_minus_langevin(x: Array) -> Array:
    """1 - (coth(x) - 1/x) for x > 0."""
    small = x < 0.25
    tiny, large = jnp.where(small, x, 0.0), jnp.where(small, 1.0, x)
    square = jnp.square(tiny)
    series = jnp.zeros_like(x)
    for coefficient in _LANGEVIN:
        series = series * square + coefficient
    return jnp.where(small, 1.0 - tiny * series, 1.0 / large - 2.0 / jnp.expm1(2.0 * large))


# Of coth(x) - 1/x = x/3 - x³/45 + ..., highest power first: at x = 1/4 the rest is below 1e-17.
_LANGEVIN = (
    -3617 / 162820783125,
    4 / 18243225,
    -1382 / 638512875,
    2 / 93555,
    -1 / 4725,
    2 / 945,
    -1 / 45,
    1 / 3,
)
