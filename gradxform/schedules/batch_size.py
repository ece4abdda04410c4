"""The learning rate for another batch size, from one that was tuned for a given size."""

import math
from typing import Any

from ..core import check
from ..core.hyperparams import Feedback, Tunable, tunable
from .combine import scale_schedule

_POSITIVE = check.Interval(low=0.0, low_open=True)


def linear_scaling_rule(learning_rate: Any, batch_size: float, base_batch_size: float) -> Any:
    """learning_rate batch_size / base_batch_size: k times the batch, k times the learning rate.

    For SGD, where it keeps the loss curve over epochs, up to some thousand examples a batch and
    with a warmup.

    Args:
      learning_rate: a number, a schedule or a tunable that is right for `base_batch_size`.
      batch_size: examples of one update, all devices and accumulated batches together.
      base_batch_size: the batch size that the learning rate was tuned for; 256 in the paper.

    Returns:
      The learning rate for `batch_size`, of the kind that was given.

    Reference: Goyal et al., 2017, section 2.1, https://arxiv.org/abs/1706.02677
    """
    ratio = _ratio("linear_scaling_rule", batch_size, base_batch_size)
    return _scaled("linear_scaling_rule", learning_rate, ratio)


def square_root_scaling_rule(learning_rate: Any, batch_size: float, base_batch_size: float) -> Any:
    """learning_rate sqrt(batch_size / base_batch_size): for Adam and its relatives.

    Their steps are as long for any batch, so that the noise moves the weights by learning_rate
    sqrt(number of steps), and k times the batch leaves 1 / k of the steps. (The paper also takes
    k times 1 - b1 and 1 - b2, and eps over sqrt(k).)

    Args:
      learning_rate: a number, a schedule or a tunable that is right for `base_batch_size`.
      batch_size: examples of one update, all devices and accumulated batches together.
      base_batch_size: the batch size that the learning rate was tuned for.

    Returns:
      The learning rate for `batch_size`, of the kind that was given.

    Reference: Malladi et al., 2022, https://arxiv.org/abs/2205.10287
    """
    ratio = _ratio("square_root_scaling_rule", batch_size, base_batch_size)
    return _scaled("square_root_scaling_rule", learning_rate, math.sqrt(ratio))


def _ratio(call: str, batch_size: float, base_batch_size: float) -> float:
    new = check.Known(_POSITIVE)(call, "batch_size", batch_size)
    return new / check.Known(_POSITIVE)(call, "base_batch_size", base_batch_size)


def _scaled(call: str, learning_rate: Any, factor: float) -> Any:
    if isinstance(learning_rate, Feedback):
        raise TypeError(
            f"`{call}({check.brief(learning_rate)})`: scale the value inside, as in "
            f"`{learning_rate.recipe.name}({call}(1e-3, 1024, 256))`."
        )
    if isinstance(learning_rate, Tunable):
        return tunable(learning_rate.value * factor)
    if callable(learning_rate):
        return scale_schedule(learning_rate, factor)
    return check.Interval(low=0.0)(call, "learning_rate", learning_rate) * factor
