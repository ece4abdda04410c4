"""A comparison as a table for the terminal."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..core.extra import missing_of, require_extra
from ..core.words import printable
from . import statistics
from .runs import CandidateResult, Outcome, Verdict

if TYPE_CHECKING:
    from rich.table import Table

EDGE_MARK = "!"


class Column(NamedTuple):
    """A column of the table."""

    name: str  # in a sentence
    header: str
    cells: tuple[str, ...]  # of the candidates, then of the references


class Columns(NamedTuple):
    """The columns of the table, from left to right."""

    optimizer: Column
    chosen: Column
    validation: Column
    test: Column
    mark: Column
    worse_by: Column | None
    steps: Column | None
    diverged: Column
    ms: Column | None


def table(comparison: Outcome, width: int = 80) -> "Table":
    """The finished candidates, the best first, and below them the references.

    Where the terminal is too narrow for all columns, the fewest that make room are left out, and
    named below: first the time of a step, then the validation metric, the steps to the target,
    the runs that diverged and the differences. A name or a number is never cut.

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


def plain_table(comparison: Outcome, width: int = 100) -> str:
    """The table as plain text; a line in its place where there is nothing to rank.

    Args:
      comparison: also one of which no candidate has finished.
      width: columns of the text.
    """
    c = comparison
    if not c.results or missing_of("rich", "scipy"):
        done = f"{len(c.results)} of {len(c.planned)} candidates"
        return printable(f"<Comparison on {title(c)}: {done} finished ({', '.join(c.planned)})>")
    from rich.console import Console

    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table(c, width))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    if not c.complete:
        lines += ["", f"Unfinished: {len(c.results)} of {len(c.planned)} candidates."]
    return "\n".join(lines)


def _variants(comparison: Outcome) -> "Iterator[Table]":
    """The table with all columns, then with ever fewer."""
    shown = columns(comparison)
    yield _drawn(comparison, shown, (), space=1)
    optional = [c for c in (shown.ms, shown.validation, shown.steps, shown.diverged) if c]
    for last in ((), (shown.worse_by,) if shown.worse_by else ()):
        for count in range(len(optional) + 1):
            for left_out in itertools.combinations(optional, count):
                yield _drawn(comparison, shown, (*left_out, *last), space=0)


def columns(comparison: Outcome) -> Columns:
    """The columns of the table, the candidates in the order of the ranking, then the references."""
    c = comparison
    metric = c.metric_name + (" %" if c.percent else "")
    blank = ("",) * len(c.references)

    def column(name: str, header: str, cell: Callable[[CandidateResult], str]) -> Column:
        return Column(name, header, (*map(cell, c.ranking), *blank))

    def scores(split: str, of_result: Callable[[CandidateResult], np.ndarray]) -> Column:
        ours = [score(of_result(r), c.percent) for r in c.ranking]
        theirs = [score(np.array([getattr(r, split)]), c.percent) for r in c.references]
        return Column(f"{split} {c.metric_name}", f"{split}\n{metric}", (*ours, *theirs))

    worse_by = column("worse by", "worse by\n[95 %]", lambda r: _worse_by(c, r))
    ms = column(
        "ms a step",
        "ms a\nstep",
        lambda r: "" if r.milliseconds is None else f"{r.milliseconds:.2f}",
    )
    steps = None
    if (target := c.target) is not None:
        text = f"{100 * target:g} %" if c.percent else f"{target:g}"
        steps = column(f"steps to {text}", f"steps\nto {text}", lambda r: _steps(r, target))
    return Columns(
        optimizer=Column(
            "optimizer",
            "optimizer",
            (*(r.name for r in c.ranking), *(r.name for r in c.references)),
        ),
        chosen=column("chosen", "chosen\nrate" if _is_rate(c) else "chosen", _setting),
        validation=scores("validation", lambda r: r.final_validation[r.chosen]),
        test=scores("test", lambda r: r.scores),
        mark=column("verdict", "", lambda r: _mark(c.verdicts[r.name], len(c.seeds))),
        worse_by=worse_by if any(worse_by.cells) else None,
        steps=steps,
        diverged=column(
            "runs diverged",
            "runs\ndiverged",
            lambda r: f"{int(r.diverged.sum())} of {r.diverged.size}",
        ),
        ms=ms if any(ms.cells) else None,
    )


def _drawn(
    comparison: Outcome, columns: Columns, left_out: tuple[Column, ...], *, space: int
) -> "Table":
    """The table without some columns; `space` is what stands between them."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = Table(
        title=Text(printable(title(comparison))),
        caption=Text(f"Not shown: {', '.join(printable(c.name) for c in left_out)}.")
        if left_out
        else None,
        box=box.SIMPLE_HEAD,
        padding=(0, space) if space else 0,
        pad_edge=False,
        show_edge=False,
    )
    shown = [c for c in columns if c is not None and c not in left_out]
    for column in shown:
        text = column in (columns.optimizer, columns.mark)
        header = Text(printable(column.header, keep="\n"))
        out.add_column(header, overflow="fold", justify="left" if text else "right")
    last = len(comparison.ranking) - 1
    for row, cells in enumerate(zip(*(c.cells for c in shown), strict=True)):
        texts = [Text(printable(cell)) for cell in cells]
        out.add_row(*texts, end_section=row == last, style="dim" if row > last else None)
    return out


def title(comparison: Outcome) -> str:
    """What was compared, in a line: the task, the steps, the batch size and the seeds."""
    c = comparison
    seeds = f"{len(c.seeds)} seed{'s' if len(c.seeds) > 1 else ''}"
    return f"{c.task}: {c.steps} steps of {c.batch_size} examples, {seeds}"


def notes(comparison: Outcome) -> list[str]:
    """What a reader must know to read the table, one sentence or two a line."""
    c = comparison
    lines = [*_notes_of_verdicts(c)]
    if lost := c.search.get("without_a_usable_trial"):
        lines.append(
            f"Not compared, as no trial of its search was usable (each diverged, or its metric is "
            f"not finite): {listed(lost)}."
        )
    how = "Each setting was chosen by it, without the test split."
    if all(result.settings_tried == 1 for result in c.results):
        how = "Nothing was tuned: there was one setting of each."
    lines.append(
        f"Validation {c.metric_name} is the mean over the last tenth of the training. {how}"
    )
    if _is_constant(c):
        lines.append(
            f"The validation {c.metric_name} is the same in every run at every step: it judges "
            "nothing, and each choice is the first of equals."
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
            "A run diverged if its loss was not finite at some step, or ended clearly above its "
            "start, beyond its own noise."
        )
    if any(result.milliseconds is not None for result in c.results):
        lines.append("ms a step: one network alone, one jitted call a step.")
    return lines


def _notes_of_verdicts(c: Outcome) -> Iterator[str]:
    """What the verdicts and their intervals mean, and what they leave open."""
    seeds, verdicts = len(c.seeds), c.verdicts
    level = f"{100 * (1 - statistics.LEVEL):g} %"
    if seeds == 1:
        yield "One seed proves nothing: another one may turn the order round. Run several."
        return
    yield f"± is the standard error over {seeds} seeds."
    if len(c.results) < 2:
        return
    if seeds < statistics.FEWEST_SEEDS:
        yield f"{seeds} seeds give no verdict: it takes at least {statistics.FEWEST_SEEDS}."
    elif any(v.word in ("best", "first") for v in verdicts.values()):
        yield (
            f"`worse by` is the difference to the first, and [the {level} interval] of how much "
            "worse than the best each is; the intervals hold together, for all pairs over the same "
            "seeds. Who is not told apart may be better, as good or worse."
        )
        if seeds == statistics.FEWEST_SEEDS:
            yield f"{seeds} seeds show only large differences."
    yield from _notes_of_failures(c)
    if varied := [name for name, v in verdicts.items() if v.varies]:
        does = "varies" if len(varied) == 1 else "vary"
        yield (
            f"{listed(varied)} {does} far more over the seeds than the others, where few seeds can "
            "deceive; what is said there needs more seeds."
        )
    yield from _notes_of_examples(c)


def _notes_of_failures(c: Outcome) -> Iterator[str]:
    failed = [f"{n} on {v.failed}" for n, v in c.verdicts.items() if v.failed]
    if failed:
        yield (
            f"Failed at the chosen setting, by divergence or a metric that is not finite: "
            f"{listed(failed)} of {len(c.seeds)} seeds. Who fails comes last, is compared with "
            "none, and its mean is over all runs."
        )


def _notes_of_examples(c: Outcome) -> Iterator[str]:
    """What the size of the test split leaves open."""
    examples, verdicts = c.sizes["test"], c.verdicts
    errors = [v.test_error for v in verdicts.values() if not math.isnan(v.test_error)]
    if not any(v.word for v in verdicts.values()):
        return
    same = f"All were judged on the same {examples:,} test examples. Others would move a difference"
    if not errors:
        yield f"{same}, by how much the seeds do not show."
        return
    most, unit = (100 * max(errors), " points") if c.percent else (max(errors), "")
    text = f"{same} by a standard error of up to {most:.2g}{unit}."
    if few := [name for name, v in verdicts.items() if v.is_of_these_examples]:
        holds = "holds" if len(few) == 1 else "hold"
        text += f" The verdict on {listed(few)} {holds} for this test set only."
    yield text


def verdict(comparison: Outcome) -> str:
    """What was found, in a sentence or two."""
    c = comparison
    first, *others = c.ranking
    words = {name: v.word for name, v in c.verdicts.items()}
    unit = " %" if c.percent else ""
    reached = f"test {c.metric_name} {score(first.scores, c.percent)}{unit}"
    if first.failed.all():
        return "Every candidate failed on every seed."
    if not others:
        return f"{first.name}: {reached}. Nothing was compared."
    if words[first.name] == "best":
        worse = [name for name, word in words.items() if word == "worse"]
        rest = f"{listed(worse)} {'is' if len(worse) == 1 else 'are'} worse"
    elif not_told := [name for name, word in words.items() if word == "not told apart"]:
        rest = f"{listed(not_told)} {'is' if len(not_told) == 1 else 'are'} not told apart from it"
    else:
        rest = f"{len(c.seeds)} seed{'s' if len(c.seeds) > 1 else ''} give no verdict"
        if len(c.seeds) >= statistics.FEWEST_SEEDS:
            rest = "the others failed on some seeds"
    return f"{first.name} is {words[first.name] or 'first'}: {reached}; {rest}."


def listed(names: list[str]) -> str:
    """Names in a sentence, of many the first four."""
    if len(names) > 5:
        return f"{', '.join(names[:4])} and {len(names) - 4} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


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


def _is_constant(comparison: Outcome) -> bool:
    """Whether the validation metric never differs."""
    values = np.concatenate([np.ravel(result.validation) for result in comparison.results])
    return bool(np.all(values == values[0]))


def _is_rate(comparison: Outcome) -> bool:
    return all(set(r.candidate.grid) <= {"learning_rate"} for r in comparison.results)


def _setting(result: CandidateResult) -> str:
    edge = EDGE_MARK if result.at_edge else ""
    return setting_text(result.chosen_setting) + edge


def _mark(verdict: Verdict, seeds: int) -> str:
    return f"failed {verdict.failed} of {seeds}" if verdict.failed else verdict.word


def _worse_by(comparison: Outcome, result: CandidateResult) -> str:
    """The difference to the first with the interval of the difference to the best."""
    found = comparison.verdicts[result.name]
    if math.isnan(found.low):
        return ""
    factor, digits = (100.0, 2) if comparison.percent else (1.0, 4)
    difference, low, high = (
        f"{factor * x:.{digits}f}" for x in (found.difference, found.low, found.high)
    )
    return f"{difference} [{low}, {high}]"


def _steps(result: CandidateResult, target: float) -> str:
    median = float(np.median(result.steps_to(target)))
    return f"{median:g}" if math.isfinite(median) else "never"
