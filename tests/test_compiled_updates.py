"""What XLA makes of the updates on a CPU: every array changed in place, one loop for each result.

The program is `step(params, state, grads) -> (params, state)` with the first two donated. XLA makes
a loop for each array that a step returns. It overwrites an array in the last loop that reads it,
if the order of the loops follows from what is computed from what; else it copies the array first.
So a rule is written such that the loop of the parameters reads the new buffers, not the old ones.
Some cannot be (`Row.read_twice`): Rprop's last sign decides about the next step size and about the
next sign. For these, `IN_ORDER` lets XLA choose an order.
"""

from typing import Any

import jax
import numpy as np
import pytest
from catalog import CATALOG, Row
from compiled import compile_named, copied, loops, temporaries, unaliased

import gradxform as gx

# XLA sums arrays below 16,384 elements in another way, with the squares in an array of their own.
SHAPES = {"a": (128, 160), "b": (30_000,), "c": (128, 160), "d": (128, 160)}
PARAMS = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in SHAPES.items()}
LARGE = 4 * 128 * 160  # bytes of the smaller of them
SMALL = LARGE // 10  # bytes of what does not count as an array of the parameters' size
IN_ORDER = {"xla_cpu_copy_insertion_use_region_analysis": True}

OPTIMIZERS = [row for row in CATALOG if row.kind == "optimizer"]
ELEMENT_WISE = [row for row in OPTIMIZERS if row.leaf_local and row.coordinate_local]


def compiled(tx: Any, extra: dict[str, Any], options: dict[str, Any] | None = None) -> Any:
    """The step, and the state that it takes."""

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params, **extra)
        return gx.apply_updates(params, updates), state

    state = jax.eval_shape(tx.init, PARAMS)
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(PARAMS, state, PARAMS)
    return compile_named(lowered, options), state


def assert_nothing_copied(program: Any, written_out: int = 0) -> None:
    """Every array has the memory of the one it replaces, and no array is copied."""
    assert unaliased(program, ("params", "state"), LARGE) == []
    # But a gradient that is kept for the next step, which is the caller's; and to its place what
    # was written out, if it is kept.
    found = [x for x in copied(program, LARGE) if not x.operands[0].startswith("grads")]
    assert len(found) <= written_out * len(SHAPES), found


def assert_in_place(program: Any, state: Any, written_out: int = 0) -> None:
    """No copy, nothing on the way, and a loop for each array that is returned."""
    assert_nothing_copied(program, written_out)
    everything = sum(4 * p.size for p in PARAMS.values())
    assert temporaries(program) < SMALL + written_out * everything
    returned = [x.shape for x in jax.tree.leaves((PARAMS, state)) if x.size >= LARGE / 4]
    leaves = list(SHAPES.values())
    for shape, count in loops(program, LARGE).items():
        assert count <= returned.count(shape) + written_out * leaves.count(shape)


@pytest.mark.parametrize("row", ELEMENT_WISE, ids=str)
def test_an_element_wise_optimizer_alone(row: Row) -> None:
    program, state = compiled(row.build(), row.extra, IN_ORDER if row.read_twice else None)
    assert_in_place(program, state, row.written_out)


@pytest.mark.parametrize("row", ELEMENT_WISE, ids=str)
def test_an_element_wise_optimizer_behind_clipping(row: Row) -> None:
    """The factor is a number inside of the loops: no clipped gradient is written."""
    tx = gx.chain(gx.clip_by_global_norm(0.3), row.build())
    program, state = compiled(tx, row.extra, IN_ORDER if row.read_twice else None)
    assert_in_place(program, state, row.written_out)


# The random numbers of noise come from loops with counters of their own.
OTHERS = [row for row in OPTIMIZERS if row not in ELEMENT_WISE and not row.random]


@pytest.mark.parametrize("row", OTHERS, ids=str)
def test_an_optimizer_that_is_not_element_wise_copies_nothing(row: Row) -> None:
    program, _ = compiled(row.build(), row.extra, IN_ORDER if row.read_twice else None)
    assert_nothing_copied(program)


def test_what_is_read_twice_is_copied_unless_xla_is_told_to_order_the_loops() -> None:
    """The reason for `Row.read_twice`: where it is gone, so should be the trait."""
    tx = gx.rprop(0.1)
    program, _ = compiled(tx, {})
    assert len(copied(program, LARGE)) == len(SHAPES)
    assert temporaries(program) >= LARGE
    assert copied(compiled(tx, {}, IN_ORDER)[0], LARGE) == []
