"""What the linter gathers while it walks a file's tree: problems, places, and references to columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from backfill.errors import MappingProblem
from backfill.mapping.leaf import Path
from backfill.mapping.tree import Entry, List, Object, Text, Tree, describe
from backfill.mapping.words import listing, suggest

__all__ = ["Findings", "Reference", "quoted"]

_SECRET = re.compile(r"secret|api_?key|token|password|passwd|credential|authorization|bearer", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that the mapping refers to, and where; `context` is the key that does, as `customer.email`.

    `nested`: only a field of a nested column will do, because SQL reads `a.b` so, unless in double quotes.
    """

    path: Path
    column: str
    line: int
    column_no: int
    context: str
    nested: bool = False


def quoted(text: str) -> str:
    """A name in a message, on one line and not too long."""
    text = " ".join(text.split()) if text.strip() else text
    return f'"{text if len(text) <= 60 else text[:59] + "…"}"'


@dataclass(slots=True)
class Findings:
    """Filled by the walk; nothing in it stops the walk."""

    problems: list[MappingProblem] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def wrong(self, at: Text | Object | List | Entry | tuple[int, int], message: str, hint: str = "") -> None:
        """Note a problem at a place; of an entry, the key is the place."""
        if isinstance(at, Entry):
            at = at.key
        line, column = at if isinstance(at, tuple) else (at.line, at.column)
        self.problems.append(MappingProblem(line, column, message, hint))

    def seen(self, path: Path, tree: Tree) -> None:
        """Note where the value at `path` stands."""
        self.positions[path] = (tree.line, tree.column)

    def refer(self, path: Path, column: str, at: tuple[int, int], context: str, *, nested: bool = False) -> None:
        """Note a reference to a column."""
        self.references.append(Reference(path, column, *at, context, nested))

    def object(self, tree: Tree, path: Path, name: str, expected: str) -> Object | None:
        """The tree when it is an object; else a problem that says what was expected."""
        self.seen(path, tree)
        if isinstance(tree, Object):
            return tree
        self.wrong(tree, f"{name} has to be an object, not {describe(tree)}", expected)
        return None

    def closed(self, tree: Object, name: str, known: Sequence[str], otherwise: str = "") -> None:
        """Note every key that is not known, with the nearest that is."""
        for key, entry in tree.entries.items():
            if key not in known:
                free = [other for other in known if other not in tree.entries]
                self.unknown(entry, name, known, suggest(key, free) or otherwise)

    def unknown(self, entry: Entry, name: str, known: Sequence[str], otherwise: str = "") -> None:
        """Note one key that is not known."""
        key = entry.key.text
        if _SECRET.search(key):
            hint = "the secret comes from REDO_API_SECRET or REDO_API_SECRET_FILE; replace it if it is real"
            self.wrong(entry, f"{quoted(key)} has no place in a mapping", hint)
            return
        near = suggest(key, known)
        if otherwise.startswith("did you mean") and not near:
            near = otherwise
        hint = near or otherwise or f"it takes {listing(known, 20)}"
        self.wrong(entry, f"unknown key {quoted(key)} in {name}", hint)

    def text(self, tree: Tree, path: Path, name: str, expected: str = "") -> str | None:
        """A text that is not empty."""
        self.seen(path, tree)
        if isinstance(tree, Text) and isinstance(tree.value, str):
            if tree.value.strip():
                return tree.value
            self.wrong(tree, f"{name} is empty", expected)
        elif isinstance(tree, Text) and tree.value is not None:
            self.wrong(tree, f"{name} has to be a text, not {describe(tree)}", f'write "{tree.text}" in quotes')
        else:
            self.wrong(tree, f"{name} has to be a text, not {describe(tree)}", expected)
        return None

    def name(self, tree: Tree, path: Path, name: str) -> str | None:
        """A column's name: a number is taken as it is written."""
        self.seen(path, tree)
        if isinstance(tree, Text) and tree.text.strip():
            return tree.text
        self.wrong(tree, f"{name} has to be a column's name, not {describe(tree)}")
        return None

    def boolean(self, tree: Tree, path: Path, name: str) -> bool | None:
        """A truth: true or false."""
        self.seen(path, tree)
        if isinstance(tree, Text) and isinstance(tree.value, bool):
            return tree.value
        self.wrong(tree, f"{name} has to be true or false, not {describe(tree)}")
        return None

    def number(self, tree: Tree, path: Path, name: str) -> int | float | None:
        """A number."""
        self.seen(path, tree)
        if isinstance(tree, Text) and isinstance(tree.value, int | float) and not isinstance(tree.value, bool):
            return tree.value
        self.wrong(tree, f"{name} has to be a number, not {describe(tree)}")
        return None

    def word(self, tree: Tree, path: Path, name: str, known: Collection[str]) -> str | None:
        """One of some words."""
        self.seen(path, tree)
        if isinstance(tree, Text) and tree.value in known:
            return tree.text
        near = suggest(tree.text, known) if isinstance(tree, Text) else ""
        self.wrong(tree, f"{name} has to be {_either(list(known))}, not {describe(tree)}", near)
        return None


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
