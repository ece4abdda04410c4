"""Sophia: momentum over curvature, clipped in every coordinate.

For each array, with gradient g_t at the parameters θ_t, t = 1, 2, ..., and m_0 = h_0 = 0:

    m_t = b1 m_{t-1} + (1 - b1) g_t
    h_t = b2 h_{t-1} + (1 - b2) ĥ_t         every k-th step, from the first; else h_t = h_{t-1}
    u_t = clip(m_t / max(gamma h_t, eps), ρ)

ĥ_t is an estimate of the diagonal of the Hessian at θ_t. Where the curvature is known and large,
the step is Newton's for that coordinate; where it is small, negative or out of date, the clip
makes it a step of one size, as Lion's. So a learning rate applied to u_t is the longest step, in
units of the parameters. gamma decides how many coordinates are clipped: the authors tune it until
the win rate, the fraction that is not, lies between 0.1 and 0.5.

Reference: Liu, Li, Hall, Liang & Ma, 2023, Algorithm 3, https://arxiv.org/abs/2305.14342
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..core import check, numerics, tree
from ..core.arguments import (
    Decay,
    NonNegative,
    Positive,
    StateDType,
    TracedCount,
    TracedWholeNumber,
)
from ..core.branch import for_any
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.random_keys import own_seed
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, whole_arrays
from .curvature import HessianFn


class ScaleBySophiaState(NamedTuple):
    """Two averages a parameter, a counter, and a reading."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # h_t: likewise, real, of either sign
    win_rate: Array  # the fraction of coordinates that the last step did not clip; 0 before
    seed: Array  # int32: of the keys, mixed with the place of the block

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"win_rate": self.win_rate}


@transformation
@leaf_wise
@whole_arrays
def scale_by_sophia(
    b1: Decay = 0.96,
    b2: Decay = 0.99,
    eps: NonNegative = 1e-12,
    gamma: Positive = 0.01,
    clip_threshold: Positive = 1.0,
    *,
    interval: TracedCount = 10,
    seed: TracedWholeNumber = 0,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Divide momentum by curvature and clip the result (Sophia).

    `update` needs a function that estimates the diagonal of the Hessian:

        estimate = hutchinson(lambda params: loss(params, batch))
        updates, state = update(grads, state, params, hessian_fn=estimate)

    `gauss_newton_bartlett` makes another one, and any function `(params, key) -> diagonal` will
    do. It is computed every `interval` steps, and the steps between do not pay for it; under
    `vmap`, all members compute it when one of them needs it. Under `shard_map` it has to average
    over the devices itself.

    Args:
      b1: decay of the first moment, in [0, 1). It is not corrected for its start at zero, as in
        the paper: the first updates are short where they are not clipped. optax corrects it.
      b2: decay of the curvature from one estimate to the next, in [0, 1).
      eps: floor of the denominator, in units of the gradient. A gradient of zeros has update 0
        even if `eps` is 0.
      gamma: factor of the curvature. The paper takes 0.01 with Hutchinson's estimates and 0.05
        with those of Gauss, Newton and Bartlett.
      clip_threshold: ρ, the largest absolute value of a coordinate of the update.
      interval: k, the number of steps for which an estimate lasts.
      seed: of the random keys that `hessian_fn` gets: one for each estimate and each place in a
        chain or in groups, the same under `vmap`. It stands in the state.
      state_dtype: dtype of both averages; by default the parameter's, but at least float32.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleBySophiaState`: 8 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleBySophiaState:
        return ScaleBySophiaState(
            count=jnp.zeros((), jnp.int32),
            mu=tree.zeros_like(params, state_dtype),
            nu=tree.zeros_like(params, state_dtype, real=True),
            win_rate=jnp.zeros((), numerics.scalar_dtype()),
            seed=own_seed(seed),
        )

    def update(
        updates: Updates, state: ScaleBySophiaState, params: Params, *, hessian_fn: HessianFn
    ) -> tuple[Updates, State]:
        due = state.count % interval == 0

        def refreshed(nu: Params) -> Params:
            key = jax.random.fold_in(jax.random.key(state.seed), state.count)
            estimate = _estimate(hessian_fn, params, key)
            h, *_ = tree.lift(_refreshed_rule, updates, nu, estimate, params=params, b2=b2, due=due)
            return h

        def kept(nu: Params) -> Params:
            return tree.lift(_kept_rule, updates, nu, params=params)[0]

        h = lax.cond(for_any(due), refreshed, kept, state.nu)
        steps, mu, nu, _ = tree.lift(
            _sophia_rule,
            updates,
            state.mu,
            state.nu,
            h,
            b1=b1,
            eps=eps,
            gamma=gamma,
            clip_threshold=clip_threshold,
        )
        updates, win_rate = _collected(steps)
        return updates, ScaleBySophiaState(
            numerics.increment(state.count), mu, nu, win_rate, state.seed
        )

    return init, update


class _Step(NamedTuple):
    """What one array gives."""

    update: Array
    inside: Array  # how many coordinates were not clipped


def _estimate(hessian_fn: Any, params: Params, key: Array) -> Params:
    """ĥ_t, in the precision of the parameters."""
    check.require(
        callable(hessian_fn),
        "`hessian_fn` is a function (params, key) -> diagonal of the Hessian, as `hutchinson` and "
        f"`gauss_newton_bartlett` make them; got {check.brief(hessian_fn)}.",
    )
    estimate = hessian_fn(params, key)
    structures: list[Any] = [jax.tree.structure(t) for t in (estimate, params)]
    shapes = [[jnp.shape(x) for x in jax.tree.leaves(t)] for t in (estimate, params)]
    check.require(
        structures[0] == structures[1] and shapes[0] == shapes[1],
        "`hessian_fn(params, key)` must return a tree like the parameters; it is "
        f"{check.brief(structures[0])} with shapes {check.brief(shapes[0])}, they "
        f"are {check.brief(structures[1])} with {check.brief(shapes[1])}.",
    )

    def real(h: Any, p: Any) -> Array:
        precision = numerics.real_dtype(jnp.asarray(p).dtype)
        return numerics.at_precision(jnp.real(jnp.asarray(h)), precision)

    return jax.tree.map(real, estimate, params)


# h_t comes first in the precision of the update, and is rounded where it is stored.


def _refreshed_rule(
    g: Array, nu: Array, estimate: Array, *, p: Array, b2: Value, due: Array
) -> tuple[Array, Array, Array]:
    """(g_t, h_{t-1}, ĥ_t) -> (h_t, and what was given)."""
    return jnp.where(due, numerics.ema(nu, estimate, b2), nu), nu, estimate


def _kept_rule(g: Array, nu: Array, *, p: Array) -> tuple[Array, Array]:
    """(g_t, h_{t-1}) -> (h_t, and what was given)."""
    return nu, nu


def _sophia_rule(
    g: Array,
    mu: Array,
    nu: Array,
    h: Array,
    *,
    b1: Value,
    eps: Value,
    gamma: Value,
    clip_threshold: Value,
) -> tuple[_Step, Array, Array, Array]:
    """(g_t, m_{t-1}, h_{t-1}, h_t) -> (u_t, m_t, h_t, h_t)."""
    mu = numerics.ema(mu, g, b1)
    curvature = jnp.maximum(gamma * h, eps)
    # Compared before they are divided: the quotient may be infinite, or 0 / 0.
    inside = jnp.abs(mu) < clip_threshold * curvature
    u = jnp.where(inside, numerics.divide(mu, curvature), clip_threshold * jnp.sign(mu))
    return _Step(u, jnp.sum(jnp.where(inside, 1.0, 0.0))), mu, h, h


def _collected(steps: Any) -> tuple[Updates, Array]:
    """The tree of updates, and the fraction of all coordinates that were not clipped."""

    def is_step(x: Any) -> bool:
        return isinstance(x, _Step)

    found = jax.tree.leaves(steps, is_leaf=is_step)
    inside = numerics.global_sum(jnp.real, [step.inside for step in found])
    size = float(max(sum(numerics.array_size(step.update) for step in found), 1))
    return jax.tree.map(lambda x: x.update, steps, is_leaf=is_step), inside / size
