"""Training every setting and seed of a candidate, in groups that fit into memory."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..core.words import bytes_text
from .candidate import Candidate
from .memory import bytes_needed, bytes_of
from .program import Compiled, Program, columns
from .task import Data


class Runs(NamedTuple):
    """What the runs of one candidate left, as NumPy arrays."""

    validation: np.ndarray  # [setting, seed, evaluation]: the metric
    train_loss: np.ndarray  # [setting, seed, evaluation]: at first over the whole training set,
    # then the mean of the batches since the evaluation before
    final_loss: np.ndarray  # [setting, seed]: over the whole training set
    test: np.ndarray  # [setting, seed]: the metric after the last step


def trained(
    program: Program,
    candidate: Candidate,
    *,
    memory_limit: int,
    on_evaluation: Callable[[], None] = lambda: None,
) -> Runs:
    """Train every setting and seed of a candidate.

    Args:
      program: what the candidates share.
      candidate: the optimizer and its grid.
      memory_limit: bytes. Where the networks of all settings and seeds take more at once, they are
        trained in groups of about one size, as few as will do.
      on_evaluation: called after each part of the training, when its numbers are there; as often
        as there are evaluations after the first, however many groups there are.

    Returns:
      The arrays of all runs; one that diverged is among them, as it was measured.

    Raises:
      ValueError: a single network does not fit into the memory limit.
    """
    settings, seeds = len(candidate.settings), len(program.init_keys)
    compiled = _fitting(program, candidate, seeds, settings, memory_limit)
    groups = [
        (slice(i, i + compiled.seeds), slice(j, j + compiled.settings))
        for i in range(0, seeds, compiled.seeds)
        for j in range(0, settings, compiled.settings)
    ]
    done = 0

    def on_part() -> None:
        nonlocal done
        done += 1
        if done % len(groups) == 0:
            on_evaluation()

    table = columns(candidate)
    found: list[Runs] = []
    for of_seeds, of_settings in groups:
        # A last group that is smaller is filled up instead of a second program.
        init_keys = _filled(program.init_keys[of_seeds], compiled.seeds)
        order_keys = _filled(program.order_keys[of_seeds], compiled.seeds)
        values = {name: _filled(x[of_settings], compiled.settings) for name, x in table.items()}
        found.append(
            _trained_group(program, compiled, candidate, init_keys, order_keys, values, on_part)
        )
    shape = (settings, seeds)
    return Runs(*(_whole(parts, groups, shape) for parts in zip(*found, strict=True)))


def _trained_group(
    program: Program,
    compiled: Compiled,
    candidate: Candidate,
    init_keys: jax.Array,
    order_keys: jax.Array,
    values: dict[str, jax.Array],
    on_part: Callable[[], None],
) -> Runs:
    """Train as many seeds and settings as the programs are compiled for."""
    state = program.begin(candidate, init_keys, order_keys, values, compiled.settings)

    def judged(function: Any, data: Data) -> jax.Array:
        return function(state.params, state.model_state, data)

    validation = [judged(compiled.metric, program.validation)]
    losses = [judged(compiled.training_loss, program.train)]
    none = jnp.zeros_like(losses[0])
    every = program.evaluate_every
    for first in range(0, program.steps, every):
        length = min(every, program.steps - first)
        order = program.batch_order(order_keys, first)
        state, loss = compiled.advance(
            state, none, values, program.train, order, jnp.asarray(length, jnp.int32)
        )
        losses.append(loss / length)
        validation.append(judged(compiled.metric, program.validation).block_until_ready())
        on_part()
    return Runs(
        validation=_by_setting(jnp.stack(validation, axis=-1)),
        train_loss=_by_setting(jnp.stack(losses, axis=-1)),
        final_loss=_by_setting(judged(compiled.training_loss, program.train)),
        test=_by_setting(judged(compiled.test_metric, program.test)),
    )


def _fitting(
    program: Program, candidate: Candidate, seeds: int, settings: int, limit: int
) -> Compiled:
    """What is compiled for the largest groups that fit into memory, by the compiler's account."""
    data = bytes_of((program.train, program.validation, program.test))
    one = bytes_of(program.abstract(candidate, 1, 1)[0])  # a network with its optimizer
    networks, needed = seeds * settings, data + one
    if data + networks * one > limit:  # not worth compiling
        networks = (limit - data) // one
    while networks >= 1:
        size = _group_size(networks, seeds, settings)
        compiled = program.compiled(candidate, *size)
        needed = data + max(
            bytes_needed(function) - bytes_of(split)
            for function, split in (
                (compiled.advance, program.train),
                (compiled.training_loss, program.train),
                (compiled.metric, program.validation),
                (compiled.test_metric, program.test),
            )
        )
        if needed <= limit:
            return compiled
        count = size[0] * size[1]
        fitting = count * (limit - data) // max(needed - data, 1)
        networks = min(count - 1, max(fitting, 1))
    raise ValueError(
        f"`memory_limit={limit}`: one network of `{candidate.name}` with its data needs "
        f"{bytes_text(needed)}, and the limit is {bytes_text(limit)}. Raise the limit, or make the "
        "batch smaller."
    )


def _group_size(networks: int, seeds: int, settings: int) -> tuple[int, int]:
    """Seeds and settings of groups of at most so many networks, of about one size."""
    if networks >= settings:
        count = -(-seeds // min(networks // settings, seeds))
        return -(-seeds // count), settings
    return 1, -(-settings // -(-settings // networks))


def _filled(values: jax.Array, count: int) -> jax.Array:
    """`values` up to a length, by repeating the last."""
    return values[np.minimum(np.arange(count), len(values) - 1)]


def _whole(
    parts: Sequence[np.ndarray], groups: Sequence[tuple[slice, slice]], shape: tuple[int, int]
) -> np.ndarray:
    """Groups put together, without what filled them: [setting, seed, ...]."""
    whole = np.empty((*shape, *parts[0].shape[2:]), parts[0].dtype)
    for part, (seeds, settings) in zip(parts, groups, strict=True):
        there = whole[settings, seeds]
        there[...] = part[: there.shape[0], : there.shape[1]]
    return whole


def _by_setting(values: jax.Array) -> np.ndarray:
    """[seed, setting, ...] -> [setting, seed, ...]"""
    return np.swapaxes(np.asarray(values), 0, 1)
