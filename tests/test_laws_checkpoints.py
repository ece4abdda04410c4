"""Law: a state is found again by `transfer_state`, with its types and without them.

That it goes through bytes and pickles is held by `test_framework_states.py`.
"""

import flax.serialization
import jax
import numpy as np
from problems import at as tree_at, every_structure, gradients, normal

import gradxform as gx

PARAMS = {"layer": {"kernel": normal((4, 3)), "bias": normal((3,), seed=1)}, "scale": normal(())}
GRADS = gradients(PARAMS, steps=2)


def trained(row):
    tx = row.build()
    state = tx.init(PARAMS)
    for t in range(2):
        _, state = tx.update(tree_at(GRADS, t), state, PARAMS, **row.extra)
    return tx, state


@every_structure
def test_the_same_optimizer_gets_the_same_state_bit_for_bit(row):
    tx, state = trained(row)
    bare = flax.serialization.msgpack_restore(flax.serialization.to_bytes(state))
    for old in (state, bare):
        if not jax.tree.leaves(state):
            continue
        again, report = gx.transfer_state(old, tx, PARAMS)
        assert not report.new
        assert not report.dropped
        assert jax.tree.structure(again) == jax.tree.structure(state)
        for new, was in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
            assert new.dtype == was.dtype
            assert new.weak_type == was.weak_type
            assert new is not was
            assert np.array_equal(new, was, equal_nan=True)
