"""From each optimizer to each other one: a buffer that is taken over is one of the same scale.

Gradients are far from 1, so that what is of another scale, or of another meaning, shows in the
size of the next update. It is compared with that of a run with the new optimizer alone.
"""

import functools

import jax
import pytest
from problems import at, gradients, normal

import gradxform as gx

PARAMS = {"kernel": normal((4, 3)), "bias": normal((3,), seed=1)}
STEPS = 12
GRADS = jax.tree.map(lambda g: 30.0 * (g + 1.0), gradients(PARAMS, steps=STEPS + 1))
OPTIMIZERS = {
    "sgd": gx.sgd(0.1, momentum=0.9),
    "rmsprop": gx.rmsprop(0.1),
    "centered rmsprop": gx.rmsprop(0.1, centered=True),
    "rmsprop with momentum": gx.rmsprop(0.1, momentum=0.9),
    "steps with momentum": gx.chain(
        gx.scale_by_rms(), gx.scale_by_learning_rate(0.1), gx.scale_by_momentum(0.9)
    ),
    "novograd": gx.novograd(0.1),
    "adam": gx.adam(0.1),
    "amsgrad": gx.amsgrad(0.1),
    "adabelief": gx.adabelief(0.1),
    "adamax": gx.adamax(0.1),
    "lion": gx.lion(0.1),
    "signum": gx.signum(0.1),
    "sm3": gx.sm3(0.1),
    "adan": gx.adan(0.1),
    "optimistic": gx.optimistic_gradient_descent(0.1),
    "optimistic adam": gx.optimistic_adam(0.1),
}


@functools.cache
def trained(name):
    """The state after some steps, and the size of the next update."""
    tx = OPTIMIZERS[name]
    state = tx.init(PARAMS)
    for t in range(STEPS):
        _, state = tx.update(at(GRADS, t), state, PARAMS)
    return state, size_of_next(tx, state)


def size_of_next(tx, state):
    return float(gx.numerics.global_norm(tx.update(at(GRADS, STEPS), state, PARAMS)[0]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_next_update_is_about_as_large_as_the_optimizers_own(name):
    tx, (_, expected) = OPTIMIZERS[name], trained(name)
    carried = []
    for other in OPTIMIZERS:
        state, report = gx.transfer_state(trained(other)[0], tx, PARAMS)
        if any(entry.place.rest for entry in report.kept):
            carried.append(other)
            # A velocity that starts from rest makes it up to ten times as small.
            least = expected / (3 if "momentum" not in name else 10)
            assert least < size_of_next(tx, state) < 3 * expected, other
    assert name in carried


def test_what_differs_in_scale_is_said():
    notes = {
        (
            "lion",
            "adam",
        ): "no block of the old state has averages of gradients and squares with their count",
        ("sgd", "rmsprop with momentum"): "it follows another scaling in the old state",
    }
    for (old, name), note in notes.items():
        _, report = gx.transfer_state(trained(old)[0], OPTIMIZERS[name], PARAMS)
        assert {e.note for e in report.new if "mu" in e.path or "trace" in e.path} == {note}
    state = trained("steps with momentum")[0]
    _, report = gx.transfer_state(state, OPTIMIZERS["rmsprop with momentum"], PARAMS)
    why = "after the learning rate in the old state, before it here"
    assert {e.note for e in (*report.new, *report.dropped)} == {why}
    assert {e.place.field for e in report.kept} == {"nu", "count"}
