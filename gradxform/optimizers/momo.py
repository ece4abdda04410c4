"""MoMo: step sizes from the loss, for momentum and for Adam."""

from ..core.arguments import Decay, LearningRate, NonNegative, Scalar, StateDType
from ..core.factory import optimizer
from ..core.shards import AxisName
from ..core.types import GradientTransformation
from ..transforms.momo import scale_by_momo, scale_by_momo_adam
from ..transforms.scale import scale_by_learning_rate
from ..wrappers.chain import chain


@optimizer
def momo(
    learning_rate: LearningRate = 1.0,
    beta: Decay = 0.9,
    lower_bound: Scalar = 0.0,
    weight_decay: NonNegative = 0.0,
    *,
    adaptive_lower_bound: bool = False,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """MoMo: SGD with momentum whose step size the loss chooses: pass `update(..., value=loss)`.

    `learning_rate`: the largest step size, which early training uses; 1.0 is meant to be large.
    The rest: see `scale_by_momo`. The defaults are the authors' and optax's; optax's weight decay
    shrinks the parameters but not the step. State: 4 bytes a parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_momo(
            learning_rate,
            beta,
            lower_bound,
            weight_decay,
            adaptive_lower_bound=adaptive_lower_bound,
            state_dtype=state_dtype,
            axis_name=axis_name,
        ),
        scale_by_learning_rate(None),
    )


@optimizer
def momo_adam(
    learning_rate: LearningRate = 0.01,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    lower_bound: Scalar = 0.0,
    weight_decay: NonNegative = 0.0,
    *,
    adaptive_lower_bound: bool = False,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """MoMo-Adam: Adam whose step size the loss chooses: pass `update(..., value=loss)`.

    `learning_rate`: the largest step size, in the place of Adam's learning rate; it may be about
    ten times larger. The rest: see `scale_by_momo_adam`. The defaults are the authors' and
    optax's; optax's weight decay shrinks the parameters but not the step. State: 8 bytes a
    parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_momo_adam(
            learning_rate,
            b1,
            b2,
            eps,
            lower_bound,
            weight_decay,
            adaptive_lower_bound=adaptive_lower_bound,
            state_dtype=state_dtype,
            axis_name=axis_name,
        ),
        scale_by_learning_rate(None),
    )
