"""How long a schedule is meant to be: read from the call that built it, not from its values."""

from typing import Any, NamedTuple

from ..core.hyperparams import Feedback
from ..core.recipe import FACTORIES, written
from ..core.schedule import StepFunction


class Lengths(NamedTuple):
    """The lengths of a schedule, in steps.

    Attributes:
      end: the step from which on it stays as it is; None where it has no end, or none is known.
      rise: how many steps its warmup takes; 0 without one.
      drops: the steps at which it falls at once.
      period: how many steps its first cycle takes; None where it does not repeat.
    """

    end: int | None = None
    rise: int = 0
    drops: tuple[int, ...] = ()
    period: int | None = None


# The argument that says when a schedule has arrived, where there is one.
_ENDS = {
    "linear_schedule": "steps",
    "cosine_decay": "steps",
    "polynomial_decay": "steps",
    "linear_half_life": "steps",
    "warmup_stable_decay": "steps",
    "one_cycle": "steps",
    "one_cycle_momentum": "steps",
    "piecewise_interpolate": "boundaries",
}


def lengths_of(value: Any) -> Lengths:
    """The lengths of a schedule of this library; of anything else, none are known."""
    name, arguments = call_of(value)
    if name == "reduce_on_plateau":
        return lengths_of(arguments["value"])
    if not isinstance(value, StepFunction):
        return Lengths()
    if name == "warmup":
        steps, inner = _steps(arguments, "steps"), lengths_of(arguments["schedule"])
        return Lengths(
            end=steps if not callable(arguments["schedule"]) else _later(inner.end, steps),
            rise=steps + inner.rise,
            drops=tuple(drop + steps for drop in inner.drops),
            period=inner.period,
        )
    if name == "scale_schedule":
        parts = [lengths_of(arguments[key]) for key in ("schedule", "factor")]
        ends = [0 if _is_constant(arguments[k]) else part.end for k, part in _pairs(parts)]
        return Lengths(
            end=None if None in ends else max(end for end in ends if end is not None),
            rise=max(part.rise for part in parts),
            drops=tuple(sorted({drop for part in parts for drop in part.drops})),
            period=parts[0].period or parts[1].period,
        )
    if name == "join_schedules":
        begin = _steps(arguments, "boundaries")[-1]
        parts = [lengths_of(part) for part in arguments["schedules"]]
        last = 0 if _is_constant(arguments["schedules"][-1]) else parts[-1].end
        return Lengths(end=_later(last, begin), rise=parts[0].rise)
    if name == "warmup_stable_decay":
        return Lengths(_steps(arguments, "steps"), rise=_steps(arguments, "warmup_steps"))
    if name == "one_cycle":
        steps = _steps(arguments, "steps")
        return Lengths(steps, rise=round(arguments["rise"] * steps))
    if name == "cosine_restarts":
        return Lengths(period=_steps(arguments, "steps"))
    if name == "step_decay":
        if arguments["boundaries"] is not None:
            return Lengths(drops=_steps(arguments, "boundaries"))
        return Lengths(drops=(_steps(arguments, "every"),))
    if name == "piecewise_constant":
        return Lengths(drops=_steps(arguments, "boundaries"))
    if name == "constant_schedule":
        return Lengths(end=0)
    if name in _ENDS:
        end = _steps(arguments, _ENDS[name])
        return Lengths(end=end[-1] if isinstance(end, tuple) else end)
    return Lengths()


def call_of(value: Any) -> tuple[str, dict[str, Any]]:
    """The name and the arguments of the call that built a value of this library; else ""."""
    recipe = getattr(value, "recipe", None)
    if not isinstance(value, StepFunction | Feedback) or recipe is None:
        return "", {}
    name = written(recipe.factory)
    return (name, recipe.arguments) if FACTORIES.get(name) is recipe.factory else ("", {})


def schedules_in(value: Any) -> list[StepFunction]:
    """A schedule and those inside of it."""
    if isinstance(value, list | tuple):
        return [found for item in value for found in schedules_in(item)]
    if isinstance(value, Feedback):
        return [found for item in value.recipe.arguments.values() for found in schedules_in(item)]
    if not isinstance(value, StepFunction):
        return []
    return [value, *schedules_in(list(value.recipe.arguments.values()))]


def _steps(arguments: dict[str, Any], name: str) -> Any:
    """A length in steps, whatever unit it was given in."""
    unit = arguments.get("total_steps") or arguments.get("steps_per_epoch") or 1
    value = arguments[name]
    if isinstance(value, list | tuple):
        return tuple(round(item * unit) for item in value)
    return round(value * unit)


def _later(end: int | None, steps: int) -> int | None:
    return None if end is None else end + steps


def _is_constant(value: Any) -> bool:
    return not callable(value)


def _pairs(parts: list[Lengths]) -> list[tuple[str, Lengths]]:
    return list(zip(("schedule", "factor"), parts, strict=True))
