"""Accumulation: one update from the gradients of several micro-batches.

With gradients g_1, ..., g_k of a window of k micro-batches and their weights w_i (1 unless given):

    g = Σ w_i g_i / Σ w_i        or, as a sum,        g = Σ w_i g_i

Where each g_i is the gradient of a mean over n_i examples and w_i = n_i, g is the gradient of the
mean over all of them, which a batch too large for the memory would have given. What is wrapped
sees g once a window, so clipping, weight decay, schedules and counters are those of the large
batch. The other calls return zeros.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import Transformation
from ..core.branch import when
from ..core.factory import transformation
from ..core.shards import AxisName
from ..core.types import (
    InitUpdate,
    Params,
    State,
    Updates,
    declares,
    update_wide,
    whole_arrays_where,
)
from . import window
from .order import require_state_here
from .skipping import require_axes
from .window import Every, Names


class AccumulateState(NamedTuple):
    """The window so far, counters, and the state of what is wrapped."""

    mini_step: Array  # int32: micro-batches of this window so far; 0 when the next begins one
    every: Array  # int32: k of the window of the last call
    gradient_step: Array  # int32: updates emitted so far
    emitted: Array  # int32: 1 if the last call emitted one, else 0
    skipped_steps: Array  # int32: micro-batches left out because they were not finite
    weight: Array  # Σ w_i of this window so far
    acc_extra: dict[str, Array]  # Σ w_i x_i of the extra arguments that are reduced, by name
    # Σ w_i g_i of this window, like the parameters but at least float32; between windows what is
    # left of the last one, which is not read; None where k is always 1.
    acc_grads: Params
    inner_state: State  # as the last update left it

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"emitted": self.emitted, "skipped_steps": self.skipped_steps}


@transformation
@declares(gathers="every")
@whole_arrays_where(lambda arguments: arguments["on_nonfinite"] == "skip")
def accumulate(
    inner: Transformation,
    every: Every,
    *,
    reduction: Literal["mean", "sum"] = "mean",
    on_nonfinite: Literal["propagate", "skip"] = "propagate",
    reduced: Names = ("value",),
    axis_name: AxisName = None,
) -> InitUpdate:
    """Gather the gradients of `every` micro-batches, and update once with their mean.

    It goes around the whole optimizer, and each call is followed by `apply_updates` as ever:

        optimizer = accumulate(chain(clip_by_global_norm(1.0), adamw(3e-4)), every=4)

    Where one jitted step can be given all micro-batches of an update, use
    `accumulated_value_and_grad` instead: no accumulator in the state, and no calls without effect.

    `update` takes two further arguments. `weight=` is the weight of a micro-batch: the number of
    its examples, or of the tokens that its mask lets through. One of weight 0 is left out, also
    where its gradient is 0 / 0, and a window without any weight emits nothing. `emit=True` ends
    the window, as at the end of an epoch; the mean is over what is there. (Together with
    `weight=0.0` and any gradients it ends one whose last micro-batch has been given before.)
    Inside of `jax.shard_map` both are the same on all devices that share parameters: with gradients
    averaged over devices, the weight is their sum, `weight=jax.lax.psum(weight, axis_name)`.

    What is wrapped runs in the calls that emit and in no others; under `vmap`, when any member
    emits. Its counters and schedules count the updates emitted, and `hyperparams` reads what the
    last of them used. (optax's `MultiSteps` runs it in each call and drops the result.)

    Args:
      inner: what is applied to the mean, usually a complete optimizer. The mean comes to it in at
        least float32, whatever the gradients are; optax rounds it back to them first.
      every: k, the number of micro-batches in a window, or a function of the number of updates
        emitted so far. Its value is rounded down, and is 1 where it is below. A window that is
        open when a run goes on with another `every` ends by the new one. With `every=1` there
        is no accumulator and no branch.
      reduction: "mean", or "sum" where the losses are sums over their examples.
      on_nonfinite: what a micro-batch does whose gradient, or whose sum of squares, is infinite or
        NaN. "propagate" adds it to the rest. "skip" leaves it out as if its weight were 0, and
        counts it in `skipped_steps`. It keeps its place: windows end where they would have ended.
        (optax with `skip_not_finite` waits for another one.)
      reduced: names of extra arguments of `update` that are a number for each micro-batch, such as
        its loss. `inner` gets their mean (or sum) over the window, if they are given in all of its
        calls. Other arguments, such as functions, reach `inner` as the call that emits gets them.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `AccumulateState`: 4 bytes a parameter (none with `every=1`)
      beside the state of `inner`.

    Raises:
      ValueError: by `update`: a weight, or an argument that is `reduced`, that is no real scalar.
    """
    require_state_here(inner, "accumulate")
    single, mean = every == 1, reduction == "mean"
    if on_nonfinite == "skip":
        require_axes(inner, axis_name)

    def init(params: Params) -> AccumulateState:
        def zero(dtype: Any = jnp.int32) -> Array:
            return jnp.zeros((), dtype)

        dtype, inner_state = numerics.scalar_dtype(), inner.init(params)
        return AccumulateState(
            mini_step=zero(),
            every=window.length_of(every, zero()),
            gradient_step=zero(),
            emitted=zero(),
            skipped_steps=zero(),
            weight=zero(dtype),
            acc_extra={} if single else {name: zero(dtype) for name in reduced},
            acc_grads=None if single else tree.zeros_like(params),
            inner_state=inner_state,
        )

    def update(
        updates: Updates,
        state: AccumulateState,
        params: Params = None,
        *,
        weight: Any = None,
        emit: Any = None,
        **extra: Any,
    ) -> tuple[Updates, State]:
        w = None if weight is None else window.weight_of(weight)
        if emit is not None:
            emit = extra["emit"] = window.flag("emit", emit)  # a window inside ends as well
        readings = {
            name: window.scalar(name, extra[name], "the mean over its examples")
            for name in reduced
            if extra.get(name) is not None
        }
        use, skipped = window.counts(updates, readings, w, on_nonfinite == "skip")
        if single and use is None:
            new, inner_state = update_wide(inner, updates, state.inner_state, params, **extra)
            return new, state._replace(
                gradient_step=numerics.increment(state.gradient_step),
                emitted=jnp.ones_like(state.emitted),
                inner_state=inner_state,
            )

        begins = state.mini_step == 0
        # Not that of the state: a run may go on with another `every` in the midst of a window.
        length = window.length_of(every, state.gradient_step)
        mini_step = numerics.increment(state.mini_step)
        ends = mini_step >= length if emit is None else (mini_step >= length) | emit
        total, _ = window.added(
            jnp.ones_like(state.weight), state.weight, begins=None, w=w, use=use
        )
        due = ends if use is None else ends & (total != 0)

        # The sum becomes the mean in the pass over the memory that adds the last gradient.
        by = jnp.where(due, total, jnp.ones_like(total)) if mean else None
        if single:  # a gradient is its own mean, to the last bit
            alone = None if mean else w
            sums = tree.lift(window.weighted, updates, w=alone)
            totals = {name: window.weighted(x, w=alone) for name, x in readings.items()}
        else:
            sums, _ = tree.lift(
                window.added, updates, state.acc_grads, begins=begins, w=w, use=use, by=by
            )
            totals = {
                name: window.added(x, state.acc_extra[name], begins=None, w=w, use=use)[0]
                for name, x in readings.items()
            }

        def emitted(sums: Updates, inner_state: State) -> tuple[Updates, State]:
            given = dict(extra)
            for name, x in totals.items():
                given[name] = x if by is None or single else x / by
            if w is not None and mean:
                given["weight"] = total  # of this mean, for a window inside
            new, after = update_wide(inner, sums, inner_state, params, **given)
            return tree.typed_like(sums, new), tree.typed_like(inner_state, after)

        def kept(sums: Updates, inner_state: State) -> tuple[Updates, State]:
            return sums, inner_state

        before = tree.as_arrays(state.inner_state)
        if _is_first(state):
            jax.eval_shape(emitted, sums, before)  # what `inner` lacks, it says now
        # The update is returned in the place of the sum. The sum's buffer is then changed in place
        # and serves the update too; otherwise XLA copies it, and everything else in both branches.
        either, inner_state = when(due, emitted, kept, sums, before)
        if single:
            new, acc_grads = tree.lift(window.update_of, either, due=due), None
        else:
            new, acc_grads = tree.lift(window.update_and_sum_of, either, state.acc_grads, due=due)

        def until_it_ends(x: Array) -> Array:
            return jnp.where(ends, jnp.zeros_like(x), x)

        def counted(happened: Array, count: Array) -> Array:
            return jnp.where(happened, numerics.increment(count), count)

        return new, AccumulateState(
            mini_step=until_it_ends(mini_step),
            every=length,
            gradient_step=counted(due, state.gradient_step),
            emitted=due.astype(jnp.int32),
            skipped_steps=counted(skipped, state.skipped_steps),
            weight=until_it_ends(total),
            acc_extra={
                name: until_it_ends(totals.get(name, x)) for name, x in state.acc_extra.items()
            },
            acc_grads=acc_grads,
            inner_state=inner_state,
        )

    return init, update


def has_updated(state: State) -> Array:
    """Whether the last call of an `accumulate` emitted an update: a bool scalar, also under `jit`.

    False before the first call. So an average of the parameters, or a log, can follow the updates
    and not the calls:

        average = jnp.where(has_updated(state), 0.99 * average + 0.01 * params, average)

    Args:
      state: the state of `accumulate(...)`, or anything that is a tree around one: a chain's
        state, a Flax `TrainState`, an `nnx.Optimizer`'s `opt_state`. Of one inside another, both
        must have emitted.

    Raises:
      ValueError: there is no such state, or several stand side by side.
    """
    found = _outermost(state)
    if len(found) != 1:
        what = f"{len(found)} of them side by side; pass one" if found else "none in it"
        raise ValueError(
            f"`has_updated(state)` needs a state of `accumulate(...)`: there is {what}."
        )
    (emitted,) = jax.tree.leaves(found[0].emitted)  # Flax NNX puts it into a box
    inside = found[0].inner_state
    return (emitted != 0) & has_updated(inside) if _outermost(inside) else emitted != 0


def _outermost(state: State) -> list[AccumulateState]:
    def is_one(x: Any) -> bool:
        return isinstance(x, AccumulateState)

    return [x for x in jax.tree.leaves(state, is_leaf=is_one) if is_one(x)]


def _is_first(state: AccumulateState) -> bool:
    """Whether no micro-batch came before this one, as far as that is known."""
    counts = (state.mini_step, state.gradient_step)
    if any(check.is_traced(x) or not jnp.asarray(x).is_fully_addressable for x in counts):
        return False
    return all(int(x) == 0 for x in counts)
