"""A leaf rule on one leaf: in which precision it computes, and how it runs outside of `jit`.

Outside of a traced function, JAX starts a program for each operation. A rule has ten to thirty of
them, so the rule as a whole is compiled once for each kind of leaf, and kept: a leaf is one call.
Values may differ from those of single operations by a rounding, as those under `jit` do.
"""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from . import check, mesh, numerics


class Leaf(NamedTuple):
    """What a rule is given of one place in the trees."""

    g: Any
    buffers: list[Any]
    p: Any
    beside: dict[str, Any]


def applied(
    rule: Callable[..., Any], leaf: Leaf, scalars: dict[str, Any], *, has_params: bool
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


def applied_at_once(
    rule: Callable[..., Any], leaves: dict[int, Leaf], scalars: dict[str, Any], *, has_params: bool
) -> dict[int, Any] | None:
    """`applied` to all leaves, by programs that are compiled once and kept.

    Returns:
      The results by index. None where the rule has to run operation by operation or is traced:
      something is traced, lies on several devices or is no array; a mesh is set; `rule` is a
      function of a moment, such as a closure; or JAX is asked to look at single operations.
    """
    if not _may_be_kept(rule):
        return None
    program = operands = None
    results = {}
    for index, leaf in leaves.items():
        for x in jax.tree.leaves(leaf[:3]):
            if not (_is_here(x) or isinstance(x, _OF_NUMPY)):
                return None
        if program is None or leaf.beside:
            others, structure = jax.tree.flatten((leaf.beside, scalars))
            operands, constants = _parted(others)
            if operands is None:
                return None
            program = _program(rule, has_params, structure, constants)
        results[index] = program(leaf.g, leaf.buffers, leaf.p, operands)
    return results


def _parted(values: list[Any]) -> tuple[list[Any] | None, tuple[Any, ...]]:
    """The arrays among the values, and the constants, with `_OPERAND` in place of each array.

    None for the arrays where something is neither, or a random key: what is drawn with it is then
    bit for bit what `jax.random` draws by itself. A constant is kept with its class and its text:
    1 equals 1.0 and True, and 0.0 equals -0.0.
    """
    operands: list[Any] = []
    constants: list[Any] = []
    for x in values:
        if type(x) in _CONSTANTS:
            constants.append((type(x), x, str(x)))
        elif _is_here(x) and not jnp.issubdtype(x.dtype, jax.dtypes.extended):
            operands.append(x)
            constants.append(_OPERAND)
        else:
            return None, ()
    return operands, tuple(constants)


_OPERAND = None
_CONSTANTS = {float, int, bool, str}


@functools.lru_cache(maxsize=256)
def _program(
    rule: Callable[..., Any], has_params: bool, structure: Any, constants: tuple[Any, ...]
) -> Callable[..., Any]:
    """`applied` with these constants, compiled by JAX for each type of arrays that it is given."""

    def run(g: Any, buffers: Any, p: Any, operands: list[Any]) -> Any:
        arrays = iter(operands)
        values = [next(arrays) if x is _OPERAND else x[1] for x in constants]
        beside, scalars = jax.tree.unflatten(structure, values)
        return applied(rule, Leaf(g, buffers, p, beside), scalars, has_params=has_params)

    run.__name__ = run.__qualname__ = rule.__name__
    return jax.jit(run)


def _may_be_kept(rule: Any) -> bool:
    """Whether it is one object at each call and closes over nothing; and JAX's settings allow."""
    is_lasting = (
        type(rule) is FunctionType
        and rule.__closure__ is None
        and "<locals>" not in rule.__qualname__
    )
    config: Any = jax.config
    by_operation = config.jax_disable_jit or config.jax_debug_nans or config.jax_debug_infs
    return is_lasting and not by_operation and jax.sharding.get_abstract_mesh().empty


def _is_here(x: Any) -> bool:
    """Whether it is an array with values on one device."""
    known = type(x) in check.ARRAYS or (isinstance(x, jax.Array) and not check.is_traced(x))
    return known and type(x.sharding) is SingleDeviceSharding


_OF_NUMPY = (np.ndarray, np.generic, float, complex, int)


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
