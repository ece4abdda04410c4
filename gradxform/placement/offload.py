"""The state in the host's memory: room on the device for the price of moving it twice a step.

Adam's moments are 8 bytes a parameter that nothing reads between two updates. Pinned host memory
is memory that the device can read by itself, over its link to the host; a step then takes at least

    2 * bytes of the state / bandwidth of that link

longer, as far as XLA does not move the arrays while it computes something else.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..core import check, tree
from ..core.arguments import Transformation
from ..core.factory import transformation
from ..core.types import InitUpdate, Params, State, Updates, declares, update_wide


@transformation
@declares(elsewhere="its state lies in the host's memory between steps")
def offload_to_host(inner: Transformation) -> InitUpdate:
    """Keep the state in pinned host memory between steps, and bring it to the device for each.

        tx = offload_to_host(chain(clip_by_global_norm(1.0), adamw(3e-4)))

    The state is that of `inner`, array by array with the same shardings, so that a checkpoint of
    the one is a checkpoint of the other. Numbers (counters, hyperparameters) stay on the device.
    It goes around the whole optimizer: what is outside of it must not compute with its state, as
    wrappers do that go back to the state of before, such as `skip_nonfinite` or `accumulate`. They
    go inside, and refuse to be outside. Donate the state in a jitted step, as ever, or two states
    are in memory. JAX cannot differentiate a training backwards through arrays in the host's
    memory.

    Args:
      inner: the whole optimizer.

    Returns:
      A transformation with the state of `inner`.

    Raises:
      ValueError: by `init` and `update`: the devices have no pinned host memory. CPU, GPU and TPU
        have it; on a CPU it is ordinary memory and nothing is gained.
    """

    def init(params: Params) -> State:
        _require_pinned_memory()
        return _moved(inner.init(params), jax.memory.Space.Host)

    def update(
        updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        _require_pinned_memory()
        here = _moved(state, jax.memory.Space.Device)
        updates, after = update_wide(inner, updates, here, params, **extra)
        return updates, _moved(after, jax.memory.Space.Host)

    return init, update


def _moved(state: State, space: Any) -> State:
    def one(x: Array) -> Array:
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.extended)
        return x if x.ndim == 0 or is_key else jax.device_put(x, space)

    return jax.tree.map(one, tree.as_arrays(state))


def _require_pinned_memory() -> None:
    device = jax.local_devices()[0]
    kinds = sorted(memory.kind for memory in device.addressable_memories())
    check.require(
        "pinned_host" in kinds,
        f"the device {device} has no pinned host memory; it has {', '.join(kinds)}. Leave "
        "`offload_to_host` out, or save memory on the device: `state_sharding(..., zero_axis=)`, "
        "`state_dtype='bfloat16'`, `adafactor`.",
    )
