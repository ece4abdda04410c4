"""Stochastic gradient descent, plain, with momentum, and with Nesterov's."""

from ..core import check
from ..core.arguments import Decay, LearningRate, StateDType
from ..core.factory import optimizer
from ..core.types import GradientTransformation
from ..transforms.momentum import scale_by_momentum
from ..transforms.scale import scale_by_learning_rate
from ..wrappers.chain import chain


@optimizer
def sgd(
    learning_rate: LearningRate,
    momentum: Decay | None = None,
    nesterov: bool = False,
    *,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Gradient descent, with a velocity if `momentum` is given.

    `momentum`, `nesterov`, `state_dtype`: see `scale_by_momentum`. State: 4 bytes a parameter
    with momentum, else none.

    Raises:
      ValueError: `nesterov` without `momentum`.
    """
    if momentum is None:
        check.require(not nesterov, "`nesterov=True` needs a velocity: pass `momentum=0.9`.")
        return chain(scale_by_learning_rate(learning_rate))
    return chain(
        scale_by_momentum(momentum, nesterov, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )
