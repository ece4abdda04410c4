"""Rules about the curves of a training run."""

from collections.abc import Iterator

import numpy as np

from .findings import Finding, listing
from .run_curves import Run, late, smoothed

KNOWN = (
    "loss",
    "validation_loss",
    "learning_rate",
    "gradient_norm",
    "clipped_norm",
    "clip_fraction",
    "update_norm",
    "param_norm",
    "update_ratio",
    "update_cosine",
    "zero_fraction",
    "nonfinite_fraction",
    "skipped_steps",
    "loss_scale",
)
FEW = 20  # values that a rule needs to speak of a run
_SPIKE = 10.0  # times the usual deviation
_CLIPPING = "Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063"
_MIXED = "Micikevicius et al., 2018, https://arxiv.org/abs/1710.03740"


def nonfinite_values(run: Run) -> Iterator[Finding]:
    """Infinite values, and a loss that was measured and is not any more."""
    for name in ("loss", "validation_loss", "gradient_norm", "update_norm", "param_norm"):
        for key, values in run.named(name):
            step = _lost(values)
            if step is not None:
                yield _nonfinite(f"`{key}` is not finite from step {step:,} on")
    for key, values in run.named("nonfinite_fraction"):
        steps = np.flatnonzero(values > 0.0)
        if steps.size:
            yield _nonfinite(
                f"`{key}` is above 0 at {steps.size:,} of {len(values):,} steps, first at step "
                f"{steps[0]:,}"
            )


def loss_diverged(run: Run) -> Iterator[Finding]:
    """A loss that ends above its start."""
    loss = run.whole("loss")
    measured = np.zeros(0) if loss is None else loss[np.isfinite(loss)]
    if measured.size >= FEW:
        few = max(measured.size // 20, 1)
        start, end = float(np.median(measured[:few])), float(np.median(measured[-few:]))
        if end > start and end - start > 0.1 * abs(start):
            yield Finding(
                severity="error",
                seen=f"the loss went from {start:.3g} to {end:.3g}",
                why="The training made the model worse than it was.",
                instead="a smaller learning rate (a third of it, again until the loss falls), a "
                "warmup, `clip_by_global_norm(1.0)`; and the sign: `diagnose(tx, params)`.",
            )


def loss_scale_at_floor(run: Run) -> Iterator[Finding]:
    """A loss scale that has been halved until there was nothing left to halve."""
    for key, values in run.named("loss_scale"):
        end = late(values, 0.1)
        start = values[np.isfinite(values)][:1]
        if end.size and np.all(end <= 1.0) and start > 1.0:
            yield Finding(
                severity="error",
                seen=f"`{key}` fell from {float(start[0]):,.0f} to {float(end[-1]):g}",
                why="Gradients are not finite whatever the scale: something else makes them so, "
                "and with a scale of 1 small gradients are lost in float16.",
                instead="look for what overflows (a sum or a softmax in float16, a division by 0) "
                "and compute it in float32; or bfloat16, which needs no scale.",
                reference=_MIXED,
            )


def skipped_steps(run: Run) -> Iterator[Finding]:
    """Updates that were left out more often than now and then."""
    for key, values in run.named("skipped_steps"):
        measured = values[np.isfinite(values)]
        if len(values) >= FEW and measured.size and measured[-1] > 0.05 * len(values):
            yield Finding(
                severity="warning",
                seen=f"`{key}`: {measured[-1]:,.0f} of {len(values):,} steps",
                why="A guard is for rare accidents. What is left out so often is data that is "
                "never learned from.",
                instead="a smaller learning rate or a longer warmup, clipping in front, or a look "
                "at the batches that are skipped.",
            )


def spikes(run: Run) -> Iterator[Finding]:
    """Single steps with a loss or gradients far above those around them."""
    for name in ("loss", "gradient_norm"):
        for key, values in run.named(name):
            steps = _spikes(values)
            if steps.size:
                first = ", ".join(f"{step:,}" for step in steps[:4])
                more = f" and {steps.size - 4} more" if steps.size > 4 else ""
                yield Finding(
                    severity="warning",
                    seen=f"`{key}` far above the steps around it at step {first}{more}: "
                    f"{values[steps[0]]:.3g} at the first",
                    why="A batch or an instability threw the training back; with adaptive scaling "
                    "the averages remember it.",
                    instead="`clip_by_global_norm` at about the usual norm, `skip_spikes`, a "
                    "longer warmup, or a smaller b2 (0.95), which forgets sooner.",
                    reference=_CLIPPING,
                )


def update_ratio_too_large(run: Run) -> Iterator[Finding]:
    """Updates of more than a hundredth of the parameters a step."""
    for key, values in run.named("update_ratio"):
        middle = run.middle(values)
        if middle.size >= FEW and np.median(middle) > 1e-2:
            yield Finding(
                severity="warning",
                seen=f"`{key}`: {np.median(middle):.2g} at the median",
                why="The parameters change by that part of themselves at each step; about 1e-3 is "
                "healthy. What one batch taught is gone some batches later.",
                instead=f"a learning rate about {np.median(middle) / 1e-3:.0f} times smaller"
                f"{_of_group(key)}.",
            )


def update_ratio_too_small(run: Run) -> Iterator[Finding]:
    """Updates of less than a hundred-thousandth of the parameters a step."""
    for key, values in run.named("update_ratio"):
        middle = run.middle(values)
        if middle.size >= FEW and 0.0 < np.median(middle) < 1e-5:
            yield Finding(
                severity="warning",
                seen=f"`{key}`: {np.median(middle):.2g} at the median",
                why="The parameters change by that part of themselves at each step; about 1e-3 is "
                "healthy. The training hardly moves, and in 16 bits not at all.",
                instead=f"a learning rate about {1e-3 / np.median(middle):.0f} times larger"
                f"{_of_group(key)}.",
            )


def steps_go_back_and_forth(run: Run) -> Iterator[Finding]:
    """Consecutive updates that point against each other."""
    for key, values in run.named("update_cosine"):
        middle = run.middle(values)
        if middle.size >= FEW and np.median(middle) < -0.3:
            yield Finding(
                severity="warning",
                seen=f"`{key}`: {np.median(middle):.2f} at the median",
                why="Each step takes back what the one before did: the training jumps from one "
                "side of a valley to the other.",
                instead=f"a smaller learning rate{_of_group(key)}, or more momentum.",
            )


def clipping_on_nearly_every_step(run: Run) -> Iterator[Finding]:
    """A bound below the usual norm."""
    parts = {key: late(values) for key, values in run.named("clip_fraction")}
    for key, norm in run.named("gradient_norm"):
        clipped = run.metrics.get(key.replace("gradient_norm", "clipped_norm"))
        place = key.replace("gradient_norm", "clip_fraction")
        if clipped is not None and len(clipped) == len(norm) and place not in run.metrics:
            both = np.isfinite(norm) & np.isfinite(clipped)
            parts[place] = late(np.where(both, clipped < 0.999 * norm, np.nan))
    for key, part in parts.items():
        if part.size >= FEW and np.mean(part) > 0.9:
            norms = run.metrics.get(key.replace("clip_fraction", "gradient_norm"))
            usual = "" if norms is None or not late(norms).size else float(np.median(late(norms)))
            yield Finding(
                severity="hint",
                seen=f"`{key}`: {100 * np.mean(part):.0f} % of the steps are clipped",
                why="Clipping is a guard against accidents. On every step it is a normalization "
                "of the gradient: its length no longer counts, and with SGD the bound is a part "
                "of the learning rate.",
                instead="a bound above the usual norm"
                + (f", which is {usual:.3g}" if usual != "" else "")
                + "; or `normalize_by_global_norm`, if that is what is meant.",
                reference=_CLIPPING,
            )


def _nonfinite(seen: str) -> Finding:
    return Finding(
        severity="error",
        seen=seen,
        why="A NaN or an infinity in one gradient is in every weight one step later.",
        instead="`skip_nonfinite(tx)` or `clip_by_global_norm(1.0, on_nonfinite='zero')` against "
        "single accidents; `dynamic_loss_scale(tx)` in float16; a smaller learning rate or a "
        "warmup where the loss grew before; `jax.config.update('jax_debug_nans', True)` finds the "
        "place.",
    )


def _lost(values: np.ndarray) -> int | None:
    """The first step that is infinite, or from which on nothing was measured any more."""
    infinite = np.flatnonzero(np.isinf(values))
    measured = np.flatnonzero(np.isfinite(values))
    if infinite.size:
        return int(infinite[0])
    if not measured.size:
        return 0
    # Gaps of the usual length are steps without a measurement.
    usual = int(np.max(np.diff(measured))) if measured.size > 1 else 1
    end = len(values) - 1 - measured[-1]
    return int(measured[-1]) + 1 if end > 2 * usual else None


def _spikes(values: np.ndarray, window: int = 25) -> np.ndarray:
    """The steps at which a curve is far above its neighbours."""
    at = np.flatnonzero(np.isfinite(values))
    if at.size < 2 * window:
        return np.zeros(0, int)
    measured = values[at]
    usual = smoothed(measured, window)
    off = measured - usual
    deviation = 1.4826 * smoothed(np.abs(off), window)
    high = (off > _SPIKE * deviation) & (off > 0.5 * np.abs(usual))
    high[: window // 2] = False  # a steep start is no spike
    return at[high]


def _of_group(key: str) -> str:
    place = key.rpartition("/")[0]
    return f" for {listing([place])}, in a group of its own" if place else ""
