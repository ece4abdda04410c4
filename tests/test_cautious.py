"""Caution around any scaling: the authors' formula, and what follows from it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import CATALOG
from problems import rows
from steps import distance, inputs, updates_of, widened

import gradxform as gx


def authors(grads, b1, b2, eps, later):
    """The authors' C-AdamW without decay, written as their code is: the mask on `exp_avg`."""
    exp_avg = exp_avg_sq = 0.0
    for t, g in enumerate(grads, 1):
        exp_avg = b1 * exp_avg + (1 - b1) * g
        exp_avg_sq = b2 * exp_avg_sq + (1 - b2) * g * g
        denom = np.sqrt(exp_avg_sq) + eps * np.sqrt(1 - b2**t)
        step_size = np.sqrt(1 - b2**t) / (1 - b1**t)
        mask = (exp_avg * g > 0).astype(float)
        factor = 1 / max(mask.mean(), 1e-3) if later else mask.size / (mask.sum() + 1)
        yield step_size * exp_avg * mask * factor / denom


@pytest.mark.parametrize(("xi", "later"), [(1.0, False), (0.0, True)])
@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-5), (True, 1e-12)])
def test_it_is_the_authors_code(xi, later, x64, tolerance):
    """The paper's, and with ξ = 0 the later one, whose floor of 1/1000 no array here reaches."""
    grads, params = inputs("float64" if x64 else "float32", "float64" if x64 else "float32")
    tx = gx.cautious(gx.scale_by_adam(0.8, 0.95, 1e-3), xi)
    with jax.enable_x64(x64):
        ours = updates_of(tx, grads, params)
    expected = {
        k: list(authors([g[k] for g in widened(grads)], 0.8, 0.95, 1e-3, later)) for k in grads[0]
    }
    theirs = [{k: expected[k][t] for k in expected} for t in range(len(grads))]
    assert distance(ours, theirs) <= tolerance
    kept = [np.mean(u["kernel"] != 0) for u in theirs]
    assert min(kept) < 0.7 < max(kept)


def holds(tx, factory):
    return tx.recipe.factory is factory or any(holds(part, factory) for part in tx.parts)


def ascends(row):
    """Whether a row makes a direction uphill of a gradient, with nothing in it but the scaling."""
    return row.kind == "block" and not holds(row.build(), gx.scale_by_learning_rate)


@rows(ascends)
def test_around_any_block(row):
    """What is left agrees with the gradient, and is the block's own direction times one number."""
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 4), "bias": (5,)}
    params = {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}
    inner = row.build()
    tx = gx.cautious(inner)
    plain, state = inner.init(params), tx.init(params)
    assert jax.tree.structure(plain) == jax.tree.structure(state)

    @jax.jit
    def both(g, plain, state):
        return (
            inner.update(g, plain, params, **row.extra),
            tx.update(g, state, params, **row.extra),
        )

    for _ in range(4):
        g = {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}
        (direction, plain), (kept, state) = both(g, plain, state)
        for k in g:
            agrees = np.sign(direction[k]) * np.sign(g[k]) > 0
            factor = agrees.size / (agrees.sum() + 1)
            np.testing.assert_allclose(
                kept[k], np.where(agrees, direction[k] * factor, 0), rtol=1e-5
            )


def test_the_loss_of_small_steps_never_rises():
    """Momentum overshoots; with caution each step goes downhill."""
    curvature = jnp.array([1.0, 10.0, 100.0])

    def losses(scaling):
        tx = gx.chain(scaling, gx.scale_by_learning_rate(1e-3))

        def step(carry, _):
            w, state = carry
            updates, state = tx.update(curvature * w, state, w)
            w = gx.apply_updates(w, updates)
            return (w, state), jnp.sum(curvature * w**2)

        w = jnp.array([1.0, -1.0, 1.0])
        return np.asarray(jax.lax.scan(step, (w, tx.init(w)), length=300)[1])

    momentum = gx.scale_by_momentum(0.9)
    assert np.max(np.diff(losses(momentum))) > 0.1
    cautious = losses(gx.cautious(momentum))
    assert np.all(np.diff(cautious) <= 1e-6 * cautious[:-1])


# The factor


@pytest.mark.parametrize("xi", [0.0, 1.0, 0.25])
@pytest.mark.parametrize("agreeing", [0, 1, 3, 8])
def test_the_factor(xi, agreeing):
    signs = jnp.where(jnp.arange(8) < agreeing, 1.0, -1.0)
    tx = gx.cautious(flipped(signs), xi)
    g = jnp.full(8, 0.5)
    kept, _ = tx.update(g, tx.init(g))
    expected = np.zeros(8)
    if agreeing:
        expected[:agreeing] = 0.5 * 8 / (agreeing + xi)
    np.testing.assert_allclose(kept, expected, rtol=1e-6)


def flipped(signs):
    return optax.stateless(lambda g, _: signs * g)


def test_with_xi_0_the_mean_of_what_agrees_stays():
    """The sum of a sign's update is the same, whatever part of it is kept."""
    tx = gx.cautious(flipped(jnp.array([1.0, -1.0, 1.0, -1.0, 1.0])), 0.0)
    g = jnp.ones(5)
    assert jnp.sum(tx.update(g, tx.init(g))[0]) == pytest.approx(5.0)


@pytest.mark.parametrize("xi", [0.0, 1.0])
def test_arrays_with_one_element_or_none(xi):
    tx = gx.cautious(gx.scale_by_momentum(), xi)
    g = {"one": jnp.array(2.0), "none": jnp.zeros((0, 3)), "absent": None}
    kept, _ = tx.update(g, tx.init(g))
    assert kept["one"] == 2.0 / (1 + xi)
    assert kept["none"].shape == (0, 3)
    assert kept["absent"] is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_numbers_whose_product_underflows_agree(dtype):
    tiny = float(jnp.finfo(dtype).tiny)
    g = jnp.array([tiny, -tiny, 0.0], dtype)
    tx = gx.cautious(gx.identity(), 0.0)
    kept, _ = tx.update(g, tx.init(g))
    np.testing.assert_allclose(np.asarray(kept, float), [1.5 * tiny, -1.5 * tiny, 0.0], rtol=1e-2)


def test_what_is_not_a_number_stays_so():
    g = jnp.array([1.0, jnp.nan, 1.0])
    tx = gx.cautious(gx.identity())
    kept, _ = tx.update(g, tx.init(g))
    assert jnp.isnan(kept[1])
    assert jnp.all(jnp.isfinite(kept[jnp.array([0, 2])]))


def test_complex_directions_agree_if_they_have_a_part_along_the_gradient():
    turns = jnp.exp(1j * jnp.array([0.0, 1.5, 1.6, 3.0, -1.5]))
    g = jnp.array([1 + 1j, 1j, -1.0, 2 - 1j, 1.0])
    kept, _ = gx.cautious(flipped(turns), 0.0).update(g, optax.EmptyState())
    expected = np.array([1, 1, 0, 0, 1]) * np.asarray(turns * g) * 5 / 3
    np.testing.assert_allclose(kept, expected, rtol=1e-6)


# As a wrapper


REFUSED = {
    "the learning rate": lambda: gx.scale_by_learning_rate(0.1),
    "an optimizer": lambda: gx.adam(1e-3),
    "a chain": lambda: gx.chain(gx.scale_by_adam(), gx.scale_by_learning_rate(0.1)),
    "a chain in a chain": lambda: gx.chain(gx.clip_by_value(1.0), gx.chain(gx.sgd(0.1))),
    "a named chain": lambda: gx.named_chain(("adam", gx.adam(1e-3))),
    "a wrapper": lambda: gx.chain(gx.cautious(gx.identity()), gx.sgd(0.1)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_learning_rate_inside_is_refused(name):
    inner = REFUSED[name]()
    with pytest.raises(ValueError, match=r"`cautious\(...\)`: .*`scale_by_learning_rate`.*behind"):
        gx.cautious(inner)


def test_every_optimizer_of_the_catalog_is_refused():
    optimizers = [row for row in CATALOG if row.kind == "optimizer"]
    assert len(optimizers) > 5
    for row in optimizers:
        with pytest.raises(ValueError, match="scale_by_learning_rate"):
            gx.cautious(row.build())


def test_what_is_no_transformation_is_refused():
    with pytest.raises(TypeError, match="must be a gradient transformation"):
        gx.cautious(gx.scale_by_adam)
    with pytest.raises(ValueError, match="`xi` must be at least 0"):
        gx.cautious(gx.scale_by_adam(), xi=-1.0)


def test_around_one_of_optaxs():
    grads, params = inputs()
    ours = updates_of(gx.cautious(gx.scale_by_adam(0.8, 0.95, 1e-3)), grads, params)
    theirs = updates_of(gx.cautious(optax.scale_by_adam(0.8, 0.95, 1e-3)), grads, params)
    assert distance(ours, theirs) <= 2e-5


def test_hyperparameters_inside_and_of_its_own_are_live():
    tx = gx.cautious(gx.scale_by_adam(b1=gx.tunable(0.9)), xi=gx.linear_schedule(1.0, 0.0, 4))
    g = jnp.array([1.0, 2.0])
    state = tx.init(g)
    for expected in (1.0, 0.75, 0.5):
        kept, state = tx.update(g, state)
        assert gx.hyperparams(state)["xi"] == expected
        np.testing.assert_allclose(kept, 2 / (2 + expected), rtol=1e-5)
    assert set(gx.hyperparams(state)) == {"b1", "xi"}
