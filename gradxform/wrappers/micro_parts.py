"""What becomes of the arguments and of the results of a loss function on each micro-batch."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import check, numerics, tree

Argnums = int | Sequence[int]
AuxReduction = Any  # None, a word, or a tree of words
WORDS = ("mean", "sum", "stack", "concatenate")


class Roles:
    """Which positional argument is what.

    Attributes:
      several: whether the gradient is with respect to a tuple of arguments.
    """

    def __init__(self, argnums: Argnums, batch: Argnums, state: int | None, keys: Argnums) -> None:
        self.several = not isinstance(argnums, int)
        self.params = positions("argnums", argnums)
        self.batch = positions("batch_argnums", batch)
        self.state = () if state is None else positions("state_argnum", state)
        self.keys = positions("key_argnums", keys)
        used = [*self.params, *self.batch, *self.state, *self.keys]
        check.require(
            len({*used}) == len(used),
            "an argument is one of parameters, batch, state and keys; got "
            f"`argnums={self.params}`, `batch_argnums={self.batch}`, "
            f"`state_argnum={state}`, `key_argnums={self.keys}`.",
        )

    def require(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse a call that has not given all of them by position."""
        roles = {
            "argnums": self.params,
            "batch_argnums": self.batch,
            "state_argnum": self.state,
            "key_argnums": self.keys,
        }
        for option, places in roles.items():
            missing = [place for place in places if place >= len(args)]
            given = ", ".join(f"`{name}`" for name in kwargs)
            check.require(
                not missing,
                f"`{option}` is the position of an argument, here {missing and missing[0]}, and "
                f"the call has {len(args)} by position"
                + (f" and {given} by keyword. Leave the keyword out." if given else "."),
            )

    def trainable(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The parameters, with `None` in the place of what has no gradient."""
        return jax.tree.map(
            lambda x: x if _has_gradient(x) else None, tuple(args[i] for i in self.params)
        )

    def with_parameters(self, args: tuple[Any, ...], trainable: Any) -> list[Any]:
        """The arguments, with the parameters put together again."""
        whole = list(args)
        for i, part in zip(self.params, trainable, strict=True):
            whole[i] = jax.tree.map(
                lambda t, x: x if t is None else t, part, args[i], is_leaf=lambda x: x is None
            )
        return whole

    def at(self, args: tuple[Any, ...], parts: Any, state: Any, i: Array) -> tuple[Any, ...]:
        """The arguments of micro-batch i."""
        here = list(args)
        for position, part in zip(self.batch, parts, strict=True):
            here[position] = jax.tree.map(
                lambda x: jax.lax.dynamic_index_in_dim(x, i, axis=1, keepdims=False), part
            )
        for position in self.state:
            here[position] = state
        for position in self.keys:
            here[position] = jax.tree.map(lambda key: jax.random.fold_in(key, i), args[position])
        return tuple(here)


def positions(name: str, value: Argnums) -> tuple[int, ...]:
    """Positions of arguments as a tuple."""
    several = value if isinstance(value, list | tuple) else (value,)
    found = [check.whole_number(item) for item in several]
    known = tuple(i for i in found if i is not None and i >= 0)
    check.require(
        len(known) == len(found),
        f"`{name}` must be the position of an argument from 0 on, or several; got "
        f"{check.brief(value)}.",
    )
    return known


def _has_gradient(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    return isinstance(x, float | complex) or (
        dtype is not None and jnp.issubdtype(dtype, np.inexact)
    )


def cut(args: tuple[Any, ...], batch: tuple[int, ...], k: int) -> tuple[Any, ...]:
    """The arrays of a batch with a second axis of k: the micro-batch that an example belongs to.

    Args:
      args: the arguments of the loss function.
      batch: the positions of those that are cut.
      k: the number of micro-batches.
    """
    found = []
    for i in batch:
        of = "the batch" if len(batch) == 1 else f"argument {i}"
        for path, x in tree_flatten_with_path(args[i])[0]:
            leaf = f"leaf `{keystr(path, simple=True, separator='/')}` of {of}" if path else of
            found.append((leaf, x))
    check.require(bool(found), "the batch holds no arrays that could be cut.")
    first = None
    for name, x in found:
        shape = jnp.shape(x)
        check.require(
            len(shape) > 0,
            f"{name} is {check.brief(x)}, which has no axis to cut. What is the same for all "
            "micro-batches goes into another argument.",
        )
        size = shape[0]
        check.require(
            size % k == 0,
            f"{name} has {size} examples ({tree.describe(x)}), which cannot be cut into {k} "
            f"micro-batches of equal size. Take one of {_divisors(size)} micro-batches, or drop "
            "or pad examples and let the loss function return the number of those that count "
            "(`weighted=True`).",
        )
        first = (name, size) if first is None else first
        check.require(
            size == first[1],
            f"{name} has {size} examples and {first[0]} has {first[1]}: the first axis of every "
            "array must be that of the examples.",
        )
    return jax.tree.map(lambda x: _cut(jnp.asarray(x), k), tuple(args[i] for i in batch))


def _divisors(size: int) -> str:
    found = [str(k) for k in range(1, size + 1) if size % k == 0] if size <= 1 << 20 else []
    return ", ".join(found if len(found) < 9 else [*found[:8], "..."]) or "its divisors"


def _cut(x: Array, k: int) -> Array:
    return _reshaped(x, (x.shape[0] // k, k, *x.shape[1:]), lambda n, *rest: (n, None, *rest))


def _joined(x: Array) -> Array:
    """[k, n, ...] as [n k, ...]: the examples in the order that they had before they were cut."""
    x = jnp.moveaxis(x, 0, 1)
    shape = (x.shape[0] * x.shape[1], *x.shape[2:])
    return _reshaped(x, shape, lambda n, _, *rest: (n, *rest))


def _reshaped(x: Array, shape: tuple[int, ...], axes: Callable[..., tuple[Any, ...]]) -> Array:
    """A reshape of the first axes that leaves the examples on their devices."""
    sharding: Any = getattr(jax.typeof(x), "sharding", None)
    spec = tuple(sharding.spec) if isinstance(sharding, NamedSharding) else ()
    if any(axis is not None for axis in spec):  # only under `Explicit` is it part of the type
        spec = (*spec, *[None] * (x.ndim - len(spec)))
        target = sharding.update(spec=axes(*spec))
        return jax.lax.reshape(x, shape, out_sharding=target)
    return jnp.reshape(x, shape)


# Results


def pair(out: Any, what: str, where: str = "") -> tuple[Any, Any]:
    """What a loss function returned as two things."""
    check.require(
        isinstance(out, tuple | list) and len(out) == 2,
        f"by the options, `loss_fn` returns `{what}`{where}; it returned {check.brief(out)}.",
    )
    return out[0], out[1]


def weight_of(weight: Any) -> Array:
    """The weight that a loss function returned, without its gradient."""
    w = jnp.asarray(weight)
    real = any(jnp.issubdtype(w.dtype, kind) for kind in (np.floating, np.integer))
    check.require(
        real and w.shape == (),
        "the weight that `loss_fn` returns must be one real number; got "
        f"{w.dtype}{list(w.shape)}. Return the number of its examples, as in `jnp.sum(mask)`.",
    )
    return jax.lax.stop_gradient(w.astype(numerics.scalar_dtype()))


def as_before(old: Any, new: Any) -> Any:
    """The state of a model after a micro-batch, in the types that it had before."""
    structures: list[Any] = [jax.tree.structure(x) for x in (old, new)]
    check.require(
        structures[0] == structures[1],
        "the state that `loss_fn` returns must have the structure of the one that it got: "
        f"{check.brief(structures[1])} for {check.brief(structures[0])}.",
    )

    def one(path: Any, a: Any, b: Any) -> Array:
        a, b = jnp.asarray(a), jnp.asarray(b)
        check.require(
            a.shape == b.shape and a.dtype == b.dtype,
            f"leaf `{keystr(path, simple=True, separator='/')}` of the state is {tree.describe(a)} "
            f"and {tree.describe(b)} in what `loss_fn` returns: the next micro-batch needs one of "
            "the same type.",
        )
        return b.astype(a.dtype)

    return jax.tree.map_with_path(one, old, new)


def mean_of(x: Array, weights: Array | None, reduction: str) -> Array:
    """Σ w x, over Σ w where it is a mean, along the first axis; 0 without any weight."""
    if weights is None:
        return jnp.mean(x, axis=0) if reduction == "mean" else jnp.sum(x, axis=0)
    w = weights.astype(numerics.real_dtype(x.dtype)).reshape(-1, *[1] * (x.ndim - 1))
    total = jnp.sum(jnp.where(w != 0, w * x, jnp.zeros_like(x)), axis=0)
    return numerics.divide(total, jnp.sum(w, axis=0)) if reduction == "mean" else total


def require_reducible(aux: Any, how: AuxReduction) -> None:
    """Refuse an `aux` for which it is not said, or cannot be, what becomes of its arrays."""
    for (path, x), word in zip(tree_flatten_with_path(aux)[0], _words(aux, how), strict=True):
        name = f"leaf `{keystr(path, simple=True, separator='/')}` of `aux`" if path else "`aux`"
        x = jnp.asarray(x)
        is_float = jnp.issubdtype(x.dtype, np.inexact)
        check.require(
            word is not None or (is_float and x.ndim == 0),
            f"{name} is {tree.describe(x)}, and only real scalars are averaged unless "
            f"`aux_reduction` says what becomes of the rest: one of {', '.join(WORDS)}, or a tree "
            "of them.",
        )
        check.require(
            word != "mean" or is_float,
            f"{name} is {tree.describe(x)}, and only floating arrays have a mean in their own "
            'dtype. Return it as such, or give `aux_reduction="sum"` or "stack".',
        )
        check.require(
            word != "concatenate" or x.ndim > 0,
            f"{name} is a scalar and has no axis of examples. Give it the `aux_reduction` "
            '"mean", "sum" or "stack".',
        )


def _words(aux: Any, how: AuxReduction) -> list[Any]:
    if how is None or isinstance(how, str):
        words = [how] * len(jax.tree.leaves(aux))
    else:
        try:
            words = jax.tree.leaves(jax.tree.broadcast(how, aux))
        except ValueError:
            words = []
        check.require(
            len(words) == len(jax.tree.leaves(aux)),
            f"`aux_reduction` must be a word, or a tree of words that fits `aux`; got "
            f"{check.brief(how)} for {check.brief(jax.tree.structure(aux))}.",
        )
    unknown = [word for word in words if word is not None and word not in WORDS]
    check.require(
        not unknown,
        f"`aux_reduction` must be one of {', '.join(WORDS)}, or a tree of them; got "
        f"{check.brief(unknown[0] if unknown else None)}.",
    )
    return words


def reduced(aux: Any, weights: Array | None, how: AuxReduction) -> Any:
    """An `aux` whose arrays have the micro-batches along a new first axis, without that axis."""

    def one(x: Array, word: str | None) -> Array:
        if word == "stack":
            return x
        if word == "concatenate":
            return _joined(x)
        if word == "sum":
            return jnp.sum(x, axis=0)
        return mean_of(tree.widen(x), weights, "mean").astype(x.dtype)

    leaves, structure = jax.tree.flatten(aux)
    return jax.tree.unflatten(structure, map(one, leaves, _words(aux, how)))
