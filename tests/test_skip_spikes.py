"""Spikes are skipped, a new level is not, and the statistics are those of the steps taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import assert_equal, at, gradients, small
from refusals import assert_refused
from twins import guards
from twins.memory import Memory

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def run(tx, readings, watch="gradient_norm"):
    """Which steps were skipped, and the last state, for gradients with these norms or losses."""
    readings = jnp.asarray(readings, "float32")

    def step(state, x):
        g = x[None] if watch == "gradient_norm" else jnp.ones(1)
        updates, state = tx.update(g, state, value=x)
        return state, updates[0] == 0

    state, skipped = jax.jit(lambda xs: jax.lax.scan(step, tx.init(jnp.zeros(1)), xs))(readings)
    return np.flatnonzero(skipped).tolist(), state


def loop(readings, watch="gradient_norm", **arguments):
    """The same by the twin, in float64."""
    memory, skipped = Memory(), []
    for t, x in enumerate(np.asarray(readings, np.float32).astype(float)):
        g = {"g": np.array([x if watch == "gradient_norm" else 1.0])}
        u = guards.skip_spikes(memory, g, None, lambda g, w: g, watch=watch, value=x, **arguments)
        if u["g"][0] == 0:
            skipped.append(t)
    return skipped


@pytest.mark.parametrize("watch", ["gradient_norm", "loss"])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"sigma": 2.0, "window": 8, "warmup": 3, "max_consecutive": 4}],
    ids=["defaults", "others"],
)
def test_four_hundred_steps_are_those_of_a_list(watch, arguments):
    """Decreasing norms with spikes, a run of them, what is not finite, and two new levels."""
    rng = np.random.default_rng(3)
    level = np.exp(rng.normal(0.0, 0.2, 400) - np.linspace(0, 1, 400))
    level[[100, 150, 151, 152, 180]] *= 50
    level[[90, 91, 130]] = np.nan, np.inf, np.inf
    level[200:] *= 40
    level[300:] /= 100
    if watch == "loss":
        level = level - 0.5  # losses may be negative
    expected = loop(level, watch, **arguments)
    skipped, state = run(gx.skip_spikes(gx.identity(), watch=watch, **arguments), level, watch)
    assert skipped == expected
    assert {90, 91, 100, 130, 150, 151, 152, 180, 200, 201} <= set(skipped)
    assert len(skipped) < 150
    assert int(state.restarts) >= 1
    assert int(state.skipped_steps) == len(skipped)


def test_the_limit_by_hand():
    """Mean 0 and deviation sqrt(0.08 / 3) of the logarithms: 2 of them are 0.3266."""
    tx = gx.skip_spikes(gx.identity(), 2.0, 4)
    known = [0.0, 0.2, -0.2, 0.0]
    for last, skips in ((0.326, []), (0.327, [4]), (-5.0, []), (5.0, [4])):
        skipped, state = run(tx, np.exp([*known, last]))
        assert skipped == skips
        after = [*known[1:], last] if not skips else known
        np.testing.assert_allclose(state.readings, after, atol=1e-6)
    tx = gx.skip_spikes(gx.identity(), 2.0, 4, watch="loss")
    for last, skips in ((1.326, []), (1.327, [4]), (-5.0, [])):
        assert run(tx, [*np.add(known, 1.0), last], "loss")[0] == skips


def test_a_new_level_stalls_the_training_for_max_consecutive_steps():
    levels = [*np.tile([1.0, 1.1], 20), *np.tile([30.0, 33.0], 20), *np.tile([1.0, 1.1], 20)]
    skipped, state = run(gx.skip_spikes(gx.identity(), window=16, max_consecutive=5), levels)
    assert skipped == list(range(40, 45))
    assert (int(state.restarts), int(state.consecutive), int(state.last_skipped)) == (1, 0, 0)


def test_after_a_restart_comes_another_warm_up():
    levels = [*np.tile([1.0, 1.1], 4), 30.0, 30.0, 33.0, 500.0, 30.0, 500.0]
    tx = gx.skip_spikes(gx.identity(), 2.0, 8, warmup=4, max_consecutive=1)
    # The first 30 is skipped and the second believed; 33, 500 and 30 are the rest of a warm-up.
    skipped, state = run(tx, levels)
    assert skipped == [8]
    assert int(state.recorded) == 5
    assert run(tx, [*levels[:-3], 30.0, 30.0, 500.0])[0] == [8, 13]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_skipped_from_the_first_step_on_and_never_believed(bad):
    levels = [bad, *np.tile([1.0, 1.1], 8), *[bad] * 30, 40.0, 1.0]
    skipped, state = run(gx.skip_spikes(gx.identity(), window=8, max_consecutive=3), levels)
    assert skipped == [0, *range(17, 48)]
    assert (int(state.restarts), int(state.spikes)) == (0, 0)
    assert np.all(np.isfinite(state.readings))


def test_a_finite_loss_with_gradients_that_are_not():
    tx = gx.skip_spikes(gx.identity(), watch="loss")
    g = jnp.array([jnp.nan, 1.0])
    updates, state = tx.update(g, tx.init(g), value=1.0)
    assert_equal(updates, jnp.zeros(2))
    assert int(state.recorded) == 0


def test_gradients_of_zeros_are_let_through_and_not_recorded():
    levels = [*np.tile([1.0, 1.1], 8), 0.0, 0.0, 40.0]
    tx = gx.skip_spikes(gx.scale(1.0), window=8)
    _, state = run(tx, levels)
    assert int(state.skipped_steps) == 1  # the zero updates of the others are their own
    assert np.all(np.isfinite(state.readings))


@pytest.mark.parametrize("watch", ["gradient_norm", "loss"])
def test_rounding_is_no_spike(watch):
    """A level that stands still has no deviation; within 1 % of it nothing is a spike."""
    tx = gx.skip_spikes(gx.identity(), 1.0, 8, watch=watch)
    assert run(tx, [*[3.0] * 8, 3.02, 3.0], watch)[0] == []
    assert run(tx, [*[3.0] * 8, 3.04, 3.0], watch)[0] == [8]
    assert run(tx, [*[-3.0] * 8, -2.98, -3.0], "loss")[0] == [] if watch == "loss" else True


def test_a_spike_changes_nothing_inside():
    params = small()
    inner = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(gx.linear_schedule(0.1, 0.0, 9)))
    tx = gx.skip_spikes(inner, window=6)
    grads = gradients(params, steps=6)
    state = tx.init(params)
    for t in range(6):
        _, state = tx.update(at(grads, t), state, params)
    spike = jax.tree.map(lambda g: 1e4 * g, at(grads, 0))
    updates, after = tx.update(spike, state, params)
    assert_equal(updates, jax.tree.map(jnp.zeros_like, params))
    assert_equal(after.inner_state, state.inner_state)
    assert_equal((after.readings, after.recorded), (state.readings, state.recorded))
    assert gx.hyperparams(after) == gx.hyperparams(state)
    updates, _ = tx.update(at(grads, 0), after, params)
    assert np.all(np.abs(updates["w"]) > 0)


def test_sigma_is_a_hyperparameter():
    tx = gx.skip_spikes(gx.identity(), gx.tunable(50.0), 4)
    g = jnp.ones(1)
    state = tx.init(g)
    for size in (1.0, 1.2, 0.9, 1.1):
        _, state = tx.update(size * g, state)
    assert tx.update(5.0 * g, state)[0][0] == 5.0
    strict = gx.set_hyperparams(state, sigma=3.0)
    assert tx.update(5.0 * g, strict)[0][0] == 0.0


def test_members_of_a_batch_have_their_own_statistics():
    tx = gx.skip_spikes(gx.identity(), window=4)
    levels = jnp.array([[1.0, 1.1, 1.0, 1.1, 9.0, 1.0], [9.0, 8.0, 9.0, 8.0, 9.0, 90.0]])
    step = jax.vmap(lambda g, state: tx.update(g, state))
    state = jax.vmap(tx.init)(jnp.zeros((2, 1)))
    for x in levels.T:
        _, state = step(x[:, None], state)
        skipped = np.asarray(state.last_skipped)
        assert skipped.tolist() == [int(x[0] == 9.0), int(x[1] == 90.0)]


def update(tx, **extra):
    g = jnp.ones(2)
    return tx.update(g, tx.init(g), **extra)


REFUSED = {
    "no deviation of one reading": (
        lambda: gx.skip_spikes(gx.sgd(0.1), window=1),
        ValueError,
        ["`skip_spikes(...)`", "`window` must be at least 2", "got 1"],
    ),
    "a warm-up that never ends": (
        lambda: gx.skip_spikes(gx.sgd(0.1), window=8, warmup=9),
        ValueError,
        ["`warmup` must be at most `window`", "9", "8"],
    ),
    "sigma 0": (
        lambda: gx.skip_spikes(gx.sgd(0.1), 0.0),
        ValueError,
        ["`skip_spikes(sigma=0.0)`", "above 0"],
    ),
    "a loss scale inside": (
        lambda: gx.skip_spikes(gx.dynamic_loss_scale(gx.sgd(0.1))),
        ValueError,
        ["`dynamic_loss_scale`", "goes outside"],
    ),
    "no loss": (
        lambda: update(gx.skip_spikes(gx.sgd(0.1), watch="loss")),
        TypeError,
        ["`skip_spikes` needs `value`", "value=..."],
    ),
    "several losses": (
        lambda: update(gx.skip_spikes(gx.sgd(0.1), watch="loss"), value=jnp.ones(3)),
        TypeError,
        ["`skip_spikes` watches one real number", "float32[3]", "jnp.mean(losses)"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    assert_refused(*REFUSED[name])
