"""Sharpness-aware minimization, as a gradient function and as a wrapper."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx


def bowl(params):
    """Half the squared length: its gradient is the point itself."""
    return 0.5 * sum(jnp.sum(jnp.abs(p) ** 2) for p in jax.tree.leaves(params))


def both_ways(params, rho, **kwargs):
    """The gradient that an optimizer gets: by the function, and by the wrapper."""
    grad_fn = jax.grad(bowl)
    _, grads = gx.sam_value_and_grad(bowl, rho, **kwargs)(params)
    tx = gx.sam(gx.identity(), rho=rho, **kwargs)
    updates, _ = tx.update(grad_fn(params), tx.init(params), params, grad_fn=grad_fn)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), updates, grads)
    return grads


def test_by_hand():
    """g = w = (3, 4), |g| = 5, ε = (0.6, 0.8): over all arrays together."""
    grads = both_ways({"a": jnp.asarray([3.0]), "b": jnp.asarray(4.0)}, 1.0)
    np.testing.assert_allclose(grads["a"], [3.6], rtol=1e-6)
    np.testing.assert_allclose(grads["b"], 4.8, rtol=1e-6)


def test_adaptive_by_hand():
    """w = g = (1, -2), T = (1.5, 2.5), T g = (1.5, -5), ε = ρ (2.25, -12.5) / |T g|."""
    grads = both_ways({"a": jnp.asarray([1.0, -2.0])}, 0.5, adaptive=True, eta=0.5)
    norm = np.hypot(1.5, 5.0)
    np.testing.assert_allclose(grads["a"], [1 + 1.125 / norm, -2 - 6.25 / norm], rtol=1e-6)


def test_adaptive_sam_does_not_see_the_scale_of_a_layer():
    """f(a, b) = (a b - 1)²: with (c a, b / c) the neighbourhood is the same, up to η."""

    def sharpness(c, adaptive):
        f = lambda w: (w[0] * w[1] - 1.0) ** 2 + w[0] * w[1]  # noqa: E731
        w = jnp.asarray([0.5 * c, 0.8 / c])
        first = jax.grad(f)(w)
        climbed = {}

        def record(v):
            climbed["loss"] = f(v)
            return jax.grad(f)(v)

        tx = gx.sam(gx.identity(), rho=0.1, adaptive=adaptive, eta=0.0)
        tx.update(first, tx.init(w), w, grad_fn=record)
        return float(climbed["loss"])

    assert sharpness(10.0, True) == pytest.approx(sharpness(1.0, True), rel=1e-5)
    assert sharpness(10.0, False) != pytest.approx(sharpness(1.0, False), rel=1e-2)


def test_the_step_is_longer_than_rho_in_no_direction():
    """|ε| = ρ, along the gradient, for any loss."""
    seen = {}

    def grad_fn(params):
        seen["at"] = params
        return params

    params = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(())}
    g = {"a": jnp.cos(params["a"]), "b": jnp.asarray(-2.0)}
    tx = gx.sam(gx.identity(), rho=0.3)
    tx.update(g, tx.init(params), params, grad_fn=grad_fn)
    climb = jax.tree.map(lambda a, b: a - b, seen["at"], params)
    assert optax.tree.norm(climb) == pytest.approx(0.3, rel=1e-5)
    np.testing.assert_allclose(climb["b"] / climb["a"], g["b"] / g["a"], rtol=1e-4)


def quartic(params, batch):
    return jnp.mean((params["w"] ** 2 @ batch + params["b"]) ** 2)


def problem():
    rng = np.random.default_rng(0)
    params = {"w": jnp.asarray(rng.normal(size=4), "float32"), "b": jnp.float32(0.3)}
    return params, jnp.asarray(rng.normal(size=(5, 4, 8)), "float32")


@pytest.mark.parametrize("rho", [0.05, 0.5])
def test_optax_in_opaque_mode(rho):
    params, batches = problem()
    theirs = optax.contrib.sam(
        optax.adam(0.05),
        optax.chain(optax.contrib.normalize(), optax.sgd(rho)),
        opaque_mode=True,
    )
    tx = gx.sam(gx.adam(0.05), rho=rho)
    other_params, state, other = params, tx.init(params), theirs.init(params)
    for batch in batches:
        grad_fn = jax.grad(functools.partial(quartic, batch=batch))
        updates, state = tx.update(grad_fn(params), state, params, grad_fn=grad_fn)
        params = gx.apply_updates(params, updates)
        steps, other = theirs.update(
            grad_fn(other_params), other, other_params, grad_fn=lambda p, _, fn=grad_fn: fn(p)
        )
        other_params = optax.apply_updates(other_params, steps)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
        jax.tree.map(close, params, other_params)


def test_a_gradient_of_zero_climbs_nowhere():
    """optax's is NaN from there on."""
    params = {"w": jnp.ones(3)}
    zero = jax.tree.map(jnp.zeros_like, params)
    tx = gx.sam(gx.sgd(0.1))
    updates, _ = tx.update(zero, tx.init(params), params, grad_fn=lambda p: p)
    np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-6)
    for adaptive in (False, True):
        value, grads = gx.sam_value_and_grad(lambda p: 0.0 * jnp.sum(p), adaptive=adaptive)(
            jnp.ones(3)
        )
        assert value == 0.0
        np.testing.assert_array_equal(grads, 0.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_norm_is_taken_in_float32(dtype):
    """The squares of these gradients overflow float16; the climb is still ρ long."""
    params, seen = jnp.zeros(1000, dtype), []
    tx = gx.sam(gx.identity(), rho=2.0)
    tx.update(
        jnp.full(1000, 300.0, dtype), tx.init(params), params, grad_fn=lambda p: seen.append(p) or p
    )
    assert seen[0].dtype == dtype
    np.testing.assert_allclose(np.asarray(seen[0], float), 2 / np.sqrt(1000), rtol=1e-2)


# The gradient function


def test_it_is_value_and_grad_without_a_distance():
    params, batches = problem()
    value, grads = gx.sam_value_and_grad(quartic, 0.0)(params, batch=batches[0])
    expected, exact = jax.value_and_grad(quartic)(params, batch=batches[0])
    assert value == expected
    jax.tree.map(np.testing.assert_array_equal, grads, exact)


def test_the_value_and_what_comes_with_it_are_those_of_the_parameters():
    def loss(params, batch):
        return quartic(params, batch), {"at": params["b"]}

    params, batches = problem()
    (value, aux), grads = gx.sam_value_and_grad(loss, 0.3, has_aux=True)(params, batches[0])
    assert value == pytest.approx(float(quartic(params, batches[0])))
    assert aux["at"] == params["b"]
    _, expected = gx.sam_value_and_grad(quartic, 0.3)(params, batches[0])
    jax.tree.map(np.testing.assert_array_equal, grads, expected)


def test_argnums():
    """Several arguments are one point: the norm is over all of them."""
    a, b = jnp.asarray([3.0]), jnp.asarray([4.0])
    f = lambda a, s, b: s * bowl((a, b))  # noqa: E731
    value, (da, db) = gx.sam_value_and_grad(f, 1.0, argnums=(0, 2))(a, 1.0, b)
    assert value == 12.5
    np.testing.assert_allclose([da[0], db[0]], [3.6, 4.8], rtol=1e-6)
    _, db = gx.sam_value_and_grad(f, 1.0, argnums=2)(a, 1.0, b)
    np.testing.assert_allclose(db, [5.0], rtol=1e-6)


def test_in_a_compiled_training_step_with_a_traced_distance():
    params, batches = problem()
    tx = gx.adam(0.05)

    @jax.jit
    def train(params, rho):
        def step(carry, batch):
            params, state = carry
            value, grads = gx.sam_value_and_grad(quartic, rho, adaptive=True)(params, batch)
            updates, state = tx.update(grads, state, params)
            return (gx.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, tx.init(params)), batches)[1]

    rhos = jnp.asarray([0.0, 0.1])
    together = jax.vmap(train, in_axes=(None, 0))(params, rhos)
    for values, rho in zip(together, rhos, strict=True):
        np.testing.assert_allclose(values, train(params, rho), rtol=1e-4)
    assert abs(together[0, -1] - together[1, -1]) > 1e-4


# The wrapper


def test_the_distance_may_be_scheduled_and_tuned():
    tx = gx.sam(gx.sgd(1.0), rho=gx.linear_schedule(1.0, 0.0, 2))
    params = {"w": jnp.asarray([3.0, 4.0])}
    state = tx.init(params)
    for rho in (1.0, 0.5, 0.0):
        updates, state = tx.update(params, state, params, grad_fn=lambda p: p)
        np.testing.assert_allclose(updates["w"], -(1 + rho / 5) * params["w"], rtol=1e-6)
        assert gx.hyperparams(state)["rho"] == rho


def test_missing_leaves_and_groups():
    params = {"a": jnp.asarray([3.0]), "b": None, "c": jnp.asarray([4.0])}
    tx = gx.sam(gx.identity(), rho=1.0)
    given = {**params, "c": None}
    updates, _ = tx.update(given, tx.init(params), params, grad_fn=lambda p: p)
    assert updates["b"] is None
    assert updates["c"] is None
    np.testing.assert_allclose(updates["a"], [4.0])
    del params["b"]
    group = gx.masked(tx, gx.select.path("a"))
    updates, _ = group.update(params, group.init(params), params, grad_fn=lambda p: p)
    np.testing.assert_allclose([updates["a"][0], updates["c"][0]], [4.0, 4.0])


def test_the_gradient_function_is_asked_for():
    params = {"w": jnp.ones(2)}
    tx = gx.sam(gx.sgd(0.1))
    state = tx.init(params)
    with pytest.raises(
        TypeError, match=r"`sam` needs `grad_fn`: call `update\(.*grad_fn=\.\.\.\)`"
    ):
        tx.update(params, state, params)
    with pytest.raises(ValueError, match=r"`grad_fn` is a function from parameters to gradients"):
        tx.update(params, state, params, grad_fn=params)
    with pytest.raises(ValueError, match=r"`sam\(...\).update`: leaf `v` is .* missing"):
        tx.update(params, state, params, grad_fn=lambda p: {"v": p["w"]})
    with pytest.raises(ValueError, match=r"`sam\(...\).update`: leaf `w` is float32\[1\]"):
        tx.update(params, state, params, grad_fn=lambda p: {"w": p["w"][:1]})
    with pytest.raises(ValueError, match=r"returned Array\(2.*Is it the loss, without `jax.grad`"):
        tx.update(params, state, params, grad_fn=lambda p: jnp.sum(p["w"]))
    w, alone = params["w"], gx.sam(gx.identity())
    bare = alone.update(w, alone.init(w), w, grad_fn=lambda p: 2 * p)
    np.testing.assert_allclose(bare[0], 2 * (1 + 0.05 / np.sqrt(2)), rtol=1e-6)


def test_the_loss_scale_goes_around_it():
    """`grad_fn` gives gradients of the loss itself, which nothing behind it may divide."""
    with pytest.raises(ValueError, match=r"holds `dynamic_loss_scale`.*`dynamic_loss_scale\(sam"):
        gx.sam(gx.chain(gx.dynamic_loss_scale(gx.sgd(0.1))))
    params = {"w": jnp.asarray([3.0, -4.0])}

    def loss_fn(params, batch):
        return 0.5 * batch * jnp.sum(params["w"] ** 2)

    tx = gx.dynamic_loss_scale(gx.sam(gx.sgd(0.1), rho=1.0))
    step = gx.make_train_step(loss_fn, tx)
    state, _ = step(gx.TrainState.create(tx, params), jnp.float32(2.0))
    # w - 0.1 * 2 (w + w / |w|)
    np.testing.assert_allclose(state.params["w"], (1 - 0.2 * 1.2) * params["w"], rtol=1e-6)


def test_bad_distances():
    for make in (
        functools.partial(gx.sam, gx.sgd(0.1)),
        functools.partial(gx.sam_value_and_grad, bowl),
    ):
        with pytest.raises(ValueError, match="`rho` must be at least 0"):
            make(rho=-0.1)
        with pytest.raises(ValueError, match="`eta` must be at least 0"):
            make(eta=-0.1, adaptive=True)
