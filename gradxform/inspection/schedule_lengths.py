"""How long a schedule is: as the call that built it says, or, where none does, by its values."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..core.check import LONGEST
from ..core.hyperparams import Feedback
from ..core.lengths import Length, Period
from ..core.public import factory_name
from ..core.schedule import StepFunction
from .curves import CHUNK, Evaluate, evaluator

_OPAQUE = 1000  # the steps that are shown of a function that never settles


class Lengths(NamedTuple):
    """The lengths of a schedule, in steps.

    Attributes:
      end: the step from which on it stays as it is; None where it has no end, or none is known.
      rise: how many steps its warmup takes; 0 without one.
      drops: the steps at which it changes at once, and between which it stays.
      period: how many steps its first cycle takes; None where it does not repeat.
    """

    end: int | None = None
    rise: int = 0
    drops: tuple[int, ...] = ()
    period: int | None = None

    @property
    def arrives(self) -> bool:
        """Whether it has an end that it moves to, and not only a last drop."""
        return self.end is not None and self.end not in self.drops


# The argument that says when a schedule has arrived, where there is one.
_ENDS = {
    "linear_schedule": "steps",
    "cosine_decay": "steps",
    "polynomial_decay": "steps",
    "linear_half_life": "steps",
    "piecewise_interpolate": "boundaries",
}
_ENDLESS = frozenset(("inverse_time_decay", "inverse_sqrt_decay", "cyclic"))


def lengths_of(value: Any) -> Lengths:
    """The lengths of a schedule.

    What no call of this library built is looked at step by step, for its end.
    """
    name, arguments = call_of(value)
    if name == "reduce_on_plateau":
        return lengths_of(arguments["value"])
    if not callable(value):
        return Lengths()
    if name in ("warmup", "delay_schedule"):
        steps, inner = arguments["steps"], lengths_of(arguments["schedule"])
        rises = name == "warmup" or inner.rise
        end = (steps if name == "warmup" else 0) if _is_constant(arguments["schedule"]) else None
        return Lengths(
            end=_later(inner.end, steps) if end is None else end,
            rise=steps + inner.rise if rises else 0,
            drops=tuple(drop + steps for drop in inner.drops),
            period=inner.period,
        )
    if name == "advance_schedule":
        steps, inner = arguments["steps"], lengths_of(arguments["schedule"])
        return Lengths(
            end=0 if _is_constant(arguments["schedule"]) else _later(inner.end, -steps),
            rise=max(inner.rise - steps, 0),
            drops=tuple(drop - steps for drop in inner.drops if drop > steps),
        )
    if name == "staircase":
        inner = lengths_of(arguments["schedule"])
        end = 0 if _is_constant(arguments["schedule"]) else inner.end
        return Lengths(_next_start(end, arguments["every"]), inner.rise)
    if name == "scale_schedule":
        parts = [lengths_of(arguments[key]) for key in ("schedule", "factor")]
        ends = [0 if _is_constant(arguments[k]) else part.end for k, part in _pairs(parts)]
        return Lengths(
            end=_seen_end(value) if None in ends else max(end for end in ends if end is not None),
            rise=max(part.rise for part in parts),
            drops=tuple(sorted({drop for part in parts for drop in part.drops})),
            period=parts[0].period or parts[1].period,
        )
    if name == "join_schedules":
        begin = arguments["boundaries"][-1]
        parts = [lengths_of(part) for part in arguments["schedules"]]
        last = 0 if _is_constant(arguments["schedules"][-1]) else parts[-1].end
        return Lengths(end=_later(last, begin), rise=parts[0].rise)
    if name == "warmup_stable_decay":
        return Lengths(arguments["steps"], rise=arguments["warmup_steps"])
    if name == "one_cycle":
        steps = arguments["steps"]
        return Lengths(steps, rise=round(arguments["rise"] * steps))
    if name == "one_cycle_momentum":
        parts_of_run = 2.0 * arguments["rise"] if arguments["three_phase"] else 1.0
        return Lengths(math.ceil(parts_of_run * arguments["steps"]))
    if name == "cosine_restarts":
        return Lengths(period=arguments["steps"].lengths[0])
    if name == "exponential_decay":
        return Lengths(end=_floor_reached(arguments))
    if name == "step_decay" and arguments["boundaries"] is None:
        return Lengths(drops=(arguments["every"].lengths[0],))
    if name in ("step_decay", "piecewise_constant"):
        return Lengths(arguments["boundaries"][-1], drops=arguments["boundaries"])
    if name == "constant_schedule":
        return Lengths(end=0)
    if name in _ENDS:
        end = arguments[_ENDS[name]]
        return Lengths(end=end[-1] if isinstance(end, tuple) else end)
    return Lengths() if name in _ENDLESS else Lengths(_seen_end(value))


def call_of(value: Any) -> tuple[str, dict[str, Any]]:
    """The name and the arguments of the call that built a value of this library; else "".

    Lengths are in whole steps, also of a schedule that is a part of another.
    """
    recipe = getattr(value, "recipe", None)
    if not isinstance(value, StepFunction | Feedback) or recipe is None:
        return "", {}
    in_steps = value.in_steps if isinstance(value, StepFunction) else {}
    name = factory_name(recipe.factory)
    return (name, {**recipe.arguments, **in_steps}) if name else ("", {})


def schedules_in(value: Any) -> list[StepFunction]:
    """A schedule and those inside of it."""
    if isinstance(value, list | tuple):
        return [found for item in value for found in schedules_in(item)]
    if isinstance(value, Feedback):
        return [found for item in value.recipe.arguments.values() for found in schedules_in(item)]
    if not isinstance(value, StepFunction):
        return []
    return [value, *schedules_in(list(value.in_steps.values()))]


def written_lengths(value: Any) -> list[Length]:
    """The lengths in epochs and parts of a run that a schedule's call was given."""
    if isinstance(value, Length):
        return [value, *written_lengths(list(value.recipe.arguments.values()))]
    if isinstance(value, list | tuple):
        return [found for item in value for found in written_lengths(item)]
    if isinstance(value, StepFunction):
        return written_lengths(list(value.recipe.arguments.values()))
    return []


def horizon(value: Any, evaluate: Evaluate) -> tuple[int, bool]:
    """After how many steps all has been seen of a schedule, and whether it stays from there on.

    Of what goes on without an end it is four of its longest length: of cycles, four cycles.
    """
    if not callable(value) and not isinstance(value, Feedback):
        return 1, True
    end, longest = lengths_of(value).end, sum(_longest(value))
    if end is not None:
        return max(end, 1), True
    if longest:
        return 4 * longest, False
    # An exponential comes near long before it stays.
    return _settled(evaluate, within=0.01) or _OPAQUE, False


def _seen_end(value: Any) -> int | None:
    """The step from which on the values stay; None where they go on, or cannot be had."""
    try:
        evaluate = evaluator(value)
        end = _settled(evaluate)
        if not end:
            return end
        sizes = np.abs(evaluate(np.array([0, end // 2, end - 1, end])))
    except Exception:  # whatever a function of the user's does: it is not known
        return None
    underflows = sizes[3] == 0.0 and sizes[2] < 1e-30 * sizes.max()
    return None if underflows else end


def _settled(evaluate: Evaluate, within: float = 0.0) -> int | None:
    """The step from which on the values stay, to a part of their range; as far as probes tell."""
    steps = np.append(0, np.unique(np.geomspace(1, LONGEST, CHUNK - 1).round())).astype(np.int64)
    high = 0
    for _ in range(2):  # the second time between two probes of the first
        values = evaluate(steps)
        if not np.isfinite(values).all():
            return None
        changed = np.flatnonzero(np.abs(values - values[-1]) > within * np.ptp(values))
        if not len(changed):
            break
        low, high = steps[changed[-1]], steps[changed[-1] + 1]
        if high > LONGEST // 4:
            return None
        steps = np.unique(np.linspace(low, high, CHUNK).round()).astype(np.int64)
    return int(high)


def _longest(value: Any) -> Iterator[int]:
    """The longest length, in steps, of a schedule and of each one inside of it."""
    if isinstance(value, Feedback):
        for argument in value.recipe.arguments.values():
            yield from _longest(argument)
    if isinstance(value, StepFunction):
        found = [0]
        for argument in value.in_steps.values():
            if isinstance(argument, Period):
                found.append(max(argument.lengths))
            elif isinstance(argument, tuple):
                found += [x for x in argument if isinstance(x, int)]
                yield max((sum(_longest(item)) for item in argument), default=0)
            elif isinstance(argument, int):
                found.append(argument)
            else:
                yield from _longest(argument)
        yield max(found)


def _floor_reached(arguments: dict[str, Any]) -> int | None:
    """The step at which an exponential has come to its end; None where it never does."""
    value, factor, end = (arguments[name] for name in ("value", "factor", "end"))
    if not all(isinstance(x, float) for x in (value, factor, end)) or not value * end > 0.0:
        return None
    if value == end or factor == 1.0:
        return 0
    period = arguments["steps"]
    length = period.steps / len(period.starts)
    return math.ceil(math.log(end / value) / math.log(factor) * length - 1e-9)


def _next_start(step: int | None, period: Period) -> int | None:
    """The step at which the next repetition begins."""
    if step is None:
        return None
    rounds, inside = divmod(step, period.steps)
    starts = [start for start in (*period.starts, period.steps) if start >= inside]
    return rounds * period.steps + starts[0]


def _later(end: int | None, steps: int) -> int | None:
    return None if end is None else max(end + steps, 0)


def _is_constant(value: Any) -> bool:
    return not callable(value)


def _pairs(parts: list[Lengths]) -> list[tuple[str, Lengths]]:
    return list(zip(("schedule", "factor"), parts, strict=True))
