"""Which parameters a transformation applies to."""

import contextlib
from typing import Annotated, Any

import jax
import numpy as np

from . import check, tree


class MaskRule:
    """`None` (everything), a tree or prefix tree of bools, or a function of params to one."""

    kind = "Mask"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The mask as it is."""
        if value is not None and not _is_function(value):
            _require_bools(call, name, value)
        return value


Mask = Annotated[Any, MaskRule()]


def mask_tree(call: str, mask: Any, params: Any) -> Any:
    """`mask` as a tree of Python bools with the structure of `params`; None where it is None."""
    if mask is None:
        return None
    if _is_function(mask):
        mask = mask(params)
        _require_bools(call, "mask", mask)
    # Flax's NNX shows `init` its parameters in boxes and `update` without.
    for candidate in (mask, tree.unboxed(mask)):
        with contextlib.suppress(ValueError):
            return jax.tree.broadcast(candidate, params)
    raise ValueError(
        f"`{call}(mask=...)`: the mask must be a tree, or a prefix of the tree, of the "
        f"parameters; got {jax.tree.structure(mask)} for {jax.tree.structure(params)}."
    )


def _is_function(mask: Any) -> bool:
    # An Equinox module may be a mask *and* be callable: a function is a single callable leaf.
    return callable(mask) and all(leaf is mask for leaf in jax.tree.leaves(mask))


def _require_bools(call: str, name: str, mask: Any) -> None:
    for leaf in jax.tree.leaves(mask):
        if check.is_traced(leaf) or not isinstance(leaf, bool | np.bool_):
            raise TypeError(
                f"`{call}({name}=...)`: a mask holds Python bools, True where the transformation "
                f"applies; got {check.brief(leaf)}."
            )
