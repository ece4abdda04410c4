"""What a comparison holds: the runs of each candidate, and what follows from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from ..core import check
from . import statistics
from .candidate import Candidate, Setting

# A loss that ended by so much above its start went up, and did not merely fail to go down.
_SPREADS_ABOVE = 3.0  # of the losses over the second half of the training
_SHARE_ABOVE = 0.1  # of the start
_TIMES_ABOVE = 10.0  # the start, however wide the spread: a wild run has a wide one
_DEVIATIONS = 1.4826  # standard deviations of a normal distribution in a median deviation


class Verdict(NamedTuple):
    """What the seeds say of a candidate.

    Attributes:
      word: "best": all others are worse. "first": it has the best mean, and some others are not
        told apart from it. "worse": than the best, with a chance of at most 5 % for any such
        word in the table. "not told apart": from the best, which is no proof that they are equal.
        "failed": some of its runs did, and it is compared with none. "" with fewer than 3 seeds,
        or where none is left to compare with.
      difference: how much worse its mean is than that of the first, in the metric's unit.
      low: the lower end of the simultaneous 95 % interval of how much worse than the best it is;
        above 0 where `word` is "worse". NaN where there is none.
      high: the upper end.
      failed: its runs at the chosen setting that diverged, or whose metric is not finite.
      varies: whether it varies over the seeds far more than the others: more than 3 times in
        standard deviations. Few seeds can deceive there.
      test_error: the most that the standard error of `difference` over the examples of the test
        split can be, where the metric is a share of them. The seeds do not show it: all were
        judged on the same examples. NaN where the metric does not tell.
    """

    word: Literal["best", "first", "not told apart", "worse", "failed", ""]
    difference: float
    low: float
    high: float
    failed: int
    varies: bool
    test_error: float

    @property
    def is_of_these_examples(self) -> bool:
        """Whether it is worse, and other test examples might turn that round."""
        return self.word == "worse" and self.difference < 2 * self.test_error


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

        Before that counts on how many seeds it is finite: a setting that failed on one seed is
        behind all that failed on none, and the mean is that of the others. The test split plays
        no part.
        """
        finite = np.isfinite(self.final_validation)
        with np.errstate(invalid="ignore"):  # none is finite
            total = np.sum(self.final_validation, axis=-1, where=finite)
            means = _ranked(total / finite.sum(axis=-1), self.lower_is_better)
        return int(np.lexsort((-means, -finite.sum(axis=-1)))[0])

    @property
    def chosen_setting(self) -> Setting:
        """The hyperparameters of the chosen setting."""
        return self.settings[self.chosen]

    @property
    def settings_tried(self) -> int:
        """How many settings were tried, in a search too; with one, nothing was tuned."""
        return max(len(self.settings), len({str(trial["setting"]) for trial in self.trials}))

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Names whose chosen value is the smallest or largest tried: a better may lie beyond.

        A smallest value of 0 is no edge: a decay of nothing has nothing below it.
        """
        return tuple(
            name
            for name, values in self.candidate.grid.items()
            if len(values) > 1 and self.chosen_setting[name] in (values[0] or math.nan, values[-1])
        )

    @property
    def diverged(self) -> np.ndarray:
        """Runs with a loss that was not finite, or ended clearly above its start: [setting, seed].

        Clearly is by more than a tenth of the start and more than 3 times the spread of the loss
        over the second half of the training; or at more than 10 times a start above 0. A run that
        begins near its optimum and stays there, or that never moves, has not diverged.
        """
        start, end = (
            np.asarray(a, np.float64) for a in (self.train_loss[:, :, 0], self.final_loss)
        )
        half = np.asarray(self.train_loss[:, :, -max(self.train_loss.shape[-1] // 2, 1) :])
        with np.errstate(invalid="ignore"):  # infinities, which count anyway
            middle = np.median(half, axis=-1, keepdims=True)
            spread = _DEVIATIONS * np.median(np.abs(half - middle), axis=-1)
            rise = end - start
            above = rise > np.maximum(_SPREADS_ABOVE * spread, _SHARE_ABOVE * np.abs(start))
            above |= (start > 0) & (end > _TIMES_ABOVE * start)
        return above | ~np.isfinite(self.train_loss).all(axis=-1) | ~np.isfinite(end)

    @property
    def failed(self) -> np.ndarray:
        """Runs at the chosen setting that diverged, or whose test metric is not finite: [seed]."""
        return self.diverged[self.chosen] | ~np.isfinite(self.scores)

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
        names = ", ".join(self.names) or "none"
        raise check.UnknownName(f"no result of `{name}`; finished are: {names}.")

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

        Those of which a run failed come last, the fewest failures first.
        """
        with np.errstate(invalid="ignore"):  # infinities of both signs
            means = [np.mean(r.scores, dtype=np.float64) for r in self.results]
        better = _ranked(means, self.lower_is_better)
        failed = [int(r.failed.sum()) for r in self.results]
        order = sorted(range(len(means)), key=lambda i: (failed[i], -better[i]))
        return tuple(self.results[i] for i in order)

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """What the seeds say of each candidate, in the order of the ranking; see `Verdict`.

        All pairs of candidates are compared over the seeds, see `statistics.judge`, so that the
        best may come from the same runs that judge it.
        """
        ranked = self.ranking
        if not ranked:
            return {}
        scores = np.array([r.scores for r in ranked], np.float64)
        failed = np.array([int(r.failed.sum()) for r in ranked])
        examples = self.sizes["test"]
        step = statistics.resolution(scores, examples)
        found = statistics.judge(
            scores, lower_is_better=self.lower_is_better, apart=failed > 0, resolution=step
        )
        with np.errstate(invalid="ignore"):  # infinities of both signs
            means = scores.mean(axis=-1)
            differences = means - means[0] if self.lower_is_better else means[0] - means
        known = scores[np.isfinite(scores)]
        is_share = (self.percent or step > 0) and bool(np.all((known >= 0) & (known <= 1)))
        wrong = means if self.lower_is_better else 1.0 - means
        return {
            r.name: Verdict(
                word=_word(found, failed, i),
                difference=float(differences[i]),
                low=float(found.low[i]),
                high=float(found.high[i]),
                failed=int(failed[i]),
                varies=bool(found.varies[i]),
                test_error=statistics.share_error(wrong[0], wrong[i], examples)
                if is_share and i > 0
                else math.nan,
            )
            for i, r in enumerate(ranked)
        }


def _word(found: statistics.Judgement, failed: np.ndarray, place: int) -> Any:
    """The word for who has a place in the ranking."""
    if failed[place]:
        return "failed"
    if np.isnan(found.low[place]):
        return ""
    if place > 0:
        return "worse" if found.low[place] > 0 else "not told apart"
    return "best" if np.all(found.low[1:][failed[1:] == 0] > 0) else "first"


def _ranked(values: Sequence[Any] | np.ndarray, lower_is_better: bool) -> np.ndarray:
    """Values to compare by, more is better: what is not a number comes last."""
    better = -np.asarray(values) if lower_is_better else np.asarray(values)
    return np.where(np.isnan(better), -math.inf, better)
