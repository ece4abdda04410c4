"""Numbers of bytes, and text of others, as they are shown: in an error, on a terminal, in a page.

A name in a file that somebody sent may be a megabyte long, or hold the control codes by which a
terminal is told to clear itself, to change its title or to write to the clipboard.
"""

import unicodedata

# Control codes, invisible marks (among them those that turn the direction of writing round), lone
# halves of surrogate pairs, and separators of lines and paragraphs.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_LONGEST = 60  # characters of a name in an error


def printable(text: str, *, keep: str = "") -> str:
    r"""`text` with every control character written out, as in `\x1b[2J`.

    Args:
      text: any text.
      keep: control characters that stay as they are, such as the ends of lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode()
        if c not in keep and unicodedata.category(c) in _HIDDEN
        else c
        for c in text
    )


def word(name: object) -> str:
    """A name in an error message: without control characters, and not longer than others are."""
    text = str(name)
    shown = printable(text[: _LONGEST + 1])
    return shown if len(text) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."


def bytes_text(count: float) -> str:
    """A number of bytes in three digits: `12 B`, `4.1 kB`, `2.5 TB`; a kB is 1,000 bytes."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} PB" if count < 999.5 else f"{count:,.0f} PB"
