"""Random numbers belong to the run, the block, the array and the step, and to nothing else."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec as P
from problems import assert_equal

import gradxform as gx

N = 4000
PARAMS = {"a": jnp.zeros(N), "b": {"c": jnp.zeros(N)}}
NOISE = gx.add_gradient_noise(1.0, 0.0)


def keys_of_estimates(params, key):
    """What `sophia` is given as the curvature: numbers of the key."""
    return jax.tree.map(lambda p: jax.random.normal(key, p.shape), params)


def numbers(tx, params=PARAMS, steps=2):
    """What a transformation adds to gradients of zeros: an array for each step and parameter."""
    zeros, found = jax.tree.map(jnp.zeros_like, params), []
    state = tx.init(params)
    for _ in range(steps):
        u, state = tx.update(zeros, state, params, hessian_fn=keys_of_estimates)
        found += jax.tree.leaves(u)
    return [np.asarray(x) for x in found]


def assert_independent(arrays):
    for x, y in combinations(arrays, 2):
        assert abs(np.corrcoef(x, y)[0, 1]) < 5 / np.sqrt(N)


def groups(inner):
    return gx.partition({"A": (gx.select.path("a"), inner), "B": (gx.select.path("b/.*"), inner)})


def user_wrapper():
    """Two transformations side by side, by a user's own factory."""

    @gx.transformation
    def both(one, other):
        def update(updates, state, params=None, **extra):
            results = [tx.update(updates, s) for tx, s in zip((one, other), state, strict=True)]
            return results[0][0], tuple(state for _, state in results)

        return lambda params: (one.init(params), other.init(params)), update

    return both(NOISE, NOISE)


def seeds(state):
    found = jax.tree_util.tree_flatten_with_path(state)[0]
    return [int(x) for path, x in found if jax.tree_util.keystr(path[-1:]) == ".seed"]


@pytest.mark.parametrize(
    "tx",
    [
        NOISE,
        groups(NOISE),
        groups(gx.noisy_sgd(1.0, 1.0, 0.0)),
        gx.skip_nonfinite(groups(gx.chain(gx.scale(1.0), NOISE))),
    ],
    ids=["one", "groups", "optimizers", "nested"],
)
def test_steps_arrays_and_groups_differ(tx):
    assert_independent(numbers(tx))


def test_blocks_of_a_whole_have_seeds_of_their_own():
    sophia = gx.scale_by_sophia()
    for tx, count in (
        (gx.chain(NOISE, NOISE, gx.chain(NOISE, NOISE), gx.chain(gx.chain(sophia)), NOISE), 6),
        (gx.named_chain(("x", NOISE), ("y", gx.named_chain(("x", NOISE))), ("z", sophia)), 3),
        (gx.chain(optax.chain(NOISE, NOISE), NOISE), 3),
        (groups(gx.accumulate(gx.chain(NOISE, gx.sgd(0.1), NOISE), 2)), 4),
        (gx.skip_nonfinite(optax.chain(NOISE, NOISE)), 2),
        (user_wrapper(), 2),
    ):
        found = seeds(tx.init(PARAMS))
        assert len(found) == len({*found}) == count
    added = numbers(gx.chain(gx.chain(NOISE), NOISE))[0] - numbers(gx.chain(NOISE))[0]
    assert_independent([added, numbers(NOISE)[0]])


def test_a_guard_changes_none_and_a_name_keeps_them():
    tx = groups(gx.chain(gx.scale(1.0), NOISE))
    for wrapped in (gx.skip_nonfinite(tx), gx.with_metrics(gx.accumulate(tx, 1))):
        assert_equal(numbers(wrapped), numbers(tx))
    before, after = (
        gx.named_chain(*more, ("noise", NOISE)) for more in ([], [("x", gx.scale(1.0))])
    )
    assert_equal(numbers(before), numbers(after))


def test_an_array_keeps_its_numbers_whatever_else_there_is():
    alone = numbers(NOISE, {"b": {"c": jnp.zeros(N)}}, steps=1)
    assert_equal(alone[0], numbers(NOISE, steps=1)[1])


def test_eager_compiled_or_on_many_devices_they_are_the_same():
    tx = groups(gx.chain(gx.scale(1.0), NOISE))
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    there = jax.device_put(PARAMS, NamedSharding(mesh, P("x")))

    @jax.jit
    def compiled(params):
        return tx.update(params, tx.init(params), params)[0]

    expected = numbers(tx, steps=1)
    for params in (PARAMS, there):
        assert_equal([np.asarray(x) for x in jax.tree.leaves(compiled(params))], expected)
    assert_equal(numbers(tx, there, steps=1), expected)


def test_a_transferred_state_goes_on_with_its_numbers():
    before = gx.chain(gx.scale(1.0), NOISE)
    after = gx.chain(gx.scale(1.0), gx.add_gradient_noise(0.5, 0.0))
    state = before.init(PARAMS)
    kept = gx.transfer_state(state, after, PARAMS).state
    assert seeds(kept) == seeds(state)


def test_each_seed_of_a_comparison_has_numbers_of_its_own():
    task = gx.Task(
        "flat",
        lambda key: jnp.zeros(4),
        lambda p, batch: 0.0 * jnp.sum(p) * jnp.mean(batch),
        metric=lambda p, data: p[0],
        lower_is_better=True,
        train=jnp.ones(64),
        validation=jnp.ones(8),
        test=jnp.ones(8),
    )
    theirs = optax.chain(optax.add_noise(1.0, 0.0, 0), optax.sgd(0.1))
    ours = gx.noisy_sgd(0.1, 1.0, 0.0)
    results = gx.compare(
        task,
        {"ours": ours, "again": gx.noisy_sgd(0.1, 1.0, 0.0), "theirs": theirs},
        seeds=4,
        steps=3,
        batch_size=8,
        measure_milliseconds=False,
    )
    for name in ("ours", "theirs"):
        assert len({float(x) for x in results[name].scores}) == 4
    assert_equal(results["ours"].scores, results["again"].scores)
