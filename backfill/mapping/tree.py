"""What a YAML file holds, with places: texts, objects and lists."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["BYTES", "Entry", "List", "Object", "Text", "Tree", "describe", "short"]

BYTES = 1_000_000
"""How large a mapping may be."""

# A number whose digits could as well be a code: read as a number, "012" would lose its zero.
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar: as written, and as YAML reads it.

    `inside` is where the text begins, in columns from `column`, when it stands in the file as it is, on one
    line.
    """

    line: int
    column: int
    text: str
    value: str | int | float | bool | None
    inside: int | None = None
    plain: bool = True
    size: int = 1

    @property
    def dubious(self) -> bool:
        """Whether this is a number that may have been meant as a text."""
        return self.plain and isinstance(self.value, int | float) and not isinstance(self.value, bool) and (
            not _PLAIN_NUMBER.fullmatch(self.text)
        )  # fmt: skip

    def at(self, offset: int) -> tuple[int, int]:
        """Where the character at `offset` of the text stands; the text's own place when that is not known."""
        return (self.line, self.column + (0 if self.inside is None else self.inside + offset))


@dataclass(slots=True)
class Entry:
    """`key: value`."""

    key: Text
    value: Tree


@dataclass(slots=True)
class Object:
    """A YAML mapping, without its duplicate keys."""

    line: int
    column: int
    flow: bool = False
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 1


@dataclass(slots=True)
class List:
    """A YAML sequence."""

    line: int
    column: int
    items: list[Tree] = field(default_factory=list)
    size: int = 1


Tree = Text | Object | List


def describe(tree: Tree) -> str:
    """What a user would call it: `a list`, `the number 5`."""
    match tree:
        case Object():
            return "an object"
        case List():
            return "a list"
        case Text(value=None):
            return "nothing"
        case Text(value=bool()):
            return tree.text
        case Text(value=int() | float()):
            return f"the number {short(tree.text)}"
        case _:
            return f'"{short(tree.text)}"'


def short(text: str, length: int = 40) -> str:
    """On one line, and not too long."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"
