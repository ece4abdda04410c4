"""Extra arguments in Flax's `TrainState`: what watches the loss works where Flax passes none."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import gradxform as gx

X = jax.random.normal(jax.random.key(0), (16, 3))
Y = X @ jnp.array([[1.0], [-2.0], [0.5]])
MODEL = nn.Dense(1)


def loss_fn(params):
    return jnp.mean((MODEL.apply({"params": params}, X) - Y) ** 2)


def created(tx, cls=TrainState, **fields):
    params = MODEL.init(jax.random.key(1), X)["params"]
    return cls.create(apply_fn=MODEL.apply, params=params, tx=tx, **fields)


@functools.partial(jax.jit, static_argnames="names")
def train(state, names=("value",)):
    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    known = {"value": loss, "grad": grads, "value_fn": loss_fn, "grad_fn": jax.grad(loss_fn)}
    return gx.apply_gradients(state, grads, **{name: known[name] for name in names}), loss


def test_without_extra_arguments_it_is_flaxs_own():
    state = created(gx.adamw(0.1))
    grads = jax.grad(loss_fn)(state.params)
    theirs, ours = state.apply_gradients(grads=grads), gx.apply_gradients(state, grads=grads)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)  # the optimizer as well
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_plateau_in_a_jitted_step_that_is_traced_once():
    state = created(gx.sgd(gx.reduce_on_plateau(1e-8, factor=0.5, patience=0, rtol=0.1)))
    train.clear_cache()
    for _ in range(4):
        state, _ = train(state)
    assert gx.hyperparams(state)["learning_rate"] == pytest.approx(1e-8 / 8)
    assert int(state.step) == 4
    assert train._cache_size() <= 2  # Flax starts with step=0, a Python int


OPTIMIZERS = {
    "momo": (gx.momo(1.0), ("value",)),
    "polyak": (gx.polyak_sgd(learning_rate=1.0), ("value",)),
    "spikes": (gx.skip_spikes(gx.sgd(0.1), watch="loss"), ("value",)),
    "sam": (gx.sam(gx.sgd(0.1), rho=0.01), ("grad_fn",)),
    "optax's own": (optax.polyak_sgd(max_learning_rate=1.0), ("value",)),
    "optax's line search": (
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(5)),
        ("value", "grad", "value_fn"),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_flaxs_method_cannot_serve_learns(name):
    tx, names = OPTIMIZERS[name]
    state = created(tx)
    grads = jax.grad(loss_fn)(state.params)
    with pytest.raises(TypeError):
        state.apply_gradients(grads=grads)
    state, first = train(state, names)
    for _ in range(30):
        state, loss = train(state, names)
    assert loss < 0.05 * first
    assert state.tx is tx


def test_the_method_of_flax_is_told_of_as_the_way_out():
    state = created(gx.adam(gx.reduce_on_plateau(0.1)))
    with pytest.raises(TypeError, match=r"`apply_gradients\(state, grads, value=\.\.\.\)`"):
        state.apply_gradients(grads=state.params)


class WithStatistics(TrainState):
    batch_stats: dict
    calls: int = 0

    def apply_gradients(self, *, grads, **kwargs):
        return super().apply_gradients(grads=grads, calls=self.calls + 1, **kwargs)


def test_fields_of_a_subclass_are_replaced_and_its_own_method_is_called():
    tx = gx.sgd(gx.reduce_on_plateau(0.1))
    state = created(tx, WithStatistics, batch_stats={"mean": 0.0})
    after = gx.apply_gradients(state, state.params, value=1.0, batch_stats={"mean": 2.0})
    assert type(after) is WithStatistics
    assert after.batch_stats == {"mean": 2.0}
    assert after.calls == 1


def test_gradients_that_overwrite_their_parameters():
    """As Flax's fp8 layers have them, of which the optimizer knows nothing."""
    scales = {"scale": jnp.ones(2)}
    params = {"params": {"w": jnp.ones(3)}, "_overwrite_with_gradient": scales}
    tx = gx.sgd(gx.reduce_on_plateau(0.5))
    state = TrainState.create(apply_fn=None, params=params, tx=tx)
    state = gx.apply_gradients(state, jax.tree.map(lambda p: 3.0 * p, params), value=1.0)
    np.testing.assert_array_equal(state.params["params"]["w"], -0.5)
    np.testing.assert_array_equal(state.params["_overwrite_with_gradient"]["scale"], 3.0)


@pytest.mark.parametrize(
    "state",
    [
        gx.TrainState.create(gx.sgd(0.1), {"w": jnp.ones(3)}),
        nnx.Optimizer(nnx.Linear(2, 1, rngs=nnx.Rngs(0)), gx.sgd(0.1), wrt=nnx.Param),
        {"w": jnp.ones(3)},
    ],
    ids=["ours", "nnx.Optimizer", "parameters"],
)
def test_what_is_no_train_state_of_flaxs_is_refused(state):
    with pytest.raises(TypeError, match=r"`apply_gradients\(state, grads\)`: .*nnx\.Optimizer"):
        gx.apply_gradients(state, {"w": jnp.ones(3)})
