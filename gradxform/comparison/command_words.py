"""The words of `gradxform compare`: what they may be, and what is said where they are not."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core import check
from ..core.version import VERSION
from ..inspection import show
from .candidate import Candidate
from .command_report import add_report, report_options
from .defaults import default_candidates
from .everything import all_candidates
from .samplers import METHODS
from .tasks import TASKS, NamedTask

_BUDGET = 12  # runs of full length in a search

_DESCRIPTION = """\
Compare optimizers on a task: each is trained over a grid of learning rates and several seeds, its
rate is chosen on a validation split, and what it reaches on the test split is compared. Prints a
table and writes a report, a picture and the results: comparison.html, comparison.png and
comparison.json; of a second run in one folder comparison-2.html, and so on. The tasks text, rnn
and sparse read what the running Python says of itself: compare results of one version of Python.
"""


class Parser:
    """The words of the command line, checked; what is wrong with them ends the process."""

    def __init__(self) -> None:
        self.top = argparse.ArgumentParser(
            prog="gradxform",
            description="Composable gradient transformations for JAX.",
            allow_abbrev=False,
        )
        self.top.add_argument("--version", action="version", version=f"gradxform {VERSION}")
        commands = self.top.add_subparsers(required=True, dest="command")
        self.show = show.add_show(commands)
        self.report = add_report(commands)
        self.compare = commands.add_parser(
            "compare",
            help="compare optimizers on handwritten digits or another task",
            description=_DESCRIPTION,
            allow_abbrev=False,
        )
        self.candidates = {candidate.name: candidate for candidate in all_candidates()}
        standard = [candidate.name for candidate in default_candidates()]
        options: dict[str, dict[str, Any]] = {
            "--task": {
                "metavar": "NAME",
                "default": "digits",
                "help": f"{'; '.join(f'{n}: {t.what}' for n, t in TASKS.items())} (default: "
                "%(default)s)",
            },
            "--optimizers": {
                "nargs": "+",
                "metavar": "NAME",
                "default": ["standard"],
                "help": f"standard (the default: {', '.join(standard)}; for the task text "
                "without nesterov, adagrad and adam-l2, for rnn with sgd-clipped and "
                "momentum-clipped), all, or any of "
                f"{', '.join(name for name in self.candidates if name not in standard)}",
            },
            "--seeds": _number("how many", [t.seeds for t in TASKS.values()]),
            "--steps": _number("of training", [t.steps for t in TASKS.values()]),
            "--batch-size": _number("examples", [t.batch_size for t in TASKS.values()]),
            "--learning-rates": {
                "nargs": "+",
                "metavar": "RATE",
                "help": "to try for every optimizer, in the place of its own grid",
            },
            "--tune": {
                "nargs": "?",
                "const": "halving",
                "metavar": "METHOD",
                "help": "search for learning rate, decay and warmup together before comparing, "
                f"with the same budget for each optimizer: {' or '.join(METHODS)} (alone: "
                "%(const)s)",
            },
            "--budget": {
                "type": _count,
                "metavar": "N",
                "help": "runs of full length for each optimizer in the search of --tune (default: "
                f"{_BUDGET})",
            },
            "--out": {
                "type": Path,
                "metavar": "DIR",
                "default": Path("gradxform-compare"),
                "help": "folder for the page, the picture and the JSON, which get a number where "
                "another run has left its own (default: %(default)s)",
            },
            "--resume": {
                "action": "store_true",
                "help": "go on with the last comparison in that folder where it was interrupted, "
                "with the same options",
            },
        }
        for name, settings in options.items():
            self.compare.add_argument(name, **settings)
        self.known = [*options, "--help"]

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The options, with the candidates that they ask for as `candidates`."""
        options, unknown = self.top.parse_known_args(arguments)
        if unknown:
            word = unknown[0].partition("=")[0]
            parser, known = {
                "show": (self.show, show.options()),
                "report": (self.report, report_options()),
            }.get(options.command, (self.compare, self.known))
            parser.error(f"unknown option `{word}`.{check.nearest(word, known)}")
        if options.command == "show":
            if (name := show.idle(options)) is not None:
                self.show.error(f"argument {name}: has an effect only with --params")
            return options
        if options.command != "compare":
            return options
        if options.task not in TASKS:
            hint = check.nearest(options.task, TASKS)
            self.compare.error(f"argument --task: unknown task `{options.task}`.{hint}")
        if options.tune is not None and options.tune not in METHODS:
            hint = check.nearest(options.tune, METHODS)
            self.compare.error(f"argument --tune: unknown method `{options.tune}`.{hint}")
        if options.budget is not None and options.tune is None:
            self.compare.error("argument --budget: has an effect only with --tune")
        options.budget = options.budget or _BUDGET
        task = TASKS[options.task]
        for name in ("seeds", "steps", "batch_size"):
            if getattr(options, name) is None:
                setattr(options, name, getattr(task, name))
        options.candidates = self._chosen(task, options.optimizers, options.learning_rates)
        return options

    def _chosen(
        self, task: NamedTask, names: list[str], rates: list[str] | None
    ) -> tuple[Candidate, ...]:
        """The candidates that are asked for, in the order of the default ones."""
        standard = {candidate.name: candidate for candidate in task.standard()}
        known = {**self.candidates, **standard}
        wanted = {name.lower().replace("_", "-") for name in _words(names)}
        if "standard" in wanted:
            wanted.update(standard)
        groups = {"all", "standard"}
        for name in sorted(wanted - groups - {*known}):
            hint = check.nearest(name, [*known, *groups])
            self.compare.error(f"argument --optimizers: unknown optimizer `{name}`.{hint}")
        if not wanted:
            self.compare.error(f"argument --optimizers: no name.{check.nearest('', known)}")
        chosen = [c for c in known.values() if "all" in wanted or c.name in wanted]
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


def _number(what: str, defaults: Sequence[int]) -> dict[str, Any]:
    """An option for a whole number, of which each task has a default of its own."""
    of_tasks = ", ".join(f"{n} for {name}" for name, n in zip(TASKS, defaults, strict=True))
    return {"type": _count, "metavar": "N", "help": f"{what} (default: {of_tasks})"}


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
