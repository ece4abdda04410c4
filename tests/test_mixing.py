"""gradxform inside of optax and optax inside of gradxform; masks in every framework's trees."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from steps import distance, inputs, updates_of

import gradxform as gx

KERNELS = {"kernel": True, "bias": False, "temperature": False}
LABELS = {"kernel": "a", "bias": "b", "temperature": "b"}


def same(ours, theirs):
    a, b = (updates_of(tx, *inputs(), jit=False) for tx in (ours, theirs))
    assert distance(a, b) <= 2e-5


# Each pair is the same mathematics, with gradxform on the left only.
INSIDE_OPTAX = {
    "chain": (
        optax.chain(optax.clip_by_global_norm(0.7), gx.adamw(0.1, weight_decay=0.2)),
        optax.chain(optax.clip_by_global_norm(0.7), optax.adamw(0.1, weight_decay=0.2)),
    ),
    "named_chain": (
        optax.named_chain(("clip", gx.clip_by_value(0.5)), ("sgd", gx.sgd(0.1, 0.9))),
        optax.named_chain(("clip", optax.clip(0.5)), ("sgd", optax.sgd(0.1, 0.9))),
    ),
    "masked": (
        optax.masked(gx.adamw(0.1, weight_decay=0.2), KERNELS),
        optax.masked(optax.adamw(0.1, weight_decay=0.2), KERNELS),
    ),
    "partition": (
        optax.partition({"a": gx.lion(0.1), "b": gx.sgd(0.1, 0.9)}, LABELS),
        optax.partition({"a": optax.lion(0.1), "b": optax.sgd(0.1, 0.9)}, LABELS),
    ),
    "MultiSteps": (
        optax.MultiSteps(gx.adam(0.1), 2).gradient_transformation(),
        optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
    ),
    "apply_if_finite": (
        optax.apply_if_finite(gx.rmsprop(0.1), 3),
        optax.apply_if_finite(optax.rmsprop(0.1, eps_in_sqrt=False), 3),
    ),
    "inject_hyperparams": (
        optax.inject_hyperparams(gx.adam)(0.1, b1=optax.linear_schedule(0.9, 0.5, 5)),
        optax.inject_hyperparams(optax.adam)(0.1, b1=optax.linear_schedule(0.9, 0.5, 5)),
    ),
    "with_extra_args_support": (
        optax.with_extra_args_support(gx.adam(0.1)),
        optax.adam(0.1),
    ),
    "flatten": (optax.flatten(gx.adam(0.1)), optax.adam(0.1)),
}


@pytest.mark.parametrize("name", INSIDE_OPTAX)
def test_inside_of_optax(name):
    same(*INSIDE_OPTAX[name])


INSIDE_GRADXFORM = {
    "clip": (
        gx.chain(optax.clip(0.5), gx.adamw(0.1)),
        gx.chain(gx.clip_by_value(0.5), gx.adamw(0.1)),
    ),
    "rule": (
        gx.chain(optax.scale_by_adam(b1=0.8), gx.scale_by_learning_rate(0.1)),
        gx.adam(0.1, b1=0.8),
    ),
    "optimizer": (
        gx.named_chain(("l2", gx.add_l2_regularization(0.1)), ("sgd", optax.sgd(0.1, 0.9))),
        gx.chain(gx.add_l2_regularization(0.1), gx.sgd(0.1, 0.9)),
    ),
    "masked": (
        gx.chain(
            gx.scale_by_lion(),
            optax.masked(optax.add_decayed_weights(0.2), KERNELS),
            gx.scale_by_learning_rate(0.1),
        ),
        gx.lion(0.1, weight_decay=0.2, mask=KERNELS),
    ),
    "deep": (
        optax.chain(gx.chain(optax.chain(gx.scale_by_momentum()), optax.scale(2.0)), gx.scale(0.5)),
        gx.scale_by_momentum(),
    ),
}


@pytest.mark.parametrize("name", INSIDE_GRADXFORM)
def test_optax_inside(name):
    same(*INSIDE_GRADXFORM[name])


def test_extra_arguments_reach_optaxs_links():
    """`reduce_on_plateau` needs `value`; a plain optax link must not get it."""
    plateau = optax.contrib.reduce_on_plateau(patience=1)
    ours = gx.chain(optax.scale(1.0), gx.sgd(0.1), plateau)
    theirs = optax.chain(optax.sgd(0.1), plateau)
    params = {"w": jnp.ones(2)}
    a, b, reached = ours.init(params), theirs.init(params), []
    for value in (1.0, 1.0, 1.0, 0.5, 0.5):
        u, a = ours.update(params, a, params, value=value, unknown="ignored")
        v, b = theirs.update(params, b, params, value=value)
        np.testing.assert_allclose(u["w"], v["w"], rtol=1e-6)
        reached.append(float(u["w"][0]))
    assert reached[-1] > reached[0]
    with pytest.raises(TypeError, match="value"):
        ours.update(params, a, params)


def test_hyperparams_are_found_inside_of_optaxs_states():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "temperature": jnp.ones(())}
    tx = optax.chain(
        optax.clip(1.0),
        optax.partition({"a": gx.sgd(gx.tunable(0.5)), "b": gx.adam(0.25)}, LABELS),
    )
    state = tx.init(params)
    assert sorted(map(float, gx.hyperparams(state).values())) == [0.25, 0.5]
    (tuned,) = [name for name, value in gx.hyperparams(state).items() if value == 0.5]
    state = gx.set_hyperparams(state, **{tuned: 0.0})
    updates, _ = tx.update(params, state, params)
    assert np.all(np.asarray(updates["kernel"]) == 0)
    assert np.all(np.asarray(updates["bias"]) != 0)


# Masks: weights decay where the mask is True. With no gradient only the decay is left.


def decayed(params, mask, init=None):
    """The names of the leaves that decay."""
    tx = gx.adamw(1.0, weight_decay=0.5, mask=mask)
    still = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(still, tx.init(params if init is None else init), params)
    found = jax.tree.leaves_with_path(updates)
    return {jax.tree_util.keystr(path) for path, u in found if np.any(np.asarray(u) != 0)}


def by_rank(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


def by_name(params):
    return jax.tree.map_with_path(lambda path, _: "kernel" in jax.tree_util.keystr(path), params)


def test_masks_of_linens_parameters():
    params = jax.tree.map(
        jnp.ones_like, nn.Dense(3).init(jax.random.key(0), jnp.ones((1, 2)))["params"]
    )
    params = {"a": params, "b": params}
    assert decayed(params, None) == decayed(params, True)
    kernels = {"['a']['kernel']", "['b']['kernel']"}
    assert decayed(params, by_rank) == decayed(params, by_name) == kernels
    assert decayed(params, by_rank(params)) == kernels
    prefix = {"a": True, "b": False}
    assert decayed(params, prefix) == {"['a']['kernel']", "['a']['bias']"}
    assert decayed(params, lambda _: prefix) == {"['a']['kernel']", "['a']['bias']"}
    assert decayed(params, False) == set()


def test_masks_of_haikus_parameters():
    """Names with slashes, as keys of a prefix tree."""
    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([3, 1])(x)))
    params = jax.tree.map(jnp.ones_like, net.init(jax.random.key(0), jnp.ones((1, 2))))
    assert params.keys() == {"mlp/~/linear_0", "mlp/~/linear_1"}
    assert decayed(params, by_rank) == {f"['mlp/~/linear_{i}']['w']" for i in (0, 1)}
    prefix = {"mlp/~/linear_0": False, "mlp/~/linear_1": {"w": True, "b": False}}
    assert decayed(params, prefix) == {"['mlp/~/linear_1']['w']"}

    def first_layer(params):
        return {name: "linear_0" in name for name in params}

    assert decayed(params, first_layer) == {f"['mlp/~/linear_0']['{k}']" for k in "wb"}


def test_a_mask_that_is_an_equinox_module():
    """It has `__call__`, and is a tree all the same."""
    model = eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))
    params = eqx.filter(model, eqx.is_inexact_array)
    mask = by_rank(params)
    assert callable(mask)
    kernels = {f".layers[{i}].weight" for i in (0, 1)}
    assert decayed(params, mask) == decayed(params, by_rank) == kernels
    prefix = eqx.tree_at(lambda m: m.layers, mask, (True, False))
    assert decayed(params, prefix) == {".layers[0].weight", ".layers[0].bias"}
    # Built again, with a mask built again, it is equal: no jit traces it a second time.
    again = by_rank(eqx.filter(model, eqx.is_inexact_array))
    assert gx.adamw(1.0, mask=mask) == gx.adamw(1.0, mask=again)
    assert hash(gx.adamw(1.0, mask=mask)) == hash(gx.adamw(1.0, mask=again))
    assert gx.adamw(1.0, mask=mask) != gx.adamw(1.0, mask=prefix)


def nnx_params():
    """What `nnx.Optimizer` gives to `init` (with boxes) and to `update` (without)."""
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)
    return state, jax.tree.map(jnp.ones_like, nnx.as_pure(state))


@pytest.mark.parametrize(
    "mask",
    [
        by_rank,
        by_name,
        lambda params: nnx.State({"kernel": True, "bias": False}),
        nnx.as_pure(by_rank(nnx_params()[0])),
        nnx.State({"kernel": True, "bias": False}),
    ],
    ids=["by rank", "by name", "function of a state", "pure tree", "state"],
)
def test_masks_of_nnxs_parameters(mask):
    boxed, pure = nnx_params()
    assert decayed(pure, mask, init=boxed) == {"['kernel']"}


def test_a_mask_with_nnxs_boxes():
    boxed, pure = nnx_params()
    assert decayed(pure, by_rank(boxed), init=boxed) == {"['kernel']"}
