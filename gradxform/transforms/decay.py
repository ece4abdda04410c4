"""The things called weight decay.

Two have one formula and differ in their place in the chain, and are the same for plain SGD only:

    decoupled weight decay    u = g + λ w    after the adaptive scaling: shrinks the weights
    L2 regularization         u = g + λ w    before it: the gradient of loss + λ/2 |w|²

Behind Adam, λ w is multiplied by the learning rate only, so that every weight shrinks at the same
rate. In front of Adam it is divided by the denominator with the rest of the gradient, and weights
with large gradients hardly shrink.

The others go where the decoupled one does. With learning rate η_t and its peak η_max, one step
multiplies the weights by

    decoupled     1 - η_t λ            a larger learning rate decays more
    independent   1 - (η_t / η_max) λ  follows the schedule, not the learning rate it was tuned at
    corrected     1 - (η_t / η_max) η_t λ
    cautious      1 - η_t λ            only where the step shrinks the weight anyway

The AdamW paper's own decay is the independent one. Under the decoupled one the weights in front of
a normalization end at a length that goes as sqrt(η_t / λ): it falls with the schedule, and their
gradients, which go as one over it, grow at the end of a run. The corrected one keeps the length.

References:
  Loshchilov & Hutter, 2019, https://arxiv.org/abs/1711.05101
  Defazio, 2025 (corrected), https://arxiv.org/abs/2506.02285
  Chen et al., 2025 (cautious), https://arxiv.org/abs/2510.12402
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..core import tree
from ..core.arguments import Mask, NonNegative, Positive
from ..core.factory import transformation
from ..core.mask import mask_tree
from ..core.numerics import Value
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
        return _decayed(_decay_rule, updates, params, chosen, weight_decay), state

    return no_state, _unless_zero(weight_decay, update)


@transformation
def add_independent_weight_decay(
    weight_decay: NonNegative, peak_learning_rate: Positive, *, mask: Mask = None
) -> InitUpdate:
    """Add weight_decay / peak_learning_rate w: decay in its own units, as in the AdamW paper.

    A step at the peak shrinks the weights by the factor 1 - weight_decay, and the learning rate's
    schedule moves it from there: another peak learning rate does not need another decay. It goes
    where `add_decoupled_weight_decay` goes, whose 0.01 at a learning rate of 1e-3 is 1e-5 here.

    Args:
      weight_decay: λ, per step at the peak.
      peak_learning_rate: the highest value of the learning rate that comes behind.
      mask: which parameters decay, as in `add_decoupled_weight_decay`.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        chosen = mask_tree("add_independent_weight_decay", mask, params)
        rate = _over_peak(weight_decay, 1.0, peak_learning_rate)
        return _decayed(_decay_rule, updates, params, chosen, rate), state

    return no_state, _unless_zero(weight_decay, update)


@transformation
def add_corrected_weight_decay(
    weight_decay: NonNegative,
    current_learning_rate: NonNegative,
    peak_learning_rate: Positive,
    *,
    mask: Mask = None,
) -> InitUpdate:
    """Add weight_decay (current / peak learning rate) w: AdamC, for weights that are normalized.

    It goes where `add_decoupled_weight_decay` goes. `current_learning_rate` is what the learning
    rate behind it is, the same schedule or feedback:

        rate = cosine_decay(1e-3, 10_000)
        chain(
            scale_by_adam(),
            add_corrected_weight_decay(0.1, rate, 1e-3),
            scale_by_learning_rate(rate),
        )

    Args:
      weight_decay: λ, per unit of learning rate, at the peak.
      current_learning_rate: η_t, usually a schedule.
      peak_learning_rate: its highest value.
      mask: which parameters decay, as in `add_decoupled_weight_decay`; in the paper the weights in
        front of a normalization, while the others have the decoupled decay.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        chosen = mask_tree("add_corrected_weight_decay", mask, params)
        rate = _over_peak(weight_decay, current_learning_rate, peak_learning_rate)
        return _decayed(_decay_rule, updates, params, chosen, rate), state

    return no_state, _unless_zero(weight_decay, update)


@transformation
def add_cautious_weight_decay(weight_decay: NonNegative = 0.01, *, mask: Mask = None) -> InitUpdate:
    """Add weight_decay w where it has the sign of the update: decay that does not fight the step.

    It goes where `add_decoupled_weight_decay` goes. A weight that the optimizer pushes away from
    zero does not decay, one that it leaves alone does.

    Args:
      weight_decay: λ, per unit of learning rate.
      mask: which parameters decay, as in `add_decoupled_weight_decay`.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        chosen = mask_tree("add_cautious_weight_decay", mask, params)
        return _decayed(_cautious_decay_rule, updates, params, chosen, weight_decay), state

    return no_state, _unless_zero(weight_decay, update)


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
        return _decayed(_decay_rule, updates, params, chosen, l2), state

    return no_state, _unless_zero(l2, update)


def _over_peak(weight_decay: Value, current: Value, peak: Value) -> Value:
    return weight_decay * current / peak


def _decayed(rule: Any, updates: Updates, params: Params, chosen: Any, rate: Value) -> Updates:
    return tree.lift(rule, updates, params=params, where=chosen, weight_decay=rate)


def _unless_zero(decay: Value, update: Any) -> Any:
    """`update`, or where nothing decays one that asks for no parameters.

    XLA would read them to multiply them by 0, which makes NaN of an infinity.
    """
    return _no_decay if isinstance(decay, float) and decay == 0 else update


def _no_decay(updates: Updates, state: State) -> tuple[Updates, State]:
    return jax.tree.map(tree.widen, updates), state


def _decay_rule(g: Array, *, p: Array, weight_decay: Value) -> Array:
    return g + weight_decay * p


def _cautious_decay_rule(u: Array, *, p: Array, weight_decay: Value) -> Array:
    # The product of the signs: that of the numbers may underflow.
    agrees = jnp.real(jnp.conj(jnp.sign(u)) * jnp.sign(p)) >= 0
    return u + jnp.where(agrees, weight_decay * p, jnp.zeros_like(p))
