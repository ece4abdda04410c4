"""From the file of a comparison to what it holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core import check
from ..inspection.config_reader import Functions
from .candidate import Candidate
from .recipes import read_recipe
from .record import ARRAYS, FORMAT, VERSION
from .runs import CandidateResult, Reference

_AGAIN = "Make it again with `compare` or `gradxform compare`."


def read(path: str | Path, functions: Functions | None) -> dict[str, Any]:
    """The arguments of the `Comparison` that a file holds, see `load_comparison`."""
    call = f"load_comparison({str(path)!r})"
    data = _data(Path(path), call)
    try:
        return _Reader(functions, data["task"].get("lower_is_better")).comparison(data)
    except check.Refusal as error:
        raise ValueError(f"`{call}`: {error} {_AGAIN}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"`{call}`: the file has been changed, and is no comparison any more: {what}. {_AGAIN}"
        ) from None


def _data(path: Path, call: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`{call}`: the file is no JSON, or is cut off: {error.msg} in line {error.lineno}, "
            f"column {error.colno}. {_AGAIN}"
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise ValueError(f"`{call}`: the file is no JSON. {_AGAIN}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = f'`"format": {json.dumps(data.get("format"))}`' if isinstance(data, dict) else ""
        raise ValueError(
            f"`{call}`: the file is JSON, but no comparison: its first entry must be "
            f'`"format": "{FORMAT}"`; got {found or check.brief(data)}. Pass a file that '
            "`Comparison.save` or `gradxform compare` wrote."
        )
    version = data.get("format_version")
    if version != VERSION:
        raise ValueError(
            f"`{call}`: the file has version {check.brief(version)} of the format, and this "
            f"library reads version {VERSION}. Install the gradxform that wrote it: "
            f"{_writer(data)}."
        )
    return data


def _writer(data: Mapping[str, Any]) -> str:
    try:
        return f"version {data['environment']['versions']['gradxform']}"
    except (KeyError, TypeError):
        return "a newer one"


class _Reader:
    """From plain data to the values of one comparison."""

    def __init__(self, functions: Functions | None, lower_is_better: bool) -> None:
        self.functions = functions
        self.lower_is_better = lower_is_better

    def comparison(self, data: Mapping[str, Any]) -> dict[str, Any]:
        task, training = data["task"], data["training"]
        return {
            "task": task["name"],
            "planned": tuple(data["planned"]),
            "results": tuple(self._candidate(x, training) for x in data["candidates"]),
            "seeds": tuple(training["seeds"]),
            "steps": training["steps"],
            "batch_size": training["batch_size"],
            "evaluate_every": training["evaluate_every"],
            "sizes": task["examples"],
            "references": tuple(
                Reference(x["name"], float(x["validation"]), float(x["test"]), x["recipe"])
                for x in data["references"]
            ),
            "target": task["target"],
            "metric_name": task["metric"],
            "percent": task["percent"],
            "lower_is_better": task["lower_is_better"],
            "details": task["details"],
            "search": data["search"],
            "environment": data["environment"],
            "task_hash": task["hash"],
        }

    def _candidate(self, data: Mapping[str, Any], training: Mapping[str, Any]) -> CandidateResult:
        name = data["name"]
        candidate = Candidate(name, read_recipe(data, self.functions), data["grid"])
        arrays = {
            attribute: np.array(_numbers(data[key]), data["dtypes"][key])
            for key, attribute in ARRAYS.items()
        }
        runs = (len(candidate.settings), len(training["seeds"]))
        curve = (*runs, *arrays["evaluated"].shape)
        shapes = {"validation": curve, "train_loss": curve, "test": runs, "final_loss": runs}
        for key, attribute in ARRAYS.items():
            shape, must = arrays[attribute].shape, shapes.get(attribute, curve[2:])
            check.require(
                shape == must,
                f"the file has been changed: `{key}` of `{name}` must have the shape {must}; "
                f"got {shape}.",
            )
        milliseconds = data["milliseconds_a_step"]
        return CandidateResult(
            candidate=candidate,
            **arrays,
            milliseconds=None if milliseconds is None else float(milliseconds),
            lower_is_better=self.lower_is_better,
            trials=tuple(data["trials"]),
            program_hash=data["program_hash"],
        )


def _numbers(data: Any) -> Any:
    """Nested lists of numbers, with "NaN" and the infinities as numbers again."""
    return [_numbers(item) for item in data] if isinstance(data, list) else _number(data)


def _number(data: Any) -> Any:
    return float(data) if isinstance(data, str) else data
