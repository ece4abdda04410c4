"""A process of its own for one contender: reads orders as lines of JSON, answers in kind.

The first line says which contender, on which arrays and which device; each line after it is one of

    {"do": "prepare", "optimizer": o}  the optimizer that the next orders are about
    {"do": "facts"}                    what the compiled program and the libraries say of themselves
    {"do": "compile"}                  seconds to trace, lower and compile, and the program's size
    {"do": "check", "file": path}      three steps: the distance from AdamW in float64, or the
                                       changes of the parameters, saved in the file
    {"do": "time", "steps": n}         seconds a step, over n steps after two that are not counted,
                                       and the share of the cores that other processes took
    {"do": "dispatch", "calls": n}     seconds until a call returns, and until its results are there

Large arrays exist only while an order is carried out, so that the contenders need not fit into
memory together.
"""

import ctypes
import gc
import json
import os
import platform
import statistics
import sys
from typing import Any, Protocol

import numpy as np
from machine import Watch
from problem import FACTORS, distance_from_adamw, sampled_changes
from shapes import SHAPES, Shapes, size

WARMUP = 2
LEAST_BANDWIDTH_SIZE = 2**24  # arrays that no cache holds
MOST_KEPT = 2**24  # parameters of a tree whose arrays are kept from one measurement to the next


class Contender(Protocol):
    """What the worker needs of a contender."""

    def allocate(self) -> None:
        """Fresh parameters, state and gradients on the device."""

    def free(self) -> None:
        """Give them back."""

    def set_gradients(self, factor: float) -> None:
        """Take a multiple of the gradients that `allocate` gave."""

    def run(self, steps: int) -> None:
        """Do steps, and wait for the last."""

    def parameter(self, name: str) -> np.ndarray:
        """A parameter as it is now."""

    def facts(self) -> dict[str, Any]:
        """What the program and the libraries say of themselves."""


class Worker:
    """What the orders do, by their names."""

    def __init__(self, setting: dict[str, str]) -> None:
        self.name, self.shapes = setting["contender"], _shapes(setting)
        self.device = setting["device"]
        if not self.name.startswith("torch-"):
            _set_up_jax(self.device)

    def prepare(self, optimizer: str) -> dict[str, Any]:
        """Take an optimizer."""
        self.optimizer = optimizer
        self.contender, self.allocated = self._make(), False
        return {}

    def facts(self) -> dict[str, Any]:
        """What the program and the libraries say of themselves."""
        return self.contender.facts()

    def compile(self) -> dict[str, Any]:
        """What the stages from the function to the program take."""
        from contenders_jax import about

        return {**self.contender.compile()[1], **self.contender.leaves(), **about()}

    def check(self, file: str) -> dict[str, Any]:
        """Where the parameters are after a few steps."""
        contender = self.contender
        contender.allocate()
        for factor in FACTORS:
            contender.set_gradients(factor)
            contender.run(1)
        answer = {}
        if self.optimizer.removeprefix("clip-") == "adamw":
            clip = self.optimizer.startswith("clip-")
            found = distance_from_adamw(self.shapes, contender.parameter, clip=clip)
            answer["difference"] = found
        else:
            np.savez(file, **sampled_changes(self.shapes, contender.parameter))
        contender.free()
        return answer

    def time(self, steps: int) -> dict[str, float]:
        """What a step takes, or what the memory gives."""
        if self.name == "bandwidth":
            from bandwidth import bandwidth

            watch = Watch()
            rates = bandwidth(max(size(self.shapes) // 2, LEAST_BANDWIDTH_SIZE), steps)
            return {**rates, "others": watch.stop()[1]}
        if not self.allocated:
            self.contender.allocate()
        self.contender.run(WARMUP)
        watch = Watch()
        self.contender.run(steps)
        seconds, others = watch.stop()
        self.allocated = size(self.shapes) <= MOST_KEPT
        if not self.allocated:
            self.contender.free()
        return {"seconds": seconds / steps, "others": others}

    def dispatch(self, calls: int) -> dict[str, float]:
        """What a call takes, and one like it that has nothing to compute."""
        answer = {}
        for kind, contender in {
            "": self.contender,
            "empty_": self.contender.without_work(),
        }.items():
            contender.allocate()
            contender.run(WARMUP)
            watch = Watch()
            contender.run(calls)
            answer[f"{kind}call_s"] = watch.stop()[0] / calls
            answer[f"{kind}returns_s"] = statistics.median(contender.calls(calls))
            contender.free()
        return answer

    def _make(self) -> Contender:
        if self.name.startswith("torch-"):
            from contenders_torch import TorchContender

            return TorchContender(self.name, self.shapes, self.optimizer, self.device)
        from contenders_jax import JaxContender

        return JaxContender(self.name, self.shapes, self.optimizer)


def _shapes(setting: dict[str, str]) -> Shapes:
    shapes = SHAPES[setting["tree"]]
    if setting.get("elements") == "one":
        return {name: (1,) * len(shape) for name, shape in shapes.items()}
    return shapes


def _set_up_jax(device: str) -> None:
    import jax
    import jax.numpy as jnp

    if device:
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(device, device))
    jax.config.update("jax_enable_compilation_cache", False)
    # What JAX does once in a process: not a part of any contender's time.
    jax.jit(lambda x: jnp.where(x > 0, jnp.sqrt(x), x * 2).sum())(jnp.ones(3)).block_until_ready()


def return_memory() -> None:
    """Have the C library give freed memory back to the system, where it can be asked to."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    worker = Worker(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        order = json.loads(line)
        answer = getattr(worker, order.pop("do"))(**order)
        return_memory()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
