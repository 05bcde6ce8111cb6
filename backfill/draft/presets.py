"""Mappings for exports that merchants have: recognised by their headers, and cut to what an export has."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from backfill.draft.scalars import comment, path
from backfill.errors import BugError, UsageError
from backfill.mapping import Path as Place
from backfill.mapping import Reference, parse, suggest
from backfill.mapping.leaf import LEAF_KEYS

__all__ = ["FOLDER", "Preset", "adapted", "chosen", "heading", "load_presets", "read_preset", "recognised"]

FOLDER = Path(__file__).parent / "presets"
KEYS = ("preset", "title", "headers", "note")
ENTRY = re.compile(r"# (preset|title|headers|note): (.*)")
ANCHOR = re.compile(r": &(\w+)\s*(?:#.*)?$")
# Keys inside of one value: what refers to a column there takes the whole value along.
INSIDE = frozenset({*LEAF_KEYS, "default", "otherwise", "map", "hash"})
IDENTIFIERS = frozenset({"id", "email", "phoneNumber"})
NEEDED = frozenset({"eventName", "uniqueId", "eventTimestamp", "where"})


@dataclass(frozen=True, slots=True)
class Preset:
    """`headers` are the columns that tell the export, `note` lines for who uses it, `text` the mapping below them."""

    name: str
    title: str
    headers: tuple[str, ...]
    note: tuple[str, ...]
    text: str


def load_presets(folder: Path = FOLDER) -> list[Preset]:
    """All presets, by name. Raises BugError for one whose first comments are not in their form."""
    files = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    return [read_preset(path.read_text("utf-8"), path.name) for path in files]


def read_preset(text: str, file: str) -> Preset:
    found: dict[str, str] = {}
    note: list[str] = []
    lines = text.splitlines()
    at = 0
    for at, line in enumerate(lines):
        if not line.startswith("#"):
            break
        entry = ENTRY.fullmatch(line)
        if entry is not None and entry[1] not in found:
            found[entry[1]] = entry[2].strip()
            if entry[1] == "note":
                note.append(entry[2].strip())
        elif "note" in found:
            note.append(line.removeprefix("#").removeprefix(" "))
        else:
            raise BugError(f"{file}:{at + 1}: no line of a preset", hint=f"it begins with {', '.join(KEYS)}")
    headers = tuple(one.strip() for one in found.get("headers", "").split(",") if one.strip())
    if not headers or not found.get("preset") or not found.get("title"):
        raise BugError(f"{file}: a preset needs preset, title and headers", hint="see the other presets")
    return Preset(found["preset"], found["title"], headers, tuple(note), "\n".join(lines[at:]).strip() + "\n")


def recognised(presets: Sequence[Preset], columns: Collection[str]) -> Preset | None:
    """The preset whose headers are all there; of several the one with most."""
    known = set(columns)
    fitting = [preset for preset in presets if known.issuperset(preset.headers)]
    return max(fitting, key=lambda preset: len(preset.headers), default=None)


def chosen(presets: Sequence[Preset], name: str) -> Preset:
    """The preset of a name. Raises UsageError."""
    names = [preset.name for preset in presets]
    if name not in names:
        near = suggest(name, names)
        listed = ", ".join([*names, "none"])
        raise UsageError(f'no preset "{name}"', hint=f"{near + ' ' if near else ''}there are {listed}")
    return presets[names.index(name)]


def adapted(
    preset: Preset, files: str, form: str | None, columns: Sequence[str], nested: Callable[[str], bool]
) -> tuple[str, list[str]]:
    """The preset's mapping for an export with these columns, and the columns that it would use and the export lacks.

    Their lines are left out; so is an event that can't be without one.
    """
    text = re.sub(r"(?m)^  files: .*$", lambda _: f"  files: {path(files)}" + (f"\n  format: {form}" if form else ""),
                  preset.text, count=1)  # fmt: skip
    draft = parse(text, f"{preset.name}.yaml")
    if draft.problems:
        raise BugError(f"the preset {preset.name} is no mapping: {draft.problems[0].message}", hint="please report it")
    known = set(columns)
    lacking = [
        one for one in draft.references()
        if not (one.column in known and not one.nested) and not ("." in one.column and nested(one.column))
    ]  # fmt: skip
    missing = list(dict.fromkeys(reference.column for reference in lacking))
    return _without(text, lacking), missing


def _without(text: str, lacking: Sequence[Reference]) -> str:
    """The text without the values that refer to these columns."""
    if not lacking:
        return text
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None
    spans: dict[Place, tuple[int, int]] = {}
    children: dict[Place, set[Place]] = {}
    _walk(root, (), spans, children)
    gone = {_removable(one.path) for one in lacking}
    gone |= {place[:2] for place in gone if len(place) == 3 and place[0] == "events" and place[2] in NEEDED}
    # What has nothing left in it goes too; and an event without a customer.
    while True:
        more = {place for place, inner in children.items() if inner and inner <= gone and place not in gone and place}
        more |= {place for place in children if _is_nobody(place, children, gone)} - gone
        if not more - gone:
            break
        gone |= {place[:2] if place[-1:] == ("customer",) else place for place in more} | more
    # Of a mapping without events there is nothing to keep: what is missing is told, and by `check`.
    if all(place in gone for place in children if len(place) == 2 and place[0] == "events") or ("events",) in gone:
        return text
    return _cut(text.splitlines(), {place: spans[place] for place in gone if place in spans}, spans)


def _cut(lines: list[str], gone: dict[Place, tuple[int, int]], spans: dict[Place, tuple[int, int]]) -> str:
    """The lines without those of the places that are gone, and the comments above them."""
    out = {place: set(range(_with_comments(lines, start), stop)) for place, (start, stop) in gone.items()}
    cut = set().union(*out.values())
    moved: dict[int, list[str]] = {}
    for place, (start, stop) in spans.items():
        anchor = ANCHOR.search(lines[start])
        if anchor is None or start not in cut:
            continue
        # What others refer to is gone with what it stood in: it moves to the first of them.
        inner = set().union(*(out[one] for one in out if len(one) > len(place) and one[: len(place)] == place))
        alias = re.compile(rf": \*{anchor[1]}\s*(#.*)?$")
        heir = next((at for at, line in enumerate(lines) if at not in cut and alias.search(line)), None)
        if heir is not None:
            step = len(lines[heir]) - len(lines[heir].lstrip()) - (len(lines[start]) - len(lines[start].lstrip()))
            block = [lines[at] for at in range(start, stop) if at not in inner]
            moved[heir] = [" " * step + line if step >= 0 else line[-step:] for line in block]
    kept = [line for at, old in enumerate(lines) if at not in cut for line in moved.get(at, [old])]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept).strip()) + "\n"


def _with_comments(lines: list[str], start: int) -> int:
    """Where the comments begin that stand directly above a line, at its margin."""
    margin = len(lines[start]) - len(lines[start].lstrip())
    while start and lines[start - 1].lstrip().startswith("#") and lines[start - 1].index("#") == margin:
        start -= 1
    return start


def _is_nobody(place: Place, children: dict[Place, set[Place]], gone: set[Place]) -> bool:
    """Whether a customer has lost all that it could be known by."""
    if len(place) != 3 or place[2] != "customer":
        return False
    known = {inner for inner in children[place] if inner[-1] in IDENTIFIERS}
    return bool(known) and known <= gone


def _removable(path: Place) -> Place:
    """The value that a reference is in: `customer.firstName` of `customer.firstName.sql`."""
    for length, key in enumerate(path):
        if key == "collect":
            continue
        # Under `data` a column may be called like a key.
        named = length and path[length - 1] in ("data", "customFields", "$extra", "collect")
        if key in INSIDE and not named and length > 1:
            return path[:length]
    if path[:2] == ("source", "group_by"):
        return path[:2]
    return path


def _walk(
    node: yaml.Node, place: Place, spans: dict[Place, tuple[int, int]], children: dict[Place, set[Place]]
) -> None:
    """The lines of every key of block style: from its own until the next key, comments before that one left out."""
    if isinstance(node, yaml.MappingNode):
        children[place] = set()
        for key, value in node.value:
            inner = (*place, key.value)
            children[place].add(inner)
            if not node.flow_style:
                spans[inner] = (key.start_mark.line, _end(value, key.start_mark.line))
            _walk(value, inner, spans, children)
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        children[place] = set()
        for at, item in enumerate(node.value):
            children[place].add((*place, at))
            spans[(*place, at)] = (item.start_mark.line, _end(item, item.start_mark.line))
            _walk(item, (*place, at), spans, children)


def _end(node: yaml.Node, start: int) -> int:
    """The line behind the node's last; a block's end mark is where the next token begins."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1], node.value[-1][0].start_mark.line)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1], node.value[-1].start_mark.line)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        lines = node.start_mark.buffer.split("\n") if node.start_mark.buffer else []
        stop = node.end_mark.line
        # Comments and blank lines behind the text are not its own.
        while stop > start + 1 and (
            not lines or not lines[stop - 1].strip() or lines[stop - 1].lstrip().startswith("#")
        ):
            stop -= 1
        return stop
    return max(start, node.end_mark.line if not _begins_line(node) else node.end_mark.line - 1) + 1


def _begins_line(node: yaml.Node) -> bool:
    return bool(node.end_mark.column == 0 and node.end_mark.line > node.start_mark.line)


def heading(preset: Preset, missing: Sequence[str]) -> list[str]:
    """What stands above a preset's mapping."""
    lines = [f"{preset.title}: the preset {preset.name}."]
    if missing:
        lines.append(f"This export has no {', '.join(comment(one) for one in missing)}: their lines are left out.")
    return lines
