"""Schedule-free learning: Algorithm 1 with its three sequences, the authors' weights, optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from steps import inputs

import gradxform as gx

CURVATURE = np.array([1.0, 8.0, 30.0])
START = np.array([1.0, -1.0, 0.5])
NOISE = np.random.default_rng(3).normal(size=(40, 3))


def algorithm(rates, b1, p=2.0, r=0.0, steps=40):
    """x, y, z all kept, for SGD: (y before each step, x and z after it, the weights c)."""
    x = z = START
    most, total, ys, xs, zs, cs = 0.0, 0.0, [], [], [], []
    for t in range(steps):
        y = (1 - b1) * z + b1 * x
        z = z - rates(t) * (CURVATURE * y + NOISE[t])
        most = max(most, rates(t))
        weight = (t + 1) ** r * most**p
        total += weight
        c = weight / total if total else 0.0
        x = (1 - c) * x + c * z
        for kept, value in ((ys, y), (xs, x), (zs, z), (cs, c)):
            kept.append(value)
    return map(np.asarray, (ys, xs, zs, cs))


def ours(tx, steps=40, dtype="float64"):
    """(y before, x and z after each step) on the same noisy quadratic, as one program."""

    def step(carry, noise):
        y, state = carry
        updates, state = tx.update(jnp.asarray(CURVATURE, dtype) * y + noise, state, y)
        after = gx.apply_updates(y, updates)
        inner = getattr(state, "inner_state", None) if hasattr(state, "hyperparams") else state
        return (after, state), (y, gx.eval_params(state, after), inner.z)

    y = jnp.asarray(START, dtype)
    return jax.lax.scan(step, (y, tx.init(y)), jnp.asarray(NOISE[:steps], dtype))[1]


CASES = {
    "constant": (lambda t: 0.02, 0.9, 2.0, 0.0),
    "warmup": (lambda t: 0.02 * min(1.0, (t + 1) / 10), 0.95, 2.0, 0.0),
    "falling": (lambda t: 0.02 / (1 + t), 0.5, 1.0, 0.75),
    "from zero": (lambda t: 0.02 * min(1.0, t / 5), 0.9, 2.0, 1.0),
}


def traced(rates):
    """The same rates as a schedule: read from a table."""
    return lambda t: jnp.asarray([rates(i) for i in range(40)])[t]


@pytest.mark.parametrize("case", CASES)
def test_algorithm_1(case):
    rates, b1, p, r = CASES[case]
    with jax.enable_x64(True):
        tx = gx.schedule_free(gx.sgd(traced(rates)), b1=b1, weight_lr_power=p, r=r)
        found = ours(tx)
    for a, b in zip(found, list(algorithm(rates, b1, p, r))[:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("case", ["constant", "warmup"])
def test_x_is_the_weighted_mean_of_z(case):
    rates, b1, p, r = CASES[case]
    _, xs, zs = ours(
        gx.schedule_free(gx.sgd(traced(rates)), b1=b1, weight_lr_power=p, r=r), dtype="float32"
    )
    most = np.maximum.accumulate([rates(t) for t in range(40)])
    weights = most**p * np.arange(1, 41) ** r
    for t in (0, 1, 7, 39):
        expected = np.average(zs[: t + 1], axis=0, weights=weights[: t + 1])
        np.testing.assert_allclose(xs[t], expected, rtol=2e-5, atol=2e-6)


def test_with_b1_of_1_gradients_are_taken_at_the_average():
    """Primal averaging."""
    with jax.enable_x64(True):
        ys, xs, _ = ours(gx.schedule_free(gx.sgd(0.02), b1=1.0))
    np.testing.assert_allclose(ys[1:], xs[:-1], rtol=1e-12)


def test_with_b1_near_0_it_is_the_mean_of_sgd():
    """Polyak and Ruppert's: SGD goes its way, and x is the mean of where it has been."""
    with jax.enable_x64(True):
        _, xs, zs = ours(gx.schedule_free(gx.sgd(0.02), b1=1e-7))

        def step(carry, noise):
            w, state = carry
            updates, state = tx.update(jnp.asarray(CURVATURE) * w + noise, state, w)
            w = gx.apply_updates(w, updates)
            return (w, state), (gx.eval_params(state, w), w)

        tx, w = gx.average_params(gx.sgd(0.02), 0), jnp.asarray(START)
        _, (means, ws) = jax.lax.scan(step, (w, tx.init(w)), jnp.asarray(NOISE))
    np.testing.assert_allclose(zs, ws, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(xs, means, rtol=1e-5, atol=1e-5)


def both(ours, theirs, steps=10):
    """The largest distance of our y and x from optax's, each going its own way."""
    grads, params = inputs()
    y = v = jax.tree.map(jnp.asarray, params[0])
    state, other, worst = ours.init(y), theirs.init(v), 0.0
    for g in grads[:steps]:
        pull = jax.tree.map(lambda a, b: jnp.asarray(a) + 0.5 * b, g, y)
        updates, state = ours.update(pull, state, y)
        y = gx.apply_updates(y, updates)
        pull = jax.tree.map(lambda a, b: jnp.asarray(a) + 0.5 * b, g, v)
        updates, other = theirs.update(pull, other, v)
        v = optax.apply_updates(v, updates)
        pairs = (
            (y, v),
            (gx.eval_params(state, y), optax.contrib.schedule_free_eval_params(other, v)),
        )
        for a, b in pairs:
            errors = jax.tree.map(lambda p, q: jnp.max(jnp.abs(p - q)), a, b)
            worst = max(worst, *map(float, jax.tree.leaves(errors)))
    return worst


def test_optax_with_a_constant_learning_rate():
    ours = gx.schedule_free(gx.sgd(0.1), b1=0.8)
    assert both(ours, optax.contrib.schedule_free(optax.sgd(0.1), 0.1, 0.8)) <= 3e-6
    ours = gx.schedule_free(gx.adamw(0.1, b1=0.0, b2=0.9, weight_decay=0.2), b1=0.95)
    theirs = optax.contrib.schedule_free_adamw(0.1, b1=0.95, b2=0.9, weight_decay=0.2)
    assert both(ours, theirs) <= 3e-6


def test_optax_weighs_a_step_by_the_learning_rate_of_the_next():
    """Its counter begins at 1, that of its optimizer at 0; one step late, it agrees."""
    rates = optax.linear_schedule(0.01, 0.3, 8)
    ours = gx.schedule_free(gx.sgd(rates), b1=0.8)
    as_it_is = optax.contrib.schedule_free(optax.sgd(rates), rates, 0.8)
    late = optax.contrib.schedule_free(optax.sgd(rates), lambda t: rates(t - 1), 0.8)
    assert both(ours, late) <= 3e-6
    assert both(ours, as_it_is) > 1e-2


def test_a_learning_rate_of_zero_moves_nothing():
    """A warmup from 0: optax's weight is 0 / 0, caught; so is ours."""
    tx = gx.schedule_free(gx.sgd(gx.linear_schedule(0.0, 0.1, 2)))
    y = jnp.asarray([1.0, 2.0])
    updates, state = tx.update(jnp.ones(2), tx.init(y), y)
    np.testing.assert_array_equal(updates, 0.0)
    assert float(state.weight_sum) == 0.0
    np.testing.assert_array_equal(gx.eval_params(state, y), y)
    updates, state = tx.update(jnp.ones(2), state, y)
    np.testing.assert_allclose(gx.eval_params(state, y + updates), y - 0.05, rtol=1e-6)


def test_the_average_does_not_jump_when_b1_does():
    """x is read with the b1 that made y, also where another one is set for the next step."""
    tx = gx.schedule_free(gx.sgd(0.1), b1=gx.tunable(0.9))
    y = jnp.asarray([1.0, 2.0])
    state = tx.init(y)
    for _ in range(3):
        updates, state = tx.update(y, state, y)
        y = gx.apply_updates(y, updates)
    x, z = gx.eval_params(state, y), state.inner_state.z
    state = gx.set_hyperparams(state, b1=0.5)
    np.testing.assert_array_equal(gx.eval_params(state, y), x)
    updates, state = tx.update(jnp.zeros(2), state, y)
    np.testing.assert_allclose(gx.eval_params(state, y + updates), 0.75 * x + 0.25 * z, rtol=1e-5)
    np.testing.assert_allclose(y + updates, (0.75 * x + 0.25 * z + z) / 2, rtol=1e-5)


def test_one_of_optaxs_with_our_learning_rate():
    inner = gx.chain(optax.scale_by_rms(0.9), gx.scale_by_learning_rate(0.1))
    theirs = optax.chain(optax.scale_by_rms(0.9), optax.scale_by_learning_rate(0.1))
    assert both(gx.schedule_free(inner), optax.contrib.schedule_free(theirs, 0.1)) <= 3e-6


def test_a_batch_of_learning_rates():
    tx = gx.schedule_free(gx.sgd(gx.tunable(0.1)))

    def train(rate):
        def step(carry, noise):
            y, state = carry
            updates, state = tx.update(y + noise, state, y)
            return (gx.apply_updates(y, updates), state), None

        y = jnp.ones(3)
        state = gx.set_hyperparams(tx.init(y), learning_rate=rate)
        (y, state), _ = jax.lax.scan(step, (y, state), jnp.asarray(NOISE, "float32"))
        return gx.eval_params(state, y)

    rates = jnp.asarray([0.01, 0.1, 0.5])
    together = jax.vmap(train)(rates)
    for x, rate in zip(together, rates, strict=True):
        np.testing.assert_allclose(x, train(rate), rtol=1e-5)


def test_z_is_float32_and_x_has_the_dtype_of_the_parameters():
    tx, y = gx.schedule_free(gx.sgd(0.1)), jnp.ones(3, "bfloat16")
    updates, state = tx.update(y, tx.init(y), y)
    assert state.z.dtype == jnp.float32
    assert gx.eval_params(state, y).dtype == updates.dtype == jnp.bfloat16
    np.testing.assert_allclose(state.z, 0.9, rtol=1e-6)


REFUSED = {
    "no learning rate": (gx.scale_by_adam(), "has none that can be read. .*scale_by_learning_rate"),
    "optax": (optax.adam(0.1), "has none that can be read"),
    "two": (
        gx.partition({"a": (gx.select.path("a"), gx.sgd(0.1))}, default=gx.sgd(0.2)),
        r"several learning rates \(a/learning_rate, default/learning_rate\).*Wrap each group",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_learning_rate_that_cannot_be_read_is_refused_by_init(name):
    inner, error = REFUSED[name]
    with pytest.raises(ValueError, match=rf"`schedule_free\(...\).init`: .*{error}"):
        gx.schedule_free(inner).init({"a": jnp.ones(2), "b": jnp.ones(2)})


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`b1` must be above 0 and at most 1; .*`average_params"):
        gx.schedule_free(gx.sgd(0.1), b1=0.0)
    with pytest.raises(ValueError, match="`weight_lr_power` must be at least 0"):
        gx.schedule_free(gx.sgd(0.1), weight_lr_power=-1.0)
    tx = gx.schedule_free(gx.sgd(0.1))
    with pytest.raises(ValueError, match="`schedule_free` reads the parameters"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
