"""group_by: the rows of a group → one row with their first values, aggregates and lists."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import polars as pl

from backfill.mapping import Event, Mapping, Node, Path, Value
from backfill.records import FILE, ROW, Chunk, Rejection
from backfill.shape.columns import Columns
from backfill.shape.event import extra
from backfill.shape.layers import Layers, roots
from backfill.shape.leaf import Check, Leaves
from backfill.shape.sql import NUMBER_PREFIX, SqlError, read_sql, type_of
from backfill.shape.texts import as_text

__all__ = [
    "GROUP",
    "INCOMPLETE",
    "KEY",
    "Grouping",
    "adjacent",
    "compile_grouping",
    "fields_of",
    "has_sql",
    "key_text",
    "names_group",
    "parts_of",
]

GROUP = ":group"
KEY = ":key"
# Whether a row of the group could not be read: what is left of an order must not be sent as the order.
INCOMPLETE = ":incomplete"
SIGNS = re.compile(r'[,;\t|"\r\n]+')
JSON_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.")
# Only those that a number has to have to be written otherwise than in its canonical text.
JSON_FRACTION = re.compile(r"-?\d+(?:\.\d+(?:[eE][-+]?\d+)?|[eE][-+]?\d+)")


@dataclass
class Grouping:
    """How rows become groups. `aggregated` names the column that stands for a path's aggregate or collect."""

    keys: list[str]
    adjacent: bool = True
    aggregated: dict[Path, str] = field(default_factory=dict)
    checks: dict[int, list[Check]] = field(default_factory=dict)
    schema: dict[str, pl.DataType] = field(default_factory=dict)
    numbers: list[pl.Expr] = field(default_factory=list)
    layers: Layers = field(default_factory=Layers)
    aggregates: list[pl.Expr] = field(default_factory=list)

    def apply(self, rows: pl.DataFrame, plain: list[str]) -> pl.DataFrame:
        """One row for each GROUP of `rows`: `plain` columns, aggregates, KEY, and FILE and ROW of its first
        row.
        """
        rows = self.layers.apply(rows.with_columns(self.numbers), roots(self.aggregates))
        first = [pl.col(name).drop_nulls().first() for name in plain]
        place = [pl.col(FILE).first(), pl.col(ROW).first(), pl.col(KEY).first(), pl.col(INCOMPLETE).any()]
        return rows.group_by(GROUP, maintain_order=True).agg(*first, *self.aggregates, *place)


def key_text(columns: Columns, keys: list[str]) -> pl.Expr:
    """The canonical text of a row's group; null where one of its columns has no value."""
    texts = [as_text(*found) for found in map(columns.find, keys) if found is not None]
    parts = [
        pl.when(text != "").then(pl.concat_str([text.str.len_bytes().cast(pl.String), pl.lit(":"), text]))
        for text in texts
    ]
    return pl.concat_str(parts)


def adjacent(chunks: Iterable[Chunk], columns: Columns, keys: list[str]) -> Iterator[Chunk]:
    """The chunks cut so that no group is in two of them; rows get GROUP (a number in the chunk) and KEY (a text).

    The last group of each chunk waits for the next, because its rows may go on there.
    """
    key = key_text(columns, keys).alias(KEY)
    waiting: list[pl.DataFrame] = []
    lost: list[Rejection] = []
    for chunk in chunks:
        lost += sorted([*chunk.unreadable, *chunk.lost], key=lambda one: (one.file, one.row))
        frame = chunk.frame.with_columns(key, pl.lit(False).alias(INCOMPLETE))
        empty = frame.clear().with_columns(pl.Series(GROUP, [], dtype=pl.UInt32))
        if not frame.height:
            yield Chunk(empty, chunk.unreadable, chunk.unread)
            continue
        if waiting and _goes_on(waiting[0][KEY][0], frame):
            # A group of many chunks: put together once, when it ends.
            waiting.append(frame)
            yield Chunk(empty, chunk.unreadable)
            continue
        frame = pl.concat([*waiting, frame]).with_columns(pl.col(KEY).rle_id().alias(GROUP))
        frame, lost = _mark(frame, lost, columns, keys)
        last = pl.col(GROUP) == frame[GROUP][-1]
        waiting = [frame.filter(last).drop(GROUP)]
        yield Chunk(frame.filter(~last), chunk.unreadable)
    if waiting:
        frame = pl.concat(waiting).with_columns(pl.col(KEY).rle_id().alias(GROUP))
        yield Chunk(_mark(frame, lost, columns, keys)[0])


def _mark(
    frame: pl.DataFrame, lost: list[Rejection], columns: Columns, keys: list[str]
) -> tuple[pl.DataFrame, list[Rejection]]:
    """Mark the groups that lost a row: those around it which its text names, or which go on behind it.

    The lost rows behind the last row are given back: what follows them is not known yet.
    """
    if not lost:
        return frame, lost
    places = frame.select(FILE, ROW).rows()
    found = [one for one in map(columns.find, keys) if one is not None]
    texts = frame.select(as_text(*one).alias(str(i)) for i, one in enumerate(found))
    groups = frame[GROUP]
    marked: set[int] = set()
    for one in lost:
        after = bisect_left(places, (one.file, one.row))
        around = [at for at in (after - 1, after) if 0 <= at < len(places)]
        if len(around) == 2 and groups[around[0]] == groups[around[1]]:
            marked.add(groups[after])
        else:
            fields = fields_of(one.text)
            marked.update(groups[at] for at in around if names_group(fields, texts.row(at)))
    behind = [one for one in lost if (one.file, one.row) > places[-1]]
    if not marked:
        return frame, behind
    hit = pl.col(GROUP).is_in(pl.Series(sorted(marked), dtype=groups.dtype).implode())
    return frame.with_columns(pl.col(INCOMPLETE) | hit), behind


def fields_of(text: str) -> frozenset[str]:
    """What may be fields in a row that can't be read: all that stands between separators, quotes and JSON's signs."""
    fields = {part.strip(" :{}[]") for part in SIGNS.split(text)}
    if "\\" in text:
        fields.update(part.strip(" :{}[]") for part in SIGNS.split(JSON_ESCAPE.sub(_unescaped, text)))
    # 7 and 7.0 are one key where the column holds doubles.
    numbers = (float(part) for part in tuple(fields) if JSON_FRACTION.fullmatch(part))
    return frozenset(fields.union(str(number).removesuffix(".0").replace("e+", "e") for number in numbers))


def _unescaped(escape: re.Match[str]) -> str:
    try:
        return str(json.loads(f'"{escape[0]}"'))
    except ValueError:
        return escape[0]


def names_group(fields: AbstractSet[str], key: Sequence[str | None]) -> bool:
    """Whether every part of a group's key is among these fields of a row."""
    return all(part is not None and parts_of(part) <= fields for part in key)


def parts_of(key: str) -> frozenset[str]:
    """What a key of a group looks like among the fields of a row."""
    return frozenset(part.strip(" :{}[]") for part in SIGNS.split(key))


def _goes_on(key: str | None, frame: pl.DataFrame) -> bool:
    """Whether all rows are of this group."""
    return bool(frame.select(pl.col(KEY).eq_missing(pl.lit(key, dtype=pl.String)).all()).item())


def compile_grouping(mapping: Mapping, columns: Columns, row_checks: list[Check]) -> tuple[Grouping, Leaves]:
    """The grouping of a mapping with group_by, and the Leaves that hold what is wrong with it.

    `row_checks` are those of `source.where`: a row that fails one rejects its group.
    """
    group_by = mapping.source.group_by
    grouping = Grouping(list(group_by.columns if group_by else ()), group_by is None or group_by.adjacent)
    shared = [_lift(grouping, check) for check in row_checks]
    leaves = Leaves(mapping, columns)
    for name in grouping.keys:
        if columns.find(name) is None:
            leaves.problem(("source", "group_by"), f'no column "{name}"')
    for index, event in enumerate(mapping.events):
        first = len(leaves.checks)
        for path, value in _values(event, index):
            if isinstance(value, str) or value.sql is not None:
                _sql(grouping, leaves, path, value)
            elif value.collect is not None:
                _collect(grouping, leaves, path, value.collect)
        grouping.checks[index] = shared + [_lift(grouping, check) for check in leaves.checks[first:]]
        grouping.checks[index].append(Check("group_incomplete", "group_by", pl.col(INCOMPLETE), pl.lit(""), ""))
        grouping.checks[index].append(
            Check("missing_group", "group_by", pl.col(KEY).is_null(), pl.lit(""), ", ".join(grouping.keys))
        )
    grouping.numbers = leaves.numbers()
    grouping.layers = leaves.layers
    return grouping, leaves


def _sql(grouping: Grouping, leaves: Leaves, path: Path, value: Value | str) -> None:
    """Only aggregates are made here: other SQL is over the group's first values, as any plain column is."""
    text = value if isinstance(value, str) else value.sql or ""
    number = isinstance(value, Value) and (value.type in ("number", "integer") or path[-1] == "value")
    sql = read_sql(text, leaves.columns, wants_number=number)
    if not sql.aggregate:
        return
    name = f":aggregate{len(grouping.aggregates)}"
    try:
        type_of(sql, leaves.columns)
        numbers = {f"{NUMBER_PREFIX}{column}": pl.Float64() for column in sql.numbers}
        frame = pl.DataFrame(schema={**leaves.columns.schema, **numbers, GROUP: pl.UInt32()})
        dtype = frame.group_by(GROUP).agg(sql.expression().alias(name)).schema[name]
    except (SqlError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().splitlines()[0]
        leaves.problem(path, f"this SQL does not fit the columns: {reason}", "CAST a text column first")
        return
    if isinstance(dtype, pl.List):
        leaves.problem(
            path, "this SQL gives a value for each row of the group", "put columns in an aggregate: FIRST(...)"
        )
        return
    for column in sql.numbers:
        leaves.number_column(path, column)
    grouping.aggregates.append(sql.expression().alias(name))
    grouping.aggregated[path] = name
    grouping.schema[name] = dtype


def _collect(grouping: Grouping, leaves: Leaves, path: Path, item: dict[str, Node]) -> None:
    name = f":aggregate{len(grouping.aggregates)}"
    text = leaves.layers.let(extra(leaves, (*path, "collect"), item).json())
    listed = pl.concat_str([pl.lit("["), text.drop_nulls().str.join(","), pl.lit("]")])
    grouping.aggregates.append(pl.when(text.is_not_null().any()).then(listed).alias(name))
    grouping.aggregated[path] = name
    grouping.schema[name] = pl.String()


def _lift(grouping: Grouping, check: Check) -> Check:
    """A check on rows → one on groups: bad where a row is, shown by the first such row."""
    bad, shown = f":bad{len(grouping.aggregates)}", f":shown{len(grouping.aggregates)}"
    grouping.aggregates.append(check.bad.any().alias(bad))
    grouping.aggregates.append(check.shown.filter(check.bad).first().cast(pl.String).alias(shown))
    grouping.schema[bad], grouping.schema[shown] = pl.Boolean(), pl.String()
    return Check(check.code, check.field, pl.col(bad), pl.col(shown), check.column, check.severity)


def has_sql(mapping: Mapping) -> bool:
    """Whether anything in the mapping is SQL, or may hold some: it can fail on a value."""
    values = [value for index, event in enumerate(mapping.events) for _, value in _values(event, index)]
    found = any(isinstance(value, str) or value.sql is not None or value.collect is not None for value in values)
    return found or mapping.source.where is not None


def _values(event: Event, index: int) -> Iterator[tuple[Path, Value | str]]:
    """Every value of an event with its path, nested ones too; `where` as its text."""
    at: Path = ("events", index)
    if event.where is not None:
        yield (*at, "where"), event.where
    for key in ("eventName", "eventTimestamp", "value", "valueCurrency"):
        yield from _inside((*at, key), getattr(event, key))
    customer = event.customer
    for key in ("id", "email", "phoneNumber", "firstName", "lastName"):
        yield from _inside((*at, "customer", key), getattr(customer, key))
    for key in type(customer.location).model_fields:
        yield from _inside((*at, "customer", "location", key), getattr(customer.location, key))
    yield from _inside((*at, "customer", "customFields"), dict(customer.customFields))
    yield from _inside((*at, "data"), dict(event.data))
    yield from _inside((*at, "data", "$extra"), dict(event.extra))


def _inside(path: Path, node: Node | None) -> Iterator[tuple[Path, Value]]:
    if isinstance(node, Value):
        yield path, node
        yield from _inside((*path, "default"), node.default)
        yield from _inside((*path, "otherwise"), node.otherwise)
    elif isinstance(node, dict):
        for key, item in node.items():
            yield from _inside((*path, key), item)
    elif isinstance(node, list):
        for i, item in enumerate(node):
            yield from _inside((*path, i), item)
