"""What the update of a block takes besides the updates and the state, read from its signature."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple


class Needs(NamedTuple):
    """What an update takes besides the updates and the state."""

    params: bool
    params_required: bool
    state: Any  # the class of the state, where the update names it
    accepted: frozenset[str]
    required: tuple[str, ...]
    everything: bool


def needs_of(update: Callable[..., Any]) -> Needs:
    """What an update takes, by the names and the annotations of its parameters."""
    parameters = inspect.signature(update).parameters
    params = parameters.get("params")
    keywords = [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
    return Needs(
        state=_class_of(parameters.get("state")),
        params=params is not None,
        params_required=params is not None and params.default is params.empty,
        accepted=frozenset(p.name for p in keywords),
        required=tuple(p.name for p in keywords if p.default is p.empty),
        everything=any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
    )


def _class_of(parameter: inspect.Parameter | None) -> Any:
    """The class, or union of classes, that a parameter is annotated with; None where it is not."""
    annotation = None if parameter is None else parameter.annotation
    members = getattr(annotation, "__args__", (annotation,))
    named = all(isinstance(m, type) and issubclass(m, tuple) and m is not tuple for m in members)
    return annotation if named else None
