"""Clipping where it is hard: half precision, zeros, infinity and NaN."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import assert_equal, awkward, follow, gradients, small

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def clipped(tx: gx.GradientTransformation, *leaves: Any, dtype: Any = "float32") -> Any:
    """The first update of these gradients, and the state after it."""
    grads = [jnp.asarray(x, dtype) for x in leaves]
    params = jax.tree.map(jnp.zeros_like, grads)
    return tx.update(grads, tx.init(params), params)


def norm_of(tree: Any) -> float:
    """The norm of all leaves together, in float64."""
    leaves = [np.asarray(x).astype("complex128").ravel() for x in jax.tree.leaves(tree)]
    return float(np.linalg.norm(np.concatenate(leaves)))


@pytest.mark.parametrize("bound", [1e-3, 0.7, 5.0])
def test_the_norm_is_at_most_the_bound_and_the_direction_stays(bound: float) -> None:
    params = awkward()
    grads = gradients(params)
    updates, *_ = follow(gx.clip_by_global_norm(bound), params, grads)
    for t in range(5):
        step, g = (jax.tree.map(lambda x, t=t: x[t], tree) for tree in (updates, grads))
        norm = norm_of(g)
        factor = min(1.0, bound / norm)
        assert norm_of(step) == pytest.approx(norm * factor, rel=1e-6)
        for u, raw in zip(jax.tree.leaves(step), jax.tree.leaves(g), strict=True):
            np.testing.assert_allclose(u, factor * raw, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_within_the_bound_updates_pass_bit_for_bit(dtype: str) -> None:
    params = small(dtype)
    grads = gradients(params)
    updates, *_ = follow(gx.clip_by_global_norm(1e3), params, grads)
    assert_equal(updates, grads)
    updates, state = clipped(gx.clip_by_global_norm(5.0), [3.0, 4.0], dtype=dtype)
    assert_equal(updates, [jnp.asarray([3.0, 4.0], dtype)])
    assert int(state.clipped_steps) == 0


def test_the_state_says_what_was_seen_and_done() -> None:
    tx, params = gx.clip_by_global_norm(1.0), jnp.zeros(2)
    state = tx.init(params)
    assert (float(state.norm), int(state.clipped_steps)) == (0.0, 0)
    for grads, norm, steps in (([3.0, 4.0], 5, 1), ([0.6, 0.0], 0.6, 1), ([0.0, 1.5], 1.5, 2)):
        _, state = tx.update(jnp.asarray(grads), state, params)
        assert float(state.norm) == pytest.approx(norm)
        assert int(state.clipped_steps) == steps


def test_the_norm_is_that_of_all_leaves_together() -> None:
    updates, state = clipped(gx.clip_by_global_norm(1.3), [3.0, 0.0], [[4.0], [12.0]], 0.0)
    assert float(state.norm) == 13.0
    np.testing.assert_allclose(updates[1], [[0.4], [1.2]], rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "value", "count"),
    [
        ("float16", 300.0, 1000),  # the sum of squares overflows float16
        ("float16", 6e4, 3),
        ("float16", 1e-6, 3),  # the squares underflow
        ("bfloat16", 1.0, 100_000),  # a sum in bfloat16 stops at 256
        ("float32", 1e15, 7),
    ],
)
def test_norms_of_half_precision_are_right(dtype: str, value: float, count: int) -> None:
    exact = float(jnp.asarray(value, dtype))
    bound = 0.1 * exact
    updates, state = clipped(gx.clip_by_global_norm(bound), np.full(count, value), dtype=dtype)
    assert float(state.norm) == pytest.approx(exact * count**0.5, rel=1e-5)
    resolution = max(float(jnp.finfo(dtype).eps), 2.0**-25 / (bound / count**0.5))
    np.testing.assert_allclose(
        np.asarray(updates[0]).astype("float64"), bound / count**0.5, rtol=resolution
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("bound", [1.0, 1e-30])
def test_zeros_stay_zeros(dtype: str, bound: float) -> None:
    for tx in (gx.clip_by_global_norm(bound), gx.clip_by_value(bound)):
        updates, _ = clipped(tx, [0.0, 0.0], 0.0, dtype=dtype)
        assert_equal(updates, [jnp.zeros(2, dtype), jnp.zeros((), dtype)])


def test_a_bound_is_above_zero_and_one_that_falls_to_zero_gives_zeros() -> None:
    tunable, params = gx.clip_by_global_norm(gx.tunable(1.0)), jnp.zeros(2)
    with pytest.raises(ValueError, match=r"`max_norm` must be above 0; got 0\.0"):
        gx.set_hyperparams(tunable.init(params), max_norm=0.0)
    for bound in (gx.linear_schedule(1.0, 0.0, 1), lambda t: jnp.where(t < 1, 1.0, 0.0)):
        tx = gx.clip_by_global_norm(bound)
        _, state = tx.update(params, tx.init(params), params)
        for grads in ([0.0, 0.0], [3.0, 4.0]):
            updates, _ = tx.update(jnp.asarray(grads), state, params)
            assert_equal(updates, jnp.zeros(2))


def test_infinity_and_nan_in_the_global_norm() -> None:
    tx = gx.clip_by_global_norm(1.0)
    updates, state = clipped(tx, [jnp.inf, 2.0], [1.0])
    assert_equal(updates, [jnp.asarray([jnp.nan, 0.0]), jnp.zeros(1)])
    assert (float(state.norm), int(state.clipped_steps)) == (np.inf, 1)
    updates, state = clipped(tx, [jnp.nan, 2.0], [1.0])
    assert_equal(updates, [jnp.full(2, jnp.nan), jnp.full(1, jnp.nan)])
    assert np.isnan(state.norm)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_by_value_every_coordinate_ends_at_the_bound(dtype: str) -> None:
    grads = [-jnp.inf, -7.0, -0.25, 0.0, 0.5, 6e4, jnp.inf, jnp.nan]
    updates, _ = clipped(gx.clip_by_value(0.5), grads, dtype=dtype)
    expected = [-0.5, -0.5, -0.25, 0.0, 0.5, 0.5, 0.5, jnp.nan]
    assert_equal(updates, [jnp.asarray(expected, dtype)])


def test_of_complex_numbers_both_parts_are_limited() -> None:
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = clipped(gx.clip_by_value(0.5), [3 - 0.25j, -0.1 - 9j], dtype="complex64")
    np.testing.assert_allclose(updates[0], [0.5 - 0.25j, -0.1 - 0.5j])
