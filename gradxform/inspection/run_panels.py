"""A training run as a picture: losses, learning rates, norms and ratios over the steps."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core import check
from ..core.extra import require_extra
from .drawing import DASHES, GREY, MARK, Styles, clean, label, line_style, words
from .legends import legend_of_panel, lines_of, lines_of_series
from .runs import Curve, curves_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

HEALTHY_RATIO = 1e-3  # |update| / |parameters|
_FLAGS = ("step", "last_skipped", "emitted")  # which steps they were, nothing to draw
_SKIPPED = "skipped_steps"


# The panels, and what is in them, from the first to the last.
_ORDER = (
    "loss",
    "learning_rate",
    "norms",
    "gradient_norm",
    "clipped_norm",
    "update_norm",
    "param_norm",
    "update_ratio",
    "fractions",
    "update_cosine",
)


class _Panel(NamedTuple):
    """One pair of axes: some quantities of all runs and groups."""

    name: str
    curves: list[Curve]

    @property
    def quantities(self) -> list[str]:
        """The names of what is drawn, what lies below others first."""
        names = list(dict.fromkeys(curve.name for curve in self.curves))
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))

    @property
    def is_logarithmic(self) -> bool:
        """Whether the values are positive and of different orders."""
        values = np.concatenate([curve.values for curve in self.curves])
        values = values[np.isfinite(values)]
        is_norm = self.name.endswith(("norm", "norms", "update_ratio"))
        if is_norm:  # 0 before the first measurement, and where a step was skipped
            values = values[values > 0]
        if self.name == "update_ratio" or not len(values):
            return bool(len(values))
        times = 4.0 if is_norm else 20.0 if self.name == "loss" else 1000.0
        return bool(values.min() > 0 and values.max() > times * values.min())


def plot_run(metrics: Any, axes: "Mapping[str, Axes] | None" = None) -> "dict[str, Axes]":
    """Draw what was logged of a training: losses, learning rates, norms, ratios and fractions.

        history = []
        for batch in batches:
            params, state, loss = step(params, state, batch)
            history.append({"loss": loss, **metrics(state)})
        plot_run(history)["loss"].set_yscale("log")

    The groups of a quantity are drawn together, in the same colours everywhere, as are several
    runs. Small bars below the curves are steps that were skipped, crosses above them values that
    were infinite or NaN. The dotted line among the ratios of update and parameters is at 1e-3,
    about where most trainings that do well are.

    Args:
      metrics: what was logged, in one of three forms: a list of dicts from names to numbers, which
        need not all hold the same names; a dict from names to curves, as `lax.scan` stacks them;
        or a dict from the names of several runs to these. `step` is the horizontal axis, by
        default the place in the list. Names with `loss` in them share their axes.
      axes: matplotlib axes to draw into, by the name of the panel, such as
        `pyplot.subplot_mosaic([["loss", "update_ratio"]])[1]`; other panels are left out. By
        default those of a new figure of pyplot, one for each panel.

    Returns:
      The axes by the names of the panels: `loss`, `learning_rate`, `norms`, `update_ratio`,
      `fractions`, `update_cosine`, and whatever else was logged under its own name. Where there
      are groups or several runs, each norm has a panel of its own.

    Raises:
      ImportError: matplotlib is not installed; `pip install "gradxform[plot]"` brings it.
      ValueError: what was logged cannot be drawn.
    """
    require_extra("plot", "matplotlib")
    with check.calling("plot_run(...)"):
        curves = curves_of(metrics)
        drawn = [curve for curve in curves if curve.name not in (*_FLAGS, _SKIPPED)]
        # What is of all parameters first.
        series = sorted({(c.run, c.group): None for c in drawn}, key=lambda key: key[1] != "")
        panels = _panels(drawn, merged=len(series) == 1)
        chosen = {panel.name: panel for panel in panels}
        check.require(len(chosen) > 0, "there are no metrics to draw.")
        is_dict = isinstance(axes, Mapping) and all(name in chosen for name in axes)
        check.require(
            axes is None or is_dict,
            "`axes` must be a dict from the names of panels to matplotlib axes; the panels of this "
            f"run are: {', '.join(chosen)}.",
        )
    figure = None
    if axes is None:
        figure, axes = _figure(list(chosen), extra=0.3 * (len(series) > 1))
    styles = {key: line_style(index) for index, key in enumerate(series)}
    skipped = [curve for curve in curves if curve.name == _SKIPPED]
    named = lines_of_series(styles) if len(series) > 1 else []
    for place, (name, ax) in enumerate(axes.items()):
        handles = _draw(ax, chosen[name], styles)
        bars = _mark_skipped(ax, skipped, styles)
        if place == 0:
            handles = [*(named if figure is None else []), *handles, *bars[:1]]
        if figure is None:
            ax.set_xlabel("step")
        if handles:
            legend_of_panel(ax, handles, inside=figure is None)
    if figure is not None and named:
        figure.legend(
            handles=named, loc="outside upper left", ncols=6, frameon=False, fontsize="small"
        )
    return dict(axes)


def _panels(curves: list[Curve], merged: bool) -> list[_Panel]:
    """What is drawn where, the usual first; norms are merged where there is one of each."""
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(_place(curve.name, merged), []).append(curve)
    order = [*(name for name in _ORDER if name in found), *(n for n in found if n not in _ORDER)]
    return [_Panel(name, found[name]) for name in order]


def _place(name: str, merged: bool) -> str:
    if "loss" in name and name != "loss_scale":
        return "loss"
    if name.endswith("_fraction"):
        return "fractions"
    return "norms" if merged and name.endswith("_norm") else name


def _figure(names: list[str], extra: float) -> "tuple[Figure, dict[str, Axes]]":
    """Axes in two columns, or three for many, with the steps below each column."""
    from matplotlib import pyplot

    columns = 1 if len(names) == 1 else 2 if len(names) <= 6 else 3
    rows = -(-len(names) // columns)
    figure, grid = pyplot.subplots(
        rows,
        columns,
        sharex=True,
        squeeze=False,
        figsize=(4.6 * columns if columns > 1 else 6.4, 2.3 * rows + 0.6 + extra),
        layout="constrained",
    )
    for place, ax in enumerate(grid.flat):
        if place >= len(names):
            ax.remove()
        elif place + columns >= len(names):
            ax.set_xlabel("step")
            ax.tick_params(labelbottom=True)
    return figure, dict(zip(names, grid.flat, strict=False))


def _draw(ax: "Axes", panel: _Panel, styles: Styles) -> "list[Artist]":
    """The curves of a panel; returns what its legend says of them."""
    if panel.is_logarithmic:
        base = 2 if panel.name == "loss_scale" else 10
        ax.set_yscale("log", base=base, nonpositive="mask")
    quantities = panel.quantities
    drawn_series = {(curve.run, curve.group) for curve in panel.curves}
    handles: list[Artist] = []
    for curve in sorted(panel.curves, key=lambda curve: quantities.index(curve.name)):
        place = quantities.index(curve.name)
        color, dash = styles[curve.run, curve.group]
        if len(drawn_series) == 1 and place:
            color, dash = line_style(len(styles) - 1 + place)
        elif place:
            dash = DASHES[place % len(DASHES)]
        text = "/".join(filter(None, (curve.run, curve.group, curve.name)))
        handles += _draw_curve(ax, curve, {"color": color, "linestyle": dash, "label": label(text)})
    clean(ax)
    ax.set_title(
        words(quantities[0] if len(quantities) == 1 else panel.name), loc="left", fontsize="medium"
    )
    if panel.name == "update_ratio":
        ax.axhline(HEALTHY_RATIO, color=GREY, linestyle=":", linewidth=1.2, label="healthy")
        ax.annotate(
            "about 1e-3 is healthy",
            (0.99, HEALTHY_RATIO),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            color=GREY,
            fontsize="small",
            bbox={"facecolor": ax.get_facecolor(), "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        )
    elif panel.name == "fractions":
        ax.set_ylim(-0.04, 1.04)
    elif panel.name.endswith("_cosine"):
        ax.set_ylim(-1.08, 1.08)
    return [*lines_of(quantities, len(drawn_series) == 1, len(styles)), *handles[:1]]


def _draw_curve(ax: "Axes", curve: Curve, style: dict[str, Any]) -> "list[Line2D]":
    """A line with gaps where there is no number, and crosses above the gaps, which it returns."""
    finite = np.isfinite(curve.values)
    ax.plot(curve.steps, np.where(finite, curve.values, np.nan), linewidth=1.3, **style)
    beside = np.pad(finite, 1)
    alone = finite & ~beside[:-2] & ~beside[2:]
    marks: dict[str, Any] = {"color": style["color"], "linestyle": "", "clip_on": False}
    if alone.any():  # a line needs two points
        ax.plot(curve.steps[alone], curve.values[alone], marker=".", **marks)
    if finite.all():
        return []
    bad = curve.steps[~finite]
    marks |= {"marker": "x", "markersize": 5, "label": "not finite"}
    return ax.plot(bad, np.full(len(bad), 0.97), transform=ax.get_xaxis_transform(), **marks)


def _mark_skipped(ax: "Axes", counters: list[Curve], styles: Styles) -> "list[Artist]":
    """Bars at the bottom where a counter of skipped steps has risen."""
    drawn: list[Artist] = []
    colors = {run: color for (run, _), (color, _) in reversed(styles.items())}
    several_runs = len(colors) > 1
    for curve in counters:
        risen = curve.steps[np.diff(curve.values, prepend=0.0) > 0]
        if len(risen):
            drawn += ax.plot(
                risen,
                np.zeros(len(risen)),
                color=colors.get(curve.run, MARK) if several_runs else MARK,
                linestyle="",
                marker="|",
                markersize=8,
                markeredgewidth=1.3,
                transform=ax.get_xaxis_transform(),
                clip_on=False,
                label="skipped",
            )
    return drawn
