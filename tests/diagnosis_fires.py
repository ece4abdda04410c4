"""What each rule of `diagnose` sees, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradxform as gx
from gradxform import select

PARAMS = {
    "embed": {"embedding": np.full((10, 8), 0.3, np.float32)},
    "layer": {"kernel": np.full((8, 8), 0.3, np.float32), "bias": np.zeros(8, np.float32)},
}
VECTORS = {"w": np.ones(8, np.float32), "b": np.ones(1, np.float32)}
NARROW = {"w": jnp.full((8, 8), 1.0, jnp.bfloat16)}
LARGE = {"w": np.broadcast_to(np.float32(1.0), (10_000, 5_000))}
ADAMW = gx.adamw(1e-3, mask=select.decayed)
WARM = gx.warmup(gx.cosine_decay(1e-3, 900), 100)
DECAY = gx.add_decoupled_weight_decay(0.1, mask=select.decayed)
L2 = gx.add_l2_regularization(1e-4, mask=select.decayed)
RATE = gx.scale_by_learning_rate(1e-3)
CLIP = gx.clip_by_global_norm(1.0)


def epochs(size):
    return gx.sgd(gx.step_decay(0.1, boundaries=gx.epochs([30, 60], 1000 / size)))


def imagenet(rate=0.1):
    return gx.chain(L2, gx.sgd(gx.cosine_decay(rate, 100), momentum=0.9))


# rule: [(transformation, keywords of diagnose, parameters)], what fires and what does not
FIRES = {
    "parameters_that_init_refuses": [
        (gx.partition({"biases": (select.path(".*bias"), ADAMW)}), {}, PARAMS),
        (gx.adamw(1e-3, mask=select.path("head/.*")), {}, PARAMS),
    ],
    "no_learning_rate": [
        (gx.chain(CLIP, gx.scale_by_adam()), {}, PARAMS),
        (gx.masked(gx.sgd(0.1), select.ndim(2)), {}, PARAMS),
        (gx.chain(gx.scale_by_adam(), gx.scale(0.1)), {}, PARAMS),
    ],
    "two_learning_rates": [
        (gx.chain(gx.adam(1e-3), gx.sgd(0.1)), {}, PARAMS),
        (gx.chain(gx.scale_by_adam(), gx.scale(-1e-3), RATE), {}, PARAMS),
        (gx.chain(gx.scale_by_momo(), RATE), {}, PARAMS),
    ],
    "decay_after_learning_rate": [
        (gx.chain(gx.scale_by_adam(), RATE, DECAY), {}, PARAMS),
        (gx.chain(gx.sgd(0.1), L2), {}, PARAMS),
    ],
    "decay_before_preconditioner": [
        (gx.chain(DECAY, gx.scale_by_adam(), RATE), {}, PARAMS),
        (gx.chain(DECAY, gx.lion(1e-4)), {}, PARAMS),
    ],
    "l2_under_adaptive_scaling": [
        (gx.chain(L2, gx.adam(1e-3)), {}, PARAMS),
        (gx.chain(CLIP, L2, gx.rmsprop(gx.tunable(1e-3))), {}, PARAMS),
    ],
    "clipping_after_preconditioning": [
        (gx.chain(gx.scale_by_adam(), CLIP, RATE), {}, PARAMS),
        (gx.chain(ADAMW, gx.clip_by_value(1.0)), {}, PARAMS),
    ],
    "clipping_of_scaled_gradients": [
        (gx.chain(CLIP, gx.dynamic_loss_scale(ADAMW)), {}, PARAMS),
    ],
    "learning_rate_is_zero": [
        (gx.sgd(0.0), {}, PARAMS),
        (gx.sgd(lambda step: 0.0 * step), {}, PARAMS),
    ],
    "no_warmup": [
        (ADAMW, {"model": "transformer"}, PARAMS),
        (gx.adamw(gx.cosine_decay(1e-3, 1000)), {"model": "transformer"}, PARAMS),
        (gx.adam(gx.reduce_on_plateau(1e-3)), {}, LARGE),
    ],
    "warmup_longer_than_run": [
        (gx.sgd(gx.warmup(0.1, 500)), {"total_steps": 500}, PARAMS),
        (gx.sgd(gx.warmup_stable_decay(0.1, 900, 600, 100)), {"total_steps": 500}, PARAMS),
        (gx.accumulate(gx.sgd(gx.warmup(0.1, 300)), 4), {"total_steps": 1000}, PARAMS),
    ],
    "schedule_ends_before_run": [
        (gx.sgd(gx.cosine_decay(0.1, 500)), {"total_steps": 1000}, PARAMS),
        (gx.sgd(gx.cosine_decay(0.1, 500, end=1e-3)), {"total_steps": 1000}, PARAMS),
        (gx.sgd(lambda step: jnp.maximum(1.0 - step / 400, 0.0)), {"total_steps": 900}, PARAMS),
    ],
    "schedule_ends_after_run": [
        (gx.sgd(gx.cosine_decay(0.1, 2000)), {"total_steps": 1000}, PARAMS),
        (gx.sgd(gx.step_decay(0.1, boundaries=[3000, 6000])), {"total_steps": 2000}, PARAMS),
        (gx.sgd(gx.cosine_restarts(0.1, 400)), {"total_steps": 450}, PARAMS),
        (gx.accumulate(gx.sgd(gx.cosine_decay(0.1, 1000)), 4), {"total_steps": 1000}, PARAMS),
    ],
    "decay_under_schedule_free": [
        (gx.schedule_free(gx.sgd(gx.cosine_decay(0.1, 100))), {"total_steps": 100}, PARAMS),
    ],
    "batch_size_changed_without_rate": [
        (epochs(100), {"batch_size": 400, "examples": 1000}, PARAMS),
        (epochs(100), {"batch_size": 25, "examples": 1000}, PARAMS),
        (
            gx.accumulate(epochs(100), 4),
            {"batch_size": 100, "examples": 1000, "total_steps": 800},
            PARAMS,
        ),
    ],
    "the_same_random_numbers": [
        (optax.chain(gx.add_gradient_noise(), gx.add_gradient_noise(), RATE), {}, PARAMS),
        (optax.chain(gx.sophia(0.1), gx.noisy_sgd(0.1)), {}, PARAMS),
    ],
    "no_clipping": [
        (ADAMW, {"model": "recurrent"}, PARAMS),
        (ADAMW, {"model": "transformer"}, PARAMS),
        (gx.dynamic_loss_scale(ADAMW), {}, PARAMS),
    ],
    "decay_on_biases_and_norms": [
        (gx.adamw(1e-3), {}, PARAMS),
        (gx.prodigy(weight_decay=0.1), {}, PARAMS),
        (gx.adamw(1e-3), {}, {"stacked": {"scale": np.ones((3, 4)), "w": np.ones((3, 4, 4))}}),
    ],
    "imagenet_recipe_on_few_examples": [
        (imagenet(), {"examples": 100}, PARAMS),
        (imagenet(), {"examples": 100, "model": "vision"}, PARAMS),
    ],
    "decay_too_strong": [
        (gx.adamw(0.1, weight_decay=1.0, mask=select.decayed), {}, PARAMS),
        (gx.chain(gx.scale_by_lion(), DECAY, gx.scale_by_learning_rate(2.0)), {}, PARAMS),
    ],
    "step_as_long_as_the_weights": [
        (gx.adam(0.5), {}, PARAMS),
        (gx.lion(gx.one_cycle(0.4, 100)), {}, PARAMS),
    ],
    "epsilon_lost_in_float16": [
        (gx.adam(1e-3, state_dtype="float16"), {}, PARAMS),
        (gx.rmsprop(1e-3, eps=0.0, eps_root=1e-16, state_dtype="float16"), {}, PARAMS),
    ],
    "moments_in_16_bit": [
        (gx.adam(1e-3, state_dtype="bfloat16"), {}, PARAMS),
        (gx.adam(1e-3, b2=0.9999, eps=1e-3, state_dtype="float16"), {}, PARAMS),
    ],
    "updates_below_half_a_digit": [
        (gx.adam(1e-3), {}, NARROW),
        (gx.lion(gx.cosine_decay(2e-3, 100)), {}, {"w": np.ones((8, 8), jnp.bfloat16)}),
    ],
    "sums_in_16_bit": [
        (gx.adagrad(0.1, state_dtype="bfloat16"), {}, PARAMS),
        (gx.sm3(0.1, state_dtype="float16"), {}, PARAMS),
    ],
    "distance_moments_in_float16": [
        (gx.prodigy(state_dtype="float16"), {}, PARAMS),
        (gx.dadapt_adamw(state_dtype="float16"), {}, PARAMS),
    ],
    "distance_that_rounds_away": [
        (gx.dog(), {}, NARROW),
        (gx.dowg(), {}, NARROW),
        (gx.prodigy(), {}, {"w": jax.ShapeDtypeStruct((4, 4), jnp.float16)}),
    ],
    "state_over_memory_budget": [(gx.adam(1e-3), {"memory_budget": 8 * 152}, PARAMS)],
}
