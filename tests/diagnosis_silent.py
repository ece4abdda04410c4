"""What each rule of `diagnose` leaves alone."""

import jax.numpy as jnp
import numpy as np
import optax
from diagnosis_fires import (
    ADAMW,
    CLIP,
    DECAY,
    L2,
    LARGE,
    NARROW,
    PARAMS,
    RATE,
    VECTORS,
    WARM,
    epochs,
    imagenet,
)

import gradxform as gx
from gradxform import select

SILENT = {
    "parameters_that_init_refuses": [
        (
            gx.partition({"biases": (select.path(".*bias"), gx.adam(1e-3))}, default=ADAMW),
            {},
            PARAMS,
        ),
    ],
    "no_learning_rate": [
        (gx.freeze(gx.sgd(0.1), select.ndim(1)), {}, PARAMS),
        (gx.chain(gx.scale_by_adam(), gx.scale(-1e-3)), {}, PARAMS),
        (gx.chain(gx.scale_by_adam(), gx.scale(gx.tunable(-1e-3))), {}, PARAMS),
        (gx.madgrad(1e-3), {}, PARAMS),
    ],
    "two_learning_rates": [
        (gx.momo_adam(), {}, PARAMS),
        (gx.chain(gx.sgd(0.1), gx.scale(0.5)), {}, PARAMS),
        (gx.partition({"a": (select.ndim(2), gx.sgd(0.1))}, gx.adam(0.1)), {}, PARAMS),
    ],
    "decay_after_learning_rate": [
        (gx.chain(gx.sgd(0.1), gx.add_l2_regularization(0.0)), {}, PARAMS),
        (gx.lars(0.1, momentum=0.9), {}, PARAMS),
    ],
    "decay_before_preconditioner": [
        (ADAMW, {}, PARAMS),
        (gx.chain(DECAY, gx.sgd(0.1, momentum=0.9)), {}, PARAMS),
        (gx.novograd(0.1, weight_decay=0.1), {}, PARAMS),
    ],
    "l2_under_adaptive_scaling": [
        (gx.chain(L2, gx.sgd(0.1, momentum=0.9)), {}, PARAMS),
        (
            gx.partition(
                {"k": (select.ndim(2), gx.chain(gx.add_l2_regularization(), gx.sgd(0.1)))},
                gx.adam(0.1),
            ),
            {},
            PARAMS,
        ),
        (gx.chain(gx.add_l2_regularization(0.0), gx.adam(1e-3)), {}, PARAMS),
    ],
    "clipping_after_preconditioning": [
        (gx.chain(CLIP, ADAMW), {}, PARAMS),
        (gx.adafactor(1e-3), {}, PARAMS),
        (gx.chain(gx.sgd(0.1, momentum=0.9), gx.clip_by_value(1.0)), {}, PARAMS),
    ],
    "clipping_of_scaled_gradients": [
        (gx.dynamic_loss_scale(gx.chain(CLIP, ADAMW)), {}, PARAMS),
    ],
    "learning_rate_is_zero": [(gx.sgd(gx.warmup(0.1, 10)), {}, PARAMS)],
    "no_warmup": [
        (gx.adamw(WARM), {"model": "transformer"}, PARAMS),
        (gx.radam(1e-3), {"model": "transformer"}, PARAMS),
        (gx.prodigy(), {"model": "transformer"}, PARAMS),
        (gx.adam(gx.tunable(1e-3)), {"model": "transformer"}, PARAMS),
        (
            gx.chain(gx.adam(1e-3), gx.scale(gx.linear_schedule(0.0, 1.0, 100))),
            {"model": "transformer"},
            PARAMS,
        ),
        (ADAMW, {}, PARAMS),
        (gx.sgd(0.1), {}, LARGE),
    ],
    "warmup_longer_than_run": [
        (gx.sgd(gx.warmup(0.1, 500)), {"total_steps": 501}, PARAMS),
        (gx.sgd(gx.warmup(0.1, 500)), {}, PARAMS),
    ],
    "schedule_ends_before_run": [
        (gx.sgd(WARM), {"total_steps": 1000}, PARAMS),
        (gx.sgd(gx.step_decay(0.1, boundaries=[300, 600])), {"total_steps": 1000}, PARAMS),
        (gx.sgd(gx.warmup(0.1, 100)), {"total_steps": 1000}, PARAMS),
        (gx.accumulate(gx.sgd(gx.cosine_decay(0.1, 250)), 4), {"total_steps": 1000}, PARAMS),
        (
            gx.accumulate(gx.sgd(gx.cosine_decay(0.1, 250)), lambda step: 4),
            {"total_steps": 1000},
            PARAMS,
        ),
    ],
    "schedule_ends_after_run": [
        (gx.sgd(WARM), {"total_steps": 1000}, PARAMS),
        (gx.sgd(gx.cosine_decay(0.1, 1000)), {"total_steps": 990}, PARAMS),
        (gx.sgd(gx.inverse_sqrt_decay(0.1, 1000)), {"total_steps": 100}, PARAMS),
        (gx.sgd(gx.cosine_restarts(0.1, 400)), {"total_steps": 800}, PARAMS),
        (gx.sgd(gx.step_decay(0.1, boundaries=[300, 6000])), {"total_steps": 2000}, PARAMS),
    ],
    "decay_under_schedule_free": [
        (gx.schedule_free(gx.sgd(gx.warmup(0.1, 10))), {"total_steps": 100}, PARAMS),
        (gx.sgd(gx.cosine_decay(0.1, 100)), {"total_steps": 100}, PARAMS),
    ],
    "batch_size_changed_without_rate": [
        (
            gx.sgd(gx.cosine_decay(0.1, gx.epochs(5, 2))),
            {"batch_size": 8, "examples": 10},
            PARAMS,
        ),
        (gx.accumulate(epochs(400), 4), {"batch_size": 100, "examples": 1000}, PARAMS),
        (epochs(100), {"batch_size": 100, "examples": 1000}, PARAMS),
        (epochs(100), {"batch_size": 400}, PARAMS),
        (
            gx.accumulate(epochs(400), 4),
            {"batch_size": 100, "examples": 1000, "total_steps": 800},
            PARAMS,
        ),
        (gx.sgd(0.1), {"batch_size": 400, "examples": 1000}, PARAMS),
    ],
    "the_same_random_numbers": [
        (optax.chain(gx.add_gradient_noise(), gx.add_gradient_noise(seed=1), RATE), {}, PARAMS),
        (gx.chain(gx.add_gradient_noise(), gx.add_gradient_noise(), RATE), {}, PARAMS),
        (gx.chain(gx.sophia(0.1, state_dtype={"mu": "bfloat16"}), gx.scale(0.5)), {}, PARAMS),
    ],
    "no_clipping": [
        (gx.chain(CLIP, ADAMW), {"model": "recurrent"}, PARAMS),
        (gx.lion(1e-4), {"model": "transformer"}, PARAMS),
        (gx.skip_spikes(ADAMW), {"model": "transformer"}, PARAMS),
        (ADAMW, {"model": "vision"}, PARAMS),
    ],
    "decay_on_biases_and_norms": [
        (ADAMW, {}, PARAMS),
        (gx.adamw(1e-3), {}, VECTORS),
        (gx.adamw(1e-3, weight_decay=0.0), {}, PARAMS),
        (gx.adamw(1e-3, mask=select.ndim(2)), {}, PARAMS),
    ],
    "imagenet_recipe_on_few_examples": [
        (imagenet(), {"examples": 100_000}, PARAMS),
        (imagenet(), {}, PARAMS),
        (imagenet(0.01), {"examples": 100}, PARAMS),
        (ADAMW, {"examples": 100}, PARAMS),
        (imagenet(), {"examples": 100, "model": "table"}, PARAMS),
        (imagenet(), {"examples": 100}, VECTORS | {"w2": np.ones((2, 2), np.float32)}),
    ],
    "decay_too_strong": [
        (ADAMW, {}, PARAMS),
        (gx.adamw(gx.tunable(0.1), weight_decay=1.0), {}, PARAMS),
    ],
    "step_as_long_as_the_weights": [
        (ADAMW, {}, PARAMS),
        (gx.sgd(0.5, momentum=0.9), {}, PARAMS),
        (gx.adam(0.5), {}, {"w": np.zeros((8, 8), np.float32)}),
        (gx.adam(0.5), {}, {"w": jnp.ones((8, 8)).at[0].get()}),
    ],
    "epsilon_lost_in_float16": [
        (gx.adam(1e-3, eps=1e-3, state_dtype="float16"), {}, PARAMS),
        (gx.adam(1e-3, state_dtype="bfloat16"), {}, PARAMS),
        (gx.sgd(0.1, momentum=0.9, state_dtype="float16"), {}, PARAMS),
        (gx.adam(1e-3), {}, NARROW),
    ],
    "moments_in_16_bit": [
        (gx.adam(1e-3, b2=0.99, state_dtype="bfloat16"), {}, PARAMS),
        (gx.adam(1e-3, eps=1e-3, state_dtype="float16"), {}, PARAMS),
        (gx.adam(1e-3), {}, NARROW),
        (gx.adam(1e-3, b2=gx.tunable(0.999), state_dtype="bfloat16"), {}, PARAMS),
    ],
    "updates_below_half_a_digit": [
        (gx.master_weights(gx.adam(1e-3)), {}, NARROW),
        (gx.adam(5e-3), {}, NARROW),
        (gx.adam(1e-3), {}, {"w": jnp.full((8, 8), 0.1, jnp.bfloat16)}),
        (gx.sgd(1e-3), {}, NARROW),
        (gx.adam(1e-3), {}, PARAMS),
    ],
    "sums_in_16_bit": [
        (gx.adagrad(0.1), {}, NARROW),
        (gx.adam(1e-3, state_dtype="bfloat16"), {}, PARAMS),
    ],
    "distance_moments_in_float16": [
        (gx.prodigy(state_dtype="bfloat16"), {}, PARAMS),
        (gx.adam(1e-3, state_dtype="float16"), {}, PARAMS),
    ],
    "distance_that_rounds_away": [
        (gx.dog(), {}, PARAMS),
        (gx.master_weights(gx.prodigy()), {}, NARROW),
        (gx.dog(), {}, {"w": jnp.zeros((4, 4), jnp.bfloat16)}),
        (gx.dog(reps_rel=1e-2), {}, NARROW),
        (gx.dog(init_eta=1e-2), {}, NARROW),
        (gx.prodigy(d0=1e-2), {}, NARROW),
        (gx.dadapt_adamw(), {}, NARROW),
    ],
    "state_over_memory_budget": [
        (gx.adam(1e-3), {"memory_budget": 10_000}, PARAMS),
        (gx.adam(1e-3), {}, PARAMS),
    ],
}
