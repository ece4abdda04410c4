"""What blocks of different kinds have in common: averages that mean the same."""

from .state_nodes import Key, Leaf, Node

# By the class of the state, what its fields are averages of. Averages from zero that a count
# corrects are of use only with it, and with each other; `_COUNTED` says whose they are. A name
# that stands at one class only belongs to it alone. Not here is what depends on more than its
# kind: `scale_by_ema` averages whatever the links before it make, and a centered RMS subtracts
# averages that must be over the same steps.
_AVERAGES: dict[str, dict[str, str]] = {
    "ScaleByAdamState": {"mu": "gradients", "nu": "squares"},
    "ScaleByRadamState": {"mu": "gradients", "nu": "squares"},
    "ScaleByAmsgradState": {"mu": "gradients", "nu": "squares"},
    "ScaleByAdemamixState": {"mu": "gradients", "nu": "squares"},
    "ScaleByBeliefState": {"mu": "gradients", "nu": "squared deviations"},
    "ScaleByAdamaxState": {"mu": "gradients", "nu": "largest magnitudes"},
    "ScaleByYogiState": {"mu": "gradients", "nu": "additive squares"},
    "ScaleByLionState": {"mu": "gradients"},
    "ScaleByRmsState": {"nu": "squares"},
}
_COUNTED = set(_AVERAGES) - {"ScaleByLionState", "ScaleByRmsState"}
_COUNT: Key = ("count", ())


def equivalents(kind: str, old: list[Node], present: set[str]) -> tuple[list[Node], str]:
    """Nodes of another kind that hold all of what a node of `kind` averages, under its names.

    Args:
      kind: the kind of a new node of which the old state has none.
      old: the nodes of the old state.
      present: the kinds in the new state; what belongs to one of them is not lent.

    Returns:
      Nodes of one kind; or none, and why, where the old state holds such averages in part.
    """
    fields = _AVERAGES.get(_name(kind))
    if fields is None:
        return [], ""
    found: dict[str, list[Node]] = {}
    for node in old:
        other = next((k for k in node.kinds if _name(k) in _AVERAGES), "")
        theirs = {what: name for name, what in _AVERAGES.get(_name(other), {}).items()}
        lends = present.isdisjoint(node.kinds) and {*fields.values()} <= {*theirs}
        if not lends or (_name(kind) in _COUNTED and not _counted(other, node)):
            continue
        renamed = {theirs[what]: name for name, what in fields.items()}
        values: dict[Key, Leaf] = {
            (renamed[name], path): leaf
            for (name, path), leaf in node.values.items()
            if name in renamed
        }
        if _name(kind) in _COUNTED:
            values[_COUNT] = node.values[_COUNT]
        found.setdefault(other, []).append(Node(node.place, node.scope, (kind,), values))
    if len(found) == 1:
        return next(iter(found.values())), ""
    if found:
        return [], "several blocks of the old state would do"
    held = any(_name(k) in _AVERAGES for node in old for k in node.kinds)
    what = f"averages of {' and '.join(fields.values())}"
    counted = " with their count" if _name(kind) in _COUNTED else ""
    return [], f"no block of the old state has {what}{counted}" if held else ""


def _counted(kind: str, node: Node) -> bool:
    return _name(kind) in _COUNTED and _COUNT in node.values


def _name(kind: str) -> str:
    return kind.removeprefix("gradxform.")
