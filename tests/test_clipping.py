"""Clipping where it is hard: half precision, zeros, infinity and NaN."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import assert_equal, awkward, follow, gradients, small

import gradxform as gx
from gradxform.core import numerics

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


# Powers of two: nothing is rounded by them. 2**-83 is 1e-25, and 2**83 is 1e25.
FAR = [-110, -83, -66, -62, -40, 40, 62, 66, 83, 110]


def scaled(power: int, dtype: str) -> Any:
    tree = [*jax.tree.leaves(awkward()), jnp.zeros(2)]
    with jax.numpy_dtype_promotion("standard"):
        leaves = [0.1 * (1.0 + jnp.arange(jnp.size(x)).reshape(jnp.shape(x))) for x in tree]
        leaves.append(jnp.asarray([0.3 - 0.4j, 0.1j]))
        return [
            (x * 2.0**power).astype("complex64" if jnp.iscomplexobj(x) else dtype) for x in leaves
        ]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_norm_neither_overflows_nor_underflows(dtype: str) -> None:
    """Eagerly, compiled, and in a batch whose members differ."""
    expected = norm_of(scaled(0, dtype))
    found = jax.jit(numerics.global_norm)
    for power in FAR:
        np.testing.assert_allclose(found(scaled(power, dtype)), expected * 2.0**power, rtol=1e-6)
    np.testing.assert_allclose(numerics.global_norm(scaled(83, dtype)), expected * 2.0**83, 1e-6)
    together = jax.tree.map(lambda *x: jnp.stack(x), *(scaled(k, dtype) for k in (0, *FAR)))
    many = jax.jit(jax.vmap(numerics.global_norm))(together)
    np.testing.assert_allclose(many, [expected * 2.0**k for k in (0, *FAR)], rtol=1e-6)


def test_the_norm_in_double_precision() -> None:
    with jax.enable_x64(True):
        for kind, power in (
            ("float64", 900),
            ("float64", -900),
            ("float32", 110),
            ("float32", -110),
        ):
            leaves = [jnp.asarray([3.0, 0.0], kind), jnp.asarray(4.0, kind)]
            leaves = [x * jnp.asarray(2.0**power, kind) for x in leaves]
            assert numerics.global_norm(leaves) == 5 * 2.0**power
        mixed = [jnp.asarray(3 * 2.0**110, "float32"), jnp.asarray(4 * 2.0**110, "float64")]
        assert numerics.global_norm(mixed) == 5 * 2.0**110


@pytest.mark.parametrize("power", [-83, 83])
def test_the_gradient_of_a_norm_whose_square_is_out_of_range(power: int) -> None:
    leaves = [jnp.asarray([3.0, 0.0]) * 2.0**power, jnp.asarray(4.0) * 2.0**power]
    slope = jax.jit(jax.grad(numerics.global_norm))(leaves)
    np.testing.assert_allclose(slope[0], [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(slope[1], 0.8, rtol=1e-6)


def test_what_makes_use_of_the_norm_has_its_range() -> None:
    updates = [np.asarray([3e25, 0.0], "float32"), np.asarray([[4e25]], "float32")]
    for skip in ("propagate", "zero", "skip"):
        found, state = clipped(gx.clip_by_global_norm(1.0, on_nonfinite=skip), *updates)
        assert norm_of(found) == pytest.approx(1.0, rel=1e-6)
        assert float(state.norm) == pytest.approx(5e25, rel=1e-6)
    for size in (1e-25, 1.0, 1e25):
        grads = [jnp.asarray([3.0, 0.0]) * size, jnp.asarray([[4.0]]) * size]
        for tx in (gx.normalize_by_global_norm(), gx.with_metrics(gx.normalize_by_global_norm())):
            found, state = tx.update(grads, tx.init(grads), grads)
            np.testing.assert_allclose(found[0], [0.6, 0.0], rtol=1e-6)
            np.testing.assert_allclose(found[1], [[0.8]], rtol=1e-6)
        assert float(gx.metrics(state)["gradient_norm"]) == pytest.approx(5 * size, rel=1e-6)


def test_the_norm_of_zeros_that_the_compiler_knows_is_zero():
    """As in an `init` of zeros inside of a traced function."""
    assert jax.jit(lambda: gx.numerics.global_norm({"w": jnp.zeros(3)}))() == 0.0
