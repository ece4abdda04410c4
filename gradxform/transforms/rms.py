"""Division by the size that gradients have had: AdaGrad sums it up, RMSprop forgets.

For each array, with gradient g_t at step t = 1, 2, ...:

    AdaGrad      s_t = s_{t-1} + |g_t|²                       u_t = g_t / (sqrt(s_t) + eps)

    RMSprop      v_t = decay v_{t-1} + (1 - decay) |g_t|²     u_t = g_t / (sqrt(v_t) + eps)
    centered     m_t = decay m_{t-1} + (1 - decay) g_t        u_t = g_t / (sqrt(v_t - |m_t|²) + eps)

`eps_root` is added under each root: sqrt(s_t + eps_root) + eps, and likewise the others.

AdaGrad's sum only grows, so its steps decay to zero, as 1 / sqrt(t) for gradients of one size:
right for sparse features and convex problems, a stall elsewhere. RMSprop's average keeps them.

References:
  Duchi, Hazan & Singer, 2011, https://jmlr.org/papers/v12/duchi11a.html
  Tieleman & Hinton, 2012, lecture 6.5 of "Neural networks for machine learning"
  Graves, 2013, equations 38 to 45 (centered), https://arxiv.org/abs/1308.0850
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..core import numerics, tree
from ..core.arguments import Decay, NonNegative, NonNegativeNumber, StateDType
from ..core.factory import transformation
from ..core.foreign import refuse_state
from ..core.numerics import Value
from ..core.types import InitUpdate, Params, State, Updates


class ScaleByRssState(NamedTuple):
    """The sum of squared gradients."""

    sum_of_squares: Params  # s_t: structure and shapes of the parameters, real


class ScaleByRmsState(NamedTuple):
    """The moving average of squared gradients."""

    nu: Params  # v_t: structure and shapes of the parameters, real


class ScaleByCenteredRmsState(NamedTuple):
    """The moving averages of gradients and of their squares."""

    mu: Params  # m_t: structure and shapes of the parameters
    nu: Params  # v_t: likewise, real


@transformation
def scale_by_rss(
    initial_accumulator_value: NonNegativeNumber = 0.0,
    eps: NonNegative = 1e-10,
    *,
    eps_root: NonNegative = 0.0,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Divide each gradient by the root of the sum of its squares so far (AdaGrad).

    Args:
      initial_accumulator_value: s_0, in squared units of the gradient; above 0 it makes the
        first steps shorter.
      eps: added to the root, in units of the gradient. A coordinate whose gradients have all
        been zero has update 0 even if `eps` is 0.
      eps_root: added to the sum under the root, in squared units of the gradient. Optax's `eps` is
        this one.
      state_dtype: dtype of the sum; by default the parameter's, but at least float32. In 16 bit
        the sum soon stops growing.

    Returns:
      A transformation with state `ScaleByRssState`: 4 bytes a parameter in float32.
    """

    def init(params: Params) -> ScaleByRssState:
        return ScaleByRssState(
            tree.zeros_like(params, state_dtype, real=True, fill=initial_accumulator_value)
        )

    def update(updates: Updates, state: ScaleByRssState) -> tuple[Updates, State]:
        updates, total = tree.lift(
            _rss_rule, updates, state.sum_of_squares, eps=eps, eps_root=eps_root
        )
        return updates, ScaleByRssState(total)

    return init, update


def over_root(x: Array, v: Array, eps: Value, eps_root: Value = 0.0) -> Array:
    """x / (sqrt(v + eps_root) + eps)."""
    if isinstance(eps_root, float) and eps_root == 0.0:
        return numerics.divide(x, numerics.root(v), eps)
    return numerics.divide(x, numerics.root(v + eps_root), eps)


def _rss_rule(g: Array, s: Array, *, eps: Value, eps_root: Value) -> tuple[Array, Array]:
    """(g_t, s_{t-1}) -> (u_t, s_t)."""
    s = s + numerics.abs_sq(g)
    return over_root(g, s, eps, eps_root), s


@transformation
def scale_by_rms(
    decay: Decay = 0.9,
    eps: NonNegative = 1e-8,
    *,
    centered: bool = False,
    eps_root: NonNegative = 0.0,
    initial_accumulator_value: NonNegativeNumber = 0.0,
    state_dtype: StateDType = None,
) -> InitUpdate:
    """Divide each gradient by the root of a moving average of its squares (RMSprop).

    The average is not corrected for its start at zero: the first update of a coordinate is
    g / (sqrt(1 - decay) |g|), about 3 for decay 0.9. `scale_by_adam` corrects.

    Args:
      decay: the part of the average that each step keeps, in [0, 1): 0.9 or 0.99.
      eps: added to the root, in units of the gradient, as in torch.
      centered: whether to divide by the standard deviation, |m|² subtracted from the average.
      eps_root: added to the average under the root, in squared units of the gradient, as Graves
        has it. Optax's `eps` is this one, unless `eps_in_sqrt=False`.
      initial_accumulator_value: v_0, in squared units of the gradient. TensorFlow's is 1, with
        which the first steps are short; Optax calls it `initial_scale`.
      state_dtype: dtype of the averages; by default the parameter's, but at least float32.
        In 16 bit the mean of squares loses most of what changes it: see `scale_by_adam`.

    Returns:
      A transformation with state `ScaleByRmsState`, 4 bytes a parameter in float32, or
      `ScaleByCenteredRmsState`, 8 bytes.
    """

    def init(params: Params) -> ScaleByRmsState | ScaleByCenteredRmsState:
        nu = tree.zeros_like(params, state_dtype, real=True, fill=initial_accumulator_value)
        if centered:
            return ScaleByCenteredRmsState(tree.zeros_like(params, state_dtype), nu)
        return ScaleByRmsState(nu)

    def update(
        updates: Updates, state: ScaleByRmsState | ScaleByCenteredRmsState
    ) -> tuple[Updates, State]:
        own = ScaleByCenteredRmsState if centered else ScaleByRmsState
        if not isinstance(state, own):
            refuse_state("scale_by_rms(...).update", state, own.__name__)
        rule = _centered_rms_rule if centered else _rms_rule
        updates, *buffers = tree.lift(
            rule, updates, *state, decay=decay, eps=eps, eps_root=eps_root
        )
        return updates, type(state)(*buffers)

    return init, update


def _rms_rule(
    g: Array, nu: Array, *, decay: Value, eps: Value, eps_root: Value
) -> tuple[Array, Array]:
    """(g_t, v_{t-1}) -> (u_t, v_t)."""
    nu = numerics.ema(nu, numerics.abs_sq(g), decay)
    return over_root(g, nu, eps, eps_root), nu


def _centered_rms_rule(
    g: Array, mu: Array, nu: Array, *, decay: Value, eps: Value, eps_root: Value
) -> tuple[Array, Array, Array]:
    """(g_t, m_{t-1}, v_{t-1}) -> (u_t, m_t, v_t)."""
    mu = numerics.ema(mu, g, decay)
    nu = numerics.ema(nu, numerics.abs_sq(g), decay)
    # Rounding can put the difference below zero where the gradient hardly changes.
    variance = jnp.maximum(nu - numerics.abs_sq(mu), 0.0)
    return over_root(g, variance, eps, eps_root), mu, nu
