"""A task's functions with one signature each, whichever arguments they take."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from ..core import check
from ..core.types import Params, State
from ..training.train_state import TrainState
from ..training.train_step import make_train_step
from .task import Data, Task

Step = Callable[[TrainState, Data], tuple[TrainState, jax.Array]]


class Model:
    """What a task trains, as pure functions of parameters, model state, data and key.

    Attributes:
      task: the task.
      has_state: whether the loss changes a model state.
      has_key: whether the loss draws random numbers.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        taken = _names(task.loss)
        self.has_state, self.has_key = "model_state" in taken, "key" in taken
        self._metric_takes_state = "model_state" in _names(task.metric)
        if self._metric_takes_state and not self.has_state:
            raise ValueError(
                f"`Task({task.name!r})`: `metric` takes `model_state`, and `loss` does not. A "
                "model with a state has a `loss` that takes it and returns `(loss, model_state)`."
            )

    def init(self, key: jax.Array) -> tuple[Params, Any]:
        """The parameters and the model's state before training; None for no state."""
        made = self.task.init(key)
        if not self.has_state:
            return made, None
        if not (isinstance(made, tuple) and len(made) == 2):
            raise ValueError(
                f"`Task({self.task.name!r})`: `loss` takes `model_state`, so `init` must return "
                f"`(params, model_state)`; it returned {check.brief(jax.tree.structure(made))}."
            )
        return made

    def loss(self, params: Params, model_state: Any, batch: Data, key: jax.Array) -> jax.Array:
        """The loss on a batch; what it does to the model's state is dropped."""
        params, model_state = _new_boxes((params, model_state))
        beside = {"model_state": model_state} if self.has_state else {}
        if self.has_key:
            beside["key"] = key
        value = self.task.loss(params, batch, **beside)
        if not self.has_state:
            return value
        if not (isinstance(value, tuple) and len(value) == 2):
            raise ValueError(
                f"`Task({self.task.name!r})`: `loss` takes `model_state`, so it must return "
                f"`(loss, model_state)`; it returned {check.brief(value)}."
            )
        return value[0]

    def metric(self, params: Params, model_state: Any, data: Data) -> jax.Array:
        """The metric on a split."""
        params, model_state = _new_boxes((params, model_state))
        beside = {"model_state": model_state} if self._metric_takes_state else {}
        return self.task.metric(params, data, **beside)

    def step(self, transformation: optax.GradientTransformation) -> Step:
        """The training step of one network, as `make_train_step` makes it."""
        step = make_train_step(self.task.loss, transformation)

        def with_loss(state: TrainState, batch: Data) -> tuple[TrainState, jax.Array]:
            state, metrics = step(state, batch)
            return state, metrics["loss"]

        return with_loss

    def start(self, params: Params, model_state: Any, opt_state: State, key: Any) -> TrainState:
        """Everything that changes, before the first step; the arrays themselves."""
        zero = jax.numpy.zeros((), jax.numpy.int32)
        return TrainState(zero, params, opt_state, model_state, key if self.has_key else None)


def _new_boxes(tree: Any) -> Any:
    """The same arrays: Flax's NNX lets a variable change only in the trace that made its box."""
    return jax.tree.map(lambda x: x, tree)


def require_scalars(model: Model, batch_size: int) -> None:
    """Refuse a task whose loss or metric is no real scalar, before anything is computed.

    Args:
      model: the task's functions, which are traced with abstract values.
      batch_size: the number of examples in a batch.

    Raises:
      ValueError: the loss or the metric is of another shape or dtype.
    """
    task = model.task

    def loss(key: jax.Array, data: Data) -> Any:
        batch = jax.tree.map(lambda x: x[:batch_size], data)
        return model.loss(*model.init(key), batch, key)

    def metric(key: jax.Array, data: Data) -> Any:
        return model.metric(*model.init(key), data)

    for name, function, data in (("loss", loss, task.train), ("metric", metric, task.test)):
        out = jax.eval_shape(function, jax.random.key(0), data)
        real = isinstance(out, jax.ShapeDtypeStruct) and np.issubdtype(out.dtype, np.floating)
        if not real or out.shape != ():
            is_array = isinstance(out, jax.ShapeDtypeStruct)
            found = f"{out.dtype}{list(out.shape)}" if is_array else check.brief(out)
            raise ValueError(
                f"`Task({task.name!r})`: `{name}` must return one real number; got {found}. "
                "Take the mean over the examples."
            )


def _names(function: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # written in C, without a signature
        return frozenset()
