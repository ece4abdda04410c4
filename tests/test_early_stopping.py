"""Early stopping: when it stops, what it keeps, and in which loops it runs."""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.training import early_stopping as flax_early_stopping
from problems import assert_equal, types
from refusals import assert_refused

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def after(stopper, values):
    """The state after each of the values."""
    values = jnp.asarray(values, "float32")

    def step(state, value):
        state = stopper.update(state, value)
        return state, state

    return jax.jit(lambda: jax.lax.scan(step, stopper.init(), values)[1])()


def test_by_hand():
    state = after(gx.early_stopping(2, 0.5), [3.0, 2.6, 2.4, 2.0, 1.8, 1.5, 1.5, 0.1])
    assert state.best_value.tolist() == pytest.approx([3, 3, 2.4, 2.4, 1.8, 1.8, 1.8, 0.1])
    assert state.best_step.tolist() == [0, 0, 2, 2, 4, 4, 4, 7]
    assert state.bad_readings.tolist() == [0, 1, 0, 1, 0, 1, 2, 0]
    assert state.count.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert not np.any(state.should_stop)


def test_more_than_patience_readings_in_a_row_stop_for_good():
    state = after(gx.early_stopping(2), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    assert state.should_stop.tolist() == [False, False, False, True, True, True]
    assert after(gx.early_stopping(0), [1.0, 0.9, 0.9]).should_stop.tolist() == [False, False, True]


def test_larger_may_be_better_and_values_negative():
    state = after(gx.early_stopping(1, mode="max", rtol=0.1), [-10.0, -9.5, -8.9, -8.9, -8.9])
    assert state.best_step.tolist() == [0, 0, 2, 2, 2]
    assert state.should_stop.tolist() == [False, False, False, False, True]
    state = after(gx.early_stopping(1, rtol=0.1), [-10.0, -10.5, -11.1])
    assert state.best_step.tolist() == [0, 0, 2]


def test_nan_never_improves():
    state = after(gx.early_stopping(2), [np.nan, 5.0, np.nan, np.nan, np.nan])
    assert state.best_value.tolist() == [np.inf, 5.0, 5.0, 5.0, 5.0]
    assert state.best_step.tolist() == [-1, 1, 1, 1, 1]
    assert state.should_stop.tolist() == [False, False, False, False, True]
    assert bool(after(gx.early_stopping(2), [np.nan] * 3).should_stop[-1])


def readings(seed):
    rng = np.random.default_rng(seed)
    return (3.0 * np.exp(-np.arange(40) / 10) + rng.normal(0, 0.1, 40)).astype(np.float32)


@pytest.mark.parametrize(("patience", "min_delta"), [(0, 0.0), (3, 0.0), (4, 0.1)])
def test_it_stops_where_flax_does(patience, min_delta):
    for seed in range(5):
        theirs = flax_early_stopping.EarlyStopping(min_delta=min_delta, patience=patience)
        stops, best = [], []
        for value in readings(seed):
            theirs = theirs.update(value)
            stops.append(theirs.should_stop)
            best.append(theirs.best_metric)
        ours = after(gx.early_stopping(patience, min_delta), readings(seed))
        assert ours.should_stop.tolist() == stops
        assert ours.best_value.tolist() == best
        assert any(stops)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_it_stops_where_reduce_on_plateau_reduces_first(mode):
    for seed in range(5):
        values = readings(seed) * (1 if mode == "min" else -1)
        values[[4, 17]] = np.nan
        rule = {"mode": mode, "rtol": 0.02}
        tx = gx.sgd(gx.reduce_on_plateau(1.0, factor=0.5, patience=3, atol=0.01, **rule))
        state = after(gx.early_stopping(3, 0.01, **rule), values)

        def step(state, value, tx=tx):
            _, state = tx.update(jnp.ones(()), state, value=value)
            return state, gx.hyperparams(state)["learning_rate"]

        rates = np.asarray(jax.lax.scan(step, tx.init(jnp.ones(())), values)[1])
        assert np.argmax(state.should_stop) == np.argmax(rates < 1.0) > 0


def test_as_the_condition_of_a_while_loop():
    """Gradient descent to the valley, then patience: 1 at w = 0, reached in halves."""
    stopper = gx.early_stopping(5, 1e-3)

    def body(carry):
        w, state = carry
        w = w - 0.25 * 2 * w
        return w, stopper.update(state, 1 + w**2, {"w": w})

    @jax.jit
    def train(w):
        start = (w, stopper.init({"w": w}))
        return jax.lax.while_loop(lambda carry: ~carry[1].should_stop, body, start)

    w, state = train(jnp.float32(1.0))
    values = 1 + 0.25 ** np.arange(1, 20)
    # The last improvement by 1e-3 is from 4^-4 to 4^-5; six more readings follow.
    assert (int(state.best_step), int(state.count)) == (4, 11)
    assert float(state.best_value) == pytest.approx(values[4])
    assert float(state.best_params["w"]) == 0.5**5
    assert float(w) == 0.5**11


def test_members_of_a_batch_stop_on_their_own():
    stopper = gx.early_stopping(1)
    state = jax.vmap(lambda _: stopper.init())(jnp.arange(2))
    for values in ([3.0, 3.0], [2.0, 3.0], [1.0, 4.0]):
        state = jax.vmap(stopper.update)(state, jnp.array(values))
    assert state.should_stop.tolist() == [False, True]


def test_the_best_parameters_are_kept_in_buffers_of_their_own():
    stopper = gx.early_stopping(9)
    params = {"w": jnp.ones(3, "bfloat16"), "none": None, "n": jnp.arange(2)}
    state = stopper.init(params)
    before = types(state)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, value):
        params = {**params, "w": params["w"] + 1}
        return params, stopper.update(state, value, params)

    for value in (3.0, 1.0, 2.0, jnp.bfloat16(1.5), 7):
        params, state = step(params, state, value)
        assert types(state) == before
    assert_equal(state.best_params, {**params, "w": jnp.full(3, 3, "bfloat16")})
    assert int(state.best_step) == 1


def test_under_x64_readings_are_float64():
    with jax.enable_x64(True):
        stopper = gx.early_stopping(0)
        state = stopper.update(stopper.init(), 1.0 + 1e-12)
        state = stopper.update(state, 1.0)
        assert int(state.best_step) == 1


def test_it_is_a_value():
    stopper = gx.early_stopping(5, min_delta=1e-3, mode="max")
    assert repr(stopper) == "early_stopping(patience=5, min_delta=0.001, mode='max')"
    same = gx.early_stopping(mode="max", patience=5.0, min_delta=np.float64(1e-3), rtol=0)
    assert same == stopper
    assert len({same, stopper, gx.early_stopping(5)}) == 2
    assert stopper != gx.early_stopping(5, 1e-3)
    assert repr(gx.early_stopping()) == "early_stopping()"
    for clone in (pickle.loads(pickle.dumps(stopper)), copy.deepcopy(stopper)):
        assert clone == stopper
        assert clone.recipe.arguments == stopper.recipe.arguments
    state = stopper.update(stopper.init(), 1.0)
    assert_equal(pickle.loads(pickle.dumps(state)), state)


STOPPER = gx.early_stopping(3)
KEPT = STOPPER.init(jnp.ones(2))
REFUSED = {
    "patience below 0": (
        lambda: gx.early_stopping(-1),
        ValueError,
        ["`early_stopping(patience=-1)`", "at least 0"],
    ),
    "a negative tolerance": (
        lambda: gx.early_stopping(3, -0.1),
        ValueError,
        ["`early_stopping(min_delta=-0.1)`", "at least 0"],
    ),
    "a mode": (
        lambda: gx.early_stopping(3, mode="auto"),
        ValueError,
        ["`mode` must be one of 'min', 'max'; got 'auto'"],
    ),
    "an argument": (
        lambda: gx.early_stopping(patience=3, delta=1.0),
        TypeError,
        ["`early_stopping` has no argument `delta`", "Did you mean `min_delta`?"],
    ),
    "several values": (
        lambda: STOPPER.update(STOPPER.init(), jnp.ones(3)),
        TypeError,
        ["watches one real number", "float32[3]"],
    ),
    "no state": (
        lambda: STOPPER.update(1.0, 2.0),
        TypeError,
        ["the state must be what `init` or `update` returned; got 1.0"],
    ),
    "parameters left out": (
        lambda: STOPPER.update(KEPT, 1.0),
        ValueError,
        ["`early_stopping(...).update(state, value, params)`", "`update` needs those"],
    ),
    "parameters at update only": (
        lambda: STOPPER.update(STOPPER.init(), 1.0, jnp.ones(2)),
        ValueError,
        ["give them to `init(params)` as well"],
    ),
    "other parameters": (
        lambda: STOPPER.update(KEPT, 1.0, jnp.ones(3)),
        ValueError,
        ["must be those that `init` was given", "(3,)", "(2,)"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    assert_refused(*REFUSED[name])
