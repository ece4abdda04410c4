"""The stored error and power of a comparison's verdicts are within their bounds."""

import importlib
import json
import sys
from pathlib import Path

import pytest
from scipy import stats

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    program = importlib.import_module("error_and_power")
finally:
    sys.path.remove(str(BENCHMARKS))
ROWS = json.loads(program.ROWS.read_text())
BY = {(row["scenario"], row["candidates"], row["seeds"]): row for row in ROWS}


def test_every_cell_is_stored_with_enough_tables():
    expected = {
        (name, m, s)
        for name, scenario in program.SCENARIOS.items()
        for m in program.CANDIDATES
        for s in program.SEEDS
        if m >= scenario.fewest and (name in program.ERROR or s in program.POWER_SEEDS)
    }
    assert {*BY} == expected
    assert len(ROWS) == len(expected)
    assert {row["tables"] for row in ROWS} == {10_000}


def test_nowhere_is_more_than_five_percent_wrong():
    for row in ROWS:
        if program.SCENARIOS[row["scenario"]].holds:
            assert program.lower_end(row["wrong"], row["tables"]) <= program.LEVEL, row
    assert {row["wrong"] for row in ROWS if row["seeds"] == 2} == {0}


def test_the_table_tells_what_is_there():
    assert BY["one by 3", 9, 5]["found"] >= 0.8
    assert BY["beside a noisy", 9, 5]["found"] >= 0.8
    for m in program.CANDIDATES:
        found = [[BY[f"one by {x:g}", m, s]["found"] for x in program.SHIFTS] for s in (3, 5, 10)]
        assert all(powers == sorted(powers) for powers in found)
        assert all(powers == tuple(sorted(powers)) for powers in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("name", "candidates", "seeds"),
    [("half at 5", 9, 5), ("accuracy 360", 2, 3), ("one by 3", 9, 5), ("failing", 5, 3)],
)
def test_the_stored_rows_are_those_of_this_library(name, candidates, seeds):
    stored, tables = BY[name, candidates, seeds], 400
    row = program.simulate(name, candidates, seeds, tables)
    assert {*row} == {*stored}
    shares = [("wrong", stored["wrong"] / stored["tables"], row["wrong"])]
    if row["found"] is not None:
        shares.append(("found", stored["found"], round(row["found"] * tables)))
    for what, share, count in shares:
        low, high = stats.binom.interval(1 - 1e-5, tables, share)
        assert low <= count <= high, what


def test_the_page_is_that_of_the_stored_rows():
    assert program.PAGE.read_text() == program.page(ROWS), "run `error_and_power.py --write`"
