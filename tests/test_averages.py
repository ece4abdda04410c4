"""Averages of the parameters: what they are the average of, and with which weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx


def visited(tx, start, targets, jit=True):
    """The parameters after each step of going straight to the next target, and the states."""
    params = start
    state, update = tx.init(params), jax.jit(tx.update) if jit else tx.update
    places, states = [], [state]
    for target in targets:
        gradient = jax.tree.map(lambda p, t: p - jnp.asarray(t, p.dtype), params, target)
        updates, state = update(gradient, state, params)
        params = gx.apply_updates(params, updates)
        places.append(jax.tree.map(lambda p: np.asarray(p, np.float64), params))
        states.append(state)
    return params, places, states


GO = gx.scale_by_learning_rate(1.0)


def walk(steps=12, seed=0):
    return list(np.random.default_rng(seed).normal(size=(steps, 3)))


def weighted(places, weights):
    return sum(w * p for w, p in zip(weights, places, strict=True)) / sum(weights)


@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-6), (True, 1e-14)])
@pytest.mark.parametrize(("start", "every"), [(0, 1), (4, 1), (0, 3), (2, 4)])
def test_the_debiased_average_is_the_weighted_mean(x64, tolerance, start, every):
    """Σ d^(n-i) p_i / Σ d^(n-i), over the parameters that are taken."""
    with jax.enable_x64(x64):
        tx = gx.ema_params(GO, 0.8, start=start, every=every)
        params, places, states = visited(tx, jnp.ones(3), walk())
        for t, state in enumerate(states):
            taken = places[:t][start + every - 1 :: every]
            assert int(state.num_averaged) == len(taken)
            if taken:
                weights = [0.8 ** (len(taken) - 1 - i) for i in range(len(taken))]
                expected = weighted(taken, weights)
                np.testing.assert_allclose(state.ema, expected, rtol=tolerance, atol=tolerance)
                total = (1 - 0.8) * sum(weights)
                np.testing.assert_allclose(state.weight, total, rtol=tolerance)
        np.testing.assert_array_equal(gx.eval_params(states[-1], params), states[-1].ema)


def test_a_decay_that_changes():
    """Each weight is (1 - d) of its step times the decays of the later ones."""
    decays = [0.9, 0.5, 0.0, 0.7, 0.99]
    schedule = lambda t: jnp.asarray(decays, jnp.float32)[t]  # noqa: E731
    _, places, states = visited(gx.ema_params(GO, schedule), jnp.ones(3), walk(5))
    for t in range(1, 6):
        weights = [(1 - decays[i]) * np.prod(decays[i + 1 : t]) for i in range(t)]
        average = states[t].inner_state.ema
        np.testing.assert_allclose(average, weighted(places[:t], weights), rtol=1e-5, atol=1e-6)


def scalars(tx, numbers, start=7.0):
    """The evaluation parameters after each step on the way along some numbers."""
    state, params, read = tx.init(jnp.float32(start)), jnp.float32(start), []
    for number in numbers:
        updates, state = tx.update(params - number, state, params)
        params = gx.apply_updates(params, updates)
        read.append(float(gx.eval_params(state, params)))
    return read


# torch 2.13: `AveragedModel` with `get_ema_multi_avg_fn(0.9)`, and without a function.
NUMBERS = (1.0, 2.0, 4.0, 8.0, -3.0)
TORCH_EMA = (1.0, 1.1, 1.39, 2.051, 1.5459)
TORCH_SWA = (1.0, 1.5, 7 / 3, 3.75, 2.4)


def test_without_debiasing_it_is_torchs():
    tx = gx.ema_params(GO, 0.9, debias=False)
    np.testing.assert_allclose(scalars(tx, NUMBERS), TORCH_EMA, rtol=1e-6)


def test_the_mean_is_torchs():
    np.testing.assert_allclose(scalars(gx.average_params(GO, 0), NUMBERS), TORCH_SWA, rtol=1e-6)


@pytest.mark.parametrize("debias", [False, True])
def test_warmup_is_tensorflows(debias):
    """min(d, (1 + t) / (10 + t)) at step t; without debiasing as diffusers, which copies first."""
    expected, x, w = [], 0.0, 0.0
    for t, p in enumerate(NUMBERS):
        d = min(0.25, (1 + t) / (10 + t))
        x, w = (d * x + (1 - d) * p, d * w + (1 - d)) if debias or t else (p, 1.0)
        expected.append(x / w)
    tx = gx.ema_params(GO, 0.25, warmup=True, debias=debias)
    np.testing.assert_allclose(scalars(tx, NUMBERS), expected, rtol=1e-6)


@pytest.mark.parametrize(("start", "every"), [(0, 1), (5, 1), (0, 4), (3, 2), (11, 1), (40, 1)])
def test_the_mean_is_the_mean(start, every):
    tx = gx.average_params(GO, start, every)
    params, places, states = visited(tx, jnp.ones(3), walk())
    taken = places[start + every - 1 :: every]
    expected = np.mean(taken, axis=0) if taken else places[-1]
    assert int(states[-1].num_averaged) == len(taken)
    np.testing.assert_allclose(gx.eval_params(states[-1], params), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("power", "weight"),
    [(0, lambda n: 1), (1, lambda n: n), (2, lambda n: n * (n + 1))],
    ids=["0", "1", "2"],
)
def test_polynomial_decay(power, weight):
    """s_n = (η + 1) / (n + η) gives weights of degree η."""
    _, places, states = visited(gx.average_params(GO, 0, power=power), jnp.ones(3), walk())
    expected = weighted(places, [weight(n) for n in range(1, len(places) + 1)])
    np.testing.assert_allclose(states[-1].mean, expected, rtol=1e-5, atol=1e-6)


AVERAGES = {
    "ema": gx.ema_params(gx.identity(), 0.999),
    "ema, biased": gx.ema_params(gx.identity(), 0.999, debias=False),
    "ema, warmup": gx.ema_params(gx.identity(), 0.9999, warmup=True),
    "mean": gx.average_params(gx.identity(), 0),
    "mean, late": gx.average_params(gx.identity(), 3, power=3),
}


def in_scan(tx, params, steps, change=jnp.zeros_like):
    """Many steps whose updates are `change(t)` broadcast to the parameters."""

    def step(carry, t):
        params, state = carry
        u = jax.tree.map(lambda p: jnp.broadcast_to(change(t), p.shape).astype(p.dtype), params)
        updates, state = tx.update(u, state, params)
        return (gx.apply_updates(params, updates), state), None

    run = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), jnp.arange(steps))[0])
    return run(params)


@pytest.mark.parametrize("name", AVERAGES)
def test_the_average_of_a_constant_is_the_constant(name):
    """Bit for bit, after thousands of steps."""
    params = {
        "float32": jnp.asarray([1 / 3, -7e8, 3e-30, 0.0]),
        "bfloat16": jnp.asarray([1 / 3, -7e8, 3e-30], "bfloat16"),
    }
    still, state = in_scan(AVERAGES[name], params, 3000)
    evaluated = gx.eval_params(state, still)
    for key in params:
        np.testing.assert_array_equal(evaluated[key], params[key])


def test_the_average_is_of_what_apply_updates_makes():
    """In bfloat16 each step is rounded; the average is that of the rounded parameters."""
    targets = [np.asarray([1.0, 0.3, -0.7]) * (1 + t / 7) for t in range(9)]
    start = jnp.asarray([1.0, 2.0, 3.0], "bfloat16")
    for tx, kept in ((gx.average_params(gx.sgd(0.37), 0), "mean"), (gx.ema_params(GO, 0.0), "ema")):
        _, places, states = visited(tx, start, targets)
        average = getattr(states[-1], kept)
        expected = np.mean(places, axis=0) if kept == "mean" else places[-1]
        assert average.dtype == jnp.float32
        np.testing.assert_allclose(average, expected, rtol=3e-7)


def test_between_two_neighbours_in_bfloat16():
    """Parameters that go to and fro by the last digit: their mean is between, and is found."""
    step = 2.0**-7
    to_and_fro = lambda t: jnp.where(t % 2 == 0, step, -step)  # noqa: E731
    tx = gx.ema_params(gx.identity(), 0.99)
    params, state = in_scan(tx, jnp.ones(2, "bfloat16"), 2000, to_and_fro)
    np.testing.assert_array_equal(np.asarray(params, "float32"), 1.0)
    np.testing.assert_allclose(state.ema, 1.0 + step / 2, atol=step * 0.01)


def test_the_mean_of_many_is_as_exact_as_one():
    steps = 20_000
    changes = np.random.default_rng(1).normal(size=steps).astype(np.float32)
    tx = gx.average_params(gx.identity(), 0)
    _, state = in_scan(tx, jnp.zeros(1), steps, lambda t: jnp.asarray(changes)[t])
    places = np.cumsum(changes, dtype=np.float32).astype(np.float64)
    np.testing.assert_allclose(state.mean[0], places.mean(), rtol=2e-6)


def test_what_was_infinite_before_the_start_leaves_no_trace():
    tx = gx.average_params(GO, 2)
    read = scalars(tx, [np.inf, 1.0, 2.0, 3.0], start=0.0)
    assert not np.isfinite(read[0])
    state = tx.init(jnp.float32(jnp.inf))
    for p in (5.0, 6.0, 7.0, 9.0):
        _, state = tx.update(jnp.float32(0.0), state, jnp.float32(p))
    assert float(state.mean) == 8.0


@pytest.mark.parametrize("name", AVERAGES)
def test_the_updates_are_those_inside(name):
    inner = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.1))
    tx = AVERAGES[name].recipe.factory(inner, **_without_inner(AVERAGES[name]))
    params, g = {"w": jnp.ones(3), "none": None}, {"w": jnp.asarray([1.0, -2.0, 3.0]), "none": None}
    state, alone = tx.init(params), inner.init(params)
    for _ in range(3):
        (u, state), (v, alone) = tx.update(g, state, params), inner.update(g, alone, params)
        np.testing.assert_array_equal(u["w"], v["w"])
        assert u["none"] is None


def _without_inner(tx):
    return {name: value for name, value in tx.recipe.arguments.items() if name != "inner"}


def test_a_parameter_without_an_update_is_averaged_as_it_stands():
    tx = gx.ema_params(gx.identity(), 0.5, debias=False)
    state = tx.init({"a": jnp.float32(0.0)})
    for p in (4.0, 8.0, 8.0):
        _, state = tx.update({"a": None}, state, {"a": jnp.float32(p)})
    assert float(state.ema["a"]) == 7.0


def test_a_batch_of_decays():
    """Tunables: three averages of one training, in one program."""
    tx = gx.ema_params(GO, gx.tunable(0.5))

    @jax.vmap
    def read(decay):
        params = jnp.float32(0.0)
        state = gx.set_hyperparams(tx.init(params), decay=decay)
        for number in NUMBERS:
            updates, state = tx.update(params - number, state, params)
            params = gx.apply_updates(params, updates)
        return gx.eval_params(state, params)

    decays = (0.0, 0.5, 0.9)
    expected = [scalars(gx.ema_params(GO, d), NUMBERS)[-1] for d in decays]
    np.testing.assert_allclose(read(jnp.asarray(decays)), expected, rtol=1e-6)


def test_accumulation_and_guards_go_around():
    """A parameter counts once for each real step, and not at all for one that is skipped."""
    tx = gx.skip_nonfinite(gx.accumulate(gx.average_params(GO, 0), 2))
    params, places = jnp.float32(0.0), []
    state = tx.init(params)
    for t, g in enumerate([-1.0, -3.0, -2.0, jnp.nan, -4.0, 5.0, 5.0]):
        updates, state = tx.update(jnp.float32(g), state, params)
        params = gx.apply_updates(params, updates)
        if t in (1, 4, 6):
            places.append(float(params))
    assert places == [2.0, 5.0, 0.0]
    assert float(gx.eval_params(state, params)) == pytest.approx(np.mean(places))


def test_around_one_of_optaxs_and_inside_its_chain():
    ours = gx.ema_params(optax.adam(0.1), 0.9)
    theirs = optax.chain(optax.clip(1.0), gx.ema_params(optax.adam(0.1), 0.9))
    a = visited(ours, jnp.ones(3), [np.ones(3) * 0.5] * 4)[2][-1]
    b = visited(theirs, jnp.ones(3), [np.ones(3) * 0.5] * 4)[2][-1][1]
    np.testing.assert_allclose(a.ema, b.ema, rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (functools.partial(gx.ema_params, decay=1.0), "`decay` must be at least 0 and below 1"),
        (functools.partial(gx.ema_params, every=0), "`every` must be a whole number of at least 1"),
        (
            functools.partial(gx.ema_params, start=-1),
            "`start` must be a whole number of at least 0",
        ),
        (functools.partial(gx.ema_params, warmup=1), "`warmup` must be True or False"),
        (functools.partial(gx.average_params, start=0.5), "`start` must be a whole number"),
        (functools.partial(gx.average_params, start=0, power=-1.0), "`power` must be at least 0"),
    ],
)
def test_bad_arguments(build, error):
    with pytest.raises(ValueError, match=error):
        build(gx.sgd(0.1))


def test_the_parameters_are_asked_for():
    tx = gx.ema_params(gx.sgd(0.1))
    with pytest.raises(ValueError, match=r"`ema_params` reads the parameters: call `update\("):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
