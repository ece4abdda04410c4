"""Sophia: steps over curvature, clipped."""

from ..core.arguments import (
    Decay,
    LearningRate,
    Mask,
    NonNegative,
    Positive,
    StateDType,
    TracedCount,
    TracedWholeNumber,
)
from ..core.factory import optimizer
from ..core.shards import AxisName
from ..core.types import GradientTransformation
from ..transforms.decay import add_decoupled_weight_decay
from ..transforms.scale import scale_by_learning_rate
from ..transforms.sophia import scale_by_sophia
from ..wrappers.chain import chain


@optimizer
def sophia(
    learning_rate: LearningRate,
    b1: Decay = 0.96,
    b2: Decay = 0.99,
    eps: NonNegative = 1e-12,
    *,
    gamma: Positive = 0.01,
    weight_decay: NonNegative = 0.1,
    clip_threshold: Positive = 1.0,
    interval: TracedCount = 10,
    seed: TracedWholeNumber = 0,
    mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """Sophia: momentum over curvature, with decoupled weight decay.

    `update` needs `hessian_fn=`, an estimator of the Hessian's diagonal: `hutchinson(...)`
    (Sophia-H, `gamma=0.01`) or `gauss_newton_bartlett(...)` (Sophia-G, `gamma=0.05`).

    `learning_rate`: the longest step of a coordinate; somewhat below AdamW's. `weight_decay`,
    `mask`: see `add_decoupled_weight_decay`; the default is that of the authors' code, optax's is
    1e-4. The rest: see `scale_by_sophia`. The defaults are the paper's; optax has b1 = 0.965 and
    eps = 1e-8, corrects the first moment, and uses an estimate from the step after on. State: 8
    bytes a parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_sophia(
            b1,
            b2,
            eps,
            gamma,
            clip_threshold,
            interval=interval,
            seed=seed,
            state_dtype=state_dtype,
            axis_name=axis_name,
        ),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )
