"""Composable gradient transformations for JAX, in which an optimizer is data."""

from importlib.metadata import version as _version

# What every transformation is made with
from .core.arguments import (
    Count as Count,
)
from .core.arguments import (
    Decay as Decay,
)
from .core.arguments import (
    DType as DType,
)
from .core.arguments import (
    LearningRate as LearningRate,
)
from .core.arguments import (
    Mask as Mask,
)
from .core.arguments import (
    NonNegative as NonNegative,
)
from .core.arguments import (
    Positive as Positive,
)
from .core.arguments import (
    Scalar as Scalar,
)
from .core.arguments import (
    Steps as Steps,
)
from .core.factory import optimizer as optimizer
from .core.factory import transformation as transformation
from .core.hyperparams import HyperparamsState as HyperparamsState
from .core.hyperparams import tunable as tunable
from .core.reading import hyperparams as hyperparams
from .core.reading import set_hyperparams as set_hyperparams
from .core.schedule import schedule as schedule
from .core.types import GradientTransformation as GradientTransformation
from .core.types import Schedule as Schedule

# Complete optimizers
from .optimizers.adaptive import (
    adagrad as adagrad,
)
from .optimizers.adaptive import (
    adam as adam,
)
from .optimizers.adaptive import (
    adamw as adamw,
)
from .optimizers.adaptive import (
    rmsprop as rmsprop,
)
from .optimizers.lion import lion as lion
from .optimizers.sgd import sgd as sgd

# Schedules: step -> value
from .schedules.combine import join_schedules as join_schedules
from .schedules.combine import warmup as warmup
from .schedules.shapes import (
    constant_schedule as constant_schedule,
)
from .schedules.shapes import (
    cosine_decay as cosine_decay,
)
from .schedules.shapes import (
    exponential_decay as exponential_decay,
)
from .schedules.shapes import (
    linear_schedule as linear_schedule,
)
from .schedules.shapes import (
    step_decay as step_decay,
)

# Blocks: one idea each
from .transforms.adam import ScaleByAdamState as ScaleByAdamState
from .transforms.adam import scale_by_adam as scale_by_adam
from .transforms.clip import (
    ClipByGlobalNormState as ClipByGlobalNormState,
)
from .transforms.clip import (
    clip_by_global_norm as clip_by_global_norm,
)
from .transforms.clip import (
    clip_by_value as clip_by_value,
)
from .transforms.decay import (
    add_decoupled_weight_decay as add_decoupled_weight_decay,
)
from .transforms.decay import (
    add_l2_regularization as add_l2_regularization,
)
from .transforms.lion import ScaleByLionState as ScaleByLionState
from .transforms.lion import scale_by_lion as scale_by_lion
from .transforms.momentum import (
    ScaleByMomentumState as ScaleByMomentumState,
)
from .transforms.momentum import (
    scale_by_momentum as scale_by_momentum,
)
from .transforms.rms import (
    ScaleByCenteredRmsState as ScaleByCenteredRmsState,
)
from .transforms.rms import (
    ScaleByRmsState as ScaleByRmsState,
)
from .transforms.rms import (
    ScaleByRssState as ScaleByRssState,
)
from .transforms.rms import (
    scale_by_rms as scale_by_rms,
)
from .transforms.rms import (
    scale_by_rss as scale_by_rss,
)
from .transforms.scale import (
    identity as identity,
)
from .transforms.scale import (
    scale as scale,
)
from .transforms.scale import (
    scale_by_learning_rate as scale_by_learning_rate,
)

# Transformations made of transformations, and the end of a step
from .wrappers.apply import apply_updates as apply_updates
from .wrappers.chain import chain as chain
from .wrappers.chain import named_chain as named_chain

__version__ = _version("gradxform")
