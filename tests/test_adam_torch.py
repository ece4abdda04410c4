"""Adam's relatives against torch and `pytorch_optimizer`, whose trajectories are stored as data.

The differences of their float64 parameters have lost some digits, more for small learning rates:
1e-10 of an array's largest element.
"""

import json
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import distance, updates_of

import gradxform as gx

RATE, MOMENTS = 0.1, {"b1": 0.8, "b2": 0.95, "eps": 1e-6}
RECORD = json.loads((Path(__file__).parent / "torch_adam_family.json").read_text())


def constant(x):
    return {k: np.array(v, np.float64) for k, v in x.items()}


def one_later(schedule):
    """A schedule that counts its first step as 1."""
    return lambda t: schedule(t + 1)


def torch_error(name, tx, between=None):
    """How far the updates of `tx` are from the steps that the recorded parameters took."""
    grads = list(map(constant, RECORD["grads"]))
    params = list(map(constant, [RECORD["params"], *RECORD["runs"][name]["after"]]))
    moves = [{k: b[k] - a[k] for k in a} for a, b in pairwise(params)]
    with jax.enable_x64(True):
        return distance(updates_of(tx, grads, params[:-1], between, jit=False), moves)


def after_a_gradient_of_zeros(t, state):
    """The state in which `reduce_gradient_variance` has seen a gradient of zeros."""
    return (state[0]._replace(count=state[0].count + 1), *state[1:]) if t == 0 else state


ADAN = {"b1": 0.9, "b2": 0.7, "b3": 0.95, "eps": 1e-6}
ADEMAMIX = {**MOMENTS, "b3": 0.98, "alpha": 4.0}
TORCH = {
    "nadam": lambda: gx.nadam(RATE, **MOMENTS),
    "nadamw": lambda: gx.nadamw(RATE, **MOMENTS, weight_decay=0.2),
    "amsgrad": lambda: gx.amsgrad(RATE, **MOMENTS, bias_correction="after"),
    "adamax": lambda: gx.adamax(RATE, **MOMENTS),
    "adamax defaults": lambda: gx.adamax(2e-3),
    "radam": lambda: gx.radam(RATE, b1=0.8, b2=0.95, eps=0.0, threshold=5.0),
    "radam defaults": lambda: gx.radam(1e-3, eps=0.0, threshold=5.0),
    "adadelta": lambda: gx.adadelta(0.7, rho=0.8, eps=1e-3),
    "adadelta defaults": lambda: gx.adadelta(rho=0.9),
    "adan": lambda: gx.adan(RATE, **ADAN, weight_decay=0.2),
    "adan defaults": lambda: gx.adan(1e-3, weight_decay=0.0),
    "adabelief": lambda: gx.adabelief(RATE, b1=0.8, b2=0.95, eps=1e-3, weight_decay=0.2),
    "adabelief defaults": lambda: gx.adabelief(1e-3),
    "laprop": lambda: gx.laprop(RATE, b1=0.8, b2=0.95, eps=0.0),
    "ademamix": lambda: gx.ademamix(RATE, **ADEMAMIX, weight_decay=0.2),
    "ademamix warmup": lambda: gx.ademamix(
        RATE,
        **MOMENTS,
        b3=one_later(gx.linear_half_life(0.8, 0.98, 6)),
        alpha=one_later(gx.linear_schedule(0.0, 4.0, 6)),
    ),
    "adopt unclipped": lambda: gx.adopt(RATE, b1=0.8, b2=0.95, eps=1e-3, clip_exponent=None),
}


@pytest.mark.parametrize("name", TORCH)
def test_ten_steps_of_torch(name):
    # torch keeps the product of NAdam's momenta in float32.
    assert torch_error(name, TORCH[name]()) <= (2e-7 if name.startswith("nadam") else 1e-10)


def test_ten_steps_of_mars():
    """The code takes the gradient before the first to be zero; the paper x_0 = x_1."""
    tx = gx.chain(
        gx.reduce_gradient_variance(gamma=0.1, b1=0.8),
        gx.scale_by_adam(0.8, 0.95, eps=0.0),
        gx.scale_by_learning_rate(RATE),
    )
    assert torch_error("mars", tx, after_a_gradient_of_zeros) <= 1e-10
    first = gx.reduce_gradient_variance(gamma=0.1, b1=0.8, max_norm=None)
    g = jnp.array([0.5, -2.0])
    np.testing.assert_array_equal(first.update(g, first.init(g))[0], g)


def test_adans_decay_is_the_papers_but_for_a_factor():
    """The paper's proximal step: (w - lr u) / (1 + lr λ) is w - lr (u + λ w) / (1 + lr λ)."""
    tx = gx.chain(gx.adan(RATE, **ADAN, weight_decay=0.2), gx.scale(1 / (1 + RATE * 0.2)))
    assert torch_error("adan proximal", tx) <= 1e-10


def test_torchs_nadam_warms_its_momentum_up():
    """At its default `momentum_decay` it is another method, see `scale_by_adam`."""
    assert torch_error("nadam momentum_decay", gx.nadam(RATE, **MOMENTS)) > 0.1


def test_every_run_of_torch_is_compared():
    rest = {"mars", "adan proximal", "nadam momentum_decay"}
    assert RECORD["runs"].keys() == TORCH.keys() | rest
