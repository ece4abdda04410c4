"""Optimizers that go by the signs of gradients: sign SGD, Signum, Rprop."""

from ..core.arguments import Decay, LearningRate, Positive, StateDType
from ..core.factory import optimizer
from ..core.types import GradientTransformation
from ..transforms.average import scale_by_ema
from ..transforms.rprop import Growth, Shrink, scale_by_rprop
from ..transforms.scale import scale_by_learning_rate
from ..transforms.sign import scale_by_sign
from ..wrappers.chain import chain


@optimizer
def sign_sgd(learning_rate: LearningRate) -> GradientTransformation:
    """Sign SGD: every coordinate moves by exactly the learning rate, which has to fall.

    See `scale_by_sign`. No state.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


@optimizer
def signum(
    learning_rate: LearningRate, momentum: Decay = 0.9, *, state_dtype: StateDType = None
) -> GradientTransformation:
    """Signum: the sign of an average of gradients; with weight decay it is `lion` with b1 = b2.

    `momentum`, `state_dtype`: see `scale_by_ema`; optax calls it beta. State: 4 bytes a
    parameter.
    """
    return chain(
        scale_by_ema(momentum, state_dtype=state_dtype),
        scale_by_sign(),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def rprop(
    learning_rate: LearningRate,
    eta_minus: Shrink = 0.5,
    eta_plus: Growth = 1.2,
    *,
    min_scale: Positive = 1e-4,
    max_scale: Positive = 5e3,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Rprop (iRprop⁻): step sizes that grow and shrink by signs alone; for full batches.

    `learning_rate` is the first step size, 0.01 in torch, and multiplies all later ones too, so
    that a schedule of it works. The rest: see `scale_by_rprop`. torch and optax give the smallest
    and largest step sizes in units of the parameters: `min_scale` and `max_scale` are theirs over
    the learning rate. State: 8 bytes a parameter.
    """
    return chain(
        scale_by_rprop(
            eta_minus=eta_minus,
            eta_plus=eta_plus,
            min_scale=min_scale,
            max_scale=max_scale,
            state_dtype=state_dtype,
        ),
        scale_by_learning_rate(learning_rate),
    )
