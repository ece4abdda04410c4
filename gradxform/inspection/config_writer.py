"""From transformations to plain data."""

import functools
import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax

from ..core import check
from ..core.hyperparams import Tunable
from ..core.public import factory_name
from ..core.recipe import Recipe, value_key, written
from .config_reader import failure


class Writer:
    """From values to data."""

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names

    def written(self, value: Any, place: str) -> Any:
        """A value, such as a transformation, as data."""
        recipe = getattr(value, "recipe", None)
        if isinstance(recipe, Recipe):
            return self._call(recipe, place)
        if isinstance(value, Tunable):
            return {"tunable()": {"value": self.written(value.value, place)}}
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, np.dtype):
            return value.name
        if check.is_traced(value):
            raise failure("to_config", place, f"{check.brief(value)} is known only when it runs.")
        if isinstance(value, float | np.floating):
            number = float(value)
            return number if math.isfinite(number) else {"number()": repr(number)}
        if isinstance(value, jax.Array | np.ndarray):
            array = np.asarray(value)
            return {"array()": {"dtype": array.dtype.name, "values": array.tolist()}}
        if isinstance(value, optax.GradientTransformation):
            raise failure(
                "to_config",
                place,
                "a transformation of Optax's is a pair of functions that do not know how they were "
                "made. Use this library's own, or a factory of yours made with `@optimizer` that "
                "returns `chain(...)` of it.",
            )
        if isinstance(value, OrderedDict):
            # YAML sorts the keys of a dict, unless told otherwise.
            pairs = [[_key(k, place), self.written(x, f"{place}/{k}")] for k, x in value.items()]
            return {"ordered()": pairs}
        if isinstance(value, Mapping):
            return {_key(key, place): self.written(x, f"{place}/{key}") for key, x in value.items()}
        if isinstance(value, list | tuple):
            return [self.written(x, f"{place}/{i}") for i, x in enumerate(value)]
        if isinstance(value, np.bool_ | np.integer):
            return value.item()
        if callable(value):
            return {"function()": self._name(value, place)}
        raise failure("to_config", place, f"{check.brief(value)} cannot be written as data.")

    def _call(self, recipe: Recipe, place: str) -> dict[str, Any]:
        name = self.names.get(id(recipe.factory)) or written(recipe.factory)
        place = f"{place}/{name}()"
        parameters = inspect.signature(recipe.factory).parameters
        variadic = [p.name for p in parameters.values() if p.kind is p.VAR_POSITIONAL]
        arguments = {n: self.written(x, f"{place}/{n}") for n, x in recipe.arguments.items()}
        only = variadic and [*arguments] == variadic
        return {f"{name}()": arguments[variadic[0]] if only else arguments}

    def _name(self, function: Any, place: str) -> str:
        name = self.names.get(id(function)) or _name_of(function)
        if not name.isidentifier():
            raise failure(
                "to_config",
                place,
                f"{check.brief(function)} has no name. Pass one: "
                "`to_config(tx, functions={'name': function})`.",
            )
        return name


def _key(key: Any, place: str) -> str:
    if not isinstance(key, str) or key.endswith("()"):
        raise failure(
            "to_config", place, f"the key {key!r} cannot be written: use a string without `()`."
        )
    return key


def functions_of(tx: Any, names: dict[int, str]) -> Mapping[str, Callable[..., Any]]:
    """The functions inside by their own names, as they are written."""
    found: dict[str, Any] = {}
    for function in _functions(tx):
        name = names.get(id(function)) or str(getattr(function, "written", _name_of(function)))
        if found.setdefault(name, function) is not function:
            raise ValueError(
                f"`to_config(...)`: two functions are called `{name}`. Give them names: "
                "`to_config(tx, functions={'name': function})`."
            )
    return found


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", ""))


def _functions(value: Any) -> Iterator[Any]:
    """The plain functions among the arguments, and the factories that are not of this library."""
    recipe = getattr(value, "recipe", None)
    if isinstance(recipe, Recipe):
        if not factory_name(recipe.factory):
            yield recipe.factory
        for argument in recipe.arguments.values():
            yield from _functions(argument)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _functions(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _functions(item)
    elif callable(value) and not isinstance(value, functools.partial | Tunable):
        yield value


def difference(a: Any, b: Any) -> str:
    """The first argument in which two transformations differ."""
    for name, value in a.recipe.arguments.items():
        other = b.recipe.arguments[name]
        if isinstance(getattr(value, "recipe", None), Recipe) and value != other:
            return difference(value, other)
        if value_key(value) != value_key(other):
            return f"`{name}` of `{a.recipe.name}`"
    return f"`{a.recipe.name}`"
