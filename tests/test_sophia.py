"""Sophia: its steps, and when they pay for an estimate of the Hessian's diagonal."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from downhill import found
from steps import inputs, updates_of

import gradxform as gx


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
        with pytest.raises(ValueError, match=r"with shapes \[\(3,\)\], they are .*with \[\(2,\)\]"):
            tx.update(x, state, x, hessian_fn=lambda p, key: jnp.ones(3))


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
