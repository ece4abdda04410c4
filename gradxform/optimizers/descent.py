"""Gradient descent with one idea more: dual averages, noise, optimism, Polyak's step size."""

from ..core.arguments import (
    Decay,
    LearningRate,
    Mask,
    NonNegative,
    Positive,
    Scalar,
    StateDType,
    TracedWholeNumber,
)
from ..core.factory import optimizer
from ..core.shards import AxisName
from ..core.types import GradientTransformation
from ..transforms.adam import scale_by_adam
from ..transforms.decay import add_l2_regularization
from ..transforms.madgrad import scale_by_madgrad
from ..transforms.noise import add_gradient_noise
from ..transforms.optimistic import scale_by_optimistic_gradient
from ..transforms.polyak import scale_by_polyak
from ..transforms.scale import scale_by_learning_rate
from ..wrappers.chain import chain


@optimizer
def madgrad(
    learning_rate: LearningRate,
    momentum: Decay = 0.9,
    *,
    eps: NonNegative = 1e-6,
    l2: NonNegative = 0.0,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """MADGRAD: dual averaging that generalizes like SGD and adapts like Adam.

    `learning_rate`, `momentum`, `eps`, `state_dtype`: see `scale_by_madgrad`, which owns the
    learning rate. `l2`, `mask`: see `add_l2_regularization`; the authors' code and optax call it
    weight decay. State: 12 bytes a parameter.
    """
    return chain(
        add_l2_regularization(l2, mask=mask),
        scale_by_madgrad(learning_rate, momentum, eps, state_dtype=state_dtype),
        scale_by_learning_rate(None),
    )


@optimizer
def noisy_sgd(
    learning_rate: LearningRate,
    eta: NonNegative = 0.01,
    gamma: NonNegative = 0.55,
    *,
    seed: TracedWholeNumber = 0,
) -> GradientTransformation:
    """Gradient descent with fading noise.

    `eta`, `gamma`, `seed`: see `add_gradient_noise`. State: two scalars.
    """
    return chain(add_gradient_noise(eta, gamma, seed=seed), scale_by_learning_rate(learning_rate))


@optimizer
def optimistic_gradient_descent(
    learning_rate: LearningRate,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    *,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Optimistic gradient descent, which converges on games where gradient descent turns round.

    `alpha`, `beta`, `state_dtype`: see `scale_by_optimistic_gradient`. State: 4 bytes a
    parameter.
    """
    return chain(
        scale_by_optimistic_gradient(alpha, beta, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def optimistic_adam(
    learning_rate: LearningRate,
    *,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Optimistic Adam: two of Adam's steps forward and the last one back; for adversarial nets.

    `b1`, `b2`, `eps`: see `scale_by_adam`. `alpha`, `beta`: see `scale_by_optimistic_gradient`.
    The paper's first step is twice Adam's, as nothing is taken back yet; here and in optax it is
    Adam's. optax (`optimistic_adam_v2`) has Nesterov's form of Adam. State: 12 bytes a parameter.
    """
    return chain(
        scale_by_adam(b1, b2, eps, state_dtype=state_dtype),
        scale_by_optimistic_gradient(alpha, beta, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def polyak_sgd(
    *,
    learning_rate: LearningRate = 1.0,
    max_step_size: Positive = 1.0,
    f_min: Scalar = 0.0,
    c: Positive = 0.5,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """Gradient descent with the step size that the loss implies; `update` needs `value=loss`.

    `learning_rate` multiplies Polyak's step size: 1 leaves it, a schedule warms it up; optax's
    scaling divides it. The rest: see `scale_by_polyak`; optax calls `max_step_size`
    max_learning_rate. State: one scalar.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_polyak(max_step_size=max_step_size, f_min=f_min, c=c, axis_name=axis_name),
        scale_by_learning_rate(learning_rate),
    )
