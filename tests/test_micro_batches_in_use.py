"""`accumulated_value_and_grad` in the frameworks, on several devices, and given bad input."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from problems import assert_close, assert_equal

import gradxform as gx

RNG = np.random.default_rng(0)
BATCH = {
    "x": RNG.normal(size=(24, 5)).astype("float32"),
    "y": RNG.normal(size=(24, 3)).astype("float32"),
}
PARAMS = {"w": jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32), "b": jnp.zeros((1, 3))}


def loss_fn(params, batch):
    return jnp.mean((jnp.tanh(batch["x"] @ params["w"] + params["b"]) - batch["y"]) ** 2)


def test_batch_statistics_and_dropout_of_linen():
    """The state goes from one micro-batch to the next, as in a loop by hand."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.BatchNorm(use_running_average=False, momentum=0.9)(nn.Dense(4)(x))
            return nn.Dense(3)(nn.Dropout(0.5, deterministic=False)(x))

    net, key = Net(), jax.random.key(0)
    variables = net.init({"params": key, "dropout": key}, BATCH["x"])
    params, stats = variables["params"], variables["batch_stats"]

    def loss(params, stats, batch, rngs):
        out, new = net.apply(
            {"params": params, "batch_stats": stats},
            batch["x"],
            rngs=rngs,
            mutable=["batch_stats"],
        )
        return jnp.mean((out - batch["y"]) ** 2), (new["batch_stats"], {"mean": jnp.mean(out)})

    ours = gx.accumulated_value_and_grad(
        loss, 3, has_aux=True, batch_argnums=2, state_argnum=1, key_argnums=3
    )
    (value, (after, aux)), grads = jax.jit(ours)(params, stats, BATCH, {"dropout": key})

    values, sums, means = [], [], []
    for i in range(3):
        part = jax.tree.map(lambda x, i=i: x[i::3], BATCH)
        rngs = {"dropout": jax.random.fold_in(key, i)}
        (v, (stats, a)), g = jax.value_and_grad(loss, has_aux=True)(params, stats, part, rngs)
        values.append(v)
        sums.append(g)
        means.append(a["mean"])
    assert_close(value, sum(values) / 3)
    assert_close(grads, jax.tree.map(lambda *g: sum(g) / 3, *sums))
    assert_close(after, stats)
    assert_close(aux, {"mean": sum(means) / 3})


def test_equinox_modules_with_functions_in_them():
    model = eqx.nn.MLP(5, 3, 8, 1, key=jax.random.key(0))

    def loss(model, batch):
        return jnp.mean((jax.vmap(model)(batch["x"]) - batch["y"]) ** 2)

    found = eqx.filter_jit(gx.accumulated_value_and_grad(loss, 4))(model, BATCH)
    expected = eqx.filter_value_and_grad(loss)(model, BATCH)
    assert_close(found, expected)
    assert found[1].activation is None


def test_nnx_states():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Linear(5, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            return self.b(jnp.tanh(self.a(x)))

    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, gx.adam(0.1), wrt=nnx.Param)

    def loss(params, batch, graph, rest):
        return jnp.mean((nnx.merge(graph, params, rest)(batch["x"]) - batch["y"]) ** 2)

    @nnx.jit
    def step(model, optimizer):
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        fun = functools.partial(loss, graph=graph, rest=rest)
        found = gx.accumulated_value_and_grad(fun, 4)(params, BATCH)
        expected = jax.value_and_grad(fun)(params, BATCH)
        optimizer.update(model, found[1])
        return found, expected

    found, expected = step(model, optimizer)
    assert_close(found, expected)
    assert int(optimizer.step[...]) == 1


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_a_batch_spread_over_devices_stays_where_it_is(kind):
    """Every micro-batch is spread over all of them: nothing but the sums is exchanged."""
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind,) * 2)
    place = lambda x, *spec: jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))  # noqa: E731
    batch = jax.tree.map(lambda x: place(x, "data"), BATCH)
    params = {"w": place(PARAMS["w"], None, None), "b": place(PARAMS["b"], None, None)}

    def loss(params, batch):
        return loss_fn(params, batch), batch["x"] * 2.0

    ours = gx.accumulated_value_and_grad(loss, 3, has_aux=True, aux_reduction="concatenate")
    with jax.set_mesh(mesh):
        program = jax.jit(ours).lower(params, batch).compile()
    (value, aux), grads = program(params, batch)
    expected = jax.value_and_grad(loss_fn)(PARAMS, BATCH)
    assert_close(jax.device_get((value, grads)), jax.device_get(expected))
    assert_equal(jax.device_get(aux), 2 * BATCH["x"])
    assert aux.sharding.is_equivalent_to(batch["x"].sharding, 2)
    for exchange in ("all-to-all", "all-gather", "collective-permute"):
        assert f" {exchange}(" not in program.as_text()


def test_data_parallel_in_shard_map():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def loss(params, batch):
        return jax.lax.pmean(loss_fn(params, batch), "data")

    sharded = jax.shard_map(
        gx.accumulated_value_and_grad(loss, 3),
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("data")),
        out_specs=PartitionSpec(),
    )
    expected = jax.value_and_grad(loss_fn)(PARAMS, BATCH)
    assert_close(jax.jit(sharded)(PARAMS, BATCH), expected)


# Bad input


def call(loss=loss_fn, k=4, params=PARAMS, batch=BATCH, *more, **options):
    return gx.accumulated_value_and_grad(loss, k, **options)(params, batch, *more)


def returning(out):
    return lambda params, batch: (jnp.sum(params["w"]), out(batch))


def with_state(change):
    return lambda params, batch, state: (loss_fn(params, batch), change(state))


REFUSED = {
    "no micro-batch": (lambda: call(k=0), "`micro_batches` must be a whole number of at least 1"),
    "no function": (
        lambda: gx.accumulated_value_and_grad(jnp.float32(1.0), 2),
        "`loss_fn` must be a function to the loss; got Array",
    ),
    "another reduction": (
        lambda: call(reduction="max"),
        "`reduction` must be one of 'mean', 'sum'",
    ),
    "a batch that does not divide": (
        lambda: call(k=5),
        r"^`accumulated_value_and_grad\(...\)`: leaf `x` of the batch has 24 examples "
        r"\(float32\[24, 5\]\), which cannot be cut into 5 micro-batches of equal size. Take one "
        r"of 1, 2, 3, 4, 6, 8, 12, 24 micro-batches, or drop or pad .*`weighted=True`",
    ),
    "another number of examples": (
        lambda: call(batch={**BATCH, "z": np.ones((12, 2))}),
        "leaf `z` of the batch has 12 examples and leaf `x` of the batch has 24: the first axis",
    ),
    "a scalar in the batch": (
        lambda: call(batch={**BATCH, "rate": 0.5}),
        "leaf `rate` of the batch is 0.5, which has no axis to cut.*into another argument",
    ),
    "one of two that does not divide": (
        lambda: call(lambda p, x, y: 0.0, 2, PARAMS, BATCH, np.ones(5, int), batch_argnums=(1, 2)),
        r"argument 2 has 5 examples \(int\d+\[5\]\), which .* Take one of 1, 5 micro-batches",
    ),
    "an empty batch": (lambda: call(batch={}), "the batch holds no arrays"),
    "a position twice": (lambda: call(batch_argnums=0), "one of parameters, batch, state and keys"),
    "a position from the end": (
        lambda: call(batch_argnums=-1),
        "`batch_argnums` must be the pos",
    ),
    "an argument by name": (
        lambda: gx.accumulated_value_and_grad(loss_fn, 4)(PARAMS, batch=BATCH),
        "here 1, and the call has 1 by position and `batch` by keyword",
    ),
    "no aux": (
        lambda: call(has_aux=True),
        r"`loss_fn` returns `\(loss, aux\)`; it returned ",
    ),
    "no weight": (lambda: call(weighted=True), r"`loss_fn` returns `\(loss, weight\)`"),
    "no state": (
        lambda: call(
            lambda p, b, s: (loss_fn(p, b), s), 4, PARAMS, BATCH, 1.0, state_argnum=2, has_aux=True
        ),
        r"`loss_fn` returns `\(state, aux\)` .*it returned",
    ),
    "weights of the examples": (
        lambda: call(lambda p, b: (loss_fn(p, b), jnp.ones(3)), weighted=True),
        r"weight that `loss_fn` returns must be one real number; got float32\[3\].*jnp.sum\(mask\)",
    ),
    "predictions in the aux": (
        lambda: call(returning(lambda b: {"predicted": b["x"]}), has_aux=True),
        r"leaf `predicted` of `aux` is float32\[6, 5\], and only real scalars are averaged unless "
        "`aux_reduction` says .*mean, sum, stack, concatenate",
    ),
    "the mean of a count": (
        lambda: call(returning(lambda b: jnp.sum(b["x"] > 0)), has_aux=True, aux_reduction="mean"),
        r"`aux` is int32\[\], and only floating arrays have a mean",
    ),
    "scalars in a row": (
        lambda: call(returning(lambda b: 1.0), has_aux=True, aux_reduction="concatenate"),
        "`aux` is a scalar and has no axis of examples",
    ),
    "another word": (
        lambda: call(returning(lambda b: 1.0), has_aux=True, aux_reduction="max"),
        "`aux_reduction` must be one of mean, sum, stack, concatenate, or .* got 'max'",
    ),
    "words of another tree": (
        lambda: call(returning(lambda b: {"a": 1.0}), has_aux=True, aux_reduction={"b": "sum"}),
        "`aux_reduction` must be a word, or a tree of words that fits `aux`",
    ),
    "a state that changes its type": (
        lambda: call(
            with_state(lambda s: {"mean": s["mean"][:1]}),
            4,
            PARAMS,
            BATCH,
            {"mean": jnp.ones(2)},
            state_argnum=2,
        ),
        r"leaf `mean` of the state is float32\[2\] and float32\[1\] in what `loss_fn` returns",
    ),
    "a state of another structure": (
        lambda: call(with_state(lambda s: [s]), 4, PARAMS, BATCH, 1.0, state_argnum=2),
        "the state that `loss_fn` returns must have the structure of the one that it got",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_named(name):
    build, message = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=message):
        build()
