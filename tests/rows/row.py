"""What a row of the catalog says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

import gradxform as gx


@dataclass(frozen=True)
class Row:
    """A transformation, and its traits.

    Attributes:
      name: the public name of the factory.
      arguments: each hyperparameter away from its default; `build()` calls the factory with them.
      kind: "block", "optimizer" or "wrapper".
      formula: one line for the README.
      paper: a link for the README.
      positional: arguments that only a position can pass.
      reads_params: whether `update` needs the parameters.
      extra: what else `update` needs, by name.
      degree: n where scaling every gradient by c > 0 scales the update by c^n; None where no such
        law holds. It is tested with `plain`.
      plain: changes to `arguments` under which `degree` and `odd` hold exactly.
      odd: whether the opposite gradients give the opposite update.
      leaf_local: whether a leaf's update depends on that leaf alone.
      coordinate_local: whether a coordinate's update depends on that coordinate alone, as far as
        the leaf goes.
      random: whether the update holds random numbers, which depend on a leaf's path in the tree.
      complex: whether complex parameters have a meaning.
      state_bytes: bytes of state per float32 parameter of a large array.
      like_params: whether every buffer of the state has the shape of its parameter.
      in_vectors: whether the arrays of the parameters stand in vectors, so that no buffer is a tree
        like the parameters.
      narrow_state: whether `state_dtype` is an argument.
      rounds_params: whether it rounds parameters to their own dtype inside, because it averages
        what they become or takes a gradient at a point near by.
      wide_updates: whether the updates of 16-bit parameters stay in float32.
      on_host: whether arrays of the state are in the host's memory, where JAX cannot differentiate
        backwards through them.
      copies: how many of the buffers are copies of the parameters, in the parameters' own dtype.
      read_twice: whether an old buffer is read by two loops of the compiled update, of which one
        overwrites it, and nothing that is computed tells XLA which comes first
        (`test_compiled_updates.py`).
      written_out: how many arrays XLA writes besides the results, because two loops share what it
        takes more reading to compute twice.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    kind: str = "block"
    formula: str = ""
    paper: str = ""
    positional: tuple[Any, ...] = ()
    reads_params: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    degree: float | None = None
    plain: dict[str, Any] = field(default_factory=dict)
    odd: bool = True
    leaf_local: bool = True
    coordinate_local: bool = True
    random: bool = False
    complex: bool = True
    state_bytes: float = 0.0
    like_params: bool = True
    in_vectors: bool = False
    narrow_state: bool = False
    rounds_params: bool = False
    wide_updates: bool = False
    on_host: bool = False
    copies: int = 0
    read_twice: bool = False
    written_out: int = 0
    variant: str = ""

    @property
    def factory(self) -> Callable[..., gx.GradientTransformation]:
        return getattr(gx, self.name)

    def build(self, **changes: Any) -> gx.GradientTransformation:
        return self.factory(*self.positional, **{**self.arguments, **changes})

    def __str__(self) -> str:
        return f"{self.name}-{self.variant}" if self.variant else self.name


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule, and its traits.

    Attributes:
      name: the public name of the factory.
      arguments: a call away from the defaults.
      formula: one line for the README.
      paper: a link for the README.
      edges: the steps at which the form changes.
      jumps: the steps at which the value does.
      end: the step from which the value stays as it is; None where it never does.
    """

    name: str
    arguments: dict[str, Any]
    formula: str
    paper: str = ""
    edges: tuple[int, ...] = ()
    jumps: tuple[int, ...] = ()
    end: int | None = None
    variant: str = ""

    def build(self, **changes: Any) -> Any:
        return getattr(gx, self.name)(**{**self.arguments, **changes})

    def __str__(self) -> str:
        return f"{self.name}-{self.variant}" if self.variant else self.name


def is_kernel(params: Any) -> Any:
    """A mask: True for the leaves with at least two axes."""
    return jax.tree.map(lambda p: np.ndim(p) > 1, params)


def is_vector(params: Any) -> Any:
    """The other leaves."""
    return jax.tree.map(lambda p: np.ndim(p) <= 1, params)


def two_layers_below(path: str) -> int:
    """A depth that does not depend on the containers."""
    return 2
