"""Lengths: whole numbers of steps, or epochs and parts of a run, which need not be whole.

    cosine_decay(1e-3, steps=fraction(0.9, of=20_000))
    step_decay(0.1, boundaries=epochs([30, 60, 90], steps_per_epoch=391))

A length that is not whole is rounded where it ends and not by itself: what begins at the place s
of a run, an exact fraction, takes ⌊s + length + 1/2⌋ - ⌊s + 1/2⌋ steps. So the parts of a run add
up to the run, and what repeats does not drift. A length above 0 is at least one step.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, NamedTuple, ParamSpec, overload

import numpy as np

from . import check
from .check import LONGEST
from .display import Displayed
from .factory import Signature
from .recipe import Recipe, rebuild, render

P = ParamSpec("P")


class Length(Displayed):
    """A length that need not be whole; `epochs` and `fraction` make it.

    Where a plain whole number is meant, as by `range` or `int`, it is the nearest one, and at
    least 1 if it is above 0.

    Attributes:
      recipe: the call that built it.
      exact: the number of steps.
    """

    __slots__ = ("__weakref__", "exact", "recipe")

    def __init__(self, recipe: Recipe, exact: Fraction) -> None:
        self.recipe, self.exact = recipe, exact

    def __index__(self) -> int:
        return START.after(self).whole

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Length) and self.recipe == other.recipe

    def __hash__(self) -> int:
        return hash((Length, self.recipe))

    def __repr__(self) -> str:
        return render(self.recipe)

    def __reduce__(self) -> Any:
        return rebuild, (self.recipe.factory, self.recipe.shown)


class Place(NamedTuple):
    """A place in a run, counted from its first step."""

    exact: Fraction
    whole: int  # the step

    def after(self, length: int | Length) -> "Place":
        """The place that is so much later."""
        steps = _exact(length)
        end = self.exact + steps
        return Place(end, max(_nearest(end), self.whole + (steps > 0)))

    def at(self, boundaries: Iterable[int | Length]) -> list["Place"]:
        """The places of boundaries that are counted from here, a step apart at least."""
        places, last = [], self.whole
        for boundary in boundaries:
            place = self.after(boundary)
            last = max(place.whole, last + 1)
            places.append(Place(place.exact, last))
        return places


START = Place(Fraction(0), 0)


class Period(NamedTuple):
    """How steps repeat: in `steps` steps there are as many repetitions as `starts`."""

    steps: int
    starts: tuple[int, ...]  # the step at which each of them begins

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many steps each repetition takes."""
        return tuple(b - a for a, b in pairwise((*self.starts, self.steps)))


def _exact(length: int | Length) -> Fraction:
    return length.exact if isinstance(length, Length) else Fraction(length)


def _nearest(x: Fraction) -> int:
    """The nearest whole number; the next of two, so that x + 1 has the one after x's."""
    return math.floor(x + Fraction(1, 2))


@dataclass(frozen=True)
class LengthRule:
    """A number of steps, or a `Length`.

    Attributes:
      low: the fewest steps: 1, or 0 for a part that may be left out.
    """

    low: int = 1
    kind = "int | Length"

    def __call__(self, call: str, name: str, value: Any) -> int | Length:
        """The whole number as an int, the length as it is."""
        if not isinstance(value, Length):
            try:
                return int(check.Whole(self.low)(call, name, value))
            except ValueError as error:
                if check.is_traced(value) or not isinstance(value, float):
                    raise
                hint = "A part of a run is `fraction(0.1, of=20_000)`; epochs are `epochs(...)`."
                raise ValueError(f"{error} {hint}") from None
        if value.exact < self.low and value.exact == 0:
            check.fail(call, name, value, "above 0")
        if value.exact > LONGEST:
            check.fail(call, name, value, f"at most {LONGEST} steps, where their counter ends")
        return value

    def begun(self, value: Any, place: Place, arguments: dict[str, Any]) -> Any:
        """The length in whole steps, of what begins at a place."""
        return place.after(value).whole - place.whole


@dataclass(frozen=True)
class OwnLengthRule(LengthRule):
    """A length that is counted from a schedule's own first step, wherever it begins."""

    def begun(self, value: Any, place: Place, arguments: dict[str, Any]) -> Any:
        """The length in whole steps."""
        return START.after(value).whole


@dataclass(frozen=True)
class PartRule(LengthRule):
    """The length of the first or the last part of a whole: `steps`, which holds both.

    Attributes:
      is_last: whether it is `decay_steps`, at the end, or `warmup_steps`, at the beginning.
    """

    is_last: bool = False

    def begun(self, value: Any, place: Place, arguments: dict[str, Any]) -> Any:
        """The length in whole steps, rounded where the part ends or begins."""
        end, first = place.after(arguments["steps"]), place.after(arguments["warmup_steps"])
        begin, rise = end.exact - _exact(arguments["decay_steps"]), first.whole - place.whole
        longest = end.whole - place.whole - 1  # which leaves a step for the last part
        fall = max(longest + 1 + place.whole - _nearest(begin), 1)
        if first.exact <= begin:  # they fit, so they do in whole steps
            rise = min(rise, max(longest, 1))
            fall = max(min(fall, longest + 1 - rise), 1)
        return fall if self.is_last else rise


class PeriodRule(LengthRule):
    """A length that is repeated without an end."""

    def begun(self, value: Any, place: Place, arguments: dict[str, Any]) -> Any:
        """The steps of the repetitions, a `Period`."""
        # Rounded to a table of this size: by less than half a step in 2^31.
        exact = max(_exact(value).limit_denominator(2**16), Fraction(1))
        begin = place.exact if _nearest(place.exact) == place.whole else Fraction(place.whole)
        starts = (_nearest(begin + k * exact) - place.whole for k in range(exact.denominator))
        return Period(exact.numerator, tuple(s for s in starts if s <= LONGEST))


class BoundariesRule:
    """Steps in increasing order, all above 0."""

    kind = "Sequence[int | Length]"

    def __call__(self, call: str, name: str, value: Any) -> tuple[int | Length, ...]:
        """The steps as a tuple, so that a list equals it."""
        must = "a list of steps above 0 in increasing order, whole numbers or lengths"
        items = check.sequence(call, name, value, must)
        try:
            limits = tuple(LengthRule()(call, name, item) for item in items)
        except (TypeError, ValueError):
            check.fail(call, name, value, must)
        if not limits or any(_exact(a) >= _exact(b) for a, b in pairwise(limits)):
            check.fail(call, name, value, must)
        return limits

    def begun(self, value: Any, place: Place, arguments: dict[str, Any]) -> tuple[int, ...]:
        """The boundaries in whole steps, of what begins at a place."""
        return tuple(limit.whole - place.whole for limit in place.at(value))


Steps = Annotated[Any, LengthRule()]
StepsOrZero = Annotated[Any, LengthRule(low=0)]
OwnSteps = Annotated[Any, OwnLengthRule()]
FirstSteps = Annotated[Any, PartRule(low=0)]
LastSteps = Annotated[Any, PartRule(is_last=True)]
Every = Annotated[Any, PeriodRule()]
Boundaries = Annotated[Sequence[Any], BoundariesRule()]


class _NumberRule:
    """A number that is known, at least 0."""

    kind = "float"

    def __init__(self, interval: check.Interval) -> None:
        self.rule = check.Known(interval)

    def __call__(self, call: str, name: str, value: Any) -> float:
        """An int where it is whole."""
        number = self.rule(call, name, value)
        return int(number) if number.is_integer() else number


_Number = Annotated[Any, _NumberRule(check.Interval(low=0.0))]
_Positive = Annotated[Any, _NumberRule(check.Interval(low=0.0, low_open=True))]
_Part = Annotated[Any, _NumberRule(check.Interval(low=0.0, high=1.0))]


def _length(factory: Callable[P, Fraction]) -> Callable[P, Any]:
    """Make a factory of lengths of a function that returns the exact number of steps.

    Where its first argument is given several numbers, it returns a tuple of lengths.
    """
    signature = Signature(factory)
    first = next(iter(signature.signature.parameters))

    @functools.wraps(factory)
    def build(*args: Any, **kwargs: Any) -> Any:
        numbers: Any = args[0] if args else kwargs.get(first, 0)
        if isinstance(numbers, list | tuple) or np.ndim(numbers) == 1:
            rest = {name: value for name, value in kwargs.items() if name != first}
            return tuple(build(number, *args[1:], **rest) for number in numbers)
        bound = signature.bind(args, kwargs)
        exact = factory(*bound.args, **bound.kwargs)
        return Length(signature.record(build, bound), exact)

    build.__signature__ = signature.shown(Length)  # type: ignore[attr-defined]
    return build


def _as_written(number: float) -> Fraction:
    """The simplest fraction that is this float: 1/10 for 0.1, 1/3 for 1 / 3."""
    return Fraction(number).limit_denominator(10**9)


@overload
def epochs(number: float, steps_per_epoch: float) -> Length: ...
@overload
def epochs(number: Sequence[float], steps_per_epoch: float) -> tuple[Length, ...]: ...
@_length
def epochs(number: _Number, steps_per_epoch: _Positive) -> Fraction:
    """So many epochs, as a length in steps.

    `step_decay(0.1, boundaries=epochs([30, 60, 90], steps_per_epoch=391))`, or
    `exponential_decay(0.1, epochs(2.4, steps_per_epoch=391), 0.97)`.

    It stands for any number of steps in a schedule, and wherever a whole number of steps is
    taken. It is rounded where it ends in the run, so that the parts of a run add up.

    Args:
      number: how many epochs; of several, it returns a tuple of lengths.
      steps_per_epoch: updates of one epoch: examples / batch size, which need not be whole.
    """
    return _as_written(number) * _as_written(steps_per_epoch)


@overload
def fraction(part: float, of: int | Length) -> Length: ...
@overload
def fraction(part: Sequence[float], of: int | Length) -> tuple[Length, ...]: ...
@_length
def fraction(part: _Part, of: Steps) -> Fraction:
    """A part of a run, as a length in steps.

    `warmup(cosine_decay(1e-3, fraction(0.9, of=20_000)), fraction(0.1, of=20_000))` takes 20,000
    steps, for every number of steps and every two parts that make 1.

    It stands for any number of steps in a schedule, and wherever a whole number of steps is
    taken. It is rounded where it ends in the run, so that the parts of a run add up; a part above
    0 is at least one step.

    Args:
      part: from 0 to 1; of several, it returns a tuple of lengths.
      of: how many steps the run takes, or its length in `epochs`.
    """
    return _as_written(part) * _exact(of)
