"""The parameters to evaluate with, read from the state of whatever averages them.

A wrapper that keeps other parameters than those that are trained says so by the method
`evaluation` of its state; `eval_params` finds it in any nesting.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import check, numerics, tree
from ..core.types import Params, State


class Evaluation(NamedTuple):
    """What a state says about evaluation."""

    by: str  # the name of the wrapper
    average: Params  # a tree like the parameters, without the leaves that another group has
    leaf: Callable[[Array, Array], Array]  # (parameter, average) -> what to evaluate with


def eval_params(state: State, params: Params, *, which: str | None = None) -> Params:
    """The parameters to evaluate with: the averages in an optimizer's state.

    It reads `ema_params` and `average_params` (the average), `lookahead` (the slow weights) and
    `schedule_free` (x), wherever they stand in the state: in chains, in groups, around or inside
    other wrappers, in a framework's state. Train with `params`; evaluate, and save the model to
    be used, with what this returns:

        tx = gx.ema_params(gx.adam(0.1), decay=0.9)
        params = {"w": jnp.array([2.0, -1.0])}
        state = tx.init(params)
        loss = lambda params: jnp.sum(jnp.square(params["w"] - 1.0))

        @jax.jit
        def train_step(params, state):
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            return gx.apply_updates(params, updates), state

        @jax.jit
        def evaluate(params, state):
            return loss(gx.eval_params(state, params))

        for step in range(100):
            params, state = train_step(params, state)
            if step % 20 == 0:
                print(step, evaluate(params, state))

    With Flax NNX it is `eval_params(optimizer, nnx.state(model, nnx.Param))`, whose result
    `nnx.update` puts into a model; with Linen `eval_params(train_state, train_state.params)`; with
    Equinox `eval_params(state, model)` returns a model. Statistics that are no parameters, such
    as those of a batch normalization, belong to the trained parameters: compute them again.

    Args:
      state: the state of a transformation, or anything that is a tree around one. A batch of
        states goes through `jax.vmap`.
      params: the parameters as they are trained, with which the state has come along.
      which: where several averages are kept of the same parameters, the one to read: the name of
        its wrapper, or the key that the error lists.

    Returns:
      A tree like `params`, with its dtypes, in arrays of its own. Parameters that no average
      covers, or of which nothing has been averaged yet (before the first update, before `start`),
      are returned as they are.

    Raises:
      ValueError: no average in the state; several of the same parameters; one that does not fit.
    """
    with check.calling("eval_params"):
        found = _chosen(_averages(state), which, params)
        leaves, structure = tree_flatten_with_path(params)
        result = [_copy(leaf) for _, leaf in leaves]
        taken: dict[int, str] = {}
        for key, evaluation in found.items():
            for index, average in enumerate(_column(params, evaluation.average, key)):
                if average is None:
                    continue
                if index in taken:
                    raise check.Refusal(_twice(leaves[index][0], taken[index], key))
                taken[index] = key
                result[index] = _leaf(evaluation, *leaves[index], average)
        return jax.tree.unflatten(structure, result)


def _averages(state: State) -> dict[str, Evaluation]:
    """Every average of a state, by the name of its wrapper, or where that is not enough its key."""
    places = [(place, node.evaluation()) for place, node in _find(state, "")]
    names = [evaluation.by for _, evaluation in places]
    return {
        "/".join(filter(None, (place if names.count(e.by) > 1 else "", e.by))): e
        for place, e in places
    }


def _find(state: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for path, node in tree_flatten_with_path(state, is_leaf=_has_evaluation)[0]:
        if _has_evaluation(node):
            here = "/".join(filter(None, (prefix, keystr(path, simple=True, separator="/"))))
            yield here, node
            yield from _find(node.inner_state, f"{here}/inner_state".lstrip("/"))


def _has_evaluation(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "evaluation")


def _chosen(
    averages: dict[str, Evaluation], which: str | None, params: Params
) -> dict[str, Evaluation]:
    if not averages:
        swapped = " The state comes first: `eval_params(state, params)`."
        raise check.Refusal(
            "this state holds no average. Wrap the whole optimizer in `ema_params`, "
            "`average_params`, `lookahead` or `schedule_free` and give the state of that."
            f"{swapped if any(_find(params, '')) else ''}"
        )
    if which is None:
        return averages
    by_name = {key: e for key, e in averages.items() if key == which} or {
        key: e for key, e in averages.items() if e.by == which
    }
    check.require(
        bool(by_name), f"no average `{which}` in this state.{check.nearest(which, averages)}"
    )
    return by_name


def _column(params: Params, average: Params, key: str) -> list[Any]:
    """The average of each leaf of the parameters; None where there is none."""
    # Flax's NNX has its boxes around the arrays of the state too, of another type.
    for like in (params, tree.unboxed(params)):
        try:
            structure: Any = jax.tree.structure(like)
            column = structure.flatten_up_to(average)
        except (ValueError, TypeError, KeyError):
            continue
        leaves = [jax.tree.leaves(part) for part in column]
        if all(len(part) < 2 for part in leaves):
            return [part[0] if part else None for part in leaves]
    raise check.Refusal(_misfit(params, average, key))


def _leaf(evaluation: Evaluation, path: Any, p: Any, average: Array) -> Array:
    check.require(
        jnp.shape(p) == jnp.shape(average),
        f"{_name(path)} is {tree.describe(p)}, and {tree.describe(average)} in the average of "
        f"`{evaluation.by}`. {_CAUSE}",
    )
    p = jnp.asarray(p)
    wide = numerics.at_precision(p, numerics.real_dtype(average.dtype))
    # A copy: the training step that is given the state next may donate it.
    return jnp.array(evaluation.leaf(wide, average), p.dtype, copy=True)


def _copy(leaf: Any) -> Any:
    return leaf.copy() if isinstance(leaf, jax.Array) else leaf


_CAUSE = "Are these the parameters that the state was made for?"


def _twice(path: Any, one: str, other: str) -> str:
    return (
        f"{_name(path)} is averaged by `{one}` and by `{other}`. Choose one of them: "
        f'`eval_params(state, params, which="{one}")`.'
    )


def _misfit(params: Params, average: Params, key: str) -> str:
    ours, theirs = (
        {_name(path): None for path, _ in tree_flatten_with_path(tree.unboxed(x))[0]}
        for x in (params, average)
    )
    for name in theirs:
        if name not in ours:
            return f"{name} has an average by `{key}` and is not in the parameters. {_CAUSE}"
    return (
        f"the parameters and the average of `{key}` hold the same leaves in different containers: "
        f"{jax.tree.structure(params)} against {jax.tree.structure(average)}."
    )


def _name(path: Any) -> str:
    return f"leaf `{keystr(path, simple=True, separator='/')}`" if path else "the only leaf"
