"""Laws of averages whose decay changes: they know how much they have gathered.

What every block does step by step is compared with the twins (`test_oracles.py`), whose weights
are products of all decays there were.
"""

import typing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import CATALOG, Row
from problems import at, gradients, small

import gradxform as gx
from gradxform.core import check
from gradxform.core.hyperparams import ScalarRule

W, G = jnp.zeros(2), jnp.array([1.0, -3.0])


def decays_of(row: Row) -> list[str]:
    """The arguments that are a part of an average which each step keeps."""
    hints = typing.get_type_hints(row.factory.__wrapped__, include_extras=True)
    rules = {name: check.rule_of(hint) for name, hint in hints.items()}
    rules = {k: r.rule if isinstance(r, check.Optional) else r for k, r in rules.items()}
    return [
        name
        for name, rule in rules.items()
        if isinstance(rule, ScalarRule)
        and (rule.interval.low, rule.interval.high, rule.interval.high_open) == (0.0, 1.0, True)
        and name not in ("eta_minus",)
    ]


WITH_DECAYS = [row for row in CATALOG if decays_of(row)]


@pytest.mark.parametrize("row", WITH_DECAYS, ids=str)
def test_a_decay_that_ends_at_1_keeps_what_there_is(row: Row) -> None:
    """As in 0.996 -> 1.0: the last steps take nothing in, and none of them is a NaN."""
    names = decays_of(row)
    tx = row.build(**{name: gx.linear_schedule(0.9, 1.0, 3) for name in names})
    params = small()
    grads, state = gradients(params, 6), tx.init(params)
    for t in range(6):
        updates, state = tx.update(at(grads, t), state, params, **row.extra)
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(updates)), t


CORRECTED: dict[str, Any] = {
    "adam b1": lambda b: gx.scale_by_adam(b1=b),
    "adam b2": lambda b: gx.scale_by_adam(b2=b),
    "ema": lambda b: gx.scale_by_ema(b, debias=True),
    "adamax": lambda b: gx.scale_by_adamax(b1=b),
    "laprop": lambda b: gx.scale_by_laprop(b1=b),
    "amsgrad": lambda b: gx.scale_by_amsgrad(b1=b, bias_correction="before"),
}


@pytest.mark.parametrize("name", CORRECTED)
def test_a_constant_gradient_stays_what_it_is(name: str) -> None:
    """Averages of a constant are the constant, whatever their decay was."""

    def steps(b: Any, later: float | None = None) -> np.ndarray:
        tx = CORRECTED[name](b)
        state, update, history = tx.init(W), jax.jit(tx.update), []
        for t in range(14):
            if t == 5 and later is not None:
                state = gx.set_hyperparams(state, **{next(iter(gx.hyperparams(state))): later})
            u, state = update(G, state, W)
            history.append(u)
        assert update._cache_size() == 1
        return np.stack(history)

    expected = np.broadcast_to(G if name == "ema" else np.sign(G), (14, 2))
    changing = (
        steps(gx.piecewise_constant([0.9, 0.999, 0.2], [5, 9])),
        steps(gx.linear_schedule(0.9, 1.0, 10)),
        steps(gx.tunable(0.9), 0.999),
        steps(gx.tunable(0.999), 0.9),
    )
    for actual in changing:
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_the_weight_keeps_its_digits_for_thousands_of_steps() -> None:
    def decay(t: Any) -> Any:
        return 0.99 + 0.00999 * jnp.cos(t.astype(float)) ** 2

    tx = gx.scale_by_ema(decay)

    @jax.jit
    def run(state: Any) -> Any:
        def step(state: Any, _: None) -> Any:
            state = tx.update(G, state, W)[1]
            return state, state.log_kept

        return jax.lax.scan(step, state, length=3000)

    logs = run(tx.init(W))[1]["momentum"]
    used = np.asarray(jax.vmap(decay)(jnp.arange(3000)), np.float64)
    weights = -np.expm1(np.cumsum(np.log(used)))
    np.testing.assert_allclose(-np.expm1(np.float64(logs)), weights, rtol=1e-6)


@pytest.mark.parametrize("new", ["constant", "schedule", "tunable"])
@pytest.mark.parametrize("old", ["constant", "schedule", "tunable", "optax"])
def test_the_weight_goes_where_its_average_goes(old: str, new: str) -> None:
    """Between numbers, schedules and tunables; of a constant the count is its weight."""
    forms = {
        "constant": gx.adam(1.0, b1=0.9),
        "schedule": gx.adam(1.0, b1=gx.piecewise_constant([0.9, 0.99], [5])),
        "tunable": gx.adam(1.0, b1=gx.tunable(0.9)),
        "optax": optax.adam(1.0),
    }
    state = forms[old].init(W)
    for _ in range(4):
        _, state = forms[old].update(G, state, W)
    state, report = gx.transfer_state(state, forms[new], W)
    assert not any("log_kept" in entry.path for entry in report.new)
    for _ in range(4):
        u, state = forms[new].update(G, state, W)
        np.testing.assert_allclose(u, -np.sign(G), rtol=1e-5)


def test_new_averages_have_no_weight_whatever_the_count_of_schedules() -> None:
    tx, state = gx.sgd(1.0), gx.sgd(1.0).init(W)
    for _ in range(7):
        _, state = tx.update(G, state, W)
    adam = gx.adam(1.0, b1=gx.tunable(0.9))
    state, _ = gx.transfer_state(state, adam, W)
    u, state = adam.update(G, state, W)
    np.testing.assert_allclose(u, -np.sign(G), rtol=1e-5)


def test_a_batch_of_decays_has_a_batch_of_weights() -> None:
    tx = gx.scale_by_adam(b1=gx.tunable(0.9))
    decays = jnp.array([0.5, 0.9, 0.99])
    states = jax.vmap(lambda b: gx.set_hyperparams(tx.init(W), b1=b))(decays)
    for _ in range(3):
        updates, states = jax.vmap(tx.update, (None, 0, None))(G, states, W)
        np.testing.assert_allclose(updates, np.broadcast_to(np.sign(G), (3, 2)), rtol=1e-5)


OUT_OF_RANGE = {
    "learning_rate": -1.0,
    "b1": 1.5,
    "eps": -5.0,
    "max_norm": -1.0,
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_what_is_set_is_what_the_argument_takes(name: str) -> None:
    adam = gx.adam(gx.tunable(0.1), b1=gx.tunable(0.9), eps=gx.tunable(1e-8))
    state = gx.chain(gx.clip_by_global_norm(gx.tunable(1.0)), adam).init(W)
    with pytest.raises(ValueError, match=rf"`set_hyperparams\({name}=.*`{name}` must be"):
        gx.set_hyperparams(state, **{name: OUT_OF_RANGE[name]})
    jax.jit(lambda x: gx.set_hyperparams(state, **{name: x}))(OUT_OF_RANGE[name])


def test_a_rule_is_found_by_the_state_that_it_is_of() -> None:
    """`rho` of AdaDelta is a decay, that of SAM any length."""
    with pytest.raises(ValueError, match="`rho` must be at least 0 and at most 1"):
        gx.set_hyperparams(gx.adadelta(1.0, rho=gx.tunable(0.9)).init(W), rho=1.5)
    sam = gx.sam(gx.sgd(0.1), rho=gx.tunable(0.1))
    gx.set_hyperparams(sam.init(W), rho=1.5)


@pytest.mark.parametrize(
    ("build", "step"),
    [
        (lambda: gx.adam(0.1, b1=gx.linear_schedule(0.9, 1.5, 20)), 4),
        (lambda: gx.sgd(gx.linear_schedule(1e-3, -1e-3, 30)), 16),
        (lambda: gx.sgd(gx.warmup(gx.piecewise_constant([1.0, -1.0], [50]), 10)), 60),
        (lambda: gx.sgd(gx.join_schedules([0.1, gx.linear_schedule(-0.1, 0.1, 9)], [5])), 5),
    ],
)
def test_a_schedule_that_leaves_the_range_is_refused_with_the_step(build: Any, step: int) -> None:
    def planned(params: Any) -> Any:
        return gx.state_sharding(build(), params, jax.make_mesh((1,), ("data",)))

    for init in (build().init, jax.jit(build().init), planned):
        with pytest.raises(ValueError, match=rf"at every step; .* At step {step} it is"):
            init(W)


def test_a_schedule_in_its_range_begins_wherever_init_runs() -> None:
    tx = gx.sgd(gx.cosine_decay(0.1, 9))
    mesh, split = jax.make_mesh((1,), ("data",)), jax.sharding.PartitionSpec("data")
    params = jax.device_put(np.ones(2, np.float32), jax.sharding.NamedSharding(mesh, split))

    def begun(x: Any) -> Any:
        assert gx.step_of(tx.init(x)) is not None
        return x

    on_shards = jax.shard_map(begun, mesh=mesh, in_specs=split, out_specs=split)
    for run in (on_shards, jax.jit(on_shards)):
        run(params)
    gx.state_sharding(tx, params, mesh)


@pytest.mark.parametrize("kind", [float, np.float64, jnp.float32, jnp.bfloat16])
def test_a_known_value_is_set_and_refused_inside_of_other_programs(kind: Any) -> None:
    tx = gx.sgd(gx.tunable(0.1))
    good, *bad = kind(0.25), kind(-0.25), kind(np.nan)

    def rate(params: Any, value: Any) -> Any:
        return gx.hyperparams(gx.set_hyperparams(tx.init(params), learning_rate=value))

    for around in (lambda f: f, jax.jit, jax.vmap):
        found = around(lambda params: rate(params, good))(jnp.ones((1, 2)))
        assert np.all(np.asarray(found["learning_rate"]) == 0.25)
        for value in bad:
            with pytest.raises(ValueError, match=r"learning_rate.* must be"):
                around(lambda params, value=value: rate(params, value))(jnp.ones((1, 2)))


def test_a_schedule_whose_values_are_not_known_passes() -> None:
    gx.sgd(gx.join_schedules([0.1, lambda t: -1.0], [5])).init(W)
    jax.jit(lambda x: gx.sgd(gx.linear_schedule(x, -1.0, 5)).init(W))(0.1)
    gx.sgd(gx.cosine_decay(0.1, 100)).init(W)
