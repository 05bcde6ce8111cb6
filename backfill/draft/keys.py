"""What tells rows apart: a column, line items that repeat one, or several columns together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from backfill.draft.columns import Column
from backfill.draft.names import DEEDS, THINGS, is_keyed, key_rank, time_rank, value_rank
from backfill.records import FILE, ROW
from backfill.shape import Columns

__all__ = [
    "DEED",
    "EMAIL",
    "THING",
    "UNNAMED",
    "Key",
    "Repeats",
    "find_keys",
    "find_repeats",
    "first_of_groups",
    "hash_columns",
]

# A column that varies in more of the groups than this is one of their rows.
VARIES = 0.005
# A totals line or a broken row has no id; its rejection is no reason to take line items for events.
FILLED = 0.98
DEED, THING, EMAIL, UNNAMED = 4, 50, 55, 60
MANY_ROWS = 20
HASHED = 4


@dataclass(frozen=True, slots=True)
class Key:
    """A column that is filled and different in every row."""

    column: Column
    rank: int


@dataclass(frozen=True, slots=True)
class Repeats:
    """Rows that belong together: `groups` of them by `column`, and which columns vary inside of a group.

    `apart` groups come back later in the export.
    """

    column: Column
    groups: int
    rows: int
    apart: int
    varying: frozenset[str]


def find_keys(columns: Sequence[Column]) -> list[Key]:
    """Columns that identify a row, the likeliest first."""
    found = []
    for at, column in enumerate(columns):
        if (
            not (column.unique or column.nearly_unique or not column.rows)
            or column.secret
            or column.long
            or column.kind not in ("text", "integer", "email")
        ):
            continue
        if column.number is not None and column.number.sign:
            continue
        numbered = column.name.slug == "name" and not column.words
        rank = 0 if numbered else None if column.name.role else key_rank(column.name)
        if rank is None and (column.name.role or value_rank(column.name) is not None or column.words > column.rows / 2):
            rank = EMAIL if column.kind == "email" else None
        elif rank is None:
            rank = THING if is_keyed(column.name) else None
            if not THINGS & set(column.name.words):
                rank = UNNAMED if column.rows >= MANY_ROWS and not column.private else None
        if rank is not None and (column.unique or rank <= DEED):
            found.append((rank, at, Key(column, rank)))
    return [key for _, _, key in sorted(found, key=lambda one: one[:2])]


def find_repeats(columns: Sequence[Column], frame: pl.DataFrame) -> Repeats | None:
    """The rows that make one deed together, such as an order's line items: where its id repeats, and what says when
    it was is the same in all rows of one id, or stands in one of them.
    """
    known = Columns({name: dtype for name, dtype in frame.schema.items() if name not in (FILE, ROW)})
    for column in _repeated(columns):
        found = known.find(column.reference)
        if found is None:
            continue
        keyed = frame.with_columns(found[0].cast(pl.String).alias(":key")).drop_nulls(":key")
        groups = keyed[":key"].n_unique()
        # A group's rows that stand apart from each other make more than one run.
        apart = len(keyed[":key"].rle()) - groups
        lines = frozenset(one.reference for one in columns if one.name.slug.startswith(("lineitem_", "line_item_")))
        varying = _varying(columns, keyed, known, groups) | lines
        times = [one for one in columns if one.kind == "time" and (time_rank(one.name) or 0) < 300]
        whose = [one for one in columns if one.kind in ("email", "phone") or one.name.role == "email"]
        steady = [one for one in times + whose if one.reference not in varying]
        if (times or whose) and len(steady) >= (len(times) > 0) + (len(whose) > 0) and varying:
            return Repeats(column, groups, column.rows, apart, varying)
    return None


def _repeated(columns: Sequence[Column]) -> list[Column]:
    found = []
    for at, column in enumerate(columns):
        rank = key_rank(column.name)
        deed = bool(DEEDS & set(column.name.words)) and not THINGS & set(column.name.words)
        # Shopify calls an order's number its name: #1001.
        numbered = column.name.slug == "name" and not column.words
        if column.kind not in ("text", "integer") or column.unique or column.constant:
            continue
        if column.filled < column.rows * FILLED:
            continue
        if column.values and column.distinct < column.rows / 20:
            continue
        if numbered or (rank is not None and (deed or rank <= 1)):
            found.append((0 if numbered else rank or 0, at, column))
    return [column for _, _, column in sorted(found, key=lambda one: one[:2])]


def _varying(columns: Sequence[Column], keyed: pl.DataFrame, known: Columns, groups: int) -> frozenset[str]:
    named = []
    for column in columns:
        found = known.find(column.reference)
        if found is not None and column.kind != "empty":
            value = found[0] if not found[1].is_nested() else found[0].hash()
            named.append((column.reference, value.drop_nulls().n_unique() > 1))
    counts = keyed.group_by(":key").agg(more.alias(str(i)) for i, (_, more) in enumerate(named))
    several = counts.select(pl.exclude(":key").sum())
    limit = VARIES * groups
    return frozenset(name for (name, _), count in zip(named, several.row(0), strict=True) if count > limit)


def first_of_groups(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """One row for each value of a column: in each column the first value that is not null."""
    known = Columns({name: dtype for name, dtype in frame.schema.items() if name not in (FILE, ROW)})
    found = known.find(column)
    assert found is not None
    keyed = frame.with_columns(found[0].cast(pl.String).alias(":key"))
    first = keyed.group_by(":key", maintain_order=True).agg(pl.all().drop_nulls().first())
    return first.drop(":key")


def hash_columns(columns: Sequence[Column], frame: pl.DataFrame, first: Sequence[Column]) -> list[Column]:
    """Few columns that tell rows apart as well as all do; `first` (when, who, how much) come before the others."""
    known = Columns({name: dtype for name, dtype in frame.schema.items() if name not in (FILE, ROW)})
    usable = [one for one in columns if one.kind not in ("empty", "nested", "bytes", "json") and not one.secret]
    usable = [one for one in usable if not one.constant or one in first]
    if not usable:
        return []
    order = [*first, *sorted((one for one in usable if one not in first), key=lambda one: (one.long, -one.distinct))]
    series = {one.reference: known.find(one.reference) for one in order}
    table = frame.select(found[0].cast(pl.String).alias(name) for name, found in series.items() if found is not None)
    most = table.n_unique()
    chosen: list[Column] = []
    count = 0
    for column in order:
        now = table.select([*(one.reference for one in chosen), column.reference]).n_unique()
        if now > count or column in first or (len(chosen) < HASHED and column.distinct > 2 and not column.long):
            chosen.append(column)
            count = now
        if count == most and all(one in chosen for one in first) and len(chosen) >= HASHED:
            break
    return chosen
