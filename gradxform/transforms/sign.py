"""The sign of the gradient: steps of one size in every coordinate.

    u = sign(g)        for complex numbers g / |g|, and 0 where g is 0

Behind a mean of gradients this is Signum, with momentum decided by vote.

Reference: Bernstein et al., 2018, Algorithms 1 and 2, https://arxiv.org/abs/1802.04434
"""

import jax.numpy as jnp
from jax import Array

from ..core import tree
from ..core.factory import transformation
from ..core.types import InitUpdate, State, Updates, no_state


@transformation
def scale_by_sign() -> InitUpdate:
    """Replace each coordinate by its sign: the learning rate is the size of every step."""

    def update(updates: Updates, state: State) -> tuple[Updates, State]:
        return tree.lift(_sign_rule, updates), state

    return no_state, update


def _sign_rule(g: Array) -> Array:
    return jnp.sign(g)
