"""Law 5: at least float32 inside, one rounding at the end, and no 0 / 0."""

import inspect
import itertools
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import PUBLIC, Row
from jax.tree_util import DictKey, GetAttrKey
from problems import (
    FLOATS,
    NARROW,
    assert_close,
    assert_equal,
    at,
    every_structure,
    follow,
    gradients,
    one_leaf_per_dtype,
    rows,
    small,
    structures,
    types,
)
from rows import row as functions_of_rows

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def float_leaves(tree: Any) -> list[Any]:
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, np.inexact)]


def narrower_than(dtype: str, state: Any, params: Any) -> list[Any]:
    """Inexact leaves of the state below a precision, but for exact copies of the parameters."""
    copies = [np.asarray(p).tobytes() for p in jax.tree.leaves(params)]
    least = jnp.finfo(dtype).nmant
    leaves = [x for x in float_leaves(state) if jnp.finfo(x.dtype).nmant < least]
    return [x for x in leaves if np.asarray(x).tobytes() not in copies]


@every_structure
def test_state_is_at_least_float32(row: Row) -> None:
    tx = row.build()
    for dtype in FLOATS[:-1]:
        params = small(dtype)
        assert narrower_than("float32", tx.init(params), params) == []
    with jax.enable_x64(True):
        params = small("float64")
        assert narrower_than("float64", tx.init(params), params) == []


@structures(lambda row: not row.reads_params)
def test_without_parameters_the_update_has_the_dtype_of_the_gradient(row: Row) -> None:
    tx = row.build()
    grads = one_leaf_per_dtype(FLOATS[:-1])
    params = jax.tree.map(lambda g: jnp.zeros_like(g, "float32"), grads)
    state = jax.eval_shape(tx.init, params)
    updates, _ = jax.eval_shape(lambda g, s: tx.update(g, s, **row.extra), grads, state)
    assert {name: str(u.dtype) for name, u in updates.items()} == {name: name for name in grads}


@every_structure
def test_only_blocks_with_buffers_take_a_state_dtype(row: Row) -> None:
    has = "state_dtype" in inspect.signature(row.factory).parameters
    assert has == row.narrow_state or (has and row.state_bytes == 0)


@rows(lambda row: row.narrow_state)
def test_state_dtype_is_that_of_every_buffer_and_of_nothing_else(row: Row) -> None:
    params = small("float32")
    for dtype in NARROW:
        tx = row.build(state_dtype=dtype)
        state = jax.eval_shape(tx.init, params)
        buffers = [x for x in float_leaves(state) if x.shape == params["w"].shape]
        assert len(buffers) == round(row.state_bytes / 4)
        copies = row.copies * ["float32"]
        wanted = [*copies, *(len(buffers) - row.copies) * [dtype]]
        assert sorted(str(x.dtype) for x in buffers) == sorted(wanted)
        updates, after = jax.eval_shape(
            lambda g, s, p, tx=tx: tx.update(g, s, p, **row.extra), params, state, params
        )
        assert types(after) == types(state)
        assert {str(u.dtype) for u in jax.tree.leaves(updates)} == {"float32"}


def buffer_of(path: Any) -> str | None:
    """The field of a block's state that a leaf stands in."""
    fields = list(itertools.takewhile(lambda key: not isinstance(key, DictKey), path))
    return next((key.name for key in reversed(fields) if isinstance(key, GetAttrKey)), None)


def stored(tx: Any, params: Any) -> dict[str, tuple[str | None, Any]]:
    """The dtype of each leaf of the state by its path, and the buffer that it belongs to."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(tx.init, params))
    return {jax.tree_util.keystr(path): (path, str(x.dtype)) for path, x in leaves}


@rows(lambda row: row.narrow_state)
def test_each_buffer_may_have_a_dtype_of_its_own(row: Row) -> None:
    """Exactly the named ones change, and it stays a call that prints and is written as data."""
    params = small("float32")
    usual, narrow = (stored(row.build(state_dtype=x), params) for x in (None, "bfloat16"))
    places = {place: buffer_of(path) for place, (path, dtype) in narrow.items()}
    places = {place: places[place] for place in places if usual[place][1] != narrow[place][1]}
    names = sorted(set(places.values()))
    asked = {name: NARROW[i % len(NARROW)] for i, name in enumerate(names[1:] or names)}
    tx = row.build(state_dtype=asked)
    for place, (_, dtype) in stored(tx, params).items():
        assert dtype == asked.get(places.get(place), usual[place][1]), place
    state = jax.eval_shape(tx.init, params)
    _, after = jax.eval_shape(
        lambda g, s, p: tx.update(g, s, p, **row.extra), params, state, params
    )
    assert types(after) == types(state)
    again = pickle.loads(pickle.dumps(tx))
    assert tx == again == eval(repr(tx), {**vars(functions_of_rows), **PUBLIC, "np": np})
    assert hash(tx) == hash(again)
    with pytest.raises(ValueError, match="there is no buffer `velocity`.*Known are: .*" + names[0]):
        row.build(state_dtype={"velocity": "bfloat16"})


@rows(lambda row: row.narrow_state)
def test_a_narrow_state_is_rounded_after_its_use(row: Row) -> None:
    params, narrow = small(), row.build(**row.plain, state_dtype="bfloat16")
    grads = gradients(params)
    updates, _, state = follow(narrow, params, grads, row.extra)
    expected, *_ = follow(row.build(**row.plain), params, grads, row.extra)
    # Computed from an exact zero state, by two programs: they may differ by a rounding of float32.
    assert_close(at(updates, 0), at(expected, 0), rtol=3e-7, atol=0)
    for leaf in jax.tree.leaves([updates, state]):
        assert np.all(np.isfinite(np.asarray(leaf, "float32")))


def zeros(params: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, params)


@every_structure
def test_zero_gradients_give_finite_updates_in_every_dtype(row: Row) -> None:
    params = one_leaf_per_dtype(FLOATS[:-1])
    for tx in {row.build(), row.build(**row.plain)}:
        for start in (params, zeros(params)):
            state = tx.init(start)
            for grads in (zeros(params), zeros(params), params, zeros(params)):
                updates, state = tx.update(grads, state, start, **row.extra)
                for leaf in float_leaves([updates, state]):
                    assert np.all(np.isfinite(np.asarray(leaf, "float32")))


@rows(lambda row: row.degree is not None)
def test_nothing_moves_where_all_gradients_are_zero(row: Row) -> None:
    params = one_leaf_per_dtype(FLOATS[:-1])
    tx = row.build(**row.plain)
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(zeros(params), state, params, **row.extra)
        assert_equal(updates, zeros(params))


@pytest.mark.parametrize("dtype", NARROW)
@structures(lambda row: not (row.wide_updates or row.rounds_params))
def test_a_chain_rounds_once_at_its_end(row: Row, dtype: str) -> None:
    tx = gx.chain(row.build(), gx.scale(1 / 3), gx.scale(3.0), gx.scale(0.7))
    params = small(dtype)
    grads = gradients(params, steps=2)
    wide_params, wide_grads = (
        jax.tree.map(lambda x: jnp.asarray(np.asarray(x), "float32"), tree)
        for tree in (params, grads)
    )
    state, wide_state = tx.init(params), tx.init(wide_params)
    for t in range(2):
        updates, state = tx.update(at(grads, t), state, params, **row.extra)
        wide, wide_state = tx.update(at(wide_grads, t), wide_state, wide_params, **row.extra)
        assert_equal(updates, jax.tree.map(lambda u: u.astype(dtype), wide))
        assert_equal(state, wide_state)


@pytest.mark.parametrize("dtype", ["float32", *NARROW])
def test_large_half_precision_gradients_do_not_overflow_inside(dtype: str) -> None:
    params = {"w": jnp.zeros((3,), dtype)}
    grads = {"w": jnp.asarray([300.0, -3e4, 6e4], dtype)}
    for tx in (gx.adam(0.5), gx.adagrad(0.5)):
        updates, _ = tx.update(grads, tx.init(params), params)
        assert_close(updates, {"w": jnp.asarray([-0.5, 0.5, -0.5], dtype)})


def test_float64_is_float64_throughout() -> None:
    with jax.enable_x64(True):
        params = {"w": jnp.asarray([1.0, 2.0], "float64")}
        grads = {"w": jnp.asarray([1 / 3, -1 / 7], "float64")}
        tx = gx.chain(gx.scale_by_momentum(0.9), gx.scale_by_learning_rate(0.1))
        state = tx.init(params)
        velocity = np.zeros(2)
        for _ in range(5):
            updates, state = tx.update(grads, state, params)
            velocity = 0.9 * velocity + np.asarray(grads["w"])
            np.testing.assert_allclose(updates["w"], -0.1 * velocity, rtol=1e-15)
        assert gx.hyperparams(state)["learning_rate"].dtype == jnp.float64
