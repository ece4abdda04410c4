"""Lion: steps of one size, from one buffer."""

from ..core.arguments import Decay, LearningRate, Mask, NonNegative, StateDType
from ..core.factory import optimizer
from ..core.types import GradientTransformation
from ..transforms.decay import add_decoupled_weight_decay
from ..transforms.lion import scale_by_lion
from ..transforms.scale import scale_by_learning_rate
from ..wrappers.chain import chain


@optimizer
def lion(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.99,
    *,
    weight_decay: NonNegative = 1e-3,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Lion with decoupled weight decay: -learning_rate (sign(...) + weight_decay w).

    Compared with AdamW, take a learning rate 3 to 10 times smaller and a decay as much larger.
    `b1`, `b2`, `state_dtype`: see `scale_by_lion`. `weight_decay`, `mask`: see
    `add_decoupled_weight_decay`. State: 4 bytes a parameter.
    """
    return chain(
        scale_by_lion(b1, b2, state_dtype=state_dtype),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )
