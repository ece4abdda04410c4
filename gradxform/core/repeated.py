"""One function on many leaves, traced once for each kind of leaf.

Tracing and lowering take Python's time for each operation on each leaf: with 1,000 leaves, more
than a second. Leaves of one type get the same operations. So a function is traced for one of
them; a function of two leaves calls it twice, one of four calls that twice, and so on. A thousand
leaves are then ten small functions. XLA inlines them all and compiles the program that it would
have compiled.
"""

from collections.abc import Callable, Hashable
from typing import Any

import jax

from . import check

# Fewer leaves of one type than this are traced one by one.
_LEAST = 3


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
    arrays, with_arrays = _opened(items[0])
    common, with_common = _opened(shared)

    import os

    most, inl = int(os.environ.get("MOST", "4")), os.environ.get("INL") == "1"
    single = jax.jit(lambda item, common: one(with_arrays(item), with_common(common)), inline=inl)

    def block(items: list[Any], common: list[Any]) -> list[Any]:
        return [single(item, common) for item in items]

    block = jax.jit(block)

    left = [_opened(item)[0] for item in items]
    chunks = [left[i : i + most] for i in range(0, len(left), most)]
    return [result for chunk in chunks for result in block(chunk, common)]


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
