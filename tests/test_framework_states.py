"""What the frameworks and optax do with a state: write it as bytes, box it, search it."""

import io
import pickle

import equinox as eqx
import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec
from problems import STRUCTURAL, every_structure

import gradxform as gx

PARAMS = {"mlp/~/linear_0": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}}
GRADS = jax.tree.map(lambda p: 0.1 + p / 3.0, PARAMS)


def through_flax(state, template):
    return flax.serialization.from_bytes(template, flax.serialization.to_bytes(state))


def through_pickle(state, template):
    del template
    return pickle.loads(pickle.dumps(state))


def through_equinox(state, template):
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, state)
    file.seek(0)
    return eqx.tree_deserialise_leaves(file, template)


@every_structure
def test_a_state_goes_through_bytes(row):
    """The next step is the same bit for bit."""
    tx = row.build()
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS, **row.extra)
    expected = tx.update(GRADS, state, PARAMS, **row.extra)
    for through in (through_flax, through_pickle, through_equinox):
        restored = through(state, tx.init(PARAMS))
        assert jax.tree.structure(restored) == jax.tree.structure(state)
        actual = tx.update(GRADS, restored, PARAMS, **row.extra)
        for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)


BOXED = {
    "w": nn.Partitioned(jnp.ones((4, 2)), names=("x", None)),
    "b": nn.Partitioned(jnp.ones(3), names=(None,)),
}


def buffered():
    """The rows with buffers."""
    return [pytest.param(row, id=str(row)) for row in STRUCTURAL if row.state_bytes]


def unmasked(row):
    """Without the mask of a block, which would have to be boxed as well."""
    is_block = row.kind != "wrapper"
    return row.build(mask=None) if is_block and "mask" in row.arguments else row.build()


@pytest.mark.parametrize("row", [param for param in buffered() if not param.values[0].in_vectors])
def test_linens_boxes_give_the_buffers_their_partition(row):
    """A buffer shaped like its parameter is spread like it; one of another shape is not."""
    state = unmasked(row).init(BOXED)
    specs = jax.tree.leaves(
        nn.get_partition_spec(state), is_leaf=lambda x: isinstance(x, PartitionSpec)
    )
    for leaf, spec in zip(jax.tree.leaves(nn.unbox(state)), specs, strict=True):
        spread = [axis for axis in spec if axis is not None]
        assert spread == (["x"] if leaf.shape == (4, 2) else [])
        assert len(spec) <= leaf.ndim


@pytest.mark.parametrize("row", buffered())
def test_linens_boxes_leave_the_structure_of_the_state_alone(row):
    tx = unmasked(row)
    state = tx.init(BOXED)
    _, after = jax.eval_shape(lambda s: tx.update(BOXED, s, BOXED, **row.extra), state)
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.parametrize("tx", [gx.adamw(0.1), gx.rmsprop(0.1, momentum=0.9)], ids=repr)
def test_nnxs_optimizer_keeps_the_buffers_where_the_parameters_are(tx):
    class Net(nnx.Module):
        def __init__(self):
            spread = nnx.with_partitioning(nnx.initializers.ones_init(), (None, "x"))
            self.a = nnx.Linear(2, 8, kernel_init=spread, rngs=nnx.Rngs(0))

    with jax.set_mesh(jax.make_mesh((8,), ("x",))):
        net = Net()
        optimizer = nnx.Optimizer(net, tx, wrt=nnx.Param)
        grads = nnx.grad(lambda net: jnp.sum(net.a(jnp.ones((1, 2))) ** 2))(net)
        optimizer.update(net, grads)
        spread = net.a.kernel.get_value().sharding
        assert spread.spec == PartitionSpec(None, "x")
        state = jax.tree.leaves(nnx.as_pure(optimizer.opt_state))
        buffers = [x for x in state if x.shape == (2, 8)]
        assert len(buffers) == 2
        assert all(x.sharding == spread for x in buffers)


def test_optax_finds_fields_by_the_names_it_knows():
    shapes = {"mlp/~/linear_0": {"w": (2, 3), "b": (3,)}}
    state = gx.adam(0.1).init(PARAMS)
    assert float(optax.tree.get(state, "learning_rate")) == np.float32(0.1)
    for name in ("mu", "nu"):
        assert jax.tree.map(jnp.shape, optax.tree.get(state, name)) == shapes
    trace = optax.tree.get(gx.sgd(0.1, momentum=0.9).init(PARAMS), "trace")
    assert jax.tree.map(jnp.shape, trace) == shapes
    assert int(optax.tree.get(gx.sgd(0.1).init(PARAMS), "count")) == 0


def test_optax_tells_buffers_from_the_rest():
    tx = gx.adamw(gx.tunable(0.1), b1=optax.constant_schedule(0.9))
    marked = optax.tree_map_params(
        tx, lambda _: "buffer", tx.init(PARAMS), transform_non_params=lambda _: "rest"
    )
    found = jax.tree.leaves(marked)
    assert found.count("buffer") == 4
    assert found.count("rest") == len(found) - 4
