"""What clipping, centralization, normalization and noise promise, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import assert_equal, normal
from steps import distance, first, inputs, updates_of

import gradxform as gx


def norms(tree):
    return [float(np.linalg.norm(x)) for x in jax.tree.leaves(tree)]


# Clipping


def test_each_array_has_at_most_the_norm_and_keeps_its_direction():
    grads = {"short": jnp.asarray([0.3, -0.4]), "long": normal((4, 3)), "none": jnp.zeros((0, 2))}
    updates = first(gx.clip_by_block_norm(0.7), grads)
    assert_equal(updates["short"], grads["short"])
    assert np.linalg.norm(updates["long"]) == pytest.approx(0.7, rel=1e-6)
    ratio = updates["long"] / grads["long"]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-6)


def test_each_array_has_at_most_the_root_mean_square():
    grads = [5 * normal((40, 30)), 0.1 * normal((7,)), jnp.zeros((0, 3))]
    long, short, empty = first(gx.clip_by_block_rms(), grads)
    assert np.sqrt(np.mean(np.square(long))) == pytest.approx(1.0, rel=1e-6)
    assert_equal(short, grads[1])
    assert empty.shape == (0, 3)


def test_a_wild_array_does_not_slow_down_the_others():
    grads = [jnp.asarray([0.6]), jnp.asarray([1e6])]
    assert_equal(first(gx.clip_by_block_norm(1.0), grads)[0], grads[0])
    assert float(first(gx.clip_by_global_norm(1.0), grads)[0][0]) < 1e-6
    broken = [jnp.asarray([0.6]), jnp.asarray([jnp.nan])]
    assert_equal(first(gx.clip_by_block_norm(1.0), broken)[0], broken[0])


@pytest.mark.parametrize(
    ("shape", "unit"),
    [
        ((6, 4), (0,)),  # a linear layer: in, out
        ((6, 3, 2), (0,)),  # a projection to heads
        ((3, 3, 6, 4), (0, 1, 2)),  # a convolution
        ((2, 3, 3, 6, 4), (0, 1, 2, 3)),
        ((6,), (0,)),
        ((1, 6), (0, 1)),  # a vector with one axis more
        ((), ()),
    ],
)
def test_each_unit_has_at_most_a_fraction_of_its_weights_norm(shape, unit):
    weights, grads = normal(shape), 0.02 * normal(shape, seed=1)
    updates = first(gx.adaptive_gradient_clip(0.01, eps=1e-3), grads, weights)

    def unit_norms(x):
        return np.sqrt(np.sum(np.square(x, dtype=float), axis=unit, keepdims=True))

    expected = np.minimum(unit_norms(grads), 0.01 * np.maximum(unit_norms(weights), 1e-3))
    np.testing.assert_allclose(unit_norms(updates), expected, rtol=1e-5)
    factors = np.asarray(updates / grads)
    np.testing.assert_allclose(
        factors, np.broadcast_to(factors.max(unit, keepdims=True), shape), 1e-6
    )
    assert np.any(factors < 0.9)


def test_units_that_start_at_zero_move_by_eps():
    updates = first(gx.adaptive_gradient_clip(0.1, eps=0.2), jnp.asarray([3.0, 4.0]))
    np.testing.assert_allclose(updates, 0.1 * 0.2 * np.asarray([0.6, 0.8]), rtol=1e-6)


@pytest.mark.parametrize("axis", ["0", 0.5, (0, 1.5), True, [0, False]])
def test_an_axis_is_a_whole_number_or_several(axis):
    with pytest.raises(
        ValueError, match=r"`centralize_gradients\(axis=.*\)`: `axis` must be a whole"
    ):
        gx.centralize_gradients(axis=axis)
    assert gx.centralize_gradients(axis=[0]) == gx.centralize_gradients(axis=(0,))
    assert repr(gx.centralize_gradients(axis=(0, 1.0))) == "centralize_gradients(axis=(0, 1))"


def test_an_axis_must_exist():
    tx = gx.adaptive_gradient_clip(axis=2)
    with pytest.raises(ValueError, match=r"adaptive_gradient_clip.*`axis=2` does not exist in an"):
        first(tx, jnp.ones((2, 2)))
    assert first(tx, jnp.ones(2)).shape == (2,)  # a vector is one unit in every layout


# Infinity and NaN in the global norm

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("choice", "bad", "expected", "norm", "clipped_steps"),
    [
        ("propagate", INF, [[0.0, 0.0], [NAN]], INF, 1),
        ("propagate", NAN, [[NAN, NAN], [NAN]], NAN, 1),
        ("zero", INF, [[0.6, 0.8], [0.0]], 5.0, 1),
        ("zero", NAN, [[0.6, 0.8], [0.0]], 5.0, 1),
        ("skip", INF, [[0.0, 0.0], [0.0]], INF, 1),
        ("skip", NAN, [[0.0, 0.0], [0.0]], NAN, 1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_not_finite(choice, bad, expected, norm, clipped_steps, dtype):
    tx = gx.clip_by_global_norm(1.0, on_nonfinite=choice)
    grads = [jnp.asarray([3.0, 4.0], dtype), jnp.asarray([bad], dtype)]
    updates, state = tx.update(grads, tx.init(grads))
    for u, e in zip(updates, expected, strict=True):
        np.testing.assert_allclose(np.asarray(u, "float32"), e, rtol=1e-2)
    np.testing.assert_array_equal(state.norm, np.float32(norm))
    assert int(state.clipped_steps) == clipped_steps


@pytest.mark.parametrize("choice", ["propagate", "zero", "skip"])
def test_what_is_finite_is_clipped_alike(choice):
    tx = gx.clip_by_global_norm(0.7, on_nonfinite=choice)
    expected = updates_of(gx.clip_by_global_norm(0.7), *inputs())
    assert distance(updates_of(tx, *inputs()), expected) == 0


def test_there_are_three_choices():
    with pytest.raises(ValueError, match=r"must be one of 'propagate', 'zero', 'skip'; got 'no'"):
        gx.clip_by_global_norm(1.0, on_nonfinite="no")


# Means and lengths


def test_a_centralized_gradient_has_no_mean_over_the_inputs():
    grads = [normal((6, 4)), normal((3, 3, 6, 4)), normal((6,)), jnp.float32(2.0)]
    once = first(gx.centralize_gradients(), grads)
    np.testing.assert_allclose(np.mean(once[0], 0), 0, atol=1e-7)
    np.testing.assert_allclose(np.mean(once[1], (0, 1, 2)), 0, atol=1e-7)
    assert np.max(np.abs(np.mean(once[0], 1))) > 0.01
    assert_equal(once[2:], grads[2:])
    twice = first(gx.centralize_gradients(), once)
    np.testing.assert_allclose(twice[1], once[1], atol=1e-7)


def test_a_normalized_gradient_has_length_one():
    grads = [1e-12 * normal((6, 4)), 1e-12 * normal((3,))]
    updates = first(gx.normalize_by_global_norm(), grads)
    assert np.hypot(*norms(updates)) == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_allclose(updates[1] / grads[1], updates[0][0, 0] / grads[0][0, 0], 1e-6)


# Noise


def noise_of(tx, shape, steps=1, seed=None):
    """What is added to gradients of zeros, step by step."""
    zeros = {"a": jnp.zeros(shape), "b": jnp.zeros(shape)}
    state = tx.init(zeros)
    if seed is not None:
        state = state._replace(seed=jnp.int32(seed))
    updates = []
    for _ in range(steps):
        update, state = tx.update(zeros, state)
        updates.append(update)
    return updates


def test_the_noise_is_normal_with_the_variance_of_its_step():
    n = 100_000
    for t, step in enumerate(noise_of(gx.add_gradient_noise(0.3, 0.8, seed=3), (n,), steps=4)):
        sigma = np.sqrt(0.3 / (1 + t) ** 0.8)
        for x in step.values():  # five standard errors each
            z = np.asarray(x, np.float64) / sigma
            assert abs(np.mean(z)) < 5 / np.sqrt(n)
            assert abs(np.mean(z**2) - 1) < 5 * np.sqrt(2 / n)
            assert abs(np.mean(z**3)) < 5 * np.sqrt(15 / n)
            assert abs(np.mean(z**4) - 3) < 5 * np.sqrt(96 / n)


def test_the_noise_differs_from_step_to_step_and_from_array_to_array():
    n = 100_000
    (a, b), (c, d) = (step.values() for step in noise_of(gx.add_gradient_noise(1.0), (n,), 2))
    for x, y in ((a, b), (a, c), (b, c), (a, d)):
        assert abs(np.corrcoef(x, y)[0, 1]) < 5 / np.sqrt(n)


def test_the_noise_is_a_function_of_the_seed():
    tx = gx.add_gradient_noise(1.0, seed=3)
    assert_equal(noise_of(tx, (5,), 3), noise_of(gx.add_gradient_noise(1.0, seed=3), (5,), 3))
    other = noise_of(gx.add_gradient_noise(1.0, seed=4), (5,))
    assert np.all(other[0]["a"] != noise_of(tx, (5,))[0]["a"])
    assert_equal(noise_of(tx, (5,), 1, seed=4), other)
    seeds = jax.vmap(lambda seed: noise_of(tx, (5,), 1, seed)[0]["a"])(jnp.arange(3, 5))
    assert_equal(seeds[1], other[0]["a"])
    with pytest.raises(ValueError, match=r"seed=2147483648.*`seed` must be at most 2147483647"):
        gx.add_gradient_noise(seed=2**31)


def test_the_noise_goes_on_where_a_restored_state_stopped():
    tx, zeros = gx.add_gradient_noise(1.0, seed=3), {"a": jnp.zeros(5), "b": jnp.zeros(5)}
    _, state = tx.update(zeros, tx.init(zeros))
    restored = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), state)
    assert_equal(tx.update(zeros, restored)[0], noise_of(tx, (5,), 2)[1])


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_the_noise_is_the_same_in_every_dtype(dtype):
    with jax.enable_x64(dtype == "float64"):
        zeros, wide = jnp.zeros(100, dtype), jnp.zeros(100, "float32")
        noise, expected = (first(gx.add_gradient_noise(1.0), x) for x in (zeros, wide))
        np.testing.assert_allclose(np.asarray(noise, "float64"), expected, rtol=2**-8)
        assert noise.dtype == dtype


def test_complex_noise_shares_its_variance_between_the_parts():
    n = 100_000
    z = np.asarray(first(gx.add_gradient_noise(1.0), jnp.zeros(n, "complex64")))
    assert z.dtype == "complex64"
    for part in (z.real, z.imag):
        assert abs(np.mean(part**2) - 0.5) < 5 * 0.5 * np.sqrt(2 / n)
    assert abs(np.corrcoef(z.real, z.imag)[0, 1]) < 5 / np.sqrt(n)
