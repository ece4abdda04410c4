"""How fast plain descent, the heavy ball and Nesterov's method end a ravine, as theory has it.

On a quadratic with curvatures from μ to L = κ μ, the error after k steps shrinks by a factor a step

    gradient descent   (κ - 1) / (κ + 1)      at the rate 2 / (L + μ)
    heavy ball         (√κ - 1) / (√κ + 1)    at the rate 4 / (√L + √μ)², with this factor squared
                                              as momentum
    Nesterov           1 - 1 / √κ             at the rate 1 / L, with momentum (√κ - 1) / (√κ + 1)

References: Polyak, 1964; Nesterov, 1983.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

LOW, KAPPA, STEPS = 0.5, 100.0, 400
HIGH, ROOT = LOW * KAPPA, math.sqrt(KAPPA)
SLOW, FAST = (KAPPA - 1) / (KAPPA + 1), (ROOT - 1) / (ROOT + 1)
METHODS = {
    "gradient descent": (gx.sgd(2 / (LOW + HIGH)), SLOW),
    "heavy ball": (gx.sgd(4 / (math.sqrt(LOW) + math.sqrt(HIGH)) ** 2, FAST**2), FAST),
    "nesterov": (gx.sgd(1 / HIGH, FAST, nesterov=True), 1 - 1 / ROOT),
}


def errors(tx):
    """The distance from the minimum after each step, from float64."""
    with jax.enable_x64(True):
        curvature = jnp.geomspace(LOW, HIGH, 7)

        def step(carry, _):
            x, state = carry
            updates, state = tx.update(curvature * x, state, x)
            x = gx.apply_updates(x, updates)
            return (x, state), jnp.linalg.norm(x)

        start = jnp.ones(7)
        return np.asarray(jax.lax.scan(step, (start, tx.init(start)), length=STEPS)[1])


@pytest.mark.parametrize("name", METHODS)
def test_the_factor_of_a_step_is_the_theorys(name):
    tx, factor = METHODS[name]
    error = errors(tx)
    k = np.arange(1, STEPS + 1)
    if name != "gradient descent":
        error = error / k  # at the best rate two modes coincide, and the error is k factor^k
    slope = np.polyfit(k[STEPS // 2 :], np.log(error[STEPS // 2 :]), 1)[0]
    assert math.exp(slope) == pytest.approx(factor, rel=0.003)


def test_momentum_beats_plain_descent_in_a_ravine():
    plain, ball, nesterov = (errors(tx)[100] for tx, _ in METHODS.values())
    assert ball < 1e-3 * plain
    assert nesterov < 1e-2 * plain
