"""A rule is traced once for each type of leaf, and gives what it gives leaf by leaf."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import CATALOG, Row
from compiled import compile_named, copies, loops
from jax import lax
from problems import assert_close, assert_equal, gradients, normal, scan

import gradxform as gx
from gradxform.core import numerics, repeated, tree


def many(n: int = 21, shape: tuple[int, ...] = (3,), dtype: str = "float32") -> dict[str, Any]:
    return {f"{i:03}": normal(shape, dtype, seed=i) for i in range(n)}


@pytest.fixture
def leaf_by_leaf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Any]]:
    """The same function, traced for each leaf."""

    def alone(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any) -> Any:
            with monkeypatch.context() as patch:
                patch.setattr(repeated, "_LEAST", 10**9)
                return function(*args)

        return run

    return alone


def test_one_trace_for_each_type() -> None:
    seen = []

    def rule(g: Any, m: Any, *, p: Any, half: float) -> Any:
        seen.append((g.shape, m.dtype))
        return half * g + p, m + g

    trees = [{**many(50), **{f"m{i}": jnp.ones((2, 2)) for i in range(9)}} for _ in range(3)]
    trees[1] |= {f"{i:03}": x.astype("bfloat16") for i, x in enumerate(many(10).values())}
    step = jax.jit(lambda g, m, p: tree.lift(rule, g, m, params=p, half=0.5))
    updates, buffers = step(*trees)
    assert seen == [((3,), jnp.float32), ((3,), jnp.float32), ((2, 2), jnp.float32)]
    assert_close(updates, jax.tree.map(lambda g, p: 0.5 * g + p, trees[0], trees[2]))
    assert jax.tree.map(lambda x: x.dtype, buffers) == jax.tree.map(lambda x: x.dtype, trees[1])


def test_the_program_grows_by_a_call_for_several_leaves() -> None:
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3))

    def equations(n: int) -> int:
        params = many(n)
        return len(jax.make_jaxpr(tx.update)(params, tx.init(params), params).eqns)

    assert equations(160) - equations(80) < 80


@pytest.mark.parametrize(
    "tx",
    [
        gx.chain(
            gx.clip_by_global_norm(0.3), gx.adamw(gx.tunable(0.1), mask=gx.select.path("00."))
        ),
        gx.lamb(gx.cosine_decay(0.1, 5), weight_decay=0.1),
        gx.adafactor(0.1),
        gx.noisy_sgd(0.1, seed=3),
        gx.prodigy(1.0),
        gx.chain(gx.scale_by_adam(), gx.layerwise_decay(0.5, lambda path: ord(path[-1]) % 4)),
        gx.cautious(gx.scale_by_lion()),
    ],
    ids=["adamw", "lamb", "adafactor", "noisy_sgd", "prodigy", "layerwise_decay", "cautious"],
)
def test_many_leaves_give_what_each_gives_eagerly(tx: Any) -> None:
    params = {**many(13), "none": None, "s": normal(()), "k": normal((2, 2))}
    grads = gradients(params, steps=2)
    _, *expected = follow_eagerly(tx, params, grads)
    _, *actual = jax.jit(lambda p, g: scan(tx, p, g))(params, grads)
    assert_close(actual, expected, rtol=2e-5)


def follow_eagerly(tx: Any, params: Any, grads: Any) -> Any:
    state = tx.init(params)
    for t in range(2):
        updates, state = tx.update(jax.tree.map(lambda g, t=t: g[t], grads), state, params)
        params = gx.apply_updates(params, updates)
    return updates, params, state


@pytest.mark.parametrize("row", [row for row in CATALOG if row.name in ("adamw", "lion")], ids=str)
def test_xla_compiles_the_same_program(row: Row, leaf_by_leaf: Any) -> None:
    tx = gx.chain(gx.clip_by_global_norm(0.3), row.build())
    params = many(5, (130, 128))

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    def results(function: Any) -> Any:
        state = tx.init(params)
        program = compile_named(jax.jit(function).lower(params, state, params))
        return copies(program, 1000), loops(program, 1000), program(params, state, params)

    together, alone = results(step), results(leaf_by_leaf(step))
    assert together[:2] == alone[:2]
    assert_equal(together[2], alone[2])


# What a rule may look at


def test_constants_beside_the_leaves_are_kept_apart() -> None:
    ones = {f"{i}": jnp.ones(2) for i in range(12)}
    kinds = [1, 1.0, True, "a", None, (1, 2)]
    beside = {f"{i}": kinds[i // 2] for i in range(12)}

    def rule(g: Any, *, kind: Any) -> Any:
        return g * 10.0 * [type(k) for k in kinds].index(type(kind))

    out = jax.jit(lambda g: tree.lift(rule, g, along={"kind": beside}))(ones)
    for i in range(12):
        np.testing.assert_array_equal(out[f"{i}"], 10.0 * (i // 2))


def test_a_rule_may_hold_traced_values() -> None:
    ones = {f"{i}": jnp.ones(2) for i in range(9)}

    def step(x: Any) -> Any:
        first = tree.lift(lambda g: g * x, ones_of(x))
        return tree.lift(lambda g: g * (x + 1.0), first)

    def ones_of(x: Any) -> Any:
        return jax.tree.map(lambda one: one + 0.0 * x, ones)

    for run in (step, jax.jit(step), lambda x: jax.vmap(step)(jnp.stack([x, x]))):
        for leaf in jax.tree.leaves(run(jnp.float32(2.0))):
            np.testing.assert_array_equal(leaf, 6.0)
    _, summed = lax.scan(lambda c, x: (c, step(x)), 0.0, jnp.arange(3.0))
    np.testing.assert_array_equal(summed["0"][:, 0], [0.0, 2.0, 6.0])
    slope = jax.grad(lambda x: sum(jnp.sum(u) for u in step(x).values()))(2.0)
    assert slope == 9 * 2 * 5.0  # of x (x + 1)


def test_updates_are_differentiated_through() -> None:
    params, grads = many(11), many(11)

    def length(rate: Any, grads: Any) -> Any:
        tx = gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(rate))
        updates, _ = tx.update(grads, tx.init(params), params)
        return numerics.global_norm(updates)

    by_rate, by_grads = jax.jit(jax.grad(length, argnums=(0, 1)))(0.1, grads)
    np.testing.assert_allclose(by_rate, length(0.1, grads) / 0.1, rtol=1e-5)
    assert jax.tree.structure(by_grads) == jax.tree.structure(grads)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(by_grads))


# Sums over all leaves


@pytest.mark.parametrize("shape", [(), (0,), (5,), (64, 65)], ids=str)
@pytest.mark.parametrize("n", [1, 2, 16, 17, 50])
def test_the_norm_of_many_leaves(n: int, shape: tuple[int, ...]) -> None:
    leaves = [*many(n, shape).values(), normal((2, 3), "complex64"), normal((4,), "bfloat16")]
    wide = [np.abs(np.asarray(x).astype("complex128")) ** 2 for x in leaves]
    expected = np.sqrt(sum(x.sum() for x in wide))
    for norm in (numerics.global_norm, jax.jit(numerics.global_norm)):
        np.testing.assert_allclose(norm(leaves), expected, rtol=1e-6)


def test_a_sum_over_no_leaves_is_zero() -> None:
    for total in (numerics.global_norm({}), jax.jit(numerics.global_norm)({"a": None})):
        assert total.dtype == jnp.float32
        assert total == 0


def test_small_leaves_are_summed_several_at_a_time() -> None:
    """XLA makes one to three loops of a sum, and compiles each by itself."""
    leaves = [jax.ShapeDtypeStruct((64,), jnp.float32)] * 160
    program = jax.jit(lambda x: numerics.global_sum(numerics.abs_sq, x)).lower(leaves).compile()
    assert sum(loops(program, at_least=4).values()) <= 160 / 4
