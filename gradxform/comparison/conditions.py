"""The conditions that all candidates share: seeds, batches, and who is told of progress."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..core import check
from .task import Task


class Progress(NamedTuple):
    """How far a comparison or a search has come."""

    candidate: str  # the one in training; empty while steps are timed
    done: int  # parts of the training, of about one length
    total: int


class Reporter:
    """Counts the finished parts for `on_progress`."""

    def __init__(self, callback: Callable[[Progress], None] | None, total: int) -> None:
        self.callback = callback
        self.done = 0
        self.total = total

    def now(self, candidate: str) -> None:
        """Say who is in training."""
        if self.callback is not None:
            self.callback(Progress(candidate, self.done, self.total))

    def part(self, candidate: str) -> None:
        """Say that a part is done."""
        self.done += 1
        self.now(candidate)


def seeds_of(call: str, seeds: int | Sequence[int], *, first: int = 0) -> tuple[int, ...]:
    """Seeds by their number, from `first` on, or as they are listed."""
    if isinstance(seeds, Sequence) and not isinstance(seeds, str):
        whole = check.Whole(low=0)
        listed = tuple(whole(call, f"seeds[{i}]", seed) for i, seed in enumerate(seeds))
        if not listed or len(set(listed)) < len(listed):
            check.fail(call, "seeds", seeds, "at least one seed, and each of them once")
        return listed
    return tuple(range(first, first + check.Whole()(call, "seeds", seeds)))


def require_batch(call: str, task: Task, batch_size: int) -> None:
    """Refuse a batch of more examples than there are to train on."""
    available = task.sizes["train"]
    if batch_size > available:
        must = f"at most {available}, the number of training examples of {task.name}"
        check.fail(call, "batch_size", batch_size, must)
