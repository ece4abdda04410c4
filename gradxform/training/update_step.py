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
from ..wrappers.apply import apply_updates


def make_update_step(
    tx: optax.GradientTransformation,
) -> Callable[..., tuple[Params, State]]:
    """Compile `update` and `apply_updates` into one step that changes its arrays in place.

        update_step = make_update_step(tx)
        params, state = update_step(params, state, grads)

    The parameters and the state are donated: what was passed in is gone afterwards, and what was
    returned has its memory. The gradients are not.

    Args:
      tx: a complete optimizer.

    Returns:
      A jitted function `(params, state, grads, **extra) -> (params, state)`. Extra arguments of
      `update` are given by keyword; a function among them as `jax.tree_util.Partial(function)`.
    """
    require_transformation("make_update_step", "`tx`", tx)
    tx = optax.with_extra_args_support(tx)

    def update_step(
        params: Params, state: State, grads: Updates, **extra: Any
    ) -> tuple[Params, State]:
        updates, state = tx.update(grads, state, params, **extra)
        return apply_updates(params, updates), state

    return jax.jit(update_step, donate_argnums=(0, 1))
