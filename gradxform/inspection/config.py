"""Configurations: a transformation as plain data, and back.

    data = to_config(adamw(cosine_decay(1e-3, steps=1000)))
    json.dump(data, file)
    ...
    assert from_config(json.load(file)) == adamw(cosine_decay(1e-3, steps=1000))

A call is written as a dict with one key, the name of the factory and `()`, and the arguments under
it, defaults included, so that a default that changes in a later version changes nothing:

    version: 1
    transformation:
      adamw():
        learning_rate: {cosine_decay(): {value: 0.001, steps: 1000, end: 0.0, ...}}
        b1: 0.9
        ...

A dict in which the order counts, as the groups of `partition`, is written as a list of pairs,
`{ordered(): [[name, ...], ...]}`, since YAML sorts the keys of a dict; by hand a dict will do.

Reading one calls the factories of this library that it names, and those that the caller passes. It
imports nothing but the modules of this library in which those are.
"""

import fnmatch
from collections.abc import Mapping
from typing import Any

import optax

from ..core import check
from ..core.public import FACTORIES
from ..core.types import require_transformation
from .config_reader import VERSION, Functions, Reader, described
from .config_writer import Writer, difference, functions_of
from .plain_data import require_plain


def available(pattern: str = "*") -> list[str]:
    """The names of all factories that match a pattern, such as `adam*` or `select.*`.

    Args:
      pattern: as in a shell: `*` for any letters, `?` for one.

    Returns:
      The names of transformations, schedules and selectors, as `repr` and configurations write
      them, in alphabetical order.
    """
    return sorted(fnmatch.filter(FACTORIES, pattern))


def to_config(
    tx: optax.GradientTransformation, *, functions: Functions | None = None
) -> dict[str, Any]:
    """A transformation as plain data: dicts, lists, strings, numbers, bools and `None`.

    Args:
      tx: a transformation of this library, or of yours made with its decorators.
      functions: names for the functions among its arguments, such as masks, and for factories of
        your own. A function that is not among them is written by its own name.

    Returns:
      A dict that JSON and YAML can hold, with keys in any order.

    Raises:
      ValueError: something in it cannot be written: a transformation of Optax's, which does not
        know how it was made, a function without a name, a traced number; with its place.
    """
    require_transformation("to_config", "`tx`", tx)
    names = {id(function): name for name, function in (functions or {}).items()}
    data = {"version": VERSION, "transformation": Writer(names).written(tx, "transformation")}
    again = from_config(data, functions={**functions_of(tx, names), **(functions or {})})
    if again != tx:
        raise ValueError(
            f"`to_config(...)`: what is read back is not equal: {difference(tx, again)} holds a "
            "container that data does not tell from another, such as a tuple in a mask. Use a "
            "selector or a function."
        )
    return data


def from_config(
    data: Mapping[str, Any], *, functions: Functions | None = None
) -> optax.GradientTransformation:
    """The transformation that a configuration describes.

    Args:
      data: what `to_config` returned, or the like written by hand, where arguments with defaults
        may be left out.
      functions: by name, the functions and the factories that are not of this library.

    Returns:
      A transformation equal to the one that was written.

    A number may also be the text of one with an exponent, such as "1e-3": PyYAML reads `1e-3` so.

    The data may come from anyone: it is read without importing or running anything else that it
    names, at most 100 containers deep and 200,000 values large. One thing is not bounded: the time
    that a regular expression of `select.path` takes, which grows by itself in some, such as
    `(a+)+b`.

    Raises:
      ValueError: something in it is wrong; with its place in the data.
    """
    with check.calling("from_config(...)"):
        require_plain(data)
    return Reader(functions or {}).transformation(described(data), "transformation")
