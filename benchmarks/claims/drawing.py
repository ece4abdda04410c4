"""A claim's picture: the curves of its sides, and its effects with their intervals."""

import io
import textwrap
from typing import Any

import evidence
import matplotlib as mpl
from evidence import Effect
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from page import Row, effects_of, panel_of, rule_of

# Okabe and Ito's colours, told apart by all eyes.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKED = "#0072B2"
WORDS = 46  # characters in a line of an effect's name
MOST = 6  # effects in a picture


def draw(row: Row) -> Figure:
    """Left the curves, with a standard error on both sides; right the effects of one unit.

    The band on the right is what the rule calls too small to matter.

    Args:
      row: a stored row.
    """
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8.0, max(2.6, 0.7 + 0.4 * len(_drawn(row)))), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
        _curves(left, row)
        _effects(right, row)
        return figure


def png(figure: Figure, colors: int = 128) -> bytes:
    """The figure as a small PNG with few colours."""
    from PIL import Image

    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, dpi=96, format="png")
    image = Image.open(raw).convert("RGB").quantize(colors, dither=Image.Dither.NONE)
    image.save(small, format="png", optimize=True)
    return small.getvalue()


def _curves(axes: Axes, row: Row) -> None:
    panel = panel_of(row)
    for color, line in zip(COLORS, panel.lines, strict=False):
        dots: dict[str, Any] = {"marker": "o", "markersize": 3} if len(line.x) < 12 else {}
        axes.plot(line.x, line.y, color=color, linewidth=1.3, label=line.label, **dots)
        low = [y - e for y, e in zip(line.y, line.error, strict=True)]
        high = [y + e for y, e in zip(line.y, line.error, strict=True)]
        axes.fill_between(line.x, low, high, color=color, alpha=0.2, linewidth=0)
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    axes.set_title(panel.title, loc="left", fontsize=8)
    if panel.logx:
        axes.set_xscale("log")
    if panel.logy:
        axes.set_yscale("log")
    if panel.xlabel in ("step", "epoch") and not panel.logx:  # not the fall from chance
        late = [y for line in panel.lines for y in line.y[len(line.y) // 5 :]]
        pad = 0.05 * (max(late) - min(late))
        if panel.logy:
            axes.set_ylim(0.9 * min(late), 1.1 * max(late))
        else:
            axes.set_ylim(min(late) - pad, max(late) + pad)
    axes.legend(frameon=False, fontsize=6.5, ncols=2 if len(panel.lines) > 4 else 1)


def _effects(axes: Axes, row: Row) -> None:
    effects, rule, shown = effects_of(row), rule_of(row), _drawn(row)
    kind = shown[0]
    for place, effect in enumerate(shown):
        main = effect == effects[0]
        found = evidence.summarize(effect, rule if main else None)
        whisker = [[found.mean - found.low], [found.high - found.mean]]
        axes.errorbar(
            [found.mean], [place], xerr=whisker, fmt="o" if main else "D",
            color=MARKED if main else "0.45", capsize=3, markersize=5 if main else 3.5,
        )  # fmt: skip
    if kind == effects[0] and rule.kind != "mostly":
        none = 1.0 if kind.ratio else 0.0
        below = {"differs": -rule.margin, "same": -rule.margin}.get(rule.kind, none)
        if kind.ratio and rule.kind == "same":
            below = 1 / rule.margin
        axes.axvspan(below, rule.margin, color="0.9", zorder=0)
    if kind.ratio:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        low, high = axes.get_xlim()
        ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if low <= t <= high]
        axes.xaxis.set_major_locator(mpl.ticker.FixedLocator(ticks))
    none = 1.0 if kind.ratio else 0.5 if kind.unit == evidence.SHARE else 0.0
    axes.axvline(none, color="0.35", linewidth=0.8)
    names = ["\n".join(textwrap.wrap(effect.name, WORDS)) for effect in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=6)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel("times" if kind.ratio else kind.unit)


def _drawn(row: Row) -> list[Effect]:
    """The effects of one unit that have an interval, the rule's first."""
    effects = [effect for effect in effects_of(row) if len(effect.values) > 1]
    return [effect for effect in effects if _kind(effect) == _kind(effects[0])][:MOST]


def _kind(effect: Effect) -> tuple[str, bool]:
    return effect.unit, effect.ratio
