"""Law 10 for what runs: an error names the call, the leaf, both sides and the way out."""

from typing import Any

import jax.numpy as jnp
import optax
import pytest
from problems import small
from refusals import Case, assert_refused

import gradxform as gx

PARAMS = {"layer": {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}}
OTHER = {"layer": {"w": jnp.ones((4, 2)), "b": jnp.ones(3)}}
FEWER = {"layer": {"w": jnp.ones((4, 3))}}

STEPS: dict[str, Case] = {
    "integer parameters": (
        lambda: gx.adam(0.1).init({"layer": {"step": jnp.arange(3)}}),
        TypeError,
        ["`scale_by_adam.init(params)`", "leaf `layer/step`", "int32", "floating", "`None`"],
    ),
    "no parameters": (
        lambda: gx.adamw(0.1).update(PARAMS, gx.adamw(0.1).init(PARAMS)),
        ValueError,
        ["`add_decoupled_weight_decay` reads the parameters", "update(updates, state, params)"],
    ),
    "gradients of another shape": (
        lambda: gx.adam(0.1).update(OTHER, gx.adam(0.1).init(PARAMS)),
        ValueError,
        ["adam", "`mu/layer/w` is float32[4, 3] in it", "float32[4, 2]", "of these gradients"],
    ),
    "parameters of another shape": (
        lambda: gx.adam(0.1).update(OTHER, gx.adam(0.1).init(PARAMS), PARAMS),
        ValueError,
        ["`adam(...).update`", "leaf `layer/w`", "float32[4, 2]", "float32[4, 3]", "parameters"],
    ),
    "fewer gradients": (
        lambda: gx.adam(0.1).update(FEWER, gx.adam(0.1).init(PARAMS), PARAMS),
        ValueError,
        ["`adam(...).update`", "leaf `layer/b`", "missing", "float32[3]"],
    ),
    "a layer was added": (
        lambda: gx.adam(0.1).update(PARAMS, gx.adam(0.1).init(FEWER), PARAMS),
        ValueError,
        ["`0/mu/layer/b` is missing in it", "float32[3] in what `init`", "transfer_state("],
    ),
    "other containers": (
        lambda: gx.adam(0.1).update([jnp.ones(2)], gx.adam(0.1).init((jnp.ones(2),))),
        ValueError,
        ["different containers", "PyTreeDef([*])", "PyTreeDef((*,))"],
    ),
    "the state of a shorter chain": (
        lambda: gx.adamw(0.1).update(PARAMS, gx.adam(0.1).init(PARAMS), PARAMS),
        ValueError,
        ["`chain(...).update`", "2 links, not of 3", "`init`"],
    ),
    "the state of another chain": (
        lambda: gx.sgd(0.1, 0.9).update(PARAMS, gx.adam(0.1).init(PARAMS), PARAMS),
        (TypeError, ValueError),
        ["scale_by_momentum", "ScaleByAdamState", "`init"],
    ),
    "another named chain's state": (
        lambda: gx.named_chain(("a", gx.scale(1.0))).update(PARAMS, {"b": optax.EmptyState()}),
        (TypeError, ValueError),
        ["`named_chain(...).update`", "`a`", "`init`"],
    ),
    "the state of other tunables": (
        lambda: gx.adam(gx.tunable(0.1)).update(PARAMS, gx.adam(0.1).init(PARAMS)),
        TypeError,
        ["`scale_by_learning_rate(...).update`", "not `learning_rate` (tunable)", "transfer_state"],
    ),
    "a mask of another tree": (
        lambda: (tx := gx.adamw(0.1, mask={"head": True})).update(PARAMS, tx.init(PARAMS), PARAMS),
        ValueError,
        ["add_decoupled_weight_decay(mask=...)", "prefix", "head", "layer"],
    ),
    "a schedule of the wrong shape": (
        lambda: gx.sgd(lambda step: jnp.ones(3)).init(PARAMS),
        (TypeError, ValueError),
        ["learning_rate", "scalar"],
    ),
    "a schedule that returns nothing": (
        lambda: gx.sgd(lambda step: None).init(PARAMS),
        (TypeError, ValueError),
        ["learning_rate"],
    ),
    "integer parameters at the end of a step": (
        lambda: gx.apply_updates({"step": jnp.arange(3)}, {"step": jnp.full(3, 0.7)}),
        (TypeError, ValueError),
        ["apply_updates", "leaf `step`", "int32"],
    ),
}


def rate(**arguments: Any) -> Any:
    return gx.adam(gx.tunable(0.1), **arguments).init(small())


SETTINGS: dict[str, Case] = {
    "a typing error": (
        lambda: gx.set_hyperparams(rate(), learning_rat=0.2),
        KeyError,
        ["no `learning_rat`", "Did you mean `learning_rate`?"],
    ),
    "nothing live": (
        lambda: gx.set_hyperparams(gx.scale(2.0).init(small()), factor=0.2),
        KeyError,
        ["no `factor`", "no live hyperparameters"],
    ),
    "several of one name": (
        lambda: gx.set_hyperparams((rate(), rate()), learning_rate=0.2),
        KeyError,
        ["occurs 2 times", "0/1/learning_rate, 1/1/learning_rate"],
    ),
    "not finite": (
        lambda: gx.set_hyperparams(rate(), learning_rate=float("nan")),
        ValueError,
        ["`set_hyperparams(learning_rate=nan)`", "finite"],
    ),
    "several values": (
        lambda: gx.set_hyperparams(rate(), learning_rate=jnp.ones(3)),
        ValueError,
        ["`set_hyperparams(learning_rate=Array([1.", "shape []", "`jax.vmap`"],
    ),
    "a word": (
        lambda: gx.set_hyperparams(rate(), learning_rate="0.1"),
        (TypeError, ValueError),
        ["set_hyperparams(learning_rate='0.1')"],
    ),
    "none": (
        lambda: gx.set_hyperparams(rate(), learning_rate=None),
        (TypeError, ValueError),
        ["set_hyperparams(learning_rate=None)"],
    ),
    "a schedule": (
        lambda: gx.set_hyperparams(rate(), learning_rate=gx.cosine_decay(0.1, 9)),
        (TypeError, ValueError),
        ["set_hyperparams(learning_rate=cosine_decay(value=0.1, steps=9))"],
    ),
    "a complex value": (
        lambda: gx.set_hyperparams(rate(), learning_rate=1j),
        (TypeError, ValueError),
        ["set_hyperparams(learning_rate=1j)"],
    ),
    "a bool": (
        lambda: gx.set_hyperparams(rate(), learning_rate=True),
        (TypeError, ValueError),
        ["set_hyperparams(learning_rate=True)"],
    ),
}

CASES = {**STEPS, **SETTINGS}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_in_words(name: str) -> None:
    assert_refused(*CASES[name])
