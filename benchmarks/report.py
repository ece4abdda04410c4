"""Progress and tables: with rich on a terminal, else as plain lines and Markdown.

    python benchmarks/report.py benchmarks/results/step_time_cpu.json | cat

prints the tables of saved rows.
"""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

try:
    import rich
    from rich import console, progress, table as rich_table
except ImportError:
    rich = None

T = TypeVar("T")


def track(items: Sequence[T] | Iterable[T], what: str) -> Iterator[T]:
    """The items, with a bar or a line for each on the error stream."""
    items = list(items)
    if rich and sys.stderr.isatty():
        yield from progress.track(items, what, console=console.Console(stderr=True))
        return
    for index, item in enumerate(items, 1):
        print(f"{what}: {index} of {len(items)}", file=sys.stderr, flush=True)
        yield item


def table(rows: list[dict[str, Any]]) -> None:
    """Print the contenders of one comparison."""
    first = rows[0]
    header = [
        "contender",
        "ms a step (quartiles)",
        "best",
        f"time / {first['ratio_to']}",
        f"GB/s at {first['bytes_per_parameter']} B",
        "largest difference",
        "temporary MB",
        "whole copies",
    ]
    cells = [
        [
            row["contender"],
            _spread(row["ms"]),
            f"{row['ms']['min']:g}",
            _spread(row["ratio"]),
            f"{row['gb_per_s']}",
            f"{row['max_difference']:.1e}",
            f"{row['temp_bytes'] / 1e6:.1f}" if "temp_bytes" in row else "",
            f"{row['copies']}" if "copies" in row else "",
        ]
        for row in rows
    ]
    title = f"{first['optimizer']}, {first['arrays']} arrays, {first['parameters']:,} parameters"
    if rich and sys.stdout.isatty():
        shown = rich_table.Table(title=title)
        for index, name in enumerate(header):
            shown.add_column(name, justify="right" if index else "left")
        for line in cells:
            shown.add_row(*line)
        rich.print(shown)
    else:
        print(f"\n{title}\n")
        for line in [header, ["---"] + ["---:"] * (len(header) - 1), *cells]:
            print(f"| {' | '.join(line)} |")
        print()
    rates = ", ".join(
        f"{loop} {_spread(rate)}" for loop, rate in first["bandwidth_gb_per_s"].items()
    )
    machine = first["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    print(f"memory of this machine in the same rounds, GB/s: {rates}")
    print(f"{first['device']}; {machine['cpu']}, {machine['cores']} cores; {versions}", flush=True)


def _spread(summary: dict[str, float]) -> str:
    return f"{summary['median']:g} ({summary['q1']:g}-{summary['q3']:g})"


if __name__ == "__main__":
    for path in sys.argv[1:]:
        saved = json.loads(Path(path).read_text())
        for _, group in itertools.groupby(saved, key=lambda row: row["optimizer"]):
            table(list(group))
