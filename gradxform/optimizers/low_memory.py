"""Optimizers whose second moments take less than a number a parameter: Adafactor, SM3."""

from ..core.arguments import (
    Decay,
    LearningRate,
    Mask,
    NonNegative,
    Positive,
    Size,
    StateDType,
    TracedWholeNumber,
)
from ..core.factory import optimizer
from ..core.shards import WholeShards
from ..core.types import GradientTransformation
from ..schedules.combine import join_schedules
from ..schedules.shapes import constant_schedule, inverse_sqrt_decay
from ..transforms.average import scale_by_ema
from ..transforms.block_clip import clip_by_block_rms
from ..transforms.decay import add_decoupled_weight_decay
from ..transforms.factored_rms import DecayRate, scale_by_factored_rms, scale_by_parameter_rms
from ..transforms.scale import scale_by_learning_rate
from ..transforms.sm3 import scale_by_sm3
from ..wrappers.chain import chain

# Adafactor's learning rate where none is given: min(0.01, 1 / sqrt(t)), t = 1, 2, ...
RELATIVE_STEP = join_schedules(
    [constant_schedule(1e-2), inverse_sqrt_decay(1e-2, 10_000)], boundaries=[9_999]
)


@optimizer
def adafactor(
    learning_rate: LearningRate | None = None,
    *,
    decay_rate: DecayRate = 0.8,
    decay: Decay | None = None,
    eps: NonNegative = 1e-30,
    max_rms: Positive | None = 1.0,
    min_scale: NonNegative | None = 1e-3,
    momentum: Decay | None = None,
    weight_decay: NonNegative = 0.0,
    decay_offset: TracedWholeNumber = 0,
    factored: bool = True,
    min_dim_size_to_factor: Size = 128,
    mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: WholeShards = None,
) -> GradientTransformation:
    """Adafactor: about Adam's steps for almost no memory; for transformers.

    `learning_rate` is relative to the size of each array's parameters; None is the paper's
    min(0.01, 1 / sqrt(t)), which is also torch's for `lr=0.01`. `decay_rate`, `decay`,
    `eps`, `decay_offset`, `factored`, `min_dim_size_to_factor`, `state_dtype`: see
    `scale_by_factored_rms`.
    `max_rms`: see `clip_by_block_rms`. `min_scale`: see `scale_by_parameter_rms`; None makes the
    learning rate absolute. `momentum`: see `scale_by_ema`, which costs what the factors save.
    `weight_decay`, `mask`: see `add_decoupled_weight_decay`; optax's is per step, not per unit of
    learning rate. optax without a learning rate takes steps of 1 relative to the parameters.
    State: 4 (n + m) bytes for a large n by m matrix; 4 bytes a parameter more with momentum.
    `axis_name`: see `clip_by_global_norm`.
    """
    links = [
        scale_by_factored_rms(
            decay_rate=decay_rate,
            decay=decay,
            eps=eps,
            decay_offset=decay_offset,
            factored=factored,
            min_dim_size_to_factor=min_dim_size_to_factor,
            state_dtype=state_dtype,
            axis_name=axis_name,
        )
    ]
    if max_rms is not None:
        links.append(clip_by_block_rms(max_rms, axis_name=axis_name))
    if min_scale is not None:
        links.append(scale_by_parameter_rms(min_scale, axis_name=axis_name))
    if momentum is not None:
        links.append(scale_by_ema(momentum, state_dtype=state_dtype))
    return chain(
        *links,
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(RELATIVE_STEP if learning_rate is None else learning_rate),
    )


@optimizer
def sm3(
    learning_rate: LearningRate,
    momentum: Decay | None = 0.9,
    *,
    state_dtype: StateDType = None,
    axis_name: WholeShards = None,
) -> GradientTransformation:
    """SM3: AdaGrad with sums for rows and columns; for large embeddings.

    `state_dtype`: see `scale_by_sm3`. `momentum`: see `scale_by_ema`, which comes
    after the division; None leaves it and its memory out. State: 4 (n + m) bytes for an n by m
    matrix; 4 bytes a parameter more with momentum.
    `axis_name`: see `clip_by_global_norm`.
    """
    scaling = scale_by_sm3(state_dtype=state_dtype, axis_name=axis_name)
    if momentum is None:
        return chain(scaling, scale_by_learning_rate(learning_rate))
    return chain(
        scaling,
        scale_by_ema(momentum, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )
