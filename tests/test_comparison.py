"""`compare`: the same conditions for all, every run counted, and what follows from them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from comparisons import line_task, squared_error

import gradxform as gx
from gradxform.comparison.candidate import Candidate
from gradxform.comparison.compare import compare
from gradxform.comparison.conditions import Progress
from gradxform.comparison.model import Model
from gradxform.comparison.result import Comparison
from gradxform.comparison.timing import step_milliseconds

RATES = [0.01, 0.1, 1e3]
SEEDS = [0, 1, 7]
STEPS = 7  # more than two epochs of 3 batches, and no multiple of `evaluate_every`
SETTINGS: dict[str, Any] = {"steps": STEPS, "batch_size": 6, "evaluate_every": 3}
QUICK: dict[str, Any] = {"measure_milliseconds": False}


@pytest.fixture(scope="module")
def found() -> Comparison:
    """One comparison, read by many tests; the third rate lets SGD diverge."""
    candidates = [
        Candidate("adam", gx.adam(gx.tunable(0.5)), {"learning_rate": RATES}),
        Candidate("sgd", gx.sgd(gx.tunable(0.5), momentum=0.9), {"learning_rate": RATES}),
        Candidate("sgd again", gx.sgd(gx.tunable(0.5), momentum=0.9), {"learning_rate": RATES}),
        Candidate("optax", optax.sgd(0.1, momentum=0.9)),
    ]
    return compare(line_task(), candidates, seeds=SEEDS, **QUICK, **SETTINGS)


def trained_alone(rate: float, seed: int, until: int) -> tuple[Any, list[float]]:
    """One network in a plain loop: what one place in the compiled program must equal."""
    task = line_task()
    init_key, order_key = jax.random.split(jax.random.key(seed))
    params = task.init(init_key)
    tx = gx.adam(rate)
    state = tx.init(params)
    losses = []
    for step in range(until):
        epoch, batch = divmod(step, 3)  # 20 examples have 3 batches of 6, and 2 are left over
        order = jax.random.permutation(jax.random.fold_in(order_key, epoch), 20)
        places = order[6 * batch : 6 * batch + 6]
        data = tuple(part[places] for part in task.train)
        loss, grads = jax.value_and_grad(squared_error)(params, data)
        updates, state = tx.update(grads, state, params)
        params = gx.apply_updates(params, updates)
        losses.append(float(loss))
    return params, losses


@pytest.mark.parametrize(("setting", "seed"), [(0, 0), (1, 2)])
def test_each_run_is_what_a_plain_loop_trains(found: Comparison, setting: int, seed: int) -> None:
    adam, task = found["adam"], line_task()
    assert adam.evaluated.tolist() == [0, 3, 6, 7]
    for place, until in enumerate(adam.evaluated):
        params, losses = trained_alone(RATES[setting], SEEDS[seed], int(until))
        expected = -squared_error(params, task.validation)
        np.testing.assert_allclose(adam.validation[setting, seed, place], expected, rtol=1e-4)
        if place > 0:
            recent = np.mean(losses[int(adam.evaluated[place - 1]) :])
            np.testing.assert_allclose(adam.train_loss[setting, seed, place], recent, rtol=1e-4)
    expected = -squared_error(params, task.test)
    np.testing.assert_allclose(adam.test[setting, seed], expected, rtol=1e-4)
    # Of the training set the loss is taken in whole batches.
    whole = squared_error(params, tuple(part[:18] for part in task.train))
    np.testing.assert_allclose(adam.final_loss[setting, seed], whole, rtol=1e-4)


def test_seeds_are_paired(found: Comparison) -> None:
    starts = found["adam"].validation[0, :, 0]
    assert len(set(starts.tolist())) == len(SEEDS)
    for result in found.results:
        assert result.validation.shape[1] == len(SEEDS)
        np.testing.assert_allclose(result.validation[0, :, 0], starts, rtol=1e-6)
    # The same optimizer under another name has the same batches, so the same numbers.
    np.testing.assert_array_equal(found["sgd"].validation, found["sgd again"].validation)
    np.testing.assert_array_equal(found["sgd"].test, found["sgd again"].test)


def test_a_seed_does_not_depend_on_its_company(found: Comparison) -> None:
    alone = Candidate("adam", gx.adam(gx.tunable(0.5)), {"learning_rate": RATES[1:2]})
    result = compare(line_task(), [alone], seeds=[7], **QUICK, **SETTINGS)
    np.testing.assert_allclose(
        result["adam"].validation[0, 0], found["adam"].validation[1, 2], rtol=1e-4
    )


def test_transformations_of_optax_take_part(found: Comparison) -> None:
    ours, theirs = found["sgd"], found["optax"]
    assert theirs.settings == ({},)
    np.testing.assert_allclose(theirs.validation[0], ours.validation[1], rtol=1e-4)


def test_diverged_runs_are_counted_as_they_were_measured(found: Comparison) -> None:
    sgd = found["sgd"]
    assert sgd.diverged.tolist() == [[False] * 3, [False] * 3, [True] * 3]
    assert sgd.test.shape == sgd.final_loss.shape == (3, 3)
    assert (sgd.test[2] < -1e6).all()
    assert sgd.chosen != 2


def test_a_step_is_timed_on_one_network(found: Comparison) -> None:
    assert found["adam"].milliseconds is None  # only where it is asked for
    candidates = [Candidate("sgd", gx.sgd(0.1))]
    model = Model(line_task())
    # Where two do not fit into memory together, each has its turns alone.
    times = step_milliseconds(model, candidates * 2, steps=3, batch_size=6, memory_limit=1)
    assert len(times) == 2
    assert 0.0 < min(times) <= max(times) < 100.0


def test_a_grid_of_several_names_is_a_product() -> None:
    tx = gx.sgd(gx.tunable(0.5), momentum=gx.tunable(0.5))
    both = Candidate("both", tx, {"learning_rate": [0.1, 0.01], "momentum": [0.9, 0.0]})
    fixed = Candidate("fixed", gx.sgd(0.1, momentum=0.9))
    assert both.settings == (
        {"learning_rate": 0.01, "momentum": 0.0},
        {"learning_rate": 0.01, "momentum": 0.9},
        {"learning_rate": 0.1, "momentum": 0.0},
        {"learning_rate": 0.1, "momentum": 0.9},
    )
    found = compare(line_task(), [both, fixed], seeds=2, **QUICK, **SETTINGS)
    np.testing.assert_allclose(found["both"].test[3], found["fixed"].test[0], rtol=1e-5)
    assert len(np.unique(found["both"].test[:, 0])) == 4


@gx.transformation
def scale_by_loss() -> Any:
    """Multiply the updates by the loss."""

    def update(updates: Any, state: Any, *, value: jax.Array) -> Any:
        return jax.tree.map(lambda g: g * value, updates), state

    return lambda params: optax.EmptyState(), update


def test_the_loss_is_passed_to_update() -> None:
    candidate = Candidate("by loss", gx.chain(scale_by_loss(), gx.sgd(0.01)))
    found = compare(line_task(), [candidate], seeds=1, steps=1, batch_size=20, **QUICK)
    task = line_task()
    params = task.init(jax.random.split(jax.random.key(0))[0])
    loss, grads = jax.value_and_grad(squared_error)(params, task.train)
    after = jax.tree.map(lambda p, g: p - 0.01 * loss * g, params, grads)
    expected = -squared_error(after, task.test)
    np.testing.assert_allclose(found["by loss"].test[0, 0], expected, rtol=1e-5)


def test_a_candidate_is_compiled_once_for_any_number_of_steps() -> None:
    traces = []

    def loss(params: Any, batch: Any) -> jax.Array:
        traces.append(batch[0].shape)
        return squared_error(params, batch)

    def count(steps: int) -> int:
        traces.clear()
        candidate = Candidate("sgd", gx.sgd(gx.tunable(0.1)), {"learning_rate": RATES})
        settings = {**SETTINGS, "steps": steps, **QUICK}
        compare(line_task(loss=loss), [candidate], seeds=1, **settings)
        return len(traces)

    assert count(3) == count(8)


def test_progress_and_results_are_reported_and_not_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[Progress] = []
    partial: list[Comparison] = []
    candidates = [Candidate(name, gx.sgd(0.1)) for name in ("a", "b")]
    found = compare(
        line_task(), candidates, seeds=[0], on_progress=seen.append, on_result=partial.append,
        **SETTINGS,
    )  # fmt: skip
    assert [(p.candidate, p.done) for p in seen] == [
        ("", 0), ("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b", 3), ("b", 4), ("b", 5), ("b", 6),
    ]  # fmt: skip
    assert {p.total for p in seen} == {6}
    assert [c.names for c in partial] == [("a",), ("a", "b")]
    assert [c.complete for c in partial] == [False, True]
    assert partial[-1] is found
    assert capsys.readouterr() == ("", "")


def run(**changes: Any) -> Comparison:
    settings = {"candidates": [Candidate("sgd", gx.sgd(0.1))], **SETTINGS, **changes}
    task = settings.pop("task", None) or line_task()
    return compare(task, **settings)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 0}, ValueError, r"compare\(steps=0\).*at least 1"),
        ({"seeds": 0}, ValueError, r"compare\(seeds=0\).*at least 1"),
        ({"seeds": [1, 1]}, ValueError, "each of them once"),
        ({"seeds": []}, ValueError, "at least one seed"),
        ({"batch_size": 21}, ValueError, "at most 20, the number of training examples of line"),
        ({"evaluate_every": 0}, ValueError, r"evaluate_every=0"),
        ({"candidates": []}, ValueError, "one or more"),
        ({"candidates": [Candidate("a", gx.sgd(0.1))] * 2}, ValueError, "a more than once"),
        (
            {"candidates": [Candidate("a", gx.adam(0.1), {"b3": [0.9]})]},
            KeyError,
            r"Candidate\('a'\)`: its grid varies `b3`: .*no `b3` among",
        ),
        (
            {"candidates": [Candidate("a", gx.sgd(0.1), {"learning_rate": [0.1]})]},
            TypeError,
            r"learning_rate=tunable\(...\)",
        ),
        (
            {"task": line_task(loss=lambda p, d: p["w"])},
            ValueError,
            r"Task\('line'\)`: `loss` must return one real number; got",
        ),
        (
            {"task": line_task(metric=lambda p, d: jnp.sum(d[1] > 0))},
            ValueError,
            "`metric` must return one real number",
        ),
    ],
)
def test_bad_input_is_refused_before_training(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    def unreachable(_: object) -> None:
        raise AssertionError("the training has started")

    with pytest.raises(error, match=message):
        run(on_progress=unreachable, **changes)


def test_bad_candidates_and_tasks_are_refused_when_they_are_built() -> None:
    with pytest.raises(TypeError, match=r"Candidate\('a'\).*must be a gradient transformation"):
        Candidate("a", 0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"varies `rate`, which its function does not take"):
        Candidate("a", lambda learning_rate=0.1: gx.sgd(learning_rate), {"rate": [0.1]})
    with pytest.raises(ValueError, match="a list of numbers for `learning_rate`"):
        Candidate("a", gx.sgd(gx.tunable(0.1)), {"learning_rate": []})
    with pytest.raises(ValueError, match="a list of numbers for `learning_rate`"):
        Candidate("a", gx.sgd(gx.tunable(0.1)), {"learning_rate": 0.1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"grid\['learning_rate'\]"):
        Candidate("a", gx.sgd(gx.tunable(0.1)), {"learning_rate": [float("nan")]})
    with pytest.raises(ValueError, match=r"`validation` must be arrays.*got leading axes of 2, 3"):
        line_task(validation=(np.zeros(2), np.zeros(3)))
    with pytest.raises(ValueError, match=r"`test` must be arrays.*got no array"):
        line_task(test=())
    with pytest.raises(TypeError, match=r"`train` must be arrays; got a Table.*np.asarray"):
        line_task(train=Table())
    with pytest.raises(TypeError, match="`loss` is a function"):
        line_task(loss=1.0)


class Table:
    """A leaf of a tree that has a length and is no array, such as a data frame."""

    ndim = 1
    shape = (4,)


def test_what_is_no_task_is_refused() -> None:
    optimizers = {"sgd": gx.sgd(0.1)}
    with pytest.raises(TypeError, match=r"compare\(task='digits'\)`: `task` must be a `Task`"):
        gx.compare("digits", optimizers, steps=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"The order is `tune\(task, candidates, \.\.\.\)`"):
        gx.tune(optimizers, line_task(), steps=1)  # type: ignore[arg-type]
