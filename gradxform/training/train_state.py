"""Everything that changes from step to step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import NamedSharding
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import check, tree
from ..core.types import Params, State, require_transformation
from ..placement.specs import named, named_leaf


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
        sharding: Any = None,
    ) -> "TrainState":
        """The state before the first step, of copies.

        A train step donates its state, and what is donated is gone. The copies keep what was
        passed in; where the memory does not allow for both, drop it (`del params`), or build
        `TrainState(...)` from the arrays themselves.

        Args:
          tx: the optimizer, as `make_train_step` gets it.
          params: the parameters.
          model_state: a tree of arrays that the loss function returns anew each time.
          key: a random key, for dropout and the like. Flax's msgpack and Equinox's serialisation
            hold no typed keys (`jax.random.key`): for them pass `jax.random.PRNGKey(0)`. Orbax
            saves both.
          sharding: the shardings of the optimizer state, from `state_sharding`. It is made where
            it shall lie, and so takes the memory of a piece on each device; without them it is
            made where the parameters lie.

        Raises:
          TypeError: `tx` is no transformation, or a leaf of `params` no array of numbers.
          ValueError: `sharding` is that of another state, or of other devices than those that the
            parameters were placed on.
        """
        require_transformation("TrainState.create(tx, params)", "`tx`", tx)
        tree.require_arrays("TrainState.create(tx, params)", params)
        params, model_state, key = jax.tree.map(jnp.copy, (params, model_state, key))
        step = jnp.zeros((), jnp.int32)
        if sharding is None:
            return cls(step, params, _each_its_own(tx.init(params)), model_state, key)
        sharding = _of_state(tx, params, sharding)
        _require_mesh(params, jax.tree.leaves(sharding)[0].mesh)
        opt_state = jax.jit(tx.init, out_shardings=sharding)(params)
        # What lies on one device, such as a counter, goes to all of them before the first step.
        everywhere = named(jax.tree.leaves(sharding)[0].mesh)

        def placed(x: Array) -> Array:
            return x if isinstance(x.sharding, NamedSharding) else jax.device_put(x, everywhere)

        step, params, model_state, key = jax.tree.map(placed, (step, params, model_state, key))
        return cls(step, params, opt_state, model_state, key)


def require_state(state: Any, batch: Any) -> None:
    """Refuse what a train step cannot go on from, with the way to what it can."""
    if isinstance(state, TrainState):
        return
    way = "`TrainState.create(tx, params)` makes it."
    if isinstance(batch, TrainState):
        way = "The state comes first: `step(state, batch)`."
    elif {"apply_gradients", "params", "tx"} <= {*dir(state)}:
        way = (
            "This is a train state of Flax's: go on with `TrainState.create(state.tx, "
            "state.params)`, or keep it and call `apply_gradients(state, grads, value=loss)`."
        )
    found = f"{type(state).__module__.partition('.')[0]}.{type(state).__name__}"
    if check.is_traced(state):
        found = check.brief(state)
    raise check.Refusal(f"the state must be a `gradxform.TrainState`; got {found}. {way}")


def require_train_state(like: Any) -> TrainState:
    """`like` itself, if it is a train state."""
    if isinstance(like, TrainState):
        return like
    raise TypeError(
        "`make_train_step(loss_fn, tx, like=...)`: `like` must be a `TrainState`, as "
        f"`TrainState.create(tx, params, sharding=...)` makes it; got {check.brief(like)}."
    )


def _of_state(tx: optax.GradientTransformation, params: Params, sharding: Any) -> Any:
    """The shardings, if they are those of the state of `tx`."""
    state = jax.eval_shape(tx.init, params)
    structures: list[Any] = [jax.tree.structure(x) for x in (state, sharding)]
    if structures[0] == structures[1] and jax.tree.leaves(sharding):
        return sharding
    here, there = ({keystr(p) for p, _ in tree_flatten_with_path(x)[0]} for x in (state, sharding))
    different = sorted(here ^ there)
    name = f"`{different[0]}` is in one of them only" if different else "their containers differ"
    raise ValueError(
        "`TrainState.create(tx, params, sharding=...)`: the shardings are not those of this "
        f"optimizer's state for these parameters: {name}. They come from "
        "`state_sharding(tx, params, mesh)`, with the same `tx` and `params`."
    )


def _require_mesh(params: Params, mesh: Any) -> None:
    """Refuse parameters that were placed on other devices than those of the mesh."""
    for path, p in tree_flatten_with_path(params)[0]:
        placed = not check.is_traced(p) and p.committed
        if placed and p.sharding.device_set != set(mesh.devices.flat):
            there = sorted(device.id for device in p.sharding.device_set)
            here = sorted(device.id for device in mesh.devices.flat)
            raise ValueError(
                f"`TrainState.create(tx, params, sharding=...)`: {named_leaf(path)} lies on the "
                f"devices {there}, and the shardings are for {here}. Place the parameters first: "
                "`params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))`."
            )


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
