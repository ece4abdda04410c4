"""Which part of a whole is being initialized: a block's place among the parts around it.

While `init` runs, each transformation knows its place: the positions and names of the parts that
it is in, outermost first. A part that is alone in a wrapper has the wrapper's place, so that a
guard around an optimizer changes none of its random numbers.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

Path = tuple[str, ...]


class _Part:
    def __init__(self, path: Path, has_one: bool) -> None:
        self.path = path
        self.has_one = has_one
        self.begun = 0

    def next(self) -> Path:
        number = self.begun
        self.begun += 1
        if not self.has_one:
            return (*self.path, str(number))
        return (*self.path, f"again {number}") if number else self.path


_HERE: ContextVar[_Part | None] = ContextVar("_HERE", default=None)


def here() -> Path:
    """The place of the part whose `init` runs."""
    part = _HERE.get()
    return () if part is None else part.path


@contextlib.contextmanager
def of_part(parts: int) -> Iterator[bool]:
    """The `init` of a transformation that is made of so many parts; whether it is the whole."""
    around = _HERE.get()
    token = _HERE.set(_Part(() if around is None else around.next(), parts <= 1))
    try:
        yield around is None
    finally:
        _HERE.reset(token)


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """The `init` of a part that has a name, which stays when other parts come or go."""
    token = _HERE.set(_Part((*here(), name), has_one=True))
    try:
        yield
    finally:
        _HERE.reset(token)
