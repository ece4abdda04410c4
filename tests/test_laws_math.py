"""Laws of the mathematics: how updates follow when gradients are scaled, turned or taken apart."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import Row
from problems import (
    assert_close,
    assert_equal,
    at,
    every_row,
    follow,
    gradients,
    rows,
    small,
    times,
)

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def updates_of(tx: Any, params: Any, grads: Any, row: Row) -> Any:
    return follow(tx, params, grads, row.extra)[0]


@rows(lambda row: row.degree is not None)
def test_degree_of_homogeneity(row: Row) -> None:
    tx, params = row.build(**row.plain), small()
    grads = gradients(params)
    once = updates_of(tx, params, grads, row)
    for c in (0.25, 16.0):
        assert_close(updates_of(tx, params, times(c, grads), row), times(c**row.degree, once))


@rows(lambda row: row.odd)
def test_the_mirror_image_of_a_problem_is_solved_by_the_mirror_image(row: Row) -> None:
    tx, params = row.build(**row.plain), small()
    grads = gradients(params)
    mirrored = updates_of(tx, times(-1.0, params), times(-1.0, grads), row)
    assert_close(mirrored, times(-1.0, updates_of(tx, params, grads, row)), rtol=1e-6)


def steady(params: Any, steps: int = 8) -> Any:
    """One gradient, several times: some methods move only when gradients agree for a while."""
    return jax.tree.map(lambda g: np.repeat(g, steps, axis=0), gradients(params, steps=1))


@every_row
def test_a_leaf_depends_on_the_others_only_where_the_catalog_says_so(row: Row) -> None:
    tx = row.build() if row.kind == "optimizer" else gx.chain(row.build(), gx.scale(-1.0))
    params = small()
    grads = steady(params)
    others = {"w": grads["w"], "s": 3 * grads["s"] + 1}
    updates = updates_of(tx, params, grads, row)["w"]
    changed = updates_of(tx, {**params, "s": 2 * params["s"]}, others, row)["w"]
    assert np.array_equal(updates, changed) == row.leaf_local


def uphill(row: Row) -> float:
    """Inner product of a steady gradient and the last update."""
    params = small()
    grads = steady(params)
    updates = at(updates_of(row.build(**row.plain), params, grads, row), -1)
    return sum(float(jnp.vdot(at(grads, -1)[name], updates[name])) for name in params)


@rows(lambda row: row.kind == "block")
def test_only_the_learning_rate_turns_the_direction_downhill(row: Row) -> None:
    assert (uphill(row) < 0) == (row.name == "scale_by_learning_rate")


@rows(lambda row: row.kind == "optimizer")
def test_optimizers_go_downhill(row: Row) -> None:
    assert uphill(row) < 0


def test_l2_is_weight_decay_for_plain_sgd_and_not_for_adam() -> None:
    params = small()
    grads = gradients(params)

    def trained(scaling: Any, *, l2: float = 0.0, decay: float = 0.0) -> Any:
        links = [gx.add_l2_regularization(l2), scaling, gx.add_decoupled_weight_decay(decay)]
        return follow(gx.chain(*links, gx.scale_by_learning_rate(0.1)), params, grads)[1]

    assert_close(trained(gx.identity(), l2=0.3), trained(gx.identity(), decay=0.3))
    l2, decayed = (trained(gx.scale_by_adam(), **kind) for kind in ({"l2": 0.3}, {"decay": 0.3}))
    assert np.max(np.abs(l2["w"] - decayed["w"])) > 0.05


def test_decoupled_decay_shrinks_every_weight_at_one_rate() -> None:
    params = {"w": jnp.asarray([1.0, -3.0, 0.01])}
    tx = gx.adamw(0.1, weight_decay=0.5)
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update({"w": jnp.zeros(3)}, state, params)
        params = gx.apply_updates(params, updates)
    np.testing.assert_allclose(params["w"], 0.95**3 * np.array([1.0, -3.0, 0.01]), rtol=1e-6)


@pytest.mark.parametrize("b1", [0, 0.9, gx.tunable(0.0), gx.tunable(0.9)], ids=repr)
@pytest.mark.parametrize("b2", [0, 0.999, gx.tunable(0.999)], ids=repr)
def test_first_step_of_adam_is_the_sign(b1: Any, b2: Any) -> None:
    params = {"w": jnp.zeros(4)}
    grads = {"w": jnp.asarray([1e-3, -2e4, 0.0, 5.0])}
    tx = gx.scale_by_adam(b1, b2, eps=0)
    updates, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], [1, -1, 0, 1], rtol=1e-6)
    tx = gx.adam(0.1, b1, b2)
    updates, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], [-0.1, 0.1, 0, -0.1], rtol=2e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_twenty_thousand_steps_of_adam_stay_signs(dtype: str) -> None:
    tx, params = gx.scale_by_adam(), {"w": jnp.zeros(3, dtype)}
    grads = {"w": jnp.asarray([1.0, -1e-3, 0.0], dtype)}

    @jax.jit
    def last(params: Any) -> Any:
        def step(state: Any, _: None) -> Any:
            updates, state = tx.update(grads, state, params)
            return state, (jnp.min(state.nu["w"]), updates["w"][:2])

        return jax.lax.scan(step, tx.init(params), length=20_000)

    state, (least, updates) = last(params)
    assert int(state.count) == 20_000
    assert np.all(np.asarray(least) >= 0)
    expected = np.broadcast_to([1.0, -1.0], (20_000, 2))
    np.testing.assert_allclose(np.asarray(updates, "float32"), expected, rtol=1e-2)
    # 1 - 0.999^20000 is 1 - 2e-9: the average has become the square of the gradient.
    np.testing.assert_allclose(
        state.nu["w"], np.square(np.asarray(grads["w"], "float64")), rtol=2e-4, atol=0
    )


def test_minus_nothing_is_kept_of_a_gradient_that_was_seen_once() -> None:
    tx, params = gx.scale_by_adam(b1=0.5, b2=0.5), {"w": jnp.zeros(1)}
    state = tx.init(params)
    _, state = tx.update({"w": jnp.ones(1)}, state, params)
    for _ in range(3):
        _, state = tx.update({"w": jnp.zeros(1)}, state, params)
    assert_equal(state.mu, {"w": jnp.full(1, 0.5**4)})
    assert_equal(state.nu, {"w": jnp.full(1, 0.5**4)})
