"""Bounds on the gradient: each coordinate by itself, or the length of all of them together.

    by value          u_i = min(max(g_i, -c), c)           changes the direction
    by global norm    u = g min(1, c / |g|)                keeps it

with |g| the Euclidean norm over all arrays of the tree.

Reference: Pascanu, Mikolov & Bengio, 2013, Algorithm 1, https://arxiv.org/abs/1211.5063
"""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..core import numerics, tree
from ..core.arguments import Positive
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, no_state, whole_arrays
from .scale import scale_rule


class ClipByGlobalNormState(NamedTuple):
    """What the clipping saw and did."""

    norm: Array  # norm of the last updates that came in; 0 before the first
    clipped_norm: Array  # what it was bounded to
    clipped_steps: Array  # int32: how many steps were longer than the bound, or not finite
    steps: Array  # int32: how many there were

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        fraction = self.clipped_steps / jnp.maximum(self.steps, jnp.ones_like(self.steps))
        return {
            "gradient_norm": self.norm,
            "clipped_norm": self.clipped_norm,
            "clip_fraction": fraction.astype(numerics.scalar_dtype()),
        }


@transformation
def clip_by_value(max_value: Positive) -> InitUpdate:
    """Limit every coordinate to [-max_value, max_value].

    Infinite coordinates end at the bound, NaN stays NaN. Of a complex array the real and the
    imaginary parts are limited.

    Args:
      max_value: the bound c, in units of the gradient.
    """

    def update(updates: Updates, state: State) -> tuple[Updates, State]:
        return tree.lift(_clip_rule, updates, max_value=max_value), state

    return no_state, update


def _clip_rule(g: Array, *, max_value: Value) -> Array:
    if jnp.iscomplexobj(g):
        real, imag = (
            _clip_rule(g.real, max_value=max_value),
            _clip_rule(g.imag, max_value=max_value),
        )
        return lax.complex(real, imag)
    return jnp.clip(g, -max_value, max_value)


@transformation
@whole_arrays
def clip_by_global_norm(
    max_norm: Positive,
    *,
    on_nonfinite: Literal["propagate", "zero", "skip"] = "propagate",
    axis_name: AxisName = None,
) -> InitUpdate:
    """Scale all updates by one factor so that their global norm is at most max_norm.

    Updates within the bound pass bit for bit. The norm is right in all the range of float32, where
    its square is out of range, too: updates of 1e25 come out with the norm c.

    Args:
      max_norm: the bound c, in units of the gradient; 1.0 is usual for transformers.
      on_nonfinite: what an infinite or NaN coordinate does.
        "propagate" (the default) does what torch's `clip_grad_norm_` and optax do: an infinite
        norm scales everything to zero and the infinite coordinates to NaN; a NaN makes NaN of all.
        "zero" puts zero in the place of such coordinates and clips the rest by its own norm.
        "skip" makes all updates of the step zero. What follows in the chain still sees that step:
        velocities go on, weights decay. Nothing but a wrapper around the whole optimizer can
        leave its state untouched.
      axis_name: for an update inside of `jax.shard_map`, where it sees one shard of each array:
        the mesh axis, or a tuple of them, that arrays are split over. The norm is then that of
        all shards; arrays that every device has whole count once. `()` says that each shard is a
        whole, as with one model a device. Without it an array that differs between devices is
        refused, and with `check_vma=False`, where nothing tells which do, everything but `()`.
        Under `jit`, arrays are whole whatever their sharding, and it is left out.

    Returns:
      A transformation with state `ClipByGlobalNormState`: four scalars.

    Raises:
      ValueError: by `update`: `axis_name` is no axis of a `shard_map` around it, or what it says
        cannot be right there.
    """

    def init(params: Params) -> ClipByGlobalNormState:
        return ClipByGlobalNormState(
            norm=jnp.zeros((), numerics.scalar_dtype()),
            clipped_norm=jnp.zeros((), numerics.scalar_dtype()),
            clipped_steps=jnp.zeros((), jnp.int32),
            steps=jnp.zeros((), jnp.int32),
        )

    def update(updates: Updates, state: ClipByGlobalNormState) -> tuple[Updates, State]:
        if on_nonfinite == "zero":
            updates = tree.lift(_finite_rule, updates)
        norm = numerics.global_norm(updates)
        factor, clipped = _clip_factor(norm, max_norm)
        longer = jnp.where(clipped, numerics.increment(state.clipped_steps), state.clipped_steps)
        after = factor * norm
        if on_nonfinite == "skip":
            keep = jnp.isfinite(norm)
            updates = tree.lift(_skip_rule, updates, factor=factor, keep=keep)
            after = jnp.where(keep, after, jnp.zeros_like(after))
        else:
            updates = tree.lift(scale_rule, updates, factor=factor)
        count = numerics.increment(state.steps)
        return updates, ClipByGlobalNormState(norm, after, longer, count)

    return init, update


def _clip_factor(norm: Array, max_norm: Value) -> tuple[Array, Array]:
    """min(1, max_norm / norm), and whether it is below 1; a NaN norm gives a NaN factor."""
    within, one = norm <= max_norm, jnp.ones_like(norm)
    return jnp.where(within, one, max_norm / jnp.where(within, one, norm)), ~within


def _finite_rule(g: Array) -> Array:
    return jnp.where(jnp.isfinite(g), g, jnp.zeros_like(g))


def _skip_rule(g: Array, *, factor: Array, keep: Array) -> Array:
    return jnp.where(keep, factor * g, jnp.zeros_like(g))
