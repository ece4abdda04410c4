"""From plain data to transformations.

The data may come from anyone. It is bounded before it is read (`plain_data`), nothing is imported
by name but this library's own factories, and whatever a factory answers to its arguments is one
error with the place.
"""

import inspect
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..core import check, public
from ..core.hyperparams import tunable
from ..core.recipe import Recipe
from ..core.words import word
from .plain_data import is_container, joined

VERSION = 1  # of the format of configurations

Functions = Mapping[str, Callable[..., Any]]

# Numbers that YAML 1.2 and JSON read as numbers, and YAML 1.1 (PyYAML) as text: `1e-3`.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def described(data: Any) -> Any:
    """What a configuration holds beside its version, of which this library knows one."""
    if not isinstance(data, Mapping):
        hint = ""
        if hasattr(data, "to_dict"):  # as `ml_collections.ConfigDict` has
            hint = " Pass `data.to_dict()`."
        raise ValueError(
            "`from_config(...)`: a configuration is a dict with `version` and `transformation`; "
            f"got {check.brief(data)}.{hint}"
        )
    unknown = sorted({*map(word, data)} - {"version", "transformation"})
    missing = [name for name in ("version", "transformation") if name not in data]
    if unknown or missing:
        raise ValueError(
            "`from_config(...)`: a configuration has the keys `version` and `transformation`; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {_listed(unknown) or 'none'}."
        )
    version = data["version"]
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"`from_config(...)`: the configuration has version {check.brief(version)}, and this "
            f"library reads version {VERSION}. Read it with the gradxform that wrote it."
        )
    return data["transformation"]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{', '.join(names[:8])}{more}"


class Reader:
    """From data to values."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions

    def transformation(self, data: Any, place: str) -> optax.GradientTransformation:
        """The transformation at a place."""
        value = self._read(data, place)
        if not isinstance(value, optax.GradientTransformation):
            raise failure(
                "from_config", place, f"must be a transformation; got {check.brief(value)}."
            )
        return value

    def _read(self, data: Any, place: str) -> Any:
        if not is_container(data):
            return data
        if not isinstance(data, Mapping):
            items = [self._read(x, f"{place}/{i}") for i, x in enumerate(data)]
            return tuple(items) if isinstance(data, tuple) else items
        calls = [key for key in data if isinstance(key, str) and key.endswith("()")]
        if not calls:
            return {key: self._read(x, f"{place}/{word(key)}") for key, x in data.items()}
        if len(data) > 1:
            message = f"`{word(calls[0])}` is a call and must be the only key."
            raise failure("from_config", place, message)
        return self._call(calls[0][:-2], data[calls[0]], f"{place}/{word(calls[0])}")

    def _call(self, name: str, data: Any, place: str) -> Any:
        if name == "function":
            return self._function(data, place)
        if name == "number":
            return self._guarded(place, float, data)
        factory = self.functions.get(name) or public.factory(name)
        if factory is None and name not in ("tunable", "array", "ordered"):
            known = [*public.FACTORIES, *self.functions]
            own = f"functions={{{word(name)!r}: {word(name)}}}"
            raise failure(
                "from_config",
                place,
                f"no `{word(name)}`.{_nearest(name, known)} One of your own is passed: "
                f"`from_config(data, {own})`.",
            )
        arguments = self._read({} if data is None else data, place)
        if name == "ordered":
            return self._ordered(arguments, place)
        if name == "tunable":
            value = self._named(arguments, ("value",), place)["value"]
            return self._guarded(place, tunable, _as_numbers(value))
        if name == "array":
            found = self._named(arguments, ("dtype", "values"), place)
            return self._guarded(place, _array, found["values"], found["dtype"])
        assert factory is not None
        args, kwargs = _arguments(factory, arguments, place)
        result = self._guarded(place, factory, *args, **kwargs)
        if not isinstance(getattr(result, "recipe", None), Recipe):
            raise failure(
                "from_config", place, f"`{word(name)}` is no factory; write it as `function()`."
            )
        return result

    def _function(self, name: Any, place: str) -> Any:
        if not isinstance(name, str) or name not in self.functions:
            known, shown = ", ".join(self.functions) or "none", word(name)
            raise failure(
                "from_config",
                place,
                f"no function `{shown}`. Pass it: `from_config(data, functions={{{shown!r}: ...}})`"
                f". Passed are: {known}.",
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
        counts = Counter(name for name, _ in pairs)
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise failure("from_config", place, f"{word(', '.join(twice))} occurs twice.")
        return OrderedDict(pairs)

    def _guarded(self, place: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise failure("from_config", place, str(error)) from None
        except Exception as error:  # a factory may be anyone's, and so may the arguments
            raise failure("from_config", place, f"{type(error).__name__}: {error}") from None


def _is_pair(x: Any) -> bool:
    return isinstance(x, list) and len(x) == 2 and isinstance(x[0], str)


def _array(values: Any, dtype: Any) -> Any:
    """JAX's array where JAX has the dtype enabled, so that a number stays one of that dtype."""
    try:
        dtype = jnp.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):  # NumPy parses text as a dtype of fields
        check.fail("array", "dtype", dtype, "a dtype, such as 'float32'")
    array = np.array(values, dtype)
    return (
        jnp.asarray(array) if jax.dtypes.canonicalize_dtype(array.dtype) == array.dtype else array
    )


def _arguments(factory: Any, arguments: Any, place: str) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of a call; text that is a number where one is wanted."""
    parameters = inspect.signature(factory).parameters
    kinds = {name: str(p.annotation) for name, p in parameters.items()}
    if isinstance(arguments, list):
        positional = [kinds.get(name, "") for name, p in parameters.items() if _by_position(p)]
        missing = max(0, len(arguments) - len(positional))
        wanted = [*positional, *[positional[-1] if positional else ""] * missing]
        return [_wanted(x, kind) for x, kind in zip(arguments, wanted, strict=False)], {}
    if not isinstance(arguments, dict):
        raise failure(
            "from_config", place, f"takes arguments by name; got {check.brief(arguments)}."
        )
    keywords = {str(name): value for name, value in arguments.items()}
    for name in keywords:
        if word(name) != name:
            raise failure("from_config", place, f"there is no argument `{word(name)}`.")
    args: list[Any] = []
    for name in [p.name for p in parameters.values() if p.kind is p.VAR_POSITIONAL]:
        several = keywords.pop(name, ())
        if not isinstance(several, list | tuple):
            raise failure(
                "from_config", place, f"`{name}` must be a list; got {check.brief(several)}."
            )
        args += several
    return args, {name: _wanted(value, kinds.get(name, "")) for name, value in keywords.items()}


def _by_position(parameter: inspect.Parameter) -> bool:
    return parameter.kind is not parameter.KEYWORD_ONLY


def _wanted(value: Any, kind: str) -> Any:
    """The value; a number in place of its text, unless an argument of this kind may be text."""
    return value if "str" in kind else _as_numbers(value)


def _as_numbers(value: Any) -> Any:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else value
    if isinstance(value, list) and all(_is_number(x) for x in value):
        return [_as_numbers(x) for x in value]
    return value


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) or (isinstance(x, str) and bool(_NUMBER.fullmatch(x)))


def failure(call: str, place: str, message: str) -> ValueError:
    """The error of a place in the data."""
    return ValueError(f"`{call}(...)`: at `{joined(place.split('/'))}`: {message}")


def _nearest(name: str, known: list[str]) -> str:
    text = check.nearest(word(name), known)  # comparing long names takes long
    return f"{text.partition(' Known are')[0]} `available()` lists the names."
