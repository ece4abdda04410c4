"""Files that are there whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: str | Path, write: Callable[[Path], object]) -> None:
    """Replace a file in one move, so that an interruption leaves the old one or the new one.

    Args:
      path: the file.
      write: writes the content to the path it is given, which lies beside `path`.

    Raises:
      OSError: the folder is missing or cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
