"""Outcomes → ledger, beside the event loop: what a worker has had accepted is written before it sends more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import anyio
import anyio.to_thread

from backfill.errors import BackfillError
from backfill.ledger import Ledger
from backfill.records import Outcome

__all__ = ["Recorder"]

GATHER_SECONDS = 0.05


class Recorder:
    """Brings outcomes to the ledger in a thread, some together in one transaction.

    It begins when there are `enough`, or GATHER_SECONDS after the first: a commit costs as much as what it holds, and
    at 95 requests a second there would be one for each. Their workers wait, so that they still count as in flight.
    """

    def __init__(self, ledger: Ledger, run: int, failed: Callable[[BackfillError], None], enough: int) -> None:
        self._ledger, self._run, self._failed, self._enough = ledger, run, failed, enough
        self._waiting: list[Outcome] = []
        self._wake = asyncio.Event()
        # Who waits for what is being written, and for what is waiting. (An Event would ask each time which loop runs.)
        self._now: list[asyncio.Future[None]] = []
        self._next: list[asyncio.Future[None]] = []
        self._busy = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    def add(self, outcome: Outcome) -> None:
        """Have an outcome written soon."""
        self._waiting.append(outcome)
        if len(self._waiting) >= self._enough or self._closing:
            self._wake.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._wake.set)

    async def flushed(self) -> None:
        """Wait until all that was added up to now is in the ledger, or the ledger has failed."""
        if self._waiting or self._busy:
            written = self._loop.create_future()
            (self._next if self._waiting else self._now).append(written)
            await written

    async def run(self) -> None:
        """Write what is added, until `close`. After a failure nothing more is written."""
        broken = False
        while not self._closing or self._waiting:
            await self._wake.wait()
            self._wake.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not self._waiting:
                continue
            batch, self._waiting = self._waiting, []
            self._now, self._next = self._next, []
            self._busy = True
            broken = broken or not await self._write(batch)
            self._busy = False
            for written in self._now:
                if not written.done():  # its worker was cancelled
                    written.set_result(None)

    async def _write(self, batch: list[Outcome]) -> bool:
        with anyio.CancelScope(shield=True):
            try:
                # The survey asked about all of them.
                await anyio.to_thread.run_sync(partial(self._ledger.record, batch, self._run, asked=True))
            except BackfillError as error:
                self._failed(error)
                return False
        return True

    async def close(self) -> None:
        """Write the rest."""
        self._closing = True
        self._wake.set()
        await self.flushed()
