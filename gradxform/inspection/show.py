"""`gradxform show CONFIG`: a configuration as its call, its schedules, and what is wrong."""

import argparse
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..core import check
from ..core.extra import require_extra
from ..core.hyperparams import Feedback
from ..core.words import printable, word
from .config import from_config
from .curves import curve, evaluator
from .describe import describe
from .diagnose import Model, diagnose
from .live import live_hyperparams
from .plain_data import require_plain
from .plots import plot_schedule
from .printing import say, say_error
from .schedule_lengths import horizon

_DESCRIPTION = """\
Print the transformation of a configuration as the call that builds it, its schedules, and, with
the shapes of the parameters, who gets what and what is wrong.
"""

_FILES = """\
CONFIG holds what `gradxform.to_config(tx)` returns, as JSON or YAML. The shapes of the parameters
are a file of the same kind: paths with slashes, or objects in one another, and to each a shape, as
a list of whole numbers (float32) or with its dtype, as `gradxform.describe` prints it. To try it:

cat > config.json <<'END'
{"version": 1, "transformation": {"adamw()": {"learning_rate": {
  "warmup()": {"schedule": {"cosine_decay()": {"value": 0.001, "steps": 9000}}, "steps": 1000}}}}}
END
cat > shapes.json <<'END'
{"layer_0/kernel": [512, 512], "layer_0": {"bias": "bfloat16[512]"}}
END
gradxform show config.json --params shapes.json --steps 10000 --model transformer
"""

_SHAPE = re.compile(r"\s*(?:(\w+)\s*)?\[\s*([\d\s,]*?)\s*,?\s*\]\s*")


def _count(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    try:
        return check.Whole()("show", "option", float(text))
    except (ValueError, OverflowError):
        message = f"must be a whole number of at least 1; got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


_OPTIONS: dict[str, dict[str, Any]] = {
    "--steps": {"type": _count, "metavar": "N", "help": "updates of the whole run"},
    "--params": {
        "type": Path,
        "metavar": "FILE",
        "help": "JSON or YAML with the shapes of the parameters, see below",
    },
    "--batch-size": {"type": _count, "metavar": "N", "help": "examples of one update"},
    "--examples": {"type": _count, "metavar": "N", "help": "examples to train on"},
    "--model": {"choices": get_args(Model), "help": "the kind of model"},
    "--memory-budget": {"type": _count, "metavar": "BYTES", "help": "what the state may take"},
    "--plot": {
        "type": Path,
        "metavar": "FILE",
        "help": "draw the schedules into it",
    },
}


class Problem(ValueError):
    """A file that cannot be used, in one sentence."""


def add_show(commands: Any) -> argparse.ArgumentParser:
    """Add `show` to the commands of a parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "show",
        help="print a configuration, its schedules, and what is wrong with it",
        description=_DESCRIPTION,
        epilog=_FILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a JSON or YAML file")
    for name, settings in _OPTIONS.items():
        parser.add_argument(name, **settings)
    return parser


def options() -> list[str]:
    """The names of the options."""
    return [*_OPTIONS, "--help"]


def idle(options: argparse.Namespace) -> str | None:
    """An option that changes nothing without the shapes of the parameters; None for none."""
    if options.params is not None:
        return None
    names = ("--batch-size", "--examples", "--model", "--memory-budget")
    given = (n for n in names if getattr(options, n[2:].replace("-", "_")) is not None)
    return next(given, None)


def run_show(options: argparse.Namespace) -> int:
    """Print what the options ask for; 2 where a file cannot be used."""
    try:
        text = "\n\n".join(sections(options))  # the picture is written before anything is printed
    except (Problem, ImportError) as error:
        say_error(f"gradxform show: error: {printable(str(error))}")
        return 2
    say(printable(text, keep="\n"))
    return 0


def sections(options: argparse.Namespace) -> Iterator[str]:
    """The parts of the report, one after the other."""
    tx = _transformation(options.config)
    yield repr(tx)
    params = None if options.params is None else _params(options.params)
    table = schedule_table(tx, options.steps)
    if table:
        yield table
    if params is not None:
        with contextlib.suppress(TypeError, ValueError):  # the diagnosis says why
            yield str(describe(tx, params))
        found = diagnose(
            tx,
            params,
            total_steps=options.steps,
            batch_size=options.batch_size,
            examples=options.examples,
            model=options.model,
            memory_budget=options.memory_budget,
        )
        yield str(found)
    if options.plot is not None:
        yield _plot(tx, options.steps, options.plot)


def schedule_table(tx: optax.GradientTransformation, steps: int | None = None) -> str:
    """The hyperparameters of a transformation that change, each with its start, peak and end.

    Args:
      tx: a transformation.
      steps: the length of the run; by default until each of them stays, or four cycles.

    Returns:
      A table as text; "" where nothing changes.
    """
    rows = [("schedule", "start", "peak", "end")]
    for name, value in live_hyperparams(tx).items():
        if not callable(value) and not isinstance(value, Feedback):
            continue
        evaluate = evaluator(value)
        last = steps - 1 if steps is not None else horizon(value, evaluate)[0]
        at, values = curve(evaluate, max(last, 1))
        top = int(np.argmax(values))
        first, peak, end = (f"{values[i]:.4g} at {at[i]:,}" for i in (0, top, len(at) - 1))
        rows.append((name, first, peak, end))
    if len(rows) == 1:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _transformation(path: Path) -> optax.GradientTransformation:
    data = _read(path)
    try:
        return from_config(data)
    except ValueError as error:
        raise Problem(f"{path}: {error}") from None


def _read(path: Path) -> Any:
    """The data in a JSON or YAML file; bounded, so that it can be read by recursion."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin with a byte order mark
    except UnicodeDecodeError:
        raise Problem(f"{path} is no text file.") from None
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror or error}.") from None
    kind, parse = "JSON", json.loads
    if path.suffix in (".yaml", ".yml"):
        require_extra("yaml", "yaml")
        import yaml

        kind, parse = "YAML", yaml.safe_load
    try:
        data = parse(text)
        require_plain(data)
    except RecursionError:
        raise Problem(f"{path} is nested too deeply.") from None
    except check.Refusal as error:
        raise Problem(f"{path}: {error}") from None
    except json.JSONDecodeError as error:
        raise Problem(
            f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}. A file "
            "of YAML is called `.yaml`."
        ) from None
    except Exception as error:  # PyYAML's own, and those of the numbers and dates that it makes
        problem = " ".join(str(error).split())
        raise Problem(f"{path} is not {kind}: {problem[:200]}.") from None
    return data


def _params(path: Path) -> Any:
    """A tree of shapes, nested at the slashes of the paths."""
    data = _read(path)
    if not isinstance(data, Mapping) or not data:
        raise Problem(
            f"{path}: the shapes of the parameters are a JSON object, such as "
            f'{{"layer/kernel": [3, 4]}}; got {check.brief(data)}.'
        )
    tree: dict[str, Any] = {}
    for place, shape in _flat(data, "", path):
        *above, name = place.split("/")
        node = tree
        for key in above:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise Problem(
                    f"{path}: at `{word(place)}`: `{word(key)}` is a parameter and holds others."
                )
        if name in node:
            raise Problem(f"{path}: at `{word(place)}`: it is there already.")
        node[name] = shape
    return tree


def _flat(data: Any, place: str, path: Path) -> Iterator[tuple[str, jax.ShapeDtypeStruct]]:
    if isinstance(data, Mapping):
        for key, item in data.items():
            yield from _flat(item, f"{place}/{key}" if place else str(key), path)
        return
    words = _SHAPE.fullmatch(data) if isinstance(data, str) else None
    sizes: Any = data
    dtype: Any = jnp.float32
    if words:
        try:
            sizes = [int(n) for n in words[2].split(",")] if words[2] else []
            dtype = jnp.dtype(words[1] or "float32")
        except (TypeError, ValueError, SyntaxError):
            sizes = None
    if not isinstance(sizes, list) or not all(type(n) is int and 0 <= n < 2**63 for n in sizes):
        raise Problem(
            f"{path}: at `{word(place)}`: a shape is a list of whole numbers, or text such as "
            f"`bfloat16[3, 4]`; got {check.brief(data)}."
        )
    struct: Any = jax.ShapeDtypeStruct
    yield place, struct(tuple(sizes), dtype)


def _plot(tx: optax.GradientTransformation, steps: int | None, path: Path) -> str:
    require_extra("plot", "matplotlib")
    from matplotlib.figure import Figure

    if not schedule_table(tx, 2):
        return f"No schedule to draw: {path} is not written."
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    try:
        plot_schedule(tx, steps=steps, ax=figure.add_subplot())
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise Problem(f"{path} cannot be written: {error}.") from None
    return f"Written: {path}"
