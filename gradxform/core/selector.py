"""Selectors: values that say which parameters, by path, shape or dtype.

A selector prints as the code that makes it, compares, hashes and pickles. It is also a function
of a tree of parameters to a tree of bools, so that whatever takes such a function takes it.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ParamSpec

import jax
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from . import check, tree
from .display import Displayed
from .factory import Signature
from .recipe import Recipe, rebuild, render

P = ParamSpec("P")

Predicate = Callable[[str, Any], Any]  # (path, leaf) -> whether the leaf is selected


class Selector(Displayed):
    """Which parameters: a function of each one's path and shape; `core.select` makes them.

    `a & b` selects what both select, `a | b` what one of them does, `~a` the rest.

    Attributes:
      recipe: the call that built it.
      matches: (path, leaf) -> bool.
    """

    __slots__ = ("__weakref__", "matches", "recipe")

    def __init__(self, recipe: Recipe, matches: Predicate) -> None:
        self.recipe = recipe
        self.matches = matches

    def __call__(self, params: Any) -> Any:
        """A tree of bools with the structure of `params` (without a framework's boxes)."""
        bare = tree.unboxed(params)
        leaves, structure = jax.tree.flatten(bare)
        names = tree.of_structure(_names, structure, bare)
        return jax.tree.unflatten(structure, list(map(self.selects, names, leaves)))

    def selects(self, path: str, leaf: Any) -> bool:
        """Whether a leaf is selected."""
        chosen = self.matches(path, leaf)
        if not isinstance(chosen, bool | np.bool_):
            raise TypeError(
                f"`{self!r}`: whether `{path}` is selected must be a Python bool, the same in "
                f"every step; got {check.brief(chosen)}. Decide by the path, the shape and the "
                "dtype, not by the numbers."
            )
        return bool(chosen)

    def __and__(self, other: Any) -> "Selector":
        return _joined(all_of, self, other)

    def __or__(self, other: Any) -> "Selector":
        return _joined(any_of, self, other)

    def __invert__(self) -> "Selector":
        (inner,) = self._operands(none_of)
        return inner if inner is not self else none_of(self)

    def __bool__(self) -> bool:
        raise TypeError(
            f"`{self!r}` is neither true nor false; `and`, `or` and `not` would drop a selector. "
            "Write `a & b`, `a | b`, `~a`."
        )

    def _operands(self, factory: Callable[..., Any]) -> tuple["Selector", ...]:
        """What a selector of this kind is made of; itself where it is of another."""
        if self.recipe.factory is factory:
            return tuple(value for _, value in self.recipe.shown)
        return (self,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self.recipe == other.recipe

    def __hash__(self) -> int:
        return hash((Selector, self.recipe))

    def __repr__(self) -> str:
        return render(self.recipe)

    def __reduce__(self) -> Any:
        return rebuild, (self.recipe.factory, self.recipe.shown)


def selector(factory: Callable[P, Predicate]) -> Callable[P, Selector]:
    """Make a factory of a function that returns a predicate `(path, leaf) -> bool`."""
    return _named(factory, f"select.{factory.__name__}")


def constant(factory: Callable[[], Predicate]) -> Callable[[], Selector]:
    """Like `selector`, for `_name` without arguments, whose result prints as `select.name`."""
    return _named(factory, f"select.{factory.__name__.lstrip('_')}", is_constant=True)


def _named(
    factory: Callable[P, Predicate], name: str, *, is_constant: bool = False
) -> Callable[P, Selector]:
    signature = Signature(factory)
    signature.name = name

    @functools.wraps(factory)
    def build(*args: P.args, **kwargs: P.kwargs) -> Selector:
        bound = signature.bind(args, kwargs)
        shown = tuple((None, value) for value in bound.args)
        predicate = factory(*bound.args, **bound.kwargs)
        return Selector(Recipe(build, bound.arguments, shown), predicate)

    build.__signature__ = signature.shown(Selector)  # type: ignore[attr-defined]
    build.written, build.is_constant = name, is_constant  # type: ignore[attr-defined]
    return build


def paths(params: Any) -> Iterator[tuple[str, Any]]:
    """(path, leaf) of every array: `a/b/c`, the same for every framework.

    The keys, attributes and indices on the way, with slashes between; the `value` that Flax's
    boxes add is left out.
    """
    bare = tree.unboxed(params)
    leaves, structure = jax.tree.flatten(bare)
    yield from zip(tree.of_structure(_names, structure, bare), leaves, strict=True)


def _names(bare: Any) -> tuple[str, ...]:
    paths = [path for path, _ in tree_flatten_with_path(bare)[0]]
    return tuple(keystr(path, simple=True, separator="/") for path in paths)


# The combinations print as operators: `core.recipe` writes those that have a symbol so.


def _combination(symbol: str) -> Callable[[Callable[P, Predicate]], Callable[P, Selector]]:
    def decorate(factory: Callable[P, Predicate]) -> Callable[P, Selector]:
        build = selector(factory)
        build.symbol = symbol  # type: ignore[attr-defined]
        return build

    return decorate


class _Selectors:
    """A selector, or several."""

    kind = "Selector"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The value as it is."""
        for one in value if isinstance(value, tuple) else (value,):
            if not isinstance(one, Selector):
                check.fail(call, name, one, "selectors, such as `select.path('.*bias')`")
        return value


@_combination("&")
def all_of(*selectors: Annotated[Selector, _Selectors()]) -> Predicate:
    """What all of them select: `a & b`."""
    return lambda path, leaf: all(s.selects(path, leaf) for s in selectors)


@_combination("|")
def any_of(*selectors: Annotated[Selector, _Selectors()]) -> Predicate:
    """What at least one of them selects: `a | b`."""
    return lambda path, leaf: any(s.selects(path, leaf) for s in selectors)


@_combination("~")
def none_of(selector: Annotated[Selector, _Selectors()]) -> Predicate:
    """What it does not select: `~a`."""
    return lambda path, leaf: not selector.selects(path, leaf)


def _joined(factory: Any, a: Selector, b: Any) -> Any:
    if not isinstance(b, Selector):
        return NotImplemented
    return factory(*a._operands(factory), *b._operands(factory))
