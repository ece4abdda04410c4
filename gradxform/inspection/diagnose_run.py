"""What is wrong with a training, from the curves that it left."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..core import check
from . import rules_progress, rules_run
from .findings import Diagnosis, Finding, Rule, applied, table
from .run_curves import Run
from .runs import curves_of, over_all_steps

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
      metrics: what `plot_run` takes: arrays over the steps, by name; or a list of what was logged,
        one dict of numbers (or of arrays, one an epoch) after the other; or several runs of these
        by name, and each finding names its run. NaN stands for a step at which something was not
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
      ValueError: something is no curve of real numbers, or curves of a dict have other lengths, so
        that their steps are not known; with its name.
    """
    with check.calling("diagnose_run(...)"):
        curves = curves_of(metrics)
        for curve in curves:
            check.require(
                curve.values.size > 1 or not isinstance(metrics, Mapping),
                f"`{curve.name}` must be a curve, one number a step; got one number. Stack what "
                "the steps returned, or return it from `jax.lax.scan`.",
            )
    runs = [
        (name, Run(over_all_steps([curve for curve in curves if curve.run == name])))
        for name in dict.fromkeys(curve.run for curve in curves)
    ]
    length = max(len(values) for _, run in runs for values in run.metrics.values())
    names = {name.rpartition("/")[2] for _, run in runs for name in run.metrics}
    notes = []
    if not names & {*rules_run.KNOWN}:
        notes.append(
            f"none of the metrics has a name that the rules know: {', '.join(rules_run.KNOWN)}."
        )
    subject = (
        f"{len(runs)} runs of {length:,} steps" if len(runs) > 1 else f"a run of {length:,} steps"
    )
    return applied("diagnose_run", subject, _for_each(runs, rules), runs, notes)


def _for_each(runs: Sequence[tuple[str, Run]], rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
    """The rules for one run as rules for several: each finding names its run."""
    if not isinstance(rules, Mapping):
        return rules  # `applied` refuses it

    def one(rule: Rule) -> Rule:
        def of_all(_: Any) -> Iterator[Finding]:
            for name, run in runs:
                for finding in rule(run) or ():
                    is_named = bool(name) and isinstance(finding, Finding)
                    yield (
                        replace(finding, seen=f"`{name}`: {finding.seen}") if is_named else finding
                    )

        return of_all

    return {name: one(rule) if callable(rule) else rule for name, rule in rules.items()}
