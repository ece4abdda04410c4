"""The command line: `gradxform compare`, and the door to `gradxform show`."""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import check
from ..core.extra import require_extra
from ..inspection import show
from .candidate import Candidate
from .compare import Progress, compare
from .defaults import default_candidates
from .digits import digits_references, digits_task
from .everything import all_candidates
from .figure import save_figure
from .record import save
from .report import notes, table
from .result import Comparison

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

# What `pip install "gradxform[compare]"` brings, by the names that are imported.
_PACKAGES = ("sklearn", "scipy", "rich", "matplotlib")

_DESCRIPTION = """\
Compare optimizers on scikit-learn's handwritten digits: each is trained over a grid of learning
rates and several seeds, its rate is chosen on a validation split, and the held-out test accuracies
are compared. Prints a table and writes comparison.json and comparison.png.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      arguments: the words after the program's name; by default those of this process.

    Returns:
      The exit code: 0, 2 for bad input, 130 after Ctrl-C.

    Raises:
      SystemExit: with code 2, for words that the parser refuses.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without ± still gets its table
    parser = _Parser()
    options = parser.parse(arguments)
    if options.command == "show":
        return show.run_show(options)
    try:
        require_extra("compare", *_PACKAGES)
    except ImportError as error:
        print(f"gradxform compare: error: {error}", file=sys.stderr)
        return 2
    return _Run(options, parser).run()


class _Parser:
    """The words of the command line, checked; what is wrong with them ends the process."""

    def __init__(self) -> None:
        self.top = argparse.ArgumentParser(
            prog="gradxform",
            description="Composable gradient transformations for JAX.",
            allow_abbrev=False,
        )
        version = f"gradxform {metadata.version('gradxform')}"
        self.top.add_argument("--version", action="version", version=version)
        commands = self.top.add_subparsers(required=True, dest="command")
        self.show = show.add_show(commands)
        self.compare = commands.add_parser(
            "compare",
            help="compare optimizers on handwritten digits",
            description=_DESCRIPTION,
            allow_abbrev=False,
        )
        self.candidates = {candidate.name: candidate for candidate in all_candidates()}
        self.standard = [candidate.name for candidate in default_candidates()]
        options: dict[str, dict[str, Any]] = {
            "--optimizers": {
                "nargs": "+",
                "metavar": "NAME",
                "default": ["standard"],
                "help": f"standard (the default: {', '.join(self.standard)}), all, or any of "
                f"{', '.join(name for name in self.candidates if name not in self.standard)}",
            },
            "--seeds": {"type": _count, "metavar": "N", "default": 5, "help": "how many"},
            "--steps": {"type": _count, "metavar": "N", "default": 1000, "help": "of training"},
            "--batch-size": {"type": _count, "metavar": "N", "default": 64, "help": "examples"},
            "--learning-rates": {
                "nargs": "+",
                "metavar": "RATE",
                "help": "to try for every optimizer, in the place of its own grid",
            },
            "--out": {
                "type": Path,
                "metavar": "DIR",
                "default": Path("gradxform-compare"),
                "help": "folder for the JSON and the PNG (default: %(default)s)",
            },
        }
        for name, settings in options.items():
            if isinstance(settings.get("default"), int):
                settings["help"] += " (default: %(default)s)"
            self.compare.add_argument(name, **settings)
        self.known = [*options, "--help"]

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        options, unknown = self.top.parse_known_args(arguments)
        if unknown:
            word = unknown[0].partition("=")[0]
            shown = options.command == "show"
            known = show.options() if shown else self.known
            (self.show if shown else self.compare).error(
                f"unknown option `{word}`.{check.nearest(word, known)}"
            )
        if options.command == "show":
            return options
        options.candidates = self._chosen(options.optimizers, options.learning_rates)
        return options

    def _chosen(self, names: list[str], rates: list[str] | None) -> tuple[Candidate, ...]:
        """The candidates that are asked for, in the order of the default ones."""
        wanted = {name.lower().replace("_", "-") for name in _words(names)}
        if "standard" in wanted:
            wanted.update(self.standard)
        groups = {"all", "standard"}
        for name in sorted(wanted - groups - {*self.candidates}):
            hint = check.nearest(name, [*self.candidates, *groups])
            self.compare.error(f"argument --optimizers: unknown optimizer `{name}`.{hint}")
        if not wanted:
            self.compare.error(
                f"argument --optimizers: no name.{check.nearest('', self.candidates)}"
            )
        chosen = [c for c in self.candidates.values() if "all" in wanted or c.name in wanted]
        if rates is None:
            return tuple(chosen)
        grid = {"learning_rate": [self._rate(text) for text in _words(rates)]}
        if not grid["learning_rate"]:
            self.compare.error("argument --learning-rates: no number.")
        return tuple(Candidate(c.name, c.transformation, grid) for c in chosen)

    def _rate(self, text: str) -> float:
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if not 0.0 < rate < math.inf:
            self.compare.error(
                f"argument --learning-rates: must be numbers above 0, such as 0.01 or 1e-3; "
                f"got {text!r}"
            )
        return rate


class _Run:
    """One comparison on the digits, from the checks to the files."""

    def __init__(self, options: argparse.Namespace, parser: _Parser) -> None:
        self.options = options
        self.parser = parser.compare
        self.json = options.out / "comparison.json"
        self.png = options.out / "comparison.png"
        self.finished: Comparison | None = None

    def run(self) -> int:
        try:
            self._compare()
        except KeyboardInterrupt:
            print(f"Interrupted: {self._left()}", file=sys.stderr)
            return 130
        return 0

    def _compare(self) -> None:
        from rich.console import Console

        task = digits_task()
        available = task.sizes["train"]
        if self.options.batch_size > available:
            self.parser.error(
                f"argument --batch-size: must be at most {available}, the number of training "
                f"examples; got {self.options.batch_size}"
            )
        self._require_writable()
        with _bar() as bar:
            work = bar.add_task("preparing", total=None)
            names = [candidate.name for candidate in self.options.candidates]

            def show(progress: Progress) -> None:
                doing = "timing one step of each"
                if name := progress.candidate:
                    doing = f"{name} ({names.index(name) + 1} of {len(names)})"
                bar.update(work, description=doing, completed=progress.done, total=progress.total)

            comparison = compare(
                task,
                self.options.candidates,
                seeds=self.options.seeds,
                steps=self.options.steps,
                batch_size=self.options.batch_size,
                references=digits_references(task),
                on_progress=show,
                on_result=self._keep,
            )
        console = Console()
        console.print()
        console.print(table(comparison, console.width))
        console.print()
        for note in notes(comparison):
            console.print(note, highlight=False)
        save_figure(comparison, self.png)
        console.print(f"\nWritten: {self.json} and {self.png}", highlight=False, soft_wrap=True)

    def _keep(self, comparison: Comparison) -> None:
        """Save what is finished; a picture of an earlier run no longer belongs to it."""
        save(comparison, self.json)
        self.png.unlink(missing_ok=True)
        self.finished = comparison

    def _require_writable(self) -> None:
        out = self.options.out
        try:
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):
                pass
            for path in (self.json, self.png):
                if path.is_dir():
                    raise IsADirectoryError(f"{path.name} is a folder there")
        except OSError as error:
            self.parser.error(f"argument --out: cannot write to {out}: {error.strerror or error}")

    def _left(self) -> str:
        if self.finished is None:
            return "no optimizer had finished; nothing is written."
        done, planned = len(self.finished.names), len(self.finished.planned)
        return f"{done} of {planned} optimizers had finished; their results are in {self.json}."


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


def _words(arguments: Sequence[str]) -> list[str]:
    """Names or numbers, separated by spaces, commas, or both."""
    return [word for argument in arguments for word in argument.replace(",", " ").split()]


def _count(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    try:
        return check.Whole()("compare", "option", float(text))
    except (ValueError, OverflowError):
        message = f"must be a whole number of at least 1; got {text!r}"
        raise argparse.ArgumentTypeError(message) from None
