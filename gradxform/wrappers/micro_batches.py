"""The gradient of a large batch from micro-batches, inside one step.

With a batch cut into k micro-batches, losses ℓ_i of their examples and weights w_i (1 unless the
loss function gives them):

    ℓ = Σ w_i ℓ_i / Σ w_i        g = Σ w_i ∇ℓ_i / Σ w_i

A scan computes one term after the other, so that the memory holds the activations of one
micro-batch and one sum of gradients, whatever k is. The sums are in float32 at least.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..core import check, numerics, tree
from . import micro_parts, window
from .micro_parts import Argnums, AuxReduction, Roles
from .scalar_loss import require_examples, scalar_loss


class _Rest(NamedTuple):
    """What a loss function returned beside the loss."""

    weight: Array | None
    state: Any
    aux: Any


def accumulated_value_and_grad(
    loss_fn: Callable[..., Any],
    micro_batches: int,
    *,
    argnums: Argnums = 0,
    has_aux: bool = False,
    batch_argnums: Argnums = 1,
    state_argnum: int | None = None,
    key_argnums: Argnums = (),
    weighted: bool = False,
    reduction: Literal["mean", "sum"] = "mean",
    aux_reduction: AuxReduction = None,
) -> Callable[..., Any]:
    """`jax.value_and_grad` of a large batch, in the memory of a micro-batch.

        @jax.jit
        def step(params, state, batch):
            loss, grads = accumulated_value_and_grad(loss_fn, 8)(params, batch)
            updates, state = optimizer.update(grads, state, params, value=loss)
            return apply_updates(params, updates), state

    The batch is cut along the first axis of its arrays. Micro-batch i has the examples i, i + k,
    i + 2k, ..., so that each is spread over the devices as the batch is.

    Args:
      loss_fn: as `jax.value_and_grad` takes it: returns a scalar, the mean over its examples, or
        what the options below say. Its parameters may hold leaves without a gradient, such as the
        functions in an Equinox module; theirs is `None`.
      micro_batches: k, a divisor of the number of examples. With 1 there is no scan.
      argnums: the positions of the parameters.
      has_aux: whether `loss_fn` returns `(loss, aux)`.
      batch_argnums: the positions of the trees of arrays that are cut. All other arguments are the
        same for every micro-batch, except for the following.
      state_argnum: the position of a model's state, such as `batch_stats`, that each micro-batch
        gets from the one before. `loss_fn` returns `(loss, state)`, or `(loss, (state, aux))`.
      key_argnums: the positions of random keys, or of trees of them: micro-batch i gets
        `fold_in(key, i)`. Other keys are the same for all, and so is their dropout.
      weighted: whether `loss_fn` returns `(loss, weight)` in the place of `loss`, with the number
        of examples or tokens that its mean is over. One of weight 0 is left out, also where its
        loss is 0 / 0, and if all are, loss and gradients are 0. The weight has no gradient.
      reduction: "sum" where the loss is a sum over its examples: nothing is divided.
      aux_reduction: what becomes of `aux`: "mean" (with the weights), "sum", "stack" (along a new
        first axis) or "concatenate" (along the axis of the examples, in their order), for all of it
        or as a tree of these words that has the structure of `aux`, or a prefix. By default scalars
        are averaged, and for anything else an error asks.

    Returns:
      A function of the arguments of `loss_fn` that returns what `jax.value_and_grad` would:
      `(value, grads)`, and `(value, aux)` in the place of the value if it returns more. Value and
      gradients are in at least float32, also for parameters of 16 bits. Those of complex parameters
      are conjugated, as transformations take them: along them the loss rises.

    Raises:
      TypeError: `loss_fn` is no function.
      ValueError: the loss is no real scalar; the batch has no examples, an array of it cannot be
        cut into k equal parts, or the arrays differ in the number of examples, with the path of
        the array.
    """
    call = "accumulated_value_and_grad"
    if not callable(loss_fn):
        raise TypeError(
            f"`{call}(loss_fn, micro_batches)`: `loss_fn` must be a function to the loss; got "
            f"{check.brief(loss_fn)}."
        )
    k = check.Whole()(call, "micro_batches", micro_batches)
    check.Choice(("mean", "sum"))(call, "reduction", reduction)
    with check.calling(f"{call}(...)"):
        roles = Roles(argnums, batch_argnums, state_argnum, key_argnums)
    has_state, mean = state_argnum is not None, reduction == "mean"

    def terms(trainable: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, _Rest]:
        loss, rest = loss_fn(*roles.with_parameters(args, trainable), **kwargs), None
        if has_state or has_aux:
            loss, rest = micro_parts.pair(loss, "(loss, state)" if has_state else "(loss, aux)")
        state, aux = (rest, None) if has_state else (None, rest)
        if has_state and has_aux:
            state, aux = micro_parts.pair(rest, "(state, aux)", " behind the loss")
        weight = None
        if weighted:
            loss, weight = micro_parts.pair(loss, "(loss, weight)")
            weight = micro_parts.weight_of(weight)
        loss = scalar_loss(loss)
        micro_parts.require_reducible(aux, aux_reduction)
        return loss, _Rest(weight, state, aux)

    differentiate = jax.value_and_grad(terms, has_aux=True)

    def result(loss: Array, rest: _Rest, grads: Any) -> Any:
        more = [rest.state] * has_state + [rest.aux] * has_aux
        beside = more[0] if len(more) == 1 else tuple(more)
        grads = tree.ascent(grads)
        return (loss, beside) if more else loss, grads if roles.several else grads[0]

    def alone(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        (loss, rest), grads = differentiate(roles.trainable(args), args, kwargs)
        w = rest.weight
        if w is not None:
            loss, grads = tree.lift(_alone_rule, (loss, grads), w=w, mean=mean)
        return result(tree.widen(loss), rest, jax.tree.map(tree.widen, grads))

    @functools.wraps(loss_fn)
    def value_and_grad(*args: Any, **kwargs: Any) -> Any:
        with check.calling(f"{call}(...)"):
            roles.require(args, kwargs)
            if mean and not weighted:
                require_examples([args[i] for i in roles.batch])
            return alone(args, kwargs) if k == 1 else scanned(args, kwargs)

    def scanned(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        trainable = roles.trainable(args)
        parts = micro_parts.cut(args, roles.batch, k)

        def one(carry: Any, i: Array) -> Any:
            sums, total, state = carry
            (loss, new), grads = differentiate(trainable, roles.at(args, parts, state, i), kwargs)
            w = new.weight
            total = total + (jnp.ones_like(total) if w is None else w)
            # The sum becomes the mean in the pass over the memory that adds the last gradient.
            ends = (i == k - 1) & (total != 0)
            by = jnp.where(ends, total, jnp.ones_like(total)) if mean else None
            use = None if w is None else w != 0
            sums, _ = tree.lift(window.added, grads, sums, begins=None, w=w, use=use, by=by)
            if has_state:
                state = micro_parts.as_before(state, new.state)
            return (sums, total, state), (loss, w, new.aux)

        first = args[state_argnum] if state_argnum is not None else None
        start = tree.zeros_like(trainable), jnp.zeros((), numerics.scalar_dtype()), first
        last, (losses, weights, aux) = lax.scan(one, start, jnp.arange(k, dtype=jnp.int32))
        loss = micro_parts.mean_of(tree.widen(losses), weights, reduction)
        aux = micro_parts.reduced(aux, weights, aux_reduction)
        return result(loss, _Rest(None, last[2], aux), last[0])

    return value_and_grad


def _alone_rule(x: Array, *, w: Array, mean: bool) -> Array:
    """The only term: x or w x, and 0 where w is, since 0 times NaN is NaN."""
    return jnp.where(w != 0, x if mean else w * x, jnp.zeros_like(x))
