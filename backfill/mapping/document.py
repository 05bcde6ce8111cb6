"""YAML text → a tree that knows each key's and value's line and column, by the rules of YAML 1.2's core.

PyYAML gives the events; what a plain text means is decided here, because PyYAML's rules are YAML 1.1's, in
which `no` is false and `012` is ten. Anchors are copied by reference and counted, so that a small file can't
grow into a large one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from backfill.errors import MappingProblem
from backfill.mapping.syntax import bad_escape_problem, syntax_problem, unreadable_problem
from backfill.mapping.tree import BYTES, Entry, List, Object, Text, Tree, short

__all__ = ["read_tree"]

NODES = 50_000
DEPTH = 50

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")


class _Refused(Exception):
    """The file can't be read any further."""

    def __init__(self, line: int, column: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.problem = MappingProblem(line, column, message, hint)


def read_tree(text: str) -> tuple[Tree | None, list[MappingProblem]]:
    """The file's tree, None when there is none to speak of, and what is wrong with it as YAML."""
    if len(text) > BYTES or len(text.encode("utf-8", "surrogatepass")) > BYTES:
        line = text.count("\n", 0, BYTES) + 1
        return None, [MappingProblem(line, 1, "a mapping has at most 1 MB", "is this the export itself?")]
    builder = _Builder(text)
    try:
        tree = builder.document()
    except _Refused as refused:
        return None, sorted([*builder.problems, refused.problem])
    except yaml.reader.ReaderError as error:
        return None, [*builder.problems, unreadable_problem(text, error)]
    except yaml.MarkedYAMLError as error:
        return None, [*builder.problems, syntax_problem(text, error)]
    except (ValueError, OverflowError):  # PyYAML on "\U99999999"
        return None, [*builder.problems, bad_escape_problem(text)]
    return tree, builder.problems


class _Builder:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines()
        self.problems: list[MappingProblem] = []
        self.anchors: dict[str, Tree] = {}
        self.nodes = 0

    def document(self) -> Tree | None:
        events = iter(yaml.parse(self.text, Loader=yaml.SafeLoader))
        tree: Tree | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused(*_place(event), "a mapping is one YAML document", "put what follows in its own file")
            elif isinstance(event, yaml.NodeEvent):
                tree = self.node(event, events, 0)
        return tree

    def node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Tree:
        line, column = _place(event)
        if depth > DEPTH:
            raise _Refused(line, column, f"more than {DEPTH} levels of nesting")
        if isinstance(event, yaml.AliasEvent):
            alias = self.alias(event)
            self.count(line, column, alias.size)
            return alias
        self.count(line, column, 1)
        if isinstance(event, yaml.ScalarEvent):
            self.tag(event, event.tag)
            node: Tree = self.scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self.tag(event, event.tag)
            node = List(line, column)
            for inner in iter(lambda: next(events), None):
                if isinstance(inner, yaml.SequenceEndEvent):
                    break
                node.items.append(self.node(inner, events, depth + 1))
            node.size += sum(item.size for item in node.items)
        else:
            self.tag(event, getattr(event, "tag", None))
            node = self.object(Object(line, column, bool(getattr(event, "flow_style", False))), events, depth)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def object(self, node: Object, events: Iterator[yaml.Event], depth: int) -> Object:
        for inner in iter(lambda: next(events), None):
            if isinstance(inner, yaml.MappingEndEvent):
                break
            key = self.node(inner, events, depth + 1)
            value = self.node(next(events), events, depth + 1)
            if not isinstance(key, Text):
                hint = 'a text with braces goes in quotes: "{column}"' if isinstance(key, Object) else ""
                self.problems.append(MappingProblem(key.line, key.column, "a key has to be a text", hint))
            elif key.plain and key.text in ("", "<<"):
                what = "merge keys (<<) are not read" if key.text else 'a name is missing before ":"'
                self.problems.append(MappingProblem(key.line, key.column, what, "write the keys out" * bool(key.text)))
            elif key.text in node.entries:
                first = node.entries[key.text].key
                message = f'the key "{short(key.text)}" is here twice'
                self.problems.append(MappingProblem(key.line, key.column, message, f"first in line {first.line}"))
            else:
                node.entries[key.text] = Entry(key, value)
                node.size += value.size + 1
        return node

    def alias(self, event: yaml.AliasEvent) -> Tree:
        if event.anchor not in self.anchors:
            raise _Refused(
                *_place(event),
                f"no anchor &{event.anchor} stands before this",
                "a text with * goes in quotes",
            )
        return self.anchors[event.anchor]

    def count(self, line: int, column: int, size: int) -> None:
        self.nodes += size
        if self.nodes > NODES:
            raise _Refused(line, column, f"more than {NODES:,} values, anchors counted where they are used")

    def tag(self, event: yaml.Event, tag: str | None) -> None:
        if tag is not None and tag not in _TEXT_TAGS:
            written = tag.replace("tag:yaml.org,2002:", "!!")
            message = f"tags are not read: {short(written if written.startswith('!') else '!' + written)}"
            self.problems.append(MappingProblem(*_place(event), message, "a text with ! goes in quotes"))

    def scalar(self, event: yaml.ScalarEvent) -> Text:
        line, column = _place(event)
        text: str = event.value
        plain = event.style is None and event.tag is None
        row = self.lines[line - 1] if line <= len(self.lines) else ""
        quote = 0 if event.style is None else 1
        start = column - 1 + quote
        verbatim = event.style not in ("|", ">") and row[start : start + len(text)] == text
        value = _resolve(text) if plain else text
        return Text(line, column, text, value, quote if verbatim and event.tag is None else None, plain)


def _resolve(text: str) -> str | int | float | bool | None:
    """What a plain text is in YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= 300:
        if _INTEGER.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _place(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
