"""Masks: what says which parameters a transformation applies to."""

import contextlib
from typing import Annotated, Any

import jax
import optax

from . import check, tree
from .selector import Selector, paths

_LISTED = 30  # paths in an error message


class MaskRule:
    """`None` (everything), a selector, a tree or prefix tree of bools, or a function to one."""

    kind = "Mask"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """A tree in Python bools; a selector or a function as it is."""
        return value if value is None or _is_function(value) else _in_bools(call, name, value)


Mask = Annotated[Any, MaskRule()]


def mask_tree(call: str, mask: Any, params: Any, name: str = "mask") -> Any:
    """`mask` as a tree of Python bools with the structure of `params`; None where it is None."""
    if mask is None:
        return None
    if tree.stands_for_tree(params):
        return params
    given = mask
    if isinstance(given, Selector):
        mask = given(params)
    elif _is_function(mask):
        mask = _in_bools(call, name, mask(params))
    if isinstance(given, Selector) and not any(jax.tree.leaves(mask)) and jax.tree.leaves(params):
        raise ValueError(
            f"`{call}({name}={given!r})`: the selector matches none of the parameters. "
            f"The paths are: {listed(path for path, _ in paths(params))}"
        )
    # Flax's NNX shows `init` its parameters in boxes and `update` without.
    for candidate in (mask, tree.unboxed(mask)):
        with contextlib.suppress(ValueError):
            return jax.tree.broadcast(candidate, params)
    raise ValueError(
        f"`{call}({name}=...)`: the mask must be a tree, or a prefix of the tree, of the "
        f"parameters; got {jax.tree.structure(mask)} for {jax.tree.structure(params)}."
    )


def kept(chosen: Any, values: Any) -> Any:
    """`values` with `optax.MaskedNode()`, which has no leaves, where `chosen` is False."""
    return jax.tree.map(
        lambda use, x: x if use else optax.MaskedNode(), tree.unboxed(chosen), values
    )


def merged(chosen: Any, inside: Any, outside: Any) -> Any:
    """The leaves of `inside` where `chosen` is True and those of `outside` elsewhere."""
    return jax.tree.map(
        lambda use, new, old: new if use else old, tree.unboxed(chosen), inside, outside
    )


def listed(names: Any) -> str:
    """Paths as the end of an error message."""
    names = list(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}."


def _is_function(mask: Any) -> bool:
    # An Equinox module may be a mask *and* be callable: a function is a single callable leaf.
    return callable(mask) and all(leaf is mask for leaf in jax.tree.leaves(mask))


def _in_bools(call: str, name: str, mask: Any) -> Any:
    """The tree with a Python bool for each leaf: also for a scalar array that is known."""

    def one(leaf: Any) -> bool:
        if isinstance(leaf, bool):
            return leaf
        if check.is_known_scalar(leaf) and leaf.dtype == bool:
            return bool(leaf)
        raise TypeError(
            f"`{call}({name}=...)`: a mask holds Python bools, one for an array or a subtree: True "
            f"where the transformation applies; got {check.brief(leaf)}."
            f"{_NAMED if isinstance(leaf, str) else ''}"
        )

    return jax.tree.map(one, mask)


_NAMED = (
    " By name: `select.path('encoder/.*')`, with `|` between several. Labels as Optax has them: "
    "`jax.tree.map(lambda label: label == 'decayed', labels)`."
)
