"""Multiplication by a number: a plain factor, and the learning rate with its minus sign.

Reference: Robbins & Monro, 1951, https://doi.org/10.1214/aoms/1177729586
"""

from jax import Array

from ..core import tree
from ..core.arguments import LearningRate, Scalar
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.types import InitUpdate, State, Updates, no_state


@transformation
def identity() -> InitUpdate:
    """Pass the updates on: u = g."""

    def update(updates: Updates, state: State) -> tuple[Updates, State]:
        return updates, state

    return no_state, update


@transformation
def scale(factor: Scalar) -> InitUpdate:
    """Multiply the updates: u = factor g.

    Args:
      factor: any finite number. It does not turn the direction: `scale_by_learning_rate` does.
    """

    def update(updates: Updates, state: State) -> tuple[Updates, State]:
        return tree.lift(scale_rule, updates, factor=factor), state

    return no_state, update


@transformation
def scale_by_learning_rate(learning_rate: LearningRate | None) -> InitUpdate:
    """Turn a direction uphill into a step downhill: u = -learning_rate g.

    The last link of an optimizer, and the only place where the sign changes. The learning rate
    always stands in the state, whether it is a number, a schedule or a tunable: after `init` the
    one that the first update will use, after `update` the one that it used.

    Args:
      learning_rate: at least 0. After an adaptive scaling, a length in units of the parameters.
        None where the link before needs the learning rate itself and has multiplied by it:
        u = -g.
    """

    def update(updates: Updates, state: State) -> tuple[Updates, State]:
        return tree.lift(_descend_rule, updates, learning_rate=learning_rate), state

    return no_state, update


def scale_rule(g: Array, *, factor: Value) -> Array:
    """(g) -> factor g."""
    return factor * g


def _descend_rule(g: Array, *, learning_rate: Value | None) -> Array:
    return -g if learning_rate is None else -learning_rate * g
