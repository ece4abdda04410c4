"""Trajectories of torch, stored as data in float64, and the places where torch differs.

Each step's update is compared with the difference of torch's parameters, which has lost some
digits: 1e-11 of an array's largest element in float64, and 1e-5 in float32.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import distance, updates_of

import gradxform as gx

RECORD = json.loads((Path(__file__).parent / "torch_trajectories.json").read_text())
MOMENTS = {"b1": 0.8, "b2": 0.95, "eps": 1e-6}
SQUARES = {"decay": 0.95, "eps": 1e-5}


def with_l2(l2, tx):
    """What torch calls `weight_decay` everywhere but in AdamW."""
    return gx.chain(gx.add_l2_regularization(l2), tx)


def optimizers():
    # Defaults are torch's, where torch has one for what the paper leaves open.
    return {
        "sgd": gx.sgd(0.1),
        "sgd momentum": gx.sgd(0.1, momentum=0.8),
        "sgd nesterov, weight decay": with_l2(0.2, gx.sgd(0.1, momentum=0.8, nesterov=True)),
        "adagrad defaults": gx.adagrad(0.01),
        "adagrad": gx.adagrad(0.1, initial_accumulator_value=0.05, eps=1e-6),
        "rmsprop defaults": gx.rmsprop(0.01, decay=0.99),
        "rmsprop": gx.rmsprop(0.1, **SQUARES),
        "rmsprop centered": gx.rmsprop(0.1, **SQUARES, centered=True),
        "rmsprop momentum": gx.rmsprop(0.1, **SQUARES, centered=True, momentum=0.8),
        "adam defaults": gx.adam(1e-3),
        "adam": gx.adam(0.1, **MOMENTS),
        "adam weight decay": with_l2(0.2, gx.adam(0.1, **MOMENTS)),
        "adamw defaults": gx.adamw(1e-3),
        "adamw": gx.adamw(0.1, **MOMENTS, weight_decay=0.2),
    }


def scheduled():
    steps = gx.step_decay(0.1, 0.2, every=4)
    return {
        "sgd, steps": gx.sgd(steps, momentum=0.8),
        "rmsprop, steps": gx.rmsprop(steps, **SQUARES, centered=True, momentum=0.8),
        "adamw, cosine": gx.adamw(gx.cosine_decay(0.1, 8, end=0.01), **MOMENTS, weight_decay=0.2),
    }


def arrays(tree):
    return {k: np.array(x, np.float64) for k, x in tree.items()}


def error(tx, stored, dtype, stop=None):
    """How far the updates of `tx` are from the steps that torch's parameters took."""
    grads = [arrays(g) for g in RECORD["grads"]][:stop]
    params = [arrays(p) for p in (RECORD["params"], *stored["params"])][: len(grads) + 1]
    pairs = zip(params[1:], params[:-1], strict=True)
    moves = [{k: after[k] - before[k] for k in after} for after, before in pairs]
    grads, params = jax.tree.map(lambda x: x.astype(dtype), (grads, params[:-1]))
    return distance(updates_of(tx, grads, params, jit=False), moves)


@pytest.mark.parametrize("name", optimizers())
def test_an_optimizer(name):
    stored = RECORD["optimizers"][name]
    assert error(optimizers()[name], stored, "float32") <= 1e-5
    with jax.enable_x64(True):
        assert error(optimizers()[name], stored, "float64") <= 1e-11


@pytest.mark.parametrize("name", scheduled())
def test_an_optimizer_with_a_schedule(name):
    """Up to the schedule's end; torch's cosine rises again after it."""
    stored, stop = RECORD["scheduled"][name], 9 if "cosine" in name else None
    assert error(scheduled()[name], stored, "float32", stop) <= 1e-5
    with jax.enable_x64(True):
        assert error(scheduled()[name], stored, "float64", stop) <= 1e-11


def test_the_tables_are_those_of_the_record():
    assert optimizers().keys() == RECORD["optimizers"].keys()
    assert scheduled().keys() == RECORD["scheduled"].keys()
    assert RECORD["torch"].startswith("2.13.0")


# Learning rates

SCHEDULES = {
    "step": gx.step_decay(0.3, 0.2, every=7),
    "multi step": gx.step_decay(0.3, 0.2, boundaries=[7, 9, 20]),
    "cosine": gx.cosine_decay(0.3, 25, end=0.01),
    "exponential": gx.exponential_decay(0.3, 1, 0.9),
    "linear": gx.linear_schedule(0.1 * 0.3, 0.8 * 0.3, 10),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule(name):
    stored = np.array(RECORD["schedules"][name]["values"])
    ours = SCHEDULES[name](jnp.arange(len(stored)))
    np.testing.assert_allclose(ours, stored, rtol=2e-6)


def test_a_cosine_stays_at_its_end():
    """torch's turns at T_max and rises again."""
    stored = np.array(RECORD["schedules"]["cosine beyond its end"]["values"])
    ours = np.asarray(gx.cosine_decay(0.3, 10, end=0.01)(jnp.arange(len(stored))))
    np.testing.assert_allclose(ours[:11], stored[:11], rtol=2e-6)
    assert np.all(ours[11:] == np.float32(0.01))
    assert stored[20] == pytest.approx(0.3)


# Clipping


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_clip_by_value(dtype, tolerance):
    stored = RECORD["clips"]["value"]
    with jax.enable_x64(dtype == "float64"):
        tx = gx.clip_by_value(stored["bound"])
        grads = jax.tree.map(lambda x: x.astype(dtype), [arrays(g) for g in RECORD["grads"]])
        updates = updates_of(tx, grads, grads, jit=False)
    assert distance(updates, [arrays(g) for g in stored["grads"]]) <= tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_clip_by_global_norm(dtype, tolerance):
    """torch divides by the norm plus 1e-6, and scales whatever is within 1e-6 of the bound."""
    stored = RECORD["clips"]["norm"]
    grads = [arrays(g) for g in RECORD["grads"]]
    norms = [np.sqrt(sum(np.sum(x**2) for x in g.values())) for g in grads]
    assert min(norms) < stored["bound"] < max(norms)
    with jax.enable_x64(dtype == "float64"):
        tx = gx.clip_by_global_norm(stored["bound"])
        ours = updates_of(tx, *[jax.tree.map(lambda x: x.astype(dtype), grads)] * 2, jit=False)
    theirs = [
        {k: x * (norm + 1e-6) / norm if norm > stored["bound"] else x for k, x in arrays(g).items()}
        for g, norm in zip(stored["grads"], norms, strict=True)
    ]
    assert distance(ours, theirs) <= tolerance


@pytest.mark.parametrize("name", RECORD["clips of what is not finite"])
def test_clipping_what_is_not_finite(name):
    stored = RECORD["clips of what is not finite"][name]
    clip = gx.clip_by_global_norm if name.startswith("norm") else gx.clip_by_value
    grads = {"w": jnp.array([float(x) for x in stored["before"]["w"]])}
    tx = clip(stored["bound"])
    updates, _ = tx.update(grads, tx.init(grads))
    np.testing.assert_array_equal(updates["w"], [float(x) for x in stored["w"]])
