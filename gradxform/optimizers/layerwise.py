"""Optimizers that move each array in proportion to its own length: LARS, LAMB, Fromage."""

from ..core.arguments import Decay, LearningRate, Mask, NonNegative, Positive, StateDType
from ..core.factory import optimizer
from ..core.shards import AxisName
from ..core.types import GradientTransformation
from ..transforms.adam import scale_by_adam
from ..transforms.decay import add_decoupled_weight_decay
from ..transforms.fromage import scale_by_fromage
from ..transforms.momentum import scale_by_momentum
from ..transforms.scale import scale_by_learning_rate
from ..transforms.trust_ratio import scale_by_lars, scale_by_trust_ratio
from ..wrappers.chain import chain


@optimizer
def lars(
    learning_rate: LearningRate,
    *,
    momentum: Decay = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegative = 5e-4,
    trust_coefficient: Positive = 1e-3,
    eps: NonNegative = 0.0,
    mask: Mask = None,
    trust_mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """LARS: SGD with momentum and a rate for each layer, for batches of thousands of images.

    `trust_coefficient`, `weight_decay`, `eps`, `mask`, `trust_mask`: see `scale_by_lars`.
    `momentum`, `nesterov`, `state_dtype`: see `scale_by_momentum`. The velocity gathers steps, not
    gradients: a learning rate that falls does not shorten what is under way. State: 4 bytes a
    parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_lars(
            trust_coefficient,
            weight_decay,
            eps,
            mask=mask,
            trust_mask=trust_mask,
            axis_name=axis_name,
        ),
        scale_by_learning_rate(learning_rate),
        scale_by_momentum(momentum, nesterov, state_dtype=state_dtype),
    )


@optimizer
def lamb(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-6,
    *,
    eps_root: NonNegative = 0.0,
    weight_decay: NonNegative = 0.01,
    mask: Mask = None,
    trust_mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """LAMB: AdamW's direction with each layer's own length, for batches of 32k sentences.

    `b1`, `b2`, `eps`, `eps_root`, `state_dtype`: see `scale_by_adam`. `weight_decay`, `mask`: see
    `add_decoupled_weight_decay`; 0.01 is the paper's, optax's is 0. `trust_mask` is the `mask` of
    `scale_by_trust_ratio`. State: 8 bytes a parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root=eps_root, state_dtype=state_dtype),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_trust_ratio(mask=trust_mask, axis_name=axis_name),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def fromage(learning_rate: LearningRate, *, axis_name: AxisName = None) -> GradientTransformation:
    """Fromage: every layer turns by the same angle; 0.01 is a good learning rate to begin with.

    See `scale_by_fromage`, which owns the learning rate. optax bounds both norms from below by
    1e-6 where the ratio here is 1. No state.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(scale_by_fromage(learning_rate, axis_name=axis_name), scale_by_learning_rate(None))
