"""Packages that only a part of the library needs, and what to do where they are missing."""

import importlib.util


def require_extra(extra: str, *packages: str) -> None:
    """Refuse to go on without the named packages.

    Args:
      extra: the extra of this library that brings them.
      *packages: by the names that are imported.

    Raises:
      ImportError: some are not installed; the message names them and the command that brings them.
    """
    missing = missing_of(*packages)
    if missing:
        raise ImportError(
            f"{' and '.join(missing)} cannot be imported. What this needs is installed by: "
            f'pip install "gradxform[{extra}]"'
        )


def missing_of(*packages: str) -> list[str]:
    """Those of the named packages that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]
