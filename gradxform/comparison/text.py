"""Characters of real text: a small transformer and a recurrent network, in plain JAX."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..core.types import Params
from .corpus import python_reference
from .task import Data, Task

_WIDTH = 32  # of the transformer
_HEADS = 4
_LAYERS = 2
_UNITS = 64  # of the recurrent network
_WINDOWS_AT_ONCE = 64  # when a split is judged

Logits = Callable[[Params, jax.Array], jax.Array]


def text_task() -> Task:
    """Predict the next character of Python's reference with a small causal transformer.

    Two layers of width 32 with four heads, normalized before each block, GELU, attention that
    starts from distances (ALiBi), windows of 64 characters. The loss is the cross entropy in nats,
    the metric the bits a character on held-out text, where the first characters of each window
    have little to go by.
    """
    model = (
        f"causal transformer: {_LAYERS} layers of width {_WIDTH}, {_HEADS} heads, layer norm "
        "before each block, GELU, ALiBi; its output starts at zero"
    )
    return _task("text", _transformer_init, _transformer, model)


def rnn_task() -> Task:
    """Predict the next character of the same text with a plain recurrent network.

    64 units h_t = tanh(W h_(t-1) + x_t), unrolled over windows of 64 characters from a state of
    zeros. W starts as 1.5 times an orthogonal matrix, so that gradients grow on their way back:
    a network on which clipping matters.
    """
    model = (
        f"h = tanh(W h + embedding), {_UNITS} units; W starts as {_GAIN} times an orthogonal "
        "matrix; its output starts at zero"
    )
    return _task("rnn", _recurrent_init, _recurrent, model)


def _task(name: str, init: Any, logits: Logits, model: str) -> Task:
    corpus = python_reference()
    train, validation, test = map(corpus.windows, corpus.splits)

    def loss(params: Params, windows: Data) -> jax.Array:
        return _nats(logits, params, windows)

    def metric(params: Params, windows: Data) -> jax.Array:
        # Some windows at a time, for the memory of many networks at once; the last are filled up
        # with windows that count nothing.
        windows = jnp.asarray(windows)
        count = len(windows)
        parts = -(-count // _WINDOWS_AT_ONCE)
        places = jnp.arange(parts * _WINDOWS_AT_ONCE).reshape(parts, -1)
        nats = jax.lax.map(
            lambda at: jnp.sum(
                jnp.where(
                    at < count,
                    jnp.mean(_each(logits, params, windows[jnp.minimum(at, count - 1)]), axis=-1),
                    0.0,
                )
            ),
            places,
        )
        return jnp.sum(nats) / count / math.log(2)

    return Task(
        name=name,
        init=lambda key: init(key, len(corpus.alphabet)),
        loss=loss,
        metric=metric,
        train=train,
        validation=validation,
        test=test,
        metric_name="bits/character",
        lower_is_better=True,
        details={**corpus.details, "model": model, "loss": "cross entropy in nats"},
    )


def _each(logits: Logits, params: Params, windows: jax.Array) -> jax.Array:
    """The cross entropy of every character but the first of each window: [window, character]."""
    codes = windows.astype(jnp.int32)
    scores = logits(params, codes[:, :-1])
    # Products with one-hot characters: under vmap on a CPU faster than picking by index.
    wanted = jnp.sum(scores * jax.nn.one_hot(codes[:, 1:], scores.shape[-1]), axis=-1)
    return jax.nn.logsumexp(scores, axis=-1) - wanted


def _nats(logits: Logits, params: Params, windows: jax.Array) -> jax.Array:
    return jnp.mean(_each(logits, params, windows))


def _transformer_init(key: jax.Array, alphabet: int) -> Params:
    keys = iter(jax.random.split(key, 1 + 4 * _LAYERS))

    def normal(shape: tuple[int, ...], variance: float) -> jax.Array:
        return math.sqrt(variance) * jax.random.normal(next(keys), shape)

    wide = 4 * _WIDTH
    return {
        "characters": normal((alphabet, _WIDTH), 1.0 / _WIDTH),
        "layers": [
            {
                "attention_norm": jnp.ones(_WIDTH),
                "queries_keys_values": normal((_WIDTH, 3 * _WIDTH), 1.0 / _WIDTH),
                "attention_out": normal((_WIDTH, _WIDTH), 0.5 / _WIDTH / _LAYERS),
                "units_norm": jnp.ones(_WIDTH),
                "units_in": normal((_WIDTH, wide), 1.0 / _WIDTH),
                "units_bias": jnp.zeros(wide),
                "units_out": normal((wide, _WIDTH), 0.5 / wide / _LAYERS),
            }
            for _ in range(_LAYERS)
        ],
        "norm": jnp.ones(_WIDTH),
        # From zeros the output starts at chance: whoever ends clearly above has diverged.
        "out": jnp.zeros((_WIDTH, alphabet)),
    }


def _transformer(params: Params, codes: jax.Array) -> jax.Array:
    x = _embedded(params, codes)
    for layer in params["layers"]:
        x = x + _attention(layer, _normalized(x, layer["attention_norm"]))
        units = _normalized(x, layer["units_norm"]) @ layer["units_in"]
        units = jax.nn.gelu(units + layer["units_bias"][None, None])
        x = x + units @ layer["units_out"]
    return _normalized(x, params["norm"]) @ params["out"]


def _embedded(params: Params, codes: jax.Array) -> jax.Array:
    characters = params["characters"]
    return jax.nn.one_hot(codes, len(characters)) @ characters


def _normalized(x: jax.Array, scale: jax.Array) -> jax.Array:
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axis=-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale[None, None]


def _attention(layer: Params, x: jax.Array) -> jax.Array:
    windows, length, width = x.shape
    heads = (x @ layer["queries_keys_values"]).reshape(windows, length, 3, _HEADS, -1)
    queries, keys, values = (heads[:, :, i] for i in range(3))
    out = jax.nn.dot_product_attention(
        queries, keys, values, bias=_distances(length), is_causal=True
    )
    return out.reshape(windows, length, width) @ layer["attention_out"]


def _distances(length: int) -> jax.Array:
    """What attention to an earlier character starts from, a slope for each head: [1, head, ...].

    Reference: Press et al., 2022 (ALiBi), https://arxiv.org/abs/2108.12409
    """
    slopes = 2.0 ** (-8.0 * jnp.arange(1, _HEADS + 1) / _HEADS)
    places = jnp.arange(length)
    return -slopes[None, :, None, None] * (places[:, None] - places[None, :])[None, None]


_GAIN = 1.5


def _recurrent_init(key: jax.Array, alphabet: int) -> Params:
    characters, recurrent = jax.random.split(key)
    orthogonal = jax.nn.initializers.orthogonal(_GAIN)
    return {
        "characters": jax.random.normal(characters, (alphabet, _UNITS)),
        "recurrent": orthogonal(recurrent, (_UNITS, _UNITS)),
        "out": jnp.zeros((_UNITS, alphabet)),
        "bias": jnp.zeros(alphabet),
    }


def _recurrent(params: Params, codes: jax.Array) -> jax.Array:
    inputs = jnp.swapaxes(_embedded(params, codes), 0, 1)

    def step(state: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jnp.tanh(state @ params["recurrent"] + x)
        return state, state

    _, states = jax.lax.scan(step, jnp.zeros(inputs.shape[1:]), inputs)
    return jnp.swapaxes(states, 0, 1) @ params["out"] + params["bias"][None, None]
