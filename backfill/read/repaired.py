"""The repair of rejected.csv: its four last columns, and cells that a spreadsheet would take for a
formula.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

__all__ = ["REPORT_COLUMNS", "ReportCsv", "escape", "plain", "unescape"]

# What the report adds to the export's columns. A file whose header ends so is a rejected.csv that comes back.
REPORT_COLUMNS = ("problem", "detail", "file", "row")

# A spreadsheet runs a cell that begins so (some trim blanks, some take the wide signs too); an apostrophe before it
# stops that. A semicolon or a tab begins a cell too, where the spreadsheet's own separator is one. Where apostrophes
# stand before such a sign already, one more does, so that taking one away always gives the original back.
_SIGN = r"['\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]"
_BEGINS = rf"(?:'*[\t\r]|{_SIGN})"
FORMULA = re.compile(rf"\A(?={_BEGINS})|(?<=[;\t])(?={_SIGN})")
ESCAPED = re.compile(rf"\A'(?={_BEGINS})|(?<=[;\t])'(?={_SIGN})")


@dataclass(frozen=True)
class ReportCsv:
    """How the report writes rejected.csv, for `sniff`."""

    separator: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    columns: None = None
    skip_lines: int = 0
    comment: None = None


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
