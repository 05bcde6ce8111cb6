"""What a changed mapping would do to the ids of events that were delivered.

The ledger keeps, by the mapping file's place, what of it ids hang on, and what they hung on before. Where that is
another now, the export is read once more as the mapping was: an event that is delivered under its old id and new under
the one it would get now would be sent again, and the store would count it twice.

What was before is kept after a run that met none of the old events: an export of new rows alone tells nothing of those
that the next one may hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from backfill.again import again
from backfill.arrays import place_of
from backfill.errors import ExportError, MappingError, MappingProblem
from backfill.index import State
from backfill.ledger import Ledger
from backfill.mapping import Customer, Event, Mapping, Source, Value
from backfill.plan import Plan
from backfill.printable import plural
from backfill.read import open_export
from backfill.records import FILE, ROW
from backfill.shape import compile_shaper
from backfill.survey import survey
from backfill.tally import Survey, resolve

__all__ = ["is_as_it_was", "moved", "remembered"]

BEFORE = "before"
MOST_BEFORE = 5


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
    """What is wrong if delivered events of this export would get other ids than they were delivered under.

    `found` is what the survey found with the mapping as it is, `name` what the ledger calls it. `other_files`: the
    export is not the mapping's own, such as a mended rejected.csv, and may be written otherwise.
    """
    stored, after = ledger.identity(name), _identity_of(planned)
    if stored is None or ledger.is_empty():
        return None
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
    if stored is None or new_ids:
        return after
    earlier = [one for one in (_last(stored), *stored.get(BEFORE, [])) if one != after]
    return {**after, BEFORE: earlier[:MOST_BEFORE]} if earlier else after


def _last(stored: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stored.items() if key != BEFORE}


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


def _plan(planned: Plan, before: dict[str, Any], now: datetime) -> Plan:
    """The mapping as it was, as far as ids hang on it; what the events say else is of no account."""
    new = planned.mapping.source
    source = Source.model_validate({**new.model_dump(), **before["source"]})
    plain = {"eventName": Value(const="-"), "eventTimestamp": Value(const="2000-01-01T00:00:00Z")}
    customer = Customer(id=Value(const="-"))
    events = [Event.model_validate({**plain, "customer": customer, **one}) for one in before["events"]]
    mapping = Mapping(path=planned.mapping.path, source=source, events=events)
    export = planned.export if source.csv == new.csv else open_export(source, mapping.path.parent)
    return Plan(mapping, export, compile_shaper(mapping, export.schema, now))


def _words(unique_id: dict[str, Any]) -> str:
    if "template" in unique_id:
        return f'"{unique_id["template"]}"'
    return f"a hash of {', '.join(unique_id['hash'])}"
