"""Accumulation as programs: branches, buffers, `vmap`, and the loops of the frameworks."""

import functools
import re

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from problems import assert_close, assert_equal

import gradxform as gx
from gradxform.core.branch import when

SHAPES = {"a": (64, 96), "b": (96, 32), "c": (96,)}


def optimizer():
    return gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1))


def compiled(tx, **extra):
    """A donated training step, compiled."""

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params, **extra)
        return gx.apply_updates(params, updates), state

    params = {k: jax.ShapeDtypeStruct(s, jnp.float32) for k, s in SHAPES.items()}
    jitted = jax.jit(step, donate_argnums=(0, 1))
    return jitted.lower(params, jax.eval_shape(tx.init, params), params).compile()


@pytest.mark.parametrize("options", [{}, {"on_nonfinite": "skip"}], ids=["mean", "skip"])
def test_nothing_is_copied_and_nothing_allocated(options):
    """In a branch, each buffer is changed in place or left as it is."""
    program = compiled(gx.accumulate(optimizer(), 4, **options), weight=2.0)
    text = program.as_text()
    # That of the window, and inside of it that of the norm, which reads gradients whose squares
    # leave the range of float32 a second time.
    assert text.count(" conditional(") == 2
    whole = {",".join(map(str, shape)) for shape in SHAPES.values()}
    copied = [dims for dims in re.findall(r"= f32\[([\d,]+)\]\S* copy\(", text) if dims in whole]
    assert copied == []
    size = sum(np.prod(shape) for shape in SHAPES.values())
    assert program.memory_analysis().temp_size_in_bytes < 4 * size / 2
    assert program.memory_analysis().alias_size_in_bytes >= 4 * 4 * size


def test_the_inner_transformation_runs_only_in_the_calls_that_emit():
    calls = []

    @gx.transformation
    def counted(inner: gx.GradientTransformation) -> gx.GradientTransformation:
        def update(updates, state, params=None):
            jax.debug.callback(lambda: calls.append(1))
            return updates, state

        return inner.init, update

    tx = gx.accumulate(counted(gx.identity()), 3)
    update = jax.jit(tx.update)
    state = tx.init(jnp.ones(2))
    for t in range(6):
        _, state = update(jnp.ones(2), state)
        jax.effects_barrier()
        assert len(calls) == (t + 1) // 3


# Members of a batch


def members(every, grads):
    """One member a row: its updates, alone."""

    def one(k, grads):
        tx = gx.accumulate(gx.scale_by_momentum(0.5), lambda step: k)

        def step(state, g):
            updates, state = tx.update({"w": g}, state)
            return state, (updates["w"], gx.has_updated(state))

        return jax.lax.scan(step, tx.init({"w": jnp.zeros(2)}), grads)

    return one, jax.vmap(one)(every, grads)


def test_members_with_windows_of_their_own():
    every = jnp.array([1, 2, 3])
    grads = jax.random.normal(jax.random.key(0), (3, 7, 2))
    one, batched = members(every, grads)
    for i in range(3):
        alone = one(every[i], grads[i])
        assert_close(jax.tree.map(lambda x, i=i: x[i], batched), alone)
        updated = np.arange(1, 8) % int(every[i]) == 0
        np.testing.assert_array_equal(alone[1][1], updated)


def test_members_of_which_some_skip():
    tx = gx.accumulate(gx.adam(0.1), 1, on_nonfinite="skip")
    params = jnp.ones((3, 2))
    grads = params.at[1].set(jnp.nan)
    state = jax.vmap(tx.init)(params)
    updates, after = jax.jit(jax.vmap(tx.update))(grads, state, params)
    assert_equal(jax.tree.map(lambda x: x[1], after.inner_state), tx.init(params[1]).inner_state)
    np.testing.assert_array_equal(updates[1], 0.0)
    np.testing.assert_array_equal(after.emitted, [1, 0, 1])
    assert_close(updates[2], gx.adam(0.1).update(params[2], gx.adam(0.1).init(params[2]))[0])


def test_members_that_emit_together_stay_a_branch():
    tx = gx.accumulate(optimizer(), 2)
    params = jnp.ones((3, 4))

    def run(params):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(params, state, params)
            return (params + updates, state), None

        return jax.lax.scan(step, (params, tx.init(params)), length=4)[0][0]

    text = str(jax.make_jaxpr(jax.vmap(run))(params))
    assert text.count("cond[") == 2  # that of the norm stands inside of that of the window
    assert_close(jax.vmap(run)(params)[0], run(params[0]))


@pytest.mark.parametrize("due", [[0, 0], [0, 1], [1, 0], [1, 1]])
def test_when_in_batches_of_batches(due):
    """Members that differ in the outer, in the inner, in both and in no batch."""

    def one(due, x, y):
        return when(
            due, lambda x, n: (x + y, n + 1), lambda x, n: (x, n), x, jnp.zeros((), jnp.int32)
        )

    shape = (2, 3)
    x, y = jnp.arange(6.0).reshape(shape), jnp.full(shape, 10.0)
    flags = jnp.array([[True, False, True], [False, False, True]])[: due[0] + 1, : 2 * due[1] + 1]
    axes = [0 if d else None for d in due]
    flags = flags.reshape([n for n, d in zip(flags.shape, due, strict=True) if d])
    inner = jax.vmap(one, in_axes=(axes[1], 0, 0))
    out, count = jax.jit(jax.vmap(inner, in_axes=(axes[0], 0, 0)))(flags, x, y)
    whole = np.asarray(flags).reshape([n if d else 1 for n, d in zip(shape, due, strict=True)])
    np.testing.assert_array_equal(out, np.where(whole, x + y, x))
    np.testing.assert_array_equal(np.broadcast_to(count, shape), np.broadcast_to(whole, shape))


# Frameworks: two updates from four micro-batches are two updates from two batches

X = jax.random.normal(jax.random.key(0), (4, 8, 4))
Y = X @ jnp.arange(1.0, 5.0)[:, None]
LARGE = jax.tree.map(lambda a: a.reshape(2, 16, *a.shape[2:]), (X, Y))


def squares(predicted, y):
    return jnp.mean((predicted - y) ** 2)


def linen(tx, xs, ys):
    model = nn.Sequential([nn.Dense(8), nn.tanh, nn.Dense(1)])
    params = model.init(jax.random.key(1), X[0])["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=tx)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, x, y):
        grads = jax.grad(lambda p: squares(state.apply_fn({"params": p}, x), y))(state.params)
        return state.apply_gradients(grads=grads)

    for x, y in zip(xs, ys, strict=True):
        state = step(state, x, y)
    return state.params, state.opt_state


def flax_nnx(tx, xs, ys):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)

        def __call__(self, x):
            return self.b(jnp.tanh(self.a(x)))

    model = Net(nnx.Rngs(1))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y):
        grads = nnx.grad(lambda model: squares(model(x), y))(model)
        optimizer.update(model, grads)

    for x, y in zip(xs, ys, strict=True):
        step(model, optimizer, x, y)
    return nnx.to_pure_dict(nnx.state(model, nnx.Param)), optimizer.opt_state


def haiku(tx, xs, ys):
    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([8, 1])(x)))
    params = net.init(jax.random.key(1), X[0])
    state = tx.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, x, y):
        grads = jax.grad(lambda p: squares(net.apply(p, x), y))(params)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    for x, y in zip(xs, ys, strict=True):
        params, state = step(params, state, x, y)
    return params, state


def equinox(tx, xs, ys):
    model = eqx.nn.MLP(4, 1, 8, 1, activation=jnp.tanh, key=jax.random.key(1))
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit(donate="all")
    def step(model, state, x, y):
        grads = eqx.filter_grad(lambda model: squares(jax.vmap(model)(x), y))(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state

    for x, y in zip(xs, ys, strict=True):
        model, state = step(model, state, x, y)
    return eqx.filter(model, eqx.is_inexact_array), state


@pytest.mark.parametrize("train", [linen, flax_nnx, haiku, equinox])
def test_in_a_frameworks_training_loop(train):
    params, state = train(gx.accumulate(optimizer(), 2), X, Y)
    assert bool(gx.has_updated(state))
    expected, _ = train(optimizer(), *LARGE)
    assert_close(params, expected, rtol=1e-5, atol=1e-5)
    _, inside = train(gx.accumulate(optimizer(), 2), X[:3], Y[:3])
    assert not bool(gx.has_updated(inside))
