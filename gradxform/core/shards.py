"""Inside of `jax.shard_map`, where a function sees one shard of each array.

What treats each coordinate by itself need not know. What needs more of an array, such as its norm,
or decides for all arrays, such as whether they are finite, says so where it is defined
(`core.types.whole_arrays`) and takes `axis_name=`:

    None            arrays are whole; one that differs between devices is refused
    a name, names   arrays may be split over these mesh axes; sums are over all shards
    ()              each shard is whole: one model a device, as in a population

One check, which the decorator of a block makes at each call, serves them all. Under `shard_map`'s
default, `check_vma=True`, types tell along which axes an array differs between devices; without it
nothing does, and such a block wants one of the last two.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Annotated, Any

import jax
from jax.tree_util import keystr, tree_flatten_with_path

from . import check, mesh


class AxisNameRule:
    """Names of mesh axes.

    Attributes:
      takes_names: whether there may be any, or None and `()` only.
    """

    def __init__(self, takes_names: bool = True) -> None:
        self.takes_names = takes_names
        self.kind = "str | tuple[str, ...] | None" if takes_names else "tuple[()] | None"

    def __call__(self, call: str, name: str, value: Any) -> str | tuple[str, ...] | None:
        """The name, a tuple of them, or None."""
        several = tuple(value) if isinstance(value, tuple | list) else (value,)
        if value is not None and not all(isinstance(x, str) for x in several):
            must = "the name of a mesh axis, a tuple of them, `()` for whole shards, or None"
            check.fail(call, name, value, must)
        if several and value is not None and not self.takes_names:
            must = "None, or `()` where each shard is a whole"
            why = "What it computes is no sum over shards: call it outside of `shard_map`."
            check.fail(call, name, value, must, why)
        return several if isinstance(value, tuple | list) else value


# The mesh axes that arrays are split over inside of a `shard_map`: one, several, none, or None.
AxisName = Annotated[str | Sequence[str] | None, AxisNameRule()]
# The same of a block that cannot put its result together from shards: none, or None.
WholeShards = Annotated[Sequence[str] | None, AxisNameRule(takes_names=False)]

_SPLIT_OVER: ContextVar[tuple[str, ...]] = ContextVar("_SPLIT_OVER", default=())


def split_over() -> tuple[str, ...]:
    """The mesh axes that the running block was told its arrays are split over."""
    return _SPLIT_OVER.get()


def everywhere(holds: jax.Array) -> jax.Array:
    """Whether something holds on all devices along the axes that arrays are split over."""
    axes = split_over()
    if axes and _is_tracked(axes):
        axes = tuple(axis for axis in axes if axis in mesh.varying(holds))
    pmin: Any = jax.lax.pmin
    return pmin(holds.astype("int32"), axes) != 0 if axes else holds


def require_tracked(axes: tuple[str, ...]) -> None:
    """Refuse a sum over shards where it is not known which arrays have some."""
    check.require(
        _is_tracked(axes),
        f"`axis_name={_shown(axes)}`: which arrays are split over the axis, and which every device "
        "has whole, is known inside of `jax.shard_map(..., check_vma=True)` only, its default.",
    )


@contextlib.contextmanager
def _summing_over(axes: tuple[str, ...]) -> Iterator[None]:
    token = _SPLIT_OVER.set(axes)
    try:
        yield
    finally:
        _SPLIT_OVER.reset(token)


class View:
    """How a block sees its arrays.

    Attributes:
      needs_whole: whether it needs the whole of each array, or all arrays.
      axis_name: what it was told.
      takes_names: whether it can be told names.
    """

    def __init__(self, needs_whole: bool, axis_name: Any, takes_names: bool) -> None:
        self.needs_whole = needs_whole
        self.axis_name = axis_name
        self.takes_names = takes_names
        self.axes = (axis_name,) if isinstance(axis_name, str) else tuple(axis_name or ())

    def is_concerned(self) -> bool:
        """Whether an update must be run by `step`."""
        return bool(self.axes) or bool(mesh.manual_axes())

    def start(self, init: Callable[[Any], Any], params: Any) -> Any:
        """The state that `init` makes."""
        manual = mesh.manual_axes()
        if manual and self.needs_whole:
            self._require_known(manual, (params,), {})
        with _summing_over(tuple(axis for axis in self.axes if axis in manual)):
            return self._finished(init(params), params)

    def step(
        self, update: Callable[..., Any], updates: Any, state: Any, params: Any, extra: Any
    ) -> Any:
        """What `update` returns: the updates and the state."""
        with self.summing((updates, params), extra):
            return self._finished(update(updates, state, params, **extra), (updates, params))

    @contextlib.contextmanager
    def summing(self, arrays: Any, extra: dict[str, Any] | None = None) -> Iterator[None]:
        """Compute with these arrays, a tuple of trees: refuse them, or sum over all shards."""
        manual = mesh.manual_axes()
        self._require_axes(manual)
        if manual and self.needs_whole:
            self._require_known(manual, arrays, extra or {})
        with _summing_over(self.axes):
            yield

    def _finished(self, results: Any, arrays: Any) -> Any:
        """The results; with whole shards, as what may differ wherever the arrays do."""
        if self.axis_name != () or not self.needs_whole or not mesh.manual_axes():
            return results
        found = [mesh.varying(x) for x in jax.tree.leaves(arrays) if isinstance(x, jax.Array)]
        axes = frozenset[str]().union(*found)
        return jax.tree.map(lambda x: mesh.as_varying(x, axes), results) if axes else results

    def _require_axes(self, manual: tuple[str, ...]) -> None:
        for axis in self.axes:
            check.require(
                axis in manual,
                f"`axis_name={axis!r}` is no axis of a `jax.shard_map` around this update. Outside "
                "of one, arrays are whole, whatever their sharding: leave `axis_name` out.",
            )

    def _require_known(self, manual: tuple[str, ...], arrays: Any, extra: dict[str, Any]) -> None:
        if self.axis_name is None:
            check.require(
                _is_tracked(manual),
                "inside of `jax.shard_map(..., check_vma=False)`, or `jax.pmap`, nothing tells "
                "which arrays are split over devices, and this needs the whole of each. "
                f"{self._ways_out(manual)}",
            )
            for path, x in tree_flatten_with_path(arrays)[0]:
                split = _split(x, manual)
                check.require(
                    not split,
                    f"leaf `{keystr(path[1:], simple=True, separator='/')}` differs between the "
                    f"devices along the mesh axis {_shown(split)} of a `jax.shard_map` around, and "
                    f"this needs the whole of each array. {self._ways_out(split)}",
                )
        if self.axis_name == ():
            return
        for name, value in extra.items():
            split = _split(value, self.axes or manual)
            check.require(
                not split,
                f"`{name}` differs between the devices along the mesh axis {_shown(split)}. Pass "
                f"the mean over all of them, `{name}=jax.lax.pmean({name}, {_shown(split)})`.",
            )

    def _ways_out(self, axes: tuple[str, ...]) -> str:
        over = f"Write `axis_name={_shown(axes)}`, which counts all shards together, or"
        return (
            f"{over if self.takes_names else 'Write'} `axis_name=()` if each shard is a whole, as "
            "with one model a device. Or call `update` outside of the `shard_map`, under `jit`, "
            "where arrays are whole whatever their sharding."
        )


def _split(x: Any, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the axes along which an array differs between devices."""
    if not isinstance(x, jax.Array):
        return ()
    found = mesh.varying(x)
    return tuple(axis for axis in axes if axis in found)


def _is_tracked(axes: tuple[str, ...]) -> bool:
    """Whether types tell along which axes an array differs between devices."""
    return axes[0] in mesh.varying(jax.lax.axis_index(axes[0]))


def _shown(axes: tuple[str, ...]) -> str:
    return repr(axes[0] if len(axes) == 1 else axes)


def view_of(
    needs_whole: Callable[[dict[str, Any]], bool] | None, arguments: dict[str, Any], rule: Any
) -> View:
    """How a block sees its arrays that is built with these arguments.

    Args:
      needs_whole: of the arguments, whether it needs whole arrays; None where it never does.
      arguments: by name.
      rule: the rule of its `axis_name`.
    """
    return View(
        needs_whole is not None and needs_whole(arguments),
        arguments.get("axis_name"),
        getattr(rule, "takes_names", True),
    )
