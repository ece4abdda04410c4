"""What a call of an update step takes besides the arithmetic.

    python benchmarks/dispatch.py --save

Every array holds one number, so that what is left of a step is the call: the tree of arrays is
taken apart, the program started, the results put together. `benchmarks/README.md` says more.
"""

import argparse
import random
from typing import Any

import optimizers
import processes
import report
from processes import CONTENDERS, Worker, able, summary

DEFAULTS = "gradxform,optax"
# microseconds of a row: what the worker answers in seconds
TIMES = {"call_us": "call_s", "returns_us": "returns_s", "empty_us": "empty_call_s"}


def compare(
    tree: str, optimizer: str, workers: dict[str, Worker], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row for each contender."""
    names, title = able(options.contenders, optimizer), f"{tree}, {optimizer}"
    taking_part = [workers[name] for name in names]
    facts = processes.compiled(taking_part, optimizer, f"{title}: compile")
    rounds, chance = [], random.Random(0)
    for _ in report.track(range(options.repeats), f"{title}: rounds"):
        order = list(names)
        chance.shuffle(order)
        rounds.append({name: workers[name].ask("dispatch", calls=options.calls) for name in order})

    base = "optax" if "optax" in names else names[0]
    common = {
        "optimizer": optimizer,
        "repeats": options.repeats,
        "calls": options.calls,
        "ratio_to": base,
        **processes.common("dispatch", tree, facts.values()),
    }
    return [
        {
            "contender": name,
            "what": CONTENDERS[name],
            **{
                time: summary([1e6 * round_[name][answer] for round_ in rounds], 1)
                for time, answer in TIMES.items()
            },
            "ratio": summary([r[name]["call_s"] / r[base]["call_s"] for r in rounds], 3),
            **{key: facts[name][key] for key in ("arrays_in", "arrays_out", "fusions", "device")},
            **common,
        }
        for name in names
    ]


def main() -> None:
    parser = processes.arguments(
        __doc__, trees="resnet50,vit,many", optimizers="adamw", contenders=DEFAULTS, repeats=7
    )
    parser.add_argument("--calls", type=int, default=100, help="calls a round (default: 100)")
    options = processes.parsed(parser, optimizers.NAMES, DEFAULTS)
    if any(name.startswith("torch-") for name in options.contenders):
        parser.error("--contenders: torch's step has no arrays of one number here")
    rows = []
    for tree in options.tree:
        workers = {
            name: Worker(name, options, tree=tree, elements="one") for name in options.contenders
        }
        for optimizer in options.optimizer:
            rows += compare(tree, optimizer, workers, options)
        for worker in workers.values():
            worker.stop()
    for optimizer in options.optimizer:
        report.show(report.dispatch([row for row in rows if row["optimizer"] == optimizer]))
    processes.store(rows, options, "dispatch")


if __name__ == "__main__":
    main()
