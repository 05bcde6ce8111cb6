"""What is read of one file at a time, and small pieces of neighbouring files put together.

Shaping a chunk costs some milliseconds, however few its rows are; parsing one, half of one: 10,000 files of 100 rows
would take 140 s, where one file with the same rows takes 4.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import cast

import numpy as np
import polars as pl

from backfill.errors import ExportError
from backfill.read.block import BadRecord, Place, Texts
from backfill.read.dialect import Dialect, Utf8Stream
from backfill.read.files import open_bytes
from backfill.read.opened import OpenedFile
from backfill.read.records import BLOCK_BYTES, parse, read_texts
from backfill.read.repaired import REPORT_COLUMNS, unescape
from backfill.read.typed import Older, read_batches
from backfill.read.widen import widened
from backfill.records import FILE, ROW, Chunk, Rejection

__all__ = ["Columns", "Held", "Piece", "Start", "pieces", "under"]

# Of this a chunk is large enough: as much as half a block, which shaping takes at nearly the full speed.
CHUNK_ROWS = 10_000
CHUNK_BYTES = BLOCK_BYTES // 2
# The problems of rows of which rejected.csv has no cells, but their text.
UNREADABLE = ("ragged", "undecodable", "quote", "not_json", "still_unreadable")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of the whole export, the texts that are null, and what of Parquet files is not wanted: older rows,
    and of a store's objects the columns that are not `wanted` (None: all are).
    """

    schema: dict[str, pl.DataType]
    null_values: Sequence[str] = ()
    older: Older | None = None
    wanted: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a piece begins: the file's position, its number in the file, and its place, where one can go straight."""

    file: int
    number: int
    place: Place | tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read at a time of one file: texts of a CSV file, or rows under the export's columns."""

    opened: OpenedFile
    start: Start
    found: Texts | Chunk


def pieces(opened: OpenedFile, columns: Columns, start: Start | None = None) -> Iterator[Piece]:
    """The file's pieces from `start` on, the same ones whenever it is read."""
    first = start.number if start else 0
    if opened.dialect is None:
        group = start.place if start and isinstance(start.place, tuple) else None
        batches = read_batches(opened.file, opened.schema, first, columns.older, columns.wanted, group, opened.groups)
        for number, batch in enumerate(batches, first):
            bad = [Rejection(opened.file.position, b.number, "not_json", b.detail, text=b.text) for b in batch.bad]
            chunk = _chunk(opened, columns, batch.frame, batch.rows, bad)
            yield Piece(opened, Start(opened.file.position, number, batch.group), chunk)
        return
    with open_bytes(opened.file) as raw:
        stream = Utf8Stream(raw, opened.dialect.encoding)
        place = start.place if start and isinstance(start.place, Place) else None
        if place:
            stream.go_to(place.offset)
        number = first if place else 0
        texts = read_texts(stream, opened.dialect, opened.file.name, place=place)  # type: ignore[arg-type]  # only read
        for number, one in enumerate(texts, number):  # noqa: B020 (counted on)
            if number >= first:
                here = Start(opened.file.position, number, one.place if stream.can_go else None)
                yield Piece(opened, here, _repaired(opened, columns, one) if opened.repaired else one)


@dataclass
class Held:
    """Pieces that wait to be a chunk together."""

    columns: Columns
    pieces: list[Piece] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        found = piece.found
        if isinstance(found, Texts):
            self.rows += len(found)
            self.size += int(found.ends[-1] if len(found) else 0) + sum(len(bad.text) for bad in found.bad)
        else:
            self.rows += found.frame.height
            self.size += int(found.frame.estimated_size()) + sum(len(bad.text) for bad in found.unreadable)

    @property
    def full(self) -> bool:
        return self.rows >= CHUNK_ROWS or self.size >= CHUNK_BYTES

    def take(self) -> tuple[Start, Chunk]:
        """All that is held as one chunk, and where it starts."""
        chunks: list[Chunk] = []
        for key, group in groupby(self.pieces, _layout):
            if key is None:
                chunks += (cast("Chunk", piece.found) for piece in group)
            else:
                chunks.append(_parsed(self.columns, list(group)))
        start = self.pieces[0].start
        self.pieces, self.rows, self.size = [], 0, 0
        if len(chunks) == 1:
            return start, chunks[0]
        # In one part each: what is done with a column costs as much for each part as it has parts.
        frame = pl.concat([chunk.frame for chunk in chunks], rechunk=True)
        return start, Chunk(frame, [bad for chunk in chunks for bad in chunk.unreadable])


def _layout(piece: Piece) -> tuple[Dialect | None, list[str]] | None:
    """Pieces of one layout can be parsed together; None for those that are parsed."""
    if isinstance(piece.found, Chunk):
        return None
    return piece.opened.dialect, [key for key, _ in piece.opened.file.hive]


def _parsed(columns: Columns, group: list[Piece]) -> Chunk:
    first = group[0].opened
    dialect = cast("Dialect", first.dialect)
    frame, texts = parse([cast("Texts", piece.found) for piece in group], dialect)
    frame.columns = list(dialect.columns)
    if columns.null_values:
        frame = frame.select(pl.when(~pl.all().is_in(list(columns.null_values))).then(pl.all()))
    files = [piece.opened.file for piece in group]
    counts = [len(one) for one in texts]
    hive = [
        pl.Series(key, [file.hive[i][1] for file in files], pl.String).gather(np.repeat(np.arange(len(files)), counts))
        for i, (key, _) in enumerate(first.file.hive)
    ]
    bad = [_rejection(file.position, b) for file, one in zip(files, texts, strict=True) for b in one.bad]
    lines = pl.Series(np.concatenate([one.lines for one in texts]), dtype=pl.UInt64)
    positions = pl.Series(np.repeat(np.array([file.position for file in files], np.uint32), counts))
    return _chunk(first, columns, frame.with_columns(hive) if hive else frame, lines, bad, positions)


def _rejection(position: int, record: BadRecord) -> Rejection:
    return Rejection(position, record.line, record.problem, record.detail, text=record.text)


def _repaired(opened: OpenedFile, columns: Columns, texts: Texts) -> Chunk:
    """The rows of a rejected.csv, as they were; what is left of a group that lost a row is held back again."""
    dialect, position = cast("Dialect", opened.dialect), opened.file.position
    frame, (texts,) = parse([texts], dialect)
    frame.columns = list(dialect.columns)
    lines = pl.Series(texts.lines, dtype=pl.UInt64)
    held = (frame["problem"] == "group_incomplete").fill_null(value=False)
    detail = 'a row of this group is not here: add it, then empty the column "problem" of the group\'s rows'
    bad = [Rejection(position, line, "group_incomplete", detail) for line in lines.filter(held)]
    # Of a row that could not be read there is only the text: without cells it is still none.
    blank = frame.select(pl.all_horizontal(pl.exclude(REPORT_COLUMNS).is_null()).alias("")).to_series()
    blank &= frame["problem"].is_in(UNREADABLE).fill_null(value=False)
    bad += [
        Rejection(position, line, "still_unreadable", f"{problem}: {detail or ''}", text=detail or "")
        for line, problem, detail in zip(
            lines.filter(blank), frame["problem"].filter(blank), frame["detail"].filter(blank), strict=True
        )
    ]
    held |= blank
    frame = unescape(frame.filter(~held).drop(REPORT_COLUMNS))
    if columns.null_values:
        frame = frame.select(pl.when(~pl.all().is_in(list(columns.null_values))).then(pl.all()))
    hive = [pl.lit(value, dtype=pl.String).alias(key) for key, value in opened.file.hive]
    bad += [_rejection(position, record) for record in texts.bad]
    return _chunk(opened, columns, frame.with_columns(hive), lines.filter(~held), bad)


def under(opened: OpenedFile, columns: Columns, frame: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """Rows of a file under the export's columns; those that the frame has not are null. Raises ExportError."""
    return _chunk(opened, columns, frame, rows, []).frame


def _chunk(
    opened: OpenedFile,
    columns: Columns,
    frame: pl.DataFrame,
    rows: pl.Series,
    bad: list[Rejection],
    files: pl.Series | None = None,
) -> Chunk:
    """The rows under the export's columns: a column that this file has not is null."""
    own = dict(zip(frame.columns, frame.get_columns(), strict=True))
    found = [
        _as(opened, own[name], dtype) if name in own else pl.Series(name, [None], dtype=dtype)
        for name, dtype in columns.schema.items()
    ]
    if files is None or len(files) == 0:
        files = pl.Series([opened.file.position], dtype=pl.UInt32)
    height = len(rows)
    place = (files.alias(FILE), rows.alias(ROW))
    return Chunk(pl.DataFrame([_long(column, height) for column in (*found, *place)]), bad)


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
