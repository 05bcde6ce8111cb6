"""How a CSV file is written: encoding, separator, quote, header, found by looking at its first bytes."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Protocol

__all__ = ["HEAD_BYTES", "CsvSettings", "Dialect", "Utf8Stream", "csv_reader", "encoding_of", "is_utf8", "sniff"]

# Enough to see the habits of a file; small enough that sniffing 10,000 files stays quick.
HEAD_BYTES = 256 * 1024
SEPARATORS = ",;\t|"
SAMPLE_ROWS = 200
# A separator makes more rows than this of one width.
MOST_ROWS = 0.5
# The score of a separator that is nowhere.
NONE = (0.0, 1)
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Never part of valid UTF-8, so that a byte which did not decode is found again behind any encoding.
UNDECODABLE = b"\xff"
DATA_LIKE = re.compile(r"[-+]?[\d.,]*\d%?|[^@\s]+@[^@\s]+\.\w+|\d{4}-\d\d-\d\d.*|\d\d?[/.]\d\d?[/.]\d{2,4}.*")


class CsvSettings(Protocol):
    """What the mapping's `source.csv` declares; None is 'find it by looking'."""

    @property
    def separator(self) -> str | None: ...
    @property
    def quote(self) -> str | None: ...
    @property
    def encoding(self) -> str | None: ...
    @property
    def header(self) -> bool | None: ...
    @property
    def columns(self) -> Sequence[str] | None: ...
    @property
    def skip_lines(self) -> int | None: ...
    @property
    def comment(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one CSV file is written. `columns` are its names, as the header has them or as declared. `mark`: it begins
    with a byte order mark.
    """

    encoding: str
    separator: str
    quote: str
    header: bool
    skip_lines: int
    columns: tuple[str, ...]
    comment: str = ""
    # Says nothing of how the file is read.
    mark: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        names = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe"}
        words = [
            self.encoding,
            names.get(self.separator, repr(self.separator)),
            f"quote {self.quote or 'none'}",
        ]
        words.append("header" if self.header else "no header")
        if self.skip_lines:
            words.append(f"{self.skip_lines} line{'s' * (self.skip_lines > 1)} before it")
        return ", ".join(words)


def sniff(head: bytes, whole: bool, settings: CsvSettings) -> Dialect | None:
    """The dialect that `head`, the first bytes of a file, shows; `whole` says that there are no more.

    None when there is no row to see. What `settings` declares is taken as it is.
    """
    encoding = settings.encoding or encoding_of(head, whole)
    text = _text(head, encoding)
    if not whole:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    # Not splitlines, which also ends lines at a form feed or U+2028.
    lines = list(io.StringIO(text, newline=""))[settings.skip_lines or 0 :]
    comment = settings.comment or ""
    if not any(line.strip() for line in lines if not (comment and line.startswith(comment))):
        return None
    quote = settings.quote if settings.quote is not None else _quote(lines)
    rows_by = {one: _rows(lines, one, quote, comment) for one in settings.separator or SEPARATORS if one in text}
    separator = settings.separator or _separator(rows_by)
    rows = rows_by[separator] if separator in rows_by else _rows(lines, separator, quote, comment)
    skip = settings.skip_lines if settings.skip_lines is not None else _preamble(rows)
    body = [cells for line, cells in rows if settings.skip_lines is not None or line >= skip]
    header = settings.header
    if header is None:
        header = settings.columns is None and not _is_data(body)
    columns = tuple(settings.columns or (body[0] if header else [f"column_{i + 1}" for i in range(len(body[0]))]))
    mark = any(head.startswith(one) for one, _ in BOMS)
    return Dialect(encoding, separator, quote, header, skip, columns, comment, mark)


def rename(dialect: Dialect, columns: Sequence[str]) -> Dialect:
    return replace(dialect, columns=tuple(columns))


class Utf8Stream(io.RawIOBase):
    """A byte stream in another encoding, as UTF-8. Bytes that do not decode become UNDECODABLE."""

    def __init__(self, raw: BinaryIO, encoding: str) -> None:
        self._raw = raw
        self._decoder = None if is_utf8(encoding) else codecs.getincrementaldecoder(encoding)("backfill-undecodable")
        self._start = True
        self._done = False

    def readable(self) -> bool:
        return True

    @property
    def can_go(self) -> bool:
        """Whether `go_to` can be used: the bytes are the file's own."""
        return self._decoder is None and self._raw.seekable()

    def go_to(self, offset: int) -> None:
        """Read on from this byte behind a byte order mark."""
        mark = codecs.BOM_UTF8
        self._raw.seek(0)
        self._raw.seek(offset + len(mark) * (self._raw.read(len(mark)) == mark))
        self._start = False

    def read(self, size: int = -1) -> bytes:
        """About `size` bytes; empty only at the end."""
        while not self._done:
            data = self._raw.read(size)
            self._done = not data
            if self._decoder is not None:
                try:
                    text = self._decoder.decode(data, final=not data)
                except UnicodeError as error:  # UTF-16 that does not say which
                    raise OSError(str(error)) from error
                if self._start:
                    text = text.removeprefix("\ufeff")
                data = text.encode("utf-8", "surrogateescape")
            elif self._start:
                data = data.removeprefix(codecs.BOM_UTF8)
            if data:
                self._start = False
                return data
        return b""

    def close(self) -> None:
        self._raw.close()
        super().close()


def is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in {"utf-8", "utf-8-sig", "ascii"}


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    # surrogateescape writes U+DCFF back as the byte 0xFF.
    return "\udcff", error.end


codecs.register_error("backfill-undecodable", _mark)


def encoding_of(head: bytes, whole: bool) -> str:
    """The encoding that the first bytes of a file show; `whole` says that there are no more."""
    for bom, name in BOMS:
        if head.startswith(bom):
            return name
    if len(head) >= 4 and b"\0" in head:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        if odd > len(head) * 0.2 > 8 * even or even > len(head) * 0.2 > 8 * odd:
            return "utf-16-le" if odd > even else "utf-16-be"
    bad, good, at = 0, 0, 0
    view = head
    while bad < 200:
        try:
            good += _letters(view)
            break
        except UnicodeDecodeError as error:
            if not whole and at + error.start > len(head) - 4:
                break  # a character cut by the end of the head
            good += _letters(view[: error.start])
            bad += 1
            at += error.end
            view = view[error.end :]
    if bad <= good:
        # Also a UTF-8 file with some bytes that are not: they cost their rows, not the file's other letters.
        return "utf-8"
    from charset_normalizer import from_bytes

    # cp1252 first: it is what spreadsheets write; the others only when it can't be that.
    candidates = [
        "cp1252",
        "shift_jis",
        "cp932",
        "gb18030",
        "euc_jp",
        "euc_kr",
        "big5",
        "cp1250",
        "cp1251",
        "iso8859_15",
    ]
    best = from_bytes(head[:65536], cp_isolation=candidates).best()
    if best is None or "cp1252" in best.could_be_from_charset or _is_western(head, best.encoding):
        return "cp1252"
    return codecs.lookup(best.encoding).name


def _letters(data: bytes) -> int:
    """How many letters of UTF-8 are not ASCII."""
    text = data.decode("utf-8")
    return 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))


def _is_western(head: bytes, guess: str) -> bool:
    """Whether the text is cp1252, where charset_normalizer guesses `guess`.

    It takes any letters for possible and then the first encoding by the alphabet: "Núńez" of cp1250 for "Núñez". What
    is not cp1252 of the Latin alphabets has to be declared, unless it has bytes that cp1252 has not. Cyrillic words
    have several such letters side by side, Latin ones rarely.
    """
    runs = re.findall(rb"[\x80-\xff]+", head)
    latin = guess in {"cp1250", "iso8859_15"} or (
        guess == "cp1251" and sum(len(run) > 1 for run in runs) < len(runs) / 2
    )
    try:
        return latin and bool(head.decode("cp1252"))
    except UnicodeDecodeError:
        return False


def _text(head: bytes, encoding: str) -> str:
    text = head.decode(encoding, "replace")
    return text.removeprefix("\ufeff")


def _quote(lines: list[str]) -> str:
    sample = "".join(lines[:SAMPLE_ROWS])
    if '"' in sample:
        return '"'
    single = len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n]|$)", sample, re.MULTILINE))
    return "'" if single >= max(2, len(lines[:SAMPLE_ROWS]) // 2) else '"'


def _rows(lines: list[str], separator: str, quote: str, comment: str) -> list[tuple[int, list[str]]]:
    """The first rows as (number of lines before it, cells), blank ones and comments left out."""
    csv.field_size_limit(max(csv.field_size_limit(), HEAD_BYTES))
    rows: list[tuple[int, list[str]]] = []
    feed = _Lines(lines, comment) if comment else None
    reader = csv_reader(feed or iter(lines), separator, quote)
    begun = 0
    try:
        for cells in reader:
            if cells:
                rows.append((feed.begun if feed else begun, cells))
                if len(rows) == SAMPLE_ROWS:
                    break
            if feed:
                feed.fresh = True
            else:
                begun = reader.line_num
    except csv.Error:
        pass  # the head may end inside a quote
    return rows or [(0, [""])]


class CsvReader(Protocol):
    """What the csv module calls a reader."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


class _Lines:
    """The lines for csv.reader, without comments between records; `begun` counts those before the last
    record.
    """

    def __init__(self, lines: list[str], comment: str) -> None:
        self.lines, self.comment, self.at, self.begun, self.fresh = lines, comment, 0, 0, True

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if self.fresh and self.comment and line.startswith(self.comment):
                continue
            if self.fresh:
                self.begun, self.fresh = self.at - 1, False
            return line
        raise StopIteration


def csv_reader(lines: Iterator[str], separator: str, quote: str, *, strict: bool = False) -> CsvReader:
    """Python's csv module over `lines`, which end as in the file; a quote of '' is none."""
    if quote:
        return csv.reader(lines, delimiter=separator, quotechar=quote, strict=strict)
    return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE, strict=strict)


def _separator(rows_by: dict[str, list[tuple[int, list[str]]]]) -> str:
    """The one that makes rows of one width.

    Of several the one whose rows begin first, with the header: the decimal comma of the rows below stands in no name,
    and some rows that are ragged don't make it the separator.
    """
    scores = {one: _score(rows_by[one]) if one in rows_by else NONE for one in SEPARATORS}

    def worth(one: str) -> tuple[bool, int, tuple[float, int]]:
        share, width = scores[one]
        often = share > MOST_ROWS
        first = next(line for line, cells in rows_by[one] if len(cells) == width) if often else 0
        return often, -first, scores[one]

    return max(SEPARATORS, key=worth)


def _score(rows: list[tuple[int, list[str]]]) -> tuple[float, int]:
    counts = Counter(len(cells) for _, cells in rows)
    width, count = max(counts.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]))
    return (count / counts.total(), width) if width > 1 else NONE


def _preamble(rows: list[tuple[int, list[str]]]) -> int:
    """Lines before the header: rows of one text only, above rows that all have the same number of columns,
    over 1.
    """
    widths = Counter(len(cells) for _, cells in rows)
    width, share = widths.most_common(1)[0]
    if width < 2 or share < len(rows) / 2:
        return 0
    for line, cells in rows[:25]:
        if sum(1 for cell in cells if cell.strip()) > 1 or len(cells) == width:
            return line
    return 0


def _is_data(rows: list[list[str]]) -> bool:
    """Whether the first row looks like the rows below it, not like names."""
    first, rest = rows[0], rows[1:20]
    if not rest or any(not cell for cell in first):
        return False
    return any(
        DATA_LIKE.fullmatch(cell) and all(len(row) > i and (not row[i] or DATA_LIKE.fullmatch(row[i])) for row in rest)
        for i, cell in enumerate(first)
    )
