"""The time from the function to the program: tracing, lowering and compiling an update step.

    python benchmarks/compile_time.py --save
    python benchmarks/compile_time.py --imports --save     # what the import takes

Each measurement is made in a fresh process, after the imports and JAX's own start; the processes
of one round follow each other in random order. `benchmarks/README.md` says more.
"""

import argparse
import os
import platform
import random
import subprocess
import sys
from typing import Any

import machine
import optimizers
import processes
import report
from processes import CONTENDERS, Worker, summary

STAGES = ("trace", "lower", "compile")
DEFAULTS = "gradxform,optax"
IMPORTS = {
    "optax": "import optax",
    "gradxform": "import gradxform",
    "optimizer": "import gradxform; gradxform.adamw",  # which is imported when it is asked for
}


def compare(tree: str, optimizer: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each contender."""
    names, title = processes.able(options.contenders, optimizer), f"{tree}, {optimizer}"
    rounds, chance = [], random.Random(0)
    for _ in report.track(range(options.repeats), title):
        order = list(names)
        chance.shuffle(order)
        rounds.append({name: measured(name, tree, optimizer, options) for name in order})

    base = "optax" if "optax" in names else names[0]
    facts = {name: rounds[-1][name] for name in names}
    common = {
        "optimizer": optimizer,
        "repeats": options.repeats,
        "ratio_to": base,
        **processes.common("compile_time", tree, facts.values()),
    }

    def ratio(name: str, stages: tuple[str, ...], unit: str) -> dict[str, float]:
        sums = [
            [sum(round_[of][f"{stage}_{unit}"] for stage in stages) for of in (name, base)]
            for round_ in rounds
        ]
        return summary([ours / theirs for ours, theirs in sums], 3)

    def seconds(name: str, unit: str) -> dict[str, dict[str, float]]:
        keys = [f"{stage}_{unit}" for stage in STAGES]
        return {key: summary([round_[name][key] for round_ in rounds], 4) for key in keys}

    return [
        {
            "contender": name,
            "what": CONTENDERS[name],
            **seconds(name, "s"),
            **seconds(name, "cpu_s"),
            "trace_lower_ratio": ratio(name, STAGES[:2], "s"),
            "trace_lower_cpu_ratio": ratio(name, STAGES[:2], "cpu_s"),
            "ratio": ratio(name, STAGES, "s"),
            "cpu_ratio": ratio(name, STAGES, "cpu_s"),
            "program_bytes": facts[name]["program_bytes"],
            "device": facts[name]["device"],
            **common,
        }
        for name in names
    ]


def measured(name: str, tree: str, optimizer: str, options: argparse.Namespace) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    worker = Worker(name, options, tree=tree)
    worker.ask("prepare", optimizer=optimizer)
    answer = worker.ask("compile")
    worker.stop()
    return answer


def imports(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What the imports take; ours imports optax."""
    rounds, chance = [], random.Random(0)
    # Once without counting, so that the files are in memory and the bytecode is written.
    for number in report.track(range(options.repeats + 1), "imports"):
        order = list(IMPORTS)
        chance.shuffle(order)
        times = {name: import_seconds(IMPORTS[name]) for name in order}
        if number:
            rounds.append(times)

    def more(name: str, clock: str) -> dict[str, float]:
        return summary([times[name][clock] - times["optax"][clock] for times in rounds], 3)

    return [
        {
            "benchmark": "imports",
            "what": statement,
            "seconds": summary([times[name]["wall"] for times in rounds], 3),
            "extra_s": more(name, "wall"),
            "cpu_s": summary([times[name]["cpu"] for times in rounds], 3),
            "extra_cpu_s": more(name, "cpu"),
            "repeats": options.repeats,
            "device": "cpu",
            "versions": {"python": platform.python_version()},
            "machine": machine.describe(),
            "load": machine.load(),
        }
        for name, statement in IMPORTS.items()
    ]


def import_seconds(statement: str) -> dict[str, float]:
    """What a statement takes in a fresh process, without Python's own start."""
    program = (
        "import time; wall, cpu = time.perf_counter(), time.process_time(); "
        f"{statement}; print(time.perf_counter() - wall, time.process_time() - cpu)"
    )
    # As users run it: the bytecode is kept.
    env = {name: x for name, x in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"`{statement}` failed:\n{done.stderr}")
    wall, cpu = map(float, done.stdout.split())
    return {"wall": wall, "cpu": cpu}


def main() -> None:
    parser = processes.arguments(
        __doc__,
        trees="one,gpt2,many",
        optimizers="adamw,clip-adamw",
        contenders=DEFAULTS,
        repeats=5,
    )
    parser.add_argument("--imports", action="store_true", help="time the imports in place of it")
    options = processes.parsed(parser, optimizers.NAMES, DEFAULTS)
    if any(name.startswith("torch-") for name in options.contenders):
        parser.error("--contenders: torch compiles nothing here")
    if options.imports:
        rows = imports(options)
        report.show(report.imports(rows))
        processes.store(rows, options, "imports")
        return
    rows = []
    for tree in options.tree:
        for optimizer in options.optimizer:
            rows += compare(tree, optimizer, options)
    report.show(report.compile_time(rows))
    processes.store(rows, options, "compile_time")


if __name__ == "__main__":
    main()
