"""What a window of micro-batches gives: numbers by hand, the large batch, and optax's."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import assert_close, assert_equal, at, follow, gradients, rows, small, types

import gradxform as gx
from gradxform.core.check import is_traced

X = np.random.default_rng(0).normal(size=(8, 6, 4)).astype("float32")
Y = X @ np.arange(1.0, 5.0, dtype="float32")


def loss(params, x, y):
    return jnp.mean((jnp.tanh(x @ params["w"]) @ params["v"] - y) ** 2)


def start(dtype="float32"):
    rng = np.random.default_rng(1)
    params = {"w": rng.normal(size=(4, 3)), "v": rng.normal(size=(3,))}
    return jax.tree.map(lambda p: jnp.asarray(p, dtype), params)


def whole_optimizer():
    return gx.chain(
        gx.clip_by_global_norm(0.5),
        gx.adamw(gx.warmup(gx.cosine_decay(0.1, 20), 3), weight_decay=0.1),
    )


def trained(tx, params, xs, ys, loss=loss, **extra):
    """A call for each pair of micro-batches, as one compiled scan."""

    def step(carry, xy):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params, *xy), state, params, **extra)
        return (gx.apply_updates(params, updates), state), updates

    carry, updates = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), (xs, ys)))(params)
    return *carry, updates


@pytest.mark.parametrize("every", [2, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("bfloat16", 2**-7)])
def test_it_is_the_large_batch(every, dtype, tolerance):
    params = start(dtype)
    accumulating = gx.accumulate(whole_optimizer(), every)
    ours, state, _ = trained(accumulating, params, X, Y)
    # The large batch in float32, also where the parameters and the micro-gradients are not.
    large = jax.tree.map(lambda x: x.reshape(8 // every, -1, *x.shape[2:]), (X, Y))
    theirs, expected, _ = trained(whole_optimizer(), params, *large)
    assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert jax.tree.structure(state.inner_state) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(state.inner_state), jax.tree.leaves(expected), strict=True):
        if a.dtype == jnp.int32:
            assert int(a) == int(b)  # clipped steps and every counter
    assert int(state.gradient_step) == 8 // every
    assert gx.hyperparams(state) == gx.hyperparams(expected)


def test_sixteen_bits_are_summed_in_float32():
    """Three ones and a small rest, of which bfloat16 would keep nothing."""
    calls = [(jnp.bfloat16(g), {}) for g in (1.0, 1.0, 1.0, 2.0**-7)]
    params = jnp.zeros(2, "bfloat16")
    ((g, _),), state = seen_by_inner(lambda i: gx.accumulate(i, 4, reduction="sum"), calls, params)
    assert g.dtype == state.acc_grads.dtype == np.float32
    np.testing.assert_array_equal(g, 3.0 + 2.0**-7)


def test_what_reaches_the_parameters_is_rounded_once():
    """bfloat16 gradients: the update of their float32 mean, to the bit."""
    params = small("bfloat16")
    grads = gradients(params, steps=8)
    tx, inner = gx.accumulate(whole_optimizer(), 4), whole_optimizer()
    state, expected = tx.init(params), inner.init(params)
    for t in range(8):
        updates, state = tx.update(at(grads, t), state, params)
        if t % 4 == 3:
            wide = jax.tree.map(lambda g, t=t: g[t - 3 : t + 1].astype("float32"), grads)
            # Added in the same order; a quarter of the sum is exact.
            mean = jax.tree.map(lambda g: jnp.asarray(((g[0] + g[1]) + g[2] + g[3]) / 4), wide)
            theirs, expected = inner.update(mean, expected, params)
            rounded = jax.tree.map(lambda u: u.astype("bfloat16"), theirs)
            assert_equal((updates, state.inner_state), (rounded, expected))


def test_between_its_updates_it_returns_zeros_of_the_right_dtype():
    params = {"half": jnp.ones(2, "bfloat16"), "mixed": jnp.ones(2, "bfloat16"), "none": None}
    grads = {"half": jnp.ones(2, "bfloat16"), "mixed": jnp.ones(2, "float32"), "none": None}
    tx = gx.accumulate(gx.sgd(0.1), 3)
    state = tx.init(params)
    for t in range(6):
        updates, state = tx.update(grads, state, params)
        assert {k: u.dtype for k, u in updates.items() if u is not None} == {
            "half": jnp.bfloat16,
            "mixed": jnp.float32,
        }
        assert updates["none"] is None
        assert bool(jnp.all(updates["mixed"] == 0)) == (t % 3 != 2)
        if t % 3 != 2:
            assert_equal(gx.apply_updates(params, updates), params)


@rows(lambda row: row.name in ("adamw", "sgd", "lion", "scale_by_polyak", "clip_by_global_norm"))
def test_it_is_what_optax_multi_steps_does(row):
    params = small()
    grads = gradients(params, steps=6)
    ours, _, _ = follow(gx.accumulate(row.build(), 3), params, grads, row.extra)
    multi = optax.MultiSteps(row.build(), 3)
    with jax.disable_jit():
        theirs, _, _ = follow(multi, params, grads, row.extra)
    assert_close(ours, theirs)


# A window of one


@rows(lambda row: row.name in ("adamw", "lamb", "scale_by_momo", "scale_by_adam"))
def test_a_window_of_one_is_the_inner_transformation_to_the_bit(row):
    params = small("bfloat16")
    grads = gradients(small())
    tx = gx.accumulate(row.build(), 1)
    state = tx.init(params)
    assert state.acc_grads is None
    ours, _, after = follow(tx, params, grads, row.extra)
    theirs, _, inner = follow(row.build(), params, grads, row.extra)
    assert_equal(ours, theirs)
    assert_equal(after.inner_state, inner)
    assert types(after) == types(state)
    assert (int(after.gradient_step), int(after.mini_step), int(after.emitted)) == (5, 0, 1)


def test_a_window_of_one_has_no_branch_and_no_accumulator():
    params = small()
    for every, conds in [(1, 0), (2, 1)]:
        tx = gx.accumulate(gx.adamw(0.1), every)
        text = str(jax.make_jaxpr(tx.update)(params, tx.init(params), params))
        assert text.count("cond[") == conds


def test_a_window_of_one_with_weights():
    """The mean is the gradient itself, to the bit; nothing happens without a weight."""
    params, g = jnp.ones(3), jnp.array([0.1, 0.3, 0.7])
    mean, total = (
        gx.accumulate(gx.scale_by_momentum(0.9), 1, reduction=r) for r in ("mean", "sum")
    )
    np.testing.assert_array_equal(mean.update(g, mean.init(params), weight=0.3)[0], g)
    np.testing.assert_array_equal(total.update(g, total.init(params), weight=3)[0], 3 * g)
    updates, state = mean.update(g * jnp.nan, mean.init(params), weight=0.0)
    np.testing.assert_array_equal(updates, 0.0)
    np.testing.assert_array_equal(state.inner_state.trace, 0.0)
    assert not gx.has_updated(state)


# Weights and extra arguments


def seen_by_inner(tx_of, calls, params=None):
    """What an inner transformation is given: (gradient, extra) of each of its calls."""
    seen = []

    def watch(updates, state, params=None, **extra):
        if not is_traced(updates):  # the first call asks `inner` whether it has what it needs
            seen.append((np.asarray(updates), extra))
        return updates, state

    tx = tx_of(optax.GradientTransformationExtraArgs(optax.identity().init, watch))
    params = jnp.zeros(2) if params is None else params
    state = tx.init(params)
    for g, extra in calls:
        _, state = tx.update(jnp.full(2, g), state, params, **extra)
    return seen, state


def test_weighted_mean_by_hand():
    calls = [(1.0, {"weight": 3, "value": 10.0}), (5.0, {"weight": 1.0, "value": 2.0})]
    ((g, extra),), state = seen_by_inner(lambda inner: gx.accumulate(inner, 2), calls)
    np.testing.assert_allclose(g, (3 * 1 + 1 * 5) / 4)
    np.testing.assert_allclose(extra["value"], (3 * 10 + 1 * 2) / 4)
    assert extra["weight"] == 4.0
    assert (float(state.weight), float(state.acc_extra["value"])) == (0.0, 0.0)


def test_weighted_sum_by_hand():
    calls = [(1.0, {"weight": 3, "value": 10.0}), (5.0, {"weight": 1.0, "value": 2.0})]
    ((g, extra),), _ = seen_by_inner(lambda i: gx.accumulate(i, 2, reduction="sum"), calls)
    np.testing.assert_allclose(g, 8.0)
    np.testing.assert_allclose(extra["value"], 32.0)
    assert "weight" not in extra


def test_unequal_micro_batches_are_the_large_batch():
    params, sizes = start(), [1, 5, 2, 4]
    ends = np.cumsum([0, *sizes])
    x, y = X.reshape(-1, 4), Y.reshape(-1)
    tx = gx.accumulate(whole_optimizer(), 4)

    def in_parts(params):
        state = tx.init(params)
        for a, b in itertools.pairwise(ends):
            grads = jax.grad(loss)(params, x[a:b], y[a:b])
            updates, state = tx.update(grads, state, params, weight=b - a)
        return updates

    def at_once(params):
        inner = whole_optimizer()
        grads = jax.grad(loss)(params, x[: ends[-1]], y[: ends[-1]])
        return inner.update(grads, inner.init(params), params)[0]

    assert_close(jax.jit(in_parts)(params), jax.jit(at_once)(params), rtol=2e-6)


def test_micro_batches_without_weight_are_left_out_even_where_they_are_0_over_0():
    calls = [(2.0, {"weight": 2}), (np.nan, {"weight": 0}), (4.0, {"weight": 2})]
    ((g, _),), _ = seen_by_inner(lambda inner: gx.accumulate(inner, 3), calls)
    np.testing.assert_array_equal(g, 3.0)


def test_a_window_without_any_weight_changes_nothing_and_ends():
    params = jnp.ones(2)
    tx = gx.accumulate(gx.adamw(0.1), 2)
    state = before = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(jnp.full(2, jnp.nan), state, params, weight=0.0)
        np.testing.assert_array_equal(updates, 0.0)
        assert not gx.has_updated(state)
    assert_equal(state, before)


def test_functions_and_unnamed_arguments_come_from_the_call_that_emits():
    calls = [(1.0, {"value_fn": f, "epoch": t, "value": None}) for t, f in enumerate((min, max))]
    ((_, extra),), _ = seen_by_inner(lambda inner: gx.accumulate(inner, 2), calls)
    assert extra == {"value_fn": max, "epoch": 1, "value": None}


def test_any_argument_can_be_reduced():
    calls = [(1.0, {"loss": 1.0, "value": 1.0}), (1.0, {"loss": 4.0, "value": 4})]
    ((_, extra),), state = seen_by_inner(lambda i: gx.accumulate(i, 2, reduced="loss"), calls)
    assert (float(extra["loss"]), extra["value"]) == (2.5, 4)
    assert set(state.acc_extra) == {"loss"}


def test_a_plateau_inside_sees_the_mean_loss_once_a_window():
    tx = gx.accumulate(gx.sgd(gx.reduce_on_plateau(0.1, factor=0.5, patience=1)), 2)
    params = jnp.ones(1)
    state = tx.init(params)
    for t, value in enumerate([5.0, 1.0, 9.0, 0.0, 2.0, 4.0, 6.0, 1.0]):
        _, state = tx.update(params, state, params, value=value)
        # Means 3, 4.5, 3, 3.5: the second in a row without improvement halves the rate.
        assert float(gx.hyperparams(state)["learning_rate"]) == pytest.approx(
            0.1 if t < 5 else 0.05
        )
