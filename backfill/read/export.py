"""An export as a whole: its files, their dialects, the columns of them all, and the chunks of its rows."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import ClassVar, Protocol

import polars as pl

from backfill.errors import ExportError, SettingsError
from backfill.objectstore import fault
from backfill.read.dialect import CsvSettings
from backfill.read.files import Format, find_files, fingerprint, unreadable
from backfill.read.opened import OpenedFile, open_file
from backfill.read.pieces import Columns, Held, Piece, Start, pieces
from backfill.read.repaired import REPORT_COLUMNS
from backfill.read.rest import Rest, rows_at
from backfill.read.typed import Older
from backfill.read.widen import merge
from backfill.records import FILE, ROW, Chunk, UnreadFile

__all__ = ["Export", "OpenedFile", "SourceSettings", "open_export", "unread_error"]

MOST_TOLD = 10


class SourceSettings(Protocol):
    """What `open_export` needs of a mapping's source."""

    @property
    def files(self) -> Sequence[str]: ...
    @property
    def format(self) -> Format | None: ...
    @property
    def csv(self) -> CsvSettings: ...


class _ChangedError(ExportError):
    """A file is written to while it is read: the whole export is in motion."""


@dataclass(frozen=True)
class Export:
    """The files of an export.

    `schema` holds the columns of all files: name and type; a file without one of them gives nulls. `unread` are
    the files that can't even be opened, by position. `notes` say what is odd about the files, in words for the user.
    `alone`: it is one file; if that can't be read, nothing can. `older` is what of Parquet files is not wanted; of a
    store's objects the columns `wanted` alone are fetched (None: all), and `with_all_columns` fetches the others.
    `in_paths` are the columns that the paths of the files name, also of those that can't be opened, by position.
    """

    files: list[OpenedFile]
    schema: dict[str, pl.DataType]
    null_values: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    unread: dict[int, UnreadFile] = field(default_factory=dict)
    alone: bool = False
    older: Older | None = None
    wanted: frozenset[str] | None = None
    in_paths: dict[int, dict[str, str | None]] = field(default_factory=dict)
    # Whether its rows are read from its files, so that some of these are a part of it.
    by_file: ClassVar[bool] = True

    def name(self, position: int) -> str:
        return self._names[position]

    @cached_property
    def _names(self) -> dict[int, str]:
        return {opened.file.position: opened.file.name for opened in self.files}

    @cached_property
    def _sizes(self) -> dict[int, int]:
        """Bytes of the files before each, by position."""
        sizes, before = {}, 0
        for opened in self.files:
            sizes[opened.file.position] = before
            before += opened.fingerprint.size
        return {**sizes, -1: before}

    @cached_property
    def _at(self) -> list[int]:
        """The position of the file that is being read; -1: none any more."""
        return []

    def reached(self) -> tuple[int, int]:
        """How many bytes of the files, as they are stored, are read, and how many there are."""
        whole = self._sizes[-1]
        if not self._at:
            return 0, whole
        opened = self._opened.get(self._at[0])
        within = opened.file.reached.bytes(opened.fingerprint.size) if opened else 0
        return self._sizes.get(self._at[0], 0) + within, whole

    def chunks(self, skip: Collection[int] = ()) -> Iterator[Chunk]:
        """All rows, in the order of files and rows; small files share a chunk.

        `skip` are chunks that are not wanted: their numbers among those that have rows, in the order of an earlier
        whole reading of this object. Then files of which nothing is wanted are not read, and of the others no more
        than what is wanted where that is possible (not of what is compressed, or not in UTF-8); nor are chunks given
        that have neither rows nor `unread`. Where there was no whole reading yet, all is read.

        Raises ExportError for a file that changed, and for one that can't be read if it is the only one. Of several
        a bad one costs itself: a chunk says so, in the place of its rest.
        """
        if skip and self._known:
            yield from self._wanted(skip)
            return
        known: list[Start | UnreadFile] = []
        number = 0
        for start, chunk in self._from(None):
            rows = bool(chunk.frame.height)
            if chunk.unread:
                known.append(chunk.unread)
            elif rows and start:
                known.append(start)
            if not skip or chunk.unread or (rows and number not in skip):
                yield chunk
            number += rows
        self._known[:] = known

    @cached_property
    def _known(self) -> list[Start | UnreadFile]:
        """What a whole reading gave: where each chunk with rows starts, and the files that could not be read."""
        return []

    @cached_property
    def _opened(self) -> dict[int, OpenedFile]:
        return {one.file.position: one for one in self.files}

    @cached_property
    def _columns(self) -> Columns:
        return Columns(self.schema, self.null_values, self.older, self.wanted)

    @cached_property
    def _rest(self) -> Rest:
        return Rest(self._columns)

    def with_all_columns(self, frame: pl.DataFrame, places: Collection[tuple[int, int]]) -> pl.DataFrame:
        """Of a frame made of this export's chunks the rows at these places (FILE, ROW), with what was not fetched of
        them. Of an export that is read whole, the frame as it is. Raises ExportError.
        """
        if not self._rest.is_left(self.files) or not frame.height or not places:
            return frame
        parts = []
        for part in rows_at(frame, places).partition_by(FILE, maintain_order=True):
            opened = self._opened[part[FILE][0]]
            parts.append(self._rest.added(opened, part))
            self._same(opened)
        return pl.concat(parts) if parts else frame.clear()

    def _from(self, start: Start | None) -> Iterator[tuple[Start | None, Chunk]]:
        """The chunks from the one that starts there on, each with its start."""
        held = Held(self._columns)
        for position in sorted(self._opened.keys() | self.unread.keys()):
            if start and position < start.file:
                continue
            unread = self.unread.get(position)
            if unread is None:
                self._opened[position].file.reached.begun()
                self._at[:] = [position]
                try:
                    for piece in self._pieces(self._opened[position], start):
                        held.add(piece)
                        if held.full:
                            yield held.take()
                except _ChangedError:
                    raise
                except ExportError as error:
                    if self.alone:
                        raise
                    unread = UnreadFile(position, self.name(position), error.message, error.hint)
            if unread is not None:
                if held.pieces:
                    yield held.take()
                yield None, self._without_rows(unread)
        self._at[:] = [-1]
        if held.pieces:
            yield held.take()

    def _without_rows(self, unread: UnreadFile) -> Chunk:
        return Chunk(pl.DataFrame(schema={**self.schema, FILE: pl.UInt32, ROW: pl.UInt64}), unread=unread)

    def _wanted(self, skip: Collection[int]) -> Iterator[Chunk]:
        """What a whole reading gave, without the chunks that are not wanted."""
        number, checked = -1, 0
        chunks: Iterator[Chunk] | None = None
        for known in list(self._known):
            if isinstance(known, Start):
                number += 1
                if number in skip:
                    chunks = None
                    continue
                if chunks is None:
                    self._same_until(checked, known.file)
                    checked = known.file
                    chunks = (one for _, one in self._from(known) if one.frame.height or one.unread)
            if chunks is not None:
                yield from islice(chunks, 1)
            elif isinstance(known, UnreadFile):
                yield self._without_rows(known)
        self._same_until(checked, None)

    def _same_until(self, start: int, stop: int | None) -> None:
        """Files that are not read must be the same nevertheless."""
        unread = {one.file for one in self._known if isinstance(one, UnreadFile)}
        for position, opened in self._opened.items():
            if start <= position and (stop is None or position < stop) and position not in unread:
                self._same(opened)

    def _pieces(self, opened: OpenedFile, start: Start | None) -> Iterator[Piece]:
        self._same(opened)
        mine = start if start and start.file == opened.file.position else None
        try:
            for piece in pieces(opened, self._columns, mine):
                # Looked at after reading: a piece of a file that has changed is not what was checked. A store is asked
                # at the file's end only: who reads again compares what was made of each chunk.
                if not opened.file.stored:
                    self._same(opened)
                yield piece
        except (OSError, EOFError, zlib.error) as error:
            # What is cut under the reader looks like this, too.
            if not (opened.file.stored and fault(opened.file.uri, error)):
                self._same(opened)
            raise unreadable(opened.file, error, hint="fetch it again") from error
        self._same(opened)

    def _same(self, opened: OpenedFile) -> None:
        if fingerprint(opened.file) != opened.fingerprint:
            raise _ChangedError(
                f"{opened.file.name}: changed while it was read",
                hint="run again when nothing writes to it any more; what was sent is recorded",
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
    empty: list[str] = []
    unread: dict[int, UnreadFile] = {}
    for file in files:
        try:
            one = open_file(file, source.csv)
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
            empty.append(f"{file.name}: is empty; it was passed over")
        else:
            opened.append(one)
    if unread and not opened:
        raise unread_error(list(unread.values()))
    if not opened:
        raise ExportError(f"all {len(files)} files are empty", hint="export them again")
    notes = _few(empty)
    schema: dict[str, pl.DataType] = {}
    different: list[str] = []
    for one in opened:
        if one.schema == schema:
            continue
        mine = {name: dtype for name, dtype in one.schema.items() if not one.repaired or name not in REPORT_COLUMNS}
        different += _differences(one, mine, schema, opened[0]) if schema else []
        schema = merge(schema, mine)
    notes += _few(different)
    notes += _few(
        [
            f'{one.file.name}: "{name}" stands more than once in the header; a later one is called "{name} (2)"'
            for one in opened
            for name in one.duplicates
        ]
    )
    alone = len(opened) == 1 and not unread
    in_paths = {one.position: dict(one.hive) for one in files}
    return Export(opened, schema, getattr(source.csv, "null_values", ()), notes, unread, alone, in_paths=in_paths)


def _has(opened: OpenedFile, column: str) -> bool:
    return column in opened.schema or column.partition(".")[0] in opened.schema


def unread_error(files: Sequence[UnreadFile]) -> ExportError:
    """What is told at the end of files that could not be read: a line each."""
    lines = [file.why for file in files[:MOST_TOLD]]
    if len(files) > MOST_TOLD:
        lines.append(f"and {len(files) - MOST_TOLD} more files that can't be read")
    hints = "; ".join(dict.fromkeys(file.hint for file in files[:MOST_TOLD] if file.hint))
    return ExportError("\n".join(lines), hint=f"nothing of such a file is sent: {hints or 'mend it'}, and run again")


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


def _few(notes: list[str]) -> list[str]:
    """The notes, or the first of them: thousands of files say the same."""
    more = len(notes) - MOST_TOLD
    return notes if more <= 0 else [*notes[:MOST_TOLD], f"and {more:,} more such notes on files"]


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
