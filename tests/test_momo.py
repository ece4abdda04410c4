"""MoMo and MoMo-Adam against their authors' code, their twins and optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from downhill import TRAJECTORIES, arrays, downhill, found, repeats
from oracle import Twin
from rows import adaptive_rate
from steps import distance

import gradxform as gx

DECAYED = {"lower_bound": 0.3, "weight_decay": 0.2}
BOUND = {"lower_bound": -5.0, "weight_decay": 0.2, "adaptive_lower_bound": True}
AUTHORS = {
    "momo": lambda: gx.momo(),
    "momo, options": lambda: gx.momo(0.5, 0.8, **DECAYED),
    "momo, bound": lambda: gx.momo(1.0, 0.8, **BOUND),
    "momo_adam": lambda: gx.momo_adam(),
    "momo_adam, options": lambda: gx.momo_adam(0.5, 0.8, 0.95, 1e-3, **DECAYED),
    "momo_adam, bound": lambda: gx.momo_adam(1.0, 0.8, 0.95, **BOUND),
}
ROWS = [row for row in adaptive_rate.ROWS if "value" in row.extra]


@pytest.mark.parametrize("name", AUTHORS)
def test_the_authors_code(name):
    """Fifteen steps in float64, and the lower bound that each leaves.

    The authors' MoMo-Adam keeps γ in float32.
    """
    tolerance = 1e-4 if "momo_adam," in name else 1e-12
    with jax.enable_x64(True):
        assert repeats(name, AUTHORS[name](), {"lb": "lower_bound"}, takes_value=True) < tolerance


def followed(tx, dtype="float32", name="momo, bound"):
    """Updates for the gradients and losses of a run."""
    state, updates, update = tx.init(downhill(dtype, name)[1][0]), [], jax.jit(tx.update)
    values = [step["value"] for step in TRAJECTORIES[name]["steps"]]
    for g, w, value in zip(*downhill(dtype, name), values, strict=True):
        u, state = update(g, state, w, value=value)
        updates.append(u)
    return updates


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 4e-5)])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_downhill(row, dtype, tolerance):
    """With losses that change, which the catalog's do not."""
    with jax.enable_x64(dtype == "float64"):
        updates = followed(row.build(), dtype)
    twin = Twin(row.name, **row.arguments)
    data = zip(*downhill(dtype, "momo, bound"), TRAJECTORIES["momo, bound"]["steps"], strict=True)
    expected = [twin(arrays(g), arrays(w), value=step["value"]) for g, w, step in data]
    assert distance(updates, expected) < tolerance


OPTAX = {
    "momo": (gx.momo(0.5, 0.8, 0.3), optax.contrib.momo(0.5, 0.8, 0.3)),
    "momo, defaults": (gx.momo(), optax.contrib.momo()),
    "momo, bound": (
        gx.momo(1.0, 0.8, -5.0, adaptive_lower_bound=True),
        optax.contrib.momo(1.0, 0.8, -5.0, adapt_lower_bound=True),
    ),
    "momo_adam": (
        gx.momo_adam(0.5, 0.8, 0.95, 1e-3, 0.3),
        optax.contrib.momo_adam(0.5, 0.8, 0.95, 1e-3, 0.3),
    ),
    "momo_adam, defaults": (gx.momo_adam(), optax.contrib.momo_adam()),
    "momo_adam, bound": (
        gx.momo_adam(0.3, 0.8, 0.95, lower_bound=-0.3, adaptive_lower_bound=True),
        optax.contrib.momo_adam(0.3, 0.8, 0.95, lower_bound=-0.3, adapt_lower_bound=True),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_optax(name):
    ours, theirs = OPTAX[name]
    # A bound close to the loss leaves a small difference of the two to step by.
    tolerance = 5e-4 if "bound" in name else 2e-5
    assert distance(followed(ours), followed(theirs)) < tolerance


@pytest.mark.parametrize("name", ["momo", "momo_adam"])
def test_weight_decay_divides_the_step_too(name):
    """As in the paper: (x - τ d) / (1 + α λ). optax leaves the step as it is."""
    w, g = {"w": jnp.array([1.0, -2.0])}, {"w": jnp.array([0.5, 0.25])}

    def after(module, decay):
        tx = getattr(module, name)(0.01, weight_decay=decay)
        updates, _ = tx.update(g, tx.init(w), w, value=5.0)
        return np.asarray(w["w"] + updates["w"])

    undecayed = after(gx, 0.0)
    np.testing.assert_allclose(after(gx, 30.0), undecayed / 1.3, rtol=1e-6)
    theirs = np.asarray(w["w"]) / 1.3 + undecayed - np.asarray(w["w"])
    np.testing.assert_allclose(after(optax.contrib, 30.0), theirs, rtol=1e-6)


def test_a_small_gradient_is_still_a_gradient():
    """The step size is at most the learning rate; optax stops below ‖d‖² = 2e-16."""
    w, g = {"w": jnp.array([1.0])}, {"w": jnp.array([1e-9])}
    for module, expected in ((gx, -1e-9), (optax.contrib, 0.0)):
        tx = module.momo(1.0)
        updates, _ = tx.update(g, tx.init(w), w, value=1.0)
        assert float(updates["w"][0]) == pytest.approx(expected)


# Mathematics


def test_without_memory_it_is_polyaks_step():
    """min(α, (f - f*) / ‖g‖²): on x²/2 half of the way, whatever the distance."""
    tx = gx.momo(1e6, 0.0, lower_bound=3.0)
    x = jnp.array([8.0, -6.0])
    for _ in range(5):
        updates, _ = tx.update(x, tx.init(x), x, value=3.0 + 0.5 * jnp.sum(x**2))
        np.testing.assert_allclose(updates, -0.5 * x, rtol=1e-6)
        x = gx.apply_updates(x, updates)
    capped = gx.momo(0.1, 0.0, lower_bound=3.0)
    updates, state = capped.update(x, capped.init(x), x, value=3.0 + 0.5 * jnp.sum(x**2))
    np.testing.assert_allclose(updates, -0.1 * x, rtol=1e-6)
    assert found(state, "step_size") == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["momo", "momo_adam"])
def test_at_the_lower_bound_nothing_moves(name):
    x = jnp.array([8.0, -6.0])
    tx = getattr(gx, name)(lower_bound=3.0)
    updates, _ = tx.update(x, tx.init(x), x, value=3.0)
    np.testing.assert_allclose(updates, jnp.zeros(2), atol=1e-6)
    updates, _ = tx.update(x, tx.init(x), x, value=2.0)
    np.testing.assert_array_equal(updates, jnp.zeros(2))


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
def test_every_step_comes_closer_where_all_batches_agree(beta):
    """The tangents' average is below the losses' at the solution, so no step leads past it."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        batches = jnp.asarray(rng.normal(size=(200, 4, 20)))
        solution = jnp.asarray(rng.normal(size=20))
        tx, x = gx.momo(1e9, beta), jnp.zeros(20)

        def step(carry, a):
            x, state = carry
            loss = lambda x: jnp.mean(jnp.square(a @ (x - solution)))  # noqa: E731
            value, grads = jax.value_and_grad(loss)(x)
            updates, state = tx.update(grads, state, x, value=value)
            x = gx.apply_updates(x, updates)
            return (x, state), jnp.linalg.norm(x - solution)

        _, away = jax.lax.scan(step, (x, tx.init(x)), batches)
    away = np.array([np.linalg.norm(solution), *away])
    assert np.all(np.diff(away) <= 1e-12)
    assert away[-1] < (0.7 if beta == 0.99 else 0.1) * away[0]


@pytest.mark.parametrize("name", ["momo", "momo_adam"])
@pytest.mark.parametrize("wrong", [-10.0, 0.0])
def test_an_adaptive_bound_stays_between_its_start_and_the_loss(name, wrong):
    """On a convex loss whose minimum is 2, the bound given being too low."""
    tx, x = getattr(gx, name)(0.3, lower_bound=wrong, adaptive_lower_bound=True), jnp.full(3, 4.0)
    state, bounds = tx.init(x), []
    for _ in range(200):
        value = 2.0 + jnp.sum(jnp.square(x - 1.0))
        updates, state = tx.update(2 * (x - 1.0), state, x, value=value)
        x = gx.apply_updates(x, updates)
        bounds.append(found(state, "lower_bound"))
    assert min(bounds) >= wrong
    assert bounds[-1] == pytest.approx(2.0, abs=0.1)
    np.testing.assert_allclose(x, 1.0, atol=0.2)


# Bad input


@pytest.mark.parametrize("name", ["momo", "momo_adam", "scale_by_momo", "scale_by_momo_adam"])
def test_the_loss_is_asked_for(name):
    tx, x = getattr(gx, name)(), jnp.ones(2)
    with pytest.raises(TypeError, match=r"momo.* needs `value`: call `update\(.*, value=\.\.\.\)`"):
        tx.update(x, tx.init(x), x)
    with pytest.raises(ValueError, match=r"momo.*`value` is the loss, a scalar"):
        tx.update(x, tx.init(x), x, value=x)


def test_the_loss_may_be_any_number():
    tx, x = gx.momo(), jnp.ones(2)
    for value in (1, 1.0, np.float64(1), np.ones(()), jnp.float16(1), jnp.ones((), "bfloat16")):
        updates, state = tx.update(x, tx.init(x), x, value=value)
        np.testing.assert_allclose(updates, -0.5 * x)
        assert jax.tree.map(jnp.result_type, state) == jax.tree.map(jnp.result_type, tx.init(x))
