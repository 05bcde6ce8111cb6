"""The actors of a run: one for each store holds its rate, and one holds the ledger, for any number of workers.

Each is alone: of leases of one rate the sum is kept, and what one worker recorded another must find. When its process
dies it begins anew. The ledger knows all that was recorded, and nothing is leased before what was leased by the one
before has run out.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self

from backfill.cluster.lease import SUCCESSION, Ask, Lease, Leases
from backfill.errors import BackfillError, LockedError
from backfill.ledger import Ledger
from backfill.ledger import Target as LedgerTarget
from backfill.pipeline import Sending
from backfill.records import Events, Outcome
from backfill.send import Target

__all__ = ["FarLedger", "LedgerHolder", "RateHolder"]

# A database notices so late that the one who held its lock is gone with its whole machine.
LOCK_PATIENCE = 90.0


class RateHolder:
    """One store's rate, how far its parts are, and who was asked to stop. `follows`: another held them before."""

    def __init__(self, *, follows: bool) -> None:
        self._follows = follows
        self._leases: Leases | None = None
        self._target: Target | None = None
        self._stops = 0
        self._sending: dict[int, Sending] = {}

    async def begin(self, target: Target, rate: float) -> None:
        """Delivery to `target` begins, or goes on, at `rate` requests/s."""
        self._target = target
        if self._leases is None:
            self._leases = Leases(rate, time.monotonic(), SUCCESSION if self._follows else 0.0)

    async def target(self) -> Target | None:
        """Where events go; None until whoever knows has said so again."""
        return self._target

    async def ask(self, ask: Ask) -> Lease | None:
        """A worker's call for slots."""
        return None if self._leases is None else self._leases.ask(ask, time.monotonic())

    async def beat(self, part: int, state: Sending | None) -> int:
        """A worker tells how far it is, and learns how often it was asked to stop."""
        if state is not None:
            self._sending[part] = state
        return self._stops

    async def sending(self) -> tuple[dict[int, Sending], bool]:
        """How far each part is, and whether `begin` has to be called again."""
        return dict(self._sending), self._leases is None

    async def stop(self) -> None:
        """Ask the workers to stop: what is under way may end. A second time: at once."""
        self._stops += 1


class LedgerHolder:
    """The ledger, opened to write by `open_ledger`; `follows`: another process held it before.

    That it can't be opened is told by the first call: the reason of an actor that can't begin does not reach who waits.
    """

    def __init__(self, open_ledger: Callable[[], Ledger], *, follows: bool) -> None:
        self._follows = follows
        self._patience = LOCK_PATIENCE if follows else 0.0
        self._opened: Ledger | BackfillError
        try:
            self._opened = _opened(open_ledger, self._patience)
        except BackfillError as error:
            self._opened = error
        self._views: dict[LedgerTarget, Ledger] = {}
        self._turns: defaultdict[LedgerTarget, threading.Lock] = defaultdict(threading.Lock)

    @property
    def _ledger(self) -> Ledger:
        if isinstance(self._opened, BackfillError):
            raise self._opened
        return self._opened

    async def warnings(self) -> tuple[str, ...]:
        """What there is to warn of."""
        return tuple(self._ledger.warnings)

    async def call(self, target: LedgerTarget | None, name: str, *args: Any, **options: Any) -> Any:
        """A call of the ledger, as it is seen from `target`, or as it was opened."""
        if name == "record" and self._follows:
            # What is to be recorded may have been, by the one before, whose answer was lost.
            options["asked"] = False
        return await asyncio.get_running_loop().run_in_executor(
            None, partial(self._called, target, name, *args, **options)
        )

    def _called(self, target: LedgerTarget | None, name: str, *args: Any, **options: Any) -> Any:
        ledger = self._ledger if target is None else self._view(target)
        return getattr(ledger, name)(*args, **options)

    def _view(self, target: LedgerTarget) -> Ledger:
        # Of calls that come at once one opens it: where each store has a lock of its own, a second would find it taken.
        with self._turns[target]:
            if target not in self._views:
                self._views[target] = _opened(partial(self._ledger.beside, target), self._patience)
            return self._views[target]


def _opened(open_ledger: Callable[[], Ledger], patience: float) -> Ledger:
    until = time.monotonic() + patience
    while True:
        try:
            return open_ledger()
        except LockedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


class FarLedger:
    """A ledger that another process has open: has the methods of `Ledger`, and can be taken anywhere.

    `call` asks that process, with the target that the ledger is seen from, and waits for its answer.
    """

    def __init__(
        self, call: Callable[..., Any], target: LedgerTarget | None = None, warnings: Sequence[str] = ()
    ) -> None:
        self._call = call
        self._target = target
        self._empty = True
        self.warnings = tuple(warnings)

    def __reduce__(self) -> tuple[Any, ...]:
        return FarLedger, (self._call, self._target, self.warnings)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._call, self._target, name)

    def beside(self, target: LedgerTarget) -> FarLedger:
        """As the ledger's."""
        return FarLedger(self._call, target)

    def is_empty(self) -> bool:
        """As the ledger's; that it is not is asked once."""
        self._empty = self._empty and bool(self._call(self._target, "is_empty"))
        return self._empty

    def record(self, outcomes: Sequence[Outcome], run: int, *, asked: bool = False) -> None:
        """As the ledger's; without what it does not keep."""
        self._call(self._target, "record", [_bare(outcome) for outcome in outcomes], run, asked=asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        # Who has it open and is gone has closed it.
        with suppress(BackfillError):
            self._call(self._target, "close")


def _bare(outcome: Outcome) -> Outcome:
    events = outcome.events
    few = Events((), (), events.keys, events.contents, events.names, (), ())
    return Outcome(few, list(outcome.accepted), list(outcome.refused))
