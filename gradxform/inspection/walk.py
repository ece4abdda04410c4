"""The blocks of a transformation, each with the parameters that it sees."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import optax

from ..core.factory import opened
from ..core.mask import kept, mask_tree
from ..core.selector import paths
from ..core.types import Params
from ..wrappers.group_rules import DEFAULT, assign
from ..wrappers.groups import freeze, masked, partition


class Visit(NamedTuple):
    """A transformation without others inside, and what it applies to."""

    tx: optax.GradientTransformation
    group: str  # the names of the groups that it is in, with slashes between; "" outside of any
    params: Params  # the parameters, with `optax.MaskedNode()` for those that it does not see
    frozen: bool  # whether it stands for a `freeze`, and the parameters stay as they are
    around: tuple[optax.GradientTransformation, ...] = ()  # the wrappers it is in, outermost first


def walk(
    tx: optax.GradientTransformation,
    params: Params,
    group: str = "",
    around: tuple[optax.GradientTransformation, ...] = (),
) -> Iterator[Visit]:
    """Every block of `tx` in the order of the chain, with the parameters that reach it."""
    tx = opened(tx)
    factory = factory_of(tx)
    arguments = tx.recipe.arguments if factory is not None else {}
    outside = around
    if "inner" in arguments:
        around = (*around, tx)
    if factory is partition:
        masks = {name: mask for name, (mask, _) in arguments["groups"].items()}
        inner = {name: part for name, (_, part) in arguments["groups"].items()}
        if arguments["default"] is not None:
            inner[DEFAULT] = arguments["default"]
        chosen = assign(masks, params, arguments["default"] is not None)
        for name, part in inner.items():
            here = f"{group}/{name}" if group else name
            yield from walk(part, kept(chosen[name], params), here, around)
    elif factory is masked and arguments["mask"] is not None:
        chosen = mask_tree("masked", arguments["mask"], params)
        yield from walk(arguments["inner"], kept(chosen, params), group, around)
    elif factory is freeze:
        still = mask_tree("freeze", arguments["mask"], params)
        moving = jax.tree.map(lambda use: not use, still)
        yield Visit(tx, group, kept(still, params), frozen=True, around=outside)
        yield from walk(arguments["inner"], kept(moving, params), group, around)
    elif getattr(tx, "parts", ()):
        for part in tx.parts:
            yield from walk(part, params, group, around)
    else:
        yield Visit(tx, group, params, frozen=False, around=around)


def factory_of(tx: Any) -> Any:
    """The factory that built a transformation; None for Optax's, which do not know it."""
    return tx.recipe.factory if hasattr(tx, "recipe") else None


def selected(call: str, visit: Visit) -> list[str]:
    """The paths of the parameters that a block applies to, its own mask considered."""
    mask = visit.tx.recipe.arguments.get("mask") if factory_of(visit.tx) is not None else None
    params = visit.params
    if mask is not None:
        params = kept(mask_tree(call, mask, params), params)
    return [path for path, _ in paths(params)]
