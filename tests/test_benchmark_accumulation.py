"""The benchmark of accumulation runs and writes complete rows. No test looks at a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SAVED = sorted(BENCHMARKS.glob("results/accumulation_*.json"))
KEYS = {
    "contender", "part", "k", "what", "arrays", "parameters", "ms", "ratio", "others", "agrees",
    "max_difference", "argument_bytes", "temp_bytes", "peak_bytes", "copies", "versions", "machine",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmarks") / "rows.json"
    arguments = f"--size small --part train --k 2 --repeats 1 --out {out}"
    program = [sys.executable, str(BENCHMARKS / "accumulation.py"), *arguments.split()]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| 2 | accumulate |" in done.stdout
    return json.loads(out.read_text())


def test_there_is_a_row_for_each_contender(rows):
    assert len(rows) == 4
    for row in rows:
        assert row.keys() >= KEYS
        assert "/" not in json.dumps(row["machine"])


def test_all_contenders_are_the_large_batch(rows):
    assert all(row["agrees"] and row["max_difference"] <= row["tolerance"] for row in rows)


def test_nothing_is_copied_here(rows):
    ours = [row for row in rows if row["contender"] in ("accumulate", "value-and-grad")]
    assert len(ours) == 2
    for row in ours:
        assert row["copies"] == 0
        assert row["alias_bytes"] >= 3 * 4 * row["parameters"]


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_saved_rows_agree_and_take_no_more_than_optaxs(path):
    """The memory only: the times are for reading."""
    saved = json.loads(path.read_text())
    assert all(row["agrees"] for row in saved)
    peak = {(row["part"], row["k"], row["contender"]): row["peak_bytes"] for row in saved}
    for (part, k, contender), bytes_ in peak.items():
        if contender in ("accumulate", "value-and-grad"):
            assert bytes_ <= peak[part, k, "multi-steps"]


def test_there_are_saved_rows():
    assert SAVED
