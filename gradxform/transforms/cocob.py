"""COCOB: each coordinate is a gambler who bets on the sign of its next gradient.

For each coordinate, with gradient g_t at the weight w_t, t = 1, 2, ..., and L_0 = eps:

    L_t = max(L_{t-1}, |g_t|)                     the largest stake seen
    G_t = G_{t-1} + |g_t|
    R_t = max(R_{t-1} - g_t (w_t - w_1), 0)       what the bets have won
    θ_t = θ_{t-1} - g_t
    w_{t+1} = w_1 + θ_t / max(G_t + L_t, α L_t) (1 + R_t / L_t)
    u_t = w_t - w_{t+1}

The distance from the start is the bet: a fraction of what the gambler owns, the larger the more the
gradients agree. Wins let it grow exponentially, so no learning rate is needed to reach a minimum
that is far away, and gradients that change sign let it shrink. The first step has length 1/α in
every coordinate, whatever the gradient; scaling all gradients by c > 0 changes nothing.

A complex coordinate bets on a direction in the plane: |g_t| is its modulus, and g_t (w_t - w_1)
the inner product.

Reference: Orabona & Tommasi, 2017, Algorithm 2, https://arxiv.org/abs/1705.07795
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import NonNegativeNumber, Positive, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates
from .initial import initial


class ScaleByCocobState(NamedTuple):
    """Five arrays a parameter."""

    init_params: Params  # w_1: the parameters that `init` was given, in their own dtype
    max_grad: Params  # L_t: structure and shapes of the parameters, real
    grad_norm_sum: Params  # G_t: likewise
    reward: Params  # R_t: likewise, never negative
    grad_sum: Params  # -θ_t: likewise, complex where the parameter is


@transformation
def scale_by_cocob(
    alpha: Positive = 100.0,
    eps: NonNegativeNumber = 1e-8,
    *,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Replace gradients by the way to the next bet (COCOB-Backprop).

    The update is the difference of two positions, so that it corrects for what else has moved the
    parameters. `init` must see the parameters that training starts from, not a stand-in for them.

    Args:
      alpha: the inverse of the first step's length, in units of the parameters, and the number of
        steps for which bets stay small.
      eps: L_0, in units of the gradient. With gradients of zeros the update is 0 even if `eps`
        is 0.
      state_dtype: dtype of the four sums; by default the parameter's, but at least float32. The
        initial parameters keep their own dtype.

    Returns:
      A transformation with state `ScaleByCocobState`: 20 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByCocobState:
        return ScaleByCocobState(
            init_params=initial(params),
            max_grad=tree.zeros_like(params, state_dtype, real=True, fill=eps),
            grad_norm_sum=tree.zeros_like(params, state_dtype, real=True),
            reward=tree.zeros_like(params, state_dtype, real=True),
            grad_sum=tree.zeros_like(params, state_dtype),
        )

    def update(updates: Updates, state: ScaleByCocobState, params: Params) -> tuple[Updates, State]:
        updates, *buffers = tree.lift(_cocob_rule, updates, *state, params=params, alpha=alpha)
        return updates, ScaleByCocobState(*buffers)

    return init, update


def _cocob_rule(
    g: Array,
    start: Array,
    largest: Array,
    total: Array,
    reward: Array,
    grad_sum: Array,
    *,
    p: Array,
    alpha: Value,
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """(g_t, w_1, L, G, R and -θ of t-1) -> (u_t, w_1, L, G, R and -θ of t)."""
    size = jnp.abs(g)
    largest = jnp.maximum(largest, size)
    total = total + size
    gain = -jnp.real(jnp.conj(g) * (p - start))
    # max(reward + gain, 0). XLA repeats a maximum with a constant in the loop of the parameters,
    # which then reads the old reward, so that it cannot be overwritten in place. What two loops
    # have in common it writes to an array of its own; so p - start is written in two ways.
    reward = reward + jnp.maximum(gain, -reward)
    grad_sum = grad_sum + g
    fraction = numerics.divide(grad_sum, jnp.maximum(total + largest, alpha * largest))
    bet = fraction * (1.0 + numerics.divide(reward, largest))
    return bet - (start - p), start, largest, total, reward, grad_sum
