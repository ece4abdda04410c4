"""The time of one optimizer step: AdamW here, in optax and in torch, on the arrays of GPT-2.

    python benchmarks/step_time.py --optimizer adamw,clip-adamw --out rows.json

Each contender runs in a process of its own. The repetitions are interleaved: every round times
each contender once, so that what disturbs the machine disturbs all of them. Before that, each
must compute the same parameters as formulas in float64. `benchmarks/README.md` says more.
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import machine
import numpy as np
import report
from problem import TOLERANCE
from shapes import SHAPES

HERE = Path(__file__).parent
BYTES = 28  # a parameter and step: read the gradient, read and write parameter, mu and nu

CONTENDERS = {
    "gradxform": "gradxform, step(params, state, grads), donated",
    "gradxform-usual": "gradxform, step(grads, state, params), donated",
    "optax": "optax, step(params, state, grads), donated",
    "optax-usual": "optax, step(grads, state, params), donated",
    "by-hand": "the formulas without a library, step(params, state, grads), donated",
    "torch-foreach": "torch.optim.AdamW(foreach=True)",
    "torch-fused": "torch.optim.AdamW(fused=True)",
}
OPTIMIZERS = ("adamw", "clip-adamw")


class Worker:
    """A contender's process."""

    def __init__(self, contender: str, optimizer: str, shapes: str, torch_python: str) -> None:
        self.name = contender
        python = torch_python if contender.startswith("torch-") else sys.executable
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        )
        self._write(contender=contender, optimizer=optimizer, shapes=shapes)

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Have an order carried out."""
        self._write(do=do, **details)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: its process ended while it had to {do}; see above.")
        return json.loads(line)

    def time(self, steps: int, calm: float) -> dict[str, Any]:
        """Have steps timed, again if other processes took more than `calm` of the cores."""
        while True:
            machine.wait_until_calm(calm)
            answer = self.ask("time", steps=steps)
            if answer["others"] <= calm:
                return answer

    def stop(self) -> None:
        """End the process."""
        self.process.communicate()

    def _write(self, **message: Any) -> None:
        assert self.process.stdin is not None
        print(json.dumps(message), file=self.process.stdin, flush=True)


def compare(optimizer: str, names: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each contender."""
    workers = [
        Worker(name, optimizer, options.shapes, options.torch_python)
        for name in [*names, "bandwidth"]
    ]
    facts, checks = {}, {}
    for worker in report.track(workers[:-1], f"{optimizer}: compile and check"):
        facts[worker.name] = worker.ask("facts")
        checks[worker.name] = worker.ask("check")["max_difference"]

    rounds = [
        {worker.name: worker.time(options.steps, options.calm) for worker in workers}
        for _ in report.track(range(options.repeats), f"{optimizer}: rounds")
    ]
    for worker in workers:
        worker.stop()

    base, *_ = names
    rates = [round_["bandwidth"] for round_ in rounds]
    times = {name: [round_[name]["seconds"] for round_ in rounds] for name in names}
    shapes = SHAPES[options.shapes]
    size = sum(map(math.prod, shapes.values()))
    versions: dict[str, str] = {"python": platform.python_version()}
    for fact in facts.values():
        versions |= fact.pop("versions")
    common = {
        "benchmark": "step_time",
        "optimizer": optimizer,
        "shapes": options.shapes,
        "arrays": len(shapes),
        "parameters": size,
        "dtype": "float32",
        "repeats": options.repeats,
        "steps": options.steps,
        "bytes_per_parameter": BYTES,
        "tolerance": TOLERANCE,
        "bandwidth_gb_per_s": {
            loop: summary([rate[loop] / 1e9 for rate in rates], 1)
            for loop in sorted(rates[0].keys() - {"others"})
        },
        "versions": versions,
        "machine": machine.describe(),
    }
    return [
        {
            "contender": name,
            "what": CONTENDERS[name],
            "ms": summary([1e3 * t for t in times[name]], 2),
            "all_ms": [round(1e3 * t, 3) for t in times[name]],
            "ratio": summary([t / b for t, b in zip(times[name], times[base], strict=True)], 3),
            "ratio_to": base,
            "others": summary([round_[name]["others"] for round_ in rounds], 3),
            "gb_per_s": round(BYTES * size / statistics.median(times[name]) / 1e9, 1),
            "max_difference": checks[name],
            "agrees": checks[name] <= TOLERANCE,
            **facts[name],
            **common,
        }
        for name in names
    ]


def summary(values: list[float], digits: int) -> dict[str, float]:
    """Least, quartiles and median."""
    names = {"min": 0.0, "q1": 0.25, "median": 0.5, "q3": 0.75}
    return {name: round(float(np.quantile(values, at)), digits) for name, at in names.items()}


def parse() -> argparse.Namespace:
    """The program's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shapes", choices=SHAPES, default="gpt2")
    parser.add_argument("--optimizer", default="adamw", help=f"from {','.join(OPTIMIZERS)}")
    parser.add_argument("--contenders", help=f"the first is the base; from {','.join(CONTENDERS)}")
    parser.add_argument("--repeats", type=int, default=9, help="rounds (default: 9)")
    parser.add_argument("--steps", type=int, default=10, help="timed steps a round (default: 10)")
    parser.add_argument(
        "--calm",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="wait, and time again, while other processes take more than this share of the cores",
    )
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--out", type=Path, help="where the rows are written, as JSON")
    options = parser.parse_args()
    torch = options.torch_python != sys.executable or importlib.util.find_spec("torch") is not None
    available = [name for name in CONTENDERS if torch or not name.startswith("torch-")]
    options.contenders = options.contenders.split(",") if options.contenders else available
    options.optimizer = options.optimizer.split(",")
    for name, known in [("contenders", CONTENDERS), ("optimizer", OPTIMIZERS)]:
        if unknown := [value for value in getattr(options, name) if value not in known]:
            parser.error(f"--{name}: no {', '.join(unknown)}; there are {', '.join(known)}")
    return options


def main() -> None:
    options = parse()
    rows = []
    for optimizer in options.optimizer:
        rows += compare(optimizer, options.contenders, options)
        report.table(rows[-len(options.contenders) :])
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
    wrong = [row["contender"] for row in rows if not row["agrees"]]
    if wrong:
        raise SystemExit(f"not the same numbers as in float64: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
