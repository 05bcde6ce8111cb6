"""Up to where a mapping has delivered everything to a store (the mark), and from where on the next run reads.

The ledger holds the mark, so that a copy from a backup knows what was delivered by then. Nothing is lost by it: it
moves only at the end of a run that left nothing behind, and never past a row that is rejected or refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backfill.ledger import Ledger
from backfill.moved import is_as_it_was
from backfill.plan import Plan
from backfill.tally import Survey
from backfill.unchanged import recipe

__all__ = ["Reading", "advance", "reading_from", "shown"]


@dataclass(frozen=True, slots=True)
class Reading:
    """From where on a mapping with `source.since` is read: `mark` and `start` are None where all of it is."""

    column: str
    is_time: bool
    lookback: str | int
    mark: int | None = None
    start: int | None = None

    def told(self, planned: Plan, found: Survey) -> dict[str, Any]:
        """What a summary says of it: `from`, and how much was left out, read (and filtered) or not read at all.

        `held_at` is the least value of a row that is rejected or refused, which the mark does not pass; `stuck`: such a
        row has none, so that the mark stays where it is.
        """
        older = planned.export.older
        window = found.window
        return {
            "column": self.column,
            "lookback": self.lookback,
            "mark": None if self.mark is None else shown(self.mark, self.is_time),
            "from": None if self.start is None else shown(self.start, self.is_time),
            "older_rows": window.older,
            "skipped_row_groups": sum(older.skipped.values()) if older else 0,
            "rows_without_value": window.unknown,
            "stuck": window.stuck,
            "held_at": None if window.held is None else shown(window.held, self.is_time),
            "newest": None if window.newest is None else shown(window.newest, self.is_time),
        }


def reading_from(planned: Plan, ledger: Ledger | None, name: str, *, everything: bool = False) -> Reading | None:
    """From where on a run reads; None for a mapping without `source.since`.

    `name` is what the ledger calls the mapping. `everything`: whatever the ledger knows, as --reread and --files say.
    """
    since, said = planned.shaper.since, planned.mapping.source.since
    if since is None or said is None:
        return None
    reading = Reading(since.column, since.is_time, said.lookback)
    known = None if ledger is None or everything else ledger.mark(name)
    if ledger is None or known is None or known["made"] != _made(planned):
        return reading
    if not is_as_it_was(ledger.identity(name), planned):
        # Whether delivered events would get other ids, only all rows show.
        return reading
    mark = int(known["mark"])
    return Reading(since.column, since.is_time, said.lookback, mark, mark - since.lookback)


def advance(reading: Reading, planned: Plan, found: Survey, ledger: Ledger, name: str, now: datetime) -> None:
    """Move the mark, after a run that left no event to be sent; `now` is when it began.

    Where all was read it is made anew, else it only goes up: what it once passed was delivered.
    """
    window = found.window
    if found.unread or window.stuck or window.newest is None:
        return
    reached = [window.newest, *([] if window.held is None else [window.held])]
    if reading.is_time:
        # A date far in the future, typed wrong, would have all that comes before it passed over.
        reached.append(int(now.timestamp() * 1_000_000))
    mark = min(reached)
    if reading.mark is not None:
        mark = max(mark, reading.mark)
    record = {"made": _made(planned), "mark": mark, "is_time": reading.is_time, "column": reading.column}
    ledger.set_mark(name, {**record, "lookback": reading.lookback})


def shown(value: int, is_time: bool) -> str:
    """A value of the column for people: a time in RFC 3339, or the number."""
    if not is_time:
        return str(value)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)
    return moment.isoformat().replace("+00:00", "Z")


def _made(planned: Plan) -> str:
    """A digest of all that decides which events are made of which rows: other files may hold older rows."""
    text = json.dumps([recipe(planned), planned.mapping.source.files])
    return hashlib.sha256(text.encode()).hexdigest()
