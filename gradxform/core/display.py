"""How values are shown in notebooks: as HTML, by a function that stands above this layer."""

import functools
import html
from typing import Any

from .recipe import Recipe, render


@functools.singledispatch
def as_html(value: Any) -> str:
    """`value` as HTML: its code. `inspection.html` registers a table for what has a recipe."""
    return f"<pre>{html.escape(render(value))}</pre>"


class Displayed:
    """What prints as the call that built it, and is shown in notebooks as HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        # JAX fills a transformation's places with whatever it maps to; that has no recipe.
        is_built = isinstance(getattr(self, "recipe", None), Recipe)
        return as_html(self) if is_built else None
