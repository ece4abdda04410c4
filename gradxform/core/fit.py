"""Whether a state fits the transformation that it is given to.

A run that goes on from a checkpoint may meet code whose arguments have changed: another
`state_dtype`, a longer window, a schedule where a tunable was. What `init` would make of the
parameters says what the state must look like, and the first difference is an error that names it.

Only what is static is compared: classes, names, lengths, shapes and dtypes. So nothing is left of
it in a compiled step, and outside of one it is a look into a table.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import keystr, register_pytree_node_class, tree_flatten_with_path

from . import check, numerics, tree
from .foreign import WAY_OUT, refuse_state
from .hyperparams import HyperparamsState
from .repeated import only_types


@register_pytree_node_class
class Made:
    """A state, and the name of the block whose `init` made it."""

    def __init__(self, name: str, state: Any) -> None:
        self.name, self.state = name, state

    def tree_flatten(self) -> tuple[tuple[Any], str]:
        """The state; the name is static."""
        return (self.state,), self.name

    @classmethod
    def tree_unflatten(cls, name: str, children: tuple[Any]) -> "Made":
        """The way back."""
        return cls(name, *children)


@register_pytree_node_class
class Unknown:
    """A state that is not compared."""

    def tree_flatten(self) -> tuple[tuple[()], None]:
        """It has no parts."""
        return (), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: tuple[()]) -> "Unknown":
        """The way back."""
        return cls()


# What is to be made into arrays: places among the leaves of the state, with the dtypes.
Numbers = tuple[tuple[int, Any], ...]


class Fit:
    """What says whether states fit a block, and remembers of which types it has said so.

    Attributes:
      recipe: the call that built the block.
      layout: from parameters to the state that `init` makes of them, with `Made` around what each
        block makes.
      exact: whether it is given the parameters, and not the updates in their place, whose dtypes
        may be others and some of which may be missing.
    """

    def __init__(self, recipe: Hashable, layout: Callable[[Any], Any], exact: bool) -> None:
        self.recipe, self.layout, self.exact = recipe, layout, exact
        self._known: dict[Any, Numbers] = {}

    def __call__(self, state: Any, like: Any) -> Any:
        """The state, with arrays where it has Python's or NumPy's numbers.

        Args:
          state: what `update` was given.
          like: the parameters, or the updates.

        Raises:
          TypeError, ValueError: it does not fit; with the block, the first difference and the way
            out.
        """
        leaves, structure = jax.tree.flatten(state)
        others, like_structure = jax.tree.flatten(like)
        types = like_structure, _types(others), numerics.scalar_dtype()
        key = structure, _types(leaves), types
        if key not in self._known:
            self._known[key] = self._judged(state, like, types)
        numbers = self._known[key]
        if not numbers:
            return state
        for index, dtype in numbers:
            leaves[index] = _as_array(leaves[index], dtype)
        return jax.tree.unflatten(structure, leaves)

    def _judged(self, state: Any, like: Any, types: Any) -> Numbers:
        try:
            expected = self._expected(like, types)
        except Exception:  # what `init` refuses, or cannot do with types alone, `update` speaks of
            return ()
        bare = tree.unboxed(state)
        places = {path: i for i, (path, _) in enumerate(tree_flatten_with_path(bare)[0])}
        comparison = _Comparison(self.exact, places, [])
        comparison.compare(expected, bare)
        return tuple(comparison.numbers)

    def _expected(self, like: Any, types: Any) -> Any:
        """What `init` makes of the parameters: once for equal values and equal types."""
        key = (self.recipe, self.exact, types)
        try:
            known = _LAYOUTS.get(key)
        except TypeError:  # built with traced numbers, it has no hash
            return self._shapes(like)
        if known is None:
            if len(_LAYOUTS) >= _MOST:
                _LAYOUTS.clear()
            known = _LAYOUTS[key] = self._shapes(like)
        return known

    def _shapes(self, like: Any) -> Any:
        with only_types():
            return tree.unboxed(jax.eval_shape(self.layout, like))


_LAYOUTS: dict[Any, Any] = {}
_MOST = 256


# The classes of arrays with values. Asking JAX what an array is takes longer than all else here.
# The type has the sharding in it where a mesh is explicit, which `init` may go by.
_ARRAYS: set[type] = set()


def _types(leaves: list[Any]) -> Any:
    return tuple([x.aval if type(x) in _ARRAYS else _type_of(x) for x in leaves])


def _type_of(x: Any) -> Any:
    if check.is_traced(x):
        return jax.typeof(x)
    if isinstance(x, jax.Array):
        _ARRAYS.add(type(x))
        return x.aval
    if isinstance(x, np.ndarray | np.generic):
        return type(x), x.shape, x.dtype
    return type(x), isinstance(x, float) and x.is_integer()


def _as_array(x: Any, dtype: Any) -> jax.Array:
    if isinstance(x, jax.Array):
        return x.astype(dtype)
    if jnp.issubdtype(dtype, np.integer):
        bounds = np.iinfo(dtype)
        x = max(bounds.min, min(int(x), bounds.max))  # as counters stay at the largest number
    return jnp.asarray(x, dtype)


class _Comparison(NamedTuple):
    """A walk through what is expected and what was given, side by side.

    Attributes:
      exact: as in `Fit`.
      places: of each leaf of what was given, by its path.
      numbers: filled with what is to be made into arrays.
    """

    exact: bool
    places: dict[Any, int]
    numbers: list[tuple[int, Any]]

    def compare(self, expected: Any, given: Any, path: Any = (), owner: str = "") -> None:
        """Raise the error of the first difference between parts that stand at the same path.

        `owner` is the block that they belong to.
        """
        if isinstance(expected, Made):
            if not isinstance(expected.state, Made):  # a wrapper may have no state of its own
                _require_parts(expected, given)
            self.compare(expected.state, given, path, expected.name)
        elif isinstance(expected, jax.ShapeDtypeStruct):
            self._compare_leaves(expected, given, path, owner)
        elif isinstance(expected, Unknown) or (expected is None and not self.exact):
            pass  # a gradient may be missing where the parameter is not
        elif isinstance(expected, optax.MaskedNode) and isinstance(given, optax.MaskedNode):
            pass  # of as many as there are parameters, for each group of them
        else:
            here, there = _children(expected), _children(given)
            if hasattr(expected, "_fields") and type(expected) is not type(given):
                self._refuse(owner, path, expected, given)
            for name in [*here, *there]:
                if (name in here) != (name in there):
                    key = (here.get(name) or there[name])[0]
                    sides = (side[name][1] if name in side else None for side in (here, there))
                    self._refuse(owner, (*path, *key), *sides)
            if not here and bool(jax.tree.leaves(given)):
                self._refuse(owner, path, expected, given)
            for name, (_, part) in here.items():
                key, other = there[name]
                self.compare(part, other, (*path, *key), owner)

    def _compare_leaves(self, expected: Any, given: Any, path: Any, owner: str) -> None:
        is_number = isinstance(given, int | float | complex)
        if not is_number and not isinstance(given, jax.Array | np.ndarray | np.generic):
            self._refuse(owner, path, expected, given)
        kind = jax.typeof(0.0 if is_number else given)
        is_number = not isinstance(given, jax.Array) or getattr(kind, "weak_type", False)
        if kind.shape == expected.shape == () and is_number and _casts(given, expected.dtype):
            self.numbers.append((self.places[path], expected.dtype))
        elif kind.shape != expected.shape or not self._same(expected.dtype, kind.dtype):
            self._refuse(owner, path, expected, given)

    def _refuse(self, owner: str, path: Any, expected: Any, given: Any) -> NoReturn:
        where = f"`{keystr(path, simple=True, separator='/')}`" if path else "it"
        what = "parameters" if self.exact else "gradients"
        raise ValueError(
            f"`{owner}(...).update` was given a state that does not fit: {where} is "
            f"{_shown(given)} in it, and {_shown(expected)} in what `init` makes of these {what} "
            f"with these arguments. {WAY_OUT}"
        )

    def _same(self, a: Any, b: Any) -> bool:
        return a == b or (not self.exact and _precision(a) == _precision(b) != "")


def _precision(dtype: Any) -> str:
    """What the dtypes have in common that a buffer may have without `state_dtype`."""
    if not jnp.issubdtype(dtype, np.inexact) or numerics.wide_dtype(dtype) != dtype:
        return ""
    return "complex" if jnp.issubdtype(dtype, np.complexfloating) else "real"


def _casts(number: Any, dtype: Any) -> bool:
    """Whether a number can be one of the dtype."""
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        return False
    kinds = [np.bool_, np.integer, np.floating, np.complexfloating]
    dtypes = getattr(number, "dtype", np.dtype(type(number))), dtype
    theirs, ours = (
        next(i for i, kind in enumerate(kinds) if jnp.issubdtype(d, kind)) for d in dtypes
    )
    whole = not isinstance(number, jax.Array) and ours == 1 and theirs == 2
    return theirs <= ours or (whole and float(number).is_integer())


def _children(x: Any) -> dict[str, tuple[Any, Any]]:
    """The parts of a container by name: (path, part)."""
    flat = tree_flatten_with_path(x, is_leaf=lambda y: y is not x)[0]
    return {keystr(path, simple=True): (path, part) for path, part in flat if path}


def _require_parts(made: Made, given: Any) -> None:
    """Refuse the state of another block, of other links or groups, or of other live values."""
    call, expected = f"{made.name}(...).update", made.state
    either = [x for x in (expected, given) if isinstance(x, HyperparamsState)]
    if either and (len(either) == 1 or _live(expected) != _live(given)):
        if not isinstance(given, tuple) or not hasattr(given, "_fields"):
            refuse_state(call, given, type(expected).__name__)
        raise TypeError(
            f"`{call}` was given a state of other live hyperparameters: {_live(given)}, not "
            f"{_live(expected)}. {WAY_OUT}"
        )
    if hasattr(expected, "_fields") and type(given) is not type(expected):
        refuse_state(call, given, type(expected).__name__)
    if type(expected) in (tuple, dict):
        named, names = list(_children(expected)), list(_children(given))
        if type(given) is not type(expected):
            refuse_state(call, given, f"{type(expected).__name__} of {len(named)} states")
        if {*named} != {*names}:
            sides = _listed(names), _listed(named)
            if type(expected) is tuple:
                sides = f"{len(names)} links", f"{len(named)}"
            raise ValueError(
                f"`{call}` was given a state of {sides[0]}, not of {sides[1]}. {WAY_OUT}"
            )


def _live(state: Any) -> str:
    """The live hyperparameters of a block by name, and what they are."""
    if not isinstance(state, HyperparamsState):
        return "none"
    kinds = {
        **dict.fromkeys(state.hyperparams, ""),
        **dict.fromkeys(state.tunables, " (tunable)"),
        **{name: f" ({type(memory).__name__})" for name, memory in state.feedback.items()},
    }
    return ", ".join(f"`{name}`{kinds[name]}" for name in sorted(kinds)) or "none"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def _shown(x: Any) -> str:
    """A part of a state in a few words."""
    if x is None:
        return "missing"
    if isinstance(x, Made):
        return _shown(x.state)
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return f"{x.dtype}{list(x.shape)}"
    return check.brief(x) if not _children(x) and jax.tree.leaves(x) else f"a {type(x).__name__}"
