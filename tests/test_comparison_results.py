"""What follows from the runs: the choice, the ranking, the table, the picture and the JSON."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparisons import BEST, NEAR, comparison, printed, result, three

from gradxform.comparison.environment import environment
from gradxform.comparison.figure import figure
from gradxform.comparison.record import to_json
from gradxform.comparison.report import notes, title
from gradxform.comparison.result import Reference


def test_the_setting_is_chosen_by_validation_and_not_by_test() -> None:
    r = result("a", validation=[[0.5, 0.5], [0.9, 0.7], [0.7, 0.7]], test=[[0.9], [0.1], [0.99]])
    assert r.chosen == 1
    assert r.chosen_setting == {"learning_rate": 0.1}
    assert r.scores.tolist() == [np.float32(0.1)]


def test_the_choice_looks_at_the_last_tenth_of_the_training() -> None:
    validation = np.full((2, 1, 101), 0.9)
    validation[0, :, :90] = 1.0  # better, until it is too late
    validation[0, :, 90:] = 0.5
    validation[0, :, -1] = 0.95  # and lucky at the end
    still = result("a", validation=[[0.0], [0.0]], test=[[0.0], [0.0]])
    r = type(still)(
        still.candidate, np.arange(101), validation, validation, np.zeros((2, 1)), np.zeros((2, 1))
    )
    assert r.chosen == 1
    assert r.final_validation[0, 0] == pytest.approx((10 * 0.5 + 0.95) / 11)


def test_equal_settings_leave_the_choice_to_the_first() -> None:
    assert result("a", validation=[[0.5], [0.9], [0.9]], test=[[0.0]] * 3).chosen == 1


def test_what_is_not_a_number_is_never_chosen_and_never_best() -> None:
    r = result("a", validation=[[math.nan, 1.0], [0.2, 0.2]], test=[[1.0, 1.0], [0.2, 0.2]])
    assert r.chosen == 1
    lost = result("lost", validation=[[0.9, 0.9]], test=[[math.nan, 0.9]])
    c = comparison(lost, r)
    assert [x.name for x in c.ranking] == ["a", "lost"]
    assert [v.word for v in c.verdicts.values()] == ["", "failed"]


@pytest.mark.parametrize(
    ("validation", "edge"),
    [
        ([[0.9], [0.8], [0.7]], ("learning_rate",)),
        ([[0.7], [0.9], [0.7]], ()),
        ([[0.7], [0.8], [0.9]], ("learning_rate",)),
        ([[0.7]], ()),  # a grid of one has no edge
    ],
)
def test_a_choice_at_the_edge_of_the_grid_is_flagged(
    validation: list[list[float]], edge: tuple[str, ...]
) -> None:
    r = result("a", validation=validation, test=[[0.5]] * len(validation))
    assert r.at_edge == edge
    c = comparison(r)
    assert ("!" in printed(c)) == bool(edge)
    assert any("edge of its grid" in note for note in notes(c)) == bool(edge)


def test_runs_diverge_by_a_broken_loss_or_by_ending_clearly_above_the_start() -> None:
    train_loss = np.ones((1, 9, 9))
    train_loss[0, 1, 1] = math.inf  # broken on the way, though it came back
    train_loss[0, 4, 1::2] = 1.5  # a noise as wide as what it ended above
    train_loss[0, 5, 1:] = 2.0 ** np.arange(8)
    train_loss[0, 6, 1:] = [5, 4000, 3, 900, 7, 8000, 2, 500]  # wild
    train_loss[0, 7, 1:] = 2.3  # up, and it stayed there
    train_loss[0, 8] *= -1  # as of a density
    final_loss = np.array([[0.9, 0.9, math.nan, 1.05, 1.5, 128.0, 300.0, 2.3, -0.5]])
    r = result(
        "a",
        validation=[[0.5] * 9],
        test=[[0.5] * 9],
        train_loss=train_loss,
        final_loss=final_loss,
    )
    expected = [False, True, True, False, False, True, True, True, True]
    assert r.diverged.tolist() == [expected]
    assert "6 of 9" in printed(comparison(r))


def test_a_run_that_stays_where_it_was_has_not_diverged() -> None:
    """From near its optimum each step can only raise the loss, and a tiny one by rounding."""
    rng = np.random.default_rng(0)
    start = np.float32(0.00768)
    train_loss = np.float32(start * (1 + 0.1 * rng.standard_normal((1, 50, 101))))
    train_loss[..., 0] = start
    nothing = np.full((1, 50), 0.5)
    rounding = np.nextafter(start, np.float32(1))
    for end in (rounding, np.float32(1.01) * start):
        r = result("a", validation=nothing, test=nothing, train_loss=train_loss)
        assert not replace(r, final_loss=np.full((1, 50), end)).diverged.any()


def test_a_setting_that_failed_on_fewer_seeds_is_chosen_before() -> None:
    nan = math.nan
    r = result(
        "a", validation=[[nan, nan, 0.9], [nan, 0.2, 0.3], [nan, 0.4, 0.5]], test=[[0.5]] * 3
    )
    assert r.chosen == 2
    lower = result("a", validation=[[0.9, nan], [0.1, nan]], test=[[0.5]] * 2, lower_is_better=True)
    assert lower.chosen == 1
    assert result("a", validation=[[nan], [nan]], test=[[0.5]] * 2).chosen == 0


def test_steps_to_a_target_are_those_of_its_first_reach() -> None:
    r = result("a", validation=[[0.5, 0.5, 0.5]], test=[[0.5] * 3])
    curves = np.array([[[0.1, 0.96, 0.2], [0.1, 0.2, 0.95], [0.1, 0.2, 0.3]]])
    r = type(r)(r.candidate, np.array([0, 10, 20]), curves, curves, r.final_loss, r.test)
    assert r.steps_to(0.95).tolist() == [10, 20, math.inf]
    assert " 20 " in printed(comparison(r, target=0.95))
    assert "never" in printed(comparison(r, target=0.97))


def test_verdicts_are_those_of_the_seeds_and_stand_with_their_intervals() -> None:
    c = three()
    assert [r.name for r in c.ranking] == ["best", "near", "worse"]
    words = {name: v.word for name, v in c.verdicts.items()}
    assert words == {"best": "first", "near": "not told apart", "worse": "worse"}
    found = c.verdicts["worse"]
    assert 0 < found.low < found.difference < found.high
    assert c.verdicts["best"].difference == c.verdicts["best"].low == 0 < c.verdicts["best"].high
    pair = comparison(c["best"], c["worse"])
    assert [v.word for v in pair.verdicts.values()] == ["best", "worse"]
    alone = comparison(c["best"])
    assert [v.word for v in alone.verdicts.values()] == [""]


def test_equal_runs_are_not_told_apart() -> None:
    same = [result(name, validation=[BEST], test=[BEST]) for name in "abc"]
    words = [v.word for v in comparison(*same).verdicts.values()]
    assert words == ["first", "not told apart", "not told apart"]


def test_who_failed_is_apart_and_the_others_are_compared() -> None:
    lost = result("lost", validation=[BEST], test=[[*BEST[:4], math.nan]])
    c = comparison(*three().results, lost)
    assert {n: v.word for n, v in c.verdicts.items()} == {
        "best": "first", "near": "not told apart", "worse": "worse", "lost": "failed",
    }  # fmt: skip
    assert c.verdicts["lost"].failed == 1
    assert "failed 1 of 5" in printed(c)
    assert c.verdicts["worse"].low == three().verdicts["worse"].low


def test_what_the_size_of_the_test_split_leaves_open_stands_beside() -> None:
    # 20 and 40 of 1000 examples wrong: sqrt(0.06 / 1000) = 0.0077 at most, and 0.02 is less than
    # twice that for a third that has 35 wrong.
    wrong = [(20, [0, 1, -1, 0, 0]), (80, [0, 0, 1, -1, 0]), (32, [1, 0, -1, 0, 0])]
    scores = [[1 - (count + x) / 1000 for x in noise] for count, noise in wrong]
    c = comparison(
        *(result(n, validation=[s], test=[s]) for n, s in zip("abc", scores, strict=True)),
        sizes={"train": 20, "validation": 10, "test": 1000},
        percent=True,
    )
    assert [v.word for v in c.verdicts.values()] == ["best", "worse", "worse"]
    assert c.verdicts["b"].test_error == pytest.approx(math.sqrt(0.1 / 1000))
    assert [v.is_of_these_examples for v in c.verdicts.values()] == [False, True, False]
    (note,) = [n for n in notes(c) if "test examples" in n]
    assert "same 1,000 test examples" in note
    assert "up to 1 points. The verdict on c holds for this test set only." in note
    loss = comparison(*(result(n, validation=[[x] * 3], test=[[x, x, 2 * x]]) for n, x in
                        (("a", 0.123), ("b", 0.456))), lower_is_better=True)  # fmt: skip
    assert math.isnan(loss.verdicts["b"].test_error)
    assert "by how much the seeds do not show" in " ".join(notes(loss))


def test_the_picture_shows_every_candidate_and_its_choice(tmp_path: Path) -> None:
    c = three(percent=True, metric_name="accuracy", references=(Reference("other", 0.9, 0.9),))
    picture = figure(c)
    curves, profiles = picture.axes
    assert [line.get_label() for line in curves.lines[:3]] == [
        "worse (0.01)", "best (0.01)", "near (0.01)",
    ]  # fmt: skip
    assert "validation accuracy (%)" in curves.get_ylabel()
    rings = [line for line in profiles.lines if line.get_markersize() > 10]
    assert [float(ring.get_xdata()[0]) for ring in rings] == [0.01] * 3
    assert float(rings[1].get_ydata()[0]) == pytest.approx(100 * np.mean(BEST))
    assert title(c) in picture.get_suptitle()
    c.save_figure(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("percent", [True, False])
def test_a_picture_can_be_drawn_of_perfect_and_of_hopeless_runs(
    percent: bool, tmp_path: Path
) -> None:
    perfect = result("perfect", validation=[[1.0], [0.0]], test=[[1.0], [0.0]])
    lost = result("lost", validation=[[math.nan], [math.nan]], test=[[math.nan]] * 2)
    comparison(perfect, lost, percent=percent).save_figure(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_json_is_strict_and_holds_what_repeating_needs() -> None:
    final_loss = np.float32([[0.1, math.nan, 0.3, 0.4, math.inf]])
    odd = result("odd", validation=[NEAR], test=[NEAR], final_loss=final_loss)
    c = comparison(
        *three().results,
        odd,
        target=0.96,
        references=(Reference("r", 0.5, 0.25, "Model()"),),
        details={"split_seed": 3},
        environment=environment(),
    )
    found = strict(to_json(c))
    assert found["complete"] is True
    assert found["training"] == {
        "seeds": [0, 1, 2, 3, 4], "steps": 10, "batch_size": 4, "evaluate_every": 1,
    }  # fmt: skip
    assert found["task"]["details"] == {"split_seed": 3}
    assert found["task"]["examples"] == {"train": 20, "validation": 10, "test": 10}
    for package in ("python", "gradxform", "jax", "optax", "numpy", "scikit-learn", "scipy"):
        assert found["environment"]["versions"][package][0].isdigit()
    assert found["ranking"]["names"] == ["best", "near", "worse", "odd"]
    verdicts = found["ranking"]["verdicts"]
    assert [v["verdict"] for v in verdicts.values()] == [
        "first", "not told apart", "worse", "failed",
    ]  # fmt: skip
    assert verdicts["odd"]["failed_runs"] == 2
    assert verdicts["odd"]["worse_than_best_by"] == ["NaN", "NaN"]
    assert found["references"] == [
        {"name": "r", "recipe": "Model()", "validation": 0.5, "test": 0.25}
    ]
    by_name = {entry["name"]: entry for entry in found["candidates"]}
    entry = by_name["near"]
    assert entry["recipe"] == "sgd(learning_rate=tunable(0.1))"
    assert entry["grid"] == {"learning_rate": [0.01, 0.1, 1.0]}
    assert entry["chosen_setting"] == {"learning_rate": 0.01}
    assert entry["at_edge_of_grid"] == ["learning_rate"]
    assert entry["steps_to_target"] == [0.0, 0.0, 0.0, 0.0, "Infinity"]
    np.testing.assert_array_equal(np.float32(entry["test"]), c["near"].test)
    np.testing.assert_array_equal(np.float32(entry["validation"]), c["near"].validation)
    assert by_name["odd"]["final_train_loss"] == [[0.1, "NaN", 0.3, 0.4, "Infinity"]]
    assert by_name["odd"]["diverged"] == [[False, True, False, False, True]]


def test_the_json_replaces_what_was_there_in_one_move(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("before")
    with pytest.raises(TypeError, match="not JSON serializable"):
        three(details={"odd": object()}).save(path)
    assert path.read_text() == "before"
    unfinished = three(planned=("worse", "best", "near", "never"))
    unfinished.save(path)
    assert strict(path.read_text())["complete"] is False
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_results_are_found_by_name() -> None:
    assert three()["near"].name == "near"
    with pytest.raises(KeyError, match="no result of `other`; finished are: worse, best, near"):
        three()["other"]
