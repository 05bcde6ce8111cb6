"""A CSV file → its records: text of which nothing is in doubt, in blocks, and the cells of it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import polars as pl

from backfill.errors import ExportError
from backfill.read.block import BadRecord, Block, Ints, Place, Texts, no_text
from backfill.read.dialect import Dialect, csv_reader
from backfill.read.lines import Feed, line_end, open_quote, undecodable_at

__all__ = ["BLOCK_BYTES", "MAX_RECORD_BYTES", "BadRecord", "Records", "parse", "read_records", "read_texts"]

# An event holds 5 MB at most; a record beyond this is a quote that never closes, or no table.
MAX_RECORD_BYTES = 16_000_000
# Of 14 columns some 10,000 rows. Measured with `run`: 2 MB is no faster and holds 20 MB more.
BLOCK_BYTES = 1_500_000


@dataclass(frozen=True, slots=True)
class Records:
    """Some records: `frame` has a String column per field, `lines` (UInt64) the physical line of each row."""

    frame: pl.DataFrame
    lines: pl.Series
    bad: list[BadRecord]


def read_records(stream: BinaryIO, dialect: Dialect, name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[Records]:
    """The records that `read_texts` finds, with their cells."""
    for texts in read_texts(stream, dialect, name, block_bytes):
        frame, (kept,) = parse([texts], dialect)
        yield Records(frame, pl.Series(kept.lines, dtype=pl.UInt64), kept.bad)


def read_texts(
    stream: BinaryIO, dialect: Dialect, name: str, block_bytes: int = BLOCK_BYTES, place: Place | None = None
) -> Iterator[Texts]:
    """The records below the header, in order. `stream` is UTF-8 with UNDECODABLE for bytes that are not.

    `name` is the file's, for messages. From `place` on, where the stream then stands, the same are found as before.
    Raises ExportError for a quote that never closes and for a record over MAX_RECORD_BYTES.
    """
    csv.field_size_limit(MAX_RECORD_BYTES + block_bytes)
    buffer, done = b"", False
    lines_to_skip, header = (0, False) if place else (dialect.skip_lines, dialect.header)
    offset, line = (place.offset, place.line) if place else (0, 1)
    size, least = (place.size, place.size + place.last) if place else (block_bytes, block_bytes)
    while not done or buffer:
        while not done:
            more = stream.read(size)
            buffer, done = buffer + more if buffer else more, not more
            if len(buffer) >= least:
                break
        size = least = block_bytes
        if len(buffer) > MAX_RECORD_BYTES + block_bytes:
            opened = open_quote(buffer, line, dialect)
            raise ExportError(
                f"{name}:{line}: a record longer than {MAX_RECORD_BYTES // 1_000_000} MB begins here",
                hint=f"see whether the quote opened at line {opened} is ever closed"
                if opened
                else "an event holds 5 MB at most: see whether the lines end as they should, or shorten it",
            )
        here = None if header or lines_to_skip else Place(offset, line, len(buffer), done)
        while lines_to_skip and (end := line_end(buffer, complete=done)):
            buffer, line, lines_to_skip, offset = buffer[end:], line + 1, lines_to_skip - 1, offset + end
        if lines_to_skip and not done:
            continue
        block = Block(buffer, line, dialect, name, last=done)
        if header and buffer and not lines_to_skip:
            if block.skip_header():
                header = False
            elif not done:
                continue
        texts = block.read(here)
        if len(texts) or texts.bad:
            yield texts
        buffer, line, offset = buffer[block.at :], block.line, offset + block.at


def parse(parts: Sequence[Texts], dialect: Dialect) -> tuple[pl.DataFrame, list[Texts]]:
    """The cells of all records, and the parts again, without the records of which a byte does not decode."""
    kept = [part for part in parts if len(part)]
    frame = _parse(kept, dialect)
    if frame is not None:
        return frame, list(parts)
    if len(parts) > 1:
        each = [parse([part], dialect) for part in parts]
        return pl.concat([frame for frame, _ in each]), [part for _, (part,) in each]
    texts = _decodable(parts[0], dialect)
    frame = _parse([texts], dialect)
    # Not met so far; should Polars find other records than were counted here, the csv module decides.
    return (_by_hand(texts, dialect) if frame is None else frame), [texts]


def _parse(parts: Sequence[Texts], dialect: Dialect) -> pl.DataFrame | None:
    """The cells; None where Polars finds bytes that are not UTF-8, or other records."""
    rows, schema = sum(map(len, parts)), _schema(dialect)
    if not rows:
        return pl.DataFrame(schema=schema)
    # A line of our own comes first: at the beginning of all Polars drops a byte order mark, and takes some letters
    # for those of a compressed file.
    first = dialect.separator.encode() * (len(schema) - 1) + b"\n" if len(schema) > 1 else b"x\n"
    try:
        frame = pl.read_csv(
            b"".join([first, *(text for part in parts for text in part.parts)]),
            has_header=False,
            schema=schema,
            separator=dialect.separator,
            quote_char=dialect.quote or None,
            # The csv module does not tell `""` from nothing; both are null here.
            null_values=[""],
        )
    except pl.exceptions.PolarsError:
        return None
    return frame.slice(1) if frame.height == rows + 1 else None


def _schema(dialect: Dialect) -> dict[str, type[pl.String]]:
    return {str(i): pl.String for i in range(len(dialect.columns))}


def _cut(texts: Texts) -> Iterator[bytes]:
    whole = b"".join(texts.parts)
    return (whole[start:end] for start, end in pairwise([0, *texts.ends.tolist()]))


def _decodable(texts: Texts, dialect: Dialect) -> Texts:
    bad = list(texts.bad)
    kept: list[bytes] = []
    lines: list[int] = []
    for line, text in zip(texts.lines.tolist(), _cut(texts), strict=True):
        if (offset := undecodable_at(text)) >= 0:
            bad.append(no_text(line, text, offset, dialect))
        else:
            kept.append(text)
            lines.append(line)
    return Texts(kept, _ends(kept), np.array(lines, np.int64), bad, texts.place)


def _by_hand(texts: Texts, dialect: Dialect) -> pl.DataFrame:
    records = (Feed(text, 0, "", complete=True) for text in _cut(texts))
    rows = [next(csv_reader(record, dialect.separator, dialect.quote)) for record in records]
    return pl.DataFrame(
        {name: [row[i] or None for row in rows] for i, name in enumerate(_schema(dialect))}, schema=_schema(dialect)
    )


def _ends(texts: Sequence[bytes]) -> Ints:
    return np.cumsum([len(text) for text in texts], dtype=np.int64)
