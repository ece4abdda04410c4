"""Schedule-free learning: averaging in the place of a learning rate that falls.

Three sequences begin at the same parameters, x_1 = y_1 = z_1. Another optimizer takes the steps
u_t, with the gradient at y_t and the learning rate γ_t:

    y_t = (1 - b1) z_t + b1 x_t                    where gradients are taken: the parameters
    z_{t+1} = z_t + u_t                            what the steps lead to
    x_{t+1} = (1 - c_t) x_t + c_t z_{t+1}          the average: what is evaluated
    c_t = w_t / Σ_{i ≤ t} w_i,   w_t = t^r (max_{i ≤ t} γ_i)^p

x is the mean of z, weighted so that the short steps of a warmup count little (p = 2). The authors
find its loss at every step to be about that of a training whose learning rate falls to zero there,
and no length has to be known before. b1 takes the part of momentum: with 1, gradients are taken
at the average; with 0, which is refused here, the average is that of Polyak and Ruppert.

Two sequences are kept, y by the caller and z in the state; the third follows:
x = y + (y - z) (1 - b1) / b1.

Reference: Defazio et al., 2024, Algorithm 1, https://arxiv.org/abs/2405.15682; `r` and the weights
of a learning rate that varies as in the authors' code.
"""

from functools import partial
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import NonNegative, Transformation
from ..core.factory import transformation
from ..core.hyperparams import ScalarRule
from ..core.numerics import Value
from ..core.reading import live_values
from ..core.types import InitUpdate, Params, State, Updates, declares, leaf_wise, update_wide
from .averages import wide_copies
from .evaluation import Evaluation
from .order import require_none, require_whole_windows

_Interpolation = Annotated[
    Any,
    ScalarRule(
        check.Interval(
            low=0.0,
            low_open=True,
            high=1.0,
            hint="With 0 gradients are taken at z: that is `average_params(inner, start=0)`.",
        )
    ),
]


_WITHIN = (
    "`{0}`, whose updates lead to parameters of its own, and z would not follow them. Put "
    "`schedule_free` inside of `master_weights`, and leave the others out: it averages by itself."
)


class ScheduleFreeState(NamedTuple):
    """The sequence z beside the state of what takes its steps."""

    inner_state: State
    count: Array  # type: ignore[assignment]  # int32: updates so far
    b1: Array  # that of the last update: by it y lies between z and x
    max_lr: Array  # the largest learning rate so far
    weight_sum: Array  # Σ w_i
    z: Params  # z_t: structure and shapes of the parameters, at least float32

    def evaluation(self) -> Evaluation:
        """x, from y and z."""
        return Evaluation("schedule_free", self.z, partial(_average, b1=tree.unboxed(self.b1)))


@transformation
@leaf_wise
@declares(
    final="Its update leads to its own y, from which the average x is read off.",
    sets="schedule_free",
)
def schedule_free(
    inner: Transformation,
    *,
    b1: _Interpolation = 0.9,
    weight_lr_power: NonNegative = 2.0,
    r: NonNegative = 0.0,
) -> InitUpdate:
    """Train without a falling learning rate, and evaluate the average (Schedule-Free).

    It goes around a whole optimizer, whose momentum it replaces and whose learning rate is
    constant after a warmup:

        tx = schedule_free(adamw(warmup(3e-3, 1000), b1=0.0))
        ...
        evaluate(eval_params(state, params))

    The learning rate that is best is larger than one that falls: for AdamW 1 to 10 times, for SGD
    10 to 50 times. The parameters in the loop are y; those to evaluate and to use, x, are what
    `eval_params` reads. Parameters in 16 bit round off most of what the average moves; keep
    them in float32.

    The learning rate of each step is read from the state of `inner`, after the update, as
    `hyperparams` does. optax wants it a second time; there the weights use the schedule one step
    ahead of the optimizer, and z has the precision of the parameters.

    Args:
      inner: the optimizer. Momentum of its own does no harm but mostly no good either, and costs
        its memory. Weight decay in it acts on y. Groups of parameters with learning rates of
        their own are wrapped one by one. Accumulation and guards go around this wrapper: steps
        that do not move z would still count in the average.
      b1: the part of the average in y, in (0, 1]; 0.95 and 0.98 for long trainings.
      weight_lr_power: p, by which steps with a larger learning rate weigh more in the average; 0
        weighs all alike.
      r: by which later steps weigh more in the average, as t^r; 0 weighs all alike.

    Returns:
      A transformation with state `ScheduleFreeState`: 4 bytes a parameter in float32 more than
      `inner`.

    Raises:
      ValueError: `inner` holds `accumulate`, `lookahead`, `master_weights` or another
        `schedule_free`; by `init`: it has no learning rate that can be read, or several.
    """

    require_none("sets", inner, _WITHIN)
    require_whole_windows(inner, "schedule_free", "", 1)

    def init(params: Params) -> ScheduleFreeState:
        inner_state = inner.init(params)
        _learning_rate(inner_state)  # before the first step, not at it
        dtype = numerics.scalar_dtype()
        return ScheduleFreeState(
            inner_state=inner_state,
            count=jnp.zeros((), jnp.int32),
            b1=jnp.array(b1, dtype, copy=True),
            max_lr=jnp.zeros((), dtype),
            weight_sum=jnp.zeros((), dtype),
            z=wide_copies(params),
        )

    def update(
        updates: Updates, state: ScheduleFreeState, params: Params, **extra: Any
    ) -> tuple[Updates, State]:
        steps, inner_state = update_wide(inner, updates, state.inner_state, params, **extra)
        t = numerics.increment(state.count)
        max_lr = jnp.maximum(state.max_lr, _learning_rate(inner_state))
        weight = _weight(t, max_lr, weight_lr_power, r)
        weight_sum = state.weight_sum + weight
        moves, z = tree.lift(
            _schedule_free_rule,
            steps,
            state.z,
            params=params,
            b1_before=state.b1,
            b1=b1,
            c=numerics.divide(weight, weight_sum),
        )
        b1_now = jnp.array(b1, state.b1.dtype, copy=True)
        return moves, ScheduleFreeState(inner_state, t, b1_now, max_lr, weight_sum, z)

    return init, update


def _weight(t: Array, max_lr: Array, weight_lr_power: Value, r: Value) -> Array:
    """w_t."""
    return jnp.power(t.astype(max_lr.dtype), r) * jnp.power(max_lr, weight_lr_power)


def _schedule_free_rule(
    u: Array, z: Array, *, p: Array, b1_before: Array, b1: Value, c: Array
) -> tuple[Array, Array]:
    """(u_t, z_t, y_t) -> (y_{t+1} - y_t, z_{t+1})."""
    x = _average(p, z, b1=b1_before)
    z = z + u
    x = x + c * (z - x)
    return z + b1 * (x - z) - p, z


def _average(y: Array, z: Array, *, b1: Array) -> Array:
    """x, of which y = (1 - b1) z + b1 x."""
    b1 = b1.astype(numerics.real_dtype(y.dtype))
    return y + (1.0 - b1) / b1 * (y - z)


def _learning_rate(state: State) -> Array:
    """The reading of the learning rate in the state of the inner transformation."""
    found = live_values(state)
    several = [name for name in found if name.endswith("/learning_rate")]
    check.require(
        not several,
        f"the inner transformation has several learning rates ({', '.join(sorted(several))}), and "
        "the weights of the average are made of one. Wrap each group by itself: "
        '`partition({"a": (mask, schedule_free(...)), ...})`.',
    )
    check.require(
        "learning_rate" in found,
        "the weights of the average are made of the learning rate, and the inner transformation "
        "has none that can be read. End it with ours: "
        "`schedule_free(chain(..., scale_by_learning_rate(0.1)))`.",
    )
    rate: Array = found["learning_rate"]
    return rate
