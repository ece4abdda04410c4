"""`diagnose_comparison`: what a ranking cannot tell."""

import numpy as np
import pytest
from comparisons import comparison, result

import gradxform as gx

GOOD = [[0.5] * 4, [0.9, 0.91, 0.92, 0.9], [0.6] * 4]  # the best setting is inside
SEEDS = np.array([0.90, 0.91, 0.92, 0.90])
WORSE = SEEDS - [0.1, 0.12, 0.09, 0.1]


def made(name, score=0.0, **changes):
    settings = {"validation": GOOD, "test": [SEEDS - 0.2, SEEDS + score, SEEDS - 0.1], **changes}
    return result(name, **settings)


def searched(name, count):
    """What a search of so many settings found."""
    trials = ({"setting": {"learning_rate": i}, "steps": 9, "score": 0.5} for i in range(count))
    return made(name, validation=GOOD[1:2], test=[SEEDS], trials=tuple(trials))


ALONE = comparison(made("sgd"))
FIXED = [made(name, validation=GOOD[1:2], test=[SEEDS]) for name in ("sgd", "adam")]
FINE = comparison(made("sgd"), made("adam", [0.020, 0.021, 0.022, 0.021]))


def short(seeds):
    """The comparison with its first seeds only."""
    results = (
        made(n, s, validation=[x[:seeds] for x in GOOD], test=[(SEEDS + s)[:seeds]] * 3)
        for n, s in (("sgd", 0.0), ("adam", 0.02))
    )
    return comparison(*results)


broken = np.full((3, 4), 0.5, np.float32)
broken[1, 2] = np.nan
FIRES = {
    "nothing_compared": [ALONE],
    "few_seeds": [short(1), short(2), short(3), comparison(short(2).results[0])],
    "nothing_tuned": [comparison(*FIXED), comparison(FIXED[0])],
    "tuned_unequally": [
        comparison(made("sgd"), FIXED[1]),
        comparison(searched("sgd", 30), searched("adam", 2)),
    ],
    "chosen_at_the_edge": [
        comparison(made("sgd"), made("adam", validation=GOOD[1:], test=[WORSE] * 2))
    ],
    "chosen_setting_failed": [comparison(made("sgd"), made("adam", final_loss=broken))],
    "no_difference": [comparison(made("sgd"), made("adam", [1e-4, -1e-4, 2e-4, 0.0]))],
}
SILENT = {
    "nothing_compared": [],
    "few_seeds": [ALONE],
    "nothing_tuned": [ALONE, comparison(searched("sgd", 30))],
    "tuned_unequally": [
        comparison(*FIXED),
        comparison(searched("sgd", 30), searched("adam", 12)),
    ],
    "chosen_at_the_edge": [
        comparison(FIXED[0]),
        comparison(made("no decay", validation=GOOD[1:], rates=(0.0, 0.1, 3.0))),
    ],
    "chosen_setting_failed": [comparison(made("sgd", final_loss=broken[[1, 0, 2]]))],
    "no_difference": [short(1), ALONE],
}


@pytest.mark.parametrize("rule", gx.COMPARISON_RULES)
def test_each_rule_fires_and_stays_silent(rule):
    for case in FIRES[rule]:
        assert rule in {f.rule for f in gx.diagnose_comparison(case)}
    for case in [*SILENT[rule], FINE]:
        assert rule not in {f.rule for f in gx.diagnose_comparison(case)}


def test_it_is_a_diagnosis():
    report = gx.diagnose_comparison(FINE)
    assert not report
    assert str(report).startswith("by hand, 2 optimizers: nothing found by 7 rules")
    one, two = (gx.diagnose_comparison(short(n))[0] for n in (1, 2))
    assert (one.severity, one.seen) == ("error", "one seed, which gives no verdict")
    assert (two.severity, two.seen) == ("warning", "2 seeds, which give no verdict")
    with pytest.raises(TypeError, match="must be what `compare` returned"):
        gx.diagnose_comparison([FINE])
