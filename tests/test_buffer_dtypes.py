"""`state_dtype` for each buffer by name: what it is for, and where else it must hold.

That each buffer of each row has exactly the dtype asked for is a law in `test_laws_precision.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradxform as gx

HALF = {"mu": "bfloat16"}
P = {"w": jnp.linspace(-1.0, 1.0, 12).reshape(4, 3), "b": jnp.ones(3)}


def last_update(tx, gradients):
    w = jnp.zeros(1)

    def step(state, g):
        u, state = tx.update(g[None], state, w)
        return state, u[0]

    return float(jax.lax.scan(step, tx.init(w), jnp.asarray(gradients))[1][-1])


def test_the_first_moment_alone_is_optaxs_mu_dtype():
    """After gradients shrink v must fall; in 16 bits it stays, and steps are too short."""
    gradients = [1.0] * 20 + [0.01] * 300
    theirs = last_update(optax.scale_by_adam(mu_dtype="bfloat16"), gradients)
    ours = last_update(gx.scale_by_adam(state_dtype=HALF), gradients)
    both = last_update(gx.scale_by_adam(state_dtype="bfloat16"), gradients)
    np.testing.assert_allclose(ours, theirs, rtol=3e-2)
    assert both < 0.9 * ours


def test_bucket_and_transfer_keep_the_dtype_of_each_buffer():
    tx, wide = gx.adam(1e-3, state_dtype=HALF), gx.adam(1e-3)
    state, _ = gx.transfer_state(wide.init(P), tx, P)
    assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, tx.init(P))
    bucketed = gx.bucket(tx).init(P)
    dtypes = [str(x.dtype) for x in jax.tree.leaves(bucketed) if x.ndim]
    assert sorted(dtypes) == ["bfloat16", "float32"]


def test_frozen_when_built_and_equal_in_any_order():
    asked = {"nu": "float32", "mu": jnp.bfloat16}
    tx = gx.adamw(1e-3, state_dtype=asked)
    asked["mu"] = "float16"
    assert tx == gx.adamw(1e-3, state_dtype={"mu": "bfloat16", "nu": "float32"})
    assert repr(tx.parts[0]) == "scale_by_adam(state_dtype={'mu': 'bfloat16', 'nu': 'float32'})"
    assert gx.from_config(gx.to_config(tx)) == tx
    assert gx.adam(1e-3, state_dtype={}) == gx.adam(1e-3)


def test_an_optimizer_gives_each_block_its_own():
    tx = gx.rmsprop(1e-3, momentum=0.9, state_dtype={"trace": "bfloat16"})
    assert tx.parts[:2] == (
        gx.scale_by_rms(),
        gx.scale_by_momentum(state_dtype={"trace": "bfloat16"}),
    )
    assert gx.diagnose(tx, P).findings == gx.diagnose(gx.rmsprop(1e-3, momentum=0.9), P).findings
