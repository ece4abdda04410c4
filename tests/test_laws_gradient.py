"""Laws of differentiation: a training is a function of its numbers, and has a gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import Row
from problems import at, gradients, normal, rows, scan, small

import gradxform as gx


def is_real(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, np.floating)


def numbers_of(tree: Any) -> tuple[list[Any], Any]:
    """The floating leaves of a tree, and what puts others in their places."""
    leaves, structure = jax.tree.flatten(tree)

    def filled(numbers: list[Any]) -> Any:
        left = iter(numbers)
        return jax.tree.unflatten(structure, [next(left) if is_real(x) else x for x in leaves])

    return [x for x in leaves if is_real(x)], filled


class Step:
    """One update as a function of every number: gradients, state, live values and parameters."""

    def __init__(self, row: Row, grads: Any, params: Any, before: list[Any]) -> None:
        tx = row.build()
        state = tx.init(params)
        for g in before:
            _, state = tx.update(g, state, params, **row.extra)
            params = jax.tree.map(lambda p: 1.1 * p, params)
        self.at, filled = numbers_of((grads, state, params))
        self.weights: list[np.ndarray] = []

        def function(numbers: list[Any]) -> list[Any]:
            return numbers_of(tx.update(*filled(numbers), **row.extra))[0]

        self.function = function

    def gradient(self) -> list[np.ndarray]:
        """Of a weighted sum of all that the update returns."""
        out, back = jax.vjp(self.function, self.at)
        rng = np.random.default_rng(3)
        self.weights = [rng.standard_normal(x.shape) for x in out]
        return [np.asarray(x) for x in back(list(map(jnp.asarray, self.weights)))[0]]

    def value(self, numbers: list[Any]) -> float:
        out = self.function(numbers)
        return sum(float(np.sum(w * np.asarray(x))) for w, x in zip(self.weights, out, strict=True))


ONE_SHAPE = (3, 2)  # JAX compiles each operation once for it
# What optimizers are made of. Those whose derivative is zero almost everywhere have it, too.
PARTS = rows(lambda row: row.kind != "optimizer" and not row.on_host)


@PARTS
def test_a_gradient_through_an_update_is_finite_at_zeros(row: Row) -> None:
    """Of gradients of zeros, and of weights of zeros: by them, by the state, by live values."""
    with jax.enable_x64(True):
        ones, zeros = ({"w": jnp.full(ONE_SHAPE, x, float)} for x in (1.0, 0.0))
        for grads, params in ((zeros, ones), (ones, zeros)):
            found = Step(row, grads, params, []).gradient()
            assert all(np.all(np.isfinite(x)) for x in found)


@PARTS
def test_a_gradient_through_an_update_is_that_of_finite_differences(row: Row) -> None:
    with jax.enable_x64(True):
        trees = [{"w": normal(ONE_SHAPE, "float64", seed)} for seed in range(4)]
        step = Step(row, trees[0], trees[1], trees[2:])
        found = step.gradient()
        rng = np.random.default_rng(4)
        # In proportion to each number: what is exactly zero, such as a memory that was cleared,
        # is where a rule changes.
        ways = [np.asarray(x) * rng.standard_normal(x.shape) for x in step.at]
        h = 1e-7
        above, below = (
            step.value([jnp.asarray(x + s * h * d) for x, d in zip(step.at, ways, strict=True)])
            for s in (1, -1)
        )
    expected = (above - below) / (2 * h)
    actual = sum(float(np.sum(x * d)) for x, d in zip(found, ways, strict=True))
    assert actual == pytest.approx(expected, rel=1e-5, abs=1e-6)


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


@PARTS
def test_nothing_infinite_is_computed_of_gradients_of_zeros(row: Row) -> None:
    """So that `jax_debug_infs` stops at faults of the program only."""
    tx, params = row.build(), small()
    state = tx.init(params)
    with jax.debug_infs(True), jax.debug_nans(True):
        tx.update(jax.tree.map(jnp.zeros_like, params), state, params, **row.extra)
