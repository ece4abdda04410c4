"""16-bit parameters that are the rounded parameters of a float32 training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import NARROW, assert_equal, at, gradients, normal, small, times, types

import gradxform as gx

APPLY = {"ours": gx.apply_updates, "optax": optax.apply_updates}
EXACT_TO = {"bfloat16": 16, "float16": 13}  # binary digits of float32 beyond those of the type


def cast(tree, dtype):
    return jax.tree.map(lambda x: jnp.asarray(x).astype(dtype), tree)


def trained(tx, params, grads, apply=gx.apply_updates):
    """The parameters after each step, and the last state; compiled as a whole."""

    @jax.jit
    def step(params, state, g):
        updates, state = tx.update(g, state, params)
        return apply(params, updates), state

    state, history = tx.init(params), []
    for t in range(len(jax.tree.leaves(grads)[0])):
        params, state = step(params, state, at(grads, t))
        history.append(params)
    return history, state


@pytest.mark.parametrize("dtype", NARROW)
def test_parameters_move_at_a_learning_rate_at_which_they_do_not_without(dtype):
    """Steps of 1e-5 add up: 300 of them are 0.003, and the least step at 1 is 0.004 or 0.0005."""
    params, tx = jnp.ones(4, dtype), gx.adam(1e-5, eps=0)
    grads = np.ones((300, 4), np.float32)
    plain, _ = trained(tx, params, grads)
    assert_equal(plain[-1], params)
    moved, state = trained(gx.master_weights(tx), params, grads)
    np.testing.assert_allclose(state.master, 1 - 300e-5, rtol=1e-4)
    assert_equal(moved[-1], state.master.astype(dtype))
    assert float(moved[-1][0]) < 1.0
    assert_equal(moved[20], params)  # and not before


@pytest.mark.parametrize("apply", APPLY)
@pytest.mark.parametrize("dtype", NARROW)
def test_they_are_those_of_a_float32_training_rounded(dtype, apply):
    """Bit for bit, after every step, with decay and clipping, from 16-bit gradients."""
    params = small(dtype)
    grads = gradients(small(dtype), steps=12)
    inner = gx.chain(gx.clip_by_global_norm(2.0), gx.adamw(0.02, weight_decay=0.3))
    expected, _ = trained(inner, cast(params, "float32"), times(1.0, grads))
    actual, state = trained(gx.master_weights(inner), params, grads, APPLY[apply])
    assert_equal(state.master, expected[-1])
    for ours, theirs in zip(actual, expected, strict=True):
        assert_equal(ours, cast(theirs, dtype))
        assert types(ours) == types(params)


# Goes to where its gradient says.
TO = optax.stateless(lambda target, params: jax.tree.map(jnp.subtract, target, params))


@pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])
@pytest.mark.parametrize("dtype", NARROW)
def test_the_update_lands_on_the_rounded_master(dtype, jit):
    """From anywhere to anywhere, over all sizes that the types have.

    But for a few in 100,000, which come from a number 2^16 times as large and more (2^13 in
    float16): they land within half of its last digit in float32, and their masters follow.
    """
    rng = np.random.default_rng(0)
    low, high = (-100, 100) if dtype == "bfloat16" else (-24, 12)
    spread = np.array([0, 1, 5, EXACT_TO[dtype] - 1, EXACT_TO[dtype] + 8, 40])

    def sizes(exponent):
        x = rng.normal(size=exponent.shape) * np.exp2(np.clip(exponent, low, high))
        return jnp.asarray(x, "float32")

    start = rng.uniform(low, high, (6, 4000))
    params = sizes(start).astype(dtype)
    tx = gx.master_weights(TO)

    def step(params, state, target):
        updates, state = tx.update(target, state, params)
        return gx.apply_updates(params, updates), optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(3):
        target = sizes(start + spread[:, None] * rng.uniform(-1, 1, (6, 4000)))
        before = np.abs(np.asarray(params, float))
        ours, theirs, state = (jax.jit(step) if jit else step)(params, state, target)
        assert_equal(ours, theirs)
        wanted = np.asarray(state.master).astype(jnp.dtype(dtype)).astype(float)
        assert np.all(np.isfinite(wanted))
        missed = np.asarray(ours, float) != wanted
        assert np.mean(missed) < 1e-3
        assert np.all(before[missed] > 2.0 ** EXACT_TO[dtype] * np.abs(wanted[missed]))
        error = np.abs(np.asarray(ours, float) - wanted)
        assert np.all(error <= 2.0**-24 * before)
        assert not np.any(missed[:3])
        params = ours


def test_the_master_is_rounded_to_the_nearest_even():
    """Subnormal numbers of float16 included, which XLA's own rounding makes zero."""
    for dtype in NARROW:
        ulp = 2.0**-7 if dtype == "bfloat16" else 2.0**-10
        params = jnp.ones(4, dtype)
        tx = gx.master_weights(TO)
        target = 1 + ulp * jnp.array([0.5, 0.75, 1.5, 2.5])
        updates, _ = jax.jit(tx.update)(target, tx.init(params), params)
        np.testing.assert_array_equal(updates, ulp * np.array([0.0, 1.0, 2.0, 2.0]))
    params = jnp.zeros(4, "float16")
    tx = gx.master_weights(TO)
    target = 2.0**-24 * jnp.array([0.5, 0.75, -1.5, 1022.6])
    updates, _ = jax.jit(tx.update)(target, tx.init(params), params)
    np.testing.assert_array_equal(updates, 2.0**-24 * np.array([0.0, 1.0, -2.0, 1023.0]))


def test_wide_parameters_have_no_master_and_take_no_bytes():
    dtypes = ["bfloat16", "float32", "complex64", "float16"]
    params = {dtype: normal((3,), dtype) for dtype in dtypes}
    tx = gx.master_weights(gx.sgd(0.1))
    state = tx.init(params)
    assert {k: getattr(m, "dtype", None) for k, m in state.master.items()} == {
        "bfloat16": "float32",
        "float32": None,
        "complex64": None,
        "float16": "float32",
    }
    assert state.master["float32"] == optax.MaskedNode()
    grads = {dtype: normal((3,), dtype, 1) for dtype in dtypes}
    updates, after = tx.update(grads, state, params)
    assert types(after) == types(state)
    for dtype in ("float32", "complex64"):
        alone = gx.sgd(0.1)
        assert_equal(updates[dtype], alone.update(grads[dtype], alone.init(None))[0])
    with jax.enable_x64(True):
        params = {"w": normal((3,), "float64"), "h": normal((3,), "bfloat16")}
        state = tx.init(params)
        assert state.master == {"w": optax.MaskedNode(), "h": state.master["h"]}
        assert state.master["h"].dtype == jnp.float32
        grads = {"w": normal((3,), "float64"), "h": normal((3,), "float64")}
        updates, after = tx.update(grads, state, params)
        assert types(after) == types(state)
        assert_equal(gx.apply_updates(params, updates)["h"], after.master["h"].astype("bfloat16"))


@pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])
@pytest.mark.parametrize("dtype", NARROW)
def test_parameters_changed_from_outside_are_the_new_masters(dtype, jit):
    tx = gx.master_weights(gx.adam(1e-4))
    params = jnp.asarray([1.0, -2.0, 0.0, 3e-5, 0.5], dtype)
    update = jax.jit(tx.update) if jit else tx.update
    state = tx.init(params)
    for _ in range(3):
        updates, state = update(jnp.ones(5, dtype), state, params)
        params = gx.apply_updates(params, updates)
    assert float(state.master[0]) == pytest.approx(1 - 3e-4)
    set_ = jnp.array([False, True, False, True, False])
    outside = jnp.where(set_, jnp.asarray(0.25, dtype), params)
    _, after = update(jnp.ones(5, dtype), state, outside)
    untouched = update(jnp.ones(5, dtype), state, params)[1]
    kept = np.asarray(~set_)
    assert_equal(after.master[kept], untouched.master[kept])
    np.testing.assert_allclose(after.master[set_], 0.25 - 1e-4, rtol=1e-5)
    assert_equal(after.inner_state, untouched.inner_state)


def test_a_missing_gradient_leaves_its_master_alone():
    tx, params = gx.master_weights(gx.adam(0.1)), small("bfloat16")
    state = tx.init(params)
    updates, after = tx.update({**at(gradients(params), 0), "s": None}, state, params)
    assert updates["s"] is None
    assert_equal(after.master["s"], state.master["s"])


def test_the_parameters_are_asked_for():
    tx = gx.master_weights(gx.sgd(0.1))
    params = jnp.ones(2, "bfloat16")
    with pytest.raises(ValueError, match="`master_weights` reads the parameters"):
        tx.update(params, tx.init(params))
    with pytest.raises(TypeError, match=r"`master_weights.init\(params\)`: leaf `n` is of type"):
        tx.init({"n": jnp.arange(3)})
