"""The rules: the entries of a parameter's sharding, with one more mesh axis or without."""

import math
from typing import Any

import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import check
from ..core.types import Params

# Parameters with fewer numbers than this keep their own places: 4 KB more on each device cost less
# than waiting for one more transfer.
LEAST = 1024

Spec = tuple[Any, ...]  # an entry an axis of the array: None, a mesh axis or several


def named(mesh: Any, spec: Any = ()) -> NamedSharding:
    """The sharding with these entries, by default on every device as a whole."""
    entries: Any = PartitionSpec
    return NamedSharding(mesh, entries(*spec))


class Owners:
    """Which parameter a buffer of the state belongs to: the one whose path its own path ends in."""

    def __init__(self, params: Params) -> None:
        leaves = tree_flatten_with_path(params)[0]
        self.paths = {tuple(map(str, path)): i for i, (path, _) in enumerate(leaves)}
        self.shapes = [jnp.shape(p) for _, p in leaves]
        self.lengths = sorted({len(path) for path in self.paths}, reverse=True)

    def of(self, path: Any, shape: tuple[int, ...] | None = None) -> int | None:
        """The number of the parameter, if it has that shape."""
        keys = tuple(map(str, path))
        for length in self.lengths:
            index = self.paths.get(keys[len(keys) - length :]) if length <= len(keys) else None
            if index is not None:
                return index if shape is None or self.shapes[index] == tuple(shape) else None
        return None


def own_spec(path: Any, p: Any, mesh: Any) -> Spec:
    """The entries of a parameter's sharding, one an axis of it."""
    sharding, shape = getattr(p, "sharding", None), jnp.shape(p)
    if not isinstance(sharding, NamedSharding):
        check.require(
            sharding is None or sharding.is_fully_replicated or sharding.num_devices == 1,
            f"{named_leaf(path)} has the sharding {check.brief(sharding)}, which has no mesh axes. "
            "Place it by a `NamedSharding`.",
        )
        return (None,) * len(shape)
    spec = tuple(sharding.spec) + (None,) * (len(shape) - len(sharding.spec))
    for axis, (size, names) in enumerate(zip(shape, spec, strict=True)):
        for name in _names(names):
            require_axis(mesh, name, f"the sharding of {named_leaf(path)}")
        pieces = _pieces(names, mesh)
        check.require(
            size % pieces == 0,
            f"{named_leaf(path)} has shape {shape} and the sharding {sharding.spec}: the {size} "
            f"numbers along its axis {axis} cannot be split into {pieces} equal pieces. Split "
            f"another axis, or pad this one to a multiple of {pieces}.",
        )
    return spec


def spread(leaves: Any, specs: list[Spec], mesh: Any, zero_axis: tuple[str, ...]) -> list[Spec]:
    """The entries with the axes in them, where there is a place for them."""
    shapes = [tuple(jnp.shape(p)) for _, p in leaves]
    found = [
        with_axes(shape, spec, mesh, zero_axis) for shape, spec in zip(shapes, specs, strict=True)
    ]
    before = [axes_of(spec) & {*zero_axis} for spec in specs]
    after = [axes_of(spec) & {*zero_axis} for spec in found]
    # Where the parameters are split over these axes themselves, the state is, with nothing added.
    if leaves and before == after and not all(any(name in x for x in after) for name in zero_axis):
        n = math.prod(mesh.shape[name] for name in zero_axis)
        index = max(range(len(leaves)), key=lambda i: math.prod(shapes[i]))
        path = leaves[index][0]
        small = math.prod(shapes[index]) < LEAST
        reason = (
            f"has fewer than {LEAST:,} numbers, and such parameters stay whole"
            if small
            else f"has shape {shapes[index]}, and {n} devices divide none of its axes"
        )
        shown = zero_axis if len(zero_axis) > 1 else zero_axis[0]
        raise check.Refusal(
            f"`zero_axis={shown!r}` would split nothing: {named_leaf(path)} is the largest, "
            f"and it {reason}. Leave `zero_axis` out"
            + ("." if small else ", take a mesh axis that divides it, or pad it.")
        )
    return found


def with_axes(shape: tuple[int, ...], spec: Spec, mesh: Any, names: tuple[str, ...]) -> Spec:
    """The entries of an array with these mesh axes in the first place that they fit together.

    Where there is none, each stands in the first place that it fits, if there is one.
    """
    missing = tuple(name for name in names if name not in axes_of(spec))
    if not missing or math.prod(shape) < LEAST:
        return spec
    together = _with(shape, spec, mesh, missing)
    if together is not None:
        return together
    for name in missing if len(missing) > 1 else ():
        alone = _with(shape, spec, mesh, (name,))
        spec = spec if alone is None else alone
    return spec


def _with(shape: tuple[int, ...], spec: Spec, mesh: Any, names: tuple[str, ...]) -> Spec | None:
    pieces = math.prod(mesh.shape[name] for name in names)
    # Whole axes first: a piece is then a block of the array, as a rule in one stretch of memory.
    order = sorted(range(len(shape)), key=lambda i: (bool(_names(spec[i])), i))
    for i in order:
        if shape[i] % (_pieces(spec[i], mesh) * pieces) == 0:
            entry = (*_names(spec[i]), *names)
            return (*spec[:i], entry if len(entry) > 1 else entry[0], *spec[i + 1 :])
    return None


def require_axis(mesh: Any, name: str, what: str) -> None:
    """Refuse an axis that the mesh does not have."""
    check.require(
        name in mesh.axis_names,
        f"{what} names the mesh axis {name!r}, which the mesh does not have."
        f"{check.nearest(str(name), mesh.axis_names)}",
    )


def _names(entry: Any) -> tuple[str, ...]:
    if entry is None or entry is PartitionSpec.UNCONSTRAINED:
        return ()
    return tuple(entry) if isinstance(entry, tuple | list) else (entry,)


def axes_of(spec: Any) -> set[str]:
    """The mesh axes in the entries."""
    return {*names_of(spec)}


def names_of(spec: Any) -> list[str]:
    """The mesh axes in the entries, in order."""
    return [name for entry in spec for name in _names(entry)]


def _pieces(entry: Any, mesh: Any) -> int:
    return math.prod(mesh.shape[name] for name in _names(entry))


def named_leaf(path: Any) -> str:
    """A parameter as an error names it."""
    return f"parameter `{keystr(path, simple=True, separator='/')}`" if path else "the parameter"
