"""Schedules as values: functions of the step that print, compare, hash and pickle."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np

from . import check, numerics
from .check import LONGEST
from .display import Displayed
from .factory import Signature
from .hyperparams import Feedback, Tunable
from .lengths import START, Place
from .recipe import Recipe, rebuild, render

P = ParamSpec("P")


# From where a schedule begins to its arguments in whole steps, and its function of the step.
Begin = Callable[[Place], tuple[dict[str, Any], Callable[[jax.Array], Any]]]


_LOOKS = 30  # how often a schedule is looked at for its range


def _whole_numbers(value: Any) -> list[int] | None:
    """The whole numbers in a schedule, which are lengths; None where something is not known."""
    if isinstance(value, StepFunction):
        value = tuple({**value.recipe.arguments, **value.in_steps}.values())
    if isinstance(value, tuple | list):
        parts = [_whole_numbers(item) for item in value]
        return None if None in parts else [n for part in parts for n in part or []]
    if callable(value) or check.is_traced(value):
        return None
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


class StepFunction(Displayed):
    """A schedule: a closed form in the step alone, counted from 0.

    It takes a step as a whole number of any type, or an array of them, and returns float32 (float64
    where JAX has it enabled) of the same shape. Steps below 0 count as 0, and those beyond
    2^31 - 1, where the counters of a state end, as that one.

    Attributes:
      recipe: the call that built the schedule.
      in_steps: by argument, the lengths in whole steps, and the schedules inside, as they begin.
    """

    __slots__ = ("__weakref__", "_begin", "_function", "in_steps", "recipe")

    def __init__(self, recipe: Recipe, begin: Begin, place: Place = START) -> None:
        self.recipe = recipe
        self._begin = begin
        self.in_steps, self._function = begin(place)

    def begun(self, place: Place) -> "StepFunction":
        """The schedule as a part of a run, which rounds its lengths by where it begins."""
        return self if place.exact == place.whole else StepFunction(self.recipe, self._begin, place)

    def __call__(self, step: Any) -> jax.Array:
        """The value at `step`."""
        if not isinstance(step, jax.Array):
            step = np.asarray(step)  # of any size: JAX would wrap those beyond its integers
            whole = step.dtype == object and all(isinstance(x, int) for x in step.ravel())
            if whole or np.issubdtype(step.dtype, np.integer):
                step = np.asarray(np.clip(step, 0, LONGEST), np.int32)
        if not jnp.issubdtype(step.dtype, np.integer):
            raise TypeError(
                f"`{self.recipe.name}(...)(step)`: steps are whole numbers; "
                f"got {step.dtype}{list(step.shape)}."
            )
        value = self._function(_counted(jnp.asarray(step)))
        return jnp.broadcast_to(_real(self.recipe.name, value), step.shape)

    def known_steps(self) -> tuple[int, ...] | None:
        """Steps that show the range of the values: where parts begin, end, and in between.

        None where values are not known: with a plain function inside, or a traced number.
        """
        numbers = _whole_numbers(self)
        if numbers is None:
            return None
        last = min(sum(numbers), LONGEST - 1)
        ends = {step for n in numbers for step in (n - 1, n, n + 1) if 0 <= step <= last + 1}
        between = {round(last * k / _LOOKS) for k in range(_LOOKS + 1)}
        steps = sorted({0, 1, last + 1, *between, *sorted(ends)[-_LOOKS:]})
        return tuple(steps + steps[-1:] * (2 * _LOOKS + 4 - len(steps)))  # of one shape for JAX

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StepFunction) and self.recipe == other.recipe

    def __hash__(self) -> int:
        return hash((StepFunction, self.recipe))

    def __repr__(self) -> str:
        return render(self.recipe)

    def __reduce__(self) -> Any:
        return rebuild, (self.recipe.factory, self.recipe.shown)


def _real(name: str, value: Any) -> jax.Array:
    """A value in the dtype of all schedules' values."""
    return jnp.asarray(_require_real(f"{name}(...)", value)).astype(numerics.scalar_dtype())


def _require_real(schedule: Any, value: Any) -> Any:
    if jnp.iscomplexobj(value):
        name = schedule if isinstance(schedule, str) else check.brief(schedule)
        raise TypeError(f"`{name}(step)`: a schedule's values are real; got {check.brief(value)}.")
    return value


def _counted(step: jax.Array) -> jax.Array:
    """The step as an int32 from 0 to its largest, where the counters of a state end."""
    if step.dtype.itemsize > 4 or step.dtype == np.uint32:
        step = jnp.minimum(step, jnp.asarray(LONGEST, step.dtype))
    return jnp.maximum(step.astype(np.int32), 0)


def _as_computed(argument: Any) -> Any:
    """An argument whose arrays, if it holds any, have the dtype of the schedule's values."""

    def one(x: Any) -> Any:
        return x.astype(numerics.scalar_dtype()) if isinstance(x, jax.Array) else x

    return jax.tree.map(one, argument, is_leaf=callable)


def schedule(factory: Callable[P, Callable[[jax.Array], Any]]) -> Callable[P, StepFunction]:
    """Make a factory of `factory`, which returns a function of the step.

    The inner function gets an integer array of steps, none of them negative, and returns the
    values; it must be a closed form in the step, so that training resumes anywhere. Arguments
    annotated `Steps` or `Boundaries` are lengths, which the caller may also give as `epochs(...)`
    or `fraction(...)`; the body sees whole steps.
    """
    signature = Signature(factory)

    @functools.wraps(factory)
    def build(*args: P.args, **kwargs: P.kwargs) -> StepFunction:
        bound = signature.bind(args, kwargs)

        def begin(place: Place) -> tuple[dict[str, Any], Callable[[jax.Array], Any]]:
            in_steps = _in_steps(signature.rules, bound.arguments, place)
            known = {**bound.arguments, **in_steps}
            computed = {name: _as_computed(value) for name, value in known.items()}
            inner = inspect.BoundArguments(bound.signature, computed)
            with check.calling(f"{signature.name}(...)"):
                return in_steps, factory(*inner.args, **inner.kwargs)

        return StepFunction(signature.record(build, bound), begin)

    build.__signature__ = signature.shown(StepFunction)  # type: ignore[attr-defined]
    return build


def _in_steps(rules: dict[str, Any], arguments: dict[str, Any], place: Place) -> dict[str, Any]:
    """The lengths in whole steps, and the schedules inside, of what begins at a place."""
    found = {}
    for name, rule in rules.items():
        begun = getattr(rule.rule if isinstance(rule, check.Optional) else rule, "begun", None)
        if begun is not None and arguments[name] is not None:
            found[name] = begun(arguments[name], place, arguments)
    return found


@dataclass(frozen=True)
class NumberOrScheduleRule:
    """A finite number, or a schedule.

    Attributes:
      after: the argument with the length after which the schedule begins; "" for one that begins
        with the whole, None for one whose own first step lies elsewhere.
    """

    after: str | None = ""
    kind = "float | Schedule"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The number as a float, the schedule as it is."""
        if isinstance(value, Tunable):
            raise TypeError(
                f"`{call}({name}={value})`: a schedule has no state to keep a tunable in. Give the "
                "tunable to the transformation, or build the schedule from a traced number under "
                "`jax.vmap`."
            )
        if isinstance(value, Feedback):
            raise TypeError(
                f"`{call}({name}={check.brief(value)})`: a schedule sees the step only. Turn it "
                f"round: `{value.recipe.name}(...)` takes a schedule as its value."
            )
        return value if callable(value) else check.Interval()(call, name, value)

    def begun(self, value: Any, place: Place, arguments: dict[str, Any]) -> Any:
        """The schedule as the part of a run that begins where it does."""
        if not isinstance(value, StepFunction) or self.after is None:
            return value
        return value.begun(place.after(arguments[self.after]) if self.after else place)


class SchedulesRule:
    """Several schedules or numbers, one after the other; `boundaries` says when."""

    kind = "Sequence[float | Schedule]"

    def __call__(self, call: str, name: str, value: Any) -> tuple[Any, ...]:
        """The schedules as a tuple, so that a list equals it."""
        items = check.sequence(call, name, value, "a list of schedules or numbers")
        return tuple(NumberOrScheduleRule()(call, name, item) for item in items)

    def begun(self, value: Any, place: Place, arguments: dict[str, Any]) -> tuple[Any, ...]:
        """Each schedule as the part of a run that begins where it does."""
        places = [place, *place.at(arguments["boundaries"])]
        if len(places) != len(value):
            return tuple(value)  # the schedule says so
        begun = NumberOrScheduleRule().begun
        return tuple(begun(item, p, arguments) for item, p in zip(value, places, strict=True))


class NumbersRule:
    """Several finite numbers."""

    kind = "Sequence[float]"

    def __call__(self, call: str, name: str, value: Any) -> tuple[Any, ...]:
        """The numbers as a tuple, so that a list or an array equals it."""
        items = check.sequence(call, name, value, "a list of numbers")
        return tuple(check.Interval()(call, f"{name}[{i}]", x) for i, x in enumerate(items))


Numbers = Annotated[Sequence[float | jax.Array], NumbersRule()]
Schedules = Annotated[Sequence[float | jax.Array | Callable[..., Any]], SchedulesRule()]
NumberOrSchedule = Annotated[float | jax.Array | Callable[..., Any], NumberOrScheduleRule()]
# The same, where the schedule begins after `steps`, or where its first step lies elsewhere.
AfterSteps = Annotated[float | jax.Array | Callable[..., Any], NumberOrScheduleRule("steps")]
Elsewhere = Annotated[float | jax.Array | Callable[..., Any], NumberOrScheduleRule(None)]


def as_schedule(value: Any) -> Callable[[jax.Array], Any]:
    """A schedule as it is; a number as the function that returns it."""
    if isinstance(value, StepFunction):
        return value
    return (
        (lambda step: _require_real(value, value(step))) if callable(value) else lambda step: value
    )
