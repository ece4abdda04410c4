"""Layer-wise, sign and low-memory rules against optax and torch, and where those differ.

optax computes in float32, so it agrees to a few roundings: 2e-5 of an array's largest element.
torch's trajectories are data in float64; each step is a difference of parameters, which has lost
some digits.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows.row import is_kernel
from steps import STEPS, distance, inputs, updates_of

import gradxform as gx

TOLERANCE = 2e-5
TRUST = {"trust_coefficient": 0.02, "eps": 0.01}
ADAM = {"b1": 0.8, "b2": 0.95, "eps": 1e-5}
FACTORED = {"decay_rate": 0.7, "min_dim_size_to_factor": 2, "eps": 1e-6}
VALUE = 2.5

# name: ours, optax's
PAIRS = {
    "clip_by_block_rms": (gx.clip_by_block_rms(0.5), optax.clip_by_block_rms(0.5)),
    "adaptive_gradient_clip": (
        gx.adaptive_gradient_clip(0.1, 0.5),
        optax.adaptive_grad_clip(0.1, 0.5),
    ),
    "scale_by_trust_ratio": (
        gx.scale_by_trust_ratio(**TRUST),
        optax.scale_by_trust_ratio(**TRUST),
    ),
    "normalize_by_global_norm": (
        gx.normalize_by_global_norm(0.01),
        optax.normalize_by_update_norm(eps=0.01),
    ),
    "scale_by_ema": (gx.scale_by_ema(0.8), optax.ema(0.8, debias=False)),
    "scale_by_ema, debiased": (gx.scale_by_ema(0.8, debias=True), optax.ema(0.8)),
    "sign_sgd": (gx.sign_sgd(0.1), optax.sign_sgd(0.1)),
    "signum": (gx.signum(0.1, 0.8), optax.signum(0.1, 0.8)),
    "lars": (
        gx.lars(0.1, momentum=0.8, nesterov=True, weight_decay=0.0, **TRUST, trust_mask=is_kernel),
        optax.lars(0.1, momentum=0.8, nesterov=True, **TRUST, trust_ratio_mask=is_kernel),
    ),
    "lamb": (
        gx.lamb(0.1, **ADAM, weight_decay=0.2, mask=is_kernel),
        optax.lamb(0.1, **ADAM, weight_decay=0.2, mask=is_kernel),
    ),
    "fromage": (gx.fromage(0.1), optax.fromage(0.1)),
    # optax adds eps to the learning rate, as the authors' code does.
    "madgrad": (
        gx.madgrad(0.1 + 1e-3, 0.8, eps=1e-3, l2=0.2),
        optax.contrib.madgrad(0.1, 0.8, 0.2, 1e-3),
    ),
    "optimistic_gradient_descent": (
        gx.optimistic_gradient_descent(0.1, 0.8, 0.6),
        optax.optimistic_gradient_descent(0.1, 0.8, 0.6),
    ),
    "optimistic_adam": (
        gx.optimistic_adam(0.1, **ADAM, alpha=0.8, beta=0.6),
        optax.optimistic_adam_v2(0.1, alpha=0.8, beta=0.6, **ADAM, nesterov=False),
    ),
    "polyak_sgd": (
        gx.polyak_sgd(max_step_size=0.3, f_min=0.5, c=1.0),
        optax.polyak_sgd(0.3, f_min=0.5),
    ),
    "scale_by_factored_rms": (
        gx.scale_by_factored_rms(**FACTORED),
        optax.scale_by_factored_rms(
            decay_rate=0.7, min_dim_size_to_factor=2, epsilon=FACTORED["eps"]
        ),
    ),
    "scale_by_parameter_rms": (
        gx.scale_by_parameter_rms(0.6),
        optax.scale_by_param_block_rms(0.6),
    ),
    "adafactor": (
        gx.adafactor(0.1, **FACTORED, max_rms=0.5, momentum=0.8),
        optax.adafactor(0.1, **FACTORED, clipping_threshold=0.5, momentum=0.8),
    ),
    # optax's decay is per step, ours per unit of learning rate.
    "adafactor, weight decay": (
        gx.adafactor(0.1, min_scale=None, weight_decay=0.2, mask=is_kernel),
        optax.adafactor(
            0.1,
            multiply_by_parameter_scale=False,
            weight_decay_rate=0.1 * 0.2,
            weight_decay_mask=is_kernel,
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_ten_steps_of_optax(name):
    extra = {"value": VALUE} if "polyak" in name else {}
    ours, theirs = (updates_of(tx, *inputs(), **extra) for tx in PAIRS[name])
    assert distance(ours, theirs) <= TOLERANCE


def without_scalars(trees):
    return [{k: x for k, x in tree.items() if np.ndim(x)} for tree in trees]


def test_sm3_is_optaxs_without_eps():
    """optax's fails on an array without axes."""
    grads, params = map(without_scalars, inputs())
    ours = updates_of(gx.sm3(0.1, 0.8), grads, params)
    theirs = optax.chain(optax.scale_by_sm3(b1=0.8, eps=0.0), optax.scale(-0.1))
    assert distance(ours, updates_of(theirs, grads, params)) <= TOLERANCE
    with pytest.raises(IndexError):
        updates_of(optax.sm3(0.1), *inputs())


# Where optax differs


def test_optaxs_rprop_is_a_step_late():
    """Its first update is zero and each later one is the step before, unless the sign turned."""
    params = {"w": jnp.zeros(2)}
    grads = [{"w": jnp.asarray([1.0, -2.0])}] * 3
    ours = updates_of(gx.rprop(0.1), grads, [params] * 3)
    theirs = updates_of(optax.rprop(0.1), grads, [params] * 3)
    np.testing.assert_allclose([u["w"][0] for u in ours], [-0.1, -0.12, -0.144], rtol=1e-6)
    np.testing.assert_allclose([u["w"][0] for u in theirs], [0, -0.1, -0.12], rtol=1e-6)


def test_lars_adds_the_norms_and_optax_takes_the_norm_of_the_sum():
    w, g, beta = jnp.asarray([3.0, 4.0]), jnp.asarray([4.0, -3.0]), 1.0
    ours = gx.scale_by_lars(0.1, beta).update(g, optax.EmptyState(), w)[0]
    np.testing.assert_allclose(ours, 0.1 * 5 / (5 + beta * 5) * (g + beta * w), rtol=1e-6)
    theirs = optax.lars(1.0, weight_decay=beta, trust_coefficient=0.1, momentum=0.0)
    step = theirs.update(g, theirs.init(w), w)[0]
    np.testing.assert_allclose(step, -0.1 * 5 / np.sqrt(50) * (g + beta * w), rtol=1e-6)


def test_centralization_is_over_the_inputs_and_optaxs_over_torchs_layout():
    g = jnp.asarray([[1.0, 2.0, 6.0], [3.0, 8.0, 0.0]])  # two inputs, three outputs
    ours = gx.centralize_gradients().update(g, optax.EmptyState())[0]
    np.testing.assert_allclose(ours, [[-1, -3, 3], [1, 3, -3]])
    theirs = optax.centralize().update(g, optax.EmptyState())[0]
    np.testing.assert_allclose(
        theirs, gx.centralize_gradients(axis=1).update(g, optax.EmptyState())[0]
    )
    np.testing.assert_allclose(theirs, g - g.mean(1, keepdims=True))


def test_a_loss_below_its_minimum_stops_and_optax_goes_uphill():
    g = jnp.asarray([1.0, -2.0])
    ours, theirs = gx.polyak_sgd(f_min=1.0), optax.polyak_sgd(f_min=1.0)
    np.testing.assert_array_equal(ours.update(g, ours.init(g), g, value=0.5)[0], 0 * g)
    uphill = theirs.update(g, theirs.init(g), g, value=0.5)[0]
    np.testing.assert_allclose(uphill, 0.1 * g, rtol=1e-6)


def test_the_learning_rate_multiplies_polyaks_step_and_optaxs_scaling_divides_it():
    """optax scales the gradient first, so that its squared norm divides by the square."""
    g = jnp.asarray([3.0, 4.0])
    polyak = 2.0 / 25 * g
    ours, theirs = gx.polyak_sgd(learning_rate=0.5, c=1.0), optax.polyak_sgd(scaling=0.5)
    np.testing.assert_allclose(ours.update(g, ours.init(g), value=2.0)[0], -0.5 * polyak, 1e-6)
    step = theirs.update(g, theirs.init(g), g, value=2.0)[0]
    np.testing.assert_allclose(step, -polyak / 0.5, rtol=1e-6)


def test_an_offset_of_the_decay_is_finite_and_optaxs_is_nan():
    g = jnp.ones(3)
    ours = gx.scale_by_factored_rms(decay_offset=5)
    theirs = optax.scale_by_factored_rms(step_offset=5)
    state, their_state = ours.init(g), theirs.init(g)
    for _ in range(10):
        updates, state = ours.update(g, state)
        their_updates, their_state = theirs.update(g, their_state, g)
        np.testing.assert_allclose(updates, 1, rtol=1e-6)
    assert np.all(np.isnan(their_updates))


def test_optaxs_adafactor_has_no_relative_step():
    """The paper's and torch's is min(0.01, 1 / sqrt(t)); optax's is 1 where none is given."""
    g = w = jnp.ones(3)
    ours, theirs = gx.adafactor(), optax.adafactor()
    np.testing.assert_allclose(ours.update(g, ours.init(w), w)[0], -0.01 * w, rtol=1e-6)
    np.testing.assert_allclose(theirs.update(g, theirs.init(w), w)[0], -w, rtol=1e-6)


def test_fromage_leaves_zeros_at_the_learning_rate_and_optax_almost_at_rest():
    """As the authors' code; optax takes the norms of zeros to be 1e-6."""
    w, g = jnp.zeros(2), jnp.asarray([3.0, 4.0])
    ours, theirs = gx.fromage(0.1), optax.fromage(0.1)
    root = np.sqrt(1.01)
    np.testing.assert_allclose(ours.update(g, ours.init(w), w)[0], -0.1 / root * g, rtol=1e-6)
    step = theirs.update(g, theirs.init(w), w)[0]
    np.testing.assert_allclose(step, -0.1 / root * 1e-6 * g / 5, rtol=1e-6)


# torch

RECORD = json.loads((Path(__file__).parent / "torch_layerwise.json").read_text())


def relative_step(rate):
    """torch's: min(learning rate, 1 / sqrt(t)), t = 1, 2, ..."""
    return lambda step: jnp.minimum(rate, 1.0 / jnp.sqrt(step.astype(float) + 1.0))


# torch bounds the mean of the rows and the moments from below where the paper adds eps to the
# squares; neither is felt here. It factors every matrix.
SMALL = {"min_dim_size_to_factor": 1, "eps": 0.0}
TORCH = {
    "rprop defaults": gx.rprop(0.01),
    "rprop": gx.rprop(0.1, 0.4, 1.5, min_scale=0.03 / 0.1, max_scale=0.12 / 0.1),
    "adafactor defaults": gx.adafactor(**SMALL),
    "adafactor": gx.adafactor(
        0.01, **SMALL, decay_rate=0.7, min_scale=1.2, max_rms=1.2, weight_decay=0.2
    ),
    "adafactor, relative steps": gx.adafactor(relative_step(0.34), **SMALL),
}


def arrays(tree, dtype):
    return {k: np.array(x, dtype) for k, x in tree.items()}


def error(tx, stored, dtype):
    """How far the updates of `tx` are from the steps that torch's parameters took."""
    grads = [arrays(g, dtype) for g in RECORD["grads"]]
    params = [arrays(p, np.float64) for p in (RECORD["params"], *stored["params"])]
    assert len(grads) == len(params) - 1 == STEPS
    pairs = zip(params[1:], params[:-1], strict=True)
    moves = [{k: after[k] - before[k] for k in after} for after, before in pairs]
    narrow = [{k: x.astype(dtype) for k, x in p.items()} for p in params[:-1]]
    return distance(updates_of(tx, grads, narrow), moves)


@pytest.mark.parametrize("name", TORCH)
def test_ten_steps_of_torch(name):
    stored = RECORD["optimizers"][name]
    with jax.enable_x64(True):
        assert error(TORCH[name], stored, "float64") <= 1e-11
    assert error(TORCH[name], stored, "float32") <= 1e-5


def test_the_table_is_that_of_the_record():
    assert TORCH.keys() == RECORD["optimizers"].keys()
    assert RECORD["torch"].startswith("2.13.0")
