"""Small networks, as pairs of pure functions: `init(key)` and what they compute."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Params = Any


class Network(NamedTuple):
    """`init(key) -> params` and `apply(params, inputs) -> outputs`."""

    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array], jax.Array]


def perceptron(widths: Sequence[int]) -> Network:
    """Dense layers with ReLU between them; the last one starts at 0."""

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, len(widths) - 1)
        layers = [_dense(k, *pair) for k, pair in zip(keys, _pairs(widths), strict=True)]
        return [*layers[:-1], jax.tree.map(jnp.zeros_like, layers[-1])]

    def apply(params: Params, x: jax.Array) -> jax.Array:
        for layer in params[:-1]:
            x = jax.nn.relu(_affine(layer, x))
        return _affine(params[-1], x)

    return Network(init, apply)


def convolutional(channels: int = 12, units: int = 32, classes: int = 10) -> Network:
    """For images of 8 by 8: a convolution of 3 by 3, ReLU, means of 2 by 2, two dense layers.

    The convolution is a matrix product over patches, which many networks at once can share.
    """

    def init(key: jax.Array) -> Params:
        first, second = jax.random.split(key)
        return {
            "conv": _dense(first, 9, channels),
            "hidden": _dense(second, 9 * channels, units),
            "output": {"w": jnp.zeros((units, classes)), "b": jnp.zeros(classes)},
        }

    def apply(params: Params, images: jax.Array) -> jax.Array:
        count = len(images)
        shifts = [images[:, i : i + 6, j : j + 6] for i in range(3) for j in range(3)]
        patches = jnp.stack(shifts, axis=-1)  # [image, 6, 6, 9]
        maps = jax.nn.relu(_affine(params["conv"], patches.reshape(count * 36, 9)))
        pooled = maps.reshape(count, 3, 2, 3, 2, channels).mean(axis=(2, 4))
        hidden = jax.nn.relu(_affine(params["hidden"], pooled.reshape(count, -1)))
        return _affine(params["output"], hidden)

    return Network(init, apply)


def next_symbol(context: int, symbols: int, units: int = 64, width: int = 8) -> Network:
    """The next symbol from the last `context` ones: embeddings, a hidden layer, an output."""

    def init(key: jax.Array) -> Params:
        table, dense = jax.random.split(key)
        inner = perceptron((context * width, units, symbols)).init(dense)
        return {"embed": jax.random.normal(table, (symbols, width)), "dense": inner}

    def apply(params: Params, text: jax.Array) -> jax.Array:
        """[window, context] -> [window, 1, symbol]"""
        x = params["embed"][text].reshape(len(text), -1)
        return perceptron((context * width, units, symbols)).apply(params["dense"], x)[:, None]

    return Network(init, apply)


def recurrent(symbols: int, units: int = 32, *, relu: bool = False) -> Network:
    """An Elman net: tanh, starting at a rotation; or ReLU, starting at the identity (IRNN).

    Reference: Le et al., 2015 (the identity), https://arxiv.org/abs/1504.00941
    """

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key)
        rotation = jax.nn.initializers.orthogonal()(keys[1], (units, units))
        return {
            "input": (0.1 if relu else 1.0) * jax.random.normal(keys[0], (symbols, units)),
            "recurrent": jnp.eye(units) if relu else rotation,
            "bias": jnp.zeros(units),
            "output": {"w": jnp.zeros((units, symbols)), "b": jnp.zeros(symbols)},
        }

    def apply(params: Params, text: jax.Array) -> jax.Array:
        """[window, position] -> [window, position, symbol]"""
        inputs = jnp.swapaxes(params["input"][text], 0, 1)

        def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            h = x + h @ params["recurrent"] + params["bias"][None]
            h = jax.nn.relu(h) if relu else jnp.tanh(h)
            return h, h

        _, states = jax.lax.scan(step, jnp.zeros((len(text), units)), inputs)
        return jnp.swapaxes(_affine(params["output"], states), 0, 1)

    return Network(init, apply)


def attention(symbols: int, context: int, width: int = 32, layers: int = 2) -> Network:
    """A causal transformer with one head, normed after each block, as the first ones were."""

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 4 * layers + 2)
        blocks = []
        for layer in range(layers):
            a, b, c, d = keys[4 * layer : 4 * layer + 4]
            blocks.append(
                {
                    "qkv": _dense(a, width, 3 * width, 1.0),
                    "mix": _dense(b, width, width, 1.0),
                    "up": _dense(c, width, 4 * width),
                    "down": _dense(d, 4 * width, width),
                    "norms": jnp.ones((2, width)),
                }
            )
        return {
            "embed": jax.random.normal(keys[-1], (symbols, width)),
            "places": jax.random.normal(keys[-2], (context, width)),
            "blocks": blocks,
            "output": {"w": jnp.zeros((width, symbols)), "b": jnp.zeros(symbols)},
        }

    def apply(params: Params, text: jax.Array) -> jax.Array:
        """[window, position] -> [window, position, symbol]"""
        length = text.shape[1]
        visible = jnp.tril(jnp.ones((length, length), bool))[None]
        x = params["embed"][text] + params["places"][None, :length]
        for block in params["blocks"]:
            q, k, v = jnp.split(_affine(block["qkv"], x), 3, axis=-1)
            scores = jnp.einsum("bqc,bkc->bqk", q, k) / math.sqrt(width)
            weights = jax.nn.softmax(jnp.where(visible, scores, -1e9), axis=-1)
            mixed = _affine(block["mix"], jnp.einsum("bqk,bkc->bqc", weights, v))
            x = _norm(x + mixed, block["norms"][0])
            inner = _affine(block["down"], jax.nn.relu(_affine(block["up"], x)))
            x = _norm(x + inner, block["norms"][1])
        return _affine(params["output"], x)

    return Network(init, apply)


def _dense(key: jax.Array, inputs: int, outputs: int, variance: float = 2.0) -> Params:
    weights = jax.random.normal(key, (inputs, outputs)) * math.sqrt(variance / inputs)
    return {"w": weights, "b": jnp.zeros(outputs)}


def _affine(layer: Params, x: jax.Array) -> jax.Array:
    out = x.reshape(-1, x.shape[-1]) @ layer["w"] + layer["b"][None]
    return out.reshape(*x.shape[:-1], -1)


def _norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    centered = x - x.mean(axis=-1, keepdims=True)
    spread = jnp.sqrt(jnp.mean(centered**2, axis=-1, keepdims=True) + 1e-5)
    return centered / spread * scale[None, None]


def _pairs(widths: Sequence[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(widths))
