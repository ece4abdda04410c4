"""What all pictures share: lines that can be told apart, short numbers, plain axes."""

import math
import re
from typing import TYPE_CHECKING, Any, Literal

from ..core.recipe import render
from ..core.words import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Dash = Literal["-", "--", ":", "-."]
Styles = dict[tuple[str, str], tuple[str, Dash]]  # colour and dash by run and group

# Okabe and Ito's colours, which colour-blind readers can tell apart, and two darker ones; where
# two are near each other, the dash differs.
STYLES = (
    ("#000000", "-"),
    ("#0072B2", "-"),
    ("#56B4E9", "--"),
    ("#009E73", "-"),
    ("#8C6D1F", "-."),
    ("#D55E00", "-"),
    ("#E69F00", "--"),
    ("#CC79A7", "-"),
    ("#6A2E91", "-."),
)
# Where there are few lines, the ones that are farthest apart, solid.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#8C6D1F", "#56B4E9", "#E69F00")
DASHES: tuple[Dash, ...] = ("-", "--", ":", "-.")
MARK = "#D55E00"
GREY = "0.45"


def line_style(index: int) -> tuple[str, Dash]:
    """A colour and a dash, none of which comes twice among the first 32."""
    return COLORS[index % len(COLORS)], DASHES[index // len(COLORS) % len(DASHES)]


def short(number: float) -> str:
    """A number with four digits at most: `0.001`, `3e-5`, `12,000`."""
    if 1e4 <= abs(number) < 1e7 and number == round(number):
        return f"{number:,.0f}"
    text = f"{number:.4g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def one_line(value: Any, longest: int) -> str:
    """A value as code on one line, its end cut off where it is too long."""
    text = re.sub(r"[\w.<>]*<locals>\.<lambda>", "<lambda>", render(value))
    text = text.replace(".<locals>.", ".")
    text = re.sub(r"(?<=[(\[{])\n\s*|,\n\s*(?=[)\]}])", "", text)  # as if it fitted on one line
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def label(text: str) -> str:
    """A text that matplotlib shows as it is: without formulas, and in the legend."""
    return printable(text).replace("$", r"\$").lstrip("_") or "function"


def words(name: str) -> str:
    """The name of an argument or a metric in words."""
    return name.replace("_", " ")


def clean(axes: "Axes") -> None:
    """A light grid, no box, steps with k and M for thousands and millions, short numbers."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

    def power(value: float, place: int | None) -> str:
        exponent = math.log10(value)
        is_far = not -2.5 < exponent < 3.5 and exponent == round(exponent)
        return f"1e{exponent:.0f}" if is_far else short(value)

    def between_powers(value: float, place: int | None) -> str:
        low, high = sorted(axes.get_ylim())
        shown = (2, 3, 5) if high < 10.0 * low else (2, 5) if high < 50.0 * low else ()
        return short(value) if round(value / 10.0 ** math.floor(math.log10(value))) in shown else ""

    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=(1, 2, 2.5, 5, 10)))
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_formatter(FuncFormatter(power))
        axes.yaxis.set_minor_formatter(FuncFormatter(between_powers))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
