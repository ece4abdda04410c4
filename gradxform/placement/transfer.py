"""From the state of one optimizer to that of another, in the middle of a run."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import tree_flatten_with_path

from ..core import check, tree
from ..core.types import Params, State, require_transformation
from .matching import Matching
from .optax_states import SIGNATURES, converted, kinds_by_fields
from .state_nodes import (
    CLOCK,
    READING,
    TUNABLE,
    Key,
    Known,
    Leaf,
    Node,
    Path,
    nodes_of,
    path_of,
    records,
)
from .transfer_report import Place, TransferEntry, TransferReport


class Transfer(NamedTuple):
    """What `transfer_state` returns."""

    state: State  # of the new optimizer, for its next update
    report: TransferReport  # what became of each array


def transfer_state(
    old_state: State,
    tx: optax.GradientTransformation,
    params: Params,
    *,
    step: int | None = None,
    lost: Literal["refuse", "report"] = "refuse",
) -> Transfer:
    """Go on with another optimizer: its state, with all that the old state holds of it.

        state, report = transfer_state(checkpoint["opt_state"], tx, params)
        print(report)

    The old state may be of another chain of this library, or Optax's of the same algorithm, and
    it may have lost its classes, as one has that Orbax or Flax's msgpack restored without a
    template: it is then read by the names of its fields. Nothing of it is changed or shared.

    An array goes where the same class has the same field for the same path of a parameter, with
    the same shape. Where a class occurs several times, the first goes to the first and so on,
    within the same group of `partition` or link of `named_chain`; if they are not equally many
    there, all of them start anew. What its group does not have comes from the one other group
    that has it, so that a chain can be parted into groups, and groups be joined. Between
    different classes only averages of the same kind pass: the first moment of Adam to Lion, both
    moments to AMSGrad, but Lion's not to Adam, whose bias correction it does not fit. And a
    velocity passes only behind the same scaling, and on the same side of the learning rate:
    `optax.rmsprop` and `optax.adafactor` have it in front of their momentum, those of this library
    after it.

    Counters go along with the averages that they correct. Schedules go on at the step that the
    old state counts, also where it had a constant. Tunables keep the value of the old state (and
    of Optax's `inject_hyperparams`); constants and schedules are those of `tx`, and what the state
    shows of them is the last update's until the next. Dtypes and shardings are those of
    `tx.init(params)`, and an array that is cast is reported; for other places,
    `jax.device_put(state, state_sharding(...))`.

    Where a decay may change, its average's weight goes along; of a constant's, the count is known,
    and the weight is that of so many steps with the decay of the next update.

    A buffer that starts from zero beside a count that goes on, as for a layer that was added or
    grown, is not corrected for its start: Adam's steps for it are longer than usual at first, up
    to 6.6 times with b1 = 0.9 and b2 = 0.999. The report notes it. A group of its own, by
    `partition`, starts with a count of its own. Where all buffers of a block are new, so is its
    count. An open window of `accumulate` goes on if all of its sums have a place; else a window
    begins. `bucket` with other vectors begins anew.

    Args:
      old_state: the state of the old optimizer, in arrays of JAX or NumPy.
      tx: the new optimizer.
      params: the parameters, as they are now.
      step: the number of updates done, for the schedules where the old state does not count them
        (`optax.sgd` with a constant learning rate). What the old state counts holds.
      lost: what happens where a tunable of the old state has a value that no tunable of the same
        name takes over, though there is one. "refuse" raises, "report" lists it as dropped.

    Returns:
      A pair of the state for `tx.update` and a report by path of what was kept, what is new and
      what was dropped; it prints as a table. All of it is computed by `tx.init` and copies, array
      by array, outside of `jit`.

    Raises:
      ValueError: a live value would be lost. Nothing in the old state has a place in the new one,
        or none of its buffers belongs to these parameters; with what both hold. A whole training
        state, whose `opt_state` is meant.
      TypeError: `old_state` holds something that is no array.
    """
    require_transformation("transfer_state(old_state, tx, params)", "`tx`", tx)
    if step is not None:
        step = check.Whole(low=0)("transfer_state", "step", step)
    _require_state(old_state)
    tree.require_arrays("transfer_state(old_state, tx, params)", params)
    _require_arrays(params, "params", "Create or restore them first: what is new starts from them.")
    _require_arrays(old_state, "old_state", "Pass what was restored, not the template.")
    fresh = tx.init(params)
    classes = records(fresh)
    shapes = {path_of(p): tuple(np.shape(x)) for p, x in _leaves(params)}
    fields = {fields for _, fields in classes}
    new = nodes_of(fresh, Known(fields, shapes))
    old = converted(
        nodes_of(old_state, Known({*SIGNATURES, *fields}, shapes)),
        shapes,
        kinds_by_fields(classes),
    )
    matching = Matching(new, old, step)
    report = _report(new, old, matching)
    _require_kin(new, old, matching, report, () in shapes)
    if lost == "refuse":
        _require_no_loss(new, old, matching)
    places = [path_of(path) for path, _ in _leaves(fresh)]
    leaves, structure = jax.tree.flatten(fresh)
    for index, path in enumerate(places):
        if path in matching.sources:
            leaves[index] = _placed(matching.sources[path].value, leaves[index])
    return Transfer(jax.tree.unflatten(structure, leaves), report)


def _require_state(old_state: Any) -> None:
    if old_state is None:
        raise TypeError(
            "`transfer_state(old_state, tx, params)`: `old_state` is None; it must be the state of "
            "an optimizer. A run that has none begins with `tx.init(params)`."
        )
    is_whole = (
        "opt_state" in old_state if isinstance(old_state, dict) else hasattr(old_state, "opt_state")
    )
    if is_whole:
        raise ValueError(
            "`transfer_state(old_state, tx, params)`: `old_state` is a whole training state "
            f"({type(old_state).__name__}). Pass its `opt_state`, and the parameters beside it."
        )


def _require_arrays(x: Any, name: str, hint: str) -> None:
    if x is None:
        raise TypeError(f"`transfer_state(old_state, tx, params)`: `{name}` is None. {hint}")
    for path, leaf in tree_flatten_with_path(tree.unboxed(x))[0]:
        is_number = isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float | complex)
        if not is_number:
            where = "/".join(path_of(path)) or name
            raise TypeError(
                f"`transfer_state(old_state, tx, params)`: `{where}` in `{name}` must be an array; "
                f"got {check.brief(leaf)}. {hint}"
            )


def _leaves(x: Any) -> list[tuple[Any, Any]]:
    return tree_flatten_with_path(tree.unboxed(x))[0]


def _placed(value: Any, like: Any) -> jax.Array:
    """A copy of an array in the dtype and the place of another."""
    if check.is_traced(value) or check.is_traced(like):
        return jnp.array(value, like.dtype, copy=True)
    same = getattr(value, "dtype", None) == like.dtype
    if like.committed:
        cast = value if same else jnp.asarray(value).astype(like.dtype)
        return jax.device_put(cast, like.sharding, may_alias=False)
    # What is bound to no device must stay so: it is used beside parameters on any devices.
    if isinstance(value, jax.Array) and value.committed:
        value = np.asarray(value)
    return jnp.array(value, like.dtype, copy=True)


def _report(new: list[Node], old: list[Node], matching: Matching) -> TransferReport:
    places = {leaf.path: _place(key, leaf) for key, leaf in _all(old)}
    kept, fresh, dropped = [], [], []
    used: set[Path] = set()
    for key, leaf in _shown(new):
        source = matching.sources.get(leaf.path)
        if source is None:
            fresh.append(TransferEntry(_place(key, leaf), note=matching.reasons.get(leaf.path, "")))
            continue
        used.add(source.path)
        note = ", ".join(filter(None, (source.note, _cast(source.value, leaf.value))))
        origin = places.get(source.path, Place("", "`step`", ""))
        kept.append(TransferEntry(_place(key, leaf), origin, note))
    counts = [
        matching.sources[leaf.path]
        for node in new
        for leaf in node.values.values()
        if node.kinds[0].startswith(CLOCK) and leaf.path in matching.sources
    ]
    for key, leaf in _shown(old):
        # A count of the same steps is not lost.
        known = key == ("count", ()) and any(_equal(leaf, count) for count in counts)
        if leaf.path not in used and not known:
            used.add(leaf.path)
            dropped.append(TransferEntry(_place(key, leaf), note=matching.unfit.get(leaf.path, "")))
    notes = filter(None, (_begun_late(node, matching) for node in new))
    return TransferReport(tuple(kept), tuple(fresh), tuple(dropped), tuple(notes))


def _begun_late(node: Node, matching: Matching) -> str:
    """What to know of buffers that start anew beside a count that goes on; "" where none do."""
    count = matching.sources.get(node.values[_COUNT].path) if _COUNT in node.values else None
    late = [key for key in node.buffers() if node.values[key].path not in matching.sources]
    if count is None or not late:
        return ""
    number = "" if check.is_traced(count.value) else f" of {int(count.value)}"
    names = ", ".join(dict.fromkeys("/".join(key[1]) for key in late))
    return (
        f"note: in `{'/'.join(node.place) or node.kinds[0]}`, {len(late)} of "
        f"{len(node.buffers())} buffers begin anew ({names}) beside a count{number}, which does "
        "not correct their averages for that. A group of their own, in `partition({...}, "
        "default=...)`, begins with a count of its own."
    )


def _place(key: Key, leaf: Leaf) -> Place:
    whole = leaf.path[: len(leaf.path) - len(key[1])]
    return Place("/".join(whole[:-1]), "".join(whole[-1:]), "/".join(key[1]))


def _all(nodes: list[Node]) -> list[tuple[Key, Leaf]]:
    return [item for node in nodes for item in node.values.items()]


def _shown(nodes: list[Node]) -> list[tuple[Key, Leaf]]:
    """All but the readings, which the next update computes."""
    return _all([node for node in nodes if not node.kinds[0].startswith(READING)])


def _equal(a: Leaf, b: Leaf) -> bool:
    traced = check.is_traced(a.value) or check.is_traced(b.value)
    return not traced and bool(np.array_equal(np.asarray(a.value), np.asarray(b.value)))


def _cast(old: Any, new: Any) -> str:
    before = old.dtype if hasattr(old, "dtype") else jnp.asarray(old).dtype
    return "" if before == new.dtype else f"{before} to {new.dtype}"


_COUNT: Key = ("count", ())


def _require_no_loss(new: list[Node], old: list[Node], matching: Matching) -> None:
    used = {leaf.path for leaf in matching.sources.values()}
    begun = {
        node.kinds[0]
        for node in new
        for leaf in node.values.values()
        if node.kinds[0].startswith(TUNABLE) and leaf.path not in matching.sources
    }
    for node in old:
        for leaf in node.values.values():
            if node.kinds[0] in begun and leaf.path not in used:
                raise ValueError(
                    "`transfer_state(old_state, tx, params)`: the value of the tunable "
                    f"`{'/'.join(leaf.path)}` would be lost: which of those in the new state is "
                    'meant cannot be told. Pass `lost="report"` to begin with the values of the '
                    "call, and set them with `set_hyperparams`."
                )


def _require_kin(
    new: list[Node], old: list[Node], matching: Matching, report: TransferReport, bare: bool
) -> None:
    pairs = [
        (node, others)
        for node, others in matching.compared
        if any(bare or (key[1] and key[1][0] != "vectors") for key in node.buffers())
        and not any("vectors" in key[1][:1] for n in (node, *others) for key in n.values)
    ]
    if pairs and not any(_related(*pair) for pair in pairs):
        node, others = pairs[0]
        raise ValueError(
            "`transfer_state(old_state, tx, params)`: none of the buffers of the old state belongs "
            f"to these parameters. It has {_listed(others)}; this optimizer has {_listed([node])}. "
            "Pass the parameters that the state was made for, as `init` was given them, or begin "
            "with `tx.init(params)`."
        )
    if not report.kept and _all(old):
        raise ValueError(
            "`transfer_state(old_state, tx, params)`: nothing in the old state has a place in that "
            f"of this optimizer. It has {_listed(old)}; this optimizer has {_listed(new)}. If they "
            "have nothing in common, begin with `tx.init(params)`."
        )


def _related(node: Node, others: list[Node]) -> bool:
    """Whether any buffer has its like, by path and shape, in nodes of its kind."""
    return any(
        key in other.values
        and np.shape(other.values[key].value) == np.shape(node.values[key].value)
        for key in node.buffers()
        for other in others
    )


def _listed(nodes: list[Node], most: int = 4) -> str:
    shown = [
        f"`{'/'.join(leaf.path)}` {leaf.value.dtype}{list(np.shape(leaf.value))}"
        for _, leaf in sorted(_shown(nodes), key=lambda item: not item[0][1])
    ]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return (", ".join(shown[:most]) + more) or "no arrays"
