"""What XLA makes of the steps: every buffer is changed in place, and nothing is copied."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import compile_named, copies, temporaries, unaliased

import gradxform as gx

WIDE = 64
LARGE = 4 * WIDE * WIDE  # bytes of a kernel
SHAPES = {"a": (WIDE, WIDE), "b": (WIDE, WIDE), "c": (WIDE, 2 * WIDE), "d": (WIDE,)}
PARAMS = {name: np.full(shape, 0.01, np.float32) for name, shape in SHAPES.items()}
BATCH = np.ones((8, WIDE), np.float32)
ADAMW = gx.adamw(gx.cosine_decay(1e-3, 100))
OPTIMIZERS = {
    "adamw": ADAMW,
    "clip": gx.chain(gx.clip_by_global_norm(1.0), ADAMW),
    "momentum": gx.sgd(gx.tunable(0.1), momentum=0.9),
    "groups": gx.partition(
        {"kernels": (gx.select.ndim(2), ADAMW)}, default=gx.sgd(0.1, momentum=0.9)
    ),
}
every_optimizer = pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS)


def loss_fn(params, x):
    x = jnp.tanh(x @ params["a"])
    x = jnp.tanh(x @ params["b"] + params["d"][None, :])
    return jnp.mean((x @ params["c"] - 1.0) ** 2)


@every_optimizer
def test_the_update_step_changes_everything_in_place(tx):
    params, state = jax.tree.map(jnp.array, PARAMS), tx.init(PARAMS)
    program = compile_named(gx.make_update_step(tx).lower(params, state, PARAMS))
    assert unaliased(program, ("params", "state")) == []
    assert copies(program, LARGE) == []
    assert temporaries(program) <= 2 * 2 * LARGE  # no more than the two largest leaves


@every_optimizer
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_train_step_changes_everything_in_place(tx, accumulate):
    step = gx.make_train_step(loss_fn, tx, accumulate=accumulate)
    state = gx.TrainState.create(tx, PARAMS)
    program = compile_named(step.lower(state, BATCH))
    assert unaliased(program, ("state", "")) == []
    assert copies(program, LARGE) == []
    for _ in range(3):
        state, _ = step(state, BATCH)
    assert step._cache_size() == 1


def test_the_usual_order_of_arguments_pairs_them_crosswise():
    """The fault that the step is for, so that the assertions above are known to see it."""
    tx = optax.adamw(1e-3)

    def usual(grads, state, params):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.array, PARAMS)
    lowered = jax.jit(usual, donate_argnums=(1, 2)).lower(PARAMS, tx.init(params), params)
    program = compile_named(lowered)
    assert "params['a']" in unaliased(program, ("params", "state"))
    assert copies(program, LARGE) != []
