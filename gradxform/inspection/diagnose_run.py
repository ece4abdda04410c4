"""What is wrong with a training, from the curves that it left."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ..core import check
from . import rules_progress, rules_run
from .findings import Diagnosis, Rule, applied, table
from .run_curves import Run

RUN_RULES: Mapping[str, Rule] = MappingProxyType(
    table(
        rules_run.nonfinite_values,
        rules_run.loss_diverged,
        rules_run.loss_scale_at_floor,
        rules_run.skipped_steps,
        rules_run.spikes,
        rules_run.update_ratio_too_large,
        rules_run.update_ratio_too_small,
        rules_run.steps_go_back_and_forth,
        rules_run.clipping_on_nearly_every_step,
        rules_progress.learning_rate_never_moved,
        rules_progress.dead_groups,
        rules_progress.gradients_change_with_depth,
        rules_progress.training_and_validation_part,
    )
)
"""The rules of `diagnose_run` by name: functions of a `Run` that give `Finding`s."""


def diagnose_run(
    metrics: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    rules: Mapping[str, Rule] = RUN_RULES,
) -> Diagnosis:
    """Say what is wrong with a training, finished or running, from its metrics.

        print(diagnose_run({"loss": losses, "gradient_norm": norms}))

    Each rule looks for the metrics that it needs, and stays silent where they are not there.

    Args:
      metrics: arrays over the steps, by name, or a list of what was logged, one dict of numbers
        after the other, as `plot_run` takes it. NaN stands for a step at which something was not
        measured, such as the validation loss. Known are `loss`, `validation_loss`,
        `learning_rate`, `gradient_norm`, `clipped_norm`, `clip_fraction`, `update_norm`,
        `param_norm`, `update_ratio` (the norm of the update over that of the parameters),
        `update_cosine` (between consecutive updates), `zero_fraction`, `nonfinite_fraction`,
        `skipped_steps` (so far), `loss_scale`; and each of them for a group or a layer, with its
        path in front: `layer_0/gradient_norm`.
      rules: the table of rules, by name; each is a function of a `Run`.

    Returns:
      A `Diagnosis`: a sequence of findings, the worst first, that prints as a report.

    Raises:
      TypeError: something that is no dict of one-dimensional real arrays.
    """
    if isinstance(metrics, list | tuple) and all(isinstance(x, Mapping) for x in metrics):
        names = dict.fromkeys(name for logged in metrics for name in logged)
        metrics = {name: [logged.get(name, np.nan) for logged in metrics] for name in names}
    if not isinstance(metrics, Mapping) or not metrics:
        raise TypeError(
            "`diagnose_run(metrics)`: `metrics` must be a dict from names to arrays over the "
            f"steps, or a list of dicts of numbers; got {check.brief(metrics)}."
        )
    run = Run({str(name): _series(name, values) for name, values in metrics.items()})
    length = max(len(values) for values in run.metrics.values())
    known = sorted({name.rpartition("/")[2] for name in run.metrics} & {*rules_run.KNOWN})
    notes = []
    if not known:
        notes.append(
            f"none of the metrics has a name that the rules know: {', '.join(rules_run.KNOWN)}."
        )
    return applied("diagnose_run", f"a run of {length:,} steps", rules, run, notes)


def _series(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    if array.ndim != 1 or not array.size or array.dtype.kind in "cOSU":
        raise TypeError(
            f"`diagnose_run(metrics)`: `{name}` must be a one-dimensional array of numbers over "
            f"the steps; got {check.brief(values)}. Stack what the steps returned, or return it "
            "from `jax.lax.scan`."
        )
    return array.astype(np.float64)
