"""Which parameter belongs to which group."""

from collections import OrderedDict
from typing import Any

import jax
import optax

from ..core import check
from ..core.mask import MaskRule, listed, mask_tree
from ..core.selector import paths
from ..core.types import Params, require_transformation

DEFAULT = "default"
_PAIR = (
    'Write `partition({"name": (select.path(".*kernel"), adam(1e-3))}, default=...)`: each group '
    "has what selects its parameters, and their transformation."
)
_LABELS = (
    "Labels, as Optax has them, become a mask for each group: "
    "`jax.tree.map(lambda label: label == name, labels)`."
)


class GroupsRule:
    """A dict from names to pairs of a mask and a transformation."""

    kind = "dict[str, tuple[Mask, GradientTransformation]]"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """A dict that compares by its order too, which decides who has a parameter."""
        if not isinstance(value, dict) or not value:
            check.fail(
                call,
                name,
                value,
                "a dict {name: (selector, transformation)}, not an empty one",
                _PAIR,
            )
        groups = OrderedDict()
        for group, pair in value.items():
            if not isinstance(group, str) or not group or "/" in group or group == DEFAULT:
                check.fail(
                    call, name, group, f"named by strings without `/` other than `{DEFAULT}`"
                )
            is_pair = isinstance(pair, tuple | list) and len(pair) == 2
            if not is_pair or isinstance(pair, optax.GradientTransformation):
                check.fail(
                    call,
                    f"{name}[{group!r}]",
                    pair,
                    "a pair (selector, transformation)",
                    f"{_PAIR} {_LABELS}",
                )
            mask, tx = pair
            if isinstance(mask, optax.GradientTransformation):
                check.fail(
                    call,
                    f"{name}[{group!r}]",
                    tuple(pair),
                    "a pair (selector, transformation), in this order",
                    _PAIR,
                )
            if mask is None:
                check.fail(call, f"{name}[{group!r}]", pair, "given a mask", "See `select.all`.")
            mask = MaskRule()(call, f"{name}[{group!r}]", mask)
            require_transformation(call, f"`{name}[{group!r}]`", tx)
            groups[group] = (mask, tx)
        return groups


def assign(masks: dict[str, Any], params: Params, has_default: bool) -> dict[str, Any]:
    """For each group the tree of bools of its parameters: the first that selects one has it."""
    chosen: dict[str, Any] = {}
    free = jax.tree.map(lambda _: True, params)
    for name, mask in masks.items():
        wanted = mask_tree("partition", mask, params, f"groups[{name!r}]")
        chosen[name] = jax.tree.map(lambda a, b: a and b, wanted, free)
        taken = not any(jax.tree.leaves(chosen[name])) and any(jax.tree.leaves(wanted))
        if taken:  # the text takes as long as all else, so it is written when it is needed
            raise check.Refusal(
                f"group `{name}` has no parameter left: the groups before it select all of its "
                "own. The first group that selects a parameter has it; put the narrower first. "
                f"{_places(wanted)}"
            )
        free = jax.tree.map(lambda a, b: a and not b, free, wanted)
    if has_default:
        chosen[DEFAULT] = free
    else:
        check.require(
            not any(jax.tree.leaves(free)),
            "no group selects some of the parameters. Add a group for them, or `default=...`; to "
            f"keep them as they are, `freeze(..., mask)`. These are not selected: {_paths(free)}",
        )
    return chosen


def _places(chosen: Any) -> str:
    return f"The paths are: {_paths(chosen)}"


def _paths(chosen: Any) -> str:
    return listed(path for path, use in paths(chosen) if use)
