"""What keeps the arrays of a step where they are."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import check
from ..core.types import Params, State
from .sharding import gradient_sharding


class Places:
    """The shardings of what a step takes and returns, read off arrays that lie as they should.

    Attributes:
      returned: the shardings of the results, as `jax.jit(out_shardings=)` takes them.
    """

    def __init__(self, like: Any, params: Params = None, state: State = None) -> None:
        # Without `like` everything is left to the compiler, and any tree is taken.
        self.is_given = like is not None
        self.returned = jax.tree.map(_sharding, like)
        self._params = tuple(map(_sharding, jax.tree.leaves(params)))
        self._pieces = gradient_sharding(params, state)
        self._shapes = _shapes(like)

    def require(self, given: Any, call: str) -> None:
        """Refuse what the shardings were not made for, by path."""
        if not self.is_given:
            return
        shapes = _shapes(given)
        for name in [*self._shapes, *shapes]:
            here, there = self._shapes.get(name), shapes.get(name)
            if here != there:
                raise ValueError(
                    f"`{call}`: `{name}` is {_shown(there)} in what the step was given and "
                    f"{_shown(here)} in `like`. Make the step from the state that it trains: "
                    "`like=` takes those arrays, or abstract ones with the same shapes."
                )

    def to_pieces(self, like_params: Any) -> Any:
        """Gradients or parameters where the state's buffers are, before an update reads them."""
        return _placed(like_params, self._pieces)

    def to_params(self, like_params: Any) -> Any:
        """Parameters where they belong."""
        return _placed(like_params, self._params)


def in_dtypes_of(before: State, state: State) -> State:
    """A state in the dtypes that it had before the update.

    Moments of Optax's take the dtype of the gradients, and these may be wider than the parameters:
    the step would compile again, or not at all, and its arrays would not be changed in place.
    """
    leaves, structure = jax.tree.flatten(state)
    old = jax.tree.leaves(before)
    if len(leaves) != len(old):
        return state
    return jax.tree.unflatten(structure, list(map(_in_dtype_of, old, leaves)))


def _in_dtype_of(before: Any, x: Any) -> Any:
    types = [jnp.result_type(y) for y in (before, x)]
    is_real = all(jnp.issubdtype(t, jnp.floating) for t in types)
    return jnp.asarray(x).astype(types[0]) if is_real and types[0] != types[1] else x


def _placed(tree: Any, places: tuple[NamedSharding | None, ...]) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    if len(leaves) != len(places):
        return tree  # nothing was given, or some parameters have no gradient
    moved = [
        x if place is None else _moved(x, place) for x, place in zip(leaves, places, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


def _moved(x: jax.Array, place: NamedSharding) -> jax.Array:
    if all(kind == AxisType.Explicit for kind in place.mesh.axis_types):
        return jax.sharding.reshard(x, place)  # type: ignore[no-untyped-call]
    return jax.lax.with_sharding_constraint(x, place)  # type: ignore[no-untyped-call]


def _sharding(x: Any) -> Any:
    """None, which leaves it to the compiler, for what lies on one device, such as a counter."""
    place = getattr(x, "sharding", None)
    return place if isinstance(place, NamedSharding) else None


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {keystr(path): tuple(jnp.shape(x)) for path, x in tree_flatten_with_path(tree)[0]}


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"of shape {shape}"


def require_pair(call: str, like: Any) -> None:
    """Refuse what is not `(params, state)`."""
    if not (isinstance(like, tuple) and len(like) == 2):
        raise TypeError(
            f"`{call}`: `like` must be the pair `(params, state)`; got {check.brief(like)}."
        )
