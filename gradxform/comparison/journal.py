"""What a search has tried so far, on disk, so that it can go on after an interruption.

Batches of trials are kept in the order in which they were made. A search proposes the same
settings again when it is begun anew, from the same scores; as long as they are in the journal,
nothing is trained.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core import check
from ..core.extra import require_extra
from ..core.words import printable
from ..inspection.plain_data import require_plain
from .candidate import Setting
from .record import plain, text_of
from .resume import Differs

FORMAT = "gradxform search"
VERSION = 1


class Journal:
    """The batches of a search, kept by `save` as they finish.

    Attributes:
      plan: what the search is of, as plain data; one of another plan is refused.
      save: called with the whole journal as text after each batch.
    """

    def __init__(self, plan: dict[str, Any], save: Callable[[str], object]) -> None:
        self.plan: dict[str, Any] = plain(plan)
        self.save = save
        self.batches: list[dict[str, Any]] = []
        self._made = 0  # asked for so far in this search

    def read(self, path: Path) -> None:
        """Take over what a search has kept.

        Raises:
          ValueError: the file is no journal, or has been changed.
          Differs: it is of another search.
          OSError: it cannot be read.
        """
        require_extra("compare", "msgspec")
        import msgspec

        from . import schema

        try:
            data = json.loads(path.read_bytes())
            require_plain(data, "$")
            found = msgspec.convert(data, schema.Journal)
            check.require(
                found.format == FORMAT and found.format_version == VERSION,
                f'it must begin with `"format": "{FORMAT}"`, version {VERSION}',
            )
        except (check.Refusal, ValueError, RecursionError) as error:
            reason = printable(str(error))[:300].removesuffix(".")
            raise ValueError(f"{path} cannot be read as a search: {reason}.") from None
        different = [
            f"{name} of the search: {check.brief(found.plan.get(name))} then, "
            f"{check.brief(value)} now"
            for name, value in self.plan.items()
            if found.plan.get(name) != value
        ]
        if different:
            raise Differs(different)
        self.batches = data["batches"]

    def scores(
        self,
        name: str,
        settings: Sequence[Setting],
        steps: int,
        train: Callable[[str, Sequence[Setting], int], list[float]],
    ) -> list[float]:
        """The scores of the next batch: as they were kept, or else from `train`, and kept."""
        asked = plain({"optimizer": name, "steps": steps, "settings": settings})
        if self._made < len(self.batches):
            kept = self.batches[self._made]
            if {key: kept[key] for key in asked} == asked:
                self._made += 1
                return [float(score) for score in kept["scores"]]
            del self.batches[self._made :]
        scores = train(name, settings, steps)
        self.batches.append(plain({**asked, "scores": scores}))
        self._made += 1
        self.save(text_of(self._document()) + "\n")
        return scores

    def _document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "format_version": VERSION,
            "plan": self.plan,
            "batches": self.batches,
        }
