"""The shapes of a schedule: closed forms in the step t = 0, 1, 2, ...

Its first update uses the value at t = 0. Where a schedule has an end, the value at `steps` is
exactly that end, and stays.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..core import check, numerics
from ..core.arguments import Number, PositiveNumber
from ..core.check import LONGEST
from ..core.lengths import Boundaries, Every, Period, Steps
from ..core.schedule import schedule

Form = Callable[[Array], Any]


@schedule
def constant_schedule(value: Number) -> Form:
    """The same value at every step.

    Args:
      value: that value.
    """
    return lambda t: value


@schedule
def linear_schedule(start: Number, end: Number, steps: Steps) -> Form:
    """A straight line: start + (end - start) t / steps, then `end`.

    Args:
      start: the value at step 0.
      end: the value from step `steps` on.
      steps: how many steps the line takes.
    """
    return lambda t: between(start, end, t, steps)


@schedule
def cosine_decay(value: Number, steps: Steps, end: Number = 0.0) -> Form:
    """Half a cosine wave: end + (value - end) (1 + cos(π t / steps)) / 2, then `end`.

    Args:
      value: the value at step 0.
      steps: how many steps the decay takes.
      end: the value from step `steps` on. optax gives it as a fraction of `value` (`alpha`).

    Reference: Loshchilov & Hutter, 2017, equation 5, https://arxiv.org/abs/1608.03983
    """
    return lambda t: between(value, end, t, steps, "cosine")


@schedule
def polynomial_decay(
    value: Number, steps: Steps, power: PositiveNumber = 1.0, end: Number = 0.0
) -> Form:
    """A power of what is left: end + (value - end) (1 - t / steps)^power, then `end`.

    Args:
      value: the value at step 0.
      steps: how many steps the decay takes.
      power: 1 is a straight line, above 1 falls early, below 1 falls late.
      end: the value from step `steps` on. torch's `PolynomialLR` ends at 0.
    """

    def at(t: Array) -> Array:
        left = jnp.power(remaining(t, steps), as_number(power))
        return value * left + end * (1.0 - left)

    return at


@schedule
def exponential_decay(
    value: Number, steps: Every, factor: PositiveNumber, *, end: Number | None = None
) -> Form:
    """A smooth exponential: value factor^(t / steps), without an end unless one is given.

    Args:
      value: the value at step 0.
      steps: after how many steps the value has changed by `factor`.
      factor: the change over `steps` steps: below 1 decays.
      end: the value goes no further than this.

    Raises:
      ValueError: an `end` that the value moves away from.
    """
    if isinstance(value, float) and isinstance(factor, float) and isinstance(end, float):
        check.require(
            (end - value) * value * (factor - 1.0) >= 0.0,
            f"{value:g} times {factor:g}, again and again, moves away from `end={end:g}`.",
        )

    def at(t: Array) -> Array:
        # Exact also where t has more digits than a float.
        whole, part, turn = cycle(t, steps)
        exponent = as_number(whole) + as_number(part) / as_number(steps.lengths)[turn]
        now = value * power_of(factor, exponent)
        if end is None:
            return now
        falls = as_number(end) <= value
        return jnp.where(falls, jnp.maximum(now, end), jnp.minimum(now, end))

    return at


@schedule
def step_decay(
    value: Number,
    factor: PositiveNumber = 0.1,
    *,
    every: Every | None = None,
    boundaries: Boundaries | None = None,
) -> Form:
    """Multiply by `factor` at given steps: value factor^k after the k-th of them.

    The step at a boundary already has the new value, as in torch's `StepLR` and `MultiStepLR`.
    Give either `every` or `boundaries`.

    Args:
      value: the value at step 0.
      factor: what one drop multiplies by: 0.1 in the recipes for image models.
      every: drop after each so many steps; those of `epochs(2.4, ...)` do not drift.
      boundaries: drop at these steps, given in increasing order, such as
        `epochs([30, 60, 90], steps_per_epoch=391)`.

    Raises:
      ValueError: both or neither of `every` and `boundaries`.
    """
    check.require(
        (every is None) != (boundaries is None),
        "give either `every=` (a number of steps) or `boundaries=` (a list of steps).",
    )
    limits = tuple(boundaries or ())

    def drops(t: Array) -> Array:
        return passed(limits, t) if every is None else cycle(t, every)[0]

    return lambda t: value * power_of(factor, as_number(drops(t)))


@schedule
def inverse_time_decay(value: Number, steps: Steps, power: PositiveNumber = 1.0) -> Form:
    """A hyperbola: value (1 + t / steps)^-power, without an end.

    With a power above 1/2 and at most 1 these are the steps for which stochastic approximation
    converges: their sum is infinite and that of their squares is not.

    Args:
      value: the value at step 0.
      steps: after how many steps it is value / 2^power; at 3 times as many, value / 4^power.
      power: how fast it falls.

    Reference: Robbins & Monro, 1951, https://doi.org/10.1214/aoms/1177729586
    """
    return lambda t: value * jnp.power(1.0 + as_number(t) / steps, -as_number(power))


@schedule
def inverse_sqrt_decay(value: Number, steps: Steps) -> Form:
    """The decay of the first transformers: value sqrt(steps / (steps + t)), without an end.

    Behind a warmup of as many steps it is `value sqrt(steps / t)` in the steps t of the whole:
    `warmup(inverse_sqrt_decay(value, steps), steps)` is the transformer paper's schedule, with
    value = d_model^-0.5 steps^-0.5. (The paper counts from 1: to begin with its first step, give
    the warmup one step less and `start=value / steps`.)

    Args:
      value: the value at step 0.
      steps: after 3 times as many steps the value has halved.

    Reference: Vaswani et al., 2017, equation 3, https://arxiv.org/abs/1706.03762
    """
    return lambda t: value / jnp.sqrt(1.0 + as_number(t) / steps)


Shape = Literal["linear", "cosine"]


def between(start: Any, end: Any, t: Array, steps: int | Array, shape: Shape = "linear") -> Array:
    """The way from `start` at step 0 to `end` at `steps` and after, exact at both ends."""
    return mixed(start, end, remaining(t, steps), progress(t, steps), shape)


def mixed(start: Any, end: Any, left: Array, done: Array, shape: Shape) -> Array:
    """`start` and `end` by how much of the way is left and how much is done."""
    if shape == "cosine":
        # (1 + cos(π done)) / 2, written as sin²(π left / 2): it does not cancel near the end.
        left, done = (jnp.square(jnp.sin(0.5 * math.pi * part)) for part in (left, done))
    return start * left + end * done


def progress(t: Array, steps: int | Array) -> Array:
    """From 0 at step 0 to exactly 1 at `steps`, and 1 from there."""
    # A compiled division by a constant may give 1 - 6e-8 for steps / steps.
    done = as_number(t) / as_number(steps)
    return jnp.where(t < steps, done, jnp.ones_like(done))


def remaining(t: Array, steps: int | Array) -> Array:
    """From exactly 1 at step 0 to 0 at `steps`, and 0 from there; not by subtracting from 1."""
    left = as_number(steps - jnp.minimum(t, steps)) / as_number(steps)
    return jnp.where(t > 0, left, jnp.ones_like(left))


def passed(limits: tuple[int, ...], t: Array) -> Array:
    """How many of the boundaries the step has reached."""
    return jnp.searchsorted(jnp.asarray(limits, t.dtype), t, side="right")


def cycle(t: Array, period: Period) -> tuple[Array, Array, Array]:
    """Which repetition a step is in, how many steps into it, and its place in the period."""
    several = len(period.starts) > 1
    rounds = t // period.steps if period.steps <= LONGEST else jnp.zeros_like(t)
    inside = t - rounds * period.steps if period.steps <= LONGEST else t
    turn = passed(period.starts, inside) - 1 if several else jnp.zeros_like(t)
    begin = jnp.asarray(period.starts, t.dtype)[turn] if several else jnp.zeros_like(t)
    return rounds * len(period.starts) + turn, inside - begin, turn


def power_of(factor: Any, exponent: Array) -> Array:
    """factor^exponent, at most the largest finite number."""
    base = as_number(factor)
    power = jnp.power(base, exponent)
    if isinstance(factor, float):
        # What rounding took from a constant factor, which a large exponent multiplies.
        rounded = float(np.asarray(factor, base.dtype))
        lost = math.log(factor / rounded) if rounded else 0.0
        power = power * jnp.exp(exponent * lost)
    return jnp.minimum(power, np.finfo(power.dtype).max)


def as_number(x: Any) -> Array:
    """A count, a step or a number in the dtype of a schedule's values."""
    return jnp.asarray(x, numerics.scalar_dtype())
