"""A comparison as a table for the terminal."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..core.extra import require_extra
from . import statistics
from .result import CandidateResult, Comparison

if TYPE_CHECKING:
    from rich.table import Table

EDGE_MARK = "!"


class _Column(NamedTuple):
    """A column of the table."""

    name: str  # in a sentence
    header: str
    cells: tuple[str, ...]  # of the candidates, then of the references


class _Columns(NamedTuple):
    """The columns of the table, from left to right."""

    optimizer: _Column
    chosen: _Column
    validation: _Column
    test: _Column
    mark: _Column
    steps: _Column | None
    diverged: _Column
    ms: _Column


def table(comparison: Comparison, width: int = 80) -> "Table":
    """The finished candidates, the best first, and below them the references.

    Where the terminal is too narrow for all columns, the fewest that make room are left out, and
    named below: first the time of a step, then the validation metric, the steps to the target and
    the runs that diverged. A name or a number is never cut.

    Args:
      comparison: at least one candidate must have finished.
      width: columns of the terminal.

    Returns:
      A `rich` table.
    """
    require_extra("compare", "rich")
    from rich.console import Console

    console = Console(width=10_000)
    for out in _variants(comparison):
        if console.measure(out).maximum <= width:
            break
    return out


def _variants(comparison: Comparison) -> "Iterator[Table]":
    """The table with all columns, then with ever fewer."""
    columns = _columns(comparison)
    yield _drawn(comparison, columns, (), space=1)
    optional = [c for c in (columns.ms, columns.validation, columns.steps, columns.diverged) if c]
    for count in range(len(optional) + 1):
        for left_out in itertools.combinations(optional, count):
            yield _drawn(comparison, columns, left_out, space=0)


def _columns(comparison: Comparison) -> _Columns:
    c = comparison
    metric = c.metric_name + (" %" if c.percent else "")
    blank = ("",) * len(c.references)

    def column(name: str, header: str, cell: Callable[[CandidateResult], str]) -> _Column:
        return _Column(name, header, (*map(cell, c.ranking), *blank))

    def scores(split: str, of_result: Callable[[CandidateResult], np.ndarray]) -> _Column:
        ours = [score(of_result(r), c.percent) for r in c.ranking]
        theirs = [score(np.array([getattr(r, split)]), c.percent) for r in c.references]
        return _Column(f"{split} {c.metric_name}", f"{split}\n{metric}", (*ours, *theirs))

    marks = tuple(_mark(c, place, r) for place, r in enumerate(c.ranking))
    steps = None
    if (target := c.target) is not None:
        text = f"{100 * target:g} %" if c.percent else f"{target:g}"
        steps = column(f"steps to {text}", f"steps\nto {text}", lambda r: _steps(r, target))
    return _Columns(
        optimizer=_Column(
            "optimizer",
            "optimizer",
            (*(r.name for r in c.ranking), *(r.name for r in c.references)),
        ),
        chosen=column("chosen", "chosen\nrate" if _is_rate(c) else "chosen", _setting),
        validation=scores("validation", lambda r: r.final_validation[r.chosen]),
        test=scores("test", lambda r: r.scores),
        mark=_Column("mark", "", (*marks, *blank)),
        steps=steps,
        diverged=column(
            "runs diverged",
            "runs\ndiverged",
            lambda r: f"{int(r.diverged.sum())} of {r.diverged.size}",
        ),
        ms=column(
            "ms a step",
            "ms a\nstep",
            lambda r: "" if r.milliseconds is None else f"{r.milliseconds:.2f}",
        ),
    )


def _drawn(
    comparison: Comparison, columns: _Columns, left_out: tuple[_Column, ...], *, space: int
) -> "Table":
    """The table without some columns; `space` is what stands between them."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = Table(
        title=title(comparison),
        caption=f"Not shown: {', '.join(c.name for c in left_out)}." if left_out else None,
        box=box.SIMPLE_HEAD,
        padding=(0, space) if space else 0,
        pad_edge=False,
        show_edge=False,
    )
    shown = [c for c in columns if c is not None and c not in left_out]
    for column in shown:
        text = column in (columns.optimizer, columns.mark)
        out.add_column(column.header, overflow="fold", justify="left" if text else "right")
    last = len(comparison.ranking) - 1
    for row, cells in enumerate(zip(*(c.cells for c in shown), strict=True)):
        out.add_row(*map(Text, cells), end_section=row == last, style="dim" if row > last else None)
    return out


def title(comparison: Comparison) -> str:
    """What was compared, in a line: the task, the steps, the batch size and the seeds."""
    c = comparison
    seeds = f"{len(c.seeds)} seed{'s' if len(c.seeds) > 1 else ''}"
    return f"{c.task}: {c.steps} steps of {c.batch_size} examples, {seeds}"


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know to read the table, one sentence or two a line."""
    c = comparison
    lines = []
    if len(c.seeds) == 1:
        lines.append("One seed proves nothing: another one may turn the order round. Run several.")
    else:
        lines.append(
            f"± is the standard error over {len(c.seeds)} seeds. A tie cannot be told from the "
            f"best at {100 * (1 - statistics.LEVEL):g} % (paired t-test on the test {c.metric_name}"
            " of each seed, Holm-corrected)."
        )
    lines.append(
        f"Validation {c.metric_name} is the mean over the last tenth of the training. Each setting "
        "was chosen by it, without the test split."
    )
    for result in c.ranking:
        if result.at_edge:
            which = " and ".join(n.replace("_", " ") for n in result.at_edge)
            lines.append(
                f"{EDGE_MARK} {result.name}: the chosen {which} is at the edge of its grid; a "
                "better one may lie beyond."
            )
    if any(result.diverged.any() for result in c.results):
        lines.append(
            "A run diverged if its loss was not finite at some step, or was higher at the end "
            "than at the start; it counts with the metric that it reached."
        )
    if any(result.milliseconds is not None for result in c.results):
        lines.append("ms a step: one network alone, one jitted call a step.")
    return lines


def score(values: np.ndarray, percent: bool) -> str:
    """The mean over seeds with its standard error, if there is more than one seed.

    Args:
      values: one metric a seed.
      percent: whether to show it times 100.
    """
    factor, digits = (100.0, 2) if percent else (1.0, 4)
    mean, error = factor * float(np.mean(values)), factor * float(statistics.standard_error(values))
    if math.isnan(error):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def setting_text(setting: dict[str, float]) -> str:
    """A setting in short: the rate alone if nothing else varies."""
    if list(setting) == ["learning_rate"]:
        return f"{setting['learning_rate']:g}"
    return " ".join(f"{name}={value:g}" for name, value in setting.items())


def _is_rate(comparison: Comparison) -> bool:
    return all(set(r.candidate.grid) <= {"learning_rate"} for r in comparison.results)


def _setting(result: CandidateResult) -> str:
    edge = EDGE_MARK if result.at_edge else ""
    return setting_text(result.chosen_setting) + edge


def _mark(comparison: Comparison, place: int, result: CandidateResult) -> str:
    if comparison.ties is None or len(comparison.results) < 2:
        return ""
    if place == 0:
        return "best"
    return "tie" if result.name in comparison.ties else ""


def _steps(result: CandidateResult, target: float) -> str:
    median = float(np.median(result.steps_to(target)))
    return f"{median:g}" if math.isfinite(median) else "never"
