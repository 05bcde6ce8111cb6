"""An export as a whole: its files, their dialects, the columns of them all, and the chunks of its rows."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

import polars as pl

from backfill.errors import ExportError, SettingsError
from backfill.read.dialect import HEAD_BYTES, CsvSettings, Dialect, Utf8Stream, rename, sniff
from backfill.read.files import ExportFile, Fingerprint, Format, find_files, fingerprint, open_bytes
from backfill.read.records import read_records
from backfill.read.repaired import REPORT_COLUMNS, ReportCsv, plain, unescape
from backfill.read.typed import read_batches, schema_of
from backfill.read.widen import merge, widened
from backfill.records import FILE, ROW, Chunk, Rejection, UnreadFile

__all__ = ["Export", "OpenedFile", "SourceSettings", "open_export", "unread_error"]

MOST_TOLD = 10
# The problems of rows of which rejected.csv has no cells, but their text.
UNREADABLE = ("ragged", "undecodable", "quote", "not_json", "still_unreadable")


class SourceSettings(Protocol):
    """What `open_export` needs of a mapping's source."""

    @property
    def files(self) -> Sequence[str]: ...
    @property
    def format(self) -> Format | None: ...
    @property
    def csv(self) -> CsvSettings: ...


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file whose columns are known; `dialect` for CSV; `repaired` for a rejected.csv that comes back."""

    file: ExportFile
    schema: dict[str, pl.DataType]
    fingerprint: Fingerprint
    dialect: Dialect | None = None
    repaired: bool = False
    duplicates: tuple[str, ...] = ()


class _ChangedError(ExportError):
    """A file is written to while it is read: the whole export is in motion."""


@dataclass(frozen=True)
class Export:
    """The files of an export.

    `schema` holds the columns of all files: name and type; a file without one of them gives nulls. `unread` are
    the files that can't even be opened, by position. `notes` say what is odd about the files, in words for the user.
    """

    files: list[OpenedFile]
    schema: dict[str, pl.DataType]
    null_values: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    unread: dict[int, UnreadFile] = field(default_factory=dict)

    def name(self, position: int) -> str:
        return self._names[position]

    @cached_property
    def _names(self) -> dict[int, str]:
        return {opened.file.position: opened.file.name for opened in self.files}

    def chunks(self) -> Iterator[Chunk]:
        """All rows, in the order of files and rows.

        Raises ExportError for a file that changed, and for one that can't be read if it is the only one. Of several
        a bad one costs itself: a chunk says so, in the place of its rest.
        """
        opened = {one.file.position: one for one in self.files}
        for position in sorted(opened.keys() | self.unread.keys()):
            unread = self.unread.get(position)
            if unread is None:
                try:
                    yield from self._chunks(opened[position])
                except _ChangedError:
                    raise
                except ExportError as error:
                    if len(self.files) == 1 and not self.unread:
                        raise
                    unread = UnreadFile(position, self.name(position), error.message, error.hint)
            if unread is not None:
                yield Chunk(pl.DataFrame(schema={**self.schema, FILE: pl.UInt32, ROW: pl.UInt64}), unread=unread)

    def _chunks(self, opened: OpenedFile) -> Iterator[Chunk]:
        self._same(opened)
        try:
            for chunk in self._delimited(opened, opened.dialect) if opened.dialect else self._typed(opened):
                # Looked at after reading: a chunk of a file that has changed is not what was checked.
                self._same(opened)
                yield chunk
        except (OSError, EOFError, zlib.error) as error:
            # What is cut under the reader looks like this, too.
            self._same(opened)
            raise ExportError(f"{opened.file.name}: can't be read: {error}", hint="fetch it again") from error
        self._same(opened)

    def _same(self, opened: OpenedFile) -> None:
        if fingerprint(opened.file) != opened.fingerprint:
            raise _ChangedError(
                f"{opened.file.name}: changed while it was read",
                hint="run again when nothing writes to it any more; what was sent is recorded",
            )

    def _delimited(self, opened: OpenedFile, dialect: Dialect) -> Iterator[Chunk]:
        with open_bytes(opened.file) as raw:
            for records in read_records(_utf8(raw, dialect), dialect, opened.file.name):
                frame = records.frame
                frame.columns = list(dialect.columns)
                lines = records.lines
                bad: list[Rejection] = []
                if opened.repaired:
                    frame, lines, bad = self._repaired(opened, frame, lines)
                if self.null_values:
                    frame = frame.select(pl.when(~pl.all().is_in(list(self.null_values))).then(pl.all()))
                hive = [pl.lit(value, dtype=pl.String).alias(key) for key, value in opened.file.hive]
                bad += [Rejection(opened.file.position, r.line, r.problem, r.detail, text=r.text) for r in records.bad]
                yield self._chunk(opened, frame.with_columns(hive), lines, bad)

    def _repaired(
        self, opened: OpenedFile, frame: pl.DataFrame, lines: pl.Series
    ) -> tuple[pl.DataFrame, pl.Series, list[Rejection]]:
        """The rows of a rejected.csv, as they were; what is left of a group that lost a row is held back again."""
        held = (frame["problem"] == "group_incomplete").fill_null(value=False)
        detail = 'a row of this group is not here: add it, then empty the column "problem" of the group\'s rows'
        bad = [Rejection(opened.file.position, line, "group_incomplete", detail) for line in lines.filter(held)]
        # Of a row that could not be read there is only the text: without cells it is still none.
        blank = frame.select(pl.all_horizontal(pl.exclude(REPORT_COLUMNS).is_null()).alias("")).to_series()
        blank &= frame["problem"].is_in(UNREADABLE).fill_null(value=False)
        bad += [
            Rejection(opened.file.position, line, "still_unreadable", f"{problem}: {detail or ''}", text=detail or "")
            for line, problem, detail in zip(
                lines.filter(blank), frame["problem"].filter(blank), frame["detail"].filter(blank), strict=True
            )
        ]
        held |= blank
        return unescape(frame.filter(~held).drop(REPORT_COLUMNS)), lines.filter(~held), bad

    def _typed(self, opened: OpenedFile) -> Iterator[Chunk]:
        for batch in read_batches(opened.file, opened.schema):
            bad = [Rejection(opened.file.position, b.number, "not_json", b.detail, text=b.text) for b in batch.bad]
            yield self._chunk(opened, batch.frame, batch.rows, bad)

    def _chunk(self, opened: OpenedFile, frame: pl.DataFrame, rows: pl.Series, bad: list[Rejection]) -> Chunk:
        """The rows under the export's columns: a column that this file has not is null."""
        own = dict(zip(frame.columns, frame.get_columns(), strict=True))
        columns = [
            _as(opened, own[name], dtype) if name in own else pl.Series(name, [None], dtype=dtype)
            for name, dtype in self.schema.items()
        ]
        place = [pl.Series(FILE, [opened.file.position], dtype=pl.UInt32), rows.alias(ROW)]
        height = len(rows)
        return Chunk(pl.DataFrame([_long(column, height) for column in (*columns, *place)]), bad)


def _long(column: pl.Series, height: int) -> pl.Series:
    """A column of one value as that of a frame."""
    return column if len(column) == height else column.new_from_index(0, height)


def _as(opened: OpenedFile, column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The column in the type that it has over all files. Raises ExportError where that would change a
    value.
    """
    if column.dtype == dtype:
        return column
    try:
        return widened(column, dtype)
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
    raise ExportError(
        f'{opened.file.name}: "{column.name}" is {column.dtype} here and other files make it {dtype}: {reason}',
        hint="give the column one type in all files",
    )


def open_export(source: SourceSettings, base: Path, needed: Collection[str] = ()) -> Export:
    """Find the export's files and read their headers.

    `base` is the mapping's folder, `needed` are the columns that it reads: a file that has none of them is no export,
    but a web page or the like. Of several files it costs itself, as one does that can't be opened. Raises ExportError
    (65) when none can be, and when all are empty.
    """
    _check_settings(source.csv)
    files = find_files(source.files, base, source.format)
    opened: list[OpenedFile] = []
    notes: list[str] = []
    unread: dict[int, UnreadFile] = {}
    for file in files:
        try:
            one = _open(file, source.csv)
        except ExportError as error:
            if len(files) == 1:
                raise
            unread[file.position] = UnreadFile(file.position, file.name, error.message, error.hint)
            continue
        if one is not None and len(files) > 1 and needed and not any(_has(one, column) for column in needed):
            why = f"{file.name}: has none of the columns that the mapping reads"
            unread[file.position] = UnreadFile(file.position, file.name, why, "see whether it is the export")
            continue
        if one is None:
            if len(files) == 1:
                raise ExportError(f"{file.name}: is empty: no header, no row", hint="export it again")
            notes.append(f"{file.name}: is empty; it was passed over")
        else:
            opened.append(one)
    if unread and not opened:
        raise unread_error(list(unread.values()))
    if not opened:
        raise ExportError(f"all {len(files)} files are empty", hint="export them again")
    schema: dict[str, pl.DataType] = {}
    for one in opened:
        mine = {name: dtype for name, dtype in one.schema.items() if not one.repaired or name not in REPORT_COLUMNS}
        notes += _differences(one, mine, schema, opened[0]) if schema else []
        schema = merge(schema, mine)
    notes += [
        f'{one.file.name}: "{name}" stands more than once in the header; a later one is called "{name} (2)"'
        for one in opened
        for name in one.duplicates
    ]
    return Export(opened, schema, getattr(source.csv, "null_values", ()), notes, unread)


def _has(opened: OpenedFile, column: str) -> bool:
    return column in opened.schema or column.partition(".")[0] in opened.schema


def unread_error(files: Sequence[UnreadFile]) -> ExportError:
    """What is told at the end of files that could not be read: a line each."""
    lines = [file.why for file in files[:MOST_TOLD]]
    if len(files) > MOST_TOLD:
        lines.append(f"and {len(files) - MOST_TOLD} more files that can't be read")
    hints = "; ".join(dict.fromkeys(file.hint for file in files[:MOST_TOLD] if file.hint))
    return ExportError("\n".join(lines), hint=f"nothing of such a file is sent: {hints or 'mend it'}, and run again")


def _open(file: ExportFile, csv: CsvSettings) -> OpenedFile | None:
    mark = fingerprint(file)
    if file.format != "csv":
        if mark.size == 0:
            return None
        return OpenedFile(file, _no_place(file, schema_of(file)), mark)
    try:
        with open_bytes(file) as raw:
            head = raw.read(HEAD_BYTES)
            whole = len(head) < HEAD_BYTES
    except (OSError, EOFError, zlib.error) as error:
        raise ExportError(f"{file.name}: can't be read: {error}", hint="fetch it again") from error
    repaired = sniff(head, whole, ReportCsv())
    if repaired is not None and repaired.columns[-len(REPORT_COLUMNS) :] == REPORT_COLUMNS:
        # A rejected.csv is ours: what the mapping declares about the export's own files is not true of it.
        dialect: Dialect | None = rename(repaired, [plain(name) for name in repaired.columns])
    else:
        dialect = sniff(head, whole, csv)
    if dialect is None:
        return None
    names, duplicates = _unique(dialect.columns)
    dialect = rename(dialect, names)
    is_repaired = len(names) > len(REPORT_COLUMNS) and names[-len(REPORT_COLUMNS) :] == REPORT_COLUMNS
    schema: dict[str, pl.DataType] = {name: pl.String() for name in [*names, *dict(file.hive)]}
    return OpenedFile(file, _no_place(file, schema), mark, dialect, is_repaired, duplicates)


def _utf8(raw: BinaryIO, dialect: Dialect) -> BinaryIO:
    return Utf8Stream(raw, dialect.encoding)  # type: ignore[return-value]  # RawIOBase is all that is used of it


def _unique(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names without duplicates or blanks, and which were duplicates."""
    unique: dict[str, None] = {}
    duplicates: dict[str, None] = {}
    taken = set(names)
    for i, name in enumerate(names, 1):
        base = name if name.strip() else f"column_{i}"
        fresh, number = base, 1
        while fresh in unique or (number > 1 and fresh in taken):
            number += 1
            fresh = f"{base} ({number})"
        if number > 1:
            duplicates[base] = None
        unique[fresh] = None
    return tuple(unique), tuple(duplicates)


def _no_place(file: ExportFile, schema: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    if FILE in schema or ROW in schema:
        raise ExportError(f"{file.name}: columns can't be called {FILE} or {ROW}", hint="rename them in the export")
    return schema


def _differences(
    one: OpenedFile, mine: dict[str, pl.DataType], schema: dict[str, pl.DataType], first: OpenedFile
) -> list[str]:
    notes = []
    if missing := [name for name in schema if name not in mine]:
        notes.append(
            f"{one.file.name}: has no {_list(missing)}, which {first.file.name} or another file has: empty there"
        )
    if more := [name for name in mine if name not in schema]:
        notes.append(f"{one.file.name}: has {_list(more)}, which {first.file.name} has not")
    types = [name for name in mine if name in schema and mine[name] != schema[name]]
    if types:
        notes.append(f"{one.file.name}: {_list(types)} of another type than in {first.file.name}")
    return notes


def _list(names: list[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check_settings(csv: CsvSettings) -> None:
    for key in ("separator", "quote"):
        value = getattr(csv, key)
        if value and (len(value) != 1 or ord(value) > 127):
            raise SettingsError(f"source.csv.{key}: {value!r} is not one ASCII character", hint="such as ;")
    if csv.encoding:
        try:
            b"a,b".decode(csv.encoding, "replace")
        except (LookupError, UnicodeError) as error:
            raise SettingsError(
                f"source.csv.encoding: no encoding {csv.encoding!r} is known",
                hint="such as utf-8, cp1252, shift_jis",
            ) from error
