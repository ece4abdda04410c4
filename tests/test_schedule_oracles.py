"""Schedules against torch's, stored as data in float64, and against optax's.

At step 0, on both sides of each boundary, at the end and past it. Under x64 the two agree to
1e-13 of the largest value; in float32 to a few roundings, 3e-7.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

RECORD = json.loads((Path(__file__).parent / "torch_schedules.json").read_text())


def torch_cycle(updates, *, rise=0.3, start=None, end=None, high=0.95, low=0.85, **phases):
    """torch's cycle, which is at its end with the last update: a step earlier than others."""
    phases |= {"steps": updates - 1, "rise": (rise * updates - 1) / (updates - 1)}
    return (
        gx.one_cycle(0.3, start=start, end=end, **phases),
        gx.one_cycle_momentum(high=high, low=low, **phases),
    )


# name: (the learning rate, the momentum)
TORCH = {
    "one cycle": lambda: torch_cycle(40),
    "one cycle, odd": lambda: torch_cycle(97),
    "one cycle, short": lambda: torch_cycle(4),
    "one cycle, linear": lambda: torch_cycle(
        40, rise=0.45, shape="linear", start=0.03, end=3e-4, high=0.9, low=0.8
    ),
    "three phases": lambda: torch_cycle(40, rise=0.4, three_phase=True),
    "three phases, linear": lambda: torch_cycle(97, shape="linear", three_phase=True),
    "restarts": lambda: (gx.cosine_restarts(0.3, 7, end=0.01), 0.9),
    "restarts, doubled": lambda: (gx.cosine_restarts(0.3, 3, multiplier=2), 0.9),
    "restarts, tripled": lambda: (gx.cosine_restarts(0.3, 2, multiplier=3, end=0.01), 0.9),
    "triangular": lambda: (
        gx.cyclic(0.03, 0.3, 20, rise=0.25),
        gx.cyclic(0.9, 0.8, 20, rise=0.25),
    ),
    "triangular2": lambda: (
        gx.cyclic(0.03, 0.3, 20, mode="triangular2"),
        gx.cyclic(0.9, 0.8, 20, mode="triangular2"),
    ),
    "exp_range": lambda: (
        gx.cyclic(0.03, 0.3, 20, mode="exp_range", factor=0.97),
        gx.cyclic(0.95, 0.7, 20, mode="exp_range", factor=0.97),
    ),
    "polynomial": lambda: (gx.polynomial_decay(0.3, 20, power=2.5), 0.9),
    "polynomial, straight": lambda: (gx.polynomial_decay(0.3, 20), 0.9),
    "linear": lambda: (gx.linear_schedule(0.25 * 0.3, 0.75 * 0.3, 20), 0.9),
}


def values(schedule, ticks):
    schedule = schedule if callable(schedule) else gx.constant_schedule(schedule)
    return np.asarray(jax.jit(schedule)(jnp.asarray(ticks)), np.float64)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize(("x64", "tolerance"), [(True, 1e-13), (False, 3e-7)])
def test_every_step_is_torchs(name, x64, tolerance):
    stored = RECORD["schedules"][name]
    ticks = np.arange(len(stored["values"]))
    with jax.enable_x64(x64):
        rate, momentum = (values(schedule, ticks) for schedule in TORCH[name]())
    np.testing.assert_allclose(rate, stored["values"], rtol=0, atol=0.3 * tolerance)
    np.testing.assert_allclose(momentum, stored["momentum"], rtol=0, atol=tolerance)


def test_the_table_is_that_of_the_record():
    assert TORCH.keys() == RECORD["schedules"].keys()
    assert RECORD["torch"].startswith("2.13.0")


def test_a_cycle_counts_as_other_schedules_do():
    """It has its end at `steps` and its peak at the part of them that `rise` says."""
    for phases in ({}, {"three_phase": True}):
        for steps in (40, 97):
            rate = gx.one_cycle(0.3, steps, start=0.03, end=1e-4, **phases)
            momentum = gx.one_cycle_momentum(steps, **phases)
            ticks = [steps - 1, steps, steps + 1, steps + 10**6, 2**31 - 1]
            before, *after = values(rate, ticks)
            assert before > 1e-4
            assert set(after) == {float(np.float32(1e-4))}
            before, *after = values(momentum, ticks)
            assert before < 0.95 or phases
            assert set(after) == {float(np.float32(0.95))}
    assert gx.one_cycle(0.3, 40)(12) == np.float32(0.3)
    assert gx.one_cycle_momentum(40)(12) == np.float32(0.85)
    odd = values(gx.one_cycle(0.3, 97), range(97))
    assert np.argmax(odd) == 29  # between two steps
    assert 0.2999 < odd[29] < 0.3


def test_momentum_inversion_is_two_schedules():
    """torch moves the momentum against the learning rate.

    The first of Adam's `betas` too; but its bias correction is right for a constant one only.
    """
    stored = RECORD["training"]["sgd"]
    grads, params = (np.array(stored[key]) for key in ("grads", "params"))
    with jax.enable_x64(True):
        rate, momentum = torch_cycle(len(grads))
        tx = gx.sgd(rate, momentum=momentum)
        p = jnp.asarray(params[0])
        state = tx.init(p)
        for g, expected in zip(grads, params[1:], strict=True):
            u, state = tx.update(jnp.asarray(g), state, p)
            p = gx.apply_updates(p, u)
            np.testing.assert_allclose(p, expected, rtol=1e-11)


# Restarts far out


@pytest.mark.parametrize("multiplier", [1.0, 1.01, 1.5, 2.0, 3.0, 10.0])
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_restarts_are_right_up_to_the_last_step_there_is(multiplier, steps):
    """Around each restart, found by adding lengths in double precision."""
    schedule = gx.cosine_restarts(0.3, steps, multiplier, 0.99, end=0.01)
    begin, length, n, worst = 0.0, float(steps), 0, 2**31 - 1
    ticks, expected = [], []
    while begin < worst:
        first, last = round(begin), round(begin + length)
        inside = {first, first + 1, (first + last) // 2, last - 1}
        if multiplier > 1 or n < 3 or n % (worst // steps // 7) == 0:
            for t in sorted(t for t in inside if first <= t < min(last, worst)):
                height = 0.29 * 0.99**n
                part = (t - first) / (last - first)
                ticks.append(t)
                expected.append(0.01 + height * (1 + np.cos(np.pi * part)) / 2)
        jump = 1 if multiplier > 1 else max(1, worst // steps // 7) if n > 3 else 1
        n, begin, length = n + jump, begin + jump * length, length * multiplier
    np.testing.assert_allclose(values(schedule, ticks), expected, rtol=3e-5, atol=1e-7)


# optax


def test_polynomial_decay_is_optaxs():
    ours = gx.polynomial_decay(0.3, 40, power=2.5, end=0.01)
    theirs = optax.polynomial_schedule(0.3, 0.01, power=2.5, transition_steps=40)
    compare(ours, theirs)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_piecewise_interpolate_is_optaxs(shape):
    """optax takes the factors from value to value."""
    ours = gx.piecewise_interpolate((0.1, 0.3, 0.03), (10, 50), shape)
    compare(ours, optax.piecewise_interpolate_schedule(shape, 0.1, {10: 3.0, 50: 0.1}))


def test_piecewise_constant_is_optaxs():
    """Also at the boundary, although optax's page says that the step after it is the first."""
    ours = gx.piecewise_constant((0.1, 0.3, 0.03), (10, 50))
    compare(ours, optax.piecewise_constant_schedule(0.1, {10: 3.0, 50: 0.1}))


def test_exponential_decay_with_an_end_is_optaxs():
    for factor, end in ((0.5, 0.1), (2.0, 1.0)):
        ours = gx.exponential_decay(0.3, 10, factor, end=end)
        compare(ours, optax.exponential_decay(0.3, 10, factor, end_value=end))


def test_warmups_are_optaxs():
    compare(gx.warmup(0.3, 10), optax.warmup_constant_schedule(0.0, 0.3, 10))
    ours = gx.warmup(gx.exponential_decay(0.3, 10, 0.5), 10, start=0.1)
    compare(ours, optax.warmup_exponential_decay_schedule(0.1, 0.3, 10, 10, 0.5))


def test_restarts_are_optaxs():
    """optax takes the cycles one by one, and falls to the last one's end."""
    cycles = [
        {
            "init_value": 0.01 if n else 0.3,
            "peak_value": 0.01 + 0.29 * 0.8**n,
            "decay_steps": 10 * 2**n,
            "warmup_steps": 0,
            "end_value": 0.01,
        }
        for n in range(4)
    ]
    ours = gx.cosine_restarts(0.3, 10, 2.0, 0.8, end=0.01)
    compare(ours, optax.sgdr_schedule(cycles), steps=150)


def test_one_cycle_is_optaxs():
    compare(gx.one_cycle(0.3, 40), optax.cosine_onecycle_schedule(40, 0.3))


def compare(ours, theirs, steps=130):
    ticks = jnp.arange(steps)
    np.testing.assert_allclose(ours(ticks), jax.vmap(theirs)(ticks), rtol=1e-5, atol=2e-8)


# Other references


def test_the_transformers_schedule():
    """Vaswani 2017, equation 3: d^-0.5 min(s^-0.5, s warmup^-1.5) for s = 1, 2, ..."""
    d, warmup = 512, 400
    peak = d**-0.5 * warmup**-0.5
    step = np.arange(1, 5000)
    paper = d**-0.5 * np.minimum(step**-0.5, step * warmup**-1.5)
    ours = gx.warmup(gx.inverse_sqrt_decay(peak, warmup), warmup)
    np.testing.assert_allclose(values(ours, step), paper, rtol=5e-7)
    first = gx.warmup(gx.inverse_sqrt_decay(peak, warmup), warmup - 1, start=peak / warmup)
    np.testing.assert_allclose(values(first, step - 1), paper, rtol=5e-7)


def test_inverse_time_decay_is_keras_and_big_visions():
    """Keras' `InverseTimeDecay`, and big_vision's `rsqrt` with a power of a half."""
    t = np.arange(1000)
    keras = 0.1 / (1 + 0.5 * t / 20)
    np.testing.assert_allclose(values(gx.inverse_time_decay(0.1, 40), t), keras, rtol=3e-7)
    rsqrt = 0.1 / np.sqrt(1 + t / 40)
    np.testing.assert_allclose(values(gx.inverse_time_decay(0.1, 40, 0.5), t), rsqrt, rtol=3e-7)
    np.testing.assert_allclose(values(gx.inverse_sqrt_decay(0.1, 40), t), rsqrt, rtol=3e-7)


def test_a_trapezoid_is_three_schedules_in_a_row():
    for shape in ("linear", "cosine"):
        fall = gx.linear_schedule(0.3, 0.01, 30)
        if shape == "cosine":
            fall = gx.cosine_decay(0.3, 30, end=0.01)
        parts = gx.warmup(gx.join_schedules([0.3, fall], [50]), 10, start=0.03)
        ours = gx.warmup_stable_decay(0.3, 90, 10, 30, 0.03, 0.01, shape)
        np.testing.assert_allclose(ours(jnp.arange(120)), parts(jnp.arange(120)), rtol=3e-7)
