"""`bucket`: the same numbers with the small arrays in one vector."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import CATALOG, Row
from problems import assert_close, assert_equal, at, follow, gradients, normal, rows

import gradxform as gx

# What is refused: it looks at single arrays, chooses among them, or hands out trees of them.
REFUSED = [
    "average_params",
    "cautious",
    "centralize_gradients",
    "clip_by_block_norm",
    "clip_by_block_rms",
    "ema_params",
    "fromage",
    "layerwise_decay",
    "lookahead",
    "master_weights",
    "partition",
    "reduce_gradient_variance",
    "sam",
    "scale_by_factored_rms",
    "scale_by_fromage",
    "scale_by_mars",
    "scale_by_parameter_rms",
    "scale_by_running_norm",
    "scale_by_sm3",
    "scale_by_sophia",
    "schedule_free",
    "sm3",
]


def tree(dtype: str = "float32") -> dict:
    return {
        "large": normal((5, 7), dtype),
        "small": [normal((3,), dtype), normal((2, 3), dtype), None, normal((), dtype)],
    }


def sizes(vectors: dict[str, jax.Array]) -> dict[str, tuple[int, ...]]:
    """By precision; the checksum is left out."""
    return {name.partition("_")[0]: v.shape for name, v in vectors.items()}


def is_refused(row: Row) -> bool:
    try:
        gx.bucket(row.build())
    except ValueError as error:
        return "partition({" in str(error) or "master_weights(bucket(" in str(error)
    return False


def test_what_looks_at_single_arrays_is_refused_and_nothing_else() -> None:
    has_mask = {
        row.name
        for row in CATALOG
        for name, value in row.arguments.items()
        if name.endswith("mask") and value is not None
    }
    refused = {row.name for row in CATALOG if is_refused(row)}
    assert has_mask <= refused
    assert refused - has_mask == set(REFUSED)


@rows(lambda row: not row.random and not is_refused(row))
def test_a_bucket_changes_no_number(row: Row) -> None:
    params = tree()
    grads = gradients(params, steps=3)
    alone, *_ = follow(row.build(), params, grads, row.extra)
    together, *_ = follow(gx.bucket(row.build(), max_size=6), params, grads, row.extra)
    assert_close(together, alone)


def test_the_small_arrays_of_one_precision_are_one_vector() -> None:
    params = {**tree(), "narrow": normal((4,), "bfloat16"), "z": normal((2,), "complex64")}
    state = gx.bucket(gx.adam(1e-3), max_size=6).init(params)
    mu = state[0].mu
    assert sizes(mu.vectors) == {
        "complex64": (2,),
        "float32": (3 + 6 + 1 + 4,),
    }
    assert mu.arrays["large"].shape == (5, 7)
    assert jax.tree.leaves(mu.arrays["small"]) == []
    assert isinstance(mu.arrays["narrow"], optax.MaskedNode)


def test_max_size_is_the_largest_size_that_is_small() -> None:
    params = {"a": jnp.ones(4), "b": jnp.ones(5)}
    vectors = gx.bucket(gx.sgd(0.1, momentum=0.9), max_size=4).init(params)[0].trace.vectors
    assert sizes(vectors) == {"float32": (4,)}


def test_updates_have_the_dtypes_of_their_own_parameters() -> None:
    params = {"a": jnp.ones(3, "bfloat16"), "b": jnp.ones(2), "c": jnp.ones(2, "float16")}
    tx = gx.bucket(gx.adam(0.1))
    updates, _ = tx.update(params, tx.init(params), params)
    assert {name: str(u.dtype) for name, u in updates.items()} == {
        "a": "bfloat16",
        "b": "float32",
        "c": "float16",
    }


def test_buckets_of_parts_decay_the_matrices_alone() -> None:
    params = tree()
    grads = gradients(params, steps=3)
    apart = gx.partition(
        {"decayed": (gx.select.decayed, gx.bucket(gx.adamw(0.1, weight_decay=0.3)))},
        default=gx.bucket(gx.adam(0.1)),
    )
    whole = gx.adamw(0.1, weight_decay=0.3, mask=gx.select.decayed)
    assert_close(follow(apart, params, grads)[0], follow(whole, params, grads)[0])


def test_a_rule_is_traced_for_the_bucket_and_not_for_each_array() -> None:
    params = {f"a{i}": jnp.ones(8) for i in range(40)}
    tx = gx.bucket(gx.adam(0.1))
    compiled = jax.jit(tx.update).lower(params, tx.init(params), params).compile().as_text()
    assert compiled.count(" sqrt(") == 1


def test_master_weights_go_around_it() -> None:
    with pytest.raises(ValueError, match=r"master_weights\(bucket\("):
        gx.bucket(gx.chain(gx.identity(), gx.master_weights(gx.sgd(1e-3))))
    params = {"b": jnp.ones(3, jnp.bfloat16)}
    grads = {"b": jnp.ones((40, 3), jnp.bfloat16)}
    _, trained, _ = follow(gx.master_weights(gx.bucket(gx.sgd(1e-3))), params, grads)
    # Each step is a quarter of the spacing of bfloat16 below 1, and would be lost by itself.
    np.testing.assert_allclose(np.asarray(trained["b"], np.float32), 0.96, atol=0.002)


def test_a_small_array_without_gradient_is_named() -> None:
    params = tree()
    tx = gx.bucket(gx.sgd(0.1))
    grads = at(gradients(params), 0)
    grads["small"][1] = None
    with pytest.raises(ValueError, match=r"bucket\(\.\.\.\)\.update`: leaf `small/1` has no grad"):
        tx.update(grads, tx.init(params), params)


def test_arrays_split_by_an_explicit_mesh_stay_by_themselves() -> None:
    mesh = jax.make_mesh((8,), ("x",))
    split = jax.device_put(jnp.arange(8.0), jax.NamedSharding(mesh, jax.P("x")))
    params = {
        "split": split,
        "whole": jax.device_put(jnp.ones(3), jax.NamedSharding(mesh, jax.P())),
    }
    tx = gx.bucket(gx.adam(0.1))
    step = jax.jit(lambda p, s: tx.update(p, s, p))
    state = jax.jit(tx.init)(params)
    updates, state = step(params, state)
    assert updates["split"].sharding.spec == jax.P("x")
    assert sizes(state[0].mu.vectors) == {"float32": (3,)}
    np.testing.assert_allclose(updates["whole"], -0.1, rtol=1e-5)


def test_boxed_gradients_and_parameters_are_taken_like_bare_ones() -> None:
    nnx = pytest.importorskip("flax.nnx")
    model = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    boxed = nnx.state(model, nnx.Param)
    tx = gx.bucket(gx.adam(0.1))
    updates, _ = tx.update(boxed, tx.init(boxed), boxed)
    assert jax.tree.structure(updates) == jax.tree.structure(boxed)


@pytest.mark.parametrize(
    "others",
    [{"y": jnp.ones(3), "b": jnp.ones(5)}, {"a": jnp.ones(5), "z": jnp.ones(3)}],
    ids=["renamed", "reshaped"],
)
def test_the_state_of_other_arrays_of_the_same_size_is_not_taken_for_theirs(others: dict) -> None:
    tx = gx.bucket(gx.adam(0.1))
    params = {"a": jnp.ones(3), "z": jnp.ones(5)}
    _, state = tx.update(params, tx.init(params), params)
    with pytest.raises(ValueError, match="is missing in it"):
        tx.update(others, state, others)
    anew, report = gx.transfer_state(state, tx, others)
    assert_equal(anew[0], tx.init(others)[0])  # with the count that corrects the averages
    assert [entry.path for entry in report.kept] == ["1/count"]
    assert {entry.place.field for entry in report.dropped} == {"mu", "nu"}
    again, _ = gx.transfer_state(state, tx, params)
    np.testing.assert_array_equal(*(next(iter(s[0].mu.vectors.values())) for s in (state, again)))
