"""Hyperparameters that are read, scheduled, set and vmapped while the optimizer runs."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import Row
from problems import assert_close, assert_equal, at, follow, gradients, rows, small, stack, types

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")

LAST = 2**31 - 1


def numbers(row: Row) -> dict[str, float]:
    """The row's arguments for which a schedule or a tunable may stand."""
    parameters = inspect.signature(row.factory).parameters
    return {
        name: value
        for name, value in row.arguments.items()
        if isinstance(value, float) and "Tunable" in str(parameters[name].annotation)
    }


def with_learning_rate(row: Row) -> bool:
    return "learning_rate" in numbers(row)


# A number, a schedule, a tunable


@rows(numbers)
def test_whatever_stands_for_a_number_gives_the_same_updates(row: Row) -> None:
    params = small()
    grads = gradients(params, steps=3)
    expected, *_ = follow(row.build(), params, grads, row.extra)
    for kind in (gx.tunable, gx.constant_schedule):
        live = row.build(**{name: kind(value) for name, value in numbers(row).items()})
        updates, _, state = follow(live, params, grads, row.extra)
        assert_close(updates, expected, rtol=1e-4, atol=1e-5)
        read = gx.hyperparams(state)
        for name, value in numbers(row).items():
            assert read[name] == pytest.approx(value, rel=1e-6)
            assert read[name].dtype == jnp.float32


@rows(numbers)
def test_live_values_may_be_traced_in_any_dtype_of_the_parameters(row: Row) -> None:
    tx = row.build(**{name: gx.tunable(value) for name, value in numbers(row).items()})
    for dtype, x64 in (("bfloat16", False), ("float16", True), ("float64", True)):
        with jax.enable_x64(x64):
            params = small(dtype)
            state = jax.eval_shape(tx.init, params)
            assert {x.dtype for x in gx.hyperparams(state).values()} == {jnp.result_type(float)}
            _, after = jax.eval_shape(
                lambda g, s, p: tx.update(g, s, p, **row.extra), params, state, params
            )
            assert types(after) == types(state)


@rows(with_learning_rate)
def test_a_schedule_in_the_place_of_a_number_changes_no_checkpoint(row: Row) -> None:
    number, params = row.build(), small()
    scheduled = row.build(learning_rate=gx.cosine_decay(0.1, 9))
    state = number.init(params)
    assert types(scheduled.init(params)) == types(state)
    # What the code says wins over what the checkpoint of another learning rate holds.
    grads = at(gradients(params), 0)
    _, after = scheduled.update(grads, state, params, **row.extra)
    assert float(gx.hyperparams(after)["learning_rate"]) == pytest.approx(0.1)
    _, after = number.update(grads, after, params, **row.extra)
    assert float(gx.hyperparams(after)["learning_rate"]) == pytest.approx(
        row.arguments["learning_rate"]
    )


@rows(with_learning_rate)
def test_update_k_uses_and_records_the_schedule_at_k(row: Row) -> None:
    params = small()
    grads = gradients(params, steps=3)
    schedule = gx.step_decay(0.4, 0.5, every=1)
    tx, by_hand = row.build(learning_rate=schedule), row.build(learning_rate=gx.tunable(0.4))
    state, expected = tx.init(params), by_hand.init(params)
    assert gx.hyperparams(state)["learning_rate"] == schedule(0)
    for t in range(3):
        updates, state = tx.update(at(grads, t), state, params, **row.extra)
        expected = gx.set_hyperparams(expected, learning_rate=schedule(t))
        wanted, expected = by_hand.update(at(grads, t), expected, params, **row.extra)
        assert_close(updates, wanted)
        assert gx.hyperparams(state)["learning_rate"] == schedule(t)


# Reading


def descent(learning_rate: Any) -> gx.GradientTransformation:
    return gx.scale_by_learning_rate(learning_rate)


def test_names_that_occur_twice_are_qualified_by_their_place() -> None:
    tx = gx.chain(
        gx.adam(0.1, b1=gx.tunable(0.8)),
        gx.scale(gx.tunable(2.0)),
        gx.named_chain(("a", gx.scale(gx.tunable(3.0))), ("b", gx.sgd(0.2))),
    )
    state = tx.init(small())
    read = gx.hyperparams(state)
    assert {name: round(float(x), 6) for name, x in read.items()} == {
        "b1": 0.8,
        "0/1/learning_rate": 0.1,
        "1/factor": 2.0,
        "2/a/factor": 3.0,
        "2/b/0/learning_rate": 0.2,
    }
    with pytest.raises(KeyError, match="`factor` occurs 2 times; ask for one of: 1/factor, 2/a/"):
        read["factor"]
    state = gx.set_hyperparams(state, **{"2/a/factor": 5.0})
    read = gx.hyperparams(state)
    assert [float(read[name]) for name in ("1/factor", "2/a/factor")] == [2.0, 5.0]


@gx.transformation
def rescaled(inner: Any, factor: gx.Scalar = 1.0) -> Any:
    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        updates, state = inner.update(updates, state, params, **extra)
        return jax.tree.map(lambda u: factor * u, updates), state

    return inner.init, update


def test_names_in_a_wrapper_and_in_what_it_wraps_are_told_apart() -> None:
    state = rescaled(gx.scale(gx.tunable(2.0)), gx.tunable(3.0)).init(small())
    assert sorted(map(float, gx.hyperparams(state).values())) == [2.0, 3.0]


def test_readings_are_a_tree() -> None:
    tx, params = gx.adam(gx.step_decay(0.4, 0.5, every=1), b1=gx.tunable(0.8)), small()

    def step(state: Any, g: Any) -> Any:
        _, state = tx.update(g, state, params)
        return state, gx.hyperparams(state)

    _, history = jax.jit(lambda g: jax.lax.scan(step, tx.init(params), g))(gradients(params, 3))
    np.testing.assert_allclose(history["learning_rate"], [0.4, 0.2, 0.1])
    np.testing.assert_allclose(history["b1"], [0.8] * 3)
    with pytest.raises(KeyError, match="no `b2` among the live"):
        history["b2"]


def test_constants_are_not_live_but_in_the_recipe() -> None:
    tx = gx.adam(0.1)
    assert set(gx.hyperparams(tx.init(small()))) == {"learning_rate"}
    assert tx.recipe.arguments["b2"] == 0.999
    assert gx.hyperparams(gx.scale_by_adam().init(small())) == {}


# Setting


def test_a_value_that_is_set_is_used_by_the_next_update_without_a_trace() -> None:
    params = small()
    grads = at(gradients(params), 0)
    tx, traces = gx.sgd(gx.tunable(0.1)), []

    @jax.jit
    def step(params: Any, state: Any, grads: Any) -> Any:
        traces.append(1)
        return tx.update(grads, state, params)

    first = state = tx.init(params)
    for value in (0.1, 0.25, np.float64(0.5), jnp.float32(1.0), jnp.bfloat16(2.0), 4, np.int64(8)):
        state = gx.set_hyperparams(state, learning_rate=value)
        assert types(state) == types(first)
        updates, state = step(params, state, grads)
        assert_close(updates, jax.tree.map(lambda g, v=value: np.float32(-float(v)) * g, grads))
        assert float(gx.hyperparams(state)["learning_rate"]) == pytest.approx(float(value))
    assert len(traces) == 1
    assert float(gx.hyperparams(first)["learning_rate"]) == pytest.approx(0.1)


def test_in_compiled_code_values_are_set_too() -> None:
    tx, params = gx.sgd(gx.tunable(0.1)), small()
    state = jax.jit(lambda s, x: gx.set_hyperparams(s, learning_rate=x))(tx.init(params), 0.7)
    assert float(gx.hyperparams(state)["learning_rate"]) == pytest.approx(0.7)


def test_a_donated_step_after_setting() -> None:
    tx, params = gx.adam(gx.tunable(0.1), b1=gx.tunable(0.9)), small()
    value = jnp.float32(0.3)
    state = gx.set_hyperparams(tx.init(params), learning_rate=value, b1=value)
    step = jax.jit(lambda p, s: (p, tx.update(p, s, p)[1]), donate_argnums=(0, 1))
    params, state = step(params, state)
    step(params, gx.set_hyperparams(state, b1=gx.hyperparams(state)["learning_rate"]))
    assert float(value) == np.float32(0.3)


@pytest.mark.parametrize(
    "learning_rate", [0.1, gx.cosine_decay(0.1, 9)], ids=["number", "schedule"]
)
def test_a_reading_is_not_set(learning_rate: Any) -> None:
    state = gx.adam(learning_rate, b1=gx.tunable(0.8)).init(small())
    with pytest.raises(TypeError, match=r"is a reading.*learning_rate=tunable\(") as error:
        gx.set_hyperparams(state, learning_rate=0.3)
    assert "set_hyperparams(learning_rate=0.3)" in str(error.value)
    gx.set_hyperparams(state, b1=0.3)


# Batches


def trained(tx: gx.GradientTransformation, params: Any, grads: Any) -> Any:
    """The parameters after training over stacked gradients."""
    state = tx.init(params)
    for t in range(3):
        updates, state = tx.update(at(grads, t), state, params)
        params = gx.apply_updates(params, updates)
    return params


def test_optimizers_built_under_vmap_are_a_batch_of_optimizers() -> None:
    params = small()
    grads = gradients(params, steps=3)
    rates = jnp.asarray([0.1, 0.3])

    def train(rate: Any, decay: Any) -> Any:
        tx = gx.adamw(gx.cosine_decay(rate, 9), b1=decay, weight_decay=gx.tunable(rate))
        return trained(tx, params, grads)

    batch = jax.vmap(train)(rates, jnp.asarray([0.8, 0.9]))
    alone = [train(0.1, 0.8), train(0.3, 0.9)]
    assert_close(batch, stack(alone))


def test_a_batch_of_states_holds_a_batch_of_values() -> None:
    tx, rates = gx.adam(gx.tunable(0.1)), jnp.asarray([0.1, 0.2, 0.4])
    members = stack(small(seed=seed) for seed in (0, 10, 20))
    grads = stack(at(gradients(small(), seed=seed), 0) for seed in range(3))
    state = jax.vmap(tx.init)(members)
    assert gx.hyperparams(state)["learning_rate"].shape == (3,)
    for value in (rates, 0.3):
        changed = gx.set_hyperparams(state, learning_rate=value)
        assert types(changed) == types(state)
        updates, changed = jax.vmap(tx.update)(grads, changed, members)
        np.testing.assert_allclose(gx.hyperparams(changed)["learning_rate"], rates * 0 + value)
        # The first step of Adam is the learning rate in every coordinate.
        expected = np.broadcast_to(rates * 0 + value, (3,))
        np.testing.assert_allclose(np.abs(updates["s"]), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"of shape \[3\]"):
        gx.set_hyperparams(state, learning_rate=jnp.ones(2))


# The counter


def test_the_counter_stays_at_its_last_value() -> None:
    tx, params = descent(gx.linear_schedule(0.4, 0.1, 10)), small()
    state = tx.init(params)
    assert (state.count.dtype, int(state.count)) == (jnp.int32, 0)
    state = state._replace(count=jnp.int32(LAST - 1))
    for _ in range(3):
        _, state = tx.update(params, state, params)
        assert int(state.count) == LAST
        assert float(gx.hyperparams(state)["learning_rate"]) == pytest.approx(0.1)


def test_with_float64_enabled_values_are_float64() -> None:
    with jax.enable_x64(True):
        tx, params = gx.adam(gx.linear_schedule(0.4, 0.1, 10), b1=gx.tunable(1 / 3)), small()
        state = tx.init(params)
        for _ in range(2):
            read = gx.hyperparams(state)
            assert {x.dtype for x in read.values()} == {jnp.dtype("float64")}
            assert float(read["b1"]) == 1 / 3
            _, state = tx.update(params, state, params)
        state = gx.set_hyperparams(state, b1=1 / 7)
        assert float(gx.hyperparams(state)["b1"]) == 1 / 7
        assert_equal(state[0].count, jnp.int32(2))


def test_a_tunable_restored_as_numpy_widens_nothing() -> None:
    """NumPy's float64 would pull float32 parameters with it, or be refused by strict types."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        tx, params = gx.sgd(gx.tunable(1 / 3), momentum=gx.tunable(0.9)), small()
        state = tx.init(params)
        restored = jax.tree.map(np.asarray, state)
        assert_equal(tx.update(params, restored, params), tx.update(params, state, params))


def test_a_known_number_is_checked_and_set_in_a_traced_function() -> None:
    tx, params = gx.sgd(0.1, momentum=gx.tunable(0.9)), small()

    def started(value: Any) -> Any:
        return gx.set_hyperparams(tx.init(params), momentum=value)

    for value in (0.5, np.float32(0.5), jnp.float32(0.5)):
        assert (
            float(gx.hyperparams(jax.jit(lambda value=value: started(value))())["momentum"]) == 0.5
        )
    with pytest.raises(ValueError, match="momentum"):
        jax.eval_shape(lambda: started(1.5))
