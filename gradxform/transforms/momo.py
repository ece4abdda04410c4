"""MoMo: momentum and Adam with the step that the loss itself asks for, up to a largest one.

With loss f_k, gradient g_k and parameters x_k at step k = 1, 2, ..., learning rate α, lower bound
f_* of the loss, weight decay λ, and averages from the first step (MoMo) or zero (MoMo-Adam):

    F_k = β F_{k-1} + (1 - β) f_k
    d_k = β d_{k-1} + (1 - β) g_k
    γ_k = β γ_{k-1} + (1 - β) <g_k, x_k>
    v_k = b2 v_{k-1} + (1 - b2) |g_k|²

    MoMo         D_k = 1                                  ρ_k = 1
    MoMo-Adam    D_k = eps + sqrt(v_k / (1 - b2^k))       ρ_k = 1 - β^k

    τ_k = min(α / ρ_k, max((1 + α λ) (F_k - ρ_k f_* - γ_k) + <d_k, x_k>, 0) / <d_k, d_k / D_k>)
    x_{k+1} = (x_k - τ_k d_k / D_k) / (1 + α λ)

F_k - γ_k + <d_k, x> averages the tangents of the last losses; τ_k goes to where this average meets
f_*, but not farther than α: Polyak's step size, with memory. Close to the minimum the steps become
shorter by themselves. With β = 0 and λ = 0 it is the truncated stochastic Polyak step.

An adaptive f_* starts from the given bound as well, and follows h_k = F_k - γ_k + <d_k, x_k>:

    f_* = max((h_k - τ_k <d_k, d_k / D_k> / 2) / ρ_k, given bound)

and before a step that finds its model below the bound already, max(model / 2, given bound).

Reference: Schaipp, Ohana, Eickenberg, Defazio & Gower, 2023, https://arxiv.org/abs/2305.07583
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import CorrectedDecay, Decay, LearningRate, NonNegative, Scalar, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, whole_arrays
from .momo_state import ScaleByMomoAdamState, ScaleByMomoState


@transformation
@whole_arrays
def scale_by_momo(
    learning_rate: LearningRate = 1.0,
    beta: Decay = 0.9,
    lower_bound: Scalar = 0.0,
    weight_decay: NonNegative = 0.0,
    *,
    adaptive_lower_bound: bool = False,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Replace gradients by momentum times the step that the loss asks for (MoMo).

    In float32 the step is 0 where gradients are below about 1e-19 or above about 1e19: their
    squares are out of range.

    `update(..., value=loss)` needs the loss that the gradient was taken of. The updates hold the
    learning rate, a bound here, and point uphill: put `scale_by_learning_rate(None)` behind.

    Args:
      learning_rate: α, the largest step size, in units of the parameters over the gradient; it
        may be large.
      beta: decay of the averages, in [0, 1).
      lower_bound: f_*, a value that the loss does not fall below; 0 for most losses. The closer
        to the minimum it is, the better the steps.
      weight_decay: λ, proximal: each step divides the weights by 1 + learning_rate weight_decay.
      adaptive_lower_bound: whether to estimate the bound along the way, from `lower_bound` up.
      state_dtype: dtype of the average; by default the parameter's, but at least float32.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleByMomoState`: 4 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByMomoState:
        dtype = numerics.scalar_dtype()
        return ScaleByMomoState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            loss=jnp.zeros((), dtype),
            grad_dot_params=jnp.zeros((), dtype),
            lower_bound=jnp.array(lower_bound, dtype, copy=True),
            step_size=jnp.zeros((), dtype),
        )

    def update(
        updates: Updates, state: ScaleByMomoState, params: Params, *, value: Value
    ) -> tuple[Updates, State]:
        first = state.count == 0
        parts, mu = tree.lift(_momo_rule, updates, state.mu, params=params, beta=beta, first=first)
        direction, grad_dot_params, inner, norm = _collected(parts)
        loss = _average(state.loss, _scalar(value), beta, first)
        gamma = _average(state.grad_dot_params, grad_dot_params, beta, first)
        rates: dict[str, Any] = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        tau, bound = _step_size(
            loss - gamma,
            inner,
            norm,
            state.lower_bound,
            rho=1.0,
            lower_bound=lower_bound,
            adaptive=adaptive_lower_bound,
            **rates,
        )
        updates = tree.lift(_proximal_rule, direction, params=params, tau=tau, **rates)
        count = numerics.increment(state.count)
        return updates, ScaleByMomoState(count, mu, loss, gamma, bound, tau)

    return init, update


@transformation
@whole_arrays
def scale_by_momo_adam(
    learning_rate: LearningRate = 0.01,
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    eps: NonNegative = 1e-8,
    lower_bound: Scalar = 0.0,
    weight_decay: NonNegative = 0.0,
    *,
    adaptive_lower_bound: bool = False,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Replace gradients by Adam's directions times the step that the loss asks for (MoMo-Adam).

    In float32 the step is 0 where gradients are below about 1e-19 or above about 1e19: their
    squares are out of range.

    `update(..., value=loss)` needs the loss that the gradient was taken of. The updates hold the
    learning rate, a bound here, and point uphill: put `scale_by_learning_rate(None)` behind.

    Args:
      learning_rate: α, the largest step, in units of the parameters as Adam's learning rate.
      b1: decay β of the averages of gradients, losses and products, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: floor of the denominator, in units of the gradient. A gradient of zeros has update 0
        even if `eps` is 0.
      lower_bound: f_*, a value that the loss does not fall below; 0 for most losses. The closer
        to the minimum it is, the better the steps.
      weight_decay: λ, proximal: each step divides the weights by 1 + learning_rate weight_decay.
      adaptive_lower_bound: whether to estimate the bound along the way, from `lower_bound` up.
      state_dtype: dtype of the averages; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleByMomoAdamState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByMomoAdamState:
        dtype = numerics.scalar_dtype()
        return ScaleByMomoAdamState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
            loss=jnp.zeros((), dtype),
            grad_dot_params=jnp.zeros((), dtype),
            lower_bound=jnp.array(lower_bound, dtype, copy=True),
            step_size=jnp.zeros((), dtype),
        )

    def update(
        updates: Updates, state: ScaleByMomoAdamState, params: Params, *, value: Value
    ) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        parts, mu, nu = tree.lift(
            _momo_adam_rule,
            updates,
            state.mu,
            state.nu,
            params=params,
            b1=b1,
            b2=b2,
            eps=eps,
            c2=numerics.bias_correction(b2, t),
        )
        direction, grad_dot_params, inner, norm = _collected(parts)
        loss = numerics.ema(state.loss, _scalar(value), b1)
        gamma = numerics.ema(state.grad_dot_params, grad_dot_params, b1)
        rates: dict[str, Any] = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        tau, bound = _step_size(
            loss - gamma,
            inner,
            norm,
            state.lower_bound,
            rho=numerics.bias_correction(b1, t),
            lower_bound=lower_bound,
            adaptive=adaptive_lower_bound,
            **rates,
        )
        updates = tree.lift(_proximal_rule, direction, params=params, tau=tau, **rates)
        return updates, ScaleByMomoAdamState(t, mu, nu, loss, gamma, bound, tau)

    return init, update


class _Part(NamedTuple):
    """What one array contributes to the model of the loss."""

    direction: Array  # d_k / D_k
    grad_dot_params: Array  # its part of <g_k, x_k>
    inner: Array  # of <d_k, x_k>
    norm: Array  # of <d_k, d_k / D_k>


def _momo_rule(g: Array, mu: Array, *, p: Array, beta: Value, first: Array) -> tuple[_Part, Array]:
    """(g_k, d_{k-1}) -> (the array's part of the model, d_k)."""
    mu = _average(mu, g, beta, first)
    return _Part(mu, _dot(g, p), _dot(mu, p), _dot(mu, mu)), mu


def _momo_adam_rule(
    g: Array, mu: Array, nu: Array, *, p: Array, b1: Value, b2: Value, eps: Value, c2: Array
) -> tuple[_Part, Array, Array]:
    """(g_k, d_{k-1}, v_{k-1}) -> (the array's part of the model, d_k, v_k)."""
    mu = numerics.ema(mu, g, b1)
    nu = numerics.ema(nu, numerics.abs_sq(g), b2)
    direction = numerics.divide(mu, numerics.root(nu / c2), eps)
    return _Part(direction, _dot(g, p), _dot(mu, p), _dot(mu, direction)), mu, nu


def _dot(x: Array, y: Array) -> Array:
    return jnp.sum(jnp.real(jnp.conj(x) * y))


def _average(average: Array, value: Array, beta: Value, first: Array) -> Array:
    """The running average, which starts at its first value."""
    return jnp.where(first, value, numerics.ema(average, value, beta))


def _scalar(value: Value) -> Array:
    """The loss in the dtype of the state."""
    check.require(jnp.shape(value) == (), f"`value` is the loss, a scalar; got {value}.")
    return jnp.asarray(value).astype(numerics.scalar_dtype())


def _collected(parts: Any) -> tuple[Updates, Array, Array, Array]:
    """The tree of directions, and the three sums over all arrays."""

    def is_part(x: Any) -> bool:
        return isinstance(x, _Part)

    found = jax.tree.leaves(parts, is_leaf=is_part)
    direction = jax.tree.map(lambda x: x.direction, parts, is_leaf=is_part)
    return direction, *(
        numerics.global_sum(jnp.real, [part[i] for part in found]) for i in (1, 2, 3)
    )


def _step_size(
    level: Array,
    inner: Array,
    norm: Array,
    bound: Array,
    *,
    rho: Value,
    learning_rate: Value,
    lower_bound: Value,
    weight_decay: Value,
    adaptive: bool,
) -> tuple[Array, Array]:
    """τ_k of F_k - γ_k, <d_k, x_k> and <d_k, d_k / D_k>, and the bound f_* after it."""
    lowest = jnp.asarray(lower_bound, level.dtype)
    shrink = 1.0 + learning_rate * weight_decay
    model = shrink * level + inner
    unit = shrink * rho
    if adaptive:
        half = jnp.maximum(model / (2.0 * unit), lowest)
        bound = jnp.where(model < unit * bound, half, bound)
    else:
        bound = lowest
    polyak = numerics.divide(jnp.maximum(model - unit * bound, 0.0), norm)
    tau = jnp.minimum(learning_rate / rho, polyak)
    if adaptive:
        bound = jnp.maximum((level + inner - 0.5 * tau * norm) / rho, lowest)
    return tau, bound


def _proximal_rule(
    d: Array, *, p: Array, tau: Array, learning_rate: Value, weight_decay: Value
) -> Array:
    """(d_k / D_k) -> x_k - x_{k+1}."""
    decay = learning_rate * weight_decay
    return (decay * p + tau * d) / (1.0 + decay)
