"""Tables of what is refused: a call, the kind of error, and what its message must hold."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

Case = tuple[Callable[[], Any], type[Exception] | tuple[type[Exception], ...], list[str]]


def assert_refused(call: Callable[[], Any], kind: Any, words: list[str]) -> None:
    """The call raises an error of this kind with these words in its message."""
    with pytest.raises(kind) as error:
        call()
    missing = [word for word in words if word not in str(error.value)]
    assert not missing, f"{missing} not in: {error.value}"


def cases(names: Iterable[str], not_yet: dict[str, str]) -> list[Any]:
    """Parameters for each name, those that are known to fail marked with the reason."""

    def marks(name: str) -> list[Any]:
        return [pytest.mark.xfail(strict=True, reason=not_yet[name])] if name in not_yet else []

    return [pytest.param(name, marks=marks(name)) for name in names]
