"""Who is worse than the best: tables worked by hand, and error and power by simulation."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gradxform.comparison.statistics import judge, resolution, share_error, standard_error

NAN = math.nan
ACCURACY = np.float32([0.95, 0.90, 0.93, 0.94, 0.91])
ULP = float(np.spacing(np.float32(0.7)))


def test_standard_errors_are_those_of_the_mean() -> None:
    # Deviations -1, 0, 1: variance 2 / (3 - 1) = 1.
    np.testing.assert_allclose(standard_error(np.array([4.0, 5.0, 6.0])), 3**-0.5)
    assert math.isnan(standard_error(np.array([5.0])))


def test_two_candidates_have_the_paired_t_interval() -> None:
    a, b = np.array([1.0, 3.0, 2.0, 5.0]), np.array([2.5, 4.0, 4.5, 7.0])
    found = judge(np.array([a, b]), lower_is_better=True)
    interval = stats.ttest_rel(b, a).confidence_interval(0.95)
    np.testing.assert_allclose([found.low[1], found.high[1]], interval)
    assert (found.low[0], found.high[0]) == (0.0, 0.0)
    # Pairing matters: in another order the same numbers say nothing.
    assert judge(np.array([a, b[::-1]]), lower_is_better=True).low[1] == 0.0


def example(*rows: Any) -> np.ndarray:
    return np.array(rows, np.float64)


@pytest.mark.parametrize(
    ("scores", "step", "worse"),
    [
        (example([0.9, 0.8, 0.7], [0.9, 0.8, 0.7]), 0.0, [False, False]),
        (example([0.9, 0.8], [0.5, 0.4]), 0.0, [None, None]),  # two seeds
        (example([0.9, 0.8, 0.7]), 0.0, [None]),
        # One test example fewer on each seed: less than the metric can show at 3 seeds.
        (example(ACCURACY[:3], ACCURACY[:3] - 1 / 360), 1 / 360, [False, False]),
        (example(ACCURACY, ACCURACY - 1 / 360), 1 / 360, [False, True]),
        (example(ACCURACY, ACCURACY - 1 / 360), 0.0, [False, True]),
        # By chance of rounding, of one sign or of both.
        (0.7 + ULP * example([0, 0, 0, 0, 0], [1, -1, 1, -1, 0]), 0.0, [False, False]),
        (0.7 + ULP * example([0, 0, 0, 0, 0], [1, 1, 1, 1, 1]), 0.0, [False, False]),
        # Roundings that add up in training: the same on each seed, and far below a run's spread.
        (example(ACCURACY, ACCURACY - 5e-6), 0.0, [False, False]),
        (example(ACCURACY, ACCURACY - 5e-4), 0.0, [False, True]),
        # A run that failed, on one side or on both, says nothing; the others are compared.
        (example([0.5, NAN, 0.6], [0.51, NAN, 0.59]), 0.0, [None, None]),
        (example([0.5, NAN, 0.6], [0.5, 0.51, 0.6], [0.1, 0.11, 0.2]), 0.0, [None, False, True]),
        (example([0.5, math.inf, 0.6], [0.5, 0.5, 0.6]), 0.0, [None, None]),
    ],
)
def test_tables_worked_by_hand(scores: np.ndarray, step: float, worse: list[Any]) -> None:
    for sign, lower in ((1, False), (-1, True)):
        found = judge(sign * scores, lower_is_better=lower, resolution=step)
        said = [None if math.isnan(low) else bool(low > 0) for low in found.low]
        assert said == worse
        assert all(np.isnan(found.high) | (found.high >= found.low))


def test_copies_count_once_and_are_judged_alike() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5))
    once, twice = judge(x), judge(x[[0, 1, 1, 2, 3, 3]])
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_array_equal(a[[0, 1, 1, 2, 3, 3]], b)


def test_who_varies_hides_nothing_however_much_it_varies() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 5))
    x[0] -= 10.0
    for times in (1e2, 1e6, 1e15):
        wild = judge(np.vstack([x, times * rng.normal(size=5)]))
        assert wild.low[0] > 0
        assert wild.varies.tolist() == [False] * 6 + [True]
    assert not judge(x).varies.any()


def test_many_tables_at_once_are_judged_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 5, 4)) * [[1.0], [1.0], [30.0], [1.0], [1.0]]
    x[0, 0, 1, 2], x[1, 1, 3] = np.nan, x[1, 1, 0]
    apart = rng.random((2, 3, 5)) < 0.1
    together = judge(x, apart=apart)
    for place in np.ndindex(2, 3):
        for many, one in zip(together, judge(x[place], apart=apart[place]), strict=True):
            np.testing.assert_allclose(many[place], one, rtol=1e-12)


def test_the_step_of_a_metric_is_found_where_it_counts_examples() -> None:
    assert resolution(np.float32([347 / 360, 1.0, NAN]), 360) == 1 / 360
    assert resolution(np.float32([0.96, 0.97]), 360) == 0.0
    assert resolution(np.float32([0.5, 0.25]), 10_000_000) == 0.0  # any number would be near one
    # Half of 100 examples wrong by the one, none by the other: sqrt(0.5 / 100).
    assert share_error(0.5, 0.0, 100) == pytest.approx(0.0707, rel=1e-3)


TABLES = 2000


def wrong(scores: np.ndarray, **how: Any) -> float:
    """The share of tables in which somebody is called worse."""
    return float(np.mean(np.any(judge(scores, **how).low > 0, axis=-1)))


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("candidates", [2, 9])
def test_the_error_of_equal_candidates_is_at_most_five_percent(candidates: int, seeds: int) -> None:
    # What 2,000 tables with an error of 5 % exceed once in 10,000 times.
    most = stats.binom.ppf(1 - 1e-4, TABLES, 0.05) / TABLES
    rng = np.random.default_rng(candidates + seeds)
    normal = rng.normal(size=(TABLES, candidates, seeds))
    assert wrong(normal) <= most
    accuracy = rng.binomial(360, 0.95, normal.shape) / 360
    assert wrong(accuracy, resolution=1 / 360) <= most
    normal[:, : candidates // 2] *= 5.0
    assert wrong(normal) <= most


def test_the_table_can_tell() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(TABLES, 9, 5))
    scores[:, 0] -= 3.0
    found = judge(scores)
    assert np.mean(found.low[:, 0] > 0) > 0.9
    # The interval holds the true difference to the best, which is 3.
    held = (found.low[:, 0] <= 3.0) & (found.high[:, 0] >= 3.0)
    assert np.mean(held) > 0.95
