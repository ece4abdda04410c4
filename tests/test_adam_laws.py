"""What is known of Adam's relatives without a reference: how far they step, what the unit of the
gradient does to them, and where one of them is another.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from rows import adam_family, adam_successors, foundation
from steps import distance, inputs, updates_of

import gradxform as gx


def along(tx, grads):
    """The updates for a sequence of gradients of one shape, in one compiled loop."""
    grads = jnp.asarray(grads, float)

    def step(state, g):
        u, state = tx.update(g, state, g)
        return state, u

    return np.asarray(lax.scan(step, tx.init(grads[0]), grads)[1], np.float64)


# The length of a step

B1, B2 = 0.9, 0.999


def weight(b, t):
    """1 + b + ... + b^(t - 1)."""
    return (1 - b**t) / (1 - b)


def longest_adam_step(t):
    """By Cauchy and Schwarz: sum of b1^k g over the root of sum of b2^k g²."""
    return np.sqrt(weight(B1**2 / B2, t) * weight(B2, t)) / weight(B1, t)


def longest_adamax_step(t):
    return weight(B1 / B2, t) / weight(B1, t)


def longest_laprop_step(t):
    return sum(B1 ** (t - i) * np.sqrt(weight(B2, i)) for i in range(1, t + 1)) / weight(B1, t)


LONGEST = {
    # name: (block, bound, the gradients that reach it at step T)
    "adam": (gx.scale_by_adam(eps=0.0), longest_adam_step, lambda k: (B1 / B2) ** k),
    "adamax": (gx.scale_by_adamax(eps=0.0), longest_adamax_step, lambda k: B2 ** (-1.0 * k)),
    "laprop": (gx.scale_by_laprop(eps=0.0), longest_laprop_step, lambda k: 1e-3 ** (1.0 * k)),
}
T = 6


@pytest.mark.parametrize("name", LONGEST)
def test_no_step_is_longer_than_its_bound_which_is_reached(name):
    tx, bound, extreme = LONGEST[name]
    rng = np.random.default_rng(0)
    wild = rng.normal(size=(200, 50)) * 10.0 ** rng.uniform(-6, 6, size=(200, 50))
    limits = np.array([bound(t) for t in range(1, 201)])
    assert np.all(abs(along(tx, wild)) <= limits[:, None] * (1 + 1e-5))
    reached = along(tx, extreme(np.arange(T)[::-1])[:, None])[-1, 0]
    assert reached == pytest.approx(bound(T), rel=1e-5)
    assert abs(reached - 1) > 1e-3


def test_adams_step_after_zeros_is_the_papers_bound():
    """Kingma & Ba 2015, section 2.1: (1 - b1) / sqrt(1 - b2) for a first gradient after many."""
    zeros = np.zeros((20_000, 1))
    step = along(gx.scale_by_adam(eps=0.0), np.concatenate([zeros, np.ones((1, 1))]))[-1, 0]
    assert step == pytest.approx((1 - B1) / np.sqrt(1 - B2), rel=1e-5)


CONSTANT = {
    # name: the size of the update t for a gradient that never changes
    "scale_by_adam": lambda t: 1.0,
    "scale_by_laprop": lambda t: 1.0,
    "scale_by_adamax": lambda t: 1.0,
    "scale_by_amsgrad": lambda t: (1 - B1**t) / np.sqrt(1 - B2**t),
    "scale_by_adan": lambda t: 1.0,
    "scale_by_ademamix": lambda t: 1.0 + 5.0 * (1 - 0.9999**t),
    "scale_by_adopt": lambda t: 1 - B1 ** (t - 1),
    "scale_by_mars": lambda t: 1.0,
    "scale_by_belief": lambda t: np.sqrt(
        (1 - B2**t) / (1 - B2) / sum(B2 ** (t - i) * B1 ** (2 * i) for i in range(1, t + 1))
    ),
    "scale_by_yogi": lambda t: (1 - B1**t) / np.sqrt(1 - (1 - (1 - B2) * t)),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_steady_gradient(name):
    """Adam's first step, and every step of a steady gradient, is its sign."""
    g = np.array([3e-4, -2.0, 70.0, 0.0])
    updates = along(getattr(gx, name)(eps=0.0), np.tile(g, (8, 1)))
    expected = np.array([CONSTANT[name](t) for t in range(1, 9)])[:, None] * np.sign(g)
    np.testing.assert_allclose(updates, expected, rtol=2e-5)


def test_nadams_first_step_is_half_a_step_longer():
    """1 + b1 / (1 + b1) for a momentum b1."""
    updates = along(gx.scale_by_adam(eps=0.0, nesterov=True), [[3.0, -0.1]])
    np.testing.assert_allclose(updates, [[1 + 0.9 / 1.9, -1 - 0.9 / 1.9]], rtol=1e-6)


def test_radam_starts_as_a_corrected_mean():
    """Of the gradients as they are: for four steps at b2 = 0.999, and for ever up to b2 = 0.6."""
    grads = np.random.default_rng(0).normal(size=(8, 5))
    mean = along(gx.chain(gx.scale_by_radam(b2=0.6)), grads)
    np.testing.assert_allclose(mean[0], grads[0], rtol=1e-6)
    np.testing.assert_allclose(mean[1], (0.9 * grads[0] + grads[1]) / 1.9, rtol=1e-5)
    default = along(gx.scale_by_radam(), grads)
    np.testing.assert_allclose(default[:4], mean[:4], rtol=1e-5)
    assert np.all(abs(default[4:] - mean[4:]) > 1e-3 * abs(mean[4:]))


def test_radam_becomes_adam():
    grads = np.random.default_rng(0).normal(size=(2000, 1))
    radam, adam = (along(f(b2=0.95), grads) for f in (gx.scale_by_radam, gx.scale_by_adam))
    ratio = radam[4:] / adam[4:]
    assert np.all(np.diff(ratio[:200], axis=0) > -1e-5)
    assert ratio[0] < 0.5
    np.testing.assert_allclose(ratio[500:], 1.0, rtol=1e-5)


def test_adopt_divides_by_what_was_before():
    """The first gradient sets the size only, the second has no part in its own denominator."""
    updates = along(gx.scale_by_adopt(b1=0.0, b2=0.5), [[2.0, 2.0], [1.0, 8.0], [3.0, 3.0]])
    np.testing.assert_allclose(updates[0], 0.0)
    np.testing.assert_allclose(updates[1], [0.5, 1.0])  # 4 clipped to 1^(1/4)
    expected = np.array([3 / np.sqrt(2.5), 3 / np.sqrt(34.0)])
    np.testing.assert_allclose(updates[2], np.minimum(expected, 2**0.25), rtol=1e-6)


def test_adadeltas_first_step_is_made_of_eps():
    g = np.array([1e-5, 0.1, 30.0])
    first = along(gx.scale_by_adadelta(rho=0.9, eps=1e-6), g[None])[0]
    np.testing.assert_allclose(first, g * np.sqrt(1e-6 / (0.1 * g**2 + 1e-6)), rtol=1e-5)
    assert first[2] == pytest.approx(np.sqrt(1e-6 / 0.1), rel=1e-4)


@pytest.mark.parametrize("size", [1e16, 1e17, 1e18, 1e19])
def test_adadeltas_steps_do_not_depend_on_the_size_of_large_gradients(size):
    """Up to where the squares end; one gradient beyond leaves a coordinate at rest, not NaN."""
    found = along(gx.scale_by_adadelta(rho=0.9, eps=1e-6), np.full((3, 1), size))
    expected = [0.0031622776, 0.0032444284, 0.0033008058]  # as torch.optim.Adadelta has them
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)
    beyond = along(gx.scale_by_adadelta(rho=0.9, eps=1e-6), [[1.0], [1.0], [2e19], [1.0], [1.0]])
    assert np.all(np.isfinite(beyond))


def test_yogi_forgets_slowly_and_adam_fast():
    """After one large gradient: Adam's v falls by a factor a step, Yogi's by the small squares."""
    grads = np.concatenate([[[100.0]], np.full((3000, 1), 0.1)])
    adam, yogi = (along(f(eps=0.0), grads)[-1, 0] for f in (gx.scale_by_adam, gx.scale_by_yogi))
    v = 1e-3 * (1e4 - 3000 * 0.01)
    assert yogi == pytest.approx(0.1 / np.sqrt(v), rel=1e-3)
    v = (1e-3 * 1e4 * 0.999**3000 + 0.01 * (1 - 0.999**3000)) / (1 - 0.999**3001)
    assert adam == pytest.approx(0.1 / np.sqrt(v), rel=1e-3)


def test_running_norms_make_updates_of_norm_one():
    """For a steady gradient, in arrays of any size and in those without elements."""
    grads = {
        "matrix": jnp.full((30, 20), 0.1),
        "number": jnp.float32(-7.0),
        "none": jnp.ones((0, 3)),
    }
    tx = gx.scale_by_running_norm(eps=0.0)
    state = tx.init(grads)
    for _ in range(3):
        updates, state = tx.update(grads, state)
        norms = {k: float(jnp.linalg.norm(jnp.ravel(u))) for k, u in updates.items()}
        assert norms == pytest.approx({"matrix": 1.0, "number": 1.0, "none": 0.0}, rel=1e-5)
    assert np.isfinite(jax.tree.leaves(state)).all()


def test_reduced_variance_keeps_within_its_norm():
    grads, params = inputs()
    updates = updates_of(gx.reduce_gradient_variance(gamma=0.5, max_norm=0.7), grads, params)
    norms = np.array([[np.linalg.norm(u) for u in tree.values()] for tree in updates])
    assert norms.max() == pytest.approx(0.7, rel=1e-6)
    assert norms.min() < 0.6


def test_the_half_life_of_linear_half_life_is_a_line():
    schedule = gx.linear_half_life(0.9, 0.9999, 50)
    half_lives = np.log(0.5) / np.log(np.float64([schedule(t) for t in range(0, 51, 10)]))
    steps = np.diff(half_lives)
    np.testing.assert_allclose(steps, steps.mean(), rtol=5e-3)  # 0.9999 has 4 digits in float32
    assert schedule(0) == pytest.approx(0.9, rel=1e-6)
    assert schedule(50) == schedule(60) == np.float32(0.9999)


# The unit of the gradient

UNITLESS = [
    row
    for row in (*foundation.ROWS, *adam_family.ROWS, *adam_successors.ROWS)
    if row.degree == 0 and row.kind == "block" and "eps" in row.plain
]


@pytest.mark.parametrize("row", UNITLESS, ids=str)
def test_the_unit_of_the_gradient_does_not_matter(row):
    """Bit for bit, if the new unit is a power of two of the old one and eps is 0."""
    grads, params = inputs()
    tx = row.build(**row.plain)
    once = updates_of(tx, grads, params)
    for unit in (2.0**30, 2.0**-30):
        scaled = [jax.tree.map(lambda g, unit=unit: g * np.float32(unit), tree) for tree in grads]
        again = updates_of(tx, scaled, params)
        jax.tree.map(np.testing.assert_array_equal, again, once)


# One is another

MOMENTS = {"b1": 0.8, "b2": 0.95, "eps": 1e-6}
SAME = {
    "laprop without momentum is adam without momentum": (
        gx.scale_by_laprop(0.0, 0.95, 1e-6),
        gx.scale_by_adam(0.0, 0.95, 1e-6),
    ),
    "ademamix with alpha = 0 is adam": (
        gx.scale_by_ademamix(**MOMENTS, alpha=0.0),
        gx.scale_by_adam(**MOMENTS),
    ),
    "adan with b2 = 0 is adam": (
        gx.scale_by_adan(0.8, 0.0, 0.95, 1e-6),
        gx.scale_by_adam(**MOMENTS),
    ),
    "mars with gamma = 0 is adam": (
        gx.scale_by_mars(**MOMENTS, gamma=0.0, max_norm=None),
        gx.scale_by_adam(**MOMENTS),
    ),
    "mars is adam of reduced variance": (
        gx.scale_by_mars(**MOMENTS, gamma=0.1),
        gx.chain(gx.reduce_gradient_variance(0.1, 0.8), gx.scale_by_adam(**MOMENTS)),
    ),
    "nadam without momentum is adam": (
        gx.scale_by_adam(0.0, 0.95, 1e-6, nesterov=True),
        gx.scale_by_adam(0.0, 0.95, 1e-6),
    ),
    "amsgrad with b2 = 0 has the largest gradient": (
        gx.scale_by_amsgrad(0.0, 0.0, 1e-6),
        gx.scale_by_adamax(0.0, 1 - 1e-7, 1e-6),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_one_is_another(name):
    a, b = (updates_of(tx, *inputs(), jit=False) for tx in SAME[name])
    assert distance(a, b) <= 1e-5


def test_laprop_with_b2_0_is_a_mean_of_signs():
    """As Ziyin 2020 says; Adam with b2 = 0 divides the mean by the last gradient, without bound."""
    grads = np.array([[1.0, 1.0], [3.0, -2.0], [-0.1, 1e-3]])
    updates = along(gx.scale_by_laprop(0.5, 0.0, 0.0), grads)
    signs = np.array([[1.0, 1.0], [1.0, -1 / 3], [-1 / 7, 3 / 7]])
    np.testing.assert_allclose(updates, signs, rtol=1e-6)
    assert abs(along(gx.scale_by_adam(0.5, 0.0, 0.0), grads)[2, 1]) > 100
