"""Averages in the loops of the frameworks: trained with some parameters, evaluated with others."""

import copy
import functools

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from flax import nnx
from test_frameworks import NNX, TRACES, Equinox, Haiku, Linen, Plain, X, squares

import gradxform as gx


class HaikuWithParams(Haiku):
    """Haiku's loop, with the parameters that averages need."""

    @staticmethod
    @functools.partial(jax.jit, static_argnums=0)
    def train(tx, params, state):
        TRACES[HaikuWithParams] += 1
        loss, grads = jax.value_and_grad(lambda p: squares(Haiku.net.apply(p, X)))(params)
        updates, state = tx.update(grads, state, params)
        return loss, optax.apply_updates(params, updates), state


# framework: (its trained parameters, the loss of a model with other ones)
READ = {
    Plain: (lambda loop: loop.params, lambda loop, p: Plain.loss(p)),
    Linen: (
        lambda loop: loop.train_state.params,
        lambda loop, p: squares(Linen.model.apply({"params": p}, X)),
    ),
    NNX: (lambda loop: nnx.state(loop.model, nnx.Param), lambda loop, p: nnx_loss(loop, p)),
    HaikuWithParams: (lambda loop: loop.params, lambda loop, p: squares(Haiku.net.apply(p, X))),
    Equinox: (lambda loop: loop.model, lambda loop, model: squares(jax.vmap(model)(X))),
}
in_every_framework = pytest.mark.parametrize("framework", READ)


def nnx_loss(loop, params):
    model = copy.deepcopy(loop.model)
    nnx.update(model, params)
    return squares(model(X))


def numbers(params):
    return [np.asarray(x, np.float64) for x in jax.tree.leaves(eqx.filter(params, eqx.is_array))]


@in_every_framework
def test_the_average_of_what_was_visited(framework):
    params, loss = READ[framework]
    loop = framework(gx.chain(gx.clip_by_global_norm(1.0), gx.ema_params(gx.adam(0.05), 0.8)))
    before = numbers(gx.eval_params(loop.state, params(loop)))
    for a, b in zip(before, numbers(params(loop)), strict=True):
        np.testing.assert_array_equal(a, b)
    places = []
    for _ in range(6):
        loop.step()
        places.append(numbers(params(loop)))
    read = gx.eval_params(loop.state, params(loop))
    assert jax.tree.structure(read) == jax.tree.structure(params(loop))
    weights = 0.8 ** np.arange(6)[::-1]
    for average, *visited in zip(numbers(read), *places, strict=True):
        expected = np.average(visited, axis=0, weights=weights)
        np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(loss(loop, read))


@in_every_framework
def test_the_average_of_schedule_free_has_learnt(framework):
    params, loss = READ[framework]
    loop = framework(gx.schedule_free(gx.adam(0.1, b1=0.0)))
    for _ in range(60):
        loop.step()
    average = float(loss(loop, gx.eval_params(loop.state, params(loop))))
    assert average < 0.05


@pytest.mark.parametrize("name", ["lookahead", "average_params"])
def test_a_framework_with_boxes_reads_the_others_too(name):
    tx = {
        "lookahead": gx.lookahead(gx.adam(0.1), 2),
        "average_params": gx.average_params(gx.adam(0.1), 1),
    }
    loop = NNX(tx[name])
    params, loss = READ[NNX]
    for _ in range(21):  # lookahead is between two steps back
        loop.step()
    read = gx.eval_params(loop.optimizer, params(loop))
    assert loss(loop, read) < 0.6
    assert any(np.any(a != b) for a, b in zip(numbers(read), numbers(params(loop)), strict=True))


def test_groups_in_nnx_keep_empty_boxes_in_the_state():
    """A group's state has boxes without an array where the other group's parameters are."""
    kernels = gx.select.path(".*kernel")
    tx = gx.partition({"kernels": (kernels, gx.ema_params(gx.sgd(0.1), 0.5))}, default=gx.sgd(0.1))
    loop, (params, _) = NNX(tx), READ[NNX]
    for _ in range(3):
        loop.step()
    read, now = gx.eval_params(loop.state, params(loop)), params(loop)
    np.testing.assert_array_equal(read["a"]["bias"][...], now["a"]["bias"][...])
    assert np.all(np.asarray(read["a"]["kernel"][...]) != np.asarray(now["a"]["kernel"][...]))


def test_sam_in_a_linen_loop():
    """Its gradient function closes over the batch, inside of `jit`."""
    loop = Linen(gx.sam(gx.adam(0.05), rho=0.05))

    @jax.jit
    def train(train_state):
        def loss(params):
            return squares(train_state.apply_fn({"params": params}, X))

        grad_fn, params = jax.grad(loss), train_state.params
        updates, state = train_state.tx.update(
            grad_fn(params), train_state.opt_state, params, grad_fn=grad_fn
        )
        params = gx.apply_updates(params, updates)
        return loss(params), train_state.replace(params=params, opt_state=state)

    losses = []
    for _ in range(60):
        value, loop.train_state = train(loop.train_state)
        losses.append(float(value))
    assert losses[-1] < 0.05 < losses[0]
