"""`source.since`: which rows are newer than what was delivered."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from backfill.errors import MappingProblem
from backfill.mapping import Mapping, parse_duration
from backfill.shape.columns import Columns
from backfill.shape.convert import FIRST, LAST, Numerals, Target, convert, number_digits
from backfill.shape.layers import Layers, roots
from backfill.shape.times import Zone

__all__ = ["SINCE", "Since", "compile_since"]

# The column's value in the rows that were kept, as a number; null where there is none.
SINCE = ":since"
MICROSECONDS = 1_000_000
# Local times do not go up with the times that they stand for: clocks are set back by an hour, or a whole day where a
# country crossed the date line. Statistics tell of them only what is older by more than that.
LOCAL_MARGIN = 2 * 86400 * MICROSECONDS


@dataclass(frozen=True)
class Since:
    """The column's values as Int64: microseconds since 1970 for times, else the numbers themselves.

    `start` is the least value that is wanted, None where all rows are. `margin` is how far the order of stored values
    may be another than that of the numbers made of them.
    """

    column: str
    is_time: bool
    lookback: int
    value: pl.Expr
    margin: int = 0
    layers: Layers = field(default_factory=lambda: Layers("since"))
    start: int | None = None

    def values(self, frame: pl.DataFrame) -> pl.Series:
        """The value of each row; null where there is none, or none that can be read."""
        made = self.layers.apply(frame, roots([self.value]))
        return made.select(self.value.alias(SINCE)).to_series()

    def most(self, now: datetime) -> int | None:
        """The greatest value that a row can have come by: a date that is still to come was typed wrong, or planned."""
        return int(now.timestamp() * MICROSECONDS) if self.is_time else None

    def newer(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that are wanted, with SINCE. What has no value may be new."""
        rows = rows.with_columns(self.values(rows))
        return rows if self.start is None else rows.filter(pl.col(SINCE).is_null() | (pl.col(SINCE) >= self.start))

    def all_old(self, greatest: pl.DataFrame) -> list[bool]:
        """Of parts of a file, of which these rows hold the greatest values, whether nothing in them is wanted."""
        if self.start is None:
            return [False] * greatest.height
        old = self.values(greatest) < self.start - self.margin
        return old.fill_null(value=False).to_list()


def compile_since(mapping: Mapping, columns: Columns) -> Since | MappingProblem | None:
    """The mapping's `source.since` over an export's columns; a problem where they don't fit."""
    said = mapping.source.since
    found = columns.find(said.column) if said is not None else None
    if said is None or found is None:  # that there is no such column was told before
        return None
    raw, dtype = found
    is_time = isinstance(said.lookback, str)
    numbers, zone = mapping.source.numbers, Zone(said.timezone or mapping.source.timezone, mapping.source.ambiguous)
    numerals = Numerals(numbers.decimal, numbers.thousands)
    layers = Layers("since")
    target = Target("datetime" if is_time else "integer", said.format, zone, numerals=numerals)
    done = convert(raw, dtype, target, layers)
    if isinstance(done, str):
        hint = "say format: epoch_s or epoch_ms; of numbers that only grow lookback is a number, as in 1000"
        place = mapping.position(("source", "since", "column"))
        return MappingProblem(*place, done, hint if is_time else "the lookback of times is written 3d or 12h")
    value = done.value.to_physical().cast(pl.Int64)
    if not is_time and dtype == pl.String:
        # Such a number goes into no JSON: those that a double would round, beyond 2^53, are right here.
        digits = number_digits(raw.str.strip_chars(), numerals).str.strip_prefix("+")
        value = pl.coalesce(digits.cast(pl.Int64, strict=False), value)
    value = layers.let(value)
    if not isinstance(said.lookback, str):
        return Since(said.column, is_time, said.lookback, value, 0, layers)
    value = layers.let(pl.when(value.is_between(FIRST, LAST)).then(value))
    lookback = parse_duration(said.lookback) // timedelta(microseconds=1)
    local = dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None)
    return Since(said.column, is_time, lookback, value, LOCAL_MARGIN if local else 0, layers)
