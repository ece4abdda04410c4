"""The record of a call: which factory was called with which arguments.

From this record come the `repr`, the equality, the hash and the pickle of everything that the
library builds. Arguments are bound to the signature, so positional equals keyword and a default
written out equals a default left out.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from . import check

_WIDTH = 88


def written(factory: Callable[..., Any]) -> str:
    """A factory as `repr` writes it."""
    return getattr(factory, "written", factory.__name__)


class Recipe:
    """A factory and the arguments that it was called with.

    Attributes:
      factory: the public function, as users call it.
      arguments: every argument by name, defaults filled in; a copy each time.
      shown: the arguments that differ from their defaults, as `repr` writes them; copies too.
    """

    __slots__ = ("__weakref__", "_arguments", "_hash", "_key", "_shown", "factory")

    def __init__(
        self, factory: Callable[..., Any], arguments: Mapping[str, Any], shown: tuple["Shown", ...]
    ) -> None:
        self.factory = factory
        self._arguments = dict(arguments)
        self._shown = shown
        self._key: tuple[Any, ...] | None = None
        self._hash: int | None = None

    @property
    def name(self) -> str:
        """The name of the factory."""
        return self.factory.__name__

    @property
    def arguments(self) -> dict[str, Any]:
        """Every argument by name."""
        return {name: frozen(value) for name, value in self._arguments.items()}

    @property
    def shown(self) -> tuple["Shown", ...]:
        """The arguments that `repr` writes."""
        return tuple((name, frozen(value)) for name, value in self._shown)

    @property
    def key(self) -> tuple[Any, ...]:
        """What two recipes must share to be equal."""
        if self._key is None:
            self._key = (self.factory, *((n, value_key(v)) for n, v in self._arguments.items()))
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and (self is other or self.key == other.key)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.key)
        return self._hash

    def __repr__(self) -> str:
        return render(self)

    def rebuild(self) -> Any:
        """Call the factory again, with the same arguments."""
        args = [value for name, value in self.shown if name is None]
        kwargs = {name: value for name, value in self.shown if name is not None}
        return self.factory(*args, **kwargs)


def rebuild(factory: Callable[..., Any], shown: tuple["Shown", ...]) -> Any:
    """What a recipe of these two builds: the way back from a pickle."""
    return Recipe(factory, {}, shown).rebuild()


# An argument as it is written in the call: its keyword (None for a positional one) and value.
Shown = tuple[str | None, Any]


class _Traced:
    """Stands for a traced array in a key: equal to itself only, and without a hash."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Traced) and self.value is other.value

    def __hash__(self) -> int:
        raise TypeError(
            f"a transformation built with {check.brief(self.value)} has no hash: its value is "
            "known only when the traced function runs. Build it with `tunable(...)` and set the "
            "value in the state, or pass the transformation outside of static arguments."
        )


def is_built(value: Any) -> bool:
    """Whether a call of a factory is recorded in `value`."""
    return isinstance(getattr(value, "recipe", None), Recipe)


def frozen(value: Any) -> Any:
    """`value` with containers and arrays of its own, which nobody else can change.

    Functions and what a recipe built are as they are: they do not change.
    """
    if is_built(value):
        return value
    if isinstance(value, np.ndarray):
        copy = value.copy()
        copy.flags.writeable = False
        return copy
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):  # JAX sorts the keys
        return type(value)((key, frozen(item)) for key, item in value.items())
    if type(value) is functools.partial:
        return functools.partial(value.func, *frozen(value.args), **frozen(value.keywords))
    children, structure = jax.tree.flatten(value, is_leaf=lambda x: x is not value)
    if len(children) == 1 and children[0] is value:
        return value
    return jax.tree.unflatten(structure, map(frozen, children))


def value_key(value: Any) -> Any:
    """`value` as something that compares and hashes by content.

    Containers are compared by structure and leaves, arrays by dtype, shape and content,
    functions by identity, `functools.partial` by what it holds.
    """
    leaves, structure = jax.tree.flatten(value, is_leaf=is_built)
    if len(leaves) == 1 and leaves[0] is value:
        return _leaf_key(value)
    return (structure, *map(_leaf_key, leaves))


def _leaf_key(leaf: Any) -> Any:
    if is_built(leaf):  # one recipe for both halves of a transformation
        return ("built", type(leaf), leaf.recipe)
    if check.is_traced(leaf):
        return _Traced(leaf)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return ("array", id(leaf))
    if isinstance(leaf, jax.Array | np.ndarray):
        array = np.asarray(leaf)
        return ("array", array.dtype.name, array.shape, array.tobytes())
    if isinstance(leaf, functools.partial):
        return ("partial", leaf.func, value_key(leaf.args), value_key(leaf.keywords))
    if isinstance(leaf, float) and leaf != leaf:
        return ("nan",)
    return leaf


def render(value: Any) -> str:
    """`value` as code: on one line if it fits, else one argument a line."""
    return _laid_out(_document(value), 0)


class _Brackets(NamedTuple):
    """Code in brackets: on one line, or an item a line."""

    opening: str
    items: list[tuple[str, Any]]  # what is written in front of each, and its document
    closing: str
    size: int  # the length of the line


class _Row(NamedTuple):
    """Code in a row."""

    parts: list[Any]
    size: int


def _document(value: Any) -> Any:
    """What is written of `value`, before it is known where lines end: text, brackets or a row."""
    recipe = value if isinstance(value, Recipe) else getattr(value, "recipe", None)
    if isinstance(recipe, Recipe):
        symbol = getattr(recipe.factory, "symbol", None)
        if symbol is not None:
            return _operators(symbol, [item for _, item in recipe.shown])
        items = [(f"{name}=" if name else "", item) for name, item in recipe.shown]
        name = written(recipe.factory)
        if getattr(recipe.factory, "is_constant", False):
            return name
        return _brackets(f"{name}(", ")", items)
    if isinstance(value, dict):
        return _brackets("{", "}", [(f"{key!r}: ", item) for key, item in value.items()])
    if type(value) is list:
        return _brackets("[", "]", [("", item) for item in value])
    if type(value) is tuple:
        return _brackets("(", ",)" if len(value) == 1 else ")", [("", item) for item in value])
    if isinstance(value, np.dtype):
        return repr(value.name)
    if check.is_traced(value):
        return check.brief(value)
    if isinstance(value, jax.Array | np.ndarray):
        return f"np.array({np.asarray(value).tolist()!r}, {value.dtype.name!r})"
    if isinstance(value, tuple) and hasattr(value, "init") and hasattr(value, "update"):
        return f"<{type(value).__module__.partition('.')[0]}.{type(value).__name__}>"
    return getattr(value, "__qualname__", None) or repr(value)


def _brackets(opening: str, closing: str, items: list[tuple[str, Any]]) -> _Brackets:
    written_out = [(prefix, _document(item)) for prefix, item in items]
    inside = sum(len(prefix) + _size(item) + 2 for prefix, item in written_out)
    size = len(opening) + max(inside - 2, 0) + len(closing)
    return _Brackets(opening, written_out, closing, size)


_BINDING = ("|", "&", "~")  # how tightly an operator binds, loosest first


def _operators(symbol: str, operands: list[Any]) -> _Row:
    """`a & b`, `a | b` or `~a`, with brackets around what binds less tightly."""
    parts: list[Any] = []
    for place, operand in enumerate(operands):
        theirs = getattr(operand.recipe.factory, "symbol", None)
        looser = theirs is not None and _BINDING.index(theirs) < _BINDING.index(symbol)
        if symbol == "~":
            parts.append("~")
        elif place:
            parts.append(f" {symbol} ")
        document = _document(operand)
        parts += ["(", document, ")"] if looser else [document]
    return _Row(parts, sum(map(_size, parts)))


def _size(document: Any) -> int:
    return len(document) if isinstance(document, str) else int(document.size)


def _laid_out(document: Any, indent: int) -> str:
    if isinstance(document, str):
        return document
    if isinstance(document, _Row):
        return "".join(_laid_out(part, indent) for part in document.parts)
    if not document.items or indent + document.size <= _WIDTH:
        inside = ", ".join(prefix + _laid_out(item, 0) for prefix, item in document.items)
        return f"{document.opening}{inside}{document.closing}"
    pad = " " * (indent + 4)
    lines = (f"{pad}{prefix}{_laid_out(x, indent + 4)},\n" for prefix, x in document.items)
    return f"{document.opening}\n{''.join(lines)}{' ' * indent}{document.closing.lstrip(',')}"
