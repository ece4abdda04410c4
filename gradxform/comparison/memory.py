"""How many networks fit into memory at once."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_CGROUP = Path("/sys/fs/cgroup/memory.max")  # what a container may use


def default_memory_limit() -> int:
    """Bytes that a comparison may use: half of the machine's memory, or of what is left of a GPU.

    The same each time on one machine, so that the same networks are trained together: sums are
    rounded otherwise in another company.
    """
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0)) * 9 // 10
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if _CGROUP.is_file() and (text := _CGROUP.read_text().strip()).isdigit():
        sizes.append(int(text))
    return min(sizes) // 2


def bytes_of(tree: Any) -> int:
    """The bytes of a tree's arrays, which may be abstract."""
    return sum(_bytes(x) for x in jax.tree.leaves(tree))


def _bytes(x: Any) -> int:
    # A random key has no size of its own before it is made of numbers; it is some words.
    itemsize = getattr(np.dtype(x.dtype) if _is_plain(x.dtype) else None, "itemsize", 16)
    return int(np.prod(x.shape, dtype=np.int64)) * int(itemsize)


def _is_plain(dtype: Any) -> bool:
    return not jnp.issubdtype(dtype, jax.dtypes.extended)


def bytes_needed(compiled: Any) -> int:
    """What a compiled program takes while it runs: arguments, results and temporaries.

    As far as the compiler tells; 0 where it does not.
    """
    found = compiled.memory_analysis()
    if found is None:
        return 0
    return int(
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
        + found.temp_size_in_bytes
    )
