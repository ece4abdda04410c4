"""Who gets what: a table of the parameters and what a transformation does with each."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import keystr, tree_flatten_with_path

from ..core import check, tree
from ..core.recipe import render
from ..core.selector import paths
from ..core.types import Params, require_transformation
from ..core.words import bytes_text
from ..transforms.layerwise import depths, layerwise_decay
from ..transforms.scale import scale_by_learning_rate
from .walk import Visit, factory_of, selected, walk


@dataclass(frozen=True)
class ParameterDescription:
    """One parameter, and what is done with it.

    Attributes:
      path: its path, as `select.path` sees it.
      shape: its shape.
      dtype: the name of its dtype.
      group: the names of the groups that it is in, with slashes between; "" outside of any.
      learning_rate: the learning rates that apply to it, one after the other: a number, or a
        schedule or tunable. Empty where there is none, or where it is frozen.
      multiplier: what layer-wise decay multiplies its learning rate by; 0 where it is frozen.
      weight_decay: what decays it, by the name of the argument: `{"weight_decay": 0.1}`.
      state_bytes: bytes of state that belong to it.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    group: str = ""
    learning_rate: tuple[Any, ...] = ()
    multiplier: float | None = 1.0
    weight_decay: dict[str, Any] = field(default_factory=dict)
    state_bytes: int = 0


@dataclass(frozen=True)
class Description:
    """What `describe` found; prints as a table.

    Attributes:
      transformation: what was described.
      parameters: one entry for each parameter, in the order of the tree.
      shared_bytes: bytes of state that belong to no single parameter, such as counters.
    """

    transformation: optax.GradientTransformation
    parameters: tuple[ParameterDescription, ...]
    shared_bytes: int

    @property
    def state_bytes(self) -> int:
        """Bytes of the whole state."""
        return self.shared_bytes + sum(p.state_bytes for p in self.parameters)

    def __str__(self) -> str:
        columns = {
            "parameter": [p.path or "(the only one)" for p in self.parameters],
            "shape": [f"{p.dtype}{list(p.shape)}" for p in self.parameters],
            "group": [p.group for p in self.parameters],
            "learning rate": [_rate(p) for p in self.parameters],
            "decay": [_decay(p) for p in self.parameters],
            "state": [bytes_text(p.state_bytes) for p in self.parameters],
        }
        if not any(columns["group"]):
            del columns["group"]
        widths = {name: max(map(len, [name, *cells])) for name, cells in columns.items()}
        lines = [
            "  ".join(cell.ljust(widths[name]) for name, cell in zip(columns, row, strict=True))
            for row in [tuple(columns), *zip(*columns.values(), strict=True)]
        ]
        count = sum(int(np.prod(p.shape)) for p in self.parameters)
        total = (
            f"{count:,} parameters in {len(self.parameters)} arrays; "
            f"{bytes_text(self.state_bytes)} of state, {bytes_text(self.shared_bytes)} of it shared"
        )
        return "\n".join([*(line.rstrip() for line in lines), total])


def describe(tx: optax.GradientTransformation, params: Params) -> Description:
    """Say what a transformation does with each parameter, without running it.

    Args:
      tx: any transformation. What Optax built is opaque: of it, only the bytes of state are known.
      params: the parameters, or their shapes (`jax.ShapeDtypeStruct`).

    Returns:
      A value that prints as a table: each parameter's path, shape, group, learning rate and its
      multiplier, weight decay, and bytes of state. Its `parameters` hold the same as data.

    Raises:
      ValueError: a selector that matches nothing, or a parameter without a group, as in `init`.
    """
    require_transformation("describe(tx, params)", "`tx`", tx)
    tree.require_arrays("describe(tx, params)", params)
    found: dict[str, dict[str, Any]] = {
        path: {
            "path": path,
            "shape": tuple(np.shape(leaf)),
            "dtype": str(jnp.result_type(leaf)),
            "weight_decay": {},
        }
        for path, leaf in paths(params)
    }
    with check.calling("describe"):
        for visit in walk(tx, params):
            _note(found, visit)
    state = jax.eval_shape(tx.init, params)
    owned, shared = _bytes_of(state, params)
    described = (ParameterDescription(**x, state_bytes=owned[path]) for path, x in found.items())
    return Description(tx, tuple(described), shared)


def _note(found: dict[str, dict[str, Any]], visit: Visit) -> None:
    """Write down what one block does with the parameters that it sees."""
    for path, _ in paths(visit.params):
        found[path]["group"] = visit.group
    factory = factory_of(visit.tx)
    if factory is None:
        return
    if visit.frozen:
        for path in selected("describe", visit):
            found[path]["multiplier"] = 0.0
        return
    arguments = visit.tx.recipe.arguments
    if factory is layerwise_decay:
        rate = arguments["rate"]
        for (path, _), depth in zip(
            paths(visit.params),
            jax.tree.leaves(depths(arguments["depth_of"], visit.params)),
            strict=True,
        ):
            known = isinstance(rate, float) and found[path].get("multiplier", 1.0) is not None
            found[path]["multiplier"] = (
                found[path].get("multiplier", 1.0) * rate**depth if known else None
            )
    elif factory is scale_by_learning_rate or "learning_rate" in arguments:
        rate = arguments["learning_rate"]
        for path, _ in paths(visit.params) if rate is not None else ():
            found[path]["learning_rate"] = (*found[path].get("learning_rate", ()), rate)
    for name in ("weight_decay", "l2"):
        value = arguments.get(name)
        if value is not None and not (isinstance(value, float) and value == 0.0):
            for path in selected("describe", visit):
                found[path]["weight_decay"][name] = value


def _bytes_of(state: Any, params: Params) -> tuple[dict[str, int], int]:
    """Bytes of state by parameter, and of the rest.

    A leaf of the state belongs to the parameter whose path its own contains, the longest if there
    are several.
    """
    keys = {}
    for path, _ in tree_flatten_with_path(tree.unboxed(params))[0]:
        keys[tuple(map(str, path))] = keystr(path, simple=True, separator="/")
    lengths = sorted({len(key) for key in keys}, reverse=True)
    owned: dict[str, int] = defaultdict(int)
    shared = 0
    for path, leaf in tree_flatten_with_path(tree.unboxed(state))[0]:
        here, size = tuple(map(str, path)), leaf.size * leaf.dtype.itemsize
        places = (
            here[start : start + length]
            for length in lengths
            for start in range(len(here) - length + 1)
        )
        owner = next((keys[place] for place in places if place in keys), None)
        if keys.get(()) is not None and not leaf.shape:
            owner = None  # a parameter that is the whole tree has no path to tell its state by
        if owner is None:
            shared += size
        else:
            owned[owner] += size
    return owned, shared


def _rate(p: ParameterDescription) -> str:
    if p.multiplier == 0.0:
        return "frozen"
    factor = (
        "" if p.multiplier == 1.0 else " x ?" if p.multiplier is None else f" x {p.multiplier:.3g}"
    )
    return (", ".join(map(_text, p.learning_rate)) or "-") + factor


def _decay(p: ParameterDescription) -> str:
    if p.multiplier == 0.0 or not p.weight_decay:
        return "-"
    return ", ".join(
        _text(value) if name == "weight_decay" else f"{name} {_text(value)}"
        for name, value in p.weight_decay.items()
    )


def _text(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else " ".join(render(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
