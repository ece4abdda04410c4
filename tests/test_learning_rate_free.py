"""DoG, DoWG, Prodigy, D-Adaptation and COCOB against their authors' code, twins and optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from downhill import TRAJECTORIES, arrays, downhill, found, repeats
from oracle import Twin
from rows import learning_rate_free
from steps import distance, updates_of

import gradxform as gx

# The authors' code

ADAM = {"b1": 0.8, "b2": 0.95, "weight_decay": 0.2, "bias_correction": True}
AUTHORS = {
    "dog": lambda: gx.dog(0.9, reps_rel=1e-3, eps=0.1, l2=0.2),
    "dog, init_eta": lambda: gx.dog(1.0, reps_rel=1e-3, eps=0.1, init_eta=0.01),
    # Their eps is multiplied by the distance of the next step, the paper's by this one's.
    "prodigy": lambda: gx.prodigy(d0=1e-3, eps=1e-18),
    "prodigy, options": lambda: gx.prodigy(
        0.8, **ADAM, b3=0.9, eps=1e-18, safeguard_warmup=True, d0=1e-3, d_coef=2.0, growth_rate=1.5
    ),
    "dadapt_adamw": lambda: gx.dadapt_adamw(d0=1e-3, eps=1e-3),
    "dadapt_adamw, options": lambda: gx.dadapt_adamw(
        0.8, **ADAM, eps=1e-3, d0=1e-3, growth_rate=1.5
    ),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_the_authors_code(name):
    """Fifteen steps in float64, and the estimated distances."""
    with jax.enable_x64(True):
        assert repeats(name, AUTHORS[name](), {"d": "d"}) < 1e-12


def test_the_authors_runs_reach_both_sides_of_every_decision():
    """Estimates that grow, limited and not, and estimates that stay."""
    for name in AUTHORS:
        d = np.array([step.get("d", np.nan) for step in TRAJECTORIES[name]["steps"]])
        if "dog" in name:
            continue
        growth = d[1:] / d[:-1]
        if "options" in name:
            assert np.sum(abs(growth - 1.5) < 1e-9) >= 3
            assert growth.max() < 1.5 + 1e-9
        else:
            assert growth.max() > 2
            assert np.sum(growth == 1) >= 3


# Twins

ROWS = learning_rate_free.ROWS


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_downhill(row):
    grads, params = downhill()
    with jax.enable_x64(True):
        updates = updates_of(row.build(), grads, params)
    twin = Twin(row.name, **row.arguments)
    expected = [twin(g, w) for g, w in zip(grads, params, strict=True)]
    assert distance(updates, expected) < 1e-12


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_downhill_in_float32(row):
    grads, params = downhill("float32")
    updates = updates_of(row.build(), grads, params)
    twin = Twin(row.name, **row.arguments)
    steps = zip(grads, params, strict=True)
    expected = [twin(arrays(g), arrays(w)) for g, w in steps]
    assert distance(updates, expected) < 1e-5


# optax

CORRECTED = {"bias_correction": True}
OPTAX = {
    "dog": (
        gx.dog(0.9, reps_rel=1e-3, eps=0.1, l2=0.2),
        optax.contrib.dog(0.9, ("heuristic", 1e-3), 0.1, weight_decay=0.2),
    ),
    "dog, init_eta": (
        gx.dog(init_eta=0.01, eps=0.0),
        optax.contrib.dog(init_step=("learning_rate", 0.01), eps=0.0),
    ),
    "dog, defaults": (gx.dog(), optax.contrib.dog()),
    "dowg": (
        gx.dowg(0.9, r_eps=0.1, eps=0.1, l2=0.2),
        optax.contrib.dowg(0.9, init_estim_sq_dist=0.01, eps=0.1, weight_decay=0.2),
    ),
    "dowg, defaults": (gx.dowg(1.0), optax.contrib.dowg()),
    "prodigy": (
        gx.prodigy(
            0.9, b1=0.8, b2=0.95, weight_decay=0.2, b3=0.9, d0=1e-3, d_coef=2.0, **CORRECTED
        ),
        optax.contrib.prodigy(0.9, (0.8, 0.95), 0.9, 1e-8, 1e-3, 2.0, weight_decay=0.2),
    ),
    "prodigy, defaults": (gx.prodigy(eps=0.0, **CORRECTED), optax.contrib.prodigy(eps=0.0)),
    "prodigy, a schedule and its safeguard": (
        gx.prodigy(gx.linear_schedule(0.2, 1.0, 9), safeguard_warmup=True, d0=1e-3, **CORRECTED),
        optax.contrib.prodigy(
            optax.linear_schedule(0.2, 1.0, 9), safeguard_warmup=True, estim_lr0=1e-3
        ),
    ),
    "dadapt_adamw": (
        gx.dadapt_adamw(0.9, b1=0.8, b2=0.95, eps=1e-3, weight_decay=0.2, d0=1e-3, **CORRECTED),
        optax.contrib.dadapt_adamw(0.9, (0.8, 0.95), 1e-3, 1e-3, 0.2),
    ),
    "dadapt_adamw, defaults": (gx.dadapt_adamw(**CORRECTED), optax.contrib.dadapt_adamw()),
    "cocob": (
        gx.cocob(alpha=3.0, eps=0.5, l2=0.2),
        optax.contrib.cocob(alpha=3.0, eps=0.5, weight_decay=0.2),
    ),
    "cocob, defaults": (gx.cocob(), optax.contrib.cocob()),
}


@pytest.mark.parametrize("name", OPTAX)
def test_optax(name):
    ours, theirs = OPTAX[name]
    assert distance(*(updates_of(tx, *downhill("float32")) for tx in (ours, theirs))) < 5e-5


def test_prodigy_and_dadaptation_do_not_correct_the_bias():
    """As in the papers and the authors' code; optax always does."""
    for ours, theirs in [
        (gx.prodigy(), optax.contrib.prodigy()),
        (gx.dadapt_adamw(), optax.contrib.dadapt_adamw()),
    ]:
        a, b = (updates_of(tx, *downhill("float32"))[0]["bias"] for tx in (ours, theirs))
        correction = np.sqrt(1 - 0.999) / (1 - 0.9)
        np.testing.assert_allclose(correction * np.asarray(a), b, rtol=1e-4)


def test_cocobs_learning_rate_is_a_part_of_the_way():
    """optax multiplies the gradients, whose scale the method does not know."""
    grads, params = downhill("float32")
    half, whole = (updates_of(gx.cocob(lr, eps=0.0), grads, params) for lr in (0.5, 1.0))
    assert distance(half, [{k: 0.5 * np.asarray(x) for k, x in u.items()} for u in whole]) == 0
    half, whole = (updates_of(optax.contrib.cocob(lr), grads, params) for lr in (0.5, 1.0))
    assert distance(half, whole) < 1e-5


def test_prodigys_eps_is_in_units_of_the_gradient():
    """Of the gradient of this step: the denominator has d_k eps, as in the paper.

    The authors' code and optax multiply eps by d_{k+1}, so that it counts for more at the steps
    where the estimate grows, and the update has to wait for that estimate.
    """
    grads, params = downhill("float32")
    d = [1e-3]
    ours = gx.prodigy(d0=1e-3, eps=0.3, b1=0.0, b2=0.0, b3=0.9)
    state, update = ours.init(params[0]), jax.jit(ours.update)
    for g, w in zip(grads, params, strict=True):
        u, state = update(g, state, w)
        np.testing.assert_allclose(u["bias"], -d[-1] * g["bias"] / (abs(g["bias"]) + 0.3), 1e-5)
        d.append(found(state, "d"))
    assert d[-1] > 2 * d[0]


# Mathematics


def trained(tx, loss, x, steps):
    """The parameters after each step."""

    def step(carry, _):
        x, state = carry
        updates, state = tx.update(jax.grad(loss)(x), state, x)
        x = gx.apply_updates(x, updates)
        return (x, state), x

    return jax.lax.scan(step, (x, tx.init(x)), length=steps)


@pytest.mark.parametrize(
    ("tx", "length"),
    [(gx.dog(reps_rel=1e-3), 1e-3 * (1 + 5)), (gx.dowg(0.5, r_eps=0.1, eps=0.0), 0.05)],
)
def test_the_first_step_has_the_length_that_is_given(tx, length):
    w, g = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}, {"a": jnp.ones(1), "b": -jnp.ones(1)}
    updates, _ = tx.update(g, tx.init(w), w)
    assert optax.tree.norm(updates) == pytest.approx(length, rel=1e-5)


@pytest.mark.parametrize(("learning_rate", "growth"), [(1.0, 1.839), (0.5, 1.329)])
def test_dowgs_distance_grows_by_a_constant_factor_while_gradients_agree(learning_rate, growth):
    """The factor 1 / q, with learning_rate² q² (1 + q) = 1 - q: geometric sums of r_t and r_t²."""
    q = 1 / growth
    assert learning_rate**2 * q**2 * (1 + q) == pytest.approx(1 - q, rel=2e-3)
    tx = gx.dowg(learning_rate, eps=0.0)
    _, path = trained(tx, lambda x: -x, jnp.array(0.0), 40)
    np.testing.assert_allclose(path[-5:] / path[-6:-1], growth, rtol=1e-3)


def test_dogs_distance_grows_by_less_and_less():
    _, path = trained(gx.dog(), lambda x: -x, jnp.array(0.0), 40)
    factors = path[-20:] / path[-21:-1]
    assert np.all(np.diff(factors) < 0)
    assert factors[-1] == pytest.approx(1.16, abs=0.005)


def test_cocobs_first_step_has_one_length_in_every_coordinate():
    w, g = {"w": jnp.array([3.0, -4.0, 0.0])}, {"w": jnp.array([1e-5, -1e5, 2.0])}
    tx = gx.cocob(alpha=50.0)
    updates, _ = tx.update(g, tx.init(w), w)
    np.testing.assert_allclose(updates["w"], [-0.02, 0.02, -0.02], rtol=1e-5)


def test_cocobs_bets_grow_exponentially():
    """A minimum that is ten times farther away takes a few steps more, not ten times as many."""

    def steps_to(target):
        _, path = trained(gx.cocob(), lambda x: abs(x - target), jnp.array(0.0), 1000)
        return int(np.argmax(np.asarray(path) >= target))

    near, *far = (steps_to(10.0**n) for n in range(6))
    assert near > 10
    assert all(np.diff([near, *far]) < near)


@pytest.mark.parametrize("name", ["dog", "dowg"])
def test_rotated_coordinates_rotate_the_path(name):
    """Norms know no axes: unlike Adam's, the steps are the same in every orthonormal basis."""
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        rotation = jnp.asarray(np.linalg.qr(rng.normal(size=(4, 4)))[0])
        scale = jnp.array([1.0, 3.0, 0.3, 10.0])
        tx, x = getattr(gx, name)(0.5), jnp.asarray(rng.normal(size=4))
        _, path = trained(tx, lambda x: jnp.sum(scale * x**2), x, 30)
        _, rotated = trained(tx, lambda y: jnp.sum(scale * (rotation.T @ y) ** 2), rotation @ x, 30)
        np.testing.assert_allclose(path @ rotation.T, rotated, rtol=1e-9)


@pytest.mark.parametrize("name", ["prodigy", "dadapt_adamw"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_estimate_never_exceeds_the_distance(name, scale):
    """For a convex loss d is a lower bound of ‖x_0 - x_*‖_∞: here |x - x_*| summed up."""
    target = scale * jnp.array([0.3, -1.0, 0.5])
    tx = getattr(gx, name)(d0=1e-6 * scale, b1=0.0, b2=0.99)
    (_, state), _ = trained(tx, lambda x: jnp.sum(abs(x - target)), jnp.zeros(3), 300)
    assert 0.1 * scale < found(state, "d") <= 1.0 * scale


@pytest.mark.parametrize("name", ["prodigy", "dadapt_adamw"])
def test_the_distance_never_falls(name):
    tx = getattr(gx, name)(d0=1e-4)
    grads, params = downhill("float32")
    state, d = tx.init(params[0]), []
    for g, w in zip(grads, params, strict=True):
        _, state = tx.update(g, state, w)
        d.append(found(state, "d"))
    assert all(np.diff([1e-4, *d]) >= -1e-9)


def test_a_learning_rate_of_zero_waits():
    """A warm-up from 0 neither moves nor breaks the estimate."""
    for name in ("prodigy", "dadapt_adamw", "dog", "dowg", "cocob"):
        tx = getattr(gx, name)(gx.linear_schedule(0.0, 1.0, 5))
        grads, params = downhill("float32")
        updates = updates_of(tx, grads, params)
        assert all(np.all(np.asarray(x) == 0) for x in updates[0].values())
        assert all(np.all(np.isfinite(x)) for u in updates for x in u.values())
        assert any(np.any(np.asarray(x) != 0) for x in updates[-1].values())
