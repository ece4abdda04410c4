"""How often a comparison calls a candidate worse that is not, and one that is: by simulation.

    python error_and_power.py --tables 500 --candidates 9 --seeds 5     # a look, in seconds
    python error_and_power.py --save                                    # all of it, in minutes
    python error_and_power.py --write                                   # the page, of saved rows

Tables of scores are drawn at random, many for each scenario, and go through
`gradxform.comparison.statistics.judge`, which also judges real comparisons. The standard
deviation of a run is 1, and less is better.
"""

import argparse
import json
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from gradxform.comparison.statistics import LEVEL, judge

FOLDER = Path(__file__).parent
ROWS, PAGE = FOLDER / "results" / "error_and_power.json", FOLDER / "error_and_power.md"
CANDIDATES = (2, 3, 5, 9, 15, 30)
SEEDS = (2, 3, 4, 5, 7, 10)
POWER_SEEDS = (3, 5, 10)
TABLES = 10_000
SHIFTS = (1.0, 2.0, 3.0, 5.0)
_NUMBERS = 4_000_000  # of tables that are drawn at once

Random = np.random.Generator
Row = dict[str, Any]


class Tables(NamedTuple):
    """Tables of scores, and what is true of them."""

    scores: np.ndarray  # [table, candidate, seed]
    worse_by: np.ndarray  # than the best: [candidate]
    step: float = 0.0  # of the metric


class Scenario(NamedTuple):
    """A law of tables.

    Attributes:
      words: what it is, for the page.
      draw: (random numbers, tables, candidates, seeds) to tables.
      fewest: candidates that it takes.
      holds: whether the error should be at most 5 %.
    """

    words: str
    draw: Callable[[Random, int, int, int], Tables]
    fewest: int = 2
    holds: bool = True


def normal(rng: Random, *shape: int) -> np.ndarray:
    """Runs that vary by chance alone."""
    return rng.standard_normal(shape)


def equal(rng: Random, tables: int, m: int, s: int) -> Tables:
    return Tables(normal(rng, tables, m, s), np.zeros(m))


def accuracy(examples: int, share: float, shift: float = 0.0) -> Callable[..., Tables]:
    """Shares of test examples that are wrong; the first candidate is worse by so many deviations.

    A deviation is that of one share.
    """

    def draw(rng: Random, tables: int, m: int, s: int) -> Tables:
        wrong = np.full(m, 1 - share)
        wrong[0] += shift * np.sqrt(share * (1 - share) / examples)
        counts = rng.binomial(examples, wrong[:, None], (tables, m, s))
        return Tables(counts / examples, wrong - wrong.min(), 1 / examples)

    return draw


def spread(deviations: float, count: Callable[[int], int]) -> Callable[..., Tables]:
    """The first candidates vary so many times as much as the others."""

    def draw(rng: Random, tables: int, m: int, s: int) -> Tables:
        scores = normal(rng, tables, m, s)
        scores[:, : count(m)] *= deviations
        return Tables(scores, np.zeros(m))

    return draw


def clusters(rng: Random, tables: int, m: int, s: int) -> Tables:
    scores = 0.3 * normal(rng, tables, m, s)
    scores[:, : m // 2] += normal(rng, tables, 1, s)
    scores[:, m // 2 :] += normal(rng, tables, 1, s)
    return Tables(scores, np.zeros(m))


def ladder(rng: Random, tables: int, m: int, s: int) -> Tables:
    return Tables(normal(rng, tables, m, s) * np.geomspace(1, 8, m)[:, None], np.zeros(m))


def heavy(rng: Random, tables: int, m: int, s: int) -> Tables:
    return Tables(rng.standard_t(3, (tables, m, s)), np.zeros(m))


def _skewed(rng: Random, *shape: int) -> np.ndarray:
    """Lognormal, with the mean 0 and the standard deviation 1."""
    values = rng.lognormal(size=shape)
    return (values - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)


def skewed(rng: Random, tables: int, m: int, s: int) -> Tables:
    return Tables(_skewed(rng, tables, m, s), np.zeros(m))


def one_skewed(rng: Random, tables: int, m: int, s: int) -> Tables:
    scores = normal(rng, tables, m, s)
    scores[:, 0] = 5 * _skewed(rng, tables, s)
    return Tables(scores, np.zeros(m))


def failing(rng: Random, tables: int, m: int, s: int) -> Tables:
    scores = normal(rng, tables, m, s)
    scores[np.arange(tables), 0, rng.integers(s, size=tables)] = np.nan
    return Tables(scores, np.zeros(m))


def chosen(rng: Random, tables: int, m: int, s: int) -> Tables:
    """Each has five settings, and that with the best validation metric is tested."""
    both = normal(rng, tables, m, 5, s)
    validation, test = (
        np.sqrt(0.9) * both + np.sqrt(0.1) * normal(rng, *both.shape) for _ in range(2)
    )
    best = validation.mean(axis=-1).argmin(axis=-1)[..., None, None]
    return Tables(np.take_along_axis(test, best, axis=2)[:, :, 0], np.zeros(m))


def shifted(shift: float, count: Callable[[int], int], noisy: float = 1.0) -> Callable[..., Tables]:
    """The first candidates are worse; the last one varies so many times as much."""

    def draw(rng: Random, tables: int, m: int, s: int) -> Tables:
        worse_by = np.zeros(m)
        worse_by[: count(m)] = shift
        scores = normal(rng, tables, m, s)
        scores[:, -1] *= noisy
        return Tables(scores + worse_by[:, None], worse_by)

    return draw


def one(_: int) -> int:
    return 1


def two(_: int) -> int:
    return 2


def half(m: int) -> int:
    return m // 2


def third(m: int) -> int:
    return m // 3


ERROR = {
    "equal": Scenario("all alike", equal),
    "accuracy 360": Scenario("accuracies, 95 % of 360 examples", accuracy(360, 0.95)),
    "accuracy 50": Scenario("accuracies, 99 % of 50 examples", accuracy(50, 0.99)),
    "chosen": Scenario("each the best of 5 by validation, correlation 0.9", chosen),
    "half at 5": Scenario("half vary 5 x as much", spread(5, half), 3),
    "third at 3": Scenario("a third vary 3 x as much", spread(3, third), 3),
    "one at 5": Scenario("one varies 5 x as much", spread(5, one), 3),
    "two at 9": Scenario("two vary 9 x as much", spread(9, two), 3),
    "one at 100": Scenario("one varies 100 x as much", spread(100, one), 3),
    "ladder": Scenario("standard deviations from 1 to 8", ladder, 3),
    "clusters": Scenario("two groups that move together", clusters, 3),
    "heavy": Scenario("Student's t with 3 degrees of freedom", heavy),
    "skewed": Scenario("all lognormal", skewed),
    "failing": Scenario("one has a run that failed", failing, 5),
    "one skewed": Scenario("one lognormal that varies 5 x as much", one_skewed, 2, holds=False),
}
POWER = {
    **{
        f"one by {shift:g}": Scenario(f"one worse by {shift:g}", shifted(shift, one))
        for shift in SHIFTS
    },
    "half by 3": Scenario("half worse by 3", shifted(3, half), 3),
    "all but two by 3": Scenario("all but two worse by 3", shifted(3, lambda m: m - 2), 3),
    "all but one by 3": Scenario("all but one worse by 3", shifted(3, lambda m: m - 1), 3),
    "beside a noisy": Scenario(
        "one worse by 3, another varies 100 x as much", shifted(3, one, noisy=100), 3
    ),
    "accuracy 360 by 3": Scenario(
        "accuracies, 95 % of 360, one worse by 3 binomial deviations", accuracy(360, 0.95, 3)
    ),
}
SCENARIOS = {**ERROR, **POWER}


def simulate(name: str, candidates: int, seeds: int, tables: int = TABLES) -> Row:
    """Counts over many tables of a scenario.

    Returns:
      A row: `wrong`, the tables in which somebody is called worse that is as good as the best;
      `missed`, those in which an interval does not hold the true difference to the best;
      `found`, the share of the worse that are called so; `noted`, the tables in which somebody is
      said to vary far more than the others; `width`, the mean upper end of the best's interval.
    """
    rng = np.random.default_rng([zlib.crc32(name.encode()), candidates, seeds])
    at_once = max(1, _NUMBERS // (candidates * (seeds + candidates)))
    wrong, missed, noted, found, width, left = 0, 0, 0, 0.0, 0.0, tables
    while left:
        count = min(at_once, left)
        drawn = SCENARIOS[name].draw(rng, count, candidates, seeds)
        judged = judge(drawn.scores, lower_is_better=True, resolution=drawn.step)
        is_worse, true = judged.low > 0, drawn.worse_by
        wrong += int(np.sum(np.any(is_worse & (true == 0), axis=-1)))
        rounding = 1e-9
        outside = (judged.low > true + rounding) | (judged.high < true - rounding)
        missed += int(np.sum(np.any(outside, axis=-1)))
        noted += int(np.sum(np.any(judged.varies, axis=-1)))
        found += float(np.sum(is_worse & (true > 0)))
        width += float(np.nansum(judged.high[:, true == 0])) / np.sum(true == 0)
        left -= count
    worse = int(np.sum(true > 0))
    return {
        "benchmark": "error_and_power",
        "scenario": name,
        "candidates": candidates,
        "seeds": seeds,
        "tables": tables,
        "wrong": wrong,
        "missed": missed,
        "noted": noted,
        "found": round(found / (tables * worse), 4) if worse else None,
        "width": round(width / tables, 3),
    }


def lower_end(count: int, tables: int) -> float:
    """The lower end of Clopper and Pearson's 95 % interval of a share."""
    return float(stats.beta.ppf(0.025, count, tables - count + 1)) if count else 0.0


def page(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    seeds = sorted({row["seeds"] for row in rows})
    tables = rows[0]["tables"]
    lines = [
        "# Error and power of a comparison's verdicts",
        "",
        "Written by `python error_and_power.py --write`. "
        f"{tables:,} tables a figure are drawn at random and judged by the function that judges "
        "real comparisons, `gradxform.comparison.statistics.judge`. A standard deviation (SD) is "
        "that of a run.",
        "",
        f"With 2 seeds there is no verdict: no table of any scenario has one. From 3 on, at most "
        f"{100 * LEVEL:g} % of the tables should call a candidate worse that is as good as the "
        "best.",
        "",
        "* **Where it does not hold:** one candidate that is strongly skewed and varies far more "
        "than the others. `Verdict.varies` and a note under the table name it if its runs show it; "
        "seeds that happen to miss the tail deceive any test.",
        "* **3 seeds show only large differences**; 5 find nearly all of 3 SDs among up to 9 "
        "candidates.",
        "* Two candidates have the paired t-test, which is exact where the differences are normal: "
        "its error is 5 %, and the figures lie around it. Scenarios that leave two candidates with "
        "normal runs are that case.",
        "* The seeds show the randomness of training on one test set. What other test examples "
        "would change stands beside the verdict, and is not in these figures.",
        "",
        "## Error, %",
        "",
        "The share of tables in which somebody is called worse that is not; **bold** where the "
        "lower end of its 95 % interval is above 5 %.",
    ]
    for count in [n for n in seeds if n > 2]:
        of_seeds = [row for row in rows if row["seeds"] == count]
        lines += ["", f"### {count} seeds", "", *_table(of_seeds, ERROR, _error)]
    lines += [
        "",
        "The tables of the last line in which that candidate is named as one that varies far more "
        "than the others, %:",
        "",
        "| seeds | " + " | ".join(f"{m} candidates" for m in CANDIDATES) + " |",
        "| ---: |" + " ---: |" * len(CANDIDATES),
    ]
    for count in [n for n in seeds if n > 2]:
        named = {
            row["candidates"]: f"{100 * row['noted'] / row['tables']:.0f}"
            for row in rows
            if row["seeds"] == count and row["scenario"] == "one skewed"
        }
        lines.append(f"| {count} | " + " | ".join(named.get(m, "") for m in CANDIDATES) + " |")
    lines += [
        "",
        "## Power, %",
        "",
        "The share of the worse candidates that are called worse.",
    ]
    for count in [n for n in seeds if n > 2]:
        of_seeds = [row for row in rows if row["seeds"] == count and row["scenario"] in POWER]
        if of_seeds:
            lines += ["", f"### {count} seeds", "", *_table(of_seeds, POWER, _power)]
    lines += [
        "",
        "## Intervals",
        "",
        "All intervals of a table hold the true differences to the best at the same time, but for "
        f"at most {100 * max(_missed(rows)):.1f} % of the tables (without the skewed one). How far "
        "the interval of one of equal candidates reaches up, in SDs:",
        "",
        "| seeds | " + " | ".join(f"{m} candidates" for m in CANDIDATES) + " |",
        "| ---: |" + " ---: |" * len(CANDIDATES),
    ]
    for count in [n for n in seeds if n > 2]:
        widths = {
            row["candidates"]: f"{row['width']:.2f}"
            for row in rows
            if row["seeds"] == count and row["scenario"] == "equal"
        }
        lines.append(f"| {count} | " + " | ".join(widths.get(m, "") for m in CANDIDATES) + " |")
    return "\n".join([*lines, ""])


def _missed(rows: Sequence[Row]) -> list[float]:
    return [r["missed"] / r["tables"] for r in rows if SCENARIOS[r["scenario"]].holds]


def _table(
    rows: Sequence[Row], scenarios: dict[str, Scenario], cell: Callable[[Row], str]
) -> list[str]:
    """Lines of a table: a scenario each, a column for each number of candidates."""
    found = {(row["scenario"], row["candidates"]): cell(row) for row in rows}
    lines = [
        "| | " + " | ".join(f"{m} candidates" for m in CANDIDATES) + " |",
        "| --- |" + " ---: |" * len(CANDIDATES),
    ]
    for name, scenario in scenarios.items():
        cells = [found.get((name, m), "") for m in CANDIDATES]
        lines.append(f"| {scenario.words} | " + " | ".join(cells) + " |")
    return lines


def _error(row: Row) -> str:
    text = f"{100 * row['wrong'] / row['tables']:.1f}"
    return f"**{text}**" if lower_end(row["wrong"], row["tables"]) > LEVEL else text


def _power(row: Row) -> str:
    return f"{100 * row['found']:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tables", type=int, default=TABLES, help="a figure")
    parser.add_argument("--candidates", type=int, nargs="+", default=CANDIDATES)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=[*SCENARIOS])
    parser.add_argument("--save", action="store_true", help=f"to results/{ROWS.name}")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} of saved rows")
    options = parser.parse_args()
    if options.write:
        PAGE.write_text(page(json.loads(ROWS.read_text())))
        return
    rows = []
    for name in options.scenarios:
        begun = time.perf_counter()
        for candidates in options.candidates:
            if candidates >= SCENARIOS[name].fewest:
                rows += [
                    simulate(name, candidates, s, options.tables)
                    for s in options.seeds
                    if name in ERROR or s in POWER_SEEDS
                ]
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)
    if options.save:
        ROWS.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    else:
        print(page(rows))


if __name__ == "__main__":
    main()
