"""Training candidates on a task, under the same conditions for all."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..core import check
from .candidate import as_candidates, require_tunables
from .conditions import Progress as Progress, Reporter, require_batch, seeds_of
from .environment import environment
from .identity import program_hash, task_hash
from .memory import default_memory_limit
from .model import Model, require_scalars
from .program import Program
from .result import CandidateResult, Comparison, Reference
from .resume import kept_results, resumed_environment
from .task import Task, require_task
from .timing import step_milliseconds
from .train import trained
from .tuning import Tuning

_EVALUATIONS = 100  # of a run, unless `evaluate_every` says otherwise


def compare(
    task: Task,
    candidates: Any,
    *,
    seeds: int | Sequence[int] = 5,
    steps: int,
    batch_size: int = 64,
    evaluate_every: int | None = None,
    memory_limit: int | None = None,
    measure_milliseconds: bool = True,
    references: Sequence[Reference] = (),
    resume: Comparison | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_result: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Train every candidate on a task, at every setting of its grid and over several seeds.

        found = compare(
            task,
            {"mine": my_transformation, "adamw": adamw(3e-3)},
            steps=1000,
        )

    Seeds are paired: seed s has the same initial network and the same order of batches for every
    candidate and setting. All settings and seeds of a candidate are trained by one compiled
    program, whose step is that of `make_train_step`; where their networks do not fit into memory
    at once, it trains them in groups, which changes the results by rounding only. Each
    candidate's setting is chosen on the validation split; the test split is for comparing what
    was chosen. Nothing is printed.

    Args:
      task: the model, its data and its metric.
      candidates: the optimizers: `Candidate`s, which have a name and a grid of settings to try,
        or plain transformations, called what their `repr` says; a list of them, or a dict of
        transformations by name; or what `tune` returned, whose trials are kept with the results.
      seeds: how many (5 stands for 0 to 4), or which.
      steps: training steps of each run.
      batch_size: examples in a batch; what an epoch leaves over waits for the next one's order.
      evaluate_every: steps between evaluations on the validation split; by default 100 a run.
        Always evaluated as well: the initial network and the last step.
      memory_limit: the bytes that networks, optimizers and data may take at once, by the
        compiler's account of its programs; by default half of the machine's memory, or nine
        tenths of what is left of a GPU's.
      measure_milliseconds: whether to time a step of each candidate, on one network, before the
        training.
      references: what other methods reach on the same splits, to be shown with the results.
      resume: a comparison that was interrupted, such as `on_result` or `load_comparison` gave it:
        its finished candidates are taken over, and the others are trained.
      on_progress: called with a `Progress` after each part of the work.
      on_result: called after each candidate with the `Comparison` of those finished so far.

    Returns:
      The `Comparison`: the runs, of each candidate the setting with the best validation metric
      (over the seeds and the last tenth of the training), how the test metrics there rank, and
      which candidates are worse than the best (`verdicts`, from 3 seeds on). A run that diverged
      is part of it, as it was measured.

    Raises:
      TypeError, ValueError, KeyError: an argument makes no sense, a grid names what is not
        tunable, the task's loss or metric is no real number, or `resume` is not the same
        comparison; before any training. One network does not fit into `memory_limit`.
    """
    require_task("compare", task)
    seeds = seeds_of("compare", seeds)
    tuning = candidates if isinstance(candidates, Tuning) else None
    if tuning is not None:
        candidates = tuning.candidates
        _require_apart(seeds, tuning)
    steps = check.Whole()("compare", "steps", steps)
    batch_size = check.Whole()("compare", "batch_size", batch_size)
    every = check.Optional(check.Whole())("compare", "evaluate_every", evaluate_every)
    every = min(every or -(-steps // _EVALUATIONS), steps)
    require_batch("compare", task, batch_size)
    limit = check.Optional(check.Whole(high=None))("compare", "memory_limit", memory_limit)
    limit = limit or default_memory_limit()
    model, candidates = Model(task), as_candidates(candidates)
    for candidate in candidates:
        require_tunables(candidate, model, steps)
    require_scalars(model, batch_size)

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
        lower_is_better=task.lower_is_better,
        details=task.details,
        environment=environment(),
        task_hash=task_hash(task, batch_size),
        search={} if tuning is None else tuning.search,
    )
    hash_of = partial(program_hash, task, steps=steps, batch_size=batch_size)
    if resume is not None:
        kept = kept_results(resume, comparison, candidates, hash_of)
        made = resumed_environment(resume, comparison.environment)
        comparison = replace(comparison, results=kept, environment=made)
    left = [candidate for candidate in candidates if candidate.name not in comparison.names]
    program = Program(model, seeds, steps=steps, batch_size=batch_size, evaluate_every=every)
    report = Reporter(on_progress, len(left) * (len(program.evaluated) - 1))

    milliseconds: Sequence[float | None] = [None] * len(left)
    if measure_milliseconds and left:
        report.now("")
        milliseconds = step_milliseconds(
            model, left, steps=steps, batch_size=batch_size, memory_limit=limit
        )
    for candidate, ms in zip(left, milliseconds, strict=True):
        report.now(candidate.name)
        runs = trained(
            program,
            candidate,
            memory_limit=limit,
            on_evaluation=partial(report.part, candidate.name),
        )
        result = CandidateResult(
            candidate=candidate,
            evaluated=program.evaluated,
            milliseconds=ms,
            lower_is_better=task.lower_is_better,
            program_hash=hash_of(candidate),
            trials=() if tuning is None else tuning.records(candidate.name),
            **runs._asdict(),
        )
        comparison = comparison.with_result(result)
        if on_result is not None:
            on_result(comparison)
    return comparison


def _require_apart(seeds: tuple[int, ...], tuning: Tuning) -> None:
    """Refuse seeds that the search has seen: its choice would be judged by what it was made on."""
    both = sorted({*seeds} & {*tuning.seeds})
    if both:
        hint = f"The search used {', '.join(map(str, tuning.seeds))}."
        check.fail("compare", "seeds", seeds, "apart from the seeds of the search", hint)
