"""Physical lines of a CSV file as the csv module takes them: where they end, where a quote was left open."""

from __future__ import annotations

import re

from backfill.read.dialect import Dialect

__all__ = ["Feed", "line_end", "open_quote", "undecodable_at"]

NEWLINE = 10
LINE_ENDS = re.compile(rb"\r\n?|\n")


class Feed:
    """The lines from `at` on, for csv.reader, which keeps account of what was taken for the record begun
    last.
    """

    def __init__(self, data: bytes, at: int, comment: str, *, complete: bool) -> None:
        self.data, self.at, self.comment, self.complete = data, at, comment.encode(), complete
        self.dry = False
        self.begin()

    def begin(self) -> None:
        self.begun, self.taken, self.skipped = self.at, 0, 0

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> str:
        while end := line_end(self.data, self.at, complete=self.complete):
            line, self.at = self.data[self.at : end], end
            if self.comment and not self.taken and line.startswith(self.comment):
                self.begun, self.skipped = end, self.skipped + 1
                continue
            self.taken += 1
            return line.decode("utf-8", "surrogateescape")
        self.dry = True
        raise StopIteration


def line_end(data: bytes, at: int = 0, *, complete: bool = False) -> int:
    r"""Where the line that begins at `at` ends (behind its \\n, \\r\\n or \\r); 0 when that is not in
    `data`.
    """
    feed, back = data.find(b"\n", at), data.find(b"\r", at, None)
    if back >= 0 and (feed < 0 or back < feed):
        if back + 1 < len(data):
            return back + (2 if data[back + 1] == NEWLINE else 1)
        return back + 1 if complete else 0
    if feed >= 0:
        return feed + 1
    return len(data) if complete and at < len(data) else 0


def undecodable_at(text: bytes | memoryview) -> int:
    """The offset of the first byte that is not UTF-8, or -1."""
    try:
        str(text, "utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return -1


def open_quote(data: bytes, line: int, dialect: Dialect) -> int:
    """The line in which the quote opens that is still open at the end of `data`, as the csv module reads
    it; 0 when none is.
    """
    quote, opens_after = dialect.quote.encode(), (dialect.separator.encode(), b"\n", b"\r", b"")
    opened, inside, at = 0, False, data.find(quote) if quote else -1
    while at >= 0:
        if not inside and data[max(at - 1, 0) : at] in opens_after:
            opened, inside = at, True
        elif inside and data[at + 1 : at + 2] == quote:
            at += 1
        else:
            inside = False
        at = data.find(quote, at + 1)
    return line + len(LINE_ENDS.findall(data, 0, opened)) if inside else 0
