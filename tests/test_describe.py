"""Layer-wise decay, and the table of who gets what."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from problems import rows

import gradxform as gx
from gradxform import select
from gradxform.core.words import bytes_text

PARAMS = {
    "embed": {"embedding": np.full((4, 3), 2.0, np.float32)},
    "layer_0": {"kernel": np.full((3, 3), 3.0, np.float32), "bias": np.ones(3, np.float32)},
    "layer_1": {"kernel": np.full((3, 2), 4.0, np.float32), "bias": np.ones(2, np.float32)},
}
DEPTHS = {"layer_1/.*": 0, "layer_0/.*": 1, "embed/.*": 2}


def depth_of(path):
    return {"layer_1": 0, "layer_0": 1, "embed": 2}[path.split("/")[0]]


@pytest.mark.parametrize("depths", [DEPTHS, depth_of], ids=["dict", "function"])
@pytest.mark.parametrize("rate", [0.5, gx.tunable(0.5), lambda step: 0.5])
def test_the_update_falls_with_the_depth(depths, rate):
    tx = gx.layerwise_decay(rate, depths)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    for name, factor in (("layer_1", 1.0), ("layer_0", 0.5), ("embed", 0.25)):
        for key, u in updates[name].items():
            np.testing.assert_array_equal(u, factor * PARAMS[name][key])


def test_behind_decay_a_lower_layer_decays_less():
    tx = gx.chain(gx.adamw(0.1, weight_decay=0.5), gx.layerwise_decay(0.5, DEPTHS))
    zeros = jax.tree.map(np.zeros_like, PARAMS)
    updates, _ = tx.update(zeros, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["embed"]["embedding"], -0.1 * 0.5 * 0.25 * 2.0, rtol=1e-6)


def test_the_order_of_patterns_is_a_part_of_the_value():
    """The first that matches counts, so another order is another transformation."""
    one, other = {"w.*": 1, ".*": 0}, {".*": 0, "w.*": 1}
    assert gx.layerwise_decay(0.5, one) == gx.layerwise_decay(0.5, dict(one))
    assert gx.layerwise_decay(0.5, one) != gx.layerwise_decay(0.5, other)


def test_depths_are_checked():
    def update(depths):
        tx = gx.layerwise_decay(0.5, depths)
        return tx.update(PARAMS, tx.init(PARAMS))

    for depths, message in (
        ({"layer_.*": 0}, r"no pattern for some .* The paths are: embed/embedding\."),
        ({**DEPTHS, "head/.*": 0}, r"match none of the parameters: 'head/\.\*'\."),
        (lambda path: -1, r"depth_of\('embed/embedding'\)` must be a whole number .* got -1"),
        (lambda path: True, "got True"),
    ):
        with pytest.raises(ValueError, match=message):
            update(depths)
    for depths, message in (
        ({}, "a function path -> depth or a dict"),
        ({"(": 1}, r"regular expressions of paths.*Missing \)"),
        ({"a": -1}, r"depth_of\['a'\].*at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            gx.layerwise_decay(0.5, depths)
    with pytest.raises(ValueError, match="`rate` must be above 0 and at most 1"):
        gx.layerwise_decay(1.5, DEPTHS)


def grouped():
    return gx.partition(
        {
            "embed": (select.path(".*embedding"), gx.adam(1e-3)),
            "matrices": (
                select.ndim_at_least(2),
                gx.chain(
                    gx.adamw(gx.cosine_decay(1e-2, 100), weight_decay=0.1),
                    gx.layerwise_decay(0.5, {"layer_0/.*": 1, "layer_1/.*": 0}),
                ),
            ),
        },
        default=gx.freeze(gx.sgd(0.1, momentum=0.9), select.path("layer_0/.*")),
    )


def test_who_gets_what():
    description = gx.describe(grouped(), PARAMS)
    found = {p.path: p for p in description.parameters}
    assert list(found) == [
        "embed/embedding",
        "layer_0/bias",
        "layer_0/kernel",
        "layer_1/bias",
        "layer_1/kernel",
    ]
    groups = {path: p.group for path, p in found.items()}
    assert groups == {
        "embed/embedding": "embed",
        "layer_0/bias": "default",
        "layer_0/kernel": "matrices",
        "layer_1/bias": "default",
        "layer_1/kernel": "matrices",
    }
    kernel = found["layer_0/kernel"]
    assert kernel.shape == (3, 3)
    assert kernel.learning_rate == (gx.cosine_decay(1e-2, 100),)
    assert kernel.multiplier == 0.5
    assert kernel.weight_decay == {"weight_decay": 0.1}
    assert kernel.state_bytes == 2 * 4 * 9
    assert found["layer_0/bias"].multiplier == 0.0
    assert found["layer_0/bias"].state_bytes == 0
    assert found["layer_1/bias"].learning_rate == (0.1,)
    assert found["layer_1/bias"].state_bytes == 4 * 2
    state = grouped().init(PARAMS)
    assert description.state_bytes == sum(x.nbytes for x in jax.tree.leaves(state))


def test_the_table():
    assert str(gx.describe(grouped(), PARAMS)) == "\n".join(
        [
            "parameter        shape          group     learning rate                              "
            "decay  state",
            "embed/embedding  float32[4, 3]  embed     0.001                                      "
            "-      96 B",
            "layer_0/bias     float32[3]     default   frozen                                     "
            "-      0 B",
            "layer_0/kernel   float32[3, 3]  matrices  cosine_decay(value=0.01, steps=100) x 0.5  "
            "0.1    72 B",
            "layer_1/bias     float32[2]     default   0.1                                        "
            "-      8 B",
            "layer_1/kernel   float32[3, 2]  matrices  cosine_decay(value=0.01, steps=100)        "
            "0.1    48 B",
            "32 parameters in 5 arrays; 256 B of state, 32 B of it shared",
        ]
    )


@gx.optimizer
def in_two_groups(learning_rate: gx.LearningRate) -> gx.GradientTransformation:
    kernels = gx.freeze(gx.adamw(learning_rate, weight_decay=0.1), select.path("layer_1/.*"))
    return gx.partition({"kernels": (select.path(".*kernel"), kernels)}, gx.sgd(0.3))


def test_groups_inside_an_optimizer_of_ones_own():
    for tx in (in_two_groups(0.1), gx.chain(in_two_groups(0.1))):
        found = {p.path: p for p in gx.describe(tx, PARAMS).parameters}
        assert [p.group for p in found.values()].count("kernels") == 2
        assert found["layer_0/kernel"].learning_rate == (0.1,)
        assert found["layer_0/kernel"].weight_decay == {"weight_decay": 0.1}
        assert found["layer_1/kernel"].multiplier == 0.0
        for path in ("layer_0/bias", "layer_1/bias", "embed/embedding"):
            assert found[path].learning_rate == (0.3,)
            assert found[path].weight_decay == {}


def test_masks_show_in_the_column_of_decay():
    description = gx.describe(gx.adamw(1e-3, weight_decay=0.1, mask=select.decayed), PARAMS)
    decays = {p.path: p.weight_decay for p in description.parameters}
    assert [path for path, decay in decays.items() if decay] == [
        "layer_0/kernel",
        "layer_1/kernel",
    ]
    assert not any(p.group for p in description.parameters)
    assert "group" not in str(description).splitlines()[0]
    l2 = gx.describe(gx.chain(gx.add_l2_regularization(0.2), gx.sgd(0.1)), PARAMS)
    assert l2.parameters[0].weight_decay == {"l2": 0.2}
    assert " l2 0.2 " in str(l2)


@rows(lambda row: row.kind == "optimizer")
def test_shapes_are_enough(row):
    shapes = {
        "w": jax.ShapeDtypeStruct((256, 256), jnp.bfloat16),
        "b": jax.ShapeDtypeStruct((256,), jnp.bfloat16),
    }
    tx = row.build()
    description = gx.describe(tx, shapes)
    state = jax.eval_shape(tx.init, shapes)
    assert description.state_bytes == sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    assert description.shared_bytes < 200


def test_other_trees_and_other_peoples_transformations():
    only = gx.describe(gx.adam(0.1), jnp.ones(3))
    assert only.parameters[0].path == ""
    assert "(the only one)" in str(only)
    assert only.parameters[0].state_bytes == 24
    assert gx.describe(gx.adam(0.1), {}).parameters == ()
    theirs = gx.describe(gx.chain(optax.scale_by_adam(), gx.scale_by_learning_rate(0.1)), PARAMS)
    assert theirs.parameters[0].learning_rate == (0.1,)
    assert theirs.parameters[0].state_bytes == 2 * 4 * 12
    model = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)
    boxed = {p.path: p.state_bytes for p in gx.describe(gx.adam(0.1), model).parameters}
    assert boxed == {"bias": 24, "kernel": 48}
    with pytest.raises(TypeError, match=r"`describe\(tx, params\)`: `tx` must be a gradient"):
        gx.describe(gx.adam, PARAMS)
    with pytest.raises(ValueError, match="matches none"):
        gx.describe(gx.adamw(0.1, mask=select.path("kernel")), PARAMS)


def test_bytes_are_written_in_three_digits_whatever_their_number():
    sizes = (0, 12, 999, 999.7, 4096, 1.5e6, 5e12, 5.2e15, 3e19)
    texts = ["0 B", "12 B", "999 B", "1 kB", "4.1 kB", "1.5 MB", "5 TB", "5.2 PB", "30,000 PB"]
    assert [bytes_text(size) for size in sizes] == texts
