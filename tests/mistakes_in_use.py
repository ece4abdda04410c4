"""Plausible mistakes while a program runs; see `mistakes`."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from mistakes import (
    BATCH,
    GRADS,
    ORDER,
    PARAMS,
    TX,
    Mistake,
    copies,
    flax_state,
    loss,
    updated,
)

import gradxform as gx


def stepped(loss_fn: Any, *args: Any, **options: Any) -> Any:
    given = args or (gx.TrainState.create(TX, PARAMS), BATCH)
    return gx.make_train_step(loss_fn, TX, **options)(*given)


def returned(value: Any, **options: Any) -> Any:
    return stepped(lambda params, batch: value(loss(params, batch)), **options)


def state_used_again() -> Any:
    step, state = gx.make_train_step(loss, TX), gx.TrainState.create(TX, PARAMS)
    step(state, BATCH)
    return step(state, BATCH)


def params_used_again() -> Any:
    step, params, state = gx.make_update_step(TX), copies(), TX.init(PARAMS)
    step(params, state, GRADS)
    return step(params, state, GRADS)


def state_used_elsewhere() -> Any:
    step, state = gx.make_train_step(loss, TX), gx.TrainState.create(TX, PARAMS)
    step(state, BATCH)
    return TX.update(GRADS, state.opt_state, state.params)


def parameters_as_gradients() -> Any:
    params = copies()
    return gx.make_update_step(TX)(params, TX.init(params), params)


def tied_parameters() -> Any:
    one = jnp.ones(3)
    params = {"a": one, "b": one}
    return gx.make_update_step(TX)(params, TX.init(params), jax.tree.map(jnp.copy, params))


def accumulated(loss_fn: Any, *args: Any, **kwargs: Any) -> Any:
    return gx.accumulated_value_and_grad(loss_fn, 2)(*args, **kwargs)


def watched(rate: Any, **extra: Any) -> Any:
    tx = gx.adam(rate)
    return tx.update(GRADS, tx.init(PARAMS), PARAMS, **extra)


RAW = ("not a valid JAX array type", "has no attribute", "Cannot determine dtype")
ALONE = ["`make_train_step(loss_fn, tx)`", "`has_aux=True`", "`model_state`"]
STEP = "`step(state, batch)`"

TRAINING: dict[str, Mistake] = {
    # What a loss function takes and returns
    "aux, a dict": Mistake(
        lambda: returned(lambda x: (x, {"acc": 1.0})), ValueError, ALONE, (*RAW, "Take the mean")
    ),
    "aux, a number": Mistake(
        lambda: returned(lambda x: (x, jnp.float32(1))), ValueError, ALONE, ("Take the mean",)
    ),
    "aux, of sam": Mistake(
        lambda: gx.sam_value_and_grad(lambda params, batch: (loss(params, batch), {}))(
            PARAMS, BATCH
        ),
        ValueError,
        ["`sam_value_and_grad(...)`", "`has_aux=True`"],
    ),
    "aux, in a list": Mistake(lambda: returned(lambda x: [x, 1]), ValueError, [*ALONE, "a list"]),
    "a dict of losses": Mistake(
        lambda: returned(lambda x: {"loss": x}), ValueError, ["a real scalar", "`(loss, aux)`"], RAW
    ),
    "no return": Mistake(lambda: returned(lambda x: None), ValueError, ["end with `return`?"], RAW),
    "a loss each": Mistake(
        lambda: stepped(lambda params, batch: jnp.mean(batch @ params["w"], 1)),
        ValueError,
        ["float32[8]", "`jnp.mean(losses)`"],
    ),
    "a whole number": Mistake(
        lambda: returned(lambda x: jnp.int32(1)), ValueError, ["int32[]", "floating number"]
    ),
    "a complex loss": Mistake(
        lambda: returned(lambda x: x + 1j), ValueError, ["complex64[]", "real part"]
    ),
    "has_aux and no aux": Mistake(
        lambda: returned(lambda x: x, has_aux=True), ValueError, ["must return `(loss, aux)`"]
    ),
    "a key by another name": Mistake(
        lambda: stepped(lambda params, batch, rng: 0.0), TypeError, ["`rng`", "`key` here"]
    ),
    "statistics by another name": Mistake(
        lambda: stepped(lambda params, batch, batch_stats: 0.0),
        TypeError,
        ["`batch_stats`", "`model_state` here"],
    ),
    "inputs and labels apart": Mistake(
        lambda: stepped(lambda params, x, y: 0.0), TypeError, ["`(params, batch)`", "needs `y`"]
    ),
    "no batch in the loss": Mistake(
        lambda: stepped(lambda params: 0.0), TypeError, ["`(params, batch)`", "takes no batch"]
    ),
    "a key in the state only": Mistake(
        lambda: stepped(loss, gx.TrainState.create(TX, PARAMS, key=jax.random.key(0)), BATCH),
        ValueError,
        ["the state has a `key` that `loss_fn` does not take"],
    ),
    # What a step is given
    "Flax's train state": Mistake(
        lambda: stepped(loss, flax_state(), BATCH),
        ValueError,
        [STEP, "flax.", "`TrainState.create(state.tx, state.params)`", "`apply_gradients(state,"],
        RAW,
    ),
    "parameters for the state": Mistake(
        lambda: stepped(loss, copies(), BATCH),
        ValueError,
        [STEP, "`TrainState.create(tx, params)`"],
    ),
    "parameters and state": Mistake(
        lambda: stepped(loss, copies(), TX.init(PARAMS), BATCH), TypeError, [STEP, "given 3"], RAW
    ),
    "the batch first": Mistake(
        lambda: stepped(loss, BATCH, gx.TrainState.create(TX, PARAMS)),
        ValueError,
        ["The state comes first: `step(state, batch)`"],
        RAW,
    ),
    "no batch": Mistake(
        lambda: stepped(loss, gx.TrainState.create(TX, PARAMS)), TypeError, [STEP, "given 1"]
    ),
    "a batch of nothing": Mistake(
        lambda: stepped(loss, gx.TrainState.create(TX, PARAMS), BATCH[:0]),
        ValueError,
        ["make_train_step", "no examples", "NaN", "(0, 4)"],
    ),
    "parts that do not fit": Mistake(
        lambda: stepped(loss, accumulate=3), ValueError, ["8 examples", "1, 2, 4, 8"]
    ),
    "a state used again": Mistake(
        state_used_again,
        ValueError,
        [STEP, "`state.step` is gone", "`state, metrics = step("],
        ("EXEC",),
    ),
    "parameters used again": Mistake(
        params_used_again, ValueError, ["`params['b']` is gone", "pass a copy"]
    ),
    "a state used elsewhere": Mistake(
        state_used_elsewhere, Exception, ["deleted", "go on with what it returned"]
    ),
    "parameters as gradients": Mistake(
        parameters_as_gradients,
        ValueError,
        ["`params['b']` and `grads['b']` are the same array", "`jnp.copy(x)`"],
        ("INVALID_ARGUMENT",),
    ),
    "tied parameters": Mistake(
        tied_parameters, ValueError, ["`params['a']` and `params['b']` are the same array"]
    ),
    "micro-batches by name": Mistake(
        lambda: accumulated(loss, PARAMS, batch=BATCH),
        ValueError,
        ["`batch_argnums`", "here 1", "`batch` by keyword", "Leave the keyword out"],
    ),
    "micro-batches with aux": Mistake(
        lambda: accumulated(lambda p, b: (loss(p, b), {"a": 1.0}), PARAMS, BATCH),
        ValueError,
        ["`accumulated_value_and_grad(...)`", "`has_aux=True`"],
    ),
    "micro-batches of a scalar": Mistake(
        lambda: accumulated(loss, PARAMS, {"x": BATCH, "t": jnp.float32(1)}),
        ValueError,
        ["leaf `t`", "no axis to cut"],
    ),
    "micro-batches of nothing": Mistake(
        lambda: accumulated(loss, PARAMS, BATCH[:0]), ValueError, ["no examples"]
    ),
    # The arguments of an update
    "state and parameters swapped": Mistake(
        lambda: TX.update(GRADS, PARAMS, TX.init(PARAMS)),
        TypeError,
        ["swapped", ORDER],
        ("missing",),
    ),
    "the same under jit": Mistake(
        lambda: jax.jit(TX.update)(GRADS, PARAMS, TX.init(PARAMS)), TypeError, ["swapped", ORDER]
    ),
    "state first": Mistake(
        lambda: TX.update(TX.init(PARAMS), GRADS, PARAMS),
        TypeError,
        ["gradients and the state are"],
    ),
    "no state": Mistake(
        lambda: gx.scale_by_adam().update(GRADS, PARAMS), TypeError, ["where the state belongs"]
    ),
    "the loss for gradients": Mistake(
        lambda: TX.update(jnp.float32(1), TX.init(PARAMS), PARAMS), TypeError, ["the loss?", ORDER]
    ),
    "value and gradients": Mistake(
        lambda: TX.update((1.0, GRADS), TX.init(PARAMS), PARAMS),
        TypeError,
        ["a pair, of a loss and gradients", "`loss, grads = jax.value_and_grad("],
    ),
    "a function for gradients": Mistake(
        lambda: TX.update(jax.grad(loss), TX.init(PARAMS), PARAMS), TypeError, ["Call it"], RAW
    ),
    "the optimizer for its state": Mistake(
        lambda: TX.update(GRADS, TX, PARAMS), TypeError, ["`tx.init(params)`"], ("transfer_state",)
    ),
    "all of a transfer for its state": Mistake(
        lambda: TX.update(GRADS, gx.transfer_state(TX.init(PARAMS), TX, PARAMS), PARAMS),
        TypeError,
        ["pass its `.state`"],
    ),
    "init for its state": Mistake(
        lambda: TX.update(GRADS, TX.init, PARAMS), TypeError, ["`tx.init(params)`"]
    ),
    "another chain's state": Mistake(
        lambda: TX.update(GRADS, gx.sgd(0.1).init(PARAMS), PARAMS), ValueError, ["`transfer_state("]
    ),
    "Optax's state": Mistake(
        lambda: TX.update(GRADS, optax.adam(0.1).init(PARAMS), PARAMS), TypeError, ["optax."]
    ),
    "gradients of another shape": Mistake(
        lambda: TX.update({**GRADS, "b": jnp.ones(4)}, TX.init(PARAMS), PARAMS),
        ValueError,
        ["leaf `b`", "float32[4]", "float32[3]"],
    ),
    "no parameters for the decay": Mistake(
        lambda: updated(gx.adamw(0.1)), ValueError, ["reads the parameters", ORDER]
    ),
    "no value for a plateau": Mistake(
        lambda: watched(gx.reduce_on_plateau(0.1)), TypeError, ["`value`", "`apply_gradients("]
    ),
    "no hessian for sophia": Mistake(
        lambda: updated(gx.sophia(1e-3), PARAMS), TypeError, ["`hessian_fn`"]
    ),
    "no gradient function for sam": Mistake(
        lambda: updated(gx.sam(TX), PARAMS), TypeError, ["`sam` needs `grad_fn`"]
    ),
    "gradients first": Mistake(
        lambda: gx.apply_updates({"w": GRADS["w"]}, PARAMS),
        ValueError,
        ["leaf `b`", "The parameters come first"],
        ("the gradients",),
    ),
    "the pair for the updates": Mistake(
        lambda: gx.apply_updates(PARAMS, TX.update(GRADS, TX.init(PARAMS), PARAMS)),
        ValueError,
        ["`updates, state = tx.update(grads, state, params)`"],
    ),
    # Schedules of one's own
    "a schedule without a step": Mistake(
        lambda: watched(lambda: 0.1), TypeError, ["schedule of `learning_rate`", "the step"]
    ),
    "a schedule that asks": Mistake(
        lambda: jax.jit(gx.adam(lambda step: 0.1 if step < 10 else 0.01).update)(
            GRADS, TX.init(PARAMS), PARAMS
        ),
        jax.errors.TracerBoolConversionError,
        ["schedule of `learning_rate`", "jnp.where(step < 100, a, b)"],
    ),
    "a schedule that fails": Mistake(
        lambda: watched(lambda step: {}["x"]), KeyError, ["'x'", "schedule of `learning_rate`"]
    ),
    "a schedule of several": Mistake(
        lambda: watched(lambda step: jnp.ones(3)), TypeError, ["must return a real scalar"]
    ),
}
