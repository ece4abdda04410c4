"""Schedules as a picture: what the hyperparameters will be, step by step."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optax

from ..core import check
from ..core.check import LONGEST
from ..core.extra import require_extra
from ..core.hyperparams import Feedback, Tunable
from ..core.recipe import written
from .curves import Evaluate, curve, evaluator
from .drawing import clean, label, line_style, one_line, words
from .legends import legend_above
from .live import live_hyperparams
from .schedule_lengths import horizon

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What has the axis on the left, where there is any: a schedule by itself is mostly a rate.
_RATES = {"learning_rate", "value"}


def plot_schedule(
    *schedules: Any,
    steps: int | None = None,
    ax: "Axes | None" = None,
    labels: Sequence[str] | None = None,
) -> "Axes":
    """Draw schedules over the steps of a run.

        plot_schedule(adamw(warmup(cosine_decay(1e-3, steps=9000), steps=1000)))

    Each step is looked at, and enough of them are drawn for corners, jumps and cycles to be where
    they are, on a linear and on a logarithmic axis: `plot_schedule(tx).set_yscale("log")`.

    Args:
      *schedules: functions of the step, this library's or others; numbers; and transformations, of
        which the learning rates are drawn, and every other hyperparameter that is scheduled, under
        the names that `hyperparams(state)` gives them. What is not a learning rate has its own
        scale on the right. A tunable is drawn as it starts, and what watches the training as it
        is before it has seen anything.
      steps: the last step. By default as far as it takes to see them all: until they stay as they
        are, or four cycles.
      ax: matplotlib axes to draw into; by default those of a new figure of pyplot.
      labels: one for each of the schedules, for the legend.

    Returns:
      The axes.

    Raises:
      ImportError: matplotlib is not installed; `pip install "gradxform[plot]"` brings it.
      ValueError: a schedule is infinite or NaN at some step.
    """
    require_extra("plot", "matplotlib")
    with check.calling("plot_schedule(...)"):
        lines = list(_lines(schedules, labels))
        if steps is None:
            ends = [line.horizon() for line in lines]
            steps = max(end for end, _ in ends)
            if all(settles for _, settles in ends):
                steps += steps // 20  # to see that it stays
        steps = check.Whole()("plot_schedule", "steps", steps)
        check.require(steps <= LONGEST, f"`steps` must be at most {LONGEST}; got {steps}.")
        curves = [line.curve(steps) for line in lines]

    figure = None
    if ax is None:
        from matplotlib import pyplot

        figure, ax = pyplot.subplots(layout="constrained")
    kinds = [line.kind for line in lines]
    left = {*_RATES} if _RATES & {*kinds} else {kinds[0]}
    right = ax.twinx() if {*kinds} - left else None
    drawn = []
    for index, (line, (x, y)) in enumerate(zip(lines, curves, strict=True)):
        color, dash = line_style(index)
        style: dict[str, Any] = {"color": color, "linestyle": dash, "linewidth": 1.7}
        if right is None or line.kind in left:
            drawn += ax.plot(x, y, label=label(line.text), **style)
        else:
            text = label(f"{line.text} (right)")
            drawn += right.plot(x, y, label=text, **{**style, "linestyle": "--"})
    clean(ax)
    ax.set(xlabel="step", ylabel=_kinds_in(kinds, left))
    if right is not None:
        clean(right)
        right.spines["right"].set_visible(True)
        right.grid(visible=False)
        right.set_ylabel(_kinds_in(kinds, {*kinds} - left))
    rows = legend_above(ax, drawn) if len(drawn) > 1 else 0
    if figure is not None:
        figure.set_size_inches(6.4, 3.4 + 0.2 * rows)
    return ax


def _kinds_in(kinds: list[str], wanted: set[str]) -> str:
    return ", ".join(words(kind) for kind in dict.fromkeys(kinds) if kind in wanted)


class _Line(NamedTuple):
    """One hyperparameter to be drawn."""

    text: str
    kind: str  # its name; that of a schedule outside of a transformation is not known
    value: Any
    evaluate: Evaluate

    def horizon(self) -> tuple[int, bool]:
        """The step at which all has been seen, and whether it stays from there on."""
        with self.telling():
            return horizon(self.value, self.evaluate)

    def curve(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """The steps and the values that draw it."""
        with self.telling():
            x, y = curve(self.evaluate, steps)
        bad = np.flatnonzero(~np.isfinite(y))
        check.require(
            not len(bad),
            f"`{self.text}` must be a finite number at every step; got "
            f"{', '.join(f'{y[i]} at step {x[i]}' for i in bad[:1])}.",
        )
        return x, y

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Name what could not be evaluated."""
        try:
            yield
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise check.Refusal(
                f"`{self.text}` must return a number for a step that is traced, as in a jitted "
                f"update; got {type(error).__name__}: {reason}"
            ) from error


def _lines(schedules: Sequence[Any], labels: Sequence[str] | None) -> Iterator[_Line]:
    check.require(len(schedules) > 0, "give at least one schedule or transformation.")
    if labels is not None and (isinstance(labels, str) or len(labels) != len(schedules)):
        raise check.Refusal(
            f"`labels` must be a list of {len(schedules)} strings, one for each schedule; got "
            f"{check.brief(labels)}."
        )
    several = len(schedules) > 1
    for index, value in enumerate(schedules):
        text = None if labels is None else labels[index]
        if isinstance(value, optax.GradientTransformation):
            yield from _lines_of(value, text or (_name_of(value) if several else None))
            continue
        is_known = isinstance(value, Feedback | Tunable) or callable(value)
        if not is_known:
            value = check.Interval()("plot_schedule", f"schedules[{index}]", value)
        yield _line(text or one_line(value, 60), "value", value)


def _lines_of(tx: optax.GradientTransformation, text: str | None) -> Iterator[_Line]:
    found = {
        key: value
        for key, value in sorted(live_hyperparams(tx).items(), key=_rates_first)
        if _name(key) == "learning_rate" or isinstance(value, Feedback) or callable(value)
    }
    check.require(
        len(found) > 0,
        f"{one_line(tx, 60)} has no learning rate and no schedule that is known. (Of Optax's "
        "transformations none is; pass their schedules.)",
    )
    for key, value in found.items():
        whole = f"{text}: {key}" if text and len(found) > 1 else text or key
        yield _line(whole, _name(key), value)


def _line(text: str, kind: str, value: Any) -> _Line:
    return _Line(text, kind, value, evaluator(value))


def _name_of(tx: optax.GradientTransformation) -> str | None:
    return written(tx.recipe.factory) if hasattr(tx, "recipe") else None


def _rates_first(item: tuple[str, Any]) -> bool:
    return _name(item[0]) not in _RATES


def _name(key: str) -> str:
    return key.rpartition("/")[2]
