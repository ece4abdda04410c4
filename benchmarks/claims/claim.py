"""A claim: its words, its experiment, the statistic it stands on, and the rule that decides."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from evidence import Effect, Rule


@dataclass(frozen=True)
class Size:
    """How large the experiments are: in full, or tiny ones that only show that they run."""

    tiny: bool = False

    def steps(self, number: int, evaluations: int = 20) -> int:
        """A number of steps, a multiple of the number of evaluations."""
        return 2 * evaluations if self.tiny else -(-number // evaluations) * evaluations

    def grid(self, values: Sequence[Any]) -> list[Any]:
        """The values to try."""
        return list(values[:1] if self.tiny else values)

    def some(self, values: Iterable[Any]) -> list[Any]:
        """The parts of an experiment that repeat it, such as data sets."""
        return list(values)[: 1 if self.tiny else None]

    def seeds(self, number: int) -> list[int]:
        """The seeds that the result is read from."""
        return list(range(2 if self.tiny else number))

    def tuning_seeds(self, number: int) -> list[int]:
        """The seeds that settings are chosen with: others."""
        return [1000 + seed for seed in range(1 if self.tiny else number)]


FULL, TINY = Size(), Size(tiny=True)


class Line(NamedTuple):
    """One side in a picture, with the standard error of its mean over seeds."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """The picture of an experiment: its lines and axes."""

    title: str
    xlabel: str
    ylabel: str
    lines: Sequence[Line]
    logx: bool = False
    logy: bool = False


@dataclass(frozen=True)
class Found:
    """What an experiment found.

    Attributes:
      effects: the first one is what the rule is about; the others help to read it.
      panel: its picture.
      seeds: that the effects are read from.
      tuning_seeds: that settings were chosen with.
      chosen: of each side the setting and what was tried; and whatever else belongs to the
        conditions.
    """

    effects: Sequence[Effect]
    panel: Panel
    seeds: Sequence[int]
    tuning_seeds: Sequence[int] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One claim of the guide, made testable.

    Attributes:
      name: of its program and its row.
      text: the claim, so that it can fail.
      measured: what was measured, on which data, and how each side was tuned.
      rule: when it counts as shown.
      experiment: the program.
      note: what a reader must know besides, such as what was changed after a first run.
    """

    name: str
    text: str
    measured: str
    rule: Rule
    experiment: Callable[[Size], Found]
    note: str = ""
