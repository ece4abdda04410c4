"""Going on with a comparison that was interrupted: what is kept of it, and when it is refused."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core import check
from ..core.words import printable
from .candidate import Candidate
from .recipes import recipe_text
from .runs import CandidateResult, Outcome

_SETTINGS = {
    "task": "the task",
    "planned": "the candidates",
    "seeds": "the seeds",
    "steps": "the steps",
    "batch_size": "the batch size",
    "evaluate_every": "the steps between evaluations",
    "search": "the search",
}
_MACHINE = ("device", "float")  # what numbers depend on


class Differs(ValueError):
    """Two comparisons that would not compute the same.

    Attributes:
      found: what differs, one clause each.
    """

    def __init__(self, found: Sequence[str]) -> None:
        self.found = "; ".join(found)
        super().__init__(
            "`compare(resume=...)`: results of two different comparisons do not go together: "
            f"{self.found}. Ask for what was asked for then, or start anew without `resume`."
        )


def kept_results(
    earlier: Outcome,
    now: Outcome,
    candidates: Sequence[Candidate],
    hash_of: Callable[[Candidate], str],
) -> tuple[CandidateResult, ...]:
    """The results of an earlier comparison that a new one may take over.

    Args:
      earlier: the comparison that was interrupted.
      now: the comparison that is to go on, without results.
      candidates: the candidates of `now`.
      hash_of: what `program_hash` gives for a candidate of `now`.

    Returns:
      The results of the candidates that had finished, in the order of `now.planned`.

    Raises:
      Differs: the two would not compute the same; with all that differs.
    """
    named = {candidate.name: candidate for candidate in candidates}
    found = list(_differences(earlier, now))
    if not found:  # else the candidates may not fit the task
        for result in earlier.results:
            found += _candidate_differences(result, named[result.name], hash_of)
    if found:
        raise Differs(found)
    return tuple(
        replace(earlier[name], candidate=named[name])
        for name in now.planned
        if name in earlier.names
    )


def resumed_environment(earlier: Outcome, now: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of a comparison that goes on: begun then, and resumed now."""
    resumed = [*earlier.environment.get("resumed", ()), now["date"]]
    return {**now, "date": earlier.environment.get("date", ""), "resumed": resumed}


def _differences(earlier: Outcome, now: Outcome) -> Iterator[str]:
    for name, words in _SETTINGS.items():
        yield from _difference(words, getattr(earlier, name), getattr(now, name))
    if earlier.task == now.task and earlier.task_hash != now.task_hash:
        yield "the data, the model, the loss or the metric of the task is not the same"
    for part, names in (("versions", None), ("machine", _MACHINE)):
        then, here = (dict(each.environment.get(part, {})) for each in (earlier, now))
        for name in names or sorted({*then, *here}):
            yield from _difference(name, then.get(name), here.get(name))


def _candidate_differences(
    result: CandidateResult, candidate: Candidate, hash_of: Callable[[Candidate], str]
) -> Iterator[str]:
    name = candidate.name
    yield from _difference(f"the grid of `{name}`", result.candidate.grid, candidate.grid)
    if result.program_hash != hash_of(candidate):
        texts = [recipe_text(each.transformation) for each in (result.candidate, candidate)]
        if texts[0] == texts[1]:
            yield f"`{name}` prints as it did and does not compute the same"
        else:
            yield from _difference(f"`{name}`", *texts)


def _difference(words: str, then: Any, now: Any) -> Iterator[str]:
    if then != now:
        yield f"{words}: {_text(then)} then, {_text(now)} now"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return printable(" ".join(value.split()))
    if isinstance(value, tuple):
        return printable(", ".join(map(str, value)))
    return check.brief(value)
