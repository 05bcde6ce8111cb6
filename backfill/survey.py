"""The first reading of an export: everything is mapped and checked, before anything is sent.

It counts, gathers examples of each problem, asks the ledger what was delivered before, and decides about every event.
The second reading (`pipeline`) only applies the decisions.

The survey itself reads once. It looks again where only the whole export gives an answer: at ids that stand more than
once, at what the ledger knows of twins, whose ids depend on it, and at the rows behind late problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from backfill.again import again
from backfill.ahead import ahead
from backfill.arrays import Checksum, Flags, UInt64s, checksum, hashes, place_of
from backfill.index import State
from backfill.ledger import Ledger, contents, keys
from backfill.mapping import parse_duration
from backfill.plan import Plan
from backfill.read import Export
from backfill.records import FILE, ROW, Chunk, Events, Rejection
from backfill.shape import BAD, CURRENCY, EVENT, HEAD, ID, KEY, NAME, SINCE, TAIL, TIME, VALUE, Shaped
from backfill.sums import Sums
from backfill.tally import (
    RECENT,
    Survey,
    add_mended,
    add_names,
    add_notices,
    add_problems,
    late_rejection,
    look_at_names,
    resolve,
)
from backfill.timeline import Timeline

__all__ = [
    "Look",
    "conclude",
    "contents_of",
    "events_of",
    "hold_window",
    "look_again",
    "needs_settling",
    "read",
    "reject_late",
    "settle",
    "survey",
    "survey_all",
]

Watcher = Callable[[Survey], None]
Rejecter = Callable[[pl.DataFrame, list[Rejection]], None]
States = npt.NDArray[np.uint8]
# What an earlier run had the API's word on.
KNOWN = (State.DELIVERED, State.CHANGED, State.REFUSED)
CHANGED_SHOWN = 10_000


@dataclass(frozen=True, slots=True)
class _Checked:
    """A chunk, and what was found out about it alone: its events with whole ids, their hashes, what is known of them.

    `states` are the ledger's; without one all are NEW. `mended` are rejected events that the ledger holds as accepted:
    FILE and NAME. They are not among those of `shaped`.
    """

    chunk: Chunk
    shaped: Shaped
    events: pl.DataFrame
    ids: UInt64s
    sum: Checksum
    states: States
    mended: pl.DataFrame


@dataclass(frozen=True)
class Look:
    """An export under survey, or a part of one: what all the phases need.

    `ledger` tells what was delivered before; None asks nothing. `scratch` is a folder for groups that are gathered on
    disk. Of what could be sent, with `retry_rejected` of what was refused too, events under the age of `not_newer_than`
    (such as `72h`) are kept back.
    """

    planned: Plan
    ledger: Ledger | None
    now: datetime
    scratch: Path | None = None
    not_newer_than: str = ""
    retry_rejected: bool = False

    @cached_property
    def known(self) -> Ledger | None:
        """The ledger, if it knows anything."""
        return self.ledger if self.ledger is not None and not self.ledger.is_empty() else None

    @cached_property
    def twins(self) -> Flags:
        """Of which of the mapping's events there may be twins."""
        return np.array([event.has_twins for event in self.planned.mapping.events], np.bool_)

    @property
    def asks_late(self) -> bool:
        """Whether the ledger can be asked only when the whole export was seen: twins have no ids before."""
        return bool(self.twins.any()) and self.known is not None

    @cached_property
    def kept_after(self) -> datetime:
        """Events after this moment are kept back, if they would be sent."""
        return self.now - parse_duration(self.not_newer_than or "0s")

    def waits(self, states: States) -> Flags:
        """Which events would be sent, old enough or not."""
        sent = (State.NEW, State.REFUSED) if self.retry_rejected else (State.NEW,)
        return np.isin(states, sent)

    @property
    def zone(self) -> str:
        """In which zone days are told."""
        return self.planned.mapping.source.timezone or "UTC"


def survey(
    planned: Plan,
    ledger: Ledger | None,
    now: datetime,
    scratch: Path | None = None,
    *,
    watch: Watcher | None = None,
    reject: Rejecter | None = None,
    into: Survey | None = None,
    not_newer_than: str = "",
    retry_rejected: bool = False,
) -> Survey:
    """Read and check the whole export. What was found is in `into` also when an error ends it.

    `watch` sees the survey after each chunk. `reject` is given the rows that hold each chunk's rejections. The other
    parameters: see `Look`.
    """
    found = into if into is not None else Survey()
    survey_all(Look(planned, ledger, now, scratch, not_newer_than, retry_rejected), found, watch, reject)
    return found


def survey_all(look: Look, found: Survey, watch: Watcher | None = None, reject: Rejecter | None = None) -> None:
    """All phases, one after the other, over the whole export. What was found is there also when an error ends it."""
    read(look, found, watch, reject)
    if found.index.is_open():
        look_again(look, found)
    resolve(found, look.planned.export)
    found.sums.settle(found.index)
    if needs_settling(look, found):
        settle(look, found)
    hold_window(look, found)
    if found.late and reject:
        reject_late(look, found, [late_rejection(one, look.planned.export) for one in found.late], reject)
    conclude(found)


def read(look: Look, found: Survey, watch: Watcher | None = None, reject: Rejecter | None = None) -> None:
    """The first phase: each row once, and all that it tells alone."""
    shaper, export, twins = look.planned.shaper, look.planned.export, look.twins
    known = look.known
    found.not_newer_than = look.not_newer_than
    found.timeline = Timeline(look.zone)

    def checked(chunk: Chunk) -> _Checked | Chunk:
        if not chunk.frame.height:
            return chunk
        shaped = shaper.shape(chunk.frame)
        events = shaper.finish_id(shaped.events)
        ids = hashes(events[ID])
        states = _states(events, known) if known and not twins.any() else np.zeros(events.height, np.uint8)
        shaped, mended = _mended(look, shaped)
        return _Checked(chunk, shaped, events, ids, checksum(ids, (events[HEAD], events[TAIL])), states, mended)

    for one in ahead(shaper.whole_groups(export.chunks(), look.scratch), checked):
        chunk = one if isinstance(one, Chunk) else one.chunk
        found.rows.unreadable += len(chunk.unreadable)
        found.rows.read += len(chunk.unreadable) + chunk.frame.height
        add_problems(found, chunk.unreadable)
        found.window.stuck = found.window.stuck or bool(chunk.unreadable or chunk.lost)
        if chunk.unread:
            found.unread.append(chunk.unread)
            found.index.hold(chunk.unread.file, neighbours=shaper.grouping is not None)
        if isinstance(one, _Checked):
            _add(look, found, one)
        if reject:
            _reject(one, export, reject)
        if watch:
            found.reached = export.reached()
            watch(found)


def conclude(found: Survey) -> None:
    """The last phase, when every event has its state."""
    # One that differs from a row before it is a duplicate or a conflict of that row, and no change.
    states = found.index.states
    found.changed = {n: one for n, one in found.changed.items() if states[n] == State.CHANGED}
    # What the whole export showed (duplicates, conflicts) is not among what will be sent.
    ready = found.index.counts_by_name(State.NEW)
    for name, stats in found.names.items():
        stats.count = ready.get(name, 0)
    look_at_names(found)


def _reject(one: _Checked | Chunk, export: Export, reject: Rejecter) -> None:
    """Hand on the rows of a chunk that are rejected, with all their columns."""
    chunk = one if isinstance(one, Chunk) else one.chunk
    invalid = one.shaped.invalid if isinstance(one, _Checked) else []
    if invalid or chunk.unreadable:
        rows = one.shaped.rows if isinstance(one, _Checked) else chunk.frame
        rejections = [*chunk.unreadable, *invalid]
        reject(export.with_all_columns(rows, {(bad.file, bad.row) for bad in rejections}), rejections)


def _add(look: Look, found: Survey, one: _Checked) -> None:
    """One chunk's rows and events to the whole."""
    planned, shaped, events, now = look.planned, one.shaped, one.events, look.now
    found.rows.filtered += shaped.filtered
    found.rows.mapped += shaped.mapped
    if planned.shaper.since is not None:
        found.window.older += shaped.older
        found.window.see(shaped.rows[SINCE], planned.shaper.since.most(now))
        found.window.reject(_values(shaped.rows, [(one.file, one.row) for one in shaped.invalid]))
    found.invalid += len(shaped.invalid)
    add_problems(found, shaped.invalid)
    add_mended(found, one.mended)
    add_notices(found, shaped.notices)
    _add_changed(found, events, one.states, len(found.index))
    if found.not_newer_than:
        one.states[look.waits(one.states) & (events[TIME] > look.kept_after).to_numpy()] = State.KEPT
    recent = (events[TIME] > now - RECENT).to_numpy()
    names = found.index.add(one.ids, events[NAME], one.states, events[FILE], one.sum, recent)
    found.timeline.add(names, events[TIME], np.isin(one.states, KNOWN) if one.states.any() else None)
    found.sums.add(names, events[VALUE], events[CURRENCY], one.states)
    fresh = events if not one.states.any() else events.filter(pl.Series(one.states == State.NEW))
    add_names(found, fresh, now)
    if look.twins.any():
        found.index.add_ghosts(_ghosts(look, shaped)[ID])
    if shaped.groups.height:
        found.index.add_groups(shaped.groups[KEY].drop_nulls())


def _ghosts(look: Look, shaped: Shaped) -> pl.DataFrame:
    """Rejected rows that are twins of others."""
    ghosts = look.planned.shaper.finish_id(shaped.ghosts)
    return ghosts.filter(pl.Series(look.twins[ghosts[EVENT].to_numpy()]))


def _mended(look: Look, shaped: Shaped) -> tuple[Shaped, pl.DataFrame]:
    """A chunk without the rejected events that the ledger holds as accepted: they were mended in another file than this
    one, such as rejected.csv, and sent under the ids that they have here too.

    Not of twins: which of them was delivered hangs on the whole export.
    """
    none = shaped.ghosts.clear().select(FILE, NAME)
    ledger = look.known
    if ledger is None or not shaped.ghosts.height:
        return shaped, none
    ghosts = look.planned.shaper.finish_id(shaped.ghosts)
    asked = keys(ghosts[ID].to_list())
    accepted, _ = ledger.look_up(asked)
    known = [one in accepted for one in asked] & ~look.twins[ghosts[EVENT].to_numpy()]
    if not known.any():
        return shaped, none
    hits = ghosts.filter(pl.Series(known))
    done = set(hits[BAD].to_list())
    left = [one for i, one in enumerate(shaped.invalid) if i not in done]
    return replace(shaped, invalid=left), hits.select(FILE, NAME)


def events_of(events: pl.DataFrame) -> Events:
    """Shaped events with whole ids, as columns of Python values ready to be sent.

    They are tuples, which the garbage collector leaves alone once it has seen that they hold no containers: of lists it
    would look at each element again and again.
    """
    whole = [pl.col(HEAD), pl.lit(',"uniqueId":'), _id_json(), pl.col(TAIL)]
    # As Binary, because Python then copies bytes instead of decoding and encoding texts: 0.1 µs against 0.9 an event.
    bodies = events.select(pl.concat_str(whole).cast(pl.Binary)).to_series().to_list()
    ids = events[ID].to_list()
    return Events(
        bodies=tuple(bodies),
        ids=tuple(ids),
        keys=tuple(keys(ids)),
        contents=tuple(contents_of(events)),
        names=tuple(events[NAME].to_list()),
        files=tuple(events[FILE].to_list()),
        rows=tuple(events[ROW].to_list()),
    )


def _id_json() -> pl.Expr:
    return pl.struct(pl.col(ID).alias("x")).struct.json_encode().str.strip_prefix('{"x":').str.strip_suffix("}")


def contents_of(events: pl.DataFrame) -> list[bytes]:
    """Digests of what an event says, its id left out: the ledger's key is the id's already."""
    return contents(events.select(pl.concat_str([pl.col(HEAD), pl.col(TAIL)]).cast(pl.Binary)).to_series().to_list())


def _states(events: pl.DataFrame, ledger: Ledger) -> States:
    """What the ledger knows of each event."""
    asked = keys(events[ID].to_list())
    accepted, refused = ledger.look_up(asked)
    if not accepted and not refused:
        return np.zeros(len(asked), np.uint8)
    now = contents_of(events)
    before = map(accepted.get, asked)
    pairs = zip(before, now, strict=True)
    states = [State.NEW if was is None else State.DELIVERED if was == one else State.CHANGED for was, one in pairs]
    if refused:
        for i, one in enumerate(asked):
            if refused.get(one) == now[i]:
                states[i] = State.REFUSED
    return np.array(states, np.uint8)


def _add_changed(found: Survey, events: pl.DataFrame, states: States, at: int) -> None:
    for i in np.flatnonzero(states == State.CHANGED)[: CHANGED_SHOWN - len(found.changed)].tolist():
        row = events.row(i, named=True)
        found.changed[at + i] = (row[ID], row[FILE], row[ROW], row[NAME])


def look_again(look: Look, found: Survey) -> None:
    """Read again what the index can't decide about."""
    index, shaper = found.index, look.planned.shaper
    for one in again(look.planned, found, look.scratch, index.suspects()):
        events = shaper.finish_id(one.shaped.events)
        looked = index.look(
            one.at,
            events[ID],
            (events[HEAD], events[TAIL]),
            place_of(events[FILE], events[ROW]),
            look.twins[events[EVENT].to_numpy()],
            events[KEY] if shaper.grouping else None,
        )
        found.sums.look(looked + one.at, events[VALUE][looked], events[CURRENCY][looked])
        ghosts = _ghosts(look, one.shaped)
        index.look_at_ghosts(ghosts[ID], place_of(ghosts[FILE], ghosts[ROW]))
        if one.shaped.groups.height:
            groups = one.shaped.groups.drop_nulls(KEY)
            index.look_at_groups(groups[KEY], place_of(groups[FILE], groups[ROW]))


def needs_settling(look: Look, found: Survey) -> bool:
    """Whether of what was taken for new some is held, or may be a twin that the ledger knows."""
    return bool(found.unread) or look.asks_late


def settle(look: Look, found: Survey) -> None:
    """Ask the ledger about twins, and count anew what is to be sent."""
    if look.asks_late:
        _ask_about_twins(look, found)
    _count_names_again(look, found)


def _ask_about_twins(look: Look, found: Survey) -> None:
    """Twins get their ids when the whole export was seen: only then can the ledger be asked about them."""
    ledger = look.known
    assert ledger is not None
    for one in again(look.planned, found, look.scratch):
        stop = one.at + one.shaped.events.height
        whole = look.planned.shaper.finish_id(one.shaped.events, found.index.twin_of(one.at, stop))
        states = _states(whole, ledger)
        mine = found.index.states[one.at : stop]
        known = np.isin(mine, (State.NEW, State.HELD)) & (states != State.NEW)
        # One that is too new goes on waiting, if it would be sent.
        known |= (mine == State.KEPT) & ~look.waits(states)
        mine[known] = states[known]
        states[~known] = State.NEW
        _add_changed(found, whole, states, one.at)


def _count_names_again(look: Look, found: Survey) -> None:
    found.names = {}
    found.timeline, found.sums = Timeline(look.zone), Sums()
    for one in again(look.planned, found, look.scratch):
        events = one.shaped.events
        mine = slice(one.at, one.at + events.height)
        states = found.index.states[mine]
        add_names(found, events.filter(pl.Series(states == State.NEW, dtype=pl.Boolean)), look.now)
        found.timeline.add(found.index.name_numbers[mine], events[TIME], np.isin(states, KNOWN))
        found.sums.add(found.index.name_numbers[mine], events[VALUE], events[CURRENCY], states)


def hold_window(look: Look, found: Survey) -> None:
    """The rows of events that were made and are neither delivered nor to be sent hold the mark of `source.since`."""
    if look.planned.shaper.since is None or found.unread:
        return
    states = found.index.states
    waits = states == State.KEPT
    # The duplicate of one that is kept back is what is sent where the other is gone by then.
    waits[found.index.kept_twice] = True
    rejected = ~waits & ~np.isin(states, (State.NEW, State.DELIVERED, State.DUPLICATE, State.CHANGED))
    for one in again(look.planned, found, look.scratch, waits | rejected):
        mine = slice(one.at, one.at + one.shaped.events.height)
        for undone, note in ((waits, found.window.wait), (rejected, found.window.reject)):
            events = one.shaped.events.filter(pl.Series(undone[mine]))
            note(_values(one.shaped.rows, events.select(FILE, ROW).rows()))


def _values(rows: pl.DataFrame, places: Sequence[tuple[int, int]]) -> pl.Series:
    """The values of SINCE in the rows at these places."""
    hits = pl.DataFrame({FILE: pl.Series([], dtype=pl.UInt32), ROW: pl.Series([], dtype=pl.UInt64)})
    if places:
        files = pl.Series([file for file, _ in places], dtype=pl.UInt32)
        hits = pl.DataFrame({FILE: files, ROW: pl.Series([row for _, row in places], dtype=pl.UInt64)})
    return rows.select(FILE, ROW, SINCE).join(hits, on=[FILE, ROW], how="semi")[SINCE]


def reject_late(look: Look, found: Survey, late: Sequence[Rejection], reject: Rejecter) -> None:
    """Read the export again for the rows whose problem only the whole of it showed."""
    by_place = {(one.file, one.row): one for one in late}
    files = pl.Series([file for file, _ in by_place], dtype=pl.UInt32)
    rows = pl.Series([row for _, row in by_place], dtype=pl.UInt64)
    wanted = pl.DataFrame({FILE: files, ROW: rows})
    for one in again(look.planned, found, look.scratch, found.index.states == State.INVALID):
        hits = one.rows.select(FILE, ROW).join(wanted, on=[FILE, ROW], how="semi")
        if hits.height:
            places = hits.rows()
            rejections = [by_place[place] for place in places]
            reject(look.planned.export.with_all_columns(one.rows, places), rejections)
