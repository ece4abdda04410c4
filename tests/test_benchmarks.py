"""The benchmark programs run and write complete rows. No test looks at a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
KEYS = {
    "contender", "optimizer", "shapes", "arrays", "parameters", "ms", "ratio", "gb_per_s",
    "bandwidth_gb_per_s", "others", "max_difference", "agrees", "argument_bytes", "temp_bytes",
    "alias_bytes", "copies", "copied_bytes", "fusions", "versions", "machine",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmarks") / "rows.json"
    arguments = (
        "--shapes small --optimizer adamw,clip-adamw --contenders gradxform,optax --repeats 1 "
        "--steps 2"
    )
    program = [sys.executable, str(BENCHMARKS / "step_time.py"), *arguments.split()]
    done = subprocess.run([*program, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "gradxform" in done.stdout
    return json.loads(out.read_text())


def test_step_time_writes_a_row_for_each_contender(rows):
    assert [(row["optimizer"], row["contender"]) for row in rows] == [
        (optimizer, contender)
        for optimizer in ("adamw", "clip-adamw")
        for contender in ("gradxform", "optax")
    ]
    for row in rows:
        assert row.keys() >= KEYS
        assert {"python", "jax", "optax", "gradxform"} <= row["versions"].keys()
        assert "/" not in json.dumps(row["machine"])


def test_all_contenders_computed_the_same(rows):
    assert all(row["agrees"] and row["max_difference"] <= row["tolerance"] for row in rows)


def test_the_donated_step_is_in_place(rows):
    for row in rows:
        assert row["copies"] == 0, row["contender"]
        assert row["alias_bytes"] >= 3 * 4 * row["parameters"], row["contender"]


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("results/*.json")), ids=lambda p: p.stem)
def test_saved_rows_are_complete(path):
    saved = json.loads(path.read_text())
    assert saved
    for row in saved:
        if row.get("benchmark") == "step_time":
            assert row["agrees"], row["contender"]
