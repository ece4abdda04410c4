"""Where the state of an optimizer lies on many devices.

A buffer lies where its parameter lies. With N devices along an axis that no parameter is split
over (the data axis), the state stands N times; ZeRO's first stage splits it over that axis, on top
of what the parameter has:

    parameters replicated    16 bytes a parameter and device (Adam in float32: p, g, m, v)
    state over N devices     8 + 8 / N

The gradient is then needed only where its piece of the state lies: it is summed there (a
reduce-scatter), the update is computed there, and the new parameters are gathered. That is what an
all-reduce moves, and 1/N of the update's work.

References:
  Rajbhandari et al., 2020, section 5.1, https://arxiv.org/abs/1910.02054
  Xu et al., 2020, https://arxiv.org/abs/2004.13336
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import check, tree
from ..core.types import Params, State, require_transformation
from .specs import Owners, Spec, axes_of, named, names_of, own_spec, require_axis, spread, with_axes

_CALL = "state_sharding(tx, params, mesh, zero_axis)"

_HOST = "pinned_host"


class StateBytes(NamedTuple):
    """Memory of a state."""

    total: int  # bytes of all of it, each number counted once
    per_device: int  # bytes in the memory of one device
    whole: dict[str, int]  # bytes of what every device holds as a whole, by its path in the state
    on_host: int = 0  # bytes in the host's memory for one device, as `offload_to_host` puts them


def state_sharding(
    tx: optax.GradientTransformation,
    params: Params,
    mesh: Mesh | AbstractMesh,
    zero_axis: str | tuple[str, ...] | None = None,
) -> Any:
    """The shardings of a whole optimizer state, and its spreading over one mesh axis (ZeRO-1).

        shardings = state_sharding(tx, params, mesh, zero_axis="data")
        state = jax.jit(tx.init, out_shardings=shardings)(params)

    Buffers of a parameter's shape lie where the parameter lies, rows and columns of a factored
    moment along the axes they keep, and scalars on every device. It is read off `init`, traced
    with the parameters' shardings in its types, and so holds for every transformation, one of
    Optax's too, in Auto and Explicit meshes. Of a transformation with `offload_to_host` the
    shardings name the host's memory.

    With `zero_axis`, the buffers of a parameter are split over that axis besides: along the first
    axis of the array that is whole and that the devices divide, else along the first one whose
    pieces they divide. Several mesh axes go to one axis of the array together, or where their
    product divides none, one by one. Parameters of fewer than 1,024 numbers, those that nothing
    divides, and those that are split over that axis themselves keep their places; `state_bytes`
    names what stays whole. For the update to be computed in pieces and the parameters to stay
    where they are, give the places to the step: `make_train_step(loss_fn, tx, like=state)`,
    `make_update_step(tx, like=(params, state))`.

    Args:
      tx: the optimizer.
      params: the parameters, or `jax.ShapeDtypeStruct`s with `sharding=`. What has no sharding
        counts as replicated.
      mesh: the devices; for planning an `AbstractMesh`. Parameters on another mesh are taken by
        the names of its axes.
      zero_axis: a mesh axis, usually the one that the batch is split over, or a tuple of them.

    Returns:
      A tree like `tx.init(params)` of `NamedSharding`s, for `jax.jit(out_shardings=)`,
      `jax.device_put` and the abstract arrays that Orbax restores into.

    Raises:
      ValueError: the mesh has no axis of that name, the sharding of a parameter does not divide
        it, or `zero_axis` would split nothing at all.
    """
    require_transformation("state_sharding(tx, params, mesh)", "`tx`", tx)
    tree.require_arrays("state_sharding(tx, params, mesh)", params)
    with check.calling(_CALL):
        return _state(tx, params, mesh, zero_axis)[1]


def state_bytes(
    tx: optax.GradientTransformation,
    params: Params,
    mesh: Mesh | AbstractMesh,
    zero_axis: str | tuple[str, ...] | None = None,
) -> StateBytes:
    """The memory that a state takes when it lies as `state_sharding` says; nothing is allocated.

    Args:
      tx: the optimizer.
      params: the parameters, or `jax.ShapeDtypeStruct`s with `sharding=`.
      mesh: the devices; for planning an `AbstractMesh`.
      zero_axis: a mesh axis, or a tuple of them.

    Returns:
      Bytes: `total`; `per_device`, in the memory of one device; `whole`, those of each array of
      the state that every device holds as a whole, by path; and `on_host`, what lies in the
      host's memory for one device (`offload_to_host`) and not in its own.

    Raises:
      ValueError: as `state_sharding`.
    """
    require_transformation("state_bytes(tx, params, mesh)", "`tx`", tx)
    tree.require_arrays("state_bytes(tx, params, mesh)", params)
    with check.calling("state_bytes(tx, params, mesh, zero_axis)"):
        state, shardings = _state(tx, params, mesh, zero_axis)
    total = per_device = on_host = 0
    whole: dict[str, int] = {}
    places = jax.tree.leaves(shardings)
    for (path, x), place in zip(tree_flatten_with_path(state)[0], places, strict=True):
        each = math.prod(place.shard_shape(x.shape)) * x.dtype.itemsize
        total += math.prod(x.shape) * x.dtype.itemsize
        if place.memory_kind == _HOST:
            on_host += each
            continue
        per_device += each
        if place.is_fully_replicated:
            whole[keystr(path)] = each
    return StateBytes(total, per_device, whole, on_host)


def gradient_sharding(params: Params, state: State) -> tuple[NamedSharding | None, ...]:
    """Where each gradient is used: in the places of the state's buffers of its parameter.

    That is the sharding of the first buffer of the parameter's shape. Where there is none, but rows
    or columns that are split over one mesh axis more than the parameter, it is the sharding from
    which `state_sharding` derived theirs.

    Args:
      params: the parameters, or abstract ones.
      state: an optimizer state of arrays, or of abstract ones, that is placed.

    Returns:
      An entry a parameter, in the order of the tree; None where nothing is known.
    """
    owners = Owners(params)
    leaves = tree_flatten_with_path(params)[0]
    whole: dict[int, NamedSharding] = {}
    parts: dict[int, list[NamedSharding]] = {}
    for path, x in tree_flatten_with_path(state)[0]:
        place = getattr(x, "sharding", None)
        if isinstance(place, NamedSharding):
            if (index := owners.of(path, jnp.shape(x))) is not None:
                # Without the kind of memory: the update is computed on the device.
                whole.setdefault(index, NamedSharding(place.mesh, place.spec))
            elif (index := owners.of(path[:-1])) is not None:
                parts.setdefault(index, []).append(place)

    def derived(index: int) -> NamedSharding | None:
        if not parts.get(index):
            return None
        mesh = parts[index][0].mesh
        own = own_spec(*leaves[index], mesh)
        found = dict.fromkeys(name for place in parts[index] for name in names_of(place.spec))
        more = tuple(name for name in found if name not in axes_of(own))
        if not more:
            return None
        spec = with_axes(tuple(jnp.shape(leaves[index][1])), own, mesh, more)
        return named(mesh, spec)

    return tuple(whole.get(index) or derived(index) for index in range(len(leaves)))


def _state(
    tx: Any, params: Params, mesh: Any, zero_axis: str | tuple[str, ...] | None
) -> tuple[Any, Any]:
    """The abstract state and its shardings."""
    check.require(
        isinstance(mesh, Mesh | AbstractMesh),
        f"`mesh` must be a mesh, as `jax.make_mesh` makes it; got {check.brief(mesh)}.",
    )
    axes = () if zero_axis is None else tuple(names_of((zero_axis,)))
    for name in axes:
        require_axis(mesh, name, "`zero_axis`")
    check.require(
        len(axes) == len({*axes}),
        f"`zero_axis` must name each mesh axis once; got {zero_axis!r}.",
    )
    leaves, _ = tree_flatten_with_path(params)
    specs = [own_spec(path, p, mesh) for path, p in leaves]
    state, types = _traced(tx, params, specs, mesh, mesh.axis_types)
    if axes:
        specs = spread(leaves, specs, mesh, axes)
    explicit = (AxisType.Explicit,) * len(mesh.axis_names)  # shardings are a part of the types
    typed, precise = _traced(tx, params, specs, mesh, explicit)
    # `bucket` does not join arrays that it sees to be split; what counts is what it will see.
    structures: list[Any] = [jax.tree.structure(x) for x in (state, typed)]
    is_same = structures[0] == structures[1]
    types = precise if is_same else types
    owners = Owners(params)
    shardings = []
    for (path, x), of_init in zip(tree_flatten_with_path(state)[0], types, strict=True):
        spec = tuple(of_init.sharding.spec)
        owner = owners.of(path, x.shape)
        if owner is not None and not (is_same and any(spec)):
            spec = specs[owner]  # where `init` forgot, as `jnp.zeros(p.shape)` does
        on_host = of_init.memory_space == jax.memory.Space.Host
        place = named(mesh, spec)
        shardings.append(place.with_memory_kind(_HOST) if on_host else place)
    return state, jax.tree.unflatten(jax.tree.structure(state), shardings)


def _traced(
    tx: Any, params: Params, specs: list[Spec], mesh: Any, axis_types: tuple[AxisType, ...]
) -> tuple[Any, Any]:
    """The abstract state, and the types that `init` gives its arrays."""
    mesh = AbstractMesh(mesh.axis_sizes, mesh.axis_names, axis_types=axis_types)
    shaped: Any = jax.ShapeDtypeStruct
    leaves, structure = jax.tree.flatten(params)
    abstract = [
        shaped(jnp.shape(p), _dtype(p), sharding=named(mesh, spec))
        for p, spec in zip(leaves, specs, strict=True)
    ]
    with jax.sharding.use_abstract_mesh(mesh):
        program, state = jax.make_jaxpr(tx.init, return_shape=True)(
            jax.tree.unflatten(structure, abstract)
        )
    return state, program.out_avals


def _dtype(p: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(p.dtype if hasattr(p, "dtype") else jnp.result_type(p))
