"""Files that are there whole or not at all."""

import os
from pathlib import Path


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Replace a file in one move, so that an interruption leaves the old one or the new one.

    Args:
      path: the file.
      content: what it is to hold; text is written as UTF-8.

    Raises:
      OSError: the folder is missing or cannot be written, or there is no space left; what was
        there is still there.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # else a machine that stops leaves an empty file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
