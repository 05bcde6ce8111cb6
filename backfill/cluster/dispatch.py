"""The scheduler for stores that run side by side, each in a thread: what it decides reaches who starts it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence

from backfill.cluster.scheduler import Phase, Scheduler, Split, Start

__all__ = ["Dispatch"]


class Dispatch:
    """Any thread may call. `places` of each machine are told by `machines`, whenever they are known anew."""

    def __init__(self, *, place_rate: float) -> None:
        self._scheduler = Scheduler(place_rate=place_rate)
        self._turn = threading.Lock()
        self._machines: dict[str, int] = {}
        self._begun: Counter[Split] = Counter()
        self._current: dict[Split, Start] = {}
        self._starts: dict[str, deque[Start]] = {}
        self._given_up: dict[str, list[Split]] = {}
        self._calls = 0

    def machines(self, places: Mapping[str, int]) -> None:
        """The machines that there are now, and how many splits each can run at once."""
        with self._turn:
            for machine in self._machines.keys() - places.keys():
                del self._machines[machine]
                before = len(self._scheduler.given_up)
                for split in self._scheduler.lost(machine):
                    self._current.pop(split, None)
                for split in self._scheduler.given_up[before:]:
                    self._given_up.setdefault(split.store, []).append(split)
            for machine in places.keys() - self._machines.keys():
                self._machines[machine] = places[machine]
                self._scheduler.join(machine, places[machine])
            self._pump()

    def add(self, store: str, phase: Phase, sizes: Sequence[int], *, limit: float) -> list[Split]:
        """Work for a store, in events; the splits that stand for it."""
        with self._turn:
            self._calls += 1
            splits = [Split(store, phase, f"{self._calls}-{number}", size) for number, size in enumerate(sizes)]
            self._scheduler.add(store, splits, limit=limit)
            self._pump()
        return splits

    def starts(self, store: str) -> list[tuple[Start, bool]]:
        """What the store is to start now, and whether it was begun before."""
        with self._turn:
            self._pump()
            waiting = self._starts.pop(store, deque())
            found = [(start, self._begun[start.split] > 0) for start in waiting]
            self._begun.update(start.split for start in waiting)
            self._current.update((start.split, start) for start in waiting)
        return found

    def done(self, start: Start) -> bool:
        """It is done. False where its machine was taken for gone and it runs elsewhere: only that end counts."""
        with self._turn:
            if self._current.get(start.split) is not start:
                return False
            del self._current[start.split]
            self._scheduler.done(start.split)
            return True

    def broke(self, start: Start) -> bool:
        """It ended without a result, such as for a worker that is gone. True when it is not tried again."""
        with self._turn:
            if self._current.get(start.split) is not start:
                return False
            del self._current[start.split]
            return self._scheduler.broke(start.split)

    def given_up(self, store: str) -> list[Split]:
        """What of the store, since this was asked last, is not tried again: too many machines went with it."""
        with self._turn:
            return self._given_up.pop(store, [])

    def failed(self, store: str) -> None:
        """Nothing more of a store is to start."""
        with self._turn:
            self._scheduler.failed(store)
            for start in self._starts.pop(store, ()):
                self._scheduler.done(start.split)

    def _pump(self) -> None:
        while start := self._scheduler.next():
            self._scheduler.started(start)
            self._starts.setdefault(start.split.store, deque()).append(start)
