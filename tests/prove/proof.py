"""A run to many stores on a cluster that is hit while it goes on, and what it came to."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from backfill.cluster.lease import GRACE
from backfill.observer import Observer
from backfill.pace import BURST
from backfill.pipeline import Sending
from backfill.run import Result, run
from backfill.settings import Flags
from tests.prove.measure import Pace, pace_of
from tests.prove.nodes import add_node, kill_node, workers
from tests.prove.sink import Arrived, sink, store_name

__all__ = ["BLOWS", "Found", "Proof", "prove"]

BULK = 100
# A request may be late by this on its way, which makes two of them come closer: seconds.
JITTER = 0.25
# The time after a blow that is looked at by itself: an actor's successor waits as long as old leases last.
RECOVERY = 12.0
BLOWS = ("node", "worker", "rate", "ledger")


@dataclass
class Proof:
    """`events` in all, evenly over `stores`, each at `rate` requests/s, in `parts` files each.

    A blow, one of `blows`, falls `every` so many seconds (from, to), `most` in all; another node comes `replaced` seconds
    after one is gone. `refusing`: so many stores answer 401. `ledger`: the URL of one that is on a server.
    """

    events: int
    stores: int
    rate: float
    parts: int = 4
    seed: int = 7
    every: tuple[float, float] = (15.0, 25.0)
    blows: Sequence[str] = BLOWS
    most: int = 10_000
    ledger: str | None = None
    refusing: int = 0
    replaced: tuple[float, float] = (1.0, 6.0)

    @property
    def each(self) -> int:
        """Events of a store."""
        return self.events // self.stores


@dataclass
class Found:
    """How it went. `blows`: when (Unix seconds) and what."""

    proof: Proof
    result: Result
    arrived: list[Arrived]
    blows: list[tuple[float, str]]
    seconds: float
    checking: float
    busy: float
    served: list[Arrived] = field(init=False)
    paces: list[Pace] = field(init=False)

    def __post_init__(self) -> None:
        kills = [at for at, _ in self.blows]
        self.served = self.arrived[: self.proof.stores - self.proof.refusing]
        self.paces = [pace_of(one.times, self.proof.rate, kills, RECOVERY) for one in self.served]

    @property
    def most_above(self) -> float:
        """What may be above limit x t, as `backfill.cluster.lease` promises it, and what the way adds."""
        return BURST + self.proof.rate * (GRACE + JITTER) + 1

    @property
    def missing(self) -> int:
        return sum(int((one.counts == 0).sum()) for one in self.served)

    @property
    def twice(self) -> int:
        return sum(int(one.counts.sum()) - int((one.counts > 0).sum()) for one in self.arrived)

    def wrong(self) -> list[str]:
        """What does not hold of what has to, whatever was hit."""
        events, found = self.result.summary["events"], []
        if self.missing:
            found.append(f"{self.missing:,} events did not arrive")
        refused = self.proof.each * self.proof.refusing
        if self.result.status != (77 if refused else 0):
            found.append(f"exit {self.result.status}: {self.result.error}")
        total = sum(count for name, count in events.items() if name != "total")
        ends = (self.proof.each * self.proof.stores - refused, refused)
        if events["total"] != total or (events["accepted"], events["pending"]) != ends:
            found.append(f"the summary does not balance: {events}")
            found += [
                f"{store}: {one['exit']}, {one['stopped_by']}" for store, one in self.result.summary["stores"].items()
            ]
        for number, pace in enumerate(self.paces):
            if pace.above > self.most_above:
                found.append(f"{store_name(number)}: {pace.above:.1f} requests above its limit x t")
        if limited := sum(one.limited for one in self.arrived):
            found.append(f"{limited} 429s")
        return found


def export(folder: Path, proof: Proof) -> int:
    """Files of orders for each store, and the mapping; the bytes of a file."""
    size = 0
    lines = proof.each // proof.parts
    for store in range(proof.stores):
        place = folder / "exports" / store_name(store)
        place.mkdir(parents=True)
        for part in range(proof.parts):
            start, stop = part * lines, proof.each if part == proof.parts - 1 else (part + 1) * lines
            text = "".join(
                f"{i},2024-01-{i % 28 + 1:02}T10:00:{i % 60:02}Z,c{i}@example.com,{i % 90}.50\n"
                for i in range(start, stop)
            )
            path = place / f"orders_{part}.csv"
            path.write_text("order_id,at,email,total\n" + text)
            size = max(size, path.stat().st_size)
    tree = {
        "source": {"files": "exports/{store}/orders_*.csv", "timezone": "UTC"},
        "events": [
            {
                "eventName": "Order Placed",
                "uniqueId": "order:{order_id}",
                "eventTimestamp": "{at}",
                "value": "{total}",
                "valueCurrency": "USD",
                "customer": {"email": "{email}"},
            }
        ],
        "delivery": {"store": "{store}", "flows": "acknowledged"},
    }
    (folder / "orders.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return size


class _Watching(Observer):
    """Says when sending begins, and how far it is."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.began = threading.Event()
        self.began_at = 0.0
        self._say, self._told = say, 0.0

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def sending(self, state: Sending) -> None:
        if not self.began.is_set():
            self.began_at = time.monotonic()
            self.began.set()
        if time.monotonic() - self._told > 15:
            self._told = time.monotonic()
            self._say(f"{state.accepted:,} of {state.total:,} accepted after {state.seconds:.0f} s; {state.stores}")


class _Blows(threading.Thread):
    """Hits the cluster, now and then, in an order that the seed decides, while events are sent."""

    def __init__(self, cluster: Any, proof: Proof, watching: _Watching, say: Callable[[str], None], cpus: int) -> None:
        super().__init__(name="blows", daemon=True)
        self.struck: list[tuple[float, str]] = []
        self.ended = threading.Event()
        self._cluster, self._proof, self._watching, self._say, self._cpus = cluster, proof, watching, say, cpus
        self._dice = random.Random(proof.seed)

    def run(self) -> None:
        self._watching.began.wait()
        kinds: list[str] = []
        while not self.ended.wait(self._dice.uniform(*self._proof.every)) and len(self.struck) < self._proof.most:
            if not kinds:
                # Each kind comes, in any order.
                kinds = self._dice.sample(list(self._proof.blows), len(self._proof.blows))
            getattr(self, f"_{kinds.pop()}")()

    def _hit(self, what: str) -> None:
        self.struck.append((time.time(), what))
        self._say(f"killed {what}")

    def _node(self) -> None:
        # The head is the driver's machine.
        node = self._dice.choice(list(self._cluster.worker_nodes))
        many = len(workers("send"))
        kill_node(self._cluster, node)
        self._hit(f"a node and all on it ({many} parts were being sent on all)")
        if not self.ended.wait(self._dice.uniform(*self._proof.replaced)):
            add_node(self._cluster, self._cpus)
            self._say("another node joined")

    def _worker(self) -> None:
        self._one("send", "a worker")

    def _rate(self) -> None:
        self._one("RateActor", "a store's rate actor")

    def _ledger(self) -> None:
        self._one("LedgerActor", "the ledger's actor")

    def _one(self, title: str, words: str) -> None:
        if found := sorted(workers(title)):
            os.kill(self._dice.choice(found), 9)
            self._hit(words)


def prove(proof: Proof, cluster: Any, folder: Path, say: Callable[[str], None], cpus: int) -> Found:
    """Run it on a cluster of Ray's, whose nodes have `cpus` each; `folder` is empty."""
    from backfill.cluster.onray import Cluster, OnRay

    size = export(folder, proof)
    os.environ["REDO_API_SECRET"] = "prove"
    watching = _Watching(say)
    limit = (proof.rate, BURST + proof.rate * (GRACE + JITTER) + 1)
    with sink(folder / "sink", proof.stores, proof.each, limit, proof.refusing) as api:
        flags = Flags(
            base_url=api.base_url,
            state=folder / ".backfill",
            rate=proof.rate,
            endpoint="bulk",
            ledger=proof.ledger,
        )
        blows = _Blows(cluster, proof, watching, say, cpus)
        blows.start()
        began, worked = time.monotonic(), _busy()
        try:
            with Cluster(cluster.address) as ray:
                result = run(folder / "orders.yaml", flags, watching, engine=OnRay(ray, most=size + 1))
        finally:
            blows.ended.set()
            watching.began.set()
        blows.join()
        seconds = time.monotonic() - began
        busy = (_busy() - worked) / seconds / (os.cpu_count() or 1)
        return Found(proof, result, api.end(), blows.struck, seconds, watching.began_at - began, busy)


def _busy() -> float:
    """Seconds that the machine's cores have worked."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
