"""What was not fetched of a store's Parquet files, for the few rows that are wanted whole: those that are rejected."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

import polars as pl

from backfill.errors import ExportError
from backfill.read.fetched import holds
from backfill.read.opened import OpenedFile
from backfill.read.pieces import Columns, under
from backfill.read.typed import group_frames, group_starts
from backfill.records import FILE, ROW

__all__ = ["Rest", "rows_at"]


class Rest:
    """Fetches the columns that were left out, of the row groups that hold rows which are asked for.

    Rows are asked for in their order as a rule: then each row group is fetched once at most.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._file = self._group = -1
        self._starts: list[int] = []
        self._frames: Iterator[pl.DataFrame] = iter(())
        self._held = pl.DataFrame()
        self._from = 0

    def is_left(self, files: Sequence[OpenedFile]) -> bool:
        """Whether anything of these files was left out."""
        return any(self._left(opened) for opened in files)

    def added(self, opened: OpenedFile, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, all of this file, with what was left out of them. Raises ExportError."""
        left = self._left(opened)
        if not left:
            return rows
        if self._file != opened.file.position:
            self._file, self._group, self._starts = opened.file.position, -1, group_starts(opened.file)
        rows = rows.sort(ROW)
        numbers: list[int] = rows[ROW].to_list()
        parts = []
        for group, together in groupby(numbers, lambda number: bisect_right(self._starts, number) - 1):
            parts.append(self._taken(opened, group, list(together), left))
        whole = under(opened, self._columns, pl.concat(parts), rows[ROW])
        return rows.with_columns(whole.get_column(name) for name in left)

    def _left(self, opened: OpenedFile) -> list[str]:
        wanted = self._columns.wanted
        if wanted is None or not opened.file.stored or opened.file.format != "parquet":
            return []
        hive = dict(opened.file.hive)
        return [name for name in opened.schema if name not in hive and not holds(name, wanted)]

    def _taken(self, opened: OpenedFile, group: int, numbers: list[int], left: list[str]) -> pl.DataFrame:
        """The rows of one row group by their numbers, which ascend."""
        if self._group != group or numbers[0] < self._from:
            self._group, self._from = group, self._starts[group]
            self._frames, self._held = group_frames(opened.file, group, left), pl.DataFrame()
        found = []
        while True:
            end = self._from + self._held.height
            here = [number - self._from for number in numbers if number < end]
            if here:
                found.append(self._held[here])
                numbers = numbers[len(here) :]
            if not numbers:
                return pl.concat(found)
            following = next(self._frames, None)
            if following is None:
                raise ExportError(f"{opened.file.name}: has fewer rows than before", hint="run again")
            self._from, self._held = end, following


def rows_at(frame: pl.DataFrame, places: Collection[tuple[int, int]]) -> pl.DataFrame:
    """The rows of a frame that stand at these places (FILE, ROW)."""
    wanted = pl.DataFrame(
        {FILE: [file for file, _ in places], ROW: [row for _, row in places]},
        schema={FILE: frame.schema[FILE], ROW: frame.schema[ROW]},
    )
    return frame.join(wanted, on=[FILE, ROW], how="semi", maintain_order="left")
