"""What optimizers are compared on: a model, its data, and how it is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr

from ..core import check

Data = Any  # a tree of arrays with one leading axis: the examples


@dataclass(frozen=True, eq=False)
class Task:
    """A model, what it learns from, and what it is judged by.

        def init(key):
            return {"w": 0.1 * jax.random.normal(key, (3,)), "b": jnp.zeros(())}

        def loss(params, batch):
            x, y = batch
            return jnp.mean(jnp.square(x @ params["w"] + params["b"] - y))

        task = Task("line", init, loss, metric=loss, lower_is_better=True,
                    train=(x[:60], y[:60]), validation=(x[60:80], y[60:80]), test=(x[80:], y[80:]))

    The three functions are pure and are traced: `init` once a seed, `loss` on batches, `metric`
    on a whole split. All three run under `jax.vmap`. Any model will do whose parameters are a
    tree of arrays, such as Flax's or Haiku's.

    Attributes:
      name: what tables and files call the task.
      init: `init(key) -> params`, the network before training; `(params, model_state)` where the
        loss takes a `model_state`.
      loss: `loss(params, batch) -> scalar`, the mean over the batch; what is minimized. As for
        `make_train_step`, it may take two more arguments by these names: `key`, a random key of
        its own for each step, and `model_state`, such as the statistics of batch normalization;
        then it returns `(loss, model_state)`, the latter changed.
      metric: `metric(params, data) -> scalar`; what networks are judged by. It may take the
        `model_state`, too.
      train: a tree of arrays with one leading axis, from which batches are drawn.
      validation: likewise; what chooses among the settings of a candidate.
      test: likewise; read once, after training, by a choice that is made already.
      target: the metric whose first reach on `validation` is timed in steps, if any.
      metric_name: what the metric is called where it is shown.
      percent: whether the metric is a share between 0 and 1, to be shown in percent.
      lower_is_better: whether the metric is an error or a loss.
      details: whatever else a reader needs to repeat the task, such as the seed of the split;
        anything that JSON can hold. It is written down with the results.

    Raises:
      TypeError, ValueError: a function is none, or a split has no example or no one length, or
        holds a number that is not finite.
    """

    name: str
    init: Callable[[jax.Array], Any]
    loss: Callable[..., Any]
    metric: Callable[..., jax.Array]
    train: Data
    validation: Data
    test: Data
    target: float | None = None
    metric_name: str = "metric"
    percent: bool = False
    lower_is_better: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("init", "loss", "metric"):
            if not callable(value := getattr(self, name)):
                raise TypeError(f"`Task({name}={check.brief(value)})`: `{name}` is a function.")
        for split in ("train", "validation", "test"):
            _require_examples(split, getattr(self, split))
            _require_finite(split, getattr(self, split))

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples in each split."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: _lengths(data)[0] for name, data in splits.items()}


def require_task(call: str, task: Any) -> None:
    """Refuse what is no `Task`, such as the name of one or arguments in another order."""
    if not isinstance(task, Task):
        raise TypeError(
            f"`{call}(task={check.brief(task)})`: `task` must be a `Task`, a model with its data "
            f"and its metric. The order is `{call}(task, candidates, ...)`."
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
    for leaf in jax.tree.leaves(data):
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"`Task(...)`: `{split}` must be arrays; got a {type(leaf).__name__}. Convert it "
                "by `np.asarray(...)`."
            )


def _require_finite(split: str, data: Data) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        if not jnp.issubdtype(leaf.dtype, np.inexact):
            continue
        bad = np.argwhere(~np.isfinite(np.asarray(leaf)))
        if len(bad):
            place = tuple(int(i) for i in bad[0])
            examples = len({int(i) for i in bad[:, 0]})
            raise ValueError(
                f"`Task(...)`: `{split}{keystr(path)}` must hold finite numbers; "
                f"{examples} of its {len(leaf)} examples hold others, the first "
                f"{np.asarray(leaf)[place]} at {list(place)}. Leave those examples out, or fill "
                "in what is missing."
            )
