"""What a diagnosis found: findings, the worst first."""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

from ..core import check
from ..core.words import printable

Severity = Literal["error", "warning", "hint"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")
_WIDTH = 88


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or probably is.

    Attributes:
      severity: "error" for what does not do what it says, "warning" for what usually costs
        accuracy or time, "hint" for what is worth a thought.
      seen: what was seen, with its place and its numbers.
      why: why it matters.
      instead: what to write instead.
      reference: where this is explained, mostly an address.
      rule: the name of the rule in its table; filled in by whoever runs the table.
    """

    severity: Severity
    seen: str
    why: str
    instead: str
    reference: str = ""
    rule: str = ""

    def __post_init__(self) -> None:
        check.Choice(SEVERITIES)("Finding", "severity", self.severity)

    def __str__(self) -> str:
        rows = {
            "seen": self.seen,
            "why": self.why,
            "instead": self.instead,
            "reference": self.reference,
        }
        lines = [f"{self.severity}: {self.rule.replace('_', ' ')}"]
        for name, text in rows.items():
            if text:
                lines += textwrap.wrap(
                    text,
                    _WIDTH,
                    initial_indent=f"  {name:<10}",
                    subsequent_indent=" " * 12,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
        return "\n".join(lines)


@dataclass(frozen=True)
class Diagnosis(Sequence[Finding]):
    """Findings, the worst first; prints as a report, and is false where nothing was found.

    Attributes:
      subject: what was looked at, in a few words.
      findings: what was found.
      checked: the names of the rules that were applied.
      notes: what could not be seen, and what it would take.
    """

    subject: str
    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Finding: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Finding, ...]: ...

    def __getitem__(self, index: int | slice) -> Finding | tuple[Finding, ...]:
        return self.findings[index]

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        count = f"{len(self)} finding{'s' if len(self) != 1 else ''}" if self else "nothing found"
        head = f"{self.subject}: {count} by {len(self.checked)} rules"
        parts = [head, *map(str, self.findings)]
        if not self:
            names = ", ".join(name.replace("_", " ") for name in self.checked)
            parts[0] = "\n".join([f"{head}:", *_wrapped(names)])
        parts += ["\n".join(_wrapped(note, "note: ")) for note in self.notes]
        return printable("\n\n".join(parts), keep="\n")


Rule = Callable[[Any], Iterable[Finding]]
Rules = Mapping[str, Rule]


def table(*rules: Rule) -> dict[str, Rule]:
    """Rules by the names of their functions."""
    return {rule.__name__: rule for rule in rules}


def applied(
    call: str, subject: str, rules: Rules, context: Any, notes: Sequence[str] = ()
) -> Diagnosis:
    """What the rules of a table find in a context, each finding once."""
    if not isinstance(rules, Mapping) or not all(map(callable, rules.values())):
        raise TypeError(
            f"`{call}(rules=...)`: `rules` must be a dict from names to functions of the context; "
            f"got {check.brief(rules)}."
        )
    found: dict[Finding, None] = {}
    for name, rule in rules.items():
        for finding in rule(context) or ():
            if not isinstance(finding, Finding):
                raise TypeError(
                    f"`{call}(...)`: the rule `{name}` must give `Finding`s; "
                    f"got {check.brief(finding)}."
                )
            found[replace(finding, rule=name)] = None
    worst_first = sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(subject, tuple(worst_first), tuple(rules), tuple(notes))


def listing(names: Iterable[Any], most: int = 4) -> str:
    """Names for a sentence: the first ones, and how many more."""
    texts = list(map(str, names))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(f"`{text}`" for text in texts[:most]) + more


def _wrapped(text: str, start: str = "") -> list[str]:
    return textwrap.wrap(
        start + text,
        _WIDTH,
        initial_indent="" if start else "  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
