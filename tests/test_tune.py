"""`tune`: equal budgets, schedules that end with each trial, and candidates for `compare`."""

import json
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from comparisons import line_task, squared_error

import gradxform as gx
from gradxform.comparison import samplers
from gradxform.comparison.candidate import as_candidates
from gradxform.comparison.samplers import METHODS
from gradxform.comparison.scheduled import Scheduled
from gradxform.comparison.tune import Search

SPACE = {
    "learning_rate": gx.Range(1e-3, 1.0),
    "weight_decay": gx.Range(1e-4, 0.1),
    "warmup": gx.Range(0.0, 0.5, log=False),
    "rate_decay": [0.0, 1.0],
}
SETTINGS: dict[str, Any] = {"steps": 18, "batch_size": 6}
ERROR = {"metric": squared_error, "lower_is_better": True, "target": None}


@pytest.fixture(scope="module")
def found() -> gx.Tuning:
    candidates = {"adamw": gx.adamw, "momentum": gx.sgd(gx.tunable(0.1), momentum=0.9)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samplers, "_SHORTEST", 1)  # the rounds of a run that is long enough
        return gx.tune(line_task(**ERROR), candidates, SPACE, budget=6, seeds=2, **SETTINGS)


def test_no_round_is_too_short_to_tell_settings_apart() -> None:
    rounds = METHODS["halving"].rounds
    assert rounds(12, 1000) == [(36, 112), (12, 334), (4, 1000)]
    assert rounds(12, 400) == [(18, 134), (6, 400)]
    assert rounds(12, 299) == [(12, 299)]


def test_every_optimizer_has_the_same_budget_and_every_trial_is_kept(found: gx.Tuning) -> None:
    assert found.seeds == (1000, 1001)
    for name in found.names:
        trials = found.trials[name]
        assert [t.steps for t in trials] == [2] * 18 + [6] * 6 + [18] * 2
        assert sum(t.steps for t in trials) == 6 * 18
        first = [t.setting["learning_rate"] for t in trials[:18]]
        # One in each eighteenth of the range, the same for all.
        places = [SPACE["learning_rate"].place(rate) for rate in first]
        assert sorted(int(place * 18) for place in places) == list(range(18))
        assert first == [t.setting["learning_rate"] for t in found.trials["adamw"][:18]]
    assert [*found.spaces["adamw"]] == ["learning_rate", "weight_decay", "warmup", "rate_decay"]
    assert [*found.spaces["momentum"]] == ["learning_rate", "warmup", "rate_decay"]
    assert {t.setting["rate_decay"] for t in found.trials["momentum"]} == {0.0, 1.0}


def test_the_best_third_of_a_round_goes_on(found: gx.Tuning) -> None:
    trials = found.trials["adamw"]
    rounds = [[t for t in trials if t.round == i] for i in range(3)]
    for before, after in ((rounds[0], rounds[1]), (rounds[1], rounds[2])):
        best = sorted(before, key=lambda t: t.score)[: len(after)]
        assert [t.setting for t in best] == [t.setting for t in after]
    assert found.best("adamw") == min(rounds[2], key=lambda t: t.score)


def test_a_trial_is_what_its_recipe_trains(found: gx.Tuning) -> None:
    """The candidates hold real schedules; a search of traced numbers computes the same."""
    (adamw, *_), best = found.candidates, found.best("adamw")
    made = adamw.built(adamw.settings[0], 18)
    assert repr(made).startswith("adamw(")
    assert "weight_decay=" in repr(made)
    alone = gx.compare(
        line_task(**ERROR), {"adamw": made}, seeds=[1000, 1001], evaluate_every=2,
        measure_milliseconds=False, **SETTINGS,
    )  # fmt: skip
    score = np.mean(alone["adamw"].final_validation)
    assert score == pytest.approx(best.score, rel=1e-4)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("decay", [0.0, 0.6, 1.0])
def test_traced_schedules_are_those_of_the_library(warmup: float, decay: float) -> None:
    rates: list[Any] = []

    def noted(learning_rate: Any) -> Any:
        rates.append(learning_rate)
        return optax.identity()

    def traced(*numbers: jax.Array) -> jax.Array:
        names = ("learning_rate", "warmup", "rate_decay")
        Scheduled(noted)(steps=40, **dict(zip(names, numbers, strict=True)))
        return jax.vmap(rates[-1])(jnp.arange(45))

    ours = jax.jit(traced)(0.1, warmup, decay)
    Scheduled(noted)(steps=40, learning_rate=0.1, warmup=warmup, rate_decay=decay)
    plain = rates[-1] if callable(rates[-1]) else gx.constant_schedule(rates[-1])
    np.testing.assert_allclose(ours, jax.vmap(plain)(jnp.arange(45)), rtol=1e-5, atol=1e-8)


def test_it_prints_as_a_table_and_goes_into_json(found: gx.Tuning) -> None:
    lines = repr(found).splitlines()
    assert lines[0] == (
        "line: the best settings by halving, 6 runs of 18 steps each, seeds 1000, 1001"
    )
    assert " ".join(lines[1].split()) == (
        "optimizer learning rate weight decay warmup rate decay validation metric trials"
    )
    scores = [found.best(line.split()[0]).score for line in lines[2:4]]
    assert scores == sorted(scores)
    assert json.loads(json.dumps(found.search))["spaces"]["adamw"]["learning_rate"] == {
        "low": 0.001, "high": 1.0, "log": True,
    }  # fmt: skip


def test_compare_takes_what_was_found_on_other_seeds(found: gx.Tuning) -> None:
    task = line_task(**ERROR)
    c = gx.compare(task, found, seeds=2, measure_milliseconds=False, **SETTINGS)
    assert c.names == found.names
    assert c["momentum"].chosen_setting == found.best("momentum").setting
    assert len(c["momentum"].trials) == 26
    assert c["momentum"].trials[0]["seeds"] == [1000, 1001]
    assert c.search["budget"] == 6
    with pytest.raises(ValueError, match=r"apart from the seeds of the search.*1000, 1001"):
        gx.compare(task, found, seeds=[0, 1001], **SETTINGS)


def test_optuna_proposes_batches_of_full_runs() -> None:
    pytest.importorskip("optuna")
    seen = []
    found = gx.tune(
        line_task(), {"adam": gx.adam},
        {"learning_rate": gx.Range(1e-3, 1.0), "warmup": [0.0, 0.2]},
        budget=7, search="optuna", on_progress=lambda p: seen.append((p.done, p.total)), **SETTINGS,
    )  # fmt: skip
    trials = found.trials["adam"]
    assert [t.steps for t in trials] == [18] * 7
    assert [t.round for t in trials] == [0, 0, 0, 1, 1, 2, 2]
    assert found.best("adam").score == max(t.score for t in trials)  # higher is better
    assert seen[-1] == (3, 3)
    assert len({t.setting["learning_rate"] for t in trials}) == 7


def test_what_diverges_is_last_and_an_end_is_marked(found: gx.Tuning) -> None:
    space = {"learning_rate": [1e4]}
    lost = gx.tune(line_task(**ERROR), {"sgd": gx.sgd}, space, budget=1, **SETTINGS)
    assert [np.isnan(t.score) for t in lost.trials["sgd"]] == [True]
    # A setting that failed is never the best: the table says so, and `compare` gets none.
    assert lost.unusable == ("sgd",)
    assert repr(lost).splitlines()[-1] == (
        "sgd: none of the 1 trials was usable; each diverged, or its metric is not finite. "
        "Searched was learning_rate: 10000."
    )
    for read in (lambda: lost.best("sgd"), lambda: lost.candidates):
        with pytest.raises(ValueError, match=r"best\('sgd'\)`: none of the 1 trials was usable"):
            read()
    partly = replace(
        found,
        trials={**found.trials, "momentum": lost.trials["sgd"]},
        spaces={**found.spaces, "momentum": lost.spaces["sgd"]},
    )
    assert [c.name for c in partly.candidates] == ["adamw"]
    assert partly.search["without_a_usable_trial"] == ["momentum"]
    # Nor is one that failed at full length after a short trial that did not.
    first, *rest = found.trials["adamw"]
    failing = first._replace(steps=18, score=np.nan)
    short = first._replace(score=-1.0)
    trials = {**found.trials, "adamw": (short, *rest, failing)}
    assert replace(found, trials=trials).best("adamw").setting != first.setting
    last = found.trials["adamw"][-1]
    high = last._replace(setting={**last.setting, "learning_rate": 0.99}, score=0.0)
    trials = {"adamw": (*found.trials["adamw"], high), "momentum": found.trials["momentum"]}
    near = replace(found, trials=trials)
    assert near.at_edge("adamw") == ("learning_rate",)
    assert "0.99!" in repr(near)
    assert "a better one may lie beyond" in repr(near)


def test_the_plan_says_the_space_and_the_budget() -> None:
    plan = Search(
        line_task(), as_candidates({"adam": gx.adam, "b": gx.adam}),
        {"learning_rate": gx.Range(1e-3, 1.0), "warmup": [0.0, 0.1]},
        steps=1000, budget=12, batch_size=4, seeds=1, search="halving", memory_limit=None,
    )  # fmt: skip
    assert str(plan).splitlines() == [
        "Search on line, for each optimizer 12 runs of 1000 steps, 1 seed (1000): 36 settings "
        "for 112 steps, then 12 settings for 334 steps, then 4 settings for 1000 steps",
        "  adam, b: learning_rate: 0.001 to 1, logarithmic; warmup: one of 0, 0.1",
    ]
    assert METHODS["halving"].plan(1, 100) == "1 settings for 100 steps"


@pytest.mark.parametrize(
    ("candidates", "space", "changes", "message"),
    [
        (
            {"a": gx.adam},
            {},
            {},
            r"needs `learning_rate`, .*: pass `space={\"learning_rate\": Range",
        ),
        ({"a": gx.adam}, None, {}, r"`tune\(candidates=\.\.\.\)`: `a` needs `learning_rate`"),
        ({"a": gx.cocob}, {}, {}, r"search space of `a` is empty: give a `Range` or a list"),
        (["adam"], None, {}, r"`tune\(candidates=\.\.\.\)`: each of `candidates` must be"),
        ({}, None, {}, r"`tune\(candidates=\.\.\.\)`: `candidates` must be one or more"),
        ({"a": gx.adam}, {"lr": [0.1]}, {}, r"no candidate takes `lr`\. Known are: .*warmup"),
        ({"a": gx.adam}, {"learning_rate": []}, {}, "a `Range` or a list of numbers"),
        ({"a": gx.adam}, {"warmup": [0.1]}, {}, "`a` needs `learning_rate`, for which there is no"),
        ({"a": gx.adam}, {"learning_rate": [-1.0]}, {}, "`learning_rate` must be at least 0"),
        ([gx.adam(0.1)], {"b1": [0.9]}, {}, r"must be a function of what is searched"),
        ({"a": optax.adam(0.1)}, None, {}, r"must be a function of what is searched"),
        ({"a": gx.adam}, SPACE, {"search": "grid"}, r"one of 'halving', 'optuna'; got 'grid'"),
        ({"a": gx.adam}, SPACE, {"budget": 0}, r"tune\(budget=0\)"),
        ({"a": gx.adam}, SPACE, {"batch_size": 21}, "at most 20"),
    ],
)
def test_bad_searches_are_refused(
    candidates: Any, space: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        gx.tune(line_task(), candidates, space, **{**SETTINGS, **changes})


def test_ranges() -> None:
    wide = gx.Range(1e-4, 1.0)
    assert wide.at(0.5) == pytest.approx(1e-2)
    assert wide.at(1.0) == 1.0
    assert wide.place(1e-3) == pytest.approx(0.25)
    assert gx.Range(0, 0.3, log=False).at(0.5) == pytest.approx(0.15)
    with pytest.raises(ValueError, match=r"`high` must be above `low`, which is 1"):
        gx.Range(1.0, 0.5)
    with pytest.raises(ValueError, match=r"For a range from 0 on, pass `log=False`"):
        gx.Range(0.0, 0.5)
