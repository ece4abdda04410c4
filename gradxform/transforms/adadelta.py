"""AdaDelta: steps in units of past steps, so that no learning rate need be chosen.

For each array, with gradient g_t at step t = 1, 2, ... and e_g = e_x = 0 at first:

    e_g = ρ e_g + (1 - ρ) |g_t|²
    u_t = sqrt(e_x + eps) / sqrt(e_g + eps) g_t
    e_x = ρ e_x + (1 - ρ) |u_t|²

A gradient over its own size has no unit; times the size of past steps it has that of the
parameters. There are none at first: eps starts them, the first update being
sqrt(eps / (1 - ρ)) in size for gradients well above sqrt(eps). Small steps make small steps, so
AdaDelta sets off slowly.

Reference: Zeiler, 2012, Algorithm 1, https://arxiv.org/abs/1212.5701
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import Decay, NonNegative, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByAdadeltaState(NamedTuple):
    """The moving averages of squared gradients and of squared updates."""

    e_g: Params  # E[g²]: structure and shapes of the parameters, real
    e_x: Params  # E[u²]: likewise, real


@transformation
def scale_by_adadelta(
    rho: Decay = 0.95, eps: NonNegative = 1e-6, *, state_dtype: StateDType = None
) -> InitUpdate:
    """Rescale each coordinate by the size of its past updates over that of its gradients.

    Args:
      rho: ρ, decay of both averages, in [0, 1). torch and optax have 0.9.
      eps: added to both averages, so both in squared units of the gradient and of the parameter.
        With 0 nothing ever moves.
      state_dtype: dtype of both averages; by default the parameter's, but at least float32.

    Returns:
      A transformation with state `ScaleByAdadeltaState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByAdadeltaState:
        return ScaleByAdadeltaState(
            e_g=tree.zeros_like(params, state_dtype, real=True),
            e_x=tree.zeros_like(params, state_dtype, real=True),
        )

    def update(updates: Updates, state: ScaleByAdadeltaState) -> tuple[Updates, State]:
        updates, *buffers = tree.lift(_adadelta_rule, updates, *state, rho=rho, eps=eps)
        return updates, ScaleByAdadeltaState(*buffers)

    return init, update


def _adadelta_rule(
    g: Array, e_g: Array, e_x: Array, *, rho: Value, eps: Value
) -> tuple[Array, Array, Array]:
    """(g_t, E[g²], E[u²]) -> (u_t, E[g²], E[u²])."""
    size, square = jnp.abs(g), numerics.abs_sq(g)
    e_g = numerics.ema(e_g, square, rho)
    # |g|² / (e_g + eps), which is at most 1 / (1 - ρ), also where |g|² is out of range.
    relative = numerics.divide(size, e_g, eps) * size
    e_x = numerics.ema(e_x, (e_x + eps) * relative, rho)
    # sqrt(e_x + eps) / sqrt(e_g + eps) with the e_x before, written with the new one, so that
    # each number is read where it is overwritten and nowhere else: XLA would keep u_t for both
    # loops, an array more to write and to read twice. All terms are positive: no digits cancel.
    # Two roots: their quotient keeps a range that the quotient under one root leaves.
    above, below = e_x + rho * eps, rho * (e_g + eps) + (1.0 - rho) * square
    return numerics.divide(numerics.root(above) * g, numerics.root(below)), e_g, e_x
