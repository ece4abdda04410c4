"""Printing for the command line: to a terminal, a file, or a pipe that somebody has closed."""

import os
import sys
from typing import TextIO


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text at once; quietly nothing more where nobody reads, as after `| head -1`.

    Args:
      text: what to print, a line or several.
      file: the stream, by default standard output.
    """
    stream = sys.stdout if file is None else file
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _close(stream)


def say_error(text: str) -> None:
    """Print a text on the stream for errors and progress."""
    say(text, sys.stderr)


def flush() -> None:
    """Write what is still to be written, such as a help text; quietly where nobody reads."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close(sys.stdout)


def _close(stream: TextIO) -> None:
    """Let all that is still to come, and what Python flushes at its end, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
