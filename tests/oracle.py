"""From a factory's name and arguments to its twin.

A new block needs a function with its name and its arguments in a file of `twins`.
"""

import inspect

from twins import (
    accumulation,
    adam_family,
    adam_successors,
    adaptive_rate,
    averages,
    bucket,
    decay,
    foundation,
    groups,
    guards,
    layerwise,
    low_memory,
    metrics,
    placement,
    schedules,
    shaping,
    wrappers,
)
from twins.memory import Memory
from twins.schedules import at

import gradxform as gx


def _named_like_a_factory(*families):
    return {
        name: twin
        for family in families
        for name, twin in vars(family).items()
        if callable(getattr(gx, name, None))
    }


TWINS = _named_like_a_factory(
    adam_family,
    adam_successors,
    adaptive_rate,
    layerwise,
    low_memory,
    metrics,
    shaping,
    foundation,
    decay,
    groups,
    wrappers,
    averages,
    bucket,
    guards,
    accumulation,
    placement,
)
SCHEDULE_TWINS = _named_like_a_factory(schedules)


class Twin:
    """A twin with its memory: called once a step with gradients and parameters by name."""

    def __init__(self, name, *args, **kwargs):
        self.function, self.memory, self.t = TWINS[name], Memory(), 0
        self.args = [twin_of(x) for x in args]
        self.kwargs = {k: twin_of(x) for k, x in kwargs.items()}

    def __call__(self, g, w, **extra):
        kwargs = {k: x if is_static(k, x) else at(x, self.t) for k, x in self.kwargs.items()}
        self.t += 1
        return self.function(self.memory, g, w, *self.args, **kwargs, **extra)


def is_static(name, x):
    """Whether an argument is a function of something else than the step, or no function."""
    return name.endswith(("mask", "depth_of", "every")) or isinstance(x, Twin)


def twin_of(x):
    """The twin of an argument: of a transformation, a schedule, a tunable, or the thing itself."""
    if isinstance(x, gx.Selector):
        return x
    if hasattr(x, "recipe"):
        args = [value for name, value in x.recipe.shown if name is None]
        kwargs = {name: value for name, value in x.recipe.shown if name is not None}
        if x.recipe.name in SCHEDULE_TWINS:
            return schedule_twin(x.recipe.name, **kwargs)
        return Twin(x.recipe.name, *args, **kwargs)
    if isinstance(x, dict):
        return {name: twin_of(value) for name, value in x.items()}
    if isinstance(x, tuple | list):
        return tuple(map(twin_of, x))
    if type(x).__name__ == "Tunable":
        return float(x.value)
    return x


def schedule_twin(name, **kwargs):
    """A schedule's twin: a function of the step."""
    kwargs = {k: twin_of(x) for k, x in kwargs.items()}
    return lambda t: SCHEDULE_TWINS[name](t, **kwargs)


def defaults(twin):
    """The hyperparameters of a twin that have defaults."""
    parameters = inspect.signature(twin).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
