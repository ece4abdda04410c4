"""No step where the gradients are not finite.

One infinite or NaN coordinate that reaches a moment stays in it for ever, and what reaches the
parameters spreads to all of them in the next step. A step left out costs a batch.
"""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import check
from ..core.arguments import Count, Transformation
from ..core.factory import transformation
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, whole_arrays
from .loss_scale import dynamic_loss_scale
from .order import require_state_here
from .skipping import counted, finite, in_a_row, require_axes, require_not_inside, step_if


class SkipNonfiniteState(NamedTuple):
    """Counts of what was skipped, beside the state of what it guards."""

    inner_state: State
    skipped_steps: Array  # int32: all steps that were skipped
    consecutive: Array  # int32: how many in a row were not finite, up to the last one
    last_skipped: Array  # int32: 1 if the last step was skipped, else 0
    exceeded: Array  # int32: how many came after `max_consecutive` in a row, taken or not

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"skipped_steps": self.skipped_steps, "last_skipped": self.last_skipped}


@transformation
@whole_arrays
def skip_nonfinite(
    inner: Transformation,
    max_consecutive: Count | None = None,
    *,
    on_exceeded: Literal["skip", "apply"] = "skip",
    axis_name: AxisName = None,
) -> InitUpdate:
    """Leave out every step whose gradients hold an infinite or NaN coordinate.

    Such a step changes nothing: the update is zero, and the state of `inner` stays as it is, with
    its counters, schedules, moments and the readings of its hyperparameters. So does one whose
    gradients are so large that the sum of their squares is not finite (in float32 from a norm of
    1.8e19 on, which would leave an infinite second moment behind), and one whose loss is infinite
    or NaN, where the caller passes it: `update(grads, state, params, value=loss)`.

    The gradients are tested as they come in, as in `optax.apply_if_finite`. An overflow inside of
    `inner` is not seen: bound its input, as in `skip_nonfinite(chain(clip_by_value(c), ...))`.

    Args:
      inner: the whole optimizer, as a rule. `dynamic_loss_scale` goes around it, not into it.
      max_consecutive: how many steps in a row may be skipped; by default any number.
      on_exceeded: what happens to the ones after them. "skip" goes on skipping, and `exceeded` in
        the state counts them: stop there and look at the data. "apply" lets them through, as
        `optax.apply_if_finite` does.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `SkipNonfiniteState`: four counters more than `inner`.

    Raises:
      ValueError: `inner` holds a `dynamic_loss_scale`.
    """
    check.require(
        max_consecutive is not None or on_exceeded == "skip",
        '`on_exceeded="apply"` needs a `max_consecutive` that can be exceeded.',
    )
    require_not_inside((dynamic_loss_scale,), inner, LOSS_SCALE_INSIDE)
    require_state_here(inner, "skip_nonfinite")
    require_axes(inner, axis_name)

    def init(params: Params) -> SkipNonfiniteState:
        return SkipNonfiniteState(inner.init(params), *(jnp.zeros((), jnp.int32) for _ in range(4)))

    def update(
        updates: Updates, state: SkipNonfiniteState, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        bad = ~finite(updates, extra)
        consecutive = in_a_row(bad, state.consecutive)
        exceeded = jnp.zeros_like(bad)
        if max_consecutive is not None:
            exceeded = consecutive > max_consecutive
        skip = bad & ~exceeded if on_exceeded == "apply" else bad
        new, inner_state = step_if(~skip, inner, updates, state.inner_state, params, extra)
        return new, SkipNonfiniteState(
            inner_state=inner_state,
            skipped_steps=counted(skip, state.skipped_steps),
            consecutive=consecutive,
            last_skipped=skip.astype(jnp.int32),
            exceeded=counted(exceeded, state.exceeded),
        )

    return init, update


LOSS_SCALE_INSIDE = (
    ", which must see the steps that overflow to lower its scale. Turn them round: "
    "`dynamic_loss_scale(...)` skips such steps itself, and goes outside."
)
