"""Sizes of one array, and of the units that it is made of."""

from collections.abc import Sequence
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..core import check, numerics

# Which axes are summed over: one, several, or None for those that the layout implies.
Axis = int | tuple[int, ...] | None


class AxisNameRule:
    """Names of mesh axes."""

    kind = "str | tuple[str, ...] | None"

    def __call__(self, call: str, name: str, value: Any) -> str | tuple[str, ...] | None:
        """The name, a tuple of them, or None."""
        several = tuple(value) if isinstance(value, tuple | list) else (value,)
        if value is not None and not (several and all(isinstance(x, str) for x in several)):
            check.fail(call, name, value, "the name of a mesh axis, a tuple of them, or None")
        return several if isinstance(value, tuple | list) else value


# The mesh axes that arrays are split over inside of a `shard_map`: one, several, or None.
AxisName = Annotated[str | Sequence[str] | None, AxisNameRule()]


def block_norm(x: Array) -> Array:
    """The Euclidean norm of an array."""
    return jnp.sqrt(jnp.sum(numerics.abs_sq(x)))


def block_rms(x: Array) -> Array:
    """The root-mean-square of an array; 0 for an empty one."""
    return jnp.sqrt(jnp.sum(numerics.abs_sq(x)) / max(x.size, 1))


def require_axis(axis: Axis) -> None:
    """Refuse an `axis` that names no axes."""
    several = axis if isinstance(axis, tuple) else (axis,)
    check.require(
        axis is None or all(isinstance(i, int) and not isinstance(i, bool) for i in several),
        f"`axis` must be a whole number, a tuple of them, or None; got {check.brief(axis)}.",
    )


def summed_axes(x: Array, axis: Axis, implied: tuple[int, ...]) -> tuple[int, ...]:
    """The axes to sum over: `axis` for an array that has units, else those implied."""
    if axis is None or x.ndim < 2:
        return implied
    axes = axis if isinstance(axis, tuple) else (axis,)
    check.require(
        all(-x.ndim <= i < x.ndim for i in axes),
        f"`axis={axis}` does not exist in an array of shape {x.shape}. Leave it None, which goes "
        "by the layout of each array, or mask such arrays out.",
    )
    return axes


def fan_in(x: Array) -> tuple[int, ...]:
    """The axes of one output unit: all of a vector, the first of a matrix or of a projection to
    heads (in, heads, size), all but the last of a convolution (..., in, out)."""
    if np.sum(np.asarray(x.shape) != 1) <= 1:
        return tuple(range(x.ndim))
    return (0,) if x.ndim <= 3 else tuple(range(x.ndim - 1))
