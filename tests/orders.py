"""What the docstrings say of where a wrapper or a block belongs: an order as it should be, and not.

Each is held by a refusal when the wrong order is built, or by a rule of `diagnose`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

import gradxform as gx
from gradxform import select

PARAMS = {"layer": {"kernel": np.full((8, 8), 0.3, np.float32), "bias": np.zeros(8, np.float32)}}
NARROW = {"w": jnp.full((8, 8), 1.0, jnp.bfloat16)}
SGD, ADAM, SCALING = gx.sgd(0.1), gx.adam(1e-3), gx.scale_by_adam()
RATE, CLIP = gx.scale_by_learning_rate(1e-3), gx.clip_by_global_norm(1.0)
DECAY = gx.add_decoupled_weight_decay(0.1, mask=select.decayed)
DEPTHS = gx.layerwise_decay(0.75, lambda path: 1)


class Order(NamedTuple):
    """Two orders of the same parts, and what is said of the second."""

    right: Callable[[], Any]
    wrong: Callable[[], Any]
    held_by: str  # a rule of `diagnose`, or what the refusal says
    params: Any = PARAMS


REFUSED = {
    "accumulation around ema_params": Order(
        lambda: gx.accumulate(gx.ema_params(SGD, 0.5), 2),
        lambda: gx.ema_params(gx.accumulate(SGD, 2), 0.5),
        "`accumulate(ema_params(...), every=...)`, or give `every` as a multiple of 2",
    ),
    "ema_params counts whole windows": Order(
        lambda: gx.ema_params(gx.accumulate(SGD, 2), 0.5, every=4),
        lambda: gx.ema_params(gx.accumulate(SGD, 2), 0.5, every=3),
        "a multiple of 2",
    ),
    "accumulation around average_params": Order(
        lambda: gx.accumulate(gx.average_params(SGD, 0), 2),
        lambda: gx.average_params(gx.accumulate(SGD, 2), 0),
        "Turn them round: `accumulate(average_params(...)",
    ),
    "accumulation of unknown length": Order(
        lambda: gx.accumulate(gx.average_params(SGD, 0), lambda n: 2),
        lambda: gx.average_params(gx.accumulate(SGD, lambda n: 2), 0, 2),
        "Turn them round",
    ),
    "accumulation around lookahead": Order(
        lambda: gx.accumulate(gx.lookahead(SGD), 2),
        lambda: gx.lookahead(gx.accumulate(SGD, 2)),
        "or give `sync_period` as a multiple of 2",
    ),
    "accumulation around schedule_free": Order(
        lambda: gx.accumulate(gx.schedule_free(SGD), 2),
        lambda: gx.schedule_free(gx.chain(CLIP, gx.accumulate(SGD, 2))),
        "Turn them round: `accumulate(schedule_free(...)",
    ),
    "master_weights around lookahead": Order(
        lambda: gx.master_weights(gx.lookahead(SGD)),
        lambda: gx.lookahead(gx.master_weights(SGD)),
        "`master_weights(lookahead(...))`",
    ),
    "master_weights around schedule_free": Order(
        lambda: gx.master_weights(gx.schedule_free(SGD)),
        lambda: gx.schedule_free(gx.master_weights(SGD)),
        "inside of `master_weights`",
    ),
    "one that sets parameters": Order(
        lambda: gx.schedule_free(SGD),
        lambda: gx.schedule_free(gx.lookahead(SGD)),
        "holds `lookahead`",
    ),
    "a foreign optimizer passes": Order(
        lambda: gx.lookahead(gx.accumulate(optax.adam(1e-3), 5)),
        lambda: gx.lookahead(gx.accumulate(optax.adam(1e-3), 4)),
        "a multiple of 4",
    ),
    "offloading outside of a guard": Order(
        lambda: gx.offload_to_host(gx.skip_nonfinite(ADAM)),
        lambda: gx.skip_nonfinite(gx.offload_to_host(ADAM)),
        "`offload_to_host(skip_nonfinite(...))`",
    ),
    "offloading outside of accumulation": Order(
        lambda: gx.offload_to_host(gx.accumulate(ADAM, 2)),
        lambda: gx.accumulate(gx.offload_to_host(ADAM), 2),
        "`offload_to_host(accumulate(...))`",
    ),
    "the loss scale around a guard": Order(
        lambda: gx.dynamic_loss_scale(gx.skip_spikes(ADAM)),
        lambda: gx.skip_spikes(gx.dynamic_loss_scale(ADAM)),
        "Turn them round",
    ),
    "the loss scale around sam": Order(
        lambda: gx.dynamic_loss_scale(gx.sam(ADAM)),
        lambda: gx.sam(gx.dynamic_loss_scale(ADAM)),
        "`dynamic_loss_scale(sam(...))`",
    ),
    "one loss scale": Order(
        lambda: gx.dynamic_loss_scale(ADAM),
        lambda: gx.dynamic_loss_scale(gx.dynamic_loss_scale(ADAM)),
        "a loss has one scale",
    ),
    "cautious before the learning rate": Order(
        lambda: gx.chain(gx.cautious(SCALING), RATE),
        lambda: gx.cautious(ADAM),
        "Put the learning rate behind",
    ),
    "master_weights around buckets": Order(
        lambda: gx.master_weights(gx.bucket(ADAM)),
        lambda: gx.bucket(gx.master_weights(ADAM)),
        "`master_weights(bucket(...))`",
    ),
}

DIAGNOSED = {
    "master_weights around the learning rate": Order(
        lambda: gx.master_weights(gx.chain(SCALING, RATE)),
        lambda: gx.chain(gx.master_weights(SCALING), RATE),
        "change_behind_a_whole_optimizer",
        NARROW,
    ),
    "ema_params around the whole": Order(
        lambda: gx.ema_params(gx.chain(SGD, gx.scale(0.5))),
        lambda: gx.chain(gx.ema_params(SGD), gx.scale(0.5)),
        "change_behind_a_whole_optimizer",
    ),
    "average_params around the learning rate": Order(
        lambda: gx.average_params(ADAM, 0),
        lambda: gx.chain(gx.average_params(SCALING, 0), RATE),
        "change_behind_a_whole_optimizer",
    ),
    "lookahead around the whole": Order(
        lambda: gx.lookahead(gx.chain(SGD, CLIP)),
        lambda: gx.chain(gx.lookahead(SGD), CLIP),
        "change_behind_a_whole_optimizer",
    ),
    "schedule_free around the whole": Order(
        lambda: gx.schedule_free(gx.chain(SGD, DEPTHS)),
        lambda: gx.chain(gx.schedule_free(SGD), DEPTHS),
        "change_behind_a_whole_optimizer",
    ),
    "accumulation around the clipping": Order(
        lambda: gx.accumulate(gx.chain(CLIP, ADAM), 4),
        lambda: gx.chain(CLIP, gx.accumulate(ADAM, 4)),
        "blocks_outside_of_accumulation",
    ),
    "accumulation around the decay": Order(
        lambda: gx.accumulate(gx.chain(SCALING, DECAY, RATE), 4),
        lambda: gx.chain(gx.accumulate(SCALING, 4), DECAY, RATE),
        "blocks_outside_of_accumulation",
    ),
    "accumulation around the scaling": Order(
        lambda: gx.chain(gx.accumulate(SCALING, 4), RATE),
        lambda: gx.chain(gx.accumulate(CLIP, 4), SCALING, RATE),
        "blocks_outside_of_accumulation",
    ),
    "sam around accumulation": Order(
        lambda: gx.sam(gx.accumulate(SGD, 4)),
        lambda: gx.accumulate(gx.sam(SGD), 4),
        "gradient_of_the_last_micro_batch",
    ),
    "a guard around the averages": Order(
        lambda: gx.skip_nonfinite(ADAM),
        lambda: gx.chain(SCALING, gx.skip_nonfinite(RATE)),
        "blocks_outside_of_a_guard",
    ),
    "the spikes before the clipping": Order(
        lambda: gx.skip_spikes(gx.chain(CLIP, ADAM)),
        lambda: gx.chain(CLIP, gx.skip_spikes(ADAM)),
        "blocks_outside_of_a_guard",
    ),
    "the loss scale before the clipping": Order(
        lambda: gx.dynamic_loss_scale(gx.chain(CLIP, ADAM)),
        lambda: gx.chain(CLIP, gx.dynamic_loss_scale(ADAM)),
        "clipping_of_scaled_gradients",
    ),
    "guards around schedule_free": Order(
        lambda: gx.skip_nonfinite(gx.schedule_free(SGD)),
        lambda: gx.schedule_free(gx.skip_nonfinite(SGD)),
        "guard_inside_schedule_free",
    ),
    "decay behind cautious": Order(
        lambda: gx.chain(gx.cautious(SCALING), DECAY, RATE),
        lambda: gx.chain(gx.cautious(gx.chain(SCALING, DECAY)), RATE),
        "decay_inside_cautious",
    ),
    "clipping before the scaling": Order(
        lambda: gx.chain(CLIP, SCALING, RATE),
        lambda: gx.chain(SCALING, CLIP, RATE),
        "clipping_after_preconditioning",
    ),
    "decay behind the scaling": Order(
        lambda: gx.chain(SCALING, DECAY, RATE),
        lambda: gx.chain(DECAY, SCALING, RATE),
        "decay_before_preconditioner",
    ),
    "decay before the rate": Order(
        lambda: gx.chain(SCALING, DECAY, RATE),
        lambda: gx.chain(SCALING, RATE, DECAY),
        "decay_after_learning_rate",
    ),
    "the rate last": Order(
        lambda: gx.chain(SCALING, RATE),
        lambda: gx.chain(RATE, SCALING),
        "learning_rate_divided_out",
    ),
    "layer-wise decay behind the scaling": Order(
        lambda: gx.chain(SCALING, DECAY, DEPTHS, RATE),
        lambda: gx.chain(DEPTHS, SCALING, DECAY, RATE),
        "multiplier_divided_out",
    ),
    "a falling rate without schedule_free": Order(
        lambda: gx.sgd(gx.cosine_decay(0.1, 100)),
        lambda: gx.schedule_free(gx.sgd(gx.cosine_decay(0.1, 100))),
        "decay_under_schedule_free",
    ),
}
