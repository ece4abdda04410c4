"""The packages that only comparisons need, and what to do where they are missing."""

import importlib.util

# What `pip install "gradxform[compare]"` brings, by the names that are imported.
PACKAGES = ("sklearn", "scipy", "rich", "matplotlib")


def require_extra(*packages: str) -> None:
    """Refuse to go on without the named packages.

    Raises:
      ImportError: some are not installed; the message names them and the command that brings them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{' and '.join(missing)} cannot be imported. What comparisons need is installed by: "
            'pip install "gradxform[compare]"'
        )
