"""The engine on Ray: parts of an export are tasks, a store's rate and the ledger are actors.

    driver: check, ask, report      RateActor, one a store: Leases      LedgerActor: Ledger
      │ tasks                           ▲ ask, beat                       ▲ look_up, record
      └─→ a place: read_part, look_part, …, send_part ─→ the API

Tasks of the check only read: Ray itself does those of a dead machine again. Of one that sends the driver decides: what
the ledger knows by then is not sent again.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Any, Self, cast

import anyio
import anyio.to_thread

import backfill
from backfill.cluster import work
from backfill.cluster.apart import Apart
from backfill.cluster.dispatch import Dispatch
from backfill.cluster.head import LOCAL, PATIENCE, Head, knock, outlive
from backfill.cluster.holder import FarLedger
from backfill.cluster.places import Call, LedgerActor, do, got
from backfill.cluster.scheduler import Phase, Start
from backfill.cluster.sending import PLACE_RATE, POLL_SECONDS, SendingParts, here, lost_too_often, on
from backfill.errors import BackfillError, SettingsError, StoppedError
from backfill.ledger import Ledger
from backfill.pipeline import Delivered, Delivery, deliver
from backfill.read import PART_BYTES
from backfill.signals import kept
from backfill.survey import Look, Rejecter, Watcher, survey_all
from backfill.tally import Survey

__all__ = ["LOCAL", "Cluster", "OnRay"]

# A task of the check is done again so often when its machine dies.
TRIES = 3
# How often the machines are counted.
COUNT_SECONDS = 2.0
# Ray itself takes 15 s to notice that one is gone. One that can't be reached so often, one after the other, is.
MISSES = 2
ANSWER_SECONDS = 1.0
# Ray itself sees to it that there are no more tasks on a machine than its cores carry.
PLACES_A_CORE = 4

_NUMBERS = count(1)


def _ray() -> Any:
    # Ray would tell its makers that it is used, and by whom.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    outlive()
    try:
        import ray
    except ImportError:
        raise SettingsError("--ray: Ray is not installed", hint="pip install 'backfill[ray]'") from None
    return ray


class Cluster:
    """A connection to a Ray cluster, or one on this machine. Raises SettingsError, StoppedError.

    `patience`: seconds that its head may be away.
    """

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        self.ray = _ray()
        self.dispatch = Dispatch(place_rate=PLACE_RATE)
        self._tasks: dict[Callable[..., Any], Any] = {}
        self._closed = threading.Event()
        options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {"address": address}
        with kept():  # Ray sets a handler of its own
            try:
                knock(address)
                self.ray.init(log_to_driver=False, configure_logging=False, logging_level="ERROR", **options)
            except SettingsError:
                raise
            except Exception as error:
                why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
                raise StoppedError(
                    f"--ray {address}: can't connect: {why}",
                    hint="see whether the cluster runs (`ray status`) and can be reached from here, then run again",
                ) from error
        _quiet()
        self.head = Head(self.ray.get_runtime_context().gcs_address, patience)
        self.head.watch()
        self._missed: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.count()
        threading.Thread(target=self._count_on, name="machines", daemon=True).start()

    def count(self) -> None:
        """See which machines there are now. Raises OSError when the head, which knows, does not answer."""
        self.head.knock()
        with self._counting:
            alive = [node for node in self.ray.nodes() if node["Alive"]]
            with ThreadPoolExecutor(16) as pool:
                missed = list(pool.map(_missed, alive))
            for node, misses in zip(alive, missed, strict=True):
                self._missed[node["NodeID"]] = self._missed[node["NodeID"]] + misses if misses else 0
            alive = [node for node in alive if self._missed[node["NodeID"]] < MISSES]
            cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in alive}
            self.dispatch.machines({node: many * PLACES_A_CORE for node, many in cores.items() if many})

    def task(self, function: Callable[..., Any]) -> Any:
        """The function as a task. Ray has the head keep each that is made anew, and waits for a head that is away."""
        if function not in self._tasks:
            self._tasks[function] = self.ray.remote(function)
        return self._tasks[function]

    def _count_on(self) -> None:
        while not self._closed.wait(COUNT_SECONDS):
            with suppress(Exception):  # the head is away: `Head` sees it, too
                self.count()

    def close(self) -> None:
        """Leave the cluster; one on this machine ends."""
        self._closed.set()
        self.head.close()
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
        check = self._cluster.head.check
        return cast("Ledger", FarLedger(Call(holder, check), None, got(holder.warnings.remote(), check)))

    def survey(self, look: Look, found: Survey, watch: Watcher | None = None, reject: Rejecter | None = None) -> None:
        """As `survey.survey_all`."""
        planned = look.planned
        if web := [opened.file.name for opened in planned.export.files if opened.file.copy]:
            raise SettingsError(
                f"{web[0]}: a file of a web server is fetched once, to one machine",
                hint="with --ray put the export into object storage, or on a disk that all nodes share",
            )
        if not planned.export.by_file:
            # What was put aside by store is on this machine's disk.
            survey_all(look, found, watch, reject)
            return
        apart = self._apart[id(look.ledger)] = Apart(_Hands(self._cluster), self._most)
        apart.survey(look, found, watch, reject)

    def deliver(self, delivery: Delivery) -> Delivered:
        """As `pipeline.deliver`, of what `survey` found with the same ledger."""
        apart = self._apart.pop(id(delivery.ledger), None)
        return deliver(delivery) if apart is None else apart.deliver(delivery)


class _Hands:
    """Tasks and the store's actor on a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.ray = cluster.ray
        self.dispatch, self.count, self.head = cluster.dispatch, cluster.count, cluster.head
        self._cluster = cluster
        self.store = f"export {next(_NUMBERS)}"

    def task(self, function: Callable[..., Any]) -> Any:
        return self._cluster.task(function)

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
                    self.head.check()
                    if not running:
                        time.sleep(POLL_SECONDS)
                near, *rest = refs.pop(number)
                yield got(near, self.head.check), rest
        finally:
            for ref, start in running.items():
                self.ray.cancel(ref, force=True)
                self.dispatch.done(start)

    def _started(self, start: Start, what: Callable[..., Any], job: tuple[Any, ...], far: int) -> list[Any]:
        task = self.task(do).options(
            num_returns=1 + far, max_retries=TRIES, num_cpus=1, scheduling_strategy=on(start.worker)
        )
        refs = task.remote(backfill.__version__, what, *job)
        return refs if far else [refs]

    # Delivery

    def send(
        self, jobs: Sequence[tuple[Any, ...]], delivery: Delivery, take: Callable[[int, work.Sent], None]
    ) -> BackfillError | None:
        with kept():
            return anyio.run(SendingParts(self, jobs, delivery, take).main)
