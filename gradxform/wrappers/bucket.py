"""Buckets: many small arrays as one vector.

A network has hundreds of biases and scales that hold few numbers, and the cost of a loop over an
array of 64 is that of starting it. Where the mathematics takes each number by itself, arrays may
as well be one:

    v = (p_1, ..., p_n), one behind another, for the small arrays of one precision

16-bit arrays are computed in float32 by every transformation, and so stand among those.

What is wrapped sees these vectors beside the large arrays, and its update is cut up again. The
numbers are the same; sums over all parameters, as in a global norm, differ by their rounding.
"""

import math
import zlib
from collections.abc import Iterable
from functools import reduce
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.tree_util import keystr

from ..core import check, mesh, numerics, tree
from ..core.arguments import Size, Transformation
from ..core.factory import transformation
from ..core.types import InitUpdate, Params, State, Updates, inside, update_wide

_AROUND = (
    "In a bucket there are no single arrays. Put it around the buckets, one for each part, as in "
    "`partition({'decayed': (select.decayed, bucket(adamw(1e-3)))}, default=bucket(adam(1e-3)))`."
)


class Bucketed(NamedTuple):
    """What stands in the place of the parameters inside of `bucket`, in its state too."""

    arrays: Any  # the tree of the parameters, with `optax.MaskedNode()` where an array is small
    vectors: dict[str, Array]  # the small arrays one behind another, by precision and a checksum


@transformation
def bucket(inner: Transformation, max_size: Size = 4096) -> InitUpdate:
    """Run a transformation on the small arrays of a tree as on one vector.

    It goes around a whole optimizer and pays where a tree has hundreds of small arrays: there are
    fewer loops to trace, to compile and to start. Large arrays are not touched; each call copies
    the small ones together and the update apart again. Measure before you use it:
    `benchmarks/step_time.py --tree many`.

    What it costs: the buffers of `inner` are no trees like the parameters any more but `Bucketed`.
    A checkpoint written with it is read with it only, and with the same `max_size`; code that
    looks for a parameter's moments by path does not find those of the small ones. The name of a
    vector has a checksum of the paths and shapes in it: after a small layer was renamed or has
    another shape, the old state is refused, and `transfer_state` begins the vector anew. Random
    numbers, as of `add_gradient_noise`, are drawn for the vector, so they are others than without.

    Args:
      inner: a transformation that takes each number by itself, or sums over all of them. Refused
        is what looks at single arrays (`lamb`, `clip_by_block_norm`, factored statistics) or
        chooses among them (masks, `partition`); those go around it, as in `partition` of buckets.
        So does `master_weights`, which could not see here which parameters have 16 bits. A
        transformation of Optax's is taken at its word.
      max_size: the largest number of elements of an array that goes into a bucket. An array that
        is split over devices in an explicit mesh stays by itself, and in a `shard_map` those
        that differ between devices stand in vectors of their own. The boxes in which Flax keeps the
        names of axes are left off in the state.

    Returns:
      A transformation with the state that `inner` has for `Bucketed` parameters.

    Raises:
      TypeError, ValueError: for an inner transformation that is refused; by `update`, for a small
        array without a gradient.
    """
    for tx in inside(inner):
        _require_element_wise(tx)

    def init(params: Params) -> State:
        tree.require_trainable("bucket.init(params)", params)
        if tree.stands_for_tree(params):
            return jax.tree.map(_no_tree, inner.init(params), is_leaf=tree.stands_for_tree)
        bare = tree.unboxed(params)
        leaves, structure = jax.tree.flatten(bare)
        return inner.init(_together(_plan(bare, leaves, max_size), leaves, structure))

    def update(
        updates: Updates, state: State, params: Params, **extra: Any
    ) -> tuple[Updates, State]:
        tree.require_matching(updates, params)
        # In the bare structure, which the state has had since `init`.
        bare = tree.unboxed(params)
        grads, owners, structure = tree.paired(tree.unboxed(updates), bare)
        plan = _plan(bare, owners, max_size)
        _require_gradients(plan, grads, updates)
        u, state = update_wide(
            inner,
            _together(plan, [tree.widen(g) for g in grads], structure),
            state,
            _together(plan, owners, structure),
            **extra,
        )
        boxed = jax.tree.structure(updates, is_leaf=lambda x: x is None)
        return jax.tree.unflatten(boxed, _apart(plan, u, grads, structure)), state

    return init, update


def _no_tree(x: Any) -> Any:
    """A number in place of what stands for a tree of parameters: `Bucketed` is none."""
    return jnp.zeros(()) if tree.stands_for_tree(x) else x


def _require_element_wise(tx: Any) -> None:
    """Refuse what treats arrays differently, or a number by the rest of its array."""
    recipe = getattr(tx, "recipe", None)
    if recipe is None:
        return
    masks = [n for n, x in recipe.arguments.items() if n.endswith("mask") and x is not None]
    check.require(
        not masks,
        f"`{recipe.name}({masks[0] if masks else ''}=...)` inside chooses among arrays. {_AROUND}",
    )
    check.require(
        not hasattr(recipe.factory, "wide_updates"),
        f"`{recipe.name}` inside would find no 16-bit parameter, as all are in at least float32 "
        f"in a bucket. Put it around the bucket: `{recipe.name}(bucket(...))`.",
    )
    check.require(
        not getattr(recipe.factory, "leaf_wise", False),
        f"`{recipe.name}` inside looks at each array as such. {_AROUND}",
    )


Plan = dict[str, list[int]]  # by the vector's name: the places, among the leaves, of its arrays


def _plan(params: Params, leaves: list[Any], max_size: int) -> Plan:
    """Which arrays go together; told from their types alone, so that it is the same every time.

    Args:
      params: the parameters.
      leaves: their arrays, perhaps with `None` among them where one is absent.
      max_size: the largest number of elements of a small array.
    """
    together: dict[tuple[str, frozenset[str]], list[int]] = {}
    for place, p in enumerate(leaves):
        if p is not None and math.prod(jnp.shape(p)) <= max_size and not _is_split(p):
            # What differs between the devices of a `shard_map` would make all differ.
            key = str(numerics.wide_dtype(jnp.result_type(p))), _varying(p)
            together.setdefault(key, []).append(place)
    paths = iter(path for path, _ in jax.tree.leaves_with_path(params))
    names = [None if p is None else keystr(next(paths), simple=True) for p in leaves]
    return {
        f"{precision}_{_checksum((names[i], jnp.shape(leaves[i])) for i in places)}": places
        for (precision, _), places in together.items()
    }


def _checksum(arrays: Iterable[Any]) -> str:
    """Eight digits that tell the arrays of one vector from those of another."""
    return f"{zlib.crc32(repr([*arrays]).encode()):08x}"


def _is_split(p: Any) -> bool:
    """Whether an explicit mesh splits an array; what the compiler decides is not seen."""
    sharding = getattr(jax.typeof(p), "sharding", None) if isinstance(p, jax.Array) else None
    return any(axis is not None for axis in getattr(sharding, "spec", ()))


def _varying(p: Any) -> frozenset[str]:
    return mesh.varying(p) if isinstance(p, jax.Array) else frozenset()


def _together(plan: Plan, leaves: list[Any], structure: Any) -> Bucketed:
    small = {place for places in plan.values() for place in places}
    left = [optax.MaskedNode() if place in small else x for place, x in enumerate(leaves)]
    return Bucketed(
        arrays=jax.tree.unflatten(structure, left),
        vectors={name: _vector([leaves[i] for i in places]) for name, places in plan.items()},
    )


def _vector(arrays: list[Any]) -> Any:
    """The arrays one behind another, at least in float32."""
    if all(isinstance(x, jax.ShapeDtypeStruct) for x in arrays):
        return jax.eval_shape(_vector, arrays)
    dtypes = [numerics.wide_dtype(jnp.result_type(x)) for x in arrays]
    dtype = reduce(numerics.widest, dtypes)
    return jnp.concatenate([jnp.asarray(x).astype(dtype).reshape(-1) for x in arrays])


def _require_gradients(plan: Plan, grads: list[Any], updates: Updates) -> None:
    for places in plan.values():
        for place in places:
            if grads[place] is None:
                path = jax.tree.leaves_with_path(updates, is_leaf=lambda x: x is None)[place][0]
                name = keystr(path, simple=True, separator="/")
                raise check.Refusal(
                    f"leaf `{name}` has no gradient, and its bucket is updated as a whole. Leave "
                    "the parameter out with `None` as well, or give it a gradient of zeros."
                )


def _apart(plan: Plan, u: Bucketed, grads: list[Any], structure: Any) -> list[Any]:
    """The updates of all arrays, in the order of the leaves."""
    leaves = structure.flatten_up_to(u.arrays)
    for name, places in plan.items():
        shapes = [jnp.shape(grads[i]) for i in places]
        ends = accumulate(map(math.prod, shapes), initial=0)
        for i, shape, (start, end) in zip(places, shapes, pairwise(ends), strict=True):
            leaves[i] = jax.lax.slice(u.vectors[name], (start,), (end,)).reshape(shape)
    return leaves
