"""Each rule of `diagnose`: what it sees, what it leaves alone, and whether what it says is so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagnosis_fires import FIRES, PARAMS
from diagnosis_silent import SILENT
from orders import DIAGNOSED

import gradxform as gx


def found(tx, keywords, params):
    return {finding.rule for finding in gx.diagnose(tx, params, **keywords)}


ORDERS = {order.held_by for order in DIAGNOSED.values()}  # see `test_orders`


def test_each_rule_has_its_cases():
    assert FIRES.keys() | ORDERS == SILENT.keys() | ORDERS == gx.DIAGNOSIS_RULES.keys()


@pytest.mark.parametrize("rule", FIRES)
def test_each_rule_fires(rule):
    for case in FIRES[rule]:
        assert rule in found(*case), case[0]


@pytest.mark.parametrize("rule", SILENT)
def test_each_rule_stays_silent(rule):
    for case in SILENT[rule]:
        assert rule not in found(*case), case[0]


def after(tx, params, grads, steps=1):
    """The parameters after some steps with the same gradients."""
    state = tx.init(params)
    for _ in range(steps):
        updates, state = tx.update(grads, state, params)
        params = gx.apply_updates(params, updates)
    return params


def test_decay_behind_the_learning_rate_lets_weights_grow():
    tx = gx.chain(gx.sgd(0.1), gx.add_decoupled_weight_decay(0.1))
    grown = after(tx, PARAMS, jax.tree.map(np.zeros_like, PARAMS), 3)
    np.testing.assert_allclose(grown["layer"]["kernel"], 0.3 * 1.1**3, rtol=1e-6)


def test_two_learning_rates_climb():
    climbed = after(gx.chain(gx.sgd(0.1), gx.sgd(0.1)), np.float32(1.0), np.float32(1.0))
    np.testing.assert_allclose(climbed, 1.0 + 0.1 * 0.1, rtol=1e-6)


def test_small_squares_are_lost_in_float16_and_leave_eps_alone_to_divide_by():
    one, zero = {"w": np.full(4, 1e-4, np.float32)}, {"w": np.zeros(4, np.float32)}

    def second(**settings):
        tx = gx.scale_by_adam(**settings)
        _, state = tx.update(one, tx.init(one), one)
        return float(tx.update(zero, state, one)[0]["w"][0])

    usual = 0.9 * 0.1 / (1 - 0.9**2) / np.sqrt(0.999 * 0.001 / (1 - 0.999**2))
    assert second() == pytest.approx(usual, rel=1e-3)
    assert second(state_dtype="bfloat16") == pytest.approx(usual, rel=1e-2)
    assert second(state_dtype="float16") > 1000 * usual
    assert second(state_dtype="float16", eps=2.5e-4) < usual


def test_an_average_in_bfloat16_never_falls_where_b2_is_close_to_one():
    for b2, falls in ((0.999, False), (0.99, True)):
        tx = gx.scale_by_adam(b2=b2, state_dtype="bfloat16")
        one, zero = {"w": np.ones(2, np.float32)}, {"w": np.zeros(2, np.float32)}
        _, first = tx.update(one, tx.init(one), one)
        state = first
        for _ in range(50):
            _, state = tx.update(zero, state, one)
        assert bool(jnp.all(state.nu["w"] < first.nu["w"])) == falls


def test_steps_below_half_a_digit_move_nothing():
    params = {"w": jnp.ones((4, 4), jnp.bfloat16)}
    grads = jax.tree.map(jnp.ones_like, params)
    # Upwards: below a power of two the digits are finer.
    for rate, moves in ((3.8e-3, False), (4.2e-3, True)):
        moved = after(gx.adam(rate), params, jax.tree.map(jnp.negative, grads))
        assert bool(jnp.all(moved["w"] != params["w"])) == moves
        rules = {f.rule for f in gx.diagnose(gx.adam(rate), params)}
        assert ("updates_below_half_a_digit" in rules) == (not moves)


def test_a_bound_outside_of_the_loss_scale_cuts_to_nothing():
    grads = {"w": np.full(4, 0.1 * 2.0**15, np.float32)}  # of a loss times 2^15
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.dynamic_loss_scale(gx.sgd(1.0)))
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates["w"], -0.5 / 2.0**15, rtol=1e-6)
    tx = gx.dynamic_loss_scale(gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(1.0)))
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-6)
