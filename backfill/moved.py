"""What a changed mapping would do to the ids of events that were delivered.

The ledger keeps, by the mapping file's place, what of it ids hang on, and what they hung on before. Where that is
another now, the export is read once more as the mapping was: an event that is delivered under its old id and new under
the one it would get now would be sent again, and the store would count it twice.

What was before is kept after a run that met none of the old events: an export of new rows alone tells nothing of those
that the next one may hold.

A mapping whose place the ledger does not know may be a renamed one, or a copy. Its first events are made as each of the
store's other mappings would have made them: what is delivered so, and is new as the mapping makes it, would come twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from backfill.again import again
from backfill.arrays import place_of
from backfill.errors import ExportError, MappingError, MappingProblem
from backfill.index import State
from backfill.ledger import Ledger, keys
from backfill.mapping import Customer, Event, Mapping, Source, Value
from backfill.plan import Plan
from backfill.printable import plural
from backfill.read import open_export
from backfill.records import FILE, ROW, Chunk
from backfill.shape import ID, NAME, compile_shaper
from backfill.survey import contents_of, survey
from backfill.tally import Survey, resolve

__all__ = ["is_as_it_was", "moved", "remembered"]

BEFORE = "before"
NAMES = "names"
MOST_BEFORE = 5
# Of an export by a mapping that nobody knows: enough to see whether its history was delivered.
FIRST_EVENTS = 1_000
MOST_CHUNKS = 4
MOST_OTHERS = 50


def _identity_of(planned: Plan) -> dict[str, Any]:
    """What of a mapping its uniqueIds hang on, as JSON data.

    "*" is written out as the columns that it stands for: one more in the export changes all ids too. Of twins it
    counts which rows there are.
    """
    source, events = planned.mapping.source, []
    twins = any(event.has_twins for event in planned.mapping.events)
    for event in planned.mapping.events:
        one = event.uniqueId.model_dump(mode="json")
        if one.get("hash") == "*":
            one["hash"] = source.hashed(planned.export.schema)
        events.append({"uniqueId": one, "where": event.where if twins else None})
    kept = {"csv", "group_by", "where"} if twins else {"csv", "group_by"}
    return {"source": source.model_dump(mode="json", include=kept), "events": events}


def moved(
    planned: Plan,
    found: Survey,
    ledger: Ledger,
    name: str,
    now: datetime,
    scratch: Path | None = None,
    *,
    other_files: bool = False,
) -> MappingError | None:
    """What is wrong if delivered events of this export would get other ids than they were delivered under, by this
    mapping or, where the ledger does not know it, by another.

    `found` is what the survey found with the mapping as it is, `name` what the ledger calls it. `other_files`: the
    export is not the mapping's own, such as a mended rejected.csv, and may be written otherwise.
    """
    stored, after = ledger.identity(name), _identity_of(planned)
    if ledger.is_empty():
        return None
    if stored is None:
        if not np.isin(found.index.states, (State.NEW, State.KEPT)).any():
            return None
        return _copied(planned, ledger, name, now, scratch, other_files=other_files)
    last, earlier = _last(stored), stored.get(BEFORE, [])
    if last != after and (problem := _look(planned, found, ledger, last, now, scratch, lenient=other_files)):
        return problem
    if earlier and np.isin(found.index.states, (State.NEW, State.KEPT)).any():
        for before in earlier:
            if before != after and (problem := _look(planned, found, ledger, before, now, scratch, lenient=True)):
                return problem
    return None


def is_as_it_was(stored: dict[str, Any] | None, planned: Plan) -> bool:
    """Whether ids hang on the same as when the ledger was last told."""
    return stored is not None and _last(stored) == _identity_of(planned)


def remembered(stored: dict[str, Any] | None, planned: Plan, *, new_ids: bool) -> dict[str, Any]:
    """What the ledger is to keep. `new_ids`: that old events come again is wanted, so that nobody asks again."""
    after = _identity_of(planned)
    told = {**after, NAMES: [event.eventName.model_dump(mode="json") for event in planned.mapping.events]}
    if stored is None or new_ids:
        return told
    earlier = [one for one in (_last(stored), *stored.get(BEFORE, [])) if one != after]
    return {**told, BEFORE: earlier[:MOST_BEFORE]} if earlier else told


def _last(stored: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stored.items() if key not in (BEFORE, NAMES)}


def _copied(
    planned: Plan, ledger: Ledger, name: str, now: datetime, scratch: Path | None, *, other_files: bool
) -> MappingError | None:
    """What is wrong if the export's first events are known as another mapping makes their ids, and not as this does."""
    after = _identity_of(planned)
    others = [
        (other, before, stored.get(NAMES))
        for other, stored in ledger.identities().items()
        for before in (_last(stored), *stored.get(BEFORE, []))
        if other != name and before != after
    ]
    if not others:
        return None
    with suppress(ExportError):
        first = _first_chunks(planned, scratch)
        mine = _known(planned, first, ledger, scratch)
        for other, before, names in others[:MOST_OTHERS]:
            try:
                old = _plan(planned, before, now, names)
            except (MappingError, ExportError, ValidationError):
                continue  # another export's
            same = old.export is planned.export
            if not same and other_files:
                continue
            was = _known(old, first if same else _first_chunks(old, scratch), ledger, scratch)
            if count := _twice(was, mine, by_name=names is not None):
                return _copy_error(planned, other, before, count, mine.height)
    return None


def _copy_error(planned: Plan, other: str, before: dict[str, Any], count: int, of: int) -> MappingError:
    after = _identity_of(planned)["events"]
    ids = [one["uniqueId"] for one in before["events"]]
    number = next((i for i, one in enumerate(after) if one["uniqueId"] not in ids), 0)
    was = " and ".join(_words(one) for one in ids[:MOST_BEFORE])
    what = (
        f"{count:,} of the first {plural(of, 'event')} would be sent again under other ids, and be counted twice: "
        f"{other} delivered them, with the uniqueId {was}"
    )
    line, column = planned.mapping.position(("events", number, "uniqueId"))
    hint = (
        f"if this mapping takes the place of {other}, give it the same uniqueId (and csv and group_by); "
        "if these are other events, or the store is to have them once more, --new-ids"
    )
    return MappingError(str(planned.mapping.path), [MappingProblem(line, column, what, hint)])


def _first_chunks(planned: Plan, scratch: Path | None) -> list[Chunk]:
    """The export's beginning: what makes some FIRST_EVENTS."""
    found: list[Chunk] = []
    events = 0
    for chunk in islice(planned.export.chunks(), MOST_CHUNKS):
        if chunk.unread:
            continue
        found.append(chunk)
        for part in planned.shaper.whole_groups([chunk], scratch):
            events += planned.shaper.shape(part.frame).events.height if part.frame.height else 0
        if events >= FIRST_EVENTS:
            break
    return found


def _known(planned: Plan, chunks: Sequence[Chunk], ledger: Ledger, scratch: Path | None) -> pl.DataFrame:
    """The events of these chunks: `place`, `name`, `id`, `content`, and the content that was `delivered`, if any."""
    empty = {"place": pl.UInt64, "name": pl.String, "id": pl.String, "content": pl.Binary, "delivered": pl.Binary}
    parts = [pl.DataFrame(schema=empty)]
    for chunk in planned.shaper.whole_groups(chunks, scratch):
        if not chunk.frame.height:
            continue
        events = planned.shaper.finish_id(planned.shaper.shape(chunk.frame).events)
        asked = keys(events[ID].to_list())
        accepted, _ = ledger.look_up(asked)
        columns = {
            "place": place_of(events[FILE], events[ROW]),
            "name": events[NAME],
            "id": events[ID],
            "content": contents_of(events),
            "delivered": [accepted.get(one) for one in asked],
        }
        parts.append(pl.DataFrame(columns, schema=empty))
    return pl.concat(parts)


def _twice(was: pl.DataFrame, now: pl.DataFrame, *, by_name: bool) -> int:
    """How many events are new as they are made now, and known as they were: of one row, and of one name or content.

    Without `by_name` it is not known how the old ones were called: their content tells.
    """
    fresh = now.filter(pl.col("delivered").is_null()).with_row_index("number")
    # What this mapping makes under the same id is not lost.
    old = was.filter(pl.col("delivered").is_not_null()).join(now, on=["place", "id"], how="anti")
    pairs = fresh.join(old, on="place", suffix="_old")
    alike = pl.col("content") == pl.col("delivered_old")
    if by_name:
        alike |= pl.col("name") == pl.col("name_old")
    return pairs.filter(alike)["number"].n_unique()


def _look(
    planned: Plan,
    found: Survey,
    ledger: Ledger,
    before: dict[str, Any],
    now: datetime,
    scratch: Path | None,
    *,
    lenient: bool,
) -> MappingError | None:
    """What is wrong if events were delivered as ids were `before`. `lenient`: no word where that can't be found out."""
    after = _identity_of(planned)
    old_ids = [one["uniqueId"] for one in before["events"]]
    new_ids = [one["uniqueId"] for one in after["events"]]
    number = next((i for i, (old, new) in enumerate(zip(old_ids, new_ids, strict=False)) if old != new), None)
    was = "source.csv, group_by or where was another" if number is None else f"uniqueId was {_words(old_ids[number])}"
    try:
        old = _plan(planned, before, now)
    except (MappingError, ExportError, ValidationError):
        if lenient:
            return None
        what = (
            f"events that this mapping delivered may be sent again under other ids, and be counted twice: "
            f"their {was}, and the export can't be read so now, so that nobody can tell how many"
        )
    else:
        as_it_was = Survey()
        # What can't be read as the mapping was, it has not delivered either.
        with suppress(ExportError):
            survey(old, ledger, now, scratch, into=as_it_was)
        resolve(as_it_was, old.export)
        count = _moved(_by_row(old, as_it_was, scratch), _by_row(planned, found, scratch))
        if not count:
            return None
        what = (
            f"{plural(count, 'event')} that this mapping delivered would be sent again under other ids, and be "
            f"counted twice: their {was}"
        )
    line, column = planned.mapping.position(("source",) if number is None else ("events", number, "uniqueId"))
    hint = "put back what ids hang on (uniqueId, csv, group_by); or, if the store is to have them once more, --new-ids"
    return MappingError(str(planned.mapping.path), [MappingProblem(line, column, what, hint)])


def _moved(was: pl.DataFrame, now: pl.DataFrame) -> int:
    """How many events of one row are known under their old ids, not under their new ones, and would be sent, now or
    when they are old enough.
    """
    known, new = (State.DELIVERED, State.CHANGED), (State.NEW, State.KEPT)
    rows = _count(was, known).join(_count(now, new), on="place", suffix="_again")
    rows = rows.join(_count(now, known), on="place", how="left", suffix="_now")
    lost = pl.col("count").cast(pl.Int64) - pl.col("count_now").fill_null(0)
    return int(rows.select(pl.min_horizontal(lost, "count_again").clip(0).sum()).item())


def _count(events: pl.DataFrame, states: Sequence[State]) -> pl.DataFrame:
    """How many events of each row are in these states: `place`, `count`."""
    mine = events.filter(pl.col("state").is_in(states))
    return mine.group_by("place").agg(pl.len().alias("count"))


def _by_row(planned: Plan, found: Survey, scratch: Path | None) -> pl.DataFrame:
    """Each event's row and state: `place`, `state`. Of an export that can't be read to its end, as far as it goes."""
    parts = [pl.DataFrame(schema={"place": pl.UInt64, "state": pl.UInt8})]
    with suppress(ExportError):
        for one in again(planned, found, scratch):
            places = place_of(one.shaped.events[FILE], one.shaped.events[ROW])
            parts.append(pl.DataFrame({"place": places, "state": found.index.states[one.at : one.at + len(places)]}))
    return pl.concat(parts)


def _plan(planned: Plan, before: dict[str, Any], now: datetime, names: list[Any] | None = None) -> Plan:
    """The mapping as it was, as far as ids hang on it, with these eventNames if they are known; what the events say
    else is of no account.
    """
    new = planned.mapping.source
    source = Source.model_validate({**new.model_dump(), **before["source"]})
    plain = {"eventName": Value(const="-"), "eventTimestamp": Value(const="2000-01-01T00:00:00Z")}
    customer = Customer(id=Value(const="-"))
    events = [Event.model_validate({**plain, "customer": customer, **one}) for one in before["events"]]
    if names is not None and len(names) == len(events):
        called = [Value.model_validate(name) for name in names]
        events = [one.model_copy(update={"eventName": name}) for one, name in zip(events, called, strict=True)]
    mapping = Mapping(path=planned.mapping.path, source=source, events=events)
    export = planned.export if source.csv == new.csv else open_export(source, mapping.path.parent)
    return Plan(mapping, export, compile_shaper(mapping, export.schema, now))


def _words(unique_id: dict[str, Any]) -> str:
    if "template" in unique_id:
        return f'"{unique_id["template"]}"'
    return f"a hash of {', '.join(unique_id['hash'])}"
