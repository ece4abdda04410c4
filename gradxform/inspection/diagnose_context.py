"""What the rules of a diagnosis look at: the blocks on each parameter's way, and their numbers."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import check, tree
from ..core.hyperparams import Feedback, Tunable
from ..core.public import factory_name
from ..core.random_keys import seeds_drawn
from ..core.recipe import render
from ..core.selector import paths
from ..core.types import Params
from .block_kinds import DECAYS
from .schedule_lengths import Lengths, lengths_of
from .walk import Visit, factory_of, selected, walk

_POINTS = 1024  # at which a schedule is read
_FAR = 100_000  # steps: as far as a schedule without a known end is read


@dataclass(frozen=True, eq=False)
class Block:
    """A transformation without others inside, where it stands.

    Attributes:
      tx: the transformation.
      name: the name of its factory; "" where it is none of this library's.
      arguments: the arguments of the call that built it.
      around: the wrappers it is in, the outermost first.
      group: the names of the groups it is in, with slashes between.
      paths: the parameters that it applies to, its own mask considered.
      frozen: whether it keeps them as they are.
    """

    tx: optax.GradientTransformation
    name: str
    arguments: Mapping[str, Any]
    around: tuple[optax.GradientTransformation, ...]
    group: str
    paths: tuple[str, ...]
    frozen: bool = False

    def __str__(self) -> str:
        place = f" of group {self.group!r}" if self.group else ""
        return f"`{call_text(self.tx)}`{place}"

    def inside(self, name: str) -> bool:
        """Whether it is in a wrapper of that name."""
        return any(name_of(wrapper) == name for wrapper in self.around)

    @property
    def adds_parameters(self) -> bool:
        """Whether it is weight decay, or L2."""
        return self.name in DECAYS or self.name == "add_l2_regularization"


class Route(NamedTuple):
    """The blocks that some parameters pass, in order."""

    blocks: tuple[Block, ...]
    leaves: dict[str, Any]  # path -> parameter

    @property
    def known(self) -> bool:
        """Whether each block is one whose meaning is known."""
        return all(block.name for block in self.blocks)

    @property
    def frozen(self) -> bool:
        """Whether these parameters stay as they are."""
        return any(block.frozen for block in self.blocks)

    def first(self, names: frozenset[str]) -> int | None:
        """The position of the first block with one of these names."""
        return next((i for i, block in enumerate(self.blocks) if block.name in names), None)

    def has(self, *names: str) -> bool:
        """Whether one of its blocks has one of these names."""
        return self.first(frozenset(names)) is not None


class Curve(NamedTuple):
    """A hyperparameter over a run."""

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Context:
    """What a rule is given.

    Attributes:
      tx: the transformation.
      params: the parameters or their shapes.
      total_steps: calls of `update` in the run; None where it was not said, as the rest.
      batch_size: examples of one call of `update`.
      examples: examples to train on.
      model: the kind of model.
      memory_budget: bytes that the state may take.
    """

    tx: optax.GradientTransformation
    params: Params
    total_steps: int | None = None
    batch_size: int | None = None
    examples: int | None = None
    model: str | None = None
    memory_budget: int | None = None

    @functools.cached_property
    def leaves(self) -> dict[str, Any]:
        """The parameters by path."""
        return dict(paths(self.params))

    @functools.cached_property
    def refusal(self) -> str:
        """Why the transformation refuses these parameters; "" where it takes them."""
        try:
            tree.require_arrays("diagnose(tx, params)", self.params)
            list(self._visited())
            self.state_bytes  # noqa: B018
        except (TypeError, ValueError) as error:
            return str(error)
        return ""

    @functools.cached_property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, in the order of the chain."""
        return () if self.refusal else tuple(self._visited())

    @functools.cached_property
    def routes(self) -> tuple[Route, ...]:
        """The different ways that parameters take through the blocks."""
        ways: dict[tuple[int, ...], dict[str, Any]] = {}
        passed: dict[str, list[int]] = {path: [] for path in self.leaves}
        for index, block in enumerate(self.blocks):
            for path in block.paths:
                passed[path].append(index)
        for path, way in () if self.refusal else passed.items():
            ways.setdefault(tuple(way), {})[path] = self.leaves[path]
        return tuple(
            Route(tuple(self.blocks[i] for i in way), leaves) for way, leaves in ways.items()
        )

    @functools.cached_property
    def size(self) -> int:
        """How many numbers the parameters are."""
        return sum(int(np.size(leaf)) for leaf in self.leaves.values())

    @functools.cached_property
    def seeds(self) -> tuple[int, int]:
        """How many blocks of this library draw random numbers, and from how many seeds."""
        if self.refusal:
            return 0, 0

        def traced(params: Params) -> Any:  # by a function that JAX has not traced before
            return self.tx.init(params)

        with seeds_drawn() as found:
            state = jax.eval_shape(traced, self.params)
        if not all(isinstance(seed, int) for seed, _ in found):
            return 0, 0
        names = [keystr(path[-1:], simple=True) for path, _ in tree_flatten_with_path(state)[0]]
        return names.count("seed"), len({*found})

    @functools.cached_property
    def state_bytes(self) -> int:
        """Bytes of the whole state."""
        state = jax.eval_shape(self.tx.init, self.params)
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree.unboxed(state)))

    def calls_a_step(self, block: Block) -> int | None:
        """How many calls of `update` make a step of a block; None where that is not known."""
        calls: int | None = 1
        for wrapper in block.around:
            if name_of(wrapper) == "accumulate" and calls is not None:
                every = wrapper.recipe.arguments["every"]
                calls = calls * every if isinstance(every, int) else None
        return calls

    def steps_of(self, block: Block) -> int | None:
        """How many steps of the run a block sees: fewer where gradients are accumulated."""
        calls = self.calls_a_step(block)
        if self.total_steps is None or calls is None:
            return None
        return max(self.total_steps // calls, 1)

    def curve(self, value: Any, block: Block) -> Curve | None:
        """A hyperparameter of a block over the run; None where it is not known beforehand.

        Without a length of the run, up to its end or far.
        """
        steps = self.steps_of(block) or self.lengths(value).end or _FAR
        key = (id(value), steps)
        if key not in self._curves:
            # The value is kept beside its curve, so that its id stays its own.
            self._curves[key] = (value, curve_of(value, steps))
        return self._curves[key][1]

    def rate(self, route: Route) -> Curve | None:
        """What multiplies the updates of a route over the run; None where it is not known."""
        found: Curve | None = None
        has_rate = False
        for block in route.blocks:
            if block.name not in ("scale_by_learning_rate", "scale"):
                continue
            name = "factor" if block.name == "scale" else "learning_rate"
            value = block.arguments[name]
            if value is None:
                return None  # the learning rate is another block's own
            has_rate |= block.name == "scale_by_learning_rate"
            curve = self.curve(value, block)
            if curve is None or (found and len(found.steps) != len(curve.steps)):
                return None
            values = np.abs(curve.values) * (1.0 if found is None else found.values)
            found = Curve(curve.steps, values)
        return found if has_rate else None

    def rates(self) -> Iterator[tuple[Block, Any, Lengths]]:
        """Each learning rate: the block that has it, its value, and its lengths."""
        for block in self.blocks:
            value = block.arguments.get("learning_rate")
            if value is not None:
                yield block, value, self.lengths(value)

    def lengths(self, value: Any) -> Lengths:
        """The lengths of a hyperparameter, looked for once: a function is compiled for them."""
        if id(value) not in self._lengths:
            self._lengths[id(value)] = (value, lengths_of(value))
        return self._lengths[id(value)][1]

    def decays(self) -> Iterator[tuple[Block, str, float]]:
        """Each decay or L2 that is not 0: its block, the name of the argument, its largest value.

        A value that is not known beforehand is NaN.
        """
        for block in filter(lambda block: block.name, self.blocks):
            for name in ("weight_decay", "l2"):
                value = block.arguments.get(name)
                if value is not None:
                    curve = self.curve(value, block)
                    largest = np.nan if curve is None else float(np.max(curve.values))
                    if largest != 0.0:
                        yield block, name, largest

    @functools.cached_property
    def _lengths(self) -> dict[int, tuple[Any, Lengths]]:
        return {}

    @functools.cached_property
    def _curves(self) -> dict[tuple[int, int], tuple[Any, Curve | None]]:
        return {}

    def _visited(self) -> Iterator[Block]:
        with check.calling("diagnose"):
            for visit in walk(self.tx, self.params):
                block = _block(visit)
                if block.name != "identity" and block.paths:
                    yield block


def curve_of(value: Any, steps: int) -> Curve | None:
    """A hyperparameter at steps 0 to `steps` - 1, at some of them if there are many."""
    at = np.unique(np.r_[: min(steps, 32), np.linspace(0, steps - 1, _POINTS).astype(int)])
    if isinstance(value, Tunable) or check.is_traced(value):
        return None
    if isinstance(value, Feedback):
        memory, feedback = value.init(), value
        value = lambda step: feedback.value(memory, step)  # noqa: E731
    try:
        if not callable(value):
            return Curve(at, np.full(at.shape, float(value)))
        # Always as many steps, so that little is compiled.
        padded = np.pad(at.astype(np.int32), (0, _POINTS + 32 - len(at)), mode="edge")
        values = np.asarray(jax.vmap(value)(jnp.asarray(padded)), np.float64)[: len(at)]
    except Exception:
        return None  # a function of the step that cannot be read like this, whatever it raises
    return Curve(at, values) if values.shape == at.shape else None


def name_of(tx: Any) -> str:
    """The name of the factory of this library that built a transformation; else ""."""
    return factory_name(factory_of(tx))


def call_text(tx: Any, most: int = 70) -> str:
    """A call in a line, shortened if it is long."""
    text = " ".join(render(tx).split()).replace("( ", "(").replace(", )", ")")
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _block(visit: Visit) -> Block:
    name = name_of(visit.tx)
    if name == "chain" or name == "named_chain":
        name = "identity"  # an empty one
    masked_itself = name in DECAYS | {"add_l2_regularization", "adaptive_gradient_clip", "freeze"}
    chosen = (
        selected("diagnose", visit) if masked_itself else [path for path, _ in paths(visit.params)]
    )
    arguments = visit.tx.recipe.arguments if factory_of(visit.tx) is not None else {}
    return Block(visit.tx, name, arguments, visit.around, visit.group, tuple(chosen), visit.frozen)
