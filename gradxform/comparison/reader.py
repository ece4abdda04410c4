"""From the file of a comparison to what it holds."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from ..core import check
from ..core.extra import require_extra
from ..core.words import printable, word
from ..inspection.config_reader import Functions
from ..inspection.plain_data import require_plain
from .candidate import Candidate
from .recipes import RECORD, read_recipe
from .record import ARRAYS, FORMAT, VERSION
from .runs import CandidateResult, Reference

if TYPE_CHECKING:
    from . import schema

_AGAIN = "Make it again with `compare` or `gradxform compare`."


def read(path: str | Path, functions: Functions | None) -> dict[str, Any]:
    """The arguments of the `Comparison` that a file holds, see `load_comparison`."""
    require_extra("compare", "msgspec")
    import msgspec

    from . import schema

    call = f"load_comparison({str(path)!r})"
    data = _data(Path(path), call)
    try:
        require_plain(data, "$")
        file = msgspec.convert(data, schema.File)
        return _Reader(functions, data, file).comparison()
    except msgspec.ValidationError as error:
        reason = printable(str(error))
        reason = reason if len(reason) <= 300 else f"{reason[:140]} ... {reason[-140:]}"
    except check.Refusal as error:
        reason = str(error)
    reason = reason.removesuffix(".")
    raise ValueError(
        f"`{call}`: the file has been changed, and is no comparison: {reason}. {_AGAIN}"
    )


def _data(path: Path, call: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`{call}`: the file is no JSON, or is cut off: {error.msg} in line {error.lineno}, "
            f"column {error.colno}. {_AGAIN}"
        ) from None
    except (ValueError, RecursionError):  # no text, thousands of digits, or too deep
        raise ValueError(f"`{call}`: the file is no JSON. {_AGAIN}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = check.brief(data.get("format") if isinstance(data, dict) else data)
        raise ValueError(
            f"`{call}`: the file is JSON, but no comparison: its first entry must be "
            f'`"format": "{FORMAT}"`; got {found}. Pass a file that '
            "`Comparison.save` or `gradxform compare` wrote."
        )
    version = data.get("format_version")
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"`{call}`: the file has version {check.brief(version)} of the format, and this "
            f"library reads version {VERSION}. Install the gradxform that wrote it: "
            f"{_writer(data)}."
        )
    return data


def _writer(data: Mapping[str, Any]) -> str:
    try:
        return f"version {word(data['environment']['versions']['gradxform'])}"
    except (KeyError, TypeError):
        return "a newer one"


class _Reader:
    """From data that fits the schema to the values of one comparison, which fit one another.

    Attributes:
      functions: what is not of this library, by name.
      data: the file as plain data; what is kept as it is comes from there.
      file: the same, checked.
    """

    def __init__(
        self, functions: Functions | None, data: Mapping[str, Any], file: "schema.File"
    ) -> None:
        self.functions = functions
        self.data = data
        self.file = file

    def comparison(self) -> dict[str, Any]:
        file, task, training = self.file, self.file.task, self.file.training
        names = [candidate.name for candidate in file.candidates]
        _require_once("$.planned", file.planned)
        _require_once("$.training.seeds", training.seeds)
        check.require(
            names == [name for name in file.planned if name in names],
            "the candidates must be among those in `$.planned`, in their order, each once",
        )
        return {
            "task": task.name,
            "planned": tuple(file.planned),
            "results": tuple(self._candidate(i) for i in range(len(file.candidates))),
            "seeds": tuple(training.seeds),
            "steps": training.steps,
            "batch_size": training.batch_size,
            "evaluate_every": training.evaluate_every,
            "sizes": self.data["task"]["examples"],
            "references": tuple(
                Reference(x.name, float(x.validation), float(x.test), x.recipe)
                for x in file.references
            ),
            "target": None if task.target is None else float(task.target),
            "metric_name": task.metric,
            "percent": task.percent,
            "lower_is_better": task.lower_is_better,
            "details": self.data["task"]["details"],
            "search": self.data["search"],
            "environment": self.data["environment"],
            "task_hash": task.hash,
        }

    def _candidate(self, number: int) -> CandidateResult:
        place, one = f"$.candidates[{number}]", self.file.candidates[number]
        arrays = {
            attribute: _array(f"{place}.{key}", getattr(one, key), getattr(one.dtypes, key))
            for key, attribute in ARRAYS.items()
        }
        steps = arrays["evaluated"]
        rising = bool(np.all(steps[1:] > steps[:-1]))
        check.require(rising, f"the steps at `{place}.evaluated_after_steps` must rise")
        for values in one.grid.values():
            check.require(
                all(map(math.isfinite, values)) and len({*values}) == len(values),
                f"`{place}.grid` must hold finite numbers, each once",
            )
        settings = math.prod(map(len, one.grid.values()))
        runs = (settings, len(self.file.training.seeds))
        curve = (*runs, *steps.shape)
        shapes = {"validation": curve, "train_loss": curve, "test": runs, "final_loss": runs}
        for key, attribute in ARRAYS.items():
            shape, must = arrays[attribute].shape, shapes.get(attribute, curve[2:])
            check.require(
                shape == must,
                f"`{place}.{key}` of `{word(one.name)}` must have the shape {must}; got {shape}",
            )
        made = read_recipe({key: getattr(one, key) for key in RECORD}, one.grid, self.functions)
        milliseconds = one.milliseconds_a_step
        return CandidateResult(
            candidate=Candidate(one.name, made, one.grid),
            **arrays,
            milliseconds=None if milliseconds is None else float(milliseconds),
            lower_is_better=self.file.task.lower_is_better,
            trials=tuple(self.data["candidates"][number]["trials"]),
            program_hash=one.program_hash,
        )


def _require_once(place: str, values: Sequence[Any]) -> None:
    check.require(len({*values}) == len(values), f"`{place}` must hold each value once")


def _array(place: str, values: Any, dtype: str) -> np.ndarray:
    """Nested lists of numbers, among them "NaN" and the infinities as text, as they were kept."""
    try:
        wide = np.array(values, np.int64 if "int" in dtype else np.float64)
    except ValueError:
        raise check.Refusal(f"the rows of `{place}` must be of one length") from None
    with np.errstate(over="ignore"):
        array = wide.astype(jnp.dtype(dtype))
    kept = wide == array if "int" in dtype else np.isfinite(wide) == np.isfinite(array)
    check.require(bool(np.all(kept)), f"a number in `{place}` does not fit into {dtype}")
    return array
