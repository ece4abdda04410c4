"""Milliseconds a training step takes, on one network and nothing else."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .candidate import Candidate
from .task import Task
from .train import one_step

_ROUNDS = 9
_SECONDS_A_ROUND = 0.02  # long beside the clock's resolution, short beside a machine's moods


def step_milliseconds(
    task: Task, candidates: Sequence[Candidate], *, batch_size: int
) -> list[float]:
    """The time of one jitted training step: gradient and update of a single network.

    The candidates take turns, so that what else the machine does meets all of them alike; each
    candidate's number is the median over its turns. A step is one call from Python on donated
    arguments, as in a usual training loop, and compilation is left out.

    Args:
      task: the task; the first `batch_size` training examples are the batch of every step.
      candidates: the optimizers; their grids play no part.
      batch_size: the number of examples in a batch.

    Returns:
      Milliseconds a step, one number a candidate.
    """
    batch = jax.tree.map(lambda x: jnp.asarray(x[:batch_size]), task.train)
    loops = [_Loop(task, candidate, batch) for candidate in candidates]
    turns = [[loop.seconds_a_step() for loop in loops] for _ in range(_ROUNDS)]
    return [float(ms) for ms in 1e3 * np.median(turns, axis=0)]


class _Loop:
    """A network in training, whose steps are timed."""

    def __init__(self, task: Task, candidate: Candidate, batch: Any) -> None:
        self.batch = batch
        self.step = jax.jit(one_step(task, candidate.transformation), donate_argnums=(0, 1))
        self.params = jax.jit(task.init)(jax.random.key(0))
        self.state = jax.jit(candidate.transformation.init)(self.params)
        self.steps = 1
        self.seconds_a_step()  # compiles
        self.steps = 5
        self.steps = max(1, round(_SECONDS_A_ROUND / self.seconds_a_step()))

    def seconds_a_step(self) -> float:
        start = time.perf_counter()
        for _ in range(self.steps):
            self.params, self.state, _ = self.step(self.params, self.state, self.batch)
        jax.block_until_ready((self.params, self.state))  # type: ignore[no-untyped-call]
        return (time.perf_counter() - start) / self.steps
