"""Reduce on plateau where users put it, and what it refuses."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

PARAMS = {"w": jnp.array([1.0, -2.0])}
GRADS = {"w": jnp.array([0.5, 2.0])}


def test_the_effective_rate_is_what_is_read_and_used():
    tx = gx.sgd(gx.reduce_on_plateau(1.0, factor=0.5, patience=0))
    state = tx.init(PARAMS)
    assert gx.hyperparams(state)["learning_rate"] == 1.0
    for reading, expected in ((1.0, 1.0), (1.0, 0.5), (0.5, 0.5), (0.5, 0.25)):
        updates, state = tx.update(GRADS, state, PARAMS, value=reading)
        assert gx.hyperparams(state)["learning_rate"] == expected
        np.testing.assert_array_equal(updates["w"], -expected * GRADS["w"])
    with pytest.raises(TypeError, match="reading"):
        gx.set_hyperparams(state, learning_rate=1.0)


CHAINS = {
    "chain": lambda tx: gx.chain(gx.clip_by_global_norm(100.0), tx),
    "named_chain": lambda tx: gx.named_chain(("clip", gx.clip_by_value(100.0)), ("tx", tx)),
    "optax.chain": lambda tx: optax.chain(optax.clip(100.0), tx),
    "in optax, in a chain": lambda tx: gx.chain(optax.chain(optax.identity(), tx)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_inside_chains(name):
    tx = CHAINS[name](gx.sgd(gx.reduce_on_plateau(1.0, factor=0.5, patience=0)))
    state = tx.init(PARAMS)
    for _ in range(3):
        updates, state = tx.update(GRADS, state, PARAMS, value=2.0)
    np.testing.assert_array_equal(updates["w"], -0.25 * GRADS["w"])
    assert gx.hyperparams(state)["learning_rate"] == 0.25


def test_other_hyperparameters_and_several_at_once():
    """A weight decay and a momentum that watch the same value, each with its own memory."""
    tx = gx.chain(
        gx.scale_by_momentum(gx.reduce_on_plateau(0.8, factor=0.5, patience=1)),
        gx.add_decoupled_weight_decay(gx.reduce_on_plateau(0.1, factor=0.5, patience=0)),
        gx.scale_by_learning_rate(gx.reduce_on_plateau(1.0, factor=0.1, patience=2)),
    )
    state = tx.init(PARAMS)
    for _ in range(4):
        _, state = tx.update(GRADS, state, PARAMS, value=-2.0)
    found = {name: float(x) for name, x in gx.hyperparams(state).items()}
    expected = {"momentum": 0.4, "weight_decay": 0.0125, "learning_rate": 0.1}
    assert found == pytest.approx(expected)


def test_a_missing_value_is_asked_for():
    tx = gx.chain(gx.clip_by_value(1.0), gx.adam(gx.reduce_on_plateau(1e-3)))
    with pytest.raises(TypeError, match=r"needs `value`: call `update\(.*, value=\.\.\.\)`"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)
    with pytest.raises(TypeError, match="needs `value`"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS, value=None)


@pytest.mark.parametrize("value", [jnp.ones(3), np.zeros((1, 1)), 1j, jnp.array(True), "low"])
def test_what_is_no_number_is_refused(value):
    tx = gx.sgd(gx.reduce_on_plateau(1e-3))
    with pytest.raises(TypeError):
        tx.update(GRADS, tx.init(PARAMS), PARAMS, value=value)


def test_it_goes_around_a_schedule_and_not_into_one():
    watch = gx.reduce_on_plateau(0.1)
    for build in (
        lambda: gx.warmup(watch, 10),
        lambda: gx.scale_schedule(gx.cosine_decay(0.1, 10), watch),
        lambda: gx.reduce_on_plateau(watch),
    ):
        with pytest.raises(TypeError, match=r"`reduce_on_plateau\(\.\.\.\)` takes a schedule"):
            build()


REFUSED = {
    "factor 1": {"factor": 1.0},
    "factor 0": {"factor": 0.0},
    "a value below 0": {"value": -0.1},
    "patience below 0": {"patience": -1},
    "no calls to a reading": {"every": 0},
    "an unknown mode": {"mode": "best"},
    "a tolerance below 0": {"rtol": -1e-4},
    "a tolerance that is not finite": {"atol": float("nan")},
    "a floor below 0": {"min_value": -1.0},
    "a cooldown of half a reading": {"cooldown": 0.5},
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_when_it_is_built(name):
    with pytest.raises(ValueError, match=r"`reduce_on_plateau\(.*\)`: "):
        gx.reduce_on_plateau(**{"value": 0.1, **REFUSED[name]})
