"""The repair of rejected.csv: its four last columns, and cells that a spreadsheet would take for a
formula.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from backfill.read.dialect import Dialect, encoding_of, is_utf8

__all__ = ["REPORT_COLUMNS", "ReportCsv", "escape", "plain", "read_report", "report_like", "seen_in", "unescape"]

# What the report adds to the export's columns. A file whose header ends so is a rejected.csv that comes back.
REPORT_COLUMNS = ("problem", "detail", "file", "row")

# A spreadsheet runs a cell that begins so (some trim blanks, some take the wide signs too); an apostrophe before it
# stops that. A comma, a semicolon or a tab begins a cell too, where the spreadsheet's own separator is one. Where
# apostrophes stand before such a sign already, one more does, so that taking one away always gives the original back.
_SIGN = r"['\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]"
_BEGINS = rf"(?:'*[\t\r]|{_SIGN})"
FORMULA = re.compile(rf"\A(?={_BEGINS})|(?<=[,;\t])(?={_SIGN})")
ESCAPED = re.compile(rf"\A'(?={_BEGINS})|(?<=[,;\t])'(?={_SIGN})")
# The end of its header tells the separator, also when a spreadsheet wrote the file with another one or more quotes.
_HEADER_END = re.compile(r"""("?)problem\1([^\w"'\s]|\t)\1detail\1\2\1file\1\2\1row\1(?=[\r\n]|\Z)""")
_NAMES = tuple(name.encode() for name in REPORT_COLUMNS)


@dataclass(frozen=True)
class ReportCsv:
    """How a rejected.csv is written, for `sniff`; `mark`: it begins with a byte order mark."""

    separator: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    columns: None = None
    skip_lines: int = 0
    comment: None = None
    mark: bool = False


def report_like(dialect: Dialect | None) -> ReportCsv:
    """How to write rejected.csv for who opens files of this dialect: with its separator, in its Unicode encoding.

    In any other encoding not every row could be written, and which one it is the few rows would not tell for sure:
    then it is UTF-8 with a byte order mark, which spreadsheets know. Quotes are always the usual ones.
    """
    if dialect is None:
        return ReportCsv()
    separator = dialect.separator if re.fullmatch(r"""[^\w"'\s]|\t""", dialect.separator) else ","
    if is_utf8(dialect.encoding):
        return ReportCsv(separator, mark=dialect.mark)
    name = codecs.lookup(dialect.encoding).name
    if name.startswith(("utf-16", "utf-32")):
        order = "be" if name.endswith("be") else "le"
        return ReportCsv(separator, encoding=f"{name[:6]}-{order}", mark=True)
    return ReportCsv(separator, mark=True)


def seen_in(head: bytes, whole: bool, encoding: str | None = None) -> ReportCsv | None:
    """How a file is written that begins so, if it may be a rejected.csv.

    `encoding` is that of the export's own files: a spreadsheet may have written the file again in it.
    """
    if not all(name in (head.replace(b"\0", b"") if b"\0" in head else head) for name in _NAMES):
        return None
    found = encoding_of(head, whole)
    if not found.startswith("utf"):
        found = found if encoding is None or is_utf8(encoding) else encoding
    ending = _HEADER_END.search(head.decode(found, "replace"))
    return ReportCsv(ending[2], encoding=found) if ending else None


def read_report(path: Path) -> pl.DataFrame:
    """The rows of a rejected.csv as they stand there, all String. Raises FileNotFoundError."""
    data = path.read_bytes()
    style = seen_in(data, whole=True) or ReportCsv()
    text = data.decode(style.encoding, "replace").removeprefix("\ufeff")
    return pl.read_csv(text.encode(), separator=style.separator, infer_schema=False)


def escape(cell: str) -> str:
    """The cell as it can stand in a spreadsheet."""
    return FORMULA.sub("'", cell)


def plain(cell: str) -> str:
    """The cell that `escape` was given."""
    return ESCAPED.sub("", cell)


def unescape(frame: pl.DataFrame) -> pl.DataFrame:
    """The original cells of a frame of text columns that `escape` went over."""
    return frame.with_columns(
        pl.when(pl.all().str.contains("'", literal=True))
        .then(pl.all().map_elements(plain, pl.String))
        .otherwise(pl.all())
    )
