"""Adafactor and SM3: what their few numbers stand for, and their shapes in Flax's boxes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from problems import assert_close, assert_equal, follow, gradients, normal
from steps import distance, first, inputs, updates_of

import gradxform as gx

FACTORED = gx.scale_by_factored_rms(min_dim_size_to_factor=2)


def shapes(tree):
    return [x.shape for x in jax.tree.leaves(tree)]


# Sizes


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        ((6, 4), [(6,), (4,)]),
        ((4, 6), [(4,), (6,)]),
        ((5, 5), [(5,), (5,)]),
        ((3, 2, 7, 5), [(3, 2, 7), (3, 2, 5)]),
        ((5, 2, 3, 7), [(5, 2, 3), (2, 3, 7)]),
        ((9, 1), [(9, 1)]),
        ((9,), [(9,)]),
        ((), [()]),
        ((0, 3, 4), [(0, 3), (0, 4)]),
        ((0, 3), [(0, 3)]),
    ],
)
def test_the_two_longest_axes_are_factored(shape, kept):
    params = normal(shape)
    moments = FACTORED.init(params).nu
    assert shapes(moments) == kept
    follow(FACTORED, params, gradients(params))
    small = gx.scale_by_factored_rms(min_dim_size_to_factor=8).init(params)
    assert shapes(small.nu) == [shape]


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 5), (7,), (0, 3)])
def test_sm3_keeps_a_vector_for_each_axis(shape):
    assert shapes(gx.scale_by_sm3().init(normal(shape)).mu) == [(n,) for n in shape]


def test_a_number_keeps_its_own_sum():
    tx = gx.scale_by_sm3()
    state = tx.init(jnp.float32(1.0))
    assert shapes(state.mu) == [()]
    for g, total in ((3.0, 9.0), (-4.0, 25.0), (0.0, 25.0)):
        update, state = tx.update(jnp.float32(g), state)
        assert float(update) == pytest.approx(g / np.sqrt(total))


@pytest.mark.parametrize(
    ("tx", "bytes_a_parameter"),
    [
        (gx.adafactor(), 4 * (1000 + 4000) / (1000 * 4000)),
        (gx.adafactor(momentum=0.9), 4 + 4 * 5000 / 4e6),
        (gx.adafactor(state_dtype="bfloat16"), 2 * 5000 / 4e6),
        (gx.sm3(0.1, momentum=None), 4 * 5000 / 4e6),
    ],
    ids=repr,
)
def test_the_state_is_small(tx, bytes_a_parameter):
    params = jax.ShapeDtypeStruct((1000, 4000), jnp.float32)
    state = jax.eval_shape(tx.init, params)
    total = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    assert total / params.size == pytest.approx(bytes_a_parameter, abs=1e-5)


# Adafactor


def test_rows_and_columns_are_enough_for_squares_that_are_a_product():
    """Then V is g² itself, and the first update is the sign."""
    signs = np.sign(normal((6, 4)))
    g = signs * np.geomspace(1e-3, 1e3, 6)[:, None] * np.geomspace(0.1, 10, 4)[None, :]
    np.testing.assert_allclose(first(FACTORED, jnp.asarray(g, "float32")), signs, rtol=1e-5)


def test_the_first_moments_are_those_of_the_first_gradient():
    """β_1 = 0: no pull towards the zero start, also where the decay has an offset."""
    g = normal((6, 4))
    for offset in (0, 3):
        tx = gx.scale_by_factored_rms(min_dim_size_to_factor=2, decay_offset=offset, eps=0.0)
        _, state = tx.update(g, tx.init(g))
        np.testing.assert_allclose(state.nu.v_row, np.mean(np.square(g), 1), rtol=1e-6)
        np.testing.assert_allclose(state.nu.v_col, np.mean(np.square(g), 0), rtol=1e-6)


def test_many_steps_lose_no_digits():
    """1 - β is a millionth here, which has two digits left in a β of float32."""
    tx = gx.scale_by_factored_rms(decay_rate=1.0, eps=0.0)
    state = tx.init(jnp.zeros(2))
    state = state._replace(count=jnp.int32(1_000_000), nu=jnp.asarray([1e6, 1.0]))
    expected = 1.0
    for t in range(50):
        _, state = tx.update(jnp.asarray([1e3, 1e3]), state)
        expected += (1e6 - expected) / (1_000_001 + t)
    np.testing.assert_allclose(state.nu, [1e6, expected], rtol=1e-5)
    assert expected > 40


def test_a_step_is_at_most_the_relative_rate():
    """The root-mean-square of each array's step is at most α max_rms, α = ρ max(ε2, RMS(w))."""
    for g, w in zip(*inputs(), strict=True):
        for rate, min_scale, max_rms in ((None, 1e-3, 1.0), (0.3, 0.6, 0.5)):
            tx = gx.adafactor(rate, min_scale=min_scale, max_rms=max_rms, min_dim_size_to_factor=2)
            for k, u in first(tx, g, w).items():
                scale = max(min_scale, np.sqrt(np.mean(np.square(w[k]))))
                bound = (rate or 0.01) * scale * max_rms
                assert np.sqrt(np.mean(np.square(u))) <= bound * (1 + 1e-5)


def test_the_relative_step_is_read_like_a_learning_rate():
    tx = gx.adafactor()
    g = w = jnp.ones(3)
    state, rates = tx.init(w), []
    for _ in range(3):
        _, state = tx.update(g, state, w)
        rates.append(float(gx.hyperparams(state)["learning_rate"]))
    assert rates == [np.float32(0.01)] * 3
    far = jax.tree.map(lambda x: jnp.full_like(x, 39_999) if x.dtype == jnp.int32 else x, state)
    _, far = tx.update(g, far, w)
    assert float(gx.hyperparams(far)["learning_rate"]) == pytest.approx(1 / 200)


def test_links_that_are_none_are_left_out():
    plain = gx.adafactor(0.1, max_rms=None, min_scale=None)
    parts = [part.recipe.name for part in plain.parts]
    assert parts == [
        "scale_by_factored_rms",
        "add_decoupled_weight_decay",
        "scale_by_learning_rate",
    ]


# SM3


def test_sm3_is_adagrad_for_vectors():
    adagrad = gx.scale_by_rss(eps=0.0)
    ours, theirs = (updates_of(tx, *inputs()) for tx in (gx.scale_by_sm3(), adagrad))
    vectors = [[{k: u[k] for k in ("bias", "temperature")} for u in x] for x in (ours, theirs)]
    assert distance(*vectors) <= 1e-6


def test_sm3_takes_no_longer_steps_than_adagrad():
    params = {"w": normal((6, 4)), "conv": normal((3, 2, 5))}
    grads = gradients(params, steps=20)
    ours, theirs = (
        follow(tx, params, grads)[0] for tx in (gx.scale_by_sm3(), gx.scale_by_rss(eps=0.0))
    )
    for u, v in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert np.all(np.abs(u) <= np.abs(v) * (1 + 1e-6))
        assert np.mean(np.abs(u) < 0.9 * np.abs(v)) > 0.2


def test_sm3_bounds_each_sum_by_its_slices():
    """The sum of squares of any coordinate is at most the μ of each slice that it is in."""
    params = normal((6, 4))
    grads = gradients(params, steps=8)
    rows, columns = follow(gx.scale_by_sm3(), params, grads)[2].mu
    sums = np.sum(np.square(grads), axis=0)
    assert np.all(np.max(sums, 1) <= rows * (1 + 1e-6))
    assert np.all(np.max(sums, 0) <= columns * (1 + 1e-6))


# Boxes and shards

OPTIMIZERS = [gx.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9), gx.sm3(0.1)]


@pytest.mark.parametrize("tx", OPTIMIZERS, ids=repr)
def test_linens_boxes_change_no_number(tx):
    bare = {"w": normal((6, 4)), "b": normal((4,))}
    names = {"w": ("x", None), "b": (None,)}

    def boxed(tree):
        return {k: nn.Partitioned(x, names=names[k]) for k, x in tree.items()}

    params, state, expected = boxed(bare), tx.init(boxed(bare)), tx.init(bare)
    grads = gradients(bare)
    for t in range(3):
        g = jax.tree.map(lambda x, t=t: jnp.asarray(x[t]), grads)
        updates, after = tx.update(boxed(g), state, params)
        wanted, expected = tx.update(g, expected, bare)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        assert_equal(jax.tree.leaves(updates), jax.tree.leaves(wanted))
        state = after
    specs = nn.get_partition_spec(state)
    is_spec = {"is_leaf": lambda x: isinstance(x, PartitionSpec)}
    for leaf, spec in zip(jax.tree.leaves(state), jax.tree.leaves(specs, **is_spec), strict=True):
        assert len(spec) <= leaf.ndim


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=lambda kind: kind.name)
@pytest.mark.parametrize("tx", OPTIMIZERS, ids=repr)
def test_nnxs_optimizer_trains_a_sharded_net(tx, kind):
    class Net(nnx.Module):
        def __init__(self):
            spread = nnx.with_partitioning(nnx.initializers.lecun_normal(), (None, "x"))
            self.a = nnx.Linear(4, 8, kernel_init=spread, rngs=nnx.Rngs(0))

    x = normal((5, 4))

    @nnx.jit
    def train(net, optimizer):
        grads = nnx.grad(lambda net: jnp.sum(net.a(x) ** 2))(net)
        optimizer.update(net, grads)
        return grads

    with jax.set_mesh(jax.make_mesh((8,), ("x",), axis_types=(kind,))):
        net = Net()
        optimizer = nnx.Optimizer(net, tx, wrt=nnx.Param)
        start = nnx.to_pure_dict(nnx.state(net, nnx.Param))
        state, params = tx.init(start), start
        for _ in range(3):
            grads = nnx.to_pure_dict(train(net, optimizer))
            updates, state = tx.update(grads, state, params)
            params = gx.apply_updates(params, updates)
        assert_close(nnx.to_pure_dict(nnx.state(net, nnx.Param)), params)
        assert net.a.kernel.get_value().sharding.spec == PartitionSpec(None, "x")


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=lambda kind: kind.name)
@pytest.mark.parametrize("jit", [jax.jit, lambda f: f], ids=["jit", "eager"])
@pytest.mark.parametrize("tx", [FACTORED, gx.scale_by_sm3()], ids=repr)
def test_rows_and_columns_are_spread_as_the_parameter_is(tx, jit, kind):
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind, kind))
    params = jax.device_put(normal((16, 8)), NamedSharding(mesh, PartitionSpec("x", "y")))
    state = jit(tx.init)(params)
    _, after = jax.jit(tx.update)(params, state, params)
    for tree in (state, after):
        rows, columns = (x for x in jax.tree.leaves(tree) if x.ndim)
        assert (rows.shape, rows.sharding.spec) == ((16,), PartitionSpec("x"))
        assert (columns.shape, columns.sharding.spec) == ((8,), PartitionSpec("y"))
