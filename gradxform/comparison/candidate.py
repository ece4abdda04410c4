"""What is compared: an optimizer and the values to try for its tunable hyperparameters."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np
import optax

from ..core import check
from ..core.reading import set_hyperparams
from .task import Task

Setting = dict[str, float]  # a value for each name in a grid

_NUMBER = check.Interval()


@dataclass(frozen=True)
class Candidate:
    """An optimizer with a grid of settings.

        Candidate("adam", adam(tunable(1e-3)), {"learning_rate": [1e-3, 3e-3, 1e-2]})

    Attributes:
      name: what tables and files call it.
      transformation: the optimizer, Optax's too. What the grid varies is `tunable` in it.
      grid: values to try by the name of a tunable, as `hyperparams(state)` names it; kept in
        ascending order, each once. Several names are tried in all combinations; an empty grid
        has one setting, the optimizer as it is.

    Raises:
      TypeError, ValueError: the transformation is none, or a grid is empty or holds no numbers.
    """

    name: str
    transformation: optax.GradientTransformation
    grid: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.transformation, optax.GradientTransformation):
            raise TypeError(
                f"`Candidate({self.name!r})`: `transformation` must be a gradient transformation; "
                f"got {check.brief(self.transformation)}."
            )
        for name, values in self.grid.items():
            if np.ndim(values) != 1 or not len(values):
                check.fail("Candidate", "grid", self.grid, f"a list of numbers for `{name}`")
        numbers = {
            name: tuple(sorted({_NUMBER("Candidate", f"grid[{name!r}]", v) for v in values}))
            for name, values in self.grid.items()
        }
        object.__setattr__(self, "grid", numbers)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Every combination of the grid's values, the last name varying fastest."""
        combinations = itertools.product(*self.grid.values())
        return tuple(dict(zip(self.grid, values, strict=True)) for values in combinations)


def require_tunables(candidate: Candidate, task: Task) -> None:
    """Refuse a grid that names what the optimizer's state does not hold, before any training.

    Args:
      candidate: the candidate; its `init` is traced with abstract parameters.
      task: the task that it is to train on.

    Raises:
      KeyError, TypeError: a name is unknown or is not tunable.
    """
    setting = candidate.settings[0]

    def start(key: jax.Array) -> object:
        return set_hyperparams(candidate.transformation.init(task.init(key)), **setting)

    try:
        jax.eval_shape(start, jax.random.key(0))
    except (KeyError, TypeError) as error:
        names = ", ".join(f"`{name}`" for name in setting)
        text = f"`Candidate({candidate.name!r})`: its grid varies {names}: {error.args[0]}"
        raise type(error)(text) from None
