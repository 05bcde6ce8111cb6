"""Bytes of a CSV file → its records, each with its physical line.

Two ways lead through a file. Where its quotes are beyond doubt (each opens at the start of a field and closes at its
end), the borders of records, their lines and their numbers of fields come from a few numpy passes, and Polars parses
the cells: 3 M rows/s. Where they are not (`6" pipe`), Python's csv module reads on for some records and decides. Both
agree with the csv module wherever that is sure of itself; a property test compares them.

A record is refused, with its line and text, when it has too few or too many fields, a byte that does not decode, or a
quote which swallowed lines of other records. A quote that never closes refuses the file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import polars as pl

from backfill.errors import ExportError
from backfill.read.dialect import UNDECODABLE, Dialect, quoting

__all__ = ["MAX_RECORD_BYTES", "BadRecord", "Records", "read_records"]

# An event holds 5 MB at most; a record beyond this is a quote that never closes, or no table.
MAX_RECORD_BYTES = 16_000_000
BLOCK_BYTES = 2_000_000
# After a doubtful quote the csv module reads this many records before the fast way is tried again: where many records
# have one, the numpy passes would otherwise be repeated for each.
SLOW_RECORDS = 1000
MAX_TEXT = 500
NEWLINE, RETURN = 10, 13

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that can't be read: its first physical line, a problem code, and words that hold its text."""

    line: int
    problem: str
    detail: str


@dataclass(frozen=True, slots=True)
class Records:
    """Some records: `frame` has a String column per field, `lines` (UInt64) the physical line of each row."""

    frame: pl.DataFrame
    lines: pl.Series
    bad: list[BadRecord]
    blank: int


def read_records(stream: BinaryIO, dialect: Dialect, name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[Records]:
    """The records below the header, in order. `stream` is UTF-8 with UNDECODABLE for bytes that are not.

    `name` is the file's, for messages. Raises ExportError for a quote that never closes and for a record over
    MAX_RECORD_BYTES.
    """
    csv.field_size_limit(MAX_RECORD_BYTES + block_bytes)
    buffer, line, done = b"", 1, False
    lines_to_skip = dialect.skip_lines
    header = dialect.header
    while not done or buffer:
        while not done:
            more = stream.read(block_bytes)
            buffer, done = buffer + more, not more
            if len(buffer) >= block_bytes:
                break
        while lines_to_skip and (end := _line_end(buffer)):
            buffer, line, lines_to_skip = buffer[end:], line + 1, lines_to_skip - 1
        if lines_to_skip and not done:
            continue
        block = _Block(buffer, line, dialect, name, done)
        if header and buffer and not lines_to_skip:
            if block.skip_header():
                header = False
            elif not done:
                continue
        records = block.read()
        if records.frame.height or records.bad or records.blank:
            yield records
        buffer, line = buffer[block.at :], block.line
        if len(buffer) > MAX_RECORD_BYTES:
            raise ExportError(
                f"{name}:{line}: a record longer than {MAX_RECORD_BYTES // 1_000_000} MB begins here",
                hint=f"see whether the quote opened at line {_open_quote(buffer, line, dialect)} is ever closed",
            )


class _Block:
    """Reads what is complete of one buffer; `at` and `line` then say where the rest begins."""

    def __init__(self, data: bytes, line: int, dialect: Dialect, name: str, last: bool) -> None:
        if last and data and data[-1] not in b"\r\n":
            data += b"\n"
        self.data, self.line, self.last, self.name = data, line, last, name
        self.dialect = dialect
        self.width = len(dialect.columns)
        self.at = 0
        self.blank = 0
        self.bad: list[BadRecord] = []
        self.frames: list[pl.DataFrame] = []
        self.lines: list[Ints] = []
        self._scan()

    def _scan(self) -> None:
        array = np.frombuffer(self.data, np.uint8)
        self.newlines = np.flatnonzero(array == NEWLINE)
        self.separators = np.flatnonzero(array == ord(self.dialect.separator))
        self.quotes = np.flatnonzero(array == ord(self.dialect.quote)) if self.dialect.quote else self.newlines[:0]
        returns = np.flatnonzero(array == RETURN)
        following = np.append(array, NEWLINE)[returns + 1] if len(returns) else returns
        # A carriage return with no line feed behind it is a line end too: the csv module's business.
        self.doubtful_returns = returns[following != NEWLINE]
        if len(self.doubtful_returns) and not self.last and self.doubtful_returns[-1] == len(self.data) - 1:
            self.doubtful_returns = self.doubtful_returns[:-1]
        if len(self.quotes):
            # A quote may open behind a separator, a line end or the quote that it doubles, and close before the same:
            # a doubled quote is taken as one that closes and one that opens.
            around = np.concatenate(([NEWLINE], array, [NEWLINE]))
            before, after = around[self.quotes], around[self.quotes + 2]
            border = (ord(self.dialect.separator), NEWLINE, ord(self.dialect.quote))
            self.may_open = np.isin(before, border)
            self.may_close = np.isin(after, border) | ((after == RETURN) & self._crlf(array))

    def _crlf(self, array: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        padded = np.concatenate((array, [NEWLINE, NEWLINE]))
        return padded[self.quotes + 2] == NEWLINE

    def skip_header(self) -> bool:
        """Step over the first record that is not blank or a comment; False when it is not complete."""
        self._moved = True
        while self._moved:
            for _ in self._slow(1, widths=False):
                return True
        return False

    def read(self) -> Records:
        while self.at < len(self.data):
            start = self.at
            self._fast()
            if self.at < len(self.data) and self.at == start and not self._slowly():
                break
        if self.last and self.at < len(self.data):
            raise ExportError(
                f"{self.name}:{_open_quote(self.data[self.at :], self.line, self.dialect)}: "
                "a quote that opens here never closes, so the rest of the file would be one field",
                hint="close it, or declare another quote character in source.csv.quote",
            )
        columns = [str(i) for i in range(self.width)]
        frame = pl.concat(self.frames) if self.frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
        lines = np.concatenate(self.lines) if self.lines else np.empty(0, np.int64)
        return Records(frame, pl.Series(lines, dtype=pl.UInt64), self.bad, self.blank)

    def _fast(self) -> None:
        """Read all records up to the first whose quotes are in doubt."""
        first = int(np.searchsorted(self.quotes, self.at))
        quotes = self.quotes[first:]
        limit = len(self.data)
        if len(quotes):
            fine = np.empty(len(quotes), np.bool_)
            fine[0::2] = self.may_open[first::2]
            fine[1::2] = self.may_close[first + 1 :: 2]
            if not fine.all():
                limit = int(quotes[np.argmin(fine)])
        returns = int(np.searchsorted(self.doubtful_returns, self.at))
        if returns < len(self.doubtful_returns):
            limit = min(limit, int(self.doubtful_returns[returns]))
        low = int(np.searchsorted(self.newlines, self.at))
        newlines = self.newlines[low : int(np.searchsorted(self.newlines, limit))]
        inside = np.searchsorted(quotes, newlines) % 2 == 1 if len(quotes) else np.zeros(len(newlines), np.bool_)
        border = np.flatnonzero(~inside)
        if len(border):
            self._records(quotes, newlines[border], border)

    def _records(self, quotes: Ints, ends: Ints, border: Ints) -> None:
        """Take the records that end at `ends` (the newlines number `border` of those from here on)."""
        starts = np.concatenate(([self.at], ends[:-1] + 1))
        lines = self.line + np.concatenate(([0], border[:-1] + 1))
        end = int(ends[-1]) + 1
        separators = self.separators[np.searchsorted(self.separators, self.at) : np.searchsorted(self.separators, end)]
        if len(quotes):
            separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
        fields = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
        array = np.frombuffer(self.data, np.uint8)
        blank = (ends == starts) | ((ends == starts + 1) & (array[starts] == RETURN))
        if self.dialect.comment:
            mark = self.dialect.comment.encode()
            blank |= np.fromiter((self.data.startswith(mark, s) for s in starts), np.bool_, len(starts))
        good = (fields == self.width) & ~blank
        for i in np.flatnonzero((fields != self.width) & ~blank):
            self._ragged(int(lines[i]), int(fields[i]), self.data[starts[i] : ends[i]])
        good &= ~self._undecodable(starts, ends, lines, good)
        self.blank += int(blank.sum())
        kept = int(good.sum())
        if kept:
            clean = self.data[self.at : end] if kept == len(good) else self._join(starts, ends, good)
            frame = self._parse(clean, kept, bool(len(quotes)))
            if frame is None:
                # Not met so far; should Polars read a block otherwise than counted here, the csv module decides.
                self._slow_all(end)
                return
            self.frames.append(frame)
            self.lines.append(lines[good])
        self.at, self.line = end, self.line + int(border[-1]) + 1

    def _join(self, starts: Ints, ends: Ints, good: npt.NDArray[np.bool_]) -> bytes:
        edges = np.flatnonzero(np.diff(np.concatenate(([0], good.view(np.int8), [0]))))
        return b"".join(self.data[starts[a] : ends[b - 1] + 1] for a, b in zip(edges[::2], edges[1::2], strict=True))

    def _parse(self, data: bytes, rows: int, quoted: bool) -> pl.DataFrame | None:
        names = [str(i) for i in range(self.width)]
        try:
            frame = pl.read_csv(
                io.BytesIO(data),
                has_header=False,
                new_columns=names,
                schema=dict.fromkeys(names, pl.String),
                separator=self.dialect.separator,
                quote_char=self.dialect.quote or None,
            )
        except pl.exceptions.PolarsError:
            return None
        if frame.height != rows:
            return None
        return _null_empty(frame) if quoted else frame

    def _undecodable(
        self, starts: Ints, ends: Ints, lines: Ints, good: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        bad = np.zeros(len(starts), np.bool_)
        if _undecodable_at(memoryview(self.data)[starts[0] : ends[-1]]) < 0:
            return bad
        for i in np.flatnonzero(good):
            text = self.data[starts[i] : ends[i]]
            if (offset := _undecodable_at(text)) >= 0:
                bad[i] = True
                self._no_text(int(lines[i]), text, offset)
        return bad

    def _no_text(self, line: int, text: bytes, offset: int) -> None:
        what = "a byte" if text[offset : offset + 1] == UNDECODABLE else f"the byte 0x{text[offset]:02x}"
        self.bad.append(
            BadRecord(line, "undecodable", f"{what} is not {self.dialect.encoding}: {_shown(text.decode('utf-8', 'replace'))}")
        )

    def _ragged(self, line: int, fields: int, text: bytes) -> None:
        shown = _shown(text.decode("utf-8", "replace"))
        self.bad.append(BadRecord(line, "ragged", f"{fields} fields where the header has {self.width}: {shown}"))

    def _slow_all(self, end: int) -> None:
        while self.at < end and self._slowly():
            pass

    def _slowly(self) -> bool:
        """Let the csv module read some records; False when the next one is not complete in this buffer."""
        rows: list[list[str]] = []
        lines: list[int] = []
        for line, cells in self._slow(SLOW_RECORDS):
            if cells:
                rows.append(cells)
                lines.append(line)
        if rows:
            columns = {str(i): [row[i] for row in rows] for i in range(self.width)}
            self.frames.append(_null_empty(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))))
            self.lines.append(np.array(lines, np.int64))
        return self._moved

    def _slow(self, count: int, *, widths: bool = True) -> Iterator[tuple[int, list[str]]]:
        """Up to `count` records as (line, cells); cells are empty for a record that is refused or blank."""
        self._moved = False
        feed = _Feed(self.data, self.at, self.dialect.comment, complete=self.last)
        options = quoting(self.dialect.quote)
        reader = csv.reader(feed, delimiter=self.dialect.separator, **options)  # type: ignore[call-overload]  # kwargs
        for _ in range(count):
            feed.begin()
            cells = next(reader, None)
            if cells is None or feed.dry:
                if feed.skipped:
                    self.blank += feed.skipped
                    self._advance(feed.begun, feed.skipped)
                return
            line, text = self.line + feed.skipped, self.data[feed.begun : feed.at]
            self.blank += feed.skipped
            self._advance(feed.at, feed.skipped + feed.taken)
            if not cells:
                self.blank += 1
                continue
            if feed.taken > 1 and not self._strict(text):
                self.bad.append(
                    BadRecord(
                        line,
                        "quote",
                        f"a quote swallowed {feed.taken} lines and is closed inside a field: "
                        + _shown(text.decode("utf-8", "replace")),
                    )
                )
                cells = []
            elif len(cells) != self.width and widths:
                self._ragged(line, len(cells), text.rstrip(b"\r\n"))
                cells = []
            elif (offset := _undecodable_at(text)) >= 0:
                self._no_text(line, text.rstrip(b"\r\n"), offset)
                cells = []
            yield line, cells

    def _advance(self, at: int, lines: int) -> None:
        self.at, self.line, self._moved = at, self.line + lines, True

    def _strict(self, text: bytes) -> bool:
        feed = _Feed(text, 0, "", complete=True)
        options = quoting(self.dialect.quote)
        try:
            list(csv.reader(feed, delimiter=self.dialect.separator, strict=True, **options))  # type: ignore[call-overload]  # kwargs
        except csv.Error:
            return False
        return True


class _Feed:
    """The lines from `at` on, for csv.reader, which keeps account of what was taken for the record begun last."""

    def __init__(self, data: bytes, at: int, comment: str, *, complete: bool) -> None:
        self.data, self.at, self.comment, self.complete = data, at, comment.encode(), complete
        self.dry = False
        self.begin()

    def begin(self) -> None:
        self.begun, self.taken, self.skipped = self.at, 0, 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        while end := _line_end(self.data, self.at, complete=self.complete):
            line, self.at = self.data[self.at : end], end
            if self.comment and not self.taken and line.startswith(self.comment):
                self.begun, self.skipped = end, self.skipped + 1
                continue
            self.taken += 1
            return line.decode("utf-8", "surrogateescape")
        self.dry = True
        raise StopIteration


def _line_end(data: bytes, at: int = 0, *, complete: bool = False) -> int:
    """Where the line that begins at `at` ends (behind its \\n, \\r\\n or \\r); 0 when that is not in `data`."""
    feed, back = data.find(b"\n", at), data.find(b"\r", at, None)
    if back >= 0 and (feed < 0 or back < feed):
        if back + 1 < len(data):
            return back + (2 if data[back + 1] == NEWLINE else 1)
        return back + 1 if complete else 0
    if feed >= 0:
        return feed + 1
    return len(data) if complete and at < len(data) else 0


def _undecodable_at(text: bytes | memoryview) -> int:
    """The offset of the first byte that is not UTF-8, or -1."""
    try:
        str(text, "utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return -1


def _open_quote(data: bytes, line: int, dialect: Dialect) -> int:
    """The line in which the quote opens that is still open at the end of `data`, as the csv module reads it."""
    text = data.decode("utf-8", "replace")
    inside, start, opened, i = False, True, line, 0
    while i < len(text):
        letter = text[i]
        if inside:
            if letter == dialect.quote:
                if text[i + 1 : i + 2] == dialect.quote:
                    i += 1
                else:
                    inside = False
        elif letter == dialect.quote and start:
            inside, opened = True, line
        start = not inside and letter in (dialect.separator, "\n", "\r")
        line += letter == "\n"
        i += 1
    return opened


def _null_empty(frame: pl.DataFrame) -> pl.DataFrame:
    """The csv module does not tell `""` from nothing; both are null here."""
    return frame.select(pl.when(pl.all() != "").then(pl.all()))


def _shown(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text):,} characters)"
