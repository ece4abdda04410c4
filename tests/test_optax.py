"""The catalog against optax, and the places where the two differ on purpose.

Both compute in float32, so they agree to a few roundings: 2e-5 of an array's largest element.
`CHANGES` holds the arguments under which the formulas are the same.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import CATALOG, SCHEDULES
from rows.row import is_kernel
from steps import distance, inputs, updates_of

import gradxform as gx

TOLERANCE = 2e-5

OPTAX = {
    "identity": lambda: optax.identity(),
    "scale": lambda factor: optax.scale(factor),
    "scale_by_learning_rate": lambda learning_rate: optax.scale_by_learning_rate(learning_rate),
    "scale_by_momentum": lambda momentum, nesterov=False: optax.trace(momentum, nesterov),
    "scale_by_rss": optax.scale_by_rss,
    "scale_by_rms": lambda decay, eps, centered=False: (
        optax.scale_by_stddev if centered else optax.scale_by_rms
    )(decay, eps, eps_in_sqrt=False),
    "scale_by_adam": optax.scale_by_adam,
    "scale_by_lion": optax.scale_by_lion,
    "add_decoupled_weight_decay": optax.add_decayed_weights,
    "add_l2_regularization": lambda l2, mask: optax.add_decayed_weights(l2, mask),
    "clip_by_value": lambda max_value: optax.clip(max_value),
    "clip_by_global_norm": lambda max_norm, **_: optax.clip_by_global_norm(max_norm),
    "chain": lambda: optax.chain(optax.clip(0.5), optax.scale_by_adam(eps=1e-4), optax.scale(-0.1)),
    "named_chain": lambda: optax.named_chain(
        ("clip", optax.clip_by_global_norm(0.7)),
        ("adam", optax.adam(optax.linear_schedule(0.1, 0.0, 9), b1=0.8, eps=1e-4)),
    ),
    "sgd": optax.sgd,
    "adagrad": optax.adagrad,
    "rmsprop": lambda **kwargs: optax.rmsprop(**kwargs, eps_in_sqrt=False),
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
}
# optax's AdaGrad has eps under the root.
CHANGES = {"scale_by_rss": {"eps": 0.0}, "adagrad": {"eps": 0.0}}
ROWS = [row for row in CATALOG if row.name in OPTAX]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_ten_steps(row):
    changes = CHANGES.get(row.name, {})
    ours = updates_of(row.build(**changes), *inputs(), jit=False)
    theirs = updates_of(OPTAX[row.name](**{**row.arguments, **changes}), *inputs(), jit=False)
    assert distance(ours, theirs) <= TOLERANCE


def test_the_table_names_rows_of_the_catalog():
    assert OPTAX.keys() == {row.name for row in ROWS}
    assert CHANGES.keys() <= OPTAX.keys()


# Schedules

OPTAX_SCHEDULES = {
    "constant_schedule": optax.constant_schedule,
    "linear_schedule": lambda start, end, steps: optax.linear_schedule(start, end, steps),
    # The end as a fraction of the first value.
    "cosine_decay": lambda value, steps, end: optax.cosine_decay_schedule(
        value, steps, alpha=end / value
    ),
    "exponential_decay": lambda value, steps, factor: optax.exponential_decay(
        value, steps, decay_rate=factor
    ),
    "step_decay-every": lambda value, factor, every: optax.exponential_decay(
        value, every, decay_rate=factor, staircase=True
    ),
    "step_decay-boundaries": lambda value, factor, boundaries: optax.piecewise_constant_schedule(
        value, dict.fromkeys(boundaries, factor)
    ),
    # optax counts the warmup into `decay_steps`.
    "warmup": lambda schedule, steps, start: optax.warmup_cosine_decay_schedule(
        start, 0.3, warmup_steps=steps, decay_steps=steps + 40
    ),
    "join_schedules": lambda schedules, boundaries: optax.join_schedules(
        [
            optax.linear_schedule(0.0, 0.3, 10),
            optax.constant_schedule(0.3),
            optax.cosine_decay_schedule(0.3, 20),
        ],
        boundaries,
    ),
}


@pytest.mark.parametrize("row", [row for row in SCHEDULES if str(row) in OPTAX_SCHEDULES], ids=str)
def test_a_schedule_step_by_step(row):
    """Also at each boundary: the step at it has the next value, in both."""
    ours, theirs = row.build(), OPTAX_SCHEDULES[str(row)](**row.arguments)
    ticks = jnp.arange(130)
    np.testing.assert_allclose(ours(ticks), jax.vmap(theirs)(ticks), rtol=1e-5, atol=1e-7)


def test_the_table_names_schedules_of_the_catalog():
    assert OPTAX_SCHEDULES.keys() <= set(map(str, SCHEDULES))


# Where the two differ

W = {"w": jnp.array([1.0, -2.0])}
G = {"w": jnp.array([0.5, 2.0])}


def first_update(tx, grads=G):
    return np.asarray(tx.update(grads, tx.init(W), W)[0]["w"], np.float64)


def test_adagrad_starts_from_zero_with_eps_outside_the_root():
    """As in the paper and torch; optax starts from 0.1, with eps under the root."""
    g = np.asarray(G["w"])
    np.testing.assert_allclose(first_update(gx.adagrad(1.0, eps=0.25)), -g / (abs(g) + 0.25), 1e-6)
    theirs = first_update(optax.adagrad(1.0, eps=0.25))
    np.testing.assert_allclose(theirs, -g / np.sqrt(g**2 + 0.1 + 0.25), 1e-6)


@pytest.mark.parametrize("centered", [False, True])
def test_rmsprop_has_eps_outside_the_root(centered):
    """As in torch; optax has it under the root, unless `eps_in_sqrt=False`."""
    g = np.asarray(G["w"])
    variance = 0.1 * g**2 - centered * 0.01 * g**2
    ours = first_update(gx.rmsprop(1.0, eps=0.25, centered=centered))
    theirs = first_update(optax.rmsprop(1.0, eps=0.25, centered=centered))
    np.testing.assert_allclose(ours, -g / (np.sqrt(variance) + 0.25), 1e-6)
    np.testing.assert_allclose(theirs, -g / np.sqrt(variance + 0.25), 1e-6)


def test_rmsprops_momentum_comes_before_the_learning_rate():
    """As in torch, and as in SGD in both: a learning rate that falls to 0 stops the parameters.

    optax puts it after: the velocity holds steps that were scaled already, and moves on.
    """

    def stopping(step):
        return jnp.where(step < 1, 0.1, 0.0)

    grads, params = [G, G], [W, W]
    ours = updates_of(gx.rmsprop(stopping, momentum=0.9), grads, params)
    theirs = updates_of(optax.rmsprop(stopping, momentum=0.9), grads, params)
    assert np.all(np.asarray(ours[1]["w"]) == 0)
    np.testing.assert_allclose(theirs[1]["w"], 0.9 * theirs[0]["w"], rtol=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(gx.adamw(1.0), optax.adamw(1.0)), (gx.add_decoupled_weight_decay(), None)],
    ids=["adamw", "block"],
)
def test_the_default_weight_decay_is_torchs(ours, theirs):
    """0.01; optax's AdamW has 1e-4, and its block 0."""
    still = {"w": jnp.zeros(2)}
    np.testing.assert_allclose(abs(first_update(ours, still)), 0.01 * abs(W["w"]), 1e-6)
    if theirs is not None:
        np.testing.assert_allclose(abs(first_update(theirs, still)), 1e-4 * abs(W["w"]), 1e-6)


@pytest.mark.parametrize("name", ["adam", "lion", "sgd"])
def test_defaults_that_are_the_same(name):
    ours, theirs = getattr(gx, name)(0.1), getattr(optax, name)(0.1)
    assert distance(updates_of(ours, *inputs()), updates_of(theirs, *inputs())) <= TOLERANCE


def test_the_end_of_a_cosine_is_a_value():
    """optax takes it as a fraction of the first value."""
    assert gx.cosine_decay(0.3, 40, end=0.1)(40) == np.float32(0.1)
    assert optax.cosine_decay_schedule(0.3, 40, alpha=0.1)(40) == pytest.approx(0.03)


def test_a_warmup_comes_before_the_schedule():
    """optax's `decay_steps` includes the warmup, so the same numbers give a shorter decay."""
    ours = gx.warmup(gx.cosine_decay(0.3, 40), 10)
    theirs = optax.warmup_cosine_decay_schedule(0.0, 0.3, warmup_steps=10, decay_steps=40)
    assert theirs(40) == pytest.approx(0.0, abs=1e-8)
    assert ours(50) == pytest.approx(0.0, abs=1e-8)
    assert ours(40) > 0.01


def test_moments_of_narrow_parameters_are_float32():
    """optax keeps them in the parameters' dtype, where 0.999 of an average is all of it."""
    w = {"w": jnp.ones(2, jnp.bfloat16)}
    assert gx.scale_by_adam().init(w).nu["w"].dtype == jnp.float32
    assert optax.scale_by_adam().init(w).nu["w"].dtype == jnp.bfloat16
    asked = gx.scale_by_adam(state_dtype="bfloat16").init(w)
    assert asked.mu["w"].dtype == asked.nu["w"].dtype == jnp.bfloat16


def test_a_gradient_of_zeros_without_eps():
    """0 / 0 is 0 here and NaN in optax's Adam."""
    still = {"w": jnp.zeros(2)}
    assert np.all(first_update(gx.scale_by_adam(eps=0.0), still) == 0)
    assert np.all(np.isnan(first_update(optax.scale_by_adam(eps=0.0), still)))


def test_bias_correction_keeps_its_digits():
    """1 - b2^t cancels in float32, so optax's first updates miss some digits."""
    ours = first_update(gx.scale_by_adam(b2=0.9999, eps=0.0))
    theirs = first_update(optax.scale_by_adam(b2=0.9999, eps=0.0))
    assert np.max(abs(ours - [1.0, 1.0])) < 1e-6
    assert np.max(abs(theirs - [1.0, 1.0])) > 1e-5


def test_a_scheduled_hyperparameter_reads_as_with_inject_hyperparams():
    """After `init` the value of step 0, after `update` the value that this update used."""
    line = gx.linear_schedule(0.4, 0.0, 4)
    ours, theirs = gx.sgd(line), optax.inject_hyperparams(optax.sgd)(line)
    a, b = ours.init(W), theirs.init(W)
    for expected in (0.4, 0.4, 0.3, 0.2):
        assert gx.hyperparams(a)["learning_rate"] == pytest.approx(expected)
        assert b.hyperparams["learning_rate"] == pytest.approx(expected)
        a, b = ours.update(G, a)[1], theirs.update(G, b)[1]


def test_masks_mean_the_same():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    grads = jax.tree.map(jnp.zeros_like, params)
    for mask in (is_kernel, {"kernel": True, "bias": False}):
        ours, theirs = (m.adamw(1.0, weight_decay=0.5, mask=mask) for m in (gx, optax))
        a, b = (tx.update(grads, tx.init(params), params)[0] for tx in (ours, theirs))
        assert np.all(np.asarray(a["bias"]) == 0)
        assert distance([a], [b]) == 0
