"""`diagnose`: what it returns, how it prints, what it takes, and what it cannot see."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import CATALOG
from diagnosis_fires import PARAMS
from flax import nnx

import gradxform as gx
from gradxform import select

ORDER = {name for name in gx.DIAGNOSIS_RULES if re.search("learning_rate|decay_|clip|two_", name)}
BAD = gx.chain(gx.add_l2_regularization(0.1), gx.adam(0.0), gx.add_decoupled_weight_decay(0.1))


def test_findings_are_a_sequence_the_worst_first():
    found = gx.diagnose(BAD, PARAMS)
    assert [f.rule for f in found[:2]] == ["decay_after_learning_rate", "learning_rate_is_zero"]
    severities = [f.severity for f in found]
    assert severities == sorted(severities, key=["error", "warning", "hint"].index)
    assert len(found) == len(list(found)) == len({*found}) > 0
    assert found[0].reference.endswith("1711.05101")
    assert found.checked == tuple(gx.DIAGNOSIS_RULES)


def test_it_prints_as_a_report():
    text = str(gx.diagnose(BAD, PARAMS))
    assert re.search(r"^chain\(add_l2.*: 5 findings by \d+ rules$", text.splitlines()[0])
    first = text.split("\n\n")[1].splitlines()
    assert first[0] == "error: decay after learning rate"
    assert first[1].startswith("  seen      `add_decoupled_weight_decay(weight_decay=0.1)` behind")
    assert [line.split()[0] for line in first if line[2] != " "][1:] == [
        "seen", "why", "instead", "reference"
    ]  # fmt: skip
    assert all(len(line) <= 88 for line in text.splitlines())
    assert text.endswith("note: with `total_steps=` and `model=` more could be seen.")


def test_where_nothing_is_found_it_says_what_was_checked():
    tx = gx.adamw(gx.warmup(gx.cosine_decay(1e-3, 900), 100), mask=select.decayed)
    found = gx.diagnose(tx, PARAMS, total_steps=1000, model="vision")
    assert not found
    assert found.notes == ()
    text = str(found)
    assert "nothing found by" in text.splitlines()[0]
    for rule in gx.DIAGNOSIS_RULES:
        assert rule.replace("_", " ") in " ".join(text.split())


def test_rules_can_be_added_and_left_out():
    def too_small_a_batch(context):
        if context.batch_size is not None and context.batch_size < 8:
            yield gx.Finding(
                severity="hint", seen=f"{context.batch_size}", why="noise", instead="accumulate"
            )

    rules = {**gx.DIAGNOSIS_RULES, "small_batch": too_small_a_batch}
    found = gx.diagnose(BAD, PARAMS, batch_size=4, rules=rules)
    assert (found[-1].rule, found[-1].seen) == ("small_batch", "4")
    assert "small_batch" in found.checked
    assert not gx.diagnose(BAD, PARAMS, rules={"small_batch": too_small_a_batch})
    with pytest.raises(TypeError):
        gx.DIAGNOSIS_RULES["mine"] = too_small_a_batch


def test_a_rule_sees_the_ways_of_the_parameters():
    seen = []
    tx = gx.partition(
        {"kernels": (select.ndim(2), gx.chain(gx.clip_by_value(1.0), gx.sgd(0.1)))}, gx.sgd(0.2)
    )
    gx.diagnose(tx, PARAMS, total_steps=10, rules={"look": lambda c: seen.append(c)})
    (context,) = seen
    ways = {tuple(route.leaves): [b.name for b in route.blocks] for route in context.routes}
    assert ways == {
        ("embed/embedding", "layer/kernel"): ["clip_by_value", "scale_by_learning_rate"],
        ("layer/bias",): ["scale_by_learning_rate"],
    }
    rates = {tuple(r.leaves)[-1]: context.rate(r).values for r in context.routes}
    np.testing.assert_allclose(rates["layer/bias"], np.full(10, 0.2))
    assert (context.state_bytes, context.size) == (16, 152)


def test_what_optax_built_is_named_as_not_seen():
    for tx in (optax.adam(1e-3), gx.chain(gx.clip_by_global_norm(1.0), optax.adam(1e-3))):
        found = gx.diagnose(tx, PARAMS, model="transformer", total_steps=10)
        assert not found
        assert found.notes[0].startswith("<optax.GradientTransformationExtraArgs>: not seen into")


@gx.transformation
def halved():
    return lambda params: (), lambda updates, state: (jax.tree.map(lambda g: g / 2, updates), state)


def test_blocks_of_the_users_own_are_not_guessed_at():
    found = gx.diagnose(gx.chain(halved()), PARAMS, total_steps=10, model="transformer")
    assert not found
    assert found.notes[0].startswith("halved(): not seen into")
    twice = gx.chain(halved(), gx.sgd(0.1), gx.sgd(0.1))
    assert [f.rule for f in gx.diagnose(twice, PARAMS)] == ["two_learning_rates"]


@pytest.mark.parametrize("row", [r for r in CATALOG if r.kind == "optimizer"], ids=str)
def test_the_librarys_optimizers_are_in_order(row):
    rules = {name: rule for name, rule in gx.DIAGNOSIS_RULES.items() if name in ORDER}
    factory = getattr(gx, row.name)
    required = [
        p for p in inspect.signature(factory).parameters.values() if p.default is inspect._empty
    ]
    tx = factory(1e-3) if required else factory()
    assert not gx.diagnose(tx, PARAMS, rules={n: r for n, r in rules.items() if n not in KINDS})


# What depends on more than the order.
KINDS = {"decay_on_biases_and_norms", "decay_too_strong", "no_clipping"}


def test_what_init_refuses_is_a_finding():
    tx = gx.partition({"biases": (select.path(".*bias"), gx.sgd(0.1))})
    (finding,) = gx.diagnose(tx, PARAMS, model="transformer", memory_budget=1)
    assert finding.severity == "error"
    assert "no group selects some of the parameters" in finding.seen
    assert "embed/embedding, layer/kernel" in finding.seen
    (finding,) = gx.diagnose(gx.adam(1e-3), {"steps": np.zeros(3, np.int32)})
    assert "leaf `steps` is of type int32" in finding.seen


def test_everything_in_the_catalog_can_be_diagnosed():
    params = {"kernel": jnp.ones((4, 3)), "bias": np.ones(3, np.float32), "none": None}
    for row in CATALOG:
        for keywords in ({}, {"total_steps": 100, "model": "transformer", "examples": 10}):
            assert str(gx.diagnose(row.build(), params, **keywords))


def test_shapes_are_enough_and_nothing_is_run():
    shapes = jax.eval_shape(lambda: PARAMS)
    tx = gx.adamw(1e-3)
    assert [f.rule for f in gx.diagnose(tx, shapes)] == ["decay_on_biases_and_norms"]
    traced = []
    jax.jit(lambda p: traced.append(gx.diagnose(gx.adam(0.5), p)))(PARAMS)
    assert not traced[0]  # the lengths of the weights are not known there


def test_a_frameworks_boxes_are_seen_through():
    params = nnx.state(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.Param)
    (finding,) = gx.diagnose(gx.adamw(1e-3), params)
    assert "`bias`" in finding.seen


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"total_steps": 0}, ValueError, r"`diagnose\(total_steps=0\)`.*at least 1"),
        ({"batch_size": 1.5}, ValueError, "`batch_size` must be a whole number"),
        ({"examples": "many"}, ValueError, "`examples` must be a whole number"),
        ({"model": "llm"}, ValueError, "one of 'transformer', 'recurrent'"),
        ({"rules": [1]}, TypeError, "`rules` must be a dict from names to functions"),
        ({"rules": {"mine": lambda c: ["oh"]}}, TypeError, "the rule `mine` must give `Finding`s"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        gx.diagnose(gx.sgd(0.1), PARAMS, **change)


def test_what_is_no_transformation_is_refused():
    with pytest.raises(TypeError, match=r"`tx` must be a gradient transformation.*Call the fact"):
        gx.diagnose(gx.adam, PARAMS)
    with pytest.raises(ValueError, match="`severity` must be one of 'error', 'warning', 'hint'"):
        gx.Finding(severity="bad", seen="", why="", instead="")
