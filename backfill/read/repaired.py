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

# A spreadsheet runs a cell that begins so; an apostrophe before it stops that. Cells that already begin with
# apostrophes before such a sign get one more, so that taking one away always gives the original back.
FORMULA = r"^'*[=+\-@\t\r]"
ESCAPED = r"^'+[=+\-@\t\r]"


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
    return "'" + cell if re.match(FORMULA, cell) else cell


def plain(cell: str) -> str:
    """The cell that `escape` was given."""
    return cell[1:] if re.match(ESCAPED, cell) else cell


def unescape(frame: pl.DataFrame) -> pl.DataFrame:
    """The original cells of a frame of text columns that `escape` went over."""
    return frame.with_columns(pl.when(pl.all().str.contains(ESCAPED)).then(pl.all().str.slice(1)).otherwise(pl.all()))
