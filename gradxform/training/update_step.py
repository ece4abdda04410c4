"""The jitted end of a training step, with its buffers paired.

XLA gives the memory of a donated input to an output of the same shape and dtype, in their order.
Where a step takes `(grads, state, params)` and returns `(params, state)`, the memory of the first
moment becomes the parameters', and every array is copied on its way: AdamW takes five times as
long on a CPU. Here inputs and outputs have the same order, so that each array is changed in place.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax

from ..core.types import Params, State, Updates, require_transformation
from ..placement.places import Places, in_dtypes_of, require_pair
from ..wrappers.apply import apply_updates
from .donating import DonatingStep


def make_update_step(
    tx: optax.GradientTransformation, *, like: tuple[Params, State] | None = None
) -> Callable[..., tuple[Params, State]]:
    """Compile `update` and `apply_updates` into one step that changes its arrays in place.

        update_step = make_update_step(tx)
        params, state = update_step(params, state, grads)

    The parameters and the state are donated: what was passed in is gone afterwards, and what was
    returned has its memory. The gradients are not.

    Args:
      tx: a complete optimizer.
      like: `(params, state)`, arrays or abstract ones, that lie where the returned ones shall.
        With many devices: the compiler is free to split the results otherwise, and with a state
        that is spread (`state_sharding(..., zero_axis=)`) it splits the parameters too. Gradients
        are brought to where their buffers lie before the update, so that each device computes
        its piece of it.

    Returns:
      A jitted function `(params, state, grads, **extra) -> (params, state)`. Extra arguments of
      `update` are given by keyword; a function among them as `jax.tree_util.Partial(function)`.

    Raises:
      ValueError: by the step: it was given other trees or shapes than those of `like`, or an array
        that an earlier step was given, or one array in two places.
    """
    require_transformation("make_update_step(tx)", "`tx`", tx)
    tx = optax.with_extra_args_support(tx)
    places = Places(None)
    if like is not None:
        require_pair("make_update_step(tx, like=...)", like)
        places = Places(like, *like)

    def update_step(
        params: Params, state: State, grads: Updates, **extra: Any
    ) -> tuple[Params, State]:
        places.require((params, state), "update_step(params, state, grads)")
        grads, params = places.to_pieces(grads), places.to_pieces(params)
        updates, after = tx.update(grads, state, params, **extra)
        return places.to_params(apply_updates(params, updates)), in_dtypes_of(state, after)

    jitted = jax.jit(update_step, donate_argnums=(0, 1), out_shardings=places.returned)
    names = ("params", "state", "grads")
    return DonatingStep(jitted, "update_step(params, state, grads)", names, donated=2)
