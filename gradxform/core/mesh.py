"""Where arrays lie on a mesh, and what `shard_map` knows of them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import (
    AbstractMesh,
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    SingleDeviceSharding,
)

from . import check


def beside(params: Any, state: Any) -> Any:
    """`state` with all that lies on one device on every device of the parameters' mesh.

    Outside of `jit` a counter is made on one device. A step that is given it beside sharded
    parameters compiles for that and once more for what it returns, and where a mesh spans several
    processes, it could not be saved. Parameters of no mesh, or of several, leave it as it is.
    """
    mesh = _mesh_of(params)
    if mesh is None:
        return state
    whole: Any = PartitionSpec
    everywhere = NamedSharding(mesh, whole())
    return jax.tree.map(lambda x: _placed(x, everywhere), state)


def _mesh_of(params: Any) -> Mesh | None:
    """The one mesh that all placed parameters lie on."""
    found: list[Mesh] = []
    for p in jax.tree.leaves(params):
        place = None if check.is_traced(p) else getattr(p, "sharding", None)
        mesh = getattr(place, "mesh", None)
        if isinstance(p, jax.Array) and isinstance(mesh, Mesh) and mesh not in found:
            found.append(mesh)
    return found[0] if len(found) == 1 else None


def _placed(x: Any, everywhere: NamedSharding) -> Any:
    if not isinstance(x, jax.Array) or check.is_traced(x):
        return x
    if not isinstance(x.sharding, SingleDeviceSharding):
        return x
    kind = x.sharding.memory_kind
    place = everywhere if kind is None else everywhere.with_memory_kind(kind)
    if place.is_fully_addressable or jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.device_put(x, place)
    # Every process has the number: nothing need be sent, as `device_put` would to compare them.
    number = np.asarray(x)
    return jax.make_array_from_callback(x.shape, place, lambda index: number[index])


def like(x: jax.Array, other: jax.Array) -> jax.Array:
    """`x` split as `other`, an array of its shape, is on a mesh with Explicit axes.

    There a selection between two arrays wants one sharding of both, and a buffer may be spread
    over one axis more than the gradient (ZeRO).
    """
    return _resharded(x, jax.typeof(other).sharding)


def _resharded(x: jax.Array, place: Any) -> jax.Array:
    if place.mesh.empty or jax.typeof(x).sharding == place:
        return x
    if not all(kind == AxisType.Explicit for kind in place.mesh.axis_types):
        return x
    return jax.sharding.reshard(x, place)  # type: ignore[no-untyped-call]


def manual_axes() -> tuple[str, ...]:
    """The axes of the `shard_map`s around: along these a function sees one shard of each array."""
    axes: tuple[str, ...] = tuple(jax.sharding.get_abstract_mesh().manual_axes)
    return axes


@contextlib.contextmanager
def computing_now() -> Iterator[bool]:
    """Compute what is known while a program is traced, on no mesh; yields whether JAX does.

    A mesh without devices, which `state_sharding` plans on, would refuse to compute. In a
    `shard_map` outside of `jit` every result is an array of all shards, whatever it comes from.
    """
    with jax.sharding.use_abstract_mesh(_NO_MESH), jax.ensure_compile_time_eval():
        yield not check.is_traced(jnp.zeros(()))


_NO_MESH = AbstractMesh((), ())


def varying(x: Any) -> frozenset[str]:
    """The axes of a `shard_map` along which the devices may hold different values of x."""
    kind: Any = jax.typeof(x)
    kind = getattr(kind, "manual_axis_type", kind)  # newer versions of JAX have it in the type
    return frozenset(kind.varying if hasattr(kind, "varying") else kind.vma)


def as_varying(x: jax.Array, axes: Iterable[str]) -> jax.Array:
    """`x`, of which the devices along these axes may hold different values from here on."""
    missing = tuple(sorted(frozenset(axes) - varying(x)))
    return jax.lax.pcast(x, missing, to="varying") if missing else x


def of_one_type(
    branches: tuple[Callable[..., Any], ...], operands: tuple[Any, ...]
) -> tuple[Callable[..., Any], ...]:
    """Branches whose results lie alike, made of some that are called with these operands.

    `lax.cond` wants results of one type, and on meshes a type says where an array lies: how it is
    split on an Explicit mesh, and in a `shard_map` along which axes devices may differ. A result
    goes where the first branch has it.
    """
    if not _is_on_a_mesh(operands):
        return branches
    types = [_types(branch, operands) for branch in branches]
    structures: list[Any] = [jax.tree.structure(x) for x in types]
    if any(structure != structures[0] for structure in structures):
        return branches  # which `lax.cond` refuses

    def alike(x: Any, *kinds: _Type) -> Any:
        if all(kind.type == kinds[0].type for kind in kinds):
            return x
        axes = frozenset[str]().union(*(kind.varying for kind in kinds))
        return as_varying(_resharded(x, kinds[0].type.sharding), axes)

    def fit(branch: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: jax.tree.map(alike, branch(*args), *types)

    return tuple(map(fit, branches))


class _Type:
    """The type of a result: a leaf of a tree, as a type itself is to some versions of JAX."""

    def __init__(self, x: Any) -> None:
        self.type: Any = jax.typeof(x)
        self.varying = varying(x)


def _types(function: Callable[..., Any], operands: Any) -> Any:
    found: list[Any] = []

    def traced(*operands: Any) -> Any:
        result = function(*operands)
        found.append(jax.tree.map(_Type, result))
        return result

    jax.eval_shape(traced, *operands)
    return found[0]


def _is_on_a_mesh(operands: Any) -> bool:
    if not jax.sharding.get_abstract_mesh().empty:
        return True
    arrays = [x for x in jax.tree.leaves(operands) if isinstance(x, jax.Array)]
    return any(not jax.typeof(x).sharding.mesh.empty for x in arrays)
