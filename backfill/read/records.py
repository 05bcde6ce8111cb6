"""Bytes of a CSV file → its records, each with its physical line.

Two ways lead through a file. Where its quotes are beyond doubt (each opens at the start of a field and closes
at its end), the borders of records, their lines and their numbers of fields come from a few numpy passes, and
Polars parses the cells: 3 M rows/s. Where they are not (`6" pipe`), Python's csv module reads on for some
records and decides. Both agree with the csv module wherever that is sure of itself; a property test compares
them.

A record is refused, with its line and text, when it has too few or too many fields, a byte that does not
decode, or a quote which swallowed lines of other records. A quote that never closes refuses the file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import polars as pl

from backfill.errors import ExportError
from backfill.read.dialect import UNDECODABLE, Dialect, csv_reader
from backfill.read.lines import Feed, line_end, open_quote, undecodable_at

__all__ = ["MAX_RECORD_BYTES", "BadRecord", "Records", "read_records"]

# An event holds 5 MB at most; a record beyond this is a quote that never closes, or no table.
MAX_RECORD_BYTES = 16_000_000
# Of 14 columns some 15,000 rows. Measured with `check`: 4 MB is no faster and holds 65 MB more, 1 MB is 20 % slower.
BLOCK_BYTES = 2_000_000
# After a doubtful quote the csv module reads this many records before the fast way is tried again: where many
# records have one, the numpy passes would otherwise be repeated for each.
SLOW_RECORDS = 1000
MAX_TEXT = 500
NEWLINE, RETURN = 10, 13

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that can't be read: its first physical line, a problem code, words that show the beginning of its
    text, and all of the text: which group it is of may stand anywhere.
    """

    line: int
    problem: str
    detail: str
    text: str = ""


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
        if len(buffer) > MAX_RECORD_BYTES + block_bytes:
            opened = open_quote(buffer, line, dialect)
            raise ExportError(
                f"{name}:{line}: a record longer than {MAX_RECORD_BYTES // 1_000_000} MB begins here",
                hint=f"see whether the quote opened at line {opened} is ever closed"
                if opened
                else "an event holds 5 MB at most: see whether the lines end as they should, or shorten it",
            )
        while lines_to_skip and (end := line_end(buffer, complete=done)):
            buffer, line, lines_to_skip = buffer[end:], line + 1, lines_to_skip - 1
        if lines_to_skip and not done:
            continue
        block = _Block(buffer, line, dialect, name, last=done)
        if header and buffer and not lines_to_skip:
            if block.skip_header():
                header = False
            elif not done:
                continue
        records = block.read()
        if records.frame.height or records.bad or records.blank:
            yield records
        buffer, line = buffer[block.at :], block.line


class _Block:
    """Reads what is complete of one buffer; `at` and `line` then say where the rest begins."""

    def __init__(self, data: bytes, line: int, dialect: Dialect, name: str, *, last: bool) -> None:
        if last and data and data[-1] not in b"\r\n":
            data += b"\n"
        self.data, self.line, self.last, self.name = data, line, last, name
        self.dialect = dialect
        self.names = [str(i) for i in range(len(dialect.columns))]
        self.width = len(self.names)
        self.at = 0
        self.blank = 0
        self.bad: list[BadRecord] = []
        self.frames: list[pl.DataFrame] = []
        self.lines: list[Ints] = []
        self._moved = False
        self._scan()

    def _scan(self) -> None:
        """Find the marks: the bytes that are a separator, a quote or a newline, in their order."""
        array = np.frombuffer(self.data, np.uint8)
        separator, quote = ord(self.dialect.separator), ord(self.dialect.quote or "\n")
        self.marks = np.flatnonzero((array == NEWLINE) | (array == separator) | (array == quote))
        self.kinds = array[self.marks]
        returns = np.flatnonzero(array == RETURN)
        following = np.append(array, NEWLINE)[returns + 1] if len(returns) else returns
        # A carriage return with no line feed behind it is a line end too: the csv module's business.
        self.doubtful_returns = returns[following != NEWLINE]
        if len(self.doubtful_returns) and not self.last and self.doubtful_returns[-1] == len(self.data) - 1:
            self.doubtful_returns = self.doubtful_returns[:-1]
        is_quote = (self.kinds == quote) & bool(self.dialect.quote)
        self.quotes = self.marks[is_quote]
        if not len(self.quotes):
            return
        # A quote may open behind a separator, a line end or the quote that it doubles, and close before the
        # same: a doubled quote is taken as one that closes and one that opens.
        border = np.zeros(256, np.bool_)
        border[[separator, NEWLINE, quote]] = True
        padded = np.concatenate(([NEWLINE], array, [NEWLINE, NEWLINE]))
        after = padded[self.quotes + 2]
        self.may_open = border[padded[self.quotes]]
        self.may_close = border[after] | ((after == RETURN) & (padded[self.quotes + 3] == NEWLINE))
        if self.dialect.comment:
            # In a comment, or in what looks like one, a quote may mean nothing.
            starts = np.concatenate(([0], np.flatnonzero(array == NEWLINE) + 1))
            commented = self._commented(starts)[np.searchsorted(starts, self.quotes, "right") - 1]
            self.may_open &= ~commented
            self.may_close &= ~commented

    def _commented(self, starts: Ints) -> Flags:
        mark = self.dialect.comment.encode()
        return np.fromiter((self.data.startswith(mark, start) for start in starts), np.bool_, len(starts))

    def skip_header(self) -> bool:
        """Step over the first record that is not blank or a comment; False when it is not complete.

        Raises ExportError when it can't be read: what the columns are called would be a guess, and ids hang on it.
        """
        self._moved = True
        while self._moved:
            for _ in self._slow(1, widths=False):
                if self.bad:
                    why = " ".join(self.bad[0].detail.split())
                    raise ExportError(
                        f"{self.name}:{self.bad[0].line}: the header can't be read: {why}",
                        hint="mend it, or declare source.csv.encoding, or source.csv.columns and skip_lines",
                    )
                return True
        return False

    def read(self) -> Records:
        """All complete records. Raises ExportError when the last buffer ends inside a quote."""
        while self.at < len(self.data):
            start = self.at
            self._fast()
            if self.at < len(self.data) and self.at == start and not self._slowly():
                break
        if self.last and self.at < len(self.data):
            raise ExportError(
                f"{self.name}:{open_quote(self.data[self.at :], self.line, self.dialect)}: "
                "a quote that opens here never closes, so the rest of the file would be one field",
                hint="close it, or declare another quote character in source.csv.quote",
            )
        frame = pl.concat(self.frames) if self.frames else pl.DataFrame(schema=dict.fromkeys(self.names, pl.String))
        lines = np.concatenate(self.lines) if self.lines else np.empty(0, np.int64)
        return Records(frame, pl.Series(lines, dtype=pl.UInt64), self.bad, self.blank)

    def _fast(self) -> None:
        """Read all records up to the first whose quotes are in doubt."""
        limit = len(self.data)
        returns = int(np.searchsorted(self.doubtful_returns, self.at))
        if returns < len(self.doubtful_returns):
            limit = int(self.doubtful_returns[returns])
        first = int(np.searchsorted(self.quotes, self.at))
        if first < len(self.quotes):
            fine = self.may_open[first:].copy()
            fine[1::2] = self.may_close[first + 1 :: 2]
            if not fine.all():
                limit = min(limit, int(self.quotes[first + int(np.argmin(fine))]))
        low, high = np.searchsorted(self.marks, (self.at, limit))
        marks, kinds = self.marks[low:high], self.kinds[low:high]
        newline = kinds == NEWLINE
        border = None
        if first < len(self.quotes):
            quote = kinds == ord(self.dialect.quote)
            # Bytes wrap around at 256, which keeps odd and even apart.
            outside = (np.cumsum(quote, dtype=np.uint8) & 1 == 0) & ~quote
            border = np.flatnonzero(outside[newline])
            marks, newline = marks[outside], newline[outside]
        last = np.flatnonzero(newline)
        if len(last):
            fields = np.diff(last, prepend=-1)
            self._records(marks[last], fields, np.arange(len(last)) if border is None else border)

    def _records(self, ends: Ints, fields: Ints, border: Ints) -> None:
        """Take the records that end at `ends`, which are the newlines number `border` of those from here
        on.
        """
        starts = np.concatenate(([self.at], ends[:-1] + 1))
        lines = self.line + np.concatenate(([0], border[:-1] + 1))
        end = int(ends[-1]) + 1
        array = np.frombuffer(self.data, np.uint8)
        blank = (ends == starts) | ((ends == starts + 1) & (array[starts] == RETURN))
        if self.dialect.comment:
            blank |= self._commented(starts)
        good = (fields == self.width) & ~blank
        known = len(self.bad)
        for i in np.flatnonzero((fields != self.width) & ~blank):
            self._ragged(int(lines[i]), int(fields[i]), self.data[starts[i] : ends[i]])
        frame = self._parse(starts, ends, good)
        if frame is None:
            good &= ~self._undecodable(starts, ends, lines, good)
            frame = self._parse(starts, ends, good)
        if frame is None:
            # Not met so far; should Polars read a block otherwise than counted here, the csv module decides.
            del self.bad[known:]
            self._slow_all(end)
            return
        self.blank += int(blank.sum())
        if frame.height:
            self.frames.append(frame)
            self.lines.append(lines[good])
        self.at, self.line = end, self.line + int(border[-1]) + 1

    def _join(self, starts: Ints, ends: Ints, good: Flags) -> bytes:
        if good.all():
            return self.data[starts[0] : ends[-1] + 1]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], good.view(np.int8), [0]))))
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return b"".join(self.data[starts[a] : ends[b - 1] + 1] for a, b in pairs)

    def _parse(self, starts: Ints, ends: Ints, good: Flags) -> pl.DataFrame | None:
        """The cells of the good records; None where Polars finds bytes that are not UTF-8, or other
        records.
        """
        rows = int(good.sum())
        if not rows:
            return pl.DataFrame(schema=dict.fromkeys(self.names, pl.String))
        # A line of our own comes first: at the beginning of all Polars drops a byte order mark, and takes some letters
        # for those of a compressed file.
        first = self.dialect.separator.encode() * (self.width - 1) + b"\n" if self.width > 1 else b"x\n"
        try:
            frame = pl.read_csv(
                first + self._join(starts, ends, good),
                has_header=False,
                schema=dict.fromkeys(self.names, pl.String),
                separator=self.dialect.separator,
                quote_char=self.dialect.quote or None,
                # The csv module does not tell `""` from nothing; both are null here.
                null_values=[""],
            )
        except pl.exceptions.PolarsError:
            return None
        return frame.slice(1) if frame.height == rows + 1 else None

    def _undecodable(self, starts: Ints, ends: Ints, lines: Ints, good: Flags) -> Flags:
        bad = np.zeros(len(starts), np.bool_)
        for i in np.flatnonzero(good):
            text = self.data[starts[i] : ends[i]]
            if (offset := undecodable_at(text)) >= 0:
                bad[i] = True
                self._no_text(int(lines[i]), text, offset)
        return bad

    def _no_text(self, line: int, text: bytes, offset: int) -> None:
        what = "a byte" if text[offset : offset + 1] == UNDECODABLE else f"the byte 0x{text[offset]:02x}"
        self._bad(line, "undecodable", f"{what} is not {self.dialect.encoding}", text)

    def _ragged(self, line: int, fields: int, text: bytes) -> None:
        self._bad(line, "ragged", f"{fields} fields where the header has {self.width}", text)

    def _bad(self, line: int, problem: str, why: str, text: bytes) -> None:
        decoded = text.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
        self.bad.append(BadRecord(line, problem, f"{why}: {_shown(decoded)}", decoded))

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
            columns = {name: [row[i] or None for row in rows] for i, name in enumerate(self.names)}
            self.frames.append(pl.DataFrame(columns, schema=dict.fromkeys(self.names, pl.String)))
            self.lines.append(np.array(lines, np.int64))
        return self._moved

    def _slow(self, count: int, *, widths: bool = True) -> Iterator[tuple[int, list[str]]]:
        """Up to `count` records as (line, cells); cells are empty for a record that is refused or blank."""
        self._moved = False
        feed = Feed(self.data, self.at, self.dialect.comment, complete=self.last)
        reader = csv_reader(feed, self.dialect.separator, self.dialect.quote)
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
                self._bad(line, "quote", f"a quote swallowed {feed.taken} lines and is closed inside a field", text)
                cells = []
            elif len(cells) != self.width and widths:
                self._ragged(line, len(cells), text)
                cells = []
            elif (offset := undecodable_at(text)) >= 0:
                self._no_text(line, text, offset)
                cells = []
            yield line, cells

    def _advance(self, at: int, lines: int) -> None:
        self.at, self.line, self._moved = at, self.line + lines, True

    def _strict(self, text: bytes) -> bool:
        feed = Feed(text, 0, "", complete=True)
        try:
            list(csv_reader(feed, self.dialect.separator, self.dialect.quote, strict=True))
        except csv.Error:
            return False
        return True


def _shown(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text):,} characters)"
