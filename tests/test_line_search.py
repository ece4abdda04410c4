"""Optax's line searches and L-BFGS as links of our chains: the same steps as in optax's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx


def rosenbrock(params):
    x, y = params["x"], params["y"]
    return (1.0 - x) ** 2 + 100.0 * (y - x**2) ** 2


def least_squares(params):
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=s), params["w"].dtype) for s in ((8, 3), (8,)))
    return jnp.mean((a @ params["w"] + params["c"] - b) ** 2)


PROBLEMS = {
    "rosenbrock": (rosenbrock, {"x": -1.2, "y": 1.0}),
    "least squares": (least_squares, {"w": [0.3, -2.0, 5.0], "c": 1.0}),
}
SEARCHES = {
    "lbfgs": lambda chain: chain(
        optax.scale_by_lbfgs(),
        optax.scale(-1.0),
        optax.scale_by_zoom_linesearch(20, initial_guess_strategy="one"),
    ),
    "backtracking": lambda chain: chain(
        optax.scale(-1.0), optax.scale_by_backtracking_linesearch(40)
    ),
    "backtracking, stored": lambda chain: chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(40, store_grad=True)
    ),
    "zoom": lambda chain: chain(optax.sgd(1.0), optax.scale_by_zoom_linesearch(15)),
}
CASES = [(search, problem) for search in SEARCHES for problem in PROBLEMS]


def minimized(tx, problem, steps, *, stored=False, dtype="float64"):
    """((parameters after, loss before) of every step, the last state), as one program."""
    loss, start = PROBLEMS[problem]
    start = {name: jnp.asarray(x, dtype) for name, x in start.items()}
    from_state = optax.value_and_grad_from_state(loss)

    def step(carry, _):
        params, state = carry
        if stored:
            value, grad = from_state(params, state=state)
        else:
            value, grad = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        params = gx.apply_updates(params, updates)
        return (params, state), (params, value)

    run = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=steps))
    (_, state), history = run(start)
    return history, state


@pytest.mark.parametrize(("search", "problem"), CASES, ids=str)
def test_the_steps_are_those_of_optaxs_chain(search, problem):
    with jax.enable_x64(True):
        ours, _ = minimized(SEARCHES[search](gx.chain), problem, 12)
        theirs, _ = minimized(SEARCHES[search](optax.chain), problem, 12)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
    jax.tree.map(close, ours, theirs)
    losses = np.asarray(ours[1])
    assert np.all(np.diff(losses) <= 1e-12 * losses[0])
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lbfgs_solves_rosenbrock(dtype):
    """With value and gradient read from the state, as optax's documentation has it."""
    with jax.enable_x64(dtype == "float64"):
        tx = gx.chain(optax.lbfgs())
        (params, values), state = minimized(tx, "rosenbrock", 40, stored=True, dtype=dtype)
    assert float(values[-1]) < 1e-10
    np.testing.assert_allclose([params["x"][-1], params["y"][-1]], 1.0, rtol=1e-4)
    assert float(optax.tree.get(state, "value")) <= float(values[-1])


def test_least_squares_is_solved():
    with jax.enable_x64(True):
        (params, _), _ = minimized(gx.chain(optax.lbfgs()), "least squares", 12)
        grad = jax.grad(least_squares)(jax.tree.map(lambda x: x[-1], params))
        assert float(optax.tree.norm(grad)) < 1e-7


# Our blocks before a search, and our wrappers around it


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gx.sgd(0.1, momentum=0.5), optax.sgd(0.1, momentum=0.5)),
        (
            gx.chain(gx.clip_by_global_norm(1.0), gx.scale_by_learning_rate(1.0)),
            optax.chain(optax.clip_by_global_norm(1.0), optax.scale(-1.0)),
        ),
    ],
    ids=["momentum", "clipped"],
)
def test_our_blocks_before_a_search(ours, theirs):
    with jax.enable_x64(True):
        for search in (
            optax.scale_by_backtracking_linesearch(15),
            optax.scale_by_zoom_linesearch(15),
        ):
            a, _ = minimized(gx.chain(ours, search), "least squares", 6)
            b, _ = minimized(optax.chain(theirs, search), "least squares", 6)
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), a, b)


WRAPPERS = {
    "ema_params": lambda tx: gx.ema_params(tx, 0.5),
    "average_params": lambda tx: gx.average_params(tx, 2),
    "skip_nonfinite": gx.skip_nonfinite,
    "named_chain": lambda tx: gx.named_chain(("clip", gx.clip_by_value(1e9)), ("search", tx)),
    "masked": lambda tx: gx.masked(tx, {"x": True, "y": True}),
    "partition": lambda tx: gx.partition({"all": (gx.select.all, tx)}),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_inside_our_wrappers(name):
    """They pass on the value, the gradient and the function."""
    with jax.enable_x64(True):
        expected, _ = minimized(optax.lbfgs(), "rosenbrock", 8)
        (params, values), state = minimized(WRAPPERS[name](optax.lbfgs()), "rosenbrock", 8)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-9), (params, values), expected
    )
    if name == "ema_params":
        expected = np.average(params["x"], weights=0.5 ** np.arange(8)[::-1])
        np.testing.assert_allclose(state.ema["x"], expected, rtol=1e-12)


def test_one_group_by_search_and_another_by_sgd():
    """The search sees its part; the function it is given is that of the whole model."""
    with jax.enable_x64(True):
        search = gx.chain(gx.scale(-1.0), optax.scale_by_backtracking_linesearch(40))
        tx = gx.partition({"x": (gx.select.path("x"), search)}, default=gx.sgd(1e-3))
        (params, _), _ = minimized(tx, "rosenbrock", 1)
        x, y = jnp.asarray(-1.2), jnp.asarray(1.0)
        alone = lambda x: rosenbrock({"x": x, "y": y})  # noqa: E731
        value, grad = jax.value_and_grad(alone)(x)
        step, _ = search.update(grad, search.init(x), x, value=value, grad=grad, value_fn=alone)
        slope = jax.grad(rosenbrock)({"x": x, "y": y})["y"]
        np.testing.assert_allclose(params["x"][0], x + step, rtol=1e-12)
        np.testing.assert_allclose(params["y"][0], y - 1e-3 * slope, rtol=1e-12)


def test_a_search_without_its_function_says_so():
    params = {"w": jnp.ones(2)}
    tx = gx.chain(gx.sgd(1.0), optax.scale_by_backtracking_linesearch(5))
    with pytest.raises(TypeError, match="value_fn"):
        tx.update(params, tx.init(params), params)
