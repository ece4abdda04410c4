"""The loss function of a training step: what it takes, and what it returns."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..core import check, tree
from ..core.types import Params
from ..wrappers.micro_batches import accumulated_value_and_grad
from ..wrappers.scalar_loss import require_examples, scalar_loss
from .train_state import TrainState

_BY_NAME = ("model_state", "key")
_OTHERS = {
    "rng": "key",
    "rngs": "key",
    "rng_key": "key",
    "dropout_key": "key",
    "dropout_rng": "key",
    "state": "model_state",
    "batch_stats": "model_state",
}


class Loss:
    """A loss function, and which of a step's arguments it takes."""

    def __init__(self, function: Callable[..., Any], has_aux: bool) -> None:
        if not callable(function):
            raise TypeError(
                "`make_train_step(loss_fn, tx)`: `loss_fn` must be a function `(params, batch)` to "
                f"the loss; got {check.brief(function)}."
            )
        names = inspect.signature(function).parameters
        self.function, self.has_aux = function, has_aux
        self.named = [name for name in _BY_NAME if name in names]
        self.has_state = "model_state" in names
        _require_signature(names)

    def require(self, state: TrainState) -> None:
        """Refuse a state that has not what the function takes, or has what it does not."""
        for name in ("model_state", "key"):
            given = getattr(state, name) is not None
            check.require(
                given or name not in self.named,
                f"`loss_fn` takes `{name}`, and the state has none: "
                f"`TrainState.create(tx, params, {name}=...)`.",
            )
            check.require(
                not given or name in self.named,
                f"the state has a `{name}` that `loss_fn` does not take. Let it have an argument "
                "of that name, or leave it out of the state.",
            )

    def scaled(
        self, scale: Any, params: Params, batch: Any, model_state: Any, key: Any
    ) -> tuple[Array, Any, Any]:
        """The loss times `scale`, the model's state, and the aux."""
        # New boxes: Flax's NNX lets a variable change only in the trace that made it.
        beside = {"model_state": jax.tree.map(lambda x: x, model_state), "key": key}
        value = self.function(params, batch, **{name: beside[name] for name in self.named})
        with check.calling("make_train_step(loss_fn, tx)"):
            value, model_state, aux = self.parts(value, model_state)
        return tree.widen(value) * scale, model_state, aux

    def parts(self, value: Any, model_state: Any) -> tuple[Array, Any, Any]:
        """What the function returned: the loss, the model's state, and the aux."""
        aux = None
        if self.has_state or self.has_aux:
            value, rest = _pair(value, "(loss, model_state)" if self.has_state else "(loss, aux)")
            if self.has_state and self.has_aux:
                model_state, aux = _pair(rest, "(loss, (model_state, aux))")
            elif self.has_state:
                model_state = rest
            else:
                aux = rest
        more = "`has_aux=True`"
        if not self.has_state:
            more += ", or let it take `model_state`,"
        return scalar_loss(value, more), model_state, aux

    def value_and_grad(self, accumulate: int, scale: Any) -> Callable[..., Any]:
        """(params, batch, model_state, key) -> ((scaled loss, (model_state, aux)), gradients)."""

        def positional(*args: Any) -> Any:
            value, model_state, aux = self.scaled(scale, *args)
            return value, (model_state, aux) if self.has_state else aux

        differentiate = accumulated_value_and_grad(
            positional,
            accumulate,
            has_aux=True,
            state_argnum=2 if self.has_state else None,
            key_argnums=3 if "key" in self.named else (),
            aux_reduction="stack",
        )

        def value_and_grad(*args: Any) -> Any:
            with check.calling("make_train_step(loss_fn, tx)"):
                require_examples(args[1])
            (value, rest), grads = differentiate(*args)
            model_state, aux = rest if self.has_state else (args[2], rest)
            if accumulate > 1:
                aux = jax.tree.map(_mean_of_scalars, aux)
            return (value, (model_state, aux)), grads

        return value_and_grad


def _mean_of_scalars(x: Array) -> Array:
    """What was stacked: real scalars as their mean, everything else as it is."""
    is_real = jnp.issubdtype(x.dtype, jnp.floating)
    return jnp.mean(tree.widen(x)).astype(x.dtype) if x.ndim == 1 and is_real else x


def _pair(value: Any, what: str) -> tuple[Any, Any]:
    check.require(
        isinstance(value, tuple | list) and len(value) == 2,
        f"`loss_fn` must return `{what}`; it returned {check.brief(value)}.",
    )
    return value[0], value[1]


def _require_signature(names: Mapping[str, inspect.Parameter]) -> None:
    """Refuse a function that needs an argument that no step gives, or cannot take the batch."""
    beside = [p for name, p in names.items() if name not in _BY_NAME]
    rest = any(p.kind is p.VAR_POSITIONAL for p in beside)
    by_position = [p for p in beside if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keyword = [p for p in beside if p.kind is p.KEYWORD_ONLY]
    needed = [p.name for p in [*by_position[2:], *keyword] if p.default is p.empty]
    known = f" That one is `{_OTHERS[needed[0]]}` here." if needed and needed[0] in _OTHERS else ""
    if needed or (len(by_position) < 2 and not rest):
        given = ", ".join(names)
        raise TypeError(
            f"`make_train_step(loss_fn, tx)`: `loss_fn({given})` must take `(params, batch)`, and "
            "may take `key` and `model_state` by these names; "
            + (f"it needs `{needed[0]}` as well.{known}" if needed else "it takes no batch.")
            + " What is the same in all steps is bound before: `functools.partial(loss_fn, ...)`."
        )
