"""Lookahead: k steps forward, one step back.

A fast optimizer trains the parameters θ for k steps; then the slow weights φ follow a part α of
the way, and the fast ones go on from there:

    φ <- φ + α (θ - φ)
    θ <- φ

The k steps may overshoot, as a large learning rate does in a narrow valley; the mean of where they
began and where they ended does so less.

Reference: Zhang, Lucas, Hinton & Ba, 2019, Algorithm 1, https://arxiv.org/abs/1907.08610
"""

from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import Count, Transformation
from ..core.branch import when
from ..core.factory import transformation
from ..core.hyperparams import ScalarRule
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates, declares, leaf_wise, update_wide
from .averages import wide_copies
from .evaluation import Evaluation
from .order import require_none, require_whole_windows

_Part = Annotated[Any, ScalarRule(check.Interval(low=0.0, low_open=True, high=1.0))]


_WITHIN = (
    "`{0}`, whose updates lead to parameters of its own, and the step back would lead elsewhere. "
    "Put `lookahead` inside: `{0}(lookahead(...))`, or leave one out."
)


class LookaheadState(NamedTuple):
    """The slow weights beside the state of the fast optimizer."""

    inner_state: State
    steps_since_sync: Array  # int32, below `sync_period`
    slow: Params  # φ: structure and shapes of the parameters, at least float32

    def evaluation(self) -> Evaluation:
        """The slow weights."""
        return Evaluation("lookahead", self.slow, lambda p, slow: slow)


@transformation
@leaf_wise
@declares(
    final="Its step back leads from the parameters to its slow weights, and misses them.",
    sets="lookahead",
)
def lookahead(
    inner: Transformation, sync_period: Count = 5, slow_step_size: _Part = 0.5
) -> InitUpdate:
    """Step back, every few steps, to a part of the way that they have come (Lookahead).

    It goes around the whole optimizer. Its parameters are the fast weights, as in any training
    loop; `eval_params` reads the slow ones, which the paper evaluates.

        tx = lookahead(adamw(1e-3))
        ...
        evaluate(eval_params(state, params))

    The state of `inner` goes on over a step back, as in the paper. optax wants pairs of slow and
    fast parameters in the training loop, and can reset that state, the steps of schedules too.
    Accumulation and `master_weights` go around it.

    Args:
      inner: the fast optimizer.
      sync_period: k, the number of steps from one step back to the next. The paper takes 5, and
        finds 10 as good; timm takes 6.
      slow_step_size: α, the part of the way that is kept, in (0, 1]; 1 is `inner` alone. The
        paper takes 0.5 and 0.8.

    Returns:
      A transformation with state `LookaheadState`: 4 bytes a parameter in float32 more than
      `inner`.

    Raises:
      ValueError: `inner` holds `schedule_free`, `master_weights` or another `lookahead`, or an
        `accumulate` whose windows `sync_period` is no multiple of.
    """

    require_none("sets", inner, _WITHIN)
    require_whole_windows(inner, "lookahead", "sync_period", sync_period)

    def init(params: Params) -> LookaheadState:
        return LookaheadState(inner.init(params), jnp.zeros((), jnp.int32), wide_copies(params))

    def update(
        updates: Updates, state: LookaheadState, params: Params, **extra: Any
    ) -> tuple[Updates, State]:
        steps, inner_state = update_wide(inner, updates, state.inner_state, params, **extra)
        since = numerics.increment(state.steps_since_sync) % sync_period

        def back(steps: Updates, slow: Params) -> Any:
            return tree.lift(_back_rule, steps, slow, params=params, slow_step_size=slow_step_size)

        def on(steps: Updates, slow: Params) -> Any:
            return tree.lift(_on_rule, steps, slow, params=params)

        steps, slow = when(since == 0, back, on, steps, state.slow)
        return steps, LookaheadState(inner_state, since, slow)

    return init, update


def _back_rule(u: Array, slow: Array, *, p: Array, slow_step_size: Value) -> tuple[Array, Array]:
    """(the fast step, φ, θ) -> (the step from θ to φ, φ)."""
    slow = slow + slow_step_size * (p + u - slow)
    return slow - p, slow


def _on_rule(u: Array, slow: Array, *, p: Array) -> tuple[Array, Array]:
    """(the fast step, φ, θ) -> (the fast step, φ)."""
    return u.astype(p.dtype), slow  # a real step of complex parameters, as the other branch has it
