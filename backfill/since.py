"""Up to where a mapping has delivered everything to a store (the mark), and from where on the next run reads.

The ledger holds the mark, so that a copy from a backup knows what was delivered by then. Nothing is lost by it: it
moves only at the end of a run that left nothing behind, and never past a row that is rejected or refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from backfill.ledger import Ledger
from backfill.moved import is_as_it_was
from backfill.plan import Plan
from backfill.tally import Survey, Window
from backfill.unchanged import recipe

__all__ = ["Reading", "advance", "reading_from", "shown"]

# Numbers stand out that are farther from those before than is usual by this factor, while they are fewer than so many.
FAR = 100
FEW = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """From where on a mapping with `source.since` is read: `mark` and `start` are None where all of it is.

    `is_void`: there is a mark, and it says nothing of these files or this mapping.
    """

    column: str
    is_time: bool
    lookback: str | int
    mark: int | None = None
    start: int | None = None
    is_void: bool = False

    def told(self, planned: Plan, found: Survey) -> dict[str, Any]:
        """What a summary says of it: `from`, and how much was left out, read (and filtered) or not read at all.

        `held_at` is the least value of a row that is rejected or refused, which the mark does not pass; `stuck`: such a
        row has none, so that the mark stays where it is. `stands_out` is the least number that is taken for mistyped,
        and `stands_behind` the one before, which the mark does not pass.
        """
        older = planned.export.older
        window = found.window
        reached, beyond = self.reached(window)
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
            "stands_out": beyond,
            "stands_behind": None if beyond is None else reached,
        }

    def reached(self, window: Window) -> tuple[int | None, int | None]:
        """The greatest value that can be trusted, and of numbers the next one, which stands out.

        Of times nothing stands out: what is still to come is not among them.
        """
        if not isinstance(self.lookback, int):
            return window.newest, None
        known = [] if self.mark is None else [self.mark]
        return _before_the_leap(sorted({*known, *window.greatest}), self.lookback)


def reading_from(planned: Plan, ledger: Ledger | None, name: str, *, everything: bool = False) -> Reading | None:
    """From where on a run reads; None for a mapping without `source.since`.

    `name` is what the ledger calls the mapping. `everything`: whatever the ledger knows, as --reread and --files say.
    """
    since, said = planned.shaper.since, planned.mapping.source.since
    if since is None or said is None:
        return None
    reading = Reading(since.column, since.is_time, said.lookback)
    known = None if ledger is None or everything else ledger.mark(name)
    if ledger is None or known is None:
        return reading
    if known["made"] != _made(planned):
        return replace(reading, is_void=True)
    if not is_as_it_was(ledger.identity(name), planned):
        # Whether delivered events would get other ids, only all rows show.
        return reading
    mark = int(known["mark"])
    return replace(reading, mark=mark, start=mark - since.lookback)


def advance(reading: Reading, planned: Plan, found: Survey, ledger: Ledger, name: str) -> None:
    """Move the mark, after a run that left no event to be sent.

    Where all was read it is made anew, else it only goes up: what it once passed was delivered.
    """
    window = found.window
    mark, _ = reading.reached(window)
    if found.unread or window.stuck or window.newest is None or mark is None:
        return
    if window.held is not None:
        mark = min(mark, window.held)
    if reading.mark is not None:
        mark = max(mark, reading.mark)
    record = {"made": _made(planned), "mark": mark, "is_time": reading.is_time, "column": reading.column}
    ledger.set_mark(name, {**record, "lookback": reading.lookback})


def _before_the_leap(values: list[int], lookback: int) -> tuple[int | None, int | None]:
    """The last of some numbers, which go up, before a leap to a few that stand out; and the first of those, if any.

    A leap is far beyond the lookback and the usual step. One mistyped number would have all that comes before it passed
    over. Where many stand beyond a leap, they are what numbers are from then on.
    """
    steps = [after - before for before, after in pairwise(values)]
    for at in range(max(0, len(steps) - FEW + 1), len(steps)):
        # Nothing is before the first step: those behind it tell what is usual.
        if steps[at] > max(lookback, FAR * median(steps[:at] or steps[1:] or [1])):
            return values[at], values[at + 1]
    return (values[-1] if values else None), None


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
