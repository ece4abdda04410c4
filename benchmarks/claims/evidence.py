"""From numbers to a verdict: effects with intervals, tests, and rules that are fixed beforehand."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05  # of all claims together, after Holm
POWER = 0.8  # with which the smallest visible effect would have been seen
DIGITS = 6  # significant ones, of what is stored

SHARE = "of runs"  # the unit of effects whose values are 0 or 1

SHOWN, REFUTED, OPEN = "shown", "refuted", "not distinguishable"


@dataclass(frozen=True)
class Effect:
    """One comparison: a number for each seed, both sides of which had the same seed.

    Attributes:
      name: what was compared, in words.
      values: one a seed; ratios themselves where `ratio`.
      unit: of the values; empty for ratios.
      ratio: whether the values are ratios, which are averaged and tested as logarithms.
      examples: the mean over the seeds at each held-out example, where the values are means over
        the same ones: the next reader's examples will be others.
      residual: the variance of single readings that neither seed nor example explains.
    """

    name: str
    values: tuple[float, ...]
    unit: str = ""
    ratio: bool = False
    examples: tuple[float, ...] | None = None
    residual: float = 0.0

    @classmethod
    def of_readings(cls, name: str, readings: np.ndarray, unit: str) -> "Effect":
        """The effect whose readings are [seed, example]."""
        readings = np.asarray(readings, np.float64)
        seeds, examples = readings.mean(axis=1), readings.mean(axis=0)
        rest = readings - seeds[:, None] - examples[None, :] + readings.mean()
        degrees = max((readings.shape[0] - 1) * (readings.shape[1] - 1), 1)
        residual = float(_rounded([np.sum(rest**2) / degrees])[0])
        return cls(name, _rounded(seeds), unit, False, _rounded(examples), residual)

    @classmethod
    def of_parts(cls, name: str, parts: Sequence[np.ndarray], unit: str) -> "Effect":
        """The mean over several data sets, the readings of each of which are [seed, example]."""
        grouped = [in_groups(part, 64) for part in parts]
        overall = np.mean([part.mean() for part in grouped])
        # The data sets are given, not drawn: how they differ is no part of the error.
        centered = [part - part.mean() + overall for part in grouped]
        return cls.of_readings(name, np.concatenate(centered, axis=1), unit)

    @classmethod
    def of_seeds(
        cls, name: str, values: Sequence[float], unit: str = "", *, ratio: bool = False
    ) -> "Effect":
        """The effect with one value a seed."""
        return cls(name, _rounded(values), unit, ratio)


class Summary(NamedTuple):
    """An effect in numbers; of ratios all but the p-values are ratios."""

    mean: float
    low: float  # of the 95 % interval
    high: float
    error: float  # standard error; of the logarithm for ratios
    p: float  # two-sided, of no effect
    wilcoxon: float  # the signed-rank test over seeds, which assumes no distribution
    bootstrap: tuple[float, float]  # the 95 % interval by resampling seeds
    visible: float  # the smallest effect that would have been seen with 80 % probability


@dataclass(frozen=True)
class Rule:
    """When a claim counts as shown, decided before the run.

    Attributes:
      kind: "more": the effect is above 0 (a ratio above 1) and at least `margin`; "differs": the
        same in either direction; "same": it lies within `margin` of 0; "mostly": the share of
        seeds is above `margin`; "at_most": a number without chance is at most `margin`.
      margin: the smallest effect that would matter, in the effect's unit.
    """

    kind: Literal["more", "differs", "same", "mostly", "at_most"]
    margin: float

    def statement(self, unit: str) -> str:
        """The rule in words."""
        size = f"{self.margin:g} {unit}".strip()
        return {
            "more": f"shown: p < {LEVEL} and an effect of at least {size}; "
            f"refuted: the interval lies below {size}",
            "differs": f"shown: p < {LEVEL} and at least {size} either way; "
            f"refuted: the interval lies within ±{size}",
            "same": f"shown: p < {LEVEL} for a difference of less than {size}; "
            "refuted: the interval lies outside",
            "mostly": f"shown: p < {LEVEL} for a share above {size}; "
            f"refuted: the interval lies below {size}",
            "at_most": f"shown: at most {size}; refuted: more",
        }[self.kind]


def in_groups(readings: np.ndarray, groups: int = 128) -> np.ndarray:
    """[seed, example] as means of groups of examples: a few say as much about their variance."""
    size = max(readings.shape[1] // groups, 1)
    count = min(groups, readings.shape[1])
    return readings[:, : count * size].reshape(len(readings), count, size).mean(axis=-1)


def summarize(effect: Effect, rule: Rule | None = None) -> Summary:
    """Mean, interval and tests of an effect.

    The standard error counts what would change with other seeds and, where the readings at single
    examples are there, what would change with other held-out examples: the variance of a mean of
    a table with two random margins.
    """
    if effect.unit == SHARE:
        return _share(effect, rule.margin if rule is not None else 0.5)
    values = np.log(effect.values) if effect.ratio else np.array(effect.values)
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        mean = math.exp(mean) if effect.ratio else mean
        return Summary(mean, mean, mean, 0.0, math.nan, math.nan, (mean, mean), 0.0)
    variance = float(np.var(values, ddof=1)) / count
    if effect.examples is not None:
        other = float(np.var(effect.examples, ddof=1)) / len(effect.examples)
        both = effect.residual / (count * len(effect.examples))  # is part of either
        variance = max(variance, other, variance + other - both)
    error = math.sqrt(variance)
    t = stats.t(count - 1)
    half = float(t.ppf(0.975)) * error
    visible = float(t.ppf(0.975) + t.ppf(POWER)) * error
    p = 2.0 * float(t.sf(abs(mean) / error)) if error > 0 else float(mean == 0)
    numbers = [mean, mean - half, mean + half, *_bootstrap(values), visible]
    if effect.ratio:
        numbers = [math.exp(number) for number in numbers]
    mean, low, high, first, last, visible = numbers
    return Summary(mean, low, high, error, p, _wilcoxon(values), (first, last), visible)


def p_value(rule: Rule, effect: Effect) -> float | None:
    """The p-value that a rule asks for; None where nothing is left to chance."""
    if rule.kind == "at_most":
        return None
    summary = summarize(effect, rule)
    if rule.kind == "same":  # two one-sided tests of a difference as large as the margin
        middle = math.log(summary.mean) if effect.ratio else summary.mean
        margin = math.log(rule.margin) if effect.ratio else rule.margin
        if summary.error == 0:
            return float(abs(middle) >= margin)
        return float(stats.t(len(effect.values) - 1).sf((margin - abs(middle)) / summary.error))
    return summary.p


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm's adjusted p-values: below a level with a chance of any error below that level."""
    order = sorted((p, name) for name, p in p_values.items() if p is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    largest = 0.0
    for position, (p, name) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - position)))
        adjusted[name] = largest
    return adjusted


def verdict(rule: Rule, effect: Effect, adjusted: float | None) -> str:
    """What a rule says of an effect, given its p-value adjusted over all claims."""
    found = summarize(effect, rule)
    if rule.kind == "at_most":
        return SHOWN if found.mean <= rule.margin else REFUTED
    assert adjusted is not None
    real = adjusted < LEVEL
    sides = (found.mean, found.low, found.high, rule.margin)
    mean, low, high, margin = (math.log(x) for x in sides) if effect.ratio else sides
    shown, refuted = {
        "more": (mean >= margin, high < margin),
        "differs": (abs(mean) >= margin, max(abs(low), abs(high)) < margin),
        "same": (abs(mean) < margin, low > margin or high < -margin),
        "mostly": (mean > margin, high < margin),
    }[rule.kind]
    return SHOWN if shown and real else REFUTED if refuted else OPEN


def shown_value(number: float, effect: Effect) -> str:
    """A number of an effect, as tables show it."""
    if effect.ratio:
        return f"{number:.3g} x"
    if effect.unit == SHARE:
        return f"{number:.2f}"
    return f"{number:+.2f}" if effect.unit == "points" else f"{number:+.3f}"


def to_json(effect: Effect) -> dict[str, Any]:
    """What is stored of an effect."""
    stored = {
        "name": effect.name,
        "values": list(effect.values),
        "unit": effect.unit,
        "ratio": effect.ratio,
    }
    if effect.examples is not None:
        stored |= {"examples": list(effect.examples), "residual": effect.residual}
    return stored


def from_json(stored: Mapping[str, Any]) -> Effect:
    """The effect that was stored."""
    examples = stored.get("examples")
    return Effect(
        stored["name"],
        tuple(stored["values"]),
        stored["unit"],
        stored["ratio"],
        None if examples is None else tuple(examples),
        stored.get("residual", 0.0),
    )


def _share(effect: Effect, bound: float) -> Summary:
    count, total = int(sum(effect.values)), len(effect.values)
    test = stats.binomtest(count, total, bound, alternative="two-sided")
    interval = stats.binomtest(count, total).proportion_ci(method="wilson")
    error = math.sqrt(bound * (1 - bound) / total)
    visible = bound + float(stats.norm.ppf(0.975) + stats.norm.ppf(POWER)) * error
    return Summary(
        count / total, float(interval.low), float(interval.high), error, float(test.pvalue),
        math.nan, (float(interval.low), float(interval.high)), min(visible, 1.0),
    )  # fmt: skip


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _wilcoxon(values: np.ndarray) -> float:
    return float(stats.wilcoxon(values).pvalue) if np.any(values) else 1.0


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(float(f"{value:.{DIGITS}g}") for value in np.asarray(values, np.float64))
