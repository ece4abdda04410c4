"""The whole training step with the models of each framework."""

from collections.abc import Iterator

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradxform as gx

X = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
Y = np.sin(X.sum(axis=1, keepdims=True))


@pytest.fixture(autouse=True)
def as_the_frameworks_write() -> Iterator[None]:
    """A bias is added to a matrix without a word."""
    with jax.numpy_rank_promotion("allow"):
        yield


def squares(predicted, y):
    return jnp.mean((predicted - y) ** 2)


def trained(step, state, steps):
    for _ in range(steps):
        state, metrics = step(state, (X, Y))
    return state, metrics


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(8)(x))
        return nn.Dense(1)(nn.Dropout(0.1, deterministic=not train)(x))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_linen_with_batch_statistics_and_dropout(accumulate):
    model = Normed()
    variables = model.init(jax.random.key(0), X, train=False)

    def loss_fn(params, batch, model_state, key):
        x, y = batch
        predicted, changed = model.apply(
            {"params": params, **model_state},
            x,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        return squares(predicted, y), changed

    tx = gx.adamw(0.05)
    step = gx.make_train_step(loss_fn, tx, accumulate=accumulate)
    state = gx.TrainState.create(
        tx,
        variables["params"],
        model_state={"batch_stats": variables["batch_stats"]},
        key=jax.random.key(1),
    )
    state, first = trained(step, state, steps=1)
    state, last = trained(step, state, steps=30)
    assert last["loss"] < 0.5 * first["loss"]
    mean = state.model_state["batch_stats"]["BatchNorm_0"]["mean"]
    hidden = nn.Dense(8).apply({"params": state.params["Dense_0"]}, X)
    np.testing.assert_allclose(mean, np.mean(hidden, axis=0), atol=0.3)
    assert step._cache_size() == 1


def test_haiku_with_state():
    def net(x):
        x = hk.BatchNorm(True, True, 0.5)(hk.Linear(8)(x), is_training=True)
        return hk.Linear(1)(jax.nn.relu(x))

    model = hk.transform_with_state(net)
    params, model_state = model.init(jax.random.key(0), X)

    def loss_fn(params, batch, model_state, key):
        x, y = batch
        predicted, model_state = model.apply(params, model_state, key, x)
        return squares(predicted, y), model_state

    tx = gx.adamw(0.05, mask=gx.select.decayed)
    step = gx.make_train_step(loss_fn, tx)
    state = gx.TrainState.create(tx, params, model_state=model_state, key=jax.random.key(1))
    state, first = trained(step, state, steps=1)
    state, last = trained(step, state, steps=30)
    assert last["loss"] < 0.5 * first["loss"]
    counter = state.model_state["batch_norm/~/mean_ema"]["counter"]
    assert int(counter) == 31


def test_nnx_with_dropout():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Linear(4, 16, rngs=rngs), nnx.Linear(16, 1, rngs=rngs)
            self.dropout = nnx.Dropout(0.2, rngs=rngs)

        def __call__(self, x):
            return self.b(self.dropout(nnx.relu(self.a(x))))

    model = Net(nnx.Rngs(0, dropout=1))
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def loss_fn(params, batch, model_state):
        model = nnx.merge(graph, params, model_state)
        loss = squares(model(batch[0]), batch[1])
        return loss, nnx.split(model, nnx.Param, ...)[2]

    tx = gx.adamw(0.05)
    step = gx.make_train_step(loss_fn, tx)
    state = gx.TrainState.create(tx, params, model_state=rest)
    state, first = trained(step, state, steps=1)
    state, last = trained(step, state, steps=40)
    assert last["loss"] < 0.7 * first["loss"]
    count = state.model_state["dropout"]["rngs"]["count"]
    assert int(count[...]) == 41  # another mask in each step
    nnx.update(model, state.params, state.model_state)
    model.eval()
    assert squares(model(X), Y) < first["loss"]
    assert step._cache_size() == 1


def test_equinox():
    model = eqx.nn.MLP(4, 1, 8, 1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def loss_fn(params, batch):
        x, y = batch
        return squares(jax.vmap(eqx.combine(params, static))(x), y)

    tx = gx.adamw(0.05)
    state = gx.TrainState.create(tx, params)
    step = gx.make_train_step(loss_fn, tx)
    state, first = trained(step, state, steps=1)
    state, last = trained(step, state, steps=30)
    assert last["loss"] < 0.5 * first["loss"]
    assert isinstance(eqx.combine(state.params, static), eqx.nn.MLP)
