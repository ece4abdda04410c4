"""Sizes of one array, and of the units that it is made of.

Each is the root of a sum of squares in float32, as in torch and optax: above about 1e19 it is
infinite, and below about 1e-19 it is 0. A second pass in another unit, as `numerics.global_norm`
makes one, takes XLA three times as long to compile for 300 arrays.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from jax import Array

from ..core import check, numerics


class AxisRule:
    """Which axes are summed over."""

    kind = "int | tuple[int, ...] | None"

    def __call__(self, call: str, name: str, value: Any) -> int | tuple[int, ...] | None:
        """A whole number, several as a tuple, so that a list equals it, or None."""
        if value is None:
            return None
        several = isinstance(value, list | tuple)
        axes = tuple(map(check.whole_number, value if several else (value,)))
        known = [axis for axis in axes if axis is not None]
        if len(known) < len(axes):
            check.fail(call, name, value, "a whole number, a tuple of them, or None")
        return tuple(known) if several else known[0]


# Which axes are summed over: one, several, or None for those that the layout implies.
Axis = Annotated[int | Sequence[int] | None, AxisRule()]


def block_norm(x: Array) -> Array:
    """The Euclidean norm of an array."""
    return numerics.root(numerics.array_sum(numerics.abs_sq(x)))


def block_rms(x: Array) -> Array:
    """The root-mean-square of an array; 0 for an empty one."""
    return numerics.root(
        numerics.array_sum(numerics.abs_sq(x)) / float(max(numerics.array_size(x), 1))
    )


def summed_axes(x: Array, axis: Axis, implied: tuple[int, ...]) -> tuple[int, ...]:
    """The axes to sum over: `axis` for an array that has units, else those implied."""
    if axis is None or x.ndim < 2:
        return implied
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
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
