"""The folder of `gradxform compare`: a name of its own for each run, and a disk that is full."""

import re
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

from ..inspection.printing import say_error
from .files import write_whole
from .result import Comparison, load_comparison

_KINDS = (".json", ".html", ".png", ".search.json")
_NAME = re.compile(r"comparison(?:-(\d+))?\.(?:search\.)?json")


class Problem(Exception):
    """A file or folder that cannot be used, in one sentence."""


class Output:
    """Where a comparison is kept while it runs and where its report goes.

    The first run in a folder is called `comparison`, the next `comparison-2`, and so on: none
    changes the files of another. A run has its name from the moment at which it has something to
    keep.

    Attributes:
      folder: all files are in it.
      stem: what they are called; None before there is one.
      failed: why files could not be written, one sentence each.
    """

    def __init__(self, folder: Path, stem: str | None = None) -> None:
        self.folder = folder
        self.stem = stem
        self.failed: list[str] = []
        self._held = 0  # candidates in `json`
        self._stale = ""  # what `json` holds, where it is behind

    @property
    def json(self) -> Path:
        """The comparison; after each candidate it holds those that have finished."""
        return self._path(".json")

    @property
    def html(self) -> Path:
        """The report."""
        return self._path(".html")

    @property
    def png(self) -> Path:
        """The picture."""
        return self._path(".png")

    @property
    def search(self) -> Path:
        """What the search before the comparison has tried."""
        return self._path(".search.json")

    def require_writable(self) -> None:
        """Refuse a folder in which no file can be made, before any training."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(b"0" * 4096)
            for path in map(self._path, _KINDS):
                if self.stem is not None and path.is_dir():
                    raise IsADirectoryError(f"{path.name} is a folder there")
        except OSError as error:
            raise Problem(f"cannot write to {self.folder}: {error.strerror or error}") from None

    def resume(self) -> Comparison | None:
        """Take the name of the last run in the folder, and give what it has finished.

        Returns:
          Its comparison; None where only its search had begun.

        Raises:
          Problem: there is none, or its file cannot be read.
        """
        self.stem = last_of(self.folder)
        if self.stem is None:
            raise Problem(f"nothing to resume: no run has kept anything in {self.folder}")
        if not self.json.exists():
            return None
        try:
            found = load_comparison(self.json)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("`: ")[2]
            raise Problem(f"{self.json} cannot be read as a comparison: {reason}") from None
        self._held = len(found.results)
        return found

    def keep(self, comparison: Comparison) -> None:
        """Save what is finished; say so where that fails, and let the training go on."""
        if self._written(".json", comparison.save):
            self._stale = ""
            for path in (self.html, self.png):  # of an earlier part of this run
                path.unlink(missing_ok=True)
            self._held = len(comparison.results)
        elif self._held:
            self._stale = f"{self._held} of {len(comparison.planned)} optimizers"

    def keep_search(self, text: str) -> None:
        """Save what a search has tried; it goes on where that fails, too."""
        self._written(".search.json", lambda path: write_whole(path, text))

    def report(self, comparison: Comparison) -> None:
        """Write the picture and the page, and what could not be saved before."""
        if self.failed:
            self.failed.clear()
            self.keep(comparison)
        self.draw(comparison)

    def draw(self, comparison: Comparison) -> None:
        """Write the picture and the page."""
        self._written(".png", comparison.save_figure)
        self._written(".html", comparison.save_html)

    def written(self) -> str:
        """What is there, in a sentence."""
        paths = [path for path in (self.html, self.png, self.json) if self.stem and path.exists()]
        *most, last = map(str, paths) if paths else ("nothing",)
        text = f"Written: {', '.join(most)} and {last}" if most else f"Written: {last}"
        return f"{text}, which holds {self._stale}" if self._stale else text

    def _path(self, kind: str) -> Path:
        return self.folder / f"{self.stem or 'comparison'}{kind}"

    def _written(self, kind: str, write: Callable[[Path], object]) -> bool:
        try:
            if self.stem is None:
                self._begin(kind, write)
            else:
                write(self._path(kind))
        except OSError as error:
            text = f"{self._path(kind)} cannot be written: {error.strerror or error}."
            self.failed.append(text)
            say_error(text)
            return False
        return True

    def _begin(self, kind: str, write: Callable[[Path], object]) -> None:
        """Write the first file, under the first name that no other run has."""
        while True:
            stem = free_name(self.folder, "comparison")
            mine = self.folder / f"{stem}{kind}"
            try:
                mine.touch(exist_ok=False)
                break
            except FileExistsError:  # a run beside this one was faster; the next name, then
                continue
        try:
            write(mine)
        except OSError:
            mine.unlink(missing_ok=True)
            raise
        self.stem = stem


def free_name(folder: Path, stem: str) -> str:
    """`stem`, or with the first number under which there is no file in a folder."""
    for number in count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        if not any((folder / f"{name}{kind}").exists() for kind in _KINDS):
            break
    return name


def last_of(folder: Path) -> str | None:
    """What the files of the last run in a folder are called; None where there is none."""
    found = [
        name for path in folder.glob("comparison*.json") if (name := _NAME.fullmatch(path.name))
    ]
    last = max((int(name[1] or 1) for name in found), default=None)
    return None if last is None else "comparison" if last == 1 else f"comparison-{last}"
