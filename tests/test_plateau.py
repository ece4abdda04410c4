"""Reduce on plateau: against torch's trajectories, and where it must be better than torch."""

import json
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

RECORD = json.loads((Path(__file__).parent / "torch_schedules.json").read_text())
PARAMS = {"w": jnp.array([1.0, -2.0])}
GRADS = {"w": jnp.array([0.5, 2.0])}
NAN, INF = float("nan"), float("inf")


def rates(watch, readings, name="learning_rate", x64=False):
    """The value that each update uses, from a scan over what it is told."""
    with jax.enable_x64(x64):
        tx = gx.sgd(watch)

        def step(state, value):
            updates, state = tx.update(GRADS, state, PARAMS, value=value)
            return state, (gx.hyperparams(state)[name], updates["w"])

        readings = jnp.asarray(readings, float)
        _, (found, updates) = jax.jit(lambda s, r: jax.lax.scan(step, s, r))(
            tx.init(PARAMS), readings
        )
        found, updates = np.asarray(found, np.float64), np.asarray(updates)
    np.testing.assert_allclose(updates, -np.outer(found, GRADS["w"]), rtol=1e-6)
    return found


# torch

NAMES = {"min_lr": "min_value"}


def arguments(call):
    """torch's arguments under our names."""
    ours = {NAMES.get(name, name): value for name, value in call.items()}
    threshold, absolute = ours.pop("threshold", 1e-4), ours.pop("threshold_mode", "rel") == "abs"
    tolerances = {"rtol": 0.0, "atol": threshold} if absolute else {"rtol": threshold}
    return {**ours, **tolerances}


@pytest.mark.parametrize("x64", [True, False], ids=["x64", "x32"])
@pytest.mark.parametrize("name", RECORD["plateaus"])
def test_every_reading_is_torchs(name, x64):
    stored = RECORD["plateaus"][name]
    call, metrics = stored["call"]
    watch = gx.reduce_on_plateau(0.3, **arguments(call))
    found = rates(watch, RECORD["metrics"][metrics], x64=x64)
    np.testing.assert_allclose(found, stored["values"], rtol=1e-13 if x64 else 2e-6)


def test_the_record_reduces():
    for name, stored in RECORD["plateaus"].items():
        assert len(set(stored["values"])) > 2, name
        ours = arguments(stored["call"][0])
        assert all(x > 0 for x in RECORD["metrics"]["falling"])
        assert {"rtol", "atol"} & ours.keys()


# Where torch and optax are wrong


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_constant_below_zero_is_no_improvement(mode):
    """torch compares with best * (1 - rtol), which is worse than a best below 0, and optax too."""
    watch = gx.reduce_on_plateau(1.0, factor=0.5, patience=1, mode=mode)
    np.testing.assert_array_equal(rates(watch, [-1.0] * 6), [1, 1, 0.5, 0.5, 0.25, 0.25])
    best = -1.0
    assert best < best * (1 - 1e-4) or best > best * (1 + 1e-4)  # torch's condition
    theirs = optax.contrib.reduce_on_plateau(factor=0.5, patience=1)
    state, step = theirs.init(PARAMS), jax.jit(theirs.update)
    for _ in range(6):
        _, state = step(GRADS, state, value=-1.0)
    assert state.scale == 1.0


@pytest.mark.parametrize("start", [-3.0, 0.0, 2.0])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_improvements_count_on_both_sides_of_zero(mode, start):
    """What improves by more than the tolerance never reduces, what improves by less does."""
    sign = -1.0 if mode == "min" else 1.0
    for rtol, atol in ((0.0, 0.1), (0.01, 0.05), (0.02, 0.0)):
        watch = gx.reduce_on_plateau(1.0, factor=0.5, patience=0, mode=mode, rtol=rtol, atol=atol)
        enough, not_enough = [start], start
        for _ in range(8):
            margin = rtol * abs(enough[-1]) + atol
            enough.append(enough[-1] + sign * (1.01 * margin + 1e-5))
        assert set(rates(watch, enough)) == {1.0}
        margin = rtol * abs(start) + atol
        less = [start, *[not_enough + sign * 0.98 * margin] * 3]
        np.testing.assert_array_equal(rates(watch, less), [1, 0.5, 0.25, 0.125])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_never_better_and_is_forgotten(mode):
    watch = gx.reduce_on_plateau(1.0, factor=0.5, patience=1, mode=mode)
    better = [1.0, 0.5] if mode == "min" else [0.5, 1.0]
    found = rates(watch, [NAN, better[0], NAN, NAN, better[1], NAN])
    np.testing.assert_array_equal(found, [1, 1, 1, 0.5, 0.5, 0.5])


def test_an_infinite_first_reading_is_no_best():
    watch = gx.reduce_on_plateau(1.0, factor=0.5, patience=2)
    np.testing.assert_array_equal(rates(watch, [INF, INF, 7.0, 6.0]), 1.0)
    np.testing.assert_array_equal(rates(watch, [INF, INF, INF, 7.0]), [1, 1, 0.5, 0.5])
    # Nothing is better than -inf.
    np.testing.assert_array_equal(rates(watch, [-INF, -1e30, -INF, -INF]), [1, 1, 1, 0.5])


# Its arguments


def test_patience_counts_readings_in_a_row():
    watch = gx.reduce_on_plateau(1.0, factor=0.5, patience=2)
    found = rates(watch, [5, 5, 5, 4, 4, 4, 4, 4, 4, 4])
    np.testing.assert_array_equal(found, [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25])


def test_readings_in_the_cooldown_are_ignored_but_may_improve():
    watch = gx.reduce_on_plateau(1.0, factor=0.5, patience=0, cooldown=2)
    found = rates(watch, [5, 5, 6, 6, 6, 4, 3, 5])
    np.testing.assert_array_equal(found, [1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125])


def test_the_floor_holds_under_a_schedule_too():
    watch = gx.reduce_on_plateau(
        gx.linear_schedule(1.0, 0.0, 10), factor=0.5, patience=0, min_value=0.3
    )
    found = rates(watch, [1.0] * 12)
    expected = [max(max(0.0, 1 - t / 10) * 0.5**t, 0.3) for t in range(12)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = rates(gx.reduce_on_plateau(1.0, factor=0.1, patience=0), [1.0] * 60)
    assert np.all(np.isfinite(found))
    assert found[-1] == 0.0


def test_a_schedule_goes_on_below_the_reductions():
    schedule = gx.cosine_decay(1.0, 8)
    watch = gx.reduce_on_plateau(schedule, factor=0.5, patience=1)
    reductions = [0, 0, 1, 1, 2, 2, 3, 3]
    expected = [schedule(t) * 0.5**n for t, n in enumerate(reductions)]
    np.testing.assert_allclose(rates(watch, [1.0] * 8), expected, rtol=1e-6)


@pytest.mark.parametrize("every", [2, 5])
def test_a_reading_is_the_mean_of_every_n_calls(every):
    """The same as one reading of the mean, and the value changes with the last of the n."""
    rng = np.random.default_rng(0)
    values = 1.0 + np.exp(-np.arange(12 * every) / 10) + 0.3 * rng.standard_normal(12 * every)
    options = {"factor": 0.5, "patience": 1, "cooldown": 1, "rtol": 0.0, "atol": 0.1}
    one = rates(gx.reduce_on_plateau(1.0, **options), values.reshape(-1, every).mean(axis=1))
    all_calls = rates(gx.reduce_on_plateau(1.0, **options, every=every), values)
    assert len(set(one)) > 2
    expected = np.concatenate([np.ones(every - 1), np.repeat(one, every)])[: 12 * every]
    np.testing.assert_array_equal(all_calls, expected)


def test_a_nan_spoils_its_own_reading_only():
    watch = gx.reduce_on_plateau(1.0, factor=0.5, patience=0, every=2)
    found = rates(watch, [4.0, 4.0, 3.0, NAN, 3.0, 3.0, 2.0, 2.0])
    np.testing.assert_array_equal(found, [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5])


# What a loop does


def test_it_runs_like_any_other_state():
    """Types that stay, one compilation, donated buffers of its own."""
    tx = gx.adam(gx.reduce_on_plateau(0.1, patience=0, every=2))
    traces = []

    def step(params, state, value):
        traces.append(1)
        updates, state = tx.update(GRADS, state, params, value=value)
        return gx.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1))
    params, state = jax.tree.map(jnp.copy, PARAMS), tx.init(PARAMS)

    def types(tree):
        leaves, structure = jax.tree.flatten(tree)
        return structure, [(x.shape, x.dtype, x.weak_type) for x in leaves]

    before = types(state)
    assert types(jax.eval_shape(tx.init, PARAMS)) == before
    for value in (3.0, 2.0, 1.0):
        params, state = compiled(params, state, value)
        assert types(state) == before
    assert len(traces) == 1


@pytest.mark.parametrize("x64", [False, True], ids=["x32", "x64"])
def test_values_of_every_type(x64):
    kinds = [
        *(float, int, np.float32, np.float64, np.int64),
        *(jnp.float32, jnp.bfloat16, jnp.float16, jnp.int32),
    ]
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
        tx = gx.sgd(gx.reduce_on_plateau(1.0, factor=0.5, patience=0, every=2, cooldown=1))
        for kind in kinds:
            state = tx.init(PARAMS)
            for value in (3, 3, 3, 3, 2, 2):
                _, state = tx.update(GRADS, state, PARAMS, value=kind(value))
            assert gx.hyperparams(state)["learning_rate"] == 0.5
            memory = state[0].feedback["learning_rate"]
            assert memory.best == 2.0
            assert memory.best.dtype == jnp.result_type(float)


def test_a_batch_of_runs_watches_each_its_own_value():
    tx = gx.sgd(gx.reduce_on_plateau(1.0, factor=0.5, patience=0))
    readings = jnp.array([[3.0, 2.0, 1.0], [3.0, 3.0, 3.0], [3.0, NAN, 2.0]])

    def run(values):
        def step(state, value):
            _, state = tx.update(GRADS, state, PARAMS, value=value)
            return state, gx.hyperparams(state)["learning_rate"]

        return jax.lax.scan(step, tx.init(PARAMS), values)[1]

    found = jax.jit(jax.vmap(run))(readings)
    np.testing.assert_array_equal(found, [[1, 1, 1], [1, 0.5, 0.25], [1, 0.5, 0.5]])


def test_its_numbers_may_be_batched():
    @jax.jit
    @jax.vmap
    def last(value, factor, rtol):
        tx = gx.sgd(gx.reduce_on_plateau(value, factor=factor, patience=0, rtol=rtol))
        state = tx.init(PARAMS)
        for reading in (1.0, 0.95):
            _, state = tx.update(GRADS, state, PARAMS, value=reading)
        return gx.hyperparams(state)["learning_rate"]

    numbers = (jnp.array([1.0, 2.0]), jnp.array([0.5, 0.25]), jnp.array([0.1, 0.1]))
    np.testing.assert_array_equal(last(*numbers), [0.5, 0.5])
    small = (jnp.array([1.0]), jnp.array([0.5]), jnp.array([0.01]))
    np.testing.assert_array_equal(last(*small), [1.0])


@pytest.mark.parametrize("stop", [1, 4, 7, 9])
def test_a_run_resumes_from_a_saved_state(stop):
    """In the middle of a reading, of the patience and of the cooldown."""
    tx = gx.adam(
        gx.reduce_on_plateau(
            gx.linear_schedule(0.1, 0.01, 20), factor=0.5, patience=1, cooldown=2, every=2
        )
    )
    readings = [3.0, 3.1, 3.0, 3.2, 3.0, 3.1, 3.2, 3.2, 3.1, 3.3, 3.0, 3.4, 3.2, 3.3]

    def run(params, state, values):
        for value in values:
            updates, state = step(params, state, value)
            params = gx.apply_updates(params, updates)
        return params, state

    step = jax.jit(lambda p, s, v: tx.update(GRADS, s, p, value=v))
    whole = run(PARAMS, tx.init(PARAMS), readings)
    params, state = run(PARAMS, tx.init(PARAMS), readings[:stop])
    saved = pickle.dumps(jax.tree.map(np.asarray, (params, state)))
    params, state = jax.tree.map(jnp.asarray, pickle.loads(saved))
    resumed = run(params, state, readings[stop:])
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole[1][-1].feedback["learning_rate"].scale < 0.5


# Where it stands


def test_it_is_data():
    one, other = (gx.reduce_on_plateau(1e-3, patience=3, mode="max") for _ in range(2))
    assert one == other
    assert hash(gx.adam(one)) == hash(gx.adam(other))
    assert repr(one) == "reduce_on_plateau(value=0.001, patience=3, mode='max')"
    assert pickle.loads(pickle.dumps(gx.adam(one))) == gx.adam(other)
    assert one != gx.reduce_on_plateau(1e-3, patience=4, mode="max")
