"""A picture of saved rows of `step_time.py`: the time of a step, as a part of optax's.

    python benchmarks/figure.py results/step_time_gpt2-layer_cpu.json

Rows of many optimizers give a dot for each of them alone and one behind clipping, rows of AdamW
alone a dot for each contender; whiskers are the quartiles of the rounds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report import MANY

# Blue and orange of Okabe and Ito, told apart by all eyes; the shapes differ, too.
ALONE = {"color": "#0072B2", "fmt": "o", "label": "alone"}
CLIPPED = {"color": "#D55E00", "fmt": "D", "label": "behind clip_by_global_norm"}
CLIP = "clip-"
WIDTH = 8.5  # inches; 100 dots each are a README's width


def draw(rows: list[dict[str, Any]]) -> Figure:
    """The ratios of one file, the least on top: of the optimizers, or of AdamW's contenders."""
    rows = [row for row in rows if row["ratio_to"] == "optax"]
    if len({row["optimizer"] for row in rows}) > MANY:
        key, rows = "optimizer", [row for row in rows if row["contender"] == "gradxform"]
    else:
        key = "contender"
    clipped = {row[key].removeprefix(CLIP): row["ratio"] for row in rows if _is_clipped(row)}
    alone = {row[key]: row["ratio"] for row in rows if not _is_clipped(row)}
    names = sorted({*alone, *clipped}, key=lambda name: -_middle(name, alone, clipped))

    figure = Figure(figsize=(WIDTH, 1.5 + 0.235 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(1.0, color="0.35", linewidth=1)
    _dots(axes, [alone.get(name) for name in names], ALONE, 0.13)
    _dots(axes, [clipped.get(name) for name in names], CLIPPED, -0.13)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(mpl.ticker.FixedLocator([0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 4, 8]))
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(labelsize=10, length=0)
    axes.grid(axis="x", color="0.88")
    axes.grid(axis="y", color="0.94")
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    first = rows[0]
    what = "an update step" if key == "optimizer" else "AdamW's step"
    axes.set_title(
        f"Time of {what}, divided by Optax's (smaller is faster)", fontsize=12, loc="left"
    )
    axes.set_xlabel(
        f"{first['arrays']} arrays, {first['parameters']:,} float32 parameters, donated; "
        f"{first['device']}",
        fontsize=10,
    )
    figure.legend(loc="outside lower center", ncols=2, fontsize=10, frameon=False)
    return figure


def _is_clipped(row: dict[str, Any]) -> bool:
    return row["optimizer"].startswith(CLIP)


def _middle(name: str, *ratios: dict[str, dict[str, float]]) -> float:
    found = [of[name]["median"] for of in ratios if name in of]
    return sum(found) / len(found)


def _dots(
    axes: Axes, ratios: list[dict[str, float] | None], style: dict[str, str], shift: float
) -> None:
    there = [(index + shift, ratio) for index, ratio in enumerate(ratios) if ratio]
    middle = [ratio["median"] for _, ratio in there]
    whiskers = [
        [ratio["median"] - ratio["q1"] for _, ratio in there],
        [ratio["q3"] - ratio["median"] for _, ratio in there],
    ]
    axes.errorbar(
        middle, [at for at, _ in there], xerr=whiskers, markersize=5, elinewidth=1, **style
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, help="saved rows of step_time.py")
    parser.add_argument("--out", type=Path, help="the picture; beside the file by default")
    options = parser.parse_args()
    rows = json.loads(options.file.read_text())
    if {row.get("benchmark") for row in rows} != {"step_time"}:
        parser.error(f"{options.file} holds no rows of step_time.py")
    draw(rows).savefig(options.out or options.file.with_suffix(".png"), dpi=100)


if __name__ == "__main__":
    main()
