"""Norms, ratios and fractions of gradients, updates and parameters, measured inside of the step.

For gradients g, updates u and parameters w, over all of them and over each group:

    gradient_norm, update_norm, param_norm    |g|, |u|, |w|
    update_ratio                              |u| / |w|: about 1e-3 in most healthy trainings
    zero_fraction, nonfinite_fraction         of the coordinates of g
    update_cosine                             <u_t, u_{t-1}> / (|u_t| |u_{t-1}|), if asked for
"""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import Count, Transformation
from ..core.branch import when
from ..core.factory import transformation
from ..core.mask import MaskRule, kept, mask_tree
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, update_wide, whole_arrays

_NAMES = (
    "gradient_norm",
    "update_norm",
    "param_norm",
    "update_ratio",
    "zero_fraction",
    "nonfinite_fraction",
)


class WithMetricsState(NamedTuple):
    """The last measurement, around the state of what is measured."""

    inner_state: State
    count: Array  # type: ignore[assignment]  # int32: updates so far
    readings: dict[str, Array]  # by name, those of a group as `group/name`; 0 before the first
    last_update: Params  # u_{t-1}, where the cosine is measured; else None

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return self.readings


class _GroupsRule:
    """A dict from names to masks."""

    kind = "dict[str, Mask]"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The dict, or None."""
        if value is None:
            return None
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            check.fail(call, name, value, "a dict {name: selector}")
        groups = {}
        for key, mask in value.items():
            if mask is None:
                check.fail(call, f"{name}[{key!r}]", mask, "a mask; see `select.all`")
            groups[key] = MaskRule()(call, f"{name}[{key!r}]", mask)
        return groups


@transformation
@whole_arrays
def with_metrics(
    inner: Transformation,
    every: Count = 100,
    *,
    groups: Annotated[dict[str, Any] | None, _GroupsRule()] = None,
    cosine: bool = False,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Measure norms, ratios and fractions on the way, for `metrics(state)` to read.

    It goes around a whole optimizer and changes nothing of what it does:

        tx = with_metrics(adamw(3e-4), groups={"head": select.path("head/.*")})

    A measurement reads gradients, parameters and state once more, which takes about as long as
    the update itself; hence `every`. Between the measurements the last one stands.

    Args:
      inner: the optimizer.
      every: the number of steps from one measurement to the next, from the first step on.
      groups: by name, parameters that are measured by themselves too: a selector, a tree or
        prefix tree of bools, or a function from the parameters to one. Groups may overlap.
      cosine: whether to measure the cosine between two updates in a row, for which the update
        before each measurement is kept in the state.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with state `WithMetricsState`: some scalars, and 4 bytes a parameter with
      `cosine`, beside the state of `inner`.
    """
    masks = groups or {}
    names = [*_NAMES, *(["update_cosine"] if cosine else [])]
    prefixes = ["", *(f"{group}/" for group in masks)]

    def init(params: Params) -> WithMetricsState:
        _chosen(masks, params)
        return WithMetricsState(
            inner.init(params),
            jnp.zeros((), jnp.int32),
            {f"{p}{n}": jnp.zeros((), numerics.scalar_dtype()) for p in prefixes for n in names},
            tree.zeros_like(params) if cosine else None,
        )

    def update(
        updates: Updates, state: WithMetricsState, params: Params, **extra: Any
    ) -> tuple[Updates, State]:
        chosen = {"": None, **_chosen(masks, params)}

        due = state.count % every == 0
        # The update before a measurement is kept for the cosine.
        before = (state.count + 1) % every == 0 if cosine else due

        def measured(inner_state: State, last: Params, readings: Any) -> Any:
            u, _ = update_wide(inner, updates, inner_state, params, **extra)
            new = _measured(chosen, names, updates, u, params, last)
            readings = {name: jnp.where(due, new[name], old) for name, old in readings.items()}
            if cosine:
                # In the place of the update before, when that has been read.
                _, last = tree.lift(lambda u, old: (u, u), _after(new, state.count, u), last)
            return last, readings

        operands = (state.inner_state, state.last_update, state.readings)
        if every == 1:
            last, readings = measured(*operands)
        else:
            last, readings = when(due | before, measured, lambda _, *kept: kept, *operands)
        # The state is changed in place only when it has been read for the measurement.
        updates = _after(readings, state.count, updates)
        new, inner_state = update_wide(inner, updates, state.inner_state, params, **extra)
        return new, WithMetricsState(inner_state, numerics.increment(state.count), readings, last)

    return init, update


def _chosen(masks: dict[str, Any], params: Params) -> dict[str, Any]:
    return {
        name: mask_tree("with_metrics", mask, params, f"groups[{name!r}]")
        for name, mask in masks.items()
    }


def _after(readings: dict[str, Array], count: Array, updates: Updates) -> Updates:
    """The updates as they are, not to be had before the readings."""
    total = sum(readings.values(), start=jnp.zeros((), numerics.scalar_dtype()))
    never = (count < 0) & (total == total)

    def one(g: Any) -> Any:
        return jnp.where(never, jnp.zeros_like(g), g)

    return jax.tree.map(one, updates)


def _measured(
    chosen: dict[str, Any],
    names: list[str],
    updates: Updates,
    new: Updates,
    params: Params,
    last: Params,
) -> dict[str, Array]:
    readings: dict[str, Array] = {}
    for group, mask in chosen.items():
        g, u, w, before = (
            x if mask is None or x is None else kept(mask, x) for x in (updates, new, params, last)
        )
        values = _of_group(g, u, w, before)
        readings |= {f"{group}/{name}" if group else name: values[name] for name in names}
    return readings


def _of_group(g: Any, u: Any, w: Any, last: Any) -> dict[str, Array]:
    size = jnp.asarray(
        max(sum(map(numerics.array_size, jax.tree.leaves(g))), 1), numerics.scalar_dtype()
    )
    gradient, update, param = (numerics.global_norm(x) for x in (g, u, w))
    finite = jnp.isfinite(gradient)
    nonfinite = when(finite, lambda _, n: numerics.filled_like(n, 0), _nonfinite, g, gradient)
    zeros = size - when(finite, _nonzero, _nonzero_of_finite, g)
    values = {
        "gradient_norm": gradient,
        "update_norm": update,
        "param_norm": param,
        "update_ratio": numerics.divide(update, param),
        "zero_fraction": zeros / size,
        "nonfinite_fraction": nonfinite / size,
    }
    if last is not None:
        leaves, flat = jax.tree.flatten(u, is_leaf=lambda x: x is None)
        structure: Any = flat
        pairs = zip(leaves, structure.flatten_up_to(last), strict=True)
        there = [(a, b.astype(a.dtype)) for a, b in pairs if a is not None]
        dot = numerics.global_dot([a for a, _ in there], [b for _, b in there])
        lengths = update * numerics.global_norm([b for _, b in there])
        values["update_cosine"] = numerics.divide(dot, lengths)
    return values


def _nonfinite(g: Any, _: Array) -> Array:
    """How many coordinates are infinite or NaN."""
    return numerics.global_sum(lambda x: jnp.where(jnp.isfinite(x), 0.0, 1.0), g)


def _nonzero_of_finite(g: Any) -> Array:
    return numerics.global_sum(lambda x: jnp.where(x == 0, 0.0, 1.0), g)


def _nonzero(g: Any) -> Array:
    """How many coordinates are not zero, by products that a sum on CPU takes in its stride."""
    return numerics.global_sum(_at_most_one, g)


def _at_most_one(x: Array) -> Array:
    large = jnp.asarray(np.finfo(x.real.dtype).max, x.real.dtype)
    return jnp.minimum(jnp.abs(x) * large, jnp.ones_like(large))
