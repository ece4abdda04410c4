"""Schedules as values: functions of the step that print, compare, hash and pickle."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np

from . import check
from .factory import Signature
from .hyperparams import Tunable
from .recipe import Recipe, render

P = ParamSpec("P")


class StepFunction:
    """A schedule: a closed form in the step alone, counted from 0.

    It takes a Python int, a traced integer or an array of steps, and returns float32 of the same
    shape. Steps below 0 count as 0.

    Attributes:
      recipe: the call that built the schedule.
    """

    __slots__ = ("__weakref__", "_function", "recipe")

    def __init__(self, recipe: Recipe, function: Callable[[jax.Array], Any]) -> None:
        self.recipe = recipe
        self._function = function

    def __call__(self, step: Any) -> jax.Array:
        """The value at `step`."""
        if isinstance(step, int):
            step = min(step, np.iinfo(np.int32).max)
        step = jnp.asarray(step)
        if not jnp.issubdtype(step.dtype, np.integer):
            raise TypeError(
                f"`{self.recipe.name}(...)(step)`: steps are whole numbers; "
                f"got {step.dtype}{list(step.shape)}."
            )
        value = self._function(jnp.maximum(step, jnp.zeros_like(step)))
        return jnp.broadcast_to(jnp.asarray(value, jnp.float32), step.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StepFunction) and self.recipe == other.recipe

    def __hash__(self) -> int:
        return hash((StepFunction, self.recipe))

    def __repr__(self) -> str:
        return render(self.recipe)

    def __reduce__(self) -> Any:
        return _rebuild, (self.recipe.factory, self.recipe.shown)


def _rebuild(factory: Callable[..., Any], shown: Any) -> Any:
    return Recipe(factory, {}, shown).rebuild()


def schedule(factory: Callable[P, Callable[[jax.Array], Any]]) -> Callable[P, StepFunction]:
    """Make a factory of a function that returns a function of the step.

    The inner function gets an integer array of steps, none of them negative, and returns the
    values; it must be a closed form in the step, so that training resumes anywhere.
    """
    signature = Signature(factory)

    @functools.wraps(factory)
    def build(*args: P.args, **kwargs: P.kwargs) -> StepFunction:
        bound = signature.bind(args, kwargs)
        with check.calling(f"{signature.name}(...)"):
            function = factory(*bound.args, **bound.kwargs)
        return StepFunction(signature.record(build, bound), function)

    build.__signature__ = signature.shown(StepFunction)  # type: ignore[attr-defined]
    return build


class NumberOrScheduleRule:
    """A finite number, or a schedule."""

    kind = "float | Schedule"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The number as a float, the schedule as it is."""
        if isinstance(value, Tunable):
            raise TypeError(
                f"`{call}({name}={value})`: a schedule has no state to keep a tunable in. Give the "
                "tunable to the transformation, or build the schedule from a traced number under "
                "`jax.vmap`."
            )
        return value if callable(value) else check.Interval()(call, name, value)


NumberOrSchedule = Annotated[float | jax.Array | Callable[..., Any], NumberOrScheduleRule()]


def as_schedule(value: Any) -> Callable[[jax.Array], Any]:
    """A schedule as it is; a number as the function that returns it."""
    return value if callable(value) else lambda step: value
