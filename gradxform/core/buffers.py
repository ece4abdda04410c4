"""A dtype for each buffer of a state: `state_dtype={"mu": "bfloat16"}`.

A block knows one `state_dtype`, that of all its buffers. Where a call gives a dtype to some of them
by name, the block's `init` is run once with the default and once with each dtype, and each buffer
is that of the run with its own. An optimizer hands the names to all of its blocks, and each keeps
its own.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from . import check

Init = Callable[[Any], Any]


def argument_of(rules: dict[str, check.Rule | None]) -> str | None:
    """The argument that says how buffers are stored; None where a factory has none."""
    return next((name for name, rule in rules.items() if isinstance(rule, check.StateDType)), None)


def passed_on(name: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's arguments, as the blocks inside are given them."""
    if name is None or not isinstance(arguments[name], dict):
        return arguments
    return {**arguments, name: check.PassedOn(arguments[name])}


def own(
    call: str, name: str, dtypes: dict[str, Any], known: Iterable[str]
) -> dict[str, Any] | None:
    """The dtypes of the buffers that are `known`; an error names others, unless passed on."""
    known = tuple(known)
    for field in dtypes:
        if field not in known and not isinstance(dtypes, check.PassedOn):
            check.fail(
                call,
                name,
                {field: dtype.name for field, dtype in dtypes.items()},
                f"a dtype, or a dtype for each buffer by its name; there is no buffer `{field}`",
                check.nearest(field, known).strip(),
            )
    return {field: dtypes[field] for field in dtypes if field in known} or None


def names_of(init_with: Callable[[Any], Init]) -> tuple[str, ...]:
    """The fields of a block's state that `state_dtype` is about: those that it changes.

    Args:
      init_with: the block's `init` for a dtype of all its buffers.
    """
    probe = np.zeros((2, 2), np.float32)
    states = [jax.eval_shape(init_with(dtype), probe) for dtype in ("bfloat16", "float16")]
    return tuple(
        field
        for field in getattr(states[0], "_fields", ())
        if jax.tree.leaves(getattr(states[0], field)) != jax.tree.leaves(getattr(states[1], field))
    )


def mixed(init_with: Callable[[Any], Init], dtypes: dict[str, Any]) -> Init:
    """The `init` of a block whose buffers have dtypes of their own."""

    def init(params: Any) -> Any:
        by_name = {name: getattr(init_with(dtype)(params), name) for name, dtype in dtypes.items()}
        return init_with(None)(params)._replace(**by_name)

    return init
