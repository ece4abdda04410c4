"""The state in the host's memory between steps, and on the device in them."""

import jax
import jax.numpy as jnp
import pytest
from compiled import compile_named, unaliased
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from problems import assert_equal, gradients, normal

import gradxform as gx

INNER = gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1, b1=gx.tunable(0.8)))
TX = gx.offload_to_host(INNER)


def problem():
    params = {"w": normal((16, 64)), "b": normal((64,), seed=1), "s": normal((), seed=2)}
    return params, gradients(params, steps=3)


def memories(tree):
    return {(x.ndim > 0, x.sharding.memory_kind) for x in jax.tree.leaves(tree)}


WHERE = {(True, "pinned_host"), (False, "device")}


@pytest.mark.parametrize("init", [TX.init, jax.jit(TX.init)], ids=["eager", "jitted"])
def test_numbers_stay_on_the_device_and_arrays_leave_it(init):
    params, grads = problem()
    state = init(params)
    assert memories(state) == WHERE
    assert jax.tree.structure(state) == jax.tree.structure(INNER.init(params))
    updates, state = TX.update(jax.tree.map(lambda g: g[0], grads), state, params)
    assert memories(state) == WHERE
    assert {kind for _, kind in memories(updates)} == {"device"}
    state = gx.set_hyperparams(state, b1=0.7)
    assert gx.hyperparams(state)["b1"] == jnp.float32(0.7)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@pytest.mark.parametrize("zero_axis", [None, "data"])
def test_donated_steps_with_a_state_that_is_split(kind, zero_axis):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    params, grads = problem()
    spec = P() if zero_axis else P("data")
    places = {
        "w": NamedSharding(mesh, spec),
        "b": NamedSharding(mesh, spec),
        "s": NamedSharding(mesh, P()),
    }
    params = jax.device_put(params, places)
    after = {}
    for tx in (INNER, TX):
        own = jax.tree.map(jnp.copy, params)
        shardings = gx.state_sharding(tx, own, mesh, zero_axis)
        state = jax.jit(tx.init, out_shardings=shardings)(own)
        step = gx.make_update_step(tx, like=(own, state))
        first = jax.tree.map(lambda g: g[0], grads)
        program = compile_named(step.lower(own, state, first))
        assert unaliased(program, ("params", "state"), at_least=16) == []
        for t in range(3):
            own, state = step(own, state, jax.tree.map(lambda g, t=t: g[t], grads))
        assert step._cache_size() == 1
        assert [x.sharding for x in jax.tree.leaves(state)] == jax.tree.leaves(shardings)
        after[tx] = jax.device_get((own, state))
    assert memories(state) == WHERE
    assert not state[1][0].inner_state.mu["w"].sharding.is_fully_replicated
    assert_equal(after[TX], after[INNER])


def test_bytes_in_the_memory_of_the_host_are_counted_apart():
    mesh, (params, _) = jax.make_mesh((8,), ("data",)), problem()
    inside, hosted = (gx.state_bytes(tx, params, mesh) for tx in (INNER, TX))
    arrays = 2 * 4 * (16 * 64 + 64)
    assert (inside.per_device - hosted.per_device, hosted.on_host) == (arrays, arrays)
    assert (inside.total, inside.on_host) == (hosted.total, 0)
    assert not any("mu['w']" in path for path in hosted.whole)


def test_the_train_step_takes_it():
    params, batch = {"w": normal((8, 3))}, normal((16, 8))

    def loss_fn(params, x):
        return jnp.mean((x @ params["w"] - 1.0) ** 2)

    after = []
    for tx in (TX, INNER):
        state = gx.TrainState.create(tx, params)
        step = gx.make_train_step(loss_fn, tx)
        for _ in range(2):
            state, _ = step(state, batch)
        after.append(jax.device_get(state))
    assert_equal(*after)


def test_a_device_without_pinned_memory_is_named(monkeypatch):
    class Memory:
        kind = "unified"

    class Device:
        def addressable_memories(self):
            return [Memory()]

        def __repr__(self):
            return "METAL:0"

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    with pytest.raises(
        ValueError, match="the device METAL:0 has no pinned host memory; it has uni"
    ):
        TX.init({"w": jnp.ones(3)})
