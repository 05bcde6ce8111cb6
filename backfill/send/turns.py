"""Whose turn it is: before each attempt the breaker, a place in flight and the rate have to agree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from backfill.pace import Clock, Concurrency, Pacing
from backfill.retry import Breaker, Budget, Gate

__all__ = ["GaveUp", "Turns"]


class GaveUp(Exception):
    """The API was out of reach for half an hour."""


class Turns:
    """All waiting of one sender, and what ends it: a turn, stop(), or GaveUp.

    `admit` takes a place, which the caller gives back with `places.release()`.
    """

    def __init__(self, pace: Pacing, concurrency: int, clock: Clock) -> None:
        self.pace = pace
        self.places = Concurrency(concurrency)
        self.budget = Budget()
        self.breaker = Breaker()
        self._clock = clock
        self._stopping = False
        self._waiting: set[anyio.CancelScope] = set()  # ended by stop()
        self._gated: set[anyio.CancelScope] = set()  # naps before the breaker, ended when it closes

    def stop(self) -> None:
        """No turn from now on; who waits for one gets None at once."""
        self._stopping = True
        self.places.send_away()
        for scope in list(self._waiting):
            scope.cancel()

    def stopped(self) -> bool:
        return self._stopping

    def pay(self, now: float) -> bool:
        """One retry from the budget; when it can't pay, the breaker opens and False says so."""
        if self.budget.spend():
            return True
        self.breaker.open(now)
        return False

    def reopen(self, now: float) -> None:
        """The probe was answered: everybody may go on."""
        self.breaker.probed(now, alive=True)
        self.budget.refill()
        for nap in list(self._gated):
            nap.cancel()

    async def admit(self) -> Gate | None:
        """Waits for the breaker, a place in flight and the rate, in this order; the place is then held.

        GO or PROBE; None when the sender stops. Raises GaveUp.
        """
        while not self._stopping:
            gate = await self._pass_gate() if self.breaker.is_open else Gate.GO
            if gate is None:
                break
            placed = admitted = False
            try:
                placed = self.places.ready() or await self._place()
                paced = placed and (self.pace.ready() or await self._until_stopped(self.pace.wait))
                # The breaker may have opened while this one stood in line.
                passed = gate is Gate.PROBE or not self.breaker.is_open
                admitted = paced and passed and not self._stopping
            finally:
                if not admitted:
                    if placed:
                        self.places.release()
                    if gate is Gate.PROBE:
                        self.breaker.not_probed()
            if admitted:
                return gate
        return None

    async def _place(self) -> bool:
        if not self.pace.busy():
            self.places.state.wanted()
        return await self.places.acquire()

    async def _pass_gate(self) -> Gate | None:
        while not self._stopping:
            gate, wait = self.breaker.gate(self._clock.monotonic())
            if gate is Gate.GIVE_UP:
                raise GaveUp
            if gate is not Gate.WAIT:
                return gate
            with anyio.CancelScope() as nap:
                self._gated.add(nap)
                try:
                    await self.sleep(wait)
                finally:
                    self._gated.discard(nap)
        return None

    async def sleep(self, seconds: float) -> bool:
        """Back-off, with neither a place nor a slot held. False when the sender stops."""
        return not self._stopping and await self._until_stopped(lambda: self._clock.sleep(seconds))

    async def _until_stopped(self, wait: Callable[[], Awaitable[None]]) -> bool:
        """Waits; False when the sender stops, which ends the wait."""
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                await wait()
            finally:
                self._waiting.discard(scope)
        return not self._stopping
