"""Parts of the parameters: partition, freeze, masked, and what they cost."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import assume, given, settings, strategies as st
from jax.tree_util import keystr
from problems import assert_equal, gradients

import gradxform as gx
from gradxform import select
from gradxform.core.selector import paths

PARAMS = {
    "embed": {"embedding": np.full((4, 3), 2.0, np.float32)},
    "layer_0": {"kernel": np.full((3, 3), 3.0, np.float32), "bias": np.ones(3, np.float32)},
    "layer_1": {"kernel": np.full((3, 2), 4.0, np.float32), "bias": np.ones(2, np.float32)},
}
GRADS = jax.tree.map(lambda g: g[0], gradients(PARAMS, steps=1))
GROUPS = {
    "embeddings": (select.path(".*embedding"), gx.adam(0.1)),
    "matrices": (select.ndim_at_least(2), gx.adamw(0.2, weight_decay=0.1)),
}


def step(tx, params=PARAMS, grads=GRADS, **extra):
    return tx.update(grads, tx.init(params), params, **extra)


def arrays(tree):
    return [x for x in jax.tree.leaves(tree) if x.size > 1]


def test_each_group_is_updated_as_if_it_were_alone():
    updates, state = step(gx.partition(GROUPS, default=gx.sgd(0.3)))
    only = {"embedding": PARAMS["embed"]["embedding"]}
    alone, _ = step(gx.adam(0.1), only, {"embedding": GRADS["embed"]["embedding"]})
    assert_equal(updates["embed"], alone)
    for name in ("layer_0", "layer_1"):
        np.testing.assert_allclose(updates[name]["bias"], -0.3 * GRADS[name]["bias"], rtol=1e-6)
        alone, _ = step(gx.adamw(0.2, weight_decay=0.1), PARAMS[name], GRADS[name])
        assert_equal(updates[name]["kernel"], alone["kernel"])
    assert set(state) == {"embeddings", "matrices", "default"}
    assert len(arrays(state["embeddings"])) == 2
    assert len(arrays(state["matrices"])) == 4


def test_groups_give_their_names_to_the_readings():
    state = gx.partition(GROUPS, default=gx.sgd(gx.tunable(0.3))).init(PARAMS)
    read = {name: round(float(x), 6) for name, x in gx.hyperparams(state).items()}
    assert read == {
        "embeddings/learning_rate": 0.1,
        "matrices/learning_rate": 0.2,
        "default/learning_rate": 0.3,
    }
    state = gx.set_hyperparams(state, **{"default/learning_rate": 0.5})
    assert float(gx.hyperparams(state)["default/learning_rate"]) == 0.5


def test_a_norm_inside_is_the_norm_of_the_part():
    is_bias = select.path(".*bias")
    updates, _ = step(gx.masked(gx.clip_by_global_norm(1e-3), is_bias))
    biases = [updates[name]["bias"] for name in ("layer_0", "layer_1")]
    np.testing.assert_allclose(optax.tree.norm(biases), 1e-3, rtol=1e-5)
    assert_equal(updates["embed"], GRADS["embed"])
    theirs = optax.masked(optax.clip_by_global_norm(1e-3), is_bias)
    their_updates, _ = theirs.update(GRADS, theirs.init(PARAMS), PARAMS)
    for u, theirs in zip(jax.tree.leaves(updates), jax.tree.leaves(their_updates), strict=True):
        np.testing.assert_allclose(u, theirs, rtol=1e-6)


def test_freezing_keeps_parameters_without_state():
    frozen = select.path("(embed|layer_0)/.*")
    tx = gx.freeze(gx.adamw(0.1, weight_decay=0.5), frozen)
    updates, state = step(tx)
    after = gx.apply_updates(PARAMS, updates)
    for name in ("embed", "layer_0"):
        assert_equal(after[name], PARAMS[name])
    alone, _ = step(gx.adamw(0.1, weight_decay=0.5), PARAMS["layer_1"], GRADS["layer_1"])
    assert_equal(updates["layer_1"], alone)
    moving = sum(p.size for p in jax.tree.leaves(PARAMS["layer_1"]))
    assert sum(x.nbytes for x in arrays(state)) == 2 * 4 * moving
    compiled = jax.jit(tx.init).lower(PARAMS).compile().memory_analysis()
    assert compiled.output_size_in_bytes < 2 * 4 * moving + 200


def test_a_gradient_that_is_frozen_does_not_count_in_a_norm():
    tx = gx.freeze(gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(1.0)), select.path("embed/.*"))
    huge = {**GRADS, "embed": {"embedding": np.full((4, 3), np.inf, np.float32)}}
    updates, _ = step(tx, grads=huge)
    rest = {name: u for name, u in updates.items() if name != "embed"}
    np.testing.assert_allclose(optax.tree.norm(rest), 1.0, rtol=1e-5)
    assert not np.any(updates["embed"]["embedding"])


def test_groups_of_groups():
    inner = gx.partition(
        {"kernels": (select.ndim(2), gx.sgd(0.1))}, default=gx.freeze(gx.sgd(9.0), select.all)
    )
    outer = gx.partition({"embed": (select.path("embed/.*"), gx.identity())}, default=inner)
    updates, state = step(outer)
    assert_equal(updates["embed"], GRADS["embed"])
    np.testing.assert_allclose(
        updates["layer_0"]["kernel"], -0.1 * GRADS["layer_0"]["kernel"], rtol=1e-6
    )
    assert not np.any(updates["layer_0"]["bias"])
    assert set(gx.hyperparams(state)) == {
        "default/kernels/learning_rate",
        "default/default/learning_rate",
    }


SELECTED = st.lists(
    st.sampled_from([select.path(f".*{x}.*") for x in ("embed", "0", "1", "kernel", "bias")]),
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(SELECTED, st.randoms(use_true_random=False))
def test_groups_are_disjoint_and_cover_and_the_order_of_parameters_does_not_matter(chosen, random):
    groups = {str(i): (selector, gx.scale(i + 1.0)) for i, selector in enumerate(chosen)}
    ones = jax.tree.map(np.ones_like, PARAMS)
    tx = gx.partition(groups, default=gx.scale(0.0))
    owners = {
        path: next((i for i, s in enumerate(chosen) if s.selects(path, p)), None)
        for path, p in paths(PARAMS)
    }
    assume({*owners.values()} >= {*range(len(chosen))})  # else a group has nothing left
    updates, _ = step(tx, grads=ones)
    names = list(PARAMS)
    random.shuffle(names)
    shuffled = {name: PARAMS[name] for name in names}
    assert_equal(step(tx, shuffled, ones)[0], updates)
    for path, u in paths(updates):
        assert np.all(u == (0.0 if owners[path] is None else owners[path] + 1.0))


def test_the_first_group_has_it_and_the_order_is_a_part_of_the_value():
    a, b = (select.path("layer_.*"), gx.sgd(0.1)), (select.ndim(2), gx.sgd(0.2))
    forward, backward = gx.partition({"a": a, "b": b}), gx.partition({"b": b, "a": a})
    assert forward != backward
    assert hash(forward) == hash(gx.partition({"a": a, "b": b}))
    assert repr(forward) != repr(backward)
    first = step(forward)[0]["layer_0"]["kernel"] / GRADS["layer_0"]["kernel"]
    second = step(backward)[0]["layer_0"]["kernel"] / GRADS["layer_0"]["kernel"]
    np.testing.assert_allclose(first, -0.1, rtol=1e-6)
    np.testing.assert_allclose(second, -0.2, rtol=1e-6)


def test_a_function_of_the_parameters_is_still_given_all_of_them():
    def loss(params):
        return sum(jnp.sum(p**2) for p in jax.tree.leaves(params))

    sophia = gx.sophia(0.1, b2=0.0, gamma=1.0, interval=1)
    is_kernel = select.path(".*kernel")
    for tx in (
        gx.freeze(sophia, ~is_kernel),
        gx.partition({"kernels": (is_kernel, sophia)}, default=gx.sgd(0.1)),
    ):
        updates, _ = step(tx, hessian_fn=gx.hutchinson(loss))
        whole, _ = step(sophia, hessian_fn=gx.hutchinson(loss))
        assert_equal(updates["layer_0"]["kernel"], whole["layer_0"]["kernel"])


def test_absent_gradients_stay_absent():
    grads = {**GRADS, "layer_0": {"kernel": None, "bias": GRADS["layer_0"]["bias"]}}
    for tx in (
        gx.partition(GROUPS, default=gx.sgd(0.3)),
        gx.freeze(gx.sgd(0.1), select.ndim(2)),
        gx.masked(gx.scale(2.0), select.ndim(2)),
    ):
        updates, _ = step(tx, grads=grads)
        assert updates["layer_0"]["kernel"] is None
        assert updates["layer_1"]["kernel"] is not None


@pytest.mark.parametrize("grads_in", ["bfloat16", "float32"])
def test_types_and_one_compilation_with_16_bit_parameters(grads_in):
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), PARAMS)
    grads = jax.tree.map(lambda g: jnp.asarray(g, grads_in), GRADS)
    tx = gx.freeze(gx.partition(GROUPS, default=gx.sgd(0.3)), select.path("layer_1/.*"))
    update = jax.jit(tx.update)
    updates, state = update(grads, tx.init(params), params)
    assert {u.dtype.name for u in jax.tree.leaves(updates)} == {grads_in}
    update(grads, state, params)
    assert update._cache_size() == 1


def test_in_nnx_and_with_boxes_of_linen():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.body, self.head = nnx.Linear(3, 3, rngs=rngs), nnx.Linear(3, 1, rngs=rngs)

        def __call__(self, x):
            return self.head(jnp.tanh(self.body(x)))

    model = Net(nnx.Rngs(0))
    tx = gx.partition(
        {"head": (select.path("head/.*"), gx.adamw(0.1, mask=select.decayed))},
        default=gx.freeze(gx.adam(0.1), select.path(".*kernel")),
    )
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before = jax.tree.map(jnp.copy, nnx.state(model, nnx.Param))

    @nnx.jit
    def train(model, optimizer):
        grads = nnx.grad(lambda m: jnp.mean(m(jnp.ones((2, 3))) ** 2))(model)
        optimizer.update(model, grads)

    train(model, optimizer)
    train(model, optimizer)
    after = nnx.state(model, nnx.Param)
    assert_equal(before["body"]["kernel"], after["body"]["kernel"])
    for moved in (after["body"]["bias"], after["head"]["kernel"], after["head"]["bias"]):
        assert np.any(moved[...])
    assert set(gx.hyperparams(optimizer.opt_state)) == {
        "head/learning_rate",
        "default/learning_rate",
    }

    boxed = {
        "w": nn.Partitioned(jnp.ones((2, 2)), (None, "x")),
        "b": nn.Partitioned(jnp.ones(2), ("x",)),
    }
    tx = gx.freeze(gx.adam(0.1), select.path("b"))
    updates, _ = jax.jit(tx.update)(boxed, tx.init(boxed), boxed)
    assert not np.any(updates["b"].value)
    np.testing.assert_allclose(updates["w"].value, -0.1, rtol=1e-5)


def test_bad_groups_say_what_is_wrong():
    adam = gx.adam(0.1)
    for groups, message in (
        ({}, "not an empty one"),
        ({"a": adam}, r"must be a pair \(selector, transformation\)"),
        ({"a": (select.all, gx.adam)}, "Call the factory first"),
        ({"a": (None, adam)}, "See `select.all`"),
        ({"a/b": (select.all, adam)}, "strings without `/`"),
        ({"default": (select.all, adam)}, "other than `default`"),
        ({"a": ({"w": 1.0}, adam)}, r"groups\['a'\].*a mask holds Python bools"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            gx.partition(groups)
    with pytest.raises(ValueError, match="says which parameters are frozen"):
        gx.freeze(adam, None)
    for groups, message in (
        ({"a": (select.path("bias"), adam)}, r"groups\['a'\]=select.path.*matches none"),
        ({"a": (select.ndim(2), adam)}, "no group selects .* layer_0/bias, layer_1/bias"),
        (
            {"a": (select.all, adam), "b": (select.ndim(1), adam)},
            "`b` has no parameter left.*narrower first.*layer_0/bias, layer_1/bias",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            gx.partition(groups).init(PARAMS)
    tx = gx.partition({"a": (select.all, adam)})
    with pytest.raises(ValueError, match="given a state of `b`, not of `a`"):
        tx.update(GRADS, gx.partition({"b": (select.all, adam)}).init(PARAMS), PARAMS)


def test_paths_are_written_once_for_all_groups(monkeypatch):
    params = {f"layer_{i}": jnp.ones(2) for i in range(7)}
    groups = {name: (gx.select.path(name), gx.sgd(0.1)) for name in params}
    tx, written = gx.partition(groups), []
    monkeypatch.setattr(
        "gradxform.core.selector.keystr",
        lambda path, **kw: written.append(path) or keystr(path, **kw),
    )
    state = tx.init(params)
    tx.update(params, state, params)
    assert len(written) == len(params)
