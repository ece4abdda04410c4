"""What is wrong with a comparison: what its ranking cannot tell."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from ..core import check
from ..inspection.findings import Diagnosis, Finding, Rule, applied, listing, table
from .runs import Outcome
from .statistics import FEWEST_SEEDS

_UNEQUAL = 3  # times as many settings are more than another shape of grid
_SEEDS = "Bouthillier et al., 2021, https://arxiv.org/abs/2103.03098"
_TUNING = "Choi et al., 2019, https://arxiv.org/abs/1910.05446"


def nothing_compared(comparison: Outcome) -> Iterator[Finding]:
    """A single candidate."""
    if len(comparison.results) == 1:
        yield Finding(
            severity="warning",
            seen=f"`{comparison.results[0].name}` alone",
            why="Nothing was compared: whether its metric is good or bad, a number alone does not "
            "say.",
            instead="a second candidate, such as the optimizer that you would use otherwise.",
        )


def few_seeds(comparison: Outcome) -> Iterator[Finding]:
    """Up to three seeds."""
    seeds = len(comparison.seeds)
    if seeds < FEWEST_SEEDS:
        yield Finding(
            severity="error" if seeds == 1 else "warning",
            seen=f"{seeds} seeds, which give no verdict"
            if seeds > 1
            else "one seed, which gives no verdict",
            why="Another initial network and another order of the batches often turn a ranking "
            "round: the differences between seeds are as large as those between optimizers.",
            instead="`compare(..., seeds=5)` or more.",
            reference=_SEEDS,
        )
    elif seeds == FEWEST_SEEDS and len(comparison.results) > 1:
        yield Finding(
            severity="hint",
            seen=f"{seeds} seeds, which show only large differences",
            why="With 9 candidates, one that is worse by 3 standard deviations of a run is found "
            "in half of all tables; with 5 seeds nearly always.",
            instead="`compare(..., seeds=5)` or more.",
            reference=_SEEDS,
        )


def chosen_at_the_edge(comparison: Outcome) -> Iterator[Finding]:
    """A best setting beyond which nothing was tried."""
    edge = [result.name for result in comparison.results if result.at_edge]
    if edge:
        yield Finding(
            severity="warning",
            seen=f"the chosen setting of {listing(edge)} is the smallest or largest tried",
            why="A better one may lie beyond, and the ranking compares what was tried.",
            instead="a grid that goes on in that direction, until the best is inside.",
            reference=_TUNING,
        )


def nothing_tuned(comparison: Outcome) -> Iterator[Finding]:
    """Candidates with one setting each."""
    if {result.settings_tried for result in comparison.results} == {1}:
        who = "it was" if len(comparison.results) == 1 else "each was"
        yield Finding(
            severity="warning",
            seen=f"one setting of {listing(comparison.names)}",
            why=f"Nothing was tuned: {who} tried at one setting, and may be far better at another.",
            instead="a grid over the learning rate at least, or `tune`.",
            reference=_TUNING,
        )


def tuned_unequally(comparison: Outcome) -> Iterator[Finding]:
    """Some candidates with a choice of settings and others with one, or with far fewer."""
    counts = {result.name: result.settings_tried for result in comparison.results}
    least, most = min(counts.values(), default=1), max(counts.values(), default=1)
    few = [name for name, count in counts.items() if count == least]
    if (least == 1 < most) or most > _UNEQUAL * least:
        settings = "one setting" if least == 1 else f"{least} settings"
        yield Finding(
            severity="warning",
            seen=f"{listing(few)} had {settings}; the others up to {most}",
            why="An optimizer that is tuned beats one that is not, whichever they are.",
            instead="a grid of the same size for each, over the learning rate at least.",
            reference=_TUNING,
        )


def no_difference(comparison: Outcome) -> Iterator[Finding]:
    """A winner from which no other is told apart."""
    first, *words = [v.word for v in comparison.verdicts.values() if v.word != "failed"] or [""]
    others = len(words)
    if first == "first" and set(words) == {"not told apart"}:
        yield Finding(
            severity="hint",
            seen=f"none of the other {others} is told apart from `{comparison.ranking[0].name}`",
            why="The order of the table is that of these seeds.",
            instead="more seeds; or take the one with the least state, or the one you know.",
            reference=_SEEDS,
        )


def chosen_setting_failed(comparison: Outcome) -> Iterator[Finding]:
    """A chosen setting that fails on some seeds."""
    for result in comparison.results:
        failed = int(np.sum(result.failed))
        if failed:
            yield Finding(
                severity="warning",
                seen=f"`{result.name}`: {failed} of {len(comparison.seeds)} runs with the chosen "
                "setting failed",
                why="They diverged, or their metric is not finite; a mean hides it.",
                instead="the next smaller learning rate, a warmup, or clipping.",
            )


COMPARISON_RULES: Mapping[str, Rule] = MappingProxyType(
    table(
        nothing_compared,
        few_seeds,
        nothing_tuned,
        tuned_unequally,
        chosen_at_the_edge,
        chosen_setting_failed,
        no_difference,
    )
)
"""The rules of `diagnose_comparison` by name: functions of a `Comparison`."""


def diagnose_comparison(
    comparison: Outcome, *, rules: Mapping[str, Rule] = COMPARISON_RULES
) -> Diagnosis:
    """Say what the ranking of a comparison cannot tell: few seeds, an edge, unequal tuning.

    Args:
      comparison: what `compare` returned.
      rules: the table of rules, by name; each is a function of a `Comparison`.

    Returns:
      A `Diagnosis`: a sequence of findings, the worst first, that prints as a report.

    Raises:
      TypeError: `comparison` is not what `compare` returned.
    """
    if not isinstance(comparison, Outcome):
        raise TypeError(
            "`diagnose_comparison(comparison)`: `comparison` must be what `compare` returned; "
            f"got {check.brief(comparison)}."
        )
    subject = f"{comparison.task}, {len(comparison.results)} optimizers"
    return applied("diagnose_comparison", subject, rules, comparison)
