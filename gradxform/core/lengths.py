"""Lengths of schedules: in steps, as fractions of a run, or in epochs.

Every schedule takes its lengths in steps, and one of two keywords that change the unit of all of
them: with `total_steps=` they are fractions of the run, with `steps_per_epoch=` they are epochs.

    cosine_decay(1e-3, steps=1.0, total_steps=20_000)
    step_decay(0.1, boundaries=[30, 60, 90], steps_per_epoch=391)
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from . import check

# The last step that an int32 counter reaches.
LONGEST = 2**31 - 1


@dataclass(frozen=True)
class LengthRule:
    """A number of steps; of any unit where the unit is given.

    Attributes:
      low: the fewest steps: 1, or 0 for a part that may be left out.
    """

    low: int = 1
    kind = "int"

    def __call__(self, call: str, name: str, value: Any) -> int:
        """The length in whole steps."""
        steps = check.Whole(self.low)(call, name, value)
        if steps > LONGEST:
            check.fail(call, name, value, f"at most {LONGEST}, where the step counter ends")
        return steps

    def measured(self, call: str, name: str, value: Any, high: float) -> float:
        """The length as a number in another unit, at most `high`."""
        if check.is_traced(value):
            check.fail(call, name, value, "known when the schedule is built")
        rule = check.Interval(low=0.0, low_open=self.low > 0, high=high)
        return float(rule(call, name, value))

    def in_steps(self, call: str, name: str, value: float, unit: float) -> int:
        """The length in whole steps, of which a unit has `unit`."""
        return self(call, name, round(value * unit))


class BoundariesRule:
    """Steps in increasing order, all above 0."""

    kind = "Sequence[int]"

    def __call__(self, call: str, name: str, value: Any) -> tuple[int, ...]:
        """The steps as a tuple, so that a list equals it."""
        return self._increasing(call, name, value, LengthRule())

    def measured(self, call: str, name: str, value: Any, high: float) -> tuple[float, ...]:
        """The boundaries in another unit."""

        def rule(call: str, name: str, item: Any) -> float:
            return LengthRule().measured(call, name, item, high)

        return self._increasing(call, name, value, rule)

    def in_steps(self, call: str, name: str, value: Any, unit: float) -> tuple[int, ...]:
        """The boundaries in whole steps."""
        return self(call, name, [round(item * unit) for item in value])

    def _increasing(self, call: str, name: str, value: Any, rule: Any) -> tuple[Any, ...]:
        must = "numbers above 0 in increasing order, whole unless a unit is given"
        try:
            limits = tuple(rule(call, name, item) for item in value)
        except (TypeError, ValueError):
            check.fail(call, name, value, must)
        if not limits or any(a >= b for a, b in pairwise(limits)):
            check.fail(call, name, value, must)
        return limits


Steps = Annotated[int, LengthRule()]
StepsOrZero = Annotated[int, LengthRule(low=0)]
Boundaries = Annotated[Sequence[int], BoundariesRule()]

# The keywords that change the unit, and the largest length in each of them.
UNITS = {"total_steps": 1.0, "steps_per_epoch": float("inf")}


def with_units(signature: inspect.Signature) -> inspect.Signature:
    """The signature of a schedule with lengths, and the keywords for their unit."""
    units = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[int | None, check.Optional(_UnitRule())],
        )
        for name in UNITS
    ]
    return signature.replace(parameters=[*signature.parameters.values(), *units])


class _UnitRule:
    """How many steps a unit has."""

    kind = "float"

    def __call__(self, call: str, name: str, value: Any) -> float:
        """The number of steps, above 0."""
        number: float = check.Interval(low=0.0, low_open=True)(call, name, value)
        return int(number) if float(number).is_integer() else number
