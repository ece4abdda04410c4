"""`accumulated_value_and_grad`: what the large batch gives, from micro-batches in one step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import assert_close, assert_equal

import gradxform as gx

RNG = np.random.default_rng(0)
BATCH = {
    "x": RNG.normal(size=(24, 5)).astype("float32"),
    "y": RNG.normal(size=(24, 3)).astype("float32"),
    "absent": None,
}
PARAMS = {"w": jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32), "b": jnp.zeros((1, 3))}


def loss_fn(params, batch):
    return jnp.mean((jnp.tanh(batch["x"] @ params["w"] + params["b"]) - batch["y"]) ** 2)


def sum_fn(params, batch):
    return loss_fn(params, batch) * batch["y"].size


@pytest.mark.parametrize("k", [1, 2, 3, 24])
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_it_is_the_large_batch(k, jit):
    ours = gx.accumulated_value_and_grad(loss_fn, k)
    found = (jax.jit(ours) if jit else ours)(PARAMS, BATCH)
    expected = jax.value_and_grad(loss_fn)(PARAMS, BATCH)
    (assert_equal if k == 1 and not jit else assert_close)(found, expected)
    total = gx.accumulated_value_and_grad(sum_fn, k, reduction="sum")(PARAMS, BATCH)
    assert_close(total, jax.value_and_grad(sum_fn)(PARAMS, BATCH))


def test_an_optimizer_sees_the_large_batch_once_a_step():
    tx = gx.chain(
        gx.clip_by_global_norm(0.1), gx.adamw(gx.linear_schedule(0.1, 0.0, 9), weight_decay=0.1)
    )

    def run(value_and_grad):
        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def step(params, state):
            _, grads = value_and_grad(params, BATCH)
            updates, state = tx.update(grads, state, params)
            return gx.apply_updates(params, updates), state

        params = jax.tree.map(jnp.copy, PARAMS)
        state = tx.init(params)
        for _ in range(4):
            params, state = step(params, state)
        return params, state

    assert_close(
        run(gx.accumulated_value_and_grad(loss_fn, 4)), run(jax.value_and_grad(loss_fn)), rtol=1e-4
    )


@pytest.mark.parametrize("k", [1, 4])
def test_sixteen_bits_are_summed_in_float32(k):
    params = jax.tree.map(lambda p: p.astype("bfloat16"), PARAMS)
    value, grads = gx.accumulated_value_and_grad(loss_fn, k)(params, BATCH)
    parts = [
        jax.grad(loss_fn)(params, jax.tree.map(lambda x, i=i: x[i::k], BATCH)) for i in range(k)
    ]
    mean = jax.tree.map(lambda *g: sum(np.asarray(x, "float64") for x in g) / k, *parts)
    assert {str(g.dtype) for g in jax.tree.leaves((value, grads))} == {"float32"}
    assert_close(grads, mean, rtol=1e-6)


def test_memory_is_that_of_a_micro_batch():
    def deep(params, batch):
        x = batch
        for _ in range(8):
            x = jnp.tanh(x @ params)
        return jnp.mean(x)

    def temporary(k):
        step = jax.jit(gx.accumulated_value_and_grad(deep, k))
        return step.lower(jnp.ones((32, 32)), jnp.ones((4096, 32))).compile().memory_analysis()

    assert temporary(8).temp_size_in_bytes < temporary(1).temp_size_in_bytes / 4


# The other arguments


def test_several_parameters_batches_and_constants():
    def loss(x, w, y, b, *, power):
        return jnp.mean(jnp.abs(x @ w + b - y) ** power)

    args = BATCH["x"], PARAMS["w"], BATCH["y"], PARAMS["b"]
    ours = gx.accumulated_value_and_grad(loss, 4, argnums=(1, 3), batch_argnums=(0, 2))
    expected = jax.value_and_grad(loss, argnums=(1, 3))(*args, power=3)
    assert_close(ours(*args, power=3), expected)


def test_each_micro_batch_has_a_key_of_its_own():
    def loss(params, batch, keys):
        return jnp.mean(batch) * params, jax.random.uniform(keys["dropout"])

    key = jax.random.key(3)
    for keys in ({"dropout": key}, {"dropout": jax.random.key_data(key)}):
        ours = gx.accumulated_value_and_grad(
            loss, 4, key_argnums=2, has_aux=True, aux_reduction="stack"
        )
        (_, drawn), _ = ours(1.0, jnp.ones(8), keys)
        expected = [jax.random.uniform(jax.random.fold_in(keys["dropout"], i)) for i in range(4)]
        np.testing.assert_array_equal(drawn, expected)
        assert len(set(np.asarray(drawn))) == 4


# What else the loss function returns


def with_aux(params, batch):
    predicted = jnp.tanh(batch["x"] @ params["w"] + params["b"])
    errors = predicted - batch["y"]
    aux = {
        "error": jnp.mean(errors),
        "large": jnp.sum(jnp.abs(errors) > 1.0),
        "predicted": predicted,
        "part": jnp.mean(errors, axis=0),
    }
    return jnp.mean(errors**2), aux


def test_aux_is_what_the_large_batch_gives():
    words = {"error": "mean", "large": "sum", "predicted": "concatenate", "part": "mean"}
    ours = gx.accumulated_value_and_grad(with_aux, 4, has_aux=True, aux_reduction=words)
    expected = jax.value_and_grad(with_aux, has_aux=True)(PARAMS, BATCH)
    found = ours(PARAMS, BATCH)
    assert_close(found, expected)
    assert found[0][1]["large"].dtype == jnp.int32


def test_aux_of_micro_batches():
    ours = gx.accumulated_value_and_grad(with_aux, 4, has_aux=True, aux_reduction="stack")
    (_, aux), _ = ours(PARAMS, BATCH)
    assert aux["predicted"].shape == (4, 6, 3)
    parts = [jax.tree.map(lambda x, i=i: x[i::4], BATCH) for i in range(4)]
    assert_close(aux["error"], np.stack([with_aux(PARAMS, part)[1]["error"] for part in parts]))


# Weights

MASK = np.ones(24, "float32")
MASK[[1, 5, 9, 13, 17, 21]] = 0.0  # all of the second of 4 micro-batches
MASK[[0, 3, 4]] = 0.0


def masked_loss(params, batch, mask):
    errors = jnp.mean((jnp.tanh(batch["x"] @ params["w"]) - batch["y"]) ** 2, axis=1)
    # 0 / 0 where nothing counts. The weight depends on the parameters, and has no gradient.
    count = jnp.sum(mask) * (1.0 + 0.0 * params["w"][0, 0])
    return jnp.sum(errors * mask) / jnp.sum(mask), count


def only_loss(params, batch, mask):
    return masked_loss(params, batch, mask)[0]


@pytest.mark.parametrize("k", [1, 2, 4, 12])
def test_means_over_unequal_numbers_are_weighted(k):
    ours = gx.accumulated_value_and_grad(masked_loss, k, batch_argnums=(1, 2), weighted=True)
    found = jax.jit(ours)(PARAMS, BATCH, MASK)
    assert_close(found, jax.value_and_grad(only_loss)(PARAMS, BATCH, MASK))
    assert_equal(ours(PARAMS, BATCH, 0 * MASK), (0.0, jax.tree.map(jnp.zeros_like, PARAMS)))


@pytest.mark.parametrize("k", [1, 4])
def test_a_weighted_sum(k):
    """Means over unequal numbers, put back to the sum over the examples."""
    ours = gx.accumulated_value_and_grad(
        masked_loss, k, batch_argnums=(1, 2), weighted=True, reduction="sum"
    )

    def total(params, batch, mask):
        return only_loss(params, batch, mask) * jnp.sum(mask)

    assert_close(ours(PARAMS, BATCH, MASK), jax.value_and_grad(total)(PARAMS, BATCH, MASK))


def test_weights_are_those_of_the_aux_too():
    def loss(params, batch, mask):
        value, count = masked_loss(params, batch, mask)
        return (value, count), {"loss": value, "count": count}

    ours = gx.accumulated_value_and_grad(
        loss,
        4,
        batch_argnums=(1, 2),
        weighted=True,
        has_aux=True,
        aux_reduction={"loss": "mean", "count": "sum"},
    )
    (value, aux), _ = ours(PARAMS, BATCH, MASK)
    assert_close(aux, {"loss": value, "count": np.sum(MASK)})
