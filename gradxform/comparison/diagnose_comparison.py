"""What is wrong with a comparison: what its ranking cannot tell."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from ..core import check
from ..inspection.findings import Diagnosis, Finding, Rule, applied, listing, table
from .runs import Outcome

_SEEDS = "Bouthillier et al., 2021, https://arxiv.org/abs/2103.03098"
_TUNING = "Choi et al., 2019, https://arxiv.org/abs/1910.05446"


def one_seed(comparison: Outcome) -> Iterator[Finding]:
    """A ranking on one seed, or on two or three."""
    seeds = len(comparison.seeds)
    if seeds < 3 and len(comparison.results) > 1:
        yield Finding(
            severity="error" if seeds == 1 else "warning",
            seen=f"{seeds} seed{'s' if seeds > 1 else ''}",
            why="Another initial network and another order of the batches often turn a ranking "
            "round: the differences between seeds are as large as those between optimizers.",
            instead="`compare(..., seeds=5)` or more, and the test of significance beside it.",
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


def tuned_unequally(comparison: Outcome) -> Iterator[Finding]:
    """Some candidates with a choice of settings, and others with one."""
    counts = {result.name: len(result.settings) for result in comparison.results}
    single = [name for name, count in counts.items() if count == 1]
    if single and len(single) < len(counts):
        yield Finding(
            severity="warning",
            seen=f"{listing(single)} had one setting; the others up to {max(counts.values())}",
            why="An optimizer that is tuned beats one that is not, whichever they are.",
            instead="a grid of the same size for each, over the learning rate at least.",
            reference=_TUNING,
        )


def no_difference(comparison: Outcome) -> Iterator[Finding]:
    """A winner that cannot be told from any other."""
    ties, others = comparison.ties, len(comparison.results) - 1
    if ties is not None and others > 0 and len(ties) == others:
        yield Finding(
            severity="hint",
            seen=f"none of the other {others} can be told from `{comparison.ranking[0].name}`",
            why="The order of the table is that of these seeds.",
            instead="more seeds; or take the one with the least state, or the one you know.",
            reference=_SEEDS,
        )


def chosen_setting_diverged(comparison: Outcome) -> Iterator[Finding]:
    """A chosen setting that fails on some seeds."""
    for result in comparison.results:
        diverged = int(np.sum(result.diverged[result.chosen]))
        if diverged:
            yield Finding(
                severity="warning",
                seen=f"`{result.name}`: {diverged} of {len(comparison.seeds)} runs with the chosen "
                "setting diverged",
                why="Its mean hides that it fails now and then.",
                instead="the next smaller learning rate, a warmup, or clipping.",
            )


COMPARISON_RULES: Mapping[str, Rule] = MappingProxyType(
    table(one_seed, tuned_unequally, chosen_at_the_edge, chosen_setting_diverged, no_difference)
)
"""The rules of `diagnose_comparison` by name: functions of a `Comparison`."""


def diagnose_comparison(
    comparison: Outcome, *, rules: Mapping[str, Rule] = COMPARISON_RULES
) -> Diagnosis:
    """Say what the ranking of a comparison cannot tell: one seed, an edge, unequal tuning.

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
