"""The value that `compare` returns: it prints, is drawn, is saved and comes back."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.extra import missing_of
from ..inspection.config_reader import Functions
from .figure import figure
from .files import write_whole
from .page import fragment, page
from .reader import read
from .record import document, to_json
from .report import plain_table
from .runs import (
    CandidateResult as CandidateResult,
    Outcome,
    Reference as Reference,
    Verdict as Verdict,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Comparison(Outcome):
    """What `compare` returns: the finished candidates on one task, and how they rank.

    `ranking` has the results, the best mean first, and `verdicts` a `Verdict` for each name: with
    at most 5 % error over the whole table who is worse than the best, and by how much.

    It prints as a table, is shown as one in notebooks, and equals another with the same contents:
    `load_comparison(path)` gives back what `save(path)` wrote.

    Attributes:
      task: the name of the task.
      planned: the names of all candidates, finished or not.
      results: the finished candidates, in the order of `planned`.
      seeds: the seeds; seed s had the same initial network and batches for every candidate.
      steps: training steps of each run.
      batch_size: examples in a batch.
      evaluate_every: steps between evaluations.
      sizes: examples in each split.
      references: what other methods reach.
      target: the validation metric whose first reach is timed, if any.
      metric_name: what the metric is called.
      percent: whether it is a share between 0 and 1, shown in percent.
      lower_is_better: whether less of it is better.
      details: the task's own record of itself.
      search: how the hyperparameters were searched before these runs, if they were.
      environment: when it was begun, with which versions, on what machine.
      task_hash: a hash of the task's data and programs; "" where none was taken.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Comparison) and document(self) == document(other)

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    def __repr__(self) -> str:
        return plain_table(self)

    def _repr_html_(self) -> str | None:
        return None if missing_of("jinja2", "scipy") else fragment(self)

    def plot(self, key: str = "learning_rate") -> "Figure":
        """Draw how fast each candidate learns, and what its rate matters.

        Left: the validation metric while training, at the chosen settings. Right: the validation
        metric in the last tenth of the training against a hyperparameter. Both are means over the
        seeds, with a band of one standard error.

        Args:
          key: the name in the grids that is on the right; where other names vary too, the best of
            them counts.

        Returns:
          A matplotlib figure, ready for `savefig`.
        """
        return figure(self, key)

    def save(self, path: str | Path) -> None:
        """Write the comparison as JSON, whole or not at all; `load_comparison` reads it.

        Args:
          path: the file; what it held before is replaced in one move.

        Raises:
          OSError: it cannot be written; what was there is still there.
        """
        write_whole(path, to_json(self))

    def save_figure(self, path: str | Path) -> None:
        """Write `plot()` as a picture, whole or not at all.

        Args:
          path: the file; its ending says which kind: `.png`, `.svg`, `.pdf`.
        """
        kind = Path(path).suffix.lstrip(".") or "png"
        content = io.BytesIO()
        self.plot().savefig(content, dpi=150, format=kind)
        write_whole(path, content.getvalue())

    def save_html(self, path: str | Path) -> None:
        """Write the report as one HTML page that needs nothing else, whole or not at all.

        The page has the table with error bars and verdicts, what the ranking cannot tell, the
        curves, each candidate's sensitivity to its rate, the chosen optimizers to be copied, and
        how and where it all was made.

        Args:
          path: the file.
        """
        write_whole(path, page(self))


def load_comparison(path: str | Path, *, functions: Functions | None = None) -> Comparison:
    """Read what `Comparison.save` wrote.

    Args:
      path: the file.
      functions: by name, the functions and the factories of yours that its optimizers are made
        of, as in `from_config`.

    Returns:
      A comparison equal to the one that was saved. Its optimizers are live where their
      configurations can be read; else they print as they did, and cannot train.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no comparison, is cut off, or is of a later format; with what is wrong.
    """
    return Comparison(**read(path, functions))
