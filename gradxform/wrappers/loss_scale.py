"""Loss scaling: float16 gradients that neither vanish nor overflow.

In float16 what is below 6e-8 is zero, and many gradients are. The loss is multiplied by a scale
S_t, and with it every gradient on its way back; the optimizer divides by S_t again, in float32.
S_t is as large as it may be without overflow, which is found by trying:

    all gradients finite    the step is taken; after `growth_interval` such steps in a row
                            S_{t+1} = min(S_t growth_factor, max_scale)
    else                    the step is skipped, and
                            S_{t+1} = max(S_t backoff_factor, min_scale)

Factors that are powers of two change no digit of a gradient. bfloat16 has the range of float32 and
needs none of this.

References:
  Micikevicius et al., 2018, section 3.2, https://arxiv.org/abs/1710.03740
  torch.amp.GradScaler, whose rule and names these are
"""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..core import check, numerics
from ..core.arguments import Count, PositiveNumber, Transformation
from ..core.factory import transformation
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, whole_arrays
from .order import require_state_here
from .skipping import counted, finite, in_a_row, require_axes, require_not_inside, scaled, step_if

Growth = Annotated[Any, check.Interval(low=1.0)]
Backoff = Annotated[Any, check.Interval(low=0.0, low_open=True, high=1.0, high_open=True)]


class DynamicLossScaleState(NamedTuple):
    """The scale, and what it was found by."""

    inner_state: State
    scale: Array  # S_t: what `scale_loss` multiplies the next loss by
    growth_tracker: Array  # int32: steps without overflow since the scale last changed
    skipped_steps: Array  # int32: all steps that overflowed
    consecutive: Array  # int32: how many in a row, up to the last one
    last_skipped: Array  # int32: 1 if the last step was skipped, else 0
    underflows: Array  # int32: how many overflowed at `min_scale`, where no scale would have helped

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {
            "loss_scale": self.scale,
            "skipped_steps": self.skipped_steps,
            "underflows": self.underflows,
        }


@transformation
@whole_arrays
def dynamic_loss_scale(
    inner: Transformation,
    init_scale: PositiveNumber = 2.0**15,
    growth_factor: Growth = 2.0,
    backoff_factor: Backoff = 0.5,
    growth_interval: Count = 2000,
    *,
    min_scale: PositiveNumber = 1.0,
    max_scale: PositiveNumber = 2.0**24,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Divide the gradients of a scaled loss by its scale, and find the scale.

        tx = dynamic_loss_scale(master_weights(adamw(1e-3)))

        def scaled_loss(params, state, batch):
            loss = loss_fn(params, batch)
            return scale_loss(state, loss), loss

        grads, loss = jax.grad(scaled_loss, has_aux=True)(params, state, batch)
        updates, state = tx.update(grads, state, params)

    A step with an infinite or NaN gradient changes nothing but the scale and the counters: the
    update is zero, and the state of `inner` stays as it is. The test is that of `skip_nonfinite`,
    on the gradients divided by the scale. `value` is no part of it.

    The scale does not fall below `min_scale`: gradients that overflow there do so without any
    scale. Such steps are skipped as well and counted in `underflows`; if that count grows, the
    model itself gives infinite or NaN gradients.

    Args:
      inner: the optimizer, with clipping and everything else that reads the size of a gradient.
      init_scale: the first scale. torch begins at 2^16, which is infinite in float16.
      growth_factor: what the scale is multiplied by after `growth_interval` steps.
      backoff_factor: what it is multiplied by after a step that overflowed.
      growth_interval: how many steps in a row without overflow make it grow.
      min_scale: the least scale. torch has none, and ends at 0 where all gradients are NaN.
      max_scale: the largest scale. torch's is that of float32. Gradients in bfloat16 and float32
        do not overflow and end here.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `DynamicLossScaleState`: six scalars more than `inner`.

    Raises:
      ValueError: `init_scale` is out of its bounds, or `inner` holds a `dynamic_loss_scale` too.
    """
    for name, bound, beyond in (
        ("min_scale", min_scale, min_scale > init_scale),
        ("max_scale", max_scale, max_scale < init_scale),
    ):
        check.require(
            check.is_traced(beyond) or not beyond,
            f"`init_scale` must lie between `min_scale` and `max_scale`; got {init_scale} and "
            f"{name}={bound}.",
        )
    require_not_inside(
        (dynamic_loss_scale,), inner, ": a loss has one scale. Keep the one outside."
    )
    require_state_here(inner, "dynamic_loss_scale")
    require_axes(inner, axis_name)

    def init(params: Params) -> DynamicLossScaleState:
        return DynamicLossScaleState(
            inner.init(params),
            jnp.array(init_scale, numerics.scalar_dtype(), copy=True),
            *(jnp.zeros((), jnp.int32) for _ in range(5)),
        )

    def update(
        updates: Updates, state: DynamicLossScaleState, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        unscale = 1.0 / state.scale
        overflow = ~finite(scaled(updates, unscale), {})
        new, inner_state = step_if(
            ~overflow, inner, updates, state.inner_state, params, extra, scale=unscale
        )
        clean = in_a_row(~overflow, state.growth_tracker)
        grow = clean >= growth_interval
        least, largest = (jnp.asarray(x, unscale.dtype) for x in (min_scale, max_scale))
        larger = jnp.minimum(state.scale * growth_factor, largest)
        smaller = jnp.maximum(state.scale * backoff_factor, least)
        return new, DynamicLossScaleState(
            inner_state=inner_state,
            scale=jnp.where(overflow, smaller, jnp.where(grow, larger, state.scale)),
            growth_tracker=jnp.where(grow, jnp.zeros_like(clean), clean),
            skipped_steps=counted(overflow, state.skipped_steps),
            consecutive=in_a_row(overflow, state.consecutive),
            last_skipped=overflow.astype(jnp.int32),
            underflows=counted(overflow & (state.scale <= least), state.underflows),
        )

    return init, update


def scale_loss(state: State, loss: Any) -> Array:
    """The loss times the scale of `dynamic_loss_scale`, in at least float32.

    `scale_loss(state, 1.0)` reads the scale.

    A float16 loss is widened before it is multiplied. Its gradient begins in float16 all the
    same, with the scale itself: from 2^16 on that is infinite, so that the scale of a float16 loss
    never stays above 2^15. Take the mean of float16 losses in float32:
    `jnp.mean(losses, dtype=jnp.float32)`.

    Args:
      state: the state of a transformation, or anything that is a tree around one: a chain's
        state, a Flax `TrainState`, an `nnx.Optimizer`'s `opt_state`.
      loss: a real array, of any shape and floating dtype.

    Returns:
      An array in float32, or in float64 if the loss is.

    Raises:
      ValueError: the state holds no loss scale, or several.
      TypeError: the loss is no real floating array.
    """
    found = [x for x in jax.tree.leaves(state, is_leaf=_is_loss_scale) if _is_loss_scale(x)]
    with check.calling("scale_loss(state, loss)"):
        check.require(
            bool(found),
            "this state holds no loss scale. Build the optimizer as `dynamic_loss_scale(...)`, "
            "and pass the state before the loss.",
        )
        check.require(
            len(found) < 2,
            f"this state holds {len(found)} loss scales, and the loss can be multiplied by one "
            "only. Put one `dynamic_loss_scale` around the whole optimizer.",
        )
    loss = jnp.asarray(loss)
    if not jnp.issubdtype(loss.dtype, np.floating):
        raise TypeError(
            "`scale_loss(state, loss)`: the loss must be a real floating array; got "
            f"{loss.dtype}{list(loss.shape)}."
        )
    (scale,) = jax.tree.leaves(found[0].scale)  # Flax's NNX has a box around it
    wide = numerics.real_dtype(loss.dtype)
    return jnp.asarray(loss.astype(wide) * scale.astype(wide))


def _is_loss_scale(x: Any) -> bool:
    return isinstance(x, DynamicLossScaleState)
