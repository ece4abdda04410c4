"""Lookahead: the paper's two loops, and optax's pairs of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from steps import inputs

import gradxform as gx

CURVATURE = np.array([1.0, 10.0, 30.0])
START = np.array([1.0, -1.0, 0.5])


def paper(k, alpha, rate, momentum, outer):
    """Algorithm 1: inner loops from φ, whose end is where φ goes a part of the way."""
    phi, velocity, thetas, phis = START.copy(), np.zeros(3), [], []
    for _ in range(outer):
        theta = phi.copy()
        for _ in range(k):
            velocity = momentum * velocity + CURVATURE * theta
            theta = theta - rate * velocity
            thetas.append(theta)
        phi = phi + alpha * (theta - phi)
        thetas[-1] = phi
        phis += [phi] * k
    return thetas, phis


def ours(tx, steps, dtype="float64"):
    """The fast and the slow weights after each step on the same quadratic, as one program."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jnp.asarray(CURVATURE, dtype) * params, state, params)
        params = gx.apply_updates(params, updates)
        return (params, state), (params, gx.eval_params(state, params))

    params = jnp.asarray(START, dtype)
    return jax.lax.scan(step, (params, tx.init(params)), length=steps)[1]


@pytest.mark.parametrize(("k", "alpha"), [(5, 0.5), (1, 0.3), (3, 0.8), (4, 1.0)])
def test_the_papers_loops(k, alpha):
    with jax.enable_x64(True):
        fast, slow = ours(gx.lookahead(gx.sgd(0.02, momentum=0.9), k, alpha), 3 * k)
    thetas, phis = paper(k, alpha, 0.02, 0.9, 3)
    np.testing.assert_allclose(fast, thetas, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slow[k - 1 :: k], phis[k - 1 :: k], rtol=1e-12, atol=1e-14)
    # Between two steps back the slow weights stay; before the first they are the start.
    before = np.concatenate([np.broadcast_to(START, (k, 3)), phis])
    held = [t for t in range(3 * k) if (t + 1) % k]
    np.testing.assert_array_equal(np.asarray(slow)[held], np.asarray(before, float)[held])


@pytest.mark.parametrize("k", [1, 3])
def test_optax(k):
    """Theirs takes and returns pairs."""
    grads, params = inputs()
    grads = [g["kernel"] for g in grads]
    start = jnp.asarray(params[0]["kernel"])
    theirs = optax.lookahead(optax.adam(0.1), k, 0.4)
    pair = optax.LookaheadParams.init_synced(start)
    tx, fast = gx.lookahead(gx.adam(0.1), k, 0.4), start
    state, other = tx.init(fast), theirs.init(pair)
    for g in map(jnp.asarray, grads):
        updates, state = tx.update(g, state, fast)
        fast = gx.apply_updates(fast, updates)
        steps, other = theirs.update(g, other, pair)
        pair = optax.apply_updates(pair, steps)
        np.testing.assert_allclose(fast, pair.fast, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gx.eval_params(state, fast), pair.slow, rtol=1e-5, atol=1e-6)


def test_the_whole_way_is_the_fast_optimizer_alone():
    alone, _ = ours(gx.ema_params(gx.adam(0.1)), 12, "float32")
    whole, _ = ours(gx.lookahead(gx.adam(0.1), 4, 1.0), 12, "float32")
    np.testing.assert_allclose(whole, alone, rtol=1e-6, atol=1e-7)


def test_the_state_of_the_fast_optimizer_goes_on():
    """Its schedule is not begun again."""
    tx = gx.lookahead(gx.adam(gx.linear_schedule(0.1, 0.0, 10)), 2)
    params = jnp.ones(2)
    state = tx.init(params)
    for t in range(5):
        _, state = tx.update(params, state, params)
        assert gx.hyperparams(state)["learning_rate"] == pytest.approx(0.1 * (1 - t / 10))
        assert int(state.steps_since_sync) == (t + 1) % 2


def test_after_a_step_back_fast_and_slow_are_one():
    tx = gx.lookahead(gx.sgd(0.3), 2, 0.25)
    for dtype in ("float32", "bfloat16", "float16"):
        params = jnp.asarray([1.0, -3.0, 0.1], dtype)
        state = tx.init(params)
        for g in (params, 2 * params, params, -params):
            updates, state = tx.update(g, state, params)
            params = gx.apply_updates(params, updates)
        digits = 2 * float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(np.asarray(params, float), state.slow, rtol=digits)
        assert state.slow.dtype == jnp.float32


def test_members_of_a_batch_may_be_at_different_steps():
    tx = gx.lookahead(gx.sgd(0.1, momentum=0.9), 3)
    params = jnp.asarray([0.3, -0.7])
    states = [tx.init(params)]
    for _ in range(4):
        states.append(tx.update(params, states[-1], params)[1])
    stacked = jax.tree.map(lambda *s: jnp.stack(s), *states)
    together = jax.jit(jax.vmap(tx.update, in_axes=(None, 0, None)))(2 * params, stacked, params)
    for i, state in enumerate(states):
        alone = tx.update(2 * params, state, params)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-6), together, alone
        )


def test_no_array_is_copied():
    """Parameters, moments and slow weights are changed in place, on both kinds of steps."""
    tx = gx.lookahead(gx.adam(0.1))
    params = {"w": jnp.ones(4096)}

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    program = jax.jit(step, donate_argnums=(0, 1)).lower(params, tx.init(params), params).compile()
    assert "f32[4096]{0} copy(" not in program.as_text()


def test_bad_arguments():
    with pytest.raises(ValueError, match="`sync_period` must be a whole number of at least 1"):
        gx.lookahead(gx.sgd(0.1), 0)
    for part in (0.0, 1.5, -0.5):
        with pytest.raises(ValueError, match="`slow_step_size` must be above 0 and at most 1"):
            gx.lookahead(gx.sgd(0.1), slow_step_size=part)
    tx = gx.lookahead(gx.sgd(0.1))
    with pytest.raises(ValueError, match="`lookahead` reads the parameters"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
