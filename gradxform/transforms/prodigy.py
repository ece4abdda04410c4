"""Prodigy: Adam whose step size is a growing estimate of the distance to the solution.

With gradient g_k at the parameters x_k, k = 0, 1, ..., learning rate γ_k, distance d_0 > 0 and
m_0 = v_0 = s_0 = r_0 = 0:

    m_{k+1} = b1 m_k + (1 - b1) d_k g_k
    v_{k+1} = b2 v_k + (1 - b2) d_k² |g_k|²
    s_{k+1} = b3 s_k + γ_k d_k² g_k                    b3 = sqrt(b2)
    r_{k+1} = b3 r_k + γ_k d_k² <g_k, x_0 - x_k>       a number, over all arrays
    u_k = γ_k d_k (m_{k+1} / (sqrt(v_{k+1}) + d_k eps) + λ x_k)
    d_{k+1} = max(d_k, d_coef r_{k+1} / ‖s_{k+1}‖_1)

Each quotient is at most the distance ‖x_0 - x_*‖_∞ to a solution if the loss is convex: the
gradients cannot have pointed further than there is way to go. So d_k is a lower bound that grows
until Adam's learning rate d_k fits. Gradients count by d_k²: those met while the estimate was
still too small are soon forgotten, which is what D-Adaptation lacks.

m, v, s and r are kept for gradients times d_k / d_0 rather than d_k: the quotients are the same,
and d_0² = 1e-12 does not use up the range of the numbers.

Reference: Mishchenko & Defazio, 2023, Algorithm 4, https://arxiv.org/abs/2306.06101
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import (
    CorrectedDecay,
    Decay,
    LearningRate,
    Mask,
    NonNegative,
    Positive,
    PositiveNumber,
    StateDType,
)
from ..core.factory import transformation
from ..core.mask import mask_tree
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, whole_arrays
from .dadapt import GrowthRate, decayed, limited, rate, root
from .initial import descent, initial
from .scale import scale_rule


class ScaleByProdigyState(NamedTuple):
    """Four arrays a parameter; the rest is numbers."""

    count: Array  # type: ignore[assignment]  # k: int32, steps taken so far
    mu: Params  # m_k / d_0: structure and shapes of the parameters
    nu: Params  # v_k / d_0²: likewise, real, never negative
    grad_sum: Params  # s_k / d_0²: likewise
    init_params: Params  # x_0: the parameters that `init` was given, in their own dtype
    d: Array  # d_k: the distance that the next update uses; never falls
    d_max: Array  # the largest estimate so far: `d` may be on its way there
    d_numerator: Array  # r_k / d_0²

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"distance": self.d}


@transformation
@whole_arrays
def scale_by_prodigy(
    learning_rate: LearningRate = 1.0,
    b1: CorrectedDecay = 0.9,
    b2: CorrectedDecay = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    *,
    b3: Decay | None = None,
    d0: PositiveNumber = 1e-6,
    d_coef: Positive = 1.0,
    growth_rate: GrowthRate | None = None,
    bias_correction: bool = False,
    safeguard_warmup: bool = False,
    mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Replace gradients by Adam's steps, as long as the estimated distance allows (Prodigy).

    The updates hold the learning rate, which the estimate needs too, and point uphill: put
    `scale_by_learning_rate(None)` behind. `init` must see the parameters that training starts
    from, not a stand-in for them. Parameters in 16 bit round the first steps away and never start:
    put `master_weights` around the optimizer.

    Args:
      learning_rate: γ, a factor of the estimated distance. 1.0 is the method itself; a schedule
        that falls from 1.0 is how the paper trains networks.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: floor of the denominator, in units of the gradient. A gradient of zeros has update 0
        even if `eps` is 0.
      weight_decay: λ, decoupled: each step shrinks the weights by the factor
        1 - learning_rate d weight_decay.
      b3: decay of the estimate's two sums; by default sqrt(b2).
      d0: the first distance, in units of the parameters. Too small costs some tens of steps, too
        large cannot be undone.
      d_coef: factor of the estimate: 0.5 or 2 for shorter or longer steps.
      growth_rate: how much larger than the last one a distance may be, at least 1. The first
        growth from `d0` is not limited, as in the authors' code.
      bias_correction: whether to multiply the learning rate by Adam's
        sqrt(1 - b2^t) / (1 - b1^t), as optax always does; neither the paper nor the authors do.
      safeguard_warmup: whether to leave the learning rate out of s, so that a warm-up from small
        ones does not make the estimate too large.
      mask: which parameters decay, as in `add_decoupled_weight_decay`.
      state_dtype: dtype of the moments and of s; by default the parameter's, but at least
        float32. The initial parameters keep their own dtype. The moments grow by the growth of
        d, which float16 cannot hold: the training would stand still.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleByProdigyState`: 16 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByProdigyState:
        dtype = numerics.scalar_dtype()
        return ScaleByProdigyState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
            grad_sum=tree.zeros_like(params, state_dtype),
            init_params=initial(params),
            d=jnp.array(d0, dtype, copy=True),
            d_max=jnp.array(d0, dtype, copy=True),
            d_numerator=jnp.zeros((), dtype),
        )

    def update(
        updates: Updates, state: ScaleByProdigyState, params: Params
    ) -> tuple[Updates, State]:
        t = numerics.increment(state.count)
        beta = root(b2) if b3 is None else b3
        gamma = rate(learning_rate, t, b1, b2, bias_correction=bias_correction)
        a = state.d / d0
        progress = descent(updates, params, state.init_params)
        numerator = _summed(state.d_numerator, progress, a=a, b3=beta, gamma=gamma)
        updates, mu, nu, grad_sum = tree.lift(
            _prodigy_rule,
            updates,
            state.mu,
            state.nu,
            state.grad_sum,
            a=a,
            b1=b1,
            b2=b2,
            b3=beta,
            eps=eps,
            gamma=1.0 if safeguard_warmup else gamma,
        )
        size = numerics.global_sum(jnp.abs, grad_sum)
        d, d_max = _grown(
            state.d,
            state.d_max,
            numerics.divide(numerator, size),
            d0=d0,
            d_coef=d_coef,
            growth_rate=growth_rate,
        )
        chosen = mask_tree("scale_by_prodigy", mask, params)
        updates = decayed(updates, params, chosen, weight_decay, 1.0)
        # Behind the numerator, which reads the parameters: they can then be overwritten in place.
        factor = numerics.after(gamma * state.d, numerator)
        updates = tree.lift(scale_rule, updates, factor=factor)
        return updates, ScaleByProdigyState(
            t, mu, nu, grad_sum, state.init_params, d, d_max, numerator
        )

    return init, update


def _prodigy_rule(
    g: Array,
    mu: Array,
    nu: Array,
    s: Array,
    *,
    a: Array,
    b1: Value,
    b2: Value,
    b3: Value,
    eps: Value,
    gamma: Value,
) -> tuple[Array, Array, Array, Array]:
    """(g_k, m_k, v_k, s_k) -> (m_{k+1} / (sqrt(v_{k+1}) + d_k eps), m_{k+1}, v_{k+1}, s_{k+1})."""
    mu = numerics.ema(mu, a * g, b1)
    nu = numerics.ema(nu, numerics.abs_sq(a * g), b2)
    s = _summed(s, g, a=a, b3=b3, gamma=gamma)
    return numerics.divide(mu, numerics.root(nu), a * eps), mu, nu, s


def _summed(total: Array, term: Array, *, a: Array, b3: Value, gamma: Value) -> Array:
    """s_{k+1} of s_k and g_k, and r_{k+1} of r_k and <g_k, x_0 - x_k>."""
    return b3 * total + gamma * jnp.square(a) * term


def _grown(
    d: Array, d_max: Array, quotient: Array, *, d0: Value, d_coef: Value, growth_rate: Value | None
) -> tuple[Array, Array]:
    """d_{k+1} of d_k, and the largest estimate so far."""
    estimate = d_coef * quotient
    d_max = jnp.maximum(d_max, estimate)
    unlimited = jnp.where(d == jnp.asarray(d0, d.dtype), jnp.maximum(d, estimate), d)
    return limited(d_max, unlimited, growth_rate), d_max
