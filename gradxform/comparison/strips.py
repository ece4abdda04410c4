"""The test metric of each candidate on one scale: the seeds, their mean and its standard error."""

import math
from typing import NamedTuple

import numpy as np

from . import statistics
from .runs import Outcome


class Strip(NamedTuple):
    """Places between 0 and 100 on the scale that all candidates share."""

    seeds: list[float]
    mean: float
    low: float  # one standard error below the mean
    high: float
    is_cut: bool  # whether the mean lies beyond the scale's bad end


def strips(outcome: Outcome) -> list[Strip]:
    """One strip a candidate, in the order of the ranking; the better is on the right.

    A share is drawn by the logarithm of its errors, as in the figure. The scale begins where a
    tenth of the candidates are left out, so that one that failed does not press the others into
    a corner; what lies before it is drawn at its beginning.
    """
    c = outcome
    heights = [_height(np.asarray(r.scores, np.float64), c) for r in c.ranking]
    means, errors = (
        np.array([float(of(h)) for h in heights]) for of in (np.mean, statistics.standard_error)
    )
    errors = np.nan_to_num(errors, nan=0.0, posinf=0.0)
    known = np.concatenate(heights)
    known = known[np.isfinite(known)]
    if not len(known):
        return [Strip([], 0.0, 0.0, 0.0, is_cut=True) for _ in heights]
    finite = np.isfinite(means)
    bottom = float(np.quantile((means - errors)[finite], 0.1)) if finite.any() else known.min()
    inside = known[known >= bottom]
    low, high = float(min(bottom, inside.min())), float(known.max())
    span = high - low or 1.0

    def place(height: float) -> float:
        where = 100 * (0.04 + 0.92 * (height - low) / span)
        return round(min(max(where, 0.0), 100.0), 1) if math.isfinite(height) else 0.0

    return [
        Strip(
            seeds=[place(float(h)) for h in seeds],
            mean=place(float(mean)),
            low=place(float(mean - error)),
            high=place(float(mean + error)),
            is_cut=not mean >= low,
        )
        for seeds, mean, error in zip(heights, means, errors, strict=True)
    ]


def _height(values: np.ndarray, outcome: Outcome) -> np.ndarray:
    if not outcome.percent:
        return -values if outcome.lower_is_better else values
    errors = values if outcome.lower_is_better else 1.0 - values
    least = 0.5 / outcome.sizes["test"]
    height: np.ndarray = -np.log10(np.maximum(errors, least))
    return height
