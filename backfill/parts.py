"""An export in parts that are read apart: what was found in each, put together as if it had been read as one.

The parts stand one behind the other, so that events keep their numbers: those of a part are the numbers of the whole,
from where the part begins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from backfill.survey import CHANGED_SHOWN
from backfill.tally import EXAMPLES, GREATEST, NameStats, ProblemGroup, Survey, Window, add_notices
from backfill.timeline import Timeline

__all__ = ["Bounds", "add_read", "add_settled", "add_window", "part_of"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a part stands in the whole: its chunks, its events."""

    chunks: slice
    events: slice


def add_read(whole: Survey, part: Survey) -> Bounds:
    """What the first reading of the next part found."""
    at = len(whole.index)
    chunks = len(whole.index.checksums)
    for name in ("read", "unreadable", "filtered", "mapped"):
        setattr(whole.rows, name, getattr(whole.rows, name) + getattr(part.rows, name))
    whole.invalid += part.invalid
    for code, group in part.problems.items():
        mine = whole.problems.setdefault(code, ProblemGroup(code))
        mine.count += group.count
        mine.examples += group.examples[: EXAMPLES - len(mine.examples)]
    add_notices(whole, list(part.notices.values()))
    _add_names(whole, part)
    _add_changed(whole, part, at)
    whole.unread += part.unread
    whole.rejected_in |= part.rejected_in
    whole.not_newer_than = part.not_newer_than
    for file, names in part.mended.items():
        whole.mended.setdefault(file, Counter()).update(names)
    add_window(whole.window, part.window)
    numbers = whole.index.add_part(part.index)
    if whole.timeline.oldest is None:
        whole.timeline = Timeline(part.timeline.zone)
    whole.timeline.add_part(part.timeline, numbers)
    whole.sums.add_part(part.sums, numbers)
    return Bounds(slice(chunks, len(whole.index.checksums)), slice(at, len(whole.index)))


def part_of(whole: Survey, bounds: Bounds, files: Iterable[int]) -> Survey:
    """After `resolve`, what is known of one part, which is of these files."""
    mine = set(files)
    return Survey(
        index=whole.index.part(bounds.chunks, bounds.events),
        unread=[one for one in whole.unread if one.file in mine],
    )


def add_settled(whole: Survey, part: Survey, bounds: Bounds) -> None:
    """What `settle` found in one part; the names and the timeline of the whole were made empty before the first."""
    whole.index.states[bounds.events] = part.index.states
    _add_changed(whole, part, bounds.events.start)
    _add_names(whole, part)
    if whole.timeline.oldest is None:
        whole.timeline = Timeline(part.timeline.zone)
    numbers = range(len(whole.index.names))
    whole.timeline.add_part(part.timeline, numbers)
    whole.sums.add_part(part.sums, numbers)


def add_window(whole: Window, part: Window) -> None:
    """What was seen of `source.since` in one part."""
    whole.older += part.older
    whole.unknown += part.unknown
    whole.greatest = sorted({*whole.greatest, *part.greatest}, reverse=True)[:GREATEST]
    whole.held = min((held for held in (whole.held, part.held) if held is not None), default=None)
    whole.stuck = whole.stuck or part.stuck


def _add_names(whole: Survey, part: Survey) -> None:
    for name, stats in part.names.items():
        mine = whole.names.setdefault(name, NameStats())
        mine.count += stats.count
        mine.recent += stats.recent
        mine.oldest = min((time for time in (mine.oldest, stats.oldest) if time is not None), default=None)
        mine.newest = max((time for time in (mine.newest, stats.newest) if time is not None), default=None)


def _add_changed(whole: Survey, part: Survey, at: int) -> None:
    for number, changed in part.changed.items():
        if len(whole.changed) < CHANGED_SHOWN:
            whole.changed[at + number] = changed
