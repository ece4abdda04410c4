"""Plain data of others, before anything looks into it: not too deep, not too large, real text."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..core.check import Refusal
from ..core.words import word

DEEPEST = 100  # containers in one another; a call is two or three of them
LARGEST = 200_000  # values; YAML's references can write 2^50 of them on fifty lines

_HALF = re.compile(r"[\ud800-\udfff]")  # of a surrogate pair, which no file can hold


def require_plain(data: Any, start: str = "") -> None:
    """Refuse data that would keep whoever reads it by recursion from coming back.

    Args:
      data: dicts and lists in one another, from a file or from a program.
      start: the place of `data` itself.

    Raises:
      Refusal: it contains itself, is nested more than `DEEPEST` deep, or holds more than `LARGEST`
        values or text that cannot be encoded; with the place.
    """
    count = 0
    path: list[str] = [start] if start else []
    within: list[Any] = [data]  # the containers that are open
    open_ids = {id(data)}
    left = [_items(data)]
    _require_text(data, path)
    while left:
        found = next(left[-1], None)
        if found is None:
            left.pop()
            open_ids.discard(id(within.pop()))
            if len(path) > bool(start):
                path.pop()
            continue
        key, item = found
        count += 1
        if count > LARGEST:
            raise Refusal(f"the data holds more than {LARGEST:,} values.")
        _require_text(key, path)
        if not is_container(item):
            _require_text(item, [*path, key] if isinstance(item, str) else path)
            continue
        path.append(key)
        if id(item) in open_ids:
            raise Refusal(f"at `{joined(path)}`: the data contains itself.")
        if len(left) >= DEEPEST:
            raise Refusal(f"at `{joined(path)}`: the data is nested more than {DEEPEST} deep.")
        within.append(item)
        open_ids.add(id(item))
        left.append(_items(item))


def is_container(data: Any) -> bool:
    """Whether it is a dict, a list or something of their kind."""
    return isinstance(data, Mapping) or (
        isinstance(data, Sequence) and not isinstance(data, str | bytes | bytearray)
    )


def joined(path: Sequence[Any]) -> str:
    """A place in data as text: the keys on the way; of a long way, its ends."""
    words = [word(key) for key in path]
    return "/".join(words if len(words) <= 12 else [*words[:6], "...", *words[-5:]])


def _items(data: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(data, Mapping):
        return iter(data.items())
    return ((str(i), item) for i, item in enumerate(data)) if is_container(data) else iter(())


def _require_text(value: Any, path: Sequence[Any]) -> None:
    if isinstance(value, str) and not value.isascii() and _HALF.search(value):
        raise Refusal(f"at `{joined(path)}`: text holds one half of a surrogate pair.")
