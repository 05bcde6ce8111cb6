"""The parts of a mapping under `source` and `delivery`."""

from __future__ import annotations

import codecs
import re
from typing import Any

from backfill.mapping.durations import DurationError, parse_duration
from backfill.mapping.findings import Findings, quoted
from backfill.mapping.leaf import Path
from backfill.mapping.models import CsvOptions, Delivery, GroupBy, Numbers, Secrets, Since, Source, StoreColumn
from backfill.mapping.places import Place, read_columns, read_sql_text, read_template
from backfill.mapping.times import bad_format, bad_zone
from backfill.mapping.tree import List, Object, Text, Tree, describe
from backfill.mapping.words import suggest

__all__ = ["read_delivery", "read_source"]

FORMATS = ("csv", "parquet", "ndjson", "arrow", "excel")
SCHEMES = ("s3", "gs", "az", "https")
UNCHANGED = "a file that has not changed since it was delivered is not read again anyway"


def read_source(findings: Findings, tree: Tree) -> Source | None:
    """The source without its wrong parts, so that headers can be read all the same; None without files."""
    return _Reader(findings, ("source",)).source(tree)


def read_delivery(findings: Findings, tree: Tree) -> Delivery | None:
    """The delivery without its wrong parts."""
    return _Reader(findings, ("delivery",)).delivery(tree)


class _Reader:
    def __init__(self, findings: Findings, path: Path) -> None:
        self.findings, self.path = findings, path

    def parts(self, tree: Tree, path: Path, model: type[Any], expected: str) -> dict[str, Any] | None:
        """Each known key's value, by the method of its name; those that are wrong are left out."""
        name = ".".join(map(str, path))
        shape = self.findings.object(tree, path, name, expected)
        if shape is None:
            return None
        self.findings.closed(shape, name, tuple(model.model_fields))
        found = {
            key: getattr(self, f"_{key}")(entry.value, (*path, key))
            for key, entry in shape.entries.items()
            if key in model.model_fields
        }
        return {key: value for key, value in found.items() if value is not None}

    def source(self, tree: Tree) -> Source | None:
        fields = self.parts(tree, self.path, Source, 'as in {files: "exports/orders_*.csv"}')
        if fields is None:
            return None
        if isinstance(tree, Object) and "files" not in tree.entries:
            self.findings.wrong(tree, "source.files is missing", 'as in files: "exports/orders_*.csv"')
        if isinstance(tree, Object) and {"since", "group_by"} <= tree.entries.keys():
            hint = f"leave since out: {UNCHANGED}"
            self.findings.wrong(tree.entries["since"], "since does not go with group_by: a group needs its rows", hint)
        return Source(**fields) if "files" in fields else None

    def delivery(self, tree: Tree) -> Delivery | None:
        fields = self.parts(tree, self.path, Delivery, "as in {rate: 95}")
        return None if fields is None else Delivery(**fields)

    def _files(self, tree: Tree, path: Path) -> list[str] | None:
        self.findings.seen(path, tree)
        items = tree.items if isinstance(tree, List) else [tree]
        if not items:
            self.findings.wrong(tree, "source.files is empty", 'as in "exports/orders_*.csv"')
        files: list[str] = []
        for at, item in enumerate(items):
            inner = (*path, at) if isinstance(tree, List) else path
            text = self.findings.text(item, inner, "source.files", 'as in "exports/orders_*.csv"')
            scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", text or "")
            if scheme is not None and scheme[1] not in SCHEMES:
                near = suggest(scheme[1], SCHEMES) or "a path, or s3://, gs://, az://, https://"
                self.findings.wrong(item, f"{scheme[1]}:// is not read", near)
            elif text is not None and scheme is not None and scheme[1] == "https" and "{store}" in text:
                self.findings.wrong(item, "a web server lists no files for {store}", "name them, as a list")
            elif text is not None:
                files.append(text)
        return files or None

    def _format(self, tree: Tree, path: Path) -> str | None:
        if "since" not in path:
            return self.findings.word(tree, path, "format", FORMATS)
        text = self.findings.text(tree, path, "source.since.format", 'as in "%Y-%m-%d %H:%M:%S", epoch_s or epoch_ms')
        bad = bad_format(text) if text is not None else None
        if bad is not None and isinstance(tree, Text):
            self.findings.wrong(tree.at(bad[2]), bad[0], bad[1])
        return text if bad is None else None

    def _since(self, tree: Tree, path: Path) -> Since | None:
        fields = self.parts(tree, path, Since, "as in {column: updated_at, lookback: 3d}")
        if fields is not None and isinstance(tree, Object) and "column" not in tree.entries:
            self.findings.wrong(tree, "source.since.column is missing", "as in column: updated_at")
        if fields is not None and isinstance(fields.get("lookback"), int) and fields.keys() & {"format", "timezone"}:
            self.findings.wrong(
                tree, "a lookback that is a number is for a column of numbers, not of times", 'write "3d" or "12h"'
            )
        return Since(**fields) if fields is not None and "column" in fields else None

    def _column(self, tree: Tree, path: Path) -> str | None:
        where = ".".join(map(str, path[:-1]))
        name = self.findings.name(tree, path, f"{where}.column")
        if name is not None and isinstance(tree, Text):
            self.findings.refer(path, name, tree.at(0), where)
        return name

    def _lookback(self, tree: Tree, path: Path) -> str | int | None:
        value = tree.value if isinstance(tree, Text) else None
        if isinstance(value, str):
            return self.duration(tree, path)
        self.findings.seen(path, tree)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        hint = "times as in 30m, 12h or 3d, a column of numbers as in 1000"
        self.findings.wrong(tree, f"lookback has to be a time or a whole number, not {describe(tree)}", hint)
        return None

    def _csv(self, tree: Tree, path: Path) -> CsvOptions | None:
        fields = self.parts(tree, path, CsvOptions, 'as in {separator: ";"}')
        return None if fields is None else CsvOptions(**fields)

    def _numbers(self, tree: Tree, path: Path) -> Numbers | None:
        fields = self.parts(tree, path, Numbers, 'as in {decimal: ",", thousands: "."}')
        if fields is None:
            return None
        if fields.get("thousands") == fields.get("decimal", "."):
            self.findings.wrong(tree, "decimal and thousands can't be the same mark", "say both")
        return Numbers(**fields)

    def _timezone(self, tree: Tree, path: Path) -> str | None:
        text = self.findings.text(tree, path, "timezone", 'as in "America/New_York"')
        bad = bad_zone(text) if text is not None else None
        if bad is not None:
            self.findings.wrong(tree, *bad)
        return text if bad is None else None

    def _ambiguous(self, tree: Tree, path: Path) -> str | None:
        return self.findings.word(tree, path, "ambiguous", ("reject", "earliest", "latest"))

    def _where(self, tree: Tree, path: Path) -> str | None:
        return read_sql_text(self.findings, tree, Place(path, "source.where"))

    def _group_by(self, tree: Tree, path: Path) -> GroupBy | None:
        if isinstance(tree, Object):
            fields = self.parts(tree, path, GroupBy, "as in [order_id]")
            if fields is not None and "columns" not in tree.entries:
                self.findings.wrong(tree, "source.group_by.columns is missing", "as in columns: [order_id]")
            return GroupBy(**fields) if fields is not None and "columns" in fields else None
        self.findings.seen(path, tree)
        columns = self.names(tree, path, "source.group_by", refer=True)
        return GroupBy(columns=columns) if columns else None

    def _adjacent(self, tree: Tree, path: Path) -> bool | None:
        return self.findings.boolean(tree, path, "adjacent")

    def _columns(self, tree: Tree, path: Path) -> list[str] | None:
        """group_by.columns refer to columns; csv.columns name them."""
        return self.names(tree, path, ".".join(map(str, path)), refer="group_by" in path) or None

    def names(self, tree: Tree, path: Path, name: str, *, refer: bool) -> list[str]:
        self.findings.seen(path, tree)
        if not isinstance(tree, List) or not tree.items:
            hint = f"write [{tree.text}]" if isinstance(tree, Text) and tree.text.strip() else "as in [order_id]"
            what = "an empty list" if isinstance(tree, List) else describe(tree)
            self.findings.wrong(tree, f"{name} has to be a list of columns, not {what}", hint)
            return []
        noted = len(self.findings.references)
        columns = read_columns(self.findings, tree, path, name)
        if not refer:
            del self.findings.references[noted:]
        return columns

    def mark(self, tree: Tree, path: Path, *, empty: bool = False) -> str | None:
        """One character."""
        self.findings.seen(path, tree)
        if isinstance(tree, Text) and (len(tree.text) == 1 or (empty and not tree.plain and tree.text == "")):
            return tree.text
        hint = 'a tab is written "\\t"' if isinstance(tree, Text) and tree.text.lower() in ("tab", "\\t") else ""
        self.findings.wrong(tree, f"{path[-1]} has to be one character, not {describe(tree)}", hint)
        return None

    def _separator(self, tree: Tree, path: Path) -> str | None:
        return self.mark(tree, path)

    def _quote(self, tree: Tree, path: Path) -> str | None:
        return self.mark(tree, path, empty=True)

    def _decimal(self, tree: Tree, path: Path) -> str | None:
        return self.findings.word(tree, path, "decimal", (".", ","))

    def _thousands(self, tree: Tree, path: Path) -> str | None:
        mark = self.mark(tree, path)
        if mark is not None and (mark.isalnum() or mark in "+-"):
            self.findings.wrong(tree, f'"{mark}" can\'t stand between thousands', "as in , or .")
            return None
        return mark

    def _encoding(self, tree: Tree, path: Path) -> str | None:
        text = self.findings.text(tree, path, "encoding", "as in windows-1252")
        if text is None:
            return None
        try:
            if getattr(codecs.lookup(text), "_is_text_encoding", True):
                return text
        except (LookupError, ValueError):
            pass
        near = suggest(
            text,
            ("utf-8", "utf-16", "windows-1252", "iso-8859-1", "iso-8859-15", "shift_jis", "gb18030", "big5"),
        )
        self.findings.wrong(tree, f"{quoted(text)} is no text encoding", near or "as in utf-8 or windows-1252")
        return None

    def _header(self, tree: Tree, path: Path) -> bool | None:
        return self.findings.boolean(tree, path, "header")

    def _skip_lines(self, tree: Tree, path: Path) -> int | None:
        return self.whole(tree, path, least=0)

    def _comment(self, tree: Tree, path: Path) -> str | None:
        return self.findings.text(tree, path, "comment", 'as in "#"')

    def _null_values(self, tree: Tree, path: Path) -> list[str] | None:
        """As they are written: a plain NULL or NA is meant as a text here."""
        self.findings.seen(path, tree)
        found: list[str] = []
        for item in tree.items if isinstance(tree, List) else [tree]:
            if isinstance(item, Text):
                found.append(item.text)
            else:
                self.findings.wrong(item, f"null_values has to be a list of texts, not {describe(item)}")
        return found

    def whole(self, tree: Tree, path: Path, *, least: int) -> int | None:
        number = self.findings.number(tree, path, str(path[-1]))
        if number is not None and (number < least or not float(number).is_integer()):
            self.findings.wrong(tree, f"{path[-1]} has to be a whole number from {least}, not {describe(tree)}")
            return None
        return None if number is None else int(number)

    def _store(self, tree: Tree, path: Path) -> str | StoreColumn | None:
        if isinstance(tree, Object):
            fields = self.parts(tree, path, StoreColumn, "as in {column: shop}")
            if fields is not None and "column" not in tree.entries:
                self.findings.wrong(tree, "delivery.store.column is missing", "as in column: shop")
            return StoreColumn(**fields) if fields is not None and "column" in fields else None
        if isinstance(tree, Text) and "{" in tree.text:
            self.findings.seen(path, tree)
            template = read_template(self.findings, tree, Place(path, "delivery.store"))
            if template is not None and template.only is None:
                hint = "a column that holds the ids, or {column: …, map: {…}}"
                self.findings.wrong(tree, f"{quoted(tree.text)}: a store is one column and nothing else", hint)
            return StoreColumn(column=template.only) if template is not None and template.only else None
        return self.store_id(tree, path)

    def store_id(self, tree: Tree, path: Path) -> str | None:
        text = self.findings.text(tree, path, "store", "as in 64e5a8a1af49a89df37e4ee7")
        # Its form is not documented; it becomes a part of the URL.
        if text is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", text):
            self.findings.wrong(tree, f"{quoted(text)} is no store id", "as in 64e5a8a1af49a89df37e4ee7")
        return text

    def _map(self, tree: Tree, path: Path) -> dict[str, str] | None:
        shape = self.findings.object(tree, path, "delivery.store.map", "as in {nord: 64e5a8a1af49a89df37e4ee7}")
        if shape is None:
            return None
        if not shape.entries:
            self.findings.wrong(tree, "delivery.store.map is empty", "as in {nord: 64e5a8a1af49a89df37e4ee7}")
        found = {key: self.store_id(entry.value, (*path, key)) for key, entry in shape.entries.items()}
        return {key: one for key, one in found.items() if one is not None}

    def _secrets(self, tree: Tree, path: Path) -> Secrets | None:
        fields = self.parts(tree, path, Secrets, 'as in {env: "REDO_API_SECRET_{store}"}, never a secret itself')
        if fields is None:
            return None
        if isinstance(tree, Object) and len(tree.entries.keys() & Secrets.model_fields.keys()) != 1:
            hint = 'as in {env: "REDO_API_SECRET_{store}"} or {file: "secrets/{store}"}'
            self.findings.wrong(tree, "secrets has to be one of env and file", hint)
        return Secrets(**fields)

    def _env(self, tree: Tree, path: Path) -> str | None:
        text = self.place(tree, path, "REDO_API_SECRET_{store}")
        if text is not None and not re.fullmatch(r"[A-Za-z_](\w|\{store\}|\{id\})*", text, re.ASCII):
            hint = "letters, digits, _ and {store}, as in REDO_API_SECRET_{store}"
            self.findings.wrong(tree, f"{quoted(text)} is no name of environment variables", hint)
            return None
        return text

    def _file(self, tree: Tree, path: Path) -> str | None:
        return self.place(tree, path, "secrets/{store}")

    def place(self, tree: Tree, path: Path, example: str) -> str | None:
        """Where secrets are: one place for each store, or a slip would send all with the secret of one."""
        text = self.findings.text(tree, path, f"delivery.secrets.{path[-1]}", f'as in "{example}"')
        if text is not None and "{store}" not in text and "{id}" not in text:
            message = f"delivery.secrets.{path[-1]} has no {{store}}: all stores would have one secret"
            self.findings.wrong(tree, message, f'as in "{example}"; leave secrets out for one secret, REDO_API_SECRET')
            return None
        return text

    def _stores_at_once(self, tree: Tree, path: Path) -> int | None:
        return self.whole(tree, path, least=1)

    def _endpoint(self, tree: Tree, path: Path) -> str | None:
        return self.findings.word(tree, path, "endpoint", ("single", "bulk"))

    def _rate(self, tree: Tree, path: Path) -> float | None:
        number = self.findings.number(tree, path, "rate")
        if number is not None and not 0 < number < float("inf"):
            self.findings.wrong(tree, f"rate has to be above 0, not {describe(tree)}", "requests per second, as in 95")
            return None
        return number

    def _concurrency(self, tree: Tree, path: Path) -> int | None:
        return self.whole(tree, path, least=1)

    def _flows(self, tree: Tree, path: Path) -> str | None:
        return self.findings.word(tree, path, "flows", ("acknowledged",))

    def _not_newer_than(self, tree: Tree, path: Path) -> str | None:
        return self.duration(tree, path)

    def duration(self, tree: Tree, path: Path) -> str | None:
        """An age or a span, as it is written."""
        self.findings.seen(path, tree)
        text = tree.text if isinstance(tree, Text) else ""
        try:
            parse_duration(text)
        except DurationError as error:
            what = quoted(text) if text.strip() else describe(tree)
            self.findings.wrong(tree, f"{path[-1]}: {what} {error}", error.hint)
            return None
        return text
