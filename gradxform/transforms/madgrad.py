"""MADGRAD: dual averaging with momentum, under the cube root of squared gradients.

For each array, with gradient g_k at parameters x_k, k = 0, 1, ..., learning rate γ_k and
s_0 = ν_0 = 0:

    λ_k     = γ_k sqrt(k + 1)
    s_{k+1} = s_k + λ_k g_k
    ν_{k+1} = ν_k + λ_k |g_k|²
    z_{k+1} = x_0 - s_{k+1} / (cbrt(ν_{k+1}) + eps)
    x_{k+1} = momentum x_k + (1 - momentum) z_{k+1}
    u_k     = x_k - x_{k+1}

Every step starts again from x_0 and goes along the weighted sum of all gradients, so old noise
averages out. The learning rate weighs the sums, so it cannot be taken out of the update.

Reference: Defazio & Jelassi, 2021, Algorithm 1, https://arxiv.org/abs/2101.11075
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import Decay, LearningRate, NonNegative, StateDType
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates
from .initial import initial


class ScaleByMadgradState(NamedTuple):
    """Two sums a parameter, and where it started."""

    count: Array  # type: ignore[assignment]  # k: int32, steps taken so far
    s: Params  # s_k: structure and shapes of the parameters
    nu: Params  # ν_k: likewise, real, never negative
    init_params: Params  # x_0: the parameters that `init` was given, in their own dtype


@transformation
def scale_by_madgrad(
    learning_rate: LearningRate,
    momentum: Decay = 0.9,
    eps: NonNegative = 1e-6,
    *,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """The whole step x_k - x_{k+1} of MADGRAD, whose learning rate is part of its sums.

    u points uphill, as everywhere, and has the learning rate in it already: what ends the chain
    is `scale_by_learning_rate(None)`.

    Args:
      learning_rate: γ; the paper searches 2.5e-4 to 0.5 and finds values far from Adam's and
        SGD's. The authors' code and optax add eps to it.
      momentum: 1 - c, the part of the way to z that each step leaves, in [0, 1).
      eps: added to the cube root, in the units of that: of gradient^(2/3).
      state_dtype: dtype of the sums; by default the parameter's, but at least float32. In 16 bit
        the sums soon stop growing.

    Returns:
      A transformation with state `ScaleByMadgradState`: 12 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByMadgradState:
        return ScaleByMadgradState(
            count=jnp.zeros((), jnp.int32),
            s=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
            init_params=initial(params),
        )

    def update(
        updates: Updates, state: ScaleByMadgradState, params: Params
    ) -> tuple[Updates, State]:
        count = numerics.increment(state.count)
        updates, *buffers = tree.lift(
            _madgrad_rule,
            updates,
            state.s,
            state.nu,
            state.init_params,
            params=params,
            root=jnp.sqrt(count.astype(numerics.scalar_dtype())),
            learning_rate=learning_rate,
            momentum=momentum,
            eps=eps,
        )
        return updates, ScaleByMadgradState(count, *buffers)

    return init, update


def _madgrad_rule(
    g: Array,
    s: Array,
    nu: Array,
    x0: Array,
    *,
    p: Array,
    root: Array,
    learning_rate: Value,
    momentum: Value,
    eps: Value,
) -> tuple[Array, Array, Array, Array]:
    """(g_k, s_k, ν_k, x_0) -> (u_k, s_{k+1}, ν_{k+1}, x_0), with root = sqrt(k + 1)."""
    weight = learning_rate * root
    s = s + weight * g
    nu = nu + weight * numerics.abs_sq(g)
    # p - x0 first: it is nearly exact, while z, of the size of p, would be rounded.
    way = (p - x0) + numerics.divide(s, numerics.cube_root(nu), eps)
    return (1.0 - momentum) * way, s, nu, x0
