"""A step for each array in proportion to the array: layer-wise rates for very large batches.

For each array, with gradient or update g, parameters w and their Euclidean norms |g| and |w|:

    trust ratio    u = η |w| / (|g| + eps) g                               the heart of LAMB
    LARS           u = η |w| / (|g| + β |w| + eps) (g + β w)               with weight decay β

Every array then moves by the same fraction of its own length, however large its gradient is, so
that one learning rate fits all layers. The factor is 1 where w or g is all zeros: an array that
starts at zero could never leave it otherwise.

References:
  You, Gitman & Ginsburg, 2017, equation 6 and Algorithm 1, https://arxiv.org/abs/1708.03888
  You et al., 2020, Algorithm 2, https://arxiv.org/abs/1904.00962
"""

import jax
import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import Mask, NonNegative, Positive
from ..core.factory import transformation
from ..core.mask import mask_tree
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, no_state, whole_arrays
from .norms import block_norm


@transformation
@leaf_wise
@whole_arrays
def scale_by_trust_ratio(
    *,
    trust_coefficient: Positive = 1.0,
    eps: NonNegative = 0.0,
    mask: Mask = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Scale each array's update to the length of its parameters.

    The norms are roots of sums in float32: an update whose norm is above about 1e19 counts as
    infinitely long, and one below about 1e-19 as zeros.

    Args:
      trust_coefficient: η, the length of an update per length of its parameters.
      eps: added to the norm of the update, in its units.
      mask: which arrays are scaled: a tree or prefix tree of bools, or a function from the
        parameters to one. Biases and normalization scales are often left out; those pass as they
        are.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        updates = tree.lift(
            _trust_ratio_rule,
            updates,
            params=params,
            where=mask_tree("scale_by_trust_ratio", mask, params),
            trust_coefficient=trust_coefficient,
            eps=eps,
        )
        return updates, state

    return no_state, update


def _trust_ratio_rule(g: Array, *, p: Array, trust_coefficient: Value, eps: Value) -> Array:
    return trust_ratio(g, p, trust_coefficient, eps) * g


@transformation
@leaf_wise
@whole_arrays
def scale_by_lars(
    trust_coefficient: Positive = 1e-3,
    weight_decay: NonNegative = 5e-4,
    eps: NonNegative = 0.0,
    *,
    mask: Mask = None,
    trust_mask: Mask = None,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Add weight decay to the gradient and scale the sum by a rate for each array.

    The norms are roots of sums in float32: an update whose norm is above about 1e19 counts as
    infinitely long, and one below about 1e-19 as zeros.

    The norms of the gradient and of the decay are added up, as in the paper; optax takes the norm
    of their sum.

    Args:
      trust_coefficient: η, about the length of an update per length of its parameters.
      weight_decay: β, in units of gradient per parameter. 5e-4 is also Paddle's default;
        TensorFlow's was 1e-4, optax's is 0.
      eps: added to the norms, in units of the gradient.
      mask: which arrays decay: a tree or prefix tree of bools, or a function from the parameters
        to one.
      trust_mask: which arrays get a rate of their own, likewise; the rest passes as g + β w.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        everything = jax.tree.map(lambda _: True, params)
        decays = mask_tree("scale_by_lars", mask, params)
        trusts = mask_tree("scale_by_lars", trust_mask, params)
        updates = tree.lift(
            _lars_rule,
            updates,
            params=params,
            along={
                "decays": everything if decays is None else decays,
                "trusts": everything if trusts is None else trusts,
            },
            trust_coefficient=trust_coefficient,
            weight_decay=weight_decay,
            eps=eps,
        )
        return updates, state

    return no_state, update


def _lars_rule(
    g: Array,
    *,
    p: Array,
    decays: bool,
    trusts: bool,
    trust_coefficient: Value,
    weight_decay: Value,
    eps: Value,
) -> Array:
    beta = weight_decay if decays else 0.0
    g_norm, p_norm = block_norm(g), block_norm(p)
    rate = numerics.divide(trust_coefficient * p_norm, g_norm + beta * p_norm, eps)
    decayed = g + beta * p
    return _unless_zero(g_norm, p_norm, rate) * decayed if trusts else decayed


def trust_ratio(g: Array, p: Array, coefficient: Value = 1.0, eps: Value = 0.0) -> Array:
    """coefficient |p| / (|g| + eps), or 1 where one of the two norms is 0."""
    g_norm, p_norm = block_norm(g), block_norm(p)
    return _unless_zero(g_norm, p_norm, numerics.divide(coefficient * p_norm, g_norm, eps))


def _unless_zero(g_norm: Array, p_norm: Array, ratio: Array) -> Array:
    """`ratio`, or 1 where one of the two norms is 0."""
    return jnp.where((g_norm == 0) | (p_norm == 0), jnp.ones_like(ratio), ratio)
