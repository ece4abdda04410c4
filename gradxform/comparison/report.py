"""A comparison as a table for the terminal."""

import math
from typing import TYPE_CHECKING

import numpy as np

from . import statistics
from .extra import require_extra
from .result import CandidateResult, Comparison

if TYPE_CHECKING:
    from rich.table import Table

EDGE_MARK = "!"
_ROOMY = 96  # columns from which on there is space between the table's


def table(comparison: Comparison, width: int = 80) -> "Table":
    """The finished candidates, the best first, and below them the references.

    Args:
      comparison: at least one candidate must have finished.
      width: columns of the terminal; 80 are enough for names of up to 19 characters.

    Returns:
      A `rich` table.
    """
    require_extra("rich")
    from rich import box
    from rich.table import Table
    from rich.text import Text

    c = comparison
    name = c.metric_name + (" %" if c.percent else "")
    roomy = (0, 1) if width >= _ROOMY else 0
    out = Table(title=title(c), box=box.SIMPLE_HEAD, padding=roomy, pad_edge=False, show_edge=False)
    out.add_column("optimizer", no_wrap=True)
    out.add_column("chosen\nrate" if _is_rate(c) else "chosen", no_wrap=True, justify="right")
    out.add_column(f"validation\n{name}", no_wrap=True, justify="right")
    out.add_column(f"test\n{name}", no_wrap=True, justify="right")
    out.add_column("", no_wrap=True)
    if c.target is not None:
        target = f"{100 * c.target:g} %" if c.percent else f"{c.target:g}"
        out.add_column(f"steps\nto {target}", no_wrap=True, justify="right")
    out.add_column("runs\ndiverged", no_wrap=True, justify="right")
    out.add_column("ms a\nstep", no_wrap=True, justify="right")
    for place, result in enumerate(c.ranking):
        cells = [
            result.name,
            _setting(result),
            score(result.final_validation[result.chosen], c.percent),
            score(result.scores, c.percent),
            _mark(c, place, result),
            f"{int(result.diverged.sum())} of {result.diverged.size}",
            "" if result.milliseconds is None else f"{result.milliseconds:.2f}",
        ]
        if c.target is not None:
            cells.insert(5, _steps(result, c.target))
        out.add_row(*map(Text, cells), end_section=place == len(c.ranking) - 1)
    for reference in c.references:
        values = (np.array([v]) for v in (reference.validation, reference.test))
        cells = [reference.name, "", *(score(v, c.percent) for v in values)]
        out.add_row(*map(Text, cells), style="dim")
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
