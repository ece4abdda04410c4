"""What one update outside of `jit` takes: Python calls, and programs that are compiled.

    python benchmarks/calls.py
    python benchmarks/calls.py --optimizer adamw,lion --steps 100

Exact figures, the same in every run with the same versions; nothing is timed. Two small arrays.

  calls     functions of the library, among them those of comprehensions, that one update calls
  files     how many files these are in
  changes   how often one is in another file than the one called before it: what somebody reads
            who follows an update
  first     programs that the first update compiles
  later     programs that the updates after it compile
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

LIBRARIES = ("gradxform", "optax")


class Calls(NamedTuple):
    """The Python calls of one function."""

    calls: int
    files: int
    changes: int


def calls_of(function: Callable[[], Any], library: str) -> Calls:
    """The calls of functions of a library that one call of `function` comes to."""
    files: list[str] = []

    def called(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and f"/{library}/" in frame.f_code.co_filename.replace("\\", "/"):
            files.append(frame.f_code.co_filename)

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        function()
    finally:
        sys.setprofile(before)
    changes = sum(a != b for a, b in zip([None, *files], files, strict=False))
    return Calls(len(files), len(set(files)), changes)


@contextmanager
def compilations() -> Iterator[list[str]]:
    """A list that grows by one with every program that XLA compiles."""
    seen: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if "backend_compile" in event:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def measured(tx: optax.GradientTransformation, library: str, steps: int) -> dict[str, int]:
    """The figures of one transformation."""
    params = {"w": jnp.ones((4, 3)), "b": jnp.zeros(3)}
    grads = jax.tree.map(jnp.ones_like, params)
    state = tx.init(params)
    counts = []
    with compilations() as seen:
        for _ in range(1 + steps):
            seen.clear()
            _, state = tx.update(grads, state, params)
            counts.append(len(seen))
    calls = calls_of(lambda: tx.update(grads, state, params), library)
    return {**calls._asdict(), "first": counts[0], "later": sum(counts[1:])}


def main() -> None:
    import optimizers

    pairs = {name: pair for name, pair in optimizers.PAIRS.items() if not pair.takes_value}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--optimizer", default="adamw", help=f"one or more of {', '.join(pairs)}")
    parser.add_argument("--steps", type=int, default=100, help="updates after the first")
    options = parser.parse_args()
    names = options.optimizer.split(",")
    for name in names:
        if name not in pairs:
            parser.error(f"--optimizer: {name!r} is none of {', '.join(pairs)}")
    columns = ("calls", "files", "changes", "first", "later")
    print(f"{'optimizer':24}{'library':12}" + "".join(f"{column:>9}" for column in columns))
    for name in names:
        for library, build in zip(LIBRARIES, (pairs[name].ours, pairs[name].theirs), strict=True):
            figures = measured(build(), library, options.steps)
            print(f"{name:24}{library:12}" + "".join(f"{figures[c]:9}" for c in columns))


if __name__ == "__main__":
    main()
