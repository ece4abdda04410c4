"""Outside of `jit`: few Python calls, rules compiled once, and the values of single operations."""

import gc
import importlib.util
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import CATALOG
from jax import Array
from problems import assert_close, assert_equal, at, gradients, normal, small, types

import gradxform as gx
from gradxform.core import leaf, tree


def _program(name: str) -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


calls = _program("calls")


def test_an_update_is_few_python_calls_and_compiles_nothing_after_the_first() -> None:
    figures = calls.measured(gx.adamw(1e-3), "gradxform", steps=100)
    assert 20 < figures["calls"] <= 65
    assert figures["changes"] <= 30
    assert figures["later"] == 0


def test_more_leaves_are_no_more_calls() -> None:
    tx = gx.adamw(gx.linear_schedule(1e-3, 0.0, 100))

    def count(n: int) -> int:
        params = {f"{i}": jnp.ones(3) for i in range(n)}
        state = tx.init(params)
        tx.update(params, state, params)
        found: int = calls.calls_of(lambda: tx.update(params, state, params), "gradxform").calls
        return found

    assert count(2) == count(20)


@pytest.mark.parametrize("kind", sorted({row.kind for row in CATALOG}))
def test_nothing_is_compiled_after_the_first_steps(kind: str) -> None:
    """After two rounds of what happens on some steps only."""
    again = []
    for row in [row for row in CATALOG if row.kind == kind]:
        tx, params = row.build(), small()
        grads, state = at(gradients(params, 1), 0), tx.init(params)
        with calls.compilations() as seen:
            for step in range(12):
                _, state = tx.update(grads, state, params, **row.extra)
                if step == 5:
                    seen.clear()
            again += [str(row)] * len(seen)
    assert again == []


def test_a_changing_number_compiles_nothing() -> None:
    tx = gx.chain(
        gx.clip_by_global_norm(1.0),
        gx.adamw(gx.linear_schedule(0.1, 0.0, 9), b1=gx.tunable(0.8)),
    )
    params = small()
    grads, state = at(gradients(params, 1), 0), tx.init(params)
    _, state = tx.update(grads, state, params)
    with calls.compilations() as seen:
        for b1 in (0.1, 0.3, 0.0):
            state = gx.set_hyperparams(state, b1=b1)
            seen.clear()  # of what sets it
            _, state = tx.update(grads, state, params)
            assert seen == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "complex64"])
def test_values_are_those_of_operations(dtype: str) -> None:
    """To a rounding of what passes between operations, as under `jit`."""
    differ = []
    for row in CATALOG:
        if row.name not in ("adamw", "lion", "scale_by_momentum", "scale_by_rms", "clip"):
            continue
        tx, params = row.build(), small(dtype)
        grads, state = at(gradients(params, 1), 0), tx.init(params)
        together = tx.update(grads, state, params, **row.extra)
        with jax.disable_jit():
            apart = tx.update(grads, state, params, **row.extra)
        assert types(together) == types(apart)
        assert_close(together, apart, rtol=1e-2 if dtype == "bfloat16" else 1e-6)
        differ.append(row.name)
    assert {"adamw", "lion"} <= {*differ}


def _seen_rule(g: Array, m: Array, *, by: Any, power: Any = 1) -> tuple[Array, Array]:
    _SEEN.append((type(by), g.shape))
    return by * g**power, m + g


_SEEN: list[Any] = []


@pytest.fixture
def seen() -> list[Any]:
    _SEEN.clear()
    leaf._program.cache_clear()
    return _SEEN


def test_a_rule_runs_in_python_once_for_each_kind_of_leaf(seen: list[Any]) -> None:
    grads = {"a": normal((2,)), "b": normal((3,)), "c": normal((2,)), "none": None}
    for by in (jnp.float32(1.0), jnp.float32(2.0)):
        updates, _ = tree.lift(_seen_rule, grads, grads, by=by)
        assert_close(updates["c"], by * grads["c"])
    assert [shape for _, shape in seen] == [(2,), (3,)]
    assert leaf._program.cache_info().currsize == 1


def test_constants_are_told_apart_by_class_and_sign(seen: list[Any]) -> None:
    g = jnp.asarray([4.0])
    for by, power in ((1, 1), (1.0, 1), (True, 1), (0.0, 1), (-0.0, 1), (1.0, 2)):
        updates, _ = tree.lift(_seen_rule, g, g, by=by, power=power)
        assert_equal(updates, jnp.asarray(by * np.float32(4.0) ** power, "float32")[None])
        assert np.signbit(updates[0]) == np.signbit(by)
    assert len(seen) == leaf._program.cache_info().currsize == 6


def test_what_runs_operation_by_operation(seen: list[Any]) -> None:
    g, numbers = normal((2,)), np.ones(2, "float32")

    def inside(g: Array, m: Array, *, by: float) -> tuple[Array, Array]:
        return by * g, m

    tree.lift(inside, g, g, by=2.0)
    tree.lift(_seen_rule, numbers, g, by=2.0)
    tree.lift(_seen_rule, g, g, by=np.float32(2.0))
    jax.grad(lambda by: jnp.sum(tree.lift(_seen_rule, g, g, by=by)[0]))(1.0)
    with jax.disable_jit():
        tree.lift(_seen_rule, g, g, by=2.0)
    with jax.debug_nans(True):
        tree.lift(_seen_rule, g, g, by=2.0)
    with jax.set_mesh(jax.make_mesh((2,), ("data",))):
        tree.lift(_seen_rule, g, g, by=2.0)
    assert len(seen) == 6
    assert leaf._program.cache_info().currsize == 0


def test_an_intermediate_nan_is_found_where_one_looks_for_it() -> None:
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        tree.lift(_hidden_nan_rule, jnp.zeros(2))
    assert_equal(tree.lift(_hidden_nan_rule, jnp.zeros(2)), jnp.zeros(2))


def _hidden_nan_rule(g: Array) -> Array:
    return jnp.where(g == 0, g, g / g)


def test_what_is_kept_is_bounded_and_holds_no_arrays(seen: list[Any]) -> None:
    assert leaf._program.cache_info().maxsize is not None
    g, by = normal((5,)), jnp.float32(3.0)
    updates, kept = tree.lift(_seen_rule, g, g, by=by)
    references = [weakref.ref(x) for x in (g, by, updates, kept)]
    del g, by, updates, kept
    gc.collect()
    assert [reference() for reference in references] == [None] * 4


def test_doubles_are_switched_on_and_off(seen: list[Any]) -> None:
    for enabled, dtype in ((False, "float32"), (True, "float64"), (False, "float32")):
        with jax.enable_x64(enabled):
            g = jnp.ones(2)
            updates, _ = tree.lift(_seen_rule, g, g, by=0.1)
            assert updates.dtype == dtype
            assert_equal(updates, jnp.full(2, 0.1, dtype))
    assert len(seen) == 2


@pytest.mark.parametrize("build", [gx.adamw, gx.lion])
def test_results_lie_where_the_arrays_lie(build: Any) -> None:
    device = jax.devices()[1]
    params = jax.device_put(small(), device)
    tx = build(1e-3)
    updates, state = tx.update(params, tx.init(params), params)
    assert {x.device for x in jax.tree.leaves(updates)} == {device}
    buffers = [x for x in jax.tree.leaves(state) if x.ndim == 2]
    assert {x.device for x in buffers} == {device}
