"""The delivery of an export's parts on Ray: which run where, how far they are, what becomes of those that are lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import anyio
import anyio.to_thread

import backfill
from backfill import api
from backfill.cluster import work
from backfill.cluster.dispatch import Dispatch
from backfill.cluster.head import Head
from backfill.cluster.places import LostError, Plain, RateActor, got, send
from backfill.cluster.scheduler import ATTEMPTS, Phase, Split, Start
from backfill.errors import BackfillError, StoppedError
from backfill.pipeline import Delivery, Sending, interrupted
from backfill.send import Snapshot

__all__ = ["PLACE_RATE", "POLL_SECONDS", "SendingParts", "here", "lost_too_often", "on"]

# Seconds of a core that an event costs, in bulk and one by one (measured: the README's table).
BULK_COST, SINGLE_COST = 30e-6, 150e-6
# What a place sends, as far as the scheduler has to know: it only counts places.
PLACE_RATE = 1.0
WATCH_SECONDS = 0.5
POLL_SECONDS = 0.1
# An actor that is there answers at once, and one that begins anew within that.
PATIENCE = 10.0


class Hands(Protocol):
    """What delivery has of a cluster: Ray, its head, what runs where, a store's name there, a look at the machines."""

    ray: Any
    head: Head
    dispatch: Dispatch
    store: str
    count: Callable[[], None]

    def task(self, function: Callable[..., Any]) -> Any:
        """The function as a task."""


def on(machine: str, *, alone: bool = False) -> Any:
    """A task's place: there if it is there to be had, or nowhere else."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(machine, soft=not alone)


def here(ray: Any) -> dict[str, Any]:
    """An actor's place: this machine, without which there is no run. No other's end is to stop all workers."""
    machine = on(ray.get_runtime_context().get_node_id(), alone=True)
    return {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": machine}


def lost_too_often(why: str) -> StoppedError:
    """What is told of a part that can't be done anywhere."""
    return StoppedError(
        f"a part of the export was lost {ATTEMPTS} times with the worker that had it ({why})",
        hint="see what Ray's logs say of the workers; run again: what was accepted is recorded",
    )


class SendingParts:
    """The delivery of all parts: which run, how far they are, what was asked of them."""

    def __init__(
        self,
        hands: Hands,
        jobs: Sequence[tuple[Any, ...]],
        delivery: Delivery,
        take: Callable[[int, work.Sent], None],
    ) -> None:
        self.ray, self.dispatch, self.store = hands.ray, hands.dispatch, hands.store
        self.count, self.head, self.task = hands.count, hands.head, hands.task
        self.holder = self.ray.remote(RateActor).options(**here(self.ray)).remote()
        self.delivery, self.take = delivery, take
        self.jobs = list(jobs)
        self.running: dict[Any, Start] = {}
        self.ended: dict[int, Sending] = {}
        self.stopped: BackfillError | None = None
        self.began = time.monotonic()
        bulk = delivery.target.bulk
        self.limit = delivery.rate * (api.BULK_EVENTS if bulk else 1)
        cost = self.limit * (BULK_COST if bulk else SINGLE_COST)
        self.cpus = round(min(1.0, max(0.05, cost)), 2)
        # One more sends while the next begins.
        self.at_once = min(math.ceil(cost) + 1, len(jobs))
        sizes = [int(chosen.sum()) for *_, chosen in jobs]
        self.splits = self.dispatch.add(self.store, Phase.SEND, sizes, limit=max(self.at_once, 1) * PLACE_RATE)
        self.numbers = {split: number for number, split in enumerate(self.splits)}
        self.left = set(self.splits)

    async def main(self) -> BackfillError | None:
        await self._call(self.holder.begin.remote(self.delivery.target, self.delivery.rate))
        async with anyio.create_task_group() as around:
            around.start_soon(self._signals)
            around.start_soon(self._watch)
            around.start_soon(self._see_head, around.cancel_scope)
            while self.left or self.running:
                self._start()
                await self._end()
                for split in self.dispatch.given_up(self.store):
                    self._lost(split, "its machine is gone")
            around.cancel_scope.cancel()
        with anyio.move_on_after(PATIENCE):
            await self._report()
        return self.stopped

    def _start(self) -> None:
        for start, again in self.dispatch.starts(self.store):
            number, delivery = self.numbers[start.split], self.delivery
            plain = Plain(
                number,
                delivery.run,
                delivery.rate,
                max(1, delivery.concurrency // self.at_once),
                is_part=delivery.limit is not None or delivery.limit_each is not None,
                again=again,
            )
            for ref in [ref for ref, other in self.running.items() if other.split == start.split]:
                # Its machine is taken for gone. If it is not after all, this one is not to send the same.
                del self.running[ref]
                self.ray.cancel(ref, force=True)
            # Nowhere else: what is taken for gone with its machine would be sent by two.
            there = on(start.worker, alone=True)
            task = self.task(send).options(max_retries=0, num_cpus=self.cpus, scheduling_strategy=there)
            self.running[task.remote(backfill.__version__, self.holder, plain, *self.jobs[number])] = start

    async def _end(self) -> None:
        """Wait for the next one that ends, if it is soon, and for what else has by then."""
        if not self.running:
            await anyio.sleep(POLL_SECONDS)
            return
        wait = partial(self.ray.wait, list(self.running), timeout=POLL_SECONDS)
        ready, _ = await anyio.to_thread.run_sync(wait, abandon_on_cancel=True)
        for ref in ready:
            start = self.running.pop(ref)
            try:
                sent: work.Sent = await self._call(ref)
            except LostError as error:
                # When its machine is gone with it, none of its places is free.
                with suppress(Exception), anyio.move_on_after(PATIENCE):
                    await anyio.to_thread.run_sync(self.count, abandon_on_cancel=True)
                if self.dispatch.broke(start):
                    self._lost(start.split, str(error))
                elif self.stopped is not None:
                    self.left.discard(start.split)
            except BackfillError as error:
                if self._is_done(start):
                    self._stop(error)
            else:
                if self._is_done(start):
                    self._take(self.numbers[start.split], sent)

    def _take(self, number: int, sent: work.Sent) -> None:
        self.jobs[number] = ()
        done = sent.delivered
        self.ended[number] = Sending(0, done.accepted, done.refused, 0, 0.0, done.snapshot)
        self.take(number, sent)
        if done.error is not None and done.unsent:
            self._stop(done.error)

    def _is_done(self, start: Start) -> bool:
        if not self.dispatch.done(start):
            return False
        self.left.discard(start.split)
        return True

    def _lost(self, split: Split, why: str) -> None:
        self.left.discard(split)
        self._stop(lost_too_often(why))

    def _stop(self, error: BackfillError) -> None:
        """The first error decides; the others may end what is under way."""
        if self.stopped is None:
            self.stopped = error
            self.holder.stop.remote()
            self.left &= {start.split for start in self.running.values()}
            self.dispatch.failed(self.store)

    async def _signals(self) -> None:
        first = True
        async for number in self.delivery.world.stop.coming():
            self._stop(interrupted(number))
            if not first:
                self.holder.stop.remote()
            first = False

    async def _see_head(self, around: anyio.CancelScope) -> None:
        while not self.head.gone:  # noqa: ASYNC110  (a thread finds out)
            await anyio.sleep(WATCH_SECONDS)
        self._stop(self.head.error())
        await anyio.sleep(PATIENCE)
        # What runs on where Ray has gone does not reach this process any more. Its worker has recorded it, if it could.
        around.cancel()

    async def _watch(self) -> None:
        while True:
            await self._report()
            await anyio.sleep(WATCH_SECONDS)

    async def _report(self) -> None:
        try:
            told, unknown = await self._call(self.holder.sending.remote())
        except BackfillError:
            return  # its actor begins anew
        if unknown:
            await self._call(self.holder.begin.remote(self.delivery.target, self.delivery.rate))
        parts = {**told, **self.ended}
        accepted, refused = (sum(getattr(part, name) for part in parts.values()) for name in ("accepted", "refused"))
        numbers = [self.numbers[start.split] for start in self.running.values()]
        running = [parts[number].snapshot for number in numbers if number in parts]
        snapshot = Snapshot.together([part.snapshot for part in parts.values()], running, one_rate=True)
        total = self.delivery.total
        seconds = time.monotonic() - self.began
        self.delivery.watch(Sending(total, accepted, refused, total - accepted - refused, seconds, snapshot))

    async def _call(self, ref: Any) -> Any:
        return await anyio.to_thread.run_sync(got, ref, self.head.check, abandon_on_cancel=True)
