"""The refusal of a state that a transformation did not make."""

from typing import Any, NoReturn

WAY_OUT = (
    "Its state is made by its own `init`, from the parameters that the gradients are of; "
    "`transfer_state(old_state, tx, params).state` goes on from one of other arguments, of another "
    "chain, of Optax, or one that was restored without its types."
)


def way_out(state: Any) -> str:
    """How to come to the right state from what was given."""
    if callable(state) or hasattr(state, "init"):
        return "That is the transformation, or a part of it: `state = tx.init(params)`."
    if hasattr(state, "state") and hasattr(state, "report"):
        return "That is all that `transfer_state` returned; pass its `.state`."
    return WAY_OUT


def refuse_state(call: str, state: Any, expected: str) -> NoReturn:
    """Say which state was given, which one was expected, and how to come to it."""
    kind = type(state)
    found = kind.__name__
    if found == expected:  # Optax's have the same names, and it is one of these as a rule
        found = f"{kind.__module__.partition('.')[0]}.{found}"
    raise TypeError(f"`{call}` was given a state of type {found}, not {expected}. {way_out(state)}")
