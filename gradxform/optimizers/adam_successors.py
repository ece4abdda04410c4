"""What came after Adam: another order, another mean, or another gradient."""

from ..core.arguments import Decay, LearningRate, Mask, NonNegative, Positive, StateDType
from ..core.factory import optimizer
from ..core.shards import AxisName
from ..core.types import GradientTransformation
from ..transforms.adan import scale_by_adan
from ..transforms.ademamix import scale_by_ademamix
from ..transforms.adopt import scale_by_adopt
from ..transforms.decay import add_decoupled_weight_decay
from ..transforms.laprop import scale_by_laprop
from ..transforms.mars import scale_by_mars
from ..transforms.scale import scale_by_learning_rate
from ..wrappers.chain import chain


@optimizer
def adan(
    learning_rate: LearningRate,
    b1: Decay = 0.98,
    b2: Decay = 0.92,
    b3: Decay = 0.99,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    weight_decay: NonNegative = 0.02,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Adan: Adam with Nesterov's momentum from the change of the gradient.

    It takes learning rates up to ten times AdamW's. `b1`, `b2`, `b3`, `eps`, `eps_root`,
    `state_dtype`: see `scale_by_adan`. `weight_decay`, `mask`: see `add_decoupled_weight_decay`.
    Optax has 1 - b2 where the paper, and this, have b2 before the change of the gradient: other
    steps at the same numbers. The paper divides the new parameters by
    1 + learning_rate weight_decay: its steps are these over that number. State: 16 bytes a
    parameter.
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root=eps_root, state_dtype=state_dtype),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def laprop(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-15,
    weight_decay: NonNegative = 0.0,
    *,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """LaProp: Adam with the momentum after the division; the authors' learning rate is 4e-4.

    `b1`, `b2`, `eps`, `state_dtype`: see `scale_by_laprop`. `weight_decay`, `mask`: see
    `add_decoupled_weight_decay`; the authors' code does not multiply it by the learning rate, and
    has the learning rate inside the momentum. State: 8 bytes a parameter.
    """
    return chain(
        scale_by_laprop(b1, b2, eps, state_dtype=state_dtype),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def ademamix(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    b3: Decay = 0.9999,
    alpha: NonNegative = 5.0,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """AdEMAMix: AdamW with a mean of very old gradients added, for long runs.

    `b1`, `b2`, `b3`, `alpha`, `eps`, `eps_root`, `state_dtype`: see `scale_by_ademamix`. For T
    steps the paper has `b3=linear_half_life(b1, 0.9999, T)` and
    `alpha=linear_schedule(0.0, 5.0, T)`, which start at step 0 here and at step 1 there.
    `weight_decay`, `mask`: see `add_decoupled_weight_decay`. State: 12 bytes a parameter.
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root=eps_root, state_dtype=state_dtype),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def adopt(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.9999,
    eps: NonNegative = 1e-6,
    *,
    clip_exponent: NonNegative | None = 0.25,
    weight_decay: NonNegative = 0.0,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """ADOPT: Adam that divides by past gradients only, and converges with any `b2`.

    `b1`, `b2`, `eps`, `clip_exponent`, `state_dtype`: see `scale_by_adopt`. The first update is
    the weight decay's alone. `weight_decay`, `mask`: see `add_decoupled_weight_decay`. State: 8
    bytes a parameter.
    """
    return chain(
        scale_by_adopt(b1, b2, eps, clip_exponent=clip_exponent, state_dtype=state_dtype),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def mars(
    learning_rate: LearningRate,
    b1: Decay = 0.95,
    b2: Decay = 0.99,
    eps: NonNegative = 1e-8,
    gamma: NonNegative = 0.025,
    max_norm: Positive | None = 1.0,
    weight_decay: NonNegative = 0.0,
    *,
    mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """MARS-AdamW: AdamW on gradients with less noise; the authors' learning rate is 3e-3.

    `b1`, `b2`, `eps`, `gamma`, `max_norm`, `state_dtype`: see `scale_by_mars`. `weight_decay`,
    `mask`: see `add_decoupled_weight_decay`. The authors' code gives those parameters that are no
    matrices to AdamW instead. State: 12 bytes a parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_mars(b1, b2, eps, gamma, max_norm, state_dtype=state_dtype, axis_name=axis_name),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )
