"""Plausible mistakes with whole models, and with what is read from a state; see `mistakes`."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from mistakes import (
    FILTER,
    GRADS,
    KEYED,
    MODEL,
    PARAMS,
    TX,
    Dropped,
    Mistake,
    mesh,
    no_transformation,
)
from mistakes_in_use import RAW

import gradxform as gx
from gradxform import select


def live() -> Any:
    return gx.adam(gx.tunable(0.1)).init(PARAMS)


READING: dict[str, Mistake] = {
    **{
        f"{name} of a whole model": Mistake(call, TypeError, [FILTER, leaf, words], RAW)
        for name, leaf, words, call in [
            ("init", "`activation`", "init(params)", lambda: TX.init(MODEL)),
            ("describe", "`activation`", "`describe(tx", lambda: gx.describe(TX, MODEL)),
            ("bytes", "`activation`", "`state_b", lambda: gx.state_bytes(TX, MODEL, mesh())),
            ("sharding", "`activation`", "mesh", lambda: gx.state_sharding(TX, MODEL, mesh())),
            ("create", "`activation`", "TrainState", lambda: gx.TrainState.create(TX, MODEL)),
            (
                "transfer",
                "`activation`",
                "transfer_state(",
                lambda: gx.transfer_state(TX.init(PARAMS), TX, MODEL),
            ),
            ("dtype of one leaf", "the only", "select.dtype", lambda: select.dtype("float32")("x")),
            ("dtype", "`activation`", "select.dtype", lambda: select.dtype("float32")(MODEL)),
            ("describe with a key", "`key`", "key<fry>", lambda: gx.describe(TX, KEYED)),
            ("bytes with a key", "`key`", "key<fry>", lambda: gx.state_bytes(TX, KEYED, mesh())),
            ("describe with text", "`n`", "type str", lambda: gx.describe(TX, {"n": "x"})),
            ("init of nnx", "`dropout/rngs", "uint32", lambda: TX.init(Dropped())),
            ("state of nnx", "`dropout/rngs", "uint32", lambda: TX.init(nnx.state(Dropped()))),
            (
                "create with steps",
                "`n`",
                "int32",
                lambda: gx.TrainState.create(TX, {"n": jnp.arange(2)}),
            ),
        ]
    },
    "describe, swapped": no_transformation(
        lambda: gx.describe(PARAMS, TX), "`describe(tx, params)`", "in their order?"
    ),
    "diagnose, swapped": no_transformation(
        lambda: gx.diagnose(PARAMS, TX), "`diagnose(tx, params)`", "in their order?"
    ),
    "create, swapped": no_transformation(
        lambda: gx.TrainState.create(PARAMS, TX),
        "`TrainState.create(tx, params)`",
        "in their order?",
    ),
    "transfer, swapped": no_transformation(
        lambda: gx.transfer_state(TX, TX.init(PARAMS), PARAMS),
        "`transfer_state(old_state, tx, params)`",
    ),
    # Reading a state
    "hyperparams of the optimizer": Mistake(
        lambda: gx.hyperparams(TX), TypeError, ["`tx.init(params)`", "`tx.recipe.arguments`"]
    ),
    "hyperparams of nothing": Mistake(lambda: gx.hyperparams(None), TypeError, ["got None"]),
    "set on the optimizer": Mistake(
        lambda: gx.set_hyperparams(TX, learning_rate=0.1), TypeError, ["`tx.init(params)`"]
    ),
    "set a constant": Mistake(
        lambda: gx.set_hyperparams(TX.init(PARAMS), learning_rate=0.1),
        TypeError,
        ["is a reading", "`learning_rate=tunable(...)`"],
    ),
    "set what is not live": Mistake(
        lambda: gx.set_hyperparams(live(), b1=0.9),
        KeyError,
        ["`set_hyperparams(b1=0.9)`: there is no `b1`", "`b1=tunable(...)`"],
        ('"`', "'`set"),
    ),
    "set a misspelled one": Mistake(
        lambda: gx.set_hyperparams(live(), learning_rat=0.2),
        KeyError,
        ["Did you mean `learning_rate`?"],
        ('"`',),
    ),
    "read a misspelled one": Mistake(
        lambda: gx.hyperparams(live())["learning_rat"],
        KeyError,
        ["`hyperparams(state)['learning_rat']`", "Did you mean `learning_rate`?"],
        ('"`',),
    ),
    "no average": Mistake(
        lambda: gx.eval_params(TX.init(PARAMS), PARAMS), ValueError, ["no average", "`ema_params`"]
    ),
    "average, swapped": Mistake(
        lambda: gx.eval_params(PARAMS, gx.ema_params(TX).init(PARAMS)),
        ValueError,
        ["`eval_params(state, params)`"],
    ),
    "no accumulation": Mistake(
        lambda: gx.has_updated(TX.init(PARAMS)), ValueError, ["a state of `accumulate(...)`"]
    ),
    "no loss scale": Mistake(
        lambda: gx.scale_loss(TX.init(PARAMS), 1.0), ValueError, ["`dynamic_loss_scale(...)`"]
    ),
    "early stopping, swapped": Mistake(
        lambda: gx.early_stopping(patience=3).update(1.0, gx.early_stopping(patience=3).init()),
        TypeError,
        ["`early_stopping(...).update(state, value, params)`"],
    ),
    "our state in Flax's method": Mistake(
        lambda: gx.apply_gradients(gx.TrainState.create(TX, PARAMS), GRADS),
        TypeError,
        ["`TrainState` of Flax's", "`make_train_step`"],
    ),
}
