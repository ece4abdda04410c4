"""The live hyperparameters of a transformation, named as by `hyperparams(state)`."""

from collections.abc import Iterator, Mapping
from typing import Any

import optax

from ..core.factory import call_behind
from ..core.places import keys_of
from ..wrappers.group_rules import DEFAULT


def live_hyperparams(tx: optax.GradientTransformation) -> dict[str, Any]:
    """What stands in the state of `tx`: numbers, schedules, tunables and feedbacks by name."""
    found = list(_live(tx, ""))
    keys = keys_of([(place, name) for place, name, _ in found])
    return {key: value for key, (_, _, value) in zip(keys, found, strict=True)}


def _live(tx: optax.GradientTransformation, place: str) -> Iterator[tuple[str, str, Any]]:
    """(place, name, value) of the hyperparameters of `tx` and of what is inside of it."""
    arguments, live = call_behind(tx)
    for name, value in live.items():
        yield place, name, value
    for name, argument in arguments.items():
        here = f"{place}/{name}".lstrip("/") if name == DEFAULT else place
        for inside, part in _transformations(argument, here):
            yield from _live(part, inside)


def _transformations(value: Any, place: str) -> Iterator[tuple[str, optax.GradientTransformation]]:
    """(place, transformation) of those in an argument: groups and named links by their names."""
    if isinstance(value, optax.GradientTransformation):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _transformations(item, f"{place}/{key}".lstrip("/"))
    elif isinstance(value, list | tuple):
        is_named = len(value) == 2 and isinstance(value[0], str)
        for index, item in enumerate(value):
            key = value[0] if is_named else index
            yield from _transformations(item, f"{place}/{key}".lstrip("/"))
