"""Finding parts of a state by their kind, and naming what is in them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax.tree_util import keystr, tree_flatten_with_path


def nodes(state: Any, wanted: Callable[[Any], bool], place: str = "") -> Iterator[tuple[str, Any]]:
    """(place, node) of every node of a tree that is wanted, those inside of others too.

    A place is made of the keys, fields and positions on the way, with slashes between.
    """
    for path, node in tree_flatten_with_path(state, is_leaf=wanted)[0]:
        if wanted(node):
            here = "/".join(filter(None, (place, keystr(path, simple=True, separator="/"))))
            yield here, node
            for name, field in fields_of(node).items():
                yield from nodes(field, wanted, f"{here}/{name}".lstrip("/"))


def fields_of(node: Any) -> dict[str, Any]:
    """The fields of a NamedTuple, or of what became of it in a dict, by name."""
    return dict(node._asdict()) if hasattr(node, "_asdict") else {str(k): node[k] for k in node}


def is_mapping(x: Any) -> bool:
    """Whether it is a dict, or a container of Flax that acts like one."""
    return isinstance(x, Mapping)


def keys_of(places: list[tuple[str, str]]) -> list[str]:
    """A key for each (place, name): the name, or with a part of the place in front.

    It is the name alone where no other is called so; else with the names of the groups and links
    that it is in, if these tell them apart; else with the whole place.
    """
    forms = [(name, _named(place, name), f"{place}/{name}".lstrip("/")) for place, name in places]
    keys = []
    for name, named, whole in forms:
        namesakes = [other for called, other, _ in forms if called == name]
        if len(namesakes) == 1:
            keys.append(name)
        elif len(set(namesakes)) == len(namesakes) and name not in namesakes:
            keys.append(named)
        else:
            keys.append(whole)
    return keys


def unboxed_leaf(x: Any) -> Any:
    """The array in a framework's box (Flax NNX wraps every leaf of a state in a variable)."""
    (leaf,) = jax.tree.leaves(x)
    return leaf


# How wrappers call what is inside of them: no name that a user gave.
_FIELDS = ("inner_state", "feedback")


def _named(place: str, name: str) -> str:
    """The place without the positions in chains and without what wrappers call their inside."""
    parts = [part for part in place.split("/") if not part.isdecimal() and part not in _FIELDS]
    return "/".join([*filter(None, parts), name])
