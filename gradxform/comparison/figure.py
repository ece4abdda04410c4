"""A comparison as a picture: how fast each candidate learns, and how much its rate matters."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.extra import require_extra
from ..inspection.drawing import STYLES
from . import statistics
from .files import write_whole
from .report import setting_text, title
from .result import CandidateResult, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPAN = 1.15  # a learning curve's points are the means over steps within this ratio
_PERCENT_TICKS = (0, 50, 80, 90, 95, 97, 98, 99, 99.5, 99.8, 99.9)


def figure(comparison: Comparison, key: str = "learning_rate") -> "Figure":
    """Learning curves at the chosen settings, and the final metric against a hyperparameter.

    Both show the mean over seeds on the validation split, with a band of one standard error. A
    metric in percent is drawn by its distance from 100 %, on a logarithmic scale: 90 to 95 % is
    as far as 95 to 97.5 %, as both halve the errors. A point of a learning curve is the mean over
    evaluations at about the same step.

    Args:
      comparison: at least one candidate must have finished.
      key: the grid's name on the right; where other names vary too, the best of them counts.

    Returns:
      A matplotlib figure, ready for `savefig`.
    """
    require_extra("compare", "matplotlib")
    from matplotlib.figure import Figure

    c = comparison
    out = Figure(figsize=(12, 6.6), layout="constrained")
    curves, profiles = out.subplots(1, 2, sharey=True)
    scale = 100.0 if c.percent else 1.0
    crowded = len(c.results) > len(STYLES)
    shown = [r for r in c.results if not crowded or r in c.ranking[: len(STYLES)]]
    if crowded:  # more curves than anyone can tell apart: the rest is a backdrop
        for result in c.results:
            if result not in shown:
                _draw_curve(curves, result, {"color": "0.85", "linewidth": 1.0}, scale, named=False)
    for result, (color, dash) in zip(shown, STYLES, strict=False):
        style = {"color": color, "linestyle": dash, "linewidth": 1.6}
        _draw_curve(curves, result, style, scale)
        if key in result.candidate.grid:
            _draw_profile(profiles, result, style, scale, key)

    what = key.replace("_", " ")
    unit = " (%)" if c.percent else ""
    curves.set(
        title=f"While training, at the chosen {what}", ylabel=f"validation {c.metric_name}{unit}"
    )
    curves.set(xscale="log", xlabel=f"training steps (averaged within {_SPAN - 1:.0%})")
    profiles.set(
        title=f"In the last tenth of {c.steps} steps (ring: chosen)", xscale="log", xlabel=what
    )
    if c.percent:
        _scale_by_errors(curves, c)
    for axes in (curves, profiles):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        for reference in c.references:
            axes.axhline(scale * reference.validation, color="0.5", linewidth=1, linestyle=":")
    for reference in c.references:
        curves.annotate(
            reference.name,
            (0.01, scale * reference.validation),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            color="0.35",
            fontsize="small",
        )
    handles, labels = curves.get_legend_handles_labels()
    columns = min(len(labels), 5)
    out.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    band = "band: ± 1 standard error" if len(c.seeds) > 1 else "one seed proves nothing"
    if crowded:
        band += f"; the best {len(shown)} of {len(c.results)} in colour"
    out.suptitle(f"Optimizers on {title(c)} ({band})")
    return out


def save_figure(comparison: Comparison, path: str | Path) -> None:
    """Write `figure` to a PNG file, whole or not at all."""
    picture = figure(comparison)
    write_whole(path, lambda part: picture.savefig(part, dpi=150, format="png"))


def _draw_curve(
    axes: "Axes", result: CandidateResult, style: dict[str, Any], scale: float, named: bool = True
) -> None:
    values = scale * result.validation[result.chosen].T
    label = f"{result.name} ({setting_text(result.chosen_setting)})"
    # A logarithmic axis has no place for step 0, where all are equal, and hundreds of points at
    # its end, where they would hide one another.
    spans = _spans(result.evaluated[1:])
    steps, means = (
        np.array([np.mean(series[1:][span], axis=0) for span in spans])
        for series in (result.evaluated, values)
    )
    if named:
        _draw_band(axes, steps, means, style, label=label)
    else:
        axes.plot(steps, np.mean(means, axis=-1), **style, zorder=0.5)


def _spans(steps: np.ndarray) -> list[slice]:
    """Neighbouring places whose steps are within `_SPAN` of the first of them."""
    spans, first = [], 0
    for i in range(1, len(steps) + 1):
        if i == len(steps) or steps[i] > steps[first] * _SPAN:
            spans.append(slice(first, i))
            first = i
    return spans


def _draw_profile(
    axes: "Axes", result: CandidateResult, style: dict[str, Any], scale: float, key: str
) -> None:
    final = scale * result.final_validation
    values = np.array(result.candidate.grid[key])
    best = []
    for value in values:
        among = [i for i, setting in enumerate(result.settings) if setting[key] == value]
        is_chosen = result.chosen in among
        best.append(result.chosen if is_chosen else max(among, key=lambda i: np.mean(final[i])))
    _draw_band(axes, values, final[best], style, marker="o", markersize=3)
    axes.plot(
        result.chosen_setting[key],
        np.mean(final[result.chosen]),
        color=style["color"],
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgewidth=1.8,
        zorder=5,
    )


def _draw_band(
    axes: "Axes", x: np.ndarray, values: np.ndarray, style: dict[str, Any], **line: Any
) -> None:
    """The mean over the last axis of `values`, and one standard error on both sides of it."""
    mean, error = np.mean(values, axis=-1), statistics.standard_error(values)
    axes.plot(x, mean, **style, **line)
    if np.isfinite(error).any():
        axes.fill_between(x, mean - error, mean + error, color=style["color"], alpha=0.15, lw=0)


def _scale_by_errors(axes: "Axes", comparison: Comparison) -> None:
    """Make equal distances equal ratios of 100 % - y, from 0 % to beyond the best."""
    results, references = comparison.results, comparison.references
    best = max(
        *(float(np.nanmax(result.final_validation, initial=0.0)) for result in results),
        *(reference.validation for reference in references),
        0.0,
    )
    # Half of the fewest errors, or half an example where there is none.
    least = 50.0 * max(1.0 - best, 1.0 / comparison.sizes["validation"])

    def height(y: np.ndarray) -> np.ndarray:
        return -np.log10(np.maximum(100.0 - y, least / 2))

    def value(height: np.ndarray) -> np.ndarray:
        return 100.0 - 10.0 ** -np.asarray(height)

    axes.set_yscale("function", functions=(height, value))
    axes.set_ylim(0.0, 100.0 - least)
    axes.set_yticks([tick for tick in _PERCENT_TICKS if tick < 100.0 - least])
    axes.set_yticklabels([f"{tick:g}" for tick in _PERCENT_TICKS if tick < 100.0 - least])
