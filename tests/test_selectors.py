"""Selectors: paths in every framework, combinations, values, and the rule of what decays."""

import pickle

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import PUBLIC
from flax import nnx
from hypothesis import given, settings, strategies as st

import gradxform as gx
from gradxform import select
from gradxform.core.selector import paths

PARAMS = {
    "embed": {"embedding": np.ones((5, 2), np.float32)},
    "layers": [
        {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float16)},
        {"kernel": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float16)},
    ],
    "temperature": np.ones((), np.float32),
}


def chosen_by(selector, params=PARAMS):
    chosen = zip(paths(params), jax.tree.leaves(selector(params)), strict=True)
    return [path for (path, _), use in chosen if use]


def test_each_kind_of_selector():
    assert chosen_by(select.all) == [path for path, _ in paths(PARAMS)]
    assert chosen_by(select.path("layers/0/.*")) == ["layers/0/bias", "layers/0/kernel"]
    assert chosen_by(select.path("bias")) == []  # the whole path, not a part of it
    assert chosen_by(select.ndim(1)) == ["layers/0/bias", "layers/1/bias"]
    assert chosen_by(select.ndim_at_least(1) & ~select.ndim(1)) == chosen_by(
        select.ndim_at_least(2)
    )
    assert chosen_by(select.dtype("float16")) == ["layers/0/bias", "layers/1/bias"]
    assert chosen_by(select.dtype(jnp.float16)) == ["layers/0/bias", "layers/1/bias"]
    assert chosen_by(select.size_at_least(6)) == ["embed/embedding", "layers/1/kernel"]
    assert chosen_by(select.where(lambda path, leaf: "0" in path and leaf.ndim == 2)) == [
        "layers/0/kernel"
    ]


def test_a_mask_has_the_structure_of_the_parameters():
    mask = (select.path("layers/.*") & select.ndim(1))(PARAMS)
    assert mask == {
        "embed": {"embedding": False},
        "layers": [{"kernel": False, "bias": True}, {"kernel": False, "bias": True}],
        "temperature": False,
    }


ATOMS = (
    select.all,
    select.decayed,
    select.path(".*kernel"),
    select.ndim(1),
    select.ndim_at_least(2),
    select.dtype("float16"),
    select.size_at_least(4),
)
SELECTORS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        inner.map(lambda a: ~a),
        st.tuples(inner, inner).map(lambda p: p[0] & p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] | p[1]),
    ),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True)
@given(SELECTORS, SELECTORS)
def test_combinations_are_those_of_sets(a, b):
    whole = set(chosen_by(select.all))
    of_a, of_b = set(chosen_by(a)), set(chosen_by(b))
    assert set(chosen_by(a & b)) == of_a & of_b
    assert set(chosen_by(a | b)) == of_a | of_b
    assert set(chosen_by(~a)) == whole - of_a


@settings(deadline=None, derandomize=True)
@given(SELECTORS)
def test_a_selector_is_a_value(selector):
    for again in (eval(repr(selector), PUBLIC), pickle.loads(pickle.dumps(selector))):
        assert again == selector
        assert hash(again) == hash(selector)
        assert repr(again) == repr(selector)


def test_a_selector_prints_as_it_is_written():
    text = "select.path('a/.*') & ~(select.ndim(1) | select.dtype('bfloat16'))"
    assert repr(eval(text, PUBLIC)) == text
    assert repr(~(~select.all)) == "select.all"
    assert repr((select.ndim(1) | select.ndim(2)) | select.ndim(3)) == (
        "select.ndim(1) | select.ndim(2) | select.ndim(3)"
    )
    assert repr(gx.adamw(0.1, mask=select.decayed)) == (
        "adamw(learning_rate=0.1, mask=select.decayed)"
    )


def test_other_selectors_are_other_values():
    assert len({*ATOMS, ~select.all, select.ndim(1) & select.all, select.ndim(1) | select.all}) == (
        len(ATOMS) + 3
    )

    def one(path, leaf):
        return True

    assert select.where(one) == select.where(one)
    assert select.where(one) != select.where(lambda path, leaf: True)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(nn.Dense(4)(x))
        kernel = nn.with_partitioning(nn.initializers.ones, (None, "model"))
        return nn.Dense(2, kernel_init=kernel)(x)


def linen():
    return Mlp().init(jax.random.key(0), jnp.ones((1, 3)))["params"]


def haiku():
    def net(x):
        x = hk.LayerNorm(-1, True, True)(hk.nets.MLP([4, 2])(x))
        return hk.Embed(3, 2)(jnp.zeros(1, int)) + x

    return hk.without_apply_rng(hk.transform(net)).init(jax.random.key(0), jnp.ones((1, 3)))


class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(3, 3, rngs=rngs), nnx.Linear(3, 3, rngs=rngs)])
        self.norm = nnx.LayerNorm(3, rngs=rngs)
        self.embed = nnx.Embed(4, 3, rngs=rngs)


def of_nnx():
    return nnx.state(Net(), nnx.Param)


def of_nnx_without_boxes():
    return nnx.as_pure(of_nnx())


def equinox():
    key = jax.random.key(0)
    model = {
        "mlp": eqx.nn.MLP(2, 2, 3, 1, key=key),
        "norm": eqx.nn.LayerNorm(2),
        "embed": eqx.nn.Embedding(3, 2, key=key),
    }
    return eqx.filter(model, eqx.is_inexact_array)


IN_FRAMEWORKS = {
    linen: (["Dense_0/kernel", "Dense_1/kernel"], "LayerNorm_0/scale"),
    haiku: (["mlp/~/linear_0/w", "mlp/~/linear_1/w"], "embed/embeddings"),
    of_nnx: (["layers/0/kernel", "layers/1/kernel"], "norm/scale"),
    of_nnx_without_boxes: (["layers/0/kernel", "layers/1/kernel"], "embed/embedding"),
    equinox: (["mlp/layers/0/weight", "mlp/layers/1/weight"], "norm/weight"),
}


@pytest.mark.parametrize("framework", IN_FRAMEWORKS, ids=lambda f: f.__name__)
def test_paths_and_what_decays_in_a_framework(framework):
    params = framework()
    weights, other = IN_FRAMEWORKS[framework]
    assert chosen_by(select.decayed, params) == weights
    assert other in chosen_by(select.all, params)
    assert chosen_by(select.path(other), params) == [other]


@pytest.mark.parametrize("framework", IN_FRAMEWORKS, ids=lambda f: f.__name__)
def test_a_selector_masks_in_a_framework(framework):
    params = framework()
    tx = gx.add_decoupled_weight_decay(0.5, mask=select.decayed)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    expected = [
        0.5 * leaf if use else 0 * leaf
        for (_, leaf), use in zip(
            paths(params), jax.tree.leaves(select.decayed(params)), strict=True
        )
    ]
    for u, e in zip(jax.tree.leaves(updates), expected, strict=True):
        np.testing.assert_array_equal(u, e)


def test_optax_takes_a_selector_as_a_mask():
    tx = optax.masked(optax.scale(2.0), select.ndim(1))
    updates, _ = tx.update(PARAMS, tx.init(PARAMS))
    assert float(updates["layers"][0]["bias"][0]) == 2.0
    assert float(updates["layers"][0]["kernel"][0, 0]) == 1.0


def test_bad_selectors_say_what_is_wrong():
    for wrong, message in {
        lambda: select.path(
            "("
        ): r"`select\.path\(pattern='\('\)`.*a regular expression.*Missing \)",
        lambda: select.path(3): "a regular expression",
        lambda: select.ndim(-1): r"`select\.ndim\(n=-1\)`.*whole number of at least 0",
        lambda: select.dtype("float33"): "must be a dtype, such as 'bfloat16'",
        lambda: select.where(1): r"a function \(path, leaf\) -> bool",
    }.items():
        with pytest.raises(ValueError, match=message):
            wrong()
    with pytest.raises(TypeError, match="unsupported operand"):
        select.all & "bias"
    # They would give one of the selectors, or a bool, which is a mask too.
    for lost in (
        lambda: select.decayed and select.path("head/.*"),
        lambda: select.decayed or select.path("head/.*"),
        lambda: not select.decayed,
    ):
        with pytest.raises(TypeError, match=r"`select\.decayed` is neither true nor false.*`~a`"):
            lost()
    numbers = select.where(lambda path, leaf: jnp.sum(leaf) > 0)
    with pytest.raises(TypeError, match=r"whether `embed/embedding` .* must be a Python bool"):
        numbers(PARAMS)


def test_a_selector_that_matches_nothing_lists_the_paths():
    tx = gx.adamw(0.1, mask=select.path("kernel"))
    with pytest.raises(ValueError, match="matches none of the parameters") as error:
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    assert "mask=select.path('kernel')" in str(error.value)
    assert "layers/0/bias, layers/0/kernel, layers/1/bias" in str(error.value)
    many = {f"p{i}": np.ones(1, np.float32) for i in range(40)}
    with pytest.raises(ValueError, match="p35 and 10 more"):
        gx.masked(gx.identity(), select.ndim(2)).init(many)
    assert gx.masked(gx.identity(), select.ndim(2)).init({}) is not None
