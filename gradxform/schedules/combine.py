"""Schedules made of schedules: warmup in front of one, and several in a row."""

import jax.numpy as jnp
from jax import Array

from ..core import check
from ..core.arguments import Number
from ..core.lengths import Boundaries, Steps
from ..core.schedule import NumberOrSchedule, Schedules, as_schedule, schedule
from .shapes import Form, passed


@schedule
def warmup(schedule: NumberOrSchedule, steps: Steps, start: Number = 0.0) -> Form:
    """Rise in a straight line to a schedule's first value, then follow the schedule.

    The warmup comes before: the schedule starts at its own step 0 when the warmup ends, so the
    whole takes `steps` and the schedule's steps together.

    Args:
      schedule: a schedule, or a number to stay at.
      steps: how many steps the rise takes.
      start: the value at step 0. Where it is 0, the first update changes nothing.

    Reference: Goyal et al., 2017, section 2.2, https://arxiv.org/abs/1706.02677
    """
    inner = as_schedule(schedule)

    def value(t: Array) -> Array:
        done = jnp.minimum(t, steps).astype(jnp.float32) / steps
        top = inner(jnp.maximum(t - steps, 0))
        # At the end of the rise `done` is exactly 1 and the line is the schedule itself.
        return start * (1.0 - done) + top * done

    return value


@schedule
def join_schedules(schedules: Schedules, boundaries: Boundaries) -> Form:
    """Follow one schedule after the other, each from its own step 0.

    Args:
      schedules: schedules or numbers, one more than boundaries.
      boundaries: the steps at which the next schedule takes over, in increasing order.
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
        values = [jnp.broadcast_to(jnp.asarray(v, jnp.float32), t.shape) for v in values]
        return jnp.select(
            [passed(limits, t) == index for index in range(len(parts))], values, values[-1]
        )

    return value
