"""What a search found: every trial, and the best setting of each optimizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .candidate import Candidate, Setting
from .ranges import Range

Space = Mapping[str, Any]  # a `Range` or a tuple of values by name

_EDGE = 0.03  # of a range, as far from its end as that


class Trial(NamedTuple):
    """A setting that was tried."""

    setting: Setting
    steps: int  # of training; its schedule ends with them
    score: float  # the mean of the validation metric over the search's seeds
    round: int  # of the search, from 0 on


@dataclass(frozen=True, eq=False)
class Tuning:
    """What `tune` returns; it prints as a table, and `compare` takes it as candidates.

    A trial is usable if no run of its setting diverged or had a metric that is not finite, on any
    seed and at any length.

    Attributes:
      task: the name of the task.
      metric_name: what the trials are judged by, on the validation split.
      lower_is_better: whether the metric is an error or a loss.
      method: "halving" or "optuna".
      budget: runs of full length that each optimizer had, for each seed.
      steps: training steps of a run of full length.
      batch_size: examples in a batch.
      seeds: those of the search.
      spaces: of each optimizer, a `Range` or values by name.
      trials: of each optimizer, in the order in which they were made.
      functions: of each optimizer, the candidate whose function was tried.
    """

    task: str
    metric_name: str
    lower_is_better: bool
    method: str
    budget: int
    steps: int
    batch_size: int
    seeds: tuple[int, ...]
    spaces: Mapping[str, Space]
    trials: Mapping[str, tuple[Trial, ...]]
    functions: Mapping[str, Candidate]

    @property
    def names(self) -> tuple[str, ...]:
        """The optimizers."""
        return tuple(self.trials)

    @property
    def unusable(self) -> tuple[str, ...]:
        """The optimizers without a usable trial: nothing is known of them but that they failed."""
        return tuple(name for name in self.names if not self._usable(name))

    def best(self, name: str) -> Trial:
        """The best of an optimizer's longest usable trials.

        Raises:
          ValueError: no trial was usable.
        """
        trials = self._usable(name)
        if not trials:
            raise ValueError(
                f"`Tuning.best({name!r})`: none of the {len(self.trials[name])} trials was usable: "
                "each diverged, or its metric is not finite. Search lower learning rates, or "
                f"longer warmups; searched was {self._searched(name)}."
            )
        longest = max(trial.steps for trial in trials)
        return ordered([t for t in trials if t.steps == longest], self.lower_is_better)[0]

    def _usable(self, name: str) -> list[Trial]:
        failed = [trial.setting for trial in self.trials[name] if not np.isfinite(trial.score)]
        return [trial for trial in self.trials[name] if trial.setting not in failed]

    def _searched(self, name: str) -> str:
        return "; ".join(f"{key}: {_in_words(values)}" for key, values in self.spaces[name].items())

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Of each optimizer a candidate with its best setting, for `compare`.

        Those without a usable trial are left out; `unusable` names them.

        Raises:
          ValueError: no optimizer has a usable trial.
        """
        usable = [name for name in self.names if name not in self.unusable]
        if not usable:
            self.best(self.names[0])  # raises
        return tuple(
            replace(
                self.functions[name],
                grid={key: [value] for key, value in self.best(name).setting.items()},
            )
            for name in usable
        )

    def at_edge(self, name: str) -> tuple[str, ...]:
        """Ranges of which the best setting is near an end: a better one may lie beyond."""
        found = []
        for key, value in self.best(name).setting.items():
            space = self.spaces[name][key]
            # A share that ends at 0 or 1 has nothing beyond.
            if isinstance(space, Range) and space.log:
                place = space.place(value)
                if min(place, 1.0 - place) < _EDGE:
                    found.append(key)
        return tuple(found)

    @property
    def search(self) -> dict[str, Any]:
        """The search in words and numbers that JSON can hold, without the trials."""
        found = {"without_a_usable_trial": list(self.unusable)} if self.unusable else {}
        return {
            **found,
            "method": self.method,
            "budget": self.budget,
            "steps": self.steps,
            "seeds": list(self.seeds),
            "spaces": {
                name: {key: _plain(value) for key, value in space.items()}
                for name, space in self.spaces.items()
            },
        }

    def records(self, name: str) -> tuple[dict[str, Any], ...]:
        """An optimizer's trials as plain data."""
        return tuple(
            {
                "setting": dict(trial.setting),
                "steps": trial.steps,
                "seeds": list(self.seeds),
                "score": trial.score,
                "round": trial.round,
            }
            for trial in self.trials[name]
        )

    def __repr__(self) -> str:
        sign = 1.0 if self.lower_is_better else -1.0
        usable = [name for name in self.names if name not in self.unusable]
        order = sorted(usable, key=lambda name: _key(sign * self.best(name).score))
        names = list(dict.fromkeys(key for space in self.spaces.values() for key in space))
        head = ["optimizer", *(name.replace("_", " ") for name in names)]
        rows = [[*head, f"validation {self.metric_name}", "trials"]]
        for name in order:
            best, edge = self.best(name), self.at_edge(name)
            cells = [
                f"{best.setting[key]:g}{'!' if key in edge else ''}" if key in best.setting else ""
                for key in names
            ]
            rows.append([name, *cells, f"{best.score:.4f}", str(len(self.trials[name]))])
        seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        lines = [
            f"{self.task}: the best settings by {self.method}, {self.budget} runs of {self.steps} "
            f"steps each, {seeds}",
            *_aligned(rows),
        ]
        if any(self.at_edge(name) for name in usable):
            lines.append("! near the end of its range; a better one may lie beyond.")
        lines += [
            f"{name}: none of the {len(self.trials[name])} trials was usable; each diverged, or "
            f"its metric is not finite. Searched was {self._searched(name)}."
            for name in self.unusable
        ]
        return "\n".join(lines)


def ordered(trials: Sequence[Trial], lower_is_better: bool) -> list[Trial]:
    """Trials, the best first; what is not a number comes last."""
    sign = 1.0 if lower_is_better else -1.0
    return sorted(trials, key=lambda trial: _key(sign * trial.score))


def _key(score: float) -> tuple[bool, float]:
    return bool(np.isnan(score)), score


def _in_words(values: Any) -> str:
    return str(values) if isinstance(values, Range) else ", ".join(f"{v:g}" for v in values)


def _plain(value: Any) -> Any:
    if isinstance(value, Range):
        return {"low": value.low, "high": value.high, "log": value.log}
    return list(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
