"""Sharpness-aware minimization: the gradient at the worst point near by.

With gradient g = ∇f(w) and |g| its norm over all arrays together:

    SAM     ε = ρ g / |g|
    ASAM    ε = ρ T² g / |T g|,   T = |w| + η, coordinate by coordinate

    the step is that of ∇f(w + ε), taken from w

ε climbs to about where f is largest within a distance ρ of w, so minima in whose neighbourhood the
loss rises fast are left again. ASAM measures the distance in units of the parameters, so that a
network that computes the same with other scales of its layers has the same neighbourhood. Each
step costs a second gradient.

References:
  Foret et al., 2021, Algorithm 1, https://arxiv.org/abs/2010.01412
  Kwon et al., 2021, Algorithm 1, https://arxiv.org/abs/2102.11600
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..core import check, numerics, tree
from ..core.arguments import NonNegative, Transformation
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.shards import AxisName, AxisNameRule, View
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, update_wide, whole_arrays
from .loss_scale import dynamic_loss_scale
from .micro_parts import pair
from .scalar_loss import scalar_loss
from .skipping import require_not_inside

GradFn = Callable[[Params], Updates]


@transformation
@leaf_wise
@whole_arrays
def sam(
    inner: Transformation,
    *,
    rho: NonNegative = 0.05,
    adaptive: bool = False,
    eta: NonNegative = 0.01,
    axis_name: AxisName = None,
) -> InitUpdate:
    """Give an optimizer the gradient at the worst point near by (SAM, or ASAM with `adaptive`).

    `update` needs a function from parameters to gradients, for the same batch:

        grad_fn = jax.grad(lambda params: loss(params, batch))
        updates, state = update(grad_fn(params), state, params, grad_fn=grad_fn)

    Of complex parameters both gradients are conjugated: `grad_fn` ends in `jax.tree.map(jnp.conj,
    grads)`.

    Where nothing stands between the gradients and the optimizer, `sam_value_and_grad` is the
    simpler way. The wrapper is for links before it that change the gradient by which it climbs,
    for a `rho` that is scheduled or tuned, and for groups. Under data parallelism `grad_fn` has
    to average over the devices itself. `dynamic_loss_scale` goes around the wrapper, and `grad_fn`
    divides by the scale itself, as that of `make_train_step` does. Guards around it test the first
    gradient; `sam(skip_nonfinite(...))` tests the second.

    Args:
      inner: the optimizer; it sees the second gradient and the parameters w.
      rho: ρ, how far to climb, in units of the parameters; for ASAM in parts of them, where the
        paper takes 0.5 and 1. 0 is `inner` alone.
      adaptive: whether to climb by ASAM.
      eta: η, with `adaptive` a floor of T in units of the parameters. The authors' code has T = 1
        for biases; here T is the same rule for all.
      axis_name: inside of `jax.shard_map`, the mesh axes that arrays are split over, or `()`; see
        `clip_by_global_norm`.

    Returns:
      A transformation with the state of `inner`. optax's in its opaque mode takes an optimizer
      for the climb, and is NaN where the gradient is zero; here ε = 0 then.

    Raises:
      ValueError: `inner` holds a `dynamic_loss_scale`; by `update`: what `grad_fn` returns does not
        fit the parameters.
    """

    require_not_inside(
        (dynamic_loss_scale,),
        inner,
        ", which would divide by the scale what `grad_fn` returns without it. Turn them round: "
        "`dynamic_loss_scale(sam(...))`.",
    )

    def init(params: Params) -> State:
        return inner.init(params)

    def update(
        updates: Updates, state: State, params: Params, *, grad_fn: GradFn, **extra: Any
    ) -> tuple[Updates, State]:
        check.require(
            callable(grad_fn),
            "`grad_fn` is a function from parameters to gradients, as "
            f"`jax.grad(lambda params: loss(params, batch))`; got {check.brief(grad_fn)}.",
        )
        grads = grad_fn(_climbed(params, updates, rho, adaptive, eta))
        check.require(
            not _is_leaf(grads) or _is_leaf(params),
            "`grad_fn` must return a gradient for each parameter; it returned "
            f"{check.brief(grads)}. Is it the loss, without `jax.grad`?",
        )
        tree.require_matching(grads, params)
        # A parameter without a gradient has none at the other point either.
        grads = jax.tree.map(
            lambda g, h: None if g is None else h, updates, grads, is_leaf=_is_none
        )
        return update_wide(inner, grads, state, params, grad_fn=grad_fn, **extra)

    return init, update


def sam_value_and_grad(
    loss_fn: Callable[..., Any],
    rho: float | Array = 0.05,
    *,
    adaptive: bool = False,
    eta: float | Array = 0.01,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    axis_name: str | Sequence[str] | None = None,
) -> Callable[..., Any]:
    """`jax.value_and_grad`, with the gradient at the worst point near by (SAM).

        loss, grads = sam_value_and_grad(loss_fn, rho=0.05)(params, batch)
        updates, state = tx.update(grads, state, params)

    Args:
      loss_fn: a function that returns a real scalar, or with `has_aux` a pair of it and anything.
      rho: ρ, how far to climb; a number, or an array that may be traced.
      adaptive: whether to climb by ASAM.
      eta: as for `sam`.
      argnums: which arguments to differentiate by; several are taken together, with one norm.
      has_aux: whether `loss_fn` returns a pair.
      axis_name: inside of `jax.shard_map`, the mesh axes that parameters are split over, or `()`;
        see `clip_by_global_norm`.

    Returns:
      A function of the same arguments that returns (value, gradients). The value, and what comes
      with it, are those at the parameters themselves: statistics of a batch normalization are not
      those of the perturbed network. Gradients of complex parameters are conjugated, as
      transformations take them: along them the loss rises.

    Raises:
      ValueError: by the function, where `loss_fn` returns something else.
    """
    rho = check.Interval(low=0.0)("sam_value_and_grad", "rho", rho)
    eta = check.Interval(low=0.0)("sam_value_and_grad", "eta", eta)
    view = View(True, AxisNameRule()("sam_value_and_grad", "axis_name", axis_name), True)

    def returned(*args: Any, **kwargs: Any) -> Any:
        value = loss_fn(*args, **kwargs)
        with check.calling("sam_value_and_grad(...)"):
            if not has_aux:
                return scalar_loss(value)
            value, aux = pair(value, "(loss, aux)")
            return scalar_loss(value), aux

    first = jax.value_and_grad(returned, argnums, has_aux=has_aux)
    second = jax.grad(returned, argnums, has_aux=has_aux)
    one = isinstance(argnums, int)
    chosen: tuple[int, ...] = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def value_and_grad(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        value, grads = first(*args, **kwargs)
        grads = tree.ascent(grads)
        params = tuple(args[i] for i in chosen)
        climbed = list(args)
        with check.calling("sam_value_and_grad(...)"), view.summing((grads, params)):
            moved = _climbed(params, (grads,) if one else grads, rho, adaptive, eta)
        for i, p in zip(chosen, moved, strict=True):
            climbed[i] = p
        grads = second(*climbed, **kwargs)
        return value, tree.ascent(grads[0] if has_aux else grads)

    return value_and_grad


def _climbed(params: Params, grads: Updates, rho: Value, adaptive: bool, eta: Value) -> Params:
    """w + ε, in the dtypes of the parameters."""
    along = grads
    if adaptive:
        along = tree.lift(_in_parts_rule, grads, params=params, eta=eta)
    size = numerics.divide(jnp.asarray(rho, numerics.scalar_dtype()), numerics.global_norm(along))
    moves = tree.lift(_climb_rule, along, params=params, size=size, adaptive=adaptive, eta=eta)
    return jax.tree.map(_moved, moves, params, is_leaf=_is_none)


def _in_parts_rule(g: Array, *, p: Array, eta: Value) -> Array:
    """(g, w) -> T g."""
    return (jnp.abs(p) + eta) * g


def _climb_rule(g: Array, *, p: Array, size: Array, adaptive: bool, eta: Value) -> Array:
    """(g or T g, w) -> ε."""
    return size * _in_parts_rule(g, p=p, eta=eta) if adaptive else size * g


def _moved(move: Any, p: Any) -> Any:
    if move is None:
        return p
    return (numerics.at_precision(p, numerics.real_dtype(move.dtype)) + move).astype(
        jnp.asarray(p).dtype
    )


def _is_leaf(x: Any) -> bool:
    return bool(jax.tree_util.treedef_is_leaf(jax.tree.structure(x)))


def _is_none(x: Any) -> bool:
    return x is None
