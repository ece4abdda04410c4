"""The modes of weight decay: which are the same, where they end, and what they leave alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from steps import distance, inputs, updates_of

import gradxform as gx

STEPS = 40
W = jnp.array([1.0, -2.0, 0.5])


def train(tx, gradient, w=W, steps=STEPS):
    """The weights after each step, with `gradient(w, t)`."""

    def step(carry, t):
        w, state = carry
        updates, state = tx.update(gradient(w, t), state, w)
        w = gx.apply_updates(w, updates)
        return (w, state), w

    run = jax.jit(lambda w: jax.lax.scan(step, (w, tx.init(w)), jnp.arange(steps))[1])
    return np.asarray(run(w), np.float64)


def still(w, t):
    return jnp.zeros_like(w)


def independent(weight_decay, rate, peak):
    decay = gx.add_independent_weight_decay(weight_decay, peak)
    return gx.chain(decay, gx.scale_by_learning_rate(rate))


def decoupled(weight_decay, rate):
    decay = gx.add_decoupled_weight_decay(weight_decay)
    return gx.chain(decay, gx.scale_by_learning_rate(rate))


def corrected(weight_decay, rate, peak):
    decay = gx.add_corrected_weight_decay(weight_decay, rate, peak)
    return gx.chain(decay, gx.scale_by_learning_rate(rate))


# Equalities


def test_l2_is_decoupled_decay_for_sgd_and_for_nothing_else():
    """Loshchilov & Hutter 2019, propositions 1 and 2: λ' = λ for plain SGD with torch's units."""
    grads, params = inputs("float64", "float64")

    def far(scaling):
        rate = gx.scale_by_learning_rate(gx.cosine_decay(0.1, 12))
        l2 = gx.chain(gx.add_l2_regularization(0.1), scaling, rate)
        decay = gx.chain(scaling, gx.add_decoupled_weight_decay(0.1), rate)
        return distance(updates_of(l2, grads, params), updates_of(decay, grads, params))

    with jax.enable_x64(True):
        assert far(gx.identity()) <= 1e-15
        assert far(gx.scale(2.0)) > 1e-2
        assert far(gx.scale_by_momentum(0.9)) > 1e-2
        assert far(gx.scale_by_adam()) > 1e-2
        assert far(gx.scale_by_lion()) > 1e-2


def test_independent_decay_is_decoupled_decay_in_other_units():
    grads, params = inputs()
    rate = gx.cosine_decay(0.05, 12)

    def adam(decay):
        return gx.chain(gx.scale_by_adam(), decay, gx.scale_by_learning_rate(rate))

    ours = adam(gx.add_independent_weight_decay(0.01, 0.05))
    same = adam(gx.add_decoupled_weight_decay(0.01 / 0.05))
    assert distance(updates_of(ours, grads, params), updates_of(same, grads, params)) <= 1e-6


def test_corrected_decay_is_decoupled_decay_with_a_schedule():
    grads, params = inputs()
    rate = gx.warmup(gx.cosine_decay(0.05, 6), 4)

    def adam(decay):
        return gx.chain(gx.scale_by_adam(), decay, gx.scale_by_learning_rate(rate))

    ours = adam(gx.add_corrected_weight_decay(0.3, rate, 0.05))
    same = adam(gx.add_decoupled_weight_decay(gx.scale_schedule(rate, 0.3 / 0.05)))
    assert distance(updates_of(ours, grads, params), updates_of(same, grads, params)) <= 1e-6
    always = adam(gx.add_decoupled_weight_decay(0.3))
    assert distance(updates_of(ours, grads, params), updates_of(always, grads, params)) > 1e-2


def test_at_a_constant_peak_corrected_decay_is_decoupled_decay():
    grads, params = inputs()
    ours = corrected(0.3, 0.05, 0.05)
    assert (
        distance(updates_of(ours, grads, params), updates_of(decoupled(0.3, 0.05), grads, params))
        == 0
    )


# How weights without a gradient shrink


def shape(t):
    """A warmup and a cosine, with peak 1."""
    return np.where(t < 10, t / 10, (1 + np.cos(np.pi * np.minimum(t - 10, 30) / 30)) / 2)


def rate_of(peak):
    return gx.warmup(gx.cosine_decay(peak, 30), 10)


@pytest.mark.parametrize("peak", [1e-4, 1e-2, 1.0])
def test_what_each_mode_leaves_of_a_weight(peak):
    eta = peak * shape(np.arange(STEPS))
    modes = {
        "independent": (independent(0.05, rate_of(peak), peak), 1 - 0.05 * eta / peak),
        "decoupled": (decoupled(0.5, rate_of(peak)), 1 - 0.5 * eta),
        "corrected": (corrected(0.5, rate_of(peak), peak), 1 - 0.5 * eta * eta / peak),
    }
    for name, (tx, factors) in modes.items():
        left = train(tx, still) / np.asarray(W)
        expected = np.cumprod(factors)[:, None] * np.ones(3)
        np.testing.assert_allclose(left, expected, rtol=1e-5, err_msg=name)


def test_independent_shrinkage_is_the_same_for_every_peak():
    runs = [train(independent(0.05, rate_of(peak), peak), still) for peak in (1e-4, 1e-2, 1.0)]
    for run in runs[1:]:
        np.testing.assert_allclose(run, runs[0], rtol=1e-5)
    others = [train(decoupled(0.05, rate_of(peak)), still)[-1] for peak in (1e-2, 1.0)]
    assert abs(others[1] / others[0] - 1).max() > 0.1


def test_the_rate_of_a_plateau_corrects_too():
    watch = gx.reduce_on_plateau(0.5, factor=0.5, patience=0)
    tx = corrected(0.2, watch, 0.5)
    state, w = tx.init(W), W
    expected = 1.0
    for rate in (0.5, 0.25, 0.125):
        updates, state = tx.update(jnp.zeros(3), state, w, value=1.0)
        w = gx.apply_updates(w, updates)
        expected *= 1 - rate * 0.2 * rate / 0.5
        np.testing.assert_allclose(w / W, expected, rtol=1e-6)
    found = gx.hyperparams(state)
    assert found["learning_rate"] == found["current_learning_rate"] == 0.125


# Where weights end


def test_the_end_of_a_weight_that_is_always_pushed():
    """Adam's step for a constant gradient is 1, so that 1 + decay w = 0 at the end."""
    w = jnp.array([0.5, 3.0, -40.0])

    def end(decay, rate):
        tx = gx.chain(gx.scale_by_adam(eps=0.0), decay, gx.scale_by_learning_rate(rate))
        return train(tx, lambda w, t: jnp.ones_like(w), w, 8000)[-1]

    for rate in (0.05, 0.2):
        np.testing.assert_allclose(end(gx.add_decoupled_weight_decay(0.1), rate), -10, rtol=1e-3)
        ends = end(gx.add_independent_weight_decay(0.01, 0.2), rate)
        np.testing.assert_allclose(ends, -0.2 / 0.01, rtol=1e-3)
        ends = end(gx.add_corrected_weight_decay(0.1, rate, 0.2), rate)
        np.testing.assert_allclose(ends, -10 * 0.2 / rate, rtol=1e-3)
        # Decay against the push never sets in once the weight is below zero.
        ends = end(gx.add_cautious_weight_decay(0.1), rate)
        assert np.all(ends < -8000 * rate * 0.9)


def test_cautious_decay_does_not_move_the_minimum():
    """Decoupled decay does: (w - 1)²/2 has its end at 1 / (1 + λ)."""

    def end(decay):
        tx = gx.chain(decay, gx.scale_by_learning_rate(0.1))
        return train(tx, lambda w, t: w - 1.0, steps=500)[-1]

    np.testing.assert_allclose(end(gx.add_decoupled_weight_decay(0.5)), 1 / 1.5, rtol=1e-5)
    np.testing.assert_allclose(end(gx.add_cautious_weight_decay(0.5)), 1.0, rtol=1e-5)


def test_corrected_decay_keeps_the_length_of_normalized_weights():
    """Defazio 2025: steps u of length 1 across w make |w|² -> (1 - η λ_t)² |w|² + η².

    When the learning rate falls to a fifth, the decoupled end falls with it, and the gradients of
    what is normalized, which go as 1 / |w|, grow; the corrected end is η_max / (2 λ) throughout.
    """
    peak, low, weight_decay, half = 0.1, 0.02, 0.5, 2500
    rate = gx.piecewise_constant((peak, low), (half,))

    def across(w, t):
        x = jax.random.normal(jax.random.fold_in(jax.random.key(0), t), w.shape)
        x = x - jnp.vdot(x, w) / jnp.vdot(w, w) * w
        return x / jnp.linalg.norm(x)

    def lengths(tx):
        squares = np.sum(train(tx, across, jnp.ones(20), 2 * half) ** 2, axis=1)
        return squares[half - 1], squares[-1]

    def end(eta, decay):
        return eta**2 / (1 - (1 - eta * decay) ** 2)

    found = lengths(decoupled(weight_decay, rate))
    np.testing.assert_allclose(found, [end(peak, 0.5), end(low, 0.5)], rtol=1e-3)
    found = lengths(corrected(weight_decay, rate, peak))
    np.testing.assert_allclose(found, [end(peak, 0.5), end(low, 0.1)], rtol=1e-3)
    assert found[1] / found[0] == pytest.approx(1.0, abs=0.03)


# Cautious decay, coordinate by coordinate


def test_cautious_decay_is_where_the_signs_agree():
    """And where the update is zero: the paper's condition is u w >= 0."""
    w = jnp.array([2.0, 2.0, 2.0, -2.0, -2.0, 0.0])
    u = jnp.array([0.1, -0.1, 0.0, 0.1, -0.1, 0.1])
    found, _ = gx.add_cautious_weight_decay(0.5).update(u, optax.EmptyState(), w)
    np.testing.assert_allclose(found, [1.1, -0.1, 1.0, 0.1, -1.1, 0.1], rtol=1e-6)


def test_cautious_decay_of_numbers_whose_product_underflows():
    w, u = jnp.array([1e-30, -1e-30]), jnp.array([1e-30, 1e-30])
    found, _ = gx.add_cautious_weight_decay(1.0).update(u, optax.EmptyState(), w)
    np.testing.assert_allclose(found, [2e-30, 1e-30])


def test_cautious_decay_of_complex_weights():
    """Where the update has a part along the weight."""
    w = jnp.array([1 + 1j, 1j, -2.0 + 0j])
    u = jnp.array([1.0 + 0j, -0.5j, 1j])
    found, _ = gx.add_cautious_weight_decay(0.5).update(u, optax.EmptyState(), w)
    np.testing.assert_allclose(found, u + 0.5 * w * jnp.array([1, 0, 1]), rtol=1e-6)


# Calls


MODES = {
    "independent": lambda **mask: gx.add_independent_weight_decay(0.1, 0.5, **mask),
    "corrected": lambda **mask: gx.add_corrected_weight_decay(0.1, 0.2, 0.5, **mask),
    "cautious": lambda **mask: gx.add_cautious_weight_decay(0.1, **mask),
}


@pytest.mark.parametrize("mode", MODES)
def test_masks_and_missing_parameters(mode):
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    grads = jax.tree.map(jnp.zeros_like, params)
    tx = MODES[mode](mask={"kernel": True, "bias": False})
    updates, _ = tx.update(grads, tx.init(params), params)
    assert np.all(np.asarray(updates["kernel"]) > 0)
    assert np.all(np.asarray(updates["bias"]) == 0)
    with pytest.raises(ValueError, match="reads the parameters"):
        tx.update(grads, tx.init(params))


REFUSED = {
    "a peak of 0": lambda: gx.add_independent_weight_decay(0.1, 0.0),
    "a negative peak": lambda: gx.add_corrected_weight_decay(0.1, 0.1, -1.0),
    "a negative decay": lambda: gx.add_cautious_weight_decay(-0.1),
    "a negative rate": lambda: gx.add_corrected_weight_decay(0.1, -0.1, 1.0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_when_it_is_built(name):
    with pytest.raises(ValueError, match="must be a"):
        REFUSED[name]()


def test_the_modes_are_live():
    rate = gx.cosine_decay(0.5, 10)
    tx = gx.chain(
        gx.add_independent_weight_decay(gx.tunable(0.1), gx.tunable(0.5)),
        gx.add_corrected_weight_decay(gx.linear_schedule(0.1, 0.0, 10), rate, 0.5),
    )
    state = tx.init(W)
    found = gx.hyperparams(state)
    assert found["0/weight_decay"] == found["1/weight_decay"] == np.float32(0.1)
    assert found["current_learning_rate"] == 0.5
    state = gx.set_hyperparams(state, peak_learning_rate=0.25)
    updates, _ = tx.update(jnp.zeros(3), state, W)
    np.testing.assert_allclose(updates, (0.1 / 0.25 + 0.1) * W, rtol=1e-6)


@pytest.mark.parametrize("build", [gx.add_decoupled_weight_decay, gx.add_l2_regularization])
def test_no_decay_does_not_look_at_the_weights(build):
    weights = {"w": jnp.array([jnp.inf, 1.0])}
    updates, _ = build(0.0).update({"w": jnp.ones(2)}, optax.EmptyState(), weights)
    np.testing.assert_array_equal(updates["w"], [1.0, 1.0])


@pytest.mark.parametrize(
    "name", ["adamw", "adabelief", "mars", "lion", "novograd", "dadapt_adamw", "cautious decay"]
)
def test_no_decay_asks_for_no_parameters(name):
    if name == "cautious decay":
        tx = gx.add_cautious_weight_decay(0.0)
    else:
        tx = getattr(gx, name)(0.1, weight_decay=0.0)
    grads = {"w": jnp.ones(2)}
    updates, _ = tx.update(grads, tx.init(grads))
    assert updates["w"].shape == (2,)
