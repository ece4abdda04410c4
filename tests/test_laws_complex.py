"""Complex parameters: a plane for every coordinate.

JAX's strict promotion does not let a real number multiply a complex array, so it is off here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from catalog import Row
from problems import assert_close, follow, gradients, rows, small, structures, times


def updates_of(tx: Any, params: Any, grads: Any, row: Row) -> Any:
    return follow(tx, params, grads, row.extra)[0]


@structures(lambda row: row.complex and not row.random)
def test_complex_numbers_on_the_real_axis_are_real_numbers(row: Row) -> None:
    params = small()
    grads = gradients(params, steps=3)
    expected = times(1 + 0j, updates_of(row.build(), params, grads, row))
    lifted = updates_of(row.build(), times(1 + 0j, params), times(1 + 0j, grads), row)
    assert_close(lifted, expected)


@structures(lambda row: row.complex and not row.random)
def test_turning_the_plane_turns_the_updates(row: Row) -> None:
    params = small("complex64")
    grads = gradients(params, steps=3)
    expected = times(1j, updates_of(row.build(), params, grads, row))
    turned = updates_of(row.build(), times(1j, params), times(1j, grads), row)
    assert_close(turned, expected)


def plane(tree: Any) -> Any:
    """Complex arrays as real ones with one more axis."""
    return jax.tree.map(lambda z: np.stack([np.real(z), np.imag(z)], axis=-1), tree)


def assert_same_as_in_the_plane(tx: Any, row: Row) -> None:
    params = small("complex64")
    grads = gradients(params)
    flat = updates_of(tx, jax.tree.map(jnp.asarray, plane(params)), plane(grads), row)
    assert_close(plane(updates_of(tx, params, grads, row)), flat)


@rows(lambda row: row.complex and not row.random and row.degree == 1)
def test_linear_rules_see_complex_numbers_as_pairs(row: Row) -> None:
    assert_same_as_in_the_plane(row.build(), row)


@rows(lambda row: row.name in ("clip_by_value", "clip_by_global_norm"))
def test_clipping_sees_complex_numbers_as_pairs(row: Row) -> None:
    assert_same_as_in_the_plane(row.build(), row)
