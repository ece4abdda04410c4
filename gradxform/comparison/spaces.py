"""What a search draws from: the space of each optimizer, of the names that it takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core import check
from .candidate import Candidate
from .ranges import Range
from .scheduled import SHAPE, arguments_of, required_arguments


def _standard_space() -> dict[str, Range]:
    return {
        "warmup": Range(0.0, 0.3, log=False),
        "rate_decay": Range(0.0, 1.0, log=False),
        "weight_decay": Range(1e-4, 1.0),
        "l2": Range(1e-6, 1e-2),
    }


def search_spaces(
    functions: Mapping[str, Candidate], space: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """The space of each optimizer: what is shared and what is its own, of the names it takes."""
    taken = {name: arguments_of(c.transformation) for name, c in functions.items()}
    every = {name for names in taken.values() for name in names}
    for name in space or ():
        if name not in every:
            raise ValueError(
                f"`tune(space=...)`: no candidate takes `{name}`.{check.nearest(name, every)}"
            )
    shared = {**(_standard_space() if space is None else space)}
    found: dict[str, dict[str, Any]] = {}
    for name, candidate in functions.items():
        names = [key for key in (*candidate.grid, *shared) if key in taken[name]]
        missing = [key for key in required_arguments(candidate.transformation) if key not in names]
        if missing:
            ranges = ", ".join(f'"{key}": Range(1e-4, 1e-1)' for key in missing)
            raise TypeError(
                f"`tune(candidates=...)`: `{name}` needs {_listed(missing)}, for which there is no "
                f"range to search: pass `space={{{ranges}, ...}}`, or a function that needs less."
            )
        order = sorted(dict.fromkeys(names), key=lambda key: key in SHAPE)
        of_name = {
            key: _space_of(key, candidate.grid[key] if key in candidate.grid else shared[key])
            for key in order
        }
        if not of_name:
            raise ValueError(
                f"`tune(space=...)`: the search space of `{name}` is empty: give a `Range` or a "
                f"list of values for at least one of {', '.join(taken[name]) or 'its arguments'}."
            )
        found[name] = of_name
    return found


def _space_of(name: str, values: Any) -> Range | tuple[float, ...]:
    if isinstance(values, Range):
        return values
    if np.ndim(values) != 1 or not len(values):
        check.fail("tune", f"space[{name!r}]", values, "a `Range` or a list of numbers")
    number = check.Interval()
    return tuple(sorted({number("tune", f"space[{name!r}]", value) for value in values}))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def lowest(values: Any) -> float:
    """The smallest value of a space."""
    return values.low if isinstance(values, Range) else values[0]


def space_text(values: Any) -> str:
    """A space in words."""
    if isinstance(values, Range):
        return str(values)
    return f"{values[0]:g}" if len(values) == 1 else f"one of {', '.join(f'{v:g}' for v in values)}"
