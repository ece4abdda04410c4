"""Where Adam does not converge, and who does."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import gradxform as gx


def falling(t):
    """0.1 / sqrt(t), for t = 1, 2, ..."""
    return 0.1 / jnp.sqrt(t.astype(jnp.float32) + 1.0)


def online(tx, slopes):
    """Where x in [-1, 1] is after each of the losses slope · x, starting from 0."""

    def step(carry, slope):
        x, state = carry
        u, state = tx.update(slope, state, x)
        x = jnp.clip(x + u, -1.0, 1.0)
        return (x, state), x

    start = jnp.float32(0.0)
    return np.asarray(lax.scan(step, (start, tx.init(start)), jnp.float32(slopes))[1])


def test_adam_moves_away_from_the_minimum_and_amsgrad_and_adopt_do_not():
    """Reddi 2018, theorem 1: C x at every third step, -x at the others, and b2 = 1 / (1 + C²).

    The mean slope is positive, so the best x is -1; Adam ends at 1.
    """
    large = 3.0
    slopes = np.where(np.arange(1, 10_001) % 3 == 1, large, -1.0)
    moments = {"b1": 0.0, "b2": 1 / (1 + large**2)}
    assert slopes.mean() > 0.3
    assert online(gx.adam(falling, **moments), slopes)[-300:].min() > 0.99
    for place in (None, "before", "after"):
        amsgrad = gx.amsgrad(falling, **moments, bias_correction=place)
        assert online(amsgrad, slopes)[-300:].max() < -0.99
    for exponent in (None, 0.25):
        adopt = gx.adopt(falling, **moments, clip_exponent=exponent)
        assert online(adopt, slopes)[-300:].max() < -0.99


@pytest.mark.parametrize(("b2", "period"), [(0.1, 3), (0.5, 6), (0.9, 30), (0.999, 3000)])
def test_adopt_converges_with_any_b2(b2, period):
    """One slope of 1.5 periods, the others -1: for each b2, Adam fails at some period."""
    steps = np.arange(max(3000, 40 * period))
    slopes = np.where(steps % period == period // 2, 1.5 * period, -1.0)
    assert slopes.mean() > 0.3
    moments = {"b1": 0.0, "b2": b2}
    assert online(gx.adam(falling, **moments), slopes)[-period:].min() > 0.99
    plain = gx.adopt(falling, **moments, clip_exponent=None)
    assert online(plain, slopes)[-period:].max() < -0.98
    if period == 3000:
        # The theorem is about the algorithm without clipping: t^(1/4) is below 19 here, the rare
        # slope 4500.
        assert online(gx.adopt(falling, **moments), slopes)[-period:].min() > 0.98
