"""Tables of what is refused: a call, the kind of error, and what its message must hold."""

from collections.abc import Callable
from typing import Any

import pytest

Case = tuple[Callable[[], Any], type[Exception] | tuple[type[Exception], ...], list[str]]


def assert_refused(call: Callable[[], Any], kind: Any, words: list[str]) -> None:
    """The call raises an error of this kind with these words in its message."""
    with pytest.raises(kind) as error:
        call()
    missing = [word for word in words if word not in str(error.value)]
    assert not missing, f"{missing} not in: {error.value}"
