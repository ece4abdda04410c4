"""Gradient accumulation: the time of a micro-batch and the memory, here and in optax.

    python benchmarks/accumulation.py --out rows.json
    python benchmarks/accumulation.py --report rows.json      # the tables of saved rows

The contenders run in one process, and every round times each of them on one window of k
micro-batches. Before that, each must end at the parameters that the large batch gives in float64.
`benchmarks/README.md` says more.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import machine
import numpy as np
import report
from contenders_accumulation import (
    PARTS,
    SIZES,
    TOLERANCE,
    WINDOWS_CHECKED,
    Contender,
    expected,
    versions,
)


def check(contender: Contender, right: dict[str, np.ndarray]) -> float:
    """How far the parameters are from the right ones after two windows."""
    contender.reset()
    for window in range(WINDOWS_CHECKED):
        contender.run(window)
    return max(float(np.abs(np.asarray(contender.params[n]) - right[n]).max()) for n in right)


def compare(part: str, k: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each contender."""
    problem, title = SIZES[options.size], f"{part}, k = {k}"
    right = expected(part, problem, k)
    contenders, differences = {}, {}
    for name in report.track(PARTS[part], f"{title}: compile and check"):
        contenders[name] = Contender(part, name, problem, k)
        differences[name] = check(contenders[name], right)

    times: dict[str, list[float]] = {name: [] for name in contenders}
    others: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in report.track(range(options.repeats), f"{title}: rounds"):
        for name, contender in contenders.items():
            watch = machine.Watch()
            for _ in range(options.windows):
                contender.run(0)
            seconds, busy = watch.stop()
            times[name].append(seconds / (options.windows * k))
            others[name].append(busy)

    base, *_ = contenders
    return [
        {
            "benchmark": "accumulation",
            "part": part,
            "k": k,
            "contender": name,
            "what": contender.what,
            "ms": summary([1e3 * t for t in times[name]], 3),
            "all_ms": [round(1e3 * t, 3) for t in times[name]],
            "ratio": summary([t / b for t, b in zip(times[name], times[base], strict=True)], 3),
            "ratio_to": base,
            "others": summary(others[name], 3),
            "max_difference": differences[name],
            "tolerance": TOLERANCE,
            "agrees": differences[name] <= TOLERANCE,
            **contender.facts(),
            "problem": problem._asdict(),
            "arrays": len(problem.shapes),
            "parameters": problem.size,
            "dtype": "float32",
            "repeats": options.repeats,
            "windows": options.windows,
            "versions": {"python": platform.python_version(), **versions()},
            "machine": machine.describe(),
        }
        for name, contender in contenders.items()
    ]


def summary(values: list[float], digits: int) -> dict[str, float]:
    """Least, quartiles and median."""
    names = {"min": 0.0, "q1": 0.25, "median": 0.5, "q3": 0.75}
    return {name: round(float(np.quantile(values, at)), digits) for name, at in names.items()}


def spread(of: dict[str, float]) -> str:
    return f"{of['median']:g} ({of['q1']:g}-{of['q3']:g})"


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows of one part as a table in Markdown."""
    first = rows[0]
    header = ["k", "contender", "ms a micro-batch (quartiles)", "best"]
    header += [f"time / {first['ratio_to']}", "largest difference", "peak MB", "temporary MB"]
    lines = [[*header, "whole copies"], ["---:", "---", *["---:"] * 7]]
    for row in rows:
        times = [spread(row["ms"]), f"{row['ms']['min']:g}", spread(row["ratio"])]
        memory = [f"{row[name] / 1e6:.1f}" for name in ("peak_bytes", "temp_bytes")]
        difference = f"{row['max_difference']:.1e}"
        lines.append(
            [f"{row['k']}", row["contender"], *times, difference, *memory, f"{row['copies']}"]
        )
    print(f"\n{first['part']}, {first['arrays']} arrays, {first['parameters']:,} parameters\n")
    for line in lines:
        print(f"| {' | '.join(line)} |")
    of = first["machine"]
    versions_ = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    print(f"\n{first['device']}; {of['cpu']}, {of['cores']} cores; {versions_}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="default")
    parser.add_argument("--part", default=",".join(PARTS), help=f"from {','.join(PARTS)}")
    parser.add_argument("--k", default="1,4,16", help="micro-batches a window (default: 1,4,16)")
    parser.add_argument("--repeats", type=int, default=9, help="rounds (default: 9)")
    parser.add_argument("--windows", type=int, default=1, help="windows a round (default: 1)")
    parser.add_argument("--out", type=Path, help="where the rows are written, as JSON")
    parser.add_argument("--report", type=Path, help="rows to print, in the place of measuring")
    options = parser.parse_args()
    if options.report:
        saved = json.loads(options.report.read_text())
        for part in dict.fromkeys(row["part"] for row in saved):
            show([row for row in saved if row["part"] == part])
        return
    rows = []
    for part in options.part.split(","):
        of_part = []
        for k in map(int, options.k.split(",")):
            of_part += compare(part, k, options)
        show(of_part)
        rows += of_part
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
    wrong = [f"{row['contender']}, k = {row['k']}" for row in rows if not row["agrees"]]
    if wrong:
        raise SystemExit(f"not the parameters of the large batch in float64: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
