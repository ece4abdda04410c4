"""A comparison as strict JSON, with what is needed to repeat it."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import statistics
from .files import write_whole
from .result import CandidateResult, Comparison

_PACKAGES = ("gradxform", "jax", "jaxlib", "optax", "numpy", "scipy", "scikit-learn")


def to_json(comparison: Comparison) -> str:
    """The comparison as JSON text: settings, versions, recipes and every run.

    Numbers that are not finite are written as null, since JSON has no others. Arrays keep the
    axes of `CandidateResult`.
    """
    c = comparison
    document = {
        "complete": c.complete,
        "planned": c.planned,
        "task": {
            "name": c.task,
            "metric": c.metric_name,
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
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "device": jax.devices()[0].device_kind,
            "float": str(jnp.result_type(float)),
        },
        "ranking": {
            "by": f"mean test {c.metric_name} over seeds at the setting chosen by validation",
            "names": [r.name for r in c.ranking],
            "level": statistics.LEVEL,
            "ties_with_best": None if c.ties is None else sorted(c.ties),
            "p_values_against_best": c.p_values,
        },
        "references": [
            {"name": r.name, "recipe": r.recipe, "validation": r.validation, "test": r.test}
            for r in c.references
        ],
        "candidates": [_candidate(result, c.target) for result in c.results],
    }
    return _text(_plain(document)) + "\n"


def save(comparison: Comparison, path: str | Path) -> None:
    """Write `to_json` to a file, whole or not at all.

    Args:
      comparison: what to write.
      path: the file; what it held before is replaced in one move.
    """
    text = to_json(comparison)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def _candidate(result: CandidateResult, target: float | None) -> dict[str, Any]:
    chosen = result.chosen
    return {
        "name": result.name,
        "recipe": repr(result.candidate.transformation),
        "grid": result.candidate.grid,
        "settings": result.settings,
        "chosen": chosen,
        "chosen_setting": result.chosen_setting,
        "at_edge_of_grid": result.at_edge,
        "steps_to_target": None if target is None else result.steps_to(target),
        "milliseconds_a_step": result.milliseconds,
        "evaluated_after_steps": result.evaluated,
        "validation": result.validation,
        "final_validation": result.final_validation,
        "test": result.test,
        "train_loss": result.train_loss,
        "final_train_loss": result.final_loss,
        "diverged": result.diverged,
    }


def _versions() -> dict[str, str | None]:
    def version(name: str) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    return {name: version(name) for name in _PACKAGES}


def _plain(value: Any) -> Any:
    """`value` in JSON's own types, with null for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | jax.Array) and np.ndim(value):
        return [_plain(item) for item in np.asarray(value)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        # The shortest digits that give the same float32 again, not those of its float64.
        short = np.asarray(value)[()]
        value = float(str(short)) if isinstance(short, np.floating) else short.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _text(value: Any, indent: str = "") -> str:
    """JSON that people can read: a line for each key and for each row of numbers."""
    inner = indent + "  "
    nested = isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
    if isinstance(value, dict) and value:
        rows = [f"{json.dumps(key)}: {_text(item, inner)}" for key, item in value.items()]
    elif nested:
        rows = [_text(item, inner) for item in value]
    else:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(rows) + f"\n{indent}{closing}"
