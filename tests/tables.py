"""The README's tables, written from the catalog.

`python tests/tables.py` puts them into the README.
"""

import inspect
from operator import attrgetter
from pathlib import Path

from catalog import CATALOG, FUNCTIONS, SCHEDULES, Row, ScheduleRow

import gradxform as gx
from gradxform.core import coming_over

README = Path(__file__).parent.parent / "README.md"
_BEGIN = "<!-- tables: begin -->\n"
_END = "<!-- tables: end -->"
_DEFAULTS = ("<!-- defaults: begin -->\n", "<!-- defaults: end -->")
_TITLES = {
    "block": "Blocks: one idea each, to compose",
    "wrapper": "Transformations made of transformations",
    "optimizer": "Optimizers: complete, the minus sign included",
}


def tables() -> str:
    """Markdown: a table for each kind of transformation, and one for the schedules.

    State is bytes per float32 parameter.
    """
    parts = [
        _table(title, ["name", "formula", "paper", "state"], map(_cells, _rows(kind)))
        for kind, title in _TITLES.items()
    ]
    schedules = ([_name(row), row.formula, row.paper] for row in SCHEDULES)
    parts.append(
        _table("Schedules: step t = 0, 1, ... to value", ["name", "formula", "paper"], schedules)
    )
    functions = ([f"`{name}`", _summary(attrgetter(name)(gx))] for name in FUNCTIONS)
    parts.append(_table("Around them", ["name", "what it is"], functions))
    return "\n".join(parts)


def defaults() -> str:
    """Markdown: the defaults that differ from Optax's in functions of one name."""
    rows = []
    for name, arguments in coming_over.DEFAULTS.items():
        theirs = {new: old for old, new in coming_over.RENAMED.get(name, {}).items()}
        ours = ", ".join(f"{key}={a!r}" for key, (a, _) in arguments.items())
        optaxs = ", ".join(f"{theirs.get(key, key)}={b!r}" for key, (_, b) in arguments.items())
        rows.append([f"`{name}({ours})`", f"`{name}({optaxs})`"])
    return "\n".join([_line(["here", "Optax"]), _line(["---"] * 2), *map(_line, rows)]) + "\n"


def _summary(function: object) -> str:
    return inspect.getdoc(function).split("\n\n")[0].replace("\n", " ")


def _rows(kind: str) -> list[Row]:
    return [row for row in CATALOG if row.kind == kind]


def _cells(row: Row) -> list[str]:
    state = f"{row.state_bytes:g} B" if row.state_bytes else ""
    return [_name(row), row.formula, row.paper, state]


def _name(row: Row | ScheduleRow) -> str:
    variant = f", {row.variant}" if row.variant else ""
    return f"`{row.name}`{variant}"


def _table(title: str, head: list[str], rows) -> str:
    lines = [f"### {title}", "", _line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def inserted(text: str) -> str:
    """The README's text with fresh tables."""
    for (begin, end), table in (((_BEGIN, _END), tables()), (_DEFAULTS, defaults())):
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}{table}{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(inserted(README.read_text()))
