"""Schedules as values: functions of the step that print, compare, hash and pickle."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np

from . import check, lengths, numerics
from .display import Displayed
from .factory import Signature
from .hyperparams import Feedback, Tunable
from .recipe import Recipe, rebuild, register, render

P = ParamSpec("P")


class StepFunction(Displayed):
    """A schedule: a closed form in the step alone, counted from 0.

    It takes a Python int, a traced integer or an array of steps, and returns float32 (float64
    where JAX has it enabled) of the same shape. Steps below 0 count as 0.

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
            step = max(0, min(step, np.iinfo(np.int32).max))
        step = jnp.asarray(step)
        if not jnp.issubdtype(step.dtype, np.integer):
            raise TypeError(
                f"`{self.recipe.name}(...)(step)`: steps are whole numbers; "
                f"got {step.dtype}{list(step.shape)}."
            )
        value = self._function(_counted(step))
        return jnp.broadcast_to(jnp.asarray(value, numerics.scalar_dtype()), step.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StepFunction) and self.recipe == other.recipe

    def __hash__(self) -> int:
        return hash((StepFunction, self.recipe))

    def __repr__(self) -> str:
        return render(self.recipe)

    def __reduce__(self) -> Any:
        return rebuild, (self.recipe.factory, self.recipe.shown)


def _counted(step: jax.Array) -> jax.Array:
    """The step as a signed integer that counts past the end of every schedule, at least 0."""
    if step.dtype.itemsize < 4:
        step = step.astype(np.int32)
    elif jnp.issubdtype(step.dtype, np.unsignedinteger):
        signed = np.dtype(f"int{8 * step.dtype.itemsize}")
        step = jnp.minimum(step, np.iinfo(signed).max).astype(signed)
    return jnp.maximum(step, jnp.zeros_like(step))


def _as_computed(argument: Any) -> Any:
    """An argument whose arrays, if it holds any, have the dtype of the schedule's values."""

    def one(x: Any) -> Any:
        return x.astype(numerics.scalar_dtype()) if isinstance(x, jax.Array) else x

    return jax.tree.map(one, argument, is_leaf=callable)


class ScheduleSignature(Signature):
    """The signature of a schedule, with the keywords for the unit of its lengths."""

    def __init__(self, factory: Callable[..., Any]) -> None:
        super().__init__(factory)
        self.own = self.signature
        self.lengths: dict[str, Any] = {
            name: inner
            for name, rule in self.rules.items()
            if hasattr(inner := rule.rule if isinstance(rule, check.Optional) else rule, "in_steps")
        }
        if self.lengths:
            self.signature = lengths.with_units(self.own)
            for name in lengths.UNITS:
                annotation = self.signature.parameters[name].annotation
                self.rules[name] = check.rule_of(annotation)

    def apply(self, name: str, bound: inspect.BoundArguments) -> Any:
        """The argument as its rule returns it; a length in the unit of the call."""
        value = bound.arguments[name]
        unit = self._unit(bound)
        if name in self.lengths and unit is not None and value is not None:
            return self.lengths[name].measured(self.name, name, value, lengths.UNITS[unit])
        return super().apply(name, bound)

    def in_steps(self, bound: inspect.BoundArguments) -> inspect.BoundArguments:
        """The arguments of the factory itself, with its lengths in steps."""
        unit = self._unit(bound)
        arguments = {name: _as_computed(bound.arguments[name]) for name in self.own.parameters}
        if unit is not None:
            size = bound.arguments[unit]
            for name, rule in self.lengths.items():
                if arguments[name] is not None:
                    arguments[name] = rule.in_steps(self.name, name, arguments[name], size)
        return inspect.BoundArguments(self.own, arguments)

    def _unit(self, bound: inspect.BoundArguments) -> str | None:
        given = [name for name in lengths.UNITS if bound.arguments.get(name) is not None]
        check.require(len(given) < 2, "give `total_steps=` or `steps_per_epoch=`, not both.")
        return given[0] if given else None


def schedule(factory: Callable[P, Callable[[jax.Array], Any]]) -> Callable[..., StepFunction]:
    """Make a factory of `factory`, which returns a function of the step.

    The inner function gets an integer array of steps, none of them negative, and returns the
    values; it must be a closed form in the step, so that training resumes anywhere. Arguments
    annotated `Steps` or `Boundaries` are lengths, which the caller may also give as fractions of
    `total_steps=` or in epochs of `steps_per_epoch=`; the inner function sees steps.
    """
    signature = ScheduleSignature(factory)

    @functools.wraps(factory)
    def build(*args: Any, **kwargs: Any) -> StepFunction:
        with check.calling(f"{signature.name}(...)"):
            bound = signature.bind(args, kwargs)
            inner = signature.in_steps(bound)
            function = factory(*inner.args, **inner.kwargs)
        return StepFunction(signature.record(build, bound), function)

    build.__signature__ = signature.shown(StepFunction)  # type: ignore[attr-defined]
    register(build)
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
        if isinstance(value, Feedback):
            raise TypeError(
                f"`{call}({name}={check.brief(value)})`: a schedule sees the step only. Turn it "
                f"round: `{value.recipe.name}(...)` takes a schedule as its value."
            )
        return value if callable(value) else check.Interval()(call, name, value)


class SchedulesRule:
    """Several schedules or numbers."""

    kind = "Sequence[float | Schedule]"

    def __call__(self, call: str, name: str, value: Any) -> tuple[Any, ...]:
        """The schedules as a tuple, so that a list equals it."""
        if not isinstance(value, list | tuple):
            check.fail(call, name, value, "a list of schedules or numbers")
        return tuple(NumberOrScheduleRule()(call, name, item) for item in value)


class NumbersRule:
    """Several finite numbers."""

    kind = "Sequence[float]"

    def __call__(self, call: str, name: str, value: Any) -> tuple[Any, ...]:
        """The numbers as a tuple, so that a list or an array equals it."""
        is_array = isinstance(value, jax.Array | np.ndarray) and value.ndim == 1
        if not is_array and not isinstance(value, list | tuple):
            check.fail(call, name, value, "a list of numbers")
        return tuple(check.Interval()(call, f"{name}[{i}]", x) for i, x in enumerate(value))


Numbers = Annotated[Sequence[float | jax.Array], NumbersRule()]
Schedules = Annotated[Sequence[float | jax.Array | Callable[..., Any]], SchedulesRule()]
NumberOrSchedule = Annotated[float | jax.Array | Callable[..., Any], NumberOrScheduleRule()]


def as_schedule(value: Any) -> Callable[[jax.Array], Any]:
    """A schedule as it is; a number as the function that returns it."""
    return value if callable(value) else lambda step: value
