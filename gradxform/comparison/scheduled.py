"""Optimizers as functions of the numbers that a search tries: rate, decay, warmup."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..core import check
from ..core.hyperparams import Tunable
from ..schedules.combine import warmup as warmup_in_front
from ..schedules.shapes import between, cosine_decay, mixed, progress, remaining
from .candidate import Candidate, Factory

SHAPE = ("warmup", "rate_decay")  # what `Scheduled` takes beside the optimizer's own arguments
_SEARCHED = ("learning_rate", "weight_decay", "l2")


@dataclass(frozen=True)
class Scheduled:
    """An optimizer whose learning rate rises in a line and falls as a cosine.

    Attributes:
      optimizer: a function of `learning_rate`, a number or a schedule, and of what else is tried.
    """

    optimizer: Factory

    @property
    def __name__(self) -> str:
        """What the function that is scheduled is called."""
        return f"scheduled {getattr(self.optimizer, '__name__', 'function')}"

    def __call__(
        self,
        *,
        steps: int,
        learning_rate: Any,
        warmup: Any = 0.0,
        rate_decay: Any = 0.0,
        **others: Any,
    ) -> optax.GradientTransformation:
        """The optimizer of one setting.

        Args:
          steps: training steps in all.
          learning_rate: at the peak.
          warmup: the share of the steps in which the rate rises from 0.
          rate_decay: the share of the peak by which the rate falls in the rest; 1 is to 0.
          **others: for the optimizer.
        """
        return self.optimizer(
            learning_rate=_rate(learning_rate, steps, warmup, rate_decay), **others
        )


def _rate(peak: Any, steps: int, warmup: Any, decay: Any) -> Any:
    """The schedule; the peak itself where nothing changes it."""
    if not any(map(check.is_traced, (peak, warmup, decay))):
        rise = round(warmup * steps)
        rate = peak
        if decay > 0.0:
            rate = cosine_decay(peak, steps=max(steps - rise, 1), end=peak * (1 - decay))
        return warmup_in_front(rate, steps=rise) if rise else rate
    # The same of traced numbers, which a schedule's lengths cannot be.
    rise = jnp.round(jnp.asarray(warmup) * steps)

    def at(t: jax.Array) -> jax.Array:
        end, after = peak * (1 - decay), jnp.maximum(t - rise, 0)
        rate = between(peak, end, after, jnp.maximum(steps - rise, 1), "cosine")
        left, done = remaining(t, rise), progress(t, rise)
        return jnp.where(t < rise, mixed(0.0, rate, left, done, "linear"), rate)

    return at


@dataclass(frozen=True)
class Rebuilt:
    """A transformation of this library, built again with other values.

    Attributes:
      transformation: one whose learning rate is `tunable`.
    """

    transformation: optax.GradientTransformation
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = tuple(name for name in _SEARCHED if _has(self.transformation, name))
        object.__setattr__(self, "names", names)

    @property
    def __name__(self) -> str:
        """The text of the transformation."""
        return repr(self.transformation)

    def __call__(self, **values: Any) -> optax.GradientTransformation:
        """The transformation with these values in the places of its own."""
        return _with(self.transformation, values)


def arguments_of(function: Any) -> tuple[str, ...]:
    """The names of numbers that a function can be given, those with defaults too."""
    if isinstance(function, Rebuilt):
        return function.names
    if isinstance(function, Scheduled):
        return (*arguments_of(function.optimizer), *SHAPE)
    return tuple(name for name in inspect.signature(function).parameters if name != "steps")


def required_arguments(function: Any) -> tuple[str, ...]:
    """Those of `arguments_of` without which the function cannot be called."""
    if isinstance(function, Rebuilt):
        return ()
    if isinstance(function, Scheduled):
        return required_arguments(function.optimizer)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(
        name
        for name, p in inspect.signature(function).parameters.items()
        if name != "steps" and p.default is p.empty and p.kind in named
    )


def searchable(candidate: Candidate) -> Candidate:
    """The candidate as a function whose learning rate may be a schedule.

    Args:
      candidate: what is to be tuned. A function that takes a `learning_rate` and neither `warmup`
        nor `rate_decay` is scheduled; a transformation of this library is built anew with each
        `learning_rate` in the place of its tunable one, and each `weight_decay` or `l2`.

    Raises:
      TypeError: it is a transformation without a tunable learning rate, or of another library.
    """
    made: Any = candidate.transformation
    if not candidate.is_function:
        made = Rebuilt(made) if hasattr(made, "recipe") else None
        if made is None or "learning_rate" not in made.names:
            raise TypeError(
                f"`tune(candidates=...)`: `{candidate.name}` must be a function of what is "
                "searched, such as `lambda learning_rate: optax.adam(learning_rate)`, or a "
                "transformation of this library with `learning_rate=tunable(...)`."
            )
    names = arguments_of(made)
    if "learning_rate" in names and not {*SHAPE} & {*names}:
        made = Scheduled(made)
    return Candidate(candidate.name, made, candidate.grid)


def _has(made: Any, name: str) -> bool:
    """Whether a recipe has an argument of that name, which is tunable if it is the rate."""
    for key, value in _arguments(made).items():
        if key == name and (isinstance(value, Tunable) or name != "learning_rate"):
            return True
        if any(_has(part, name) for part in _parts(value)):
            return True
    return False


def _with(made: Any, values: Mapping[str, Any]) -> Any:
    recipe = made.recipe
    args, kwargs = [], {}
    for name, value in recipe.shown:
        if _parts(value):
            value = _with(value, values)
        if name is None:
            args.append(value)
        else:
            kwargs[name] = value
    for name, value in values.items():
        own = recipe.arguments.get(name)
        if name in recipe.arguments and (isinstance(own, Tunable) or name != "learning_rate"):
            kwargs[name] = value
    return recipe.factory(*args, **kwargs)


def _arguments(made: Any) -> dict[str, Any]:
    return dict(made.recipe.arguments) if hasattr(made, "recipe") else {}


def _parts(value: Any) -> list[Any]:
    """The transformations of this library in an argument."""
    if hasattr(value, "recipe"):
        return [value]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [part for item in value for part in _parts(item)]
    return []
