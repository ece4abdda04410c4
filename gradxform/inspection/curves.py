"""Schedules as curves: their values over a run, and the few points that draw them."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..core.hyperparams import Feedback, Tunable

Evaluate = Callable[[np.ndarray], np.ndarray]

CHUNK = 2**14  # steps that are evaluated at once: one shape, so one compilation
_MOST = 2**20  # steps that are evaluated before thinning
_BUCKETS = 512  # parts of a curve that are thinned by themselves, two points each at least
_CORNERS = 32  # points that are kept in each part at most


def evaluator(value: Any) -> Evaluate:
    """A number, a schedule, a tunable or a feedback as a function of arrays of steps.

    A tunable is what it starts as, and a feedback what it is before it has seen anything.
    """
    if isinstance(value, Tunable):
        value = value.value
    if not callable(value) and not isinstance(value, Feedback):
        constant = float(value)
        return lambda steps: np.full(steps.shape, constant)

    def at(step: jax.Array) -> Any:
        return value.value(value.init(), step) if isinstance(value, Feedback) else value(step)

    # A step at a time, as in training.
    compiled = jax.jit(jax.vmap(at))

    def evaluate(steps: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(steps), CHUNK):
            chunk = steps[start : start + CHUNK]
            padded = np.pad(chunk.astype(np.int32), (0, CHUNK - len(chunk)), mode="edge")
            parts.append(np.asarray(compiled(padded), np.float64)[: len(chunk)])
        return np.concatenate(parts)

    return evaluate


def curve(evaluate: Evaluate, last: int) -> tuple[np.ndarray, np.ndarray]:
    """The steps from 0 to `last` between which straight lines draw the values, and the values."""
    stride = -(-last // _MOST)
    steps = np.unique(np.append(np.arange(0, last, max(stride, 1)), last))
    values = evaluate(steps)
    kept = thinned(steps, values)
    if stride > 1:  # not all steps were looked at: look at those around the corners
        near = np.arange(-stride, stride + 1)
        steps = np.unique(np.clip(np.add.outer(steps[kept], near), 0, last))
        values = evaluate(steps)
        kept = thinned(steps, values)
    return steps[kept], values[kept]


def thinned(steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The places of the points between which straight lines stand for all, on either scale.

    The lines miss the rest by a millionth of the height at most, unless that takes more than some
    thousand points. Corners and jumps are where they are.
    """
    if not np.isfinite(values).all():
        return np.arange(len(values))
    magnitude = np.abs(values)
    floor = max(float(magnitude.max()) * 1e-6, float(np.finfo(np.float64).tiny))
    scales = [(y, _tolerance(y)) for y in (values, np.log(np.maximum(magnitude, floor)))]
    kept = [
        place
        for part in np.array_split(np.arange(len(values)), min(_BUCKETS, -(-len(values) // 2)))
        for y, tolerance in scales
        for place in _corners(steps, y, int(part[0]), int(part[-1]), tolerance)
    ]
    return np.unique(kept)


def _tolerance(y: np.ndarray) -> float:
    height, size = float(np.ptp(y)), float(np.abs(y).max())
    rounding = size * float(np.finfo(np.float32).eps)
    return max(1e-6 * height, 2.0 * rounding)


def _corners(x: np.ndarray, y: np.ndarray, low: int, high: int, tolerance: float) -> list[int]:
    """The ends, and where a line between two kept points is too far off, the farthest point."""
    kept, left = [low, high], [(low, high)]
    while left and len(kept) < _CORNERS:
        a, b = left.pop(0)
        inner = slice(a + 1, b)
        slope = (y[b] - y[a]) / max(x[b] - x[a], 1)
        off = np.abs(y[a] + slope * (x[inner] - x[a]) - y[inner])
        if len(off) and off.max() > tolerance:
            corner = a + 1 + int(off.argmax())
            kept.append(corner)
            left += [(a, corner), (corner, b)]
    return kept
