"""`diagnose_step`: steps with each fault, and steps without."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

WIDE = 64
SHAPES = {"a": (WIDE, WIDE), "b": (WIDE, WIDE), "c": (WIDE, 2 * WIDE), "d": (WIDE,)}
PARAMS = {name: jnp.full(shape, 0.01, jnp.float32) for name, shape in SHAPES.items()}
GRADS = {name: jnp.full(shape, 0.02, jnp.float32) for name, shape in SHAPES.items()}
BATCH = jnp.ones((8, WIDE))
ADAMW = optax.adamw(1e-3)
STATE = ADAMW.init(PARAMS)


def usual(grads, state, params):
    updates, state = ADAMW.update(grads, state, params)
    return optax.apply_updates(params, updates), state


def in_order(params, state, grads):
    return usual(grads, state, params)


def loss_fn(params, x):
    x = jnp.tanh(x @ params["a"])
    x = jnp.tanh(x @ params["b"] + params["d"][None, :])
    return jnp.mean((x @ params["c"] - 1.0) ** 2)


def rules(*args, **kwargs):
    return [finding.rule for finding in gx.diagnose_step(*args, **kwargs)]


def test_nothing_is_found_in_a_step_in_order():
    step = jax.jit(in_order, donate_argnums=(0, 1))
    report = gx.diagnose_step(step, PARAMS, STATE, GRADS)
    assert not report, report
    assert str(report).startswith("in_order with 17 arrays among its arguments: nothing found by 8")
    assert not PARAMS["a"].is_deleted()  # it runs nothing, and donates nothing


@pytest.mark.parametrize(
    "tx",
    [gx.adamw(gx.cosine_decay(1e-3, 100)), gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(0.1, 0.9))],
)
def test_nothing_is_found_in_the_librarys_steps(tx):
    assert not rules(gx.make_update_step(tx), PARAMS, tx.init(PARAMS), GRADS)
    for accumulate in (1, 2):
        step = gx.make_train_step(loss_fn, tx, accumulate=accumulate)
        assert not rules(step, gx.TrainState.create(tx, PARAMS), BATCH)


def test_buffers_that_are_paired_crosswise():
    step = jax.jit(usual, donate_argnums=(1, 2))
    found = gx.diagnose_step(step, GRADS, STATE, PARAMS)
    (finding,) = [f for f in found if f.rule == "buffers_paired_crosswise"]
    assert "the new `params['c']`, which has that of `state[0].mu['c']`" in finding.seen
    copied = re.search(r"the program copies (\d+) arrays, ([\d,]+) bytes$", finding.seen)
    size = 4 * sum(x.size for x in PARAMS.values())
    assert int(copied[2].replace(",", "")) >= 3 * size  # parameters and both moments, at least
    assert finding.severity == "hint"  # the arrays are small
    assert "copies_of_whole_arrays" not in {f.rule for f in found}


def test_large_arrays_make_a_warning_of_it():
    large = {"a": jax.ShapeDtypeStruct((1000, 500), "float32")}
    tx = gx.sgd(0.1, momentum=0.9)

    def step(grads, state, params):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    state = jax.eval_shape(tx.init, large)
    (finding, *_) = gx.diagnose_step(jax.jit(step, donate_argnums=(1, 2)), large, state, large)
    assert (finding.rule, finding.severity) == ("buffers_paired_crosswise", "warning")


def test_steps_that_donate_nothing():
    found = gx.diagnose_step(jax.jit(usual), GRADS, STATE, PARAMS)
    assert [f.rule for f in found] == ["not_donated", "not_donated"]
    assert "`grads`, `params`, which is not donated" in found[0].seen
    size = 4 * sum(x.size for x in PARAMS.values())
    assert f"{size:,} bytes" in found[0].seen
    assert f"{2 * size + 4:,} bytes" in found[1].seen
    assert rules(jax.jit(in_order, donate_argnums=0), PARAMS, STATE, GRADS) == ["not_donated"]
    assert not rules(jax.jit(loss_fn), PARAMS, BATCH)  # nothing comes back


def test_what_is_donated_in_vain():
    step = jax.jit(in_order, donate_argnums=(0, 1, 2))
    (finding,) = gx.diagnose_step(step, PARAMS, STATE, GRADS)
    assert finding.rule == "donated_in_vain"
    assert "`grads['a']`" in finding.seen


def test_a_step_that_reads_what_it_has_replaced_copies_it():
    def step(params, x):
        new = jax.tree.map(lambda p: 0.9 * p, params)
        return new, jnp.sum(x @ params["a"].T), jnp.flip(params["a"]) + new["a"]

    found = rules(jax.jit(step, donate_argnums=0), {"a": PARAMS["a"]}, BATCH)
    assert found in ([], ["copies_of_whole_arrays"])  # XLA may order it so that none is needed

    @functools.partial(jax.jit, donate_argnums=0)
    def swapped(pair):
        return {"a": pair["b"], "b": pair["a"]}

    assert "copies_of_whole_arrays" in rules(swapped, {"a": PARAMS["a"], "b": PARAMS["b"]})


def test_state_that_changes_its_type():
    def counted(params, count):
        return params, (count[0] + jnp.float32(1.0),)

    step = jax.jit(counted, donate_argnums=(0, 1))
    found = gx.diagnose_step(step, PARAMS, (np.zeros(3, np.int32),))
    (finding,) = [f for f in found if f.rule == "state_changes_its_type"]
    assert finding.seen == "`count[0]` comes in as int32[3] and is returned as float32[3]"
    assert finding.severity == "error"
    found = gx.diagnose_step(
        jax.jit(lambda p, s: (p, {"n": s["n"] + jnp.int32(1), "m": s["m"]})),
        PARAMS,
        {"n": 0, "m": jnp.ones(2)},
    )
    (finding,) = [f for f in found if f.rule == "state_changes_its_type"]
    assert finding.seen.endswith("comes in as weakly typed int32[] and is returned as int32[]")


def test_parameters_filled_with_a_python_number_are_weakly_typed():
    params = {"w": jnp.full((3, 4), 0.01)}
    tx = gx.adam(1e-3)
    step, grads = gx.make_update_step(tx), {"w": np.ones((3, 4), np.float32)}
    found = gx.diagnose_step(step, params, tx.init(params), grads)
    assert [f.rule for f in found] == ["state_changes_its_type", "weakly_typed_arguments"]
    assert "`params['w']` comes in as weakly typed float32[3, 4]" in found[0].seen
    compiled = jax.jit(lambda *args: step(*args))
    params, state = compiled(params, tx.init(params), grads)
    compiled(params, state, grads)
    assert compiled._cache_size() == 2  # and it is so


def test_python_numbers_among_the_arguments():
    def step(params, rate):
        return jax.tree.map(lambda p: p - rate * p, params)

    step = jax.jit(step, donate_argnums=0)
    (finding,) = gx.diagnose_step(step, PARAMS, 0.1)
    assert (finding.rule, finding.severity) == ("weakly_typed_arguments", "hint")
    assert finding.seen == "Python numbers among the arguments: `rate`"
    assert rules(step, PARAMS, jnp.asarray(0.1)) == ["weakly_typed_arguments"]
    assert not rules(step, PARAMS, jnp.asarray(0.1, jnp.float32))


def test_further_calls_that_need_another_program():
    step = jax.jit(lambda params, x: params, donate_argnums=0)
    (finding,) = gx.diagnose_step(
        step, PARAMS, BATCH, other_calls=[(PARAMS, BATCH), (PARAMS, BATCH[:3])]
    )
    assert finding.rule == "another_call_compiles_again"
    assert finding.seen == "further call 2: `x` is float32[3, 64], and was float32[8, 64]"
    changed = PARAMS | {"e": jnp.ones(1)}
    (finding,) = gx.diagnose_step(step, PARAMS, BATCH, other_calls=[(changed, BATCH)])
    assert "`params['e']` is float32[1], and was not there" in finding.seen


def test_temporaries_of_an_update():
    clipped = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    shapes = {f"w{i}": (WIDE, WIDE) for i in range(12)}
    params = {name: jnp.ones(shape) for name, shape in shapes.items()}

    def step(params, state, grads):
        updates, state = clipped.update(grads, state, params)
        return jax.lax.optimization_barrier(updates), state

    state = clipped.init(params)
    held = rules(jax.jit(step, donate_argnums=(0, 1)), params, state, params)
    ours = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3))
    assert "temporaries_beyond_largest_array" in held
    assert not rules(gx.make_update_step(ours), params, ours.init(params), params)


def test_static_and_keyword_arguments():
    @functools.partial(jax.jit, static_argnums=0, static_argnames=("flag",), donate_argnums=2)
    def step(n, x, params, *, flag=True, rate):
        return jax.tree.map(lambda p: p * n * rate if flag else p, params), jnp.sum(x)

    rate = jnp.float32(0.5)
    assert not rules(step, 3, BATCH, PARAMS, flag=True, rate=rate)
    found = gx.diagnose_step(step, 3, BATCH, PARAMS, flag=False, rate=0.5)
    assert [f.seen for f in found] == ["Python numbers among the arguments: `rate`"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: gx.diagnose_step(in_order, PARAMS),
            r"`diagnose_step\(in_order, ...\)`.*Pass `jax.jit\(in_order\)`",
        ),
        (lambda: gx.diagnose_step(3), "`step` must be what `jax.jit` returned"),
        (lambda: gx.diagnose_step(jax.jit(in_order), other_calls=BATCH), "a list of tuples"),
        (lambda: gx.diagnose_step(jax.jit(in_order), other_calls=[BATCH]), "list of tuples of pos"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(TypeError, match=message):
        call()
