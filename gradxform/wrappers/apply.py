"""The end of a step: parameters plus updates."""

from typing import Any, cast

import jax
import jax.numpy as jnp

from ..core import check, mesh, numerics, tree
from ..core.repeated import each
from ..core.selector import paths
from ..core.types import Params, Updates


def apply_updates(params: Params, updates: Updates) -> Params:
    """params + updates, each leaf added in at least float32 and rounded to the parameter's dtype.

    Args:
      params: a tree of arrays.
      updates: what `update` returned for them. A parameter without an update (`None`) stays.

    Returns:
      The new parameters, with the structure, shapes and dtypes of `params`, and on a mesh with
      Explicit axes also with their shardings: updates that come in more pieces are gathered.

    Raises:
      ValueError: the trees do not fit; the message names the first leaf that differs.
      TypeError: an update would be added to a parameter that is no floating or complex array.
    """
    try:
        tree.require_matching(updates, params)
    except check.Refusal:
        raise ValueError(_misfit(params, updates)) from None
    moved = jax.tree.map(
        lambda u, p: p if u is not None else None, updates, params, is_leaf=_is_none
    )
    tree.require_trainable("apply_updates(params, updates)", moved)

    leaves, structure = jax.tree.flatten(updates, is_leaf=_is_none)
    old: list[Params] = cast(Any, structure).flatten_up_to(params)
    pairs = {i: (u, p) for i, (u, p) in enumerate(zip(leaves, old, strict=True)) if u is not None}
    sums = each(_sum, pairs, None)
    return jax.tree.unflatten(structure, [sums.get(i, p) for i, p in enumerate(old)])


def _misfit(params: Params, updates: Updates) -> str:
    """What to write, where the updates do not fit the parameters."""
    call = "`apply_updates(params, updates)`"
    structures: list[Any] = [jax.tree.structure(x) for x in (updates, params)]
    is_pair = isinstance(updates, tuple) and len(updates) == 2
    if is_pair and jax.tree.structure(updates[0]) == structures[1]:
        return (
            f"{call}: the updates are a pair, as `update` returns it. Take it apart: "
            "`updates, state = tx.update(grads, state, params)`."
        )
    ours, theirs = dict(paths(updates)), dict(paths(params))
    for path in [*ours, *theirs]:
        leaf = f"leaf `{path}`" if path else "the only leaf"
        u, p = tree.describe(ours.get(path)), tree.describe(theirs.get(path))
        if (path in ours) != (path in theirs) or jnp.shape(ours[path]) != jnp.shape(theirs[path]):
            return (
                f"{call}: {leaf} is {u} among the updates and {p} among the parameters. The "
                "parameters come first, and one without an update has `None` in its place."
            )
    return (
        f"{call}: the updates and the parameters hold the same leaves in different containers: "
        f"{structures[0]} against {structures[1]}."
    )


def _sum(pair: tuple[jax.Array, jax.Array], _: None) -> jax.Array:
    u, p = map(jnp.asarray, pair)
    wide = numerics.wide_dtype(numerics.widest(p.dtype, u.dtype))
    return mesh.like((p.astype(wide) + u.astype(wide)).astype(p.dtype), p)


def _is_none(x: object) -> bool:
    return x is None
