"""`gradxform report FILE`: the table, the picture and the page of a comparison that was saved."""

import argparse
from pathlib import Path
from typing import Any

from ..core.words import printable
from ..inspection.printing import say, say_error
from .output import Output, Problem, free_name, last_of
from .report import notes, table
from .result import Comparison, load_comparison

_OPTIONS: dict[str, dict[str, Any]] = {
    "--out": {
        "type": Path,
        "metavar": "DIR",
        "help": "folder for the page and the picture, which get a number where they are there "
        "already; by default that of FILE",
    },
}


def add_report(commands: Any) -> argparse.ArgumentParser:
    """Add `report` to the commands of a parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="print a saved comparison and write its page and its picture",
        description="Print the table of a comparison that was saved, finished or not, and write "
        "its report as an HTML page and its picture.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="comparison.json, or the folder that holds it; of several the last",
    )
    for name, settings in _OPTIONS.items():
        parser.add_argument(name, **settings)
    return parser


def report_options() -> list[str]:
    """The names of the options."""
    return [*_OPTIONS, "--help"]


def run_report(options: argparse.Namespace) -> int:
    """Write and print the report; 2 where a file cannot be used."""
    try:
        comparison, output = _opened(options)
    except (Problem, OSError, ValueError) as error:
        reason = f"{options.file}: {error.strerror}." if isinstance(error, OSError) else str(error)
        say_error(f"gradxform report: error: {printable(reason)}")
        return 2
    output.draw(comparison)
    print_comparison(comparison)
    say(f"\n{output.written()}")
    return 1 if output.failed else 0


def print_comparison(comparison: Comparison) -> None:
    """The table and the notes, on the terminal."""
    from rich.console import Console

    console = Console()
    with console.capture() as capture:  # rich ends the process where a pipe is closed
        console.print()
        console.print(table(comparison, console.width))
        console.print()
        for note in notes(comparison):
            console.print(printable(note), highlight=False, markup=False, emoji=False)
    say(capture.get().removesuffix("\n"))


def _opened(options: argparse.Namespace) -> tuple[Comparison, Output]:
    path = options.file
    if path.is_dir():
        path = path / f"{last_of(path) or 'comparison'}.json"
    comparison = load_comparison(path)
    if not comparison.results:
        raise Problem(f"{path}: no candidate of it has finished; there is nothing to report.")
    folder = path.parent if options.out is None else options.out
    is_own = folder.resolve() == path.parent.resolve()
    output = Output(folder, path.stem if is_own else free_name(folder, path.stem))
    output.require_writable()
    return comparison, output
