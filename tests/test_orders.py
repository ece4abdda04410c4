"""Where wrappers and blocks belong: each claim is held by a refusal or by a finding."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orders import ADAM, CLIP, DIAGNOSED, NARROW, PARAMS, RATE, REFUSED, SCALING

import gradxform as gx


def found(tx, params):
    return {finding.rule for finding in gx.diagnose(tx, params, total_steps=1000)}


@pytest.mark.parametrize("claim", REFUSED)
def test_an_order_that_cannot_be_meant_is_refused(claim):
    right, wrong, says, params = REFUSED[claim]
    assert "parameters_that_init_refuses" not in found(right(), params)
    with pytest.raises(ValueError, match=re.escape(says)):
        wrong()


@pytest.mark.parametrize("claim", DIAGNOSED)
def test_an_order_that_is_wrong_is_diagnosed(claim):
    right, wrong, rule, params = DIAGNOSED[claim]
    assert rule not in found(right(), params)
    assert rule in found(wrong(), params)


def after(tx, grads, params=None):
    """The state after these gradients, and the parameters."""
    w = jnp.zeros(()) if params is None else params
    state = tx.init(w)
    for g in grads:
        updates, state = tx.update(jnp.asarray(g, jnp.float32), state, w)
        w = gx.apply_updates(w, updates)
    return state, w


def test_an_average_inside_of_windows_counts_each_parameter_once():
    one = gx.sgd(1.0)
    for tx, expected in (
        (gx.accumulate(gx.average_params(one, 0), 2), -1.5),
        (gx.average_params(gx.accumulate(one, 2), 0, 2), -1.5),
        (gx.accumulate(gx.ema_params(one, 0.5), 2), -5 / 3),
        (gx.ema_params(gx.accumulate(one, 2), 0.5, every=2), -5 / 3),
    ):
        state, w = after(tx, [1, 1, 1, 1])
        np.testing.assert_allclose(gx.eval_params(state, w), expected, rtol=1e-6)
    same = [
        after(tx, [1] * 8)[1]
        for tx in (
            gx.accumulate(gx.lookahead(one, 2), 2),
            gx.lookahead(gx.accumulate(one, 2), 4),
        )
    ]
    np.testing.assert_allclose(*same)


def test_what_stands_behind_an_accumulation_runs_in_every_call():
    decay = gx.add_decoupled_weight_decay(0.1)
    outside = gx.chain(gx.accumulate(gx.scale(1.0), 4), decay, gx.scale_by_learning_rate(1.0))
    inside = gx.accumulate(gx.chain(decay, gx.scale_by_learning_rate(1.0)), 4)
    np.testing.assert_allclose(after(outside, [0] * 4, jnp.float32(1))[1], 0.9**4, rtol=1e-6)
    np.testing.assert_allclose(after(inside, [0] * 4, jnp.float32(1))[1], 0.9, rtol=1e-6)


def test_averages_in_front_of_a_guard_keep_what_it_skips():
    grads = [1.0, np.nan, 1.0, 1.0]
    outside, _ = after(gx.chain(SCALING, gx.skip_nonfinite(RATE)), grads)
    inside, w = after(gx.skip_nonfinite(ADAM), grads)
    assert np.isnan(outside[0].mu)
    assert np.isfinite(inside.inner_state[0].mu)
    assert w < -2e-3


def test_a_rate_in_front_of_a_scaling_is_divided_out():
    steps = [after(gx.chain(gx.scale_by_learning_rate(rate), SCALING), [1.0])[1] for rate in (1, 9)]
    np.testing.assert_allclose(steps, -1.0, rtol=1e-5)


def test_a_distance_is_not_covered_by_16_bit_parameters():
    target = {"w": jnp.zeros((8, 8), jnp.bfloat16)}
    grad = jax.grad(lambda p: 0.5 * jnp.sum((p["w"] - target["w"]).astype(jnp.float32) ** 2))
    for tx, moves in ((gx.dog(), False), (gx.master_weights(gx.dog()), True)):
        params, state = NARROW, tx.init(NARROW)
        step = jax.jit(tx.update)
        for _ in range(100):
            updates, state = step(grad(params), state, params)
            params = gx.apply_updates(params, updates)
        assert bool(jnp.any(params["w"] != NARROW["w"])) == moves
        assert ("distance_that_rounds_away" in found(tx, NARROW)) != moves


def test_a_sum_in_bfloat16_stops_growing():
    tx = gx.scale_by_rss(state_dtype="bfloat16", initial_accumulator_value=0.0)
    state, step = tx.init(jnp.zeros(2)), jax.jit(tx.update)
    for _ in range(300):
        _, state = step(jnp.ones(2), state)
    assert float(jax.tree.leaves(state)[0][0]) == 256.0
    assert "sums_in_16_bit" in found(gx.chain(CLIP, tx, RATE), PARAMS)
    assert "sums_in_16_bit" not in found(gx.chain(CLIP, gx.scale_by_rss(), RATE), PARAMS)


def test_a_mean_of_squares_in_bfloat16_stops_short():
    tx = gx.scale_by_adam(state_dtype="bfloat16")
    state, step = tx.init(jnp.zeros(2)), jax.jit(tx.update)
    for _ in range(1500):
        _, state = step(jnp.ones(2), state)
    assert float(state.nu[0]) < 0.5 * (1 - 0.999**1500)
    for b2, told in ((0.997, True), (0.995, False)):
        tx = gx.adam(1e-3, b2=b2, state_dtype="bfloat16")
        assert ("moments_in_16_bit" in found(tx, PARAMS)) == told
    assert "moments_in_16_bit" not in found(gx.adam(1e-3, state_dtype={"mu": "bfloat16"}), PARAMS)
