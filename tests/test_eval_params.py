"""Reading the parameters to evaluate with from any state."""

import collections
import inspect
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

WRAPPERS = {
    "ema_params": lambda inner: gx.ema_params(inner, 0.5),
    "average_params": lambda inner: gx.average_params(inner, 0),
    "lookahead": lambda inner: gx.lookahead(inner, 2),
    "schedule_free": lambda inner: gx.schedule_free(inner, b1=0.5),
}
every_wrapper = pytest.mark.parametrize("name", WRAPPERS)


def some_params(dtype="float32"):
    return {"w": jnp.asarray([1.0, -2.0, 3.0], dtype), "b": jnp.asarray([0.25], dtype)}


def trained(tx, params, steps=3, update=None, g=0.5):
    state = tx.init(params)
    for t in range(steps):
        grads = jax.tree.map(lambda p, t=t: jnp.full_like(p, g * (t + 1)), params)
        updates, state = (update or tx.update)(grads, state, params)
        params = gx.apply_updates(params, updates)
    return params, state


def assert_same(a, b, rtol=0.0):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(np.asarray(x, float), np.asarray(y, float), rtol=rtol)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@every_wrapper
def test_before_the_first_step_they_are_the_parameters(name, dtype):
    """Eagerly and compiled: a traced count could not be refused."""
    params = some_params(dtype)
    state = WRAPPERS[name](gx.sgd(0.1)).init(params)
    for read in (gx.eval_params, jax.jit(gx.eval_params)):
        assert_same(read(state, params), params)


@pytest.mark.parametrize("name", ["ema_params", "average_params"])
def test_before_the_start_they_are_the_current_parameters(name):
    tx = getattr(gx, name)(gx.sgd(0.1), start=3)
    params, state = trained(tx, some_params())
    assert_same(gx.eval_params(state, params), params)
    params, state = trained(tx, some_params(), steps=5)
    assert np.all(np.asarray(gx.eval_params(state, params)["w"]) != np.asarray(params["w"]))


@every_wrapper
def test_what_they_are(name):
    """Steps of -0.1, -0.2, -0.3 from p, by hand."""
    params, state = trained(WRAPPERS[name](gx.sgd(0.2)), {"w": jnp.zeros(1)})
    expected = {
        "ema_params": -(0.1 * 1 + 0.3 * 2 + 0.6 * 4) / 7,
        "average_params": -(0.1 + 0.3 + 0.6) / 3,
        "lookahead": -0.15,
        "schedule_free": -(0.1 + 0.3 + 0.6) / 3,
    }
    np.testing.assert_allclose(gx.eval_params(state, params)["w"], expected[name], rtol=1e-6)


NESTINGS = {
    "chain": lambda tx: gx.chain(gx.clip_by_global_norm(1e9), tx),
    "chain in a chain": lambda tx: gx.chain(gx.chain(gx.identity(), gx.chain(tx))),
    "named chain": lambda tx: gx.named_chain(("clip", gx.clip_by_value(1e9)), ("opt", tx)),
    "skip_nonfinite": gx.skip_nonfinite,
    "accumulate": lambda tx: gx.accumulate(tx, 1),
    "masked": lambda tx: gx.masked(tx, {"w": True, "b": True}),
    "partition": lambda tx: gx.partition({"all": (gx.select.all, tx)}),
    "optax.chain": lambda tx: optax.chain(optax.identity(), tx),
    "optax.apply_if_finite": lambda tx: optax.apply_if_finite(tx, 3),
    "optax.masked": lambda tx: optax.masked(tx, True),
    "optax.MultiSteps": lambda tx: optax.MultiSteps(tx, 1),
}


@pytest.mark.parametrize("nesting", NESTINGS)
@every_wrapper
def test_through_any_nesting(name, nesting):
    tx = WRAPPERS[name](gx.adam(gx.tunable(0.1)))
    params, state = trained(tx, some_params())
    nested, nested_state = trained(NESTINGS[nesting](tx), some_params())
    assert_same(nested, params, rtol=1e-5)  # some of them compile a branch
    expected = gx.eval_params(state, params)
    for around in (nested_state, {"step": jnp.zeros(()), "states": [nested_state]}):
        assert_same(gx.eval_params(around, nested), expected, rtol=1e-5)


@every_wrapper
def test_hyperparameters_of_its_own_around_it(name):
    numbers = {"ema_params": {"decay": gx.tunable(0.5)}, "lookahead": {"slow_step_size": 0.5}}
    numbers |= {"average_params": {"start": 0, "power": gx.tunable(0.0)}}
    numbers |= {"schedule_free": {"b1": gx.constant_schedule(0.5)}}
    numbers["lookahead"] |= {"sync_period": 2}
    tunable, state = trained(getattr(gx, name)(gx.sgd(0.2), **numbers[name]), some_params())
    params, expected = trained(WRAPPERS[name](gx.sgd(0.2)), some_params())
    assert_same(tunable, params)
    np.testing.assert_allclose(
        gx.eval_params(state, params)["w"], gx.eval_params(expected, params)["w"], rtol=1e-6
    )


# Groups


def test_groups_with_averages_of_their_own_and_without():
    groups = {
        "a": (gx.select.path("w"), gx.ema_params(gx.sgd(0.2), 0.5)),
        "b": (gx.select.path("b"), gx.schedule_free(gx.sgd(0.2), b1=0.5)),
    }
    params = {**some_params(), "c": jnp.ones(2)}
    params, state = trained(gx.partition(groups, default=gx.sgd(0.1)), params)
    read = gx.eval_params(state, params)
    np.testing.assert_allclose(read["w"], np.asarray(some_params()["w"]) - 3.1 / 7, rtol=1e-6)
    np.testing.assert_allclose(read["b"], 0.25 - 1.0 / 3, rtol=1e-5)
    np.testing.assert_array_equal(read["c"], params["c"])
    only = gx.eval_params(state, params, which="ema_params")
    np.testing.assert_array_equal(only["w"], read["w"])
    np.testing.assert_array_equal(only["b"], params["b"])


def test_two_groups_with_the_same_wrapper_are_no_conflict():
    tx = gx.ema_params(gx.sgd(0.2), 0.5)
    whole, expected = trained(tx, some_params())
    groups = {"a": (gx.select.path("w"), tx), "b": (gx.select.path("b"), tx)}
    params, state = trained(gx.partition(groups), some_params())
    assert_same(gx.eval_params(state, params), gx.eval_params(expected, whole))
    assert_same(gx.eval_params(state, params, which="ema_params"), gx.eval_params(expected, whole))
    one = gx.eval_params(state, params, which="b/ema_params")
    np.testing.assert_array_equal(one["w"], params["w"])
    assert np.all(np.asarray(one["b"]) != np.asarray(params["b"]))


def test_frozen_parameters_are_their_own_average():
    tx = gx.freeze(gx.ema_params(gx.sgd(0.2)), gx.select.path("b"))
    params, state = trained(tx, some_params())
    np.testing.assert_array_equal(gx.eval_params(state, params)["b"], some_params()["b"])


# Several averages of one parameter

TWICE = gx.ema_params(gx.lookahead(gx.sgd(0.2), 2), 0.5)


def test_two_averages_of_one_parameter_are_an_error_that_names_both():
    params, state = trained(TWICE, some_params())
    error = r"eval_params`: leaf `b` is averaged by `ema_params` and by `lookahead`\. .*which="
    with pytest.raises(ValueError, match=error):
        gx.eval_params(state, params)
    np.testing.assert_array_equal(
        gx.eval_params(state, params, which="lookahead")["w"], state.inner_state.slow["w"]
    )
    np.testing.assert_array_equal(
        gx.eval_params(state, params, which="ema_params")["w"], state.ema["w"]
    )
    with pytest.raises(ValueError, match=r"no average `lookahed` .* Did you mean `lookahead`\?"):
        gx.eval_params(state, params, which="lookahed")


def test_two_averages_by_the_same_wrapper_are_told_by_their_place():
    tx = gx.chain(gx.ema_params(gx.ema_params(gx.sgd(0.2), 0.5), 0.9))
    params, state = trained(tx, some_params())
    with pytest.raises(ValueError, match="by `0/ema_params` and by `0/inner_state/ema_params`"):
        gx.eval_params(state, params)
    for which, kept in (
        ("0/ema_params", state[0].ema),
        ("0/inner_state/ema_params", state[0].inner_state.ema),
    ):
        np.testing.assert_array_equal(gx.eval_params(state, params, which=which)["w"], kept["w"])
    with pytest.raises(ValueError, match="leaf `b` is averaged by"):
        gx.eval_params(state, params, which="ema_params")


# Bad input


def test_a_state_without_an_average():
    params, state = trained(gx.adam(0.1), some_params())
    with pytest.raises(
        ValueError, match=r"`eval_params`: this state holds no average\. Wrap .*`ema"
    ):
        gx.eval_params(state, params)
    params, state = trained(TWICE, some_params())
    with pytest.raises(ValueError, match=r"The state comes first: `eval_params\(state, params\)`"):
        gx.eval_params(params, state)


def test_parameters_of_another_model():
    params, state = trained(gx.ema_params(gx.sgd(0.2)), some_params())
    with pytest.raises(ValueError, match="leaf `b` has an average by `ema_params` and is not in"):
        gx.eval_params(state, {"w": params["w"]})
    with pytest.raises(
        ValueError, match=r"`w` is float32\[2\], and float32\[3\] in the average of"
    ):
        gx.eval_params(state, {"w": params["w"][:2], "b": params["b"]})
    with pytest.raises(ValueError, match="the same leaves in different containers"):
        gx.eval_params(state, collections.OrderedDict(params))


# As arrays and trees


@every_wrapper
def test_dtypes_and_missing_leaves_are_those_of_the_parameters(name):
    params = {
        **some_params("bfloat16"),
        "none": None,
        "z": jnp.ones(2, "complex64"),
        "e": jnp.ones(0),
    }
    params, state = trained(WRAPPERS[name](gx.sgd(0.2)), params)
    read = gx.eval_params(state, params)
    assert jax.tree.structure(read) == jax.tree.structure(params)
    assert jax.tree.map(lambda x: x.dtype, read) == jax.tree.map(lambda x: x.dtype, params)


@every_wrapper
def test_what_was_read_survives_the_donation_of_the_state(name):
    tx = gx.freeze(WRAPPERS[name](gx.sgd(0.2)), gx.select.path("b"))
    params, state = trained(tx, some_params())
    read = gx.eval_params(state, params)
    expected = jax.tree.map(np.array, read)
    step = jax.jit(lambda p, s: (p, tx.update(p, s, p)[1]), donate_argnums=(0, 1))
    step(params, state)
    jax.tree.map(np.testing.assert_array_equal, read, expected)


def test_of_a_batch_of_trainings():
    tx = gx.ema_params(gx.sgd(gx.tunable(0.2)), 0.5)

    def run(rate):
        params = some_params()
        state = gx.set_hyperparams(tx.init(params), learning_rate=rate)
        for _ in range(2):
            updates, state = tx.update(params, state, params)
            params = gx.apply_updates(params, updates)
        return params, state, gx.eval_params(state, params)

    params, state, inside = jax.vmap(run)(jnp.asarray([0.1, 0.3]))
    assert_same(jax.vmap(gx.eval_params)(state, params), inside)


def test_a_whole_equinox_model():
    """Functions and integers of the model are passed on: the result is a model."""
    model = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))
    tx = gx.ema_params(gx.sgd(0.2), 0.5)
    arrays, state = trained(tx, eqx.filter(model, eqx.is_inexact_array))
    trained_model = eqx.combine(arrays, model)
    read = gx.eval_params(state, trained_model)
    assert jnp.shape(read(jnp.ones(2))) == (1,)
    assert_same(eqx.filter(read, eqx.is_array), gx.eval_params(state, arrays))


def test_the_example_of_the_docstring_runs(capsys):
    text = inspect.getdoc(gx.eval_params)
    code = textwrap.dedent(text[text.index("    tx = ") : text.index("With Flax NNX")])
    exec(code, {"gx": gx, "jax": jax, "jnp": jnp})
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 5
    assert losses[-1] < 1e-3 < 1.0 < losses[0]
