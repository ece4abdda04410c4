"""A process of its own for one contender: reads orders as lines of JSON, answers in kind.

The first line says which contender; each line after it is one of

    {"do": "facts"}              what the compiled program and the libraries say of themselves
    {"do": "check"}              three steps, compared with the float64 ones
    {"do": "time", "steps": n}   seconds a step, over n steps after two that are not counted, and
                                 the share of the cores that other processes took meanwhile

Arrays exist only while an order is carried out, so that the contenders need not fit into memory
together.
"""

import ctypes
import gc
import json
import math
import os
import platform
import sys
from typing import Any, Protocol

import numpy as np
from machine import Watch
from problem import FACTORS, largest_difference
from shapes import SHAPES, Shapes

WARMUP = 2


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


def make(name: str, shapes: Shapes, clip: bool) -> Contender:
    if name.startswith("torch-"):
        from contenders_torch import TorchContender

        return TorchContender(name, shapes, clip=clip)
    from contenders_jax import JaxContender

    return JaxContender(name, shapes, clip=clip)


def check(contender: Contender, shapes: Shapes, clip: bool) -> dict[str, float]:
    contender.allocate()
    for factor in FACTORS:
        contender.set_gradients(factor)
        contender.run(1)
    difference = largest_difference(shapes, contender.parameter, clip=clip)
    contender.free()
    return {"max_difference": difference}


def measure(contender: Contender, steps: int) -> dict[str, float]:
    contender.allocate()
    contender.run(WARMUP)
    watch = Watch()
    contender.run(steps)
    seconds, others = watch.stop()
    contender.free()
    return {"seconds": seconds / steps, "others": others}


def return_memory() -> None:
    """Have the C library give freed memory back to the system, where it can be asked to."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    setting = json.loads(sys.stdin.readline())
    shapes, clip = SHAPES[setting["shapes"]], setting["optimizer"] == "clip-adamw"
    bandwidth = setting["contender"] == "bandwidth"
    if bandwidth:
        from contenders_jax import Bandwidth

        memory = Bandwidth(sum(map(math.prod, shapes.values())) // 2)
    else:
        contender = make(setting["contender"], shapes, clip)
    for line in sys.stdin:
        order = json.loads(line)
        match order["do"]:
            case "facts":
                answer = contender.facts()
            case "check":
                answer = check(contender, shapes, clip)
            case "time" if bandwidth:
                watch = Watch()
                answer = memory.measure(order["steps"])
                answer["others"] = watch.stop()[1]
            case "time":
                answer = measure(contender, order["steps"])
        return_memory()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
