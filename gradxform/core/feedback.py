"""Hyperparameters that watch the training, such as a learning rate that drops on a plateau."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import jax

from . import check
from .factory import Signature
from .hyperparams import Feedback

P = ParamSpec("P")

# init() -> memory; observe(memory, **needs) -> memory; value(memory, count) -> number
Functions = tuple[Callable[[], Any], Callable[..., Any], Callable[[Any, jax.Array], jax.Array]]


def feedback(factory: Callable[P, Functions]) -> Callable[P, Feedback]:
    """Make a factory of a function that returns `(init, observe, value)`.

    `init()` returns the memory, a NamedTuple of arrays. `observe(memory, ...)` returns the memory
    after an update; the names of its further arguments are what `update` must then be given by
    keyword. `value(memory, count)` is the hyperparameter's value.
    """
    signature = Signature(factory)

    @functools.wraps(factory)
    def build(*args: P.args, **kwargs: P.kwargs) -> Feedback:
        bound = signature.bind(args, kwargs)
        with check.calling(f"{signature.name}(...)"):
            init, observe, value = factory(*bound.args, **bound.kwargs)
        return Feedback(signature.record(build, bound), init, observe, value)

    build.__signature__ = signature.shown(Feedback)  # type: ignore[attr-defined]
    return build
