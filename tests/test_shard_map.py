"""Inside of `shard_map` an update sees one shard of each array; norms are told over which axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from problems import assert_close, normal

import gradxform as gx

SPECS = {"both": P("data", "model"), "one": P(None, "model"), "whole": P()}
SHAPES = {"both": (8, 4), "one": (3, 4), "whole": (5,)}
GRADS = {name: normal(shape, seed=i) for i, (name, shape) in enumerate(SHAPES.items())}
AXES = ("data", "model")


def mesh_of(kind):
    return jax.make_mesh((4, 2), AXES, axis_types=(kind,) * 2)


def placed(mesh):
    return {name: jax.device_put(g, NamedSharding(mesh, SPECS[name])) for name, g in GRADS.items()}


def sharded(function, mesh, **options):
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=(SPECS,), out_specs=(SPECS, P()), **options)
    )


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@pytest.mark.parametrize(
    "block",
    [
        lambda axes: gx.clip_by_global_norm(0.5, axis_name=axes),
        lambda axes: gx.clip_by_global_norm(0.5, on_nonfinite="skip", axis_name=axes),
        lambda axes: gx.normalize_by_global_norm(axis_name=axes),
    ],
    ids=["clip", "skip", "normalize"],
)
def test_the_norm_is_that_of_all_shards(kind, block):
    mesh = mesh_of(kind)
    # Two steps in a scan: what varies from device to device may not get into the state.
    tx = gx.chain(block(AXES), gx.scale_by_momentum(0.9))

    def steps(grads):
        def one(carry, _):
            updates, state = tx.update(grads, carry[1])
            return (updates, state), None

        zeros = jax.tree.map(jnp.zeros_like, grads)
        (updates, state), _ = lax.scan(one, (zeros, tx.init(grads)), length=2)
        return updates, state[0]

    updates, _ = sharded(steps, mesh)(placed(mesh))
    alone = gx.chain(block(None), gx.scale_by_momentum(0.9))
    state = alone.init(GRADS)
    for _ in range(2):
        expected, state = alone.update(GRADS, state)
    assert_close(jax.device_get(updates), jax.device_get(expected))


def test_it_is_the_axis_name_that_does_it():
    """With whole shards each device scales by the norm of what it sees."""
    mesh, spec, g = mesh_of(AxisType.Auto), P("data", "model"), GRADS["both"]

    def clipped(axis_name):
        tx = gx.clip_by_global_norm(0.5, axis_name=axis_name)
        run = jax.shard_map(
            lambda g: tx.update(g, tx.init(g))[0], mesh=mesh, in_specs=spec, out_specs=spec
        )
        return np.linalg.norm(jax.jit(run)(g))

    np.testing.assert_allclose(clipped(AXES), 0.5, rtol=1e-6)
    np.testing.assert_allclose(clipped(()), 0.5 * np.sqrt(8), rtol=1e-6)


def test_one_transfer_for_arrays_that_are_split_alike():
    mesh = mesh_of(AxisType.Auto)
    tx = gx.clip_by_global_norm(0.5, axis_name=AXES)
    many = {f"{i}": GRADS["both"] for i in range(6)}
    specs = dict.fromkeys(many, P("data", "model"))
    program = jax.jit(
        jax.shard_map(
            lambda g: tx.update(g, tx.init(g))[0], mesh=mesh, in_specs=(specs,), out_specs=specs
        )
    )
    text = program.lower(many).compile().as_text()
    # Beside the one in the branch for sums of squares that are out of range.
    assert text[text.index("ENTRY") :].count(" all-reduce(") == 1


@pytest.mark.parametrize("make", [gx.clip_by_global_norm, gx.normalize_by_global_norm])
def test_what_it_cannot_know_is_refused(make):
    mesh = mesh_of(AxisType.Auto)

    def run(axis_name, **options):
        tx = make(1.0, axis_name=axis_name)

        def one(grads):
            return tx.update(grads, tx.init(grads))[0], 0.0

        return sharded(one, mesh, **options)(placed(mesh))

    with pytest.raises(ValueError, match="check_vma=True"):
        run("data", check_vma=False)
    with pytest.raises(ValueError, match="`axis_name='dat'` is no axis of a `jax"):
        run("dat")
    tx = make(1.0, axis_name="data")
    with pytest.raises(ValueError, match="leave `axis_name` out"):
        tx.update(GRADS, tx.init(GRADS))
    for wrong in (0, ("data", 1)):
        with pytest.raises(ValueError, match="`axis_name` must be the name of a mesh axis"):
            make(1.0, axis_name=wrong)


def test_it_is_part_of_the_recipe():
    tx = gx.clip_by_global_norm(1.0, axis_name=("data", "model"))
    assert repr(tx) == "clip_by_global_norm(max_norm=1.0, axis_name=('data', 'model'))"
    assert gx.from_config(gx.to_config(tx)) == tx
