"""Which array of an old state goes where in a new one."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core import check
from .equivalents import equivalents
from .state_nodes import CLOCK, READING, TUNABLE, WEIGHT, Key, Leaf, Node, Path
from .velocities import keeps_scale, what_differs

_COUNT: Key = ("count", ())
_WINDOW: Key = ("mini_step", ())  # the micro-batches of an open window of `accumulate`
_WINDOWS: Key = ("gradient_step", ())  # the updates that `accumulate` has emitted


class Matching:
    """The arrays of an old state that a new one takes over.

    Attributes:
      sources: by the path of a new array, the old one.
      reasons: by the path of a new array that starts anew, why it does, where there is more to say
        than that the old state has none.
      unfit: by the path of an old array, what kept it from its place.
      compared: (node, candidates) for each new node with buffers whose kind the old state has.
    """

    def __init__(self, new: list[Node], old: list[Node], step: int | None) -> None:
        self.sources: dict[Path, Leaf] = {}
        self.reasons: dict[Path, str] = {}
        self.unfit: dict[Path, str] = {}
        self.compared: list[tuple[Node, list[Node]]] = []
        self._new, self._old, self._step = new, old, step
        self._present = {node.kinds[0] for node in new}
        for node in new:
            self._match(node)
        self._say_what_is_over()

    def _match(self, node: Node) -> None:
        kind = node.kinds[0]
        candidates = [other for other in self._old if kind in other.kinds]
        if not candidates:
            candidates, why = equivalents(kind, self._old, self._present)
            self._leave(node, why)
        if keeps_scale(kind):
            candidates = self._of_one_scale(node, candidates)
        found = self._found(node, candidates)
        if _WINDOW in found:
            self._close_window(node, candidates, found)
        if not found and kind.startswith(CLOCK):
            found = self._clock(node)
        self.sources |= {node.values[key].path: leaf for key, leaf in found.items()}
        if node.buffers() and any(other.buffers() for other in candidates):
            self.compared.append((node, candidates))

    def _close_window(self, node: Node, candidates: list[Node], found: dict[Key, Leaf]) -> None:
        """Let a window begin anew where the sums of an open one have no place, or not all have."""
        held = any(key[0] == "acc_grads" for other in candidates for key in other.values)
        sums = [key for key in node.values if key[0] == "acc_grads"]
        count = found[_WINDOW].value
        is_open = check.is_traced(count) or int(count) != 0
        if is_open and held and not (sums and all(key in found for key in sums)):
            for key in list(found):
                if key[0] in ("mini_step", "weight", "acc_extra", "acc_grads"):
                    why = "not all sums of the open window have a place here: a window begins"
                    self.reasons[node.values[key].path] = self.unfit[found.pop(key).path] = why

    def _of_one_scale(self, node: Node, candidates: list[Node]) -> list[Node]:
        """Those that follow the same scaling, and stand on the same side of the learning rate."""
        fit = []
        for other in candidates:
            why = what_differs(node, self._new, other, self._old)
            if why:
                self._leave(node, why)
                self.unfit |= {leaf.path: why for leaf in other.values.values()}
            else:
                fit.append(other)
        return fit

    def _found(self, node: Node, candidates: list[Node]) -> dict[Key, Leaf]:
        """What a node takes over from those of its kind.

        That is from the one that stands, among those of its kind, in the same place of the same
        group; and what is not there, from the one that has it in another group.
        """
        alike = [n for n in self._new if n.kinds == node.kinds and n.scope == node.scope]
        by_scope: dict[Path, list[Node]] = {}
        for other in candidates:
            by_scope.setdefault(other.scope, []).append(other)
        here = by_scope.pop(node.scope, [])
        index = next(i for i, n in enumerate(alike) if n is node)
        if here and len(here) != len(alike):
            why = f"{len(here)} of its kind there, {len(alike)} here: which is which is not known"
            self._leave(node, why)
            self.unfit |= {leaf.path: why for n in here for leaf in n.values.values()}
            return {}
        first = here[index] if here else None
        others = [nodes[index] for nodes in by_scope.values() if len(nodes) == len(alike)]
        buffers = node.buffers()
        found: dict[Key, Leaf] = {}
        givers: list[Node] = []
        for key in buffers:
            source = self._holder(node, key, first, others)
            if source is not None and self._fits(node.values[key], source.values[key]):
                found[key] = source.values[key]
                givers.append(source)
        if not buffers or (first is not None and _WINDOW in first.values):
            givers = others if first is None else [first]
        elif first in givers:
            assert first is not None
            givers = [first]
        if not agree(givers, _COUNT):
            self._leave(node, "the groups that it comes from have different counts")
            return {}
        for key in node.values.keys() - {*buffers}:
            held = [n for n in givers if key in n.values]
            if held and not agree(held, key):
                self.reasons[node.values[key].path] = "its values in the groups differ"
            elif held and self._fits(node.values[key], held[0].values[key]):
                found[key] = held[0].values[key]
        return found | _weights(node, found)

    def _holder(self, node: Node, key: Key, first: Node | None, others: list[Node]) -> Node | None:
        """The node that an array of a parameter comes from."""
        if first is not None and key in first.values:
            return first
        holders = [n for n in others if key in n.values]
        path = node.values[key].path
        if (first or others) and not holders:
            self.reasons[path] = "no such array in the old state"
        if len(holders) > 1:
            self.reasons[path] = "several groups of the old state have one"
            return None
        if holders and first is not None and not agree([first, holders[0]], _COUNT):
            self.reasons[path] = "its group in the old state has another count"
            return None
        return holders[0] if holders else None

    def _fits(self, new: Leaf, old: Leaf) -> bool:
        theirs, here = _type(old.value), _type(new.value)
        if theirs[0] == here[0] and _castable(old.value, new.value):
            return True
        why = f"{_shown(theirs)} in the old state, {_shown(here)} here"
        self.reasons[new.path] = self.unfit[old.path] = why
        return False

    def _leave(self, node: Node, why: str) -> None:
        for leaf in node.values.values():
            self.reasons[leaf.path] = why

    def _say_what_is_over(self) -> None:
        used = {leaf.path for leaf in self.sources.values()}
        for node in self._old:
            if node.kinds[0].startswith(READING):
                continue
            is_tunable = node.kinds[0].startswith(TUNABLE)
            has_place = any(leaf.path in used for leaf in node.values.values())
            if is_tunable or has_place:
                why = "no tunable here: the value is that of the call" if is_tunable else ""
                for key, leaf in node.values.items():
                    if key[1] and not is_tunable:
                        why = "no such array here"
                    self.unfit.setdefault(leaf.path, why)

    def _clock(self, node: Node) -> dict[Key, Leaf]:
        """A counter of steps for schedules of which the old state knew nothing."""
        clocks = [n for n in self._old if n.kinds[0].startswith(CLOCK)]
        counted = [n for n in self._old if _COUNT in n.values]
        windows = [n for n in self._old if _WINDOWS in n.values]
        nearby = [n for n in clocks if n.scope == node.scope]
        choices = ((nearby, _COUNT), (clocks, _COUNT), (counted, _COUNT), (windows, _WINDOWS))
        for nodes, key in choices:
            if nodes and agree(nodes, key):
                self.reasons.pop(node.values[_COUNT].path, None)
                return {_COUNT: nodes[0].values[key]}
        if self._step is not None:
            self.reasons.pop(node.values[_COUNT].path, None)
            return {_COUNT: Leaf(("step",), np.int32(self._step))}
        self.reasons[node.values[_COUNT].path] = (
            "the counts of the old state differ; pass `step=`, the updates done"
            if clocks or counted or windows
            else "the old state counts no steps; pass `step=`, the updates done"
        )
        return {}


def _weights(node: Node, found: dict[Key, Leaf]) -> dict[Key, Leaf]:
    """For the weights of averages that had a constant decay: of how many values they are.

    The next update takes them for averages of so many by its own decay.
    """
    count = found.get(_COUNT)
    if count is None:
        return {}
    missing = [key for key in node.values if key[0].startswith(WEIGHT) and key not in found]
    return {
        key: Leaf(count.path, count.value, "the count, until the next update") for key in missing
    }


def agree(nodes: Iterable[Node], key: Key) -> bool:
    """Whether nodes hold the same number, as far as they hold one."""
    values = [node.values[key].value for node in nodes if key in node.values]
    if len(values) < 2 or all(value is values[0] for value in values):
        return True
    if any(check.is_traced(value) for value in values):
        raise ValueError(
            "`transfer_state(old_state, tx, params)` has to compare counts of the old state with "
            "each other, which are traced: call it outside of `jit` and `vmap`."
        )
    return all(np.array_equal(np.asarray(values[0]), np.asarray(value)) for value in values)


def _type(x: Any) -> tuple[tuple[int, ...], Any]:
    return tuple(np.shape(x)), x.dtype if hasattr(x, "dtype") else jnp.asarray(x).dtype


def _castable(old: Any, new: Any) -> bool:
    """Whether an array can be cast without losing more than digits."""
    theirs, here = _type(old)[1], _type(new)[1]
    if theirs == here:
        return True
    if any(jnp.issubdtype(d, jax.dtypes.extended) for d in (theirs, here)):
        return False
    order = [np.bool_, np.integer, np.floating, np.complexfloating]
    ranks = [
        next(i for i, kind in enumerate(order) if jnp.issubdtype(d, kind)) for d in (theirs, here)
    ]
    return ranks[0] <= ranks[1]


def _shown(kind: tuple[tuple[int, ...], Any]) -> str:
    return f"{kind[1]}{list(kind[0])}"
