"""Text that tells a terminal nothing but letters: what comes from exports and servers is shown through this."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable

__all__ = ["named", "plural", "printable", "printable_json", "short"]

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


def short(text: str, most: int = 60) -> str:
    """A text from an export on one line, printable and not too long."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def named(names: Iterable[str], *, last: str = "and", most: int = 5) -> str:
    """`“Order Placed”, “Order Paid” and 7 more`: some names from exports, at least one."""
    words = [f"“{short(name)}”" for name in names]
    if len(words) > most:
        words = [*words[:most], f"{len(words) - most:,} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
