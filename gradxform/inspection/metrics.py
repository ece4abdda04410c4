"""What an optimizer does, as numbers to log."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..core import tree
from ..core.hyperparams import is_hyperparams_state
from ..core.places import fields_of, keys_of, nodes
from ..core.types import State


def metrics(state: State) -> dict[str, Array]:
    """All that a state can tell: hyperparameters, counters, norms, each a scalar by name.

        updates, state = tx.update(grads, state, params)
        logged = metrics(state)  # {"learning_rate": ..., "gradient_norm": ..., "step": ...}

    `learning_rate` and every other live hyperparameter are what the last update used. `step` is
    the number of updates done. What else there is depends on what stands in the state:
    `gradient_norm`, `clipped_norm` and `clip_fraction` of `clip_by_global_norm`; `skipped_steps` of
    the guards and of `accumulate`; `loss_scale`; `distance` and `step_size` of the methods that
    find their own learning rate; and all that `with_metrics` measures.

    Args:
      state: the state of a transformation, or anything that is a tree around one: a chain's
        state, a `TrainState`, an `nnx.Optimizer`'s `opt_state`.

    Returns:
      A dict of 0-d arrays on the device, in the order of the state; nothing is copied to the host.
      They are arrays of their own, and stay when a step that donates the state has run. The dict
      can be returned from `jit` and stacked by `scan`. A name that occurs twice has the names
      of its groups and links in front, as in `hyperparams`.

    Raises:
      TypeError: nothing in the state is of this library.
    """
    state = tree.unboxed(state)
    found = [(place, node.metrics()) for place, node in nodes(state, _tells)]
    steps = _counts(state, is_hyperparams_state)
    if not found:
        raise TypeError(
            "`metrics(state)`: this state holds nothing that tells of itself. Pass the state of "
            "one of gradxform's optimizers, or wrap the transformation in `with_metrics`."
        )
    told = [
        (place, name, value)
        for place, values in found
        for name, value in values.items()
        if not _measured_outside(place, name, found)
    ]
    keys = keys_of([(place, name) for place, name, _ in told])
    named = {key: value for key, (_, _, value) in zip(keys, told, strict=True)}
    if steps:
        # Where groups or windows count apart, the one that is furthest.
        named["step"] = jax.tree.reduce(jnp.maximum, steps)
    return {name: jnp.copy(value) for name, value in named.items()}


def _measured_outside(place: str, name: str, found: list[tuple[str, dict[str, Array]]]) -> bool:
    """Whether it is a norm that `with_metrics`, further out, has measured for all."""
    inside = [
        values
        for outer, values in found
        if "update_norm" in values and place.startswith(f"{outer}/inner_state".lstrip("/"))
    ]
    return name == "gradient_norm" and bool(inside)


def _tells(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "metrics")


def step_of(state: State) -> Array:
    """How many updates an optimizer has done: the step that schedules see in the next one.

        steps = step_of(state)  # 0 after `init`

    It is the count beside the live hyperparameters, which every learning rate of this library has,
    a constant too, so that a schedule may take its place in the middle of a run. Adam counts for
    its own averages beside that, so `optax.tree.get(state, "count")` finds two. Where groups or
    windows count apart, the one that is furthest; calls of `accumulate` that emit nothing and
    steps that a guard skips do not count.

    Args:
      state: the state of a transformation, or anything that is a tree around one, with its classes
        or without: a chain's state, a Flax `TrainState`, an `nnx.Optimizer`'s `opt_state`, a
        restored dict. Of a state of Optax's alone, its largest count.

    Returns:
      An int32 scalar, an array of its own.

    Raises:
      TypeError: nothing in the state counts.
    """
    state = tree.unboxed(state)
    counts = _counts(state, is_hyperparams_state) or _counts(state, _counts_steps)
    if not counts:
        raise TypeError(
            "`step_of(state)`: nothing in this state counts steps. End the chain with "
            "`scale_by_learning_rate(...)`, which does, or count in the training loop."
        )
    return jnp.copy(jax.tree.reduce(jnp.maximum, counts))


def _counts(state: State, wanted: Callable[[Any], bool]) -> list[Array]:
    return [jnp.asarray(fields_of(node)["count"]) for _, node in nodes(state, wanted)]


def _counts_steps(x: Any) -> bool:
    return "count" in getattr(x, "_fields", ())
