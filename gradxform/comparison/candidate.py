"""What is compared: an optimizer and the values to try for its hyperparameters."""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import jax
import numpy as np
import optax

from ..core import check
from ..core.reading import set_hyperparams
from ..core.types import Params, State
from .model import Model
from .ranges import Range

Setting = dict[str, float]  # a value for each name in a grid
Factory = Callable[..., optax.GradientTransformation]
Optimizer: TypeAlias = optax.GradientTransformation | Factory

_NUMBER = check.Interval()


@dataclass(frozen=True)
class Candidate:
    """An optimizer with a grid of settings.

        Candidate("adam", adam(tunable(1e-3)), {"learning_rate": [1e-3, 3e-3, 1e-2]})
        Candidate("adamw", adamw, {"learning_rate": [1e-3, 1e-2], "weight_decay": [0.01, 0.1]})

    Attributes:
      name: what tables and files call it.
      transformation: the optimizer, Optax's too, in which what the grid varies is `tunable`; or a
        function of the grid's names that returns one. The function is traced with all values of
        the grid at once, so what it varies are numbers, not shapes of the program. If it has an
        argument `steps`, it is given the number of training steps, for its schedules.
      grid: values to try by name: of a tunable, as `hyperparams(state)` names it, or of an
        argument of the function. They are kept in ascending order, each once. Several names are
        tried in all combinations; an empty grid has one setting, the optimizer as it is. A
        `Range` in the place of values is for `tune`.

    Raises:
      TypeError, ValueError: the transformation is none, or a grid is empty or holds no numbers.
    """

    name: str
    transformation: Optimizer
    grid: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.transformation, optax.GradientTransformation):
            if not callable(self.transformation):
                raise TypeError(
                    f"`Candidate({self.name!r})`: `transformation` must be a gradient "
                    "transformation, or a function of the grid's names that returns one; got "
                    f"{check.brief(self.transformation)}."
                )
            self._require_arguments()
        object.__setattr__(self, "grid", {name: self._values(name) for name in self.grid})

    def _values(self, name: str) -> tuple[float, ...] | Range:
        values = self.grid[name]
        if isinstance(values, Range):
            return values
        if np.ndim(values) != 1 or not len(values):
            check.fail("Candidate", "grid", self.grid, f"a list of numbers for `{name}`")
        return tuple(sorted({_NUMBER("Candidate", f"grid[{name!r}]", v) for v in values}))

    def _require_arguments(self) -> None:
        """Refuse a grid that varies what the function does not take."""
        parameters = inspect.signature(self.transformation).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        for name in self.grid:
            if name not in parameters:
                raise TypeError(
                    f"`Candidate({self.name!r})`: its grid varies `{name}`, which its function "
                    f"does not take.{check.nearest(name, parameters)}"
                )

    def require_complete(self) -> None:
        """Refuse a function that needs more than the grid gives."""
        if isinstance(self.transformation, optax.GradientTransformation):
            return
        needed = {
            name
            for name, p in inspect.signature(self.transformation).parameters.items()
            if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }
        missing = sorted(needed - {*self.grid, "steps"})
        if missing:
            raise TypeError(
                f"`Candidate({self.name!r})`: its function needs {_listed(missing)}, which the "
                "grid does not give. Add values for it, or pass the transformation that the "
                "function makes."
            )

    @property
    def is_function(self) -> bool:
        """Whether `transformation` is a function that makes the optimizer of each setting."""
        return not isinstance(self.transformation, optax.GradientTransformation)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Every combination of the grid's values, the last name varying fastest.

        Raises:
          ValueError: a range among the values, which `tune` searches.
        """
        for name, values in self.grid.items():
            if isinstance(values, Range):
                raise ValueError(
                    f"`Candidate({self.name!r})`: its grid has a range for `{name}`, "
                    f"{values}, which only `tune` searches. List the values to try."
                )
        combinations = itertools.product(*self.grid.values())
        return tuple(dict(zip(self.grid, values, strict=True)) for values in combinations)

    def built(self, setting: Mapping[str, Any], steps: int) -> optax.GradientTransformation:
        """The optimizer that trains at a setting.

        Args:
          setting: values by name, traced ones too. Where the candidate has a transformation, they
            go into its state (`start`), and this is the transformation as it is.
          steps: the number of training steps, for a function that has an argument of that name.

        Raises:
          TypeError: the function returned no transformation.
        """
        if isinstance(self.transformation, optax.GradientTransformation):
            return self.transformation
        arguments = dict(setting)
        if "steps" in inspect.signature(self.transformation).parameters:
            arguments.setdefault("steps", steps)
        made = self.transformation(**arguments)
        if not isinstance(made, optax.GradientTransformation):
            raise TypeError(
                f"`Candidate({self.name!r})`: its function must return a gradient transformation; "
                f"got {check.brief(made)}."
            )
        return made

    def start(self, setting: Mapping[str, Any], steps: int, params: Params) -> State:
        """The optimizer's state before the first step at a setting."""
        state = self.built(setting, steps).init(params)
        return state if self.is_function else set_hyperparams(state, **setting)


def as_candidates(candidates: Any, call: str = "compare") -> tuple[Candidate, ...]:
    """What `compare` or `tune` is given, as candidates.

    Args:
      candidates: a sequence or one of `Candidate`s and transformations, or a dict of
        transformations, functions or candidates by name. A transformation of this library is
        called what its `repr` says.
      call: the function that was called, for its errors.

    Raises:
      TypeError: something is none of these, or a transformation of Optax has no name.
      ValueError: there is none, or two have one name.
    """
    if isinstance(candidates, Candidate | optax.GradientTransformation):
        candidates = [candidates]  # a transformation is a tuple, too
    if isinstance(candidates, Mapping):
        found = tuple(_named(str(name), value) for name, value in candidates.items())
    elif isinstance(candidates, Sequence) and not isinstance(candidates, str):
        found = tuple(_unnamed(value, call) for value in candidates)
    else:
        raise TypeError(
            f"`{call}(candidates=...)`: `candidates` must be a list of `Candidate`s or "
            f"transformations, or a dict of them by name; got {check.brief(candidates)}."
        )
    names = [candidate.name for candidate in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        wrong = f"{', '.join(twice)} more than once" if twice else "none"
        raise ValueError(
            f"`{call}(candidates=...)`: `candidates` must be one or more, each with a name of its "
            f"own; got {wrong}."
        )
    return found


def _named(name: str, value: Any) -> Candidate:
    return replace(value, name=name) if isinstance(value, Candidate) else Candidate(name, value)


def _unnamed(value: Any, call: str) -> Candidate:
    if isinstance(value, Candidate):
        return value
    if not isinstance(value, optax.GradientTransformation):
        raise TypeError(
            f"`{call}(candidates=...)`: each of `candidates` must be a `Candidate` or a gradient "
            f"transformation; got {check.brief(value)}."
        )
    if not hasattr(value, "recipe"):
        raise TypeError(
            f"`{call}(candidates=...)`: a transformation of another library does not know what it "
            'is called; pass a dict, such as {"its name": transformation}.'
        )
    return Candidate(repr(value), value)


def require_tunables(candidate: Candidate, model: Model, steps: int) -> None:
    """Refuse a grid that names what the optimizer does not have, before any training.

    Args:
      candidate: the candidate; its `init` is traced with abstract parameters.
      model: what it is to train.
      steps: the number of training steps.

    Raises:
      KeyError, TypeError, ValueError: a name is unknown or is not tunable, or a value is refused
        by the function that it goes to.
    """
    candidate.require_complete()
    settings = candidate.settings

    def start(key: jax.Array, setting: Setting) -> object:
        return candidate.start(setting, steps, model.init(key)[0])

    try:
        for setting in settings if candidate.is_function else ():
            candidate.built(setting, steps)  # untraced, so that each value is looked at
        jax.eval_shape(start, jax.random.key(0), settings[0])
    except (KeyError, TypeError, ValueError) as error:
        if not candidate.grid or f"Candidate({candidate.name!r})" in str(error):
            raise
        names = _listed(candidate.grid)
        text = f"`Candidate({candidate.name!r})`: its grid varies {names}: {error.args[0]}"
        raise type(error)(text) from None


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)
