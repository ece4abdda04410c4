"""Optimizers that find their own learning rate: the argument is a factor of it, of about 1."""

from ..core.arguments import (
    Decay,
    LearningRate,
    Mask,
    NonNegative,
    NonNegativeNumber,
    Positive,
    PositiveNumber,
    StateDType,
)
from ..core.factory import optimizer
from ..core.shards import AxisName
from ..core.types import GradientTransformation
from ..transforms.cocob import scale_by_cocob
from ..transforms.dadapt import GrowthRate, scale_by_dadapt_adam
from ..transforms.decay import add_l2_regularization
from ..transforms.dog import scale_by_dog, scale_by_dowg
from ..transforms.prodigy import scale_by_prodigy
from ..transforms.scale import scale_by_learning_rate
from ..wrappers.chain import chain


@optimizer
def dog(
    learning_rate: LearningRate = 1.0,
    *,
    reps_rel: PositiveNumber = 1e-6,
    eps: NonNegative = 1e-8,
    l2: NonNegative = 0.0,
    init_eta: PositiveNumber | None = None,
    mask: Mask = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """DoG: gradient descent with the step size distance over gradients.

    `learning_rate`: 1.0 is the method itself, with its step size as computed; the paper calls
    this factor c and advises against another. `reps_rel`, `eps`, `init_eta`: see `scale_by_dog`.
    `l2`, `mask`: see `add_l2_regularization`; the authors' code and optax call it `weight_decay`.
    The defaults are theirs. State: 4 bytes a parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        *_penalty(l2, mask),
        scale_by_dog(reps_rel, eps, init_eta=init_eta, axis_name=axis_name),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def dowg(
    learning_rate: LearningRate = 0.5,
    *,
    r_eps: PositiveNumber = 0.01,
    eps: NonNegative = 1e-4,
    l2: NonNegative = 0.0,
    mask: Mask = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """DoWG: gradient descent with the step size distance over weighted gradients.

    `learning_rate`: a factor of the step size. It is 1.0 in the paper and in optax, where the
    estimated distance grows so fast that it overshoots: networks without normalization, such as
    the one of `gradxform compare`, then mostly end near chance, whatever `r_eps` is. With 0.5
    they train; convex problems and normalized networks do about as well with either. `r_eps`,
    `eps`: see `scale_by_dowg`; optax takes the square of `r_eps`. `l2`, `mask`: see
    `add_l2_regularization`; optax calls it `weight_decay`. The other defaults are those of the
    authors' code and optax. State: 4 bytes a parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        *_penalty(l2, mask),
        scale_by_dowg(r_eps, eps, axis_name=axis_name),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def prodigy(
    learning_rate: LearningRate = 1.0,
    *,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    b3: Decay | None = None,
    d0: PositiveNumber = 1e-6,
    d_coef: Positive = 1.0,
    growth_rate: GrowthRate | None = None,
    bias_correction: bool = False,
    safeguard_warmup: bool = False,
    mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """Prodigy: AdamW whose learning rate is an estimate of the distance to the solution.

    `learning_rate`: 1.0 is the method itself, whose learning rate is the distance d in the state;
    other values, or a schedule from 1.0 down, multiply it. The rest: see `scale_by_prodigy`. The
    defaults are the paper's and those of the authors' code; optax always corrects the bias, and
    calls `d0` estim_lr0 and `d_coef` estim_lr_coef. State: 16 bytes a parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_prodigy(
            learning_rate,
            b1,
            b2,
            eps,
            weight_decay,
            b3=b3,
            d0=d0,
            d_coef=d_coef,
            growth_rate=growth_rate,
            bias_correction=bias_correction,
            safeguard_warmup=safeguard_warmup,
            mask=mask,
            state_dtype=state_dtype,
            axis_name=axis_name,
        ),
        scale_by_learning_rate(None),
    )


@optimizer
def dadapt_adamw(
    learning_rate: LearningRate = 1.0,
    *,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    d0: PositiveNumber = 1e-6,
    growth_rate: GrowthRate | None = None,
    bias_correction: bool = False,
    mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """D-Adaptation: AdamW whose learning rate is an estimate of the distance to the solution.

    `learning_rate`: 1.0 is the method itself, whose learning rate is the distance d in the state;
    other values, or a schedule from 1.0 down, multiply it. The rest: see `scale_by_dadapt_adam`.
    The defaults are the paper's and those of the authors' code; optax always corrects the bias,
    and calls `d0` estim_lr0. State: 12 bytes a parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_dadapt_adam(
            learning_rate,
            b1,
            b2,
            eps,
            weight_decay,
            d0=d0,
            growth_rate=growth_rate,
            bias_correction=bias_correction,
            mask=mask,
            state_dtype=state_dtype,
            axis_name=axis_name,
        ),
        scale_by_learning_rate(None),
    )


@optimizer
def cocob(
    learning_rate: LearningRate = 1.0,
    alpha: Positive = 100.0,
    eps: NonNegativeNumber = 1e-8,
    l2: NonNegative = 0.0,
    *,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """COCOB: every weight is a bet on its gradients, and stands where its winnings let it.

    `learning_rate`: 1.0 is the method itself; a smaller one goes that part of the way to each
    bet. optax multiplies the gradients by it, which changes nothing but the units of `eps`.
    `alpha`, `eps`, `state_dtype`: see `scale_by_cocob`. `l2`, `mask`: see
    `add_l2_regularization`; optax calls it `weight_decay`. The defaults are those of the paper's
    experiments. State: 20 bytes a parameter.
    """
    return chain(
        *_penalty(l2, mask),
        scale_by_cocob(alpha, eps, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )


def _penalty(l2: NonNegative, mask: Mask) -> tuple[GradientTransformation, ...]:
    """The link of an L2 penalty; none where it is 0, so that `update` needs no parameters."""
    absent = isinstance(l2, float) and l2 == 0.0
    return () if absent else (add_l2_regularization(l2, mask=mask),)
