"""The tasks of the command line, each with what fits it: optimizers, rates and lengths."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..core.hyperparams import tunable
from ..optimizers.sgd import sgd
from ..transforms.clip import clip_by_global_norm
from ..wrappers.chain import chain
from .candidate import Candidate
from .corpus import text_references
from .defaults import default_candidates, with_rates
from .digits import digits_references, digits_task
from .result import Reference
from .sparse import sparse_references, sparse_task
from .task import Task
from .text import rnn_task, text_task


@dataclass(frozen=True)
class NamedTask:
    """A task that the command line knows, and its defaults.

    Attributes:
      what: the task in a few words.
      make: makes it.
      references: what other methods reach on it.
      standard: the optimizers that are compared unless others are named.
      steps: training steps of each run.
      batch_size: examples in a batch.
      seeds: how many.
      evaluations: of each run, after the one before training.
    """

    what: str
    make: Callable[[], Task]
    references: Callable[[Task], tuple[Reference, ...]]
    standard: Callable[[], tuple[Candidate, ...]] = default_candidates
    steps: int = 1000
    batch_size: int = 64
    seeds: int = 5
    evaluations: int = 100


_BESIDE_OTHERS = ("nesterov", "adagrad", "adam-l2")  # near others of the standard ones


def _six() -> tuple[Candidate, ...]:
    """Six standard optimizers with five rates each, for a task that takes longer.

    The ends of their grids are left out; on transformers of this size the best rates of Lion are
    higher than elsewhere.
    """
    return tuple(
        replace(c, grid={n: v[2:] if c.name == "lion" else v[1:-1] for n, v in c.grid.items()})
        for c in default_candidates()
        if c.name not in _BESIDE_OTHERS
    )


def _with_higher_rates() -> tuple[Candidate, ...]:
    """The standard optimizers, with higher rates for momentum where most gradients are zero."""
    return tuple(
        with_rates(c.name, c.transformation, 0.01) if c.name in ("momentum", "nesterov") else c
        for c in default_candidates()
    )


def _with_clipping() -> tuple[Candidate, ...]:
    """The standard optimizers, and SGD with the gradient's norm clipped to 1."""

    def clipped(name: str, optimizer: Candidate, lowest: float) -> Candidate:
        return with_rates(name, chain(clip_by_global_norm(1.0), optimizer.transformation), lowest)

    plain = Candidate("sgd", sgd(tunable(0.1)))
    momentum = Candidate("momentum", sgd(tunable(0.1), momentum=0.9))
    return (
        *default_candidates(),
        clipped("sgd-clipped", plain, 0.01),
        clipped("momentum-clipped", momentum, 0.001),
    )


TASKS = {
    "digits": NamedTask("scans of handwritten digits", digits_task, digits_references),
    "text": NamedTask(
        "characters of Python's reference, with a small transformer",
        text_task,
        text_references,
        standard=_six,
        steps=200,
        batch_size=8,
        seeds=3,
        evaluations=4,
    ),
    "rnn": NamedTask(
        "the same characters, with a plain recurrent network",
        rnn_task,
        text_references,
        standard=_with_clipping,
        steps=500,
        batch_size=8,
        seeds=3,
        evaluations=10,
    ),
    "sparse": NamedTask(
        "which module a docstring is from, by its words",
        sparse_task,
        sparse_references,
        standard=_with_higher_rates,
        batch_size=32,
        evaluations=20,
    ),
}
"""By the name that `--task` takes."""
