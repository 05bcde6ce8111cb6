"""Whose turn it is: before each attempt the breaker, a place in flight and the rate have to agree."""

from __future__ import annotations

import anyio

from backfill.pace import Clock, Concurrency, Pace
from backfill.retry import Breaker, Budget, Gate

__all__ = ["GaveUp", "Turns"]


class GaveUp(Exception):
    """The API was out of reach for half an hour."""


class Turns:
    """All waiting of one sender, and what ends it: a turn, stop(), or GaveUp.

    `admit` takes a place, which the caller gives back with `places.release()`.
    """

    def __init__(self, rate: float, concurrency: int, clock: Clock) -> None:
        self.pace = Pace(rate, clock)
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
        if self.stopped():
            return None
        if not self.breaker.is_open and self.places.ready():
            if self.pace.ready():
                return Gate.GO
            self.places.release()
        while True:
            gate: Gate | None = None
            with anyio.CancelScope() as scope:
                self._waiting.add(scope)
                try:
                    gate = await self._turn()
                finally:
                    self._waiting.discard(scope)
            if gate is None:
                return None
            if self.stopped():
                self._give_back(gate)
                return None
            # The breaker may have opened while this one stood in line.
            if gate is Gate.PROBE or not self.breaker.is_open:
                return gate
            self._give_back(gate)

    def _give_back(self, gate: Gate) -> None:
        self.places.release()
        if gate is Gate.PROBE:
            self.breaker.not_probed()

    async def _turn(self) -> Gate:
        gate = await self._pass_gate()
        placed = False
        try:
            if not self.places.ready():
                if not self.pace.busy():
                    self.places.state.wanted()
                await self.places.acquire()
            placed = True
            await self.pace.wait()
        except BaseException:
            if placed:
                self.places.release()
            if gate is Gate.PROBE:
                self.breaker.not_probed()
            raise
        return gate

    async def _pass_gate(self) -> Gate:
        while True:
            gate, wait = self.breaker.gate(self._clock.monotonic())
            if gate is Gate.GIVE_UP:
                raise GaveUp
            if gate is not Gate.WAIT:
                return gate
            with anyio.CancelScope() as nap:
                self._gated.add(nap)
                try:
                    await self._clock.sleep(wait)
                finally:
                    self._gated.discard(nap)

    async def sleep(self, seconds: float) -> bool:
        """Back-off, with neither a place nor a slot held. False when the sender stops."""
        if self.stopped():
            return False
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                await self._clock.sleep(seconds)
            finally:
                self._waiting.discard(scope)
        return not self.stopped()
