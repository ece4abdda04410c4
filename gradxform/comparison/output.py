"""The folder of `gradxform compare`: its files, what was there before, and a disk that is full."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from .result import Comparison, load_comparison


class Problem(Exception):
    """A file or folder that cannot be used, in one sentence."""


class Output:
    """Where a comparison is kept while it runs and where its report goes.

    Attributes:
      json: the comparison; after each candidate it holds those that have finished.
      html: the report.
      png: the picture.
      previous: the comparison that `json` held before, if it was another.
      failed: why files could not be written, one sentence each.
    """

    def __init__(self, json: Path) -> None:
        self.json = json
        self.html = json.with_suffix(".html")
        self.png = json.with_suffix(".png")
        self.previous = json.with_suffix(".previous.json")
        self.failed: list[str] = []
        self._is_own = False  # whether `json` holds this comparison
        self._held = 0  # candidates in `json`, where it is this comparison's
        self._stale = ""  # what `json` holds, where it is behind
        self._has_moved = False  # whether what it held is in `previous`

    def require_writable(self) -> None:
        """Refuse a folder in which no file can be made, before any training."""
        folder = self.json.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"0" * 4096)
            for path in (self.json, self.html, self.png):
                if path.is_dir():
                    raise IsADirectoryError(f"{path.name} is a folder there")
        except OSError as error:
            raise Problem(f"cannot write to {folder}: {error.strerror or error}") from None

    def earlier(self, *, resume: bool) -> Comparison | None:
        """The comparison to go on with, if that is wanted and there is one.

        Raises:
          Problem: there is a file in the place of `json` that is no comparison.
        """
        if not self.json.exists():
            if resume:
                print(f"Nothing to resume: no {self.json}. Starting anew.", file=sys.stderr)
            return None
        try:
            found = load_comparison(self.json)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error).partition(": ")[2]
            raise Problem(
                f"{self.json} is there already and cannot be read as a comparison: {reason} It is "
                "left as it is: move it away, or choose another folder"
            ) from None
        self._is_own, self._held = resume, len(found.results)
        return found if resume else None

    def keep(self, comparison: Comparison) -> None:
        """Save what is finished; say so where that fails, and let the training go on."""
        if not self._is_own and self.json.exists():
            self._has_moved = self._attempt(self.previous, lambda p: os.replace(self.json, p))
        if self._attempt(self.json, comparison.save):
            self._is_own, self._stale = True, ""
            for path in (self.html, self.png):  # they no longer belong to it
                path.unlink(missing_ok=True)
            self._held = len(comparison.results)
        elif self._is_own:
            self._stale = f"{self._held} of {len(comparison.planned)} optimizers"

    def report(self, comparison: Comparison) -> None:
        """Write the picture and the page, and what could not be saved before."""
        if self.failed:
            self.failed.clear()
            self.keep(comparison)
        self._attempt(self.png, comparison.save_figure)
        self._attempt(self.html, comparison.save_html)

    def written(self) -> str:
        """What is there, in a sentence."""
        paths = [path for path in (self.html, self.png, self.json) if path.exists()]
        *most, last = map(str, paths) if paths else ("nothing",)
        text = f"Written: {', '.join(most)} and {last}" if most else f"Written: {last}"
        if self._stale:
            text += f", which holds {self._stale}"
        if self._has_moved:
            text += f"\nThe comparison that was there before: {self.previous}"
        return text

    def _attempt(self, path: Path, write: Callable[[Path], object]) -> bool:
        try:
            write(path)
        except OSError as error:
            self.failed.append(f"{path} cannot be written: {error.strerror or error}.")
            print(self.failed[-1], file=sys.stderr)
            return False
        return True
