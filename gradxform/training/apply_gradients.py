"""What Flax's `TrainState` leaves out: the extra arguments of `update`."""

import dataclasses
from typing import Any, TypeVar

import optax

from ..core import check
from ..core.types import Params, State, Updates

FlaxTrainState = TypeVar("FlaxTrainState")


def apply_gradients(state: FlaxTrainState, grads: Updates, **extra: Any) -> FlaxTrainState:
    """Flax's `TrainState.apply_gradients`, with extra arguments for the optimizer.

        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        state = apply_gradients(state, grads, value=loss)

    Flax's own method passes nothing but gradients, state and parameters to `update`, so an
    optimizer that watches the loss, such as `adam(reduce_on_plateau(1e-3))`, `skip_spikes`, `momo`
    or a line search, cannot work with it. This one calls it, with these arguments added.

    Args:
      state: Flax's `TrainState` (Linen's or `nnx.helpers`'), or a subclass, whose own
        `apply_gradients` is what is called.
      grads: the gradients, with the structure of `state.params`.
      **extra: as in Flax, what has the name of a field of the state replaces that field
        (`batch_stats=...`). All else is passed to `update`: `value=loss`, or for a line search
        `value=loss, grad=grads, value_fn=loss_fn`.

    Returns:
      The state after the step, of the same type and structure.

    Raises:
      TypeError: the state is none of Flax's.
    """
    linen: Any = state
    is_dataclass = dataclasses.is_dataclass(state) and hasattr(state, "apply_gradients")
    fields = {field.name for field in dataclasses.fields(linen)} if is_dataclass else set()
    if not {"tx", "opt_state", "params"} <= fields:
        raise TypeError(
            "`apply_gradients(state, grads)`: `state` must be a `TrainState` of Flax's; got "
            f"{check.brief(state)}. `nnx.Optimizer.update(model, grads, value=...)` takes extra "
            "arguments by itself, as does the step of `make_train_step`."
        )
    tx = linen.tx
    inner = optax.with_extra_args_support(tx)
    beyond = {name: value for name, value in extra.items() if name not in fields}
    replaced = {name: value for name, value in extra.items() if name in fields}

    def update(updates: Updates, opt_state: State, params: Params = None) -> tuple[Updates, State]:
        return inner.update(updates, opt_state, params, **beyond)

    told = linen.replace(tx=optax.GradientTransformation(tx.init, update))
    return told.apply_gradients(grads=grads, **replaced).replace(tx=tx)
