"""Real text that comes with every Python, and what a model of its characters should reach."""

import bz2
import hashlib
import lzma
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from .result import Reference
from .task import Task

LENGTH = 64  # characters that a window predicts
_SHARES = (0.9, 0.95, 1.0)  # where the splits end
_ORDER = 5  # characters that an n-gram model looks back at most


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in three parts that follow one another.

    Attributes:
      splits: the text to train on, to validate on and to test on.
      alphabet: its characters, in order.
      sha256: of the whole text as UTF-8.
    """

    splits: tuple[str, str, str]
    alphabet: str
    sha256: str

    def windows(self, text: str) -> np.ndarray:
        """The text as numbers of characters: [window, `LENGTH` + 1].

        Each window predicts the `LENGTH` characters after its first, and begins with the last
        character of the one before it, so that every character is predicted once.
        """
        numbers = {character: i for i, character in enumerate(self.alphabet)}
        codes = np.array([numbers[character] for character in text], np.uint8)
        count = (len(codes) - 1) // LENGTH
        places = LENGTH * np.arange(count)[:, None] + np.arange(LENGTH + 1)
        return codes[places]

    @property
    def details(self) -> dict[str, Any]:
        """What a reader needs to know of the data."""
        return {
            "data": "pydoc_data.topics: Python's reference as pydoc shows it, topics by name, each "
            "paragraph where it occurs first",
            "sha256": self.sha256,
            "characters": [len(split) for split in self.splits],
            "alphabet": len(self.alphabet),
            "split": "the first 90 %, the next 5 % and the last 5 % of the text",
            "window": LENGTH,
        }


@cache
def python_reference() -> Corpus:
    """Python's reference as `pydoc` shows it: about 370,000 characters.

    Topics share paragraphs, whole sections among them; only the first of each is kept, so that no
    paragraph is in two splits. The text differs between Python's versions, so its hash is kept
    with results.

    Raises:
      ImportError: this Python has no `pydoc_data`.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise ImportError(
            "the text tasks read `pydoc_data.topics`, which this Python does not have. Some "
            "systems put it into a package of its own, such as python3-doc."
        ) from None
    paragraphs: dict[str, str] = {}
    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            paragraphs.setdefault(" ".join(paragraph.split()), paragraph)
    paragraphs.pop("", None)
    text = "\n\n".join(paragraphs.values())
    ends = [0, *(int(share * len(text)) for share in _SHARES)]
    first, second, third = (text[a:b] for a, b in pairwise(ends))
    return Corpus(
        (first, second, third),
        "".join(sorted(set(text))),
        hashlib.sha256(text.encode()).hexdigest(),
    )


def text_references(task: Task) -> tuple[Reference, ...]:
    """Bits a character of models without a network, and of compressors, on the same splits.

    Args:
      task: any task on `python_reference`; what it holds beside the text plays no part.

    Returns:
      Uniform guesses; the frequencies of single characters; an interpolated n-gram model; bzip2
      on a split alone; and LZMA on a split that follows the training text.
    """
    corpus = python_reference()
    train, *held_out = corpus.splits
    size = len(corpus.alphabet)

    def reference(name: str, recipe: str, bits: Sequence[float]) -> Reference:
        validation, test = bits
        return Reference(name, validation, test, recipe)

    def alone(text: str) -> float:
        return 8 * len(bz2.compress(text.encode())) / len(text)

    known = len(lzma.compress(train.encode(), preset=9))

    def after(text: str) -> float:
        return 8 * (len(lzma.compress((train + text).encode(), preset=9)) - known) / len(text)

    ngrams = f"{_ORDER + 1}-grams"
    return (
        reference("uniform", f"log2({size})", [math.log2(size)] * 2),
        reference("single characters", "Witten-Bell", ngram_bits(train, held_out, 0, size)),
        reference("bzip2", "bz2.compress(split)", [alone(text) for text in held_out]),
        reference(ngrams, "Witten-Bell", ngram_bits(train, held_out, _ORDER, size)),
        reference("LZMA after training text", "lzma", [after(text) for text in held_out]),
    )


def ngram_bits(train: str, held_out: Sequence[str], order: int, alphabet: int) -> list[float]:
    """Bits a character of an n-gram model on texts it has not seen.

    Witten and Bell's smoothing: p_n(c | h) = (count(h c) + kinds(h) p_(n-1)(c | h')) / (count(h) +
    kinds(h)), where kinds(h) is how many different characters followed h, and h' is h without its
    first character; p_(-1) is uniform.

    Args:
      train: the text that is counted.
      held_out: the texts that are predicted, each from its own beginning.
      order: how many characters the model looks back.
      alphabet: how many characters there are.

    Reference: Witten and Bell, 1991, method C, https://doi.org/10.1109/18.87000
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for back in range(order + 1):
        for i in range(back, len(train)):
            counts[train[i - back : i]][train[i]] += 1
    totals = {before: (sum(found.values()), len(found)) for before, found in counts.items()}

    def bits(text: str) -> float:
        sum_of_logs = 0.0
        for i, character in enumerate(text):
            p = 1.0 / alphabet
            for back in range(min(order, i) + 1):
                before = text[i - back : i]
                if before not in totals:
                    break
                total, kinds = totals[before]
                p = (counts[before][character] + kinds * p) / (total + kinds)
            sum_of_logs -= math.log2(p)
        return sum_of_logs / len(text)

    return [bits(text) for text in held_out]
