"""Saving and restoring with Orbax, msgpack and pickle: the next step is the same bit for bit.

Every transformation goes through msgpack and pickle in `test_framework_states.py`.
"""

import pickle

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from problems import assert_equal, at, gradients, normal

import gradxform as gx
from gradxform import select

PARAMS = {"layer": {"kernel": normal((8, 3)), "bias": normal((3,), seed=1)}}
HALF = jax.tree.map(lambda p: p.astype("bfloat16"), PARAMS)
GRADS = gradients(PARAMS, steps=4)
RATE = gx.warmup(gx.cosine_decay(0.1, 10), 3)
MATRICES = select.ndim_at_least(2)
KINDS = {
    "chain": (gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(RATE)), PARAMS),
    "tunables": (gx.adamw(gx.tunable(0.1), b1=gx.tunable(0.9), b2=RATE), PARAMS),
    "plateau": (gx.adam(gx.reduce_on_plateau(0.1, patience=0)), PARAMS),
    "frozen": (gx.freeze(gx.lion(0.1), MATRICES), PARAMS),
    "groups": (gx.partition({"a": (MATRICES, gx.adafactor(RATE))}, gx.sgd(0.1, 0.9)), PARAMS),
    "names": (gx.named_chain(("noise", gx.add_gradient_noise(seed=3)), ("x", gx.sm3(0.1))), PARAMS),
    "wrapped": (gx.skip_nonfinite(gx.accumulate(gx.ema_params(gx.adam(0.1), 0.9), 2)), PARAMS),
    "narrow": (gx.dynamic_loss_scale(gx.master_weights(gx.adamw(RATE))), HALF),
    "measured": (gx.with_metrics(gx.adam(0.1, state_dtype="bfloat16")), PARAMS),
    "mixed": (gx.chain(optax.trace(0.9), gx.scale_by_learning_rate(0.1)), PARAMS),
}


def next_step(tx, state, params):
    return tx.update(at(GRADS, 3), state, params, value=jnp.float32(1.0))


def trained(tx, params=PARAMS, steps=3):
    state = tx.init(params)
    for t in range(steps):
        _, state = tx.update(at(GRADS, t), state, params, value=jnp.float32(1.0))
    return state


def save(folder, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, tree)


def restore(folder, template=None):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder, template)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint of one state of each kind, and the states."""
    states = {name: trained(*kind) for name, kind in KINDS.items()}
    folder = tmp_path_factory.mktemp("orbax") / "states"
    save(folder, states)
    return folder, states


def test_orbax_with_a_template(saved):
    folder, states = saved
    templates = {name: jax.eval_shape(tx.init, params) for name, (tx, params) in KINDS.items()}
    restored = restore(folder, templates)
    for name, (tx, params) in KINDS.items():
        assert jax.tree.structure(restored[name]) == jax.tree.structure(states[name])
        expected = next_step(tx, states[name], params)
        assert_equal(next_step(tx, restored[name], params), expected)


def test_orbax_without_a_template(saved):
    folder, states = saved
    restored = restore(folder)
    for name, (tx, params) in KINDS.items():
        state, report = gx.transfer_state(restored[name], tx, params)
        assert not report.new
        assert not report.dropped
        assert_equal(state, states[name])


def test_orbax_and_many_devices(tmp_path):
    """Saved as it lies on eight devices, restored there, in other places, and on one device."""
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    places = {
        "kernel": NamedSharding(mesh, PartitionSpec("x")),
        "bias": NamedSharding(mesh, PartitionSpec()),
    }
    params = {"layer": jax.device_put(PARAMS["layer"], places)}
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(RATE))
    state = gx.TrainState.create(tx, params, key=jax.random.key(1))
    shardings = gx.state_sharding(tx, params, mesh)
    save(tmp_path / "state", state._replace(opt_state=jax.device_put(trained(tx), shardings)))
    expected = next_step(tx, trained(tx), PARAMS)

    for layer in (params["layer"], jax.device_put(PARAMS["layer"], places["bias"])):
        where = gx.state_sharding(tx, {"layer": layer}, mesh)
        opt_state = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            jax.eval_shape(tx.init, params),
            where,
        )
        template = state._replace(params={"layer": layer}, opt_state=opt_state)
        restored = restore(tmp_path / "state", template)
        mu = restored.opt_state[1][0].mu["layer"]["kernel"]
        assert mu.sharding.is_equivalent_to(layer["kernel"].sharding, 2)
        assert isinstance(restored, gx.TrainState)
        assert restored.key == state.key
        actual = next_step(tx, restored.opt_state, restored.params)
        for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    alone = restore(tmp_path / "state", gx.TrainState.create(tx, PARAMS, key=jax.random.key(1)))
    assert_equal(next_step(tx, alone.opt_state, PARAMS), expected)


def loss(params, batch, key):
    noise = 0.01 * jax.random.normal(key, batch.shape)
    return jnp.mean(
        ((batch + noise) @ params["layer"]["kernel"] + params["layer"]["bias"][None]) ** 2
    )


def test_a_whole_run_goes_on_as_if_it_had_not_been_interrupted(tmp_path):
    tx = gx.skip_nonfinite(gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(RATE)))
    step = gx.make_train_step(loss, tx)
    batches = [normal((4, 8), seed=seed) for seed in range(4)]

    def new():
        return gx.TrainState.create(tx, PARAMS, key=jax.random.key(0))

    def through_pickle(state):
        return pickle.loads(pickle.dumps(state))

    def through_orbax(state):
        save(tmp_path / "run", state)
        return restore(tmp_path / "run", new())

    def through_msgpack(state):  # knows no typed keys
        bare = state._replace(key=jax.random.key_data(state.key))
        data = flax.serialization.to_bytes(bare)
        bare = flax.serialization.from_bytes(bare, data)
        return bare._replace(key=jax.random.wrap_key_data(bare.key))

    state, losses = new(), []
    for batch in batches:
        state, metrics = step(state, batch)
        losses.append(metrics["loss"])
    for through in (through_pickle, through_orbax, through_msgpack):
        again = new()
        for batch in batches[:2]:
            again, _ = step(again, batch)
        again = through(again)
        for batch, expected in zip(batches[2:], losses[2:], strict=True):
            again, metrics = step(again, batch)
            assert metrics["loss"] == expected
        assert_equal(again.params, state.params)
        assert_equal(again.opt_state, state.opt_state)


def test_what_the_code_says_wins_over_a_reading_in_a_checkpoint():
    data = flax.serialization.to_bytes(trained(gx.adam(0.1)))
    for rate, value in ((0.05, 0.05), (RATE, RATE(3))):  # a constant becomes a schedule, too
        tx = gx.adam(rate)
        state = flax.serialization.from_bytes(tx.init(PARAMS), data)
        assert float(gx.hyperparams(state)["learning_rate"]) == np.float32(0.1)
        updates, state = next_step(tx, state, PARAMS)
        assert float(gx.hyperparams(state)["learning_rate"]) == np.float32(value)
        uninterrupted = gx.transfer_state(trained(gx.adam(0.1)), tx, PARAMS).state
        assert_equal(updates, next_step(tx, uninterrupted, PARAMS)[0])


def test_what_the_user_set_in_a_checkpoint_holds():
    tx = gx.adam(gx.tunable(0.1))
    data = flax.serialization.to_bytes(gx.set_hyperparams(trained(tx), learning_rate=0.02))
    state = flax.serialization.from_bytes(tx.init(PARAMS), data)
    assert float(gx.hyperparams(next_step(tx, state, PARAMS)[1])["learning_rate"]) == np.float32(
        0.02
    )


OTHER_CHAINS = {
    "a link more": gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1)),
    "another optimizer": gx.lion(0.1),
    "a tunable": gx.adamw(gx.tunable(0.1)),
    "a wrapper": gx.skip_nonfinite(gx.adamw(0.1)),
    "Optax's": optax.adamw(0.1),
}


@pytest.mark.parametrize("name", OTHER_CHAINS)
def test_msgpack_of_another_chain_is_refused_and_can_be_carried_over(name):
    other, tx = OTHER_CHAINS[name], gx.adamw(0.1)
    data = flax.serialization.to_bytes(trained(optax.with_extra_args_support(other)))
    template = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"do not match"):
        flax.serialization.from_bytes(template, data)
    assert_equal(template, tx.init(PARAMS))
    state, report = gx.transfer_state(flax.serialization.msgpack_restore(data), tx, PARAMS)
    assert int(state[2].count) == 3
    assert {entry.place.field for entry in report.kept} >= {"count"}


def test_msgpack_of_other_parameters_is_refused_at_the_latest_by_the_update():
    tx = gx.adamw(0.1)
    data = flax.serialization.to_bytes(tx.init({"other": PARAMS["layer"]}))
    with pytest.raises(ValueError, match=r"keys {'layer'}"):
        flax.serialization.from_bytes(tx.init(PARAMS), data)
    narrow = {"layer": {**PARAMS["layer"], "kernel": normal((1, 3))}}
    state = flax.serialization.from_bytes(
        tx.init(PARAMS), flax.serialization.to_bytes(tx.init(narrow))
    )
    for update in (tx.update, jax.jit(tx.update)):
        with pytest.raises(ValueError, match=r"float32\[1, 3\] in it, and float32\[8, 3\] in what"):
            update(at(GRADS, 0), state, PARAMS)


def test_orbax_of_another_chain_or_other_parameters_is_refused(saved):
    folder, _ = saved
    for tx, params in (
        (gx.adamw(RATE), PARAMS),
        (gx.chain(gx.clip_by_global_norm(1.0), gx.lion(RATE)), PARAMS),
        (KINDS["chain"][0], {"layer": {**PARAMS["layer"], "kernel": normal((5, 3))}}),
        (KINDS["chain"][0], {"other": PARAMS["layer"]}),
    ):
        template = jax.eval_shape(tx.init, params)
        with pytest.raises(ValueError, match=r"(?i)mismatch|not match|not compatible"):
            restore(folder, {"chain": template})


def test_a_truncated_file_gives_nothing(tmp_path):
    state = trained(gx.adamw(0.1))
    data = flax.serialization.to_bytes(state)
    with pytest.raises(ValueError, match="incomplete"):
        flax.serialization.from_bytes(gx.adamw(0.1).init(PARAMS), data[:-9])
    with pytest.raises(pickle.UnpicklingError, match="truncated"):
        pickle.loads(pickle.dumps(state)[:-9])
    save(tmp_path / "state", state)
    # Where a file of arrays is cut many reads fail, and Orbax leaves some exceptions behind.
    file = tmp_path / "state" / "_METADATA"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        restore(tmp_path / "state", gx.adamw(0.1).init(PARAMS))
