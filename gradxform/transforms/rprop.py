"""Rprop: a step size for each coordinate, told by the signs of gradients alone.

For each coordinate, with gradient g_t at step t = 1, 2, ..., g_0 = 0 and step size Δ_0 = 1:

    where g_{t-1} g_t > 0    Δ_t = min(η⁺ Δ_{t-1}, max_scale)
    where g_{t-1} g_t < 0    Δ_t = max(η⁻ Δ_{t-1}, min_scale), and g_t is taken to be 0
    u_t = sign(g_t) Δ_t

A coordinate that keeps its direction moves faster and faster; one that jumped over a minimum
waits for a step and goes on with half the size. This is iRprop⁻, as in torch. It is a method for
full batches: the noise of small ones turns signs at random, and shrinks every step.

Of a complex array the real and the imaginary parts are two coordinates.

References:
  Riedmiller & Braun, 1993, https://doi.org/10.1109/ICNN.1993.298623
  Igel & Hüsken, 2003, Table 2 (iRprop⁻), https://doi.org/10.1016/S0925-2312(01)00700-7
"""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..core import check, tree
from ..core.arguments import Positive, StateDType
from ..core.factory import transformation
from ..core.hyperparams import ScalarRule
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates

Shrink = Annotated[
    Any, ScalarRule(check.Interval(low=0.0, high=1.0, low_open=True, high_open=True))
]
Growth = Annotated[Any, ScalarRule(check.Interval(low=1.0, low_open=True))]


class ScaleByRpropState(NamedTuple):
    """Two numbers a parameter."""

    step_sizes: Params  # Δ_t: structure and shapes of the parameters
    prev_sign: Params  # sign(g_t), 0 where it turned: likewise


@transformation
def scale_by_rprop(
    *,
    eta_minus: Shrink = 0.5,
    eta_plus: Growth = 1.2,
    min_scale: Positive = 1e-4,
    max_scale: Positive = 5e3,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Replace each coordinate by its sign times a step size that adapts to its signs.

    Args:
      eta_minus: η⁻, the factor of a step size where the sign has turned, in (0, 1).
      eta_plus: η⁺, the factor where it has stayed, above 1.
      min_scale: the smallest step size, in units of the first one.
      max_scale: the largest one, likewise. With the learning rate as the first step size, 0.01,
        the defaults are torch's 1e-6 and 50.
      state_dtype: dtype of both buffers; by default the parameter's, but at least float32.

    Returns:
      A transformation with state `ScaleByRpropState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByRpropState:
        ones = tree.zeros_like(params, state_dtype, fill=1)
        return ScaleByRpropState(
            step_sizes=jax.tree.map(_one_for_each_part, ones),
            prev_sign=tree.zeros_like(params, state_dtype),
        )

    def update(updates: Updates, state: ScaleByRpropState) -> tuple[Updates, State]:
        updates, *buffers = tree.lift(
            _rprop_rule,
            updates,
            *state,
            eta_minus=eta_minus,
            eta_plus=eta_plus,
            min_scale=min_scale,
            max_scale=max_scale,
        )
        return updates, ScaleByRpropState(*buffers)

    return init, update


def _one_for_each_part(ones: Array) -> Array:
    return ones + 1j if jnp.iscomplexobj(ones) else ones


def _rprop_rule(
    g: Array, delta: Array, before: Array, **sizes: Value
) -> tuple[Array, Array, Array]:
    """(g_t, Δ_{t-1}, sign(g_{t-1})) -> (u_t, Δ_t, sign(g_t))."""
    if jnp.iscomplexobj(g):
        real = _real_rprop_rule(g.real, delta.real, before.real, **sizes)
        imag = _real_rprop_rule(g.imag, delta.imag, before.imag, **sizes)
        u, delta, before = map(lax.complex, real, imag)
        return u, delta, before
    return _real_rprop_rule(g, delta, before, **sizes)


def _real_rprop_rule(
    g: Array,
    delta: Array,
    before: Array,
    *,
    eta_minus: Value,
    eta_plus: Value,
    min_scale: Value,
    max_scale: Value,
) -> tuple[Array, Array, Array]:
    sign = jnp.sign(g)
    agreement = sign * before
    grown = jnp.minimum(eta_plus * delta, max_scale)
    shrunk = jnp.maximum(eta_minus * delta, min_scale)
    delta = jnp.where(agreement > 0, grown, jnp.where(agreement < 0, shrunk, delta))
    sign = jnp.where(agreement < 0, jnp.zeros_like(sign), sign)
    return sign * delta, delta, sign
