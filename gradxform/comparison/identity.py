"""Whether two comparisons would compute the same: hashes of data and of lowered programs.

A program is hashed as the StableHLO text that JAX hands to the compiler. So what a user's function
does counts, not its name or where it is defined, and what it closes over counts, too.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..training.train_state import TrainState
from .candidate import Candidate, Setting
from .model import Model
from .task import Task


def task_hash(task: Task, batch_size: int) -> str:
    """A hash of a task's data and of its three functions.

    Args:
      task: the task.
      batch_size: the number of examples in a batch, for which the functions are lowered.

    Returns:
      64 hexadecimal digits; the same in every process with the same versions and kind of device.
    """
    digest = hashlib.sha256()
    for data in (task.train, task.validation, task.test):
        leaves, structure = jax.tree.flatten(data)
        digest.update(str(structure).encode())
        for leaf in map(np.asarray, leaves):
            digest.update(f"{leaf.dtype.name}{leaf.shape}".encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())

    model = Model(task)

    def program(key: jax.Array, batch: Any, data: Any) -> Any:
        start = model.init(key)
        return start, model.loss(*start, batch, key), model.metric(*start, data)

    batch = _batch(task, batch_size)
    digest.update(_lowered(program, jax.random.key(0), batch, task.validation).encode())
    return digest.hexdigest()


def program_hash(task: Task, candidate: Candidate, *, steps: int, batch_size: int) -> str:
    """A hash of what one training step of a candidate computes, from the optimizer's `init` on.

    Args:
      task: what it is trained on.
      candidate: the optimizer; the names of its grid play a part, the values do not.
      steps: the number of training steps, for candidates that are functions of it.
      batch_size: the number of examples in a batch.

    Returns:
      64 hexadecimal digits, as `task_hash`.
    """
    model = Model(task)
    setting = candidate.settings[0]

    def program(key: jax.Array, batch: Any, setting: Setting) -> tuple[TrainState, jax.Array]:
        params, model_state = model.init(key)
        opt_state = candidate.start(setting, steps, params)
        state = model.start(params, model_state, opt_state, key)
        return model.step(candidate.built(setting, steps))(state, batch)

    text = _lowered(program, jax.random.key(0), _batch(task, batch_size), setting)
    return hashlib.sha256(text.encode()).hexdigest()


def _batch(task: Task, batch_size: int) -> Any:
    struct: Any = jax.ShapeDtypeStruct

    def one(leaf: Any) -> Any:
        return struct((batch_size, *np.shape(leaf)[1:]), leaf.dtype)

    return jax.tree.map(one, task.train)


def _lowered(program: Callable[..., Any], *args: Any) -> str:
    return jax.jit(program).lower(*args).as_text()
