"""Work that is done on some steps only, and stays a branch under `vmap`."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

from . import check, mesh


@jax.custom_jvp
def for_any(due: Array) -> Array:
    """Whether any member of a batch is due: the predicate to give to `lax.cond`.

    `vmap` turns a condition that differs between members into a selection, which computes both
    branches on every step. One that is the same for all members stays a branch. The branch taken
    must then itself leave the members alone that are not due, by selecting with `due`.
    """
    return _for_any(due)


@for_any.defjvp
def _for_any_jvp(primals: tuple[Array], tangents: tuple[Any]) -> tuple[Array, Any]:
    # The derivative that `custom_vmap` has by itself computes both together, so that in reverse
    # mode the condition would not be known before the backward pass.
    return for_any(*primals), tangents[0]


@custom_vmap
def _for_any(due: Array) -> Array:
    return due


@_for_any.def_vmap
def _for_any_batched(size: int, batched: Any, due: Array) -> tuple[Array, bool]:
    del size, batched
    return for_any(jnp.any(due, axis=0)), False


def when(
    due: Array, work: Callable[..., Any], otherwise: Callable[..., Any], *operands: Any
) -> Any:
    """`work(*operands)` where `due`, else `otherwise(*operands)`: one branch, also under `vmap`.

    Under a `vmap` whose members differ in `due`, `work` runs on the steps on which any of them is
    due, and the others take the result of `otherwise`. Without one, nothing is selected. (A
    selection inside the branch would read the old values behind the new ones, and XLA would copy
    every array that it could have changed in place.)

    Args:
      due: a bool scalar. Known outside of a traced function, it runs one of the two as it stands.
      work: returns a tree of arrays.
      otherwise: returns a tree of the same structure, shapes and dtypes.
      *operands: trees of arrays. What an operand and a result have in common (the same place and
        type) may be changed in place: give what changes as an operand and not by closure.
    """
    due = jnp.asarray(due)  # NumPy, where a restored state holds NumPy counters
    if not check.is_traced(due) and due.is_fully_addressable:
        return (work if bool(due) else otherwise)(*operands)

    work, otherwise = mesh.of_one_type((work, otherwise), operands)

    def taken(*operands: Any) -> Any:
        return _of_members(due, work(*operands), otherwise(*operands))

    return lax.cond(for_any(due), taken, otherwise, *operands)


@jax.custom_jvp
def _of_members(due: Array, new: Any, old: Any) -> Any:
    """`new` for the members that are due, in the branch that is taken when any of them is."""
    return _new_of_members(due, new, old)


@_of_members.defjvp
def _of_members_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    due = primals[0]

    def select(new: Any, old: Any) -> Any:
        return new if new.dtype == jax.dtypes.float0 else jnp.where(due, new, old)

    return _of_members(*primals), jax.tree.map(select, *tangents[1:])


@custom_vmap
def _new_of_members(due: Array, new: Any, old: Any) -> Any:
    return new


@_new_of_members.def_vmap
def _of_members_batched(size: int, batched: Any, due: Array, new: Any, old: Any) -> tuple[Any, Any]:
    due_batched, new_batched, old_batched = batched

    def stacked(x: Array, is_batched: bool) -> Array:
        return x if is_batched else jnp.broadcast_to(x, (size, *x.shape))

    if due_batched:
        both = jax.tree.map(lambda _: True, new_batched)
    else:  # the members are due together; those of a `vmap` further out may differ
        both = jax.tree.map(operator.or_, new_batched, old_batched)
    new, old = (
        jax.tree.map(lambda x, b, want: stacked(x, b) if want else x, tree, flags, both)
        for tree, flags in ((new, new_batched), (old, old_batched))
    )
    if due_batched:

        def select(n: Array, o: Array) -> Array:
            return jax.vmap(jnp.where)(due, n, o)

        return jax.tree.map(select, new, old), both
    return _of_members(due, new, old), both
