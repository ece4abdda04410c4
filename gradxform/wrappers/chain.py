"""Transformations one after the other: the output of each is the input of the next."""

from collections.abc import Sequence
from typing import Annotated, Any

import optax

from ..core import check, position, tree
from ..core.factory import transformation
from ..core.types import (
    InitUpdate,
    Params,
    State,
    Updates,
    is_mixed,
    require_transformation,
    update_wide,
)


@transformation
def chain(*transformations: optax.GradientTransformation) -> InitUpdate:
    """Apply transformations in order; an empty chain is the identity.

    Nothing is rounded between the links: updates pass in at least float32, and the end of the
    outermost chain rounds them once. Optax's transformations may be links.

    Args:
      *transformations: the links. All of them see the same parameters and the same extra
        arguments of `update`.

    Returns:
      A transformation whose state is the tuple of the links' states.
    """
    for index, tx in enumerate(transformations):
        require_transformation("chain", f"argument {index + 1}", tx)

    def init(params: Params) -> State:
        return tuple(tx.init(params) for tx in transformations)

    def update(
        updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        states = []
        for index, (tx, inner) in enumerate(zip(transformations, state, strict=True)):
            _require_matching(transformations[:index], tx, updates, params)
            updates, new = update_wide(tx, updates, inner, params, **extra)
            states.append(new)
        return updates, tuple(states)

    return init, update


class _PairsRule:
    """Pairs of a name and a transformation, each name once."""

    kind = "tuple[str, GradientTransformation]"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The pairs as tuples."""
        for index, pair in enumerate(value):
            well_formed = isinstance(pair, tuple | list) and len(pair) == 2
            if not well_formed or not isinstance(pair[0], str):
                raise ValueError(
                    f"`{call}(...)`: argument {index + 1} must be a pair of a name and a "
                    f"transformation; got {check.brief(pair)}."
                )
            require_transformation(call, f"`{pair[0]}`", pair[1])
        names = [pair[0] for pair in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"`{call}(...)`: each name may occur once; {', '.join(twice)} occurs again."
            )
        return tuple(map(tuple, value))


_Pair = Annotated[tuple[str, optax.GradientTransformation], _PairsRule()]


@transformation
def named_chain(*transformations: _Pair) -> InitUpdate:
    """Like `chain`, with a name for each link and a dict of states.

    The names stay when links are inserted or swapped, in checkpoints as well as in the keys of
    `hyperparams(state)`.

    Args:
      *transformations: pairs of a name and a transformation, in order; each name once.

    Returns:
      A transformation whose state is a dict from the names to the links' states.

    Raises:
      ValueError: a name that stands twice; by `update`: a state with other names.
    """

    def init(params: Params) -> State:
        states = {}
        for name, tx in transformations:
            with position.named(name):
                states[name] = tx.init(params)
        return states

    def update(
        updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        states = {}
        links = [tx for _, tx in transformations]
        for index, (name, tx) in enumerate(transformations):
            _require_matching(links[:index], tx, updates, params)
            updates, states[name] = update_wide(tx, updates, state[name], params, **extra)
        return updates, states

    return init, update


def _require_matching(before: Sequence[Any], tx: Any, updates: Updates, params: Params) -> None:
    """Refuse what a foreign link returned where it fits no parameters, before the next one."""
    if before and is_mixed(before[-1]) and not is_mixed(tx) and params is not None:
        tree.require_matching(updates, params)
