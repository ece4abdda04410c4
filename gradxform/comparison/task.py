"""What optimizers are compared on: a model, its data, and how it is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np

from ..core import check
from ..core.types import Params

Data = Any  # a tree of arrays with one leading axis: the examples


@dataclass(frozen=True, eq=False)
class Task:
    """A model, what it learns from, and what it is judged by.

    The three functions are pure and are traced: `init` once a seed, `loss` on batches, `metric`
    on a whole split. All three run under `jax.vmap`.

    Attributes:
      name: what tables and files call the task.
      init: `init(key) -> params`, the network before training.
      loss: `loss(params, batch) -> scalar`, the mean over the batch; what is minimized.
      metric: `metric(params, data) -> scalar`, higher is better; what networks are judged by.
      train: a tree of arrays with one leading axis, from which batches are drawn.
      validation: likewise; what chooses among the settings of a candidate.
      test: likewise; read once, after training, by a choice that is made already.
      target: the metric whose first reach on `validation` is timed in steps, if any.
      metric_name: what the metric is called where it is shown.
      percent: whether the metric is a share between 0 and 1, to be shown in percent.
      details: whatever else a reader needs to repeat the task, such as the seed of the split;
        anything that JSON can hold. It is written down with the results.

    Raises:
      TypeError, ValueError: a function is none, or a split has no example or no one length.
    """

    name: str
    init: Callable[[jax.Array], Params]
    loss: Callable[[Params, Data], jax.Array]
    metric: Callable[[Params, Data], jax.Array]
    train: Data
    validation: Data
    test: Data
    target: float | None = None
    metric_name: str = "metric"
    percent: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("init", "loss", "metric"):
            if not callable(value := getattr(self, name)):
                raise TypeError(f"`Task({name}={check.brief(value)})`: `{name}` is a function.")
        for split in ("train", "validation", "test"):
            _require_examples(split, getattr(self, split))

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples in each split."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: _lengths(data)[0] for name, data in splits.items()}


def require_scalars(task: Task, batch_size: int) -> None:
    """Refuse a task whose loss or metric is no real scalar, before anything is computed.

    Args:
      task: the task; its functions are traced with abstract values.
      batch_size: the number of examples in a batch.

    Raises:
      ValueError: the loss or the metric is of another shape or dtype.
    """

    def value(function: Callable[..., Any], key: jax.Array, data: Data) -> Any:
        return function(task.init(key), jax.tree.map(lambda x: x[:batch_size], data))

    for name, function, data in (
        ("loss", task.loss, task.train),
        ("metric", task.metric, task.test),
    ):
        out = jax.eval_shape(partial(value, function), jax.random.key(0), data)
        real = isinstance(out, jax.ShapeDtypeStruct) and np.issubdtype(out.dtype, np.floating)
        if not real or out.shape != ():
            raise ValueError(
                f"`Task({task.name!r})`: `{name}` must return one real number; got "
                f"{check.brief(out)}. Take the mean over the examples."
            )


def _lengths(data: Data) -> list[int]:
    return [np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(data)]


def _require_examples(split: str, data: Data) -> None:
    lengths = _lengths(data)
    if not lengths or len(set(lengths)) > 1 or lengths[0] == 0:
        found = f"leading axes of {', '.join(map(str, lengths))}" if lengths else "no array"
        raise ValueError(
            f"`Task(...)`: `{split}` must be arrays with one leading axis of examples, as long in "
            f"each and not empty; got {found}."
        )
