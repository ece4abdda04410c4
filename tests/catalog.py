"""Every public transformation and schedule, once, with what is true of it.

The laws in this folder run over all of these rows, and the README's tables are written from them,
so a new block is a file and a row. An exception to a law is a trait of the row, never a name in a
test.
"""

from rows import (
    accumulation,
    adam_family,
    adam_successors,
    adaptive_rate,
    averages,
    bucket,
    decay,
    foundation,
    groups,
    guards,
    layerwise,
    learning_rate_free,
    low_memory,
    metrics,
    placement,
    schedules,
    shaping,
    wrappers,
)
from rows.row import Row, ScheduleRow

import gradxform as gx

# Every public name and what it stands for: what the `repr` of a value is evaluated with.
PUBLIC = {name: getattr(gx, name) for name in gx.__all__}

CATALOG: tuple[Row, ...] = (
    *foundation.ROWS,
    *adam_family.ROWS,
    *adam_successors.ROWS,
    *learning_rate_free.ROWS,
    *adaptive_rate.ROWS,
    *shaping.ROWS,
    *layerwise.ROWS,
    *low_memory.ROWS,
    *decay.ROWS,
    *groups.ROWS,
    *metrics.ROWS,
    *wrappers.ROWS,
    *averages.ROWS,
    *bucket.ROWS,
    *guards.ROWS,
    *accumulation.ROWS,
    *placement.ROWS,
)
SCHEDULES: tuple[ScheduleRow, ...] = (*schedules.ROWS,)

# The rest of the public functions, in the order of the README.
FUNCTIONS: tuple[str, ...] = (
    "apply_updates",
    "scale_loss",
    "eval_params",
    "sam_value_and_grad",
    "accumulated_value_and_grad",
    "has_updated",
    "tunable",
    "reduce_on_plateau",
    "make_train_step",
    "make_update_step",
    "state_sharding",
    "state_bytes",
    "apply_gradients",
    "early_stopping",
    "hyperparams",
    "set_hyperparams",
    "transfer_state",
    "describe",
    "plot_schedule",
    "plot_run",
    "to_html",
    "diagnose",
    "diagnose_run",
    "diagnose_step",
    "diagnose_comparison",
    "presets.vision_sgd",
    "presets.transformer",
    "presets.finetune",
    "presets.recurrent",
    "presets.reinforcement",
    "presets.sparse",
    "metrics",
    "step_of",
    "to_config",
    "from_config",
    "available",
    "select.path",
    "select.ndim",
    "select.ndim_at_least",
    "select.dtype",
    "select.size_at_least",
    "select.where",
    "epochs",
    "fraction",
    "linear_scaling_rule",
    "square_root_scaling_rule",
    "hutchinson",
    "gauss_newton_bartlett",
    "transformation",
    "optimizer",
    "schedule",
    "whole_arrays",
    "compare",
    "tune",
    "load_comparison",
)
