"""The table for the terminal: what it shows, at the widths that terminals have."""

import numpy as np
import pytest
from comparisons import comparison, printed, result, three

from gradxform.comparison.everything import all_candidates
from gradxform.comparison.report import notes, score
from gradxform.comparison.result import Comparison, Reference


def test_one_seed_proves_nothing() -> None:
    c = comparison(
        *(result(n, validation=[[0.9]], test=[[s]]) for n, s in [("a", 0.9), ("b", 0.1)])
    )
    assert {v.word for v in c.verdicts.values()} == {""}
    assert "One seed proves nothing" in notes(c)[0]
    text = printed(c)
    assert "±" not in text
    assert "best" not in text
    assert "worse by" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_has_a_row_for_each_and_fits(width: int) -> None:
    long = "logistic regression"
    c = three(
        target=0.5,
        percent=True,
        metric_name="accuracy",
        references=(Reference(long, 0.9667, 0.9639),),
    )
    text = printed(c, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    rows = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert "96.80 ± 0.37 first 0.00 [0.00, 1.18]" in " ".join(rows["best"].split())
    assert "not told apart 0.40 [0.00, 1.98]" in " ".join(rows["near"].split())
    assert "worse 9.80 [7.62, 12.44]" in " ".join(rows["worse"].split())
    assert ("0 of 15" in rows["worse"]) == (width > 80)
    assert ("96.67 96.39" if width > 80 else "96.39") in " ".join(rows["logistic"].split())
    shown = [name for name in rows if name in ("best", "near", "worse", "logistic")]
    assert shown == ["best", "near", "worse", "logistic"]


def every_optimizer() -> Comparison:
    """All candidates of the command line, with the longest numbers that there are."""
    rng = np.random.default_rng(0)
    rates = (0.0003, 0.03, 3.0)
    results = []
    for candidate in all_candidates():
        scores = rng.uniform(0.1, 1.0, size=(3, 2))
        results.append(
            result(candidate.name, validation=scores, test=scores, rates=rates, milliseconds=12.345)
        )
    references = (Reference("logistic regression", 0.9667, 0.9639),)
    return comparison(
        *results, target=0.95, percent=True, metric_name="accuracy", steps=1000,
        references=references,
    )  # fmt: skip


def expected_cells(c: Comparison) -> list[list[str]]:
    """The words of each row that are shown at every width."""
    return [
        [r.name, f"{r.chosen_setting['learning_rate']:g}", *score(r.scores, True).split()]
        for r in c.ranking
    ]


@pytest.mark.parametrize("width", [72, 80, 96, 120])
def test_nothing_is_cut_in_the_table_of_all_optimizers(width: int) -> None:
    c = every_optimizer()
    lines = printed(c, width).splitlines()
    assert len(lines) >= len(c.results) + 4
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    rows = {line.split()[0]: line.replace("!", " ").split() for line in lines if line.split()}
    for cells in expected_cells(c):
        row = rows[cells[0]]
        assert all(word in row for word in cells)
        assert row.count("±") == (2 if width > 90 else 1)


def test_what_does_not_fit_is_named() -> None:
    c = every_optimizer()
    assert "Not shown" not in printed(c, 120)
    assert "12.35" in printed(c, 120)
    text = printed(c, 80)
    assert "Not shown: validation accuracy." in text
    assert "12.35" in text
    assert "diverged" in text
    assert "to 95 %" in text
    narrow = " ".join(printed(c, 72).split())
    assert "Not shown: ms a step, validation accuracy." in narrow
