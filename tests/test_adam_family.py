"""Adam's relatives against optax, and where they differ on purpose.

Both compute in float32, so they agree to a few roundings: 2e-5 of an array's largest element.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import adam_family, adam_successors
from rows.row import Row
from steps import distance, inputs, updates_of

import gradxform as gx

RATE, MOMENTS = 0.1, {"b1": 0.8, "b2": 0.95, "eps": 1e-6}
W = {"w": jnp.array([1.0, -2.0])}
G = {"w": jnp.array([0.5, 2.0])}


def first_update(tx, grads=G):
    return np.asarray(tx.update(grads, tx.init(W), W)[0]["w"], np.float64)


def ten_updates(tx, between=None):
    return updates_of(tx, *inputs(), between, jit=False)


# optax

contrib = optax.contrib
PLAIN_AMSGRAD = {"bias_correction_mu": False, "bias_correction_nu": False}
OPTAX = {
    "scale_by_adam": optax.scale_by_adam,
    "scale_by_amsgrad": lambda **k: optax.scale_by_amsgrad(**k, **PLAIN_AMSGRAD),
    "scale_by_adamax": optax.scale_by_adamax,
    "scale_by_radam": optax.scale_by_radam,
    # It has a number for each place of eps.
    "scale_by_belief": lambda eps, **k: optax.scale_by_belief(**k, eps=eps, eps_root=eps),
    "scale_by_adadelta": optax.scale_by_adadelta,
    "scale_by_ademamix": contrib.scale_by_ademamix,
    "scale_by_adopt": lambda clip_exponent, **k: contrib.scale_by_adopt(
        **k, clip_value_fn=lambda t: t**clip_exponent
    ),
    "nadam": optax.nadam,
    "nadamw": optax.nadamw,
    "amsgrad": lambda **k: optax.amsgrad(**k, **PLAIN_AMSGRAD),
    "adamax": optax.adamax,
    "adamaxw": optax.adamaxw,
    "radam": optax.radam,
    "adabelief": lambda eps, weight_decay, mask, learning_rate, **k: optax.chain(
        optax.scale_by_belief(**k, eps=eps, eps_root=eps),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(learning_rate),
    ),
    "adadelta": optax.adadelta,
    "ademamix": contrib.ademamix,
    "adopt": lambda clip_exponent, weight_decay, mask, learning_rate, **k: optax.chain(
        contrib.scale_by_adopt(**k, clip_value_fn=lambda t: t**clip_exponent),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(learning_rate),
    ),
    # Without a mask, which it does not have.
    "novograd": lambda momentum, decay, mask, **k: optax.novograd(**k, b1=momentum, b2=decay),
}


ROWS = [r for r in (*adam_family.ROWS, *adam_successors.ROWS) if r.name in OPTAX]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_ten_steps_of_optax(row: Row):
    changes = {"mask": None} if row.name == "novograd" else {}
    ours = ten_updates(row.build(**changes))
    assert distance(ours, ten_updates(OPTAX[row.name](**{**row.arguments, **changes}))) <= 2e-5


def test_the_table_names_rows():
    assert OPTAX.keys() == {row.name for row in ROWS}


# eps under the root

SAME = {"eps": 0.0, "eps_root": 1e-3}
ROOT = {"eps": 0.0, "eps_root": 1e-3, "b2": 0.95}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gx.scale_by_rss(0.1, **SAME), optax.scale_by_rss(0.1, eps=1e-3)),
        (gx.scale_by_rms(0.8, **SAME), optax.scale_by_rms(0.8, eps=1e-3)),
        pytest.param(
            gx.scale_by_rms(0.8, **SAME, centered=True),
            optax.scale_by_stddev(0.8, eps=1e-3),
            id="centered",
        ),
        (gx.scale_by_adam(b2=0.95, **SAME), optax.scale_by_adam(**ROOT)),
        (gx.adagrad(RATE, 0.1, **SAME), optax.adagrad(RATE, 0.1, eps=1e-3)),
        (gx.rmsprop(RATE, 0.8, **SAME), optax.rmsprop(RATE, 0.8, eps=1e-3)),
        (gx.adam(RATE, b2=0.95, **SAME), optax.adam(RATE, **ROOT)),
        (
            gx.adamw(RATE, b2=0.95, **SAME, weight_decay=0.2),
            optax.adamw(RATE, **ROOT, weight_decay=0.2),
        ),
        (
            gx.nadamw(RATE, b2=0.95, **SAME, weight_decay=0.2),
            optax.nadamw(RATE, **ROOT, weight_decay=0.2),
        ),
    ],
    ids=lambda tx: getattr(getattr(tx, "recipe", None), "name", "optax"),
)
def test_eps_under_the_root_is_optaxs(ours, theirs):
    assert distance(ten_updates(ours), ten_updates(theirs)) <= 2e-5


# Where optax differs from the paper


def test_amsgrad_corrects_no_bias():
    """As in the paper; optax corrects before the maximum by default, torch after it.

    The first update is (1 - b1) / sqrt(1 - b2) in size, not 1.
    """
    g = np.asarray(G["w"])
    size = (1 - 0.9) / np.sqrt(1 - 0.999)
    np.testing.assert_allclose(first_update(gx.scale_by_amsgrad()), size * np.sign(g), rtol=1e-6)
    for place in ("before", "after"):
        corrected = gx.scale_by_amsgrad(bias_correction=place)
        np.testing.assert_allclose(first_update(corrected), np.sign(g), rtol=1e-5)
    ours = ten_updates(gx.scale_by_amsgrad(**MOMENTS, bias_correction="before"))
    assert distance(ours, ten_updates(optax.scale_by_amsgrad(**MOMENTS))) <= 2e-5


def test_a_maximum_of_corrected_averages_keeps_the_first_gradient():
    """optax's: v_1 / (1 - b2) = g_1² stays; the paper's v_1 is 1 - b2 of it and is outgrown."""
    grads = [{"w": jnp.array([x])} for x in (1.0, 0.1, 0.1, 0.1)]
    params = [{"w": jnp.zeros(1)}] * 4
    before, none = (
        updates_of(gx.scale_by_amsgrad(b1=0.0, b2=0.5, eps=0.0, bias_correction=c), grads, params)
        for c in ("before", None)
    )
    np.testing.assert_allclose([u["w"][0] for u in before], [1.0, 0.1, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(
        [u["w"][0] for u in none], np.array([1.0, 0.1, 0.1, 0.1]) / np.sqrt(0.5), rtol=1e-6
    )


def test_radams_threshold_is_the_papers():
    """4; optax and torch have 5. They differ at step 5 alone, where ρ is 4.9 for b2 = 0.97."""
    theirs = ten_updates(optax.scale_by_radam(b2=0.97))
    for threshold, steps in ((4.0, [5]), (5.0, [])):
        ours = ten_updates(gx.scale_by_radam(b2=0.97, threshold=threshold))
        errors = [distance([a], [b]) for a, b in zip(ours, theirs, strict=True)]
        assert [t for t, e in enumerate(errors, 1) if e > 1e-4] == steps


def test_radams_rectification_keeps_its_digits():
    """The first rectified step at the defaults: optax's ρ is a difference of numbers near 2000,
    taken in float32, and its step is 1 % off.
    """

    def sixth(tx):
        return float(updates_of(tx, [{"w": np.ones(())}] * 6, [{"w": np.ones(())}] * 6)[-1]["w"])

    with jax.enable_x64(True):
        exact = sixth(gx.scale_by_radam(eps=0.0))
    assert sixth(gx.scale_by_radam(eps=0.0)) == pytest.approx(exact, rel=1e-6)
    assert sixth(optax.scale_by_radam(eps=0.0)) != pytest.approx(exact, rel=5e-3)


def test_adans_step_ahead_has_the_weight_b2():
    """The paper's 1 - β2, where β2 = 1 - b2; optax has 1 - b2, which is the same at 0.5 only."""
    both = {"b1": 0.9, "b3": 0.95, "eps": 1e-6}
    for b2, same in ((0.5, True), (0.92, False)):
        ours = ten_updates(gx.scale_by_adan(**both, b2=b2))
        error = distance(ours, ten_updates(optax.scale_by_adan(**both, b2=b2)))
        assert (error <= 2e-5) == same
        assert same or error > 0.1


def test_yogi_leaves_a_parameter_without_gradients_alone():
    """optax's first moment starts from the second's initial value, and all parameters drift."""
    still = {"w": jnp.zeros(2)}
    for tx in (gx.scale_by_yogi(), gx.scale_by_yogi(initial_accumulator_value=1e-6)):
        assert np.all(first_update(tx, still) == 0)
    assert np.all(first_update(optax.scale_by_yogi(), still) > 1e-4)


def test_yogi_with_corrections_is_optaxs_but_for_the_first_moment():
    arguments = {"b1": 0.8, "b2": 0.7, "eps": 1e-4, "initial_accumulator_value": 0.05}
    ours = ten_updates(gx.scale_by_yogi(**arguments, bias_correction=True))

    def from_zero(t, state):
        return state._replace(mu=jax.tree.map(jnp.zeros_like, state.mu)) if t == 0 else state

    theirs = optax.scale_by_yogi(**arguments)
    assert distance(ours, ten_updates(theirs, from_zero)) <= 2e-5
    assert distance(ours, ten_updates(theirs)) > 1e-3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gx.nadam(RATE), optax.nadam(RATE)),
        (gx.adamax(RATE), optax.adamax(RATE)),
        (gx.adabelief(RATE), optax.adabelief(RATE)),
        (gx.ademamix(RATE), contrib.ademamix(RATE)),
        (gx.adopt(RATE), contrib.adopt(RATE)),
        (gx.nadamw(RATE, weight_decay=1e-4), optax.nadamw(RATE)),
        (gx.adamaxw(RATE, weight_decay=1e-4), optax.adamaxw(RATE)),
        (gx.adadelta(RATE, rho=0.9), optax.adadelta(RATE)),
        (gx.radam(RATE, b2=0.97, threshold=5.0), optax.radam(RATE, b2=0.97)),
        (gx.amsgrad(RATE, bias_correction="before"), optax.amsgrad(RATE)),
        (gx.novograd(RATE, momentum=0.9, decay=0.25, eps=1e-6), optax.novograd(RATE)),
    ],
    ids=lambda tx: getattr(getattr(tx, "recipe", None), "name", "optax"),
)
def test_the_calls_that_give_optaxs_defaults(ours, theirs):
    # 2e-4: 1 - b2^t loses digits there.
    assert distance(ten_updates(ours), ten_updates(theirs)) <= 2e-4


# Arguments


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gx.scale_by_amsgrad(bias_correction="yes"), "one of 'before', 'after'"),
        (lambda: gx.radam(1e-3, threshold=3.0), "`threshold` must be at least 4; got 3.0"),
        (lambda: gx.adan(1e-3, b3=1.0), "`b3` must be at least 0 and below 1; got 1.0"),
        (lambda: gx.mars(1e-3, max_norm=0.0), "`max_norm` must be above 0; got 0.0"),
        (lambda: gx.adopt(1e-3, clip_exponent=-1), "`clip_exponent` must be at least 0; got -1"),
        (lambda: gx.linear_half_life(0.0, 0.9, 10), "`start` must be above 0 and below 1"),
        (lambda: gx.ademamix(1e-3, alpha=-1.0), "`alpha` must be at least 0; got -1.0"),
    ],
)
def test_arguments_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["nadamw", "adamaxw", "adabelief", "adan", "mars", "novograd"])
def test_decay_needs_the_parameters(name):
    tx = getattr(gx, name)(1e-3, weight_decay=0.1)
    with pytest.raises(ValueError, match="`add_decoupled_weight_decay` reads the parameters"):
        tx.update(G, tx.init(W))


def test_one_b1_of_mars_changes_both_of_its_uses():
    tx = gx.mars(RATE, b1=gx.tunable(0.9))
    state = gx.set_hyperparams(tx.init(W), b1=0.5)
    update, _ = tx.update(G, state, W)
    expected = first_update(gx.mars(RATE, b1=0.5))
    np.testing.assert_allclose(update["w"], expected, rtol=1e-6)
