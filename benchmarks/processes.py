"""What the programs share: the contenders' processes, their arguments, and where rows go."""

import argparse
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import machine
import numpy as np
import report
from shapes import SHAPES, size

HERE = Path(__file__).parent
RESULTS = HERE / "results"

CONTENDERS = {
    "gradxform": "gradxform, make_update_step(tx)",
    "gradxform-bucket": "gradxform, make_update_step(bucket(tx))",
    "gradxform-usual": "gradxform, step(grads, state, params), donated",
    "optax": "optax, step(params, state, grads), donated",
    "optax-usual": "optax, step(grads, state, params), donated",
    "by-hand": "the formulas without a library, step(params, state, grads), donated",
    "torch-foreach": "torch.optim.AdamW(foreach=True)",
    "torch-fused": "torch.optim.AdamW(fused=True)",
}
# These know AdamW only.
OF_ADAMW = ("by-hand", "torch-foreach", "torch-fused")


class Worker:
    """A contender's process."""

    def __init__(self, contender: str, options: argparse.Namespace, **setting: str) -> None:
        self.name = contender
        python = options.torch_python if contender.startswith("torch-") else sys.executable
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        )
        self._write({"contender": contender, "device": options.device, **setting})

    def tell(self, do: str, **details: Any) -> None:
        """Give an order."""
        self._write({"do": do, **details})

    def hear(self) -> dict[str, Any]:
        """Wait for the answer to the order."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: its process has ended; see above.")
        return json.loads(line)

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Have an order carried out."""
        self.tell(do, **details)
        return self.hear()

    def stop(self) -> None:
        """End the process."""
        self.process.communicate()

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            print(json.dumps(message), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise SystemExit(f"{self.name}: its process has ended; see above.") from None


def compiled(workers: Iterable[Worker], optimizer: str, what: str) -> dict[str, dict[str, Any]]:
    """The facts of each contender's program; they compile at the same time."""
    workers = list(workers)
    for worker in workers:
        worker.tell("prepare", optimizer=optimizer)
    for worker in workers:
        worker.hear()
        worker.tell("facts")
    return {worker.name: worker.hear() for worker in report.track(workers, what)}


def summary(values: Iterable[float], digits: int) -> dict[str, float]:
    """Least, quartiles and median."""
    values, names = list(values), {"min": 0.0, "q1": 0.25, "median": 0.5, "q3": 0.75}
    return {name: round(float(np.quantile(values, at)), digits) for name, at in names.items()}


def arguments(description: str, *, trees: str, contenders: str, optimizers: str, repeats: int):
    """A parser with the arguments that every program has, and these defaults."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument(
        "--tree", default=trees, help=f"from {','.join(SHAPES)} (default: %(default)s)"
    )
    parser.add_argument(
        "--optimizer",
        default=optimizers,
        help="names as in optimizers.py, `clip-` before them, or `all` (default: %(default)s)",
    )
    parser.add_argument(
        "--contenders",
        default=contenders,
        help=f"from {','.join(CONTENDERS)} (default: %(default)s)",
    )
    parser.add_argument("--repeats", type=_positive, default=repeats, help="(default: %(default)s)")
    parser.add_argument(
        "--device", choices=("cpu", "gpu"), default="", help="(default: what JAX chooses)"
    )
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--out", type=Path, help="where the rows are written, as JSON")
    parser.add_argument(
        "--save", action="store_true", help="write the rows to results/, with the device's name"
    )
    return parser


def parsed(
    parser: argparse.ArgumentParser, known_optimizers: Iterable[str], defaults: str
) -> argparse.Namespace:
    """The program's arguments, with lists in the place of commas."""
    options = parser.parse_args()
    known_optimizers = tuple(known_optimizers)
    if options.optimizer == "all":
        options.optimizer = ",".join(known_optimizers)
    torch = options.torch_python != sys.executable or importlib.util.find_spec("torch") is not None
    if not torch and options.contenders == defaults:
        kept = [name for name in defaults.split(",") if not name.startswith("torch-")]
        options.contenders = ",".join(kept)
    for name, known in [
        ("tree", SHAPES),
        ("optimizer", known_optimizers),
        ("contenders", CONTENDERS),
    ]:
        values = getattr(options, name).split(",")
        if unknown := [value for value in values if value not in known]:
            parser.error(f"--{name}: no {', '.join(unknown)}; there are {', '.join(known)}")
        setattr(options, name, values)
    if missing := [c for c in options.contenders if c.startswith("torch-") and not torch]:
        parser.error(f"--contenders: {missing[0]} needs torch; give --torch-python")
    return options


def able(contenders: list[str], optimizer: str) -> list[str]:
    """The contenders that have the optimizer."""
    is_adamw = optimizer.removeprefix("clip-") == "adamw"
    return [name for name in contenders if is_adamw or name not in OF_ADAMW]


def common(benchmark: str, tree: str, facts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What all rows of one comparison hold; takes the versions out of the facts."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for fact in facts:
        versions |= fact.pop("versions")
    return {
        "benchmark": benchmark,
        "tree": tree,
        "arrays": len(SHAPES[tree]),
        "parameters": size(SHAPES[tree]),
        "dtype": "float32",
        "versions": versions,
        "machine": machine.describe(),
        "load": machine.load(),
    }


def store(rows: list[dict[str, Any]], options: argparse.Namespace, name: str) -> None:
    """Write the rows where the arguments say."""
    text = json.dumps(rows, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    if options.save:
        device = re.sub(r"[^a-z0-9]+", "-", rows[0]["device"].lower()).strip("-")
        (RESULTS / f"{name}_{device}.json").write_text(text)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, is {value}")
    return value
