"""The whole training step: what it computes, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import assert_close

import gradxform as gx

X = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
Y = np.sin(X.sum(axis=1, keepdims=True))
PARAMS = {"w": np.full((4, 1), 0.1, np.float32), "b": np.zeros((1, 1), np.float32)}


def squares(predicted, y):
    return jnp.mean((predicted - y) ** 2)


def loss_fn(params, batch):
    x, y = batch
    return squares(x @ params["w"] + params["b"], y)


def by_hand(tx, steps, params=PARAMS, loss_fn=loss_fn):
    state = tx.init(params)
    for _ in range(steps):
        loss, grads = jax.value_and_grad(loss_fn)(params, (X, Y))
        updates, state = tx.update(grads, state, params, value=loss)
        params = optax.apply_updates(params, updates)
    return params, loss


def trained(step, state, steps=3, batch=(X, Y)):
    for _ in range(steps):
        state, metrics = step(state, batch)
    return state, metrics


@pytest.mark.parametrize("accumulate", [1, 4])
def test_it_is_the_loop_by_hand(accumulate):
    tx = gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(gx.cosine_decay(0.1, 10)))
    step = gx.make_train_step(loss_fn, tx, accumulate=accumulate)
    state, metrics = trained(step, gx.TrainState.create(tx, PARAMS))
    params, loss = by_hand(tx, 3)
    assert_close(state.params, params, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["learning_rate"], gx.cosine_decay(0.1, 10)(2), rtol=1e-6)
    assert int(state.step) == 3
    assert step._cache_size() == 1


def test_what_was_passed_in_is_still_there():
    tx = gx.adam(0.1)
    params = jax.tree.map(jnp.asarray, PARAMS)
    tied = {"w": params["w"], "again": params["w"], "b": params["b"]}
    step = gx.make_train_step(loss_fn, tx)
    state = gx.TrainState.create(tx, tied)
    trained(step, state)
    assert_close(params, PARAMS, rtol=0)
    buffers = [x for x in jax.tree.leaves(state) if x.size > 1]
    assert len(buffers) == 6
    assert all(x.is_deleted() for x in buffers)  # donated


OPTIMIZERS = {
    "sophia": gx.sophia(0.1, interval=2),
    "polyak_sgd": gx.polyak_sgd(learning_rate=1.0, max_step_size=0.1),
    "plateau": gx.sgd(gx.reduce_on_plateau(0.1, patience=1)),
    "sam": gx.sam(gx.sgd(0.1)),
    "optax.lbfgs": gx.chain(optax.lbfgs()),
    "polyak inside of groups": gx.partition(
        {"w": (gx.select.path("w"), gx.polyak_sgd(learning_rate=1.0, max_step_size=0.5))},
        default=gx.sgd(0.1),
    ),
}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_what_an_update_asks_for_is_there(tx, accumulate):
    step = gx.make_train_step(loss_fn, tx, accumulate=accumulate)
    state = gx.TrainState.create(tx, PARAMS)
    _, before = step(gx.TrainState.create(tx, PARAMS), (X, Y))
    _, after = trained(step, state, steps=8)
    assert after["loss"] < before["loss"]


def test_a_loss_is_scaled_where_the_optimizer_has_a_scale():
    def small(params, batch):
        return 1e-7 * loss_fn(params, batch).astype(jnp.float16)

    params = jax.tree.map(lambda p: p.astype(np.float16), PARAMS)
    tx = gx.dynamic_loss_scale(gx.master_weights(gx.adam(0.01)))
    state, metrics = trained(gx.make_train_step(small, tx), gx.TrainState.create(tx, params))
    assert 0 < metrics["loss"] < 1e-6
    assert np.any(state.params["w"] != params["w"])


def test_extra_arguments_take_the_place_of_the_steps_own():
    tx = gx.sgd(gx.reduce_on_plateau(0.1, factor=0.5, patience=0))
    step = gx.make_train_step(loss_fn, tx)
    state = gx.TrainState.create(tx, PARAMS)
    for value in (1.0, 2.0, 3.0):
        state, metrics = step(state, (X, Y), value=value)
    np.testing.assert_allclose(metrics["learning_rate"], 0.025, rtol=1e-6)


def test_aux_is_returned_and_averaged_over_micro_batches():
    def with_aux(params, batch):
        x, _ = batch
        loss = loss_fn(params, batch)
        return loss, {"loss": loss, "rows": x, "count": jnp.int32(x.shape[0])}

    tx = gx.sgd(0.0)
    state = gx.TrainState.create(tx, PARAMS)
    _, whole = gx.make_train_step(with_aux, tx, has_aux=True)(state, (X, Y))
    assert whole["aux"]["rows"].shape == (16, 4)
    state = gx.TrainState.create(tx, PARAMS)
    _, parts = gx.make_train_step(with_aux, tx, has_aux=True, accumulate=4)(state, (X, Y))
    np.testing.assert_allclose(parts["aux"]["loss"], whole["loss"], rtol=1e-5)
    assert parts["aux"]["rows"].shape == (4, 4, 4)
    assert parts["aux"]["count"].tolist() == [4, 4, 4, 4]


def test_each_step_and_micro_batch_has_a_key_of_its_own():
    def loss_fn(params, batch, key):
        return 0.0 * jnp.sum(params["w"]), jax.random.uniform(key, (2,))

    tx = gx.sgd(0.1)
    seen = []
    for accumulate in (1, 4):
        step = gx.make_train_step(loss_fn, tx, has_aux=True, accumulate=accumulate)
        state = gx.TrainState.create(tx, PARAMS, key=jax.random.key(0))
        for _ in range(3):
            state, metrics = step(state, (X, Y))
            seen.append(np.asarray(metrics["aux"]).reshape(-1, 2))
    drawn = [tuple(row) for rows in seen for row in rows]
    assert len(set(drawn)) >= 15 - 3  # the first micro-batches may share theirs with whole batches


def test_bad_input_says_what_is_wrong():
    tx = gx.sgd(0.1)

    def vector(params, batch):
        return jnp.ones(3) * jnp.sum(params["w"])

    def stateful(params, batch, model_state):
        return loss_fn(params, batch)

    for function, options, create, message in (
        (
            vector,
            {},
            {},
            r"`make_train_step.*must return a real scalar.*float32\[3\].*Take the mean",
        ),
        (stateful, {}, {}, "`loss_fn` takes `model_state`, and the state has none"),
        (stateful, {}, {"model_state": {"a": np.ones(2)}}, r"must return `\(loss, model_state\)`"),
        (loss_fn, {"has_aux": True}, {}, r"must return `\(loss, aux\)`"),
        (loss_fn, {}, {"key": jax.random.key(0)}, "has a `key` that `loss_fn` does not take"),
        (loss_fn, {"accumulate": 3}, {}, "16 examples.*cannot be cut into 3"),
    ):
        step = gx.make_train_step(function, tx, **options)
        with pytest.raises(ValueError, match=message):
            step(gx.TrainState.create(tx, PARAMS, **create), (X, Y))
    with pytest.raises(ValueError, match="`accumulate` must be a whole number of at least 1"):
        gx.make_train_step(loss_fn, tx, accumulate=0)
    with pytest.raises(TypeError, match="`tx` must be a gradient transformation"):
        gx.make_train_step(loss_fn, gx.sgd)
    with pytest.raises(TypeError, match="`loss_fn` must be a function"):
        gx.make_train_step(tx, loss_fn and tx)
    with pytest.raises(TypeError, match="`tx` must be a gradient transformation"):
        gx.TrainState.create(gx.sgd, PARAMS)


def test_the_update_step_is_the_update():
    tx = gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1))
    step = gx.make_update_step(tx)
    params, state = jax.tree.map(jnp.array, PARAMS), tx.init(PARAMS)
    for _ in range(3):
        params, state = step(params, state, jax.grad(loss_fn)(params, (X, Y)))
    assert_close(params, by_hand(tx, 3)[0], rtol=1e-5)
    assert step._cache_size() == 1
    theirs = gx.make_update_step(optax.adam(0.1))
    params, state = jax.tree.map(jnp.array, PARAMS), optax.adam(0.1).init(PARAMS)
    assert jax.tree.leaves(theirs(params, state, PARAMS)[0])


def test_moments_of_optax_keep_their_dtype():
    """16-bit parameters with wider gradients: Optax's moments would become float32."""
    tx, params = optax.adamw(0.1), jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), PARAMS)
    step = gx.make_train_step(loss_fn, tx)
    state, _ = trained(step, gx.TrainState.create(tx, params))
    update_step = gx.make_update_step(tx)
    params, opt_state = state.params, state.opt_state
    for _ in range(2):
        grads = jax.tree.map(lambda p: jnp.ones(p.shape), params)
        params, opt_state = update_step(params, opt_state, grads)
    for each in (state.opt_state, opt_state):
        assert {x.dtype.name for x in jax.tree.leaves((each[0].mu, each[0].nu))} == {"bfloat16"}
    assert step._cache_size() == update_step._cache_size() == 1
