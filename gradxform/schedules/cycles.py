"""Schedules that go up and down: restarts, cycles, and one cycle with its momentum."""

from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..core import check
from ..core.arguments import Number
from ..core.check import LONGEST
from ..core.lengths import Every, Period, Steps
from ..core.schedule import schedule
from .piecewise import through
from .shapes import Form, Shape, as_number, cycle, mixed, passed, power_of

# A factor that keeps or shrinks, a part of a whole, a momentum, a growth of lengths.
Shrink = Annotated[Any, check.Interval(low=0.0, low_open=True, high=1.0)]
Part = Annotated[
    float, check.Known(check.Interval(low=0.0, low_open=True, high=1.0, high_open=True))
]
Momentum = Annotated[Any, check.Interval(low=0.0, high=1.0, high_open=True)]
Growth = Annotated[float, check.Known(check.Interval(low=1.0))]


@schedule
def cosine_restarts(
    value: Number,
    steps: Every,
    multiplier: Growth = 1.0,
    peak_factor: Shrink = 1.0,
    end: Number = 0.0,
) -> Form:
    """Half a cosine wave from `value` to `end`, again and again, without an end (SGDR).

    The step of a restart has the new cycle's peak; `end` is approached, never used.

    Args:
      value: the peak of the first cycle, at step 0.
      steps: how many steps the first cycle takes.
      multiplier: each cycle is so many times longer than the one before: 1, or from 1.01 on. The
        restarts fall on whole steps.
      peak_factor: what each restart multiplies the height of the peak above `end` by.
      end: the floor.

    Raises:
      ValueError: a `multiplier` that is neither 1 nor at least 1.01.

    Reference: Loshchilov & Hutter, 2017, section 3, https://arxiv.org/abs/1608.03983
    """
    check.require(
        multiplier == 1.0 or multiplier >= 1.01,
        f"`multiplier` must be 1, or at least 1.01; got {multiplier}.",
    )
    starts, lengths = _cycles(steps, multiplier)

    def at(t: Array) -> Array:
        if multiplier == 1.0:
            number, inside, turn = cycle(t, steps)
            length = as_number(steps.lengths)[turn]
        else:
            number = passed(starts, t) - 1
            inside = t - jnp.asarray(starts, t.dtype)[number]
            length = as_number(lengths)[number]
        position = as_number(inside)
        left = jnp.where(position > 0, (length - position) / length, 1.0)
        height = power_of(peak_factor, as_number(number))
        peak = value * height + end * (1.0 - height)
        return mixed(peak, end, left, position / length, "cosine")

    return at


def _cycles(period: Period, multiplier: float) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The steps at which the cycles begin, and how long they are, up to the last step there is."""
    starts, length = [0.0], period.steps / len(period.starts)
    while multiplier > 1.0 and starts[-1] <= LONGEST:
        starts.append(starts[-1] + length)
        length *= multiplier
    whole = np.round(starts)
    return tuple(int(x) for x in whole[:-1]), tuple(float(x) for x in np.diff(whole))


@schedule
def cyclic(
    start: Number,
    peak: Number,
    steps: Every,
    rise: Part = 0.5,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    factor: Shrink | None = None,
) -> Form:
    """A line up from `start` to `peak` and a line down again, without an end (CLR).

    A `peak` below `start` gives the cycles of the momentum.

    Args:
      start: the value at step 0 and between the cycles.
      peak: the value at the top of the first cycle.
      steps: how many steps a cycle takes: two of the paper's `stepsize`.
      rise: the part of a cycle that goes up, in (0, 1).
      mode: "triangular" keeps the height, "triangular2" halves it with each cycle, "exp_range"
        multiplies it by `factor` at each step.
      factor: for "exp_range": at most 1, such as 0.9999.

    Raises:
      ValueError: `factor` without `mode="exp_range"`, or this mode without it.

    Reference: Smith, 2017, section 3, https://arxiv.org/abs/1506.01186
    """
    check.require(
        (mode == "exp_range") == (factor is not None),
        "`factor` belongs to `mode='exp_range'`: give both or neither.",
    )
    rises, falls = ([part * n for n in steps.lengths] for part in (rise, 1.0 - rise))

    def value(t: Array) -> Array:
        number, inside, turn = cycle(t, steps)
        position, length = as_number(inside), as_number(steps.lengths)[turn]
        up, down = as_number(rises)[turn], as_number(falls)[turn]
        way = jnp.where(position <= up, position / up, (length - position) / down)
        if mode == "triangular2":
            way = way * power_of(0.5, as_number(number))
        elif mode == "exp_range":
            way = way * power_of(factor, as_number(t))
        return mixed(start, peak, 1.0 - way, way, "linear")

    return value


@schedule
def one_cycle(
    peak: Number,
    steps: Steps,
    start: Number | None = None,
    end: Number | None = None,
    *,
    rise: Part = 0.3,
    shape: Shape = "cosine",
    three_phase: bool = False,
) -> Form:
    """One rise to a high peak and one long fall far below the start (super-convergence).

    Two phases, up to the peak and down to `end`; or the paper's three: up, down to `start` as
    fast, and from there to `end`. As in every schedule, step 0 has `start`, and step `steps` has
    `end`, which stays; the peak is at rise steps, which need not be whole. So it is in optax.
    torch's `OneCycleLR(total_steps=n)` reaches its end with the last of n updates, a step earlier:
    it is `one_cycle(peak, n - 1, rise=(pct_start * n - 1) / (n - 1))`.

    `sgd(one_cycle(peak, steps), momentum=one_cycle_momentum(steps))` moves the momentum down while
    the learning rate goes up.

    Args:
      peak: the highest value.
      steps: how many steps the cycle takes.
      start: the value at step 0; by default peak / 25 (torch's `div_factor`).
      end: the last value; by default start / 10,000 (torch's `final_div_factor`).
      rise: the part of the steps in which the value rises (torch's `pct_start`).
      shape: of the phases.
      three_phase: whether the fall is two phases.

    Reference: Smith & Topin, 2018, https://arxiv.org/abs/1708.07120
    """
    knots = _phases(steps, rise, three_phase)
    start = peak / 25.0 if start is None else start
    end = start / 1e4 if end is None else end
    values = (start, peak, start, end) if three_phase else (start, peak, end)
    return lambda t: through(knots, values, t, shape)


@schedule
def one_cycle_momentum(
    steps: Steps,
    high: Momentum = 0.95,
    low: Momentum = 0.85,
    *,
    rise: Part = 0.3,
    shape: Shape = "cosine",
    three_phase: bool = False,
) -> Form:
    """The momentum of one cycle: from `high` down to `low` at the peak, and back.

    With the same `steps`, `rise`, `shape` and `three_phase` it is the mirror image of `one_cycle`,
    as in torch's `OneCycleLR(cycle_momentum=True)`. In the third phase it stays at `high`.

    Args:
      steps: how many steps the cycle takes.
      high: the value at the ends, in [0, 1).
      low: the value at the learning rate's peak, in [0, 1).
      rise: the part of the steps in which the learning rate rises.
      shape: of the phases.
      three_phase: whether the learning rate's fall is two phases.

    Raises:
      ValueError: `low` above `high`.

    Reference: Smith, 2018, section 4.3, https://arxiv.org/abs/1803.09820
    """
    known = isinstance(high, float) and isinstance(low, float)
    check.require(not known or low <= high, f"`low` must be at most `high`; got {low} and {high}.")
    knots = _phases(steps, rise, three_phase)[:3]
    return lambda t: through(knots, (high, low, high), t, shape)


def _phases(steps: int, rise: float, three_phase: bool) -> tuple[float, ...]:
    """The steps at which the phases of one cycle begin and end."""
    top, last = rise * steps, float(steps)
    check.require(
        not three_phase or 2.0 * top < last,
        f"two phases of {rise:g} of the steps leave none for the third: `rise` must be below 0.5.",
    )
    return (0.0, top, 2.0 * top, last) if three_phase else (0.0, top, last)
