"""Steps that are not finite change nothing, whatever is inside."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from problems import assert_close, assert_equal, at, gradients, small, stack, types
from refusals import assert_refused

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")

BAD = [np.nan, np.inf, -np.inf, 3e19]  # the square of the last one is infinite


def optimizer():
    """With a counter, moments, a schedule, a tunable and a feedback inside."""
    rate = gx.reduce_on_plateau(gx.linear_schedule(0.1, 0.0, 20), patience=0)
    return gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(rate, b1=gx.tunable(0.8)))


def spoiled(grads, t, value):
    """The gradient of step t with one bad coordinate."""
    g = at(grads, t)
    return {**g, "w": g["w"].at[1, 2].set(value)}


@pytest.mark.parametrize(
    ("value", "jit"), [*((value, False) for value in BAD), (np.nan, True), (3e19, True)]
)
def test_a_skipped_step_changes_nothing(value, jit):
    """The same as if it had never been: bit for bit, in everything that the state holds."""
    tx, inner, params = gx.skip_nonfinite(optimizer()), optimizer(), small()
    grads = gradients(params)
    update = jax.jit(tx.update) if jit else tx.update
    plain = jax.jit(inner.update) if jit else inner.update
    state, expected = tx.init(params), inner.init(params)
    for t in range(3):
        before = state
        zero, state = update(spoiled(grads, t, value), state, params, value=7.0)
        assert_equal(zero, jax.tree.map(jnp.zeros_like, params))
        assert_equal(state.inner_state, before.inner_state)
        assert_equal(gx.hyperparams(state), gx.hyperparams(before))
        updates, state = update(at(grads, t), state, params, value=1.0)
        wanted, expected = plain(at(grads, t), expected, params, value=1.0)
        assert_equal(updates, wanted)
        assert_equal(state.inner_state, expected)
        assert (int(state.skipped_steps), int(state.consecutive)) == (t + 1, 0)


def test_counters():
    tx = gx.skip_nonfinite(gx.sgd(1.0), max_consecutive=2)
    bad, good = jnp.array([1.0, jnp.nan]), jnp.array([1.0, 0.0])
    state = tx.init(good)
    seen = []
    for g in (good, bad, bad, bad, bad, good, bad, jnp.zeros(2)):
        updates, state = tx.update(g, state)
        assert_equal(updates, jnp.zeros(2) if g is bad else -g)
        seen.append([int(x) for x in state[1:]])
    assert state._fields[1:] == ("skipped_steps", "consecutive", "last_skipped", "exceeded")
    assert seen == [
        [0, 0, 0, 0],
        [1, 1, 1, 0],
        [2, 2, 1, 0],
        [3, 3, 1, 1],
        [4, 4, 1, 2],
        [4, 0, 0, 2],
        [5, 1, 1, 2],
        [5, 0, 0, 2],
    ]


@pytest.mark.parametrize("most", [1, 3])
def test_letting_through_is_apply_if_finite_of_optax(most):
    rng = np.random.default_rng(0)
    bad = rng.random(40) < 0.7
    grads = rng.normal(size=(40, 3)).astype(np.float32)
    grads[bad, 1] = np.inf
    inner = gx.sgd(0.1)
    ours = gx.skip_nonfinite(inner, most, on_exceeded="apply")
    theirs = optax.apply_if_finite(inner, most)

    def run(tx):
        def step(state, g):
            updates, state = tx.update(g, state)
            return state, (updates, state)

        return jax.lax.scan(step, tx.init(jnp.zeros(3)), grads)[1]

    (updates, state), (wanted, expected) = run(ours), run(theirs)
    assert_equal(updates, wanted)
    assert_equal(state.consecutive, expected.notfinite_count)
    # Optax counts those that it lets through among the others.
    assert_equal(state.skipped_steps + state.exceeded, expected.total_notfinite)
    assert_equal(state.last_skipped == 1, np.all(np.asarray(updates) == 0, axis=1))
    assert int(state.exceeded[-1]) > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, jnp.float16(-np.inf)])
def test_a_loss_that_is_not_finite_counts(value):
    tx = gx.skip_nonfinite(gx.sgd(1.0))
    g = jnp.ones(2)
    updates, state = tx.update(g, tx.init(g), value=value)
    assert_equal(updates, jnp.zeros(2))
    for fine in ({}, {"value": None}, {"value": 3}, {"value": jnp.bfloat16(2.0)}):
        updates, state = tx.update(g, state, **fine)
        assert_equal(updates, -g)
    assert int(state.skipped_steps) == 1


def test_members_of_a_batch_skip_on_their_own():
    params = small()
    tx = gx.skip_nonfinite(optimizer())
    grads = gradients(params, steps=2)
    mixed = stack([spoiled(grads, 0, np.nan), at(grads, 1)])
    state = jax.tree.map(lambda x: jnp.stack([x, x]), tx.init(params))
    update = functools.partial(tx.update, params=params, value=1.0)
    updates, after = jax.jit(jax.vmap(update))(mixed, state)
    for member in range(2):
        alone = jax.tree.map(lambda x, i=member: x[i], (mixed, state))
        wanted, expected = update(*alone)
        assert types(wanted) == types(at(updates, member))
        assert_equal(at(after, member)[1:], expected[1:])
        assert_close(at(updates, member), wanted)
        assert_close(at(after.inner_state, member), expected.inner_state)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_one_shard_stops_all(kind):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(kind,))
    split = NamedSharding(mesh, PartitionSpec("x"))
    params = jax.device_put(jnp.ones(16), split)
    grads = jax.device_put(jnp.ones(16).at[9].set(jnp.nan), split)
    tx = gx.skip_nonfinite(gx.adam(0.1))
    state = jax.jit(tx.init)(params)
    updates, after = jax.jit(tx.update)(grads, state, params)
    assert updates.sharding.is_equivalent_to(split, 1)
    assert_equal(updates, jnp.zeros(16))
    assert_equal(after.inner_state, state.inner_state)
    updates, after = jax.jit(tx.update)(params, after, params)
    assert np.all(np.asarray(updates) < 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_missing_and_empty_leaves_and_every_dtype(dtype):
    params = {"w": jnp.ones(3, dtype), "none": None, "empty": jnp.zeros((0, 2), dtype)}
    tx = gx.skip_nonfinite(gx.adam(0.5))
    state = tx.init(params)
    bad = {**params, "w": jnp.array([1.0, jnp.inf, 1.0], dtype)}
    for g in (bad, params):
        updates, state = jax.jit(tx.update)(g, state, params)
        assert jax.tree.map(lambda u: u.dtype, updates) == jax.tree.map(lambda p: p.dtype, params)
        expected = 0.0 if g is bad else -0.5
        np.testing.assert_allclose(np.asarray(updates["w"], float), expected, rtol=1e-2)


def test_around_one_of_optaxs_whose_state_changes_its_dtype():
    params = jnp.ones(3, "bfloat16")
    with jax.numpy_dtype_promotion("standard"):
        tx = gx.skip_nonfinite(optax.adam(0.1))
        state = tx.init(params)
        after = jax.eval_shape(tx.update, jnp.ones(3), state, params)[1]
    assert types(after) == types(state)


def test_the_step_is_done_in_place():
    """One buffer beside those donated, for the update: no copy of a moment."""
    params = jnp.zeros(100_000)
    tx = gx.skip_nonfinite(gx.adam(0.1))

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, tx.init(params), params).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1.05 * 4 * params.size


REFUSED = {
    "no bound to exceed": (
        lambda: gx.skip_nonfinite(gx.sgd(0.1), on_exceeded="apply"),
        ValueError,
        ["`skip_nonfinite(...)`", "`on_exceeded=", "`max_consecutive`"],
    ),
    "a bound of 0": (
        lambda: gx.skip_nonfinite(gx.sgd(0.1), 0),
        ValueError,
        ["`skip_nonfinite(max_consecutive=0)`", "at least 1"],
    ),
    "a word": (
        lambda: gx.skip_nonfinite(gx.sgd(0.1), 3, on_exceeded="raise"),
        ValueError,
        ["`on_exceeded` must be one of 'skip', 'apply'", "'raise'"],
    ),
    "a loss scale inside": (
        lambda: gx.skip_nonfinite(gx.chain(gx.dynamic_loss_scale(gx.sgd(0.1)))),
        ValueError,
        ["`skip_nonfinite(...)`", "`dynamic_loss_scale`", "goes outside"],
    ),
    "a factory": (
        lambda: gx.skip_nonfinite(gx.scale_by_adam),
        TypeError,
        ["gradient transformation", "Call the factory first"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    assert_refused(*REFUSED[name])
