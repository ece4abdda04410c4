"""Composable gradient transformations for JAX, in which an optimizer is data."""

from importlib.metadata import version as _version

# What every transformation is made with
from .core import numerics as numerics, tree as tree
from .core.arguments import (
    Count as Count,
    Decay as Decay,
    DType as DType,
    LearningRate as LearningRate,
    Mask as Mask,
    NonNegative as NonNegative,
    Positive as Positive,
    Scalar as Scalar,
)
from .core.factory import optimizer as optimizer, transformation as transformation
from .core.hyperparams import HyperparamsState as HyperparamsState, tunable as tunable
from .core.lengths import Boundaries as Boundaries, Steps as Steps
from .core.reading import hyperparams as hyperparams, set_hyperparams as set_hyperparams
from .core.schedule import schedule as schedule
from .core.types import (
    GradientTransformation as GradientTransformation,
    Params as Params,
    Schedule as Schedule,
    State as State,
    Updates as Updates,
)

# Complete optimizers
from .optimizers.adaptive import (
    adagrad as adagrad,
    adam as adam,
    adamw as adamw,
    rmsprop as rmsprop,
)
from .optimizers.lion import lion as lion
from .optimizers.sgd import sgd as sgd

# Schedules: step -> value
from .schedules.combine import join_schedules as join_schedules, warmup as warmup
from .schedules.plateau import (
    ReduceOnPlateauState as ReduceOnPlateauState,
    reduce_on_plateau as reduce_on_plateau,
)
from .schedules.shapes import (
    constant_schedule as constant_schedule,
    cosine_decay as cosine_decay,
    exponential_decay as exponential_decay,
    linear_schedule as linear_schedule,
    step_decay as step_decay,
)

# Blocks: one idea each
from .transforms.adam import ScaleByAdamState as ScaleByAdamState, scale_by_adam as scale_by_adam
from .transforms.clip import (
    ClipByGlobalNormState as ClipByGlobalNormState,
    clip_by_global_norm as clip_by_global_norm,
    clip_by_value as clip_by_value,
)
from .transforms.decay import (
    add_decoupled_weight_decay as add_decoupled_weight_decay,
    add_l2_regularization as add_l2_regularization,
)
from .transforms.lion import ScaleByLionState as ScaleByLionState, scale_by_lion as scale_by_lion
from .transforms.momentum import (
    ScaleByMomentumState as ScaleByMomentumState,
    scale_by_momentum as scale_by_momentum,
)
from .transforms.rms import (
    ScaleByCenteredRmsState as ScaleByCenteredRmsState,
    ScaleByRmsState as ScaleByRmsState,
    ScaleByRssState as ScaleByRssState,
    scale_by_rms as scale_by_rms,
    scale_by_rss as scale_by_rss,
)
from .transforms.scale import (
    identity as identity,
    scale as scale,
    scale_by_learning_rate as scale_by_learning_rate,
)

# Transformations made of transformations, and the end of a step
from .wrappers.apply import apply_updates as apply_updates
from .wrappers.chain import chain as chain, named_chain as named_chain

__version__ = _version("gradxform")
