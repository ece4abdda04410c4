"""Milliseconds a training step takes, on one network and nothing else."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..training.train_state import TrainState
from ..training.train_step import make_train_step
from .candidate import Candidate
from .memory import bytes_of
from .model import Model

_ROUNDS = 9
_SECONDS_A_ROUND = 0.02  # long beside the clock's resolution, short beside a machine's moods


def step_milliseconds(
    model: Model,
    candidates: Sequence[Candidate],
    *,
    steps: int,
    batch_size: int,
    memory_limit: int,
) -> list[float]:
    """The time of one jitted training step: gradient and update of a single network.

    The candidates take turns, so that what else the machine does meets all of them alike; each
    candidate's number is the median over its turns. A step is one call from Python of what
    `make_train_step` makes, with its state donated, as in a usual training loop; compilation is
    left out.

    Args:
      model: the task's functions; the first `batch_size` training examples are every batch.
      candidates: the optimizers, each at the first setting of its grid.
      steps: of a whole training, for candidates that are functions of it.
      batch_size: the number of examples in a batch.
      memory_limit: bytes. As many take turns as fit into it together.

    Returns:
      Milliseconds a step, one number a candidate.
    """
    batch = jax.tree.map(lambda x: jnp.asarray(x[:batch_size]), model.task.train)
    found: list[float] = []
    for group in _groups(model, candidates, steps, memory_limit):
        loops = [_Loop(model, candidate, steps, batch) for candidate in group]
        turns = [[loop.seconds_a_step() for loop in loops] for _ in range(_ROUNDS)]
        found += [float(ms) for ms in 1e3 * np.median(turns, axis=0)]
    return found


def _groups(
    model: Model, candidates: Sequence[Candidate], steps: int, memory_limit: int
) -> Iterator[list[Candidate]]:
    """The candidates, as many together as have room for their networks and the gradients."""
    group: list[Candidate] = []
    taken = 0
    for candidate in candidates:
        state = jax.eval_shape(lambda c=candidate: _state(model, c, steps))
        needed = bytes_of((state, state.params))
        if group and taken + needed > memory_limit:
            yield group
            group, taken = [], 0
        group.append(candidate)
        taken += needed
    yield group


def _state(model: Model, candidate: Candidate, steps: int) -> TrainState:
    """A network and its optimizer before the first step."""
    key = jax.random.key(0)
    params, model_state = model.init(key)
    opt_state = candidate.start(candidate.settings[0], steps, params)
    return model.start(params, model_state, opt_state, jax.random.key(1))


class _Loop:
    """A network in training, whose steps are timed."""

    def __init__(self, model: Model, candidate: Candidate, steps: int, batch: Any) -> None:
        self.batch = batch
        transformation = candidate.built(candidate.settings[0], steps)
        self.step = make_train_step(model.task.loss, transformation)
        self.state = jax.jit(lambda: _state(model, candidate, steps))()
        self.steps = 1
        self.seconds_a_step()  # compiles
        self.steps = 5
        self.steps = max(1, round(_SECONDS_A_ROUND / self.seconds_a_step()))

    def seconds_a_step(self) -> float:
        """The time of the next steps, each by itself."""
        start = time.perf_counter()
        for _ in range(self.steps):
            self.state, _ = self.step(self.state, self.batch)
        jax.block_until_ready(self.state)  # type: ignore[no-untyped-call]
        return (time.perf_counter() - start) / self.steps
