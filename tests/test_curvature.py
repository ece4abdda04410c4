"""The estimates of the Hessian's diagonal: exact where they can be, elsewhere right on average."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import gradxform as gx


def estimates(estimate, params, count):
    """Many independent ones, stacked."""
    keys = jax.random.split(jax.random.key(0), count)
    return jax.jit(jax.vmap(lambda key: estimate(params, key)))(keys)


def assert_mean(samples, expected):
    """The mean is the expected one, within five of its standard errors, all of them small."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(axis=0) / np.sqrt(len(samples))
    assert np.all(error < 0.1 * np.max(abs(expected)))
    assert np.all(abs(samples.mean(axis=0) - expected) < 5 * error + 1e-6)


SCALE = {"a": jnp.array([1.0, -2.0, 0.0]), "b": jnp.array([[4.0], [0.5]])}


def separable(params):
    """A loss without mixed derivatives: scale x²/2 + x³."""
    terms = jax.tree.map(lambda s, x: jnp.sum(0.5 * s * x**2 + x**3), SCALE, params)
    return sum(jax.tree.leaves(terms))


def test_hutchinsons_estimate_is_exact_where_the_hessian_is_diagonal():
    params = jax.tree.map(lambda s: 0.3 * s + 1, SCALE)
    expected = jax.tree.map(lambda s, x: s + 6 * x, SCALE, params)
    for seed in range(3):
        actual = gx.hutchinson(separable)(params, jax.random.key(seed))
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), actual, expected)


def test_hutchinsons_estimate_is_right_on_average():
    """Also for negative curvature, and across arrays."""
    rng = np.random.default_rng(0)
    h = rng.normal(size=(5, 5))
    h = jnp.asarray(h + h.T, "float32")

    def loss(params):
        x = jnp.concatenate([params["a"], params["b"].ravel()])
        return 0.5 * x @ h @ x + jnp.sum(x)

    params = {"a": jnp.ones(2), "b": jnp.ones((3, 1))}
    samples = estimates(gx.hutchinson(loss), params, 20_000)
    assert_mean(samples["a"], np.diag(h)[:2])
    assert_mean(samples["b"][..., 0], np.diag(h)[2:])
    assert np.diag(h).min() < 0 < np.diag(h).max()


def test_leaves_get_signs_of_their_own():
    """Two arrays of one shape: with the same signs in both, mixed derivatives would not cancel."""

    def loss(params):
        return jnp.sum(params["a"] * params["b"])

    params = {"a": jnp.zeros(4), "b": jnp.zeros(4)}
    samples = estimates(gx.hutchinson(loss), params, 2000)["a"]
    assert np.all(abs(np.asarray(samples)) == 1)
    assert np.all(abs(np.mean(samples, 0)) < 5 / np.sqrt(2000))


class Softmax(NamedTuple):
    """A softmax regression: logits = x W + c."""

    weights: jax.Array
    bias: jax.Array


X = jnp.asarray(np.random.default_rng(1).normal(size=(6, 3)), "float32")
MODEL = Softmax(
    jnp.asarray(np.random.default_rng(2).normal(size=(3, 4)), "float32"),
    jnp.array([1.0, 0.0, -1.0, 0.5]),
)


def logits(params):
    return X @ params.weights + params.bias[None]


def gauss_newton_diagonal(params):
    """Σ_b J_bᵀ (diag p_b - p_b p_bᵀ) J_b / B, row by row, from the Jacobian."""
    jacobian = jax.jacobian(logits)(params)
    p = np.asarray(jax.nn.softmax(logits(params)), np.float64)
    inner = np.stack([np.diag(q) - np.outer(q, q) for q in p])

    def diagonal(j):
        flat = np.asarray(j, np.float64).reshape(*p.shape, -1)
        return np.einsum("bci,bcd,bdi->i", flat, inner, flat).reshape(j.shape[2:]) / len(p)

    return jax.tree.map(diagonal, jacobian)


def test_gauss_newton_bartlett_is_the_gauss_newton_diagonal_on_average():
    samples = estimates(gx.gauss_newton_bartlett(logits), MODEL, 40_000)
    expected = gauss_newton_diagonal(MODEL)
    assert_mean(samples.weights, expected.weights)
    assert_mean(samples.bias, expected.bias)
    assert np.min(samples.weights) >= 0


def test_it_is_the_hessian_of_a_model_with_linear_logits():
    """Whatever the labels: there the Gauss-Newton matrix leaves nothing out."""

    def loss(params):
        return jnp.mean(
            optax.softmax_cross_entropy_with_integer_labels(logits(params), jnp.arange(6) % 4)
        )

    hessian = jax.hessian(lambda w: loss(MODEL._replace(weights=w)))(MODEL.weights)
    diagonal = np.diag(np.asarray(hessian).reshape(12, 12)).reshape(3, 4)
    np.testing.assert_allclose(gauss_newton_diagonal(MODEL).weights, diagonal, rtol=1e-4)
    samples = estimates(gx.gauss_newton_bartlett(logits), MODEL, 40_000)
    assert_mean(samples.weights, diagonal)


def test_every_axis_but_the_last_counts_examples():
    """A batch of two sequences of three tokens is six examples."""
    grouped = gx.gauss_newton_bartlett(lambda params: logits(params).reshape(2, 3, 4))
    together = gx.gauss_newton_bartlett(logits)
    a, b = (estimates(f, MODEL, 20_000).weights for f in (grouped, together))
    np.testing.assert_allclose(np.mean(a, 0), np.mean(b, 0), rtol=0.1)


def test_complex_curvature_is_the_mean_over_the_plane():
    """z = x + iy with x² + 3 y²: curvatures 2 and 6."""
    z = {"z": jnp.array([1.0 + 2.0j, -0.5j])}
    loss = lambda p: jnp.sum(p["z"].real ** 2 + 3 * p["z"].imag ** 2)  # noqa: E731
    samples = gx.hutchinson(loss)(z, jax.random.key(0))["z"]
    np.testing.assert_allclose(samples, [4.0, 4.0])
    assert samples.dtype == jnp.float32

    def two_classes(p):
        return jnp.stack([p["z"].real, 0 * p["z"].real], -1)

    samples = estimates(gx.gauss_newton_bartlett(two_classes), z, 20_000)["z"]
    q = np.asarray(jax.nn.sigmoid(z["z"].real), np.float64)
    assert_mean(samples, q * (1 - q) / 2 / 2)  # of two examples, and along one axis of two


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_estimates_of_narrow_parameters(dtype):
    params = jax.tree.map(lambda s: s.astype(dtype), SCALE)
    diagonal = gx.hutchinson(lambda p: 0.5 * sum(jnp.sum(x * x) for x in jax.tree.leaves(p)))
    for x in jax.tree.leaves(diagonal(params, jax.random.key(0))):
        np.testing.assert_array_equal(np.asarray(x, "float32"), 1)
    model = jax.tree.map(lambda x: x.astype(dtype), MODEL)
    inner = gx.gauss_newton_bartlett(lambda p: X.astype(dtype) @ p.weights + p.bias[None])
    found = estimates(inner, model, 2000).weights
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(
        np.mean(found, 0), gauss_newton_diagonal(MODEL).weights, rtol=0.3, atol=0.01
    )


@pytest.mark.parametrize("mode", ["Auto", "Explicit"])
def test_estimates_of_sharded_parameters(mode):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(getattr(jax.sharding.AxisType, mode),))
    sharding = NamedSharding(mesh, PartitionSpec("x"))
    params = {"w": jax.device_put(jnp.arange(16.0).reshape(8, 2), sharding)}
    tx = gx.sophia(0.1)
    fn = gx.hutchinson(lambda p: jnp.sum(p["w"] ** 3))
    state = tx.init(params)
    step = jax.jit(lambda g, s, p: tx.update(g, s, p, hessian_fn=fn))
    _, after = step(params, state, params)
    nu = optax.tree.get(after, "nu")["w"]
    np.testing.assert_allclose(nu, 0.01 * 6 * np.arange(16.0).reshape(8, 2), rtol=1e-6)
    assert nu.sharding.is_equivalent_to(sharding, 2)


def test_bad_input():
    for make in (gx.hutchinson, gx.gauss_newton_bartlett):
        with pytest.raises(TypeError, match="takes a function of the parameters; got"):
            make(1.0)
