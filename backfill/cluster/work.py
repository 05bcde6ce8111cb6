"""What is done to one part of an export, wherever: the phases of `survey`, and delivery, over the part's rows alone.

All that goes in and comes out can be pickled. Each phase gives the same whenever and wherever it is done, but for what
the ledger knows by then, so that one whose machine died is done again elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from backfill.again import again
from backfill.arrays import Flags, UInt64s, repeated
from backfill.index import Hashes, Looked
from backfill.ledger import Ledger, keys
from backfill.mapping import Mapping
from backfill.pace import Pacing
from backfill.pipeline import Delivered, Delivery, Sending, deliver
from backfill.plan import Plan
from backfill.read import Export
from backfill.records import Outcome, Rejection
from backfill.report import rejected_rows
from backfill.scratch import scratch_for
from backfill.send import Target
from backfill.shape import ID, NAME, compile_shaper
from backfill.sums import Sums
from backfill.survey import Look, hold_window, look_again, read, reject_late, settle
from backfill.tally import Survey, Window
from backfill.world import World

__all__ = [
    "Errand",
    "Job",
    "Read",
    "Rejects",
    "Sent",
    "bucket",
    "late_part",
    "look_part",
    "read_part",
    "send_part",
    "settle_part",
    "window_part",
]

Rejects = list[tuple[pl.DataFrame, list[Rejection]]]
"""Rows that hold rejections, and the rejections, as `RunFolder.reject_rows` takes them."""


@dataclass(frozen=True)
class Job:
    """What all the parts of an export have in common. `start` is the least value of `source.since` that is read."""

    mapping: Mapping
    ledger: Ledger | None
    now: datetime
    start: int | None = None
    not_newer_than: str = ""
    retry_rejected: bool = False

    def plan(self, export: Export) -> Plan:
        """The plan for a part of the export. It is made where it is used: expressions do not travel."""
        whole = Plan(self.mapping, export, compile_shaper(self.mapping, export.schema, self.now))
        return whole if self.start is None else whole.since(self.start)

    @contextmanager
    def look(self, export: Export) -> Iterator[Look]:
        """The survey of a part of the export."""
        planned = self.plan(export)
        with scratch_for(None, planned) as scratch:
            yield Look(planned, self.ledger, self.now, scratch, self.not_newer_than, self.retry_rejected)


@dataclass
class Read:
    """What the first reading of a part found. `export` knows now where its chunks begin; `skipped` counts row groups
    that were not read, by file.
    """

    found: Survey
    export: Export
    rejects: Rejects = field(default_factory=list)
    skipped: dict[int, int] = field(default_factory=dict)


def read_part(job: Job, export: Export, buckets: int) -> tuple[Any, ...]:
    """The first phase. Gives (Read, Hashes, a bucket of hashes, …, the last bucket)."""
    result = Read(Survey(), export)

    def reject(frame: pl.DataFrame, rejections: list[Rejection]) -> None:
        result.rejects.append((rejected_rows(frame, rejections), rejections))

    with job.look(export) as look:
        read(look, result.found, reject=reject)
    older = look.planned.export.older
    result.skipped = dict(older.skipped) if older else {}
    index = result.found.index
    hashes, index.hashes = index.hashes, Hashes()
    return result, hashes, *hashes.buckets(buckets)


def bucket(*parts: UInt64s) -> UInt64s:
    """Which hashes of a bucket stand more than once in all parts together."""
    return repeated(list(parts))


def look_part(job: Job, export: Export, found: Survey, hashes: Hashes, ids: UInt64s) -> tuple[Looked, Sums]:
    """The second look: at the events whose ids are among `ids`, which stand more than once in the whole export."""
    found.index.hashes = hashes
    # The rows of groups are one part: which group comes back later shows within it.
    found.index.expect(ids, repeated(hashes.groups))
    if found.index.is_open():
        with job.look(export) as look:
            look_again(look, found)
    return found.index.looked, found.sums


def settle_part(job: Job, export: Export, found: Survey) -> Survey:
    """What the ledger knows of twins, and what is to be sent by name and time."""
    # What comes from elsewhere may be read only.
    found.index.states = found.index.states.copy()
    with job.look(export) as look:
        settle(look, found)
    return found


def window_part(job: Job, export: Export, found: Survey) -> Window:
    """Which rows hold the mark of `source.since`."""
    with job.look(export) as look:
        hold_window(look, found)
    return found.window


def late_part(job: Job, export: Export, found: Survey, late: list[Rejection]) -> Rejects:
    """The rows whose problem only the whole export showed."""
    rejects: Rejects = []
    with job.look(export) as look:
        reject_late(look, found, late, lambda frame, mine: rejects.append((rejected_rows(frame, mine), mine)))
    return rejects


@dataclass(frozen=True)
class Errand:
    """How a part is delivered: to whom, as which run of the ledger, with how many requests in flight.

    `is_part`: the first events are to be named. `pace` keeps the store's rate. `again`: the part was begun before, and
    what the ledger knows by now is not sent again.
    """

    target: Target
    run: int
    rate: float
    concurrency: int
    is_part: bool
    pace: Callable[[], AbstractAsyncContextManager[Pacing]]
    world: World
    watch: Callable[[Sending], None]
    again: bool


@dataclass
class Sent:
    """How the delivery of a part ended; `refused` as they came."""

    delivered: Delivered
    refused: list[Outcome] = field(default_factory=list)


def send_part(job: Job, export: Export, found: Survey, chosen: Flags, errand: Errand) -> Sent:
    """Deliver the `chosen` events of a part."""
    assert job.ledger is not None
    planned, sent, chosen = job.plan(export), Sent(Delivered()), chosen.copy()
    with scratch_for(None, planned) as scratch:
        before = _accepted_before(planned, found, chosen, job.ledger, scratch) if errand.again else {}
        delivery = Delivery(
            planned=planned,
            survey=found,
            ledger=job.ledger,
            run=errand.run,
            target=errand.target,
            rate=errand.rate,
            concurrency=errand.concurrency,
            only=chosen,
            limit=len(chosen) if errand.is_part else None,
            pace=errand.pace,
            scratch=scratch,
            world=errand.world,
            refused=sent.refused.append,
            watch=errand.watch,
        )
        sent.delivered = deliver(delivery)
    for name, count in before.items():
        sent.delivered.accepted += count
        sent.delivered.sent_names[name] = sent.delivered.sent_names.get(name, 0) + count
    return sent


def _accepted_before(
    planned: Plan, found: Survey, chosen: Flags, ledger: Ledger, scratch: Path | None
) -> dict[str, int]:
    """Of the `chosen` events, which are then no more chosen, those that an attempt before had accepted, by name.

    Nobody else had them accepted: the store's ledger is this run's alone since it asked.
    """
    counts: Counter[str] = Counter()
    for one in again(planned, found, scratch, chosen):
        stop = one.at + one.shaped.events.height
        events = planned.shaper.finish_id(one.shaped.events, found.index.twin_of(one.at, stop))
        mine = np.flatnonzero(chosen[one.at : stop])
        ids, names = events[ID].gather(mine).to_list(), events[NAME].gather(mine).to_list()
        asked = keys(ids)
        accepted, _ = ledger.look_up(asked)
        for number, key, name in zip(mine.tolist(), asked, names, strict=True):
            if key in accepted:
                chosen[one.at + number] = False
                counts[name] += 1
    return dict(counts)
