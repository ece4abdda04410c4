"""What was probably meant where something of the wrong kind was given: the ends of error messages.

Each is asked for after something has failed, and costs nothing before.
"""

from typing import Any

import jax
import numpy as np
import optax

from . import check, tree
from .public import factory_name
from .recipe import Recipe


def instead_of_transformation(given: Any) -> str:
    """The way out where `given` is no transformation and one was needed."""
    if isinstance(given, list | tuple) and given and all(map(_is_transformation, given)):
        join = "chain(*transformations)"
        return f"Write `{join}`: the links are arguments of their own, and `*` hands out a list."
    if isinstance(given, dict) and given and all(map(_is_transformation, given.values())):
        return "With names: `named_chain(*transformations.items())`."
    if hasattr(given, "gradient_transformation"):  # optax.MultiSteps
        return "Pass its `.gradient_transformation()`, or use `accumulate(tx, every)`."
    if callable(given) and not isinstance(getattr(given, "recipe", None), Recipe):
        name = factory_name(given)
        known = f"Call the factory first: `{name}(...)`."
        return known if name else "Call the factory first, if it is one."
    if callable(given) and not hasattr(given, "matches"):
        return "A schedule is the learning rate of one: `scale_by_learning_rate(schedule)`."
    if isinstance(given, float):
        return "A learning rate is `scale_by_learning_rate(0.1)`, another factor `scale(0.1)`."
    if _is_array_tree(given):
        return "This is a tree of arrays: are the arguments in their order?"
    return ""


def misplaced(updates: Any, state: Any, params: Any) -> str:
    """What is wrong with the arguments of an update as a whole; "" where nothing is seen."""
    order = "The order is `update(updates, state, params)`."
    if any(callable(leaf) for leaf in jax.tree.leaves(updates)):
        return "the gradients hold a function. Call it: `jax.grad(loss_fn)(params, batch)`."
    if _is_transformation(state) or callable(state):
        return "the state is a part of the transformation. It is made by `tx.init(params)`."
    gradients, kept, owners = map(_structure, (updates, state, params))
    if params is None:
        # A tree that is a state is made of other nodes than one of parameters.
        swapped = gradients == kept and not _is_state(state)
        return f"the parameters stand where the state belongs. {order}" if swapped else ""
    if gradients == kept != owners:
        return f"the state and the parameters are swapped. {order}"
    if kept == owners != gradients:
        return f"the gradients and the state are swapped. {order}"
    is_pair = type(updates) is tuple and len(updates) == 2
    if is_pair and _structure(updates[1]) == owners:
        return (
            "the first argument is a pair, of a loss and gradients. Take it apart: `loss, grads = "
            "jax.value_and_grad(loss_fn)(params, batch)`."
        )
    if isinstance(updates, jax.Array | np.ndarray | float) and not _is_leaf(params):
        return f"the gradients are one number or array, {tree.describe(updates)}: the loss? {order}"
    return ""


def swapped_with(
    call: str, name: str, rules: dict[str, check.Rule | None], given: dict[str, Any]
) -> str:
    """The argument of another kind that a refused one could be exchanged with; "" if none."""

    def takes(rule: check.Rule, value: Any) -> bool:
        try:
            rule(call, name, value)
        except (TypeError, ValueError):
            return False
        return True

    mine = rules[name]
    for other, value in given.items():
        theirs = rules[other]
        if mine is None or theirs is None or mine.kind == theirs.kind or name not in given:
            continue
        if takes(mine, value) and takes(theirs, given[name]):
            return other
    return ""


GIVEN_AWAY = (
    "A step of `make_train_step` or `make_update_step`, or a jitted function with "
    "`donate_argnums`, changes in place what it is given, and what went in is gone: go on with "
    "what it returned, as in `state, metrics = step(state, batch)`, or pass a copy."
)


def note_deleted(error: Exception) -> None:
    """Say with an error of JAX about an array that is gone how it came to that."""
    gone = "has been deleted" in str(error) or "deleted or donated" in str(error)
    if gone and GIVEN_AWAY not in getattr(error, "__notes__", ()):
        error.add_note(GIVEN_AWAY)


def _is_transformation(x: Any) -> bool:
    return isinstance(x, optax.GradientTransformation)


def _is_state(x: Any) -> bool:
    return isinstance(x, tuple)


def _is_leaf(x: Any) -> bool:
    return bool(jax.tree_util.all_leaves([tree.unboxed(x)]))


def _structure(x: Any) -> Any:
    return jax.tree.structure(tree.unboxed(x))


def _is_array_tree(x: Any) -> bool:
    leaves = jax.tree.leaves(x)
    return bool(leaves) and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)
