"""An export once more, as it was when it was checked.

What was decided about an event was decided by its number; it is of use only if the export is as it was, chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from backfill.ahead import ahead
from backfill.errors import ExportError
from backfill.index import Flags, checksum, hashes
from backfill.plan import Plan
from backfill.records import Chunk
from backfill.shape import HEAD, ID, TAIL, Shaped
from backfill.tally import Survey

__all__ = ["Reread", "again"]


@dataclass(frozen=True, slots=True)
class Reread:
    """A chunk that was read again: its rows, what became of them, and the number of its first event."""

    at: int
    rows: pl.DataFrame
    shaped: Shaped


def again(planned: Plan, found: Survey, scratch: Path | None, wanted: Flags | None = None) -> Iterator[Reread]:
    """The chunks that hold an event that is `wanted` (by number; None: all of them), in the order of the export.

    Raises ExportError where the export is not as it was: also where a file can't be read now that could be, or the
    other way round.
    """
    unread = {one.file for one in found.unread}
    sums = found.index.checksums
    counts = np.array([count for count, _, _ in sums], np.int64)
    starts = np.concatenate(([0], np.cumsum(counts)))[: len(sums)]
    skipped: set[int] = set()
    # Where groups are put together, chunks are not those that the reader gave.
    if wanted is not None and planned.shaper.grouping is None and len(sums):
        before = np.concatenate(([0], np.cumsum(wanted)))
        skipped = set(np.flatnonzero(before[starts + counts] == before[starts]).tolist())
    numbers = iter(sorted(set(range(len(sums))) - skipped))

    def with_rows() -> Iterator[tuple[int | None, Chunk]]:
        at = -1
        for chunk in planned.shaper.whole_groups(planned.export.chunks(), scratch):
            if chunk.unread and chunk.unread.file not in unread:
                raise ExportError(chunk.unread.why, hint=chunk.unread.hint)
            at += bool(chunk.frame.height)
            if chunk.frame.height and at not in skipped:
                yield next(numbers, None), chunk

    def reread(item: tuple[int | None, Chunk]) -> Reread:
        number, chunk = item
        shaped = planned.shaper.shape(chunk.frame)
        events = shaped.events
        now = checksum(hashes(planned.shaper.finish_id(events)[ID]), (events[HEAD], events[TAIL]))
        if number is None or sums[number] != now:
            raise _other_rows()
        return Reread(int(starts[number]), chunk.frame, shaped)

    yield from ahead(with_rows(), reread)
    if next(numbers, None) is not None:
        raise _other_rows()


def _other_rows() -> ExportError:
    return ExportError("the export has other rows than when it was checked", hint="run again")
