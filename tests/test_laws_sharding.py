"""Law 9: the state lies where its parameters lie, and sums over shards are sums over all."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from catalog import Row
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from problems import (
    assert_close,
    at,
    awkward,
    every_structure,
    gradients,
    normal,
    structures,
    types,
)

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")

SPLIT, WHOLE = PartitionSpec("x", None), PartitionSpec()


def mesh_of(kind: AxisType) -> jax.sharding.Mesh:
    return jax.make_mesh((8,), ("x",), axis_types=(kind,))


def placed(tree: Any, mesh: jax.sharding.Mesh) -> Any:
    """Matrices split over the devices, the rest on all of them."""
    return jax.tree.map(
        lambda x: jax.device_put(x, NamedSharding(mesh, SPLIT if x.ndim == 2 else WHOLE)), tree
    )


def problem(*names: str) -> tuple[Any, Any]:
    """Parameters and a gradient of them."""
    params = {"w": normal((16, 3)), "b": normal((5,), seed=1), "s": normal((), seed=2)}
    params = {name: x for name, x in params.items() if name in (names or params)}
    return params, at(gradients(params), 0)


def assert_follows(tree: Any, params: Any) -> None:
    """Arrays of a parameter's shape lie where it lies, in whatever memory; scalars everywhere."""
    by_shape = {p.shape: p.sharding for p in params.values()}
    for leaf in jax.tree.leaves(tree):
        if leaf.shape == ():
            assert leaf.sharding.is_fully_replicated
        elif leaf.shape in by_shape:
            place = by_shape[leaf.shape].with_memory_kind(leaf.sharding.memory_kind)
            assert leaf.sharding.is_equivalent_to(place, leaf.ndim), leaf.shape


def first_step(tx: gx.GradientTransformation, row: Row) -> Callable[[Any, Any], Any]:
    """(params, gradient) -> the state before the first update, the update, the state after it."""

    def step(params: Any, grads: Any) -> Any:
        state = tx.init(params)
        return state, *tx.update(grads, state, params, **row.extra)

    return step


def assert_step_follows(row: Row, kind: AxisType, *names: str) -> None:
    """A compiled first step keeps every sharding and gives what one device gives."""
    step = first_step(row.build(), row)
    params, grads = problem(*names)
    _, expected, _ = step(params, grads)
    params, grads = placed((params, grads), mesh_of(kind))
    state, updates, after = jax.jit(step)(params, grads)
    assert_follows([state, updates, after], params)
    assert_close(jax.device_get(updates), jax.device_get(expected))


@every_structure
def test_compiled_in_auto_mode(row: Row) -> None:
    names = ["w"] if row.leaf_local else ["w", "s"]
    assert_step_follows(row, AxisType.Auto, *names)


@structures(lambda row: not row.leaf_local)
def test_sums_over_shards_in_explicit_mode(row: Row) -> None:
    assert_step_follows(row, AxisType.Explicit, "w", "s")


@pytest.mark.parametrize("in_scope", [False, True], ids=["outside", "set_mesh"])
@every_structure
def test_in_explicit_mode_shardings_are_part_of_the_types(row: Row, in_scope: bool) -> None:
    mesh = mesh_of(AxisType.Explicit)
    params, grads = placed(problem(), mesh)
    with jax.set_mesh(mesh) if in_scope else contextlib.nullcontext():
        state, updates, after = jax.eval_shape(first_step(row.build(), row), params, grads)
    expected = {p.shape: set(p.sharding.spec) - {None} for p in params.values()}
    for leaf in jax.tree.leaves([state, updates, after]):
        if leaf.shape in expected:
            axes = set(leaf.sharding.spec if leaf.sharding else ()) - {None}
            assert axes == expected[leaf.shape]


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@every_structure
def test_eager_init_follows(row: Row, kind: AxisType) -> None:
    if row.on_host and kind == AxisType.Explicit and jax.__version__ == "0.10.0":
        pytest.skip("the XLA of JAX 0.10.0 cannot move what every device has whole to the host")
    params, _ = placed(problem(), mesh_of(kind))
    assert_follows(row.build().init(params), params)


@every_structure
def test_init_of_abstract_parameters(row: Row) -> None:
    tx, params = row.build(), awkward()
    abstract = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    assert types(jax.eval_shape(tx.init, abstract)) == types(tx.init(params))


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """A list that grows by one with every program that XLA compiles."""
    seen: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if "backend_compile" in event:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def compiled_init(tx: gx.GradientTransformation, params: Any) -> Any:
    return jax.jit(tx.init)(params)


def eager_init(tx: gx.GradientTransformation, params: Any) -> Any:
    return tx.init(params)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@pytest.mark.parametrize(
    ("init", "in_scope"),
    [
        (compiled_init, False),
        (compiled_init, True),
        (eager_init, True),
        (eager_init, False),
    ],
    ids=["compiled-outside", "compiled-set_mesh", "eager-set_mesh", "eager-outside"],
)
def test_three_steps_compile_once(
    init: Callable[..., Any], in_scope: bool, kind: AxisType, compilations: list[str]
) -> None:
    mesh = mesh_of(kind)
    params, grads = placed(problem("w", "s"), mesh)
    tx = gx.chain(
        gx.clip_by_global_norm(1.0), gx.adamw(gx.linear_schedule(0.1, 0.0, 9), b1=gx.tunable(0.8))
    )

    @jax.jit
    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    with jax.set_mesh(mesh) if in_scope else contextlib.nullcontext():
        state = init(tx, params)
        counts = []
        for _ in range(3):
            compilations.clear()
            params, state = step(params, state, grads)
            counts.append(len(compilations))
        assert counts == [1, 0, 0]
        state = gx.set_hyperparams(state, b1=jnp.float32(0.5))
        compilations.clear()
        step(params, state, grads)
        assert compilations == []
