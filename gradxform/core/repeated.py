"""One function on many leaves, traced once for each kind of leaf.

Tracing and lowering take Python's time for each operation on each leaf: with 1,000 leaves, more
than a second. Leaves of one type get the same operations, so the function is traced for one of
them, and a function of some leaves, which calls it for each, is called for some at a time. XLA
inlines all of it, and compiles the program that it would have compiled.
"""

import contextlib
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any

import jax

from . import check

# Fewer leaves of one type than this are traced one by one.
_LEAST = 3
# Leaves in one call. A call takes as long to trace as some operations; on the other hand XLA takes
# longer to inline a call the larger it is. Measured with AdamW at 500 leaves, seconds to trace and
# lower, and to compile: 0.31 and 2.8 (1 leaf a call), 0.19 and 2.4 (4), 0.18 and 2.5 (8), 0.20 and
# 3.7 (64, of halves); 0.90 and 2.7 without calls.
_BLOCK = 8


def each(one: Callable[[Any, Any], Any], items: dict[Any, Any], shared: Any) -> dict[Any, Any]:
    """`one(item, shared)` for each of the items, under its key.

    Outside of a traced function that is all it does, operation by operation.

    Args:
      one: a pure function from two trees to a tree of arrays. What is in the trees besides arrays
        are constants for it.
      items: trees by any key.
      shared: a tree that is the same for all.
    """
    results: dict[Any, Any] = {}
    for keys in alike(items):
        if len(keys) < _LEAST:
            results |= {key: one(items[key], shared) for key in keys}
        else:
            results |= zip(keys, _repeated(one, [items[key] for key in keys], shared), strict=True)
    return results


def alike(items: dict[Any, Any]) -> list[list[Any]]:
    """The keys of items of one type together; where nothing is traced, each by itself."""
    groups: dict[Any, list[Any]] = {}
    for key, item in items.items():
        groups.setdefault(_type(item, key), []).append(key)
    return list(groups.values())


def _type(item: Any, key: Any) -> Any:
    """What a function traced for this item depends on; something of its own if nothing is traced.

    Types of arrays are compared with their shardings, constants by value and class.
    """
    leaves, structure = jax.tree.flatten(item)
    if not any(map(check.is_traced, leaves)):
        return "untraced", key
    return structure, tuple(map(_type_of_leaf, leaves))


def _type_of_leaf(x: Any) -> Any:
    if isinstance(x, jax.Array):
        return jax.typeof(x)
    return (type(x), x) if isinstance(x, Hashable) else id(x)


def _repeated(one: Callable[[Any, Any], Any], items: list[Any], shared: Any) -> list[Any]:
    """`[one(item, shared) for item in items]` for items of one type."""
    _, with_arrays = _opened(items[0])
    common, with_common = _opened(shared)

    def alone(arrays: list[Any], common: list[Any]) -> Any:
        return one(with_arrays(arrays), with_common(common))

    alone.__name__ = one.__name__
    traced = jax.jit(alone)

    def together(block: list[list[Any]], common: list[Any]) -> list[Any]:
        return [traced(arrays, common) for arrays in block]

    together.__name__ = one.__name__
    run = jax.jit(together)
    opened = [_opened(item)[0] for item in items]
    blocks = [opened[i : i + _BLOCK] for i in range(0, len(opened), _BLOCK)]
    return [result for block in blocks for result in run(block, common)]


def _opened(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The arrays of a tree, and what puts others in their places, among the same constants."""
    leaves, structure = jax.tree.flatten(tree)
    places = [i for i, x in enumerate(leaves) if isinstance(x, jax.Array)]

    def closed(arrays: list[Any]) -> Any:
        filled = list(leaves)
        for i, x in zip(places, arrays, strict=True):
            filled[i] = x
        return jax.tree.unflatten(structure, filled)

    return [leaves[i] for i in places], closed


_MADE: ContextVar[dict[Any, jax.Array] | None] = ContextVar("made", default=None)


@contextlib.contextmanager
def only_types() -> Iterator[None]:
    """While it lasts, nothing but the types of new arrays counts: those of one type may be one."""
    token = _MADE.set({})
    try:
        yield
    finally:
        _MADE.reset(token)


def new_array(kind: Hashable, make: Callable[[], jax.Array]) -> jax.Array:
    """What `make` makes, which is of this type: shape and dtype."""
    made = _MADE.get()
    if made is None:
        return make()
    if kind not in made:
        made[kind] = make()
    return made[kind]
