"""The command line: `gradxform compare`, and the door to `gradxform report` and `show`."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.extra import require_extra
from ..inspection import show
from .command_report import print_comparison, run_report
from .command_tune import planned_search, run_search
from .command_words import Parser
from .compare import compare
from .conditions import Progress
from .output import Output, Problem
from .result import Comparison
from .resume import Differs
from .task import Task
from .tasks import TASKS
from .tune import Search

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

# What `pip install "gradxform[compare]"` brings, by the names that are imported.
_PACKAGES = ("sklearn", "scipy", "rich", "matplotlib", "jinja2", "msgspec")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      arguments: the words after the program's name; by default those of this process.

    Returns:
      The exit code: 0, 1 for results that could not be written, 2 for bad input, 130 after Ctrl-C.

    Raises:
      SystemExit: with code 2, for words that the parser refuses.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without ± still gets its table
    parser = Parser()
    options = parser.parse(arguments)
    if options.command == "show":
        return show.run_show(options)
    try:
        require_extra("compare", *_PACKAGES)
    except ImportError as error:
        print(f"gradxform {options.command}: error: {error}", file=sys.stderr)
        return 2
    if options.command == "report":
        return run_report(options)
    return _Run(options, parser).run()


class _Run:
    """One comparison, from the checks to the files."""

    def __init__(self, options: argparse.Namespace, parser: Parser) -> None:
        self.options = options
        self.parser = parser.compare
        self.output = Output(options.out / "comparison.json")
        self.finished: Comparison | None = None

    def run(self) -> int:
        try:
            self._compare()
        except Problem as error:
            self.parser.error(f"argument --out: {error}")
        except Differs as error:
            self.parser.error(
                f"argument --resume: {self.output.json} holds another comparison: {error.found}. "
                "Ask for what was asked for then, or choose another folder by --out"
            )
        except KeyboardInterrupt:
            print(f"Interrupted: {self._left()}", file=sys.stderr)
            return 130
        return 1 if self.output.failed else 0

    def _compare(self) -> None:
        named = TASKS[self.options.task]
        try:
            task = named.make()
        except (ImportError, FileNotFoundError) as error:
            self.parser.error(f"argument --task: {error}")
        available = task.sizes["train"]
        if self.options.batch_size > available:
            self.parser.error(
                f"argument --batch-size: must be at most {available}, the number of training "
                f"examples; got {self.options.batch_size}"
            )
        self.output.require_writable()
        earlier = self.output.earlier(resume=self.options.resume)
        candidates = self.options.candidates
        search = self._search(task) if self.options.tune else None
        with _bar() as bar:
            work = bar.add_task("preparing", total=None)
            names = [candidate.name for candidate in candidates]

            def show(progress: Progress) -> None:
                doing = "timing one step of each"
                if name := progress.candidate:
                    doing = f"{name} ({names.index(name) + 1} of {len(names)})"
                bar.update(work, description=doing, completed=progress.done, total=progress.total)

            comparison = compare(
                task,
                candidates if search is None else run_search(search, show),
                seeds=self.options.seeds,
                steps=self.options.steps,
                batch_size=self.options.batch_size,
                evaluate_every=-(-self.options.steps // named.evaluations),
                references=named.references(task),
                resume=earlier,
                on_progress=show,
                on_result=self._keep,
            )
        print_comparison(comparison)
        self.output.report(comparison)
        print(f"\n{self.output.written()}")

    def _search(self, task: Task) -> Search:
        try:
            return planned_search(
                task,
                self.options.candidates,
                method=self.options.tune,
                budget=self.options.budget,
                steps=self.options.steps,
                batch_size=self.options.batch_size,
            )
        except (ImportError, TypeError) as error:
            self.parser.error(f"argument --tune: {error}")

    def _keep(self, comparison: Comparison) -> None:
        """Save what is finished."""
        self.output.keep(comparison)
        self.finished = comparison

    def _left(self) -> str:
        if self.finished is None:
            return "no optimizer had finished; nothing is written."
        done, planned = len(self.finished.names), len(self.finished.planned)
        text = f"{done} of {planned} optimizers had finished; "
        if self.output.failed:
            print_comparison(self.finished)
            return f"{text}their results are in the table, since {self.output.failed[-1]}"
        return f"{text}their results are in {self.output.json}. Go on with `--resume`."


def _bar() -> "Bar":
    """A live bar on the terminal's error stream; nothing where there is no terminal."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
