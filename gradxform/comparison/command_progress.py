"""How far `gradxform compare` has come: a bar on a terminal, lines in a file."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from ..inspection.printing import say_error
from .conditions import Progress

_LINES = 10  # between the start and the end, beside one for each optimizer


@contextlib.contextmanager
def shown_progress(names: Sequence[str]) -> Iterator[Callable[[Progress], None]]:
    """A function that shows `Progress` on the stream for errors.

    Args:
      names: the optimizers, in their order.
    """
    from rich import progress
    from rich.console import Console

    def doing(now: Progress) -> str:
        if not now.candidate:
            return "timing one step of each"
        return f"{now.candidate} ({names.index(now.candidate) + 1} of {len(names)})"

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(doing).show
        return
    with progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        work = bar.add_task("preparing", total=None)
        yield lambda now: bar.update(
            work, description=doing(now), completed=now.done, total=now.total
        )


class _Lines:
    """A line for each optimizer, and for each tenth of the whole."""

    def __init__(self, doing: Callable[[Progress], str]) -> None:
        self.doing = doing
        self.last = ("", -1)

    def show(self, now: Progress) -> None:
        tenth = _LINES * now.done // max(now.total, 1)
        if (now.candidate, tenth) != self.last:
            self.last = (now.candidate, tenth)
            say_error(f"{100 * now.done // max(now.total, 1):3} %  {self.doing(now)}")
