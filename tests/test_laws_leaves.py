"""Laws 6 and 8: leaves of every kind, missing ones, and no leaf shared."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import Row
from problems import (
    Layer,
    assert_close,
    assert_equal,
    at,
    awkward,
    every_structure,
    follow,
    gradients,
    nodes,
    normal,
    small,
    structures,
    types,
)

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def buffers_in_memory(tree: Any) -> list[int]:
    """Where the arrays of a tree are kept."""
    return [x.unsafe_buffer_pointer() for x in jax.tree.leaves(tree) if x.size]


def assert_nothing_shared(*trees: Any) -> None:
    places = buffers_in_memory(trees)
    assert len(set(places)) == len(places)


@every_structure
def test_state_shares_no_buffer(row: Row) -> None:
    tx, params = row.build(), small()
    grads = at(gradients(params), 0)
    assert_nothing_shared(params, jax.jit(tx.init)(params))
    state = tx.init(params)
    assert_nothing_shared(params, state)
    _, state = tx.update(grads, state, params, **row.extra)
    assert_nothing_shared(params, grads, state)


@pytest.mark.parametrize(
    "value",
    [lambda x: x, gx.tunable, lambda x: lambda step: x],
    ids=["constant", "tunable", "schedule"],
)
def test_a_hyperparameter_passed_in_is_copied(value: Callable[[Any], Any]) -> None:
    params, rate = small(), jnp.float32(0.1)
    tx = gx.adam(value(rate), b1=value(rate))
    state = tx.init(params)
    assert_nothing_shared(rate, params, state)
    _, state = tx.update(params, state, params)
    assert_nothing_shared(rate, params, state)
    step = jax.jit(lambda p, s: (p, tx.update(p, s, p)[1]), donate_argnums=(0, 1))
    step(params, state)
    assert float(rate) == np.float32(0.1)


@structures(lambda row: not row.random)
def test_containers_and_ranks_make_no_difference(row: Row) -> None:
    params = awkward()
    grads = gradients(params, steps=3)
    updates, last, _ = follow(row.build(), params, grads, row.extra)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    flat, flat_grads = jax.tree.leaves(params)[::-1], jax.tree.leaves(grads)[::-1]
    flat_updates, flat_last, _ = follow(row.build(), flat, flat_grads, row.extra)
    assert_close(flat_updates[::-1], jax.tree.leaves(updates))
    assert_close(flat_last[::-1], jax.tree.leaves(last))


@structures(lambda row: not row.in_vectors)
def test_a_missing_gradient_leaves_its_parameter_and_state_alone(row: Row) -> None:
    params = small()
    grads = gradients(params)
    tx = row.build()
    state = tx.init(params)
    moved = params
    for t in range(3):
        given = {**at(grads, t), "s": None}
        updates, after = tx.update(given, state, moved, **row.extra)
        assert updates["s"] is None
        assert types(after) == types(state)
        for old, new in zip(nodes(state), nodes(after), strict=True):
            if isinstance(old, dict) and set(old) == set(params):
                assert_equal(new["s"], old["s"])
        moved = gx.apply_updates(moved, updates)
        state = after
    assert moved["s"] is params["s"]
    if row.leaf_local and not row.random:
        alone = jax.tree.map(lambda g: g[:3], {"w": grads["w"]})
        _, expected, _ = follow(row.build(), {"w": params["w"]}, alone, row.extra)
        assert_equal(moved["w"], expected["w"])


@pytest.mark.parametrize("params", [{}, [], {"a": {}, "b": None}], ids=str)
@every_structure
def test_trees_without_arrays(row: Row, params: Any) -> None:
    tx = row.build()
    state = tx.init(params)
    for _ in range(2):
        updates, after = tx.update(params, state, params, **row.extra)
        assert updates == params
        assert types(after) == types(state)
        for leaf in jax.tree.leaves(after):
            assert np.all(np.isfinite(leaf))
        state = after


@pytest.mark.parametrize("shape", [(3, 4), (), (0,)], ids=str)
@structures(lambda row: not row.random)
def test_a_bare_array_is_a_tree(row: Row, shape: tuple[int, ...]) -> None:
    params = normal(shape)
    grads = gradients(params, steps=2)
    updates, last, _ = follow(row.build(), params, grads, row.extra)
    wrapped, wrapped_last, _ = follow(row.build(), [params], [grads], row.extra)
    assert_equal([updates], wrapped)
    assert_equal([last], wrapped_last)


@pytest.mark.filterwarnings("error")
@every_structure
def test_numpy_arrays_and_python_numbers_are_parameters(row: Row) -> None:
    params = {"w": np.linspace(-1.0, 1.0, 12).reshape(4, 3), "s": 0.5}
    grads = {"w": np.linspace(-2.0, 1.0, 12).reshape(4, 3), "s": -0.25}
    as_arrays = [jax.tree.map(lambda x: jnp.asarray(x, "float32"), x) for x in (params, grads)]
    tx = row.build()
    state, expected = tx.init(params), tx.init(as_arrays[0])
    assert types(state) == types(expected)
    updates, state = tx.update(grads, state, params, **row.extra)
    wanted, expected = tx.update(as_arrays[1], expected, as_arrays[0], **row.extra)
    assert_equal(updates, wanted)
    assert types(state) == types(expected)


def untrainable() -> dict[str, Any]:
    return {
        "int": jnp.arange(3),
        "bool": jnp.array([True]),
        "byte": np.zeros(2, "uint8"),
        "key": jax.random.key(0),
        "number": 3,
        "function": jax.nn.relu,
        "word": "relu",
    }


@every_structure
def test_leaves_without_a_gradient_are_refused_by_path(row: Row) -> None:
    for leaf in untrainable().values():
        model = {"layers": [Layer(kernel=jnp.ones(2), bias=leaf)]}
        with pytest.raises(TypeError, match=r"init\(params\)`: leaf `layers/0/bias` is of type"):
            row.build().init(model)
    row.build().init({"layers": [Layer(kernel=jnp.ones(2), bias=None)]})


@structures(lambda row: row.complex)
def test_complex_leaves_stay_complex_and_real_ones_real(row: Row) -> None:
    params = {"z": normal((4, 3), "complex64"), "x": normal((4, 3))}
    grads = gradients(params, steps=2)
    with jax.numpy_dtype_promotion("standard"):
        updates, *_ = follow(row.build(), params, grads, row.extra)
        assert (updates["z"].dtype, updates["x"].dtype) == ("complex64", "float32")
        if row.leaf_local and not row.random:
            alone, *_ = follow(row.build(), {"x": params["x"]}, {"x": grads["x"]}, row.extra)
            assert_equal(updates["x"], alone["x"])
