"""Training candidates on a task, under the same conditions for all."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from ..core import check
from .candidate import Candidate, require_tunables
from .result import CandidateResult, Comparison, Reference
from .task import Task, require_scalars
from .timing import step_milliseconds
from .train import Program

_EVALUATIONS = 100  # of a run, unless `evaluate_every` says otherwise


class Progress(NamedTuple):
    """How far a comparison has come."""

    candidate: str  # the one in training; empty while steps are timed
    done: int  # parts of the training, of about one length
    total: int


def compare(
    task: Task,
    candidates: Sequence[Candidate],
    *,
    seeds: int | Sequence[int] = 5,
    steps: int,
    batch_size: int = 64,
    evaluate_every: int | None = None,
    measure_milliseconds: bool = True,
    references: Sequence[Reference] = (),
    on_progress: Callable[[Progress], None] | None = None,
    on_result: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Train every candidate on a task, at every setting of its grid and over several seeds.

    Seeds are paired: seed s has the same initial network and the same order of batches for every
    candidate and setting. All settings and seeds of a candidate are trained by one compiled
    program. Each candidate's setting is chosen on the validation split; the test split is for
    comparing what was chosen. Nothing is printed.

    Args:
      task: the model, its data and its metric.
      candidates: the optimizers and their grids, with different names.
      seeds: how many (5 stands for 0 to 4), or which.
      steps: training steps of each run.
      batch_size: examples in a batch; what an epoch leaves over waits for the next one's order.
      evaluate_every: steps between evaluations on the validation split; by default 100 a run.
        Always evaluated as well: the initial network and the last step.
      measure_milliseconds: whether to time a step of each candidate, on one network, before the
        training.
      references: what other methods reach on the same splits, to be shown with the results.
      on_progress: called with a `Progress` after each part of the work.
      on_result: called after each candidate with the `Comparison` of those finished so far.

    Returns:
      The `Comparison`: the runs, of each candidate the setting with the best validation metric
      (over the seeds and the last tenth of the training), and how the test metrics there rank.
      A run that diverged is part of it, as it was measured.

    Raises:
      TypeError, ValueError, KeyError: an argument makes no sense, a grid names what is not
        tunable, or the task's loss or metric is no real number; before any training.
    """
    seeds = _seeds(seeds)
    steps = check.Whole()("compare", "steps", steps)
    batch_size = check.Whole()("compare", "batch_size", batch_size)
    every = check.Optional(check.Whole())("compare", "evaluate_every", evaluate_every)
    every = min(every or -(-steps // _EVALUATIONS), steps)
    _require_batch(task, batch_size)
    _require_candidates(task, candidates)
    require_scalars(task, batch_size)

    comparison = Comparison(
        task=task.name,
        planned=tuple(candidate.name for candidate in candidates),
        results=(),
        seeds=seeds,
        steps=steps,
        batch_size=batch_size,
        evaluate_every=every,
        sizes=task.sizes,
        references=tuple(references),
        target=task.target,
        metric_name=task.metric_name,
        percent=task.percent,
        details=task.details,
    )
    report = _Reporter(on_progress)
    program = Program(task, seeds, steps=steps, batch_size=batch_size, evaluate_every=every)
    report.total = len(candidates) * (len(program.evaluated) - 1)

    milliseconds: Sequence[float | None] = [None] * len(candidates)
    if measure_milliseconds:
        report.now("")
        milliseconds = step_milliseconds(task, candidates, batch_size=batch_size)
    for candidate, ms in zip(candidates, milliseconds, strict=True):
        report.now(candidate.name)
        runs = program.run(candidate, on_evaluation=partial(report.part, candidate.name))
        result = CandidateResult(
            candidate=candidate, evaluated=program.evaluated, milliseconds=ms, **runs._asdict()
        )
        comparison = replace(comparison, results=(*comparison.results, result))
        if on_result is not None:
            on_result(comparison)
    return comparison


class _Reporter:
    """Counts the finished parts for `on_progress`."""

    def __init__(self, callback: Callable[[Progress], None] | None) -> None:
        self.callback = callback
        self.done = 0
        self.total = 0

    def now(self, candidate: str) -> None:
        if self.callback is not None:
            self.callback(Progress(candidate, self.done, self.total))

    def part(self, candidate: str) -> None:
        self.done += 1
        self.now(candidate)


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, Sequence) and not isinstance(seeds, str):
        whole = check.Whole(low=0)
        listed = tuple(whole("compare", f"seeds[{i}]", seed) for i, seed in enumerate(seeds))
        if not listed or len(set(listed)) < len(listed):
            check.fail("compare", "seeds", seeds, "at least one seed, and each of them once")
        return listed
    return tuple(range(check.Whole()("compare", "seeds", seeds)))


def _require_batch(task: Task, batch_size: int) -> None:
    available = task.sizes["train"]
    if batch_size > available:
        must = f"at most {available}, the number of training examples of {task.name}"
        check.fail("compare", "batch_size", batch_size, must)


def _require_candidates(task: Task, candidates: Sequence[Candidate]) -> None:
    names = [candidate.name for candidate in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        found = f"{', '.join(twice)} more than once" if twice else "none"
        raise ValueError(
            f"`compare(candidates=...)`: `candidates` must be one or more, each with a name of its "
            f"own; got {found}."
        )
    for candidate in candidates:
        require_tunables(candidate, task)
