"""Whether a loop over blocks that fit the cache gives AdamW one pass over memory in JAX.

    python benchmarks/blocked_loop.py

Exact figures of the compiled program: nothing is allocated and nothing is timed. A loop that works
in place would need no temporaries; `benchmarks/README.md` says what comes of it.
"""

import argparse
from collections.abc import Callable

import jax
import jax.numpy as jnp
import report
from jax import Array, lax
from problem import B1, B2, EPS, LEARNING_RATE, WEIGHT_DECAY

Arrays = tuple[Array, Array, Array]  # parameters, first and second moment


def rule(p: Array, m: Array, v: Array, g: Array, t: Array) -> Arrays:
    """One AdamW step of any array."""
    m = B1 * m + (1 - B1) * g
    v = B2 * v + (1 - B2) * jnp.square(g)
    u = m / (1 - B1**t) / (jnp.sqrt(v / (1 - B2**t)) + EPS) + WEIGHT_DECAY * p
    return p - LEARNING_RATE * u, m, v


def blocked(size: int) -> Callable[..., Arrays]:
    """The same, block after block."""

    def step(p: Array, m: Array, v: Array, g: Array, t: Array) -> Arrays:
        def body(i: Array, arrays: Arrays) -> Arrays:
            blocks = [lax.dynamic_slice(x, (i * size,), (size,)) for x in (*arrays, g)]
            new = rule(*blocks, t)
            return tuple(
                lax.dynamic_update_slice(x, y, (i * size,))
                for x, y in zip(arrays, new, strict=True)
            )

        return lax.fori_loop(0, p.size // size, body, (p, m, v))

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=47, help="of 2^20 numbers (default: 47)")
    options = parser.parse_args()
    x = jax.ShapeDtypeStruct((options.blocks << 20,), jnp.float32)
    t = jax.ShapeDtypeStruct((), jnp.float32)
    cells = []
    for name, step in (
        ("whole array", rule),
        *((f"blocks of 2^{log}", blocked(1 << log)) for log in (14, 16, 18, 20)),
    ):
        compiled = jax.jit(step, donate_argnums=(0, 1, 2)).lower(x, x, x, x, t).compile()
        temporary = compiled.memory_analysis().temp_size_in_bytes
        cells.append([name, f"{temporary / 1e6:.1f}", f"{temporary / (4 * x.size):.2f}"])
    header = ["AdamW", "temporary MB", "whole arrays"]
    report.show(report.Table(f"A loop over blocks, {x.size:,} parameters", header, cells, []))


if __name__ == "__main__":
    main()
