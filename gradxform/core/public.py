"""The public names, each with its module, which is imported when the name is first asked for.

So `import gradxform` costs little more than JAX and Optax, whatever else the package can do. This
is the one place where the package imports by name: what stands below reaches what stands above
only through this table.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from .recipe import Recipe, written
from .unknown import refuse_name

_PACKAGE = __name__.partition(".")[0]


class _Row(NamedTuple):
    """A module, its factories as `repr` writes them, and what else of it is public."""

    module: str  # or a folder, of which a module is public
    factories: str = ""
    others: str = ""

    @property
    def names(self) -> list[str]:
        """The names, without those that are written with a dot, as `select.path`."""
        return [name for name in f"{self.factories} {self.others}".split() if "." not in name]


# In the order of the reference: module by module, and what is called before what it returns.
_TABLE = (
    # Complete optimizers
    _Row("optimizers.sgd", "sgd"),
    _Row("optimizers.adaptive", "adadelta adagrad adam adamw novograd rmsprop"),
    _Row("optimizers.adam_family", "adabelief adamax adamaxw amsgrad nadam nadamw radam yogi"),
    _Row("optimizers.adam_successors", "adan ademamix adopt laprop mars"),
    _Row("optimizers.lion", "lion"),
    _Row("optimizers.sophia", "sophia"),
    _Row("optimizers.signs", "rprop sign_sgd signum"),
    _Row("optimizers.layerwise", "fromage lamb lars"),
    _Row("optimizers.low_memory", "adafactor sm3"),
    _Row("optimizers.learning_rate_free", "cocob dadapt_adamw dog dowg prodigy"),
    _Row("optimizers.momo", "momo momo_adam"),
    _Row(
        "optimizers.descent",
        "madgrad noisy_sgd optimistic_adam optimistic_gradient_descent polyak_sgd",
    ),
    _Row("optimizers", others="presets"),
    # Schedules: step -> value
    _Row(
        "schedules.shapes",
        "constant_schedule cosine_decay exponential_decay inverse_sqrt_decay "
        "inverse_time_decay linear_schedule polynomial_decay step_decay",
    ),
    _Row("schedules.piecewise", "piecewise_constant piecewise_interpolate"),
    _Row(
        "schedules.combine",
        "advance_schedule delay_schedule join_schedules scale_schedule staircase warmup "
        "warmup_stable_decay",
    ),
    _Row("schedules.cycles", "cosine_restarts cyclic one_cycle one_cycle_momentum"),
    _Row("schedules.half_life", "linear_half_life"),
    _Row("schedules.plateau", "reduce_on_plateau", "ReduceOnPlateauState"),
    _Row("schedules.batch_size", others="linear_scaling_rule square_root_scaling_rule"),
    # Blocks: one idea each
    _Row("transforms.scale", "identity scale scale_by_learning_rate"),
    _Row("transforms.momentum", "scale_by_momentum", "ScaleByMomentumState"),
    _Row("transforms.adam", "scale_by_adam", "ScaleByAdamState"),
    _Row(
        "transforms.rms",
        "scale_by_rms scale_by_rss",
        "ScaleByCenteredRmsState ScaleByRmsState ScaleByRssState",
    ),
    _Row("transforms.adadelta", "scale_by_adadelta", "ScaleByAdadeltaState"),
    _Row("transforms.lion", "scale_by_lion", "ScaleByLionState"),
    _Row("transforms.clip", "clip_by_global_norm clip_by_value", "ClipByGlobalNormState"),
    _Row("transforms.block_clip", "adaptive_gradient_clip clip_by_block_norm clip_by_block_rms"),
    _Row(
        "transforms.decay",
        "add_cautious_weight_decay add_corrected_weight_decay add_decoupled_weight_decay "
        "add_independent_weight_decay add_l2_regularization",
    ),
    _Row("transforms.normalize", "centralize_gradients normalize_by_global_norm"),
    _Row("transforms.adamax", "scale_by_adamax", "ScaleByAdamaxState"),
    _Row("transforms.adan", "scale_by_adan", "ScaleByAdanState"),
    _Row("transforms.ademamix", "scale_by_ademamix", "ScaleByAdemamixState"),
    _Row("transforms.adopt", "scale_by_adopt", "ScaleByAdoptState"),
    _Row("transforms.amsgrad", "scale_by_amsgrad", "ScaleByAmsgradState"),
    _Row("transforms.average", "scale_by_ema", "ScaleByEmaState"),
    _Row("transforms.belief", "scale_by_belief", "ScaleByBeliefState"),
    _Row("transforms.cocob", "scale_by_cocob", "ScaleByCocobState"),
    _Row("transforms.curvature", others="gauss_newton_bartlett hutchinson"),
    _Row("transforms.dadapt", "scale_by_dadapt_adam", "ScaleByDadaptAdamState"),
    _Row("transforms.dog", "scale_by_dog scale_by_dowg", "ScaleByDogState ScaleByDowgState"),
    _Row(
        "transforms.factored_rms",
        "scale_by_factored_rms scale_by_parameter_rms",
        "FactoredMoment ScaleByFactoredRmsState",
    ),
    _Row("transforms.fromage", "scale_by_fromage"),
    _Row("transforms.laprop", "scale_by_laprop", "ScaleByLapropState"),
    _Row("transforms.layerwise", "layerwise_decay"),
    _Row("transforms.madgrad", "scale_by_madgrad", "ScaleByMadgradState"),
    _Row(
        "transforms.mars",
        "reduce_gradient_variance scale_by_mars",
        "ReduceGradientVarianceState ScaleByMarsState",
    ),
    _Row("transforms.momo", "scale_by_momo scale_by_momo_adam"),
    _Row("transforms.momo_state", others="ScaleByMomoAdamState ScaleByMomoState"),
    _Row("transforms.noise", "add_gradient_noise", "AddGradientNoiseState"),
    _Row("transforms.optimistic", "scale_by_optimistic_gradient", "ScaleByOptimisticGradientState"),
    _Row("transforms.polyak", "scale_by_polyak", "ScaleByPolyakState"),
    _Row("transforms.prodigy", "scale_by_prodigy", "ScaleByProdigyState"),
    _Row("transforms.radam", "scale_by_radam", "ScaleByRadamState"),
    _Row("transforms.rprop", "scale_by_rprop", "ScaleByRpropState"),
    _Row("transforms.running_norm", "scale_by_running_norm", "ScaleByRunningNormState"),
    _Row("transforms.sign", "scale_by_sign"),
    _Row("transforms.sm3", "scale_by_sm3", "ScaleBySM3State"),
    _Row("transforms.sophia", "scale_by_sophia", "ScaleBySophiaState"),
    _Row("transforms.trust_ratio", "scale_by_lars scale_by_trust_ratio"),
    _Row("transforms.yogi", "scale_by_yogi", "ScaleByYogiState"),
    # Transformations made of transformations, and the end of a step
    _Row("wrappers.chain", "chain named_chain"),
    _Row("wrappers.apply", others="apply_updates"),
    _Row("wrappers.groups", "freeze masked partition"),
    _Row("wrappers.accumulate", "accumulate", "has_updated AccumulateState"),
    _Row("wrappers.micro_batches", others="accumulated_value_and_grad"),
    _Row("wrappers.averages", "average_params ema_params", "AverageParamsState EmaParamsState"),
    _Row("wrappers.bucket", "bucket", "Bucketed"),
    _Row("wrappers.cautious", "cautious"),
    _Row("wrappers.evaluation", others="eval_params"),
    _Row("wrappers.lookahead", "lookahead", "LookaheadState"),
    _Row("wrappers.loss_scale", "dynamic_loss_scale", "scale_loss DynamicLossScaleState"),
    _Row("wrappers.master_weights", "master_weights", "MasterWeightsState"),
    _Row("wrappers.sam", "sam", "sam_value_and_grad"),
    _Row("wrappers.schedule_free", "schedule_free", "ScheduleFreeState"),
    _Row("wrappers.skip_nonfinite", "skip_nonfinite", "SkipNonfiniteState"),
    _Row("wrappers.skip_spikes", "skip_spikes", "SkipSpikesState"),
    # Around the optimizer
    _Row("training.train_state", others="TrainState"),
    _Row("training.train_step", others="make_train_step"),
    _Row("training.update_step", others="make_update_step"),
    _Row("training.apply_gradients", others="apply_gradients"),
    _Row("training.early_stopping", others="early_stopping EarlyStopping EarlyStoppingState"),
    # Where the state lives
    _Row("placement.sharding", others="state_bytes state_sharding StateBytes"),
    _Row("placement.offload", "offload_to_host"),
    _Row("placement.transfer", others="transfer_state Transfer"),
    _Row("placement.transfer_report", others="TransferEntry TransferReport"),
    # What a transformation is and does
    _Row("inspection.describe", others="describe Description ParameterDescription"),
    _Row("inspection.config", others="available from_config to_config"),
    _Row("inspection.metrics", others="metrics step_of"),
    _Row("inspection.with_metrics", "with_metrics", "WithMetricsState"),
    _Row("inspection.diagnose", others="diagnose DIAGNOSIS_RULES"),
    _Row("inspection.diagnose_step", others="diagnose_step STEP_RULES"),
    _Row("inspection.diagnose_run", others="diagnose_run RUN_RULES"),
    _Row("inspection.findings", others="Diagnosis Finding"),
    _Row("inspection.plots", others="plot_schedule"),
    _Row("inspection.run_panels", others="plot_run"),
    _Row("inspection.html", others="to_html"),
    # Comparing optimizers on held-out data, over several seeds
    _Row("comparison.task", others="Task"),
    _Row("comparison.candidate", others="Candidate"),
    _Row("comparison.ranges", others="Range"),
    _Row("comparison.compare", others="compare"),
    _Row("comparison.tune", others="tune"),
    _Row("comparison.tuning", others="Tuning"),
    _Row(
        "comparison.result",
        others="load_comparison Comparison CandidateResult Reference Verdict",
    ),
    _Row("comparison.diagnose_comparison", others="diagnose_comparison COMPARISON_RULES"),
    # What every transformation is made with
    _Row("core.types", others="GradientTransformation whole_arrays Schedule Params State Updates"),
    _Row("core.shards", others="AxisName"),
    _Row(
        "core.arguments",
        others="Count Decay DType LearningRate Mask NonNegative Positive Scalar StateDType",
    ),
    _Row("core.lengths", "epochs fraction", "Boundaries Steps Length"),
    _Row("core.factory", others="optimizer transformation"),
    _Row("core.schedule", others="schedule"),
    _Row("core.hyperparams", others="tunable HyperparamsState"),
    _Row("core.reading", others="hyperparams set_hyperparams"),
    _Row("core", others="select"),
    _Row(
        "core.select",
        "select.path select.ndim select.ndim_at_least select.dtype select.size_at_least "
        "select.where select.all select.decayed",
    ),
    _Row("core.selector", "select.all_of select.any_of select.none_of", "Selector"),
    _Row("core", others="tree numerics"),
)

# The module of each public name, and of each factory by the name that `repr` writes.
NAMES = {name: row.module for row in _TABLE for name in row.names}
FACTORIES = {name: row.module for row in _TABLE for name in row.factories.split()}
_FOLDERS = {row.module.partition(".")[0] for row in _TABLE}


def public(name: str) -> Any:
    """What a public name stands for; an `AttributeError` with a way out for any other name."""
    if name in _FOLDERS:  # type checkers see them too
        return importlib.import_module(f"{_PACKAGE}.{name}")
    if name not in NAMES:
        refuse_name(name, [*NAMES])
    value = _imported(NAMES[name], name)
    setattr(sys.modules[_PACKAGE], name, value)  # so that Python finds it without asking
    return value


def listed() -> list[str]:
    """The names that the package has, for `dir` and completion, imported or not."""
    return [*NAMES, *(name for name in vars(sys.modules[_PACKAGE]) if name.startswith("__"))]


def factory(name: str) -> Callable[..., Any] | None:
    """The factory of this package that `repr` writes so; None, and nothing imported, if none."""
    if name not in FACTORIES:
        return None
    found = _imported(FACTORIES[name], name.rpartition(".")[2])
    recipe = getattr(found, "recipe", None)
    return recipe.factory if isinstance(recipe, Recipe) else found  # `select.all` is built


def factory_name(value: Any) -> str:
    """The name by which `factory` finds `value`; "" for what is no factory of this package."""
    name = written(value) if callable(value) and hasattr(value, "__name__") else None
    return name if isinstance(name, str) and factory(name) is value else ""


def import_factories() -> None:
    """Import the modules of all factories, for what each of them says of its arguments."""
    for module in {*FACTORIES.values()}:
        importlib.import_module(f"{_PACKAGE}.{module}")


def _imported(module: str, name: str) -> Any:
    if "." not in module:
        return importlib.import_module(f"{_PACKAGE}.{module}.{name}")
    return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)
