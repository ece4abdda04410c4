"""The shapes of a schedule: closed forms in the step t = 0, 1, 2, ...

Each is constant after its last step, and its first update uses the value at t = 0.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from ..core import check
from ..core.arguments import Number, PositiveNumber
from ..core.lengths import Boundaries, Steps
from ..core.schedule import schedule

Form = Callable[[Array], Any]


@schedule
def constant_schedule(value: Number) -> Form:
    """The same value at every step."""
    return lambda t: value


@schedule
def linear_schedule(start: Number, end: Number, steps: Steps) -> Form:
    """A straight line: start + (end - start) t / steps, then `end`.

    Args:
      start: the value at step 0.
      end: the value from step `steps` on.
      steps: how many steps the line takes.
    """

    def value(t: Array) -> Array:
        done = _progress(t, steps)
        return start * (1.0 - done) + end * done

    return value


@schedule
def cosine_decay(value: Number, steps: Steps, end: Number = 0.0) -> Form:
    """Half a cosine wave: end + (value - end) (1 + cos(π t / steps)) / 2, then `end`.

    Args:
      value: the value at step 0.
      steps: how many steps the decay takes.
      end: the value from step `steps` on. optax gives it as a fraction of `value` (`alpha`).

    Reference: Loshchilov & Hutter, 2017, equation 5, https://arxiv.org/abs/1608.03983
    """

    def at(t: Array) -> Array:
        # sin² instead of (1 + cos) / 2, which cancels near the end.
        left = jnp.square(jnp.sin(0.5 * math.pi * (1.0 - _progress(t, steps))))
        return value * left + end * (1.0 - left)

    return at


@schedule
def exponential_decay(value: Number, steps: Steps, factor: PositiveNumber) -> Form:
    """A smooth exponential: value factor^(t / steps), without an end.

    Args:
      value: the value at step 0.
      steps: after how many steps the value has changed by `factor`.
      factor: the change over `steps` steps: below 1 decays.
    """

    def at(t: Array) -> Array:
        whole, part = jnp.divmod(t, steps)  # exact also where t has more digits than float32
        exponent = whole.astype(jnp.float32) + part.astype(jnp.float32) / steps
        return value * jnp.power(jnp.float32(factor), exponent)

    return at


@schedule
def step_decay(
    value: Number,
    factor: PositiveNumber = 0.1,
    *,
    every: Steps | None = None,
    boundaries: Boundaries | None = None,
) -> Form:
    """Multiply by `factor` at given steps: value factor^k after the k-th of them.

    The step at a boundary already has the new value, as in torch's `StepLR` and `MultiStepLR`.
    Give either `every` or `boundaries`.

    Args:
      value: the value at step 0.
      factor: what one drop multiplies by: 0.1 in the recipes for image models.
      every: drop after each so many steps.
      boundaries: drop at these steps, given in increasing order: 30, 60 and 90 epochs, in steps.
    """
    check.require(
        (every is None) != (boundaries is None),
        "give either `every=` (a number of steps) or `boundaries=` (a list of steps).",
    )
    limits = tuple(boundaries or ())

    def drops(t: Array) -> Array:
        return passed(limits, t) if every is None else t // every

    return lambda t: value * jnp.power(jnp.float32(factor), drops(t).astype(jnp.float32))


def passed(limits: tuple[int, ...], t: Array) -> Array:
    """How many of the boundaries the step has reached."""
    return jnp.searchsorted(jnp.asarray(limits, t.dtype), t, side="right")


def _progress(t: Array, steps: int) -> Array:
    """From 0 at step 0 to 1 at `steps`, and 1 from there."""
    return jnp.minimum(t, steps).astype(jnp.float32) / steps
