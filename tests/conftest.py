"""What all tests share: JAX at its strictest, and eight CPU devices to shard over."""

from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def strict_dtypes() -> Iterator[None]:
    """No implicit promotion between dtypes: what the library promises its users at most."""
    with jax.numpy_dtype_promotion("strict"):
        yield
