"""Laws 3 and 4: what a state is made of, and that its types never change."""

import functools
import pickle
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import Row
from jax import lax
from jax.sharding import PartitionSpec
from problems import (
    FLOATS,
    Layer,
    assert_close,
    assert_equal,
    at,
    awkward,
    every_row,
    every_structure,
    follow,
    gradients,
    nodes,
    normal,
    scan,
    small,
    stack,
    structures,
    types,
)

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")


@every_structure
def test_state_is_made_of_named_tuples_that_pickle(row: Row) -> None:
    state = row.build().init(awkward())
    for node in nodes(state):
        if isinstance(node, tuple) and type(node) is not tuple:
            kind = type(node)
            assert getattr(sys.modules[kind.__module__], kind.__qualname__) is kind
            assert hasattr(kind, "_fields")
        else:
            assert node is None or isinstance(node, jax.Array | tuple | dict | list), node
    again = pickle.loads(pickle.dumps(state))
    assert types(again) == types(state)
    assert_equal(again, state)


@every_structure
def test_state_leaves_are_strongly_typed_arrays(row: Row) -> None:
    for leaf in jax.tree.leaves(row.build().init(awkward())):
        assert isinstance(leaf, jax.Array)
        assert not leaf.weak_type
        assert jnp.issubdtype(leaf.dtype, np.floating) or leaf.dtype == jnp.int32


@structures(lambda row: not row.in_vectors)
def test_buffers_have_the_structure_of_the_parameters(row: Row) -> None:
    tx, params = row.build(), Layer(kernel=jnp.ones((3, 4)), bias=[jnp.ones(4), None])
    state = tx.init(params)
    found = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, Layer))
    buffers = [x for x in found if isinstance(x, Layer)]
    for buffer in buffers:  # where a parameter is, there is an array, or a few of other shapes
        jax.tree.structure(params).flatten_up_to(buffer)
        if row.like_params:
            assert jax.tree.structure(buffer) == jax.tree.structure(params)
            assert jax.tree.map(jnp.shape, buffer) == jax.tree.map(jnp.shape, params)
    assert buffers or row.state_bytes < 1
    seen = []
    assert_equal(optax.tree_map_params(tx, lambda x: seen.append(1) or x, state), state)
    # Beside a second tree, as of shardings, arrays of other shapes are no parameters.
    alike = [buffer for buffer in buffers if _has_their_shapes(buffer, params)]
    assert len(seen) == len(jax.tree.leaves(alike))


def _has_their_shapes(buffer: Layer, params: Layer) -> bool:
    leaves, structure = jax.tree.flatten(params)
    return all(
        isinstance(x, optax.MaskedNode) or getattr(x, "shape", None) == p.shape
        for x, p in zip(structure.flatten_up_to(buffer), leaves, strict=True)
    )


@jax.tree_util.register_pytree_node_class
class Box:
    """A parameter in a framework's box, which knows the names of its axes."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def unbox(self) -> Any:
        return self.value

    def tree_flatten(self) -> Any:
        return (self.value,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> "Box":
        return cls(*children)


@every_structure
def test_boxes_of_the_parameters_hold_arrays_of_their_shape(row: Row) -> None:
    state = row.build().init({"w": Box(jnp.ones((4, 3))), "b": Box(jnp.ones((5, 3)))})
    for box in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, Box)):
        assert not isinstance(box, Box) or box.value.shape in [(4, 3), (5, 3)]


@every_row
def test_state_takes_the_bytes_that_the_catalog_says(row: Row) -> None:
    size = 1000 * 1000
    params = {"w": jax.ShapeDtypeStruct((1000, 1000), jnp.float32)}
    state = jax.eval_shape(row.build().init, params)
    total = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    assert total / size == pytest.approx(row.state_bytes, abs=1e-3)


def assert_stable(row: Row, pairs: list[tuple[str, str]]) -> None:
    """Nothing about the state changes, for leaves of these dtypes of parameter and gradient."""
    tx = row.build()
    params = {f"{p} {g}": jax.ShapeDtypeStruct((2, 3), jnp.dtype(p)) for p, g in pairs}
    grads = {f"{p} {g}": jax.ShapeDtypeStruct((2, 3), jnp.dtype(g)) for p, g in pairs}
    before = jax.eval_shape(tx.init, params)
    updates, after = jax.eval_shape(
        lambda g, s, p: tx.update(g, s, p, **row.extra), grads, before, params
    )
    assert types(after) == types(before)
    assert not any(x.weak_type for x in jax.tree.leaves(before))
    with jax.numpy_dtype_promotion("standard"):
        expected = {f"{p} {g}": jnp.promote_types(p, g) for p, g in pairs}
    if row.wide_updates:
        expected = {name: gx.numerics.wide_dtype(dtype) for name, dtype in expected.items()}
    assert {name: u.dtype for name, u in updates.items()} == expected


@pytest.mark.parametrize("x64", [False, True], ids=["x32", "x64"])
@every_structure
def test_types_are_stable_for_every_pair_of_dtypes(row: Row, x64: bool) -> None:
    with jax.enable_x64(x64):
        dtypes = FLOATS if x64 else FLOATS[:-1]
        pairs = [(p, g) for p in dtypes for g in dtypes]
        # Under x64 the scalars are wider; how narrow dtypes mix is the same.
        assert_stable(row, [x for x in pairs if not x64 or x[0] == x[1] or "float64" in x])


@pytest.mark.parametrize("x64", [False, True], ids=["x32", "x64"])
@structures(lambda row: row.complex)
def test_types_are_stable_for_complex_parameters(row: Row, x64: bool) -> None:
    # Rules multiply complex arrays by real numbers, which strict promotion does not allow.
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("standard"):
        pairs = [("complex64", "complex64"), ("complex64", "float32")]
        assert_stable(row, [*pairs, ("complex128", "complex128")] if x64 else pairs)


@pytest.mark.parametrize("x64", [False, True], ids=["x32", "x64"])
@every_structure
def test_eager_and_abstract_runs_have_the_same_types(row: Row, x64: bool) -> None:
    tx = row.build()
    with jax.enable_x64(x64):
        params = small("bfloat16")
        grads = at(gradients(small()), 0)
        state = tx.init(params)
        abstract = jax.eval_shape(tx.init, params)
        assert types(state) == types(abstract)  # which are those of a compiled run
        updates, after = tx.update(grads, state, params, **row.extra)
        assert types(after) == types(state)
        expected = jax.eval_shape(
            lambda g, s, p: tx.update(g, s, p, **row.extra), grads, abstract, params
        )
        assert types((updates, after)) == types(expected)


@every_structure
def test_one_trace_and_the_same_numbers_step_by_step_and_in_a_batched_scan(row: Row) -> None:
    tx = row.build()
    members = [{"w": normal((4, 3), seed=seed)} for seed in (10, 20)]
    grads = [gradients(params, steps=3, seed=seed) for seed, params in enumerate(members)]
    traces = []

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, g: Any) -> Any:
        traces.append(1)
        updates, state = tx.update(g, state, params, **row.extra)
        return gx.apply_updates(params, updates), state

    expected = []
    for params, stacked in zip(members, grads, strict=True):
        params = jax.tree.map(jnp.copy, params)
        state = tx.init(params)  # shares nothing with the parameters: both are donated
        for t in range(3):
            params, state = step(params, state, at(stacked, t))
        expected.append([params, state])
    assert len(traces) == 1

    batched = jax.jit(jax.vmap(lambda p, g: scan(tx, p, g, row.extra)[1:]))
    assert_close(list(batched(stack(members), stack(grads))), stack(expected))


@every_structure
def test_carry_of_a_while_loop(row: Row) -> None:
    tx, params = row.build(), awkward("bfloat16")
    grads = at(gradients(awkward()), 0)

    def body(carry: Any) -> Any:
        t, params, state = carry
        updates, state = tx.update(grads, state, params, **row.extra)
        return t + 1, gx.apply_updates(params, updates), state

    def loop(params: Any) -> Any:
        return lax.while_loop(lambda c: c[0] < 3, body, (0, params, tx.init(params)))

    jax.eval_shape(loop, params)  # raises where the types of a carry change


def mesh(name: str) -> jax.sharding.Mesh:
    return jax.make_mesh((8,), (name,), axis_types=(jax.sharding.AxisType.Auto,))


@every_structure
def test_data_parallel_training_in_shard_map_is_training_on_the_mean(row: Row) -> None:
    tx, params = row.build(), {"w": normal((4, 3))}
    grads = stack(gradients(params, steps=3, seed=seed) for seed in range(8))

    def on_device(params: Any, mine: Any) -> Any:
        mean = jax.tree.map(lambda g: lax.pmean(g[0], "data"), mine)
        return scan(tx, params, mean, row.extra)[1:]

    specs = (PartitionSpec(), PartitionSpec("data"))
    parallel = jax.shard_map(
        on_device, mesh=mesh("data"), in_specs=specs, out_specs=PartitionSpec()
    )
    mean = jax.tree.map(lambda g: np.mean(g, 0, g.dtype), grads)
    _, *expected = follow(tx, params, mean, row.extra)
    assert_close(list(jax.jit(parallel)(params, grads)), expected)


@structures(lambda row: row.leaf_local and row.coordinate_local)
def test_coordinates_are_updated_where_they_are_kept(row: Row) -> None:
    tx, params = row.build(), {"w": normal((8, 2))}
    grads = gradients(params, steps=3)
    sharded = jax.shard_map(
        lambda p, g: scan(tx, p, g, row.extra)[1],
        mesh=mesh("x"),
        in_specs=(PartitionSpec("x"), PartitionSpec(None, "x")),
        out_specs=PartitionSpec("x"),
    )
    _, expected, _ = follow(tx, params, grads, row.extra)
    assert_close(jax.jit(sharded)(params, grads), expected)
