"""What a loss function returned, as one real number."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..core import check, tree


def scalar_loss(value: Any, more: str = "`has_aux=True`") -> Array:
    """The loss, or an error that says what was returned in its place.

    Args:
      value: what the function returned, or the part of it that is the loss.
      more: the options that allow for more than the loss.
    """
    check.require(
        value is not None, "`loss_fn` returned None. Does it end with `return`? Return the loss."
    )
    several = isinstance(value, tuple | list)
    check.require(
        not several,
        f"`loss_fn` must return the loss alone; it returned a {type(value).__name__} of "
        f"{len(value) if several else 0}. Pass {more} where it returns more than the loss.",
    )
    is_number = isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex)
    check.require(
        is_number,
        f"`loss_fn` must return a real scalar; it returned {check.brief(value)}. Return the loss "
        f"alone, or with {more} `(loss, aux)`.",
    )
    loss = jnp.asarray(value)
    hint = "Take the mean over the examples, as in `jnp.mean(losses)`."
    if loss.shape == ():
        hint = "Return a floating number, which has a gradient, and of a complex one its real part."
    check.require(
        loss.shape == () and jnp.issubdtype(loss.dtype, np.floating),
        f"`loss_fn` must return a real scalar; it returned {tree.describe(loss)}. {hint}",
    )
    return loss


def require_examples(batch: Any) -> None:
    """Refuse a batch whose arrays are all empty: the mean over no examples is NaN."""
    shapes = [jnp.shape(x) for x in jax.tree.leaves(batch) if jnp.ndim(x)]
    check.require(
        not shapes or any(0 not in shape for shape in shapes),
        "the batch has no examples, and the mean over none is NaN; got arrays of shape "
        f"{', '.join(map(str, shapes))}. Leave such a batch out.",
    )
