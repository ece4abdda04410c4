"""The state lies where `state_sharding` says; spread over an axis it takes a part of the bytes."""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec as P
from problems import assert_close, gradients, normal

import gradxform as gx

SHAPES = {
    "kernel": (32, 64),
    "conv": (3, 3, 8, 16),
    "odd": (7, 5),
    "bias": (64,),
    "table": (50, 64),
}
SPECS = {
    "kernel": P(None, "model"),
    "conv": P(),
    "odd": P(),
    "bias": P("model"),
    "table": P("model"),
}
# Behind the parameter's own places, the first whole axis that 4 devices divide. A bias of 64
# numbers is small, and nothing divides the 7 by 5.
SPREAD = {
    "kernel": P("data", "model"),
    "conv": P(None, None, "data", None),
    "odd": P(),
    "bias": P("model"),
    "table": P("model", "data"),
}
MODES = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
every_mode = pytest.mark.parametrize("kind", MODES.values(), ids=MODES)

ADAMW = gx.chain(
    gx.clip_by_global_norm(0.1), gx.adamw(gx.cosine_decay(0.1, 9), b1=gx.tunable(0.8), eps=1e-3)
)
OPTIMIZERS = {
    "adamw": ADAMW,
    "adafactor": gx.adafactor(0.1, min_dim_size_to_factor=16),
    "sm3": gx.sm3(0.1),
    "groups": gx.partition(
        {"tables": (gx.select.path("table"), gx.sgd(0.1, momentum=0.9))},
        default=gx.masked(gx.lion(0.1), gx.select.ndim_at_least(2)),
    ),
    "nested": gx.accumulate(gx.ema_params(gx.lamb(0.1), 0.9), every=2),
    "prodigy": gx.prodigy(),
    "optax": optax.adamw(0.1),
}
every_optimizer = pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS)


def mesh_of(kind):
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind,) * 2)


def problem(dtype="float32"):
    params = {name: normal(shape, dtype, seed=i) for i, (name, shape) in enumerate(SHAPES.items())}
    return params, gradients(params, steps=3)


def placed(tree, mesh):
    return {name: jax.device_put(x, NamedSharding(mesh, SPECS[name])) for name, x in tree.items()}


def device_bytes(tree):
    """The bytes on the first device, of the arrays that are really there."""
    shards = [x.addressable_shards[0] for x in jax.tree.leaves(tree)]
    return sum(shard.data.nbytes for shard in shards)


def assert_placed(tree, shardings):
    assert jax.tree.structure(tree) == jax.tree.structure(shardings)
    for x, place in zip(jax.tree.leaves(tree), jax.tree.leaves(shardings), strict=True):
        assert x.sharding.is_equivalent_to(place, x.ndim), (x.shape, x.sharding, place)


def trained(tx, params, state, grads, like=None):
    step = gx.make_update_step(tx, like=like)
    for t in range(3):
        params, state = step(params, state, jax.tree.map(lambda g, t=t: g[t], grads))
    assert like is None or step._cache_size() == 1
    return params, state


@every_optimizer
@every_mode
@pytest.mark.parametrize("zero_axis", [None, "data"])
def test_shardings_bytes_and_three_steps(tx, kind, zero_axis):
    mesh, (params, grads) = mesh_of(kind), problem()
    own = jax.tree.map(jnp.array, params)
    expected = trained(tx, own, jax.jit(tx.init)(params), grads)
    params = placed(params, mesh)
    shardings = gx.state_sharding(tx, params, mesh, zero_axis)
    state = jax.jit(tx.init, out_shardings=shardings)(params)
    assert_placed(state, shardings)
    size = gx.state_bytes(tx, params, mesh, zero_axis)
    assert size.per_device == device_bytes(state)
    assert size.total == sum(x.nbytes for x in jax.tree.leaves(state))
    before = jax.tree.map(lambda p: p.sharding, params)
    grads = {
        name: jax.device_put(g, NamedSharding(mesh, P(None, *SPECS[name])))
        for name, g in grads.items()
    }
    params, state = trained(tx, params, state, grads, like=(params, state))
    assert_placed(params, before)
    assert_placed(state, shardings)
    assert_close(jax.device_get((params, state)), jax.device_get(expected), rtol=2e-5)


@every_mode
def test_where_the_pieces_are(kind):
    mesh, (params, _) = mesh_of(kind), problem()
    params = placed(params, mesh)
    shardings = gx.state_sharding(ADAMW, params, mesh, "data")
    adam = shardings[1][0].inner_state
    for name, x in params.items():
        for buffer in (adam.mu[name], adam.nu[name]):
            assert buffer.is_equivalent_to(NamedSharding(mesh, SPREAD[name]), x.ndim), name
    # 1/N, but for what is named; the rest is scalars.
    alone = gx.state_bytes(ADAMW, params, mesh)
    size = gx.state_bytes(ADAMW, params, mesh, "data")
    kept = 2 * 4 * (7 * 5 + 64 // 2)
    scalars = sum(n for path, n in size.whole.items() if "odd" not in path)
    assert size.per_device == (alone.per_device - kept - scalars) // 4 + kept + scalars
    assert {path for path, n in size.whole.items() if n > 8} == {
        "[1][0].inner_state.mu['odd']",
        "[1][0].inner_state.nu['odd']",
    }


def test_rows_and_columns_keep_the_axes_of_their_parameter():
    mesh, (params, _) = mesh_of(AxisType.Auto), problem()
    for tx, rows, columns in (
        (OPTIMIZERS["adafactor"], "v_row", "v_col"),
        (OPTIMIZERS["sm3"], 0, 1),
    ):
        shardings = gx.state_sharding(tx, placed(params, mesh), mesh, "data")
        moment = shardings[0].nu if rows == "v_row" else shardings[0].mu
        pick = getattr if isinstance(rows, str) else lambda x, i: x[i]
        assert pick(moment["kernel"], rows).spec == P("data")
        assert pick(moment["kernel"], columns).spec == P("model")


def test_boxes_and_absent_leaves():
    mesh = mesh_of(AxisType.Auto)
    model = nnx.Linear(64, 32, rngs=nnx.Rngs(0))
    state = nnx.state(model, nnx.Param)
    for tx in (gx.adam(0.1), gx.adafactor(0.1, min_dim_size_to_factor=16)):
        shardings = gx.state_sharding(tx, state, mesh, "data")
        assert_placed(jax.jit(tx.init, out_shardings=shardings)(state), shardings)
        specs = [place.spec for place in jax.tree.leaves(shardings)]
        assert P("data", None) in specs or P("data") in specs
    params = {"a": None, "b": normal((64, 32)), "c": {}}
    shardings = gx.state_sharding(gx.adam(0.1), params, mesh, "data")
    assert_placed(jax.jit(gx.adam(0.1).init, out_shardings=shardings)(params), shardings)


def test_buffers_that_init_makes_from_nothing_follow_by_path():
    def init(params):
        return {"seen": jax.tree.map(lambda p: jnp.zeros(p.shape), params), "n": jnp.zeros(())}

    tx = optax.GradientTransformation(init, lambda u, s, p=None: (u, s))
    mesh = mesh_of(AxisType.Explicit)
    params = placed(problem()[0], mesh)
    assert gx.state_sharding(tx, params, mesh, "data")["seen"]["kernel"].spec == P("data", "model")


def test_planning_needs_no_devices():
    mesh = AbstractMesh((1024,), ("data",))
    params = {"w": jax.ShapeDtypeStruct((8192, 28672), jnp.bfloat16)}
    size = gx.state_bytes(gx.adam(1e-3), params, mesh, "data")
    assert size.total - 8 * 8192 * 28672 < 100
    assert size.per_device - 8 * 8 * 28672 < 100


# What is refused


def refused(match, call, error=ValueError):
    with pytest.raises(error, match=match):
        call()


def test_bad_input_is_named():
    mesh = mesh_of(AxisType.Auto)
    params = placed(problem()[0], mesh)
    tx = gx.adam(0.1)

    def abstract(shape, spec):
        return {"w": jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))}

    for function in (gx.state_sharding, gx.state_bytes):
        refused(
            "`zero_axis` names the mesh axis 'dat', .* Did you mean `data`",
            lambda f=function: f(tx, params, mesh, "dat"),
        )
    other = jax.make_mesh((8,), ("x",))
    refused("sharding of parameter `bias` .*'model'", lambda: gx.state_sharding(tx, params, other))
    refused(
        r"`w` is the largest, and it has shape \(5, 333\), and 4 devices divide none of its axes",
        lambda: gx.state_sharding(tx, {"w": jnp.ones((5, 333))}, mesh, "data"),
    )
    refused(
        "would split nothing: parameter `w` is the largest, and it has fewer than 1,024",
        lambda: gx.state_sharding(tx, {"w": jnp.ones((4, 4)), "v": jnp.ones(2)}, mesh, "data"),
    )
    refused(
        r"parameter `w` has shape \(5, 3\).* cannot be split into 8 equal pieces",
        lambda: gx.state_sharding(tx, abstract((5, 3), P(("data", "model"))), mesh),
    )
    refused(
        r"zero_axis=\('data', 'model'\)` would split nothing: parameter `w` .* fewer than 1,024",
        lambda: gx.state_sharding(tx, abstract((4, 4), P("model")), mesh, ("data", "model")),
    )
    refused(
        r"must name each mesh axis once; got \('data', 'data'\)",
        lambda: gx.state_sharding(tx, abstract((64, 64), P()), mesh, ("data", "data")),
    )
    refused("`mesh` must be a mesh", lambda: gx.state_sharding(tx, params, "data"))
    refused("Call the factory", lambda: gx.state_sharding(gx.adam, params, mesh), TypeError)


def test_a_state_of_another_tree_is_named():
    mesh = mesh_of(AxisType.Auto)
    params, grads = problem()
    params, tx = placed(params, mesh), gx.adam(0.1)
    grads = jax.tree.map(lambda g: g[0], grads)
    shardings = gx.state_sharding(tx, params, mesh, "data")
    smaller = {name: p for name, p in params.items() if name != "odd"}
    refused(
        r"mu\['odd'\]` is in one of them only",
        lambda: gx.TrainState.create(tx, smaller, sharding=shardings),
    )
    step = gx.make_update_step(tx, like=(params, tx.init(params)))
    refused(
        r"`\[0\]\['odd'\]` is missing in what the step was given and of shape \(7, 5\) in `like`",
        lambda: step(smaller, tx.init(smaller), grads),
    )
    refused("must be the pair", lambda: gx.make_update_step(tx, like=params), TypeError)
    refused("must be a `TrainState`", lambda: gx.make_train_step(sum, tx, like=params), TypeError)
