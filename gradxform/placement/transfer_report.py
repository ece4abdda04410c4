"""What a transfer from one optimizer's state to another kept, and what not."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_WIDEST = 60  # characters that a column is filled up to


class Place(NamedTuple):
    """Where an array stands in a state, in three parts of its path."""

    node: str  # the block or wrapper
    field: str  # of its state
    rest: str  # the parameter

    def __str__(self) -> str:
        return "/".join(filter(None, self))


@dataclass(frozen=True)
class TransferEntry:
    """One array.

    Attributes:
      place: where it stands in the new state if it was kept or is new, in the old one if it was
        dropped. As a string it is its path, with slashes between.
      source: where it stood in the old state, if it was kept.
      note: a change of its dtype, or why it was not kept.
    """

    place: Place
    source: Place | None = None
    note: str = ""

    @property
    def path(self) -> str:
        """The path of the array, with slashes between."""
        return str(self.place)


@dataclass(frozen=True, repr=False)
class TransferReport:
    """What `transfer_state` did with each array; prints as a table.

    Attributes:
      kept: the arrays of the new state that hold what an array of the old one held.
      new: those that are as `init` makes them.
      dropped: the arrays of the old state that have no place in the new one.
      notes: what to know before going on, one sentence or two each.
    """

    kept: tuple[TransferEntry, ...] = field(default=())
    new: tuple[TransferEntry, ...] = field(default=())
    dropped: tuple[TransferEntry, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        rows = [
            *_rows("kept", self.kept),
            *_rows("new", self.new),
            *_rows("dropped", self.dropped),
        ]
        widths = [min(max(map(len, c)), _WIDEST) for c in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        sizes = (len(self.kept), len(self.new), len(self.dropped))
        lines.append("{} arrays kept, {} new, {} dropped".format(*sizes))
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__


def _rows(what: str, entries: Iterable[TransferEntry]) -> list[tuple[str, ...]]:
    """A row for all arrays of a block that went the same way."""
    groups: dict[tuple[str, ...], list[TransferEntry]] = {}
    for entry in entries:
        source = entry.source or Place("", "", "")
        renamed = "" if source.field == entry.place.field else source.field
        groups.setdefault((entry.place.node, source.node, renamed, entry.note), []).append(entry)
    rows: list[tuple[str, ...]] = []
    for (_, _, renamed, note), together in groups.items():
        origin = ""
        if together[0].source is not None:
            sources = [entry.source for entry in together if entry.source is not None]
            node = "" if renamed else sources[0].node
            origin = f"from {node or _named(sources)}"
        where = _named([entry.place for entry in together])
        rows.append((what, where, "; ".join(filter(None, (origin, note)))))
    return rows


def _named(places: list[Place]) -> str:
    """Arrays of one block: their fields, with how many arrays each has if it has several."""
    if len(places) == 1:
        return str(places[0])
    fields: dict[str, int] = {}
    for place in places:
        fields[place.field] = fields.get(place.field, 0) + 1
    listed = ", ".join(name if n == 1 else f"{name} ({n} arrays)" for name, n in fields.items())
    return f"{places[0].node}: {listed}" if places[0].node else listed
