"""The memory of an update step, as its compiled program states it.

    python benchmarks/memory.py --save

Exact figures, the same in every run: no array is allocated and nothing is timed.
`benchmarks/README.md` says more.
"""

import argparse
from typing import Any

import optimizers
import processes
import report
from processes import CONTENDERS, Worker, able

DEFAULTS = "gradxform,gradxform-usual,optax,optax-usual,by-hand"


def compare(
    tree: str, optimizer: str, workers: dict[str, Worker], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row for each contender."""
    taking_part = [workers[name] for name in able(options.contenders, optimizer)]
    facts = processes.compiled(taking_part, optimizer, f"{tree}, {optimizer}")
    common = {"optimizer": optimizer, **processes.common("memory", tree, facts.values())}
    return [
        {"contender": name, "what": CONTENDERS[name], **fact, **common}
        for name, fact in facts.items()
    ]


def main() -> None:
    parser = processes.arguments(
        __doc__, trees="gpt2,many", optimizers="adamw,clip-adamw", contenders=DEFAULTS, repeats=1
    )
    options = processes.parsed(parser, optimizers.NAMES, DEFAULTS)
    if any(name.startswith("torch-") for name in options.contenders):
        parser.error("--contenders: torch has no program that states its memory")
    rows = []
    for tree in options.tree:
        workers = {name: Worker(name, options, tree=tree) for name in options.contenders}
        of_tree = []
        for optimizer in options.optimizer:
            of_tree += compare(tree, optimizer, workers, options)
        for worker in workers.values():
            worker.stop()
        report.show(report.memory(of_tree))
        rows += of_tree
    processes.store(rows, options, "memory")


if __name__ == "__main__":
    main()
