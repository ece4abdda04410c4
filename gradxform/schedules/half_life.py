"""A decay of a running average that lengthens its memory steadily."""

import math
from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp
from jax import Array

from ..core import check
from ..core.lengths import Steps
from ..core.schedule import schedule
from .shapes import between

Part = Annotated[Any, check.Interval(low=0.0, high=1.0, low_open=True, high_open=True)]


@schedule
def linear_half_life(start: Part, end: Part, steps: Steps) -> Callable[[Array], Any]:
    """A decay whose half-life is a straight line: 1 / log(value) goes from start's to end's.

    A straight line of the decay itself, from 0.9 to 0.9999, remembers about 200 steps after 95 %
    of the way and 10,000 at its end; this remembers 9,500 then. AdEMAMix raises its b3 so.

    Args:
      start: the decay at step 0, between 0 and 1.
      end: the decay from step `steps` on, between 0 and 1.
      steps: how many steps the way takes.

    Reference: Pagliardini, Ablin & Grangier, 2024, https://arxiv.org/abs/2409.03137
    """

    def at(t: Array) -> Array:
        value = jnp.exp(1.0 / between(1.0 / _log(start), 1.0 / _log(end), t, steps))
        return jnp.where(t < steps, value, end)

    return at


def _log(x: Any) -> Any:
    return math.log(x) if isinstance(x, float) else jnp.log(x)
