"""A mapping over an export's columns → a shaper, which turns chunks of rows into events and problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from backfill.errors import MappingError, MappingProblem, SettingsError
from backfill.identity import twin
from backfill.mapping import HashId, Mapping
from backfill.records import FILE, ROW, Chunk, Rejection
from backfill.shape.columns import Columns
from backfill.shape.event import EventPlan, compile_event, compile_where
from backfill.shape.gather import gathered
from backfill.shape.group import GROUP, KEY, Grouping, adjacent, compile_grouping, has_sql
from backfill.shape.layers import Layers, roots
from backfill.shape.leaf import Check, Leaves
from backfill.shape.problems import advice
from backfill.shape.since import Since, compile_since

__all__ = [
    "EVENT",
    "HEAD",
    "ID",
    "KEY",
    "NAME",
    "TAIL",
    "TIME",
    "Notice",
    "Shaped",
    "Shaper",
    "compile_shaper",
]

# Columns of Shaped.events beside FILE and ROW.
EVENT, NAME, ID, TIME, HEAD, TAIL = ":event", ":name", ":id", ":time", ":head", ":tail"
# A clock that runs ahead, here or at the shop, is no reason to refuse; a wrong zone or year is.
CLOCK_TOLERANCE = timedelta(minutes=10)
SHOWN = 200
MAX_FAILURES = 100
# Polars panics over what its calendar does not have, such as the year of PostgreSQL's infinity.
SQL_FAILS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that does not stop an event: `count` of them, and one as an example."""

    code: str
    field: str
    count: int
    file: int
    row: int
    value: str
    severity: str = "notice"


@dataclass(frozen=True, slots=True)
class Shaped:
    """What became of a chunk.

    `events`: FILE, ROW, EVENT (UInt16, its position in the mapping), NAME, ID (for a hash its digits), TIME
    (Datetime µs UTC), HEAD and TAIL (the JSON around the id), and KEY of its group under group_by. `invalid`
    has an entry an event; `rows` are the rows that were read, with FILE and ROW, and under group_by GROUP.
    `ghosts` are the rejected events that have an ID: FILE, ROW, EVENT, ID. `groups` are the groups under group_by, of
    the rows that were not filtered: KEY, and FILE and ROW as their events have them; without group_by it is empty.
    `older` of the filtered rows are older than what `source.since` asks for; they are not in `rows`, which has SINCE.
    """

    rows: pl.DataFrame
    filtered: int
    mapped: int
    events: pl.DataFrame
    ghosts: pl.DataFrame
    groups: pl.DataFrame
    invalid: list[Rejection]
    notices: list[Notice]
    older: int = 0


class Failures:
    """Counts the rows on which SQL fails: each costs some ten runs of the mapping over parts of its chunk."""

    def __init__(self) -> None:
        self._count = 0

    def met(self, error: Exception) -> str:
        """The error's reason. Raises SettingsError beyond MAX_FAILURES."""
        self._count += 1
        reason = str(error).strip().splitlines()[0][:SHOWN]
        if self._count > MAX_FAILURES:
            raise SettingsError(
                f"the mapping's SQL fails for more than {MAX_FAILURES} rows of a chunk: {reason}",
                hint="TRY_CAST gives null where CAST fails",
            )
        return reason


@dataclass
class Shaper:
    """Rows → events, by expressions that were compiled once."""

    mapping: Mapping
    where: pl.Expr | None
    numbers: list[pl.Expr]
    row_checks: list[Check]
    plans: list[EventPlan]
    grouping: Grouping | None = None
    plain: list[str] = field(default_factory=list)
    columns: Columns = field(default_factory=lambda: Columns({}))
    where_layers: Layers = field(default_factory=Layers)
    where_wanted: frozenset[str] = frozenset()
    has_sql: bool = False
    since: Since | None = None

    def whole_groups(self, chunks: Iterable[Chunk], folder: Path | None = None) -> Iterator[Chunk]:
        """The chunks, cut between groups under group_by.

        `folder` is where groups whose rows are not adjacent are gathered, on disk; None is the system's.
        """
        if self.grouping is None:
            return iter(chunks)
        if self.grouping.adjacent:
            return adjacent(chunks, self.columns, self.grouping.keys)
        return gathered(chunks, self.columns, self.grouping.keys, folder)

    def shape(self, rows: pl.DataFrame) -> Shaped:
        """The events of some rows (as `whole_groups` gives them).

        A row on which the mapping's SQL fails, such as a CAST, is rejected. Raises SettingsError when very many are.
        """
        if self.since is None:
            return self._shape_all(rows)
        newer = self.since.newer(rows)
        shaped = self._shape_all(newer)
        older = rows.height - newer.height
        return replace(shaped, filtered=shaped.filtered + older, older=older)

    def _shape_all(self, rows: pl.DataFrame) -> Shaped:
        try:
            return self._shape(rows)
        except SQL_FAILS as error:
            if not self.has_sql:
                raise
            return self._shape_around(rows, error, Failures())

    def _shape_around(self, rows: pl.DataFrame, error: Exception, failures: Failures) -> Shaped:
        """Halve the rows until those on which the SQL fails stand alone."""
        groups = rows[GROUP].unique(maintain_order=True) if self.grouping else None
        units = rows.height if groups is None else len(groups)
        if units <= 1:
            return self._failed(rows, failures.met(error))
        middle = units // 2
        if groups is None:
            halves = [rows.head(middle), rows.slice(middle)]
        else:
            first = pl.col(GROUP).is_in(groups.head(middle).implode())
            halves = [rows.filter(first), rows.filter(~first)]
        shaped = []
        for half in halves:
            try:
                shaped.append(self._shape(half))
            except SQL_FAILS as again:
                shaped.append(self._shape_around(half, again, failures))
        return Shaped(
            rows,
            sum(part.filtered for part in shaped),
            sum(part.mapped for part in shaped),
            pl.concat(part.events for part in shaped),
            pl.concat(part.ghosts for part in shaped),
            pl.concat(part.groups for part in shaped),
            [bad for part in shaped for bad in part.invalid],
            [notice for part in shaped for notice in part.notices],
        )

    def _failed(self, rows: pl.DataFrame, reason: str) -> Shaped:
        """One row or group, without events."""
        place = rows[FILE][0], rows[ROW][0]
        invalid = [Rejection(*place, "sql_failed", reason) for _ in self.plans]
        none = self._shape(rows.clear())
        groups = rows.head(1).select(KEY, FILE, ROW) if self.grouping else none.groups
        return Shaped(rows, 0, rows.height, none.events, none.ghosts, groups, invalid, [])

    def kept(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of some rows that `source.where` keeps, with columns of its own. Raises what Polars does over SQL."""
        if self.where is None:
            return rows
        return self.where_layers.apply(rows.with_columns(self.numbers), self.where_wanted).filter(self.where)

    def _shape(self, rows: pl.DataFrame) -> Shaped:
        kept = self.kept(rows)
        source = kept if self.grouping is None else self.grouping.apply(kept, self.plain)
        frames: list[pl.DataFrame] = []
        ghosts: list[pl.DataFrame] = []
        invalid: list[Rejection] = []
        notices: list[Notice] = []
        made = pl.zeros(source.height, pl.Boolean, eager=True)
        for plan in self.plans:
            chosen = source.with_columns(plan.numbers) if plan.numbers else source
            if plan.where is not None:
                holds = chosen.select(plan.where.alias("")).to_series()
                made |= holds
                chosen = chosen.filter(holds)
            else:
                made = ~pl.zeros(source.height, pl.Boolean, eager=True)
            events, ghost, bad, noticed = self._events(plan, chosen)
            frames.append(events)
            ghosts.append(ghost)
            invalid += bad
            notices += noticed
        unused = 0 if made.all() else self._rows_in(kept, source.filter(~made))
        return Shaped(
            rows,
            rows.height - kept.height + unused,
            kept.height - unused,
            pl.concat(frames),
            pl.concat(ghosts),
            source.select(KEY, FILE, ROW) if self.grouping else pl.DataFrame(),
            invalid,
            notices,
        )

    def finish_id(self, events: pl.DataFrame, occurrences: pl.Series | None = None) -> pl.DataFrame:
        """`events` with whole ids: a hash's prefix is put before its digits, and twins get digits of their
        own.

        `occurrences` has for each event which of its twins it is, from 0.
        """
        if occurrences is not None and (occurrences > 0).any():
            digits = [twin(d, o) for d, o in zip(events[ID].to_list(), occurrences.to_list(), strict=True)]
            events = events.with_columns(pl.Series(ID, digits, dtype=pl.String))
        prefixes = {plan.index: self.prefix(plan.index) for plan in self.plans if self.prefix(plan.index)}
        if not prefixes:
            return events
        before = pl.col(EVENT).replace_strict(prefixes, default="", return_dtype=pl.String)
        return events.with_columns(pl.concat_str([before, pl.col(ID)]).alias(ID))

    def prefix(self, index: int) -> str:
        spec = self.mapping.events[index].uniqueId
        return spec.prefix if isinstance(spec, HashId) else ""

    def _rows_in(self, rows: pl.DataFrame, groups: pl.DataFrame) -> int:
        if self.grouping is None or not groups.height:
            return groups.height
        return rows.filter(pl.col(GROUP).is_in(groups[GROUP].implode())).height

    def _events(
        self, plan: EventPlan, frame: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame, list[Rejection], list[Notice]]:
        frame = plan.layers.apply(frame, plan.wanted)
        checks = _suspected(frame, self.row_checks + plan.checks)
        frame = plan.layers.apply(frame, roots(part for check in checks for part in (check.bad, check.shown)))
        rejecting = [check.bad for check in checks if check.severity == "reject"]
        others = [check for check in checks if check.severity != "reject"]
        fine, wrong = frame, frame.clear()
        if rejecting:
            bad = frame.select(pl.any_horizontal(rejecting).alias("")).to_series()
            if bad.any():
                fine, wrong = frame.filter(~bad), frame.filter(bad)
        key = [KEY] if self.grouping else []
        number = pl.lit(plan.index, dtype=pl.UInt16).alias(EVENT)
        events = fine.select(
            FILE,
            ROW,
            number,
            plan.name.alias(NAME),
            plan.id.alias(ID),
            plan.time.alias(TIME),
            plan.head.alias(HEAD),
            plan.tail.alias(TAIL),
            *key,
        )
        ghosts = wrong.select(FILE, ROW, number, plan.id.alias(ID))
        return events, ghosts.drop_nulls(ID), _rejections(wrong, checks), _notices(fine, others)


def compile_shaper(
    mapping: Mapping,
    schema: MappingOf[str, pl.DataType],
    now: datetime,
) -> Shaper:
    """The shaper of a mapping over an export's columns; `now` is the time that no event may be later than.

    Raises MappingError with all that is wrong.
    """
    problems: list[MappingProblem] = []
    columns = Columns(schema)
    # Its own names: its columns are still there when the events' layers are computed.
    rows = Leaves(mapping, columns, Layers("where"))
    where = compile_where(rows, ("source", "where"), mapping.source.where)
    where_numbers, row_checks = rows.numbers(), rows.checks
    problems += rows.problems
    grouping = None
    group_columns = columns
    hashed = mapping.source.hashed(schema)
    if mapping.source.group_by is not None:
        grouping, leaves = compile_grouping(mapping, columns, row_checks)
        problems += leaves.problems
        row_checks = []
        group_columns = Columns({**schema, **grouping.schema})
    plans = []
    for index in range(len(mapping.events)):
        plan, wrong = compile_event(
            mapping,
            index,
            group_columns,
            grouping.aggregated if grouping else {},
            grouping.checks[index] if grouping else [],
            now + CLOCK_TOLERANCE,
            hashed,
        )
        plans.append(plan)
        problems += wrong
    since = compile_since(mapping, columns)
    if isinstance(since, MappingProblem):
        problems.append(since)
    if problems or isinstance(since, MappingProblem):
        raise MappingError(str(mapping.path), problems)
    plain = _plain(plans, schema)
    where_wanted = roots([*([] if where is None else [where]), *(check.bad for check in rows.checks)])
    return Shaper(
        mapping,
        where,
        where_numbers,
        row_checks,
        plans,
        grouping,
        plain,
        columns,
        rows.layers,
        where_wanted,
        has_sql(mapping),
        since,
    )


def _plain(plans: list[EventPlan], schema: MappingOf[str, pl.DataType]) -> list[str]:
    """The columns that the events read, so that grouping makes first values of no others."""
    used: set[str] = set()
    for plan in plans:
        parts = [plan.name, plan.id, plan.time, plan.head, plan.tail, *plan.numbers]
        parts += [plan.where] if plan.where is not None else []
        parts += [part for check in plan.checks for part in (check.bad, check.shown)]
        for part in parts:
            used.update(part.meta.root_names())
        used.update(plan.layers.roots())
    return [name for name in schema if name in used]


def _suspected(frame: pl.DataFrame, checks: list[Check]) -> list[Check]:
    """The checks that may fail in these rows. In most chunks that is none, and none is made row by row."""
    if not checks:
        return []
    found = frame.select(check.suspected.alias(str(i)) for i, check in enumerate(checks)).row(0)
    return [check for check, suspected in zip(checks, found, strict=True) if suspected]


def _rejections(frame: pl.DataFrame, checks: list[Check]) -> list[Rejection]:
    if not frame.height:
        return []
    flags = frame.select(FILE, ROW, *(check.bad.alias(f"b{i}") for i, check in enumerate(checks)))
    shown = frame.select(ROW, *(check.shown.cast(pl.String).alias(f"s{i}") for i, check in enumerate(checks)))
    result = []
    for flag, values in zip(flags.iter_rows(), shown.iter_rows(), strict=True):
        wrong = [i for i in range(len(checks)) if flag[i + 2] and checks[i].severity != "notice"]
        stops = [i for i in wrong if checks[i].severity == "reject"]
        # An identifier that was left out is why none is left.
        told = wrong if any(checks[i].code == "no_identifier" for i in stops) else stops
        details = [_detail(checks[i], values[i + 1]) for i in told]
        main = next((i for i in stops if checks[i].column), stops[0])
        result.append(
            Rejection(
                flag[0],
                flag[1],
                checks[main].code,
                "; ".join(details),
                checks[main].column,
                _short(values[main + 1]),
            )
        )
    return result


def _detail(check: Check, value: str | None) -> str:
    what = advice(check.code).title
    cell = f' "{_short(value)}"' if value else ""
    where = f' in column "{check.column}"' if check.column else ""
    place = check.field + cell + where
    return f"{place}: {what}" if place else what


def _short(value: str | None) -> str:
    text = value or ""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _notices(frame: pl.DataFrame, checks: list[Check]) -> list[Notice]:
    if not checks or not frame.height:
        return []
    counts = frame.select(check.bad.cast(pl.UInt32).sum().alias(str(i)) for i, check in enumerate(checks)).row(0)
    notices = []
    for check, count in zip(checks, counts, strict=True):
        if count:
            place = frame.filter(check.bad).head(1).select(FILE, ROW, check.shown.cast(pl.String).alias("")).row(0)
            notices.append(Notice(check.code, check.field, count, place[0], place[1], _short(place[2]), check.severity))
    return notices
