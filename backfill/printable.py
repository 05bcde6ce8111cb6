"""Text that tells a terminal nothing but letters: what comes from exports and servers is shown through this."""

from __future__ import annotations

import unicodedata

__all__ = ["plural", "printable"]

# Controls, format characters (bidirectional marks make a line read otherwise than it is), surrogates, private use.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str) -> str:
    """The text with every character that is not seen written out, line breaks and tabs excepted."""
    return "".join(
        letter
        if letter in "\n\t" or unicodedata.category(letter) not in HIDDEN
        else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in text
    )


def plural(count: int, noun: str) -> str:
    """`1 event`, `2,000 events`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
