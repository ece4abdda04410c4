"""Gradient noise: random steps that fade, to leave plateaus and sharp minima.

For each number, with gradient g_t at step t = 0, 1, ...:

    u_t = g_t + n_t,    n_t ~ N(0, σ_t²),    σ_t² = η / (1 + t)^γ

Reference: Neelakantan et al., 2015, equations 1 and 2, https://arxiv.org/abs/1511.06807
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..core import numerics, tree
from ..core.arguments import NonNegative, TracedWholeNumber
from ..core.factory import transformation
from ..core.numerics import Value
from ..core.random_keys import keys_like, own_seed
from ..core.types import InitUpdate, Params, State, Updates


class AddGradientNoiseState(NamedTuple):
    """Where the random numbers are: the noise is a function of these two and the array."""

    count: Array  # type: ignore[assignment]  # t: int32, steps taken so far
    seed: Array  # int32: mixed with the block's place; a batch gives a batch of runs under `vmap`


@transformation
def add_gradient_noise(
    eta: NonNegative = 0.01, gamma: NonNegative = 0.55, *, seed: TracedWholeNumber = 0
) -> InitUpdate:
    """Add normal noise whose variance falls with the steps: eta / (1 + t)^gamma.

    Each step, each array by its path and each block by its place (in a chain, in the groups of a
    `partition`) has numbers of its own, the same in every run with the same seed, on one device or
    many, and the same up to rounding in every dtype. In a comparison they differ between seeds.
    Optax's `chain` tells no block its place: there two of them need seeds of their own. Inside of
    `jax.shard_map` an array is the shard that a device sees, and all shards have the same numbers.
    Of a complex array the real and the imaginary parts
    share the variance.

    Args:
      eta: the variance of the first step's noise, in squared units of the gradient. The paper
        chooses from 0.01, 0.3 and 1.
      gamma: how fast the variance falls; 0 keeps it.
      seed: a whole number below 2^31 that fixes all the noise. It stands in the state.

    Returns:
      A transformation with state `AddGradientNoiseState`: two scalars.

    Raises:
      ValueError: a `seed` of 2^31 or more.
    """

    def init(params: Params) -> AddGradientNoiseState:
        del params
        return AddGradientNoiseState(jnp.zeros((), jnp.int32), own_seed(seed))

    def update(updates: Updates, state: AddGradientNoiseState) -> tuple[Updates, State]:
        count = numerics.increment(state.count)
        key = jax.random.fold_in(jax.random.key(state.seed), state.count)
        updates = tree.lift(
            _noise_rule,
            updates,
            along={"key": keys_like(key, updates)},
            sigma=_deviation(count, eta, gamma),
        )
        return updates, AddGradientNoiseState(count, state.seed)

    return init, update


def _deviation(count: Array, eta: Value, gamma: Value) -> Array:
    """σ_t, with count = 1 + t."""
    return jnp.sqrt(eta / count.astype(numerics.scalar_dtype()) ** gamma)


def _noise_rule(g: Array, *, key: Array, sigma: Array) -> Array:
    # Drawn in one dtype for all, so that the noise does not depend on the precision.
    if jnp.iscomplexobj(g):
        real, imag = jax.random.normal(key, (2, *g.shape), jnp.float32)
        return g + sigma / 2**0.5 * lax.complex(real, imag).astype(g.dtype)
    return g + sigma * jax.random.normal(key, g.shape, jnp.float32).astype(g.dtype)
