"""The engine on Ray: parts of an export are tasks, a store's rate and ledger an actor.

    driver: check, ask, report          Holder: one a store: Leases, Ledger
      │ tasks                              ▲ ask, record, beat
      └─→ a place: read_part, look_part, …, send_part ─→ the API

Tasks of the check only read: Ray itself does those of a dead machine again. Of one that sends the driver decides: what
the ledger knows by then is not sent again.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import anyio
import anyio.to_thread

import backfill
from backfill.cluster import work
from backfill.cluster.apart import Apart
from backfill.cluster.holder import FarLedger
from backfill.cluster.places import Actor, Call, LostError, Plain, do, got, send
from backfill.errors import BackfillError, SettingsError, StoppedError
from backfill.ledger import Ledger
from backfill.ledger import Target as LedgerTarget
from backfill.pipeline import Delivered, Delivery, Sending, interrupted
from backfill.send import Snapshot
from backfill.signals import kept

__all__ = ["Cluster", "OnRay"]

LOCAL = "local"
# A task of the check is done again so often when its machine dies.
TRIES = 3
# Seconds of a core that an event costs, in bulk and one by one (measured: the README's table).
BULK_COST, SINGLE_COST = 30e-6, 150e-6
BULK_EVENTS = 100
# While one part of a store ends and the next begins, another sends.
MORE_AT_ONCE = 1
BEAT_SECONDS = 0.5
WATCH_SECONDS = 0.5
# As long as `pipeline` waits for what is under way, and some for the answers.
DRAIN_SECONDS = 25.0


def _ray() -> Any:
    # Ray would tell its makers that it is used, and by whom.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise SettingsError("--ray: Ray is not installed", hint="pip install 'backfill[ray]'") from None
    return ray


class Cluster:
    """A connection to a Ray cluster, or one on this machine. Raises SettingsError, StoppedError."""

    def __init__(self, address: str) -> None:
        self.ray = _ray()
        self._owns = not self.ray.is_initialized()
        if not self._owns:
            return
        options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {"address": address}
        with kept():  # Ray sets a handler of its own
            try:
                self.ray.init(log_to_driver=False, configure_logging=False, logging_level="ERROR", **options)
            except Exception as error:
                raise StoppedError(
                    f"--ray {address}: can't connect: {type(error).__name__}",
                    hint="see whether the cluster runs (`ray status`) and can be reached from here, then run again",
                ) from error

    def close(self) -> None:
        """Leave the cluster; one on this machine ends."""
        if self._owns:
            self.ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class OnRay:
    """One store's export on a cluster: opens the ledger, surveys and delivers."""

    def __init__(self, cluster: Cluster, most: int | None = None) -> None:
        self._hands = _Hands(cluster.ray)
        self._apart = Apart(self._hands) if most is None else Apart(self._hands, most)

    def ledger(self, folder: Path, target: LedgerTarget) -> Ledger:
        """The ledger, in the hands of the store's holder. Raises as `Ledger.open`."""
        return cast("Ledger", self._hands.hold(folder, target))

    @property
    def survey(self) -> Any:
        """As `survey.survey`."""
        return self._apart.survey

    def deliver(self, delivery: Delivery) -> Delivered:
        """As `pipeline.deliver`."""
        return self._apart.deliver(delivery)


class _Hands:
    """Tasks and the store's actor on a cluster."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._do = ray.remote(do)
        self._holder: Any = None

    def hold(self, folder: Path, target: LedgerTarget) -> FarLedger:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # The ledger's file is on this machine.
        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        actor = self._ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(Actor)
        self._holder = actor.remote(partial(Ledger.open, folder.resolve(), target))
        return FarLedger(Call(self._holder), got(self._holder.about.remote()))

    # The check

    def each(
        self, what: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], far: int = 0
    ) -> Iterator[tuple[Any, list[Any]]]:
        """As many at once as there are places, and some that wait for one."""
        ahead = 2 * max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        do = self._do.options(num_returns=1 + far, max_retries=TRIES, num_cpus=1)
        waiting: deque[Any] = deque()
        left = deque(jobs)
        try:
            while left or waiting:
                while left and len(waiting) < ahead:
                    refs = do.remote(backfill.__version__, what, *left.popleft())
                    waiting.append(refs if far else [refs])
                near, *rest = waiting.popleft()
                yield got(near), rest
        finally:
            for refs in waiting:
                self._ray.cancel(refs[0], force=True)

    # Delivery

    def send(
        self, jobs: Sequence[tuple[Any, ...]], delivery: Delivery, take: Callable[[int, work.Sent], None]
    ) -> BackfillError | None:
        with kept():
            return anyio.run(_Sending(self._ray, self._holder, jobs, delivery, take).main)


class _Sending:
    """The delivery of all parts: which run, how far they are, what was asked of them."""

    def __init__(
        self,
        ray: Any,
        holder: Any,
        jobs: Sequence[tuple[Any, ...]],
        delivery: Delivery,
        take: Callable[[int, work.Sent], None],
    ) -> None:
        self.ray, self.holder, self.delivery, self.take = ray, holder, delivery, take
        self.jobs = list(jobs)
        self.left = deque(range(len(jobs)))
        self.lost = [0] * len(jobs)
        self.running: dict[Any, int] = {}
        self.ended: dict[int, Sending] = {}
        self.stopped: BackfillError | None = None
        self.began = time.monotonic()
        cost = delivery.rate * (BULK_EVENTS * BULK_COST if delivery.target.bulk else SINGLE_COST)
        self.at_once = min(math.ceil(cost) + MORE_AT_ONCE, len(jobs))
        self.cpus = round(min(1.0, max(0.05, cost)), 2)

    async def main(self) -> BackfillError | None:
        await self._call(self.holder.begin.remote(self.delivery.target, self.delivery.rate))
        async with anyio.create_task_group() as around:
            around.start_soon(self._signals)
            around.start_soon(self._watch)
            while self.left or self.running:
                self._start()
                if not self.running:
                    break
                await self._ended()
            around.cancel_scope.cancel()
        await self._report()
        return self.stopped

    def _start(self) -> None:
        while self.left and len(self.running) < self.at_once and self.stopped is None:
            number = self.left.popleft()
            delivery = self.delivery
            plain = Plain(
                number,
                delivery.run,
                delivery.rate,
                max(1, delivery.concurrency // self.at_once),
                is_part=delivery.limit is not None or delivery.limit_each is not None,
                again=self.lost[number] > 0,
            )
            task = self.ray.remote(send).options(max_retries=0, num_cpus=self.cpus)
            self.running[task.remote(backfill.__version__, self.holder, plain, *self.jobs[number])] = number

    async def _ended(self) -> None:
        """Wait for the next one that ends, if it is soon, and for what else has by then."""
        ready, _ = await anyio.to_thread.run_sync(
            partial(self.ray.wait, list(self.running), timeout=WATCH_SECONDS), abandon_on_cancel=True
        )
        for ref in ready:
            number = self.running.pop(ref)
            try:
                sent: work.Sent = await anyio.to_thread.run_sync(got, ref)
            except LostError as error:
                self._was_lost(number, error)
                continue
            except BackfillError as error:
                self._stop(error)
                continue
            self.jobs[number] = ()
            done = sent.delivered
            self.ended[number] = Sending(0, done.accepted, done.refused, 0, 0.0, done.snapshot)
            self.take(number, sent)
            if done.error is not None and done.unsent:
                self._stop(done.error)

    def _was_lost(self, number: int, error: LostError) -> None:
        self.lost[number] += 1
        if self.lost[number] < TRIES:
            self.left.appendleft(number)
        else:
            self._stop(
                StoppedError(
                    f"a part of the export was lost {TRIES} times with the worker that sent it ({error})",
                    hint="see what Ray's logs say of the workers; run again: what was accepted is recorded",
                )
            )

    def _stop(self, error: BackfillError) -> None:
        """The first error decides; the others may end what is under way."""
        if self.stopped is None:
            self.stopped = error
            self.holder.stop.remote()

    async def _signals(self) -> None:
        first = True
        async for number in self.delivery.world.stop.coming():
            self._stop(interrupted(number))
            if not first:
                self.holder.stop.remote()
            first = False

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
        running = [parts[number].snapshot for number in self.running.values() if number in parts]
        whole = Snapshot.together([part.snapshot for part in parts.values()])
        now = Snapshot.together(running)
        whole = replace(
            whole,
            latency=now.latency,
            rate=now.rate,
            concurrency=now.concurrency,
            in_flight=now.in_flight,
            pause=now.pause,
            reason=now.reason,
            outage=bool(running) and now.outage,
        )
        total = self.delivery.total
        seconds = time.monotonic() - self.began
        self.delivery.watch(Sending(total, accepted, refused, total - accepted - refused, seconds, whole))

    async def _call(self, ref: Any) -> Any:
        return await anyio.to_thread.run_sync(got, ref, abandon_on_cancel=True)
