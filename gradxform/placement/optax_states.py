"""Optax's states, read as those of the same algorithms here."""

from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np

from ..core import numerics
from .state_nodes import (
    Key,
    Leaf,
    Node,
    Path,
    Signature,
    clock,
    kind_of_fields,
    reading,
    tunable,
)

Shapes = dict[Path, tuple[int, ...]]  # of the parameters by path
Kinds = dict[str, tuple[str, ...]]  # by the fields of a class, what a dict of them may be
Reader = Callable[[Node, Shapes], Iterator[Node]]

_SCHEDULES = "hyperparams_states"


def kinds_by_fields(new: list[tuple[str, Signature]]) -> Kinds:
    """What a dict of such fields is among the classes of the new state."""
    found: Kinds = {}
    for kind, fields in new:
        names = kind_of_fields(fields)
        found[names] = tuple(dict.fromkeys([*found.get(names, ()), kind]))
    return found


def converted(nodes: list[Node], shapes: Shapes, ours: Kinds) -> list[Node]:
    """The nodes of a state as kinds of this library; what has no counterpart stays as it is.

    Args:
      nodes: those of the old state.
      shapes: the shapes of the parameters.
      ours: what nodes that lost their classes may be; the new state may hold Optax's, too.
    """
    present = {kind for kinds in ours.values() for kind in kinds}
    found: list[Node] = []
    for node in nodes:
        kind = node.kinds[0]
        package, _, name = kind.partition(".")
        names = (name,) if package == "optax" else _CLASSES.get(kind, ())
        readers = [_READERS[name] for name in names if name in _READERS]
        own = [kind] if kind in present else ours.get(kind, ())
        same = [f"gradxform.{other}" for name in names for other in _SAME.get(name, ())]
        if own or same:
            kinds = tuple(dict.fromkeys([*own, *same]))
            values = {key: _real(key, leaf) for key, leaf in node.values.items()}
            found.append(Node(node.place, node.scope, kinds, values))
        elif readers:
            found += readers[0](node, shapes)
        else:
            found.append(node)
    return found


def _real(key: Key, leaf: Leaf) -> Leaf:
    """Optax keeps mean squares of complex gradients as complex numbers without imaginary part."""
    is_square = key[0] in ("nu", "nu_max", "sum_of_squares", "e_g", "e_x")
    if not is_square or not np.iscomplexobj(leaf.value):
        return leaf
    return Leaf(leaf.path, jnp.real(leaf.value), leaf.note)


def _factored(node: Node, shapes: Shapes) -> Iterator[Node]:
    """Adafactor's moments, kept in three trees: rows, columns and whole ones.

    Each tree holds an array of shape [1] where another has the moment. Optax's rows are what is
    left when the longest axis is averaged away; here they are when the last of the two is.
    """
    values: dict[Key, Leaf] = {("count", ()): node.values["count", ()]}
    for (name, path), leaf in node.values.items():
        shape = shapes.get(path, ())
        is_dummy = np.shape(leaf.value) == (1,) and shape != (1,)
        if name == "v" and not is_dummy:
            values["nu", path] = leaf
        elif name in ("v_row", "v_col") and not is_dummy and len(shape) > 1:
            second, longest = np.argsort(shape, stable=True)[-2:]
            swapped = bool(longest < second)
            here = {"v_row": "v_col", "v_col": "v_row"}[name] if swapped else name
            values["nu", (*path, here)] = leaf
    yield Node(node.place, node.scope, ("gradxform.ScaleByFactoredRmsState",), values)


def _multi_steps(node: Node, shapes: Shapes) -> Iterator[Node]:
    """The mean of a window's gradients so far; here it is their sum."""
    done = node.values["mini_step", ()]
    weight = jnp.asarray(done.value).astype(numerics.scalar_dtype())
    values = {}
    for key, leaf in node.values.items():
        if key[0] == "acc_grads":
            total = jnp.asarray(leaf.value) * weight.astype(jnp.asarray(leaf.value).dtype)
            leaf = Leaf(leaf.path, total, "the mean of a window as its sum")
        values[key] = leaf
    values["weight", ()] = Leaf(done.path, weight)
    yield Node(node.place, node.scope, ("gradxform.AccumulateState",), values)


def _apply_if_finite(node: Node, shapes: Shapes) -> Iterator[Node]:
    names = {"notfinite_count": "consecutive", "total_notfinite": "skipped_steps"}
    values = {(names[f], path): x for (f, path), x in node.values.items() if f in names}
    yield Node(node.place, node.scope, ("gradxform.SkipNonfiniteState",), values)


def _inject(node: Node, shapes: Shapes) -> Iterator[Node]:
    """Each value is what the last update used, and what the next one would where it is no schedule.

    Whether it is one or the other, the new optimizer says.
    """
    injected = {path[0]: x for (f, path), x in node.values.items() if f == "hyperparams"}
    yield clock("+".join(sorted(injected)), node.values["count", ()], node.scope)
    for name, leaf in injected.items():
        yield reading(name, leaf, node.scope)
        yield tunable(name, leaf, node.scope)


def _schedule(name: str) -> Reader:
    def read(node: Node, shapes: Shapes) -> Iterator[Node]:
        yield clock(name, node.values["count", ()], node.scope)

    return read


def _wrapped_schedule(node: Node, shapes: Shapes) -> Iterator[Node]:
    """The counter of a schedule that is injected, beside that of all."""
    yield clock(node.place[-1], node.values["count", ()], node.scope[:-1])


_ADAM_LIKE = ("ScaleByAdamState", "ScaleByRadamState", "ScaleByYogiState", "ScaleByAdamaxState")

# Classes whose fields mean the same under the same names. Optax has one class for several
# algorithms; which of them it is, the new optimizer says.
_SAME: dict[str, tuple[str, ...]] = {
    "ScaleByAdamState": _ADAM_LIKE,
    "ScaleByAmsgradState": ("ScaleByAmsgradState",),
    "ScaleByBeliefState": ("ScaleByBeliefState",),
    "ScaleByLionState": ("ScaleByLionState",),
    "ScaleByRssState": ("ScaleByRssState",),
    "ScaleByRmsState": ("ScaleByRmsState",),
    "ScaleByRmsWithCountState": ("ScaleByRmsState",),
    "ScaleByRStdDevState": ("ScaleByCenteredRmsState",),
    "ScaleByRStdDevWithCountState": ("ScaleByCenteredRmsState",),
    "ScaleByAdaDeltaState": ("ScaleByAdadeltaState",),
    "TraceState": ("ScaleByMomentumState",),
    "EmaState": ("ScaleByEmaState",),
}

_READERS: dict[str, Reader] = {
    "FactoredState": _factored,
    "MultiStepsState": _multi_steps,
    "ApplyIfFiniteState": _apply_if_finite,
    "InjectHyperparamsState": _inject,
    "InjectStatefulHyperparamsState": _inject,
    "ScaleByScheduleState": _schedule("learning_rate"),
    "WeightDecaySchedule": _schedule("weight_decay"),
    "WrappedScheduleState": _wrapped_schedule,
}

# The same without their classes. Two have the fields of Adam's state: the new optimizer tells.
_FIELDS = {
    "ScaleByAdamState": "count mu nu",
    "ScaleByRStdDevWithCountState": "count mu nu",
    "ScaleByAmsgradState": "count mu nu nu_max",
    "ScaleByLionState": "count mu",
    "ScaleByRssState": "sum_of_squares",
    "ScaleByRmsState": "nu",
    "ScaleByRmsWithCountState": "count nu",
    "ScaleByRStdDevState": "mu nu",
    "ScaleByAdaDeltaState": "e_g e_x",
    "TraceState": "trace",
    "EmaState": "count ema",
    "FactoredState": "count v_row v_col v",
    "MultiStepsState": "mini_step gradient_step inner_opt_state acc_grads skip_state",
    "ApplyIfFiniteState": "notfinite_count last_finite total_notfinite inner_state",
    "InjectHyperparamsState": "count hyperparams inner_state",
    "InjectStatefulHyperparamsState": "count hyperparams hyperparams_states inner_state",
    "ScaleByScheduleState": "count",
}

SIGNATURES: set[Signature] = {frozenset(fields.split()) for fields in _FIELDS.values()}

_CLASSES: Kinds = {
    kind_of_fields(fields.split()): tuple(
        name for name, other in _FIELDS.items() if {*other.split()} == {*fields.split()}
    )
    for fields in _FIELDS.values()
}
