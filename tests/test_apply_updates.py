"""The end of a step: parameters plus updates, with the parameters' types."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import (
    FLOATS,
    Layer,
    assert_equal,
    at,
    awkward,
    gradients,
    one_leaf_per_dtype,
    small,
    types,
)

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def test_adds_and_keeps_structure_and_missing_leaves() -> None:
    params = awkward()
    updates = at(gradients(params), 0)
    new = gx.apply_updates(params, updates)
    assert types(new) == types(params)
    expected = jax.tree.map(lambda p, u: np.asarray(p) + np.asarray(u), params, updates)
    assert_equal(new, expected)


@pytest.mark.parametrize("update_dtype", FLOATS)
def test_parameters_keep_their_dtype(update_dtype: str) -> None:
    with jax.enable_x64(True):
        params = one_leaf_per_dtype(FLOATS)
        updates = {name: jnp.full(6, 0.125, update_dtype) for name in params}
        assert types(gx.apply_updates(params, updates)) == types(params)


def test_the_sum_is_rounded_once() -> None:
    params = jnp.asarray([1.0, 256.0, 1.0], "bfloat16")
    updates = jnp.asarray([2**-8, 1.0, 2**-8 + 2**-12], "float32")
    # Rounded to bfloat16 first, the last update would be 2**-8 and the sum a tie, back to 1.
    expected = jnp.asarray([1.0, 256.0, 1.0 + 2**-7], "bfloat16")
    assert_equal(gx.apply_updates(params, updates), expected)


def test_a_parameter_without_an_update_stays() -> None:
    params = small()
    new = gx.apply_updates(params, {"w": jnp.ones((4, 3)), "s": None})
    assert new["s"] is params["s"]
    nested = {"layer": Layer(jnp.ones(2), jnp.ones(3)), "s": jnp.ones(())}
    new = gx.apply_updates(nested, {"layer": None, "s": jnp.ones(())})
    assert_equal(new, {"layer": nested["layer"], "s": jnp.full((), 2.0)})


def test_complex_and_python_numbers() -> None:
    new = gx.apply_updates({"z": jnp.asarray(1j), "x": 1.0}, {"z": jnp.asarray(1 + 0j), "x": 0.5})
    assert_equal(new, {"z": jnp.asarray(1 + 1j), "x": jnp.float32(1.5)})


def test_in_compiled_code_as_outside() -> None:
    params = small("bfloat16")
    updates = at(gradients(small()), 0)
    assert_equal(jax.jit(gx.apply_updates)(params, updates), gx.apply_updates(params, updates))


@pytest.mark.parametrize(
    ("params", "updates", "words"),
    [
        (
            {"a": jnp.ones(2), "b": jnp.ones(3)},
            {"a": jnp.ones(2), "b": jnp.ones(4)},
            ["leaf `b`", "float32[4]", "float32[3]"],
        ),
        (
            {"a": jnp.ones(2)},
            {"a": jnp.ones(2), "b": jnp.ones(4)},
            ["leaf `b`", "float32[4]", "missing", "the parameters"],
        ),
        (
            {"a": jnp.ones(2), "b": {"c": jnp.ones(4)}},
            {"a": jnp.ones(2)},
            ["leaf `b/c`", "missing", "float32[4]"],
        ),
        ({"a": None}, {"a": jnp.ones(4)}, ["leaf `a`", "float32[4]", "missing"]),
        ([jnp.ones(2)], (jnp.ones(2),), ["different containers", "PyTreeDef"]),
        (jnp.ones(2), jnp.ones(3), ["the only leaf", "float32[3]", "float32[2]"]),
    ],
    ids=["shape", "more", "fewer", "none", "container", "bare"],
)
def test_trees_that_do_not_fit_are_refused_by_path(
    params: Any, updates: Any, words: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"`apply_updates\(params, updates\)`") as error:
        gx.apply_updates(params, updates)
    for word in [*words, "updates"]:
        assert word in str(error.value)
