"""`where`: the rows that it chooses, and those of which it says neither yes nor no."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from backfill.mapping import Path
from backfill.records import FILE, ROW
from backfill.shape.leaf import Leaves
from backfill.shape.problems import Notice
from backfill.shape.sql import NUMBER_PREFIX, SqlError, read_sql, type_of

__all__ = ["Where", "compile_where"]

NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Where:
    """The SQL `text` at `field` of the mapping: it `holds`, or it is `unknown`, as SQL's null is; such a row is left
    out too. `columns` are those of the export that it reads, each with whether its cell is empty.
    """

    field: str
    text: str
    holds: pl.Expr
    unknown: pl.Expr
    columns: tuple[tuple[str, pl.Expr], ...] = ()

    def notices(self, frame: pl.DataFrame) -> list[Notice]:
        """The rows of which it is unknown, by the columns that are empty in them."""
        unknown = frame.filter(self.unknown)
        if not unknown.height:
            return []
        empty = unknown.select(
            FILE, ROW, *(expression.alias(f"e{i}") for i, (_, expression) in enumerate(self.columns))
        )
        keys = empty.columns[2:]
        groups = (
            empty.group_by(keys, maintain_order=True).agg(pl.len(), pl.col(FILE).first(), pl.col(ROW).first())
            if keys
            else empty.select(pl.len(), pl.col(FILE).first(), pl.col(ROW).first())
        )
        return [
            Notice("where_unknown", self._told(flags), count, file, row, "")
            for *flags, count, file, row in groups.iter_rows()
        ]

    def _told(self, empty: list[bool]) -> str:
        names = [f'"{name}"' for (name, _), flag in zip(self.columns, empty, strict=True) if flag]
        if not names:
            return self.field
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        are = "is" if len(names) == 1 else "are"
        return f"{self.field} (where {', '.join(names[:NAMES_SHOWN])}{more} {are} empty)"


def compile_where(leaves: Leaves, path: Path, where: str | None) -> Where | None:
    """The rows for which the SQL holds; a row whose text is no number where one is wanted passes, for its check."""
    if where is None:
        return None
    field = "source.where" if path[0] == "source" else f"events[{path[1]}].where"
    if path in leaves.aggregated:
        column = leaves.aggregated[path]
        if not _is_condition(leaves, path, leaves.columns.schema[column]):
            return None
        return Where(field, where, pl.col(column).fill_null(value=False), pl.col(column).is_null())
    sql = read_sql(where, leaves.columns, wants_number=False)
    try:
        dtype = type_of(sql, leaves.columns)
    except SqlError as error:
        leaves.problem(path, f"this SQL does not fit the columns: {error}", "CAST a text column first")
        return None
    if not _is_condition(leaves, path, dtype):
        return None
    condition = sql.expression()
    passes = pl.lit(value=False)
    for name in sql.numbers:
        number = leaves.number_column(path, name)
        text = pl.col(name)
        passes |= text.is_not_null() & (text.str.strip_chars() != "") & number.is_null()
    read = sorted({name.removeprefix(NUMBER_PREFIX) for name in condition.meta.root_names()})
    columns = tuple((name, _is_empty(name, leaves.columns.schema[name])) for name in read)
    holds = condition.fill_null(value=False)
    return Where(field, where, holds | passes if sql.numbers else holds, condition.is_null() & ~passes, columns)


def _is_empty(name: str, dtype: pl.DataType) -> pl.Expr:
    empty = pl.col(name).is_null()
    return empty | (pl.col(name).str.strip_chars() == "") if dtype == pl.String else empty


def _is_condition(leaves: Leaves, path: Path, dtype: pl.DataType) -> bool:
    if dtype == pl.Boolean:
        return True
    leaves.problem(path, f"this SQL gives {dtype}, where true or false is needed", "compare it with something")
    return False
