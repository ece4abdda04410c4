"""From one array to a tree of them: the only place that knows about leaves.

A block writes its mathematics as a *leaf rule*, a function of one array and its buffers:

    def _lion_rule(g, mu, *, b1, b2):
        return jnp.sign(ema(mu, g, b1)), ema(mu, g, b2)

`lift` runs it over trees. It widens what it hands to the rule to at least float32, rounds the
buffers back to their own dtype, leaves `None` alone, and names the leaf where two trees do not fit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from . import check, mesh, numerics
from .repeated import each, new_array


def lift(
    rule: Callable[..., Any],
    updates: Any,
    *buffers: Any,
    params: Any = None,
    where: Any = None,
    along: dict[str, Any] | None = None,
    **scalars: Any,
) -> Any:
    """Run a leaf rule over trees.

    Args:
      rule: `rule(g, *buffers, **scalars)`, or `rule(g, *buffers, p=p, **scalars)` where `params`
        is given. It returns the new update, followed by the new buffers if there are any.
      updates: the tree whose arrays are the rule's first argument.
      *buffers: state trees with the structure of `updates`.
      params: the parameters, for rules that read them.
      where: a tree of Python bools; where it is False the update and its buffers pass unchanged.
      along: trees that the rule gets leaf by leaf as they are, by keyword, such as random keys.
      **scalars: what the rule needs besides arrays. Arrays among them get the leaf's precision.

    Returns:
      The tree of updates, in at least float32, or a tuple of it and the new buffers.
    """
    leaves, structure = _flatten(updates)
    columns = [_column(structure, updates, buffer, _STATE) for buffer in buffers]
    owners = _owners(structure, updates, params)
    chosen = [True] * len(leaves) if where is None else structure.flatten_up_to(where)
    beside = {name: structure.flatten_up_to(x) for name, x in (along or {}).items()}

    results: list[Any] = [None] * len(leaves)
    given: dict[int, _Leaf] = {}
    for index, (g, p, use) in enumerate(zip(leaves, owners, chosen, strict=True)):
        mine = [column[index] for column in columns]
        if g is None or not use:
            results[index] = (widen(g), *mine)
            continue
        _require_shapes(updates, index, g, [(p, _PARAMS), *((b, _STATE) for b in mine)])
        given[index] = _Leaf(g, mine, p, {name: column[index] for name, column in beside.items()})

    def one(leaf: _Leaf, scalars: dict[str, Any]) -> Any:
        return _applied(rule, leaf, scalars, has_params=params is not None)

    one.__name__ = getattr(rule, "__name__", "rule")
    for index, result in each(one, given, scalars).items():
        results[index] = result

    new = jax.tree.unflatten(structure, [result[0] for result in results])
    if not buffers:
        return new
    # Each buffer in its own structure: it may have no boxes where the updates have some.
    kept = [
        jax.tree.unflatten(jax.tree.structure(old), jax.tree.leaves([r[i] for r in results]))
        for i, old in enumerate(buffers, start=1)
    ]
    return new, *kept


class _Leaf(NamedTuple):
    """What a rule is given of one place in the trees."""

    g: Any
    buffers: list[Any]
    p: Any
    beside: dict[str, Any]


def _applied(
    rule: Callable[..., Any], leaf: _Leaf, scalars: dict[str, Any], *, has_params: bool
) -> Any:
    """The rule's results for one leaf: the update widened, the buffers in their own dtypes."""
    precision = _precision(leaf.g, leaf.p, *leaf.buffers)
    g, p = (_where_the_buffer_is(x, leaf.buffers) for x in (leaf.g, leaf.p))
    out = rule(
        numerics.at_precision(g, precision),
        *jax.tree.map(lambda x: numerics.at_precision(x, precision), leaf.buffers),
        **({"p": numerics.at_precision(p, precision)} if has_params else {}),
        **leaf.beside,
        **{name: _at_precision_of(scalar, precision) for name, scalar in scalars.items()},
    )
    u, *after = out if leaf.buffers else (out,)
    return (u, *jax.tree.map(lambda x, old: x.astype(old.dtype), after, leaf.buffers))


def _where_the_buffer_is(x: Any, buffers: list[Any]) -> Any:
    """A gradient or parameter split as the first buffer is that has its shape."""
    if isinstance(x, jax.Array):
        for buffer in buffers:
            if isinstance(buffer, jax.Array) and buffer.shape == x.shape:
                return mesh.like(x, buffer)
    return x


def _precision(*arrays: Any) -> np.dtype[Any]:
    dtypes = [numerics.real_dtype(jnp.asarray(x).dtype) for x in jax.tree.leaves(arrays)]
    return max(dtypes, key=lambda dtype: dtype.itemsize)


def _at_precision_of(scalar: Any, precision: np.dtype[Any]) -> Any:
    if isinstance(scalar, numerics.ChangingDecay):
        scalar = scalar.now
    if isinstance(scalar, jax.Array) and jnp.issubdtype(scalar.dtype, np.inexact):
        return numerics.at_precision(scalar, precision)
    return scalar


def _flatten(updates: Any) -> tuple[list[Any], Any]:
    """Leaves and structure, with an absent gradient as a leaf of its own."""
    return jax.tree.flatten(updates, is_leaf=_is_none)


def _is_none(x: Any) -> bool:
    return x is None


def _dtype(x: Any) -> Any:
    return x.dtype if isinstance(x, jax.Array) else jnp.asarray(x).dtype


def widen(x: Any) -> Any:
    """The array `x` in at least float32; `None` as it is."""
    if x is None:
        return None
    x = jnp.asarray(x)
    return x.astype(numerics.wide_dtype(x.dtype))


def ascent(gradients: Any) -> Any:
    """`gradients` as `jax.grad` returns them, turned to steepest ascent: complex ones conjugated.

    `jax.grad` of a real loss has dL/dx - i dL/dy for a parameter x + iy, and the loss rises most
    along dL/dx + i dL/dy. Transformations take the latter.
    """
    return jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, gradients)


def narrow(wide: Any, updates: Any, params: Any = None, *, at_least_float32: bool = False) -> Any:
    """Round `wide` to the wider dtype of `updates` and `params`, and `at_least_float32` if so."""
    leaves, structure = _flatten(updates)
    columns = (structure.flatten_up_to(wide), _owners(structure, updates, params))

    def rounded(g: Any, new: Any, p: Any) -> Any:
        if g is None or new is None:
            return new
        dtype = _dtype(g) if p is None else numerics.widest(_dtype(g), _dtype(p))
        dtype = numerics.wide_dtype(dtype) if at_least_float32 else dtype
        if isinstance(new, jax.Array) and new.dtype == dtype and not new.weak_type:
            return new  # what `astype` would come to, in a tenth of the time
        return jnp.asarray(new).astype(dtype)

    return jax.tree.unflatten(structure, list(map(rounded, leaves, *columns)))


def zeros_like(params: Any, dtype: Any = None, *, real: bool = False, fill: Any = 0) -> Any:
    """Buffers shaped like the parameters, each an array of its own, sharded as its parameter.

    Args:
      params: arrays, or abstract arrays (`jax.ShapeDtypeStruct`).
      dtype: the buffers' dtype; by default the parameter's, but at least float32. A complex
        buffer keeps its imaginary part at the least complex dtype that holds `dtype`.
      real: whether a complex parameter has a real buffer, as a mean of |g|^2 is.
      fill: the value that the buffers start from.
    """

    def one(p: Any) -> Any:
        dtype_of_p = p.dtype if hasattr(p, "dtype") else jnp.result_type(p)
        own = numerics.wide_dtype(jax.dtypes.canonicalize_dtype(dtype_of_p))
        if jnp.issubdtype(own, np.complexfloating) and real:
            own = numerics.real_dtype(own)
        if dtype is not None:
            is_complex = jnp.issubdtype(own, np.complexfloating)
            own = jnp.promote_types(dtype, "complex64") if is_complex else jnp.dtype(dtype)
        if check.is_traced(p):
            # Under `jit`, `full_like` forgets the sharding; a value computed from `p` follows it.
            def follow() -> jax.Array:
                return numerics.filled_like(p.real if real else p, 0).astype(own) + jnp.asarray(
                    fill, own
                )

            return new_array((p.shape, own), follow)
        return jnp.full_like(p, fill, own)

    return jax.tree.map(one, params)


def as_arrays(state: Any) -> Any:
    """A tree of arrays, also where a state has Python's or NumPy's numbers."""

    def one(x: Any) -> jax.Array:
        return x if isinstance(x, jax.Array) else jnp.array(x, jnp.result_type(x))

    return jax.tree.map(one, state)


def typed_like(old: Any, new: Any) -> Any:
    """`new` in the dtypes of `old`, so that two branches of a program return the same types.

    A transformation of Optax's may return others than it was given, or Python's numbers.
    """
    before: Any = jax.tree.structure(old)
    after: Any = jax.tree.structure(new)
    check.require(
        before == after,
        "the inner transformation returned a tree of another structure than it was given: "
        f"{check.brief(after)} for {check.brief(before)}.",
    )

    def one(o: Any, n: Any) -> Any:
        dtype = _dtype(o)
        if isinstance(n, jax.Array) and n.dtype == dtype:
            return n
        return jnp.asarray(n).astype(dtype)

    return jax.tree.map(one, old, new)


def unboxed(tree: Any) -> Any:
    """`tree` with bare arrays in the place of a framework's boxes.

    Flax wraps a parameter together with the names of its axes. A buffer of another shape must not
    carry them: `init` builds it from `unboxed(params)`.
    """
    leaves, structure = jax.tree.flatten(tree)
    if of_structure(_has_boxes, structure, tree):
        return jax.tree.map(_content, tree, is_leaf=_is_box)
    return jax.tree.unflatten(structure, leaves)


def of_structure(fact: Callable[[Any], Any], structure: Any, tree: Any) -> Any:
    """`fact(tree)`, which must follow from the structure: computed once for equal ones.

    A fact that looks at each leaf in Python is asked for again by each of many groups.
    """
    try:
        if (known := _FACTS.get((fact, structure))) is not None:
            return known
    except (TypeError, ValueError):  # it holds something that has no hash, or does not compare
        return fact(tree)
    if len(_FACTS) >= _MOST_FACTS:
        _FACTS.clear()
    return _FACTS.setdefault((fact, structure), fact(tree))


_FACTS: dict[Any, Any] = {}
_MOST_FACTS = 256


def _has_boxes(tree: Any) -> bool:
    return any(map(_is_box, jax.tree.leaves(tree, is_leaf=_is_box)))


def stands_for_tree(params: Any) -> bool:
    """Whether `params` is a mark for any tree, as `optax.tree.map_params` gives one to `init`.

    That is a node of a class of its own that has no parts.
    """
    structure: Any = jax.tree.structure(params)
    plain = params is None or isinstance(params, dict | list | tuple)
    return structure.num_nodes == 1 and structure.num_leaves == 0 and not plain


def of_other_shapes(make: Callable[[Any], Any], params: Any) -> Any:
    """`make(p)` for each parameter: buffers of other shapes, without a framework's boxes.

    Where `params` stands for any tree, one number: what it stands for is no tree like it.
    """
    if stands_for_tree(params):
        return jnp.zeros(())
    return jax.tree.map(make, unboxed(params))


def _is_box(x: Any) -> bool:
    return hasattr(x, "unbox") or (hasattr(x, "get_value") and hasattr(x, "get_metadata"))


def _content(x: Any) -> Any:
    return jax.tree.leaves(x)[0] if _is_box(x) and jax.tree.leaves(x) else x


def require_trainable(call: str, params: Any) -> None:
    """Raise a `TypeError` of `call` where a leaf of `params` can have no gradient, by path."""
    for path, leaf in tree_flatten_with_path(params)[0]:
        if isinstance(leaf, float | complex):
            continue
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, np.inexact):
            raise TypeError(_untrainable(call, path, leaf))


def require_arrays(call: str, params: Any) -> None:
    """Raise a `TypeError` of `call` where a leaf of `params` is no array of numbers, by path.

    What a transformation may do with whole numbers, its `init` says.
    """
    for path, leaf in tree_flatten_with_path(params)[0]:
        if isinstance(leaf, bool | int | float | complex):
            continue
        dtype = getattr(leaf, "dtype", None)
        if not any(dtype is not None and jnp.issubdtype(dtype, x) for x in (np.number, np.bool_)):
            raise TypeError(_untrainable(call, path, leaf))


def _untrainable(call: str, path: Any, leaf: Any) -> str:
    return (
        f"`{call}`: {_leaf_name(path)} is of type {getattr(leaf, 'dtype', type(leaf).__name__)}; "
        "only floating and complex arrays can be trained. Pass the trainable part of the model: "
        "`eqx.filter(model, eqx.is_inexact_array)`, `nnx.state(model, nnx.Param)` or "
        "`variables['params']`, or leave the rest out as `None`."
    )


def paired(updates: Any, params: Any) -> tuple[list[Any], list[Any], Any]:
    """The arrays of `updates` and `params` side by side, `None` for absent ones; the structure."""
    leaves, structure = _flatten(updates)
    return leaves, _owners(structure, updates, params), structure


def require_matching(updates: Any, params: Any) -> None:
    """Raise a `Refusal` where `updates` are not gradients of `params`, by path, with both."""
    leaves, structure = _flatten(updates)
    owners = _column(structure, updates, params, _PARAMS)
    for index, g in enumerate(leaves):
        if g is not None:
            _require_shapes(updates, index, g, [(owners[index], _PARAMS)])


_PARAMS = "the parameters"
_STATE = "the optimizer state"
_CAUSE = (
    "Were the gradients taken with respect to these parameters, and the state made by `init` "
    "from them, or carried over by `transfer_state`?"
)


def _owners(structure: Any, updates: Any, params: Any) -> list[Any]:
    """The parameter of each leaf; None where no parameters are given."""
    if params is None:
        return [None] * structure.num_leaves
    return _column(structure, updates, params, _PARAMS)


def _column(structure: Any, updates: Any, other: Any, what: str) -> list[Any]:
    """The parts of `other` at the leaves of `updates`; an error that names the first misfit."""
    for unbox in (False, True):
        like = _flatten(unboxed(updates))[1] if unbox else structure
        try:
            column = like.flatten_up_to(other)
        except (ValueError, TypeError, KeyError):
            continue
        if not _misses(updates, column):
            return list(column)
    raise check.Refusal(_misfit(updates, other, what))


def _require_shapes(updates: Any, index: int, g: Any, others: list[tuple[Any, str]]) -> None:
    """Refuse a leaf `g` of the updates whose shape is not that of its parameter or its buffers."""
    for x, what in others:
        is_array = isinstance(x, jax.Array | np.ndarray | np.generic | float | complex)
        if is_array and np.shape(g) != np.shape(x):
            path, _ = tree_flatten_with_path(updates, is_leaf=_is_none)[0][index]
            raise check.Refusal(
                f"{_leaf_name(path)} is {describe(g)} among the gradients and {describe(x)} in "
                f"{what}. {_CAUSE}"
            )


def _misses(updates: Any, column: list[Any]) -> bool:
    """Whether an array of `updates` has no partner."""
    leaves = jax.tree.leaves(updates, is_leaf=_is_none)
    return any(g is not None and x is None for g, x in zip(leaves, column, strict=True))


def _misfit(updates: Any, other: Any, what: str) -> str:
    ours = {_leaf_name(path): x for path, x in tree_flatten_with_path(updates)[0]}
    theirs = {_leaf_name(path): x for path, x in tree_flatten_with_path(other)[0]}
    for name in [*ours, *theirs]:
        if (name in ours) != (name in theirs):
            sides = (describe(ours.get(name)), describe(theirs.get(name)))
            return f"{name} is {sides[0]} among the gradients and {sides[1]} in {what}. {_CAUSE}"
    return (
        f"the gradients and {what} hold the same leaves in different containers: "
        f"{jax.tree.structure(updates)} against {jax.tree.structure(other)}."
    )


def describe(leaf: Any) -> str:
    """The dtype and shape of the array `leaf`, or `missing`."""
    if leaf is None:
        return "missing"
    return f"{jnp.asarray(leaf).dtype}{list(jnp.shape(leaf))}"


def _leaf_name(path: Any) -> str:
    return f"leaf `{keystr(path, simple=True, separator='/')}`" if path else "the only leaf"
