"""Which parameters a transformation applies to."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from . import check

# None (everything), a tree or prefix tree of bools, or a function from params to such a tree.
Mask = Any | Callable[[Any], Any] | None


def mask_tree(call: str, mask: Mask, params: Any) -> Any:
    """`mask` as a tree of Python bools with the structure of `params`; None where it is None."""
    if mask is None:
        return None
    # An Equinox module may be a mask *and* be callable: a function is a single callable leaf.
    if callable(mask) and all(leaf is mask for leaf in jax.tree.leaves(mask)):
        mask = mask(params)
    for leaf in jax.tree.leaves(mask):
        if check.is_traced(leaf) or not isinstance(leaf, bool | np.bool_):
            raise TypeError(
                f"`{call}(mask=...)`: a mask holds Python bools, True where the transformation "
                f"applies; got {check.brief(leaf)}."
            )
    try:
        return jax.tree.broadcast(mask, params)
    except ValueError:
        raise ValueError(
            f"`{call}(mask=...)`: the mask must be a tree, or a prefix of the tree, of the "
            f"parameters; got {jax.tree.structure(mask)} for {jax.tree.structure(params)}."
        ) from None
