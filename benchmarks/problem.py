"""What every contender is given, and what it must compute.

The numbers are the same in every process: they come from a seed. The gradients have norm 3, so
that clipping to 1 does something. AdamW is compared with its formulas in float64; the other
optimizers are compared with each other.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from shapes import Shapes, size

LEARNING_RATE = 1e-3
B1 = 0.9
B2 = 0.999
EPS = 1e-8
WEIGHT_DECAY = 0.01
MAX_NORM = 1.0
GRADIENT_NORM = 3.0
LOSS = 2.0  # for the optimizers that read it

# The gradients of the steps that are checked, as multiples of the one that is timed. Powers of
# two, so that the multiplication is exact; the first is within the bound, the others are clipped.
FACTORS = (0.25, -1.0, 2.0)
# How far a parameter may be from the right one after these steps, as a fraction of the largest
# change in its array.
TOLERANCE = 1e-3

_BLOCK = 2**20
_CHUNK = 2**16
_SAMPLE = 2**12

Read = Callable[[str], np.ndarray]


def parameters(shapes: Shapes) -> dict[str, np.ndarray]:
    """The parameters before the first step, in float32."""
    return _numbers(shapes, seed=0, scale=0.02)


def gradients(shapes: Shapes, factor: float = 1.0) -> dict[str, np.ndarray]:
    """A multiple of the gradients of every timed step, in float32."""
    return _numbers(shapes, seed=1, scale=factor * GRADIENT_NORM / math.sqrt(size(shapes)))


def _numbers(shapes: Shapes, seed: int, scale: float) -> dict[str, np.ndarray]:
    # One block of random numbers, read from another place for each array: fast, and no two alike.
    block = np.random.default_rng(seed).standard_normal(_BLOCK, np.float32) * np.float32(scale)
    return {
        name: np.resize(block[997 * index :], shape)
        for index, (name, shape) in enumerate(shapes.items())
    }


def distance_from_adamw(shapes: Shapes, found: Read, *, clip: bool) -> float:
    """The distance of a contender's parameters from AdamW in float64, after `FACTORS`.

    Args:
      shapes: the arrays by name.
      found: the contender's array of that name.
      clip: whether the gradients are clipped to the global norm `MAX_NORM`.

    Returns:
      The largest over the arrays of the largest distance in it, as a fraction of the largest
      change in it.
    """
    params, grads = parameters(shapes), gradients(shapes)
    norm = math.sqrt(sum(_sum_of_squares(g) for g in grads.values()))
    scales = [f * (min(1.0, MAX_NORM / (abs(f) * norm)) if clip else 1.0) for f in FACTORS]
    largest = 0.0
    for name, shape in shapes.items():
        result = _in_shape(name, found(name), shape)
        pieces = zip(_chunks(params[name]), _chunks(grads[name]), _chunks(result), strict=True)
        far, change = 0.0, 0.0
        for p, g, computed in pieces:
            right = _adamw(p, g, scales)
            # Not `max`, which would lose a NaN.
            far = np.maximum(far, np.abs(right - computed).max())
            change = max(change, float(np.abs(right - p).max()))
        largest = np.maximum(largest, far / change)
    return float(largest)


def sampled_changes(shapes: Shapes, found: Read) -> dict[str, np.ndarray]:
    """How far some parameters of each array went; last, the root mean square of all of it."""
    before, changes = parameters(shapes), {}
    for name, shape in shapes.items():
        # Copied, so that the large array can go.
        change = np.ravel(_in_shape(name, found(name), shape)) - np.ravel(before[name])
        every = -(-change.size // _SAMPLE)
        rms = math.sqrt(_sum_of_squares(change) / change.size)
        changes[name] = np.append(change[::every].astype(np.float64), rms)
    return changes


def distance(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """How far two contenders' `sampled_changes` are apart, as `distance_from_adamw` counts."""
    largest = 0.0
    for name, right in theirs.items():
        far, change = np.abs(ours[name] - right).max(), np.abs(right).max()
        largest = np.maximum(largest, far / change if change else far)
    return float(largest)


def _in_shape(name: str, result: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if result.shape != shape:
        raise ValueError(f"{name} has shape {result.shape}, not {shape}")
    return result


def _sum_of_squares(x: np.ndarray) -> float:
    return sum(float(np.square(c).sum()) for c in _chunks(x))


def _chunks(x: np.ndarray) -> Iterator[np.ndarray]:
    """Pieces that fit into a cache, in float64."""
    flat = np.ravel(x)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK].astype(np.float64)


def _adamw(p: np.ndarray, g: np.ndarray, scales: list[float]) -> np.ndarray:
    """The parameters after steps with the gradients scale * g."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, scale in enumerate(scales, 1):
        m = B1 * m + (1 - B1) * scale * g
        v = B2 * v + (1 - B2) * np.square(scale * g)
        u = m / (1 - B1**t) / (np.sqrt(v / (1 - B2**t)) + EPS)
        p = p - LEARNING_RATE * (u + WEIGHT_DECAY * p)
    return p
