"""matplotlib's figures as SVG for a page: in the page's font and colours, light or dark."""

import html
import io
import re
from typing import TYPE_CHECKING, Any

from ..core.words import printable
from ..inspection.drawing import STYLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The colours of the lines by the variables of the page's style that stand for them.
COLORS = {color: f"var(--line-{i})" for i, (color, _) in enumerate(STYLES)}


def svg(figure: "Figure", label: str) -> str:
    """A figure as one `<svg>` element to be put into a page.

    Args:
      figure: what to draw; it gets no background.
      label: what the picture shows, in a sentence, for those who cannot see it.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": label}
    with mpl.rc_context(settings):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    box = re.search(r'viewBox="([^"]*)"', text)
    start = text.index("<defs>")
    assert box is not None
    body = text[start : text.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # names that another picture has, too
    body = re.sub(r"font: [^;\"]*px [^;\"]*", _font, body)
    body = re.sub(r"#[0-9a-f]{6}", lambda found: _color(found[0]), body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    label = html.escape(printable(label))
    return f'<svg class="gx-plot" viewBox="{box[1]}" role="img" aria-label="{label}">{body}</svg>'


def _font(found: "re.Match[str]") -> str:
    """The size alone; the page has the rest."""
    size = re.search(r"([\d.]+)px", found[0])
    assert size is not None
    return f"font-size: {size[1]}px"


def _color(color: str) -> str:
    """A variable of the page for a line's colour; greys are mixed into the page's own ink."""
    named = {line.lower(): variable for line, variable in COLORS.items()}
    if color in named:
        return named[color]
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    if red == green == blue:
        return f"color-mix(in srgb, currentColor {100 - round(red / 2.55)}%, transparent)"
    return color
