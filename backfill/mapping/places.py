"""Where a value stands, and the columns that templates, SQL and lists of names refer to from there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from backfill.mapping.findings import Findings
from backfill.mapping.leaf import Path
from backfill.mapping.sql import read_sql
from backfill.mapping.template import Template, TemplateError, parse_template
from backfill.mapping.tree import List, Text, Tree

__all__ = ["Place", "read_columns", "read_sql_text", "read_template"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and what may stand there.

    `kind` is the type that the API gives the field, None where any scalar goes; `rule` names a further check.
    """

    path: Path
    name: str
    kind: str | None = None
    rule: str = ""
    grouped: bool = False
    extra: bool = False
    collecting: bool = False

    def under(self, key: str | int, *, named: bool = True) -> Place:
        """The place of a part."""
        part = f"[{key}]" if isinstance(key, int) else f".{key}"
        return replace(self, path=(*self.path, key), name=self.name + part if named else self.name)


def read_template(findings: Findings, tree: Text, place: Place) -> Template | None:
    """A template, with its columns noted."""
    try:
        template = parse_template(tree.text)
    except TemplateError as error:
        findings.wrong(tree.at(error.offset), error.message, error.hint)
        return None
    for part in template.parts:
        if not isinstance(part, str):
            findings.refer(place.path, part.name, tree.at(part.offset), place.name)
    return template


def read_sql_text(findings: Findings, tree: Tree, place: Place) -> str | None:
    """SQL, with its columns noted."""
    text = findings.text(tree, place.path, place.name, "as in \"status <> 'test'\"")
    if text is None or not isinstance(tree, Text):
        return None
    sql = read_sql(text)
    for column in sql.columns:
        at = tree.at(column.offset or 0)
        findings.refer(place.path, column.name, at, place.name, nested=column.nested)
    for mistake in sql.mistakes:
        at = (tree.line, tree.column) if mistake.offset is None else tree.at(mistake.offset)
        findings.wrong(at, mistake.message, mistake.hint)
    if sql.aggregate is not None and place.collecting:
        findings.wrong(tree.at(sql.aggregate), "each row stands alone inside collect", "aggregates go outside of it")
    elif sql.aggregate is not None and not place.grouped:
        findings.wrong(tree.at(sql.aggregate), "an aggregate needs several rows", "say which in source.group_by")
    return text if not sql.mistakes else None


def read_columns(findings: Findings, tree: List, path: Path, context: str) -> list[str]:
    """Columns' names, noted as references."""
    columns: list[str] = []
    for at, item in enumerate(tree.items):
        name = findings.name(item, (*path, at), f"{context}[{at}]")
        if name is None or not isinstance(item, Text):
            continue
        if name in columns:
            findings.wrong(item, f'the column "{name}" is here twice')
        columns.append(name)
        findings.refer((*path, at), name, item.at(0), context)
    return columns
