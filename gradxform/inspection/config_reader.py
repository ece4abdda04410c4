"""From plain data to transformations."""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..core import check
from ..core.hyperparams import tunable
from ..core.recipe import FACTORIES, Recipe

Functions = Mapping[str, Callable[..., Any]]


class Reader:
    """From data to values."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.open: list[int] = []  # what is being read, to see data that contains itself

    def transformation(self, data: Any, place: str) -> optax.GradientTransformation:
        """The transformation at a place."""
        value = self._read(data, place)
        if not isinstance(value, optax.GradientTransformation):
            raise failure(
                "from_config", place, f"must be a transformation; got {check.brief(value)}."
            )
        return value

    def _read(self, data: Any, place: str) -> Any:
        if id(data) in self.open:
            raise failure("from_config", place, "the data contains itself.")
        if not isinstance(data, Mapping | list):
            return data
        self.open.append(id(data))
        try:
            return self._container(data, place)
        finally:
            self.open.pop()

    def _container(self, data: Any, place: str) -> Any:
        if isinstance(data, list):
            return [self._read(x, f"{place}/{i}") for i, x in enumerate(data)]
        calls = [key for key in data if isinstance(key, str) and key.endswith("()")]
        if not calls:
            return {key: self._read(x, f"{place}/{key}") for key, x in data.items()}
        if len(data) > 1:
            raise failure("from_config", place, f"`{calls[0]}` is a call and must be the only key.")
        return self._call(calls[0][:-2], data[calls[0]], f"{place}/{calls[0]}")

    def _call(self, name: str, data: Any, place: str) -> Any:
        if name == "function":
            return self._function(data, place)
        if name == "number":
            return self._guarded(place, float, data)
        factory = self.functions.get(name) or FACTORIES.get(name)
        if factory is None and name not in ("tunable", "array", "ordered"):
            known = [*FACTORIES, *self.functions]
            own = f"One of your own is passed: `from_config(data, functions={{{name!r}: {name}}})`."
            raise failure("from_config", place, f"no `{name}`.{_nearest(name, known)} {own}")
        arguments = self._read({} if data is None else data, place)
        if name == "ordered":
            return self._ordered(arguments, place)
        if name == "tunable":
            return self._guarded(place, tunable, **self._named(arguments, ("value",), place))
        if name == "array":
            found = self._named(arguments, ("dtype", "values"), place)
            return self._guarded(place, _array, found["values"], found["dtype"])
        assert factory is not None
        args, kwargs = _arguments(factory, arguments, place)
        result = self._guarded(place, factory, *args, **kwargs)
        if not isinstance(getattr(result, "recipe", None), Recipe):
            raise failure(
                "from_config", place, f"`{name}` is no factory; write it as `function()`."
            )
        return result

    def _function(self, name: Any, place: str) -> Any:
        if not isinstance(name, str) or name not in self.functions:
            known = ", ".join(self.functions) or "none"
            raise failure(
                "from_config",
                place,
                f"no function `{name}`. Pass it: `from_config(data, functions={{{name!r}: ...}})`. "
                f"Passed are: {known}.",
            )
        return self.functions[name]

    def _named(self, arguments: Any, names: tuple[str, ...], place: str) -> dict[str, Any]:
        if not isinstance(arguments, dict) or {*arguments} != {*names}:
            raise failure("from_config", place, f"takes {' and '.join(f'`{n}`' for n in names)}.")
        return arguments

    def _ordered(self, pairs: Any, place: str) -> dict[str, Any]:
        """A dict in which the order counts, written as pairs."""
        if not isinstance(pairs, list) or not all(_is_pair(x) for x in pairs):
            raise failure("from_config", place, "takes a list of pairs of a name and a value.")
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise failure("from_config", place, f"{', '.join(twice)} occurs twice.")
        return OrderedDict(pairs)

    def _guarded(self, place: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise failure("from_config", place, str(error)) from None


def _is_pair(x: Any) -> bool:
    return isinstance(x, list) and len(x) == 2 and isinstance(x[0], str)


def _array(values: Any, dtype: Any) -> Any:
    """JAX's array where JAX has the dtype enabled, so that a number stays one of that dtype."""
    array = np.array(values, jnp.dtype(dtype))
    return (
        jnp.asarray(array) if jax.dtypes.canonicalize_dtype(array.dtype) == array.dtype else array
    )


def _arguments(factory: Any, arguments: Any, place: str) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of a call."""
    if isinstance(arguments, list):
        return arguments, {}
    if not isinstance(arguments, dict):
        raise failure(
            "from_config", place, f"takes arguments by name; got {check.brief(arguments)}."
        )
    keywords = {str(name): value for name, value in arguments.items()}
    parameters = inspect.signature(factory).parameters.values()
    variadic = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    args = [x for name in variadic for x in keywords.pop(name, ())]
    return args, keywords


def failure(call: str, place: str, message: str) -> ValueError:
    """The error of a place in the data."""
    return ValueError(f"`{call}(...)`: at `{place}`: {message}")


def _nearest(name: str, known: list[str]) -> str:
    text = check.nearest(name, known)
    return f"{text.partition(' Known are')[0]} `available()` lists the names."
