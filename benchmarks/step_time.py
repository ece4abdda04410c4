"""The time of one optimizer step: here, in optax and in torch, on the arrays of known models.

    python benchmarks/step_time.py --optimizer adamw,clip-adamw --save

Each contender runs in a process of its own. The repetitions are interleaved: every round times
each contender once, in random order, so that what disturbs the machine disturbs all of them.
Before that, all must compute the same parameters. `benchmarks/README.md` says more.
"""

import argparse
import random
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import machine
import numpy as np
import optimizers
import processes
import report
from problem import TOLERANCE, distance
from processes import CONTENDERS, Worker, able, summary

DEFAULTS = "gradxform,optax,optax-usual,by-hand,torch-foreach,torch-fused"


def compare(
    tree: str, optimizer: str, workers: dict[str, Worker], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row for each contender."""
    names, title = able(options.contenders, optimizer), f"{tree}, {optimizer}"
    taking_part = [workers[name] for name in names]
    facts = processes.compiled(taking_part, optimizer, f"{title}: compile")
    differences = {} if options.unchecked else check(taking_part)
    # Its figures are shown beside a few optimizers only.
    loops = [workers["bandwidth"]] if len(options.optimizer) <= report.MANY else []

    rounds, chance = [], random.Random(0)
    for _ in report.track(range(options.repeats), f"{title}: rounds"):
        order = [*taking_part, *loops]
        chance.shuffle(order)
        rounds.append({worker.name: timed(worker, options) for worker in order})

    base = "optax" if "optax" in names else names[0]
    rates = [round_["bandwidth"] for round_ in rounds if loops]
    times = {name: [round_[name]["seconds"] for round_ in rounds] for name in names}
    differs = optimizers.pair_of(optimizer).differs
    least = least_bytes(facts.values())
    common = {
        "optimizer": optimizer,
        "repeats": options.repeats,
        "steps": options.steps,
        "least_bytes": least,
        "tolerance": None if differs else TOLERANCE,
        "differs": differs,
        "bandwidth_gb_per_s": {
            loop: summary([rate[loop] / 1e9 for rate in rates], 1)
            for loop in (sorted(rates[0].keys() - {"others"}) if rates else ())
        },
        **processes.common("step_time", tree, facts.values()),
    }
    return [
        {
            "contender": name,
            "what": CONTENDERS[name],
            "ms": summary([1e3 * t for t in times[name]], 3),
            "all_ms": [round(1e3 * t, 4) for t in times[name]],
            "ratio": summary([t / b for t, b in zip(times[name], times[base], strict=True)], 3),
            "ratio_to": base,
            "others": summary([round_[name]["others"] for round_ in rounds], 3),
            "gb_per_s": round(least / statistics.median(times[name]) / 1e9, 1),
            "difference": differences.get(name),
            "agrees": bool(differs) or differences.get(name, np.inf) <= TOLERANCE,
            **facts[name],
            **common,
        }
        for name in names
    ]


def least_bytes(facts: Iterable[dict[str, Any]]) -> int:
    """What a step must move: each array that it takes is read once, each that it returns written.

    For AdamW in float32 these are 28 bytes a parameter.
    """
    programs = [fact for fact in facts if "argument_bytes" in fact]
    return min((f["argument_bytes"] + f["output_bytes"] for f in programs), default=0)


def check(workers: list[Worker]) -> dict[str, float]:
    """How far each contender's parameters are from the right ones after three steps.

    Right is AdamW in float64, or what optax computes; without it, what the first one computes.
    """
    differences, files = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        # Two at a time: more need not fit into memory.
        for start in report.track(range(0, len(workers), 2), "check"):
            pair = workers[start : start + 2]
            for worker in pair:
                worker.tell("check", file=str(Path(folder) / f"{worker.name}.npz"))
            for worker in pair:
                answer = worker.hear()
                if "difference" in answer:
                    differences[worker.name] = answer["difference"]
                else:
                    files[worker.name] = dict(np.load(Path(folder) / f"{worker.name}.npz"))
    if files:
        right = files.get("optax") or next(iter(files.values()))
        differences |= {name: distance(changes, right) for name, changes in files.items()}
    return differences


def timed(worker: Worker, options: argparse.Namespace) -> dict[str, Any]:
    """A measurement, repeated while other processes take more than their share of the cores."""
    while True:
        machine.wait_until_calm(options.calm)
        answer = worker.ask("time", steps=options.steps)
        if answer["others"] <= options.calm:
            return answer


def parse() -> argparse.Namespace:
    """The program's arguments."""
    parser = processes.arguments(
        __doc__, trees="gpt2", optimizers="adamw", contenders=DEFAULTS, repeats=9
    )
    parser.add_argument("--steps", type=int, default=10, help="timed steps a round (default: 10)")
    parser.add_argument("--unchecked", action="store_true", help="do not compare the parameters")
    parser.add_argument(
        "--calm",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="wait, and time again, while other processes take more than this share of the cores",
    )
    return processes.parsed(parser, optimizers.NAMES, DEFAULTS)


def main() -> None:
    options = parse()
    rows = []
    for tree in options.tree:
        workers = {
            name: Worker(name, options, tree=tree) for name in [*options.contenders, "bandwidth"]
        }
        for optimizer in options.optimizer:
            compared = compare(tree, optimizer, workers, options)
            report.show(report.step_time(compared))
            rows += compared
        for worker in workers.values():
            worker.stop()
    processes.store(rows, options, f"step_time_{'_'.join(options.tree)}")
    wrong = [f"{row['contender']}, {row['optimizer']}" for row in rows if not row["agrees"]]
    if wrong and not options.unchecked:
        raise SystemExit(f"not the same numbers: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
