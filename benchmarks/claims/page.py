"""Stored rows, their verdicts, and the table of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import evidence
from claim import Claim, Found, Line, Panel
from evidence import Effect, Rule

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
README = FOLDER / "README.md"
BEGIN, END = "<!-- claims: begin -->", "<!-- claims: end -->"

Row = dict[str, Any]


def row_of(claim: Claim, found: Found, conditions: dict[str, Any]) -> Row:
    """What is stored of a run."""
    panel = found.panel._asdict() if hasattr(found.panel, "_asdict") else vars(found.panel)
    return {
        "claim": claim.name,
        "text": claim.text,
        "measured": claim.measured,
        "note": claim.note,
        "rule": {"kind": claim.rule.kind, "margin": claim.rule.margin},
        "effects": [evidence.to_json(effect) for effect in found.effects],
        "seeds": list(found.seeds),
        "tuning_seeds": list(found.tuning_seeds),
        "chosen": dict(found.chosen),
        "panel": {**panel, "lines": [drawn._asdict() for drawn in found.panel.lines]},
        **conditions,
    }


def save(row: Row, folder: Path = RESULTS) -> Path:
    """Write a row to its file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{row['claim']}.json"
    path.write_text(_compact(row) + "\n")
    return path


def load(order: Sequence[str] = (), folder: Path = RESULTS) -> dict[str, Row]:
    """The stored rows, by claim, in the order of the guide."""
    rows = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    first = [name for name in order if name in rows]
    return {name: rows[name] for name in [*first, *(n for n in rows if n not in first)]}


def rule_of(row: Row) -> Rule:
    """The rule of a row."""
    return Rule(**row["rule"])


def effects_of(row: Row) -> list[Effect]:
    """The effects of a row; the first is what the rule is about."""
    return [evidence.from_json(stored) for stored in row["effects"]]


def panel_of(row: Row) -> Panel:
    """The picture of a row."""
    stored = dict(row["panel"])
    return Panel(**{**stored, "lines": [Line(**drawn) for drawn in stored["lines"]]})


def verdicts(rows: dict[str, Row]) -> dict[str, tuple[str, float | None]]:
    """By claim the verdict and the p-value that Holm's procedure gives it among all rows."""
    main = {name: effects_of(row)[0] for name, row in rows.items()}
    rules = {name: rule_of(row) for name, row in rows.items()}
    adjusted = evidence.holm({n: evidence.p_value(rules[n], main[n]) for n in rows})
    return {n: (evidence.verdict(rules[n], main[n], adjusted[n]), adjusted[n]) for n in rows}


def interval(effect: Effect, rule: Rule | None = None) -> str:
    """An effect with its interval, in a table's cell."""
    found = evidence.summarize(effect, rule)
    middle, low, high = (evidence.shown_value(x, effect) for x in found[:3])
    unit = f" {effect.unit}" if effect.unit else ""
    if len(effect.values) < 2:
        return f"{middle}{unit}"
    return f"{middle}{unit} [{low}, {high}]"


def table(rows: dict[str, Row]) -> str:
    """The claims, what was found, and the verdicts, in Markdown."""
    lines = ["| claim | effect [95 % interval] | p | seeds | smallest visible | verdict |",
             "| --- | --- | ---: | ---: | ---: | --- |"]  # fmt: skip
    found = verdicts(rows)
    for name, row in rows.items():
        effect, rule = effects_of(row)[0], rule_of(row)
        summary = evidence.summarize(effect, rule)
        word, p = found[name]
        chance = p is not None
        lines.append(
            f"| {row['text']} | {effect.name}: {interval(effect, rule)} "
            f"| {_p(p) if chance else ''} | {len(row['seeds']) if chance else ''} "
            f"| {evidence.shown_value(summary.visible, effect) if chance else ''} | **{word}** |"
        )
    return "\n".join(lines)


def details(rows: dict[str, Row]) -> str:
    """What was measured for each claim, its rule, and its other effects, in Markdown."""
    parts = []
    found = verdicts(rows)
    for name, row in rows.items():
        effects, rule = effects_of(row), rule_of(row)
        lines = [f"### `{name}`: {found[name][0]}", "", f"{row['text']}", ""]
        lines.append(f"- Measured: {row['measured']}.")
        lines.append(f"- Rule: {rule.statement('x' if effects[0].ratio else effects[0].unit)}.")
        if row["note"]:
            lines.append(f"- {row['note']}")
        for position, effect in enumerate(effects):
            own = rule if position == 0 else None
            lines.append(f"- {effect.name}: {interval(effect, own)}{_checks(effect, own)}")
        if remark := remark_on(found[name], effects[0], rule):
            lines.append(f"- {remark}")
        if edges := at_edge(row):
            lines.append(f"- At an end of its grid: {', '.join(edges)}.")
        lines.append(f"- {len(row['seeds'])} seeds.")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def remark_on(found: tuple[str, float | None], effect: Effect, rule: Rule) -> str:
    """What a verdict leaves open."""
    word, p = found
    if word != evidence.OPEN or p is None or rule.kind == "same":
        return ""
    if p < evidence.LEVEL:
        return "There is an effect; whether it is as large as the rule asks for is open."
    visible = evidence.shown_value(evidence.summarize(effect, rule).visible, effect)
    unit = f" {effect.unit}" if effect.unit else ""
    return f"At this size an effect of {visible}{unit} would have been seen 4 times in 5."


def at_edge(row: Row) -> list[str]:
    """The sides whose chosen setting lies at an end of what was tried; 0 is no end, but none."""
    notes = row["chosen"].items()
    return [side for side, note in notes if isinstance(note, dict) and _at_edge(note)]


def _at_edge(note: dict[str, Any]) -> bool:
    if "tried" not in note:
        return note.get("at_edge", False)
    for name, value in note["setting"].items():
        values = sorted({trial[name] for trial in note["tried"]})
        if len(values) > 2 and value in (values[0], values[-1]) and value != 0:
            return True
    return False


def inserted(text: str, rows: dict[str, Row]) -> str:
    """A text with the table and the details between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(rows)}\n\n{details(rows)}\n{END}{after}"


def _checks(effect: Effect, rule: Rule | None) -> str:
    if len(effect.values) < 2 or effect.unit == evidence.SHARE:
        return "."
    found = evidence.summarize(effect, rule)
    first, last = (evidence.shown_value(x, effect) for x in found.bootstrap)
    return f"; p {_p(found.p)}, Wilcoxon's {_p(found.wilcoxon)}, seeds resampled [{first}, {last}]."


def _p(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _compact(row: Row) -> str:
    """JSON with lists of numbers on one line."""
    short: list[str] = []

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: replaced(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            if all(isinstance(inner, (int, float)) for inner in value):
                short.append(json.dumps(list(value)))
                return f"<{len(short) - 1}>"
            return [replaced(inner) for inner in value]
        return value

    text = json.dumps(replaced(row), indent=1, ensure_ascii=False)
    for number, line in enumerate(short):
        text = text.replace(f'"<{number}>"', line)
    return text
