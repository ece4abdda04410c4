"""The annotations of a function, also where they were written as text."""

import sys
import typing
from collections.abc import Callable
from typing import Any


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the parameters by name.

    Under `from __future__ import annotations` they are text, whose names are looked up in the
    function's module and, for one that is defined in another function, in what that knows.

    Raises:
      TypeError: a name that is known in neither; with the parameter and the way out.
    """
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError:  # what is known to the function around it only, or the return type is not
        pass
    around = _known_around(function)
    found: dict[str, Any] = {}
    for name, annotation in function.__annotations__.items():
        holder = type("Holder", (), {"__annotations__": {name: annotation}})
        try:
            found |= typing.get_type_hints(holder, function.__globals__, around, True)
        except NameError as error:
            if name != "return":
                raise TypeError(
                    f"`{function.__name__}`: the annotation `{name}: {annotation}` cannot be read: "
                    f"{error}. Import what it names where the module begins, and not under "
                    "`typing.TYPE_CHECKING`."
                ) from None
    return found


def _known_around(function: Callable[..., Any]) -> dict[str, Any]:
    """The local names of the functions of its module that are running now, the innermost first."""
    known: dict[str, Any] = {}
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_globals is function.__globals__:
            known = {**frame.f_locals, **known}
        frame = frame.f_back
    return known
