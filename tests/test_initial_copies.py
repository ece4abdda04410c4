"""The copies of the initial parameters that DoG, DoWG, Prodigy and COCOB keep in their states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import gradxform as gx

WITH_COPIES = ["dog", "dowg", "prodigy", "cocob"]


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("name", WITH_COPIES)
def test_the_first_step_may_donate_everything(name, jit):
    """The initial parameters in the state are copies: nothing is donated twice."""
    tx = getattr(gx, name)()
    params = {"w": jnp.ones((4, 4)), "b": jnp.ones(4)}
    state = (jax.jit(tx.init) if jit else tx.init)(params)
    pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((params, state)) if x.ndim]
    assert len(set(pointers)) == len(pointers)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        updates, state = tx.update(params, state, params)
        return gx.apply_updates(params, updates), state

    for _ in range(2):
        params, state = step(params, state)
    assert np.all(np.isfinite(params["w"]))


@pytest.mark.parametrize("mode", ["Auto", "Explicit"])
@pytest.mark.parametrize("name", WITH_COPIES)
def test_the_copies_are_sharded_like_the_parameters(name, mode):
    tx = getattr(gx, name)()
    kind = getattr(jax.sharding.AxisType, mode)
    mesh = jax.make_mesh((8,), ("x",), axis_types=(kind,))
    sharding = NamedSharding(mesh, PartitionSpec("x"))
    params = {"w": jax.device_put(jnp.arange(16.0).reshape(8, 2), sharding)}
    grads = jax.tree.map(lambda x: x + 1, params)
    for init in (tx.init, jax.jit(tx.init)):
        state = init(params)
        _, after = jax.jit(tx.update)(grads, state, params)
        for which in (state, after):
            buffers = [x for x in jax.tree.leaves(which) if x.shape == (8, 2)]
            assert buffers
            assert all(x.sharding.is_equivalent_to(sharding, 2) for x in buffers)


def test_copies_keep_the_parameters_dtype_and_moments_the_one_asked_for():
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    assert gx.scale_by_dog().init(params).init_params["w"].dtype == jnp.bfloat16
    state = gx.scale_by_prodigy(state_dtype="float16").init(params).inner_state
    assert state.init_params["w"].dtype == jnp.bfloat16
    for name in ("mu", "nu", "grad_sum"):
        assert getattr(state, name)["w"].dtype == jnp.float16


def test_a_gradient_that_is_absent_stays_absent():
    """`None` among the gradients, with a parameter in its place."""
    params, grads = {"a": jnp.ones(2), "b": jnp.ones(2)}, {"a": jnp.ones(2), "b": None}
    for name in [*WITH_COPIES, "dadapt_adamw"]:
        tx = getattr(gx, name)()
        updates, _ = tx.update(grads, tx.init(params), params)
        assert updates["b"] is None
        assert np.all(np.asarray(updates["a"]) < 0)
