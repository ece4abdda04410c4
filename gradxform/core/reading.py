"""Reading and writing hyperparameters in a state, wherever they are nested."""

import numbers
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import keystr, register_pytree_with_keys

from . import check, numerics
from .hyperparams import is_hyperparams_state, require_in_range
from .places import fields_of, keys_of, nodes, unboxed_leaf
from .unknown import hyperparameter_hint


class Hyperparams(dict[str, Any]):
    """Values by name; a name that occurs twice is qualified by its place in the state.

    A dict, and as such a tree: it can be returned from `jit` and stacked by `scan`.
    """

    def __missing__(self, name: str) -> Any:
        raise check.UnknownName(f"`hyperparams(state)[{name!r}]`: {_unknown(name, self)}")


def _flatten_with_keys(values: Hyperparams) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
    names = sorted(values)
    return [(jax.tree_util.DictKey(name), values[name]) for name in names], tuple(names)


register_pytree_with_keys(
    Hyperparams,
    _flatten_with_keys,
    lambda names, leaves: Hyperparams(zip(names, leaves, strict=True)),
)


def hyperparams(state: Any) -> Hyperparams:
    """Every live hyperparameter of a state by name: readings and tunables.

    Args:
      state: the state of a transformation, or anything that is a tree around one: a chain's
        state, a Flax `TrainState`, an `nnx.Optimizer`'s `opt_state`, a batch of states.

    Returns:
      A dict of 0-d arrays (batched where the state is), of their own: they stay when a step that
      donates the state has run. After `init`, a scheduled value is the
      one of step 0; after `update`, the one that this update used. `learning_rate` is always
      there; other constants are not, they are in `tx.recipe.arguments`. A name that occurs twice
      is written with the names of the groups or links that it is in, as in `head/learning_rate`,
      or with its place in chains without names, as in `1/learning_rate`; asking for the short one
      is an error that lists them. A state of `optax.inject_hyperparams(adam)` holds the rate twice,
      as Optax's number and as the reading of what used it: `optax.tree.get` refuses the two, and
      the reading is here.

    Raises:
      TypeError: what was given is no state of this library: a transformation, a function, None,
        parameters, a state of Optax's.
    """
    _require_state("hyperparams(state)", state)
    found = live_values(state)
    remembers = bool(jax.tree.leaves(state))
    if not found and remembers and next(nodes(state, _is_own), None) is None:
        raise TypeError(
            "`hyperparams(state)`: there is no state of this library in "
            f"{check.brief(jax.tree.map(jnp.shape, state))}, and no live hyperparameter. Pass what "
            "`tx.init(params)` or `tx.update(...)` returned. Optax's states have live ones where "
            "`optax.inject_hyperparams` put them: `state.hyperparams`."
        )
    return Hyperparams(jax.tree.map(_copied, dict(found)))


def live_values(state: Any) -> Hyperparams:
    """As `hyperparams`, the arrays of the state themselves; none where there are none."""
    return Hyperparams({key: values[name] for key, _, name, values in _places(state)})


def _copied(x: Any) -> Any:
    return jnp.copy(x) if isinstance(x, jax.Array) and not check.is_traced(x) else x


def _is_own(x: Any) -> bool:
    """Whether it is a NamedTuple of this library."""
    own = type(x).__module__.partition(".")[0] == __name__.partition(".")[0]
    return own and hasattr(x, "_fields")


def _require_state(call: str, state: Any) -> None:
    """Refuse what can be no state: a transformation, a function, None."""
    is_function = callable(state) and bool(jax.tree_util.all_leaves([state]))
    if state is None or is_function or isinstance(state, optax.GradientTransformation):
        raise TypeError(
            f"`{call}`: a state must be given, as `tx.init(params)` makes it; got "
            f"{check.brief(state)}. The arguments of a transformation are in `tx.recipe.arguments`."
        )


def _places(state: Any) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(key, place, name, the dict that holds it) of every live hyperparameter."""
    places = [
        (path, field, name, values)
        for path, found in nodes(state, is_hyperparams_state)
        for field in ("hyperparams", "tunables")
        for values in [fields_of(found).get(field, {})]
        for name in values
    ]
    keys = keys_of([(path, name) for path, _, name, _ in places])
    for key, (path, field, name, values) in zip(keys, places, strict=True):
        held = {n: unboxed_leaf(values[n]) for n in values}
        yield key, f"{path}/{field}".lstrip("/"), name, held


def set_hyperparams(state: Any, **values: Any) -> Any:
    """The same state with other values in its tunables; nothing is compiled again.

    Args:
      state: as for `hyperparams`.
      **values: numbers or 0-d arrays by name, traced ones too; for a batched state also arrays of
        the batch's shape. Qualified names are given as `**{"1/b1": 0.9}`.

    Returns:
      A new state; the one passed in is unchanged.

    Raises:
      KeyError: a name that is not there, or that occurs more than once.
      TypeError: a reading (a constant or a schedule), which the next update would overwrite.
      ValueError: what the argument of this name does not take, as a learning rate below 0. A decay
        may become 1: its average then stays as it is.
    """
    _require_state("set_hyperparams(state, ...)", state)
    found = {key: (place, name) for key, place, name, _ in _places(state)}
    for key, value in values.items():
        call = f"`set_hyperparams({key}={check.brief(value)})`"
        if key not in found:
            raise check.UnknownName(f"{call}: {_unknown(key, dict.fromkeys(found))}")
        place, name = found[key]
        if not place.endswith("tunables"):
            raise TypeError(
                f"{call}: `{name}` is a reading: the transformation computes it from a constant or "
                f"a schedule, so the next update would overwrite it. Build with "
                f"`{name}=tunable(...)`."
            )
    kinds = {
        path: type(fields_of(node).get("inner_state"))
        for path, node in nodes(state, is_hyperparams_state)
    }
    written = {"/".join(found[key]): (key, value) for key, value in values.items()}

    def write(path: Any, old: Any) -> Any:
        where = keystr(path, simple=True, separator="/")
        for place, (key, value) in written.items():
            if where == place or where.startswith(f"{place}/"):  # in a box of Flax's
                new = _written(key, old, value)
                path_of_block, name = (
                    found[key][0].removesuffix("tunables").rstrip("/"),
                    found[key][1],
                )
                require_in_range("set_hyperparams", name, kinds[path_of_block], value)
                return new
        return old

    return jax.tree.map_with_path(write, state)


def _written(name: str, old: jax.Array, value: Any) -> jax.Array:
    is_number = isinstance(value, numbers.Real | np.ndarray | jax.Array)
    new = jnp.asarray(value if is_number and not isinstance(value, bool) else False)
    real = jnp.issubdtype(new.dtype, np.floating) or jnp.issubdtype(new.dtype, np.integer)
    fits = real and new.shape in ((), old.shape)
    known = check.known_numbers(value) if fits else None
    if not fits or (known is not None and not np.isfinite(known).all()):
        raise ValueError(
            f"`set_hyperparams({name}={check.brief(value)})`: `{name}` must be a finite number of "
            f"shape {list(old.shape)}, as in the state. To try several values at once, call it "
            "under `jax.vmap`."
        )
    # Follows the old leaf's sharding, so that the next step finds the program it compiled.
    return numerics.filled_like(old, new)


def _unknown(name: str, known: dict[str, Any]) -> str:
    same = [key for key in known if key.rpartition("/")[2] == name]
    if same:
        return f"`{name}` occurs {len(same)} times; ask for one of: {', '.join(sorted(same))}."
    if not known:
        return f"there is no `{name}`: this state holds no live hyperparameters."
    names = hyperparameter_hint(name, known)
    constant = f" A constant is not in the state: build with `{name}=tunable(...)` to set it."
    return (
        f"there is no `{name}` among the live hyperparameters.{names}"
        f"{constant if names.startswith(' Known') else ''}"
    )
