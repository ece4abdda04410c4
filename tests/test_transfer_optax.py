"""From Optax in the middle of a run: the updates after it are those that Optax would have made."""

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import at as tree_at, gradients, normal

import gradxform as gx

BEFORE, AFTER = 3, 3  # steps
PARAMS = {
    "tall": {"kernel": normal((5, 3)), "bias": normal((3,), seed=1)},
    "wide": [normal((3, 4), seed=2), normal((), seed=3)],
}
GRADS = gradients(PARAMS, steps=BEFORE + AFTER)
LABELS = {"tall": {"kernel": "a", "bias": "b"}, "wide": ["a", "b"]}
MASK = jax.tree.map(lambda label: label == "a", LABELS)
BY_LABEL = {name: jax.tree.map(lambda x, n=name: x == n, LABELS) for name in "ab"}


def fall(optaxs):
    """The same schedule, as Optax's and as one of this library."""
    return optax.linear_schedule(0.1, 0.02, 5) if optaxs else gx.linear_schedule(0.1, 0.02, 5)


def frozen(inner):
    groups = {"a": inner, "b": optax.set_to_zero()}
    return optax.partition(groups, LABELS)


# Optax's, and the line that takes its place.
SWITCHES = {
    "sgd": (optax.sgd(fall(True), momentum=0.9), gx.sgd(fall(False), momentum=0.9)),
    "nesterov": (optax.sgd(0.1, 0.9, nesterov=True), gx.sgd(0.1, 0.9, nesterov=True)),
    "adam": (optax.adam(0.1), gx.adam(0.1)),
    "adamw": (
        optax.adamw(fall(True), weight_decay=0.1, mask=MASK),
        gx.adamw(fall(False), weight_decay=0.1, mask=MASK),
    ),
    "nadam": (optax.nadam(0.1), gx.nadam(0.1)),
    "adamax": (optax.adamax(0.1), gx.adamax(0.1)),
    "adabelief": (optax.adabelief(0.1), gx.adabelief(0.1)),
    "amsgrad": (
        optax.amsgrad(0.1),
        gx.chain(gx.scale_by_amsgrad(bias_correction="before"), gx.scale_by_learning_rate(0.1)),
    ),
    "yogi": (
        optax.yogi(0.1),
        gx.chain(
            gx.scale_by_yogi(initial_accumulator_value=1e-6, eps=1e-3, bias_correction=True),
            gx.scale_by_learning_rate(0.1),
        ),
    ),
    "lars": (optax.lars(0.1), gx.lars(0.1, weight_decay=0.0)),
    "lion": (optax.lion(fall(True)), gx.lion(fall(False))),
    "rmsprop": (optax.rmsprop(0.1), gx.rmsprop(0.1, eps=0.0, eps_root=1e-8)),
    "rmsprop with momentum of steps": (
        optax.rmsprop(0.1, centered=True, momentum=0.9),
        gx.chain(
            gx.scale_by_rms(eps=0.0, eps_root=1e-8, centered=True),
            gx.scale_by_learning_rate(0.1),
            gx.scale_by_momentum(0.9),
        ),
    ),
    "adagrad": (
        optax.adagrad(0.1),
        gx.adagrad(0.1, initial_accumulator_value=0.1, eps=0.0, eps_root=1e-7),
    ),
    "adadelta": (optax.adadelta(1.0), gx.adadelta(1.0, rho=0.9)),
    "adafactor": (
        optax.adafactor(fall(True), min_dim_size_to_factor=2),
        gx.adafactor(fall(False), min_dim_size_to_factor=2),
    ),
    "a chain": (
        optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.scale_by_adam(b2=0.99),
            optax.add_decayed_weights(0.1),
            optax.scale_by_schedule(lambda t: -fall(True)(t)),
        ),
        gx.chain(
            gx.clip_by_global_norm(1.0),
            gx.scale_by_adam(b2=0.99),
            gx.add_decoupled_weight_decay(0.1),
            gx.scale_by_learning_rate(fall(False)),
        ),
    ),
    "a named chain": (
        optax.named_chain(("moments", optax.scale_by_adam()), ("rate", optax.scale(-0.1))),
        gx.adam(0.1),
    ),
    "two averages": (
        optax.chain(optax.ema(0.9), optax.trace(0.5), optax.trace(0.8)),
        gx.chain(
            gx.scale_by_ema(0.9, debias=True),
            gx.scale_by_momentum(0.5),
            gx.scale_by_momentum(0.8),
        ),
    ),
    "windows that are half full": (
        optax.MultiSteps(optax.adam(fall(True)), 2).gradient_transformation(),
        gx.accumulate(gx.adam(fall(False)), every=2),
    ),
    "hyperparameters that are injected": (
        optax.inject_hyperparams(optax.adamw)(fall(True), b1=0.8, weight_decay=0.3),
        gx.adamw(fall(False), b1=gx.tunable(0.5), weight_decay=gx.tunable(0.1)),
    ),
    "groups": (
        optax.partition({"a": optax.adam(fall(True)), "b": optax.sgd(0.1, 0.9)}, LABELS),
        gx.partition(
            {"a": (BY_LABEL["a"], gx.adam(fall(False))), "b": (BY_LABEL["b"], gx.sgd(0.1, 0.9))}
        ),
    ),
    "groups that are joined": (
        optax.partition({"a": optax.adam(0.1), "b": optax.adam(0.1)}, LABELS),
        gx.adam(0.1),
    ),
    "a mask": (
        optax.masked(optax.chain(optax.scale_by_adam(), optax.scale(-0.1)), MASK),
        gx.masked(gx.adam(0.1), MASK),
    ),
    "frozen parameters": (
        frozen(optax.adam(0.1)),
        gx.freeze(gx.adam(0.1), BY_LABEL["b"]),
    ),
    "a guard": (
        optax.apply_if_finite(optax.adam(fall(True)), 5),
        gx.skip_nonfinite(gx.adam(fall(False))),
    ),
}


def apart(actual, expected):
    """The largest error of any array, in units of its largest element."""
    errors = [
        float(np.max(abs(np.asarray(a, "float64") - np.asarray(b, "float64"))))
        / max(float(np.max(abs(np.asarray(b, "float64")))), 1e-30)
        for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    ]
    return max(errors)


def as_it_is(state):
    return state


def without_its_types(state):
    plain = dict(state) if isinstance(state, dict) else state  # msgpack knows no ordered ones
    return flax.serialization.msgpack_restore(flax.serialization.to_bytes(plain))


def in_lists_and_dicts(state):
    """What Orbax restores without a template."""
    if hasattr(state, "_fields"):
        fields = {name: in_lists_and_dicts(x) for name, x in state._asdict().items()}
        return fields or None
    if isinstance(state, tuple | list):
        return [in_lists_and_dicts(x) for x in state]
    if isinstance(state, dict):
        return {name: in_lists_and_dicts(x) for name, x in state.items()}
    return state


@pytest.mark.parametrize("restored", [as_it_is, without_its_types, in_lists_and_dicts])
@pytest.mark.parametrize("name", SWITCHES)
def test_the_next_updates_are_what_optaxs_would_have_been(name, restored):
    theirs, tx = SWITCHES[name]
    state = theirs.init(PARAMS)
    for t in range(BEFORE):
        _, state = theirs.update(tree_at(GRADS, t), state, PARAMS)
    ours, report = gx.transfer_state(restored(state), tx, PARAMS)
    assert jax.tree.structure(ours) == jax.tree.structure(tx.init(PARAMS))
    assert report.kept
    for t in range(BEFORE, BEFORE + AFTER):
        grads = tree_at(GRADS, t)
        expected, state = theirs.update(grads, state, PARAMS)
        actual, ours = tx.update(grads, ours, PARAMS)
        assert apart(actual, expected) < 2e-5
    if "schedule" in name or name in ("sgd", "adamw", "lion", "a guard"):
        assert float(gx.hyperparams(ours)["learning_rate"]) == pytest.approx(0.02)


def after_steps(tx, steps=BEFORE):
    state = tx.init(PARAMS)
    for t in range(steps):
        _, state = tx.update(tree_at(GRADS, t), state, PARAMS)
    return state


@pytest.mark.parametrize(
    ("theirs", "tx", "name"),
    [
        (optax.rmsprop(0.1, momentum=0.9), gx.rmsprop(0.1, momentum=0.9), "trace"),
        (optax.rmsprop(fall(True), momentum=0.9), gx.rmsprop(0.1, momentum=0.9), "trace"),
        (optax.adafactor(0.1, momentum=0.9), gx.adafactor(0.1, momentum=0.9), "ema"),
    ],
    ids=["rmsprop", "rmsprop with a schedule", "adafactor"],
)
def test_a_velocity_of_steps_is_not_taken_for_one_of_gradients(theirs, tx, name):
    """Optax has the learning rate in front of these; here it comes after, as in torch."""
    state, report = gx.transfer_state(after_steps(theirs), tx, PARAMS)
    assert all(not np.any(x) for x in jax.tree.leaves(optax.tree.get(state, name)))
    notes = {entry.note for entry in (*report.new, *report.dropped) if f"/{name}/" in entry.path}
    assert notes == {"after the learning rate in the old state, before it here"}
    assert any("/nu/" in entry.path for entry in report.kept)


def test_a_constant_learning_rate_becomes_a_schedule_that_goes_on_at_the_step():
    tx = gx.adam(fall(False))
    state = gx.transfer_state(after_steps(optax.adam(0.1)), tx, PARAMS).state
    assert int(optax.tree.get(state[1], "count")) == BEFORE
    _, state = tx.update(tree_at(GRADS, BEFORE), state, PARAMS)
    assert float(gx.hyperparams(state)["learning_rate"]) == pytest.approx(fall(True)(BEFORE))


def test_a_state_that_counts_nothing_is_told_the_step():
    old, tx = after_steps(optax.sgd(0.1, momentum=0.9)), gx.sgd(fall(False), momentum=0.9)
    _, report = gx.transfer_state(old, tx, PARAMS)
    assert [(e.path, "step=" in e.note) for e in report.new] == [("1/count", True)]
    state, report = gx.transfer_state(old, tx, PARAMS, step=BEFORE)
    assert int(state[1].count) == BEFORE
    assert not report.new
    with pytest.raises(ValueError, match=r"transfer_state\(step=-1\)"):
        gx.transfer_state(old, tx, PARAMS, step=-1)


def test_sixteen_bits_are_cast_and_said():
    old = after_steps(optax.adam(0.1, mu_dtype="bfloat16"))
    state, report = gx.transfer_state(old, gx.adam(0.1), PARAMS)
    assert {x.dtype for x in jax.tree.leaves(state[0].mu)} == {jnp.dtype("float32")}
    assert {e.note for e in report.kept if "/mu/" in e.path} == {"bfloat16 to float32"}
    assert "bfloat16 to float32" in str(report)
    for mine, theirs in zip(jax.tree.leaves(state[0].mu), jax.tree.leaves(old[0].mu), strict=True):
        assert np.array_equal(mine, theirs.astype("float32"))


def test_what_a_user_set_in_injected_hyperparameters_carries_over():
    theirs = optax.inject_hyperparams(optax.adam)(0.1, b1=0.8)
    old = after_steps(theirs)
    old.hyperparams["learning_rate"] = jnp.float32(0.03)
    tx = gx.adam(gx.tunable(0.1))
    state, report = gx.transfer_state(old, tx, PARAMS)
    assert float(gx.hyperparams(state)["learning_rate"]) == np.float32(0.03)
    dropped = {entry.path: entry.note for entry in report.dropped}
    assert "no tunable here" in dropped["hyperparams/b1"]


def test_complex_parameters():
    params = jax.tree.map(lambda p: p.astype("complex64"), PARAMS)
    grads, theirs, tx = jax.tree.map(lambda p: p * (1 + 2j), params), optax.adam(0.1), gx.adam(0.1)
    _, old = theirs.update(grads, theirs.init(params), params)
    state, report = gx.transfer_state(old, tx, params)
    assert not report.new
    expected, _ = theirs.update(params, old, params)
    actual, _ = tx.update(params, state, params)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5)
