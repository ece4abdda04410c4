"""What counts as better: the rule of everything that watches a value."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from . import numerics


def improves(reading: Array, best: Array, *, sign: float, rtol: Array, atol: Array) -> Array:
    """Whether a reading is better than the best by more than the tolerances; NaN never is.

    `sign` is 1 where smaller is better and -1 where larger is. The first reading, against an
    infinite best, is.
    """
    margin = jnp.where(jnp.isfinite(best), rtol * jnp.abs(best), jnp.zeros_like(best)) + atol
    return sign * reading < sign * best - margin


def real_number(call: str, who: str, value: Any) -> Array:
    """What `call` was given as `value` for `who` to watch: a real scalar of any type."""
    reading = jnp.asarray(value)
    kinds = (jnp.floating, jnp.integer)
    if reading.shape != () or not any(jnp.issubdtype(reading.dtype, kind) for kind in kinds):
        raise TypeError(
            f"`{call}`: `{who}` watches one real number; got "
            f"{reading.dtype}{list(reading.shape)}. Pass the mean, as in `value=jnp.mean(losses)`."
        )
    return jnp.asarray(reading, numerics.scalar_dtype())
