"""Older versions of configurations, and the way from each to the next."""

from collections.abc import Callable, Mapping
from typing import Any

from ..core import check
from ..core.words import word

VERSION = 2


def upgraded(data: Any) -> dict[str, Any]:
    """A configuration of any known version as one of this version."""
    if not isinstance(data, Mapping):
        hint = ""
        if hasattr(data, "to_dict"):  # as `ml_collections.ConfigDict` has
            hint = " Pass `data.to_dict()`."
        raise ValueError(
            "`from_config(...)`: a configuration is a dict with `version` and `transformation`; "
            f"got {check.brief(data)}.{hint}"
        )
    unknown = sorted({*map(word, data)} - {"version", "transformation"})
    missing = [name for name in ("version", "transformation") if name not in data]
    if unknown or missing:
        raise ValueError(
            "`from_config(...)`: a configuration has the keys `version` and `transformation`; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {_listed(unknown) or 'none'}."
        )
    version, inner = data["version"], data["transformation"]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(
            f"`from_config(...)`: `version` must be a whole number from 1 to {VERSION}; "
            f"got {check.brief(version)}."
        )
    if version > VERSION:
        raise ValueError(
            f"`from_config(...)`: the configuration has version {check.brief(version)}, and this "
            f"library reads up to {VERSION}. Install a newer gradxform."
        )
    for step in range(version, VERSION):
        inner = _UPGRADES[step](inner)
    return {"version": VERSION, "transformation": inner}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{', '.join(names[:8])}{more}"


def _from_1(data: Any) -> Any:
    """Version 1 wrote a call as `{"call": name, "arguments": {...}}`."""
    if isinstance(data, list):
        return [_from_1(x) for x in data]
    if not isinstance(data, Mapping):
        return data
    if {*data} == {"call", "arguments"} and isinstance(data["call"], str):
        return {f"{data['call']}()": _from_1(data["arguments"])}
    return {key: _from_1(x) for key, x in data.items()}


_UPGRADES: dict[int, Callable[[Any], Any]] = {1: _from_1}
