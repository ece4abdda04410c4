"""The loss scale: torch's rule, found in any state, and float16 gradients that do not vanish."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from problems import assert_close, assert_equal, at, gradients, small, types
from refusals import assert_refused

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")

# torch 2.13.0, GradScaler("cpu", init_scale=64, growth_factor=3, backoff_factor=1/4,
# growth_interval=3): whether a gradient was infinite, and after `update()` the scale and the
# number of clean steps.
OVERFLOWS = "000010000000101100000000111111000100"
SCALES = [
    *(64.0, 64.0, 192.0, 192.0, 48.0, 48.0, 48.0, 144.0, 144.0, 144.0, 432.0, 432.0, 108.0, 108.0),
    *(27.0, 6.75, 6.75, 6.75, 20.25, 20.25, 20.25, 60.75, 60.75, 60.75, 15.1875, 3.796875),
    *(0.94921875, 0.2373046875, 0.059326171875, 0.01483154296875, 0.01483154296875),
    *(0.01483154296875, 0.04449462890625, 0.0111236572265625, 0.0111236572265625),
    0.0111236572265625,
]
CLEAN = "120101201201010012012012000000120012"


def run(tx, overflows, params=None):
    """The update and the state after each step; the loss is the sum of the parameters."""
    params = jnp.ones(2) if params is None else params

    def step(state, overflow):
        g = jax.grad(lambda p: gx.scale_loss(state, jnp.sum(p)))(params)
        g = g.at[1].set(jnp.where(overflow, jnp.asarray(jnp.inf, g.dtype), g[1]))
        updates, state = tx.update(g, state, params)
        return state, (updates, state)

    bad = jnp.array([c == "1" for c in overflows])
    return jax.jit(lambda: jax.lax.scan(step, tx.init(params), bad)[1])()


def test_the_scale_is_that_of_torch():
    tx = gx.dynamic_loss_scale(gx.sgd(1.0), 64.0, 3.0, 0.25, 3, min_scale=1e-6)
    updates, state = run(tx, OVERFLOWS)
    assert_close(state.scale, jnp.array(SCALES), rtol=1e-6)
    assert_equal(state.growth_tracker, jnp.array([int(c) for c in CLEAN]))
    bad = np.array([int(c) for c in OVERFLOWS])
    assert_equal(state.last_skipped, bad)
    assert_equal(state.skipped_steps, np.cumsum(bad))
    assert not np.any(state.underflows)
    # Whatever the scale: the gradient of the loss itself, or nothing.
    assert_close(updates, -np.repeat(1 - bad[:, None], 2, axis=1).astype("float32"))


def test_defaults_are_torchs_but_for_the_start():
    arguments = gx.dynamic_loss_scale(gx.sgd(1.0)).recipe.arguments
    names = ("init_scale", "growth_factor", "backoff_factor", "growth_interval")
    assert [arguments[name] for name in names] == [2.0**15, 2.0, 0.5, 2000]
    state = gx.dynamic_loss_scale(gx.sgd(1.0)).init(jnp.ones(2))
    assert gx.scale_loss(state, 1.0) == 2.0**15


def test_the_scale_stays_within_its_bounds_and_says_so():
    tx = gx.dynamic_loss_scale(
        gx.sgd(1.0), 4.0, growth_factor=3.0, growth_interval=1, min_scale=1.0, max_scale=20.0
    )
    _, state = run(tx, "00011111100")
    assert state.scale.tolist() == [12, 20, 20, 10, 5, 2.5, 1.25, 1, 1, 3, 9]
    assert state.underflows.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    assert state.consecutive.tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0]


def test_a_step_that_overflows_changes_nothing_inside():
    params = small("float16")
    inner = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(gx.linear_schedule(0.1, 0.0, 9)))
    tx = gx.dynamic_loss_scale(gx.master_weights(inner), 8.0)
    grads = gradients(params, steps=4)
    update = jax.jit(tx.update)
    _, state = update(at(grads, 0), tx.init(params), params)
    bad = {**at(grads, 1), "s": jnp.float16(np.inf)}
    updates, after = update(bad, state, params)
    assert_equal(updates, jax.tree.map(jnp.zeros_like, params))
    assert_equal(after.inner_state, state.inner_state)
    assert (float(after.scale), types(after)) == (4.0, types(state))


def test_gradients_are_divided_in_float32():
    """float16 of 3e-8 is 0 or 6e-8; with the scale on it, it keeps its digits."""
    inner = gx.scale_by_momentum(0.5)
    tx = gx.dynamic_loss_scale(inner, 2.0**12)
    g = jnp.asarray([3e-8 * 2**12, -60000.0], "float16")
    _, state = tx.update(g, tx.init(jnp.zeros(2)), jnp.zeros(2))
    expected = np.asarray(g, np.float64) / 2**12
    np.testing.assert_allclose(state.inner_state.trace, expected, rtol=1e-7)
    assert state.inner_state.trace.dtype == jnp.float32


def test_small_gradients_arrive_in_float16():
    """Each is 1e-8, below float16: without a scale nothing moves."""
    x = jnp.full(4, 1e-4, "float16")

    def trained(tx, scaled):
        params = jnp.ones(4, "float16")

        def step(carry, _):
            params, state = carry

            def loss(p):
                value = jnp.mean((p * x).astype("float32") * 4e-4)
                return gx.scale_loss(state, value) if scaled else value

            updates, state = tx.update(jax.grad(loss)(params), state, params)
            return (gx.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), length=20)[0][0]

    sgd = gx.master_weights(gx.sgd(1e6))
    assert_equal(trained(sgd, scaled=False), jnp.ones(4, "float16"))
    moved = trained(gx.dynamic_loss_scale(sgd), scaled=True)
    np.testing.assert_allclose(np.asarray(moved, float), 1 - 20 * 1e6 * 1e-8, rtol=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_scaled_loss_has_at_least_float32(dtype):
    state = gx.dynamic_loss_scale(gx.sgd(0.1), 2.0**16).init(jnp.ones(2))
    for value in (60000.0, np.ones((2, 3))):
        loss = jnp.asarray(value, dtype)
        scaled = gx.scale_loss(state, loss)
        assert scaled.dtype == jnp.float32
        assert_equal(scaled, loss.astype("float32") * 2.0**16)
    with jax.enable_x64(True):
        state = gx.dynamic_loss_scale(gx.sgd(0.1)).init(jnp.ones(2))
        assert gx.scale_loss(state, jnp.asarray(1.0, "float32")).dtype == jnp.float32
        assert gx.scale_loss(state, jnp.asarray(1.0, "float64")).dtype == jnp.float64


@pytest.mark.parametrize(("dtype", "lost"), [("float16", 1), ("float32", 0)])
def test_a_loss_in_float16_cannot_keep_a_scale_that_float16_does_not_have(dtype, lost):
    tx = gx.dynamic_loss_scale(gx.sgd(1.0), 2.0**16)
    params = jnp.ones(2, dtype)
    state = tx.init(params)
    for _ in range(3):
        grads = jax.grad(lambda p, s=state: gx.scale_loss(s, jnp.sum(p)))(params)
        updates, state = tx.update(grads, state, params)
    assert (int(state.skipped_steps), float(state.scale)) == (lost, 2.0 ** (16 - lost))
    assert_equal(updates, -jnp.ones(2, dtype))


def nested():
    scaled = gx.dynamic_loss_scale(gx.adam(0.1), 4.0)
    params = {"w": jnp.ones(2)}
    module = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    schedule = gx.dynamic_loss_scale(gx.adam(gx.tunable(0.1)), 4.0)
    return {
        "alone": scaled.init(params),
        "chain": gx.chain(gx.identity(), scaled).init(params),
        "chain of Optax": optax.chain(optax.identity(), scaled).init(params),
        "named": gx.named_chain(("x", scaled)).init(params),
        "master weights": gx.master_weights(schedule).init(params),
        "masked by Optax": optax.masked(scaled, {"w": True}).init(params),
        "TrainState": TrainState.create(apply_fn=None, params=params, tx=scaled),
        "nnx": nnx.Optimizer(module, scaled, wrt=nnx.Param).opt_state,
        "compiled": jax.jit(scaled.init)(params),
    }


def test_the_scale_is_found_wherever_it_is():
    for name, state in nested().items():
        assert gx.scale_loss(state, jnp.float32(0.5)) == 2.0, name
        assert jax.jit(gx.scale_loss)(state, jnp.float32(0.5)) == 2.0, name


def test_members_of_a_batch_have_their_own_scale():
    tx = gx.dynamic_loss_scale(gx.adam(0.1), 4.0)
    state = jax.vmap(tx.init)(jnp.ones((2, 3)))
    grads = jnp.ones((2, 3)).at[0, 1].set(jnp.nan)
    updates, state = jax.jit(jax.vmap(functools.partial(tx.update)))(grads, state)
    assert state.scale.tolist() == [2.0, 4.0]
    assert_close(updates, jnp.array([[0.0] * 3, [-0.1] * 3]), rtol=1e-5)
    assert jax.vmap(gx.scale_loss)(state, jnp.ones(2)).tolist() == [2.0, 4.0]


REFUSED = {
    "no scale": (
        lambda: gx.scale_loss(gx.sgd(0.1).init(jnp.ones(2)), 1.0),
        ValueError,
        ["`scale_loss(state, loss)`", "no loss scale", "`dynamic_loss_scale(...)`"],
    ),
    "arguments the wrong way round": (
        lambda: gx.scale_loss(jnp.ones(()), gx.dynamic_loss_scale(gx.sgd(0.1)).init(1.0)),
        ValueError,
        ["pass the state before the loss"],
    ),
    "two scales": (
        lambda: gx.scale_loss([gx.dynamic_loss_scale(gx.sgd(0.1)).init(1.0)] * 2, 1.0),
        ValueError,
        ["2 loss scales", "around the whole optimizer"],
    ),
    "a whole number": (
        lambda: gx.scale_loss(gx.dynamic_loss_scale(gx.sgd(0.1)).init(1.0), jnp.arange(3)),
        TypeError,
        ["`scale_loss(state, loss)`", "real floating", "int32[3]"],
    ),
    "one in another": (
        lambda: gx.dynamic_loss_scale(gx.chain(gx.dynamic_loss_scale(gx.sgd(0.1)))),
        ValueError,
        ["`dynamic_loss_scale(...)`", "a loss has one scale"],
    ),
    "a start below the bound": (
        lambda: gx.dynamic_loss_scale(gx.sgd(0.1), 0.5),
        ValueError,
        ["`init_scale` must lie between", "0.5", "min_scale=1.0"],
    ),
    "a start above the bound": (
        lambda: gx.dynamic_loss_scale(gx.sgd(0.1), max_scale=8.0),
        ValueError,
        ["`init_scale` must lie between", "32768.0", "max_scale=8.0"],
    ),
    "a growth that shrinks": (
        lambda: gx.dynamic_loss_scale(gx.sgd(0.1), growth_factor=0.5),
        ValueError,
        ["`growth_factor` must be at least 1; got 0.5"],
    ),
    "a backoff that grows": (
        lambda: gx.dynamic_loss_scale(gx.sgd(0.1), backoff_factor=1.0),
        ValueError,
        ["`backoff_factor` must be above 0 and below 1; got 1.0"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    assert_refused(*REFUSED[name])
