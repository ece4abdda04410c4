"""Master weights inside of other wrappers, with 16-bit moments, and in a framework."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from problems import assert_equal, at, gradients, small, times
from test_master_weights import cast, trained

import gradxform as gx


@gx.optimizer
def in_one(learning_rate: gx.LearningRate):
    return gx.master_weights(gx.adam(learning_rate))


@functools.cache
def in_float32(tx):
    """The last parameters of a float32 training."""
    params = small("bfloat16")
    grads = times(1.0, gradients(params, steps=4))
    return trained(tx, cast(params, "float32"), grads)[0][-1]


INSIDE = {
    "alone": gx.master_weights,
    "chain": lambda tx: gx.chain(gx.clip_by_global_norm(10.0), gx.master_weights(tx)),
    "named chain": lambda tx: gx.named_chain(("all", gx.master_weights(tx))),
    "chain of Optax": lambda tx: optax.chain(optax.clip(10.0), gx.master_weights(tx)),
    "skip_nonfinite": lambda tx: gx.skip_nonfinite(gx.chain(gx.master_weights(tx))),
    "skip_spikes": lambda tx: gx.skip_spikes(gx.master_weights(tx)),
    "loss scale": lambda tx: gx.dynamic_loss_scale(gx.master_weights(tx), 1.0),
    "loss scale inside": lambda tx: gx.master_weights(gx.dynamic_loss_scale(tx, 1.0)),
    "an optimizer of it": lambda tx: in_one(0.01),
    "accumulation": lambda tx: gx.accumulate(gx.master_weights(tx), 1),
    "an average": lambda tx: gx.ema_params(gx.master_weights(tx)),
    "masked": lambda tx: gx.masked(gx.master_weights(tx), {"w": True, "s": True}),
    "a group": lambda tx: gx.partition(
        {"w": ({"w": True, "s": False}, gx.master_weights(tx))}, default=gx.master_weights(tx)
    ),
    "one of Optax's": lambda tx: gx.master_weights(optax.adam(0.01)),
}


@pytest.mark.parametrize("name", INSIDE)
def test_the_updates_stay_in_float32_inside_of_anything(name):
    params = small("bfloat16")
    grads = gradients(params, steps=4)
    tx = INSIDE[name](gx.adam(0.01))
    inner = optax.adam(0.01) if name == "one of Optax's" else gx.adam(0.01)
    actual, state = trained(tx, params, grads)
    assert_equal(actual[-1], cast(in_float32(inner), "bfloat16"))
    updates, _ = jax.eval_shape(tx.update, at(grads, 0), state, params)
    assert {str(u.dtype) for u in jax.tree.leaves(updates)} == {"float32"}


def test_nothing_else_stays_in_float32():
    params = small("bfloat16")
    for tx in (gx.adam(0.1), gx.skip_nonfinite(gx.adam(0.1)), gx.chain(gx.chain(gx.adam(0.1)))):
        assert not tx.update.wide
        updates, _ = tx.update(params, tx.init(params), params)
        assert updates["w"].dtype == jnp.bfloat16


def test_the_moments_may_have_another_dtype():
    params = small("bfloat16")
    grads = gradients(params, steps=6)
    inner = gx.adamw(0.01, state_dtype="bfloat16")
    expected, theirs = trained(inner, cast(params, "float32"), times(1.0, grads))
    actual, state = trained(gx.master_weights(inner), params, grads)
    assert_equal(actual[-1], cast(expected[-1], "bfloat16"))
    assert_equal(state.inner_state, theirs)
    assert {str(x.dtype) for x in jax.tree.leaves(state.inner_state[0].mu)} == {"bfloat16"}
    assert {str(x.dtype) for x in jax.tree.leaves(state.master)} == {"float32"}


class Net(nnx.Module):
    """One layer in bfloat16 and one in float32."""

    def __init__(self, rngs):
        self.first = nnx.Linear(3, 4, rngs=rngs, param_dtype=jnp.bfloat16)
        self.second = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        return self.second(jnp.tanh(self.first(x)).astype("float32"))


def test_in_an_nnx_optimizer():
    """At 1e-6 and ten steps no parameter in bfloat16 moves; its master has, by ten steps."""
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, gx.master_weights(gx.adam(1e-6, eps=0)), wrt=nnx.Param)
    start = jax.tree.map(jnp.copy, nnx.as_pure(nnx.state(model, nnx.Param)))

    @nnx.jit
    def step(model, optimizer):
        grads = nnx.grad(lambda m: jnp.sum(m(jnp.ones((2, 3)))))(model)
        optimizer.update(model, grads)

    for _ in range(10):
        step(model, optimizer)
    master = nnx.as_pure(optimizer.opt_state).master["first"]["kernel"]
    first, last = start["first"]["kernel"], model.first.kernel.get_value()
    assert_equal(last, master.astype("bfloat16"))
    np.testing.assert_allclose(abs(master - first.astype("float32")), 1e-5, rtol=0.1)
    assert np.mean(np.asarray(last != first)) < 0.2
    assert not np.any(np.asarray(model.second.kernel.get_value() == start["second"]["kernel"]))


def test_the_step_is_done_in_place():
    params = jnp.zeros(100_000, "bfloat16")
    tx = gx.master_weights(gx.adam(0.1))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    memory = step.lower(params, tx.init(params), params).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 0.05 * params.size
