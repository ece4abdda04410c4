"""What the pictures of a comparison are made of: curves, profiles over a hyperparameter, scales."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..inspection.drawing import STYLES, label, short
from . import statistics
from .report import setting_text
from .runs import CandidateResult, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPAN = 1.15  # a learning curve's points are the means over steps within this ratio
Style = dict[str, Any]
_BACKDROP = "0.8"
_PERCENT_TICKS = (0, 50, 80, 90, 95, 97, 98, 99, 99.5, 99.8, 99.9)


def styles(outcome: Outcome) -> dict[str, Style]:
    """Colour and dash by name; of more candidates than anyone can tell apart, those of the best."""
    c = outcome
    crowded = len(c.results) > len(STYLES)
    shown = [r for r in c.results if not crowded or r in c.ranking[: len(STYLES)]]
    return {
        result.name: {"color": color, "linestyle": dash, "linewidth": 1.6}
        for result, (color, dash) in zip(shown, STYLES, strict=False)
    }


def draw_curves(axes: "Axes", outcome: Outcome) -> None:
    """The validation metric while training, of each candidate at its chosen setting."""
    named = styles(outcome)
    for result in outcome.results:
        steps, means = _curve(result, outcome)
        if style := named.get(result.name):
            text = label(f"{result.name} ({setting_text(result.chosen_setting)})")
            _draw_band(axes, steps, means, style, label=text)
        else:
            axes.plot(steps, _mean(means), color=_BACKDROP, linewidth=1.0, zorder=0.5)
    axes.set(xscale="log", xlabel=f"training steps (averaged within {SPAN - 1:.0%})")
    _plain_numbers(axes)


def draw_profiles(axes: "Axes", outcome: Outcome, key: str) -> None:
    """The validation metric at the end against a hyperparameter, of all candidates that vary it."""
    for result in outcome.results:
        if result.name in (named := styles(outcome)) and key in result.candidate.grid:
            draw_profile(axes, outcome, result, named[result.name], key)
    over(axes, key)


def over(axes: "Axes", key: str) -> None:
    """The axis of a hyperparameter."""
    low = min((float(np.min(line.get_xdata())) for line in axes.lines), default=1.0)
    axes.set(xscale="log" if low > 0.0 else "linear", xlabel=label(words(key)))
    _plain_numbers(axes)


def draw_profile(
    axes: "Axes", outcome: Outcome, result: CandidateResult, style: Style, key: str
) -> None:
    """One candidate's metric at the end against a hyperparameter, the best of the other names."""
    final = _scaled(result.final_validation, outcome)
    values = np.array(result.candidate.grid[key])
    better = -final if outcome.lower_is_better else final
    best = []
    for value in values:
        among = [i for i, setting in enumerate(result.settings) if setting[key] == value]
        means = np.nan_to_num([np.mean(better[i]) for i in among], nan=-math.inf)
        is_chosen = result.chosen in among
        best.append(result.chosen if is_chosen else among[int(np.argmax(means))])
    _draw_band(axes, values, final[best], style, marker="o", markersize=3)
    axes.plot(
        result.chosen_setting[key],
        _mean(final[result.chosen]),
        color=style["color"],
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgewidth=1.8,
        zorder=5,
    )
    # Runs that broke have no place on the scale; a cross at its edge says that they were tried.
    lost = values[~np.isfinite(_mean(final[best]))]
    edge = 0.97 if outcome.lower_is_better else 0.03
    place = axes.get_xaxis_transform()
    if len(lost):
        color = style["color"]
        axes.plot(lost, np.full(len(lost), edge), "x", color=color, transform=place, zorder=4)


def draw_trials(
    axes: "Axes", outcome: Outcome, trials: Sequence[Mapping[str, Any]], style: Style, key: str
) -> None:
    """The trials of a search: what each reached against a hyperparameter, longer ones darker."""
    shown = [t for t in trials if key in t["setting"]]
    longest = max((t.get("steps", 1) for t in shown), default=1)
    for trial in shown:
        axes.plot(
            trial["setting"][key],
            _scaled(np.asarray(float(trial["score"])), outcome),
            marker="o",
            markersize=3.5,
            color=style["color"],
            alpha=0.25 + 0.6 * trial.get("steps", 1) / longest,
            linestyle="none",
            zorder=2,
        )


def draw_references(axes: "Axes", outcome: Outcome, *, named: bool) -> None:
    """What other methods reach, as lines."""
    for reference in outcome.references:
        height = float(_scaled(np.asarray(reference.validation), outcome))
        axes.axhline(height, color="0.5", linewidth=1, linestyle=":")
        if named:
            axes.annotate(
                label(reference.name),
                (0.01, height),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2),
                textcoords="offset points",
                color="0.35",
                fontsize="small",
            )


def scale(axes: "Axes", outcome: Outcome) -> None:
    """The axis of the metric: by the errors where it is a share, else the range of the curves."""
    if outcome.percent:
        _scale_by_errors(axes, outcome)
    else:
        _scale_by_curves(axes, outcome)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def metric_label(outcome: Outcome) -> str:
    """What stands at the axis of the metric."""
    return f"validation {label(outcome.metric_name)}{' (%)' if outcome.percent else ''}"


def words(key: str) -> str:
    """A hyperparameter in words."""
    return key.replace("_", " ")


def _curve(result: CandidateResult, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    # A logarithmic axis has no place for step 0, where all are equal, and hundreds of points at
    # its end, where they would hide one another.
    values = _scaled(result.validation[result.chosen].T, outcome)
    spans = _spans(result.evaluated[1:])
    with np.errstate(invalid="ignore"):
        steps, means = (
            np.array([np.mean(series[1:][span], axis=0) for span in spans])
            for series in (result.evaluated, values)
        )
    return steps, means


def _spans(steps: np.ndarray) -> list[slice]:
    """Neighbouring places whose steps are within `SPAN` of the first of them."""
    spans, first = [], 0
    for i in range(1, len(steps) + 1):
        if i == len(steps) or steps[i] > steps[first] * SPAN:
            spans.append(slice(first, i))
            first = i
    return spans


def _draw_band(axes: "Axes", x: np.ndarray, values: np.ndarray, style: Style, **line: Any) -> None:
    """The mean over the last axis of `values`, and one standard error on both sides of it."""
    mean, error = _mean(values), statistics.standard_error(values)
    axes.plot(x, mean, **style, **line)
    if np.isfinite(error).any():
        axes.fill_between(x, mean - error, mean + error, color=style["color"], alpha=0.15, lw=0)


def _mean(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # infinities of both signs
        mean = np.asarray(np.mean(values, axis=-1, dtype=np.float64))
    return np.where(np.isfinite(mean), mean, math.nan)


def _scaled(values: np.ndarray, outcome: Outcome) -> np.ndarray:
    return np.asarray(values, np.float64) * (100.0 if outcome.percent else 1.0)


def _plain_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter

    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _scale_by_curves(axes: "Axes", outcome: Outcome) -> None:
    """From where the chosen runs begin to the best; what is worse is cut off, not made small."""
    curves = [_mean(_curve(result, outcome)[1]) for result in outcome.results]
    ends = [_mean(_scaled(r.final_validation, outcome))[r.chosen] for r in outcome.results]
    others = [r.validation for r in outcome.references]
    values = np.concatenate([*curves, ends, others])
    starts = [float(_mean(_scaled(r.validation[r.chosen, :, 0], outcome))) for r in outcome.results]
    low, high = np.min(values, initial=math.inf, where=np.isfinite(values)), math.nan
    high = np.max(values, initial=-math.inf, where=np.isfinite(values))
    start = starts[0]
    if math.isfinite(start) and outcome.lower_is_better:
        high = min(high, start)
    elif math.isfinite(start):
        low = max(low, start)
    if not low < high:
        return
    if low > 0 and high > 50 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
    else:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _scale_by_errors(axes: "Axes", outcome: Outcome) -> None:
    """Make equal distances equal ratios of the errors, from 100 % of them to beyond the best."""
    lower = outcome.lower_is_better
    finals = [np.ravel(r.final_validation) for r in outcome.results]
    shares = np.concatenate([*finals, [r.validation for r in outcome.references]])
    errors = shares if lower else 1.0 - shares
    fewest = float(np.min(errors, initial=1.0, where=np.isfinite(errors)))
    # Half of the fewest errors, or half an example where there is none.
    least = 50.0 * max(fewest, 1.0 / outcome.sizes["validation"])

    def error(y: np.ndarray) -> np.ndarray:
        return np.maximum(y if lower else 100.0 - y, least / 2)

    def height(y: np.ndarray) -> np.ndarray:
        return np.log10(error(y)) if lower else -np.log10(error(y))

    def value(height: np.ndarray) -> np.ndarray:
        height = np.asarray(height)
        return 10.0**height if lower else 100.0 - 10.0**-height

    axes.set_yscale("function", functions=(height, value))
    axes.set_ylim(*((least, 100.0) if lower else (0.0, 100.0 - least)))
    ticks = [t for t in _PERCENT_TICKS if t < 100.0 - least]
    ticks = [round(100.0 - t, 1) for t in ticks] if lower else ticks
    axes.set_yticks(ticks)
    axes.set_yticklabels([f"{tick:g}" for tick in ticks])
