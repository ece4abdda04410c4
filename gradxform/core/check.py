"""What an argument may be, and how the library says that it is not.

An argument's annotation carries its rule, and the decorators of `core.factory` apply it, so a
block lists its rules where it lists its arguments:

    def scale_by_adam(*, b1: Decay = 0.9, eps: NonNegative = 1e-8): ...

    `scale_by_adam(b1=1.2)`: `b1` must be at least 0 and below 1; got 1.2. ...

Traced values have no value yet and are let through. What one annotation cannot say (two
arguments that exclude each other) is said in the body with `require`.
"""

import contextlib
import difflib
import math
import numbers
import operator
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, NoReturn, Protocol

import jax
import jax.numpy as jnp
import numpy as np


class Rule(Protocol):
    """The rule of one argument: the value in its canonical form, or an error."""

    @property
    def kind(self) -> str:
        """What the argument is, as a signature shows it."""

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The value, or an error."""


def fail(call: str, name: str, value: Any, must: str, hint: str = "") -> NoReturn:
    """Raise the error of an argument: the call, the rule, the value and the way out."""
    text = f"`{call}({name}={brief(value)})`: `{name}` must be {must}; got {brief(value)}."
    raise ValueError(f"{text} {hint}".rstrip())


class Refusal(ValueError):
    """An error raised where the call that the user wrote is not known; `calling` names it."""


class UnknownName(KeyError):
    """A name that is not there, or there more than once."""

    def __str__(self) -> str:
        return str(self.args[0])  # and not in quotes, as `KeyError` shows a key


def require(condition: bool, message: str) -> None:
    """Refuse what one argument's rule cannot see, such as two arguments that exclude each other."""
    if not condition:
        raise Refusal(message)


@contextlib.contextmanager
def calling(call: str) -> Iterator[None]:
    """Put the call in front of the message of a refusal raised inside."""
    try:
        yield
    except Refusal as error:
        raise ValueError(f"`{call}`: {error}") from None


def brief(value: Any) -> str:
    """`value` as text short enough for an error message."""
    if is_traced(value):
        return f"<traced {value.aval.str_short()}>"
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = f"<{type(value).__name__}, too long to be written>"
    text = " ".join(re.sub(r" at 0x[0-9a-f]+", "", text).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """`known` as a list for an error message, with the name probably meant in front."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    guess = f" Did you mean `{close[0]}`?" if close else ""
    return f"{guess} Known are: {', '.join(names) if names else 'none'}."


def is_traced(value: Any) -> bool:
    """Whether `value` stands for an array that only a later run will hold."""
    if not isinstance(value, jax.Array):
        return False
    kind = type(value)
    if kind not in _TRACED:
        _TRACED[kind] = _has_no_value(value)
    return _TRACED[kind]


# By class. Asking a traced array itself is slow: for its error JAX looks through the whole program.
_TRACED: dict[type, bool] = {}


def _has_no_value(array: jax.Array) -> bool:
    try:
        array.is_fully_addressable  # noqa: B018
    except jax.errors.ConcretizationTypeError:
        return True
    return False


def is_known(value: Any) -> bool:
    """Whether the value can be read here: it is not traced, and on devices of this process."""
    return not is_traced(value) and not (
        isinstance(value, jax.Array) and not value.is_fully_addressable
    )


def known_numbers(value: Any) -> np.ndarray[Any, Any] | None:
    """A number or an array of numbers, rounded as JAX holds them; None where it is not known here.

    With NumPy: inside of `jit` what JAX computes is traced, whatever it is computed from.
    """
    if not is_known(value):
        return None
    with np.errstate(over="ignore"):
        return np.asarray(value, jax.dtypes.canonicalize_dtype(float))


def is_known_scalar(value: Any) -> bool:
    """Whether `value` is a scalar of NumPy or JAX, or an array of no axes, whose value is known."""
    is_array = isinstance(value, np.ndarray | np.generic | jax.Array)
    return is_array and np.ndim(value) == 0 and is_known(value)


# The last count of the counters in a state, which are int32 and stay there.
LONGEST = 2**31 - 1


def whole_number(value: Any) -> int | None:
    """`value` as an int if it is a whole number that is known, of whatever type; else None."""
    if is_known_scalar(value):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1e4 steps is how people write ten thousand
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def sequence(call: str, name: str, value: Any, must: str) -> tuple[Any, ...]:
    """The items of a list, a tuple or an array of one axis, and of nothing else that iterates."""
    hint = ""
    if isinstance(value, Mapping):
        hint = "Of a dict only the keys would be read: give its keys and its values apart."
    is_array = isinstance(value, np.ndarray | jax.Array) and np.ndim(value) == 1
    if not is_array and not isinstance(value, list | tuple | range):
        fail(call, name, value, must, hint)
    return tuple(value)


@dataclass(frozen=True)
class Interval:
    """A real scalar between two bounds; infinity and NaN are always refused."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    hint: str = ""
    kind = "float"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """A Python float for what is known now, else the array as it is."""
        if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
            value = value.item()
        if isinstance(value, jax.Array):
            real = [jnp.issubdtype(value.dtype, kind) for kind in (np.floating, np.integer)]
            if value.shape != () or not any(real):
                must = f"a real scalar{self._bounds()}"
                hint = "For several values at once, build or set it under `jax.vmap`."
                fail(call, name, value, must, hint)
            if is_known(value):
                self._test(call, name, float(value), value)
            return value
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            must = f"a number{self._bounds()}"
            raise TypeError(f"`{call}({name}={brief(value)})`: `{name}` must be {must}.")
        try:
            number = float(value)
        except OverflowError:  # a whole number of more than 308 digits
            number = -math.inf if value < 0 else math.inf
        self._test(call, name, number, value)
        return number

    def _test(self, call: str, name: str, number: float, shown: Any) -> None:
        above = number > self.low if self.low_open else number >= self.low
        below = number < self.high if self.high_open else number <= self.high
        if not math.isfinite(number):
            fail(call, name, shown, f"finite{self._bounds().replace(' ', ', ', 1)}", self.hint)
        if not (above and below):
            fail(call, name, shown, self._bounds().strip(), self.hint)

    def words(self) -> str:
        """The bounds, as errors name them."""
        return self._bounds().strip() or "finite"

    def _bounds(self) -> str:
        words = []
        if self.low > -math.inf:
            words.append(f"{'above' if self.low_open else 'at least'} {self.low:g}")
        if self.high < math.inf:
            words.append(f"{'below' if self.high_open else 'at most'} {self.high:g}")
        return f" {' and '.join(words)}" if words else ""


@dataclass(frozen=True)
class Known:
    """A number that shapes the program, so that it cannot be traced."""

    rule: Interval
    kind = "float"

    def __call__(self, call: str, name: str, value: Any) -> float:
        """The value as a float."""
        if is_traced(value):
            fail(call, name, value, "a number that is known when the call is made")
        return float(self.rule(call, name, value))


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, of Python, NumPy or JAX.

    Attributes:
      low: the least.
      high: the largest: by default what the counters in a state reach. None for a size, which
        counts no steps.
      traced: whether it may be known only when the compiled program runs. Else it shapes the
        program.
    """

    low: int = 1
    high: int | None = LONGEST
    traced: bool = False
    kind = "int"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The value as an int; a traced scalar as it is."""
        if is_traced(value):
            if self.traced and value.shape == () and jnp.issubdtype(value.dtype, np.integer):
                return value
            hint = "Under `optax.inject_hyperparams`, name it in `static_args=`."
            must = f"a whole number of at least {self.low}, known when the call is made"
            fail(call, name, value, must, "" if self.traced else hint)
        number = whole_number(value)
        if number is None or number < self.low:
            fail(call, name, value, f"a whole number of at least {self.low}")
        if self.high is not None and number > self.high:
            end = ", where the counters of a state end" if self.high == LONGEST else ""
            fail(call, name, value, f"at most {self.high}{end}")
        return number


@dataclass(frozen=True)
class FloatDType:
    """A floating dtype, in any spelling that NumPy or JAX knows."""

    kind = "DType"

    def __call__(self, call: str, name: str, value: Any) -> np.dtype[Any]:
        """The value as a NumPy dtype."""
        dtype = _floating(value)
        if dtype is None:
            fail(call, name, value, "a real floating dtype such as 'float32' or 'bfloat16'")
        return dtype


@dataclass(frozen=True)
class StateDType:
    """How buffers are stored: a floating dtype for all, or for each one by the name of its field.

    What is not named, and all of `None`, has the default.
    """

    kind = "DType | dict[str, DType] | None"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """`None`, a NumPy dtype, or a dictionary of them in the order of the names."""
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return FloatDType()(call, name, value)
        dtypes = {}
        for field in sorted(value, key=str):
            dtypes[field] = _floating(value[field])
            if dtypes[field] is None or not isinstance(field, str):
                must = "a real floating dtype, or one for each buffer: {'mu': 'bfloat16'}"
                fail(call, name, value, must)
        return (PassedOn(dtypes) if isinstance(value, PassedOn) else dtypes) or None


class PassedOn(dict[str, Any]):
    """Dtypes by name, from an optimizer for its blocks: each keeps those of its own buffers."""


def _floating(value: Any) -> np.dtype[Any] | None:
    """`value` as a real floating dtype; None where it is none."""
    try:
        dtype = jnp.dtype(value)
    except (TypeError, ValueError, SyntaxError):  # NumPy parses text as a dtype of fields
        return None
    return dtype if jnp.issubdtype(dtype, np.floating) else None


@dataclass(frozen=True)
class Flag:
    """True or False, and nothing that merely counts as one of them."""

    kind = "bool"

    def __call__(self, call: str, name: str, value: Any) -> bool:
        """The value as a bool."""
        if not isinstance(value, bool | np.bool_):
            fail(call, name, value, "True or False")
        return bool(value)


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[Any, ...]

    @property
    def kind(self) -> str:
        """The words."""
        return " | ".join(map(repr, self.words))

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The value itself."""
        if value not in self.words:
            fail(call, name, value, f"one of {', '.join(map(repr, self.words))}")
        return value


@dataclass(frozen=True)
class Optional:
    """`None`, or what another rule allows."""

    rule: Rule

    @property
    def kind(self) -> str:
        """The other rule's kind, or None."""
        return f"{self.rule.kind} | None"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """`None`, or the value as the other rule returns it."""
        return None if value is None else self.rule(call, name, value)


def rule_of(annotation: Any) -> Rule | None:
    """The rule that an annotation stands for; None where it does not restrict the value."""
    if annotation is bool:
        return Flag()
    for extra in getattr(annotation, "__metadata__", ()):
        if callable(extra):
            return typing.cast(Rule, extra)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return Choice(typing.get_args(annotation))
    if origin in (typing.Union, UnionType):
        members = typing.get_args(annotation)
        rules = [rule for member in members if (rule := rule_of(member)) is not None]
        if len(rules) == 1 and type(None) in members:
            return Optional(rules[0])
    return None
