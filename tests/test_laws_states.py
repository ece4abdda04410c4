"""A state fits or is refused: what a run meets that goes on from the state of other arguments.

Only what is static is compared. So a state is taken exactly where it has the types of one that
`init` of the new arguments makes; every other is refused with the way out, before anything is
computed, outside of `jit` as inside. What only a traced value could tell has a defined behaviour.
"""

import contextlib
import sys
from typing import NamedTuple

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import assert_equal, every_row, normal, types

import gradxform as gx
from gradxform import select
from gradxform.core import check
from gradxform.core.factory import Signature
from gradxform.core.hyperparams import ScalarRule

PARAMS = {"kernel": normal((4, 3)), "bias": normal((3,), seed=1), "scale": normal((), seed=2)}
GRADS = jax.tree.map(jnp.ones_like, PARAMS)


def changes(row):
    """The row with one argument changed as far as its rule allows, by a name for the change."""
    tx = row.build()
    rules = Signature(row.factory.__wrapped__).rules
    for name, value in tx.recipe.arguments.items():
        rule = rules[name]
        inner = rule.rule if isinstance(rule, check.Optional) else rule
        others = {}
        if isinstance(inner, ScalarRule):
            number = value if isinstance(value, float) else 0.5
            others = {"number": number, "tunable": gx.tunable(number)}
            others |= {"schedule": gx.linear_schedule(number, number, 3)}
            others |= {"plateau": gx.reduce_on_plateau(number)} if number >= 0 else {}
        elif isinstance(inner, check.Flag):
            others = {"switched": not value}
        elif isinstance(inner, check.Choice):
            others = {str(word): word for word in inner.words if word != value}
        elif isinstance(inner, check.Whole):
            others = {"longer": (value or 1) + 1}
        elif name == "state_dtype":
            others = {"narrow": "bfloat16"}
        if isinstance(rule, check.Optional):
            others["none"] = None
        for what, other in others.items():
            with contextlib.suppress(TypeError, ValueError):  # what together is not allowed
                changed = row.build(**{name: other})
                yield f"{name}: {what}", changed, changed.init(PARAMS)


@every_row
def test_a_state_is_taken_where_it_has_the_types_of_ones_own_and_refused_elsewhere(row):
    tx = row.build()
    own = tx.init(PARAMS)
    for what, other, theirs in changes(row):
        alike = types(own) == types(theirs)
        for one, state in ((tx, theirs), (other, own)):
            if alike:
                assert one.update.fit(state, PARAMS) is state, what
                continue
            with pytest.raises((TypeError, ValueError), match=r"transfer_state\(old_state"):
                one.update.fit(state, PARAMS)


@every_row
def test_numbers_are_arrays_and_a_state_without_its_classes_is_refused(row):
    tx = row.build()
    state = tx.init(PARAMS)

    def plain(x):
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.extended)
        return x if is_key or x.ndim else np.asarray(x).item()

    if not row.on_host:
        fitted = tx.update.fit(jax.tree.map(plain, state), PARAMS)
        assert types(fitted) == types(state)
        numbers = jax.tree.map(
            lambda x: x if isinstance(plain(x), jax.Array) else np.asarray(x), state
        )
        assert types(tx.update.fit(numbers, PARAMS)) == types(state)
    restored = flax.serialization.to_state_dict(state)
    if jax.tree.leaves(state) and jax.tree.structure(restored) != jax.tree.structure(state):
        with pytest.raises((TypeError, ValueError), match="transfer_state"):
            tx.update.fit(restored, PARAMS)


A = gx.with_metrics(gx.sgd(0.1), groups={"A": select.path("kernel")})
B = gx.with_metrics(gx.sgd(0.1), groups={"B": select.path("bias")})
PLATEAU = gx.adamw(gx.reduce_on_plateau(1e-3))
# From the state of the first to the second: what the message says.
REFUSED = {
    "number to plateau": (gx.adamw(1e-3), PLATEAU, "not `learning_rate` (ReduceOnPlateauState)"),
    "plateau to schedule": (
        PLATEAU,
        gx.adamw(gx.cosine_decay(0.1, 9)),
        "(ReduceOnPlateauState), not",
    ),
    "a longer window": (
        gx.skip_spikes(gx.sgd(1.0), window=10),
        gx.skip_spikes(gx.sgd(1.0), window=100),
        "`readings` is float32[10] in it, and float32[100]",
    ),
    "16 bits to 32": (
        gx.adam(1e-3, state_dtype="bfloat16"),
        gx.adam(1e-3),
        "`0/mu/bias` is bfloat16[3] in it, and float32[3]",
    ),
    "other groups": (A, B, "`readings/B/gradient_norm` is missing in it"),
    "no window any more": (
        gx.accumulate(gx.sgd(1.0), 4),
        gx.accumulate(gx.sgd(1.0), 1),
        "`acc_extra/value` is float32[] in it, and missing",
    ),
    "momentum": (gx.sgd(0.1), gx.sgd(0.1, 0.9), "of 1 links, not of 2"),
    "inside of what waits": (
        gx.accumulate(gx.adam(0.1, state_dtype="bfloat16"), 4),
        gx.accumulate(gx.adam(0.1), 4),
        "`inner_state/0/mu/bias` is bfloat16[3]",
    ),
}


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("case", REFUSED)
def test_the_refusal_names_the_first_difference_and_the_transfer_is_taken(case, jit):
    old, new, words = REFUSED[case]
    update = jax.jit(new.update) if jit else new.update
    state = old.init(PARAMS)
    with pytest.raises((TypeError, ValueError)) as error:
        update(GRADS, state, PARAMS, value=1.0)
    assert words in str(error.value)
    assert "transfer_state(" in str(error.value)
    transferred = gx.transfer_state(state, new, PARAMS).state
    update(GRADS, transferred, PARAMS, value=1.0)


def test_without_the_parameters_each_block_looks_at_its_own_part():
    narrow = gx.adam(0.1, state_dtype="bfloat16").init(PARAMS)
    with pytest.raises(ValueError, match=r"`mu/bias` is bfloat16\[3\] in it"):
        gx.adam(0.1).update(GRADS, narrow)
    with jax.enable_x64(True):  # the gradients may have fewer digits than the parameters
        wide = jax.tree.map(lambda p: p.astype("float64"), PARAMS)
        gx.adam(0.1).update(GRADS, gx.adam(0.1).init(wide))


def test_a_state_of_another_precision_setting_is_refused():
    state = gx.with_metrics(gx.sgd(0.1)).init(PARAMS)
    words = r"is float32\[\] in it, and float64\[\]"
    with jax.enable_x64(True), pytest.raises(ValueError, match=words):
        jax.jit(gx.with_metrics(gx.sgd(0.1)).update)(GRADS, state, PARAMS)


def test_a_number_that_is_none_of_its_kind_is_refused():
    state = gx.adam(0.1).init(PARAMS)
    for count in (2.5, jnp.float32(500), "three", None):
        with pytest.raises(ValueError, match=r"`0/count` is"):
            gx.adam(0.1).update(GRADS, (state[0]._replace(count=count), state[1]), PARAMS)
    _, after = gx.adam(0.1).update(GRADS, (state[0]._replace(count=2**40), state[1]), PARAMS)
    assert int(after[0].count) == 2**31 - 1


def python_calls(function):
    calls = []
    sys.setprofile(lambda frame, event, arg: calls.append(frame) if event == "call" else None)
    try:
        function()
    finally:
        sys.setprofile(None)
    return len(calls)


def test_the_verdict_is_remembered():
    counts = []
    for size in (4, 40):
        params = {str(i): jnp.zeros(3) for i in range(size)}
        tx = gx.adamw(0.1)
        state = tx.init(params)
        tx.update.fit(state, params)
        tx.update.fit(state, params)
        counts.append(python_calls(lambda: tx.update.fit(state, params)))  # noqa: B023
    assert counts[0] == counts[1] < 60


class Counted(NamedTuple):
    n: int


FOREIGN = optax.GradientTransformation(
    lambda params: Counted(0), lambda u, state, params=None: (u, Counted(state.n + 1))
)
AROUND = {
    "skip_nonfinite": gx.skip_nonfinite,
    "skip_spikes": gx.skip_spikes,
    "dynamic_loss_scale": gx.dynamic_loss_scale,
    "accumulate": lambda tx: gx.accumulate(tx, 2),
    "offload_to_host": gx.offload_to_host,
    "with_metrics": gx.with_metrics,
    "partition": lambda tx: gx.partition({"kernel": (select.path("kernel"), tx)}, default=tx),
}


@pytest.mark.parametrize("name", AROUND)
def test_a_foreign_state_may_hold_pythons_numbers(name):
    tx = AROUND[name](FOREIGN)
    state = tx.init(PARAMS)
    for _ in range(3):
        _, state = tx.update(GRADS, state, PARAMS)


PER_EXAMPLE = jax.tree.map(lambda p: jnp.stack([jnp.ones_like(p)] * 8), PARAMS)


def private():
    return optax.contrib.differentially_private_aggregate(1.0, 0.0, 0)


INSIDE = gx.chain(private(), gx.sgd(0.1, momentum=0.9))
WITH_PRIVACY = {
    "chain": INSIDE,
    "after a link of ours": gx.chain(gx.scale(1.0), private(), gx.sgd(0.1)),
    "named_chain": gx.named_chain(("private", private()), ("sgd", gx.sgd(0.1))),
    "masked": gx.masked(INSIDE, True),
    "freeze": gx.chain(private(), gx.freeze(gx.sgd(0.1), {**dict.fromkeys(PARAMS, False)})),
    "partition": gx.partition({"all": (select.all, INSIDE)}),
    "skip_nonfinite": gx.skip_nonfinite(INSIDE),
    "with_metrics": gx.with_metrics(INSIDE),
    "ema_params": gx.ema_params(INSIDE, 0.9),
    "accumulate": gx.accumulate(INSIDE, 1),
    "accumulate, inside": gx.chain(private(), gx.accumulate(gx.sgd(0.1), 1)),
}


@pytest.mark.parametrize("name", WITH_PRIVACY)
def test_gradients_of_examples_reach_a_foreign_link(name):
    expected, _ = INSIDE.update(PER_EXAMPLE, INSIDE.init(PARAMS))
    tx = WITH_PRIVACY[name]
    updates, _ = tx.update(PER_EXAMPLE, tx.init(PARAMS), PARAMS)
    assert_equal(updates, expected)


def test_a_wrong_tree_is_named_where_it_is_needed():
    wrong = gx.chain(optax.scale(1.0), gx.adamw(0.1))
    for tx in (wrong, gx.accumulate(INSIDE, 2), gx.bucket(INSIDE)):
        with pytest.raises(ValueError, match=r"leaf `bias` is float32\[8, 3\] among the gradients"):
            tx.update(PER_EXAMPLE, tx.init(PARAMS), PARAMS)


@every_row
def test_optax_finds_the_trees_of_parameters_in_a_state(row):
    """Also beside a second tree. What has other shapes than the parameters is not among them."""
    tx = row.build()
    state = tx.init(PARAMS)

    def first(x, *others):
        return x

    for others in ((), (PARAMS,)):
        same = optax.tree.map_params(
            tx, first, state, *others, is_leaf=lambda x: isinstance(x, optax.MaskedNode)
        )
        assert jax.tree.structure(same) == jax.tree.structure(state)


def test_optax_finds_them_behind_masks():
    chosen = {"kernel": True, "bias": False, "scale": True}
    adam = gx.adam(0.1)
    for tx in (
        gx.masked(adam, chosen),
        gx.freeze(adam, chosen),
        gx.partition({"chosen": (chosen, adam)}, default=gx.sgd(0.1, 0.9)),
        gx.with_metrics(adam, groups={"chosen": chosen}),
    ):
        state = tx.init(PARAMS)
        ones = optax.tree.map_params(tx, jnp.ones_like, state)
        assert jax.tree.structure(ones) == jax.tree.structure(state)
        found = gx.hyperparams(ones), gx.hyperparams(state)
        assert_equal(dict(found[0]), dict(found[1]))
