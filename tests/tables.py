"""The README's tables, written from the catalog.

`python tests/tables.py` puts them into the README.
"""

import inspect
from operator import attrgetter
from pathlib import Path

from catalog import CATALOG, FUNCTIONS, SCHEDULES, Row, ScheduleRow

import gradxform as gx

README = Path(__file__).parent.parent / "README.md"
_BEGIN = "<!-- tables: begin -->\n"
_END = "<!-- tables: end -->"
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
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    return f"{before}{_BEGIN}{tables()}{_END}{after}"


if __name__ == "__main__":
    README.write_text(inserted(README.read_text()))
