"""Averages of the parameters: trained with as they come, evaluated with smoothed.

The parameters p_1, p_2, ... after each update jump about the valley that they have come to; their
average lies further down in it. Both averages here move towards each new p_n by a part s_n of the
way, which begins with s_1 = 1:

    x_n = x_{n-1} + s_n (p_n - x_{n-1})

    exponential moving average    s_n = (1 - d_n) / w_n,   w_n = d_n w_{n-1} + (1 - d_n),  w_0 = 0
    mean of all                   s_n = 1 / n
    polynomial decay              s_n = (η + 1) / (n + η)

The first is the weighted mean in which each step multiplies the weights of the earlier ones by the
decay d; w_n is the sum of the weights, and divides out the pull towards the start (debiasing). It
forgets after about 1 / (1 - d) steps. The second never forgets, so it begins when the training
has come near. The third does too, at η = 0, and forgets the start ever faster for a larger η.
A constant stays the constant, exactly.

References:
  Polyak & Juditsky, 1992, https://doi.org/10.1137/0330046 (the mean of all)
  Izmailov et al., 2018, https://arxiv.org/abs/1803.05407 (from a step on, in cycles: SWA)
  Shamir & Zhang, 2013, https://arxiv.org/abs/1212.1824 (polynomial decay)
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..core import numerics, tree
from ..core.arguments import Count, Decay, NonNegative, Transformation, WholeNumber
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates, declares, leaf_wise, update_wide
from .apply import apply_updates
from .evaluation import Evaluation
from .order import require_whole_windows

_AVERAGED = "It averages the parameters that its own update leads to, and they are never reached."


class EmaParamsState(NamedTuple):
    """An average of the parameters beside the state of what trains them."""

    inner_state: State
    count: Array  # type: ignore[assignment]  # int32: updates so far
    num_averaged: Array  # n: int32, how many of them were averaged
    weight: Array  # w_n: the sum of their weights; 0 before the first
    ema: Params  # x_n: structure and shapes of the parameters, at least float32

    def evaluation(self) -> Evaluation:
        """The average, as soon as there is one."""
        return _evaluation("ema_params", self.num_averaged, self.ema)


class AverageParamsState(NamedTuple):
    """An average of the parameters beside the state of what trains them."""

    inner_state: State
    count: Array  # type: ignore[assignment]  # int32: updates so far
    num_averaged: Array  # n: int32, how many of them were averaged
    mean: Params  # x_n: structure and shapes of the parameters, at least float32

    def evaluation(self) -> Evaluation:
        """The average, as soon as there is one."""
        return _evaluation("average_params", self.num_averaged, self.mean)


@transformation
@leaf_wise
@declares(final=_AVERAGED)
def ema_params(
    inner: Transformation,
    decay: Decay = 0.999,
    *,
    warmup: bool = False,
    debias: bool = True,
    start: WholeNumber = 0,
    every: Count = 1,
) -> InitUpdate:
    """Keep an exponential moving average of the parameters; `eval_params` reads it.

    The updates are those of `inner`. It goes around the whole optimizer: what is averaged is what
    `apply_updates` makes of the parameters with the update as this wrapper returns it, rounding
    included. Accumulation goes around it, so that every parameter counts once; inside, it is
    refused unless `every` is a multiple of the window.

        tx = ema_params(adamw(1e-3), decay=0.999)
        ...
        evaluate(eval_params(state, params))

    Args:
      inner: the optimizer.
      decay: d, the part of the average that each step keeps: a memory of about 1 / (1 - d) times
        `every` steps. As a schedule it is a function of the step.
      warmup: whether the n-th decay is at most n / (9 + n), counting from 1, so that the average
        of a short training has forgotten its start: a memory of about a ninth of the steps so
        far. As in TensorFlow and diffusers.
      debias: whether to divide by the sum of the weights. If not, the first parameters averaged
        keep the weight d^(n - 1), most of it for long, as in torch, timm and diffusers.
      start: how many updates pass before averaging begins. What the training does there leaves
        no trace in the average.
      every: how many updates make one step of the average, `decay` being that of such a step.

    Returns:
      A transformation with state `EmaParamsState`: 4 bytes a parameter in float32 more than
      `inner`. The average is float32 also for 16-bit parameters: in bfloat16 it would not move,
      since 1 - d = 0.001 of a small difference is below the last digit.
    """

    require_whole_windows(inner, "ema_params", "every", every)

    def init(params: Params) -> EmaParamsState:
        zero = jnp.zeros((), numerics.scalar_dtype())
        return EmaParamsState(inner.init(params), *_counts(), zero, wide_copies(params))

    def update(
        updates: Updates, state: EmaParamsState, params: Params, **extra: Any
    ) -> tuple[Updates, State]:
        wide, inner_state = update_wide(inner, updates, state.inner_state, params, **extra)
        count, n, due = _next(state.count, state.num_averaged, start, every)
        step, weight = _ema_step(decay, n, state.weight, warmup, debias)
        ema = _moved(state.ema, _after(inner, updates, wide, params), step, due)
        weight = jnp.where(due, weight, state.weight)
        n = jnp.where(due, n, state.num_averaged)
        return wide, EmaParamsState(inner_state, count, n, weight, ema)

    return init, update


@transformation
@leaf_wise
@declares(final=_AVERAGED)
def average_params(
    inner: Transformation, start: WholeNumber, every: Count = 1, *, power: NonNegative = 0.0
) -> InitUpdate:
    """Keep the mean of the parameters from a step on; `eval_params` reads it.

    The updates are those of `inner`. With `every=1` it is the average of Polyak and Ruppert over
    the tail of the training; with `every` a cycle of the learning rate, or an epoch, it is
    stochastic weight averaging (SWA), for which the learning rate stays high. It goes around the
    whole optimizer, and accumulation around it, as with `ema_params`.

    Args:
      inner: the optimizer.
      start: how many updates pass before averaging begins; best the last quarter of the training
        or more of it. The paper counts the parameters at `start` as the first of the mean; here,
        as in torch, the first are those `every` updates later.
      every: how many updates lie between two parameters of the mean.
      power: η, by which later parameters weigh more, about as n^η; 0 weighs all alike. With 3 or
        so, `start` may be 0.

    Returns:
      A transformation with state `AverageParamsState`: 4 bytes a parameter in float32 more than
      `inner`.
    """

    require_whole_windows(inner, "average_params", "every", every)

    def init(params: Params) -> AverageParamsState:
        return AverageParamsState(inner.init(params), *_counts(), wide_copies(params))

    def update(
        updates: Updates, state: AverageParamsState, params: Params, **extra: Any
    ) -> tuple[Updates, State]:
        wide, inner_state = update_wide(inner, updates, state.inner_state, params, **extra)
        count, n, due = _next(state.count, state.num_averaged, start, every)
        step = _mean_step(power, n)
        mean = _moved(state.mean, _after(inner, updates, wide, params), step, due)
        n = jnp.where(due, n, state.num_averaged)
        return wide, AverageParamsState(inner_state, count, n, mean)

    return init, update


def wide_copies(params: Params) -> Params:
    """Copies of the parameters in at least float32, sharded like them."""

    def copy(p: Any) -> Array:
        return jnp.array(p, numerics.wide_dtype(jnp.result_type(p)), copy=True)

    return jax.tree.map(copy, params)


def _after(inner: Any, updates: Updates, wide: Updates, params: Params) -> Params:
    """The parameters after an update, rounded as by the outermost `update` and `apply_updates`."""
    at_least_float32 = getattr(inner.update, "wide", False)
    rounded = tree.narrow(wide, updates, params, at_least_float32=at_least_float32)
    return jax.tree.map(_kept_rounded, apply_updates(params, rounded))


def _kept_rounded(p: Any) -> Array:
    """A 16-bit array in float32; XLA may leave out a conversion there and back, but not this."""
    p = jnp.asarray(p)
    if p.dtype == numerics.wide_dtype(p.dtype):
        return p
    wide = p.astype(numerics.wide_dtype(p.dtype))
    finfo: Any = jnp.finfo
    return lax.reduce_precision(wide, finfo(wide.dtype).nexp, finfo(p.dtype).nmant)


def _counts() -> tuple[Array, Array]:
    return jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)


def _next(count: Array, n: Array, start: int, every: int) -> tuple[Array, Array, Array]:
    """The next counts, and whether the parameters after this update are averaged."""
    count = numerics.increment(count)
    due = (count > start) & ((count - start) % every == 0)
    return count, numerics.increment(n), due


def _ema_step(
    decay: Value, n: Array, weight: Array, warmup: bool, debias: bool
) -> tuple[Array, Array]:
    """(d, n, w_{n-1}) -> (s_n, w_n)."""
    if warmup:
        nth = n.astype(weight.dtype)
        decay = jnp.minimum(decay, nth / (9.0 + nth))
    if debias:
        weight = decay * weight + (1.0 - decay)
        return numerics.divide(jnp.asarray(1.0 - decay, weight.dtype), weight), weight
    one = jnp.ones_like(weight)
    return jnp.where(n == 1, one, jnp.asarray(1.0 - decay, weight.dtype)), one


def _mean_step(power: Value, n: Array) -> Array:
    """(η, n) -> s_n."""
    nth = n.astype(numerics.scalar_dtype())
    return (power + 1.0) / (nth + power)


def _moved(average: Params, after: Params, step: Array, due: Array) -> Params:
    """The average where it takes a step, which is selected: a branch is copied into and out of."""
    return tree.lift(_average_rule, after, average, step=step, due=due)[1]


def _average_rule(p: Array, x: Array, *, step: Array, due: Array) -> tuple[Array, Array]:
    """(p_n, x_{n-1}) -> (p_n, x_n)."""
    # The first step takes p_n itself: a difference that is added again is rounded twice.
    moved = jnp.where(step >= 1.0, p, x + step * (p - x))
    return p, jnp.where(due, moved, x)


def _evaluation(by: str, num_averaged: Array, average: Params) -> Evaluation:
    return Evaluation(by, average, partial(_evaluated, num_averaged=tree.unboxed(num_averaged)))


def _evaluated(p: Array, x: Array, *, num_averaged: Array) -> Array:
    return jnp.where(num_averaged > 0, x, p)
