"""Reduce on plateau: a value that drops when what it watches stops improving."""

from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import check, numerics
from ..core.arguments import Count, NonNegativeNumber, WholeNumber
from ..core.feedback import Functions, feedback
from ..core.improvement import improves, real_number
from ..core.schedule import NumberOrSchedule, as_schedule

Reduction = Annotated[Any, check.Interval(low=0.0, low_open=True, high=1.0, high_open=True)]


class ReduceOnPlateauState(NamedTuple):
    """What the reduction remembers."""

    scale: Array  # factor^(reductions so far)
    best: Array  # the best reading so far
    bad_readings: Array  # int32: readings without improvement since the last one or reduction
    cooldown_left: Array  # int32: readings still to be ignored
    total: Array  # the sum of the values of the reading that is being gathered
    gathered: Array  # int32: how many they are


@feedback
def reduce_on_plateau(
    value: NumberOrSchedule,
    *,
    factor: Reduction = 0.1,
    patience: WholeNumber = 10,
    mode: Literal["min", "max"] = "min",
    rtol: NonNegativeNumber = 1e-4,
    atol: NonNegativeNumber = 0.0,
    cooldown: WholeNumber = 0,
    every: Count = 1,
    min_value: NonNegativeNumber = 0.0,
) -> Functions:
    """Multiply a hyperparameter by `factor` when a watched value has stopped improving.

    It stands where a number or a schedule stands, `adam(reduce_on_plateau(1e-3))`, and watches
    what the training loop passes: `update(grads, state, params, value=validation_loss)`. The
    reduced value is the one that `hyperparams(state)` reads.

    A reading improves if it is below best - rtol |best| - atol (above best + ... for "max"), which
    is right for negative values too; NaN does not. After more than `patience` readings in a row
    without improvement the value is multiplied by `factor`, as in torch's `ReduceLROnPlateau`,
    beginning with the update that reports the last of them.

    All devices must report one value: inside of `jax.shard_map`, the mean over them,
    `value=jax.lax.pmean(value, axis_name)`. With values of its own, each has a learning rate of
    its own, as a population wants it.

    Args:
      value: a number of at least 0, or a schedule; the reduction multiplies it.
      factor: what one reduction multiplies by, in (0, 1).
      patience: how many readings without improvement are let pass; the one after reduces, as in
        torch. Optax's `patience=n` is `n - 1` here.
      mode: whether smaller ("min") or larger ("max") is better.
      rtol: how much better counts, as a fraction of the best reading. torch's relative threshold
        is the same for values above 0.
      atol: how much better counts, in units of the reading.
      cooldown: how many readings are ignored after a reduction.
      every: how many calls make one reading, which is their mean: the steps of an epoch where
        each step reports its loss. With a NaN among them it is NaN, no improvement.
      min_value: the reduced value is never below this. torch has a second floor, which ignores
        reductions by less than 1e-8 (`eps`).

    Returns:
      A value for any hyperparameter; its state, a `ReduceOnPlateauState`, is part of the
      optimizer's.

    Raises:
      ValueError: a negative number as `value`.
    """
    check.require(
        not isinstance(value, float) or value >= 0.0,
        f"`value` must be at least 0, or a schedule; got {value}.",
    )
    sign = 1.0 if mode == "min" else -1.0
    base = as_schedule(value)

    def init() -> ReduceOnPlateauState:
        return ReduceOnPlateauState(
            scale=_number(1.0),
            best=_number(sign * jnp.inf),
            bad_readings=jnp.zeros((), jnp.int32),
            cooldown_left=jnp.zeros((), jnp.int32),
            total=_number(0.0),
            gathered=jnp.zeros((), jnp.int32),
        )

    def observe(state: ReduceOnPlateauState, value: Any) -> ReduceOnPlateauState:
        reading = real_number("update(..., value=...)", "reduce_on_plateau", value)
        total = state.total + reading
        gathered = state.gathered + 1
        complete = gathered >= every
        read = _after_reading(state, total / every)
        state = ReduceOnPlateauState(
            *(jnp.where(complete, new, old) for new, old in zip(read, state, strict=True))
        )
        return state._replace(
            total=jnp.where(complete, jnp.zeros_like(total), total),
            gathered=jnp.where(complete, jnp.zeros_like(gathered), gathered),
        )

    def _after_reading(state: ReduceOnPlateauState, reading: Array) -> ReduceOnPlateauState:
        better = improves(reading, state.best, sign=sign, rtol=_number(rtol), atol=_number(atol))
        cooling = state.cooldown_left > 0
        zero = jnp.zeros_like(state.bad_readings)
        bad = jnp.where(better | cooling, zero, state.bad_readings + 1)
        reduce = bad > patience
        left = jnp.where(cooling, state.cooldown_left - 1, zero)
        return state._replace(
            scale=jnp.where(reduce, state.scale * _number(factor), state.scale),
            best=jnp.where(better, reading, state.best),
            bad_readings=jnp.where(reduce, zero, bad),
            cooldown_left=jnp.where(reduce, jnp.full_like(left, cooldown), left),
        )

    def current(state: ReduceOnPlateauState, count: Array) -> Array:
        return jnp.maximum(_number(base(count)) * state.scale, _number(min_value))

    return init, observe, current


def _number(x: Any) -> Array:
    return jnp.asarray(x, numerics.scalar_dtype())
