"""A small task to compare on, and results made by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from gradxform import sgd, tunable
from gradxform.comparison.candidate import Candidate
from gradxform.comparison.report import table
from gradxform.comparison.result import CandidateResult, Comparison
from gradxform.comparison.task import Task

BEST = [0.96, 0.97, 0.98, 0.97, 0.96]
WORSE = [0.86, 0.88, 0.87, 0.86, 0.88]
NEAR = [0.97, 0.96, 0.97, 0.97, 0.95]


def line_task(**changes: Any) -> Task:
    """A plane fitted to 20 noisy points; the metric is minus the squared error."""
    rng = np.random.default_rng(0)

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(count, 3)).astype(np.float32)
        y = x @ np.float32([1.0, -2.0, 0.5]) + 0.1 * rng.normal(size=count)
        return x, y.astype(np.float32)

    settings = {
        "name": "line",
        "init": lambda key: {"w": jax.random.normal(key, (3,)), "b": jnp.zeros(())},
        "loss": squared_error,
        "metric": lambda params, data: -squared_error(params, data),
        "train": split(20),
        "validation": split(11),
        "test": split(12),
        "target": -0.5,
    }
    return Task(**{**settings, **changes})


def squared_error(params: Any, data: Any) -> jax.Array:
    x, y = data
    return jnp.mean(jnp.square(x @ params["w"] + params["b"] - y))


def result(
    name: str,
    *,
    validation: Any,
    test: Any,
    rates: tuple[float, ...] = (0.01, 0.1, 1.0),
    **changes: Any,
) -> CandidateResult:
    """A result with the metrics that are given: validation[setting][seed], test[setting][seed].

    The runs are judged before the first and after each of ten steps, and do not change.
    """
    final = np.asarray(validation, np.float32)
    still = np.broadcast_to(final[..., None], (*final.shape, 11))
    arrays = {
        "evaluated": np.arange(11),
        "validation": still,
        "train_loss": np.ones_like(still),
        "final_loss": np.full(final.shape, 0.5, np.float32),
        "test": np.asarray(test, np.float32),
    }
    grid = {"learning_rate": rates[: len(final)]}
    return CandidateResult(Candidate(name, sgd(tunable(0.1)), grid), **{**arrays, **changes})


def comparison(*results: CandidateResult, **changes: Any) -> Comparison:
    settings = {
        "task": "by hand",
        "planned": tuple(r.name for r in results),
        "results": results,
        "seeds": tuple(range(results[0].test.shape[1])),
        "steps": 10,
        "batch_size": 4,
        "evaluate_every": 1,
        "sizes": {"train": 20, "validation": 10, "test": 10},
    }
    return Comparison(**{**settings, **changes})


def three(**changes: Any) -> Comparison:
    """A best, one that ties with it and one that does not."""
    rows = [("worse", WORSE), ("best", BEST), ("near", NEAR)]
    results = [result(name, validation=[s, s, s], test=[s, s, s]) for name, s in rows]
    return comparison(*results, **changes)


def printed(c: Comparison, width: int = 80) -> str:
    """The table as a terminal shows it."""
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table(c, width))
    return capture.get()
