"""Optimizers that divide by the size of past gradients, from AdaGrad to AdamW and NovoGrad."""

from ..core import check
from ..core.arguments import Decay, LearningRate, Mask, NonNegative, NonNegativeNumber, StateDType
from ..core.factory import optimizer
from ..core.shards import AxisName
from ..core.types import GradientTransformation
from ..transforms.adadelta import scale_by_adadelta
from ..transforms.adam import scale_by_adam
from ..transforms.decay import add_decoupled_weight_decay
from ..transforms.momentum import scale_by_momentum
from ..transforms.rms import scale_by_rms, scale_by_rss
from ..transforms.running_norm import scale_by_running_norm
from ..transforms.scale import scale_by_learning_rate
from ..wrappers.chain import chain


@optimizer
def adagrad(
    learning_rate: LearningRate,
    initial_accumulator_value: NonNegativeNumber = 0.0,
    eps: NonNegative = 1e-10,
    *,
    eps_root: NonNegative = 0.0,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """AdaGrad: steps that shrink where gradients have been large; for sparse features.

    `initial_accumulator_value`, `eps`, `eps_root`, `state_dtype`: see `scale_by_rss`. The
    defaults are the paper's and torch's; Optax's are `initial_accumulator_value=0.1, eps=0.0,
    eps_root=1e-7`. State: 4 bytes a parameter.
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps, eps_root=eps_root, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def rmsprop(
    learning_rate: LearningRate,
    decay: Decay = 0.9,
    eps: NonNegative = 1e-8,
    *,
    centered: bool = False,
    eps_root: NonNegative = 0.0,
    initial_accumulator_value: NonNegativeNumber = 0.0,
    momentum: Decay | None = None,
    nesterov: bool = False,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """RMSprop: gradients over their recent root-mean-square; for recurrent nets and RL.

    `decay`, `eps`, `centered`, `eps_root`, `initial_accumulator_value`, `state_dtype`: see
    `scale_by_rms`. `momentum`, `nesterov`: see `scale_by_momentum`, which comes after the
    division. State: 4 bytes a parameter, 4 more each for `centered` and `momentum`.
    torch calls `decay` alpha and sets it to 0.99; optax's default is `eps=0.0, eps_root=1e-8`.

    Raises:
      ValueError: `nesterov` without `momentum`.
    """
    check.require(
        momentum is not None or not nesterov,
        "`nesterov=True` needs a velocity: pass `momentum=0.9`.",
    )
    scaling = scale_by_rms(
        decay,
        eps,
        centered=centered,
        eps_root=eps_root,
        initial_accumulator_value=initial_accumulator_value,
        state_dtype=state_dtype,
    )
    if momentum is None:
        return chain(scaling, scale_by_learning_rate(learning_rate))
    return chain(
        scaling,
        scale_by_momentum(momentum, nesterov, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def adadelta(
    learning_rate: LearningRate = 1.0,
    rho: Decay = 0.95,
    eps: NonNegative = 1e-6,
    *,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """AdaDelta: steps in the size of past steps; the paper knows no learning rate.

    `rho`, `eps`, `state_dtype`: see `scale_by_adadelta`; torch and optax set `rho` to 0.9. Their
    `weight_decay` is `add_l2_regularization` in front. State: 8 bytes a parameter.
    """
    return chain(
        scale_by_adadelta(rho, eps, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def adam(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    eps_root: NonNegative = 0.0,
    bias_correction: bool = True,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Adam: steps of about the learning rate in every coordinate; 1e-3 is usual.

    `b1`, `b2`, `eps`, `eps_root`, `bias_correction`, `state_dtype`: see `scale_by_adam`; with its
    `nesterov` this is `nadam`. State: 8 bytes a parameter.
    """
    return chain(
        scale_by_adam(
            b1, b2, eps, eps_root=eps_root, bias_correction=bias_correction, state_dtype=state_dtype
        ),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def adamw(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    *,
    weight_decay: NonNegative = 0.01,
    eps_root: NonNegative = 0.0,
    bias_correction: bool = True,
    mask: Mask = None,
    state_dtype: StateDType = None,
) -> GradientTransformation:
    """Adam with decoupled weight decay: -learning_rate (adam(g) + weight_decay w).

    `b1`, `b2`, `eps`, `eps_root`, `bias_correction`, `state_dtype`: see `scale_by_adam`.
    `weight_decay`, `mask`: see `add_decoupled_weight_decay`; the default is torch's, optax's is
    1e-4. State: 8 bytes a parameter.
    """
    return chain(
        scale_by_adam(
            b1, b2, eps, eps_root=eps_root, bias_correction=bias_correction, state_dtype=state_dtype
        ),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer
def novograd(
    learning_rate: LearningRate,
    momentum: Decay = 0.95,
    decay: Decay = 0.98,
    eps: NonNegative = 1e-8,
    *,
    weight_decay: NonNegative = 0.0,
    mask: Mask = None,
    state_dtype: StateDType = None,
    axis_name: AxisName = None,
) -> GradientTransformation:
    """NovoGrad: momentum of gradients that each array divides by its running norm.

    `decay`, `eps`: see `scale_by_running_norm`. `momentum`, `state_dtype`: see `scale_by_momentum`.
    They are β2 and β1 in the paper, and the defaults those of the authors' code; optax calls them
    b2 and b1 and has 0.25 and 0.9.
    `weight_decay`, `mask`: see `add_decoupled_weight_decay`, which comes before the momentum, as in
    the paper. State: 4 bytes a parameter.
    `axis_name`: see `clip_by_global_norm`.
    """
    return chain(
        scale_by_running_norm(decay, eps, axis_name=axis_name),
        add_decoupled_weight_decay(weight_decay, mask=mask),
        scale_by_momentum(momentum, state_dtype=state_dtype),
        scale_by_learning_rate(learning_rate),
    )
