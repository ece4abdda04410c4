"""Searching for the learning rate, its decay and its warmup together, with equal budgets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from ..core import check
from .candidate import Candidate, Setting, as_candidates, require_tunables
from .conditions import Progress, Reporter, require_batch, seeds_of
from .environment import environment
from .identity import task_hash
from .journal import Journal
from .memory import default_memory_limit
from .model import Model, require_scalars
from .program import Program
from .recipes import recipe_text
from .result import CandidateResult
from .samplers import METHODS, Method
from .scheduled import searchable
from .spaces import lowest, search_spaces, space_text
from .task import Task, require_task
from .train import trained
from .tuning import Trial, Tuning

_FIRST_SEED = 1000  # of a search, so that it shares none with `compare`
_EVALUATIONS = 10


def tune(
    task: Task,
    candidates: Any,
    space: Mapping[str, Any] | None = None,
    *,
    steps: int,
    budget: int = 12,
    batch_size: int = 64,
    seeds: int | Sequence[int] = 1,
    search: Literal["halving", "optuna"] = "halving",
    memory_limit: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Tuning:
    """Search for the best setting of each optimizer, with the same budget for each.

        found = tune(
            task,
            {"adamw": adamw, "sgd": lambda learning_rate: sgd(learning_rate, momentum=0.9)},
            {
                "learning_rate": Range(1e-4, 1.0),
                "weight_decay": Range(1e-4, 1.0),
                "warmup": Range(0.0, 0.3, log=False),
                "rate_decay": Range(0.0, 1.0, log=False),
            },
            steps=1000,
        )
        print(found)
        compare(task, found, steps=1000)

    Learning rate, its decay and its warmup are one decision, so they are tried together. Trials
    are judged by the validation metric, and trained in batches by one compiled program. The test
    split plays no part, and the seeds are not those of `compare`.

    Args:
      task: the model, its data and its metric.
      candidates: functions of what is searched that return a transformation, by name, or
        `Candidate`s of such functions; or transformations of this library in which the learning
        rate is `tunable`. Where a function does not take them itself, `warmup` (the share of the
        steps in which the rate rises from 0) and `rate_decay` (the share of the rate that a cosine
        then takes away) make a schedule, which the function gets as its `learning_rate`. An
        argument `steps` gets the number of training steps.
      space: a `Range`, or a list of values, for each name. A candidate searches those of the names
        that it takes; what its own grid says comes before. By default: the grids, `warmup` from 0
        to 0.3, `rate_decay` from 0 to 1, and where there is one `weight_decay` from 1e-4 to 1 or
        `l2` from 1e-6 to 1e-2.
      steps: training steps of a run of full length.
      budget: runs of full length for each optimizer and seed.
      batch_size: examples in a batch.
      seeds: how many (2 stands for 1000 and 1001), or which.
      search: "halving" trains many settings for a ninth of the steps, the best third of them for a
        third, and the best third of those in full; each time from the start and to the end of its
        schedule, and the rounds cost the same. No round has fewer than 100 steps: in shorter runs
        there are fewer rounds. "optuna" makes full runs only, in three batches,
        each proposed by Optuna's tree-structured Parzen estimator from those before it.
      memory_limit: as for `compare`.
      on_progress: called with a `Progress` after each batch of trials.

    Returns:
      A `Tuning`: every trial, and the best setting of each optimizer.

    Raises:
      TypeError, ValueError, KeyError: an argument makes no sense, or a space is empty; before any
        training.
      ImportError: the search needs Optuna, which is not installed.

    References: Jamieson and Talwalkar, 2016, https://arxiv.org/abs/1502.07943; Akiba et al., 2019,
    https://arxiv.org/abs/1907.10902
    """
    require_task("tune", task)
    planned = Search(
        task,
        as_candidates(candidates, "tune"),
        space,
        steps=steps,
        budget=budget,
        batch_size=batch_size,
        seeds=seeds,
        search=search,
        memory_limit=memory_limit,
    )
    return planned.run(on_progress)


@dataclass(frozen=True)
class _Listed(Candidate):
    """A candidate with settings that are no product."""

    listed: tuple[Setting, ...] = field(default=(), kw_only=True)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings as they are listed."""
        return self.listed


class Search:
    """A search that is planned and checked; it prints as what it will do."""

    def __init__(
        self,
        task: Task,
        candidates: Sequence[Candidate],
        space: Mapping[str, Any] | None,
        *,
        steps: int,
        budget: int,
        batch_size: int,
        seeds: int | Sequence[int],
        search: str,
        memory_limit: int | None,
    ) -> None:
        whole = check.Whole()
        self.task, self.model = task, Model(task)
        self.steps = whole("tune", "steps", steps)
        self.budget = whole("tune", "budget", budget)
        self.batch_size = whole("tune", "batch_size", batch_size)
        self.seeds = seeds_of("tune", seeds, first=_FIRST_SEED)
        limit = check.Optional(whole)("tune", "memory_limit", memory_limit)
        self.limit = limit or default_memory_limit()
        self.method: Method = METHODS[check.Choice(tuple(METHODS))("tune", "search", search)]
        self.method.require()
        require_batch("tune", task, self.batch_size)
        require_scalars(self.model, self.batch_size)
        self.functions = {c.name: searchable(c) for c in candidates}
        self.spaces = search_spaces(self.functions, space)
        for name, function in self.functions.items():
            at = {key: lowest(value) for key, value in self.spaces[name].items()}
            require_tunables(self._listed(function, [at]), self.model, self.steps)
        self.programs: dict[int, Program] = {}

    def __str__(self) -> str:
        seeds = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        lines = [
            f"Search on {self.task.name}, for each optimizer {self.budget} runs of {self.steps} "
            f"steps, {seeds} ({', '.join(map(str, self.seeds))}): "
            f"{self.method.plan(self.budget, self.steps)}"
        ]
        shared: dict[str, list[str]] = {}
        for name, space in self.spaces.items():
            text = "; ".join(f"{key}: {space_text(value)}" for key, value in space.items())
            shared.setdefault(text, []).append(name)
        lines += [f"  {', '.join(names)}: {text}" for text, names in shared.items()]
        return "\n".join(lines)

    @property
    def plan(self) -> dict[str, Any]:
        """What the scores of a search depend on, as plain data."""
        made = environment()
        return {
            "search": str(self),
            "optimizers": {n: recipe_text(c.transformation) for n, c in self.functions.items()},
            "task": task_hash(self.task, self.batch_size),
            "batch size": self.batch_size,
            "versions": made["versions"],
            "machine": {name: made["machine"][name] for name in ("device", "float")},
        }

    def run(
        self,
        on_progress: Callable[[Progress], None] | None = None,
        journal: Journal | None = None,
    ) -> Tuning:
        """Make all trials of all optimizers, but those that are in the journal."""
        journal = journal or Journal({}, lambda text: None)
        total = len(self.functions) * self.method.batches(self.budget, self.steps)
        report = Reporter(on_progress, total)

        def train(name: str, settings: Sequence[Setting], steps: int) -> list[float]:
            report.now(name)
            scores = journal.scores(name, settings, steps, self._scores)
            report.part(name)
            return scores

        found: dict[str, tuple[Trial, ...]] = {}
        for name, space in self.spaces.items():
            found[name] = self.method.search(
                space,
                partial(train, name),
                budget=self.budget,
                steps=self.steps,
                lower_is_better=self.task.lower_is_better,
            )
        return Tuning(
            task=self.task.name,
            metric_name=self.task.metric_name,
            lower_is_better=self.task.lower_is_better,
            method=self.method.name,
            budget=self.budget,
            steps=self.steps,
            batch_size=self.batch_size,
            seeds=self.seeds,
            spaces=self.spaces,
            trials=found,
            functions=self.functions,
        )

    def _scores(self, name: str, settings: Sequence[Setting], steps: int) -> list[float]:
        """The validation metric of some settings, trained together; NaN where one diverged."""
        if steps not in self.programs:
            self.programs[steps] = Program(
                self.model,
                self.seeds,
                steps=steps,
                batch_size=self.batch_size,
                evaluate_every=-(-steps // _EVALUATIONS),
            )
        program, candidate = self.programs[steps], self._listed(self.functions[name], settings)
        runs = trained(program, candidate, memory_limit=self.limit)
        result = CandidateResult(candidate, program.evaluated, **runs._asdict())
        scores = np.mean(result.final_validation, axis=-1)
        lost = np.any(result.diverged, axis=-1)
        return [float(score) for score in np.where(lost, np.nan, scores)]

    @staticmethod
    def _listed(function: Candidate, settings: Sequence[Setting]) -> _Listed:
        grid = {name: [setting[name] for setting in settings] for name in settings[0]}
        return _Listed(function.name, function.transformation, grid, listed=tuple(settings))
