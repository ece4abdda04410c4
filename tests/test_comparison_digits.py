"""The default comparison: handwritten digits, and the optimizers that are tried on them."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import CATALOG

import gradxform as gx
from gradxform.comparison.candidate import Candidate
from gradxform.comparison.compare import compare
from gradxform.comparison.defaults import default_candidates
from gradxform.comparison.digits import digits_references, digits_task
from gradxform.comparison.everything import all_candidates


def test_digits_are_split_by_class_and_the_same_each_time() -> None:
    task, again = digits_task(), digits_task()
    assert task.sizes == {"train": 1077, "validation": 360, "test": 360}
    splits = [task.train, task.validation, task.test]
    rows = [image.tobytes() for images, _ in splits for image in images]
    assert len(set(rows)) == len(rows) == 1797  # no scan is in two splits
    for _, labels in splits:
        shares = np.bincount(labels) / len(labels)
        assert np.abs(shares - 0.1).max() < 0.01
    for a, b in zip(jax.tree.leaves(splits), jax.tree.leaves([again.train]), strict=False):
        np.testing.assert_array_equal(a, b)


def test_digits_start_at_chance() -> None:
    task = digits_task()
    params = task.init(jax.random.key(0))
    assert float(task.loss(params, task.train)) == pytest.approx(np.log(10))
    assert float(task.metric(params, task.test)) == pytest.approx(0.1, abs=0.01)


def test_references_are_what_scikit_learn_reaches() -> None:
    logistic, nearest = digits_references(digits_task())
    assert logistic.recipe == "LogisticRegression(max_iter=1000)"
    assert nearest.recipe == "KNeighborsClassifier()"
    assert 0.95 < logistic.test < 0.98
    assert 0.96 < nearest.test < 0.995


def test_a_short_training_on_digits_comes_near_the_references() -> None:
    candidate = Candidate("adam", gx.adam(gx.tunable(0.01)), {"learning_rate": [0.01]})
    found = compare(
        digits_task(),
        [candidate],
        seeds=2,
        steps=150,
        evaluate_every=50,
        measure_milliseconds=False,
    )
    assert 0.945 < found["adam"].scores.mean() < 0.99


def test_dowg_trains_at_its_default_and_not_at_the_papers() -> None:
    rates = [0.5, 1.0]
    assert gx.dowg().recipe.arguments["learning_rate"] == rates[0]
    candidate = Candidate("dowg", gx.dowg(gx.tunable(1.0)), {"learning_rate": rates})
    found = compare(
        digits_task(), [candidate], seeds=3, steps=150, evaluate_every=50,
        measure_milliseconds=False,
    )  # fmt: skip
    default, papers = found["dowg"].test
    assert default.min() > 0.85
    assert papers.max() < 0.85


def test_all_candidates_are_all_optimizers_and_try_their_default_rates() -> None:
    candidates = {c.transformation.recipe.name: c for c in all_candidates()[::-1]}
    optimizers = {row.name for row in CATALOG if row.kind == "optimizer"}
    assert optimizers - candidates.keys() == set()
    for name in optimizers:
        default = inspect.signature(getattr(gx, name)).parameters["learning_rate"].default
        if isinstance(default, float):
            assert default in candidates[name].grid["learning_rate"], name


def test_the_default_candidates_vary_their_learning_rates() -> None:
    candidates = default_candidates()
    assert [c.name for c in candidates] == [
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adam-l2", "adamw", "lion",
    ]  # fmt: skip
    for candidate in candidates:
        (rates,) = candidate.grid.values()
        start = gx.hyperparams(candidate.transformation.init(jnp.zeros(1)))["learning_rate"]
        assert len(rates) == 7
        assert rates[0] < start < rates[-1]
    assert repr(candidates[0].transformation) == "sgd(learning_rate=tunable(0.1))"
    assert "add_l2_regularization" in repr(candidates[6].transformation)
