"""`compare` with a user's own model: its state, its random numbers, its memory, its errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from comparisons import line_task, squared_error
from flax import nnx

import gradxform as gx
from gradxform.comparison import train
from gradxform.comparison.memory import bytes_needed, default_memory_limit
from gradxform.comparison.program import Program

SETTINGS: dict[str, Any] = {
    "steps": 7, "batch_size": 6, "evaluate_every": 3, "measure_milliseconds": False,
}  # fmt: skip


def normalized_task(**changes: Any) -> gx.Task:
    """A plane behind a normalization with running statistics, and noise on its inputs."""

    def init(key: jax.Array) -> Any:
        return {"w": jax.random.normal(key, (3,)), "b": jnp.zeros(())}, {"mean": jnp.zeros(3)}

    def loss(params: Any, batch: Any, *, key: jax.Array, model_state: Any) -> Any:
        x, y = batch
        mean = 0.9 * model_state["mean"] + 0.1 * jnp.mean(x, axis=0)
        noise = 0.1 * jax.random.normal(key, x.shape)
        return squared_error(params, (x - mean[None] + noise, y)), {"mean": mean}

    def metric(params: Any, data: Any, model_state: Any) -> jax.Array:
        x, y = data
        return squared_error(params, (x - model_state["mean"][None], y))

    settings = {"init": init, "loss": loss, "metric": metric, "lower_is_better": True}
    return line_task(**{**settings, "target": None, **changes})


class Normalized(nnx.Module):
    """A plane behind batch normalization, which writes its variables in a forward pass."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.out = nnx.Linear(3, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.norm(x))[:, 0]


def test_a_model_of_nnx_with_batch_normalization_is_compared() -> None:
    graph, _, _ = nnx.split(Normalized(nnx.Rngs(0)), nnx.Param, ...)

    def init(key: jax.Array) -> Any:
        return nnx.split(Normalized(nnx.Rngs(key)), nnx.Param, ...)[1:]

    def loss(params: Any, batch: Any, model_state: Any) -> Any:
        model, (x, y) = nnx.merge(graph, params, model_state), batch
        return jnp.mean(jnp.square(model(x) - y)), nnx.state(model, nnx.Not(nnx.Param))

    def metric(params: Any, data: Any, model_state: Any) -> jax.Array:
        model, (x, y) = nnx.merge(graph, params, model_state), data
        in_training = jnp.mean(jnp.square(model(x) - y))  # writes the statistics, too
        model.eval()
        return jnp.mean(jnp.square(model(x) - y)) + 0.0 * in_training

    task = line_task(init=init, loss=loss, metric=metric, lower_is_better=True, target=None)
    found = gx.compare(task, {"adam": gx.adam(0.05)}, seeds=2, **{**SETTINGS, "steps": 40})
    result = found["adam"]
    assert not result.diverged.any()
    assert (result.final_loss < 0.8 * result.train_loss[:, :, 0]).all()
    # The metric is of running statistics that have moved.
    assert (result.validation[:, :, -1] < result.validation[:, :, 0]).all()


def test_model_states_and_keys_follow_the_train_step() -> None:
    task, rates = normalized_task(), [0.01, 0.1]
    candidate = gx.Candidate("sgd", gx.sgd(gx.tunable(0.1)), {"learning_rate": rates})
    found = gx.compare(task, [candidate], seeds=[3, 4], **SETTINGS)
    init_key, order_key = jax.random.split(jax.random.key(4))
    params, model_state = task.init(init_key)
    key = jax.random.fold_in(order_key, 2**32 - 1)
    tx = gx.sgd(0.1)
    step = gx.make_train_step(task.loss, tx)
    state = gx.TrainState.create(tx, params, model_state=model_state, key=key)
    for i in range(7):
        epoch, batch = divmod(i, 3)
        order = jax.random.permutation(jax.random.fold_in(order_key, epoch), 20)
        places = order[6 * batch : 6 * batch + 6]
        state, _ = step(state, tuple(part[places] for part in task.train))
    expected = task.metric(state.params, task.test, state.model_state)
    np.testing.assert_allclose(found["sgd"].test[1, 1], expected, rtol=1e-4)
    assert not np.allclose(state.model_state["mean"], 0.0)


def test_networks_that_do_not_fit_at_once_are_trained_in_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []
    compiled = Program.compiled

    def noted(self: Program, candidate: Any, *size: int) -> Any:
        sizes.append(size)
        return compiled(self, candidate, *size)

    monkeypatch.setattr(Program, "compiled", noted)
    # What a compiler says of networks as small as these is mostly not theirs.
    monkeypatch.setattr(train, "bytes_needed", lambda _: 10_000 * sizes[-1][0] * sizes[-1][1])
    candidate = gx.Candidate("adam", gx.adam, {"learning_rate": [0.01, 0.03, 0.1]})
    parts = []

    def run(limit: int | None) -> Any:
        sizes.clear()
        parts.clear()
        return gx.compare(
            normalized_task(), [candidate], seeds=3, memory_limit=limit,
            on_progress=lambda p: parts.append(p.done), **SETTINGS,
        )["adam"]  # fmt: skip

    whole = run(None)
    assert sizes == [(3, 3)]
    for limit, final in ((75_000, (2, 3)), (25_000, (1, 2)), (15_000, (1, 1))):
        found = run(limit)
        assert sizes[-1] == final, limit
        assert parts == [0, 1, 2, 3]  # counted as one
        for name in ("validation", "train_loss", "final_loss", "test"):
            np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-5)
    with pytest.raises(ValueError, match=r"one network of `adam` with its data needs .* the limit"):
        run(100)


def test_groups_cover_every_network_with_few_programs() -> None:
    from gradxform.comparison.train import _group_size

    assert _group_size(35, 5, 7) == (5, 7)
    assert _group_size(34, 5, 7) == (3, 7)  # 3 and 2 seeds, not 4 and 1
    assert _group_size(7, 5, 7) == (1, 7)
    assert _group_size(6, 5, 7) == (1, 4)
    assert _group_size(1, 5, 7) == (1, 1)


def test_the_limit_is_that_of_the_machine_and_programs_are_weighed() -> None:
    assert default_memory_limit() > 2**28
    compiled = jax.jit(lambda x: x + 1.0).lower(jnp.zeros(1000)).compile()
    assert 8000 <= bytes_needed(compiled) < 12000


def test_candidates_are_transformations_dicts_or_functions() -> None:
    def mine(learning_rate: Any, share: Any, steps: int) -> Any:
        return gx.sgd(lambda t: learning_rate * jnp.where(t < share * steps, 0.0, 1.0))

    ours, theirs = gx.sgd(0.1, momentum=0.9), optax.sgd(0.1)
    of_list = gx.compare(line_task(), [ours, gx.Candidate("b", gx.sgd(0.1))], seeds=1, **SETTINGS)
    assert of_list.names == ("sgd(learning_rate=0.1, momentum=0.9)", "b")
    grid = {"learning_rate": [0.05, 0.1], "share": [0.0, 0.5, 1.0]}
    of_dict = gx.compare(
        line_task(), {"optax": theirs, "mine": gx.Candidate("x", mine, grid)}, seeds=1, **SETTINGS
    )
    assert of_dict.names == ("optax", "mine")
    assert of_dict["mine"].test.shape == (6, 1)
    np.testing.assert_allclose(of_dict["mine"].test[3], of_dict["optax"].test[0], rtol=1e-5)
    np.testing.assert_allclose(of_dict["mine"].test[5], of_dict["mine"].validation[5, :, 0] * 0 +
                               of_dict["mine"].test[2], rtol=1e-6)  # fmt: skip
    alone = gx.compare(line_task(), ours, seeds=1, **SETTINGS)
    np.testing.assert_allclose(alone.results[0].test, of_list.results[0].test, rtol=1e-5)


def test_where_lower_is_better_the_lowest_is_chosen_and_best() -> None:
    task = line_task(metric=squared_error, lower_is_better=True, target=None)
    grid = {"learning_rate": [1e-4, 0.1]}
    slow, fast = gx.Candidate("slow", gx.sgd(1e-4)), gx.Candidate("fast", gx.sgd, grid)
    found = gx.compare(task, [slow, fast], seeds=2, **SETTINGS)
    assert [r.name for r in found.ranking] == ["fast", "slow"]
    assert found["fast"].chosen_setting == {"learning_rate": 0.1}


@pytest.mark.parametrize(
    ("changes", "candidates", "message"),
    [
        ({"loss": lambda p, d, key, model_state: (d[1], {})}, None, r"number; got float32\[6\]"),
        ({"loss": squared_error}, None, "`metric` takes `model_state`, and `loss` does not"),
        ({"init": lambda key: jnp.zeros(3)}, None, r"init` must return\W+\(params, model_state"),
        ({"loss": lambda p, d, model_state: d[1].sum()}, None, r"must return `\(loss, model_sta"),
        ({}, {"a": gx.Candidate("a", gx.sgd, {"learning_rate": [-1.0]})}, "must be at least 0"),
        ({}, {"a": gx.Candidate("a", gx.sgd, {"learning_rate": gx.Range(0.1, 1)})}, "only `tune`"),
        ({}, {"a": gx.sgd}, "needs `learning_rate`, which the grid does not give"),
        ({}, {"a": lambda: 3}, "function must return a gradient transformation; got 3"),
        ({}, [optax.sgd(0.1)], "another library does not know what it is called; pass a dict"),
        ({}, [gx.sgd], "must be a `Candidate` or a gradient transformation"),
        ({}, "adam", "must be a list of `Candidate`s or transformations"),
    ],
)
def test_what_cannot_be_trained_is_said_before_training(
    changes: dict[str, Any], candidates: Any, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        gx.compare(normalized_task(**changes), candidates or [gx.sgd(0.1)], **SETTINGS)


def test_data_that_is_not_finite_is_refused_by_its_place() -> None:
    x, y = np.ones((5, 3), np.float32), np.ones(5, np.float32)
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"`validation\['x'\]` must hold finite.*1 of its 5.*3, 1"):
        line_task(validation={"x": x, "y": y})
