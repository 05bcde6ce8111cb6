"""Bytes of a CSV file → its records, each with its physical line.

Where the quotes are beyond doubt (each opens at the start of a field and closes at its end), the borders of records,
their lines and their numbers of fields come from a few numpy passes: over a whole block at once, or with more of them
where some records are ragged or blank. Where they are not (`6" pipe`), Python's csv module reads on for some records
and decides. All agree with the csv module wherever that is sure of itself; a property test compares them. What they
find is text of which nothing is in doubt any more, and Polars parses its cells, of many small files at once.

A record is refused, with its line and text, when it has too few or too many fields, a byte that does not
decode, or a quote which swallowed lines of other records. A quote that never closes refuses the file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backfill.errors import ExportError
from backfill.read.dialect import UNDECODABLE, Dialect, csv_reader
from backfill.read.lines import Feed, open_quote, undecodable_at

__all__ = ["BadRecord", "Block", "Ints", "Place", "Texts", "no_text"]

# After a doubtful quote the csv module reads this many records before the fast way is tried again: where many
# records have one, the numpy passes would otherwise be repeated for each.
SLOW_RECORDS = 1000
MAX_TEXT = 500
# The passes go over so much at a time: their arrays then stay in the processor's cache, and in memory that the
# process has already. Measured: 0.25 µs a row, with 2 MB 0.7.
SLICE_BYTES = 256_000
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
class Place:
    """Where some records begin in the stream: byte and physical line; how many bytes were looked at together, and
    whether they were the last.
    """

    offset: int
    line: int
    size: int
    last: bool


@dataclass(frozen=True, slots=True)
class Texts:
    """Records whose borders are known: `parts` are their text alone, `ends` where each ends in it, `lines` its
    physical line.

    `place` is None where the header was still to come.
    """

    parts: Sequence[bytes]
    ends: Ints
    lines: Ints
    bad: list[BadRecord]
    place: Place | None = None

    def __len__(self) -> int:
        return len(self.ends)


class Block:
    """Reads what is complete of one buffer; `at` and `line` then say where the rest begins."""

    def __init__(self, data: bytes, line: int, dialect: Dialect, name: str, *, last: bool) -> None:
        if last and data and data[-1] not in b"\r\n":
            data += b"\n"
        self.data, self.line, self.last, self.name = data, line, last, name
        self.dialect = dialect
        self.width = len(dialect.columns)
        self.at = 0
        self.bad: list[BadRecord] = []
        self.texts: list[bytes] = []
        self.sizes: list[Ints] = []
        self.lines: list[Ints] = []
        self._moved = False
        self._scanned = False

    def _plain(self) -> bool:
        """Take the complete records among the next SLICE_BYTES, if nothing at all is in doubt; gives whether it did."""
        dialect, per = self.dialect, self.width - 1
        if dialect.comment or not per:
            return False
        array = np.frombuffer(self.data, np.uint8)[self.at : self.at + SLICE_BYTES]
        newline = array == NEWLINE
        quoted = bool(dialect.quote) and self.data.find(dialect.quote.encode(), self.at, self.at + len(array)) >= 0
        if quoted:
            quote = array == ord(dialect.quote)
            # From the quote that opens up to before the one that closes.
            inside = np.bitwise_xor.accumulate(quote.view(np.uint8)).view(np.bool_)
            newlines = np.flatnonzero(newline)
            border = np.flatnonzero(~inside[newlines])
            ends = newlines[border]
        else:
            ends = np.flatnonzero(newline)
            border = np.arange(len(ends))
        if not len(ends):
            return False
        size = int(ends[-1]) + 1
        newline, separator = newline[:size], array[:size] == ord(dialect.separator)
        behind = newline | separator
        if self.data.find(b"\r", self.at, self.at + size) >= 0:
            returns = array[:size] == RETURN
            if (returns[:-1] > newline[1:]).any():
                return False
            behind |= returns
        if quoted:
            quote, inside = quote[:size], inside[:size]
            # A doubled quote is taken as one that closes and one that opens.
            opens_late = (quote & inside)[1:] > (newline | separator | quote)[:-1]
            closes_early = (quote > inside)[:-1] > (behind | quote)[1:]
            if opens_late.any() or closes_early.any():
                return False
            separator = separator > inside
        starts = np.concatenate(([0], ends[:-1] + 1))
        separators = np.flatnonzero(separator)
        # As many as there should be, and the first and last of each record within it: all are where they should be.
        if len(separators) != per * len(ends) or (
            (separators[::per] < starts).any() or (separators[per - 1 :: per] > ends).any()
        ):
            return False
        lines = self.line + np.concatenate(([0], border[:-1] + 1))
        self._add(self.data[self.at : self.at + size], ends + 1 - starts, lines)
        self.at, self.line = self.at + size, self.line + int(border[-1]) + 1
        return True

    def _scan(self) -> None:
        """Find the marks: the bytes that are a separator, a quote or a newline, in their order."""
        self._scanned = True
        array = np.frombuffer(self.data, np.uint8)
        separator, quote = ord(self.dialect.separator), ord(self.dialect.quote or "\n")
        rest = array[self.at :]
        self.marks = np.flatnonzero((rest == NEWLINE) | (rest == separator) | (rest == quote)) + self.at
        self.kinds = array[self.marks]
        returns = np.flatnonzero(rest == RETURN) + self.at
        following = np.append(array, np.uint8(NEWLINE))[returns + 1] if len(returns) else returns
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
        ends = np.array([NEWLINE], np.uint8)
        padded = np.concatenate((ends, array, ends, ends))
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

    def read(self, place: Place | None = None) -> Texts:
        """All complete records. Raises ExportError when the last buffer ends inside a quote."""
        while self.at < len(self.data):
            if self._plain():
                continue
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
        ends = np.cumsum(np.concatenate(self.sizes)) if self.sizes else np.empty(0, np.int64)
        lines = np.concatenate(self.lines) if self.lines else np.empty(0, np.int64)
        return Texts(self.texts, ends, lines, self.bad, place)

    def _fast(self) -> None:
        """Read all records up to the first whose quotes are in doubt."""
        if not self._scanned:
            self._scan()
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
        for i in np.flatnonzero((fields != self.width) & ~blank):
            self._ragged(int(lines[i]), int(fields[i]), self.data[starts[i] : ends[i]])
        self._add(self._join(starts, ends, good), (ends + 1 - starts)[good], lines[good])
        self.at, self.line = end, self.line + int(border[-1]) + 1

    def _add(self, text: bytes, sizes: Ints, lines: Ints) -> None:
        self.texts.append(text)
        self.sizes.append(sizes)
        self.lines.append(lines)

    def _join(self, starts: Ints, ends: Ints, good: Flags) -> bytes:
        if good.all():
            return self.data[starts[0] : ends[-1] + 1]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], good.view(np.int8), [0]))))
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return b"".join(self.data[starts[a] : ends[b - 1] + 1] for a, b in pairs)

    def _ragged(self, line: int, fields: int, text: bytes) -> None:
        self.bad.append(_bad(line, "ragged", f"{fields} fields where the header has {self.width}", text))

    def _slowly(self) -> bool:
        """Let the csv module read some records; False when the next one is not complete in this buffer."""
        rows: list[bytes] = []
        lines: list[int] = []
        for line, cells in self._slow(SLOW_RECORDS):
            if cells:
                rows.append(_written(cells, self.dialect))
                lines.append(line)
        self._add(b"".join(rows), np.array([len(row) for row in rows], np.int64), np.array(lines, np.int64))
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
                    self._advance(feed.begun, feed.skipped)
                return
            line, text = self.line + feed.skipped, self.data[feed.begun : feed.at]
            self._advance(feed.at, feed.skipped + feed.taken)
            if not cells:
                continue
            if feed.taken > 1 and not self._strict(text):
                why = f"a quote swallowed {feed.taken} lines and is closed inside a field"
                self.bad.append(_bad(line, "quote", why, text))
                cells = []
            elif len(cells) != self.width and widths:
                self._ragged(line, len(cells), text)
                cells = []
            elif (offset := undecodable_at(text)) >= 0:
                self.bad.append(no_text(line, text, offset, self.dialect))
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


def no_text(line: int, text: bytes, offset: int, dialect: Dialect) -> BadRecord:
    what = "a byte" if text[offset : offset + 1] == UNDECODABLE else f"the byte 0x{text[offset]:02x}"
    return _bad(line, "undecodable", f"{what} is not {dialect.encoding}", text)


def _bad(line: int, problem: str, why: str, text: bytes) -> BadRecord:
    decoded = text.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
    return BadRecord(line, problem, f"{why}: {_shown(decoded)}", decoded)


def _written(cells: list[str], dialect: Dialect) -> bytes:
    """The cells as text in which no quote is in doubt."""
    quote = dialect.quote
    return (dialect.separator.join(quote + cell.replace(quote, 2 * quote) + quote for cell in cells) + "\n").encode()


def _shown(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text):,} characters)"
