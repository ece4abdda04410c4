"""How sure one can be: standard errors, paired tests, and Holm's correction for many of them."""

import math
from collections.abc import Sequence

import numpy as np

from ..core.extra import require_extra

_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # metrics are computed in float32
LEVEL = 0.05  # differences are called real at 95 % confidence


def standard_error(values: np.ndarray) -> np.ndarray:
    """The standard error of the mean along the last axis; NaN for one value, which has none."""
    count = values.shape[-1]
    if count < 2:
        return np.full(values.shape[:-1], math.nan)
    with np.errstate(invalid="ignore"):
        return np.std(values, axis=-1, ddof=1, dtype=np.float64) / math.sqrt(count)


def paired_p_value(a: np.ndarray, b: np.ndarray) -> float:
    """The two-sided p-value of a paired t-test: could `a` and `b` have the same mean?

    Args:
      a: at least two values, one a seed.
      b: the values of the same seeds.

    Returns:
      A number in [0, 1]. Equal values give 1; values that differ by the same amount everywhere
      give 0, as do values that are not finite on one side only.
    """
    if np.array_equal(a, b, equal_nan=True):
        return 1.0
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    difference = a - b
    if not np.all(np.isfinite(difference)):
        return 0.0
    if np.ptp(difference) <= _ROUNDING * np.max(np.abs([a, b])):
        return 0.0
    require_extra("compare", "scipy")
    from scipy.stats import ttest_rel

    return float(ttest_rel(a, b).pvalue)


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which of several hypotheses are rejected, with a chance of any error below `level`.

    Holm's step-down: of m p-values in ascending order, the i-th (from 0) is compared with
    level / (m - i), until one is above its bound; that one and all after it stand.

    Args:
      p_values: one a hypothesis, in any order.
      level: the chance of rejecting any hypothesis that is true.

    Returns:
      True where rejected, in the order of `p_values`.

    Reference: Holm, 1979, A simple sequentially rejective multiple test procedure.
    """
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for position, i in enumerate(order):
        if p_values[i] > level / (len(p_values) - position):
            break
        rejected[i] = True
    return rejected
