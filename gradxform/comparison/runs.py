"""What a comparison holds: the runs of each candidate, and what follows from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from . import statistics
from .candidate import Candidate, Setting


@dataclass(frozen=True, eq=False)
class CandidateResult:
    """The runs of one candidate. Axes: setting as in `candidate.settings`, seed, evaluation.

    Attributes:
      candidate: what was trained.
      evaluated: numbers of steps after which the networks were judged, from 0: [evaluation].
      validation: the metric on the validation split: [setting, seed, evaluation].
      train_loss: the loss over the training set before the first step, then at each evaluation
        the mean of the batches since the one before: [setting, seed, evaluation].
      final_loss: the loss over the training set after the last step: [setting, seed].
      test: the metric on the test split after the last step: [setting, seed].
      milliseconds: a training step of one network, if it was measured.
      lower_is_better: whether the metric is one of which less is better.
      trials: what a search tried before these runs, one record each: names to plain values.
      program_hash: a hash of the candidate's `init` and `update` as they were compiled; "" where
        none was taken.
    """

    candidate: Candidate
    evaluated: np.ndarray
    validation: np.ndarray
    train_loss: np.ndarray
    final_loss: np.ndarray
    test: np.ndarray
    milliseconds: float | None = None
    lower_is_better: bool = False
    trials: tuple[Mapping[str, Any], ...] = ()
    program_hash: str = ""

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The candidate's settings, in the order of the arrays."""
        return self.candidate.settings

    @property
    def final_validation(self) -> np.ndarray:
        """The mean validation metric over the last tenth of the training: [setting, seed].

        The last step alone would let luck choose: at a constant rate the metric goes up and down.
        """
        late = self.evaluated >= 0.9 * self.evaluated[-1]
        return self.validation[:, :, late].mean(axis=-1, dtype=np.float64)

    @property
    def chosen(self) -> int:
        """The setting with the best mean of `final_validation` over seeds; the first of equals.

        The test split plays no part.
        """
        return int(np.argmax(_ranked(self._means(self.final_validation), self.lower_is_better)))

    @property
    def chosen_setting(self) -> Setting:
        """The hyperparameters of the chosen setting."""
        return self.settings[self.chosen]

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Names whose chosen value is the smallest or largest tried: a better may lie beyond."""
        return tuple(
            name
            for name, values in self.candidate.grid.items()
            if len(values) > 1 and self.chosen_setting[name] in (values[0], values[-1])
        )

    @property
    def diverged(self) -> np.ndarray:
        """Runs with a loss that was not finite, or ended above its start: [setting, seed]."""
        broken = ~np.isfinite(self.train_loss).all(axis=-1) | ~np.isfinite(self.final_loss)
        return broken | (self.final_loss > self.train_loss[:, :, 0])

    def steps_to(self, target: float) -> np.ndarray:
        """Steps until a validation metric of `target`, at the chosen setting: [seed].

        As far as the evaluations tell; infinite for a seed that never got there.
        """
        values = self.validation[self.chosen]
        reached = values <= target if self.lower_is_better else values >= target
        return np.where(reached.any(-1), self.evaluated[reached.argmax(-1)], math.inf)

    @property
    def scores(self) -> np.ndarray:
        """The test metric at the chosen setting: [seed]."""
        return self.test[self.chosen]

    @staticmethod
    def _means(runs: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # infinities of both signs
            return np.asarray(np.mean(runs, axis=-1, dtype=np.float64))


@dataclass(frozen=True)
class Reference:
    """What another method reaches on the same splits, to stand beside the candidates.

    Attributes:
      name: what tables and files call it.
      validation: its metric on the validation split.
      test: its metric on the test split.
      recipe: the code that makes it.
    """

    name: str
    validation: float
    test: float
    recipe: str = ""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The finished candidates of a comparison on one task, and how they rank.

    What its tables, pages and rules read; `Comparison`, which adds how it is shown and kept,
    explains the fields.
    """

    task: str
    planned: tuple[str, ...]
    results: tuple[CandidateResult, ...]
    seeds: tuple[int, ...]
    steps: int
    batch_size: int
    evaluate_every: int
    sizes: Mapping[str, int]
    references: tuple[Reference, ...] = ()
    target: float | None = None
    metric_name: str = "metric"
    percent: bool = False
    lower_is_better: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    task_hash: str = ""

    def __getitem__(self, name: str) -> CandidateResult:
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(f"no result of `{name}`; finished are: {', '.join(self.names) or 'none'}.")

    def with_result(self, result: CandidateResult) -> Self:
        """The same with one more finished candidate."""
        found = {**{r.name: r for r in self.results}, result.name: result}
        return replace(self, results=tuple(found[name] for name in self.planned if name in found))

    @property
    def names(self) -> tuple[str, ...]:
        """The finished candidates."""
        return tuple(result.name for result in self.results)

    @property
    def complete(self) -> bool:
        """Whether every candidate was trained."""
        return self.names == self.planned

    @cached_property
    def ranking(self) -> tuple[CandidateResult, ...]:
        """The results by mean test metric at the chosen setting, the best first.

        Those that diverged on every seed come last, whatever metric they reached.
        """
        with np.errstate(invalid="ignore"):  # infinities of both signs
            means = [np.mean(r.scores, dtype=np.float64) for r in self.results]
        better = _ranked(means, self.lower_is_better)
        lost = [bool(r.diverged[r.chosen].all()) for r in self.results]
        order = sorted(range(len(means)), key=lambda i: (lost[i], -better[i]))
        return tuple(self.results[i] for i in order)

    @cached_property
    def p_values(self) -> dict[str, float] | None:
        """Of each candidate but the best: the paired t-test of its test scores against the best's.

        Not corrected for their number. None with a single seed, where no test is possible.
        """
        if len(self.seeds) < 2 or not self.results:
            return None
        best, *others = self.ranking
        return {r.name: statistics.paired_p_value(best.scores, r.scores) for r in others}

    @cached_property
    def ties(self) -> frozenset[str] | None:
        """Candidates that cannot be told from the best at 95 %, after Holm's correction.

        The best itself is not among them. None with a single seed, where no test is possible.
        """
        if self.p_values is None:
            return None
        rejected = statistics.holm(list(self.p_values.values()))
        names = zip(self.p_values, rejected, strict=True)
        return frozenset(name for name, different in names if not different)


def _ranked(values: Sequence[Any] | np.ndarray, lower_is_better: bool) -> np.ndarray:
    """Values to compare by, more is better: what is not a number comes last."""
    better = -np.asarray(values) if lower_is_better else np.asarray(values)
    return np.where(np.isnan(better), -math.inf, better)
