"""Text that tells a terminal nothing but letters: what comes from exports and servers is shown through this."""

from __future__ import annotations

import json
import unicodedata

__all__ = ["plural", "printable", "printable_json"]

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


def printable_json(text: str) -> str:
    """JSON that means the same, with JSON's own escape for every character that is not seen; line breaks excepted."""
    return "".join(
        letter if letter == "\n" or unicodedata.category(letter) not in HIDDEN else json.dumps(letter)[1:-1]
        for letter in text
    )


def plural(count: int, noun: str) -> str:
    """`1 event`, `2,000 events`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
