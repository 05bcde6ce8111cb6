"""What becomes of one row of an export, in words: its events, or why it has none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from backfill.check import name_in, settings_if_any
from backfill.ledger import Ledger
from backfill.ledger import Target as LedgerTarget
from backfill.mapping import duration_words, parse_duration
from backfill.plan import Plan
from backfill.printable import named
from backfill.records import FILE, ROW, Chunk
from backfill.settings import Flags, kept_back
from backfill.shape import TIME, Columns, Notice, Shaped, advice
from backfill.shape.group import GROUP
from backfill.shape.texts import as_text
from backfill.shape.where import Where
from backfill.since import Reading, reading_from, shown

__all__ = ["Fate", "Waits", "fates", "waits_of"]


@dataclass(frozen=True)
class Fate:
    """What becomes of the row at `place`: its events (with whole ids), what is to be said, and what mends it."""

    place: str
    events: pl.DataFrame
    words: list[str]
    fixes: list[str]


@dataclass(frozen=True)
class Waits:
    """What a run would leave out, right as it is: rows that `reading` passes over, and events under the `age` (`72h`),
    which are `after` a moment.
    """

    reading: Reading | None
    age: str
    after: datetime


def waits_of(planned: Plan, path: Path, flags: Flags, now: datetime) -> Waits:
    """What a run of this mapping would leave out now, as far as settings and ledger are known."""
    settings = settings_if_any(path, planned, flags)
    reading = None
    if settings is not None and planned.shaper.since is not None:
        target = LedgerTarget(settings.base_url, settings.store)
        with Ledger.read(settings.state, target, url=settings.ledger) as ledger:
            name = name_in(settings.state, path)
            reading = reading_from(planned, ledger, name, everything=bool(flags.files))
    age = kept_back(planned.mapping.delivery, flags)
    return Waits(reading, age, now - parse_duration(age or "0s"))


def fates(planned: Plan, chunk: Chunk, row: int, waits: Waits) -> Iterator[Fate]:
    """What becomes of each row of this number in a chunk, as `whole_groups` gives it: files may have one each."""
    for one in chunk.unreadable:
        if one.row == row:
            what = advice(one.problem)
            place = f"{planned.export.name(one.file)}:{row}"
            yield Fate(place, pl.DataFrame(), [f"it can't be read: {one.detail or what.title}"], [what.fix])
    hits = chunk.frame.filter(pl.col(ROW) == row) if chunk.frame.height else chunk.frame
    for at in range(hits.height):
        yield _fate(planned, chunk.frame, hits[at], waits)


def _fate(planned: Plan, frame: pl.DataFrame, mine: pl.DataFrame, waits: Waits) -> Fate:
    shaper = planned.shaper
    grouped = shaper.grouping is not None
    rows = frame.filter(pl.col(GROUP) == mine[GROUP][0]) if grouped else mine
    shaped = shaper.shape(rows)
    events = shaper.finish_id(shaped.events)
    place = _place(planned, mine)
    words: list[str] = []
    fixes: list[str] = []
    failed = any(one.problem == "sql_failed" for one in shaped.invalid)
    kept, notices = (rows, []) if failed else shaper.chosen(rows)
    unchosen = shaper.where is not None and not kept.join(mine, on=[FILE, ROW], how="semi").height
    if unchosen and shaper.where is not None:
        words.append("left out by " + _condition(shaper.where, notices if not grouped else shaper.chosen(mine)[1]))
    if grouped and kept.height:
        words += _group_words(planned, mine, shaped, unchosen=unchosen)
    if shaped.invalid:
        words += [f"rejected: {one.detail}" for one in shaped.invalid]
        fixes += [advice(one.problem).fix for one in shaped.invalid]
    elif not events.height:
        if kept.height:
            conditions = [plan.where for plan in shaper.plans if plan.where is not None]
            words += ["left out by " + _condition(where, shaped.notices) for where in conditions]
        fixes.append("mend the cell, or the condition in the mapping")
    words += _waiting(planned, mine, events, waits)
    return Fate(place, events, list(dict.fromkeys(words)), list(dict.fromkeys(fixes)))


def _place(planned: Plan, rows: pl.DataFrame) -> str:
    return f"{planned.export.name(rows[FILE][0])}:{rows[ROW][0]}"


def _condition(where: Where, notices: Sequence[Notice]) -> str:
    """The condition, and if it is null, by which empty columns."""
    field = next((one.field for one in notices if one.field.startswith(where.field)), where.field)
    return f"{field}: {' '.join(where.text.split())}"


def _group_words(planned: Plan, mine: pl.DataFrame, shaped: Shaped, *, unchosen: bool) -> Iterator[str]:
    """Which group it is of, unless it is the row that the group's events are told by."""
    file, row = shaped.groups.select(FILE, ROW).row(0)
    if (file, row) == mine.select(FILE, ROW).row(0):
        return
    assert planned.shaper.grouping is not None
    columns = Columns(planned.export.schema)
    found = [(name, columns.find(name)) for name in planned.shaper.grouping.keys]
    values = [
        f"{name} {named([str(mine.select(as_text(*column).alias('')).item())])}" for name, column in found if column
    ]
    first = f"whose first row is {planned.export.name(file)}:{row}"
    yield f"it is of the group of {', '.join(values)}, {first}" + ("; that goes without it" if unchosen else "")


def _waiting(planned: Plan, mine: pl.DataFrame, events: pl.DataFrame, waits: Waits) -> Iterator[str]:
    """Why a run would leave it out for now, or for good."""
    reading, since = waits.reading, planned.shaper.since
    if reading is not None and reading.start is not None and reading.mark is not None and since is not None:
        value = since.values(mine)[0]
        if value is not None and value < reading.start:
            yield (
                f"a run leaves it out: its {reading.column} is {shown(value, reading.is_time)}, and rows are read from "
                f"{shown(reading.start, reading.is_time)} on (source.since: all is delivered up to "
                f"{shown(reading.mark, reading.is_time)}; lookback {reading.lookback})"
            )
    if waits.age and events.height and (events[TIME] > waits.after).any():
        age = duration_words(waits.age)
        yield f"a run keeps it back until it is {age} old (not_newer_than)"
