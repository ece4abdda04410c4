"""What layer-wise rates, signs, dual averages, optimism and Polyak's step promise, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import assert_equal, normal
from steps import distance, first, inputs, updates_of

import gradxform as gx


def norms(tree):
    return [float(np.linalg.norm(x)) for x in jax.tree.leaves(tree)]


# One rate for each array


def test_the_trust_ratio_gives_each_array_the_length_of_its_parameters():
    params, grads = (
        [normal((5, 3)), 100 * normal((4,))],
        [normal((5, 3), seed=1), normal((4,), seed=2)],
    )
    updates = first(gx.scale_by_trust_ratio(trust_coefficient=0.1), grads, params)
    np.testing.assert_allclose(norms(updates), 0.1 * np.asarray(norms(params)), rtol=1e-6)


@pytest.mark.parametrize(
    "tx", [gx.scale_by_trust_ratio(trust_coefficient=0.1), gx.scale_by_lars(0.1)], ids=repr
)
def test_arrays_of_zeros_have_the_ratio_one(tx):
    g, w = jnp.asarray([3.0, 4.0]), jnp.zeros(2)
    assert_equal(first(tx, g, w), g)
    assert np.all(np.isfinite(first(tx, w, g)))


def test_a_norm_that_is_nan_is_not_taken_for_zero():
    assert np.all(
        np.isnan(first(gx.scale_by_trust_ratio(), jnp.ones(2), jnp.asarray([float("nan"), 1.0])))
    )


def test_fromage_keeps_the_length_of_weights_that_it_turns():
    w, g = jnp.asarray([3.0, 4.0]), jnp.asarray([-40.0, 30.0])  # at a right angle
    for rate in (1e-4, 0.01, 0.5):
        new = w + first(gx.fromage(rate), g, w)
        assert np.linalg.norm(new) == pytest.approx(5.0, rel=1e-6)
        turned = np.arctan2(new[1], new[0]) - np.arctan2(4.0, 3.0)
        assert abs(turned) == pytest.approx(np.arctan(rate), rel=1e-3)


# Signs


def test_signum_is_lion_with_one_decay_and_heavy_balls_sign():
    signum = updates_of(gx.signum(0.1, 0.8), *inputs())
    lion = updates_of(gx.lion(0.1, b1=0.8, b2=0.8, weight_decay=0.0), *inputs())
    ball = gx.chain(gx.scale_by_momentum(0.8), gx.scale_by_sign(), gx.scale_by_learning_rate(0.1))
    assert distance(signum, lion) == distance(signum, updates_of(ball, *inputs())) == 0


def test_rprop_grows_waits_and_shrinks():
    tx = gx.scale_by_rprop(eta_minus=0.5, eta_plus=2.0, min_scale=0.75, max_scale=3.0)
    state, steps = tx.init(jnp.zeros(())), []
    for g in (1e-30, 5.0, 7.0, -1e-30, -2.0, -9.0, 0.0, -1.0, 1.0, 1.0):
        update, state = tx.update(jnp.float32(g), state)
        steps.append(float(update))
    # The first, doubled, at most 3; turned: a step of waiting, on at 1.5, doubled; no gradient, as
    # before; turned: a step of waiting, on at 1.5.
    assert steps == [1.0, 2.0, 3.0, 0.0, -1.5, -3.0, 0.0, -3.0, 0.0, 1.5]


@pytest.mark.parametrize(
    ("arguments", "must"),
    [
        ({"eta_minus": 1.0}, "above 0 and below 1"),
        ({"eta_minus": 0.0}, "above 0 and below 1"),
        ({"eta_plus": 1.0}, "above 1"),
        ({"min_scale": 0.0}, "above 0"),
    ],
)
def test_rprops_factors_shrink_and_grow(arguments, must):
    with pytest.raises(ValueError, match=must):
        gx.rprop(0.1, **arguments)


# Dual averaging


def test_madgrad_without_momentum_takes_cube_roots():
    """Its first step is -λ g / cbrt(λ g²) = -λ^(2/3) cbrt(g), with λ the learning rate."""
    g = jnp.asarray([8.0, -1e-3, 0.0])
    update = first(gx.madgrad(0.1, momentum=0.0, eps=0.0), g)
    np.testing.assert_allclose(update, -(0.1 ** (2 / 3)) * np.cbrt(g), rtol=1e-6)


# Games and Polyak's step


def distance_after(tx, steps=400):
    """How far from the solution (0, 0) play of min over x, max over y of x y ends, from (1, 1)."""

    def step(carry, _):
        (x, y), state = carry
        updates, state = tx.update((y, -x), state, (x, y))
        return (gx.apply_updates((x, y), updates), state), None

    start = (jnp.float32(1.0), jnp.float32(1.0))
    (end, _), _ = jax.lax.scan(step, (start, tx.init(start)), length=steps)
    return float(np.hypot(*end)) / np.sqrt(2)


def test_optimism_comes_to_rest_where_gradient_descent_spirals_outwards():
    """Gradient descent multiplies the distance by sqrt(1 + η²) a step; optimism by less than 1."""
    assert distance_after(gx.sgd(0.1)) == pytest.approx(1.01**200, rel=1e-3)
    # The larger root of r² - r (1 + 2 i η) + i η = 0 is what one step multiplies by.
    root = np.max(np.abs(np.roots([1, -(1 + 0.2j), 0.1j])))
    shrunk = distance_after(gx.optimistic_gradient_descent(0.1))
    assert shrunk == pytest.approx(root**400, rel=0.05)
    assert shrunk < 0.2


def test_polyaks_step_solves_a_quadratic():
    """For |x|² it is 1/2, which is Newton's, with c = 1/2; with c = 1 each step halves x."""
    x = jnp.asarray([1.0, -2.0, 3.0])
    for c, left in ((0.5, 0.0), (1.0, 0.5)):
        tx = gx.polyak_sgd(c=c)
        update, state = tx.update(2 * x, tx.init(x), value=jnp.sum(x**2))
        np.testing.assert_allclose(x + update, left * x, atol=1e-6)
        assert float(optax.tree.get(state, "step_size")) == pytest.approx(0.25 / c)


def test_polyaks_step_is_bounded_and_needs_the_loss():
    tx = gx.polyak_sgd(max_step_size=0.1)
    g = jnp.asarray([1e-3])
    np.testing.assert_allclose(first(tx, g, g, value=5.0), -0.1 * g)
    assert_equal(first(tx, 0 * g, g, value=5.0), 0 * g)
    with pytest.raises(TypeError, match=r"`scale_by_polyak` needs `value`: call"):
        first(tx, g, g)
