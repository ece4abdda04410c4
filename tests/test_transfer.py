"""From one chain to another in the middle of a run: what goes where, and what is said of it."""

from typing import NamedTuple

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import assert_close, assert_equal, at, gradients, normal

import gradxform as gx
from gradxform import select

PARAMS = {"layer": {"kernel": normal((4, 3)), "bias": normal((3,), seed=1)}, "scale": normal(())}
GRADS = gradients(PARAMS, steps=4)
RATE = gx.linear_schedule(0.1, 0.02, 5)
GROUPS = {"matrices": (select.ndim_at_least(2), gx.adamw(RATE))}


def trained(tx, params=PARAMS, steps=3, grads=GRADS):
    state = tx.init(params)
    for t in range(steps):
        _, state = tx.update(at(grads, t), state, params)
    return state


def entries(found):
    return {entry.path: entry.note for entry in found}


# All of these make the same updates.
SAME = {
    "plain": gx.adamw(RATE),
    "clipped": gx.chain(gx.clip_by_global_norm(1e9), gx.adamw(RATE)),
    "clipped after": gx.chain(
        gx.scale_by_adam(),
        gx.clip_by_global_norm(1e9),
        gx.add_decoupled_weight_decay(0.01),
        gx.scale_by_learning_rate(RATE),
    ),
    "named": gx.named_chain(("clip", gx.clip_by_global_norm(1e9)), ("adam", gx.adamw(RATE))),
    "guarded": gx.skip_nonfinite(gx.adamw(RATE)),
    "averaged": gx.ema_params(gx.adamw(RATE), decay=0.9),
    "with master weights": gx.master_weights(gx.adamw(RATE)),
    "accumulated": gx.accumulate(gx.adamw(RATE), every=1),
    "measured": gx.with_metrics(gx.adamw(RATE)),
    "in groups": gx.partition(GROUPS, default=gx.adamw(RATE)),
    "masked": gx.masked(gx.adamw(RATE), jax.tree.map(lambda p: True, PARAMS)),
    "all of it": gx.skip_nonfinite(gx.ema_params(gx.chain(gx.adamw(RATE)), decay=0.9)),
    "decay on a schedule": gx.adamw(RATE, weight_decay=gx.constant_schedule(0.01)),
    "tunable": gx.adamw(RATE, b1=gx.tunable(0.9)),
}


@pytest.mark.parametrize("name", SAME)
def test_a_chain_that_changes_makes_the_updates_that_the_old_one_would_have_made(name):
    grads = at(GRADS, 3)
    for before, after in (("plain", name), (name, "plain")):
        old, new = SAME[before], SAME[after]
        state = trained(old)
        expected, _ = old.update(grads, state, PARAMS)
        state, report = gx.transfer_state(state, new, PARAMS)
        actual, _ = new.update(grads, state, PARAMS)
        assert_close(actual, expected, rtol=1e-5)
        moments = [path for path in entries(report.kept) if "/mu/" in path or "/nu/" in path]
        assert len(moments) == 6


def test_it_prints_what_became_of_what():
    old = trained(gx.adamw(gx.tunable(0.1)))
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(RATE, state_dtype="bfloat16"))
    transfer = gx.transfer_state(old, tx, PARAMS)
    assert isinstance(transfer, gx.Transfer)
    assert isinstance(transfer.report, gx.TransferReport)
    assert str(transfer.report).splitlines() == [
        "kept     1/0/count                                    from 0",
        "kept     1/0: mu (3 arrays), nu (3 arrays)            from 0; float32 to bfloat16",
        "kept     1/2/count                                    from 2",
        "new      0: norm, clipped_norm, clipped_steps, steps",
        "dropped  2/tunables/learning_rate".ljust(54)
        + "no tunable here: the value is that of the call",
        "8 arrays kept, 4 new, 1 dropped",
    ]
    assert repr(transfer.report) == str(transfer.report)


def test_a_layer_that_grew_was_added_or_removed():
    old = trained(gx.adamw(0.1))
    params = {
        "layer": {"kernel": normal((4, 5)), "bias": PARAMS["layer"]["bias"]},
        "head": normal((3, 2)),
    }
    tx = gx.adamw(0.1)
    state, report = gx.transfer_state(old, tx, params)
    assert entries(report.new) == {
        **{f"0/{m}/layer/kernel": "float32[4, 3] in the old state, float32[4, 5] here" for m in NU},
        **{f"0/{m}/head": "no such array in the old state" for m in NU},
    }
    assert entries(report.dropped) == {
        **{f"0/{m}/layer/kernel": "float32[4, 3] in the old state, float32[4, 5] here" for m in NU},
        **{f"0/{m}/scale": "no such array here" for m in NU},
    }
    assert_equal(state[0].mu["layer"]["bias"], old[0].mu["layer"]["bias"])
    assert not np.any(state[0].nu["layer"]["kernel"])
    assert int(state[0].count) == 3
    tx.update(jax.tree.map(jnp.ones_like, params), state, params)


NU = ("mu", "nu")


def test_new_parameters_in_a_group_of_their_own_have_a_count_of_their_own():
    params = {**PARAMS, "head": normal((3, 2))}
    tx = gx.partition({"head": (select.path("head"), gx.adamw(RATE))}, default=gx.adamw(RATE))
    state, _ = gx.transfer_state(trained(gx.adamw(RATE)), tx, params)
    assert int(state["head"][0].count) == 0
    assert int(state["default"][0].count) == 3
    assert int(state["head"][2].count) == int(state["default"][2].count) == 3  # the schedules


@pytest.mark.parametrize(
    ("old", "tx", "fields"),
    [
        (gx.adam(0.1), gx.lion(0.1), {"mu": "mu"}),
        (gx.adam(0.1), gx.amsgrad(0.1), {"mu": "mu", "nu": "nu", "count": "count"}),
        (gx.amsgrad(0.1), gx.adam(0.1), {"mu": "mu", "nu": "nu", "count": "count"}),
        (gx.adam(0.1), gx.rmsprop(0.1), {"nu": "nu"}),
        (gx.adam(0.1), gx.signum(0.1), {}),
        (gx.adam(0.1), gx.rmsprop(0.1, centered=True), {}),
        (gx.sgd(0.1, 0.9), gx.rmsprop(0.1, momentum=0.9), {}),
        (gx.lion(0.1), gx.adam(0.1), {}),
        (gx.adam(0.1), gx.adabelief(0.1), {}),
        (gx.rmsprop(0.1), gx.adam(0.1), {}),
        (gx.adam(0.1), gx.sgd(0.1, 0.9), {}),
    ],
    ids=lambda x: x.recipe.name if hasattr(x, "recipe") else None,
)
def test_another_optimizer_takes_the_averages_that_mean_the_same_for_it(old, tx, fields):
    """All that its update needs, or none of it."""
    before = trained(old)
    after, report = gx.transfer_state(before, tx, PARAMS)
    kept = {entry.place.field: entry.source.field for entry in report.kept if entry.source.rest}
    counts = [entry for entry in report.kept if entry.path == "0/count"]
    assert {**kept, **({"count": "count"} if counts else {})} == fields
    fresh = tx.init(PARAMS)[0]
    for name in fresh._fields:
        expected = getattr(before[0], fields[name]) if name in fields else getattr(fresh, name)
        assert_equal(getattr(after[0], name), expected)


def test_two_of_a_kind_are_matched_in_order_or_not_at_all():
    old = trained(gx.chain(gx.scale_by_momentum(0.5), gx.scale_by_momentum(0.9), gx.sgd(0.1)))
    tx = gx.chain(
        gx.scale_by_momentum(0.5), gx.clip_by_value(9.0), gx.scale_by_momentum(0.9), gx.sgd(0.1)
    )
    state, report = gx.transfer_state(old, tx, PARAMS)
    assert_equal([state[0], state[2]], [old[0], old[1]])
    assert not report.new
    state, report = gx.transfer_state(old, gx.sgd(0.1, momentum=0.9), PARAMS)
    assert_equal(state[0].trace, jax.tree.map(jnp.zeros_like, PARAMS))
    why = "2 of its kind there, 1 here: which is which is not known"
    assert {*entries(report.new).values()} == {why}
    assert {*entries(report.dropped).values()} == {why}
    named = gx.named_chain(("slow", gx.scale_by_momentum(0.9)), ("fast", gx.scale_by_momentum(0.5)))
    old = trained(named)
    state, _ = gx.transfer_state(old, gx.named_chain(("slow", gx.scale_by_momentum())), PARAMS)
    assert_equal(state["slow"], old["slow"])
    state, report = gx.transfer_state(old["slow"], gx.scale_by_momentum(0.9), PARAMS)  # one link
    assert_equal(state, old["slow"])
    assert str(report).startswith("kept  trace (3 arrays)  from trace (3 arrays)\n")


def test_groups_whose_counts_differ_are_not_mixed():
    tx = gx.partition(GROUPS, default=gx.adamw(RATE))
    old = trained(tx)
    adam = old["default"][0]
    old["default"] = (adam._replace(count=jnp.int32(1)), *old["default"][1:])
    state, report = gx.transfer_state(old, gx.adamw(RATE), PARAMS)
    assert_equal(state[0], gx.scale_by_adam().init(PARAMS))
    assert {*entries(report.new).values()} == {
        "the groups that it comes from have different counts"
    }
    assert int(state[2].count) == 3
    # A parameter that moves to a group with another count.
    wider = gx.partition({"matrices": (select.path("layer/.*"), gx.adamw(RATE))}, gx.adamw(RATE))
    _, report = gx.transfer_state(old, wider, PARAMS)
    assert entries(report.new) == {
        f"matrices/0/{m}/layer/bias": "its group in the old state has another count" for m in NU
    }


def test_what_the_user_and_the_training_set_carries_over():
    tx = gx.adam(gx.tunable(0.1), b1=gx.tunable(0.9))
    old = gx.set_hyperparams(trained(tx), learning_rate=0.03, b1=0.8)
    state, _ = gx.transfer_state(old, gx.skip_nonfinite(tx), PARAMS)
    assert gx.hyperparams(state) == gx.hyperparams(old)
    state, report = gx.transfer_state(old, gx.adam(0.1), PARAMS)
    assert float(gx.hyperparams(state)["learning_rate"]) == np.float32(0.1)
    assert {*entries(report.dropped)} == {
        "0/log_kept/b1",
        "0/tunables/b1",
        "1/tunables/learning_rate",
    }
    plateau = gx.adam(gx.reduce_on_plateau(0.1, factor=0.5, patience=0))
    old = plateau.init(PARAMS)
    for _ in range(3):
        _, old = plateau.update(at(GRADS, 0), old, PARAMS, value=1.0)
    clipped = gx.chain(gx.clip_by_global_norm(1.0), plateau)
    state, _ = gx.transfer_state(old, clipped, PARAMS)
    _, state = clipped.update(at(GRADS, 0), state, PARAMS, value=1.0)
    assert float(gx.hyperparams(state)["learning_rate"]) == np.float32(0.1 * 0.5**3)


def test_a_reading_is_the_last_updates_until_the_next():
    old = trained(gx.adam(0.1))
    tx = gx.adam(0.05)
    state, report = gx.transfer_state(old, tx, PARAMS)
    assert float(gx.hyperparams(state)["learning_rate"]) == np.float32(0.1)
    assert not any("hyperparams" in path for path in entries(report.kept))
    _, state = tx.update(at(GRADS, 0), state, PARAMS)
    assert float(gx.hyperparams(state)["learning_rate"]) == np.float32(0.05)


class ScaleBySignedMeanState(NamedTuple):
    mean: gx.Params


class TwiceState(NamedTuple):
    calls: jax.Array
    inner_state: gx.State


@gx.transformation
def scale_by_signed_mean():
    def init(params):
        return ScaleBySignedMeanState(gx.tree.zeros_like(params))

    def update(updates, state):
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state.mean, updates)
        return jax.tree.map(jnp.sign, mean), ScaleBySignedMeanState(mean)

    return init, update


def twice(inner):
    def init(params):
        return TwiceState(jnp.zeros((), jnp.int32), inner.init(params))

    def update(updates, state, params=None):
        updates, after = inner.update(updates, state.inner_state, params)
        return jax.tree.map(lambda u: 2 * u, updates), TwiceState(state.calls + 1, after)

    return optax.GradientTransformation(init, update)


def test_blocks_and_wrappers_of_a_user():
    before = twice(gx.chain(scale_by_signed_mean(), gx.scale_by_learning_rate(0.1)))
    after = twice(
        gx.chain(
            gx.clip_by_global_norm(1.0), scale_by_signed_mean(), gx.scale_by_learning_rate(RATE)
        )
    )
    old = trained(before)
    for state in (old, flax.serialization.msgpack_restore(flax.serialization.to_bytes(old))):
        new, report = gx.transfer_state(state, after, PARAMS)
        assert int(new.calls) == int(new.inner_state[2].count) == 3
        assert_equal(new.inner_state[1], old.inner_state[0])
        assert not report.dropped


def test_optaxs_own_links_are_matched_as_well():
    old = trained(gx.chain(optax.scale_by_adam(), gx.scale_by_learning_rate(0.1)))
    tx = gx.chain(gx.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.scale(-0.1))
    state, _ = gx.transfer_state(old, tx, PARAMS)
    assert_equal(state[1], old[0])
    state, _ = gx.transfer_state(old, optax.adam(0.1), PARAMS)
    assert_equal(state[0], old[0])
