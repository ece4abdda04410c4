"""Sophia, and its estimates of the Hessian's diagonal."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from downhill import found
from jax.sharding import NamedSharding, PartitionSpec
from steps import inputs, updates_of

import gradxform as gx

# Estimates


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


# The update


def test_newtons_step_where_the_curvature_is_known():
    """Without memory, on a separable quadratic, one step reaches the minimum."""
    scale, target = jnp.array([1.0, 30.0, 0.2]), jnp.array([0.5, -0.1, 0.9])
    loss = lambda x: 0.5 * jnp.sum(scale * (x - target) ** 2)  # noqa: E731
    tx, x = gx.scale_by_sophia(0.0, 0.0, gamma=1.0, clip_threshold=2.0), jnp.zeros(3)
    u, state = tx.update(jax.grad(loss)(x), tx.init(x), x, hessian_fn=gx.hutchinson(loss))
    np.testing.assert_allclose(x - u, target, rtol=1e-6)
    assert float(state.win_rate) == 1.0


def test_clipped_steps_have_one_length_whatever_the_curvature():
    """Flat, and curved the wrong way: the sign of the momentum, as in Lion."""
    tx, x = gx.scale_by_sophia(0.0, 0.0, gamma=1.0, clip_threshold=0.25), jnp.zeros(4)
    g = jnp.array([1.0, -1e-8, 1e-6, 0.0])
    u, state = tx.update(
        g, tx.init(x), x, hessian_fn=lambda p, key: jnp.array([0.0, 0.0, -3.0, -1.0])
    )
    np.testing.assert_allclose(u, [0.25, -0.25, 0.25, 0.0])
    assert float(state.win_rate) == 0.25  # the gradient of zero counts as not clipped


def test_the_first_moment_is_not_corrected_and_the_first_estimate_counts_at_once():
    """As in the paper. optax corrects the moment, and divides by the estimates before this one."""
    x = g = jnp.array([0.2, -0.1])
    ones = lambda p, key: jnp.ones(2)  # noqa: E731
    ours = gx.scale_by_sophia(0.5, 0.0, gamma=1.0)
    u, _ = ours.update(g, ours.init(x), x, hessian_fn=ones)
    np.testing.assert_allclose(u, 0.5 * g, rtol=1e-6)
    diagonal = optax.GradientTransformation(lambda p: (), lambda u, s, p=None: (jnp.ones(2), s))
    theirs = optax.contrib.sophia(
        1.0, 0.5, 0.0, gamma=1.0, weight_decay=0.0, hessian_diagonal_fn=diagonal
    )
    v, state = theirs.update(g, theirs.init(x), x)
    np.testing.assert_allclose(v, -jnp.sign(g))
    v, _ = theirs.update(g, state, x)
    np.testing.assert_allclose(v, -g, rtol=1e-6)


@pytest.mark.parametrize("interval", [1, 3])
def test_optax_one_estimate_later(interval):
    """Without momentum: theirs, shown the parameters a step early, divides by the same h."""
    grads, params = inputs()
    size = lambda p: jax.tree.map(lambda x: jnp.square(x) - 0.1, p)  # noqa: E731
    settings = {"b1": 0.0, "b2": 0.7, "eps": 0.05, "gamma": 0.5, "clip_threshold": 0.7}
    settings |= {"learning_rate": 0.1, "weight_decay": 0.0}
    ours = updates_of(
        gx.sophia(**settings, interval=interval),
        grads,
        params,
        hessian_fn=jax.tree_util.Partial(lambda p, key: size(p)),
    )
    diagonal = optax.GradientTransformation(lambda p: (), lambda u, s, p=None: (size(p), s))
    theirs = optax.contrib.sophia(
        **settings, update_interval=interval, hessian_diagonal_fn=diagonal
    )
    if interval == 1:
        early = updates_of(theirs, [grads[0], *grads], [*params, params[0]])[1:]
    else:  # an estimate made at step t is used from t + 1 on, until that of t + 3
        early = updates_of(theirs, grads, params)
        ours, early = ([u for t, u in enumerate(x) if t % 3] for x in (ours, early))
    for a, b in zip(ours, early, strict=True):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), a, b)


# The estimate is made every k steps, and only then


def counted(calls):
    """An estimate that counts how often it is really computed."""

    def hessian_fn(params, key):
        jax.debug.callback(lambda: calls.append(1))
        return jax.tree.map(jnp.ones_like, params)

    return hessian_fn


@pytest.mark.parametrize("batched", [False, True], ids=["alone", "vmap"])
def test_other_steps_do_not_pay(batched):
    """Also with a batch of trainings, as long as they keep in step."""
    calls, tx = [], gx.sophia(gx.tunable(0.1), interval=4)

    def train(x, rate):
        def step(carry, _):
            x, state = carry
            u, state = tx.update(x, state, x, hessian_fn=counted(calls))
            return (gx.apply_updates(x, u), state), None

        state = gx.set_hyperparams(tx.init(x), learning_rate=rate)
        return jax.lax.scan(step, (x, state), length=10)[0]

    if batched:
        jax.block_until_ready(jax.jit(jax.vmap(train))(jnp.ones((3, 2)), jnp.ones(3)))
    else:
        jax.block_until_ready(jax.jit(train)(jnp.ones(2), 1.0))
    jax.effects_barrier()
    assert len(calls) == 3  # at steps 0, 4 and 8


def test_a_batch_of_states_pays_when_one_of_them_is_due():
    """States with an axis of their own, as in a search over hyperparameters step by step."""
    calls, tx = [], gx.scale_by_sophia(interval=4)
    x = jnp.ones((2, 3, 5))

    @jax.jit
    @jax.vmap
    @jax.vmap
    def update(state, x):
        return tx.update(x, state, x, hessian_fn=counted(calls))[1]

    state = jax.vmap(jax.vmap(tx.init))(x)
    for expected in (1, 1, 1, 1, 2, 2):
        state = update(state, x)
        jax.effects_barrier()
        assert len(calls) == expected
    state = state._replace(count=state.count.at[0, 1].set(8))
    jax.block_until_ready(update(state, x))
    jax.effects_barrier()
    assert len(calls) == 3


def test_members_of_a_batch_may_be_at_different_steps():
    """All of them compute it then, and each is as if alone."""
    tx = gx.scale_by_sophia(0.5, 0.5, gamma=1.0, interval=3)
    fn = gx.hutchinson(lambda x: jnp.sum(x**4))
    x = jnp.array([0.3, -0.7])
    states = [tx.init(x)]
    for _ in range(4):
        states.append(tx.update(x, states[-1], x, hessian_fn=fn)[1])
    stacked = jax.tree.map(lambda *s: jnp.stack(s), *states)
    update = functools.partial(tx.update, hessian_fn=fn)
    together = jax.vmap(update, in_axes=(None, 0, None))(2 * x, stacked, x)
    for i, state in enumerate(states):
        alone = update(2 * x, state, x)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-6), together, alone
        )


def test_gradients_pass_through_the_training():
    """For a learning rate that is learned, say: the condition has none itself."""

    def trained(rate):
        tx, x = gx.sophia(gx.tunable(rate), gamma=1.0, interval=2), jnp.array([0.3, -0.7])
        loss = lambda x: jnp.sum(jnp.square(x))  # noqa: E731

        def step(carry, _):
            x, state = carry
            u, state = tx.update(jax.grad(loss)(x), state, x, hessian_fn=gx.hutchinson(loss))
            return (gx.apply_updates(x, u), state), None

        (x, _), _ = jax.lax.scan(step, (x, tx.init(x)), length=5)
        return loss(x)

    slope = (trained(0.1 + 1e-3) - trained(0.1 - 1e-3)) / 2e-3
    assert float(jax.grad(trained)(0.1)) == pytest.approx(float(slope), rel=1e-2)
    np.testing.assert_allclose(jax.vmap(jax.grad(trained))(jnp.full(2, 0.1)), slope, rtol=1e-2)


def test_each_estimate_has_a_key_of_its_own_and_the_seed_decides():
    def keys(seed, steps=5):
        tx, x, seen = gx.scale_by_sophia(interval=2, seed=seed), jnp.ones(1), []

        def hessian_fn(params, key):
            seen.append(jax.random.key_data(key).tolist())
            return params

        state = tx.init(x)
        with jax.disable_jit():
            for _ in range(steps):
                _, state = tx.update(x, state, x, hessian_fn=hessian_fn)
        return seen

    assert len(keys(0)) == 3
    assert len({str(key) for key in keys(0)}) == 3
    assert keys(0) == keys(0) != keys(1)


def test_win_rate():
    tx, x = gx.sophia(0.1, b1=0.0, b2=0.0, gamma=1.0), {"a": jnp.ones(3), "b": jnp.ones(1)}
    state = tx.init(x)
    assert found(state, "win_rate") == 0.0
    ones = lambda p, key: jax.tree.map(jnp.ones_like, p)  # noqa: E731
    grads = {"a": jnp.array([0.5, 2.0, -0.9]), "b": jnp.array([-3.0])}
    _, state = tx.update(grads, state, x, hessian_fn=ones)
    assert found(state, "win_rate") == 0.5


# Bad input


def test_the_hessian_is_asked_for():
    x = jnp.ones(2)
    for tx in (gx.sophia(0.1), gx.scale_by_sophia()):
        state = tx.init(x)
        with pytest.raises(TypeError, match=r"needs `hessian_fn`: call `update\(.*hessian_fn="):
            tx.update(x, state, x)
        with pytest.raises(ValueError, match=r"`hessian_fn` is a function .*`hutchinson`"):
            tx.update(x, state, x, hessian_fn=x)
        with pytest.raises(ValueError, match=r"must return a tree like the parameters"):
            tx.update(x, state, x, hessian_fn=lambda p, key: {"w": p})
        with pytest.raises(ValueError, match=r"it has the shapes \(3,\), they have \(2,\)"):
            tx.update(x, state, x, hessian_fn=lambda p, key: jnp.ones(3))
    for make in (gx.hutchinson, gx.gauss_newton_bartlett):
        with pytest.raises(TypeError, match="takes a function of the parameters; got"):
            make(1.0)


def test_missing_leaves_stay_missing():
    params = {"a": jnp.ones(2), "b": None, "c": jnp.ones(2)}
    grads = {"a": jnp.ones(2), "b": None, "c": None}
    tx = gx.sophia(0.1)
    fn = gx.hutchinson(lambda p: jnp.sum(p["a"] ** 2) + jnp.sum(p["c"] ** 2))
    updates, state = tx.update(grads, tx.init(params), params, hessian_fn=fn)
    assert updates["b"] is None
    assert updates["c"] is None
    assert np.all(np.asarray(optax.tree.get(state, "nu")["c"]) == 0)
    assert np.all(np.asarray(optax.tree.get(state, "nu")["a"]) > 0)
