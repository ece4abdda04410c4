"""Schedules given by their values at a few steps: held between them, or joined by curves."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from jax import Array

from ..core import check
from ..core.lengths import Boundaries
from ..core.schedule import Numbers, schedule
from .shapes import Form, Shape, as_number, mixed, passed


@schedule
def piecewise_constant(values: Numbers, boundaries: Boundaries) -> Form:
    """Hold each value until the next boundary.

    The step at a boundary already has the new value, as in optax's `piecewise_constant_schedule`,
    which takes factors instead of values.

    Args:
      values: the values, one more than boundaries: the first holds from step 0.
      boundaries: the steps at which the next value begins, in increasing order.
    """
    limits = _limits(values, boundaries)
    return lambda t: jnp.stack([as_number(value) for value in values])[passed(limits, t)]


@schedule
def piecewise_interpolate(values: Numbers, boundaries: Boundaries, shape: Shape = "linear") -> Form:
    """Go from value to value, each reached at its boundary, and stay at the last.

    Args:
      values: the values, one more than boundaries: the first is that of step 0.
      boundaries: the steps at which the other values are reached, in increasing order.
      shape: of the way between two values: "linear", or "cosine", which is flat at both.
    """
    limits = _limits(values, boundaries)
    return lambda t: through((0, *limits), values, t, shape)


def _limits(values: Sequence[Any], boundaries: Sequence[int]) -> tuple[int, ...]:
    check.require(
        len(values) == len(boundaries) + 1,
        f"{len(values)} values need {len(values) - 1} boundaries between them; "
        f"got {len(boundaries)}.",
    )
    return tuple(boundaries)


def through(knots: Sequence[float], values: Sequence[Any], t: Array, shape: Shape) -> Array:
    """The way through values that are reached at knots, constant outside of them.

    The knots are numbers of steps, not always whole, in increasing order.
    """
    way = jnp.broadcast_to(as_number(values[-1]), t.shape)
    pieces = zip(pairwise(knots), pairwise(values), strict=True)
    for (low, high), (start, end) in reversed(list(pieces)):
        left = jnp.clip(_until(high, t) / (high - low), 0.0, 1.0)
        done = jnp.clip(-_until(low, t) / (high - low), 0.0, 1.0)
        # A compiled division by a constant may miss 1 by 6e-8.
        left = jnp.where(done > 0, left, jnp.ones_like(left))
        way = jnp.where(t < math.ceil(high), mixed(start, end, left, done, shape), way)
    return way


def _until(knot: float, t: Array) -> Array:
    """knot - t, also where t has more digits than a float."""
    whole = math.floor(knot)
    return as_number(whole - t) + (knot - whole)
