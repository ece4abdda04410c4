"""Parts of the parameters: one transformation for each, or for one of them only.

A transformation inside sees the selected parameters and nothing else: the places of the others
hold `optax.MaskedNode()`, which has no leaves. So it has no state for them, and a norm that it
takes is the norm of its part.

    masked       the rest passes through, as it came
    freeze       the selected parameters stay as they are, the rest is updated
    partition    every parameter belongs to one group, and each group has a transformation
"""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from ..core import check, position, tree
from ..core.arguments import Mask, Transformation
from ..core.factory import transformation
from ..core.mask import kept, mask_tree, merged
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, update_wide
from .group_rules import DEFAULT, GroupsRule, assign

_Groups = Annotated[dict[str, tuple[Any, Any]], GroupsRule()]


@transformation
@leaf_wise
def masked(inner: Transformation, mask: Mask) -> InitUpdate:
    """Apply a transformation to the selected parameters, and pass the other updates on.

    Around a block of a chain it is what it says. Around a whole optimizer it hardly ever is what
    is meant: the raw gradients of the others pass through and would be added to the parameters.
    `freeze` keeps parameters as they are, and `partition` gives them another optimizer.

    Args:
      inner: what is applied; its norms and counts are over the selected parameters only. A
        function among the extra arguments of `update`, such as `hessian_fn`, is still given all
        parameters.
      mask: the parameters that it applies to: a selector, a tree or prefix tree of bools, or a
        function from the parameters to one.

    Returns:
      A transformation with the state that `inner` has for the selected parameters.

    Raises:
      ValueError: by `init` and `update`: a selector that matches nothing; with the paths there are.
    """

    def init(params: Params) -> State:
        tree.require_trainable("masked.init(params)", params)
        chosen = mask_tree("masked", mask, params)
        return inner.init(params if chosen is None else kept(chosen, params))

    def update(
        updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        chosen = mask_tree("masked", mask, updates if params is None else params)
        return _inside(inner, chosen, updates, state, params, extra, outside=_as_it_came)

    return init, update


@transformation
@leaf_wise
def freeze(inner: Transformation, mask: Mask) -> InitUpdate:
    """Keep the selected parameters as they are, and update the others with a transformation.

    The update of a frozen parameter is 0, weight decay inside `inner` included, and there is no
    state for it. Its gradient does not count where `inner` takes a norm of all gradients.

    Args:
      inner: what updates the parameters that are not frozen.
      mask: the parameters that are frozen: a selector, a tree or prefix tree of bools, or a
        function from the parameters to one.

    Returns:
      A transformation with the state that `inner` has for the other parameters.

    Raises:
      ValueError: by `init` and `update`: a selector that matches nothing; with the paths there are.
    """
    check.require(mask is not None, "`mask` says which parameters are frozen; see `select.path`.")

    def init(params: Params) -> State:
        tree.require_trainable("freeze.init(params)", params)
        return inner.init(kept(_others("freeze", mask, params), params))

    def update(
        updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        moving = _others("freeze", mask, updates if params is None else params)
        return _inside(inner, moving, updates, state, params, extra, outside=_nothing)

    return init, update


@transformation
@leaf_wise
def partition(groups: _Groups, default: Transformation | None = None) -> InitUpdate:
    """Give each group of parameters a transformation of its own.

        partition(
            {
                "embeddings": (select.path(".*embedding"), adam(1e-3)),
                "matrices": (select.ndim_at_least(2), adamw(3e-4, weight_decay=0.1)),
            },
            default=adam(3e-4),
        )

    Args:
      groups: by name, what selects the group (a selector, a tree or prefix tree of bools, or a
        function from the parameters to one) and its transformation. A parameter belongs to the
        first group, in the order of the dict, that selects it.
      default: the transformation of the parameters that no group selects; they are the group
        `default`. Without it, such parameters are an error that lists them.

    Returns:
      A transformation whose state is a dict from each group's name to the state that its
      transformation has for the group. `hyperparams(state)` qualifies by these names, as in
      `embeddings/learning_rate`.

    Raises:
      ValueError: by `init` and `update`: a group without parameters, or a parameter without a
        group; the message lists the paths.
    """
    transformations = {name: tx for name, (_, tx) in groups.items()}
    if default is not None:
        transformations[DEFAULT] = default
    masks = {name: mask for name, (mask, _) in groups.items()}

    def init(params: Params) -> State:
        chosen = assign(masks, params, default is not None)
        states = {}
        for name, tx in transformations.items():
            with position.named(name):
                states[name] = tx.init(kept(chosen[name], params))
        return states

    def update(
        updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        chosen = assign(masks, updates if params is None else params, default is not None)
        result, states = updates, {}
        for name, tx in transformations.items():
            group, states[name] = _inside(
                tx, chosen[name], updates, state[name], params, extra, outside=None
            )
            result = merged(chosen[name], group, result)
        return result, states

    return init, update


def _others(call: str, mask: Any, params: Params) -> Any:
    return jax.tree.map(lambda use: not use, mask_tree(call, mask, params))


def _as_it_came(g: Any, p: Any) -> Any:
    del p
    return tree.widen(g)


def _nothing(g: Any, p: Any) -> Any:
    # Like the parameter, as an update is: there may be a gradient for each example.
    return None if g is None else jnp.zeros_like(tree.widen(g if p is None else p))


def _inside(
    inner: Any,
    chosen: Any,
    updates: Updates,
    state: State,
    params: Params,
    extra: dict[str, Any],
    outside: Callable[[Any, Any], Any] | None,
) -> tuple[Updates, State]:
    """The update of `inner` on its part; elsewhere what `outside` makes of the rest, if given.

    Where it is not given, the places of the others are left empty.
    """
    if chosen is None:
        return update_wide(inner, updates, state, params, **extra)
    part = None if params is None else kept(chosen, params)
    seen = {name: _seen(value, chosen, updates, params) for name, value in extra.items()}
    new, state = update_wide(inner, kept(chosen, updates), state, part, **seen)
    if outside is None:
        return new, state
    leaves, owners, structure = tree.paired(updates, params)
    rest = jax.tree.unflatten(structure, list(map(outside, leaves, owners)))
    return merged(chosen, new, rest), state


def _seen(value: Any, chosen: Any, updates: Updates, params: Params) -> Any:
    """An extra argument as the transformation inside sees it.

    A tree like the parameters is reduced to the part. A function of the parameters is called with
    all of them, and what it returns is reduced: a loss is computed from the whole model.
    """
    wholes: list[Any] = [jax.tree.structure(updates), jax.tree.structure(params)]

    def is_whole(x: Any) -> bool:
        return jax.tree.structure(x) in wholes

    def reduced(x: Any) -> Any:
        return kept(chosen, x) if is_whole(x) else x

    if not callable(value) or params is None:
        return jax.tree.map(reduced, value, is_leaf=is_whole)
    part: Any = jax.tree.structure(kept(chosen, params))

    def of_part(*args: Any, **kwargs: Any) -> Any:
        completed = [
            merged(chosen, x, params) if jax.tree.structure(x) == part else x for x in args
        ]
        return jax.tree.map(reduced, value(*completed, **kwargs), is_leaf=is_whole)

    return of_part
