"""The second reading: what the survey found ready is read again, packed, sent, and remembered.

    read → shape → (one chunk ahead) → pack → workers: send → recorder: ledger

One task group owns every task. Reading and the ledger are in threads. A worker takes its next request when the
ledger holds the outcomes of the last, so that after a kill only what was in flight goes twice.
"""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import numpy as np
import polars as pl
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from backfill.again import Reread, made_of
from backfill.arrays import Flags
from backfill.chosen import first_of, first_of_each
from backfill.errors import BackfillError, BugError, InterruptedRun, StoppedError
from backfill.index import State
from backfill.ledger import Ledger
from backfill.pace import Pacing
from backfill.pack import pack
from backfill.plan import Plan
from backfill.printable import plural
from backfill.recorder import Recorder
from backfill.records import Events, Outcome, Request
from backfill.send import Sender, Snapshot, Target
from backfill.signals import kept
from backfill.survey import events_of
from backfill.tally import Survey
from backfill.world import World

__all__ = [
    "Delivered",
    "Delivery",
    "Sending",
    "check_balance",
    "deliver",
    "interrupted",
    "left_over",
]

# What is in flight when a signal comes has this long to be answered.
DRAIN_SECONDS = 20.0
PROGRESS_SECONDS = 0.2
# Workers beyond the sender's concurrency wait for the ledger while others send.
WORKERS_PER_PLACE = 2
# So many events of each name are named for the user to look at in the store.
CANARIES = 3
# New containers between two looks for garbage. Python's own 700 are those of some 30 requests: 7 % of the event loop's
# time, for garbage that there is not, since what a request leaves goes with its last reference.
GARBAGE_EVERY = 50_000


@dataclass(frozen=True, slots=True)
class Sending:
    """The state of delivery, for who watches: events by outcome, and the sender's own figures; of many `stores` how
    many are done, in words.
    """

    total: int
    accepted: int
    refused: int
    pending: int
    seconds: float
    snapshot: Snapshot
    stores: str = ""


@dataclass
class Delivered:
    """How delivery ended: events by outcome, the figures, and the error that stopped it, if any did.

    `sent_names` and `refused_names` count accepted and refused events by name; `unsent` were never handed to the
    sender. `canaries` are, of a part that was sent to be looked at, the first accepted events of each name: file, row,
    uniqueId.
    """

    accepted: int = 0
    refused: int = 0
    pending: int = 0
    unsent: int = 0
    sent_names: dict[str, int] = field(default_factory=dict)
    refused_names: dict[str, int] = field(default_factory=dict)
    canaries: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)
    snapshot: Snapshot = field(default_factory=Snapshot)
    error: BackfillError | None = None

    def add(self, part: Delivered) -> None:
        """Some of the events, which were delivered elsewhere: their ends, their examples, their first error."""
        self.accepted += part.accepted
        self.refused += part.refused
        self.unsent += part.unsent
        for mine, theirs in ((self.sent_names, part.sent_names), (self.refused_names, part.refused_names)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        for name, places in part.canaries.items():
            self.canaries[name] = sorted([*self.canaries.get(name, []), *places])[:CANARIES]
        # That others were told to stop then is no reason of its own.
        if self.error is None or isinstance(self.error, InterruptedRun):
            self.error = part.error or self.error


@dataclass(frozen=True)
class Delivery:
    """What delivery needs. `rate` in requests/s; `limit` in events, `limit_each` in events of each name; `only` says
    which events instead; `pace` keeps the rate where others send to the same store; `refused` is told of each refused
    event.
    """

    planned: Plan
    survey: Survey
    ledger: Ledger
    run: int
    target: Target
    rate: float
    concurrency: int
    limit: int | None = None
    limit_each: int | None = None
    only: Flags | None = None
    pace: Callable[[], AbstractAsyncContextManager[Pacing]] | None = None
    retry_rejected: bool = False
    scratch: Path | None = None
    world: World = field(default_factory=World)
    refused: Callable[[Outcome], None] = lambda outcome: None
    watch: Callable[[Sending], None] = lambda sending: None

    @property
    def states(self) -> tuple[State, ...]:
        """The states of the events to be sent."""
        return (State.NEW, State.REFUSED) if self.retry_rejected else (State.NEW,)

    @cached_property
    def chosen(self) -> Flags:
        """Which events are to be sent, by number."""
        if self.only is not None:
            return self.only
        chosen = self.survey.index.chosen(self.states)
        if self.limit_each is not None:
            chosen = first_of_each(chosen, self.survey.index, self.limit_each)
        return chosen if self.limit is None else first_of(chosen, self.limit)

    @cached_property
    def total(self) -> int:
        """How many events are to be sent."""
        return int(self.chosen.sum())


def deliver(delivery: Delivery) -> Delivered:
    """Send all that is to be sent; returns in any case with what was achieved, and with what stopped it."""
    with _GARBAGE, kept():
        return anyio.run(_Run(delivery).main, backend_options=_loop())


class _RareGarbage:
    """Python looks for garbage less often while anything is within, from whichever thread."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._within = 0
        self._before = gc.get_threshold()

    def __enter__(self) -> None:
        with self._turn:
            self._within += 1
            if self._within == 1:
                # What is there by now stays: to look through it for garbage again and again took a sixth of all time.
                gc.freeze()
                self._before = gc.get_threshold()
                gc.set_threshold(GARBAGE_EVERY, *self._before[1:])

    def __exit__(self, *_unused: object) -> None:
        with self._turn:
            self._within -= 1
            if not self._within:
                gc.set_threshold(*self._before)
                gc.unfreeze()


_GARBAGE = _RareGarbage()


def _loop() -> dict[str, object]:
    try:
        import uvloop  # noqa: F401 (there is none for Windows)
    except ImportError:
        return {}
    return {"use_uvloop": True}


def to_send(delivery: Delivery) -> Iterator[Events]:
    """The events to be sent, chunk by chunk, in the export's order. Raises ExportError if the export is another now."""
    index, shaper = delivery.survey.index, delivery.planned.shaper
    chosen = delivery.chosen

    def ready(one: Reread) -> Events:
        stop = one.at + one.shaped.events.height
        mine = pl.Series(np.flatnonzero(chosen[one.at : stop]))
        return events_of(shaper.finish_id(one.shaped.events, index.twin_of(one.at, stop))[mine])

    return made_of(ready, delivery.planned, delivery.survey, delivery.scratch, chosen)


class _Run:
    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.result = Delivered()
        self.total = delivery.total
        self.is_part = delivery.limit is not None or delivery.limit_each is not None
        self.offered = 0
        self.ended = 0
        self.began = delivery.world.clock.monotonic()
        self.sender: Sender

    async def main(self) -> Delivered:
        delivery = self.delivery
        world = delivery.world
        self.recorder = Recorder(delivery.ledger, delivery.run, self._failed, enough=max(1, delivery.concurrency // 2))
        async with (
            delivery.pace() if delivery.pace else nullcontext() as pace,
            Sender(
                delivery.target,
                world.transport(max(64, delivery.concurrency)),
                rate=delivery.rate,
                pace=pace,
                concurrency=delivery.concurrency,
                record=self._known,
                clock=world.clock,
                random=world.random,
            ) as self.sender,
        ):
            async with anyio.create_task_group() as around:
                self.work = anyio.CancelScope()
                around.start_soon(self.recorder.run)
                around.start_soon(self._signals)
                around.start_soon(self._progress)
                with self.work:
                    await self._work()
                with anyio.CancelScope(shield=True):
                    await self.recorder.close()
                around.cancel_scope.cancel()
            self.result.snapshot = self.sender.snapshot()
        self.result.unsent = self.total - self.offered
        if self.result.error is None:
            self.result.error = self._unbalanced()
        self.result.pending = self.total - self.result.accepted - self.result.refused
        if self.result.error is None and self.result.pending:
            self.result.error = left_over(self.result)
        self._report()
        return self.result

    async def _work(self) -> None:
        workers = self.delivery.concurrency * WORKERS_PER_PLACE
        give, take = anyio.create_memory_object_stream[Events](0)
        async with anyio.create_task_group() as group:
            group.start_soon(self._read, give)
            requests = _Requests(take, self.delivery.target.bulk)
            for _ in range(workers):
                group.start_soon(self._send, requests)

    async def _read(self, give: MemoryObjectSendStream[Events]) -> None:
        """A chunk ahead of the workers."""
        chunks = to_send(self.delivery)
        async with give:
            try:
                while not self.sender.stopped():
                    events = await anyio.to_thread.run_sync(next, chunks, None)
                    if events is None:
                        return
                    await give.send(events)
            except anyio.BrokenResourceError:
                pass  # stopped: nobody takes them
            except BackfillError as error:
                # What was offered is still delivered: a file that changes costs what was not read yet.
                self.result.error = self.result.error or error

    async def _send(self, requests: _Requests) -> None:
        while not self.sender.stopped() and (request := await requests.take()) is not None:
            self.offered += len(request)
            try:
                self._ended(await self.sender.deliver(request), request)
            except BackfillError as error:
                self._failed(error)
            await self.recorder.flushed()
        requests.close()

    def _ended(self, outcome: Outcome, request: Request) -> None:
        """Each event of a request has one end, and the ends that were told on the way are the same."""
        ends = [*outcome.accepted, *(i for i, _ in outcome.refused), *outcome.pending]
        if sorted(ends) != list(range(request.start, request.stop)):
            self._failed(BugError("a request's events did not each end once", hint="please report it"))
        self.ended += len(outcome.accepted) + len(outcome.refused)

    def _known(self, outcome: Outcome) -> None:
        """The sender's word on some events, in the event loop, as soon as there is one."""
        self.result.accepted += len(outcome.accepted)
        self.result.refused += len(outcome.refused)
        for i in outcome.accepted:
            name = outcome.events.names[i]
            self.result.sent_names[name] = self.result.sent_names.get(name, 0) + 1
        for i, _ in outcome.refused:
            name = outcome.events.names[i]
            self.result.refused_names[name] = self.result.refused_names.get(name, 0) + 1
        if self.is_part:
            self._show(outcome)
        self.recorder.add(outcome)
        if outcome.refused:
            self.delivery.refused(outcome)

    def _show(self, outcome: Outcome) -> None:
        """Of the accepted events those that stand first in the export are named to the user."""
        events = outcome.events
        for i in outcome.accepted:
            mine = self.result.canaries.setdefault(events.names[i], [])
            mine.append((events.files[i], events.rows[i], events.ids[i]))
            mine.sort()
            del mine[CANARIES:]

    def _failed(self, error: BackfillError) -> None:
        """The first error decides how the run ends; nothing more is sent."""
        self.result.error = self.result.error or error
        self.sender.stop()

    async def _signals(self) -> None:
        first = True
        async for number in self.delivery.world.stop.coming():
            if first:
                first = False
                self._failed(interrupted(number))
                self.work.deadline = anyio.current_time() + DRAIN_SECONDS
            else:
                self.work.cancel()

    async def _progress(self) -> None:
        while True:
            self._report()
            await anyio.sleep(PROGRESS_SECONDS)

    def _unbalanced(self) -> BugError | None:
        """What was counted on three ways: offered by the reader, told by the sender, ended by its answers."""
        told = self.result.accepted + self.result.refused
        if self.offered == self.total and told == self.ended:
            return None
        return BugError(
            f"numbers do not balance: {self.total} to send, {self.offered} offered, {told} told, {self.ended} ended",
            hint="please report it with summary.json",
        )

    def _report(self) -> None:
        result = self.result
        left = self.total - result.accepted - result.refused
        self.delivery.watch(
            Sending(
                self.total,
                result.accepted,
                result.refused,
                left,
                self.delivery.world.clock.monotonic() - self.began,
                self.sender.snapshot(),
            )
        )


def left_over(result: Delivered) -> StoppedError:
    """What there is to say of events that are left where nothing stopped the run."""
    seen = result.snapshot.trouble or "the report tells what came instead"
    return StoppedError(
        f"{plural(result.pending, 'event')} left: some requests got no answer that counts ({seen})",
        hint="run the same command again: what was accepted is recorded and is not sent again",
    )


def interrupted(number: int) -> InterruptedRun:
    """How a run ends at a signal."""
    name = signal.Signals(number).name
    return InterruptedRun(
        f"interrupted by {name}: what was sent is recorded",
        signal=number,
        hint="run the same command again to go on",
    )


class _Requests:
    """The requests of one chunk after the other, for many workers; packed as they are taken."""

    def __init__(self, chunks: MemoryObjectReceiveStream[Events], bulk: bool) -> None:
        self._chunks, self._bulk = chunks, bulk
        self._packed: Iterator[Request] = iter(())
        self._turn = anyio.Lock()

    async def take(self) -> Request | None:
        """The next request; None after the last, and for all after `close`."""
        while (request := next(self._packed, None)) is None:
            before = self._packed
            async with self._turn:
                if before is self._packed:  # nobody else has fetched the next chunk meanwhile
                    try:
                        self._packed = pack(await self._chunks.receive(), bulk=self._bulk)
                    except (anyio.EndOfStream, anyio.ClosedResourceError):
                        return None
        return request.alone()

    def close(self) -> None:
        """No more chunks are wanted."""
        self._chunks.close()


def check_balance(survey: Survey, delivered: Delivered, total: int) -> None:
    """The sums that summary.json shows hold, or it is a bug of ours (70).

    What was counted on different ways during delivery is compared there (`_Run._unbalanced`, `_Run._ended`), and that
    both readings gave the same rows in `again`.
    """
    rows, events = survey.rows, survey.events()
    sums = {
        "rows": rows.read == rows.unreadable + rows.filtered + rows.mapped,
        "events": events["total"] == sum(count for name, count in events.items() if name != "total"),
        "outcomes": delivered.pending >= delivered.unsent >= 0,
        "names": sum(delivered.sent_names.values()) == delivered.accepted,
        "total": delivered.accepted + delivered.refused + delivered.pending == total,
    }
    wrong = [name for name, holds in sums.items() if not holds]
    if wrong:
        raise BugError(
            f"the numbers do not balance: {', '.join(wrong)} ({rows}, {events}, {delivered})",
            hint="please report it with summary.json",
        )
