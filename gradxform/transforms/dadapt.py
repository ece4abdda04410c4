"""D-Adaptation: Adam whose step size is a growing estimate of the distance to the solution.

With gradient g_k at step k = 0, 1, ..., learning rate γ_k, distance d_0 > 0, β = sqrt(b2) and
m_0 = v_0 = s_0 = r_0 = 0:

    r_{k+1} = β r_k + (1 - β) γ_k d_k <g_k, s_k / (sqrt(v_k) + eps)>       over all arrays
    m_{k+1} = b1 m_k + (1 - b1) γ_k d_k g_k
    v_{k+1} = b2 v_k + (1 - b2) |g_k|²
    s_{k+1} = β s_k + (1 - β) γ_k d_k g_k
    u_k = m_{k+1} / (sqrt(v_{k+1}) + eps) + γ_k d_k λ x_k
    d_{k+1} = max(d_k, r_{k+1} / ((1 - β) ‖s_{k+1}‖_1))

Each quotient is at most the distance ‖x_0 - x_*‖_∞ to a solution, for a convex loss and dual
averaging: so d_k is a lower bound that grows until Adam's learning rate d_k fits.

m, s and r are kept for the rate γ_k d_k / d_0 rather than γ_k d_k: the quotients are the same but
for a factor d_0, and d_0 = 1e-6 does not use up the range of the numbers.

Reference: Defazio & Mishchenko, 2023, https://arxiv.org/abs/2301.07733, and the authors' code,
whose denominators are those of the step before, as here
"""

import math
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import (
    CorrectedDecay,
    LearningRate,
    Mask,
    NonNegative,
    PositiveNumber,
    StateDType,
)
from ..core.factory import transformation
from ..core.hyperparams import ScalarRule
from ..core.mask import mask_tree
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, whole_arrays

GrowthRate = Annotated[
    Any, ScalarRule(check.Interval(low=1.0, hint="It is a factor per step: 1.02 is a slow start."))
]


class ScaleByDadaptAdamState(NamedTuple):
    """Three arrays a parameter; the rest is numbers."""

    count: Array  # type: ignore[assignment]  # k: int32, steps taken so far
    mu: Params  # m_k / d_0: structure and shapes of the parameters
    nu: Params  # v_k: likewise, real, never negative
    grad_sum: Params  # s_k / d_0: likewise
    d: Array  # d_k: the distance that the next update uses; never falls
    d_numerator: Array  # r_k / d_0²

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"distance": self.d}


@transformation
@whole_arrays
def scale_by_dadapt_adam(
    learning_rate: LearningRate = 1.0,
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    *,
    d0: PositiveNumber = 1e-6,
    growth_rate: GrowthRate | None = None,
    bias_correction: bool = False,
    mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Replace gradients by Adam's steps, as long as the estimated distance allows.

    In float32, as in Adam, a coordinate stands still after one gradient above about 1e19: its
    square is infinite.

    The updates hold the learning rate, which the estimate needs too, and point uphill: put
    `scale_by_learning_rate(None)` behind.

    Args:
      learning_rate: γ, a factor of the estimated distance. 1.0 is the method itself; a schedule
        that falls from 1.0 is how the paper trains networks.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: floor of the denominator, in units of the gradient. A gradient of zeros has update 0
        even if `eps` is 0.
      weight_decay: λ, decoupled: each step shrinks the weights by the factor
        1 - learning_rate d weight_decay.
      d0: the first distance, in units of the parameters. Too small costs some tens of steps, too
        large cannot be undone.
      growth_rate: how much larger than the last one a distance may be, at least 1; by default
        there is no limit.
      bias_correction: whether to multiply the learning rate by Adam's
        sqrt(1 - b2^t) / (1 - b1^t), as optax always does; neither the paper nor the authors do.
      mask: which parameters decay, as in `add_decoupled_weight_decay`.
      state_dtype: dtype of the moments and of s; by default the parameter's, but at least
        float32. They grow by the growth of d, which float16 cannot hold: they would be NaN.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleByDadaptAdamState`: 12 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByDadaptAdamState:
        dtype = numerics.scalar_dtype()
        return ScaleByDadaptAdamState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
            grad_sum=tree.zeros_like(params, state_dtype),
            d=jnp.array(d0, dtype, copy=True),
            d_numerator=jnp.zeros((), dtype),
        )

    decays = not (isinstance(weight_decay, float) and weight_decay == 0)

    def update(
        updates: Updates, state: ScaleByDadaptAdamState, params: Params
    ) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        beta = root(b2)
        gamma = rate(learning_rate, t, b1, b2, bias_correction=bias_correction)
        a = gamma * state.d / d0
        terms, *_ = tree.lift(_dot_rule, updates, state.grad_sum, state.nu, eps=eps)
        numerator = numerics.ema(state.d_numerator, a * numerics.global_sum(jnp.real, terms), beta)
        updates, mu, nu, grad_sum = tree.lift(
            _dadapt_rule,
            updates,
            state.mu,
            state.nu,
            state.grad_sum,
            a=a,
            b1=b1,
            b2=b2,
            beta=beta,
            eps=eps,
            d0=d0,
        )
        size = numerics.global_sum(jnp.abs, grad_sum)
        estimate = d0 * numerics.divide(numerator, (1.0 - beta) * size)
        if decays:
            chosen = mask_tree("scale_by_dadapt_adam", mask, params)
            updates = decayed(updates, params, chosen, weight_decay, a * d0)
        d = jnp.maximum(state.d, limited(estimate, state.d, growth_rate))
        return updates, ScaleByDadaptAdamState(t, mu, nu, grad_sum, d, numerator)

    def without_params(updates: Updates, state: ScaleByDadaptAdamState) -> tuple[Updates, State]:
        return update(updates, state, None)

    return init, update if decays else without_params


def _dot_rule(g: Array, s: Array, nu: Array, *, eps: Value) -> tuple[Array, Array, Array]:
    """(g_k, s_k, v_k) -> the array's part of <g_k, s_k / (sqrt(v_k) + eps)>."""
    scaled = numerics.divide(s, numerics.root(nu), eps)
    return jnp.sum(jnp.real(jnp.conj(g) * scaled)), s, nu


def _dadapt_rule(
    g: Array,
    mu: Array,
    nu: Array,
    s: Array,
    *,
    a: Array,
    b1: Value,
    b2: Value,
    beta: Value,
    eps: Value,
    d0: Value,
) -> tuple[Array, Array, Array, Array]:
    """(g_k, m_k, v_k, s_k) -> (m_{k+1} / (sqrt(v_{k+1}) + eps), m_{k+1}, v_{k+1}, s_{k+1})."""
    mu = numerics.ema(mu, a * g, b1)
    nu = numerics.ema(nu, numerics.abs_sq(g), b2)
    s = numerics.ema(s, a * g, beta)
    return d0 * numerics.divide(mu, numerics.root(nu), eps), mu, nu, s


# What Prodigy shares


def root(b2: Value) -> Value:
    """sqrt(b2), rounded once for a constant."""
    return math.sqrt(b2) if isinstance(b2, float) else numerics.root(jnp.asarray(b2))


def rate(learning_rate: Value, t: Array, b1: Value, b2: Value, *, bias_correction: bool) -> Value:
    """The learning rate at step t, times the correction of Adam's averages if asked for."""
    if not bias_correction:
        return learning_rate
    c1, c2 = numerics.bias_correction(b1, t), numerics.bias_correction(b2, t)
    return learning_rate * (numerics.root(c2) / c1)


def limited(estimate: Array, d: Array, growth_rate: Value | None) -> Array:
    """An estimate, or the largest distance that may follow d, as an array of its own."""
    if growth_rate is None:
        return jnp.array(estimate, copy=True)
    return jnp.minimum(estimate, growth_rate * d)


def decayed(
    updates: Updates, params: Params, chosen: Any, weight_decay: Value, factor: Value
) -> Updates:
    """updates + factor weight_decay w, where `chosen` says so."""
    if isinstance(weight_decay, float) and weight_decay == 0.0:
        return updates
    amount = factor * weight_decay
    return tree.lift(_decay_rule, updates, params=params, where=chosen, amount=amount)


def _decay_rule(u: Array, *, p: Array, amount: Value) -> Array:
    return u + amount * p
