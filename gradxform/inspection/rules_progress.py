"""Rules about a training run that goes on without getting anywhere, or not for all parameters."""

from collections.abc import Iterator

import numpy as np

from .findings import Finding
from .rules_run import FEW
from .run_curves import Run, late, smoothed


def learning_rate_never_moved(run: Run) -> Iterator[Finding]:
    """A learning rate that is the same at every step."""
    for key, values in run.named("learning_rate"):
        measured = values[np.isfinite(values)]
        if measured.size >= 100 and np.all(measured == measured[0]):
            yield Finding(
                severity="hint",
                seen=f"`{key}` is {measured[0]:.3g} at all of {measured.size:,} steps",
                why="Most of what a schedule gains comes with the decay at its end: the noise of "
                "a constant learning rate stays in the weights.",
                instead="`warmup(cosine_decay(rate, steps=...), steps=...)`, `reduce_on_plateau`, "
                "or an average of the weights: `ema_params`, `schedule_free`. If a schedule was "
                "meant: is it in the optimizer that runs?",
            )


def dead_groups(run: Run) -> Iterator[Finding]:
    """Parameters that get no gradient, or no update."""
    dead: dict[str, str] = {}
    for name in ("gradient_norm", "update_norm"):
        for key, values in run.named(name):
            end = late(values)
            if end.size and np.all(end == 0.0):
                dead.setdefault(key.rpartition("/")[0], f"`{key}` is 0")
    for key, values in run.named("zero_fraction"):
        end = late(values)
        if end.size and np.min(end) > 0.99:
            part = f"`{key}` is above {100 * np.min(end):.0f} %"
            dead.setdefault(key.rpartition("/")[0], part)
    if dead:
        yield Finding(
            severity="error" if "" in dead else "warning",
            seen=f"{'; '.join(list(dead.values())[:4])} over the last half of the run"
            + (f"; {len(dead) - 4} more" if len(dead) > 4 else ""),
            why="These parameters are not trained: they are frozen, cut off from the loss, or "
            "behind units that are 0 for every example.",
            instead="if it is meant, `freeze(tx, mask)`, which saves their state; else look for a "
            "`stop_gradient`, for dead ReLUs (a smaller learning rate, another initialization), "
            "for examples that never use them (rows of an embedding).",
        )


def gradients_change_with_depth(run: Run) -> Iterator[Finding]:
    """Gradients that shrink or grow from layer to layer."""
    for layers in run.layers("gradient_norm"):
        norms = np.array([median for _, median in layers])
        if len(layers) < 3 or not np.all(norms > 0.0):
            continue
        logs = np.log10(norms)
        change = logs[-1] - logs[0]
        steady = np.corrcoef(np.arange(len(logs)), logs)[0, 1] if np.ptp(logs) else 0.0
        if abs(change) > 3.0 and abs(steady) > 0.8:
            first, last = layers[0], layers[-1]
            vanish = change > 0.0
            yield Finding(
                severity="warning",
                seen=f"the norm of the gradients goes from {last[1]:.2g} in `{last[0]}` to "
                f"{first[1]:.2g} in `{first[0]}`, over {len(layers)} layers",
                why=f"Gradients {'vanish' if vanish else 'explode'} on their way back through the "
                f"layers: {'the first ones hardly learn' if vanish else 'the first ones jump'}. "
                "It is the model's doing, and no learning rate is right for all layers.",
                instead="normalization and residual connections, another initialization, gates in "
                "a recurrent net; an adaptive optimizer or `lamb` hides a part of it.",
                reference="Glorot & Bengio, 2010, https://proceedings.mlr.press/v9/glorot10a.html",
            )


def training_and_validation_part(run: Run) -> Iterator[Finding]:
    """A validation loss that rises while the training loss falls."""
    loss, validation = run.whole("loss"), run.whole("validation_loss")
    if loss is None or validation is None or len(loss) != len(validation):
        return
    at = np.flatnonzero(np.isfinite(validation))
    train_at = np.flatnonzero(np.isfinite(loss))
    if at.size < 5 or train_at.size < FEW:
        return
    judged = smoothed(validation[at], min(5, at.size))
    best = int(np.argmin(judged))
    train = smoothed(loss[train_at], max(train_at.size // 50, 1))
    then = train[np.searchsorted(train_at, at[best]).clip(max=len(train) - 1)]
    gained, lost = float(then - train[-1]), float(judged[-1] - judged[best])
    span = float(np.max(judged) - np.min(judged))
    if at[best] < 0.8 * at[-1] and gained > 0.02 * abs(then) and lost > max(0.05 * span, 1e-12):
        yield Finding(
            severity="warning",
            seen=f"since step {at[best]:,} the validation loss rose from {judged[best]:.3g} to "
            f"{judged[-1]:.3g}, and the training loss fell from {then:.3g} to {train[-1]:.3g}",
            why="The optimizer does what it is asked: it still lowers the training loss. What no "
            "longer gets better is what the model does with new examples.",
            instead=f"stop there (`early_stopping`; the weights of step {at[best]:,}), more "
            "weight decay, more data or augmentation, or a smaller model. Another optimizer will "
            "not help.",
        )
