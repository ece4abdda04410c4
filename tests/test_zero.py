"""The steps with a state that is spread: what moves, what stays in place, and the fault else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import compile_named, instructions, unaliased
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from problems import assert_close, every_row, normal
from test_state_sharding import (
    ADAMW,
    assert_placed,
    device_bytes,
    every_mode,
    mesh_of,
    placed,
    problem,
    trained,
)

import gradxform as gx


def loss_fn(params, x):
    hidden = jnp.tanh(x @ params["a"] + params["b"][None, :])
    return jnp.mean((hidden @ params["c"] - 1.0) ** 2)


def model():
    return {"a": 0.1 * normal((64, 64)), "b": normal((64,)), "c": 0.1 * normal((64, 128), seed=1)}


def moved(program, opcode):
    """The arrays of at least a thousand numbers that such instructions move."""
    return sorted(
        shape
        for x in instructions(program)
        if x.opcode == opcode
        for _, shape in x.arrays
        if np.prod(shape) >= 1000
    )


@every_mode
def test_the_train_step_sums_pieces_and_gathers_parameters(kind):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    params, batch = model(), normal((16, 64), seed=3)
    alone = gx.TrainState.create(ADAMW, params)
    params = jax.device_put(params, NamedSharding(mesh, P()))
    batch_there = jax.device_put(batch, NamedSharding(mesh, P("data", None)))
    shardings = gx.state_sharding(ADAMW, params, mesh, zero_axis="data")
    state = gx.TrainState.create(ADAMW, params, sharding=shardings)
    step = gx.make_train_step(loss_fn, ADAMW, like=state)
    program = compile_named(step.lower(state, batch_there))
    # XLA for CPU has no reduce-scatter: it sums whole gradients and keeps a slice of them.
    assert moved(program, "all-reduce") + moved(program, "reduce-scatter") == [(64, 64), (128, 64)]
    assert moved(program, "all-gather") == [(64, 64), (64, 128)]
    assert unaliased(program, ("state", "")) == []

    before = jax.tree.map(lambda x: x.sharding, state)
    step_alone = gx.make_train_step(loss_fn, ADAMW)
    for _ in range(3):
        state, metrics = step(state, batch_there)
        alone, expected = step_alone(alone, batch)
    assert step._cache_size() == 1
    assert_placed(state, before)
    assert_close(jax.device_get((state, metrics)), jax.device_get((alone, expected)), rtol=2e-5)
    large = sum(x.nbytes for x in jax.tree.leaves(state.opt_state) if x.size >= 1024)
    rest = sum(x.nbytes for x in jax.tree.leaves(state.opt_state) if x.size < 1024)
    assert device_bytes(state.opt_state) == large // 8 + rest


def test_without_the_places_the_parameters_are_split_too():
    """The fault that `like` is for, so that the assertions above are known to see it."""
    mesh = mesh_of(AxisType.Auto)
    params, grads = problem()
    params = placed(params, mesh)
    shardings = gx.state_sharding(ADAMW, params, mesh, "data")
    state = jax.jit(ADAMW.init, out_shardings=shardings)(params)
    whole = params["conv"].sharding
    step = gx.make_update_step(ADAMW)
    params, _ = step(params, state, jax.tree.map(lambda g: g[0], grads))
    assert not params["conv"].sharding.is_equivalent_to(whole, 4)


def test_apply_updates_keeps_explicit_shardings():
    mesh = jax.make_mesh((8,), ("data",))
    p = jax.device_put(normal((16, 8)).astype("bfloat16"), NamedSharding(mesh, P()))
    u = jax.device_put(normal((16, 8), seed=1), NamedSharding(mesh, P("data")))
    for add in (gx.apply_updates, jax.jit(gx.apply_updates)):
        new = add({"w": p}, {"w": u})["w"]
        assert new.sharding.is_equivalent_to(p.sharding, 2)
        assert new.dtype == p.dtype


def test_master_weights_are_spread_and_the_parameters_are_not():
    mesh = jax.make_mesh((8,), ("data",))
    tx = gx.master_weights(gx.adamw(0.1))
    params, grads = problem("bfloat16")
    params = jax.device_put(params, NamedSharding(mesh, P()))
    shardings = gx.state_sharding(tx, params, mesh, "data")
    assert shardings.master["kernel"].spec == P("data", None)
    state = jax.jit(tx.init, out_shardings=shardings)(params)
    whole = params["kernel"].sharding
    params, state = trained(tx, params, state, grads, like=(params, state))
    assert params["kernel"].sharding.is_equivalent_to(whole, 2)
    assert_placed(state, shardings)


@every_mode
def test_what_is_in_a_bucket_stays_whole(kind):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    tx, (params, grads) = gx.bucket(gx.adam(0.1), max_size=2000), problem()
    expected = trained(tx, params, jax.jit(tx.init)(params), grads)
    params = jax.device_put(problem()[0], NamedSharding(mesh, P()))
    shardings = gx.state_sharding(tx, params, mesh, zero_axis="data")
    state = jax.jit(tx.init, out_shardings=shardings)(params)
    after = trained(tx, params, state, grads, like=(params, state))
    assert_placed(after[1], shardings)
    assert_close(jax.device_get(after), jax.device_get(expected), rtol=2e-5)
    arrays = jax.tree.leaves(shardings[0].mu.arrays)
    assert [place.is_fully_replicated for place in arrays] == [False] * 2
    assert all(place.is_fully_replicated for place in shardings[0].mu.vectors.values())


def test_parameters_on_other_devices_are_named():
    mesh, (params, _) = mesh_of(AxisType.Auto), problem()
    elsewhere = jax.device_put(params, jax.devices()[3])
    shardings = gx.state_sharding(ADAMW, elsewhere, mesh, zero_axis="data")
    with pytest.raises(ValueError, match=r"lies on the devices \[3\].*jax\.device_put"):
        gx.TrainState.create(ADAMW, elsewhere, sharding=shardings)


@every_row
def test_every_state_can_be_spread_on_an_explicit_mesh(row):
    """Types alone: there the shardings are a part of them, so that nothing need be compiled."""
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    tx = row.build()
    params = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))
        for name, shape, spec in (("w", (64, 32), P(None, "model")), ("b", (5,), P()))
    }
    for zero_axis in ("data", ("data", "model")):
        places = gx.state_sharding(tx, params, mesh, zero_axis)
        state = jax.tree.map(
            lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            jax.eval_shape(tx.init, params),
            places,
        )

        def step(params, state, grads):
            updates, state = tx.update(grads, state, params, **row.extra)
            return gx.apply_updates(params, updates), state

        after = jax.eval_shape(step, params, state, params)
        for x, before in zip(jax.tree.leaves(after), jax.tree.leaves((params, state)), strict=True):
            spec = P() if x.sharding is None else x.sharding.spec
            assert spec_of(spec, x) == spec_of(before.sharding.spec, x), row


def spec_of(spec, x):
    return tuple(spec) + (None,) * (x.ndim - len(spec))


@every_mode
def test_over_two_mesh_axes(kind):
    mesh, (params, grads) = mesh_of(kind), problem()
    expected = trained(ADAMW, params, jax.jit(ADAMW.init)(params), grads)
    params = jax.device_put(problem()[0], NamedSharding(mesh, P()))
    axes = ("data", "model")
    for tx in (ADAMW, gx.adafactor(0.1, min_dim_size_to_factor=16)):
        shardings = gx.state_sharding(tx, params, mesh, zero_axis=axes)
        specs = {place.spec for place in jax.tree.leaves(shardings)}
        assert P(axes) in specs or P(axes, None) in specs
    shardings = gx.state_sharding(ADAMW, params, mesh, zero_axis=axes)
    state = jax.jit(ADAMW.init, out_shardings=shardings)(params)
    after = trained(ADAMW, params, state, grads, like=(params, state))
    assert_placed(after[1], shardings)
    assert_close(jax.device_get(after), jax.device_get(expected), rtol=2e-5)
