"""Which split of which store runs next, and where: decisions only. The engine starts what it is told to."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["ATTEMPTS", "Phase", "Scheduler", "Split", "Start"]

# A split that fails so often, each time on another worker if there is one, is at fault itself. (One worker's end, and
# another's, may take the same split.)
ATTEMPTS = 5


class Phase(StrEnum):
    """What is done to a split. A store's first `send` waits for the last `check`: twins are decided over all."""

    CHECK = "check"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a store's source. `name` is unique within its store and phase; `events` is its size."""

    store: str
    phase: Phase
    name: str
    events: int


@dataclass(frozen=True, slots=True)
class Start:
    """`split` is to run on `worker`."""

    split: Split
    worker: str


@dataclass(slots=True)
class _Store:
    name: str
    limit: float  # events/s
    waiting: dict[Phase, deque[Split]] = field(default_factory=lambda: {phase: deque() for phase in Phase})
    running: Counter[Phase] = field(default_factory=Counter)
    where: Counter[str] = field(default_factory=Counter)  # sends that run, by worker
    to_check: int = 0  # events of all its checks, done or not
    to_send: int | None = None  # events that are not sent yet; None before its sends are known
    version: int = 0  # of its place in the queue
    failed: bool = False


class Scheduler:
    """Stores with their splits, workers with their places. The same calls in the same order decide the same.

    - No place is free while a store has a split that may run.
    - A store's sends run on as many places as its limit needs, where a place sends `place_rate` events/s, and
      never on more. Checks have no limit: they are soon done, and nothing of the store is sent before.
    - The store with fewer running sends goes first; among those the one with the longest time left at its own
      limit, because the last store decides when all is done. Running checks don't count: the longest store is
      checked by all places at once, so that its sending begins soon. (A check each for all stores first would cost
      14 % of the time with 1,000 stores on 20 workers: tests/simulate.py.)

    `given_up`: splits that failed ATTEMPTS times, and those of stores that failed: their events stay pending.
    """

    def __init__(self, *, place_rate: float) -> None:
        self.place_rate = place_rate
        self.given_up: list[Split] = []
        self._stores: dict[str, _Store] = {}
        self._places: dict[str, int] = {}  # free ones, by worker
        self._free: list[tuple[int, str]] = []  # (-free, worker), stale ones among them
        self._free_count = 0
        self._running: dict[Split, str] = {}
        self._queue: list[tuple[int, float, str, int]] = []  # stale ones among them
        self._tried: dict[Split, list[str]] = {}

    # ---------------------------------------------------------------------------------------- what there is

    def add(self, store: str, splits: Iterable[Split], *, limit: float) -> None:
        """A store's splits, or more of them; `limit` is in events/s. Of one that failed they are given up."""
        one = self._stores.setdefault(store, _Store(store, limit))
        one.limit = limit
        for split in splits:
            if one.failed:
                self.given_up.append(split)
                continue
            one.waiting[split.phase].append(split)
            if split.phase is Phase.SEND:
                one.to_send = (one.to_send or 0) + split.events
            else:
                one.to_check += split.events
        self._requeue(one)

    def join(self, worker: str, places: int) -> None:
        """A worker that can run so many splits at once."""
        self._free_count += places
        self._set_free(worker, self._places.get(worker, 0) + places)

    def lost(self, worker: str) -> list[Split]:
        """A worker that is gone. Its splits run elsewhere, before all others of their stores; returns them.

        One that took the last of ATTEMPTS workers with it is among those given up.
        """
        self._free_count -= self._places.pop(worker, 0)
        splits = [split for split, where in self._running.items() if where == worker]
        for split in splits:
            self._end(split)
            self._again(split, worker)
        return splits

    # ---------------------------------------------------------------------------------------- what runs next

    def next(self) -> Start | None:
        """What to start now; None when no place is free, or nothing may run. Say `started` before asking again."""
        if self._free_count <= 0:
            return None
        while self._queue:
            _, _, name, version = self._queue[0]
            store = self._stores[name]
            phase = self._may_run(store)
            if version == store.version and phase is not None:
                split = store.waiting[phase][0]
                return Start(split, self._place_for(split))
            heapq.heappop(self._queue)
        return None

    def started(self, start: Start) -> None:
        split, worker = start.split, start.worker
        store = self._stores[split.store]
        store.waiting[split.phase].remove(split)
        store.running[split.phase] += 1
        if split.phase is Phase.SEND:
            store.where[worker] += 1
        self._running[split] = worker
        self._free_count -= 1
        self._set_free(worker, self._places[worker] - 1)
        self._requeue(store)

    def done(self, split: Split) -> None:
        """It is done. Said late, of one that was lost meanwhile, it changes nothing: that one runs again."""
        if split not in self._running:
            return
        self._release(split)
        self._tried.pop(split, None)
        self._settle(split)

    def broke(self, split: Split) -> bool:
        """It ended with an error that may be the worker's or its own. True when it is given up."""
        if split not in self._running:
            return False
        worker = self._release(split)
        return self._again(split, worker)

    def failed(self, store: str) -> list[Split]:
        """Nothing more of this store can be sent. Its splits that wait are given up, and returned.

        Those that run go on until the engine says that they are done or broke.
        """
        one = self._stores[store]
        one.failed = True
        dropped = [split for phase in Phase for split in one.waiting[phase]]
        for waiting in one.waiting.values():
            waiting.clear()
        self.given_up += dropped
        one.to_send = sum(s.events for s in self._running if s.store == store and s.phase is Phase.SEND)
        self._requeue(one)
        return dropped

    # ----------------------------------------------------------------------------------------- what is left

    def finished(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self._running and not any(any(store.waiting.values()) for store in self._stores.values())

    def running(self, store: str) -> int:
        return self._stores[store].running.total()

    def free(self) -> int:
        """Places that run nothing."""
        return self._free_count

    def idle(self) -> list[str]:
        """Stores that have a split which may run, and run none."""
        return [store.name for store in self._stores.values() if not store.running.total() and self._may_run(store)]

    # --------------------------------------------------------------------------------------------- decisions

    def _may_run(self, store: _Store) -> Phase | None:
        """The phase of which a split may start now."""
        if store.waiting[Phase.CHECK]:
            return Phase.CHECK
        if store.running[Phase.CHECK] or not store.waiting[Phase.SEND]:
            return None
        most = max(1, math.ceil(store.limit / self.place_rate - 1e-9))
        return Phase.SEND if store.running[Phase.SEND] < most else None

    def _requeue(self, store: _Store) -> None:
        store.version += 1
        if self._may_run(store):
            left = store.to_check if store.to_send is None else store.to_send
            entry = (store.running[Phase.SEND], -left / store.limit, store.name, store.version)
            heapq.heappush(self._queue, entry)

    def _place_for(self, split: Split) -> str:
        """A free place on the worker with the most free ones.

        If there is one, where the split has not failed yet; and where its store sends nothing: so that one worker's
        end does not stop a store that sends from two.
        """
        tried = self._tried.get(split, [])
        mine = self._stores[split.store].where if split.phase is Phase.SEND else {}
        passed_over = []
        second = third = found = None
        while found is None and self._free:
            free, worker = self._free[0]
            if self._places.get(worker, 0) != -free or not free:
                heapq.heappop(self._free)
            elif worker in tried:
                passed_over.append(heapq.heappop(self._free))
                third = third or worker
            elif mine.get(worker):
                passed_over.append(heapq.heappop(self._free))
                second = second or worker
            else:
                found = worker
        for entry in passed_over:
            heapq.heappush(self._free, entry)
        chosen = found or second or third
        assert chosen is not None
        return chosen

    # -------------------------------------------------------------------------------------------- bookkeeping

    def _set_free(self, worker: str, places: int) -> None:
        self._places[worker] = places
        if places:
            heapq.heappush(self._free, (-places, worker))

    def _end(self, split: Split) -> str:
        store = self._stores[split.store]
        store.running[split.phase] -= 1
        worker = self._running.pop(split)
        if split.phase is Phase.SEND:
            store.where[worker] -= 1
            if not store.where[worker]:
                del store.where[worker]
        return worker

    def _release(self, split: Split) -> str:
        worker = self._end(split)
        self._free_count += 1
        self._set_free(worker, self._places[worker] + 1)
        return worker

    def _settle(self, split: Split) -> None:
        store = self._stores[split.store]
        if split.phase is Phase.SEND and store.to_send is not None:
            store.to_send -= split.events
        self._requeue(store)

    def _again(self, split: Split, worker: str) -> bool:
        """Back to the front, or given up."""
        tried = self._tried.setdefault(split, [])
        tried.append(worker)
        store = self._stores[split.store]
        if len(tried) < ATTEMPTS and not store.failed:
            store.waiting[split.phase].appendleft(split)
            self._requeue(store)
            return False
        self.given_up.append(split)
        self._settle(split)
        if split.phase is Phase.CHECK and not store.failed:
            # What was not checked may hold twins of what was: nothing of the store can be decided.
            self.failed(split.store)
        return True
