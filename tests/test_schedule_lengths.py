"""How long a schedule is, in whatever unit its call says so."""

import jax.numpy as jnp
import pytest
from catalog import SCHEDULES

import gradxform as gx
from gradxform.inspection.schedule_lengths import Lengths, lengths_of

COSINE = gx.cosine_decay(0.1, 900)
CASES = [
    (COSINE, Lengths(900)),
    (gx.cosine_decay(0.1, gx.fraction(0.9, of=1000)), Lengths(900)),
    (gx.cosine_decay(0.1, gx.epochs(9, 100)), Lengths(900)),
    (gx.linear_schedule(0.1, 0.0, 50), Lengths(50)),
    (gx.polynomial_decay(0.1, 50, 2.0), Lengths(50)),
    (gx.warmup(COSINE, 100), Lengths(1000, rise=100)),
    (gx.warmup(0.1, gx.fraction(0.05, of=1000)), Lengths(50, rise=50)),
    (gx.warmup(gx.warmup(COSINE, 10), 10), Lengths(920, rise=20)),
    (gx.warmup_stable_decay(0.1, 1000, 50, 100), Lengths(1000, rise=50)),
    (gx.one_cycle(0.1, 100, rise=0.3), Lengths(100, rise=30)),
    (gx.step_decay(0.1, boundaries=gx.epochs([30, 60], 10)), Lengths(600, drops=(300, 600))),
    (gx.step_decay(0.1, every=30), Lengths(drops=(30,))),
    (gx.warmup(gx.step_decay(0.1, boundaries=[30]), 5), Lengths(35, rise=5, drops=(35,))),
    (gx.piecewise_constant([1.0, 0.1], [30]), Lengths(30, drops=(30,))),
    (gx.piecewise_interpolate([1.0, 0.5, 0.1], [30, 60]), Lengths(60)),
    (gx.cosine_restarts(0.1, 30), Lengths(period=30)),
    (gx.join_schedules([gx.warmup(0.1, 10), COSINE], [100]), Lengths(1000, rise=10)),
    (gx.join_schedules([COSINE, 0.1], [100]), Lengths(100)),
    (gx.scale_schedule(COSINE, 2.0), Lengths(900)),
    (gx.scale_schedule(gx.warmup(1.0, 10), gx.inverse_sqrt_decay(1.0, 10)), Lengths(rise=10)),
    (gx.linear_scaling_rule(COSINE, 512, 256), Lengths(900)),
    (gx.reduce_on_plateau(gx.warmup(0.1, 10)), Lengths(10, rise=10)),
    (gx.constant_schedule(0.1), Lengths(0)),
    (gx.inverse_sqrt_decay(0.1, 10), Lengths()),
    (gx.exponential_decay(0.1, 10, 0.5), Lengths()),
    (gx.exponential_decay(1.0, 10, 0.5, end=0.01), Lengths(67)),
    (gx.delay_schedule(gx.warmup(COSINE, 50), 10), Lengths(960, rise=60)),
    (gx.advance_schedule(gx.warmup(COSINE, 50), 10), Lengths(940, rise=40)),
    (gx.staircase(COSINE, 70), Lengths(910)),
    (gx.scale_schedule(COSINE, gx.inverse_sqrt_decay(1.0, 10)), Lengths(900)),
    (gx.warmup(lambda step: jnp.maximum(400.0 - step, 0.0), 5), Lengths(405, rise=5)),
    (lambda step: 0.1, Lengths(0)),
    (lambda step: 0.5**step, Lengths()),
    (0.1, Lengths()),
    (gx.tunable(0.1), Lengths()),
]


@pytest.mark.parametrize(("schedule", "expected"), CASES, ids=range(len(CASES)))
def test_lengths(schedule, expected):
    assert lengths_of(schedule) == expected
    if callable(schedule) and expected.end:
        assert schedule(expected.end) == schedule(10 * expected.end)
        assert not jnp.allclose(schedule(expected.end), schedule(expected.end // 2), rtol=1e-3) or (
            expected.rise
        )


@pytest.mark.parametrize("row", SCHEDULES, ids=str)
def test_the_end_is_that_of_the_catalog(row):
    assert lengths_of(row.build()).end == row.end
