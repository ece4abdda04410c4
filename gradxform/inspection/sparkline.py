"""A schedule as a picture of the size of a word, in SVG."""

import html
from typing import Any

import numpy as np

from .curves import evaluator
from .drawing import short
from .schedule_lengths import horizon

_WIDTH, _HEIGHT = 96, 18
_POINTS = 48  # places across the picture; at each the lowest and the highest value are drawn


def sparkline(value: Any) -> str:
    """An SVG picture of a schedule and its values in words; empty where it cannot be evaluated."""
    try:
        evaluate = evaluator(value)
        end, settles = horizon(value, evaluate)
        last = end + end // 20 if settles else end  # to see that it stays
        steps = np.unique(np.linspace(0, last, 64 * _POINTS).round()).astype(np.int64)
        values = evaluate(steps)
    except Exception:  # whatever a function of the user's does: a table is shown without it
        return ""
    if not np.isfinite(values).all():
        return "<i>not finite at every step</i>"
    text = html.escape(_in_words(values, end, settles))
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    return (
        f'<span class="gx-curve"><svg {size} role="img"><title>{text}</title>'
        f'<polyline points="{_points(steps, values)}"/></svg> <small>{text}</small></span>'
    )


def _points(steps: np.ndarray, values: np.ndarray) -> str:
    height = float(np.ptp(values))
    way = (values - values.min()) / height if height else np.full(values.shape, 0.5)
    x = np.round(1 + (_WIDTH - 2) * steps / steps[-1]).astype(int)
    y = np.round((_HEIGHT - 2) * (1.0 - way) + 1, 1)
    points: list[tuple[int, float]] = []
    for column in np.array_split(np.arange(len(steps)), min(_POINTS, len(steps))):
        inside = (0, int(y[column].argmin()), int(y[column].argmax()), len(column) - 1)
        points += [(int(x[i]), float(y[i])) for i in column[sorted({*inside})]]
    # What lies within a horizontal line draws nothing.
    kept = [
        point
        for i, point in enumerate(points)
        if not 0 < i < len(points) - 1 or not points[i - 1][1] == point[1] == points[i + 1][1]
    ]
    return " ".join(f"{px},{py:g}" for px, py in dict.fromkeys(kept))


def _short(number: float) -> str:
    number = float(f"{number:.3g}")
    if number == 0 or abs(number) >= 1e-3:
        return short(number)
    digits, _, exponent = f"{number:.2e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def _in_words(values: np.ndarray, length: int, settles: bool) -> str:
    """Where it begins, the farthest it goes, where it ends, and how long that takes."""
    first, last = values[0], values[-1]
    low, high = values.min(), values.max()
    if low == high:
        return f"{_short(first)} at every step"
    turn = next(
        (v for v in (high, low) if not np.isclose(v, (first, last), rtol=1e-2, atol=0).any()), None
    )
    way = " → ".join(map(_short, [first, *([] if turn is None else [turn]), last]))
    about = int(float(f"{length:.2g}"))
    steps = f"{about:,} steps" if about > 1 else "1 step"
    return f"{way} in {steps}" + ("" if settles else ", and on")
