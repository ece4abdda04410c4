"""Optimizers in the files of a comparison: as text, as a configuration, and back."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import optax

from ..core import public
from ..core.words import printable
from ..inspection.config import from_config, to_config
from ..inspection.config_reader import Functions
from .candidate import Candidate, Optimizer
from .runs import CandidateResult

RECORD = ("recipe", "factory", "config", "chosen_recipe", "chosen_config")


class WrittenTransformation(optax.GradientTransformationExtraArgs):  # type: ignore[misc]
    """An optimizer of which only a record is known: it prints and compares, and cannot train.

    Attributes:
      record: what `recipe_record` returned when it was live.
    """

    record: dict[str, Any]

    def __new__(cls, record: Mapping[str, Any]) -> "WrittenTransformation":
        """An optimizer that prints as the text in its record."""

        def refuse(*_: Any, **__: Any) -> NoReturn:
            raise TypeError(
                f"this optimizer was read from a file that holds only its text: "
                f"`{record['recipe']}`. Build it again, or pass its functions to "
                "`load_comparison(path, functions={...})`."
            )

        new = super().__new__(cls, refuse, refuse)
        new.record = {key: record[key] for key in RECORD}
        return new

    def __repr__(self) -> str:
        return printable(self.record["recipe"], keep="\n")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WrittenTransformation) and self.record == other.record

    def __hash__(self) -> int:
        return hash(repr(self))


def recipe_text(made: Optimizer) -> str:
    """The call that builds a transformation; of one that does not know it, its `repr`.

    Args:
      made: a transformation, or a function that makes one.
    """
    if not isinstance(made, optax.GradientTransformation):
        return getattr(made, "written", getattr(made, "__qualname__", repr(made)))
    return re.sub(r" at 0x[0-9a-f]+", "", repr(made))


def recipe_record(result: CandidateResult, steps: int) -> dict[str, Any]:
    """What files and pages hold of an optimizer, as it was given and as it was chosen.

    Args:
      result: the runs that chose.
      steps: training steps of each run.

    Returns:
      The call as text, what builds it again where that is known (a factory of this library by
      name, or a configuration), and both with the chosen values in the place of the tunables.
    """
    made = result.candidate.transformation
    if isinstance(made, WrittenTransformation):
        return made.record
    text, factory, config = recipe_text(made), None, None
    if isinstance(made, optax.GradientTransformation):
        config = _config(made)
    elif public.factory_name(made) == text:
        factory = text
    chosen = chosen_transformation(result, steps)
    return {
        "recipe": text,
        "factory": factory,
        "config": config,
        "chosen_recipe": None if chosen is None else recipe_text(chosen),
        "chosen_config": None if chosen is None else _config(chosen),
    }


def read_recipe(
    record: Mapping[str, Any], grid: Mapping[str, Any], functions: Functions | None
) -> Optimizer:
    """The optimizer of a record; of one that cannot be built, what prints as it did.

    Args:
      record: what `recipe_record` returned.
      grid: the values that were tried, by the names that a function must take.
      functions: functions and factories that are not of this library, by name.
    """
    try:
        if record["config"] is not None:
            return from_config(record["config"], functions=functions)
        name = record["factory"] or record["recipe"]
        made = (functions or {}).get(name) or public.factory(name)
        if made is not None:
            return Candidate(record["recipe"], made, grid).transformation
    except (TypeError, ValueError):
        pass
    return WrittenTransformation(record)


def chosen_transformation(
    result: CandidateResult, steps: int
) -> optax.GradientTransformation | None:
    """The candidate's optimizer with the chosen values in the place of its tunables.

    Args:
      result: the runs that chose.
      steps: training steps of each run.

    Returns:
      The optimizer, to be copied; None where a value's place in it is not known.
    """
    made, setting = result.candidate.transformation, result.chosen_setting
    if not isinstance(made, optax.GradientTransformation):
        try:
            return result.candidate.built(setting, steps)
        except Exception:  # what a file calls by name need not be what it was
            return None
    config = _config(made)
    if config is None:
        return None
    for name, value in setting.items():
        places = [call for call in _dicts(config) if _is_tunable(call.get(name))]
        if len(places) != 1:
            return None
        places[0][name] = value
    try:
        return from_config(config)
    except ValueError:
        return None


def _config(made: optax.GradientTransformation) -> dict[str, Any] | None:
    """A transformation as a configuration; None for one that cannot be written."""
    try:
        return to_config(made)
    except ValueError:
        return None


def _dicts(data: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a configuration, the arguments of calls among them."""
    if isinstance(data, dict):
        yield data
    for item in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from _dicts(item)


def _is_tunable(data: Any) -> bool:
    return isinstance(data, dict) and {*data} == {"tunable()"}
