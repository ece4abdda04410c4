"""Standard errors, the paired test and Holm's correction, on numbers worked by hand."""

import math
from typing import Any

import numpy as np
import pytest

from gradxform.comparison import statistics


def test_standard_errors_are_those_of_the_mean() -> None:
    # Deviations -1, 0, 1: variance 2 / (3 - 1) = 1.
    np.testing.assert_allclose(statistics.standard_error(np.array([4.0, 5.0, 6.0])), 3**-0.5)
    assert math.isnan(statistics.standard_error(np.array([5.0])))


def test_the_paired_test_on_numbers_worked_by_hand() -> None:
    # Differences 1, 2, 3: t = 2 / (1 / sqrt(3)) and, for 2 degrees of freedom,
    # p = 1 - t / sqrt(t^2 + 2).
    t = 2 * math.sqrt(3)
    p = statistics.paired_p_value(np.array([5.0, 5.0, 5.0]), np.array([4.0, 3.0, 2.0]))
    assert p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    # Pairing matters: the same numbers in another order differ by 3, 0, 3.
    other = statistics.paired_p_value(np.array([5.0, 4.0, 6.0]), np.array([2.0, 4.0, 3.0]))
    t = 2 / (math.sqrt(3) / math.sqrt(3))
    assert other == pytest.approx(1 - t / math.sqrt(t**2 + 2))


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
        ([0.9, 0.8], [0.9, 0.8], 1.0),
        ([math.nan, 0.8], [math.nan, 0.8], 1.0),
        ([0.75, 0.5], [0.5, 0.25], 0.0),
        (np.float32([349 / 360, 350 / 360]), np.float32([347 / 360, 348 / 360]), 0.0),
        ([0.9, 0.8, 0.7], [0.9, math.nan, 0.7], 0.0),
    ],
)
def test_the_paired_test_where_t_has_no_value(a: Any, b: Any, p: float) -> None:
    assert statistics.paired_p_value(np.array(a), np.array(b)) == p


def test_holm_on_numbers_worked_by_hand() -> None:
    # In order 0.005 <= 0.05/4, 0.01 <= 0.05/3, 0.03 > 0.05/2: it and 0.04 stand, though 0.04 alone
    # would be below 0.05.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert statistics.holm([0.012, 0.024, 0.049]) == [True, True, True]  # not Bonferroni
    assert statistics.holm([0.02, 0.02, 0.02]) == [False, False, False]  # not uncorrected
    assert statistics.holm([]) == []
