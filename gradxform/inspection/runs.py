"""Logged runs as curves: what `plot_run` and `diagnose_run` are given, in one form."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ..core import check


class Curve(NamedTuple):
    """One quantity of one run and group, over the steps at which it was logged."""

    run: str  # "" where there is but one
    group: str  # "" for that of all parameters
    name: str
    steps: np.ndarray
    values: np.ndarray


def curves_of(metrics: Any) -> list[Curve]:
    """The curves of one run or of several, see `plot_run`."""
    if isinstance(metrics, Mapping) and any(_is_run(value) for value in metrics.values()):
        runs = {str(name): run for name, run in metrics.items()}
    else:
        runs = {"": metrics}
    curves = [curve for name, run in runs.items() for curve in _curves(name, run)]
    check.require(len(curves) > 0, "there are no metrics.")
    return curves


def over_all_steps(curves: Sequence[Curve]) -> dict[str, np.ndarray]:
    """The curves of one run over all of its steps, by name: NaN where one was not logged."""
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    found = {}
    for curve in curves:
        values = np.full(steps.shape, np.nan)
        values[np.searchsorted(steps, curve.steps)] = curve.values
        found[f"{curve.group}/{curve.name}" if curve.group else curve.name] = values
    return found


def _is_run(value: Any) -> bool:
    is_log = isinstance(value, list | tuple) and len(value) > 0 and isinstance(value[0], Mapping)
    return isinstance(value, Mapping) or is_log


def _curves(run: str, metrics: Any) -> list[Curve]:
    where = f" of `{run}`" if run else ""
    if isinstance(metrics, Mapping):
        found = _stacked(metrics, where)
    elif isinstance(metrics, list | tuple):
        found = _logged(metrics, where)
    else:
        raise check.Refusal(
            "the metrics must be a dict of curves, a list of dicts as they were logged, or a dict "
            f"from the names of several runs to these; got {check.brief(metrics)}{where}."
        )
    return [
        Curve(run, *_parts(name), steps, values)
        for name, (steps, values) in found.items()
        if name != "step"
    ]


def _parts(name: str) -> tuple[str, str]:
    """The group and the rest of a name such as `encoder/update_norm`."""
    group, _, rest = name.rpartition("/")
    return group, rest


def _stacked(metrics: Mapping[Any, Any], where: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Curves of the same length, as `lax.scan` stacks them."""
    values = {str(name): _numbers(name, x, where) for name, x in metrics.items()}
    lengths = {name: len(x) for name, x in values.items()}
    if len(set(lengths.values())) > 1:
        most = max(lengths.values())
        name, length = next((n, k) for n, k in lengths.items() if k < most)
        raise check.Refusal(
            f"`{name}`{where} has {length} values and others have {most}, so their steps are not "
            "known: pass what is logged at other steps as a list of dicts, each with its `step`."
        )
    steps = values.get("step", np.arange(max(lengths.values(), default=0)))
    return {name: (steps, x) for name, x in values.items()}


def _logged(metrics: Sequence[Any], where: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Curves through the dicts that have a value, or, of an epoch in a `scan`, several."""
    for index, one in enumerate(metrics):
        if not isinstance(one, Mapping):
            raise check.Refusal(
                f"entry {index}{where} of the list must be a dict of metrics; got "
                f"{check.brief(one)}."
            )
    curves: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    logged = 0
    for one in jax.device_get(metrics):
        found = {str(name): _numbers(name, value, where) for name, value in one.items()}
        length = max(map(len, found.values()), default=0)
        step = found.get("step", np.arange(logged, logged + length))
        logged += length
        for name, value in found.items():
            check.require(
                len(value) == len(step),
                f"`{name}`{where} has {len(value)} values and its dict {len(step)} steps.",
            )
            steps, values = curves.setdefault(name, ([], []))
            steps.append(step)
            values.append(value)
    return {name: (np.concatenate(x), np.concatenate(y)) for name, (x, y) in curves.items()}


def _numbers(name: Any, value: Any, where: str) -> np.ndarray:
    """A curve as float64, of at least one number."""
    try:
        array = np.atleast_1d(np.asarray(value))
        numbers = None if array.dtype.kind in "cSU" else array.astype(np.float64)
    except (TypeError, ValueError):
        numbers = None
    if numbers is None or numbers.ndim != 1 or not numbers.size:
        shape = "" if numbers is None else f" of shape {list(numbers.shape)}"
        raise check.Refusal(
            f"`{name}`{where} must be a curve, one number a step; got "
            f"{check.brief(value) if numbers is None else 'an array'}{shape}. Of a batch of runs, "
            "pass each one under its name: `{'seed 0': ..., 'seed 1': ...}`."
        )
    return numbers
