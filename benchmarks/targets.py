"""What the library is held to, and what the saved rows say of it.

python benchmarks/targets.py cpu     # the device in the names of the files in results/
"""

import argparse
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import report
from report import HERE, Rows, Table

RESULTS = HERE / "results"


class Target(NamedTuple):
    """A figure of saved rows that shall not be above a bound."""

    text: str
    bound: float
    file: str  # without the device and the suffix
    figure: Callable[[Rows], float]
    is_time: bool = True  # what other processes disturb


def _is_busy(rows: Rows) -> bool:
    """Whether other processes took part of the cores, or many wanted to run, meanwhile."""
    shares = [row["others"]["median"] for row in rows if "others" in row]
    if shares:
        return float(np.median(shares)) > 0.1
    return max(row.get("load") or 0 for row in rows) > 3


def _row(rows: Rows, **wanted: Any) -> dict[str, Any]:
    return next(row for row in rows if wanted.items() <= row.items())


def _times(optimizer: str, ours: str, theirs: str) -> Callable[[Rows], float]:
    """The median over the rounds of one contender's time over another's."""

    def figure(rows: Rows) -> float:
        pair = [_row(rows, optimizer=optimizer, contender=name) for name in (ours, theirs)]
        return float(np.median(np.divide(pair[0]["all_ms"], pair[1]["all_ms"])))

    return figure


def _temporaries(rows: Rows) -> float:
    row = _row(rows, optimizer="clip-adamw", contender="gradxform")
    return row["temp_bytes"] / (4 * row["parameters"])


def _compiling(tree: str, optimizer: str, ratio: str) -> Callable[[Rows], float]:
    return lambda rows: _row(rows, tree=tree, optimizer=optimizer, contender="gradxform")[ratio][
        "median"
    ]


def _above(prefix: str) -> Callable[[Rows], float]:
    """How many optimizers take longer than Optax's: all but a quarter of the rounds do."""
    return lambda rows: sum(
        row["ratio"]["q1"] > 1
        for row in rows
        if row["contender"] == "gradxform" and row["optimizer"].startswith("clip-") == bool(prefix)
    )


def _moving_more(rows: Rows) -> float:
    """How many optimizers, alone and behind clipping, read and write more than Optax's."""
    moved = {(row["optimizer"], row["contender"]): row["moved_bytes"] for row in rows}
    names = {optimizer for optimizer, _ in moved}
    return sum(moved[name, "gradxform"] > moved[name, "optax"] for name in names)


def _accumulating(k: int, key: str) -> Callable[[Rows], float]:
    def figure(rows: Rows) -> float:
        pair = [
            _row(rows, part="train", k=k, contender=name) for name in ("accumulate", "multi-steps")
        ]
        if key == "peak_bytes":
            return pair[0][key] / pair[1][key]
        return float(np.median(np.divide(pair[0]["all_ms"], pair[1]["all_ms"])))

    return figure


GPT2, LAYER = "step_time_gpt2", "step_time_gpt2-layer"
TARGETS = (
    Target(
        "GPT-2, clip + AdamW: time / optax",
        0.5,
        GPT2,
        _times("clip-adamw", "gradxform", "optax"),
    ),
    Target(
        "GPT-2, clip + AdamW: time / torch fused",
        1.15,
        GPT2,
        _times("clip-adamw", "gradxform", "torch-fused"),
    ),
    Target("GPT-2, clip + AdamW: temporaries / parameters", 0.01, GPT2, _temporaries, False),
    Target("GPT-2, AdamW: time / optax", 1.0, GPT2, _times("adamw", "gradxform", "optax")),
    Target(
        "GPT-2, AdamW: time / optax in the usual order",
        0.27,
        GPT2,
        _times("adamw", "gradxform", "optax-usual"),
    ),
    Target(
        "GPT-2, AdamW: time / torch fused",
        1.0,
        GPT2,
        _times("adamw", "gradxform", "torch-fused"),
    ),
    Target(
        "1,000 arrays of 64, AdamW: trace + lower / optax",
        0.35,
        "compile_time",
        _compiling("many", "adamw", "trace_lower_ratio"),
    ),
    Target(
        "1,000 arrays of 64, clip + AdamW: trace + lower + compile / optax",
        0.5,
        "compile_time",
        _compiling("many", "clip-adamw", "ratio"),
    ),
    *(
        Target(
            f"1,000 arrays of 64, {text}: time with `bucket` / optax",
            0.5,
            "step_time_many",
            _times(optimizer, "gradxform-bucket", "optax"),
        )
        for text, optimizer in (("AdamW", "adamw"), ("clip + AdamW", "clip-adamw"))
    ),
    Target("optimizers slower than optax's, alone", 0, LAYER, _above("")),
    Target("optimizers slower than optax's, behind clipping", 0, LAYER, _above("clip-")),
    Target(
        "optimizers whose loops move more bytes than optax's", 0, LAYER, _moving_more, is_time=False
    ),
    *(
        Target(
            f"accumulation, k = {k}: {what} / optax.MultiSteps",
            1.0,
            "accumulation",
            _accumulating(k, key),
            key == "all_ms",
        )
        for k in (4, 16)
        for what, key in (("time", "all_ms"), ("peak memory", "peak_bytes"))
    ),
    Target(
        "`import gradxform`: seconds more than `import optax`",
        0.15,
        "imports",
        lambda rows: _row(rows, what="import gradxform")["extra_s"]["median"],
    ),
)


def targets(device: str) -> Table:
    """What the saved rows of a device say of the targets."""
    cells = []
    for target in TARGETS:
        path = RESULTS / f"{target.file}_{device}.json"
        if not path.exists():
            continue
        try:
            rows = json.loads(path.read_text())
            value = target.figure(rows)
        except StopIteration:  # a contender that was not there
            continue
        met = "yes" if value <= target.bound else "**no**"
        if target.is_time and _is_busy(rows):
            met += ", on a busy machine"
        cells.append([target.text, f"{target.bound:g}", f"{value:.3g}", met])
    return Table("Targets", ["figure", "at most", "measured", "met"], cells, [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("device", help="as in the names of the files in results/")
    report.show(targets(parser.parse_args().device))


if __name__ == "__main__":
    main()
