"""Fromage: a step in proportion to each array, on weights that must not grow for it.

For each array, with gradient g, parameters w, learning rate η and Euclidean norms |g| and |w|:

    w_new = (w - η |w| / |g| g) / sqrt(1 + η²)
    u = w - w_new

A step of relative length η at a right angle to w would lengthen w by sqrt(1 + η²); the division
takes that back. Where w or g is all zeros the ratio |w| / |g| is 1, as in the authors' code.

Reference: Bernstein et al., 2020, Algorithm 1, https://arxiv.org/abs/2002.03432
"""

from jax import Array

from ..core import tree
from ..core.arguments import LearningRate
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, no_state, whole_arrays
from .trust_ratio import trust_ratio


@transformation
@leaf_wise
@whole_arrays
def scale_by_fromage(learning_rate: LearningRate, *, axis_name: AxisName = None) -> InitUpdate:
    """The whole step w - w_new of Fromage: the learning rate also sets how the weights shrink.

    The norms are roots of sums in float32: an update whose norm is above about 1e19 counts as
    infinitely long, and one below about 1e-19 as zeros.

    u points uphill, as everywhere, and has the learning rate in it already: what ends the chain
    is `scale_by_learning_rate(None)`.

    Args:
      learning_rate: η, the length of a step per length of the parameters; 0.01 is the paper's.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.
    """

    def update(updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        return tree.lift(_fromage_rule, updates, params=params, learning_rate=learning_rate), state

    return no_state, update


def _fromage_rule(g: Array, *, p: Array, learning_rate: Value) -> Array:
    square = learning_rate * learning_rate
    root = (1.0 + square) ** 0.5
    shrinkage = square / (root * (1.0 + root))  # 1 - 1 / root, without the cancellation
    return learning_rate / root * trust_ratio(g, p) * g + shrinkage * p
