"""What the update of a block takes besides the updates and the state, read from its signature."""

import functools
import inspect
from collections.abc import Callable
from types import CellType, CodeType, FunctionType
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
    if type(update) is not FunctionType or hasattr(update, "__wrapped__"):
        return _read(inspect.signature(update))
    # A body makes its function anew at each update: of one code, with as many defaults.
    defaults = len(update.__defaults__ or ()), frozenset(update.__kwdefaults__ or ())
    return _read_of_code(update.__code__, *defaults)


@functools.lru_cache(maxsize=512)
def _read_of_code(code: CodeType, number: int, keywords: frozenset[str]) -> Needs:
    defaults = (None,) * number or None
    function = FunctionType(
        code, {}, argdefs=defaults, closure=(CellType(),) * len(code.co_freevars)
    )
    function.__kwdefaults__ = dict.fromkeys(keywords)
    return _read(inspect.signature(function))


def _read(signature: inspect.Signature) -> Needs:
    parameters = signature.parameters
    params = parameters.get("params")
    keywords = [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
    return Needs(
        params=params is not None,
        params_required=params is not None and params.default is params.empty,
        accepted=frozenset(p.name for p in keywords),
        required=tuple(p.name for p in keywords if p.default is p.empty),
        everything=any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
    )
