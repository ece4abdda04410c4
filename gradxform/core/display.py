"""How values are shown in notebooks: as HTML, by a function that stands above this layer."""

from .public import public
from .recipe import Recipe


class Displayed:
    """What prints as the call that built it, and is shown in notebooks as HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        # JAX fills a transformation's places with whatever it maps to; that has no recipe.
        is_built = isinstance(getattr(self, "recipe", None), Recipe)
        return str(public("to_html")(self)) if is_built else None
