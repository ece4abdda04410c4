"""Adam's next of kin: one number of its update is taken otherwise."""

from typing import Literal

from ..core.arguments import Decay, LearningRate, Mask, NonNegative, NonNegativeNumber, StateDType
from ..core.factory import optimizer
from ..core.types import GradientTransformation
from ..transforms.adam import scale_by_adam
from ..transforms.adamax import scale_by_adamax
from ..transforms.amsgrad import scale_by_amsgrad
from ..transforms.belief import scale_by_belief
from ..transforms.decay import add_decoupled_weight_decay
from ..transforms.radam import Length, scale_by_radam
from ..transforms.scale import scale_by_learning_rate
from ..transforms.yogi import scale_by_yogi
from ..wrappers.chain import chain


@optimizer
def nadam(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Adam with Nesterov's momentum.

    `b1`, `b2`, `eps`, `eps_root`, `state_dtype`: see `scale_by_adam`. The momentum is constant, as
    in Optax. torch's `NAdam` raises it towards b1 as b1 (1 - 0.96^(t momentum_decay) / 2): at its
    momentum_decay of 0.004 it is half of b1 at first and within 1 % of it after 24,000 steps; with
    a very large momentum_decay it is this one. State: 8 bytes a parameter.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root=eps_root, nesterov=True, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def nadamw(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    weight_decay: NonNegative = 0.01,
    eps_root: NonNegative = 0.0,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """NAdam with decoupled weight decay: -learning_rate (nadam(g) + weight_decay w).

    `b1`, `b2`, `eps`, `eps_root`, `state_dtype`: see `scale_by_adam`. `weight_decay`, `mask`:
    see `add_decoupled_weight_decay`; the default is `adamw`'s, optax's is 1e-4. State: 8 bytes a
    parameter.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root=eps_root, nesterov=True, state_dtype=state_dtype),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def amsgrad(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    bias_correction: Literal["before", "after"] | None = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """AMSGrad: Adam whose steps on small gradients do not grow again.

    `b1`, `b2`, `eps`, `eps_root`, `bias_correction`, `state_dtype`: see `scale_by_amsgrad`. The
    default is the paper's; `bias_correction="before"` is optax's, "after" torch's
    `Adam(amsgrad=True)`. State: 12 bytes a parameter.
    """
    return chain(
        scale_by_amsgrad(
            b1, b2, eps, eps_root=eps_root, bias_correction=bias_correction, state_dtype=state_dtype
        ),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def adamax(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Adamax: Adam over the largest recent gradient; the paper's learning rate is 2e-3.

    `b1`, `b2`, `eps`, `state_dtype`: see `scale_by_adamax`. State: 8 bytes a parameter.
    """
    return chain(
        scale_by_adamax(b1, b2, eps, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def adamaxw(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    weight_decay: NonNegative = 0.01,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Adamax with decoupled weight decay: -learning_rate (adamax(g) + weight_decay w).

    `b1`, `b2`, `eps`, `state_dtype`: see `scale_by_adamax`. `weight_decay`, `mask`: see
    `add_decoupled_weight_decay`; the default is `adamw`'s, optax's is 1e-4. State: 8 bytes a
    parameter.
    """
    return chain(
        scale_by_adamax(b1, b2, eps, state_dtype=state_dtype),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def radam(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    threshold: Length = 4.0,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """RAdam: Adam that starts as momentum and needs no warmup.

    `b1`, `b2`, `eps`, `eps_root`, `threshold`, `state_dtype`: see `scale_by_radam`.
    `threshold=5.0` is optax's and torch's. State: 8 bytes a parameter.
    """
    return chain(
        scale_by_radam(
            b1, b2, eps, eps_root=eps_root, threshold=threshold, state_dtype=state_dtype
        ),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def adabelief(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-16,
    *,
    weight_decay: NonNegative = 0.0,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """AdaBelief: long steps where gradients agree with their mean.

    `b1`, `b2`, `eps`, `state_dtype`: see `scale_by_belief`. `weight_decay`, `mask`: see
    `add_decoupled_weight_decay`. The authors' code rectifies as `radam` does by default; the paper
    and this do not. State: 8 bytes a parameter.
    """
    return chain(
        scale_by_belief(b1, b2, eps, state_dtype=state_dtype),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def yogi(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-3,
    *,
    eps_root: NonNegative = 0.0,
    initial_accumulator_value: NonNegativeNumber = 0.0,
    bias_correction: bool = False,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Yogi: Adam that forgets large gradients slowly.

    `b1`, `b2`, `eps`, `eps_root`, `initial_accumulator_value`, `bias_correction`, `state_dtype`:
    see `scale_by_yogi`. Optax corrects the bias and starts both averages from 1e-6. State: 8 bytes
    a parameter.
    """
    return chain(
        scale_by_yogi(
            b1,
            b2,
            eps,
            eps_root=eps_root,
            initial_accumulator_value=initial_accumulator_value,
            bias_correction=bias_correction,
            state_dtype=state_dtype,
        ),
        scale_by_learning_rate(learning_rate),
    )
