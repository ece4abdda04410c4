"""Handwritten digits: scikit-learn's bundled scans, a small network, and what to expect of it."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.extra import require_extra
from ..core.types import Params
from .result import Reference
from .task import Data, Task

_SPLIT_SEED = 0
_HELD_OUT = 360  # examples each for validation and for test: a fifth
_WIDTHS = (64, 64, 10)  # pixels, hidden units, classes


def digits_task() -> Task:
    """Classify 8x8 scans of handwritten digits with a network of one hidden layer.

    The 1797 scans come with scikit-learn; pixels are scaled to [0, 1]. Splits are stratified by
    class, by a fixed seed: 1077 to train, 360 each for validation and test. The loss is the
    cross entropy, the metric the accuracy; steps to 95 % validation accuracy are timed.
    """
    require_extra("compare", "sklearn")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images, labels = (pixels / 16.0).astype(np.float32), labels.astype(np.int32)

    def split(examples: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        parts = train_test_split(
            *examples, test_size=_HELD_OUT, stratify=examples[1], random_state=_SPLIT_SEED
        )
        return parts[0::2], parts[1::2]

    rest, test = split([images, labels])
    train, validation = split(rest)
    return Task(
        name="digits",
        init=_init,
        loss=_cross_entropy,
        metric=_accuracy,
        train=tuple(train),
        validation=tuple(validation),
        test=tuple(test),
        target=0.95,
        metric_name="accuracy",
        percent=True,
        details={
            "data": "scikit-learn's load_digits: 1797 scans of 8x8 pixels, scaled to [0, 1]",
            "split": "train_test_split, stratified: test first, then validation",
            "split_seed": _SPLIT_SEED,
            "model": f"MLP {'-'.join(map(str, _WIDTHS))}, ReLU; He normal hidden layer, the rest 0",
            "loss": "cross entropy",
        },
    )


def digits_references(task: Task) -> tuple[Reference, ...]:
    """scikit-learn's logistic regression and nearest neighbours, fitted to the same split.

    Args:
      task: what `digits_task` returns.

    Returns:
      Their accuracies on its validation and test splits.
    """
    require_extra("compare", "sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    def reference(name: str, model: Any) -> Reference:
        model.fit(*task.train)
        validation, test = model.score(*task.validation), model.score(*task.test)
        return Reference(name, float(validation), float(test), recipe=repr(model))

    return (
        reference("logistic regression", LogisticRegression(max_iter=1000)),
        reference("nearest neighbours", KNeighborsClassifier()),
    )


def _init(key: jax.Array) -> Params:
    pixels, units, classes = _WIDTHS
    # From zeros the output starts at chance: whoever ends clearly above has diverged.
    return [
        {
            "w": jax.random.normal(key, (pixels, units)) * math.sqrt(2.0 / pixels),
            "b": jnp.zeros(units),
        },
        {"w": jnp.zeros((units, classes)), "b": jnp.zeros(classes)},
    ]


def _logits(params: Params, images: jax.Array) -> jax.Array:
    hidden, last = params
    units = jax.nn.relu(images @ hidden["w"] + hidden["b"][None])
    return units @ last["w"] + last["b"][None]


def _cross_entropy(params: Params, batch: Data) -> jax.Array:
    images, labels = batch
    log_probabilities = jax.nn.log_softmax(_logits(params, images))
    # A product with the one-hot labels: under vmap on a CPU faster than picking by index.
    return -jnp.mean(jnp.sum(log_probabilities * jax.nn.one_hot(labels, _WIDTHS[-1]), axis=-1))


def _accuracy(params: Params, data: Data) -> jax.Array:
    images, labels = data
    return jnp.mean(jnp.argmax(_logits(params, images), axis=-1) == labels)
