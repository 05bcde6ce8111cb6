"""A survey and a delivery over parts of an export: each phase everywhere, then what only all parts together show.

    parts: read ─→ whole: which hashes stand twice ─→ parts: look again ─→ whole: resolve ─→ parts: settle, … ─→ send

What is decided is decided over numbers (hashes of ids, places, states), in the export's order: it is the same, however
many parts there are, wherever and in whatever order they are read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from backfill.cluster import work
from backfill.errors import BackfillError
from backfill.parts import Bounds, add_read, add_settled, add_window, part_of
from backfill.pipeline import Delivered, Delivery, left_over
from backfill.plan import Plan
from backfill.read import PART_BYTES, Export, split
from backfill.records import Rejection
from backfill.send import Snapshot
from backfill.sums import Sums
from backfill.survey import Look, Rejecter, Watcher, conclude, needs_settling
from backfill.tally import Survey, late_rejection, resolve
from backfill.timeline import Timeline

__all__ = ["Apart", "Hands"]

# Of so many bytes of an export the hashes are compared in one place: some 20 M events, 160 MB.
BUCKET_BYTES = 4_000_000_000


class Hands(Protocol):
    """Who does the work on the parts."""

    def each(
        self, what: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], far: int = 0
    ) -> Iterator[tuple[Any, list[Any]]]:
        """Do `what(*job)` for each job, and give the results in the order of the jobs.

        With `far`, the work gives so many values more, behind the first: they stay where they are, and what stands for
        them here may be given to later jobs.
        """

    def send(
        self, jobs: Sequence[tuple[Any, ...]], delivery: Delivery, take: Callable[[int, work.Sent], None]
    ) -> BackfillError | None:
        """Do `work.send_part` for each job, whose first arguments it is, and give the results as they come.

        All keep the rate of `delivery` together. A job that can't be done to its end anywhere gives no result. What is
        returned is why the others were told to stop, if they were.
        """


@dataclass
class Part:
    """A part of the export, where it stands in the whole, and what stands for its hashes."""

    export: Export
    bounds: Bounds = field(default_factory=lambda: Bounds(slice(0, 0), slice(0, 0)))
    hashes: Any = None

    @property
    def files(self) -> set[int]:
        """The positions of the files that some of it is of."""
        return {opened.file.position for opened in self.export.files} | set(self.export.unread)


class Apart:
    """The survey and the delivery of one export, by many hands."""

    def __init__(self, hands: Hands, most: int = PART_BYTES) -> None:
        self._hands = hands
        self._most = most
        self.parts: list[Part] = []
        self.job: work.Job

    def survey(self, look: Look, found: Survey, watch: Watcher | None = None, reject: Rejecter | None = None) -> None:
        """As `survey.survey_all`."""
        planned = look.planned
        found.timeline = Timeline(look.zone)
        start = planned.shaper.since.start if planned.shaper.since else None
        self.job = work.Job(planned.mapping, look.ledger, look.now, start, look.not_newer_than, look.retry_rejected)
        # Rows that make a group are read by one.
        most = self._most if planned.shaper.grouping is None else sys.maxsize
        self.parts = [Part(export) for export in split(planned.export, most)]
        bare, buckets = self._read(planned, found, watch, reject)
        self._look_again(found, bare, buckets)
        resolve(found, planned.export)
        found.sums.settle(found.index)
        if needs_settling(look, found):
            self._settle(found)
        if planned.shaper.since is not None and not found.unread:
            for window, _ in self._hands.each(work.window_part, self._jobs(found)):
                add_window(found.window, window)
        if found.late and reject:
            self._reject_late(planned, found, reject)
        conclude(found)

    def _read(
        self, planned: Plan, found: Survey, watch: Watcher | None, reject: Rejecter | None
    ) -> tuple[list[Survey], list[list[Any]]]:
        size = sum(opened.fingerprint.size for opened in planned.export.files)
        count = 1 << max(0, (size // BUCKET_BYTES).bit_length())
        jobs = [(self.job, part.export, count) for part in self.parts]
        bare: list[Survey] = []
        buckets: list[list[Any]] = [[] for _ in range(count)]
        done = 0
        for part, (read, far) in zip(self.parts, self._hands.each(work.read_part, jobs, far=1 + count), strict=True):
            part.bounds = add_read(found, read.found)
            part.export, part.hashes = read.export, far[0]
            for mine, one in zip(buckets, far[1:], strict=True):
                mine.append(one)
            bare.append(Survey(index=read.found.index.bare(), unread=read.found.unread))
            if planned.export.older:
                for file, skipped in read.skipped.items():
                    before = planned.export.older.skipped.get(file, 0)
                    planned.export.older.skipped[file] = before + skipped
            for frame, rejections in read.rejects if reject else ():
                reject(frame, rejections)  # type: ignore[misc]  # there is one
            done += sum(opened.fingerprint.size for opened in part.export.files if opened.groups is None)
            if watch:
                found.reached = (done, size)
                watch(found)
        return bare, buckets

    def _look_again(self, found: Survey, bare: list[Survey], buckets: list[list[Any]]) -> None:
        for part, one in zip(self.parts, bare, strict=True):
            # Of a file that can't be read on nothing is sent, also of the row groups that another part has.
            for file in (found.index.held_files() & part.files) - one.index.held_files():
                one.index.hold(file, neighbours=False)
        repeated = [ids for ids, _ in self._hands.each(work.bucket, [tuple(mine) for mine in buckets])]
        ids = np.concatenate(repeated)
        jobs = [(self.job, part.export, mine, part.hashes, ids) for part, mine in zip(self.parts, bare, strict=True)]
        for part in self.parts:
            part.hashes = None
        looked = [one for one, _ in self._hands.each(work.look_part, jobs)]
        for part, (one, sums) in zip(self.parts, looked, strict=True):
            events = part.bounds.events
            found.index.add_looked(one, events.start, events.stop - events.start)
            found.sums.add_looked(sums, events.start)

    def _settle(self, found: Survey) -> None:
        found.names, found.timeline, found.sums = {}, Timeline(found.timeline.zone), Sums()
        settled = self._hands.each(work.settle_part, self._jobs(found))
        for part, (one, _) in zip(self.parts, settled, strict=True):
            add_settled(found, one, part.bounds)

    def _reject_late(self, planned: Plan, found: Survey, reject: Rejecter) -> None:
        late: list[list[Rejection]] = [[] for _ in self.parts]
        of_file: dict[int, list[int]] = {}
        for number, part in enumerate(self.parts):
            for opened in part.export.files:
                of_file.setdefault(opened.file.position, []).append(number)
        for one in found.late:
            for number in of_file[one.file]:
                late[number].append(late_rejection(one, planned.export))
        jobs = [(*job, mine) for job, mine in zip(self._jobs(found), late, strict=True) if mine]
        for rejects, _ in self._hands.each(work.late_part, jobs):
            for frame, rejections in rejects:
                reject(frame, rejections)

    def deliver(self, delivery: Delivery) -> Delivered:
        """As `pipeline.deliver`."""
        chosen, total = delivery.chosen, delivery.total
        result = Delivered()
        errands = []
        for part in self.parts:
            mine = chosen[part.bounds.events]
            if mine.any():
                found = self.found_in(delivery.survey, part)
                errands.append((self.job, part.export, found, mine))
        snapshots = []
        never = dict(enumerate(int(chosen.sum()) for *_, chosen in errands))

        def take(number: int, sent: work.Sent) -> None:
            del never[number]
            result.add(sent.delivered)
            snapshots.append(sent.delivered.snapshot)
            for outcome in sent.refused:
                delivery.refused(outcome)

        stopped = self._hands.send(errands, delivery, take)
        result.error = result.error or stopped
        result.error = stopped or result.error
        result.unsent += sum(never.values())
        result.pending = total - result.accepted - result.refused
        result.snapshot = Snapshot.together(snapshots, snapshots, one_rate=True)
        if result.error is None and result.pending:
            result.error = left_over(result)
        return result

    def _jobs(self, found: Survey) -> list[tuple[Any, ...]]:
        """Each part with what is known of it now."""
        return [(self.job, part.export, self.found_in(found, part)) for part in self.parts]

    def found_in(self, found: Survey, part: Part) -> Survey:
        """What is known of one part."""
        return part_of(found, part.bounds, part.files)
