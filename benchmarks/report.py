"""Progress and tables: with rich on a terminal, else as plain lines and Markdown.

python benchmarks/report.py results/step_time_gpt2_cpu.json    # the tables of saved rows
python benchmarks/report.py --readme                           # put them into README.md
"""

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

try:
    import rich
    from rich import console, progress, table as rich_table
except ImportError:
    rich = None

HERE = Path(__file__).parent
README = HERE / "README.md"
MANY = 4  # with more optimizers than these there is one line for each, not a table

T = TypeVar("T")
Rows = list[dict[str, Any]]


class Table(NamedTuple):
    """What is shown of some rows."""

    title: str
    header: list[str]
    cells: list[list[str]]
    notes: list[str]


def track(items: Sequence[T] | Iterable[T], what: str) -> Iterator[T]:
    """The items, with a bar or a line for each on the error stream."""
    items = list(items)
    if rich and sys.stderr.isatty():
        yield from progress.track(items, what, console=console.Console(stderr=True))
        return
    for index, item in enumerate(items, 1):
        print(f"{what}: {index} of {len(items)}", file=sys.stderr, flush=True)
        yield item


def step_time(rows: Rows) -> Table:
    """The contenders of one comparison."""
    first = rows[0]
    header = [
        "contender",
        "ms a step (quartiles)",
        "best",
        f"time / {first['ratio_to']}",
        "GB/s",
        "difference",
        "temporary MB",
        "whole copies",
    ]
    cells = [
        [
            row["contender"],
            _spread(row["ms"]),
            f"{row['ms']['min']:.3g}",
            _spread(row["ratio"]),
            f"{row['gb_per_s']:g}",
            _difference(row),
            _mb(row, "temp_bytes"),
            f"{row['copies']}" if "copies" in row else "",
        ]
        for row in rows
    ]
    rates = ", ".join(
        f"{loop} {_spread(rate)}" for loop, rate in first["bandwidth_gb_per_s"].items()
    )
    notes = [f"Memory of this machine in the same rounds, GB/s: {rates}.", _machine(rows)]
    return Table(f"{first['optimizer']} on {_tree(first)}", header, cells, notes)


def optimizers(rows: Rows) -> Table:
    """One line for each optimizer, alone and behind clipping."""
    header = ["optimizer"]
    for title in ("", "clipped: "):
        header += [
            f"{title}ms",
            f"{title}optax ms",
            f"{title}time / optax",
            f"{title}MB",
            f"{title}optax MB",
            f"{title}bytes moved",
            f"{title}optax bytes",
        ]
    by_name = {(row["optimizer"], row["contender"]): row for row in rows}
    cells = []
    for name in dict.fromkeys(row["optimizer"].removeprefix("clip-") for row in rows):
        line, about = [f"`{name}`"], ""
        for optimizer in (name, f"clip-{name}"):
            ours, theirs = (by_name.get((optimizer, c)) for c in ("gradxform", "optax"))
            if ours is None or theirs is None:
                line += [""] * 7
                continue
            about = ours["differs"]
            line += [
                f"{ours['ms']['median']:.3g}",
                f"{theirs['ms']['median']:.3g}",
                _spread(ours["ratio"]),
                _mb(ours, "temp_bytes"),
                _mb(theirs, "temp_bytes"),
                f"{ours['moved_bytes'] / ours['parameters']:.1f}",
                f"{theirs['moved_bytes'] / theirs['parameters']:.1f}",
            ]
        line[0] += f" ({about})" if about else ""
        cells.append(line)
    return Table(f"All optimizers on {_tree(rows[0])}", header, cells, [_machine(rows)])


def compile_time(rows: Rows) -> Table:
    """The stages from the function to the program."""
    header = ["arrays", "optimizer", "contender", "trace s", "lower s", "compile s"]
    base = rows[0]["ratio_to"]
    header += [f"trace + lower / {base}", "of the processor", f"all / {base}", "of the processor"]
    header += ["program kB"]
    ratios = ("trace_lower_ratio", "trace_lower_cpu_ratio", "ratio", "cpu_ratio")
    cells = [
        [
            f"{row['arrays']:,}",
            row["optimizer"],
            row["contender"],
            *(_spread(row[stage]) for stage in ("trace_s", "lower_s", "compile_s")),
            *(_spread(row[ratio]) for ratio in ratios),
            f"{row['program_bytes'] / 1e3:,.0f}",
        ]
        for row in rows
    ]
    return Table("From the function to the program", header, cells, [_machine(rows)])


def imports(rows: Rows) -> Table:
    """What the imports take."""
    kinds = {
        "seconds": "s",
        "extra_s": "s more than optax",
        "cpu_s": "s of the processor",
        "extra_cpu_s": "s of the processor more",
    }
    cells = [[f"`{row['what']}`", *(_spread(row[kind]) for kind in kinds)] for row in rows]
    return Table("Imports", ["import", *kinds.values()], cells, [_machine(rows)])


def memory(rows: Rows) -> Table:
    """Bytes of the compiled programs."""
    header = ["optimizer", "contender", "arguments MB", "aliased MB", "temporary MB", "peak MB"]
    header += ["whole copies", "copied MB", "loops"]
    cells = [
        [
            row["optimizer"],
            row["contender"],
            *(_mb(row, f"{kind}_bytes") for kind in ("argument", "alias", "temp", "peak")),
            f"{row['copies']}",
            _mb(row, "copied_bytes"),
            f"{row['fusions']}",
        ]
        for row in rows
    ]
    return Table(f"Memory on {_tree(rows[0])}", header, cells, [_machine(rows)])


def dispatch(rows: Rows) -> Table:
    """What a call takes besides the arithmetic."""
    header = ["tree", "contender", "arrays in, out", "no work µs", "returns µs", "done µs"]
    header += [f"done / {rows[0]['ratio_to']}"]
    cells = [
        [
            row["tree"],
            row["contender"],
            f"{row['arrays_in']:,}, {row['arrays_out']:,}",
            *(_spread(row[kind]) for kind in ("empty_us", "returns_us", "call_us")),
            _spread(row["ratio"]),
        ]
        for row in rows
    ]
    title = f"{rows[0]['optimizer']}, every array with one number"
    return Table(title, header, cells, [_machine(rows)])


def tables(rows: Rows) -> list[Table]:
    """The tables of rows of one file."""
    if not rows:
        return []
    make = {
        "step_time": step_time,
        "compile_time": compile_time,
        "imports": imports,
        "memory": memory,
        "dispatch": dispatch,
    }[rows[0]["benchmark"]]
    if make is step_time and len({row["optimizer"] for row in rows}) > MANY:
        return [optimizers(rows)]
    keys = {
        step_time: ("tree", "optimizer"),
        memory: ("tree",),
        dispatch: ("optimizer",),
    }.get(make, ())
    groups = itertools.groupby(rows, key=lambda row: [row[key] for key in keys])
    return [make(list(group)) for _, group in groups]


def show(table: Table) -> None:
    """Print a table."""
    if rich and sys.stdout.isatty():
        shown = rich_table.Table(title=table.title)
        for index, name in enumerate(table.header):
            shown.add_column(name, justify="right" if index else "left")
        for line in table.cells:
            shown.add_row(*line)
        rich.print(shown)
        print("\n".join(table.notes), flush=True)
    else:
        print(f"\n{markdown(table)}", flush=True)


def markdown(table: Table) -> str:
    """A table as Markdown."""
    lines = [table.header, ["---"] + ["---:"] * (len(table.header) - 1), *table.cells]
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"**{table.title}**", "", *rows, "", *table.notes]) + "\n"


def filled(text: str) -> str:
    """A document with the tables of the files that its comments name, where they are there."""

    def one(match: re.Match[str]) -> str:
        path = HERE / match[1]
        rows = json.loads(path.read_text()) if path.exists() else []
        shown = "\n".join(map(markdown, tables(rows)))
        picture = Path(match[1]).with_suffix(".png")
        if (HERE / picture).exists():
            shown = f"![The ratios of the table below]({picture})\n\n{shown}"
        return f"<!-- rows: {match[1]} -->\n\n{shown}\n<!-- end -->"

    def of_device(match: re.Match[str]) -> str:
        import targets

        shown = markdown(targets.targets(match[1]))
        return f"<!-- targets: {match[1]} -->\n\n{shown}\n<!-- end -->"

    text = re.sub(r"<!-- rows: (\S+) -->.*?<!-- end -->", one, text, flags=re.S)
    return re.sub(r"<!-- targets: (\S+) -->.*?<!-- end -->", of_device, text, flags=re.S)


def _tree(row: dict[str, Any]) -> str:
    return f"{row['tree']}: {row['arrays']:,} arrays, {row['parameters']:,} parameters"


def _machine(rows: Rows) -> str:
    row, versions = rows[0], {}
    for each in rows:
        versions |= each["versions"]
    machine, load = row["machine"], row.get("load")
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    busy = "" if load is None else f"; load {load:g} at the end"
    return f"{row['device']}; {machine['cpu']}, {machine['cores']} cores{busy}; {names}."


def _difference(row: dict[str, Any]) -> str:
    return "" if row["difference"] is None else f"{row['difference']:.0e}"


def _mb(row: dict[str, Any], name: str) -> str:
    return f"{row[name] / 1e6:.1f}" if name in row else ""


def _spread(summary: dict[str, float]) -> str:
    return " ".join([f"{summary['median']:.3g}", f"({summary['q1']:.3g}-{summary['q3']:.3g})"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="saved rows")
    parser.add_argument("--readme", action="store_true", help="put the tables into README.md")
    options = parser.parse_args()
    for path in options.files:
        for table in tables(json.loads(path.read_text())):
            show(table)
    if options.readme:
        README.write_text(filled(README.read_text()))


if __name__ == "__main__":
    main()
