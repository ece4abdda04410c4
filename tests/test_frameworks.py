"""The optimizers in the training loops of the frameworks, written as their users write them."""

import collections
import functools

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import CATALOG
from flax import nnx
from flax.training.train_state import TrainState
from rows.row import is_kernel

import gradxform as gx

# y = x @ (1, 2, 3, 4) / 4, for a net of 4, 8 and 1 units.
X = jax.random.normal(jax.random.key(0), (32, 4))
Y = X @ jnp.arange(1.0, 5.0)[:, None] / 4.0
TRACES = collections.Counter()


def squares(predicted):
    return jnp.mean((predicted - Y) ** 2)


class Plain:
    """A function of trees, with the transformation as a static argument."""

    def __init__(self, tx):
        a, b = jax.random.normal(jax.random.key(1), (4, 8)), jnp.ones((8, 1)) / 8
        c, d = jnp.zeros((1, 8)), jnp.zeros((1, 1))
        self.params = {"a": {"w": a / 2, "b": c}, "b": {"w": b, "b": d}}
        self.tx, self.state = tx, tx.init(self.params)

    @staticmethod
    def loss(params):
        a, b = params["a"], params["b"]
        return squares(jnp.tanh(X @ a["w"] + a["b"]) @ b["w"] + b["b"])

    @staticmethod
    @functools.partial(jax.jit, static_argnums=0)
    def train(tx, params, state):
        TRACES[Plain] += 1
        loss, grads = jax.value_and_grad(Plain.loss)(params)
        updates, state = tx.update(grads, state, params)
        return loss, gx.apply_updates(params, updates), state

    def step(self):
        loss, self.params, self.state = self.train(self.tx, self.params, self.state)
        return loss


class Linen:
    """Flax Linen with its `TrainState`, which holds the transformation in its structure."""

    model = nn.Sequential([nn.Dense(8), nn.tanh, nn.Dense(1)])

    def __init__(self, tx):
        params = self.model.init(jax.random.key(1), X)["params"]
        self.train_state = TrainState.create(apply_fn=self.model.apply, params=params, tx=tx)

    @staticmethod
    @jax.jit
    def train(train_state):
        TRACES[Linen] += 1

        def loss(params):
            return squares(train_state.apply_fn({"params": params}, X))

        value, grads = jax.value_and_grad(loss)(train_state.params)
        return value, train_state.apply_gradients(grads=grads)

    def step(self):
        loss, self.train_state = self.train(self.train_state)
        return loss

    @property
    def state(self):
        return self.train_state

    @state.setter
    def state(self, state):
        self.train_state = state


class Net(nnx.Module):
    def __init__(self, rngs):
        self.a, self.b = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.b(jnp.tanh(self.a(x)))


class NNX:
    """Flax NNX with its `Optimizer`, which boxes every array of the state."""

    def __init__(self, tx):
        self.model = Net(nnx.Rngs(1))
        self.optimizer = nnx.Optimizer(self.model, tx, wrt=nnx.Param)

    @staticmethod
    @nnx.jit
    def train(model, optimizer):
        TRACES[NNX] += 1
        loss, grads = nnx.value_and_grad(lambda model: squares(model(X)))(model)
        optimizer.update(model, grads)
        return loss

    def step(self):
        return self.train(self.model, self.optimizer)

    @property
    def state(self):
        return self.optimizer.opt_state

    @state.setter
    def state(self, state):
        self.optimizer.opt_state = state


class Haiku:
    """Haiku: the names of its parameters hold slashes, and its loops pass no parameters."""

    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([8, 1])(x)))
    needs_no_params = True

    def __init__(self, tx):
        self.params = self.net.init(jax.random.key(1), X)
        self.tx, self.state = tx, tx.init(self.params)

    @staticmethod
    @functools.partial(jax.jit, static_argnums=0)
    def train(tx, params, state):
        TRACES[Haiku] += 1
        loss, grads = jax.value_and_grad(lambda p: squares(Haiku.net.apply(p, X)))(params)
        updates, state = tx.update(grads, state)
        return loss, optax.apply_updates(params, updates), state

    def step(self):
        loss, self.params, self.state = self.train(self.tx, self.params, self.state)
        return loss


class Equinox:
    """Equinox: trees of modules with `None` in the place of what is not trained."""

    def __init__(self, tx):
        self.model = eqx.nn.MLP(4, 1, 8, 1, activation=jnp.tanh, key=jax.random.key(1))
        self.tx, self.state = tx, tx.init(eqx.filter(self.model, eqx.is_inexact_array))

    @staticmethod
    @eqx.filter_jit
    def train(tx, model, state):
        TRACES[Equinox] += 1
        loss, grads = eqx.filter_value_and_grad(lambda model: squares(jax.vmap(model)(X)))(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return loss, eqx.apply_updates(model, updates), state

    def step(self):
        loss, self.model, self.state = self.train(self.tx, self.model, self.state)
        return loss


FRAMEWORKS = [Plain, Linen, NNX, Haiku, Equinox]
in_every_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


def make(framework, learning_rate=0.05):
    """Adam with everything that the framework's loop can carry: masks read the parameters."""
    if hasattr(framework, "needs_no_params"):
        return gx.chain(gx.clip_by_global_norm(1.0), gx.adam(learning_rate))
    return gx.chain(
        gx.clip_by_global_norm(1.0), gx.adamw(learning_rate, weight_decay=1e-4, mask=is_kernel)
    )


@in_every_framework
def test_a_net_learns(framework):
    loop = framework(make(framework))
    losses = [float(loop.step()) for _ in range(80)]
    assert losses[0] > 0.5
    assert losses[-1] < 0.02


@in_every_framework
def test_building_the_optimizer_again_does_not_trace_again(framework):
    framework(make(framework, gx.cosine_decay(0.05, 100))).step()
    before = TRACES[framework]
    loop = framework(make(framework, gx.cosine_decay(0.05, 100)))
    loop.step()
    loop.step()
    assert TRACES[framework] == before
    framework(make(framework, gx.cosine_decay(0.05, 101))).step()
    assert TRACES[framework] == before + 1


@in_every_framework
def test_a_schedule_is_read_from_the_frameworks_state(framework):
    loop = framework(make(framework, gx.linear_schedule(0.5, 0.0, 10)))
    assert gx.hyperparams(loop.state)["learning_rate"] == 0.5
    loop.step()
    loop.step()
    rate = gx.hyperparams(loop.state)["learning_rate"]
    assert rate == pytest.approx(0.45)
    assert isinstance(rate, jax.Array)  # out of any framework's box
    assert rate.shape == ()


@in_every_framework
def test_a_tunable_is_written_into_the_frameworks_state(framework):
    loop = framework(make(framework, gx.tunable(0.05)))
    loop.step()
    before, traces = loop.step(), TRACES[framework]
    loop.state = gx.set_hyperparams(loop.state, learning_rate=0.0)
    stopped = [float(loop.step()) for _ in range(3)]
    assert stopped[0] != before
    assert stopped[0] == stopped[1] == stopped[2]
    loop.state = gx.set_hyperparams(loop.state, learning_rate=0.05)
    loop.step()
    assert loop.step() < stopped[0]
    assert gx.hyperparams(loop.state)["learning_rate"] == np.float32(0.05)
    assert TRACES[framework] == traces


def test_a_tunable_is_written_inside_of_nnx_jit():
    loop = NNX(make(NNX, gx.tunable(0.05)))

    @nnx.jit
    def halve(optimizer):
        rate = gx.hyperparams(optimizer.opt_state)["learning_rate"] / 2.0
        optimizer.opt_state = gx.set_hyperparams(optimizer.opt_state, learning_rate=rate)

    halve(loop.optimizer)
    loop.step()
    assert gx.hyperparams(loop.optimizer)["learning_rate"] == np.float32(0.025)


def test_a_loop_without_parameters_is_told_when_they_are_needed():
    with pytest.raises(ValueError, match=r"reads the parameters: call `update\(updates, state, p"):
        Haiku(gx.adamw(0.1)).step()


def test_callers_that_pass_more_by_name():
    """As optimistix, numpyro and levanter call it, with or without parameters by position."""
    import equinox.internal as eqxi

    params, grads = {"w": jnp.ones(3)}, {"w": jnp.arange(3.0)}
    for row in CATALOG:
        tx = row.build()
        (plain, state), fn = tx.update(grads, tx.init(params), params, **row.extra), jnp.sum
        for called in (tx, eqxi.closure_to_pytree(tx)):
            extra = {"value": fn(1.0), "grad": grads, "value_fn": fn, "loss": 1.0, **row.extra}
            again = called.update(grads, called.init(params), params=params, **extra)
            assert jax.tree.all(jax.tree.map(jnp.array_equal, again[0], plain))
            # What a window gathers may be there now; nothing else is.
            assert jax.tree.structure(again[1]) == jax.tree.structure(state)
