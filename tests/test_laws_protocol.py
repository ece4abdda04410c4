"""Law 1: what a factory returns is one of Optax's transformations, and goes wherever they go."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import Row
from problems import (
    assert_close,
    assert_equal,
    at,
    awkward,
    every_row,
    every_structure,
    follow,
    gradients,
    rows,
    small,
    structures,
    types,
)

import gradxform as gx


@every_row
def test_is_a_pair_of_functions_and_optax_knows_it(row: Row) -> None:
    tx = row.build()
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    init, update = tx
    assert init is tx.init
    assert update is tx.update
    assert len(tx) == 2
    assert tx._fields == ("init", "update")


@every_structure
def test_arguments_go_by_position_and_by_name_and_strangers_are_ignored(row: Row) -> None:
    tx, params = row.build(), awkward()
    grads, state = at(gradients(params), 0), tx.init(params)
    expected = tx.update(grads, state, params, **row.extra)
    assert_equal(tx.update(updates=grads, state=state, params=params, **row.extra), expected)
    assert_equal(tx.update(grads, state, params, stranger=object(), **row.extra), expected)
    assert_equal(tx.init(params=params), state)


@structures(lambda row: not row.reads_params)
def test_parameters_may_be_left_out(row: Row) -> None:
    tx, params = row.build(), awkward()
    grads, state = at(gradients(params), 0), tx.init(params)
    expected = tx.update(grads, state, params, **row.extra)
    assert_equal(tx.update(grads, state, **row.extra), expected)
    assert_equal(tx.update(grads, state, None, **row.extra), expected)


@every_structure
def test_links_of_an_optax_chain_get_the_extra_arguments(row: Row) -> None:
    seen = []

    def watch(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        seen.append((params, extra))
        return updates, state

    watcher = optax.GradientTransformationExtraArgs(optax.identity().init, watch)
    params = small()
    grads = gradients(params, steps=2)
    extra = {**row.extra, "token": 7}
    outside, *_ = follow(optax.chain(watcher, row.build()), params, grads, extra)
    inside, *_ = follow(gx.chain(watcher, row.build()), params, grads, extra)
    expected, *_ = follow(row.build(), params, grads, row.extra)
    assert_equal(outside, expected)
    assert_equal(inside, expected)
    assert len(seen) == 2 * 2
    assert all(params is not None and given == extra for params, given in seen)


@every_structure
def test_masked_by_optax_it_sees_the_chosen_leaves_only(row: Row) -> None:
    params = small()
    grads = gradients(params, steps=3)
    masked = optax.masked(row.build(), {"w": True, "s": False})
    updates, *_ = follow(masked, params, grads, row.extra)
    alone, *_ = follow(row.build(), {"w": params["w"]}, {"w": grads["w"]}, row.extra)
    assert_equal(updates, {"w": alone["w"], "s": grads["s"]})


@every_structure
def test_optax_multi_steps_applies_the_mean(row: Row) -> None:
    params = small()
    grads = gradients(params, steps=4)
    multi = optax.MultiSteps(row.build(), every_k_schedule=2)
    state, seen = multi.init(params), []
    with jax.disable_jit():  # takes a branch of `lax.cond` without compiling both
        for t in range(4):
            updates, state = multi.update(at(grads, t), state, params, **row.extra)
            seen.append(updates)
    assert_equal(seen[0], jax.tree.map(jnp.zeros_like, params))
    tx = row.build()
    inner = tx.init(params)
    for t in (0, 2):
        mean = jax.tree.map(lambda g, t=t: jnp.asarray((g[t] + g[t + 1]) / 2), grads)
        expected, inner = tx.update(mean, inner, params, **row.extra)
        assert_close(seen[t + 1], expected)


@rows(lambda row: row.kind == "optimizer")
def test_inject_hyperparams_of_optax_builds_it_with_traced_numbers(row: Row) -> None:
    static = [name for name, value in row.arguments.items() if not isinstance(value, float)]
    injected = optax.inject_hyperparams(row.factory, static_args=static)(**row.arguments)
    params = small()
    grads = at(gradients(params), 0)
    state = injected.init(params)
    updates, after = jax.jit(injected.update)(grads, state, params, **row.extra)
    assert types(after) == types(state)
    tx = row.build()
    assert_close(updates, tx.update(grads, tx.init(params), params, **row.extra)[0])
    state.hyperparams["learning_rate"] = jnp.float32(0.0)
    still, _ = injected.update(grads, state, params, **row.extra)
    assert_equal(still, jax.tree.map(jnp.zeros_like, params))


@pytest.mark.parametrize(
    ("tx", "fields"),
    [
        (gx.scale_by_adam(), ["count", "mu", "nu"]),
        (gx.adam(0.1), ["learning_rate", "mu", "nu"]),
        (gx.sgd(gx.tunable(0.1), momentum=0.9), ["learning_rate", "trace"]),
        (gx.rmsprop(0.1, centered=True), ["learning_rate", "mu", "nu", "count"]),
        (gx.adagrad(0.1), ["sum_of_squares"]),
        (gx.lion(0.1), ["mu"]),
        (gx.clip_by_global_norm(1.0), ["norm", "clipped_norm", "clipped_steps", "steps"]),
        (gx.named_chain(("clip", gx.clip_by_value(1.0)), ("adam", gx.adam(0.1))), ["adam"]),
    ],
    ids=repr,
)
def test_optax_finds_the_fields_of_the_state(tx: Any, fields: list[str]) -> None:
    state = tx.init(small())
    for field in fields:
        assert optax.tree.get(state, field) is not None
    if "learning_rate" in fields:
        assert float(optax.tree.get(state, "learning_rate")) == pytest.approx(0.1)


def test_a_chain_takes_optax_transformations_of_both_kinds() -> None:
    params = small()
    grads = gradients(params)
    ours = gx.chain(
        optax.clip_by_global_norm(0.5),
        gx.scale_by_momentum(0.9),
        optax.add_decayed_weights(0.1),
        optax.scale_by_learning_rate(0.2),
    )
    theirs = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.trace(0.9),
        optax.add_decayed_weights(0.1),
        optax.scale_by_learning_rate(0.2),
    )
    extra = {"value": 1.0}
    assert_close(follow(ours, params, grads, extra)[0], follow(theirs, params, grads, extra)[0])


def test_wrappers_of_optax_keep_low_precision_types() -> None:
    params = small("bfloat16")
    grads = at(gradients(small("float32")), 0)
    for wrap in (
        lambda tx: optax.apply_if_finite(tx, 3),
        lambda tx: optax.MultiSteps(tx, 2),
        lambda tx: optax.partition({"a": tx, "b": optax.set_to_zero()}, {"w": "a", "s": "b"}),
    ):
        tx = wrap(gx.adamw(gx.tunable(0.1)))
        state = jax.eval_shape(tx.init, params)
        _, after = jax.eval_shape(tx.update, grads, state, params)
        assert types(after) == types(state)


def test_partition_of_optax_gives_each_group_its_transformation() -> None:
    params = small()
    grads = at(gradients(params), 0)
    tx = optax.partition({"a": gx.sgd(0.5), "b": gx.sgd(0.0)}, {"w": "a", "s": "b"})
    updates, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_array_equal(updates["w"], -0.5 * grads["w"])
    assert updates["s"] == 0
