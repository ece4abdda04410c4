"""Schedules made of schedules: warmup in front of one, several in a row, one times another."""

from typing import Literal

import jax.numpy as jnp
from jax import Array

from ..core import check
from ..core.arguments import Number
from ..core.check import LONGEST
from ..core.lengths import Boundaries, Every, FirstSteps, LastSteps, OwnSteps, Steps, StepsOrZero
from ..core.schedule import (
    AfterSteps,
    Elsewhere,
    NumberOrSchedule,
    Schedules,
    as_schedule,
    schedule,
)
from .shapes import Form, as_number, between, cycle, mixed, passed, progress, remaining


@schedule
def warmup(
    schedule: AfterSteps,
    steps: StepsOrZero,
    start: Number = 0.0,
    shape: Literal["linear", "exponential"] = "linear",
) -> Form:
    """Rise to a schedule's first value, then follow the schedule.

    The warmup comes before: the schedule starts at its own step 0 when the warmup ends, so the
    whole takes `steps` and the schedule's steps together.

    Args:
      schedule: a schedule, or a number to stay at.
      steps: how many steps the rise takes; 0 for no warmup.
      start: the value at step 0. Where it is 0, the first update changes nothing.
      shape: "linear" adds the same at each step; "exponential" multiplies by the same, and needs
        a `start` above 0.

    Raises:
      ValueError: an exponential rise that starts or ends at 0 or below.

    Reference: Goyal et al., 2017, section 2.2, https://arxiv.org/abs/1706.02677
    """
    inner = as_schedule(schedule)
    if shape == "exponential":
        known = [x for x in (start, schedule) if isinstance(x, float)]
        check.require(
            all(x > 0 for x in known),
            "an exponential warmup multiplies: it must start above 0 and rise to a value above 0, "
            "such as `start=1e-6`.",
        )
    if steps == 0:
        return inner

    def value(t: Array) -> Array:
        top = as_number(inner(jnp.maximum(t - steps, 0)))
        left, done = remaining(t, steps), progress(t, steps)
        # At the end of the rise nothing is left, and the rise is the schedule itself.
        if shape == "linear":
            return mixed(start, top, left, done, "linear")
        ratio = jnp.maximum(top, 0.0) / start
        return jnp.where(left > 0, start * jnp.power(ratio, done), top)

    return value


@schedule
def warmup_stable_decay(
    peak: Number,
    steps: Steps,
    warmup_steps: FirstSteps,
    decay_steps: LastSteps,
    start: Number = 0.0,
    end: Number = 0.0,
    shape: Literal["linear", "cosine", "sqrt"] = "linear",
) -> Form:
    """Rise in a line, stay at the peak, and fall at the end (WSD, a trapezoid).

    The run can be prolonged from any step of the plateau, because nothing before the fall depends
    on where it is.

    Args:
      peak: the value of the plateau.
      steps: how many steps the whole takes, warmup and decay included.
      warmup_steps: how many of them, at the beginning, rise from `start` to `peak`.
      decay_steps: how many of them, at the end, fall from `peak` to `end`: a tenth of the steps,
        or a fifth.
      start: the value at step 0.
      end: the value from step `steps` on.
      shape: of the fall. "sqrt" goes as 1 - sqrt(part done): fast at first.

    Raises:
      ValueError: warmup and decay take more than `steps` together.

    References:
      Hu et al., 2024, section 4, https://arxiv.org/abs/2404.06395
      Hägele et al., 2024, section 3 ("sqrt"), https://arxiv.org/abs/2405.18392
    """
    begin = steps - decay_steps
    check.require(
        warmup_steps <= begin,
        f"{warmup_steps} steps of warmup and {decay_steps} of decay do not fit into {steps}.",
    )

    def value(t: Array) -> Array:
        rise = between(start, peak, t, warmup_steps) if warmup_steps else as_number(peak)
        fall = jnp.maximum(t - begin, 0)
        left, done = remaining(fall, decay_steps), progress(fall, decay_steps)
        if shape == "sqrt":
            done = jnp.sqrt(done)
            left = left / (1.0 + done)  # 1 - sqrt(x) = (1 - x) / (1 + sqrt(x))
        falling = mixed(peak, end, left, done, "cosine" if shape == "cosine" else "linear")
        return jnp.where(t < begin, rise, falling)

    return value


@schedule
def join_schedules(schedules: Schedules, boundaries: Boundaries) -> Form:
    """Follow one schedule after the other, each from its own step 0.

    Args:
      schedules: schedules or numbers, one more than boundaries.
      boundaries: the steps at which the next schedule takes over, in increasing order.

    Raises:
      ValueError: not one schedule more than boundaries.
    """
    limits = tuple(boundaries)
    check.require(
        len(schedules) == len(limits) + 1,
        f"{len(schedules)} schedules need {len(schedules) - 1} boundaries between them; "
        f"got {len(limits)}.",
    )
    parts = [as_schedule(item) for item in schedules]

    def value(t: Array) -> Array:
        starts = (0, *limits)
        values = [part(jnp.maximum(t - s, 0)) for part, s in zip(parts, starts, strict=True)]
        values = [jnp.broadcast_to(as_number(v), t.shape) for v in values]
        return jnp.select(
            [passed(limits, t) == index for index in range(len(parts))], values, values[-1]
        )

    return value


@schedule
def scale_schedule(schedule: NumberOrSchedule, factor: NumberOrSchedule) -> Form:
    """A schedule times a number, or times another schedule: schedule(t) factor(t).

    Args:
      schedule: a schedule or a number.
      factor: a number, or a schedule that runs beside the other from the same step 0.
    """
    one, other = as_schedule(schedule), as_schedule(factor)
    return lambda t: as_number(one(t)) * as_number(other(t))


@schedule
def delay_schedule(schedule: AfterSteps, steps: StepsOrZero) -> Form:
    """Stay at a schedule's first value, then follow the schedule: schedule(t - steps).

    Args:
      schedule: a schedule or a number.
      steps: how many steps later it begins; optax's `transition_begin`.
    """
    inner = as_schedule(schedule)
    return lambda t: inner(jnp.maximum(t - steps, 0))


@schedule
def advance_schedule(schedule: Elsewhere, steps: OwnSteps) -> Form:
    """Begin inside of a schedule: schedule(t + steps).

    A decay that counts from the first step of a run, behind a warmup that is part of it:
    `warmup(advance_schedule(cosine_decay(1e-3, 1000), 100), 100)` ends at step 1000, not 1100.

    Args:
      schedule: a schedule or a number.
      steps: the schedule's own step with which it begins.
    """
    inner = as_schedule(schedule)
    return lambda t: inner(jnp.minimum(t, LONGEST - steps) + steps)


@schedule
def staircase(schedule: NumberOrSchedule, every: Every) -> Form:
    """Hold the value of a schedule for some steps at a time: schedule(every ⌊t / every⌋).

    A schedule by epochs: `staircase(cosine_decay(0.1, epochs(90, n)), every=epochs(1, n))`.

    Args:
      schedule: a schedule or a number.
      every: how many steps each value is held; those of `epochs(2.4, ...)` do not drift.
    """
    inner = as_schedule(schedule)
    return lambda t: inner(t - cycle(t, every)[1])
