"""Scalar and array arithmetic against float64."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import awkward

from gradxform import numerics

pytestmark = pytest.mark.usefixtures("strict_dtypes")

STEPS = np.unique(np.geomspace(1, 10**6, 60).astype(int))
DECAYS = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999999]


def exact_correction(decay: float) -> np.ndarray:
    """1 - decay^t to the last digit of float64."""
    with np.errstate(divide="ignore"):
        return -np.expm1(STEPS * np.log(np.float64(decay)))


@pytest.mark.parametrize("decay", DECAYS)
def test_bias_correction_of_a_constant(decay: float) -> None:
    found = jax.jit(lambda t: numerics.bias_correction(decay, t))(jnp.asarray(STEPS, jnp.int32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact_correction(decay), rtol=1e-6)


@pytest.mark.parametrize("decay", DECAYS)
def test_bias_correction_of_a_traced_decay(decay: float) -> None:
    rounded = np.float32(decay)
    found = jax.jit(numerics.bias_correction)(jnp.float32(rounded), jnp.asarray(STEPS, jnp.int32))
    np.testing.assert_allclose(found, exact_correction(float(rounded)), rtol=1e-6)


def test_bias_correction_in_float64() -> None:
    with jax.enable_x64(True):
        for decay in (0.9, 0.999999, jnp.float64(0.999)):
            found = numerics.bias_correction(decay, jnp.asarray(STEPS))
            np.testing.assert_allclose(found, exact_correction(float(decay)), rtol=1e-13)


def test_an_average_of_one_value_is_that_value_once_corrected() -> None:
    decay, total, average = 0.999, 5000, jnp.float32(0.0)

    def step(average: Any, t: Any) -> Any:
        average = numerics.ema(average, jnp.float32(3.0), decay)
        return average, average / numerics.bias_correction(decay, t)

    _, corrected = jax.lax.scan(step, average, jnp.arange(1, total + 1))
    np.testing.assert_allclose(corrected, 3.0, rtol=2e-5)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int8"])
def test_counters_stay_at_their_last_value(dtype: str) -> None:
    last = np.iinfo(dtype).max
    for count, after in ((0, 1), (41, 42), (last - 1, last), (last, last)):
        found = numerics.increment(jnp.asarray(count, dtype))
        assert (found.dtype, int(found)) == (jnp.dtype(dtype), after)


@pytest.mark.parametrize(
    ("a", "b", "wider"),
    [
        ("float32", "float32", "float32"),
        ("bfloat16", "float16", "float32"),
        ("bfloat16", "float32", "float32"),
        ("float16", "float64", "float64"),
        ("float32", "float64", "float64"),
        ("float32", "complex64", "complex64"),
        ("float64", "complex64", "complex128"),
        ("float8_e4m3fn", "bfloat16", "float32"),
        ("float8_e4m3fn", "float32", "float32"),
    ],
)
def test_the_wider_of_two_dtypes(a: str, b: str, wider: str) -> None:
    assert numerics.widest(a, b) == numerics.widest(b, a) == jnp.dtype(wider)


def test_division_by_zero_is_zero_and_differentiable() -> None:
    x, y = jnp.asarray([0.0, 3.0, -2.0]), jnp.asarray([0.0, 0.0, 4.0])
    np.testing.assert_array_equal(numerics.divide(x, y), [0.0, 0.0, -0.5])
    slopes = jax.grad(lambda x, y: jnp.sum(numerics.divide(x, y)), argnums=(0, 1))(x, y)
    np.testing.assert_allclose(slopes, [[0, 0, 0.25], [0, 0, 0.125]])


def test_global_norm() -> None:
    tree = awkward()
    exact = math.sqrt(sum(np.sum(np.asarray(x, "float64") ** 2) for x in jax.tree.leaves(tree)))
    assert float(numerics.global_norm(tree)) == pytest.approx(exact, rel=1e-6)
    assert float(numerics.global_norm({})) == 0.0
    assert float(numerics.global_norm([jnp.asarray([3 + 4j]), jnp.asarray([12.0])])) == 13.0
    mixed = [jnp.full(1000, 300.0, "float16"), jnp.full(1000, 400.0, "bfloat16")]
    assert float(numerics.global_norm(mixed)) == pytest.approx(500 * 1000**0.5, rel=1e-6)


def test_filled_like_keeps_type_and_shape() -> None:
    for x in jax.tree.leaves(awkward("bfloat16")):
        for filled in (numerics.filled_like(x, 2), jax.jit(numerics.filled_like)(x, 2)):
            assert (filled.shape, filled.dtype, filled.weak_type) == (x.shape, x.dtype, False)
            assert np.all(np.asarray(filled, "float32") == 2)
    assert float(numerics.filled_like(jnp.float32(np.nan), 2.0)) == 2.0
