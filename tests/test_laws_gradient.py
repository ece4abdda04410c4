"""Laws of differentiation: a training is a function of its numbers, and has a gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import Row
from problems import at, gradients, rows, scan, small

import gradxform as gx


@rows(lambda row: not row.on_host)
def test_a_training_can_be_differentiated_backwards(row: Row) -> None:
    """Only traced: conditions must be known in the forward pass, also inside of a scan."""
    tx, params = row.build(), small()
    grads = jax.tree.map(jnp.asarray, gradients(params, steps=3))

    def distance(size: jax.Array) -> jax.Array:
        scaled = jax.tree.map(lambda g: size * g, grads)
        last = scan(tx, params, scaled, row.extra)[1]
        return sum(map(jnp.sum, jax.tree.leaves(last)), start=jnp.float32(0.0))

    slope = jax.eval_shape(jax.grad(distance), jnp.float32(1.0))
    assert (slope.shape, slope.dtype) == ((), np.float32)


RATE = 0.1
# Around descent by w <- (1 - 2 γ) w: what becomes of a start at 1 in four steps, by γ.
BRANCHES = {
    "accumulate": (lambda tx: gx.accumulate(tx, 2), lambda f: f**2),
    "accumulate a window of three": (lambda tx: gx.accumulate(tx, 3), lambda f: f),
    "lookahead": (lambda tx: gx.lookahead(tx, 2), lambda f: (0.5 + 0.5 * f**2) ** 2),
    "skip_nonfinite": (gx.skip_nonfinite, lambda f: f**4),
    "skip_spikes": (lambda tx: gx.skip_spikes(tx, window=4), lambda f: f**4),
    "dynamic_loss_scale": (
        lambda tx: gx.dynamic_loss_scale(tx, 1.0, max_scale=1.0),
        lambda f: f**4,
    ),
    "with_metrics": (lambda tx: gx.with_metrics(tx, 2), lambda f: f**4),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_the_gradient_by_the_learning_rate_through_a_branch(name: str) -> None:
    wrap, closed = BRANCHES[name]
    tx = wrap(gx.sgd(gx.tunable(RATE)))

    def last(rate: jax.Array) -> jax.Array:
        @jax.checkpoint
        def step(carry: Any, _: None) -> Any:
            w, state = carry
            updates, state = tx.update(2.0 * w, state, w)
            return (gx.apply_updates(w, updates), state), None

        start = jnp.float32(1.0)
        state = gx.set_hyperparams(tx.init(start), learning_rate=rate)
        return jax.lax.scan(step, (start, state), length=4)[0][0]

    rates = jnp.array([RATE, 2 * RATE])
    slopes = jax.jit(jax.vmap(jax.grad(last)))(rates)
    h = 1e-6  # in double precision
    expected = [
        (closed(1 - 2 * (r + h)) - closed(1 - 2 * (r - h))) / (2 * h)
        for r in np.asarray(rates, np.float64)
    ]
    np.testing.assert_allclose(slopes, expected, rtol=1e-5)


def test_the_gradient_of_a_batch_whose_members_take_their_branches_apart() -> None:
    """One emits in every second call, the other in every third; as each by itself."""
    params = small()
    grads = jax.tree.map(jnp.asarray, gradients(params, steps=4))

    def last(size: jax.Array, every: jax.Array) -> jax.Array:
        tx = gx.accumulate(gx.sgd(0.1, momentum=0.9), lambda count: every)
        scaled = jax.tree.map(lambda g: size * g + 0.1 * size**2, grads)
        return jnp.sum(scan(tx, params, scaled)[1]["w"] ** 2)

    sizes, every = jnp.array([1.0, 2.0]), jnp.array([2, 3])
    together = jax.jit(jax.grad(lambda sizes: jnp.sum(jax.vmap(last)(sizes, every))))(sizes)
    alone = jax.jit(jax.grad(last))
    expected = [alone(*at((sizes, every), i)) for i in range(2)]
    assert all(abs(float(x)) > 1e-3 for x in expected)
    np.testing.assert_allclose(together, expected, rtol=1e-4)
