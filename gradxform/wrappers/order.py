"""Wrappers in an order that cannot be meant, refused when they are built.

What a wrapper does with the updates, its factory declares (`core.types.declared`); the checks here
and the rules of `diagnose` read it. An order that somebody may mean is left to `diagnose`.
"""

from typing import Any

from ..core import check
from ..core.types import declared, inside


def require_none(mark: str, inner: Any, why: str) -> None:
    """Refuse an inner transformation with a part that declares `mark`; `{0}` in `why` names it."""
    for tx in inside(inner):
        if declared(tx, mark):
            name = tx.recipe.name
            raise check.Refusal(f"the inner transformation holds {why.format(name)}")


def require_state_here(inner: Any, call: str) -> None:
    """Refuse an inner transformation whose state a wrapper cannot go back to, or leave alone."""
    why = "`{0}`, whose state cannot be computed with. Turn them round: `{0}(" + call + "(...))`."
    require_none("elsewhere", inner, why)


def require_whole_windows(inner: Any, call: str, count: str, period: int) -> None:
    """Refuse an average around windows of gradients, unless its own steps are whole windows.

    Args:
      inner: what the wrapper is given.
      call: the wrapper's name.
      count: the argument that says how many updates make one of its steps.
      period: its value.
    """
    for tx in inside(inner):
        if not declared(tx, "gathers"):
            continue
        every = tx.recipe.arguments["every"]
        known = isinstance(every, int)
        check.require(
            known and period % every == 0,
            f"the inner transformation holds `{tx.recipe.name}`, whose calls without an update "
            f"would count as well. Turn them round: `{tx.recipe.name}({call}(...), every=...)`"
            + (f", or give `{count}` as a multiple of {every}." if known and count else "."),
        )
