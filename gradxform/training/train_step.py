"""A whole training step: loss, gradients, update, in one jitted function that donates its state."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import Array

from ..core import check, numerics
from ..core.reading import live_values
from ..core.types import Params, require_transformation
from ..placement.places import Places, in_dtypes_of
from ..transforms.curvature import hutchinson
from ..wrappers.apply import apply_updates
from ..wrappers.loss_scale import DynamicLossScaleState, scale_loss
from .donating import DonatingStep
from .train_loss import Loss
from .train_state import TrainState, require_state, require_train_state

Metrics = dict[str, Any]
TrainStep = Callable[..., tuple[TrainState, Metrics]]


def make_train_step(
    loss_fn: Callable[..., Any],
    tx: optax.GradientTransformation,
    *,
    has_aux: bool = False,
    accumulate: int = 1,
    like: TrainState | None = None,
) -> TrainStep:
    """Compile a loss function and an optimizer into a step of training.

        step = make_train_step(loss_fn, tx)
        state = TrainState.create(tx, params)
        for batch in batches:
            state, metrics = step(state, batch)

    It works with any model whose parameters are a tree of arrays: the `params` of Flax's Linen and
    of Haiku, `nnx.split(model, nnx.Param, ...)`, `equinox.partition(model, eqx.is_inexact_array)`.

    The state is donated: each array of it is changed in place, and the state that was passed in is
    gone afterwards.

    Args:
      loss_fn: `loss_fn(params, batch)`, which returns the loss, a real scalar. It may take two
        more arguments, by these names: `key`, a random key of its own for each step (and
        micro-batch), and `model_state`. With `model_state` it returns `(loss, model_state)`, the
        latter changed; with `has_aux` `(loss, aux)`; with both `(loss, (model_state, aux))`.
      tx: the optimizer. Its `update` is given, besides gradients, state and parameters, `value`
        (the loss), `grad` (the gradients), and three functions of parameters on the step's batch:
        `value_fn` and `grad_fn`, with the step's key and model state, and `hessian_fn`, which is
        `hutchinson(value_fn)`. So line searches, `sam` and `sophia` need nothing else. The loss is
        scaled where the state holds a `dynamic_loss_scale`. Gradients of complex parameters are
        conjugated: along them the loss rises.
      has_aux: whether the loss function returns more than the loss.
      accumulate: into how many micro-batches of equal size each batch is split along the first
        axis. Loss and gradients are their mean, in at least float32, with the memory of one. The
        model state passes from one to the next. Real scalars in the aux are averaged, and all
        else in it is stacked.
      like: a train state, of arrays or of abstract ones, that lies where the returned one shall.
        With many devices: see `make_update_step`.

    Returns:
      A jitted function `(state, batch, **extra) -> (state, metrics)`. `metrics` is a dict of
      arrays: `loss`, the live hyperparameters of the optimizer by name, as this step used them,
      and `aux` if there is one. What else the optimizer tells, such as the norms of `with_metrics`,
      is in `metrics(state.opt_state)`. Extra arguments are passed to `update`, in the place of
      those above if they have their names, such as `value=validation_loss`.

    Raises:
      TypeError: `loss_fn` takes an argument that the step does not give it.
      ValueError: by the step: a loss that is no real scalar, a batch without examples or one that
        cannot be split, a state that an earlier step was given, or one of other trees or shapes
        than those of `like`.
    """
    require_transformation("make_train_step(loss_fn, tx)", "`tx`", tx)
    accumulate = check.Whole()("make_train_step", "accumulate", accumulate)
    tx = optax.with_extra_args_support(tx)
    loss = Loss(loss_fn, has_aux)
    places = Places(None)
    if like is not None:
        places = Places(require_train_state(like), like.params, like.opt_state)

    def step(state: TrainState, batch: Any, **extra: Any) -> tuple[TrainState, Metrics]:
        with check.calling("step(state, batch)"):
            require_state(state, batch)
            loss.require(state)
        places.require(state, "step(state, batch)")
        scale = _scale_of(state.opt_state)
        key = None if state.key is None else jax.random.fold_in(state.key, state.step)
        value_and_grad = loss.value_and_grad(accumulate, scale)

        def at(params: Params) -> tuple[tuple[Array, Any], Params]:
            return value_and_grad(places.to_params(params), batch, state.model_state, key)

        (scaled, (model_state, aux)), grads = at(state.params)
        grads = places.to_pieces(grads)

        def grad_fn(params: Params) -> Params:
            return jax.tree.map(lambda g: g / scale, at(params)[1])

        # optax's line searches refuse what their `value_fn` does not name.
        def value_fn(params: Params, *, grad_fn: Any = None, hessian_fn: Any = None) -> Array:
            del grad_fn, hessian_fn
            if accumulate > 1:
                return at(params)[0][0] / scale
            return loss.scaled(1.0, places.to_params(params), batch, state.model_state, key)[0]

        known = {
            "value": scaled / scale,
            "grad": jax.tree.map(lambda g: g / scale, grads),
            "value_fn": value_fn,
            "grad_fn": grad_fn,
            "hessian_fn": hutchinson(value_fn),
        }

        def update(grads: Params, params: Params, opt_state: Any) -> tuple[Params, Any]:
            params = places.to_pieces(params)
            updates, after = tx.update(grads, opt_state, params, **{**known, **extra})
            new_params = places.to_params(apply_updates(params, updates))
            return new_params, in_dtypes_of(opt_state, after)

        params, opt_state = _after_all(update, state.step, grads, state.params, state.opt_state)
        after = TrainState(
            step=numerics.increment(state.step),
            params=params,
            opt_state=opt_state,
            model_state=model_state,
            key=state.key,
        )
        metrics = {"loss": scaled / scale, **live_values(opt_state)}
        return after, {**metrics, "aux": aux} if has_aux else metrics

    jitted = jax.jit(step, donate_argnums=0, out_shardings=(places.returned, None))
    return DonatingStep(jitted, "step(state, batch)", ("state", "batch"), donated=1)


def _after_all(update: Callable[..., Any], step: Array, grads: Params, *changed: Any) -> Any:
    """`update(grads, *changed)`, not begun before all of the gradients are there.

    A parameter can be changed in place only after the last gradient that is computed from it. XLA
    for CPU decides on copies before it orders the program, and copies nearly every parameter; a
    barrier is gone by then. A branch waits for all of its arguments, and step is never negative.
    """
    if jax.default_backend() != "cpu":
        return update(grads, *changed)
    return jax.lax.cond(step >= 0, update, lambda _, *kept: kept, grads, *changed)


def _scale_of(opt_state: Any) -> Any:
    """The scale of the loss: 1 where the optimizer has none."""

    def is_scaled(x: Any) -> bool:
        return isinstance(x, DynamicLossScaleState)

    leaves = jax.tree.leaves(opt_state, is_leaf=is_scaled)
    return scale_loss(opt_state, 1.0) if any(map(is_scaled, leaves)) else 1.0
