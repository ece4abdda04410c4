"""The command line: `gradxform compare`, and the door to `gradxform report` and `show`."""

import argparse
import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..core.extra import require_extra
from ..inspection import show
from ..inspection.printing import flush, say, say_error
from .command_progress import shown_progress
from .command_report import print_comparison, run_report
from .command_tune import planned_search, run_search
from .command_words import Parser
from .compare import compare
from .journal import Journal
from .output import Output, Problem
from .result import Comparison
from .resume import Differs
from .task import Task
from .tasks import TASKS
from .tune import Search

# What `pip install "gradxform[compare]"` brings, by the names that are imported.
_PACKAGES = ("sklearn", "scipy", "rich", "matplotlib", "jinja2", "msgspec")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      arguments: the words after the program's name; by default those of this process.

    Returns:
      The exit code: 0, 1 for results that could not be written, 2 for bad input, 130 after Ctrl-C,
      143 after SIGTERM.

    Raises:
      SystemExit: with code 2, for words that the parser refuses.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without ± still gets its table
    try:
        return _main(sys.argv[1:] if arguments is None else arguments)
    finally:
        flush()


def _main(words: Sequence[str]) -> int:
    parser = Parser()
    options = parser.parse(words)
    if options.command == "show":
        return show.run_show(options)
    try:
        require_extra("compare", *_PACKAGES)
    except ImportError as error:
        say_error(f"gradxform {options.command}: error: {error}")
        return 2
    if options.command == "report":
        return run_report(options)
    return _Run(options, parser, _again(words)).run()


class _Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, as a scheduler does."""


class _Run:
    """One comparison, from the checks to the files."""

    def __init__(self, options: argparse.Namespace, parser: Parser, again: str) -> None:
        self.options = options
        self.parser = parser.compare
        self.again = again  # the command that goes on with this run
        self.output = Output(options.out)
        self.finished: Comparison | None = None

    def run(self) -> int:
        try:
            with _terminable():
                self._compare()
        except Problem as error:
            name = "--resume" if str(error).startswith("nothing to resume") else "--out"
            self.parser.error(f"argument {name}: {error}")
        except Differs as error:
            self.parser.error(
                f"argument --resume: {self.output.json} holds another comparison: {error.found}. "
                "Ask for what was asked for then, or leave `--resume` out to begin anew beside it"
            )
        except KeyboardInterrupt as error:
            is_terminated = isinstance(error, _Terminated)
            say_error(f"{'Terminated' if is_terminated else 'Interrupted'}: {self._left()}")
            return 143 if is_terminated else 130
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
        earlier = self.output.resume() if self.options.resume else None
        self.output.require_writable()
        candidates = self.options.candidates
        search = journal = None
        if self.options.tune:
            search = self._search(task)
            journal = self._journal(search)
        with shown_progress([candidate.name for candidate in candidates]) as show:
            comparison = compare(
                task,
                run_search(search, show, journal) if search and journal else candidates,
                seeds=self.options.seeds,
                steps=self.options.steps,
                batch_size=self.options.batch_size,
                evaluate_every=-(-self.options.steps // named.evaluations),
                references=named.references(task),
                resume=earlier,
                on_progress=show,
                on_result=self._keep,
            )
        self.output.report(comparison)  # before anything is printed, which may fail
        print_comparison(comparison)
        say(f"\n{self.output.written()}")

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

    def _journal(self, search: Search) -> Journal:
        """What the search has tried: nothing, or what was kept before an interruption."""
        journal = Journal(search.plan, self.output.keep_search)
        if self.options.resume and self.output.search.exists():
            try:
                journal.read(self.output.search)
            except Differs:
                raise
            except (OSError, ValueError) as error:
                raise Problem(str(error)) from None
        return journal

    def _keep(self, comparison: Comparison) -> None:
        """Save what is finished."""
        self.output.keep(comparison)
        self.finished = comparison

    def _left(self) -> str:
        if self.output.failed and self.finished is not None:
            print_comparison(self.finished)
            text = self._done(self.finished)
            return f"{text}; their results are in the table, since {self.output.failed[-1]}"
        if self.output.stem is None:
            return "no optimizer had finished; nothing is written."
        if self.finished is None:
            text = f"no optimizer had finished; what there is, is in {self.output.folder}"
        else:
            text = f"{self._done(self.finished)}; their results are in {self.output.json}"
        return f"{text}. Go on with:\n  {self.again}"

    @staticmethod
    def _done(comparison: Comparison) -> str:
        return f"{len(comparison.names)} of {len(comparison.planned)} optimizers had finished"


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """End as after Ctrl-C, with what is finished kept and a word, where SIGTERM comes."""

    def stop(*_: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _again(words: Sequence[str]) -> str:
    """The command that goes on with an interrupted one, to be pasted."""
    started = Path(sys.argv[0]).name
    program = ["python", "-m", "gradxform"] if started == "__main__.py" else ["gradxform"]
    resume = [] if "--resume" in words else ["--resume"]
    return shlex.join([*program, *words, *resume])
