"""The claims' programs run, and what is stored says what the page says of it."""

import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

FOLDER = Path(__file__).parent.parent / "benchmarks" / "claims"
sys.path.insert(0, str(FOLDER))
try:
    run, page, evidence, drawing, trial, claim = map(
        importlib.import_module, ("run", "page", "evidence", "drawing", "trial", "claim")
    )
finally:
    sys.path.remove(str(FOLDER))
ROWS = page.load(run.ORDER)
KEYS = {
    "claim", "text", "measured", "note", "rule", "effects", "seeds", "tuning_seeds", "chosen",
    "panel", "seconds", "versions", "machine",
}  # fmt: skip

every_claim = pytest.mark.parametrize("name", run.ORDER)


@every_claim
def test_its_program_runs(name):
    row = run.run(run.CLAIMS[name], claim.TINY)
    assert set(row) == KEYS
    for effect in page.effects_of(row):
        assert np.all(np.isfinite(effect.values))
        assert len(effect.values) in (1, len(row["seeds"]), len(row["seeds"]) - 1)


@every_claim
def test_its_row_is_complete_and_of_this_program(name):
    row, program = ROWS[name], run.CLAIMS[name]
    assert set(row) == KEYS
    assert page.rule_of(row) == program.rule
    assert (row["text"], row["measured"], row["note"]) == (
        program.text, program.measured, program.note,
    )  # fmt: skip
    assert len(row["seeds"]) >= 8
    assert not set(row["seeds"]) & set(row["tuning_seeds"])
    assert set(row["versions"]) == {*run.PACKAGES, "python"}
    for effect in page.effects_of(row):
        assert np.all(np.isfinite(effect.values))
        if effect.examples is not None:
            assert np.mean(effect.values) == pytest.approx(np.mean(effect.examples), abs=1e-4)


def test_no_other_rows_are_stored():
    assert list(ROWS) == list(run.ORDER) == list(run.CLAIMS)


def test_the_page_is_that_of_the_stored_rows():
    text = page.README.read_text()
    assert text == page.inserted(text, ROWS), "run `python benchmarks/claims/run.py --readme`"


def test_the_verdicts_follow_from_the_stored_numbers_by_hand():
    p_values, expected = {}, {}
    for name, row in ROWS.items():
        if row["rule"]["kind"] not in ("more", "differs"):
            continue
        main = row["effects"][0]
        values = np.log(main["values"]) if main["ratio"] else np.array(main["values"])
        margin = math.log(row["rule"]["margin"]) if main["ratio"] else row["rule"]["margin"]
        variance = values.var(ddof=1) / len(values)
        if "examples" in main:
            count = len(main["examples"])
            other = np.var(main["examples"], ddof=1) / count
            both = variance + other - main["residual"] / (len(values) * count)
            variance = max(variance, other, both)
        half = stats.t.ppf(0.975, len(values) - 1) * math.sqrt(variance)
        p_values[name] = 2 * stats.t.sf(abs(values.mean()) / math.sqrt(variance), len(values) - 1)
        size = abs(values.mean()) if row["rule"]["kind"] == "differs" else values.mean()
        expected[name] = (size >= margin, size + half < margin)
    found = page.verdicts(ROWS)
    for name, (large, too_small) in expected.items():
        word, adjusted = found[name]
        assert adjusted >= p_values[name] * (1 - 1e-9)
        shown = large and adjusted < 0.05
        assert word == ("shown" if shown else "refuted" if too_small else "not distinguishable")


def test_holm_multiplies_by_what_is_left_and_never_falls():
    found = evidence.holm({"a": 0.01, "b": 0.04, "c": 0.03, "none": None})
    assert found == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06, "none": None})


@pytest.mark.parametrize(
    ("kind", "values", "word"),
    [
        ("more", (2.0, 2.1, 1.9, 2.2), "shown"),
        ("more", (0.1, 0.0, 0.2, 0.1), "refuted"),
        ("more", (-2.0, -2.1, -1.9, -2.2), "refuted"),
        ("more", (3.0, -2.0, 4.0, -1.0), "not distinguishable"),
        ("differs", (-2.0, -2.1, -1.9, -2.2), "shown"),
        ("differs", (0.1, 0.0, -0.2, 0.1), "refuted"),
        ("same", (0.1, 0.0, -0.2, 0.1), "shown"),
        ("same", (2.0, 2.1, 1.9, 2.2), "refuted"),
        ("same", (3.0, -2.0, 4.0, -1.0), "not distinguishable"),
    ],
)
def test_a_rule_decides(kind, values, word):
    rule, effect = evidence.Rule(kind, 1.0), evidence.Effect.of_seeds("", values, "points")
    assert evidence.verdict(rule, effect, evidence.p_value(rule, effect)) == word


def test_a_standard_error_counts_seeds_and_examples():
    draw = np.random.default_rng(0)
    seeds, examples = 0.5 * draw.normal(size=(6, 1)), draw.normal(size=(1, 40))
    readings = seeds + examples + 0.1 * draw.normal(size=(6, 40))
    found = evidence.summarize(evidence.Effect.of_readings("", readings, "points"))
    alone = evidence.summarize(evidence.Effect.of_seeds("", readings.mean(axis=1), "points"))
    both = math.sqrt(alone.error**2 + readings.mean(axis=0).var(ddof=1) / 40)
    assert alone.error < found.error <= both
    assert found.error == pytest.approx(both, rel=1e-2)


def test_the_mean_of_several_sets_leaves_out_how_they_differ():
    draw = np.random.default_rng(1)
    parts = [draw.normal(size=(5, 64)), 100 + draw.normal(size=(5, 64))]
    effect = evidence.Effect.of_parts("", parts, "points")
    found = evidence.summarize(effect)
    assert found.mean == pytest.approx(np.mean(parts), rel=1e-4)
    assert found.error < 1.0


def test_a_side_is_tuned_on_other_seeds_and_judged_once():
    adaptive = sys.modules["adaptive_claims"]
    problem = adaptive.cells()
    size = claim.Size()
    side = trial.tuned(
        problem, "SGD", run.image_claims.gx.sgd(run.image_claims.gx.tunable(0.1)),
        {"learning_rate": (1e-6, 0.1, 1e-5)}, size, seeds=2, tuning_seeds=2, steps=40,
        batch_size=16, evaluations=2,
    )  # fmt: skip
    assert side.setting == {"learning_rate": 0.1}
    assert [t["learning_rate"] for t in side.trials] == [1e-6, 0.1, 1e-5]
    _, _, test = problem.split(0)
    assert side.runs.last.shape == side.runs.stopped.shape == (2, len(test))
    assert side.runs.steps.tolist() == [0, 20, 40]


def test_splits_do_not_overlap():
    held_out = sys.modules["held_out"]
    for train, validation, test in (held_out.draw(500, 3), held_out._windows(16, 16)[1]):
        parts = [set(train), set(validation), set(test)]
        assert sum(map(len, parts)) == len(set.union(*parts))
    codes, _ = held_out.characters()
    assert codes.min() == 0
    assert codes.max() == held_out.SYMBOLS - 1


@every_claim
def test_its_picture_is_drawn(name):
    figure = drawing.draw(ROWS[name])
    curves, effects = figure.axes
    assert curves.lines
    assert effects.get_yticklabels()
