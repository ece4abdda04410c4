"""What the device's memory gives to loops that do nothing else."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

# name: (loop, how many arrays it reads and writes)
LOOPS: dict[str, tuple[Callable[..., jax.Array], int]] = {
    "scale": (lambda a, b, c: 0.5 * a, 2),  # in place: writes what it read
    "copy": (lambda a, b, c: -b, 2),  # from one array to another
    "triad": (lambda a, b, c: b + 0.5 * c, 3),  # from two arrays to another
}


def bandwidth(size: int, steps: int) -> dict[str, float]:
    """Bytes a second of each loop on arrays of `size` float32, over `steps` runs of it."""
    rates = {}
    b, c = jnp.ones(size), jnp.ones(size)
    for name, (loop, streams) in LOOPS.items():
        jitted = jax.jit(loop, donate_argnums=0, keep_unused=True)
        a = jitted(jitted(jnp.ones(size), b, c), b, c).block_until_ready()
        start = time.perf_counter()
        for _ in range(steps):
            a = jitted(a, b, c)
        a.block_until_ready()
        rates[name] = streams * 4 * size * steps / (time.perf_counter() - start)
    return rates
