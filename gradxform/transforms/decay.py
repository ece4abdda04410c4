"""The two things called weight decay, which are the same for plain SGD only.

    decoupled weight decay    u = g + λ w    after the adaptive scaling: shrinks the weights
    L2 regularization         u = g + λ w    before it: the gradient of loss + λ/2 |w|²

The formula is one, the place in the chain is not. Behind Adam, λ w is multiplied by the learning
rate only, so that every weight shrinks at the same rate. In front of Adam it is divided by the
denominator with the rest of the gradient, and weights with large gradients hardly shrink.

Reference: Loshchilov & Hutter, 2019, https://arxiv.org/abs/1711.05101
"""

from jax import Array

from ..core import tree
from ..core.arguments import Mask, NonNegative
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.select import mask_tree
from ..core.types import InitUpdate, Params, State, Updates, no_state


@transformation
def add_decoupled_weight_decay(
    weight_decay: NonNegative = 0.01, *, mask: Mask = None
) -> InitUpdate:
    """Add weight_decay w: put it after the adaptive scaling and before the learning rate.

    Each step then shrinks the weights by the factor 1 - learning_rate weight_decay, as in torch
    and optax.

    Args:
      weight_decay: λ, per unit of learning rate.
      mask: which parameters decay: a tree or prefix tree of bools, or a function from the
        parameters to one. By default all of them.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        chosen = mask_tree("add_decoupled_weight_decay", mask, params)
        updates = tree.lift(
            _decay_rule, updates, params=params, where=chosen, weight_decay=weight_decay
        )
        return updates, state

    return no_state, update


@transformation
def add_l2_regularization(l2: NonNegative = 1e-4, *, mask: Mask = None) -> InitUpdate:
    """Add l2 w, the gradient of l2/2 |w|²: put it first, where the gradient comes in.

    This is what torch's SGD and Adam call `weight_decay`. A penalty written as λ |w|², without
    the half, has twice this gradient: pass l2 = 2 λ.

    Args:
      l2: the factor of w, in units of gradient per parameter.
      mask: which parameters are penalized, as in `add_decoupled_weight_decay`.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        chosen = mask_tree("add_l2_regularization", mask, params)
        updates = tree.lift(_decay_rule, updates, params=params, where=chosen, weight_decay=l2)
        return updates, state

    return no_state, update


def _decay_rule(g: Array, *, p: Array, weight_decay: Value) -> Array:
    return g + weight_decay * p
