"""What Optax, torch and Keras call otherwise: their names, arguments and defaults, and ours.

One table. The `AttributeError` of `gx.add_decayed_weights` and the `TypeError` of `adam(lr=0.1)`
say what it says; the tests compare it with Optax's own signatures. `gx` is this package.
"""

from collections.abc import Collection
from typing import NamedTuple

from . import check

# What to write here for a name of Optax (also of its `schedules`, `transforms` and `contrib`).
OPTAX: dict[str, str] = {
    # Blocks
    "adaptive_grad_clip": "`gx.adaptive_gradient_clip(clipping)`",
    "add_decayed_weights": "`gx.add_decoupled_weight_decay(weight_decay)` where it comes after the "
    "scaling, as in AdamW, and `gx.add_l2_regularization(l2)` where it comes before",
    "add_noise": "`gx.add_gradient_noise(eta, gamma, seed=0)`",
    "centralize": "`gx.centralize_gradients()`",
    "clip": "`gx.clip_by_value(max_value)`",
    "ema": "`gx.scale_by_ema(decay, debias=True)`",
    "normalize_by_update_norm": "`gx.normalize_by_global_norm()`",
    "scale_by_distance_over_gradients": "`gx.scale_by_dog()`",
    "scale_by_novograd": "`gx.scale_by_running_norm(decay)` and behind it "
    "`gx.scale_by_momentum(momentum)`, or `gx.novograd(learning_rate)`",
    "scale_by_param_block_rms": "`gx.scale_by_parameter_rms(min_scale=1e-3)`",
    "scale_by_schedule": "`gx.scale(schedule)`, or the schedule as the learning rate: "
    "`gx.adam(schedule)`",
    "scale_by_stddev": "`gx.scale_by_rms(centered=True)`",
    "set_to_zero": "`gx.scale(0.0)`; to freeze parameters, `gx.freeze(inner, mask)`",
    "trace": "`gx.scale_by_momentum(momentum)`",
    "hutchinson_estimator_diag_hessian": "`gx.hutchinson(loss_fn)`, passed to "
    "`update(..., hessian_fn=...)` of `gx.sophia(learning_rate)`",
    # Wrappers and what is around them
    "MultiSteps": "`gx.accumulate(inner, every=4)`, a transformation like the others",
    "apply_every": "`gx.accumulate(inner, every=4, reduction='sum')`",
    "apply_if_finite": "`gx.skip_nonfinite(inner)`, which lets no NaN through, however many come; "
    "with `max_consecutive=n, on_exceeded='apply'` it does as Optax's",
    "incremental_update": "`gx.ema_params(inner, decay=0.999)` around the optimizer, read with "
    "`gx.eval_params(state, params)`",
    "inject_hyperparams": "`gx.tunable(x)` in place of any number, as in "
    "`gx.adam(gx.tunable(1e-3))`; `gx.hyperparams(state)` reads and "
    "`gx.set_hyperparams(state, learning_rate=1e-4)` writes",
    "microbatch": "`gx.accumulated_value_and_grad(loss_fn, 4)`",
    "multi_transform": "`gx.partition({'name': (selector, inner)}, default=inner)`",
    "periodic_update": "`gx.lookahead(inner, sync_period=5)`, or the copy of every n-th step with "
    "`gx.ema_params(inner, decay=0.0, every=100)`",
    "schedule_free_adamw": "`gx.schedule_free(gx.adamw(learning_rate, b1=0.0), b1=0.9)`",
    "schedule_free_eval_params": "`gx.eval_params(state, params)`",
    "schedule_free_sgd": "`gx.schedule_free(gx.sgd(learning_rate), b1=0.9)`",
    "selective_transform": "`gx.freeze(inner, mask)`",
    "skip_large_updates": "`gx.skip_spikes(inner)`, which learns the bound from the readings",
    "skip_not_finite": "`gx.skip_nonfinite(inner)`",
    "snapshot": "`gx.with_metrics(inner)`, read with `gx.metrics(state)`",
    "monitor": "`gx.with_metrics(inner)`, read with `gx.metrics(state)`",
    "measure_with_ema": "`gx.with_metrics(inner)`, read with `gx.metrics(state)`",
    "flatten": "`gx.bucket(inner)`, for many small arrays",
    "global_norm": "`gx.numerics.global_norm(tree)`",
    "stateless": "`gx.transformation` on a factory of your own that returns `(init, update)`",
    "stateless_with_tree_map": "`gx.transformation` on a factory of your own, with "
    "`gx.tree.lift(rule, updates)`",
    # Optimizers
    "dpsgd": "`optax.contrib.dpsgd`, which may stand in `gx.chain(...)`",
    "differentially_private_aggregate": "`optax.contrib.differentially_private_aggregate`, which "
    "may stand in `gx.chain(...)`",
    "optimistic_adam_v2": "`gx.optimistic_adam(learning_rate, alpha=1.0, beta=1.0)`",
    # Schedules
    "cosine_decay_schedule": "`gx.cosine_decay(value, steps, end=0.0)`, where `end` is a value and "
    "Optax's `alpha` a fraction of the start",
    "cosine_onecycle_schedule": "`gx.one_cycle(peak, steps)`",
    "linear_onecycle_schedule": "`gx.one_cycle(peak, steps, shape='linear')`",
    "piecewise_constant_schedule": "`gx.step_decay(value, factor, boundaries=[30, 60])` where all "
    "factors are alike, else `gx.piecewise_constant(values, boundaries)` with the values",
    "piecewise_interpolate_schedule": "`gx.piecewise_interpolate(values, boundaries)`, with the "
    "values themselves in place of factors",
    "polynomial_schedule": "`gx.polynomial_decay(value, steps, power, end)`",
    "sgdr_schedule": "`gx.cosine_restarts(value, steps, multiplier)`",
    "warmup_constant_schedule": "`gx.warmup(value, steps)`",
    "warmup_cosine_decay_schedule": "`gx.warmup(gx.cosine_decay(value, steps), steps)`, where the "
    "lengths add up: Optax's `decay_steps` include the warmup",
    "warmup_exponential_decay_schedule": "`gx.warmup(gx.exponential_decay(value, steps, factor), "
    "steps)`",
}
_ONLY_OPTAX = [
    "acprop",
    "conditionally_mask",
    "conditionally_transform",
    "galore",
    "init_empty_state",
    "keep_params_nonnegative",
    "lbfgs",
    "mechanize",
    "muon",
    "nnls",
    "normalize",
    "optimistic_adam_v2",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
    "scale_by_acprop",
    "scale_by_backtracking_linesearch",
    "scale_by_galore",
    "scale_by_lbfgs",
    "scale_by_muon",
    "scale_by_param_block_norm",
    "scale_by_simplified_ademamix",
    "scale_by_zoom_linesearch",
    "scale_gradient",
    "simplified_ademamix",
    "split_real_and_imaginary",
    "unitwise_clip",
    "unitwise_norm",
    "value_and_grad_from_state",
    "with_extra_args_support",
    "zero_nans",
    "power_iteration",
    "matrix_inverse_pth_root",
    "update_moment",
    "update_infinity_moment",
    "update_moment_per_elem_norm",
    "bias_correction",
    "safe_increment",
    "safe_int32_increment",
    "safe_norm",
    "safe_root_mean_squares",
    "multi_normal",
    "tree_map_params",
]
_LOSSES = [
    "convex_kl_divergence",
    "cosine_distance",
    "cosine_similarity",
    "ctc_loss",
    "ctc_loss_with_forward_probs",
    "generalized_kl_divergence",
    "hinge_loss",
    "huber_loss",
    "kl_divergence",
    "l2_loss",
    "log_cosh",
    "ntxent",
    "safe_softmax_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_labels",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
]
OPTAX["inject_stateful_hyperparams"] = OPTAX["inject_hyperparams"]
OPTAX |= {
    name: f"`optax.{name}`: not here, and links of Optax's may stand in `gx.chain(...)`"
    for name in _ONLY_OPTAX
    if name not in OPTAX
}
OPTAX |= {name: f"`optax.{name}`: losses are not part of this library" for name in _LOSSES}

_CLASSES = [
    "AdamW",
    "Adafactor",
    "Adadelta",
    "Adagrad",
    "Adamax",
    "NAdam",
    "Nadam",
    "RAdam",
    "RMSprop",
    "Lion",
    "Lamb",
    "Rprop",
]
_CLASS = "with small letters, since it is a function: `gx.{}(learning_rate)`"
_L2 = "torch's `weight_decay` is L2 there, `gx.add_l2_regularization(l2)` in front of it"
# What to write here for a name of torch (`optim`, `lr_scheduler`, `swa_utils`, `amp`) or Keras.
ELSEWHERE: dict[str, str] = {
    **{name: _CLASS.format(name.lower()) for name in _CLASSES},
    "Adam": f"`gx.adam(learning_rate)`; {_L2}",
    "SGD": f"`gx.sgd(learning_rate, momentum=0.9)`; {_L2}",
    "ASGD": "`gx.average_params(gx.sgd(learning_rate), start=0)`, read with "
    "`gx.eval_params(state, params)`",
    "SparseAdam": "`gx.adam(learning_rate)`; gradients are dense here",
    "LBFGS": "`optax.lbfgs`",
    "Muon": "`optax.contrib.muon`",
    "Ftrl": "not here; `gx.adagrad(learning_rate)` is its nearest relative",
    "LossScaleOptimizer": "`gx.dynamic_loss_scale(inner)`",
    "GradScaler": "`gx.dynamic_loss_scale(inner)` and `gx.scale_loss(state, loss)`",
    "AveragedModel": "`gx.ema_params(inner, decay=0.999)` or `gx.average_params(inner, start=0)`",
    "SWALR": "`gx.join_schedules(schedules, boundaries)` with a constant at its end",
    "clip_grad_norm_": "`gx.clip_by_global_norm(max_norm)` in a `gx.chain(...)`",
    "clip_grad_value_": "`gx.clip_by_value(max_value)` in a `gx.chain(...)`",
    # torch's schedules; the learning rate of the optimizer is the schedule
    "ChainedScheduler": "`gx.scale_schedule(schedule, factor)`, whose factor may be a schedule",
    "ConstantLR": "`gx.piecewise_constant(values, boundaries)`",
    "CosineAnnealingLR": "`gx.cosine_decay(value, steps, end=0.0)`",
    "CosineAnnealingWarmRestarts": "`gx.cosine_restarts(value, steps, multiplier)`",
    "CyclicLR": "`gx.cyclic(start, peak, steps)`",
    "ExponentialLR": "`gx.exponential_decay(value, steps, factor)`",
    "LambdaLR": "any function of the step: `gx.adam(lambda step: 1e-3 / (1 + step))`",
    "LinearLR": "`gx.linear_schedule(start, end, steps)`, or `gx.warmup(schedule, steps)`",
    "MultiStepLR": "`gx.step_decay(value, factor, boundaries=[30, 60])`",
    "MultiplicativeLR": "any function of the step: `gx.adam(lambda step: 1e-3 * 0.9**step)`",
    "OneCycleLR": "`gx.one_cycle(peak, steps)`, and `gx.one_cycle_momentum(steps)` beside it",
    "PolynomialLR": "`gx.polynomial_decay(value, steps, power)`",
    "ReduceLROnPlateau": "`gx.adam(gx.reduce_on_plateau(1e-3))`, and `value=` at each `update`",
    "SequentialLR": "`gx.join_schedules(schedules, boundaries)`, or `gx.warmup(schedule, steps)`",
    "StepLR": "`gx.step_decay(value, factor, every=30)`",
    # Keras's
    "CosineDecay": "`gx.cosine_decay(value, steps, end=0.0)`, where `end` is a value and `alpha` a "
    "fraction of the start",
    "CosineDecayRestarts": "`gx.cosine_restarts(value, steps, multiplier)`",
    "ExponentialDecay": "`gx.exponential_decay(value, steps, factor)`",
    "InverseTimeDecay": "`gx.inverse_time_decay(value, steps)`",
    "PiecewiseConstantDecay": "`gx.piecewise_constant(values, boundaries)`",
    "PolynomialDecay": "`gx.polynomial_decay(value, steps, power, end)`",
    # What people write
    "cosine_annealing": "`gx.cosine_decay(value, steps, end=0.0)`",
    "cosine_schedule": "`gx.cosine_decay(value, steps, end=0.0)`",
    "gradient_accumulation": "`gx.accumulate(inner, every=4)`",
    "weight_decay": "`gx.add_decoupled_weight_decay(weight_decay)`",
}

# Optax's arguments that are called otherwise here and mean the same, in functions of one name.
RENAMED: dict[str, dict[str, str]] = {
    "adafactor": {
        "clipping_threshold": "max_rms",
        "weight_decay_mask": "mask",
    },
    "cocob": {"weight_decay": "l2"},
    "clip_by_block_rms": {"threshold": "max_rms"},
    "dadapt_adamw": {"estim_lr0": "d0"},
    "dog": {"weight_decay": "l2"},
    "dowg": {"weight_decay": "l2"},
    "exponential_decay": {
        "init_value": "value",
        "transition_steps": "steps",
        "decay_rate": "factor",
        "end_value": "end",
    },
    "lars": {"weight_decay_mask": "mask", "trust_ratio_mask": "trust_mask"},
    "linear_schedule": {"init_value": "start", "end_value": "end", "transition_steps": "steps"},
    "lookahead": {"fast_optimizer": "inner"},
    "madgrad": {"weight_decay": "l2"},
    "momo": {"adapt_lower_bound": "adaptive_lower_bound"},
    "momo_adam": {"adapt_lower_bound": "adaptive_lower_bound"},
    "noisy_sgd": {"key": "seed"},
    "novograd": {"b1": "momentum", "b2": "decay"},
    "polyak_sgd": {"max_learning_rate": "max_step_size"},
    "prodigy": {
        "beta3": "b3",
        "estim_lr0": "d0",
        "estim_lr_coef": "d_coef",
        "weight_decay_mask": "mask",
    },
    "reduce_on_plateau": {"accumulation_size": "every"},
    "rmsprop": {"initial_scale": "initial_accumulator_value"},
    "sam": {"optimizer": "inner"},
    "scale": {"step_size": "factor"},
    "scale_by_factored_rms": {"step_offset": "decay_offset", "epsilon": "eps"},
    "scale_by_polyak": {"max_learning_rate": "max_step_size"},
    "scale_by_rms": {"initial_scale": "initial_accumulator_value"},
    "schedule_free": {"base_optimizer": "inner"},
    "signum": {"beta": "momentum"},
    "sophia": {"weight_decay_mask": "mask", "update_interval": "interval"},
}


class Said(NamedTuple):
    """How an argument of others is said here: the argument that it becomes, and what to write."""

    argument: str  # only where the function has it; "" for functions that have none like it
    write: str


_STORED = '`state_dtype={"mu": "bfloat16"}` for that average alone, `state_dtype=` for all buffers'
_BETAS = "one argument for each: `b1=0.9, b2=0.999`"
_LATER = "a schedule around it: `gx.delay_schedule(schedule, steps)`"
_STAIRS = "a schedule around it: `gx.staircase(schedule, every)`"
_EPOCHS = "`gx.epochs(number, steps_per_epoch)` wherever a number of steps is taken"
_PARTITION = "pairs of a selector and a transformation in place of labels: "
_PARTITION += "`gx.partition({'head': (gx.select.path('head/.*'), inner)}, default=inner)`"
_POLYAK = "`c=1.0` with `f_min`; the variants of Optax are not here"
_PROBES = "`update(grads, state, params, hessian_fn=gx.hutchinson(loss_fn))`"

# Arguments of Optax, torch and Keras by name; the first that fits the function is said.
ARGUMENTS: dict[str, tuple[Said, ...]] = {
    "lr": (Said("learning_rate", "`learning_rate=`"), Said("value", "`value=`")),
    "alpha": (Said("decay", "`decay=`"), Said("end", "`end=`, a value and no fraction")),
    "accumulator_dtype": (Said("state_dtype", "`state_dtype=`"),),
    "accumulation_size": (Said("every", "`every=`"),),
    "amsgrad": (Said("eps", "another optimizer: `gx.amsgrad(learning_rate)`"),),
    "beta": (Said("momentum", "`momentum=`"), Said("b1", "`b1=`"), Said("decay", "`decay=`")),
    "beta1": (Said("b1", "`b1=`"),),
    "beta2": (Said("b2", "`b2=`"),),
    "beta_1": (Said("b1", "`b1=`"),),
    "beta_2": (Said("b2", "`b2=`"),),
    "betas": (Said("b1", _BETAS),),
    "bias_correction_mu": (Said("bias_correction", "`bias_correction=`, one for both"),),
    "bias_correction_nu": (Said("bias_correction", "`bias_correction=`, one for both"),),
    "boundaries_and_scales": (
        Said("values", "`values=` and `boundaries=`: the values themselves, not factors"),
        Said("boundaries", "`factor=` and `boundaries=`"),
    ),
    "clip_value_fn": (Said("clip_exponent", "`clip_exponent=`: the bound is step**exponent"),),
    "clipnorm": (Said("", "a link in front: `gx.chain(gx.clip_by_block_norm(1.0), ...)`"),),
    "clipvalue": (Said("", "a link in front: `gx.chain(gx.clip_by_value(1.0), ...)`"),),
    "cycle_momentum": (Said("", "a schedule of its own: `gx.one_cycle_momentum(steps)`"),),
    "dampening": (Said("momentum", "`gx.scale_by_ema(momentum)`, whose weight is 1 - momentum"),),
    "decay_rate": (Said("factor", "`factor=`"),),
    "decay_rate_fn": (Said("decay", "`decay=`: a schedule, β_t itself"),),
    "decay_steps": (Said("steps", "`steps=`"),),
    "div_factor": (Said("start", "`start=`, the value itself"),),
    "dtype_momentum": (Said("state_dtype", _STORED),),
    "end_value": (Said("end", "`end=`"), Said("min_value", "`min_value=`")),
    "eps_in_sqrt": (Said("eps_root", "`eps=0.0, eps_root=1e-8`: one number each"),),
    "eps_root": (Said("", "`eps=`; nothing is added under the root here, and 0 need not be said"),),
    "epsilon": (Said("eps", "`eps=`"),),
    "eta_min": (Said("end", "`end=`"),),
    "every_k_schedule": (Said("every", "`every=`"),),
    "exponent": (Said("end", "leave it out: the cosine is not raised to a power here"),),
    "final_div_factor": (Said("end", "`end=`, the value itself"),),
    "flip_sign": (Said("", "`gx.scale(learning_rate)`, where the sign is to stay"),),
    "foreach": (Said("", "leave it out: one compiled program does all arrays"),),
    "fused": (Said("", "leave it out: one compiled program does all arrays"),),
    "gamma": (Said("factor", "`factor=`"),),
    "global_clipnorm": (Said("", "a link in front: `gx.chain(gx.clip_by_global_norm(1.0), ...)`"),),
    "gradient_accumulation_steps": (Said("", "`gx.accumulate(inner, every=4)` around it"),),
    "hessian_diagonal_fn": (Said("", _PROBES),),
    "init_estim_sq_dist": (Said("r_eps", "`r_eps=`, a length and not its square"),),
    "init_step": (Said("reps_rel", "`reps_rel=1e-6`, or `init_eta=` for a length"),),
    "init_value": (
        Said("start", "`start=`"),
        Said("value", "`value=`"),
        Said("values", "`values=`"),
    ),
    "initial_learning_rate": (Said("value", "`value=`"),),
    "interpolate_type": (Said("shape", "`shape=`"),),
    "key": (Said("seed", "`seed=`, a whole number"),),
    "loss_scale_factor": (Said("", "`gx.dynamic_loss_scale(inner)` around it"),),
    "m_mul": (Said("peak_factor", "`peak_factor=`"),),
    "mask_compatible_extra_args": (
        Said("", "leave it out: extra arguments reach every group as they are"),
    ),
    "max_lr": (Said("peak", "`peak=`"),),
    "maximize": (Said("", "a link in front: `gx.chain(gx.scale(-1.0), ...)`"),),
    "max_step_size": (Said("max_scale", "`max_scale=`, in units of the learning rate"),),
    "milestones": (Said("boundaries", "`boundaries=`"),),
    "min_lr": (Said("min_value", "`min_value=`"), Said("end", "`end=`")),
    "min_norm": (Said("", "leave it out: where a norm is 0 the ratio is 1"),),
    "min_scale": (Said("min_value", "`min_value=`, the value itself and no factor"),),
    "min_step_size": (Said("min_scale", "`min_scale=`, in units of the learning rate"),),
    "mode": (Said("", "leave it out: the sign is not smoothed here"),),
    "momentum_decay": (Said("b1", "a schedule for `b1=`; `gx.nadam` has a constant momentum"),),
    "mu_dtype": (Said("state_dtype", _STORED),),
    "multiply_by_parameter_scale": (
        Said("min_scale", "`min_scale=1e-3`, or `min_scale=None` for absolute learning rates"),
    ),
    "nesterov": (
        Said("weight_decay", "another optimizer: `gx.nadamw(learning_rate)`"),
        Said("eps", "another optimizer: `gx.nadam(learning_rate)`"),
    ),
    "opt": (Said("inner", "`inner=`"),),
    "param_labels": (Said("groups", _PARTITION),),
    "params": (Said("", "leave it out: parameters are given to `init(params)`"),),
    "pct_final": (Said("three_phase", "`three_phase=True`, whose phases are as long as the rise"),),
    "pct_start": (Said("rise", "`rise=`"),),
    "peak_value": (Said("peak", "`peak=`"), Said("value", "`value=`")),
    "print_win_rate_every_n_steps": (Said("", "`gx.with_metrics(inner)` around it"),),
    "reset_state": (Said("", "leave it out: the fast state goes on"),),
    "rho": (Said("decay", "`decay=`"),),
    "smooth_beta": (Said("", "leave it out: the sign is not smoothed here"),),
    "staircase": (Said("factor", _STAIRS),),
    "step_size": (Said("every", "`every=`"),),
    "steps_per_epoch": (Said("steps", _EPOCHS), Said("every", _EPOCHS)),
    "T_0": (Said("steps", "`steps=`"),),
    "T_max": (Said("steps", "`steps=`"),),
    "T_mult": (Said("multiplier", "`multiplier=`"),),
    "t_mul": (Said("multiplier", "`multiplier=`"),),
    "threshold": (Said("rtol", "`rtol=` or `atol=`"),),
    "total_iters": (Said("steps", "`steps=`"),),
    "total_steps": (Said("steps", "`steps=`; a part of a run is `gx.fraction(part, of=steps)`"),),
    "transforms": (Said("groups", _PARTITION),),
    "transition_begin": (Said("steps", _LATER),),
    "transition_steps": (Said("steps", "`steps=`"),),
    "use_clipping": (Said("clip_exponent", "`clip_exponent=None` for none"),),
    "use_ema": (Said("", "`gx.ema_params(inner, decay=0.999)` around it"),),
    "use_grad_mean": (Said("reduction", "`reduction='sum'` for the sum"),),
    "variant": (Said("c", _POLYAK),),
    "verbose": (Said("", "`gx.with_metrics(inner)` around it"),),
    "warmup_steps": (Said("steps", "`gx.warmup(schedule, steps)` around it"),),
    "weight_decay": (
        Said("l2", "`l2=`, which is added to the gradient"),
        Said(
            "eps",
            "`gx.adamw(learning_rate, weight_decay=0.01)` for decay beside the scaling, or "
            "for L2, as torch's, `gx.chain(gx.add_l2_regularization(l2), ...)`",
        ),
        Said(
            "",
            "a link: `gx.chain(gx.add_l2_regularization(l2), ...)` for L2, "
            "`gx.add_decoupled_weight_decay(weight_decay)` before the learning rate",
        ),
    ),
    "weight_decay_mask": (
        Said("mask", "`mask=`"),
        Said("", "`gx.add_l2_regularization(l2, mask=mask)` in front of it"),
    ),
}

# Arguments of one function that are said otherwise than that name is elsewhere.
OWN_ARGUMENTS: dict[str, dict[str, str]] = {
    "adadelta": {
        "weight_decay": "a link in front: `gx.chain(gx.add_l2_regularization(l2), ...)`",
        "weight_decay_mask": "`gx.add_l2_regularization(l2, mask=mask)` in front of it",
    },
    "fromage": {"min_norm": "leave it out: where a norm is 0 the ratio is 1"},
    "optimistic_adam": {
        "optimism": "`alpha=` and `beta=`, as in Optax's `optimistic_adam_v2`",
        "nesterov": "leave it out: Adam's moments without it",
    },
    "adafactor": {
        "weight_decay_rate": "`weight_decay=`, of which the learning rate is a factor: Optax's is "
        "per step",
    },
    "noisy_sgd": {"key": "`seed=`, a whole number"},
    "reduce_on_plateau": {"min_scale": "`min_value=`, the value itself and no factor"},
    "rmsprop": {"bias_correction": "leave it out; `gx.adam(learning_rate, b1=0.0)` corrects it"},
    "scale_by_rms": {"bias_correction": "leave it out; `gx.scale_by_adam(b1=0.0)` corrects it"},
    "scale_by_sm3": {
        "b1": "`gx.scale_by_ema(momentum)` behind it",
        "b2": "leave it out: sums are not forgotten here",
        "eps": "leave it out: 0 / 0 is 0 here",
    },
    "scale_by_rprop": {"learning_rate": "`gx.scale_by_learning_rate(learning_rate)` behind it"},
    "schedule_free": {
        "learning_rate": "leave it out: it is read from the optimizer inside",
        "state_dtype": "leave it out: z is float32 or wider",
    },
    "polyak_sgd": {
        "eps": "leave it out: 0 / 0 is 0 here",
        "scaling": "`learning_rate=`, which multiplies the step: Optax's divides it",
    },
    "scale_by_polyak": {"eps": "leave it out: 0 / 0 is 0 here"},
    "sam": {
        "adv_optimizer": "`rho=`, the length of the ascent",
        "sync_period": "`gx.sam_value_and_grad(loss_fn)`: both gradients in each step",
        "opaque_mode": "`gx.sam_value_and_grad(loss_fn)`",
        "batch_axis_name": "`gx.sam_value_and_grad(loss_fn)`",
    },
}

# Defaults of one argument that differ from Optax's: ours, theirs.
DEFAULTS: dict[str, dict[str, tuple[object, object]]] = {
    "adadelta": {"rho": (0.95, 0.9)},
    "adagrad": {"initial_accumulator_value": (0.0, 0.1), "eps": (1e-10, 1e-7)},
    "adamaxw": {"weight_decay": (0.01, 1e-4)},
    "adamw": {"weight_decay": (0.01, 1e-4)},
    "adan": {"eps_root": (0.0, 1e-8), "weight_decay": (0.02, 0.0)},
    "dowg": {"learning_rate": (0.5, 1.0)},
    "lamb": {"weight_decay": (0.01, 0.0)},
    "lars": {"weight_decay": (5e-4, 0.0)},
    "nadamw": {"weight_decay": (0.01, 1e-4)},
    "novograd": {"momentum": (0.95, 0.9), "decay": (0.98, 0.25), "eps": (1e-8, 1e-6)},
    "radam": {"threshold": (4.0, 5.0)},
    "scale_by_adadelta": {"rho": (0.95, 0.9)},
    "scale_by_ademamix": {"alpha": (5.0, 6.0)},
    "scale_by_radam": {"threshold": (4.0, 5.0)},
    "scale_by_rss": {"initial_accumulator_value": (0.0, 0.1), "eps": (1e-10, 1e-7)},
    "scale_by_yogi": {"initial_accumulator_value": (0.0, 1e-6)},
    "sophia": {"b1": (0.96, 0.965), "eps": (1e-12, 1e-8), "weight_decay": (0.1, 1e-4)},
}


def missing(name: str, known: Collection[str]) -> str:
    """The message for a name that this package does not have."""
    text = f"module 'gradxform' has no attribute {name!r}."
    if name.startswith("_"):
        return text
    if name in OPTAX:
        return f"{text} Optax's `{name}` is {OPTAX[name]}."
    if name in ELSEWHERE:
        return f"{text} `{name}` is {ELSEWHERE[name]}."
    if name.lower() in known:
        return f"{text} It is `gx.{name.lower()}`, with small letters."
    guess = check.nearest(name, known).partition(" Known are")[0]
    return f"{text}{guess} `gx.available()` lists what can be built."


def instead(function: str, name: str, known: Collection[str]) -> str:
    """A hint that says what to write for an argument that a function does not have, or ""."""
    write = argument(function, name, known)
    return f" {'Write' if write.startswith('`') else 'Here:'} {write}." if write else ""


def argument(function: str, name: str, known: Collection[str]) -> str:
    """What to write in place of an argument that a function does not have; "" if unknown."""
    renamed = RENAMED.get(function, {}).get(name)
    if renamed is not None:
        return f"`{renamed}=`"
    if name in OWN_ARGUMENTS.get(function, {}):
        return OWN_ARGUMENTS[function][name]
    fitting = (
        said for said in ARGUMENTS.get(name, ()) if not said.argument or said.argument in known
    )
    return next((said.write for said in fitting), "")
