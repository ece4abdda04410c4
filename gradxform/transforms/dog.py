"""DoG and DoWG: the step size is the distance travelled, over the gradients met on the way.

With gradient g_t at the parameters x_t, t = 0, 1, ..., and norms over all arrays together:

    r_t = max(r_{t-1}, ‖x_t - x_0‖)            how far the parameters have come

    DoG     G_t = G_{t-1} + ‖g_t‖²             u_t = g_t r_t / sqrt(G_t + eps)
    DoWG    v_t = v_{t-1} + r_t² ‖g_t‖²        u_t = g_t r_t² / (sqrt(v_t) + eps)

For a convex problem the best constant step size is D / sqrt(G), with D the distance to the
solution. Nobody knows D, but r_t grows to about it: from a start r_{-1} that only has to be too
small, each step can multiply it until the parameters are as far away as the solution is. DoWG
weighs the gradients by the distance at which they were met, so that those of the start are soon
forgotten.

The units are those of the parameters: a learning rate is a factor without a unit, 1 in both papers.
The last iterate is noisy: what the papers prove is about weighted averages of the iterates, and
DoG's authors ask for an average in practice, too.

What is proved is also about convex functions, and for DoWG on a bounded set, which caps r. On
others r may overshoot, and it never falls. While all gradients are the same, DoWG multiplies r by
1.84 a step, and by 1.33 with the learning rate 1/2; DoG by 1.16 after 40 steps, and by less and
less later.

References:
  Ivgi, Hinder & Carmon, 2023, equations 1 and 2, https://arxiv.org/abs/2302.12022
  Khaled, Mishchenko & Jin, 2023, Algorithm 1, https://arxiv.org/abs/2305.16284
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import NonNegative, PositiveNumber
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, whole_arrays
from .initial import distance, initial
from .scale import scale_rule


class ScaleByDogState(NamedTuple):
    """Where the parameters started, and three numbers."""

    init_params: Params  # x_0: the parameters that `init` was given, in their own dtype
    max_dist: Array  # r_t: the largest distance from there; before the first step its start
    sum_sq_norm_grads: Array  # G_t, without eps
    step_size: Array  # r_t / sqrt(G_t + eps), which multiplied the last gradient; 0 before

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"distance": self.max_dist, "step_size": self.step_size}


class ScaleByDowgState(NamedTuple):
    """Where the parameters started, and three numbers."""

    init_params: Params  # x_0: the parameters that `init` was given, in their own dtype
    max_dist: Array  # r_t: the largest distance from there; before the first step its start
    weighted_sq_norm_grads: Array  # v_t
    step_size: Array  # r_t² / (sqrt(v_t) + eps), which multiplied the last gradient; 0 before

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"distance": self.max_dist, "step_size": self.step_size}


@transformation
@whole_arrays
def scale_by_dog(
    reps_rel: PositiveNumber = 1e-6,
    eps: NonNegative = 1e-8,
    *,
    init_eta: PositiveNumber | None = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Scale all gradients by distance over gradients (DoG).

    In float32 a gradient whose norm is above about 1e19 has an infinite square: all comes to rest.

    `init` must see the parameters that training starts from, not a stand-in for them. Parameters
    in 16 bit round the first steps away and never start: put `master_weights` around the optimizer.

    Args:
      reps_rel: the first distance is reps_rel (1 + ‖x_0‖): the length of the first step. Small
        enough that this step cannot hurt; the paper takes 1e-4 for networks with batch
        normalization.
      eps: added to the sum of squared gradient norms, in their units. With gradients of zeros
        the update is 0 even if `eps` is 0.
      init_eta: the first step size, in the place of the first distance.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleByDogState`: 4 bytes a parameter in float32, 2 in 16 bit.
    """

    def init(params: Params) -> ScaleByDogState:
        dtype = numerics.scalar_dtype()
        start = jnp.zeros((), dtype)
        if init_eta is None:
            start = jnp.asarray(reps_rel, dtype) * (1.0 + numerics.global_norm(params))
        return ScaleByDogState(
            init_params=initial(params),
            max_dist=start,
            sum_sq_norm_grads=jnp.zeros((), dtype),
            step_size=jnp.zeros((), dtype),
        )

    def update(updates: Updates, state: ScaleByDogState, params: Params) -> tuple[Updates, State]:
        r = jnp.maximum(state.max_dist, distance(params, state.init_params))
        total = state.sum_sq_norm_grads + numerics.global_sum(numerics.abs_sq, updates)
        step_size = _dog_step_size(r, total, eps=eps, init_eta=init_eta)
        updates = tree.lift(scale_rule, updates, factor=step_size)
        return updates, ScaleByDogState(state.init_params, r, total, step_size)

    return init, update


def _dog_step_size(r: Array, total: Array, *, eps: Value, init_eta: Value | None) -> Array:
    """η_t of r_t and G_t; at distance 0 there is no other first step than one that is given."""
    step_size = numerics.divide(r, numerics.root(total + eps))
    if init_eta is None:
        return step_size
    return jnp.where(r > 0, step_size, jnp.asarray(init_eta, r.dtype))


@transformation
@whole_arrays
def scale_by_dowg(
    r_eps: PositiveNumber = 0.01, eps: NonNegative = 1e-4, *, axis_name: AxisName = None
) -> InitUpdate:
    """Scale all gradients by distance over weighted gradients (DoWG).

    In float32 a gradient whose norm is above about 1e19 has an infinite square: all comes to rest.

    `init` must see the parameters that training starts from, not a stand-in for them. Parameters
    in 16 bit round the first steps away and never start: put `master_weights` around the optimizer.

    Args:
      r_eps: the first distance, in units of the parameters; at most that to the solution.
      eps: added to the root of the weighted sum, in units of the parameters times the gradient:
        steps become shorter where gradients are small. With gradients of zeros the update is 0
        even if `eps` is 0. The paper has none; the default is that of its authors' code.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `ScaleByDowgState`: 4 bytes a parameter in float32, 2 in 16 bit.
    """

    def init(params: Params) -> ScaleByDowgState:
        dtype = numerics.scalar_dtype()
        return ScaleByDowgState(
            init_params=initial(params),
            max_dist=jnp.array(r_eps, dtype, copy=True),
            weighted_sq_norm_grads=jnp.zeros((), dtype),
            step_size=jnp.zeros((), dtype),
        )

    def update(updates: Updates, state: ScaleByDowgState, params: Params) -> tuple[Updates, State]:
        r = jnp.maximum(state.max_dist, distance(params, state.init_params))
        total = state.weighted_sq_norm_grads + jnp.square(r) * numerics.global_sum(
            numerics.abs_sq, updates
        )
        step_size = _dowg_step_size(r, total, eps=eps)
        updates = tree.lift(scale_rule, updates, factor=step_size)
        return updates, ScaleByDowgState(state.init_params, r, total, step_size)

    return init, update


def _dowg_step_size(r: Array, total: Array, *, eps: Value) -> Array:
    """η_t of r_t and v_t."""
    return numerics.divide(jnp.square(r), numerics.root(total), eps)
