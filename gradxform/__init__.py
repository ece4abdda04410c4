"""Composable gradient transformations for JAX, in which an optimizer is data.

    import gradxform as gx

    optimizer = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(gx.cosine_decay(3e-4, steps=1000)))
    state = optimizer.init(params)
    updates, state = optimizer.update(grads, state, params)
    params = gx.apply_updates(params, updates)

Trees of gradients have the structure and the shapes of the parameters' tree. Of complex parameters
they are the conjugates of what `jax.grad` returns, `jax.tree.map(jnp.conj, grads)`, along which a
real loss rises; what differentiates here (`make_train_step`, `accumulated_value_and_grad`,
`sam_value_and_grad`) conjugates by itself.

A hyperparameter is a number, a schedule, `tunable(number)`, or a `reduce_on_plateau`. A learning
rate is the length of a step, in units of the parameters over those of the direction that it scales;
other units are said with each argument. Lengths are counted in steps, that is, in updates.

Every call checks its arguments: one of the wrong type, or with an unknown name, raises a
`TypeError`, and a value that makes no sense a `ValueError`, which names the call, the argument,
the rule and the way out. What else a function raises stands with it.
"""

import typing as _typing

# What every transformation is made with
from .core import numerics as numerics, select as select, tree as tree
from .core.arguments import (
    Count as Count,
    Decay as Decay,
    DType as DType,
    LearningRate as LearningRate,
    Mask as Mask,
    NonNegative as NonNegative,
    Positive as Positive,
    Scalar as Scalar,
    StateDType as StateDType,
)
from .core.factory import optimizer as optimizer, transformation as transformation
from .core.hyperparams import HyperparamsState as HyperparamsState, tunable as tunable
from .core.lengths import (
    Boundaries as Boundaries,
    Length as Length,
    Steps as Steps,
    epochs as epochs,
    fraction as fraction,
)
from .core.public import NAMES as _NAMES
from .core.reading import hyperparams as hyperparams, set_hyperparams as set_hyperparams
from .core.schedule import schedule as schedule
from .core.selector import Selector as Selector
from .core.shards import AxisName as AxisName
from .core.types import (
    GradientTransformation as GradientTransformation,
    Params as Params,
    Schedule as Schedule,
    State as State,
    Updates as Updates,
    whole_arrays as whole_arrays,
)
from .core.version import VERSION as _VERSION

__version__ = _VERSION

# The rest is imported when it is asked for; a type checker sees each name, and no other.
if _typing.TYPE_CHECKING:
    # Comparing optimizers on held-out data, over several seeds
    from .comparison.candidate import Candidate as Candidate
    from .comparison.compare import compare as compare
    from .comparison.diagnose_comparison import (
        COMPARISON_RULES as COMPARISON_RULES,
        diagnose_comparison as diagnose_comparison,
    )
    from .comparison.ranges import Range as Range
    from .comparison.result import (
        CandidateResult as CandidateResult,
        Comparison as Comparison,
        Reference as Reference,
        Verdict as Verdict,
        load_comparison as load_comparison,
    )
    from .comparison.task import Task as Task
    from .comparison.tune import tune as tune
    from .comparison.tuning import Tuning as Tuning

    # What a transformation is and does
    from .inspection.config import (
        available as available,
        from_config as from_config,
        to_config as to_config,
    )
    from .inspection.describe import (
        Description as Description,
        ParameterDescription as ParameterDescription,
        describe as describe,
    )
    from .inspection.diagnose import DIAGNOSIS_RULES as DIAGNOSIS_RULES, diagnose as diagnose
    from .inspection.diagnose_run import RUN_RULES as RUN_RULES, diagnose_run as diagnose_run
    from .inspection.diagnose_step import STEP_RULES as STEP_RULES, diagnose_step as diagnose_step
    from .inspection.findings import Diagnosis as Diagnosis, Finding as Finding
    from .inspection.html import to_html as to_html
    from .inspection.metrics import metrics as metrics, step_of as step_of
    from .inspection.plots import plot_schedule as plot_schedule
    from .inspection.run_panels import plot_run as plot_run
    from .inspection.with_metrics import (
        WithMetricsState as WithMetricsState,
        with_metrics as with_metrics,
    )

    # Complete optimizers
    from .optimizers import presets as presets
    from .optimizers.adam_family import (
        adabelief as adabelief,
        adamax as adamax,
        adamaxw as adamaxw,
        amsgrad as amsgrad,
        nadam as nadam,
        nadamw as nadamw,
        radam as radam,
        yogi as yogi,
    )
    from .optimizers.adam_successors import (
        adan as adan,
        ademamix as ademamix,
        adopt as adopt,
        laprop as laprop,
        mars as mars,
    )
    from .optimizers.adaptive import (
        adadelta as adadelta,
        adagrad as adagrad,
        adam as adam,
        adamw as adamw,
        novograd as novograd,
        rmsprop as rmsprop,
    )
    from .optimizers.descent import (
        madgrad as madgrad,
        noisy_sgd as noisy_sgd,
        optimistic_adam as optimistic_adam,
        optimistic_gradient_descent as optimistic_gradient_descent,
        polyak_sgd as polyak_sgd,
    )
    from .optimizers.layerwise import fromage as fromage, lamb as lamb, lars as lars
    from .optimizers.learning_rate_free import (
        cocob as cocob,
        dadapt_adamw as dadapt_adamw,
        dog as dog,
        dowg as dowg,
        prodigy as prodigy,
    )
    from .optimizers.lion import lion as lion
    from .optimizers.low_memory import adafactor as adafactor, sm3 as sm3
    from .optimizers.momo import momo as momo, momo_adam as momo_adam
    from .optimizers.sgd import sgd as sgd
    from .optimizers.signs import rprop as rprop, sign_sgd as sign_sgd, signum as signum
    from .optimizers.sophia import sophia as sophia

    # Where the state lives
    from .placement.offload import offload_to_host as offload_to_host
    from .placement.sharding import (
        StateBytes as StateBytes,
        state_bytes as state_bytes,
        state_sharding as state_sharding,
    )
    from .placement.transfer import Transfer as Transfer, transfer_state as transfer_state
    from .placement.transfer_report import (
        TransferEntry as TransferEntry,
        TransferReport as TransferReport,
    )

    # Schedules: step -> value
    from .schedules.batch_size import (
        linear_scaling_rule as linear_scaling_rule,
        square_root_scaling_rule as square_root_scaling_rule,
    )
    from .schedules.combine import (
        advance_schedule as advance_schedule,
        delay_schedule as delay_schedule,
        join_schedules as join_schedules,
        scale_schedule as scale_schedule,
        staircase as staircase,
        warmup as warmup,
        warmup_stable_decay as warmup_stable_decay,
    )
    from .schedules.cycles import (
        cosine_restarts as cosine_restarts,
        cyclic as cyclic,
        one_cycle as one_cycle,
        one_cycle_momentum as one_cycle_momentum,
    )
    from .schedules.half_life import linear_half_life as linear_half_life
    from .schedules.piecewise import (
        piecewise_constant as piecewise_constant,
        piecewise_interpolate as piecewise_interpolate,
    )
    from .schedules.plateau import (
        ReduceOnPlateauState as ReduceOnPlateauState,
        reduce_on_plateau as reduce_on_plateau,
    )
    from .schedules.shapes import (
        constant_schedule as constant_schedule,
        cosine_decay as cosine_decay,
        exponential_decay as exponential_decay,
        inverse_sqrt_decay as inverse_sqrt_decay,
        inverse_time_decay as inverse_time_decay,
        linear_schedule as linear_schedule,
        polynomial_decay as polynomial_decay,
        step_decay as step_decay,
    )

    # Around the optimizer
    from .training.apply_gradients import apply_gradients as apply_gradients
    from .training.early_stopping import (
        EarlyStopping as EarlyStopping,
        EarlyStoppingState as EarlyStoppingState,
        early_stopping as early_stopping,
    )
    from .training.train_state import TrainState as TrainState
    from .training.train_step import make_train_step as make_train_step
    from .training.update_step import make_update_step as make_update_step

    # Blocks: one idea each
    from .transforms.adadelta import (
        ScaleByAdadeltaState as ScaleByAdadeltaState,
        scale_by_adadelta as scale_by_adadelta,
    )
    from .transforms.adam import (
        ScaleByAdamState as ScaleByAdamState,
        scale_by_adam as scale_by_adam,
    )
    from .transforms.adamax import (
        ScaleByAdamaxState as ScaleByAdamaxState,
        scale_by_adamax as scale_by_adamax,
    )
    from .transforms.adan import (
        ScaleByAdanState as ScaleByAdanState,
        scale_by_adan as scale_by_adan,
    )
    from .transforms.ademamix import (
        ScaleByAdemamixState as ScaleByAdemamixState,
        scale_by_ademamix as scale_by_ademamix,
    )
    from .transforms.adopt import (
        ScaleByAdoptState as ScaleByAdoptState,
        scale_by_adopt as scale_by_adopt,
    )
    from .transforms.amsgrad import (
        ScaleByAmsgradState as ScaleByAmsgradState,
        scale_by_amsgrad as scale_by_amsgrad,
    )
    from .transforms.average import ScaleByEmaState as ScaleByEmaState, scale_by_ema as scale_by_ema
    from .transforms.belief import (
        ScaleByBeliefState as ScaleByBeliefState,
        scale_by_belief as scale_by_belief,
    )
    from .transforms.block_clip import (
        adaptive_gradient_clip as adaptive_gradient_clip,
        clip_by_block_norm as clip_by_block_norm,
        clip_by_block_rms as clip_by_block_rms,
    )
    from .transforms.clip import (
        ClipByGlobalNormState as ClipByGlobalNormState,
        clip_by_global_norm as clip_by_global_norm,
        clip_by_value as clip_by_value,
    )
    from .transforms.cocob import (
        ScaleByCocobState as ScaleByCocobState,
        scale_by_cocob as scale_by_cocob,
    )
    from .transforms.curvature import (
        gauss_newton_bartlett as gauss_newton_bartlett,
        hutchinson as hutchinson,
    )
    from .transforms.dadapt import (
        ScaleByDadaptAdamState as ScaleByDadaptAdamState,
        scale_by_dadapt_adam as scale_by_dadapt_adam,
    )
    from .transforms.decay import (
        add_cautious_weight_decay as add_cautious_weight_decay,
        add_corrected_weight_decay as add_corrected_weight_decay,
        add_decoupled_weight_decay as add_decoupled_weight_decay,
        add_independent_weight_decay as add_independent_weight_decay,
        add_l2_regularization as add_l2_regularization,
    )
    from .transforms.dog import (
        ScaleByDogState as ScaleByDogState,
        ScaleByDowgState as ScaleByDowgState,
        scale_by_dog as scale_by_dog,
        scale_by_dowg as scale_by_dowg,
    )
    from .transforms.factored_rms import (
        FactoredMoment as FactoredMoment,
        ScaleByFactoredRmsState as ScaleByFactoredRmsState,
        scale_by_factored_rms as scale_by_factored_rms,
        scale_by_parameter_rms as scale_by_parameter_rms,
    )
    from .transforms.fromage import scale_by_fromage as scale_by_fromage
    from .transforms.laprop import (
        ScaleByLapropState as ScaleByLapropState,
        scale_by_laprop as scale_by_laprop,
    )
    from .transforms.layerwise import layerwise_decay as layerwise_decay
    from .transforms.lion import (
        ScaleByLionState as ScaleByLionState,
        scale_by_lion as scale_by_lion,
    )
    from .transforms.madgrad import (
        ScaleByMadgradState as ScaleByMadgradState,
        scale_by_madgrad as scale_by_madgrad,
    )
    from .transforms.mars import (
        ReduceGradientVarianceState as ReduceGradientVarianceState,
        ScaleByMarsState as ScaleByMarsState,
        reduce_gradient_variance as reduce_gradient_variance,
        scale_by_mars as scale_by_mars,
    )
    from .transforms.momentum import (
        ScaleByMomentumState as ScaleByMomentumState,
        scale_by_momentum as scale_by_momentum,
    )
    from .transforms.momo import (
        scale_by_momo as scale_by_momo,
        scale_by_momo_adam as scale_by_momo_adam,
    )
    from .transforms.momo_state import (
        ScaleByMomoAdamState as ScaleByMomoAdamState,
        ScaleByMomoState as ScaleByMomoState,
    )
    from .transforms.noise import (
        AddGradientNoiseState as AddGradientNoiseState,
        add_gradient_noise as add_gradient_noise,
    )
    from .transforms.normalize import (
        centralize_gradients as centralize_gradients,
        normalize_by_global_norm as normalize_by_global_norm,
    )
    from .transforms.optimistic import (
        ScaleByOptimisticGradientState as ScaleByOptimisticGradientState,
        scale_by_optimistic_gradient as scale_by_optimistic_gradient,
    )
    from .transforms.polyak import (
        ScaleByPolyakState as ScaleByPolyakState,
        scale_by_polyak as scale_by_polyak,
    )
    from .transforms.prodigy import (
        ScaleByProdigyState as ScaleByProdigyState,
        scale_by_prodigy as scale_by_prodigy,
    )
    from .transforms.radam import (
        ScaleByRadamState as ScaleByRadamState,
        scale_by_radam as scale_by_radam,
    )
    from .transforms.rms import (
        ScaleByCenteredRmsState as ScaleByCenteredRmsState,
        ScaleByRmsState as ScaleByRmsState,
        ScaleByRssState as ScaleByRssState,
        scale_by_rms as scale_by_rms,
        scale_by_rss as scale_by_rss,
    )
    from .transforms.rprop import (
        ScaleByRpropState as ScaleByRpropState,
        scale_by_rprop as scale_by_rprop,
    )
    from .transforms.running_norm import (
        ScaleByRunningNormState as ScaleByRunningNormState,
        scale_by_running_norm as scale_by_running_norm,
    )
    from .transforms.scale import (
        identity as identity,
        scale as scale,
        scale_by_learning_rate as scale_by_learning_rate,
    )
    from .transforms.sign import scale_by_sign as scale_by_sign
    from .transforms.sm3 import ScaleBySM3State as ScaleBySM3State, scale_by_sm3 as scale_by_sm3
    from .transforms.sophia import (
        ScaleBySophiaState as ScaleBySophiaState,
        scale_by_sophia as scale_by_sophia,
    )
    from .transforms.trust_ratio import (
        scale_by_lars as scale_by_lars,
        scale_by_trust_ratio as scale_by_trust_ratio,
    )
    from .transforms.yogi import (
        ScaleByYogiState as ScaleByYogiState,
        scale_by_yogi as scale_by_yogi,
    )

    # Transformations made of transformations, and the end of a step
    from .wrappers.accumulate import (
        AccumulateState as AccumulateState,
        accumulate as accumulate,
        has_updated as has_updated,
    )
    from .wrappers.apply import apply_updates as apply_updates
    from .wrappers.averages import (
        AverageParamsState as AverageParamsState,
        EmaParamsState as EmaParamsState,
        average_params as average_params,
        ema_params as ema_params,
    )
    from .wrappers.bucket import Bucketed as Bucketed, bucket as bucket
    from .wrappers.cautious import cautious as cautious
    from .wrappers.chain import chain as chain, named_chain as named_chain
    from .wrappers.evaluation import eval_params as eval_params
    from .wrappers.groups import freeze as freeze, masked as masked, partition as partition
    from .wrappers.lookahead import LookaheadState as LookaheadState, lookahead as lookahead
    from .wrappers.loss_scale import (
        DynamicLossScaleState as DynamicLossScaleState,
        dynamic_loss_scale as dynamic_loss_scale,
        scale_loss as scale_loss,
    )
    from .wrappers.master_weights import (
        MasterWeightsState as MasterWeightsState,
        master_weights as master_weights,
    )
    from .wrappers.micro_batches import accumulated_value_and_grad as accumulated_value_and_grad
    from .wrappers.sam import sam as sam, sam_value_and_grad as sam_value_and_grad
    from .wrappers.schedule_free import (
        ScheduleFreeState as ScheduleFreeState,
        schedule_free as schedule_free,
    )
    from .wrappers.skip_nonfinite import (
        SkipNonfiniteState as SkipNonfiniteState,
        skip_nonfinite as skip_nonfinite,
    )
    from .wrappers.skip_spikes import SkipSpikesState as SkipSpikesState, skip_spikes as skip_spikes
else:
    from .core.public import listed as __dir__, public as __getattr__

    __all__ = [*_NAMES]
