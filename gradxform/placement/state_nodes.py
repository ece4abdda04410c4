"""An optimizer's state as a list of nodes: what each block, wrapper and hyperparameter holds.

A state is read by its classes. One that lost them in a checkpoint, where every NamedTuple is a
dict and every tuple a list (or a dict of positions), is read by the names of its fields.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import tree
from ..core.hyperparams import is_hyperparams_state

Path = tuple[str, ...]
Key = tuple[str, Path]  # a field, and the path inside of it: that of a parameter, as a rule
Signature = frozenset[str]  # the names of a class's fields


@dataclass(frozen=True, eq=False)
class Leaf:
    """An array of a state, and where it stands there."""

    path: Path
    value: Any
    note: str = ""  # what was done to it, where it was converted


@dataclass(frozen=True, eq=False)
class Node:
    """What one block, wrapper or hyperparameter remembers.

    Attributes:
      place: where it stands in the state.
      scope: the names of the groups and named links that it is in.
      kinds: what it may be, the names of classes; several where the state does not tell them
        apart.
      values: its arrays.
    """

    place: Path
    scope: Path
    kinds: tuple[str, ...]
    values: dict[Key, Leaf] = field(default_factory=dict)

    def buffers(self) -> list[Key]:
        """The keys of all but the scalars."""
        return [key for key, leaf in self.values.items() if is_buffer(key, leaf)]


def is_buffer(key: Key, leaf: Leaf) -> bool:
    """Whether an array belongs to a parameter, and not to the node as a whole."""
    return bool(key[1]) or len(getattr(leaf.value, "shape", ())) > 0


class Known(NamedTuple):
    """What a state that lost its classes is read by.

    Attributes:
      signatures: the fields of the classes that a dict may stand for.
      parameters: the paths of the parameters. A parameter may be called like a field: what holds
        arrays at their paths is a buffer, and what holds it is no group or link.
    """

    signatures: Collection[Signature]
    parameters: Collection[Path]


def nodes_of(state: Any, known: Known) -> list[Node]:
    """The nodes of a state, with its classes or without, in the order of the tree."""
    return list(_nodes(tree.unboxed(state), (), (), known))


def records(state: Any) -> list[tuple[str, Signature]]:
    """The kind and the fields of each node of a state that has its classes."""
    found: list[tuple[str, Signature]] = []

    def visit(x: Any) -> None:
        if _is_record(x):
            kind, parts = kind_of(type(x)), children(x)
            found.append((kind, frozenset(name for name, _ in parts)))
            # Flax's NNX leaves out what is empty.
            found.append((kind, frozenset(name for name, part in parts if jax.tree.leaves(part))))
        for name, child in children(x):
            if is_inside(name) or not _is_record(x):
                visit(child)

    visit(tree.unboxed(state))
    return [item for item in dict.fromkeys(found) if item[1]]


def children(x: Any) -> list[tuple[str, Any]]:
    """The parts of a container with their keys, in the order of the tree."""
    if hasattr(x, "_fields"):
        return [(name, getattr(x, name)) for name in x._fields]
    flat, _ = tree_flatten_with_path(x, is_leaf=lambda y: y is not x)
    return [(text((key[0],)), child) for key, child in flat if key]


def text(path: Any) -> str:
    """A key or path of JAX's as text, with slashes between."""
    return keystr(path, simple=True, separator="/")


def path_of(path: Any) -> Path:
    """A path of JAX's as names."""
    return tuple(text((key,)) for key in path)


def is_inside(name: str) -> bool:
    """Whether a field holds the state of what a wrapper wraps, by its name."""
    return name.endswith(("state", "states"))


def kind_of(cls: type) -> str:
    """The name of a class, with the package that it is from."""
    return f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def _nodes(x: Any, place: Path, scope: Path, known: Known) -> Iterator[Node]:
    parts = children(x)
    names = [name for name, _ in parts]
    if not parts:
        if jax.tree.leaves(x):
            yield Node(place, scope, ("array",), {("", ()): Leaf(place, x)})
    elif is_hyperparams_state(x):
        yield from _hyperparams(dict(parts), place, scope)
        yield from _with_weights(dict(parts), place, scope, known)
    elif _is_record(x):
        yield from _record(parts, place, scope, known, kind_of(type(x)))
    elif isinstance(x, tuple | list):
        for name, child in parts:
            yield from _nodes(child, (*place, name), scope, known)
    elif all(name.isdecimal() for name in names):
        for name, child in sorted(parts, key=lambda part: int(part[0])):
            yield from _nodes(child, (*place, name), scope, known)
    elif _stands_for_record(parts, known):
        yield from _record(parts, place, scope, known, kind_of_fields(names))
    else:
        for name, child in parts:
            yield from _nodes(child, (*place, name), (*scope, name), known)


def kind_of_fields(names: Collection[str]) -> str:
    """The kind of a dict in the place of a class: the names of its fields."""
    return f"{{{', '.join(sorted(names))}}}"


def _is_record(x: Any) -> bool:
    return hasattr(x, "_fields") or hasattr(x, "__dataclass_fields__")


def _stands_for_record(parts: list[tuple[str, Any]], known: Known) -> bool:
    """Whether a dict is what became of a class, and not one from names to links or groups."""
    names = frozenset(name for name, _ in parts)
    inner = {name for fields in known.signatures for name in fields if is_inside(name)}
    if names & {*inner, *_INNER} or any(_is_array(child) for _, child in parts):
        return True
    if names not in known.signatures:
        return False
    if any(_paths(child) & {*known.parameters} for _, child in parts):
        return True
    # A link may be called like a field, but then a state stands in its place.
    return not any(
        _is_record(child) or frozenset(name for name, _ in children(child)) in known.signatures
        for _, child in parts
    )


# What wrappers of others call the state inside, as a rule.
_INNER = {"inner_state", "inner_states", "inner_opt_state"}


def _paths(x: Any) -> set[Path]:
    return {path_of(path) for path, _ in tree_flatten_with_path(x)[0]}


def _is_array(x: Any) -> bool:
    return not children(x) and bool(jax.tree.leaves(x))


def _record(
    parts: list[tuple[str, Any]],
    place: Path,
    scope: Path,
    known: Known,
    kind: str,
) -> Iterator[Node]:
    values: dict[Key, Leaf] = {}
    for name, child in parts:
        if not is_inside(name):
            values |= values_of(name, child, (*place, name))
    yield Node(place, scope, (kind,), values)
    for name, child in parts:
        if is_inside(name):
            yield from _nodes(child, (*place, name), scope, known)


def values_of(name: str, x: Any, place: Path) -> dict[Key, Leaf]:
    """The arrays of a field."""
    flat = [(path_of(path), leaf) for path, leaf in tree_flatten_with_path(x)[0]]
    return {(name, path): Leaf((*place, *path), leaf) for path, leaf in flat}


def _hyperparams(fields: dict[str, Any], place: Path, scope: Path) -> Iterator[Node]:
    """A node for the counter of a block's schedules, and one for each of its live values."""
    owned = [dict(children(fields.get(n, {}))) for n in ("hyperparams", "tunables", "feedback")]
    readings, tunables, feedback = owned
    names = "+".join(sorted({*readings, *tunables}))
    yield clock(names, Leaf((*place, "count"), fields["count"]), scope)
    for name, value in readings.items():
        yield reading(name, Leaf((*place, "hyperparams", name), value), scope)
    for name, value in tunables.items():
        yield tunable(name, Leaf((*place, "tunables", name), value), scope)
    for name, memory in feedback.items():
        here = (*place, "feedback", name)
        values: dict[Key, Leaf] = {}
        for field_name, value in children(memory):
            values |= values_of(field_name, value, (*here, field_name))
        yield Node(here, scope, (f"feedback {name}",), values)


def _with_weights(fields: dict[str, Any], place: Path, scope: Path, known: Known) -> Iterator[Node]:
    """The nodes of a block with live values: its averages' weights go where its count goes."""
    inner = list(_nodes(fields.get("inner_state"), (*place, "inner_state"), scope, known))
    for name, value in children(fields.get("log_kept", {})):
        leaf = Leaf((*place, "log_kept", name), value)
        inner[0].values[WEIGHT + name, ()] = leaf
    yield from inner


CLOCK = "clock "
READING = "reading "
WEIGHT = "weight "
TUNABLE = "tunable "


def clock(names: str, count: Leaf, scope: Path) -> Node:
    """The counter of the steps that schedules are evaluated at."""
    return Node(count.path[:-1], scope, (CLOCK + names,), {("count", ()): count})


def reading(name: str, value: Leaf, scope: Path) -> Node:
    """What the last update computed for a hyperparameter."""
    return Node(value.path[:-1], scope, (READING + name,), {("value", ()): value})


def tunable(name: str, value: Leaf, scope: Path) -> Node:
    """A hyperparameter that the user owns."""
    return Node(value.path[:-1], scope, (TUNABLE + name,), {("value", ()): value})
