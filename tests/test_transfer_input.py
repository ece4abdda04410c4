"""What `transfer_state` refuses, and where it puts what it carries over."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training import train_state as flax_train_state
from jax.sharding import NamedSharding, PartitionSpec
from problems import assert_equal, at, gradients, normal
from refusals import assert_refused

import gradxform as gx

PARAMS = {"w": normal((8, 3)), "b": normal((3,), seed=1)}
GRADS = at(gradients(PARAMS, steps=1), 0)
OTHERS = {"kernel": normal((8, 3))}
TX = gx.adamw(0.1)


def after_a_step(tx, params=PARAMS):
    return tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)[1]


OLD = after_a_step(TX)
GROUPS = gx.partition({"w": (gx.select.path("w"), TX)}, default=TX)

REFUSED = {
    "a state of other parameters": (
        lambda: gx.transfer_state(after_a_step(TX, OTHERS), TX, PARAMS),
        ValueError,
        ["none of the buffers", "`0/mu/kernel` float32[8, 3]", "`0/mu/w` float32[8, 3]", "`init`"],
    ),
    "parameters all of whose shapes changed": (
        lambda: gx.transfer_state(OLD, TX, {"w": normal((3, 8)), "b": normal((8,))}),
        ValueError,
        ["none of the buffers", "`0/mu/w` float32[8, 3]", "`0/mu/w` float32[3, 8]"],
    ),
    "a state that has nothing to give": (
        lambda: gx.transfer_state(optax.rmsprop(0.1).init(PARAMS), gx.sgd(0.1, 0.9), PARAMS),
        ValueError,
        ["nothing in the old state", "`0/nu/w`", "`0/trace/w`", "`tx.init(params)`"],
    ),
    "parameters in the place of the state": (
        lambda: gx.transfer_state(PARAMS, TX, PARAMS),
        ValueError,
        ["nothing in the old state", "`w` float32[8, 3]"],
    ),
    "a train state": (
        lambda: gx.transfer_state(gx.TrainState.create(TX, PARAMS), TX, PARAMS),
        ValueError,
        ["TrainState", "`opt_state`"],
    ),
    "a train state that lost its types": (
        lambda: gx.transfer_state({"params": PARAMS, "opt_state": OLD}, TX, PARAMS),
        ValueError,
        ["whole training state", "`opt_state`"],
    ),
    "no parameters": (lambda: gx.transfer_state(OLD, TX, None), TypeError, ["`params` is None"]),
    "no state": (lambda: gx.transfer_state(None, TX, PARAMS), TypeError, ["`tx.init(params)`"]),
    "a template": (
        lambda: gx.transfer_state(jax.eval_shape(TX.init, PARAMS), TX, PARAMS),
        TypeError,
        ["`0/count` in `old_state`", "what was restored"],
    ),
    "abstract parameters": (
        lambda: gx.transfer_state(OLD, TX, jax.eval_shape(lambda: PARAMS)),
        TypeError,
        ["`b` in `params`", "first"],
    ),
    "something in the state that is no array": (
        lambda: gx.transfer_state({"0": {"count": "three"}}, TX, PARAMS),
        TypeError,
        ["`0/count` in `old_state`", "'three'"],
    ),
    "arguments in another order": (
        lambda: gx.transfer_state(TX, OLD, PARAMS),
        TypeError,
        ["`transfer_state(old_state, tx, params)`", "`tx`", "gradient transformation"],
    ),
    "a step that is none": (
        lambda: gx.transfer_state(OLD, TX, PARAMS, step=1.5),
        ValueError,
        ["transfer_state(step=1.5)", "whole number"],
    ),
    "counts to be compared under jit": (
        lambda: jax.jit(lambda old: gx.transfer_state(old, TX, PARAMS).state)(GROUPS.init(PARAMS)),
        ValueError,
        ["traced", "outside of `jit`"],
    ),
    # What `update` says of a state that it did not make.
    "update with Optax's state": (
        lambda: TX.update(GRADS, optax.adamw(0.1).init(PARAMS), PARAMS),
        TypeError,
        ["`scale_by_adam(...).update`", "optax.ScaleByAdamState", "`transfer_state("],
    ),
    "update with a state that lost its types": (
        lambda: TX.update(GRADS, {"0": {"count": 0, "mu": PARAMS}, "1": {}, "2": {}}, PARAMS),
        TypeError,
        ["`chain(...).update`", "of type dict, not tuple of 3", "`transfer_state("],
    ),
    "update with a state of a block": (
        lambda: TX.update(GRADS, OLD[0], PARAMS),
        TypeError,
        ["`chain(...).update`", "ScaleByAdamState, not tuple of 3", "`transfer_state("],
    ),
    "update with a state of other parameters": (
        lambda: TX.update(GRADS, TX.init(OTHERS), PARAMS),
        ValueError,
        ["`0/mu/b` is missing in it", "float32[3] in what `init`", "`transfer_state("],
    ),
    "update with a state of other shapes": (
        lambda: TX.update(GRADS, TX.init({**PARAMS, "w": normal((9, 3))}), PARAMS),
        ValueError,
        ["`0/mu/w` is float32[9, 3] in it", "float32[8, 3] in what `init`"],
    ),
    "update of a wrapper with a bare state": (
        lambda: gx.skip_nonfinite(TX).update(GRADS, OLD, PARAMS),
        TypeError,
        ["type tuple, not SkipNonfiniteState", "`transfer_state("],
    ),
    "update of groups with a bare state": (
        lambda: gx.partition({"w": (gx.select.path("w"), TX)}, default=TX).update(
            GRADS, OLD, PARAMS
        ),
        TypeError,
        ["`partition(...).update`", "type tuple, not dict", "`transfer_state("],
    ),
    "update of a centered average with one that is not": (
        lambda: gx.scale_by_rms(centered=True).update(GRADS, gx.scale_by_rms().init(PARAMS)),
        TypeError,
        ["ScaleByRmsState, not ScaleByCenteredRmsState", "`transfer_state("],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_words(case):
    assert_refused(*REFUSED[case])


def test_nothing_is_shared_and_nothing_changed():
    old = jax.tree.map(jnp.copy, OLD)
    state, _ = gx.transfer_state(old, TX, PARAMS)
    jax.block_until_ready(jax.jit(lambda s: s, donate_argnums=0)(state))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state) if leaf.ndim)
    assert_equal(old, OLD)


def test_it_lies_where_the_new_state_lies():
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("x", None))
    whole = NamedSharding(mesh, PartitionSpec())
    params = {"w": jax.device_put(PARAMS["w"], split), "b": jax.device_put(PARAMS["b"], whole)}
    tx = gx.chain(gx.clip_by_global_norm(1.0), TX)
    on_device_3 = jax.device_put(OLD, jax.devices()[3])
    for old in (OLD, jax.tree.map(np.asarray, OLD), on_device_3):
        state, _ = gx.transfer_state(old, tx, params)
        assert state[1][0].mu["w"].sharding == split
        assert state[1][0].nu["b"].sharding == whole
        assert state[1][0].count.sharding == whole
        _, after = jax.jit(tx.update)(jax.tree.map(jnp.ones_like, params), state, params)
        assert after[1][0].mu["w"].sharding.is_equivalent_to(split, 2)
    back, _ = gx.transfer_state(state, TX, PARAMS)  # from many devices to one
    assert_equal(back, OLD)
    assert not any(leaf.committed for leaf in jax.tree.leaves(back))


def test_a_batch_of_states_goes_over_under_vmap():
    members = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), PARAMS)
    old = jax.vmap(TX.init)(members)
    old = (old[0]._replace(mu=jax.tree.map(lambda m: m + 1.0, old[0].mu)), *old[1:])
    tx = gx.skip_nonfinite(gx.adamw(gx.cosine_decay(0.1, 10)))

    def go_over(old, params):
        return gx.transfer_state(old, tx, params).state

    state = jax.vmap(go_over)(old, members)
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(PARAMS))
    assert_equal(state.inner_state[0], old[0])


def test_a_bare_array_and_parameters_called_like_fields():
    for params in (normal((4, 3)), {"mu": normal((2,)), "count": normal((3,)), "0": normal((4,))}):
        for tx in (gx.adamw(0.1), gx.sgd(0.1, 0.9)):
            old = after_a_step(tx, params)
            bare = jax.tree.map(np.asarray, [dict(x._asdict()) for x in old])
            for state in (old, bare):
                again, report = gx.transfer_state(state, tx, params)
                assert_equal(again, old)
                assert not report.new
                assert not report.dropped


def test_a_linen_train_state_takes_it():
    before = flax_train_state.TrainState.create(
        apply_fn=None, params=PARAMS, tx=optax.adam(optax.cosine_decay_schedule(0.1, 10))
    )
    before = before.apply_gradients(grads=GRADS)
    tx = gx.adam(gx.cosine_decay(0.1, 10))
    opt_state = gx.transfer_state(before.opt_state, tx, before.params).state
    after = before.replace(tx=tx, opt_state=opt_state)
    expected = before.apply_gradients(grads=GRADS).params
    for a, b in zip(
        jax.tree.leaves(after.apply_gradients(grads=GRADS).params),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_an_nnx_optimizer_takes_it():
    def model_and_gradient():
        model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
        return model, nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 4))) ** 2))(model)

    model, grads = model_and_gradient()
    before = nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param)
    before.update(model, grads)
    tx = gx.skip_nonfinite(gx.adam(0.1))
    state, report = gx.transfer_state(before.opt_state, tx, nnx.state(model, nnx.Param))
    assert len([entry for entry in report.kept if entry.source.rest]) == 4
    after = nnx.Optimizer(model, tx, wrt=nnx.Param)
    boxes = jax.tree.leaves(after.opt_state, is_leaf=lambda x: isinstance(x, nnx.Variable))
    for box, x in zip(boxes, jax.tree.leaves(state), strict=True):
        box.set_value(x)
    copies = [nnx.clone(model), nnx.clone(model)]
    for optimizer, copy in zip((before, after), copies, strict=True):
        optimizer.update(copy, grads)
    for a, b in zip(*(jax.tree.leaves(nnx.state(copy)) for copy in copies), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
