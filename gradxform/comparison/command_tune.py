"""`gradxform compare --tune`: the search before the comparison."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..inspection.printing import say
from .candidate import Candidate
from .conditions import Progress
from .journal import Journal
from .ranges import Range
from .task import Task
from .tune import Search
from .tuning import Tuning


def planned_search(
    task: Task,
    candidates: Sequence[Candidate],
    *,
    method: str,
    budget: int,
    steps: int,
    batch_size: int,
) -> Search:
    """The search that the command line asks for.

    Args:
      task: what is trained.
      candidates: the optimizers; each learning rate between the ends of its grid is searched, and
        what every optimizer has beside it.
      method: "halving" or "optuna".
      budget: runs of full length for each optimizer.
      steps: of a run of full length.
      batch_size: examples in a batch.
    """
    return Search(
        task,
        [
            replace(c, grid={name: _range(values) for name, values in c.grid.items()})
            for c in candidates
        ],
        None,
        steps=steps,
        budget=budget,
        batch_size=batch_size,
        seeds=1,
        search=method,
        memory_limit=None,
    )


def run_search(search: Search, on_progress: Callable[[Progress], None], journal: Journal) -> Tuning:
    """Print what is searched and with what budget, search, and print what was found.

    Raises:
      SystemExit: nothing usable was found.
    """
    say(f"\n{search}\n")
    found = search.run(on_progress, journal)
    say(f"{found}\n")
    if len(found.unusable) == len(found.names):
        raise SystemExit("gradxform compare: no trial was usable, so there is nothing to compare.")
    return found


def _range(values: Sequence[float]) -> Range | Sequence[float]:
    return Range(values[0], values[-1]) if len(values) > 1 else values
