"""The type of everything that transforms gradients, and the names of what flows through it.

`Params` is a tree of parameters; `Updates` a tree of gradients, or of what became of them, with the
structure and the shapes of the parameters'; `State` a tree of arrays in NamedTuples.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import jax
import optax

from . import check, meant, mesh, position, tree
from .display import Displayed
from .recipe import Recipe, rebuild, render

Params = Any  # a tree of parameters
Updates = Any  # a tree of gradients, or of what became of them, with the parameters' structure
State = Any  # a tree of arrays in module-level NamedTuples


# What the body of a factory returns: `init` and `update`, see `core.factory.transformation`.
InitUpdate = tuple[Callable[[Params], State], Callable[..., tuple[Updates, State]]]

Factory = TypeVar("Factory", bound=Callable[..., Any])


class Schedule(Protocol):
    """A function of the step, counted from 0."""

    def __call__(self, step: Any, /) -> jax.Array:
        """The value at `step`."""


class _Function:
    """One half of a transformation: a function that equals what the same call builds again.

    Attributes:
      recipe: the call that built the transformation.
      function: the function itself; that of an update returns at least float32.
      parts: the transformations inside.
    """

    __slots__ = ("__weakref__", "function", "parts", "recipe")

    def __init__(
        self,
        recipe: Recipe,
        function: Callable[..., Any],
        parts: tuple[optax.GradientTransformation, ...],
    ) -> None:
        self.recipe = recipe
        self.function = function
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.recipe == other.recipe

    def __hash__(self) -> int:
        return hash((type(self), self.recipe))


class Init(_Function):
    """`init(params) -> state`."""

    def __call__(self, params: Params) -> State:
        """The state before the first step, on the mesh of the parameters where they have one."""
        with position.of_part(len(self.parts)) as is_whole:
            state = self.function(params)
        return mesh.beside(params, state) if is_whole else state

    def __repr__(self) -> str:
        return f"{self.recipe!r}.init"

    def __reduce__(self) -> Any:
        return _init_of, (self.recipe.factory, self.recipe.shown)


class Update(_Function):
    """`update(updates, state, params=None, **extra) -> (updates, state)`.

    Attributes:
      fit: from a state and the parameters to the state in arrays; it refuses what does not fit.
      wide: whether the updates stay in at least float32, because the transformation or one of
        those inside says so.
      mixed: whether a foreign transformation is inside. What comes to it may be of other shapes
        than the parameters, such as a gradient for each example.
    """

    __slots__ = ("fit", "mixed", "wide")

    def __init__(
        self,
        recipe: Recipe,
        function: Callable[..., Any],
        parts: tuple[optax.GradientTransformation, ...],
        fit: Callable[[State, Params], State],
        *,
        wide: bool = False,
    ) -> None:
        super().__init__(recipe, function, parts)
        self.fit = fit
        self.wide = wide or any(getattr(part.update, "wide", False) for part in parts)
        self.mixed = any(map(is_mixed, parts))

    def __call__(
        self, updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        """One step; the update has the wider dtype of the gradient and the parameter.

        If it is `wide`, that is float32 for a 16-bit one.
        """
        try:
            return self._step(updates, state, params, extra)
        except (TypeError, ValueError) as error:
            wrong = meant.misplaced(updates, state, params)
            if not wrong:
                meant.note_deleted(error)
                raise
            raise TypeError(f"`{self.recipe.name}(...).update`: {wrong}") from None
        except RuntimeError as error:
            meant.note_deleted(error)
            raise

    def _step(
        self, updates: Updates, state: State, params: Params, extra: dict[str, Any]
    ) -> tuple[Updates, State]:
        with check.calling(f"{self.recipe.name}(...).update"):
            if params is not None and not self.mixed:
                tree.require_matching(updates, params)
            if params is not None:
                state = self.fit(state, params)
            wide, state = self.function(updates, state, params, **extra)
            if params is not None and self.mixed:
                tree.require_matching(wide, params)
        return tree.narrow(wide, updates, params, at_least_float32=self.wide), state

    def __repr__(self) -> str:
        return f"{self.recipe!r}.update"

    def __reduce__(self) -> Any:
        return _update_of, (self.recipe.factory, self.recipe.shown)


class GradientTransformation(Displayed, optax.GradientTransformationExtraArgs):  # type: ignore[misc]
    """A pair of pure functions, `init` and `update`, that knows the call that built it.

    It prints as that call, equals and hashes as it, and pickles. It is a tuple of exactly two
    functions and an `optax.GradientTransformationExtraArgs`, so that whatever takes one of
    Optax's transformations takes this one.
    """

    __slots__ = ()

    init: Init
    update: Update

    @property
    def recipe(self) -> Recipe:
        """The call that built this: its factory and all of its arguments, defaults filled in."""
        return self.init.recipe

    @property
    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """The transformations inside: of an optimizer its chain, of a wrapper what it wraps."""
        return self.init.parts

    def __repr__(self) -> str:
        if isinstance(self.init, Init):
            return render(self.recipe)
        return super().__repr__()  # JAX fills a tree's places with whatever it maps to

    def __reduce__(self) -> Any:
        if isinstance(self.init, Init):
            return rebuild, (self.recipe.factory, self.recipe.shown)
        return type(self), tuple(self)


def require_transformation(call: str, what: str, tx: Any) -> None:
    """Refuse what is no transformation, also a factory that was not called."""
    if isinstance(tx, optax.GradientTransformation):
        return
    shown = call if "(" in call else f"{call}(...)"
    text = f"`{shown}`: {what} must be a gradient transformation; got {check.brief(tx)}."
    raise TypeError(f"{text} {meant.instead_of_transformation(tx)}".rstrip())


class TransformationRule:
    """A gradient transformation, ours or Optax's."""

    kind = "GradientTransformation"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The transformation as it is."""
        require_transformation(call, f"`{name}`", value)
        return value


def is_mixed(tx: optax.GradientTransformation) -> bool:
    """Whether a transformation is foreign, or one of those inside it is."""
    return bool(getattr(tx.update, "mixed", True))


def inside(tx: Any) -> Iterator[Any]:
    """A transformation and all that it is made of."""
    yield tx
    for part in getattr(tx, "parts", ()):
        yield from inside(part)


def wide_updates(factory: Factory) -> Factory:
    """Let the updates of a transformation stay in at least float32; it goes below the decorator.

    The end of the outermost chain or wrapper rounds an update to the wider dtype of gradient and
    parameter. Where that would take from it what it is for, the factory of the transformation
    says so, and whatever it is inside of returns float32 for 16-bit parameters as well.
    """
    factory.__dict__["wide_updates"] = True
    return factory


def leaf_wise(factory: Factory) -> Factory:
    """Say that a transformation sees single arrays as such; it goes below the decorator.

    What it does with a coordinate depends on the rest of its array, on the array's shape or on
    its path, or it calls a function of the parameters, or hands out trees like them. So it may
    not be given several arrays as one, as `bucket` does.
    """
    factory.__dict__["leaf_wise"] = True
    return factory


def declares(**marks: str) -> Callable[[Factory], Factory]:
    """Declare what a wrapper does with updates, with the reason; it goes below the decorator.

    What each mark means, and who reads it:

      - `final`: why its updates must reach the parameters as they are (`diagnose`);
      - `sets`: its updates lead to parameters that it keeps itself, so that another wrapper that
        does so cannot be around it;
      - `gathers`: it gathers updates over several calls, given by its argument `every`;
      - `elsewhere`: its state lies where others cannot compute with it.
    """

    def mark(factory: Factory) -> Factory:
        factory.__dict__["declared"] = marks
        return factory

    return mark


def declared(tx: Any, mark: str) -> str:
    """The reason that the factory of a transformation gives for a mark; "" where it has none."""
    factory = tx.recipe.factory if hasattr(tx, "recipe") else None
    found: str = getattr(factory, "declared", {}).get(mark, "")
    return found


def whole_arrays(factory: Factory) -> Factory:
    """Say that a transformation needs the whole of arrays; it goes below the decorator.

        @transformation
        @whole_arrays
        def scale_by_largest(axis_name: AxisName = None): ...

    What it does with a coordinate depends on others, of its array or of all. Inside of
    `jax.shard_map`, where it sees one shard of each, a call is then refused unless its argument
    `axis_name` says what the shards are: names of the mesh axes that they are split over, along
    which it has to sum by itself (`jax.lax.psum`), or `()` where each shard is a whole.

    Args:
      factory: the function under `transformation`; it has an argument `axis_name`.

    Raises:
      TypeError: it has none.
    """
    return whole_arrays_where(lambda arguments: True)(factory)


def whole_arrays_where(needed: Callable[[dict[str, Any]], bool]) -> Callable[[Factory], Factory]:
    """`whole_arrays`, but with these arguments only."""

    def declared(factory: Factory) -> Factory:
        if "axis_name" not in inspect.signature(factory).parameters:
            raise TypeError(
                f"`{factory.__name__}` needs whole arrays, and so an argument "
                "`axis_name: AxisName = None`."
            )
        factory.__dict__["whole_arrays"] = needed
        return factory

    return declared


def no_state(params: Params) -> State:
    """The `init` of a transformation that remembers nothing."""
    del params
    return optax.EmptyState()


def _init_of(factory: Callable[..., Any], shown: Any) -> Any:
    return rebuild(factory, shown).init


def _update_of(factory: Callable[..., Any], shown: Any) -> Any:
    return rebuild(factory, shown).update


def update_wide(
    tx: optax.GradientTransformation, updates: Updates, state: State, params: Params, **extra: Any
) -> tuple[Updates, State]:
    """The update of `tx` without the final rounding: what passes between links of a chain.

    A transformation of Optax's is called as it is, without the extra arguments it does not take.
    """
    if isinstance(tx.update, Update):
        return tx.update.function(updates, state, params, **extra)
    return optax.with_extra_args_support(tx).update(updates, state, params, **extra)
