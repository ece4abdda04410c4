"""Complex parameters: a plane for every coordinate.

JAX's strict promotion does not let a real number multiply a complex array, so it is off here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import Row
from problems import assert_close, follow, gradients, rows, small, structures, times

import gradxform as gx


def updates_of(tx: Any, params: Any, grads: Any, row: Row) -> Any:
    return follow(tx, params, grads, row.extra)[0]


@structures(lambda row: row.complex and not row.random)
def test_complex_numbers_on_the_real_axis_are_real_numbers(row: Row) -> None:
    params = small()
    grads = gradients(params, steps=3)
    expected = times(1 + 0j, updates_of(row.build(), params, grads, row))
    lifted = updates_of(row.build(), times(1 + 0j, params), times(1 + 0j, grads), row)
    assert_close(lifted, expected)


@structures(lambda row: row.complex and not row.random)
def test_turning_the_plane_turns_the_updates(row: Row) -> None:
    params = small("complex64")
    grads = gradients(params, steps=3)
    expected = times(1j, updates_of(row.build(), params, grads, row))
    turned = updates_of(row.build(), times(1j, params), times(1j, grads), row)
    assert_close(turned, expected)


def plane(tree: Any) -> Any:
    """Complex arrays as real ones with one more axis."""
    return jax.tree.map(lambda z: np.stack([np.real(z), np.imag(z)], axis=-1), tree)


def assert_same_as_in_the_plane(tx: Any, row: Row) -> None:
    params = small("complex64")
    grads = gradients(params)
    flat = updates_of(tx, jax.tree.map(jnp.asarray, plane(params)), plane(grads), row)
    assert_close(plane(updates_of(tx, params, grads, row)), flat)


@rows(lambda row: row.complex and not row.random and row.degree == 1)
def test_linear_rules_see_complex_numbers_as_pairs(row: Row) -> None:
    assert_same_as_in_the_plane(row.build(), row)


@rows(lambda row: row.name in ("clip_by_value", "clip_by_global_norm"))
def test_clipping_sees_complex_numbers_as_pairs(row: Row) -> None:
    assert_same_as_in_the_plane(row.build(), row)


# Down a hill: gradients are the conjugates of what `jax.grad` returns


@rows(lambda row: row.complex and not row.random and row.kind == "optimizer")
def test_optimizers_go_down_the_direction_of_steepest_ascent(row: Row) -> None:
    """The sum of |z - c|² falls to first order along the sum of three updates."""
    params = small("complex64")
    grads = jax.tree.map(lambda p: np.asarray(2 * (p - (0.3 - 0.7j)), p.dtype), params)
    updates = updates_of(row.build(), params, jax.tree.map(lambda g: np.stack([g] * 3), grads), row)
    slope = [np.real(np.sum(np.conj(g) * np.sum(u, 0))) for g, u in pairs(grads, updates)]
    assert sum(slope) < 0


def pairs(a: Any, b: Any) -> Any:
    return zip(jax.tree.leaves(a), map(np.asarray, jax.tree.leaves(b)), strict=True)


TARGET = 1 + 2j


def distance(params: Any, batch: Any) -> Any:
    """Convex, with its least value where z is the target."""
    return jnp.mean(jnp.abs(params["z"] - TARGET * batch) ** 2)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}], ids=["whole", "accumulated"])
@pytest.mark.parametrize("tx", [gx.sgd(0.1), gx.sam(gx.sgd(0.1), rho=0.01)], ids=["sgd", "sam"])
def test_a_train_step_goes_to_the_least_loss(tx: Any, options: dict[str, Any]) -> None:
    state = gx.TrainState.create(tx, {"z": jnp.complex64(0.5 - 1j)})
    step = gx.make_train_step(distance, tx, **options)
    for _ in range(60):
        state, _ = step(state, jnp.ones(2))
    np.testing.assert_allclose(state.params["z"], TARGET, atol=0.02)


def test_what_differentiates_gives_the_direction_of_ascent() -> None:
    params, batch = {"z": jnp.complex64(0.5 - 1j)}, jnp.ones(2)
    plain = jax.tree.map(jnp.conj, jax.grad(distance)(params, batch))
    for k in (1, 2):
        _, grads = gx.accumulated_value_and_grad(distance, k)(params, batch)
        assert_close(grads, plain)
    _, grads = gx.sam_value_and_grad(distance, rho=0.5)(params, batch)
    away = params["z"] - TARGET  # the worst point near by lies straight away from the target
    worst = {"z": 2 * (away + 0.5 * away / jnp.abs(away))}
    assert_close(grads, worst)


def test_curvatures_are_those_of_both_axes() -> None:
    for seed in range(3):
        key = jax.random.key(seed)
        found = gx.hutchinson(lambda p: distance(p, 1.0))({"z": jnp.complex64(0.5 - 1j)}, key)
        np.testing.assert_allclose(found["z"], 2.0, rtol=1e-6)
