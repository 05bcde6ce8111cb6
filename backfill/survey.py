"""The first reading of an export: everything is mapped and checked, before anything is sent.

It counts, gathers examples of each problem, asks the ledger what was delivered before, and decides about every event.
The second reading (`pipeline`) only applies the decisions.

The survey itself reads once. It reads again where only the whole export gives an answer: what the ledger knows of
twins, whose ids depend on it, and the rows behind late problems (conflicting ids, groups apart).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from backfill.errors import ExportError, MappingError
from backfill.index import Index, LateProblem, State, checksum
from backfill.ledger import Ledger, content, key
from backfill.mapping import Draft, HashId, Mapping
from backfill.read import Export, open_export, unread_error
from backfill.records import FILE, ROW, Events, Rejection, UnreadFile
from backfill.shape import (
    EVENT,
    HEAD,
    ID,
    KEY,
    NAME,
    TAIL,
    TIME,
    Columns,
    Notice,
    Shaper,
    advice,
    compile_shaper,
)

__all__ = ["NameStats", "Plan", "ProblemGroup", "Survey", "Tally", "again", "events_of", "plan", "resolve", "survey"]

EXAMPLES = 5
RECENT = timedelta(hours=72)
MANY_NAMES = 50


@dataclass(frozen=True)
class Plan:
    """A mapping over an export whose columns are known."""

    mapping: Mapping
    export: Export
    shaper: Shaper


@dataclass
class ProblemGroup:
    """All rejections of one problem: `count`, and the first few as examples."""

    code: str
    count: int = 0
    examples: list[Rejection] = field(default_factory=list)


@dataclass
class NameStats:
    """Events of one name that are to be sent: how many, from when to when, and how many are under 72 hours old."""

    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    recent: int = 0


@dataclass
class Tally:
    """Rows by what became of them: read = unreadable + filtered + mapped."""

    read: int = 0
    unreadable: int = 0
    filtered: int = 0
    mapped: int = 0


@dataclass
class Survey:
    """What the whole export shows. `index` holds the state of each event that could be made; `changed` the first of the
    changed ones, by their number in it: uniqueId, file, row, eventName. `moved` says that delivered events would get
    other ids.
    """

    rows: Tally = field(default_factory=Tally)
    index: Index = field(default_factory=Index)
    invalid: int = 0
    problems: dict[str, ProblemGroup] = field(default_factory=dict)
    notices: dict[tuple[str, str], Notice] = field(default_factory=dict)
    names: dict[str, NameStats] = field(default_factory=dict)
    changed: dict[int, tuple[str, int, int, str]] = field(default_factory=dict)
    late: list[LateProblem] = field(default_factory=list)
    unread: list[UnreadFile] = field(default_factory=list)
    moved: MappingError | None = None

    def events(self) -> dict[str, int]:
        """Events by state, before anything is sent: total = invalid + duplicate + already_delivered + changed +
        refused + ready + held (they wait, because their file can't be read to its end).
        """
        counts = self.index.counts()
        return {
            "total": self.invalid + len(self.index.states),
            "invalid": self.invalid + counts[State.INVALID],
            "duplicate": counts[State.DUPLICATE],
            "already_delivered": counts[State.DELIVERED],
            "changed": counts[State.CHANGED],
            "refused": counts[State.REFUSED],
            "ready": counts[State.NEW],
            "held": counts[State.HELD],
        }

    @property
    def rejected(self) -> int:
        """Rows and events that can't be sent as they are: unreadable, invalid, or refused before."""
        events = self.events()
        return self.rows.unreadable + events["invalid"] + events["refused"]


Watcher = Callable[[Survey], None]
Rejecter = Callable[[pl.DataFrame, list[Rejection]], None]
CHANGED_SHOWN = 10_000


def plan(draft: Draft, now: datetime, files: Sequence[str] = ()) -> Plan:
    """Open the export of a mapping and compile one over the other. `files`: instead of the mapping's own.

    Raises MappingError with every problem of the mapping, also those that only the export's columns show, and
    ExportError for files that can't be read.
    """
    if draft.source is None:
        raise MappingError(str(draft.path), draft.problems)
    needed = {reference.column for reference in draft.references()}
    try:
        if files:
            source = draft.source.model_copy(update={"files": list(files), "format": None})
            export = open_export(source, Path.cwd(), needed)
        else:
            export = open_export(draft.source, draft.path.parent, needed)
    except Exception:
        # What is wrong with the mapping comes first: its files may be wrong for the same reason.
        if draft.problems:
            raise MappingError(str(draft.path), draft.problems) from None
        raise
    columns = Columns(export.schema)
    names = export.files[0].file.name if len(export.files) == 1 else f"any of the {len(export.files)} files"
    problems = draft.problems + draft.check_columns(list(export.schema), columns.nested, names)
    if problems and not draft.problems and export.unread:
        # The column may be in a file that can't be opened.
        raise unread_error(list(export.unread.values()))
    if problems or draft.mapping is None:
        raise MappingError(str(draft.path), problems)
    return Plan(draft.mapping, export, compile_shaper(draft.mapping, export.schema, now))


def survey(
    planned: Plan,
    ledger: Ledger | None,
    now: datetime,
    scratch: Path | None = None,
    *,
    watch: Watcher | None = None,
    reject: Rejecter | None = None,
    into: Survey | None = None,
) -> Survey:
    """Read and check the whole export. What was found is in `into` also when an error ends it.

    `ledger` tells what was delivered before; None asks nothing. `scratch` is a folder for groups that are gathered on
    disk. `watch` sees the survey after each chunk. `reject` is given the rows that hold each chunk's rejections.
    """
    shaper, export = planned.shaper, planned.export
    known = ledger if ledger is not None and not ledger.is_empty() else None
    twins = [isinstance(e.uniqueId, HashId) and e.uniqueId.occurrence for e in planned.mapping.events]
    found = into if into is not None else Survey()
    for chunk in shaper.whole_groups(export.chunks(), scratch):
        found.rows.unreadable += len(chunk.unreadable)
        found.rows.read += len(chunk.unreadable) + chunk.frame.height
        _add_problems(found, chunk.unreadable)
        if chunk.unread:
            found.unread.append(chunk.unread)
            found.index.hold(chunk.unread.file, neighbours=shaper.grouping is not None)
        if chunk.frame.height:
            shaped = shaper.shape(chunk.frame)
            found.rows.filtered += shaped.filtered
            found.rows.mapped += shaped.mapped
            found.invalid += len(shaped.invalid)
            _add_problems(found, shaped.invalid)
            _add_notices(found, shaped.notices)
            events = shaper.finish_id(shaped.events)
            states = np.zeros(events.height, np.uint8)
            if known is not None and not any(twins):
                states = _states(found, events, known, len(found.index))
            _add_events(found, events, states, np.array(twins, np.bool_)[events[EVENT].to_numpy()], now)
            ghosts = shaper.finish_id(shaped.ghosts)
            ghosts = ghosts.filter(pl.Series(np.array(twins, np.bool_)[ghosts[EVENT].to_numpy()]))
            found.index.add_ghosts(ghosts[ID], ghosts[FILE], ghosts[ROW])
            if shaped.groups.height:
                groups = shaped.groups.drop_nulls(KEY)
                found.index.add_groups(groups[KEY], groups[FILE], groups[ROW])
            if reject and (shaped.invalid or chunk.unreadable):
                reject(shaped.rows, [*chunk.unreadable, *shaped.invalid])
        elif reject and chunk.unreadable:
            reject(chunk.frame, list(chunk.unreadable))
        if watch:
            watch(found)
    resolve(found, export)
    _settle(found, planned, known if any(twins) else None, now, scratch)
    if found.late and reject:
        _reject_late(found, planned, scratch, reject)
    # One that differs from a row before it is a duplicate or a conflict of that row, and no change.
    states = found.index.states
    found.changed = {n: one for n, one in found.changed.items() if states[n] == State.CHANGED}
    # What the whole export showed (duplicates, conflicts) is not among what will be sent.
    ready = found.index.counts_by_name(State.NEW)
    for name, stats in found.names.items():
        stats.count = ready.get(name, 0)
    _look_at_names(found)
    return found


def events_of(events: pl.DataFrame) -> Events:
    """Shaped events with whole ids, as columns of Python values ready to be sent."""
    whole = [pl.col(HEAD), pl.lit(',"uniqueId":'), _id_json(), pl.col(TAIL)]
    # As Binary, because Python then copies bytes instead of decoding and encoding texts: 0.1 µs against 0.9 an event.
    bodies = events.select(pl.concat_str(whole).cast(pl.Binary)).to_series().to_list()
    ids = events[ID].to_list()
    return Events(
        bodies=bodies,
        ids=ids,
        keys=[key(one) for one in ids],
        contents=_contents(events),
        names=events[NAME].to_list(),
        files=events[FILE].to_list(),
        rows=events[ROW].to_list(),
    )


def _id_json() -> pl.Expr:
    return pl.struct(pl.col(ID).alias("x")).struct.json_encode().str.strip_prefix('{"x":').str.strip_suffix("}")


def _contents(events: pl.DataFrame) -> list[bytes]:
    """Digests of what an event says, its id left out: the ledger's key is the id's already."""
    texts = events.select(pl.concat_str([pl.col(HEAD), pl.col(TAIL)]).cast(pl.Binary)).to_series()
    return [content(text) for text in texts.to_list()]


def _states(found: Survey, events: pl.DataFrame, ledger: Ledger, start: int) -> npt.NDArray[np.uint8]:
    """What the ledger knows of each event; `start` is the number of the first."""
    keys = [key(one) for one in events[ID].to_list()]
    entries = ledger.find(keys)
    states = np.zeros(len(keys), np.uint8)
    if not entries:
        return states
    for i, digest in enumerate(_contents(events)):
        entry = entries.get(keys[i])
        if entry is None:
            continue
        if entry.content == digest:
            states[i] = State.DELIVERED if entry.accepted else State.REFUSED
        elif entry.accepted:
            states[i] = State.CHANGED
            _add_changed(found, events, i, start)
    return states


def _add_changed(found: Survey, events: pl.DataFrame, i: int, start: int) -> None:
    if len(found.changed) < CHANGED_SHOWN:
        row = events.row(i, named=True)
        found.changed[start + i] = (row[ID], row[FILE], row[ROW], row[NAME])


def again(planned: Plan, found: Survey, scratch: Path | None) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, int]]:
    """The export once more: each chunk's rows and events, and the number of its first event.

    What was decided by number is of use only if the export is as it was. Raises ExportError where it is not: also
    where a file can't be read now that could be, or the other way round.
    """
    unread = {one.file for one in found.unread}
    checked = iter(found.index.checksums)
    at = 0
    for chunk in planned.shaper.whole_groups(planned.export.chunks(), scratch):
        if chunk.unread and chunk.unread.file not in unread:
            raise ExportError(chunk.unread.why, hint=chunk.unread.hint)
        if not chunk.frame.height:
            continue
        events = planned.shaper.shape(chunk.frame).events
        if next(checked, None) != checksum(planned.shaper.finish_id(events)[ID], (events[HEAD], events[TAIL])):
            raise ExportError("the export has other rows than when it was checked", hint="run again")
        yield chunk.frame, events, at
        at += events.height


def _settle(found: Survey, planned: Plan, ledger: Ledger | None, now: datetime, scratch: Path | None) -> None:
    """Of what was taken for new some is held, or is a twin that `ledger` knows."""
    if ledger is not None:
        _ask_about_twins(found, planned, ledger, scratch)
    if ledger is not None or found.unread:
        _count_names_again(found, planned, now, scratch)


def _ask_about_twins(found: Survey, planned: Plan, ledger: Ledger, scratch: Path | None) -> None:
    """Twins get their ids when the whole export was seen: only then can the ledger be asked about them."""
    for _, events, at in again(planned, found, scratch):
        stop = at + events.height
        whole = planned.shaper.finish_id(events, found.index.twin_of(at, stop))
        states = _states(found, whole, ledger, at)
        mine = found.index.states[at:stop]
        known = np.isin(mine, (State.NEW, State.HELD)) & (states != State.NEW)
        mine[known] = states[known]


def _count_names_again(found: Survey, planned: Plan, now: datetime, scratch: Path | None) -> None:
    found.names = {}
    for _, events, at in again(planned, found, scratch):
        new = found.index.states[at : at + events.height] == State.NEW
        _add_names(found, events.filter(pl.Series(new, dtype=pl.Boolean)), now)


def _reject_late(found: Survey, planned: Plan, scratch: Path | None, reject: Rejecter) -> None:
    """Read the export again for the rows whose problem only the whole of it showed."""
    by_place = {(late.file, late.row): late for late in found.late}
    files = pl.Series([file for file, _ in by_place], dtype=pl.UInt32)
    rows = pl.Series([row for _, row in by_place], dtype=pl.UInt64)
    wanted = pl.DataFrame({FILE: files, ROW: rows})
    for frame, _, _ in again(planned, found, scratch):
        hits = frame.select(FILE, ROW).join(wanted, on=[FILE, ROW], how="semi")
        if hits.height:
            reject(frame, [_late(by_place[place], planned.export) for place in hits.rows()])


def resolve(found: Survey, export: Export) -> None:
    """Decide what only the whole export shows, or as much of it as was read; once it is done it changes nothing."""
    if len(found.index.states):
        return
    found.late = found.index.resolve()
    _add_problems(found, [_late(late, export) for late in found.late])
    if found.index.twins_differ:
        notice = Notice("twins_differ", "uniqueId", found.index.twins_differ, 0, 0, "")
        found.notices["twins_differ", "uniqueId"] = notice


def _late(late: LateProblem, export: Export) -> Rejection:
    other = f"see {export.name(late.other_file)}:{late.other_row}"
    if (late.file, late.row) == (late.other_file, late.other_row):
        other = "two events of this row have one id"
    detail = f"{advice(late.problem).title}: {other}"
    return Rejection(late.file, late.row, late.problem, detail)


def _add_problems(found: Survey, rejections: Sequence[Rejection]) -> None:
    for rejection in rejections:
        group = found.problems.setdefault(rejection.problem, ProblemGroup(rejection.problem))
        group.count += 1
        if len(group.examples) < EXAMPLES:
            # Without its whole text, which may be megabytes.
            group.examples.append(replace(rejection, text=""))


def _add_notices(found: Survey, notices: list[Notice]) -> None:
    for notice in notices:
        before = found.notices.get((notice.code, notice.field))
        if before:
            notice = Notice(  # noqa: PLW2901 (the same, counted on)
                before.code, before.field, before.count + notice.count, before.file, before.row, before.value,
                before.severity,
            )  # fmt: skip
        found.notices[notice.code, notice.field] = notice


def _add_events(
    found: Survey,
    events: pl.DataFrame,
    states: npt.NDArray[np.uint8],
    twin: npt.NDArray[np.bool_],
    now: datetime,
) -> None:
    found.index.add(events[ID], (events[HEAD], events[TAIL]), events[FILE], events[ROW], events[NAME], states, twin)
    fresh = events if not states.any() else events.filter(pl.Series(states == State.NEW))
    _add_names(found, fresh, now)


def _add_names(found: Survey, events: pl.DataFrame, now: datetime | None) -> None:
    recent = pl.col(TIME) > pl.lit(now - RECENT) if now else pl.lit(False)
    groups = events.group_by(NAME).agg(
        pl.len(),
        pl.col(TIME).min().alias("oldest"),
        pl.col(TIME).max().alias("newest"),
        recent.sum().alias("recent"),
    )
    for name, count, oldest, newest, fresh in groups.iter_rows():
        stats = found.names.setdefault(name, NameStats())
        stats.count += count
        stats.recent += fresh
        stats.oldest = min(stats.oldest or oldest, oldest)
        stats.newest = max(stats.newest or newest, newest)


def _look_at_names(found: Survey) -> None:
    """Names that differ only in case or spacing are one name mistyped; each would become a type of its own."""
    folded: dict[str, list[str]] = {}
    for name in found.index.names:
        folded.setdefault("".join(name.casefold().split()), []).append(name)
    for names in folded.values():
        if len(names) > 1:
            shown = ", ".join(f'"{name}"' for name in sorted(names))
            count = sum(found.names[name].count for name in names if name in found.names)
            found.notices["similar_names", shown] = Notice("similar_names", shown, count, 0, 0, shown)
    if len(found.index.names) > MANY_NAMES:
        count = len(found.index.names)
        found.notices["many_names", "eventName"] = Notice("many_names", "eventName", count, 0, 0, "")
