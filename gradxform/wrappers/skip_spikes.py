"""No step where the gradient, or the loss, is far above what it has been.

A batch that the model has no use for can throw a long training off its course. It shows in a
gradient norm, or a loss, far above those of the steps before. With the readings x of the last n
steps that were taken, their mean and their standard deviation,

    a spike:    x_t > mean + max(σ std, 1 % of the level)

where x is log |g|, the logarithm of the global norm, or the loss itself. Norms vary by factors
and lean towards large values; their logarithms are about normal, and one large norm in the window
does not hide the next one. The 1 % is for training so quiet that its deviations are rounding.

The window holds the last `window` readings themselves, and not a running average, so that what is
old is forgotten entirely and a few readings are weighed as they are. Skipped steps do not enter
it. So after `max_consecutive` spikes in a row the level is taken to have changed: the step is
taken, and the statistics begin anew with it.

References:
  OLMo-core's skip-step optimizers, 2024, https://github.com/allenai/OLMo-core: σ = 6 and a window
    of 128, on losses and norms as they are, to both sides, skipped steps in the window
  Kumar, Owen, Chowdhury & Güra, 2025 (ZClip), https://arxiv.org/abs/2504.02507: z-scores of the
    norm from running averages, and clipping in the place of skipping
  Chowdhery et al., 2022 (PaLM), section 5.1, https://arxiv.org/abs/2204.02311: skipping batches
"""

import math
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import check, numerics, shards
from ..core.arguments import Count, Positive, Transformation
from ..core.factory import transformation
from ..core.improvement import real_number
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, whole_arrays
from .loss_scale import dynamic_loss_scale
from .order import require_state_here
from .skip_nonfinite import LOSS_SCALE_INSIDE
from .skipping import (
    counted,
    finite,
    finite_extra,
    in_a_row,
    require_axes,
    require_not_inside,
    step_if,
)

_LEAST = 0.01  # a reading this near above the mean is no spike


class SkipSpikesState(NamedTuple):
    """The statistics and counts of what was skipped, beside the state of what it guards."""

    inner_state: State
    readings: Array  # the last `window` of the steps taken, newest last: log |g|, or losses
    recorded: Array  # int32: how many of these there are; the others mean nothing
    spikes: Array  # int32: finite spikes since the last step that was taken
    restarts: Array  # int32: how often the statistics began anew
    skipped_steps: Array  # int32: all steps that were skipped
    consecutive: Array  # int32: how many in a row, up to the last one
    last_skipped: Array  # int32: 1 if the last step was skipped, else 0

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"skipped_steps": self.skipped_steps, "last_skipped": self.last_skipped}


@transformation
@whole_arrays
def skip_spikes(
    inner: Transformation,
    sigma: Positive = 6.0,
    window: Count = 128,
    *,
    watch: Literal["gradient_norm", "loss"] = "gradient_norm",
    warmup: Count | None = None,
    max_consecutive: Count = 10,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Leave out every step whose gradient norm, or loss, is far above the last ones.

    Such a step changes nothing: the update is zero, and the state of `inner` stays as it is, its
    counters and schedules included. A step whose gradients or whose `value` are not finite, in the
    sense of `skip_nonfinite`, is always one, during the warm-up as well.

    Args:
      inner: the whole optimizer, clipping included: the norm is that of the gradients as they
        come in. `dynamic_loss_scale` goes around it, not into it.
      sigma: how many standard deviations above the mean a spike begins.
      window: how many readings the mean and the standard deviation are taken of; at least 2.
      watch: "gradient_norm" reads the logarithm of the global norm; a gradient of zeros is let
        through and not recorded. "loss" reads what the caller passes as
        `update(grads, state, params, value=loss)`.
      warmup: how many readings there must be before finite steps are skipped, after a restart
        again; by default half a window.
      max_consecutive: how many finite spikes are skipped before a level is believed. The one
        after them is taken as the first reading of new statistics.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `SkipSpikesState`: `window` numbers and six counters more than
      `inner`.

    Raises:
      ValueError: `inner` holds a `dynamic_loss_scale`, or `warmup` is more than `window`.
    """
    check.require(window >= 2, f"`window` must be at least 2, for a deviation; got {window}.")
    needed = max(2, window // 2) if warmup is None else warmup
    check.require(
        needed <= window,
        f"`warmup` must be at most `window`, which holds all readings there are; got {warmup} "
        f"and {window}.",
    )
    require_not_inside((dynamic_loss_scale,), inner, LOSS_SCALE_INSIDE)
    require_state_here(inner, "skip_spikes")
    require_axes(inner, axis_name)

    def init(params: Params) -> SkipSpikesState:
        return SkipSpikesState(
            inner.init(params),
            jnp.zeros((window,), numerics.scalar_dtype()),
            *(jnp.zeros((), jnp.int32) for _ in range(6)),
        )

    def update(
        updates: Updates, state: SkipSpikesState, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        if watch == "loss":
            reading = real_number("update(..., value=...)", "skip_spikes", extra["value"])
            readable, is_finite = jnp.isfinite(reading), finite(updates, extra)
        else:
            norm = numerics.global_norm(updates)
            readable = jnp.isfinite(norm) & (norm > 0)
            reading = jnp.log(jnp.where(readable, norm, jnp.ones_like(norm)))
            is_finite = shards.everywhere(jnp.isfinite(norm) & finite_extra(extra))
        is_warm = state.recorded >= max(2, needed)
        limit = _limit(state.readings, state.recorded, sigma, relative=watch == "loss")
        spike = is_finite & readable & is_warm & (reading > limit)
        restart = spike & (state.spikes >= max_consecutive)
        taken = is_finite & (~spike | restart)
        new, inner_state = step_if(taken, inner, updates, state.inner_state, params, extra)

        record = taken & readable
        kept = jnp.where(restart, jnp.zeros_like(state.recorded), state.recorded)
        recorded = jnp.minimum(numerics.increment(kept), jnp.full_like(kept, window))
        shifted = jnp.concatenate([state.readings[1:], reading[None]])
        spikes = counted(spike, state.spikes)
        return new, SkipSpikesState(
            inner_state=inner_state,
            readings=jnp.where(record, shifted, state.readings),
            recorded=jnp.where(record, recorded, kept),
            spikes=jnp.where(taken, jnp.zeros_like(spikes), spikes),
            restarts=counted(restart, state.restarts),
            skipped_steps=counted(~taken, state.skipped_steps),
            consecutive=in_a_row(~taken, state.consecutive),
            last_skipped=(~taken).astype(jnp.int32),
        )

    def update_with_loss(
        updates: Updates, state: SkipSpikesState, params: Params = None, *, value: Any, **extra: Any
    ) -> tuple[Updates, State]:
        return update(updates, state, params, value=value, **extra)

    return init, update_with_loss if watch == "loss" else update


def _limit(readings: Array, recorded: Array, sigma: Value, *, relative: bool) -> Array:
    """What a reading may be: so many standard deviations above the mean, at least 1 %."""
    age = jnp.arange(readings.size, 0, -1, jnp.int32)
    known = age <= recorded
    one = jnp.ones_like(recorded)
    count, rest = (jnp.maximum(n, one).astype(readings.dtype) for n in (recorded, recorded - 1))
    zeros = jnp.zeros_like(readings)
    mean = jnp.sum(jnp.where(known, readings, zeros)) / count
    deviations = jnp.where(known, jnp.square(readings - mean), zeros)
    std = numerics.root(jnp.sum(deviations) / rest)
    least = _LEAST * jnp.abs(mean) if relative else jnp.full_like(mean, math.log1p(_LEAST))
    return mean + jnp.maximum(sigma * std, least)
