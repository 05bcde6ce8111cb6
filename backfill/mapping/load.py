"""A mapping file → a Mapping, or every problem with it at once."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from backfill.errors import MappingError, MappingProblem, SettingsError
from backfill.mapping.events import read_events
from backfill.mapping.findings import Findings, Reference, quoted
from backfill.mapping.models import STORE, Delivery, Event, Mapping, Source
from backfill.mapping.sources import read_delivery, read_source
from backfill.mapping.tree import BYTES, Entry, List, Object, Text, Tree, describe
from backfill.mapping.words import listing, printable, suggest

__all__ = ["Draft", "load", "parse", "read"]

KEYS = ("source", "events", "delivery")
# What nobody calls a mapping.
EXPORTS = (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl", ".xlsx", ".xls", ".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Draft:
    """What reading a file came to, however wrong the file is.

    `mapping` is None when there are problems. `source` is what is right of the source, for reading headers,
    whatever else is wrong.
    """

    path: pathlib.Path
    mapping: Mapping | None
    problems: list[MappingProblem]
    source: Source | None
    _references: list[Reference] = field(default_factory=list)

    def references(self) -> list[Reference]:
        """Every column that the file refers to, in the file's order."""
        return sorted(self._references, key=lambda reference: (reference.line, reference.column_no))

    def check_columns(self, columns: Sequence[str], nested: Callable[[str], bool], file: str) -> list[MappingProblem]:
        """A problem for each column that `file` lacks; `nested` tells whether a dotted path resolves."""
        known = set(columns)
        found: dict[tuple[int, int, str], MappingProblem] = {}
        for reference in self.references():
            name = reference.column
            if (name in known and not reference.nested) or ("." in name and nested(name)):
                continue
            hint = suggest(name, columns) or f"it has {listing(list(columns))}"
            message = f"no column {quoted(name)} in {file}"
            if name in known:
                message = f"no nested column {quoted(name)} in {file}"
                hint = f'in SQL the column of that name is written "{name}", in double quotes'
            problem = MappingProblem(reference.line, reference.column_no, message, hint)
            found.setdefault((reference.line, reference.column_no, name), problem)
        return _shown(list(found.values()))


def load(path: pathlib.Path) -> Mapping:
    """The mapping in a file. Raises MappingError with every problem in it."""
    draft = read(path)
    if draft.mapping is None:
        raise MappingError(str(path), draft.problems)
    return draft.mapping


def read(path: pathlib.Path) -> Draft:
    """A file's draft. Raises SettingsError when there is no file to read."""
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES + 1)
    except OSError as error:
        hint = _near(path) or "`backfill check MAPPING` takes the path of a YAML file; see README.md for a first one"
        raise SettingsError(f"can't read the mapping {path}: {error.strerror or error}", hint=hint) from error
    if path.suffix.lower() in EXPORTS:
        hint = "; ".join(filter(None, ("the mapping is the YAML file that names it in source.files", _near(path))))
        raise SettingsError(f"{path} is an export, and no mapping", hint=hint)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(raw) <= BYTES or error.start < BYTES - 4:
            line = raw.count(b"\n", 0, error.start) + 1
            column = len(raw[raw.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8", "replace")) + 1
            problem = MappingProblem(line, column, "this is not UTF-8", "save the file as UTF-8")
            return Draft(path, None, [problem], None)
        text = raw.decode("utf-8", "replace")
    return parse(text, path)


def _near(path: pathlib.Path) -> str:
    """Which mappings there are where one is looked for: the one whose name is nearest, or the first few."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    names = sorted(one.name for one in path.parent.glob("*.[yY]*[mM][lL]") if one.name != path.name)
    near = suggest(path.name, names) or suggest(path.stem, names)
    folder = "here" if path.parent == pathlib.Path() else f"in {path.parent}"
    return near or (f"{folder} there is {listing(names, 5)}" if names else "")


def parse(text: str, path: pathlib.Path | str = "mapping.yaml") -> Draft:
    """A text's draft."""
    from backfill.mapping.document import read_tree

    path = pathlib.Path(path)
    tree, problems = read_tree(text.removeprefix("\ufeff"))
    if tree is None or (isinstance(tree, Text) and tree.value is None):
        return Draft(path, None, _shown(problems) or [_empty()], None)
    findings = Findings(list(problems))
    source, events, delivery = _parts(findings, tree)
    mapping = None
    if not findings.problems and source is not None:
        whole = Mapping(path=path, source=source, events=events, delivery=delivery or Delivery())
        mapping = whole.with_positions(findings.positions)
    return Draft(path, mapping, _shown(findings.problems), source, findings.references)


def _occurrences(events: Tree) -> Iterator[Entry]:
    """Where events say `occurrence: true`."""
    for event in events.items if isinstance(events, List) else [events]:
        unique_id = event.entries.get("uniqueId") if isinstance(event, Object) else None
        if unique_id is not None and isinstance(unique_id.value, Object):
            entry = unique_id.value.entries.get("occurrence")
            if entry is not None and isinstance(entry.value, Text) and entry.value.value is True:
                yield entry


def _shown(problems: list[MappingProblem]) -> list[MappingProblem]:
    return sorted(
        replace(problem, message=printable(problem.message), hint=printable(problem.hint)) for problem in problems
    )


def _empty() -> MappingProblem:
    return MappingProblem(1, 1, "this mapping is empty", "see README.md for a first one")


def _parts(findings: Findings, tree: Tree) -> tuple[Source | None, list[Event], Delivery | None]:
    findings.seen((), tree)
    if not isinstance(tree, Object):
        findings.wrong(tree, f"a mapping is an object with source and events, not {describe(tree)}")
        return None, [], None
    findings.closed(tree, "the mapping", KEYS)
    parts = {key: entry.value for key, entry in tree.entries.items()}
    for key, hint in (
        ("source", "as in source: {files: orders.csv}"),
        ("events", "as in - eventName: Order Placed"),
    ):
        if key not in parts:
            findings.wrong(tree, f"{key} is missing", hint)
    source = read_source(findings, parts["source"]) if "source" in parts else None
    grouped = isinstance(inner := parts.get("source"), Object) and "group_by" in inner.entries
    events = read_events(findings, parts["events"], grouped=grouped) if "events" in parts else []
    if isinstance(inner, Object) and "since" in inner.entries and "events" in parts:
        for entry in _occurrences(parts["events"]):
            message = "occurrence does not go with source.since: twins are told apart by all rows"
            findings.wrong(entry, message, "leave since out, or give an id that tells the rows apart")
    delivery = read_delivery(findings, parts["delivery"]) if "delivery" in parts else None
    if source is not None and source.names_stores and not any(one.column == STORE for one in findings.references):
        at = inner.entries["files"].value if isinstance(inner, Object) and "files" in inner.entries else tree
        message = "{store} stands in source.files, and nothing reads it: the files of all stores would go to one"
        findings.wrong(at, message, 'say delivery: {store: "{store}"}; or write * in its place')
    return source, events, delivery
