"""How far the ranking of optimizers by one seed can be trusted."""

from typing import Any

import adaptive_claims
import held_out
import jax.numpy as jnp
import numpy as np
from claim import Claim, Found, Line, Panel, Size
from evidence import SHARE, Effect, Rule
from scipy.stats import kendalltau
from trial import Problem

import gradxform as gx

TUNING_SEEDS = 3


def ranking_seeds(size: Size) -> Found:
    """The ranking of eight tuned optimizers by one seed, and by the mean of ten."""
    task = _task(adaptive_claims.pixels())
    rate = gx.tunable(1e-3)
    optimizers = {
        "SGD": gx.sgd(rate), "momentum": gx.sgd(rate, 0.9),
        "Nesterov": gx.sgd(rate, 0.9, nesterov=True), "AdaGrad": gx.adagrad(rate),
        "RMSprop": gx.rmsprop(rate), "Adam": gx.adam(rate), "AdamW": gx.adamw(rate),
        "Lion": gx.lion(rate),
    }  # fmt: skip
    optimizers = dict(list(optimizers.items())[: 2 if size.tiny else None])
    high = {"learning_rate": size.grid((0.003, 0.01, 0.03, 0.1, 0.3, 1.0))}
    low = {"learning_rate": size.grid((0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03))}
    grids = {n: high if n in ("SGD", "momentum", "Nesterov") else low for n in optimizers}
    grids["AdaGrad"] = {"learning_rate": size.grid((0.001, 0.003, 0.01, 0.03, 0.1, 0.3))}
    how: dict[str, Any] = {"steps": size.steps(300), "batch_size": 32, "evaluate_every": 30,
                           "measure_milliseconds": False}  # fmt: skip
    tuning = gx.compare(task, [gx.Candidate(n, tx, grids[n]) for n, tx in optimizers.items()],
                        seeds=size.tuning_seeds(TUNING_SEEDS), **how)  # fmt: skip
    best = {r.name: r.settings[r.chosen]["learning_rate"] for r in tuning.results}
    seeds = size.seeds(40)
    ten = max(len(seeds) // 4, 1)
    final = gx.compare(
        task, [gx.Candidate(n, tx, {"learning_rate": [best[n]]}) for n, tx in optimizers.items()],
        seeds=seeds, **how,
    )  # fmt: skip
    accuracy = np.array([result.test[0] for result in final.results])  # [optimizer, seed]
    reference, singles = accuracy[:, :ten].mean(axis=1), accuracy[:, ten:].T
    other = accuracy[:, ten : 2 * ten].mean(axis=1)
    orders = [not np.array_equal(_order(reference), _order(one)) for one in singles]
    winners = [np.argmax(reference) != np.argmax(one) for one in singles]
    agreement = [float(kendalltau(reference, one).statistic) for one in singles]
    effects = [
        Effect.of_seeds("single seeds whose ranking is not that of ten others",
                        np.array(orders, float), SHARE),
        Effect.of_seeds("single seeds whose winner is not that of ten others",
                        np.array(winners, float), SHARE),
        Effect.of_seeds("Kendall's tau of one seed and ten", np.nan_to_num(agreement)),
        Effect.of_seeds("Kendall's tau of ten seeds and ten others",
                        [float(np.nan_to_num(kendalltau(reference, other).statistic))]),
    ]  # fmt: skip
    ranks = np.array([_ranks(one) for one in singles])
    lines = [
        Line(n, [1 + i for i in range(len(optimizers))],
             [float(np.mean(ranks[:, j] == i)) for i in range(len(optimizers))],
             [0.0] * len(optimizers))
        for j, n in enumerate(optimizers)
    ]  # fmt: skip
    means = {n: float(f"{a:.4g}") for n, a in zip(optimizers, accuracy.mean(axis=1), strict=True)}
    panel = Panel("digits, 30 single seeds", "place in the ranking", "share of seeds", lines)
    return Found(effects, panel, seeds, size.tuning_seeds(TUNING_SEEDS),
                 {"learning_rates": best, "mean_test_accuracy": means})  # fmt: skip


def _order(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind="stable")  # of equals the first


def _ranks(scores: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(scores), int)
    ranks[_order(scores)] = np.arange(len(scores))
    return ranks


def _task(problem: Problem) -> gx.Task:
    """The problem for `gx.compare`, with the same training examples for all seeds."""
    splits = held_out.draw(len(problem.data[0]), 0, 1.0)
    train, validation, test = (tuple(a[places] for a in problem.data) for places in splits)
    return gx.Task(
        name=problem.name,
        init=problem.init,
        loss=problem.loss,
        metric=lambda params, data: jnp.mean(problem.score(params, data)),
        train=train,
        validation=validation,
        test=test,
        metric_name="accuracy",
        percent=True,
    )


CLAIMS = [
    Claim(
        "ranking_seeds",
        "The ranking of optimizers on one seed is not the ranking on ten.",
        "eight optimizers on digits, one hidden layer, 300 steps, the learning rate of each "
        "tuned over 6 values: the order by test accuracy for each of 30 single seeds against "
        "that of the mean of ten others",
        Rule("mostly", 0.5),
        ranking_seeds,
    ),
]
