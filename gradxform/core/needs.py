"""What the update of a block takes besides the updates and the state, read from its signature."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple


class Needs(NamedTuple):
    """What an update takes besides the updates and the state."""

    params: bool
    params_required: bool
    accepted: frozenset[str]
    required: tuple[str, ...]
    everything: bool


def needs_of(update: Callable[..., Any]) -> Needs:
    """What an update takes, by the names of its parameters."""
    parameters = inspect.signature(update).parameters
    params = parameters.get("params")
    keywords = [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
    return Needs(
        params=params is not None,
        params_required=params is not None and params.default is params.empty,
        accepted=frozenset(p.name for p in keywords),
        required=tuple(p.name for p in keywords if p.default is p.empty),
        everything=any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
    )
