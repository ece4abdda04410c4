"""Rules about learning rates over the run: where they start, and where they end."""

import math
from collections.abc import Iterator

import numpy as np

from .block_kinds import ADAPTIVE, SIGNS
from .diagnose_context import Block, Context
from .findings import Finding
from .schedule_lengths import written_lengths

LARGE_MODEL = 50_000_000  # parameters from which on a warmup is due, whatever the model
_SCHEDULES = "Defazio et al., 2023, https://arxiv.org/abs/2310.07831"
_LENGTH = "Hoffmann et al., 2022, appendix B, https://arxiv.org/abs/2203.15556"
# They find the length of their steps, or warm up, by themselves.
_WARM_THEMSELVES = frozenset(("scale_by_radam", "scale_by_prodigy", "scale_by_dadapt_adam"))


def no_warmup(context: Context) -> Iterator[Finding]:
    """A transformer, or a large model, that starts at the full learning rate."""
    due = context.model == "transformer" or context.size >= LARGE_MODEL
    for route in context.routes if due else ():
        scaling = route.first((ADAPTIVE | SIGNS) - _WARM_THEMSELVES)
        rate = context.rate(route)
        if scaling is None or rate is None or not route.known or route.has(*_WARM_THEMSELVES):
            continue
        peak = float(np.max(rate.values))
        if peak > 0.0 and rate.values[0] > 0.5 * peak:
            model = "a transformer" if context.model == "transformer" else "a model"
            yield Finding(
                severity="warning",
                seen=f"{model} of {context.size:,} parameters, {route.blocks[scaling]}, and a "
                f"learning rate of {rate.values[0]:.3g} at the first step, with a peak of "
                f"{peak:.3g}",
                why="The second moments of the first steps are those of a few gradients, and the "
                "gradients of attention are large then: at a full learning rate the first steps "
                "can end in divergence, or in a plateau that the training does not leave.",
                instead="`warmup(schedule, steps=...)` around the schedule: hundreds or thousands "
                "of steps, a few percent of the run; or `radam`.",
                reference="Xiong et al., 2020, https://arxiv.org/abs/2002.04745",
            )


def warmup_longer_than_run(context: Context) -> Iterator[Finding]:
    """A run that ends before its learning rate has reached the peak."""
    for block, _, lengths in context.rates():
        steps = context.steps_of(block)
        if steps is not None and lengths.rise >= steps:
            yield Finding(
                severity="error",
                seen=f"a warmup of {lengths.rise:,} steps in a run of {_run(context, block, steps)}"
                f": {block}",
                why="The learning rate never arrives at the value that was chosen.",
                instead="a warmup of a few percent of the run: `warmup(..., "
                "steps=fraction(0.05, of=...))`.",
            )


def schedule_ends_before_run(context: Context) -> Iterator[Finding]:
    """A learning rate that has arrived at its end long before the run has."""
    for block, value, lengths in context.rates():
        steps = context.steps_of(block)
        curve = context.curve(value, block)
        if steps is None or curve is None or not np.any(curve.values):
            continue
        end, last = lengths.end, float(curve.values[-1])
        falls = lengths.arrives and last < 0.5 * float(np.max(curve.values))
        if end is not None and 0 < end < 0.95 * steps and (falls or last == 0.0):
            yield Finding(
                severity="error" if last == 0.0 else "warning",
                seen=f"a schedule that ends at step {end:,} of {_run(context, block, steps)}: "
                f"{block}",
                why=f"From there on the learning rate is {last:.3g}: the rest of the run costs "
                "time and " + ("changes nothing." if last == 0.0 else "hardly changes anything."),
                instead="a schedule as long as the run, warmup and decay together; parts of the "
                "run stay right when it changes: `cosine_decay(1e-3, steps=fraction(0.95, "
                "of=...))`.",
                reference=_SCHEDULES,
            )


def schedule_ends_after_run(context: Context) -> Iterator[Finding]:
    """A run that stops while the learning rate is still on its way down."""
    for block, value, lengths in context.rates():
        steps = context.steps_of(block)
        curve = context.curve(value, block)
        if steps is None or curve is None:
            continue
        left = curve.values[-1] / (float(np.max(curve.values)) or 1.0)
        late = lengths.arrives and (lengths.end or 0) > 1.1 * steps and left > 0.05
        missed = [drop for drop in lengths.drops if drop >= steps]
        rising = lengths.rise >= steps  # the rule of the warmup says so
        text = ""
        if late and not rising:
            text = f"a schedule of {lengths.end:,} steps"
        elif missed and len(missed) == len(lengths.drops):
            text = f"a schedule whose first drop is at step {missed[0]:,}"
        elif lengths.period is not None and left > 0.5 and not rising:
            text = f"a schedule whose cycles begin with one of {lengths.period:,} steps"
        if text:
            yield Finding(
                severity="warning",
                seen=f"{text} in a run of {_run(context, block, steps)}, which ends at "
                f"{100 * left:.0f} % of the peak: {block}",
                why="Much of what a decay gains comes with its end. A run that stops before it "
                "is worse than one whose schedule is as long as it is.",
                instead="a schedule as long as the run; for a run whose length is not known, "
                "`warmup_stable_decay`, whose plateau can be prolonged, or `schedule_free`.",
                reference=_LENGTH,
            )


def learning_rate_is_zero(context: Context) -> Iterator[Finding]:
    """A learning rate that is 0 all the time."""
    for block, value, _ in context.rates():
        curve = context.curve(value, block)
        if curve is not None and not np.any(curve.values):
            yield Finding(
                severity="error",
                seen=f"{block}: the learning rate is 0 at every step",
                why="Nothing is trained.",
                instead="a learning rate above 0; `freeze(tx, mask)` for what is to stay, which "
                "saves its state as well.",
            )


def decay_under_schedule_free(context: Context) -> Iterator[Finding]:
    """A learning rate that falls where an average takes the place of falling."""
    for block, value, _ in context.rates():
        curve = context.curve(value, block)
        if curve is None or not block.inside("schedule_free"):
            continue
        if curve.values[-1] < 0.5 * float(np.max(curve.values)):
            yield Finding(
                severity="warning",
                seen=f"{block} inside of `schedule_free(...)`",
                why="The average that schedule-free training keeps is what a decay is otherwise "
                "for. With both, the average moves on steps that have become short.",
                instead="a constant learning rate, behind a warmup: `warmup(1e-3, steps=...)`.",
                reference="Defazio et al., 2024, https://arxiv.org/abs/2405.15682",
            )


def batch_size_changed_without_rate(context: Context) -> Iterator[Finding]:
    """Epochs of another length than these examples have in batches of this size."""
    if context.batch_size is None or context.examples is None:
        return
    for block, value, _ in context.rates():
        sizes = (x.recipe.arguments.get("steps_per_epoch") for x in written_lengths(value))
        for counted in dict.fromkeys(sizes):
            calls = context.calls_a_step(block)
            if counted is None or calls is None:
                continue
            steps = context.examples / (context.batch_size * calls)
            if math.floor(steps) <= counted <= math.ceil(steps):
                continue
            meant = context.examples / counted / calls
            factor = context.batch_size / meant
            if not 0.8 <= factor <= 1.25:
                yield Finding(
                    severity="warning",
                    seen=f"an epoch of {counted:g} steps, that is batches of {meant:.0f} of the "
                    f"{context.examples:,} examples; the batches have {context.batch_size}: "
                    f"{block}",
                    why=f"The schedule is {max(factor, 1 / factor):.3g} times too "
                    f"{'long' if factor > 1 else 'short'}. And a learning rate belongs to a batch "
                    "size: with another batch the noise in the gradient is another.",
                    instead=f"`steps_per_epoch={max(math.floor(steps), 1)}`, and "
                    f"`linear_scaling_rule(rate, {context.batch_size}, {meant:.0f})` for SGD, "
                    "`square_root_scaling_rule` for Adam and its relatives.",
                    reference="Goyal et al., 2017, https://arxiv.org/abs/1706.02677",
                )


def _run(context: Context, block: Block, steps: int) -> str:
    if steps == context.total_steps:
        return f"{steps:,}"
    return f"{steps:,} ({context.total_steps:,} calls, of which `accumulate` emits {steps:,})"
