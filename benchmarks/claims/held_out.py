"""Real data that comes with scikit-learn and with Python, split once, and problems made of it.

Test and validation examples are the same for every seed; a seed trains on its own draw of four
fifths of the rest (of text: on all of it). So results vary with the training set, the initial
network and the order of batches, and the test examples' own share is computed from the readings.
"""

import hashlib
import math
from collections import Counter
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from networks import Network
from trial import Problem

Split = tuple[np.ndarray, np.ndarray, np.ndarray]
SYMBOLS = 64  # the 63 most frequent characters, and one for all others
CLASSES = {"digits": 10, "breast_cancer": 2, "wine": 3}
_SPLIT_SEED = 0
_PREDICTIONS = {"validation": 1536, "test": 3072}  # characters of the text to be judged by


def images(network: Network, share: float = 0.8) -> Problem:
    """Digits of 8 by 8 pixels, by accuracy.

    Args:
      network: takes [image, 8, 8] or, for a perceptron, [image, 64].
      share: of the training pool that a seed draws.
    """
    x, y = table("digits")
    return classification("digits", network, x, y, share)


def classification(
    name: str, network: Network, x: np.ndarray, y: np.ndarray, share: float = 0.8
) -> Problem:
    """Cross entropy on classes, judged by accuracy."""

    def loss(params: Any, batch: Any) -> jax.Array:
        inputs, labels = batch
        return jnp.mean(cross_entropy(network.apply(params, inputs), labels))

    def score(params: Any, batch: Any) -> jax.Array:
        inputs, labels = batch
        return (jnp.argmax(network.apply(params, inputs), axis=-1) == labels).astype(jnp.float32)

    data = (x.astype(np.float32), y.astype(np.int32))
    return Problem(name, data, network.init, loss, score, lambda s: draw(len(x), s, share))


def text(network: Network, context: int, *, all_positions: bool = True) -> Problem:
    """The next character of Python's help texts, judged by minus the bits it takes.

    A window that a network gives more bits than a uniform guess counts as one: 6 bits. So a
    network that has diverged has a finite score.

    Args:
      network: [window, context] -> [window, positions, symbol].
      context: characters that it sees.
      all_positions: whether it predicts after each of them, or after the last only.
    """
    windows, places = _windows(context, context if all_positions else 1)
    first = 0 if all_positions else context - 1

    def nats(params: Any, batch: jax.Array) -> jax.Array:
        logits = network.apply(params, batch[:, :-1])
        return jnp.mean(cross_entropy(logits, batch[:, 1 + first :]), axis=-1)

    def loss(params: Any, batch: jax.Array) -> jax.Array:
        return jnp.mean(nats(params, batch))

    def score(params: Any, batch: jax.Array) -> jax.Array:
        bits, guess = nats(params, batch) / math.log(2), math.log2(SYMBOLS)
        return -jnp.where(bits < guess, bits, guess)  # NaN is not below

    return Problem("text", windows, network.init, loss, score, lambda seed: places)


def draw(count: int, seed: int, share: float = 0.8) -> Split:
    """A third to test, a sixth to validate; of the rest the seed's own share to train."""
    order = np.random.default_rng(_SPLIT_SEED).permutation(count)
    test, validation, pool = np.split(order, [count // 3, count // 3 + count // 6])
    own = np.random.default_rng(10_000 + seed).permutation(pool)
    return own[: int(share * len(pool))], validation, test


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Nats of each label: [...]."""
    chances = jax.nn.log_softmax(logits)
    # A product with the one-hot labels: for many networks at once faster than picking by index.
    return -jnp.sum(chances * jax.nn.one_hot(labels, logits.shape[-1]), axis=-1)


@cache
def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """One of scikit-learn's bundled sets; columns of tables have mean 0 and variance 1.

    The statistics are those of the examples that are not tested.
    """
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "digits":
        return (x / 16.0).reshape(-1, 8, 8), y
    train, validation, _ = draw(len(x), 0, 1.0)
    known = np.concatenate([train, validation])
    x = (x - x[known].mean(axis=0)) / x[known].std(axis=0)
    if name == "diabetes":
        y = (y - y[known].mean()) / y[known].std()
    return x, y


@cache
def characters() -> tuple[np.ndarray, str]:
    """Python's help texts as numbers, and the hash of the text, which differs between Pythons.

    Topics repeat parts of each other. Each line is kept once, so that no test line was trained on.
    """
    from pydoc_data.topics import topics

    lines = "\n".join(topics[name] for name in sorted(topics)).split("\n")
    kept = "\n".join(dict.fromkeys(line for line in lines if line.strip()))
    common = [c for c, _ in Counter(kept).most_common(SYMBOLS - 1)]
    numbers = {character: number for number, character in enumerate(common)}
    codes = np.array([numbers.get(c, SYMBOLS - 1) for c in kept], np.int32)
    return codes, hashlib.sha256(kept.encode()).hexdigest()[:16]


@cache
def _windows(context: int, positions: int) -> tuple[np.ndarray, Split]:
    """Windows of context + 1 characters; the last fifth of the text is held out."""
    codes, _ = characters()
    starts = np.arange(0, len(codes) - context - 1, context)
    windows = codes[starts[:, None] + np.arange(context + 1)[None]]
    first = int(0.8 * len(windows))
    later = np.arange(first + 1, len(windows))  # one between is left out: its end is shared
    held_out = np.random.default_rng(_SPLIT_SEED).permutation(later)
    middle, test = (_PREDICTIONS[split] // positions for split in ("validation", "test"))
    end = middle + test
    return windows, (np.arange(first), held_out[:middle], held_out[middle:end])
