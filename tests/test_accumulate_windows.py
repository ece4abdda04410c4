"""Windows: how long they are, what ends them, what is left out, and what can be read inside."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import assert_equal, types

import gradxform as gx


def run(tx, grads, extras=None, params=None, jit=False):
    """The updates of a vector of one, as floats, and the states."""
    params = jnp.zeros(1) if params is None else params
    update = jax.jit(tx.update) if jit else tx.update
    state, updates, states = tx.init(params), [], []
    for t, g in enumerate(grads):
        u, state = update(jnp.full(1, float(g)), state, params, **(extras[t] if extras else {}))
        assert types(state) == types(tx.init(params))
        updates.append(float(u[0]))
        states.append(state)
    return updates, states


# The length


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_a_schedule_of_the_updates_is_read_when_a_window_begins(jit):
    every = gx.linear_schedule(1.0, 3.9, 3)  # 1, 1.97, 2.93, then 3.9: windows of 1, 1, 2, 3, 3
    updates, states = run(gx.accumulate(gx.identity(), every), range(1, 11), jit=jit)
    assert updates == [1, 2, 0, 3.5, 0, 0, 6, 0, 0, 9]
    assert [int(s.every) for s in states] == [1, 1, 2, 2, 3, 3, 3, 3, 3, 3]
    assert [int(s.mini_step) for s in states] == [0, 0, 1, 0, 1, 2, 0, 1, 2, 0]
    assert [int(s.gradient_step) for s in states] == [1, 2, 2, 3, 3, 3, 4, 4, 4, 5]


def test_an_open_window_ends_by_the_length_of_the_code_that_goes_on():
    """Other code may go on from the same state, as after a restart."""
    before, after = (gx.accumulate(gx.identity(), k) for k in (3, 2))
    _, states = run(before, [1.0])
    updates, state = [], states[-1]
    for g in (2.0, 3.0, 4.0, 5.0):
        u, state = after.update(jnp.full(1, g), state)
        updates.append(float(u[0]))
    assert updates == [1.5, 0, 3.5, 0]


@pytest.mark.parametrize("value", [0, 0.0, -3.0, jnp.float32(0.99), jnp.nan, -jnp.inf])
def test_a_length_below_one_is_one(value):
    tx = gx.accumulate(gx.identity(), lambda step: value)
    assert run(tx, [1.0, 2.0])[0] == [1, 2]


@pytest.mark.parametrize(("value", "length"), [(2.99, 2), (1.9999999, 2), (3.0, 3), (3, 3)])
def test_a_length_is_rounded_down_but_for_the_error_of_float32(value, length):
    tx = gx.accumulate(gx.identity(), lambda step: value)
    assert int(tx.init(jnp.zeros(1)).every) == length


def test_an_endless_length():
    tx = gx.accumulate(gx.identity(), lambda step: jnp.inf)
    assert run(tx, [1.0, 2.0])[0] == [0, 0]


# The end


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_a_window_can_be_ended_early(jit):
    """With the last micro-batch of an epoch, or after it."""
    tx = gx.accumulate(gx.identity(), 3)
    last, after = {"emit": True}, {"emit": True, "weight": 0.0}
    grads = [1.0, 3.0, 5.0, 7.0, np.nan, 4.0]
    updates, states = run(tx, grads, [{}, last, {}, {}, after, {}], jit=jit)
    assert updates == [0, 2, 0, 0, 6, 0]
    assert [int(s.gradient_step) for s in states] == [0, 1, 1, 1, 2, 2]
    assert [int(s.mini_step) for s in states] == [0 + 1, 0, 1, 2, 0, 1]


def test_ending_a_window_that_has_not_begun_changes_nothing():
    tx = gx.accumulate(gx.adam(0.1), 3)
    (update,), (state,) = run(tx, [1.0], [{"emit": True, "weight": 0.0}])
    assert update == 0
    assert_equal(state, tx.init(jnp.zeros(1)))


def test_to_end_may_be_decided_by_the_program():
    tx = gx.accumulate(gx.identity(), 4)

    def step(state, x):
        update, state = tx.update(x, state, emit=x > 2.0)
        return state, update

    _, updates = jax.lax.scan(step, tx.init(jnp.zeros(())), jnp.array([1.0, 3.0, 0.0, 0.0]))
    np.testing.assert_array_equal(updates, [0, 2, 0, 0])


def test_a_window_inside_a_window():
    """Of 2 means of 3 each; both end together, and the inner one weighs what it is made of."""
    tx = gx.accumulate(gx.accumulate(gx.scale(1.0), 2), 3)
    extras = [{"weight": float(w)} for w in (1, 2, 3, 4, 5, 6)]
    updates, states = run(tx, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], extras)
    assert updates[:5] == [0.0] * 5
    assert updates[5] == pytest.approx(91 / 21)
    assert [bool(gx.has_updated(s)) for s in states] == [False] * 5 + [True]
    updates, states = run(tx, [1.0, 3.0, 5.0], [{}, {"emit": True}, {}])
    assert updates == [0, 2, 0]
    assert [bool(gx.has_updated(s)) for s in states] == [False, True, False]


# What is not finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_micro_batches_that_are_not_finite_are_skipped_in_their_place(bad, jit):
    tx = gx.accumulate(gx.scale_by_momentum(0.5), 2, on_nonfinite="skip")
    grads = [1.0, bad, 3.0, 5.0, bad, bad, bad, 2.0]
    updates, states = run(tx, grads, jit=jit)
    # The third window has nothing to give, so the velocity stays as it is.
    assert updates == [0, 1, 0, 0.5 + 4, 0, 0, 0, 2.25 + 2]
    assert [int(s.skipped_steps) for s in states] == [0, 1, 1, 1, 2, 3, 4, 4]
    assert [int(s.gradient_step) for s in states] == [0, 1, 1, 2, 2, 2, 2, 3]
    assert [bool(gx.has_updated(s)) for s in states] == [t in (1, 3, 7) for t in range(8)]


@pytest.mark.parametrize("extra", [{"value": np.nan}, {"weight": np.inf}])
def test_so_is_one_whose_loss_or_weight_is_not_finite(extra):
    tx = gx.accumulate(gx.identity(), 2, on_nonfinite="skip")
    fine = dict.fromkeys(extra, 1.0)
    updates, states = run(tx, [1.0, 3.0], [extra, fine])
    assert updates == [0, 3]
    assert int(states[-1].skipped_steps) == 1


def test_skipping_in_a_window_of_one():
    tx = gx.accumulate(gx.scale_by_momentum(0.5), 1, on_nonfinite="skip")
    updates, states = run(tx, [1.0, np.nan, 2.0])
    assert updates == [1, 0, 2.5]
    assert [int(s.skipped_steps) for s in states] == [0, 1, 1]
    assert [int(s.emitted) for s in states] == [1, 0, 1]


def test_by_default_they_are_added():
    tx = gx.accumulate(gx.identity(), 2)
    updates, states = run(tx, [1.0, np.nan, 3.0, 5.0])
    assert np.isnan(updates[1])
    assert updates[2:] == [0, 4]
    assert int(states[-1].skipped_steps) == 0


# Reading


def test_readings_inside_a_window_are_those_of_the_last_update():
    rate = gx.linear_schedule(0.4, 0.0, 4)
    tx = gx.accumulate(gx.sgd(rate, momentum=gx.tunable(0.9)), 2)
    state, seen = tx.init(jnp.zeros(1)), []
    for _ in range(6):
        _, state = tx.update(jnp.ones(1), state)
        seen.append(round(float(gx.hyperparams(state)["learning_rate"]), 6))
    assert seen == [0.4, 0.4, 0.4, 0.3, 0.3, 0.2]
    state = gx.set_hyperparams(state, momentum=0.5)
    assert set(gx.hyperparams(state)) == {"learning_rate", "momentum"}


def test_has_updated_before_inside_and_after_a_window():
    tx = gx.chain(gx.clip_by_value(1.0), gx.accumulate(gx.sgd(0.1), 2))
    state, seen = tx.init(jnp.zeros(1)), []
    seen.append(bool(gx.has_updated(state)))
    for _ in range(4):
        _, state = tx.update(jnp.ones(1), state)
        seen.append(bool(jax.jit(gx.has_updated)(state)))
    assert seen == [False, False, True, False, True]


def test_an_average_of_the_parameters_follows_the_updates():
    tx = gx.accumulate(gx.sgd(1.0), 2)
    w, average = jnp.array([1.0]), jnp.array([0.0])
    state = tx.init(w)
    for _ in range(4):
        updates, state = tx.update(jnp.ones(1), state, w)
        w = gx.apply_updates(w, updates)
        average = jnp.where(gx.has_updated(state), 0.5 * average + 0.5 * w, average)
    np.testing.assert_allclose(average, 0.5 * (0.5 * 0.0) + 0.5 * -1.0)


# Bad input


def update_with(tx=None, **extra):
    tx = gx.accumulate(gx.sgd(0.1), 2) if tx is None else tx
    return tx.update(jnp.ones(2), tx.init(jnp.ones(2)), **extra)


REFUSED = {
    "no micro-batch": (
        lambda: gx.accumulate(gx.sgd(0.1), 0),
        r"`accumulate\(every=0\)`: `every` must be a whole number of at least 1; got 0. A function",
    ),
    "half a micro-batch": (lambda: gx.accumulate(gx.sgd(0.1), 2.5), "whole number.*got 2.5"),
    "a tunable": (lambda: gx.accumulate(gx.sgd(0.1), gx.tunable(2.0)), "whole number.*function"),
    "no transformation": (lambda: gx.accumulate(gx.sgd, 2), "must be a gradient transformation"),
    "another reduction": (
        lambda: gx.accumulate(gx.sgd(0.1), 2, reduction="max"),
        "`reduction` must be one of 'mean', 'sum'; got 'max'",
    ),
    "a name twice": (
        lambda: gx.accumulate(gx.sgd(0.1), 2, reduced=("value", "value")),
        "`reduced` must be names of extra arguments, each once",
    ),
    "a schedule of vectors": (
        lambda: gx.accumulate(gx.sgd(0.1), lambda step: jnp.ones(2)).init(jnp.ones(2)),
        "the function `every` must return a scalar; .* returned Array",
    ),
    "weights of the examples": (
        lambda: update_with(weight=jnp.ones(4)),
        r"`accumulate\(\.\.\.\).update`: `weight` must be one real number for a micro-batch; got "
        r"float32\[4\]. Pass the number of its examples, as in `weight=jnp.sum\(mask\)`",
    ),
    "a function among the numbers": (
        lambda: update_with(gx.accumulate(gx.sgd(0.1), 2, reduced="grad_fn"), grad_fn=jnp.sum),
        "`grad_fn` must be one real number for a micro-batch; got <",
    ),
    "a negative weight": (lambda: update_with(weight=-1.0), "`weight` must be at least 0; got -1"),
    "losses of the examples": (
        lambda: update_with(value=jnp.ones(4)),
        r"`value` must be one real number for a micro-batch; got float32\[4\]. Pass the mean",
    ),
    "a number for emit": (lambda: update_with(emit=1), "`emit` must be True or False; got 1"),
    "another state": (
        lambda: gx.accumulate(gx.sgd(0.1), 2).update(jnp.ones(2), optax.EmptyState()),
        r"`accumulate\(\.\.\.\).update` was given a state of type EmptyState, not AccumulateState",
    ),
    "missing parameters, at the first call": (
        lambda: update_with(gx.accumulate(gx.adamw(0.1), 4)),
        r"`add_decoupled_weight_decay` reads the parameters: call `update\(updates, state, params",
    ),
    "a missing value, at the first call": (
        lambda: update_with(gx.accumulate(gx.scale_by_polyak(), 4)),
        "`scale_by_polyak` needs `value`",
    ),
    "gradients of another shape": (
        lambda: gx.accumulate(gx.sgd(0.1), 2).update(
            {"w": jnp.ones(3)}, gx.accumulate(gx.sgd(0.1), 2).init({"w": jnp.ones(2)})
        ),
        r"`acc_grads/w` is float32\[2\] in it, and float32\[3\] in what `init` makes of these grad",
    ),
    "no accumulation to ask": (lambda: gx.has_updated(gx.sgd(0.1).init(1.0)), "there is none"),
    "two to ask": (
        lambda: gx.has_updated([gx.accumulate(gx.sgd(0.1), 2).init(1.0)] * 2),
        "there is 2 of them side by side; pass one",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_named(name):
    build, message = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=message):
        build()


def test_missing_parameters_are_named_where_it_is_compiled():
    tx = gx.accumulate(gx.adamw(0.1), 4)
    with pytest.raises(ValueError, match="reads the parameters"):
        jax.eval_shape(tx.update, jnp.ones(2), tx.init(jnp.ones(2)))


def test_names_in_a_list_or_alone():
    build = functools.partial(gx.accumulate, gx.sgd(0.1), 2)
    assert build(reduced="value") == build(reduced=["value"]) == build()
    assert repr(build(reduced="loss")).endswith("every=2, reduced=('loss',))")
