"""Legends: above the axes or beside their title, where no line can be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .drawing import DASHES, GREY, Styles, label, line_style, words

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def legend_above(axes: "Axes", handles: Sequence["Line2D"]) -> int:
    """A legend where no line can be, above the axes; returns how many rows it has."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(3, 84 // (longest + 6)))
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        frameon=False,
        fontsize="small",
    )
    return -(-len(handles) // columns)


def lines_of(quantities: list[str], of_one_series: bool, series: int) -> "list[Artist]":
    """Lines for the legend of a panel: of colours, or of dashes where colours are taken."""
    from matplotlib.lines import Line2D

    if len(quantities) == 1:
        return []
    ends = {name.rpartition("_")[2] for name in quantities}
    ending = f"_{ends.pop()}" if len(ends) == 1 else ""
    lines: list[Artist] = []
    for place, name in enumerate(quantities):
        color, dash = line_style(max(series - 1, 0) + place if place else 0)
        if not of_one_series:
            color, dash = GREY, DASHES[place % len(DASHES)]
        text = label(words(name.removesuffix(ending)))
        lines.append(Line2D([], [], color=color, linestyle=dash, label=text))
    return lines


def legend_of_panel(ax: "Axes", handles: "list[Artist]", *, inside: bool) -> None:
    """A legend above the axes, beside the title; or inside, where there may be no room above."""
    beside_title = {
        "loc": "lower right",
        "bbox_to_anchor": (1.0, 0.98),
        "ncols": len(handles),
        "frameon": False,
        "borderaxespad": 0.1,
    }
    place: dict[str, Any] = {"loc": "upper right"} if inside else beside_title
    ax.legend(handles=handles, fontsize="small", handlelength=1.4, columnspacing=1.0, **place)


def lines_of_series(styles: Styles) -> "list[Artist]":
    """Lines for a legend of the runs and groups."""
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [], [], color=color, linestyle=dash, label=label("/".join(filter(None, key)) or "all")
        )
        for key, (color, dash) in styles.items()
    ]
