"""Everything that changes from step to step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ..core.types import Params, State, require_transformation


class TrainState(NamedTuple):
    """What a train step takes and returns; a tree, to be saved and restored as a whole."""

    step: Array  # int32: steps done
    params: Params
    opt_state: State
    model_state: Any = None  # what else the model changes, such as the statistics of its norms
    key: Any = None  # a random key; each step draws from it by its own number

    @classmethod
    def create(
        cls,
        tx: optax.GradientTransformation,
        params: Params,
        *,
        model_state: Any = None,
        key: Array | None = None,
    ) -> "TrainState":
        """The state before the first step, of copies.

        A train step donates its state, and what is donated is gone. The copies keep what was
        passed in; where the memory does not allow for both, drop it (`del params`), or build
        `TrainState(...)` from the arrays themselves.

        Args:
          tx: the optimizer, as `make_train_step` gets it.
          params: the parameters.
          model_state: a tree of arrays that the loss function returns anew each time.
          key: a random key, for dropout and the like.
        """
        require_transformation("TrainState.create", "`tx`", tx)
        params, model_state, key = jax.tree.map(jnp.copy, (params, model_state, key))
        opt_state = _each_its_own(tx.init(params))
        return cls(jnp.zeros((), jnp.int32), params, opt_state, model_state, key)


def _each_its_own(state: State) -> State:
    """A state in which no two leaves are one array: one array cannot be donated twice.

    Ours are so from the start; some of Optax's are not.
    """
    seen: set[int] = set()

    def own(x: Any) -> Any:
        again = id(x) in seen
        seen.add(id(x))
        return jnp.copy(x) if again else x

    return jax.tree.map(own, state)
