"""States in other containers, and what a transfer leaves behind: all of it is said."""

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import FrozenDict
from problems import assert_equal

import gradxform as gx

# Parameters that are called like fields of states.
NAMED = {
    "nu": {"nu": jnp.ones(3)},
    "trace and mu": {"trace": jnp.ones(3), "mu": {"count": jnp.ones(2)}},
    "inner_state": {"inner_state": jnp.ones(2), "nu": {"nu": jnp.ones(1)}},
}
BUILT = {
    "sgd": gx.sgd(0.1, momentum=0.9),
    "rmsprop": gx.rmsprop(0.1),
    "adamw": gx.adamw(0.1),
    "wrapped": gx.accumulate(gx.skip_nonfinite(gx.lion(gx.tunable(0.1))), 1),
    "named": gx.named_chain(
        ("nu", gx.scale_by_momentum()),
        ("trace", gx.scale_by_rms()),
        ("rate_state", gx.scale_by_learning_rate(gx.tunable(0.1))),
    ),
}


def trained(tx, params, steps=3):
    state = tx.init(params)
    for i in range(steps):
        grads = jax.tree.map(lambda p, i=i: p * (i + 1.0), params)
        _, state = tx.update(grads, state, params)
    return state


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("params", NAMED.values(), ids=NAMED)
def test_fields_and_parameters_are_told_apart_by_their_place(name, params):
    tx = BUILT[name]
    state = trained(tx, params)
    restored = flax.serialization.msgpack_restore(flax.serialization.to_bytes(state))
    for old in (restored, FrozenDict(restored)):
        again, report = gx.transfer_state(old, tx, params)
        assert_equal(again, state)
        assert report.new == report.dropped == ()


def test_containers_of_nnx_hold_all_there_is():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    tx = gx.adam(gx.tunable(1e-3))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    optimizer.opt_state = gx.set_hyperparams(optimizer.opt_state, learning_rate=0.5)
    whole = nnx.state(optimizer)
    params = nnx.state(model, nnx.Param)
    for state in (optimizer.opt_state, whole["opt_state"], nnx.to_pure_dict(whole)["opt_state"]):
        assert float(gx.hyperparams(state)["learning_rate"]) == 0.5
        transferred, report = gx.transfer_state(state, tx, params)
        assert float(gx.hyperparams(transferred)["learning_rate"]) == 0.5
        assert report.new == report.dropped == ()
        changed = gx.set_hyperparams(state, learning_rate=0.25)
        assert float(gx.hyperparams(changed)["learning_rate"]) == 0.25


def test_what_holds_no_hyperparameters_is_refused_with_a_hint():
    params = {"w": jnp.ones(2)}
    for given in (gx.adam(0.1), None, params, optax.adam(0.1).init(params)):
        with pytest.raises(TypeError, match=r"`hyperparams\(state\)`"):
            gx.hyperparams(given)
    assert gx.hyperparams(gx.scale_by_adam().init(params)) == {}


def test_hyperparameters_outlive_the_state():
    params = {"w": jnp.ones(2)}
    state = gx.adam(gx.tunable(0.1)).init(params)
    read = gx.hyperparams(state)
    jax.block_until_ready(jax.jit(lambda s: s, donate_argnums=0)(state))
    assert float(read["learning_rate"]) == np.float32(0.1)


def test_an_open_window_does_not_go_on_without_its_sums():
    params, four = {"w": jnp.zeros(1)}, gx.accumulate(gx.sgd(1.0), 4)
    one = gx.accumulate(gx.sgd(1.0), 1)
    state = four.init(params)
    for _ in range(3):
        _, state = four.update({"w": jnp.full(1, 100.0)}, state, params)
    state, report = gx.transfer_state(state, one, params)
    assert "a window begins" in str(report)
    for _ in range(10):
        _, state = one.update({"w": jnp.ones(1)}, state, params)
    state, _ = gx.transfer_state(state, four, params)
    assert int(state.gradient_step) == 10
    for expected in (0.0, 0.0, 0.0, -1.0):
        updates, state = four.update({"w": jnp.ones(1)}, state, params)
        assert float(updates["w"][0]) == expected


def test_windows_and_vectors_of_another_size_begin_anew():
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}
    short, long = (gx.skip_spikes(gx.sgd(1.0), window=n) for n in (4, 8))
    state, _ = gx.transfer_state(trained(short, params), long, params)
    assert int(state.recorded) == 0
    for new in (gx.bucket(gx.adam(0.1), max_size=4), gx.adam(0.1)):
        state, report = gx.transfer_state(trained(gx.bucket(gx.adam(0.1)), params), new, params)
        assert int(state[0].count) == 0
        assert report.dropped


def test_what_begins_beside_an_old_count_is_noted():
    params = {"w": jnp.ones(2)}
    tx = gx.adam(0.1)
    grown = {**params, "new": jnp.ones(2)}
    report = gx.transfer_state(trained(tx, params), tx, grown).report
    (note,) = report.notes
    for words in ("2 of 4 buffers begin anew (new)", "a count of 3", "`partition("):
        assert words in note
    assert note in str(report)


def test_a_live_value_is_not_lost_without_a_word():
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    rate = gx.sgd(gx.tunable(0.1))
    parts = gx.partition({"a": (gx.select.path("a"), rate)}, default=rate)
    old = gx.set_hyperparams(parts.init(params), **{"a/learning_rate": 0.5})
    with pytest.raises(ValueError, match=r"would be lost.*lost=\"report\""):
        gx.transfer_state(old, rate, params)
    state, report = gx.transfer_state(old, rate, params, lost="report")
    assert float(gx.hyperparams(state)["learning_rate"]) == np.float32(0.1)
    assert [entry.path for entry in report.dropped]
