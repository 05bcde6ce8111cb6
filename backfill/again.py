"""An export once more, as it was when it was checked.

What was decided about an event was decided by its number; it is of use only if the export is as it was, chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from backfill.ahead import ahead
from backfill.arrays import Flags, checksum, hashes
from backfill.errors import ExportError
from backfill.plan import Plan
from backfill.records import Chunk
from backfill.shape import HEAD, ID, TAIL, Shaped
from backfill.tally import Survey

__all__ = ["Reread", "again", "made_of"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reread:
    """A chunk that was read again: its rows, what became of them, and the number of its first event."""

    at: int
    rows: pl.DataFrame
    shaped: Shaped


def again(planned: Plan, found: Survey, scratch: Path | None, wanted: Flags | None = None) -> Iterator[Reread]:
    """The chunks that hold an event that is `wanted` (by number; None: all of them), in the order of the export.

    Behind the last chunk that is wanted nothing is read: what happens to the files then is of no account.

    Raises ExportError where the export is not as it was: also where a file can't be read now that could be, or the
    other way round.
    """
    return made_of(lambda one: one, planned, found, scratch, wanted)


def made_of(
    work: Callable[[Reread], Result], planned: Plan, found: Survey, scratch: Path | None, wanted: Flags | None
) -> Iterator[Result]:
    """What `work` makes of each of them, in threads and ahead of who takes it. Else as `again`."""
    unread = {one.file for one in found.unread}
    sums = found.index.checksums
    starts = np.cumsum([0, *(count for count, _, _ in sums)]).tolist()
    needed = np.array([wanted is None or wanted[a:b].any() for a, b in pairwise(starts)], np.bool_)
    last = int(np.flatnonzero(needed)[-1]) if needed.any() else -1
    # Where groups are put together, chunks are not those that the reader gave.
    skipped = set() if planned.shaper.grouping else set(np.flatnonzero(~needed).tolist())
    left = iter([number for number in range(len(sums)) if number not in skipped])

    def with_rows() -> Iterator[tuple[int, Chunk]]:
        number = -1
        for chunk in planned.shaper.whole_groups(planned.export.chunks(skipped), scratch):
            if chunk.unread and chunk.unread.file not in unread:
                raise ExportError(chunk.unread.why, hint=chunk.unread.hint)
            if chunk.frame.height:
                number = next(left, len(sums))
                yield number, chunk
            if wanted is not None and number >= last:
                return
        if number < last:
            raise _other_rows()

    def reread(item: tuple[int, Chunk]) -> Result:
        number, chunk = item
        shaped = planned.shaper.shape(chunk.frame)
        events = shaped.events
        now = checksum(hashes(planned.shaper.finish_id(events)[ID]), (events[HEAD], events[TAIL]))
        if number >= len(sums) or sums[number] != now:
            raise _other_rows()
        return work(Reread(starts[number], chunk.frame, shaped))

    if last >= 0:
        yield from ahead(with_rows(), reread)


def _other_rows() -> ExportError:
    return ExportError("the export has other rows than when it was checked", hint="run again")
