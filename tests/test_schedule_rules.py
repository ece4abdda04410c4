"""The batch size rules, and what a schedule refuses."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx


def test_the_linear_rule():
    assert gx.linear_scaling_rule(0.1, 1024, 256) == pytest.approx(0.4)
    schedule = gx.cosine_decay(0.1, 10)
    scaled = gx.linear_scaling_rule(schedule, 1024, base_batch_size=256)
    assert scaled == gx.scale_schedule(schedule, 4.0)
    np.testing.assert_allclose(scaled(np.arange(12)), 4 * schedule(np.arange(12)), rtol=1e-6)
    assert gx.linear_scaling_rule(gx.tunable(0.5), 64, 256) == gx.tunable(0.125)
    batch = jax.vmap(lambda rate: gx.linear_scaling_rule(rate, 512, 256))(jnp.ones(3))
    np.testing.assert_array_equal(batch, 2.0)


def test_the_square_root_rule():
    assert gx.square_root_scaling_rule(0.1, 1024, 256) == pytest.approx(0.2)
    schedule = gx.cosine_decay(0.1, 10)
    assert gx.square_root_scaling_rule(schedule, 64, 256) == gx.scale_schedule(schedule, 0.5)


def test_k_times_the_batch_is_k_steps_at_first_order():
    """Goyal 2017, equations 3 and 4: one step on k batches, and k steps on one each."""
    rng = np.random.default_rng(0)
    rate, k, w = 1e-4, 8, 1.0
    curvatures, minima = 1 + rng.random(k), rng.standard_normal(k)
    one_by_one = w
    for c, m in zip(curvatures, minima, strict=True):
        one_by_one -= rate * c * (one_by_one - m)
    together = w - gx.linear_scaling_rule(rate, 32 * k, 32) * np.mean(curvatures * (w - minima))
    first_order = abs(one_by_one - w)
    assert abs(one_by_one - together) < 1e-2 * first_order


# What makes no sense

REFUSED = {
    "no steps": lambda: gx.cosine_decay(0.1, 0),
    "half a step": lambda: gx.polynomial_decay(0.1, 0.5),
    "more steps than there are": lambda: gx.cosine_decay(0.1, 2**31),
    "more epochs than there are": lambda: gx.cosine_decay(0.1, gx.epochs(3e9, 1)),
    "no epochs": lambda: gx.cosine_decay(0.1, gx.epochs(0, 10)),
    "a fraction above 1": lambda: gx.fraction(1.5, of=10),
    "a fraction of no steps": lambda: gx.fraction(0.5, of=0),
    "epochs of no steps": lambda: gx.epochs(0.5, steps_per_epoch=0),
    "a traced length": lambda: jax.jit(lambda n: gx.cosine_decay(0.1, n)(0))(5),
    "a traced part": lambda: jax.jit(lambda x: gx.cosine_decay(0.1, gx.fraction(x, 10))(0))(0.5),
    "lengths in disorder": lambda: gx.step_decay(0.1, boundaries=[*gx.epochs([3, 2], 10)]),
    "optax's dict": lambda: gx.step_decay(0.1, boundaries={30: 0.5}),
    "a dict of values": lambda: gx.piecewise_constant({1.0: 2, 0.1: 3}, [10]),
    "a dict of schedules": lambda: gx.join_schedules({0.1: 1, 0.2: 2}, [10]),
    "an end on the wrong side": lambda: gx.exponential_decay(0.1, 10, 0.5, end=5.0),
    "not finite": lambda: gx.inverse_sqrt_decay(math.inf, 10),
    "power 0": lambda: gx.polynomial_decay(0.1, 10, power=0.0),
    "factor 0": lambda: gx.exponential_decay(0.1, 10, 0.0),
    "one boundary missing": lambda: gx.piecewise_constant([1.0, 2.0, 3.0], [10]),
    "one boundary too many": lambda: gx.piecewise_interpolate([1.0, 2.0], [10, 20]),
    "boundaries in disorder": lambda: gx.piecewise_constant([1.0, 2.0, 3.0], [20, 10]),
    "a boundary twice": lambda: gx.piecewise_constant([1.0, 2.0, 3.0], [10, 10]),
    "a boundary at 0": lambda: gx.piecewise_interpolate([1.0, 2.0], [0]),
    "no values": lambda: gx.piecewise_constant([], [10]),
    "a value that is not finite": lambda: gx.piecewise_constant([1.0, math.nan], [10]),
    "an unknown shape": lambda: gx.piecewise_interpolate([1.0, 2.0], [10], shape="round"),
    "cycles that shrink": lambda: gx.cosine_restarts(0.1, 10, multiplier=0.5),
    "cycles that hardly grow": lambda: gx.cosine_restarts(0.1, 10, multiplier=1.0001),
    "a traced multiplier": lambda: jax.jit(lambda m: gx.cosine_restarts(0.1, 10, m)(0))(2.0),
    "peaks that grow": lambda: gx.cosine_restarts(0.1, 10, peak_factor=1.1),
    "a rise of everything": lambda: gx.one_cycle(0.1, 10, rise=1.0),
    "a rise of nothing": lambda: gx.cyclic(0.1, 0.3, 10, rise=0.0),
    "no room for the third phase": lambda: gx.one_cycle(0.1, 40, rise=0.6, three_phase=True),
    "momentum 1": lambda: gx.one_cycle_momentum(40, high=1.0),
    "high below low": lambda: gx.one_cycle_momentum(40, high=0.8, low=0.9),
    "a factor without its mode": lambda: gx.cyclic(0.1, 0.3, 10, factor=0.9),
    "a mode without its factor": lambda: gx.cyclic(0.1, 0.3, 10, mode="exp_range"),
    "parts longer than the whole": lambda: gx.warmup_stable_decay(0.1, 10, 6, 5),
    "exponential from 0": lambda: gx.warmup(0.1, 10, shape="exponential"),
    "exponential to 0": lambda: gx.warmup(0.0, 10, start=0.1, shape="exponential"),
    "a negative warmup": lambda: gx.warmup(0.1, -1),
    "no drops": lambda: gx.step_decay(0.1),
    "batch size 0": lambda: gx.linear_scaling_rule(0.1, 0, 256),
    "base batch size 0": lambda: gx.square_root_scaling_rule(0.1, 256, 0),
    "a negative learning rate": lambda: gx.linear_scaling_rule(-0.1, 256, 256),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_when_it_is_built(name):
    with pytest.raises(ValueError, match=r"`\w+\(.*\)`: .*"):
        REFUSED[name]()


def test_what_has_no_state_takes_no_tunable():
    for build in (
        lambda x: gx.warmup(x, 10),
        lambda x: gx.scale_schedule(0.1, x),
        lambda x: gx.join_schedules([x, 0.1], [10]),
    ):
        with pytest.raises(TypeError, match="no state to keep a tunable in"):
            build(gx.tunable(0.1))


def test_a_complex_value_is_refused_and_not_cut():
    for schedule in (
        gx.warmup(lambda step: 1j * step, 10),
        gx.scale_schedule(0.5, lambda step: jnp.complex64(1j)),
    ):
        with pytest.raises(TypeError, match="a schedule's values are real"):
            schedule(3)
    with pytest.raises(TypeError, match="must return a real scalar"):
        gx.sgd(lambda step: 1j).init(jnp.ones(2))
