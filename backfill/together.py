"""What who watches a run of many stores sees of them all: one reading, and one state of delivery."""

from __future__ import annotations

import threading
from pathlib import Path

from backfill.observer import Observer
from backfill.pipeline import Sending
from backfill.plan import Plan
from backfill.send import Snapshot
from backfill.settings import Settings
from backfill.tally import Survey
from backfill.world import World

__all__ = ["Together"]

# Each store tells its state so often that who watches need not be told of each.
SECONDS = 0.2


class Together:
    """Gathers what each store's run tells, from whichever thread, for one observer."""

    def __init__(self, observer: Observer, world: World) -> None:
        self._observer = observer
        self._clock = world.clock
        self._turn = threading.RLock()
        self._rows = self._rejected = 0
        self._states: dict[str, Sending] = {}
        self._totals: dict[str, int] = {}
        self._rates: dict[str, float] = {}
        self._done: set[str] = set()
        self._began = self._told = 0.0

    def of(self, name: str) -> Observer:
        """The observer of one store's run."""
        return _Store(self, name)

    def note(self, text: str) -> None:
        with self._turn:
            self._observer.note(text)

    def sandbox(self, page_url: str, database: Path) -> None:
        self._observer.sandbox(page_url, database)

    def parting(self, found: Survey) -> None:
        """A chunk of the whole export, before each store's rows are checked."""
        self._observer.checking(found)

    def checking(self, found: Survey) -> None:
        """A chunk of one store, in the thread of the run: the rows of those before it count, too."""
        shown = Survey()
        shown.rows.read = self._rows + found.rows.read
        shown.invalid = self._rejected + found.rows.unreadable + found.invalid
        self._observer.checking(shown)

    def checked(self, planned: Plan, found: Survey, settings: Settings | None) -> None:
        self._rows += found.rows.read
        self._rejected += found.rows.unreadable + found.invalid
        self._observer.checked(planned, found, settings)

    def begins(self, totals: dict[str, int], rate: float) -> None:
        """So many events are to be sent to each store; those without any are not among them."""
        self._totals = totals
        self._rates = dict.fromkeys(totals, rate)
        self._began = self._told = self._clock.monotonic()

    def sending(self, name: str, state: Sending) -> None:
        with self._turn:
            self._states[name] = state
            now = self._clock.monotonic()
            if now - self._told >= SECONDS:
                self._told = now
                self._observer.sending(self._all(now))

    def done(self, name: str) -> None:
        """A store's run has ended, however it did."""
        with self._turn:
            self._done.add(name)
            if self._states:
                self._told = self._clock.monotonic()
                self._observer.sending(self._all(self._told))

    def _all(self, now: float) -> Sending:
        states = list(self._states.values())
        going = [state.snapshot for name, state in self._states.items() if name not in self._done]
        snapshot = Snapshot.together([state.snapshot for state in states], going, one_rate=False)
        accepted, refused = sum(one.accepted for one in states), sum(one.refused for one in states)
        total = sum(self._totals.values())
        return Sending(total, accepted, refused, total - accepted - refused, now - self._began, snapshot, self._words())

    def _words(self) -> str:
        left = {}
        for name, total in self._totals.items():
            if name not in self._done:
                state = self._states.get(name)
                left[name] = (state.pending if state else total) / self._rates[name]
        words = f"{len(self._totals) - len(left)} of {len(self._totals)} stores done"
        return f"{words}, slowest: {max(left, key=left.__getitem__)}" if left else words


class _Store(Observer):
    """One store's run, as it is told to all."""

    def __init__(self, together: Together, name: str) -> None:
        self._together, self._name = together, name

    def note(self, text: str) -> None:
        self._together.note(f"{self._name}: {text}")

    def checking(self, found: Survey) -> None:
        self._together.checking(found)

    def checked(self, planned: Plan, found: Survey, settings: Settings | None) -> None:
        self._together.checked(planned, found, settings)

    def sending(self, state: Sending) -> None:
        self._together.sending(self._name, state)
