"""What is said of names and arguments that this library does not have.

The table of what others call them, `coming_over`, is read when the first one is asked for.
"""

from collections.abc import Collection, Iterable
from typing import NoReturn

from . import check


def refuse_name(name: str, known: Collection[str]) -> NoReturn:
    """Raise the `AttributeError` of a name that is none of the public ones."""
    from .coming_over import missing

    raise AttributeError(missing(name, known), name=name)


def unknown_argument(call: str, name: str, known: Iterable[str]) -> str:
    """The message for an argument that a factory does not have."""
    from .coming_over import instead

    hint, names = instead(call, name, {*known}), check.nearest(name, known)
    listed = f" Known are: {names.partition(' Known are: ')[2]}"
    return f"`{call}` has no argument `{name}`.{hint + listed if hint else names}"


def hyperparameter_hint(name: str, known: Iterable[str]) -> str:
    """What to write for a hyperparameter that no block of a state has, or those that there are."""
    from .coming_over import instead

    names = sorted(known)
    hint = instead("", name, {key.rpartition("/")[2] for key in names})
    return hint or check.nearest(name, names)
