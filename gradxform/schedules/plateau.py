"""Reduce on plateau: a value that drops when what it watches stops improving."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics
from ..core.arguments import Count, NonNegativeNumber, PositiveNumber, WholeNumber
from ..core.feedback import Functions, feedback
from ..core.schedule import NumberOrSchedule, as_schedule


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
    factor: PositiveNumber = 0.1,
    patience: WholeNumber = 10,
    *,
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

    Args:
      value: a number or a schedule; the reduction multiplies it.
      factor: what one reduction multiplies by.
      patience: how many readings without improvement are let pass.
      mode: whether smaller ("min") or larger ("max") is better.
      rtol: how much better counts, as a fraction of the best reading.
      atol: how much better counts, in units of the reading.
      cooldown: how many readings are ignored after a reduction.
      every: how many calls make one reading, which is their mean: the steps of an epoch where
        each step reports its loss.
      min_value: the reduced value is never below this.
    """
    sign = 1.0 if mode == "min" else -1.0
    base = as_schedule(value)

    def init() -> ReduceOnPlateauState:
        dtype = numerics.scalar_dtype()
        return ReduceOnPlateauState(
            scale=jnp.ones((), dtype),
            best=jnp.full((), sign * jnp.inf, dtype),
            bad_readings=jnp.zeros((), jnp.int32),
            cooldown_left=jnp.zeros((), jnp.int32),
            total=jnp.zeros((), dtype),
            gathered=jnp.zeros((), jnp.int32),
        )

    def observe(state: ReduceOnPlateauState, value: Array) -> ReduceOnPlateauState:
        total = state.total + jnp.asarray(value, state.total.dtype)
        gathered = state.gathered + 1
        complete = gathered >= every
        read = _after_reading(state, total / gathered)
        state = ReduceOnPlateauState(
            *(jnp.where(complete, new, old) for new, old in zip(read, state, strict=True))
        )
        return state._replace(
            total=jnp.where(complete, jnp.zeros_like(total), total),
            gathered=jnp.where(complete, jnp.zeros_like(gathered), gathered),
        )

    def _after_reading(state: ReduceOnPlateauState, reading: Array) -> ReduceOnPlateauState:
        better = improves(reading, state.best, sign=sign, rtol=rtol, atol=atol)
        cooling = state.cooldown_left > 0
        zero = jnp.zeros_like(state.bad_readings)
        bad = jnp.where(better | cooling, zero, state.bad_readings + 1)
        reduce = bad > patience
        left = jnp.where(cooling, state.cooldown_left - 1, zero)
        return state._replace(
            scale=jnp.where(reduce, state.scale * factor, state.scale),
            best=jnp.where(better, reading, state.best),
            bad_readings=jnp.where(reduce, zero, bad),
            cooldown_left=jnp.where(reduce, jnp.full_like(left, cooldown), left),
        )

    def current(state: ReduceOnPlateauState, count: Array) -> Array:
        return jnp.maximum(jnp.asarray(base(count), state.scale.dtype) * state.scale, min_value)

    return init, observe, current


def improves(reading: Array, best: Array, *, sign: float, rtol: float, atol: float) -> Array:
    """Whether a reading is better than the best by more than the tolerances; NaN never is.

    `sign` is 1 where smaller is better and -1 where larger is. The first reading, against an
    infinite best, is.
    """
    margin = jnp.where(jnp.isfinite(best), rtol * jnp.abs(best), 0.0) + atol
    return sign * reading < sign * best - margin
