"""The schedules: `(t, **arguments) -> value`, for one step t at a time."""

import math


def at(value, t):
    """The value of a number or a schedule at step t."""
    return value(t) if callable(value) else value


def constant_schedule(t, value):
    return value


def linear_schedule(t, start, end, steps):
    return start + (end - start) * min(t, steps) / steps


def cosine_decay(t, value, steps, end=0.0):
    """Loshchilov & Hutter 2017, equation 5, for one period."""
    return end + (value - end) * (1 + math.cos(math.pi * min(t, steps) / steps)) / 2


def exponential_decay(t, value, steps, factor, end=None):
    now = value * factor ** (t / steps)
    if end is None:
        return now
    return max(now, end) if end <= value else min(now, end)


def polynomial_decay(t, value, steps, power=1.0, end=0.0):
    return end + (value - end) * (1 - min(t, steps) / steps) ** power


def inverse_time_decay(t, value, steps, power=1.0):
    return value / (1 + t / steps) ** power


def inverse_sqrt_decay(t, value, steps):
    """Vaswani 2017, equation 3, after the warmup, with value = d_model^-0.5 steps^-0.5."""
    return value * steps**0.5 / (steps + t) ** 0.5


def step_decay(t, value, factor=0.1, every=None, boundaries=None):
    drops = t // every if every else sum(t >= boundary for boundary in boundaries)
    return value * factor**drops


def piecewise_constant(t, values, boundaries):
    return values[sum(t >= boundary for boundary in boundaries)]


def piecewise_interpolate(t, values, boundaries, shape="linear"):
    knots = [0, *boundaries]
    k = sum(t >= boundary for boundary in boundaries)
    if k == len(boundaries):
        return values[k]
    return anneal(values[k], values[k + 1], (t - knots[k]) / (knots[k + 1] - knots[k]), shape)


def anneal(start, end, part, shape):
    if shape == "cosine":
        part = (1 - math.cos(math.pi * part)) / 2
    return start + (end - start) * part


# Up and down


def cosine_restarts(t, value, steps, multiplier=1.0, peak_factor=1.0, end=0.0):
    """Loshchilov & Hutter 2017, equation 5: T_0 = steps, T_mult = multiplier."""
    if multiplier == 1:
        i, t_cur = divmod(t, steps)
        t_i = steps
    else:
        i, begin, length = 0, 0.0, float(steps)
        while t >= round(begin + length):
            i, begin, length = i + 1, begin + length, length * multiplier
        t_cur, t_i = t - round(begin), round(begin + length) - round(begin)
    eta_max = end + (value - end) * peak_factor**i
    return end + (eta_max - end) * (1 + math.cos(math.pi * t_cur / t_i)) / 2


def cyclic(t, start, peak, steps, rise=0.5, mode="triangular", factor=None):
    """Smith 2017, section 3."""
    cycle, position = divmod(t, steps)
    up = rise * steps
    x = position / up if position < up else (steps - position) / (steps - up)
    if mode == "triangular2":
        x = x / 2.0**cycle if cycle < 1000 else 0.0
    if mode == "exp_range":
        x = x * factor**t
    return start + (peak - start) * x


def one_cycle(t, peak, steps, start=None, end=None, rise=0.3, shape="cosine", three_phase=False):
    """Smith & Topin 2018: up in rise steps, and the last phase ends at steps."""
    start = peak / 25 if start is None else start
    end = start / 10000 if end is None else end
    first = [(rise * steps, start, peak)]
    rest = [(2 * rise * steps, peak, start), (steps, start, end)]
    return phases(t, first + (rest if three_phase else [(steps, peak, end)]), shape)


def one_cycle_momentum(t, steps, high=0.95, low=0.85, rise=0.3, shape="cosine", three_phase=False):
    first = [(rise * steps, high, low)]
    rest = [(2 * rise * steps, low, high), (steps, high, high)]
    return phases(t, first + (rest if three_phase else [(steps, low, high)]), shape)


def phases(t, ends, shape):
    begin = 0.0
    for end, first, last in ends:
        if t <= end:
            return anneal(first, last, (t - begin) / (end - begin), shape)
        begin = end
    return last


# Several


def warmup(t, schedule, steps, start=0.0, shape="linear"):
    """Goyal 2017, section 2.2, gradual warmup."""
    if t >= steps:
        return at(schedule, t - steps)
    top = at(schedule, 0)
    if shape == "exponential":
        return start ** (1 - t / steps) * top ** (t / steps)
    return start + (top - start) * t / steps


def warmup_stable_decay(
    t, peak, steps, warmup_steps, decay_steps, start=0.0, end=0.0, shape="linear"
):
    """Hu 2024, section 4; Hägele 2024, section 3, for the shapes of the decay."""
    if t < warmup_steps:
        return start + (peak - start) * t / warmup_steps
    if t < steps - decay_steps:
        return peak
    part = min(1.0, (t - (steps - decay_steps)) / decay_steps)
    if shape == "sqrt":
        return end + (peak - end) * (1 - math.sqrt(part))
    return anneal(peak, end, part, shape)


def linear_half_life(t, start, end, steps):
    """Pagliardini 2024, the scheduler of β3."""
    if t >= steps:
        return end
    a, b = math.log(start), math.log(end)
    return math.exp(a * b / ((1 - t / steps) * b + t / steps * a))


def scale_schedule(t, schedule, factor):
    return at(schedule, t) * at(factor, t)


def delay_schedule(t, schedule, steps):
    return at(schedule, max(t - steps, 0))


def advance_schedule(t, schedule, steps):
    return at(schedule, t + steps)


def staircase(t, schedule, every):
    return at(schedule, every * (t // every))


def join_schedules(t, schedules, boundaries):
    starts = [0, *boundaries]
    current = max(i for i, start in enumerate(starts) if t >= start)
    return at(schedules[current], t - starts[current])
