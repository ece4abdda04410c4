"""A jitted step that donates, and says what is wrong with what it was given.

What a call costs when it succeeds is one more call of a Python function.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import check
from ..core.meant import GIVEN_AWAY


class DonatingStep:
    """What `jax.jit` returned, with its attributes, and with errors about donated arrays in words.

    JAX changes the arrays of the donated arguments in place. It finds an array that is gone, or
    that stands in two places, only when the program runs, and names it by a number.

    Attributes:
      call: the step as its user writes it, such as `step(state, batch)`.
      names: the names of its arguments.
      donated: how many of them are donated, from the first on.
    """

    def __init__(
        self, jitted: Callable[..., Any], call: str, names: tuple[str, ...], donated: int
    ) -> None:
        functools.update_wrapper(self, jitted)
        self._jitted = jitted
        self.call, self.names, self.donated = call, names, donated

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The step."""
        try:
            return self._jitted(*args, **kwargs)
        except (RuntimeError, ValueError):
            wrong = self._wrong(args, kwargs)
            if not wrong:
                raise
            raise ValueError(f"`{self.call}`: {wrong}") from None
        except TypeError:
            given = (*args, *(name for name in self.names if name in kwargs))
            if len(given) == len(self.names):
                raise
            raise TypeError(
                f"`{self.call}` takes {' and '.join(f'`{name}`' for name in self.names)}; it was "
                f"given {len(args)} by position. All else goes by keyword."
            ) from None

    def __getattr__(self, name: str) -> Any:
        # `lower`, `trace`, `eval_shape` and what else JAX gives to a jitted function.
        if "_jitted" not in self.__dict__:  # while a copy is made
            raise AttributeError(name)
        return getattr(self._jitted, name)

    def __repr__(self) -> str:
        return repr(self._jitted)

    def _wrong(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """What is wrong with the arrays; "" where nothing is."""
        places: dict[int, str] = {}
        for name, tree in {**dict(zip(self.names, args, strict=False)), **kwargs}.items():
            for path, x in tree_flatten_with_path(tree)[0]:
                if not isinstance(x, jax.Array) or check.is_traced(x):
                    continue
                place = f"`{name}{keystr(path)}`"
                if x.is_deleted():
                    return f"{place} is gone. {GIVEN_AWAY}"
                if id(x) in places and self._is_donated(places[id(x)], name):
                    return (
                        f"{places[id(x)]} and {place} are the same array, and one array cannot be "
                        "changed in place and be read, or changed, elsewhere. Pass a copy: "
                        "`jnp.copy(x)`, or `jax.tree.map(jnp.copy, tree)`."
                    )
                places.setdefault(id(x), place)
        return ""

    def _is_donated(self, place: str, name: str) -> bool:
        donated = self.names[: self.donated]
        return name in donated or any(place.startswith(f"`{other}") for other in donated)
