"""Legends: above the axes or beside their title, where no line can be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .drawing import DASHES, GREY, Styles, label, line_style, words

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
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


def legend_beside_title(ax: "Axes", handles: "list[Artist]") -> None:
    """A legend above the axes, beside the title."""
    ax.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),
        ncols=len(handles),
        frameon=False,
        fontsize="small",
        handlelength=1.4,
        columnspacing=1.0,
        borderaxespad=0.1,
    )


def legend_of_series(figure: "Figure | None", ax: "Axes", styles: Styles) -> None:
    """A legend of runs and groups, above the figure where it is ours."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=color, linestyle=dash, label=label("/".join(filter(None, key)) or "all")
        )
        for key, (color, dash) in styles.items()
    ]
    if figure is None:
        before = ax.get_legend()
        ax.legend(handles=handles, fontsize="small", loc="upper right")
        if before is not None:
            ax.add_artist(before)
    else:
        figure.legend(
            handles=handles, loc="outside upper left", ncols=6, frameon=False, fontsize="small"
        )
