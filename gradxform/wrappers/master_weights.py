"""Master weights: 16-bit parameters that are trained in float32.

bfloat16 keeps 8 digits, so an update below 1/512 of a parameter is rounded away, and most updates
of a training are. Here the parameters p are what the model computes with, and the training is
that of a copy m in float32 (the master):

    m_t = m_{t-1} + u_t        u_t: the update that `inner` makes of the masters
    p_t = round(m_t)           small updates add up in m until p moves

What is returned is p_t - p_{t-1} in float32, and adding it in float32 lands on p_t. The difference
is exact unless one of the two is more than 2^16 times the other (bfloat16; 2^13, float16). If p_t
is that much larger, the error is far below its last digit. If it is that much smaller, a few in
100,000 land beside it, within half of the last digit that p_{t-1} has in float32, and the master
goes on from there: an error of the size that the float32 sum has anyway.

Reference: Micikevicius et al., 2018, section 3.1, https://arxiv.org/abs/1710.03740
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from ..core import numerics, tree
from ..core.arguments import Transformation
from ..core.factory import transformation
from ..core.types import InitUpdate, Params, State, Updates, declares, update_wide, wide_updates


class MasterWeightsState(NamedTuple):
    """The parameters in float32, and the state of what trains them."""

    inner_state: State
    master: Params  # m_t in float32 for 16-bit parameters; `optax.MaskedNode()` for the others


@transformation
@wide_updates
@declares(
    final="The update of a master is the exact way from one rounded parameter to the next. "
    "Changed, it lands elsewhere, and the masters start again from there: small updates are lost "
    "as if there were none.",
    sets="master_weights",
)
def master_weights(inner: Transformation) -> InitUpdate:
    """Train float32 copies of 16-bit parameters, which follow rounded.

        tx = master_weights(adamw(1e-3))
        params = {"w": jnp.ones(3, jnp.bfloat16)}

    `inner` sees the copies in the place of the parameters, and gradients in float32: its moments
    and its weight decay are those of a float32 training. Parameters in float32, float64 or
    complex have no copy.

    The updates stay in float32 for 16-bit parameters, also at the end of a chain or wrapper that
    this is part of. They are meant for `apply_updates`, Optax's or this library's, which add them
    in float32; `nnx.Optimizer` uses Optax's. Nothing may change or round them on the way: it
    goes around the whole optimizer, learning rate included, and chains end with it. It also goes
    around what sets parameters, such as `lookahead` and `schedule_free`.

    A parameter that is not the rounded master when the next update comes was changed from
    outside: restored, clipped, averaged, or moved by another update than this one. The master
    then starts again from the parameter, coordinate by coordinate; the moments stay.

    Args:
      inner: the whole optimizer. `state_dtype=` of its blocks sets the dtype of its moments as
        ever; by default they are float32.

    Returns:
      A transformation with state `MasterWeightsState`: the state of `inner` for float32
      parameters, and 4 bytes a 16-bit parameter more.
    """

    def init(params: Params) -> MasterWeightsState:
        tree.require_trainable("master_weights.init(params)", params)
        # A masked place stands for a framework's box as well.
        master = jax.tree.map(_master, tree.unboxed(params), params)
        return MasterWeightsState(inner.init(jax.tree.map(_widened, params)), master)

    def update(
        updates: Updates, state: MasterWeightsState, params: Params, **extra: Any
    ) -> tuple[Updates, State]:
        trained, _ = tree.lift(_trained_rule, params, state.master, along={"p": params})
        wide = jax.tree.map(tree.widen, updates)
        new, inner_state = update_wide(inner, wide, state.inner_state, trained, **extra)
        new, master = tree.lift(
            _step_rule, new, state.master, along={"trained": trained, "p": params}
        )
        return new, MasterWeightsState(inner_state, master)

    return init, update


def _trained_rule(wide: Array, master: Any, *, p: Any) -> tuple[Array, Any]:
    """(p in at least float32, m_{t-1}) -> (what is trained, m_{t-1})."""
    if isinstance(master, optax.MaskedNode):
        return jnp.asarray(p), master
    return jnp.where(wide == _rounded(master, p), master, wide), master


def _step_rule(u: Array, master: Any, *, trained: Array, p: Any) -> tuple[Array, Any]:
    """(u_t, m_{t-1}) -> (p_t - p_{t-1}, m_t)."""
    if isinstance(master, optax.MaskedNode):
        return u, master
    after = trained + u.astype(trained.dtype)
    return _rounded(after, p) - jnp.asarray(p).astype(after.dtype), after


def _rounded(x: Array, p: Any) -> Array:
    """float32 numbers rounded to the dtype of p, in float32.

    Not by converting there and back: XLA may leave out such a pair.
    """
    target, own = (_format(y.dtype) for y in (jnp.asarray(p), x))
    # With the exponents of float32, because `reduce_precision` makes subnormal numbers zero.
    rounded = lax.reduce_precision(x, own.nexp, target.nmant)
    if target.nexp == own.nexp:
        return rounded
    least, normal = (
        jnp.asarray(y, x.dtype) for y in (target.smallest_subnormal, target.smallest_normal)
    )
    return jnp.where(jnp.abs(x) < normal, jnp.round(x / least) * least, rounded)


def _format(dtype: Any) -> Any:
    return jnp.finfo(dtype)  # type: ignore[no-untyped-call]


def _master(p: Any, in_its_box: Any) -> Any:
    return jax.tree.map(_copy, in_its_box) if _is_narrow(p) else optax.MaskedNode()


def _widened(p: Any) -> Any:
    return _copy(p) if _is_narrow(p) else p


def _copy(p: Any) -> Array:
    return jnp.asarray(p).astype(numerics.wide_dtype(jnp.asarray(p).dtype))


def _is_narrow(p: Any) -> bool:
    dtype = jnp.asarray(p).dtype
    return bool(numerics.wide_dtype(dtype) != dtype)
