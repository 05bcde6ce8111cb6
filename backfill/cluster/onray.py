"""The engine on Ray: parts of an export are tasks, a store's rate and the ledger are actors.

    driver: check, ask, report      RateActor, one a store: Leases      LedgerActor: Ledger
      │ tasks                           ▲ ask, beat                       ▲ look_up, record
      └─→ a place: read_part, look_part, …, send_part ─→ the API

Tasks of the check only read: Ray itself does those of a dead machine again. Of one that sends the driver decides: what
the ledger knows by then is not sent again.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, Self, cast

import anyio
import anyio.to_thread

import backfill
from backfill import api
from backfill.cluster import work
from backfill.cluster.apart import Apart
from backfill.cluster.dispatch import Dispatch
from backfill.cluster.holder import FarLedger
from backfill.cluster.places import Call, LedgerActor, LostError, Plain, RateActor, do, got, send
from backfill.cluster.scheduler import ATTEMPTS, Phase, Split, Start
from backfill.errors import BackfillError, SettingsError, StoppedError
from backfill.ledger import Ledger
from backfill.pipeline import Delivered, Delivery, Sending, deliver, interrupted
from backfill.plan import Plan
from backfill.read import PART_BYTES
from backfill.send import Snapshot
from backfill.signals import kept
from backfill.survey import survey
from backfill.tally import Survey

__all__ = ["LOCAL", "Cluster", "OnRay"]

LOCAL = "local"
# A task of the check is done again so often when its machine dies.
TRIES = 3
# Seconds of a core that an event costs, in bulk and one by one (measured: the README's table).
BULK_COST, SINGLE_COST = 30e-6, 150e-6
# What a place sends, as far as the scheduler has to know: it only counts places.
PLACE_RATE = 1.0
WATCH_SECONDS = 0.5
POLL_SECONDS = 0.1
KNOCK_SECONDS = 10.0
# How often the machines are counted.
COUNT_SECONDS = 2.0
# Ray itself takes 15 s to notice that one is gone. One that can't be reached so often, one after the other, is.
MISSES = 2
ANSWER_SECONDS = 1.0
# An actor that is there answers at once, and one that begins anew within that.
PATIENCE = 10.0
# Ray itself sees to it that there are no more tasks on a machine than its cores carry.
PLACES_A_CORE = 4

_NUMBERS = count(1)


def _ray() -> Any:
    # Ray would tell its makers that it is used, and by whom.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise SettingsError("--ray: Ray is not installed", hint="pip install 'backfill[ray]'") from None
    return ray


def _knock(address: str) -> None:
    """Whether anybody listens there: Ray itself would try for minutes. Raises OSError."""
    host, mark, port = address.rpartition(":")
    if mark and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


class Cluster:
    """A connection to a Ray cluster, or one on this machine. Raises SettingsError, StoppedError."""

    def __init__(self, address: str) -> None:
        self.ray = _ray()
        self.dispatch = Dispatch(place_rate=PLACE_RATE)
        self._closed = threading.Event()
        options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {"address": address}
        with kept():  # Ray sets a handler of its own
            try:
                _knock(address)
                self.ray.init(log_to_driver=False, configure_logging=False, logging_level="ERROR", **options)
            except Exception as error:
                why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
                raise StoppedError(
                    f"--ray {address}: can't connect: {why}",
                    hint="see whether the cluster runs (`ray status`) and can be reached from here, then run again",
                ) from error
        _quiet()
        self._missed: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.count()
        threading.Thread(target=self._count_on, name="machines", daemon=True).start()

    def count(self) -> None:
        """See which machines there are now."""
        with self._counting:
            alive = [node for node in self.ray.nodes() if node["Alive"]]
            with ThreadPoolExecutor(16) as pool:
                missed = list(pool.map(_missed, alive))
            for node, misses in zip(alive, missed, strict=True):
                self._missed[node["NodeID"]] = self._missed[node["NodeID"]] + misses if misses else 0
            alive = [node for node in alive if self._missed[node["NodeID"]] < MISSES]
            cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in alive}
            self.dispatch.machines({node: many * PLACES_A_CORE for node, many in cores.items() if many})

    def _count_on(self) -> None:
        while not self._closed.wait(COUNT_SECONDS):
            with suppress(Exception):  # the cluster's head is gone: who waits for a task hears of it
                self.count()

    def close(self) -> None:
        """Leave the cluster; one on this machine ends."""
        self._closed.set()
        self.ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _missed(node: dict[str, Any]) -> int:
    """0 where a machine's Ray listens, MISSES where it is known not to, 1 where nobody can tell."""
    try:
        socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), ANSWER_SECONDS).close()
    except ConnectionRefusedError:
        return MISSES
    except OSError:
        return 1
    return 0


def _quiet() -> None:
    """What Ray does about a worker that dies it says on stdout, whatever it is told: among a command's own lines."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_words, **_options: None


class OnRay:
    """The engine that has a cluster's machines do the work. `most`: bytes of a part of an export."""

    def __init__(self, cluster: Cluster, most: int = PART_BYTES) -> None:
        self._cluster, self._most = cluster, most
        self._apart: dict[int, Apart] = {}

    def ledger(self, open_ledger: Callable[[], Ledger]) -> Ledger:
        """The ledger that `open_ledger` opens, in an actor on this machine, where its file is."""
        ray = self._cluster.ray
        holder = ray.remote(LedgerActor).options(**here(ray)).remote(open_ledger)
        return cast("Ledger", FarLedger(Call(holder), None, got(holder.warnings.remote())))

    def survey(self, planned: Plan, ledger: Ledger | None, *rest: Any, **options: Any) -> Survey:
        """As `survey.survey`."""
        if web := [opened.file.name for opened in planned.export.files if opened.file.copy]:
            raise SettingsError(
                f"{web[0]}: a file of a web server is fetched once, to one machine",
                hint="with --ray put the export into object storage, or on a disk that all nodes share",
            )
        if not planned.export.by_file:
            # What was put aside by store is on this machine's disk.
            return survey(planned, ledger, *rest, **options)
        apart = Apart(_Hands(self._cluster), self._most)
        self._apart[id(ledger)] = apart
        return apart.survey(planned, ledger, *rest, **options)

    def deliver(self, delivery: Delivery) -> Delivered:
        """As `pipeline.deliver`, of what `survey` found with the same ledger."""
        apart = self._apart.pop(id(delivery.ledger), None)
        return deliver(delivery) if apart is None else apart.deliver(delivery)


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


class _Hands:
    """Tasks and the store's actor on a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.ray = cluster.ray
        self.dispatch, self.count = cluster.dispatch, cluster.count
        self.store = f"export {next(_NUMBERS)}"

    # The check

    def each(
        self, what: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], far: int = 0
    ) -> Iterator[tuple[Any, list[Any]]]:
        splits = self.dispatch.add(self.store, Phase.CHECK, [1] * len(jobs), limit=1.0)
        numbers = {split: number for number, split in enumerate(splits)}
        running: dict[Any, Start] = {}
        refs: dict[int, list[Any]] = {}
        ended: set[int] = set()
        try:
            for number in range(len(jobs)):
                while number not in ended:
                    for start, _ in self.dispatch.starts(self.store):
                        mine = numbers[start.split]
                        refs[mine] = self._started(start, what, jobs[mine], far)
                        running[refs[mine][0]] = start
                    ready, _ = self.ray.wait(list(running), timeout=POLL_SECONDS) if running else ([], [])
                    for ref in ready:
                        start = running.pop(ref)
                        if self.dispatch.done(start):
                            ended.add(numbers[start.split])
                    if self.dispatch.given_up(self.store):
                        raise lost_too_often("its machine is gone")
                    if not running:
                        time.sleep(POLL_SECONDS)
                near, *rest = refs.pop(number)
                yield got(near), rest
        finally:
            for ref, start in running.items():
                self.ray.cancel(ref, force=True)
                self.dispatch.done(start)

    def _started(self, start: Start, what: Callable[..., Any], job: tuple[Any, ...], far: int) -> list[Any]:
        task = self.ray.remote(do).options(
            num_returns=1 + far, max_retries=TRIES, num_cpus=1, scheduling_strategy=on(start.worker)
        )
        refs = task.remote(backfill.__version__, what, *job)
        return refs if far else [refs]

    # Delivery

    def send(
        self, jobs: Sequence[tuple[Any, ...]], delivery: Delivery, take: Callable[[int, work.Sent], None]
    ) -> BackfillError | None:
        with kept():
            return anyio.run(_Sending(self, jobs, delivery, take).main)


class _Sending:
    """The delivery of all parts: which run, how far they are, what was asked of them."""

    def __init__(
        self,
        hands: _Hands,
        jobs: Sequence[tuple[Any, ...]],
        delivery: Delivery,
        take: Callable[[int, work.Sent], None],
    ) -> None:
        self.ray, self.dispatch, self.store = hands.ray, hands.dispatch, hands.store
        self.count = hands.count
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
            task = self.ray.remote(send).options(max_retries=0, num_cpus=self.cpus, scheduling_strategy=there)
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
                sent: work.Sent = await anyio.to_thread.run_sync(got, ref)
            except LostError as error:
                # When its machine is gone with it, none of its places is free.
                with suppress(Exception):
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
