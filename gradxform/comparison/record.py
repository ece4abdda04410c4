"""A comparison as strict JSON, with what is needed to repeat it and to read it back.

Numbers that are not finite are written as the strings "NaN", "Infinity" and "-Infinity", which
Python's and NumPy's `float` and JavaScript's `Number` read. Arrays keep the axes of
`CandidateResult`, and their dtypes stand beside them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from . import statistics
from .recipes import recipe_record
from .runs import CandidateResult, Outcome, Verdict

FORMAT = "gradxform comparison"
VERSION = 1

# The arrays of a candidate by their names in the file.
ARRAYS = {
    "evaluated_after_steps": "evaluated",
    "validation": "validation",
    "test": "test",
    "train_loss": "train_loss",
    "final_train_loss": "final_loss",
}


def to_json(outcome: Outcome) -> str:
    """A comparison as JSON text: settings, versions, recipes and every run."""
    return text_of(document(outcome)) + "\n"


def document(outcome: Outcome) -> dict[str, Any]:
    """A comparison in JSON's own types; two comparisons are equal when these are."""
    c = outcome
    contents = {
        "format": FORMAT,
        "format_version": VERSION,
        "complete": c.complete,
        "planned": c.planned,
        "task": {
            "name": c.task,
            "hash": c.task_hash,
            "metric": c.metric_name,
            "percent": c.percent,
            "lower_is_better": c.lower_is_better,
            "target": c.target,
            "examples": c.sizes,
            "details": c.details,
        },
        "training": {
            "seeds": c.seeds,
            "steps": c.steps,
            "batch_size": c.batch_size,
            "evaluate_every": c.evaluate_every,
        },
        "search": c.search,
        "environment": c.environment,
        "ranking": {
            "by": f"mean test {c.metric_name} over seeds at the setting chosen by validation",
            "names": [r.name for r in c.ranking],
            "confidence": 1 - statistics.LEVEL,
            "verdicts": {name: _verdict(found) for name, found in c.verdicts.items()},
        },
        "references": [
            {"name": r.name, "recipe": r.recipe, "validation": r.validation, "test": r.test}
            for r in c.references
        ],
        "candidates": [_candidate(result, c) for result in c.results],
    }
    found: dict[str, Any] = plain(contents)
    return found


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """A verdict for who reads the file without this library; `load_comparison` finds it anew."""
    return {
        "verdict": verdict.word or None,
        "failed_runs": verdict.failed,
        "worse_than_first_by": verdict.difference,
        "worse_than_best_by": [verdict.low, verdict.high],
        "standard_error_over_test_examples_at_most": verdict.test_error,
        "varies_far_more": verdict.varies,
    }


def _candidate(result: CandidateResult, outcome: Outcome) -> dict[str, Any]:
    target = outcome.target
    return {
        "name": result.name,
        **recipe_record(result, outcome.steps),
        "program_hash": result.program_hash,
        "grid": result.candidate.grid,
        "settings": result.settings,
        "chosen": result.chosen,
        "chosen_setting": result.chosen_setting,
        "at_edge_of_grid": result.at_edge,
        "steps_to_target": None if target is None else result.steps_to(target),
        "milliseconds_a_step": result.milliseconds,
        "final_validation": result.final_validation,
        "diverged": result.diverged,
        "trials": result.trials,
        "dtypes": {name: getattr(result, of).dtype.name for name, of in ARRAYS.items()},
        **{name: getattr(result, of) for name, of in ARRAYS.items()},
    }


def plain(value: Any) -> Any:
    """`value` in JSON's own types, with strings for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | jax.Array) and np.ndim(value):
        return [plain(item) for item in np.asarray(value)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        # The shortest digits that give the same float32 again, not those of its float64.
        short = np.asarray(value)[()]
        value = float(str(short)) if isinstance(short, np.floating) else short.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def text_of(value: Any, indent: str = "") -> str:
    """JSON that people can read: a line for each key and for each row of numbers."""
    inner = indent + "  "
    nested = isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
    if isinstance(value, dict) and value:
        rows = [f"{json.dumps(key)}: {text_of(item, inner)}" for key, item in value.items()]
    elif nested:
        rows = [text_of(item, inner) for item in value]
    else:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(rows) + f"\n{indent}{closing}"
