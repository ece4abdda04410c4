"""The window of an accumulation: how long it is, what counts in it, and how it is summed."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..core import check, numerics, shards
from ..core.types import Updates

_LONGEST = 2.0**30


class EveryRule:
    """A whole number from 1 on, or a function of the count of updates."""

    kind = "int | Callable"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The number as an int, the function as it is."""
        if callable(value):
            return value
        try:
            return check.Whole()(call, name, value)
        except ValueError as error:
            hint = "A function of the count of updates may stand for it."
            raise ValueError(f"{error} {hint}") from None


class NamesRule:
    """Names of arguments."""

    kind = "Sequence[str]"

    def __call__(self, call: str, name: str, value: Any) -> tuple[str, ...]:
        """The names as a tuple, so that a list or a single name equals it."""
        must = "names of extra arguments, each once"
        names = (value,) if isinstance(value, str) else check.sequence(call, name, value, must)
        if not all(isinstance(item, str) for item in names) or len({*names}) < len(names):
            check.fail(call, name, value, must)
        return names


Every = Annotated[int | Callable[[Array], Any], EveryRule()]
Names = Annotated[Sequence[str], NamesRule()]


def length_of(every: Any, gradient_step: Array) -> Array:
    """k of the window that begins after so many updates."""
    if isinstance(every, int):
        return jnp.asarray(every, jnp.int32)
    value = every(gradient_step)
    is_number = isinstance(value, jax.Array | np.ndarray | np.generic | float | int)
    check.require(
        is_number and jnp.ndim(value) == 0,
        f"the function `every` must return a scalar; {check.brief(every)} returned "
        f"{check.brief(value)}.",
    )
    number = jnp.asarray(value, numerics.scalar_dtype())
    # A schedule in float32 may give 1.9999999 where it means 2.
    whole = jnp.floor(number * (1.0 + 4.0 * float(np.finfo(np.float32).eps)))
    # What is not at least 1, NaN included, is 1.
    return jnp.where(whole >= 1.0, jnp.minimum(whole, _LONGEST), 1.0).astype(jnp.int32)


def scalar(name: str, value: Any, instead: str) -> Array:
    """An argument of `update` that is one real number for a micro-batch."""
    check.require(
        not callable(value) and not isinstance(value, str),
        f"`{name}` must be one real number for a micro-batch; got {check.brief(value)}. Pass "
        f"{instead}.",
    )
    number = jnp.asarray(value)
    real = any(jnp.issubdtype(number.dtype, kind) for kind in (np.floating, np.integer))
    check.require(
        real and number.shape == (),
        f"`{name}` must be one real number for a micro-batch; got "
        f"{number.dtype}{list(number.shape)}. Pass {instead}.",
    )
    return number.astype(numerics.scalar_dtype())


def weight_of(value: Any) -> Array:
    """The argument `weight` of `update`."""
    w = scalar("weight", value, "the number of its examples, as in `weight=jnp.sum(mask)`")
    known = not check.is_traced(w) and w.is_fully_addressable
    check.require(not known or not float(w) < 0.0, f"`weight` must be at least 0; got {value}.")
    return w


def flag(name: str, value: Any) -> Array:
    """An argument of `update` that is True or False."""
    x = jnp.asarray(value)
    check.require(
        x.shape == () and x.dtype == jnp.bool_,
        f"`{name}` must be True or False; got {check.brief(value)}.",
    )
    return x


def counts(
    updates: Updates, readings: dict[str, Array], w: Array | None, skip: bool
) -> tuple[Array | None, Array]:
    """Whether a micro-batch counts (None where each does), and whether it was skipped."""
    weighs = None if w is None else w != 0
    if not skip:
        return weighs, jnp.zeros((), bool)
    # One number that is infinite or NaN if any coordinate is; see `skip_nonfinite`.
    finite = shards.everywhere(numerics.finite_here(updates))
    for x in readings.values():
        finite &= jnp.isfinite(x)
    if w is None:
        return finite, ~finite
    finite &= jnp.isfinite(w)
    return finite & (w != 0), ~finite & (w != 0)


def added(
    g: Array,
    acc: Array,
    *,
    begins: Array | None,
    w: Array | None,
    use: Array | None,
    by: Array | None = None,
) -> tuple[Array, Array]:
    """(g_i, what is left of the window before, or Σ w g) -> (Σ w g over `by`, _)."""
    before = acc if begins is None else jnp.where(begins, jnp.zeros_like(acc), acc)
    total = before + weighted(g, w=w)
    if use is not None:  # selected, since 0 times NaN is NaN
        total = jnp.where(use, total, before)
    return total if by is None else total / by, acc


def weighted(g: Array, *, w: Array | None) -> Array:
    """w g."""
    return g if w is None else w * g


def update_of(x: Array, *, due: Array) -> Array:
    """The update, or 0 where there is none."""
    return jnp.where(due, x, jnp.zeros_like(x))


def update_and_sum_of(x: Array, acc: Array, *, due: Array) -> tuple[Array, Array]:
    """(the update or the sum, _) -> (the update or 0, the update or the sum)."""
    return update_of(x, due=due), x
