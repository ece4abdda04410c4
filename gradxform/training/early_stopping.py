"""Early stopping: end a training when what it is judged by has stopped improving."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..core import check, numerics
from ..core.arguments import NonNegativeNumber, WholeNumber
from ..core.factory import Signature
from ..core.improvement import improves, real_number
from ..core.recipe import Recipe, rebuild, render
from ..core.types import Params


class EarlyStoppingState(NamedTuple):
    """What early stopping remembers: arrays, for any loop of JAX."""

    should_stop: Array  # bool: whether patience has run out; stays True
    best_value: Array  # the best reading so far; infinite before the first
    best_step: Array  # int32: which reading that was, counted from 0; -1 before the first
    count: Array  # type: ignore[assignment]  # int32: readings so far
    bad_readings: Array  # int32: readings in a row, up to the last, without improvement
    best_params: Params  # what was passed with the best reading; None where nothing is kept


class EarlyStopping:
    """A pair of pure functions, `init` and `update`; `early_stopping` makes it.

    It prints, compares and pickles as the call that built it.

    Attributes:
      recipe: the call.
    """

    __slots__ = ("_improves", "_patience", "_worst", "recipe")

    def __init__(
        self, recipe: Recipe, patience: int, better: Callable[..., Array], worst: float
    ) -> None:
        self.recipe = recipe
        self._patience, self._improves, self._worst = patience, better, worst

    def init(self, params: Params = None) -> EarlyStoppingState:
        """The state before the first reading.

        Args:
          params: the parameters, or anything else that is a tree of arrays, if the best of them
            are to be kept. The state holds a copy, from the start on.
        """
        return EarlyStoppingState(
            should_stop=jnp.zeros((), bool),
            best_value=jnp.full((), self._worst, numerics.scalar_dtype()),
            best_step=jnp.full((), -1, jnp.int32),
            count=jnp.zeros((), jnp.int32),
            bad_readings=jnp.zeros((), jnp.int32),
            # A copy: the training step may donate its parameters.
            best_params=jax.tree.map(lambda p: jnp.array(p, copy=True), params),
        )

    def update(
        self, state: EarlyStoppingState, value: Any, params: Params = None
    ) -> EarlyStoppingState:
        """The state after a reading.

        Args:
          state: the state before it.
          value: the reading, a real number of any type. NaN never improves.
          params: what the reading is of, where `init` was given such.

        Raises:
          TypeError: the reading is no real scalar.
          ValueError: the parameters are not those that `init` was given.
        """
        call = "early_stopping(...).update(state, value, params)"
        if not isinstance(state, EarlyStoppingState):
            raise TypeError(
                f"`{call}`: the state must be what `init` or `update` returned; got "
                f"{check.brief(state)}."
            )
        reading = real_number(call, "early_stopping", value)
        _require_alike(call, state.best_params, params)
        better = self._improves(reading, state.best_value)
        bad = jnp.where(
            better, jnp.zeros_like(state.bad_readings), numerics.increment(state.bad_readings)
        )
        return EarlyStoppingState(
            should_stop=state.should_stop | (bad > self._patience),
            best_value=jnp.where(better, reading, state.best_value),
            best_step=jnp.where(better, state.count, state.best_step),
            count=numerics.increment(state.count),
            bad_readings=bad,
            best_params=jax.tree.map(
                lambda p, best: jnp.where(better, jnp.asarray(p, best.dtype), best),
                params,
                state.best_params,
            ),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EarlyStopping) and self.recipe == other.recipe

    def __hash__(self) -> int:
        return hash((EarlyStopping, self.recipe))

    def __repr__(self) -> str:
        return render(self.recipe)

    def __reduce__(self) -> Any:
        return rebuild, (self.recipe.factory, self.recipe.shown)


def _require_alike(call: str, best: Params, params: Params) -> None:
    with check.calling(call):
        check.require(
            (best is None) == (params is None),
            "`init` was given parameters to keep, so `update` needs those of each reading."
            if params is None
            else "to keep the best parameters, give them to `init(params)` as well.",
        )
        shapes = [[jnp.shape(p) for p in jax.tree.leaves(tree)] for tree in (best, params)]
        structures: list[Any] = [jax.tree.structure(tree) for tree in (best, params)]
        check.require(
            structures[0] == structures[1] and shapes[0] == shapes[1],
            "the parameters must be those that `init` was given; they are "
            f"{check.brief(structures[1])} with shapes {check.brief(shapes[1])}, those were "
            f"{check.brief(structures[0])} with {check.brief(shapes[0])}.",
        )


def _factory(function: Callable[..., Any]) -> Callable[..., EarlyStopping]:
    signature = Signature(function)

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> EarlyStopping:
        bound = signature.bind(args, kwargs)
        return EarlyStopping(signature.record(build, bound), *function(*bound.args, **bound.kwargs))

    build.__signature__ = signature.shown(EarlyStopping)  # type: ignore[attr-defined]
    return build


@_factory
def early_stopping(
    patience: WholeNumber = 10,
    min_delta: NonNegativeNumber = 0.0,
    mode: Literal["min", "max"] = "min",
    *,
    rtol: NonNegativeNumber = 0.0,
) -> Any:
    """Say when a watched value has stopped improving: a small pure state for any loop.

        stopper = early_stopping(patience=5)
        state = stopper.init(params)
        for epoch in range(100):
            ...
            state = stopper.update(state, validation_loss, params)
            if state.should_stop:
                break
        params = state.best_params

    The state is a tree of arrays: in `lax.while_loop` the condition is `~state.should_stop`. What
    an improvement is, is the rule of `reduce_on_plateau`: a value below
    best - min_delta - rtol |best| (above best + ... for "max"); NaN is none, not even as the first.
    Both stop being patient at the same reading. The best is the last that counted as an
    improvement: within `min_delta` of it there may have been better ones.

    Args:
      patience: how many readings in a row without improvement are let pass; the next one stops,
        as in Flax. Keras and Lightning stop one earlier, at the `patience`-th.
      min_delta: how much better counts, in units of the reading.
      mode: whether smaller ("min") or larger ("max") is better.
      rtol: how much better counts, as a fraction of the best reading.
    """
    sign = 1.0 if mode == "min" else -1.0

    def better(reading: Array, best: Array) -> Array:
        relative, absolute = (jnp.asarray(x, reading.dtype) for x in (rtol, min_delta))
        return improves(reading, best, sign=sign, rtol=relative, atol=absolute)

    return patience, better, sign * float("inf")
