"""How fast and how much at once: the rate that all workers share, and the limit of requests in flight.

The decisions (`Rate`, `Window`) are plain state machines that are told the time; `Pace` and `Concurrency` add
the waiting to them: first come, first served, and given up without a trace when the waiting task is
cancelled. All times are monotonic seconds: a clock that is set, or a machine that sleeps, changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

import anyio

__all__ = ["Clock", "Concurrency", "Pace", "Pacing", "Rate", "SystemClock", "Told", "Window"]

BURST = 10
FLOOR = 5.0
CUT_BY_429 = 0.7
# Timers are no finer than 1 ms, and late on a busy machine: above 2,000/s a bucket of 10 would be the limit.
BURST_SECONDS = 0.005

START = 8
MOST = 64
CUT_BY_FAILURE = 0.9


class Clock(Protocol):
    """Time as the delivery stages see it."""

    def monotonic(self) -> float:
        """Seconds that only go forward; their zero means nothing."""

    def wall(self) -> float:
        """Seconds since 1970, for the API's dates only."""

    async def sleep(self, seconds: float) -> None:
        """Wait; can be cancelled."""


class SystemClock:
    """The machine's own time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class Rate:
    """An evenly spaced bucket, in requests a second, which a 429 pauses and slows.

    In any time t there are at most rate x t + BURST takes. `top` is the configured rate; the rate of the
    moment is never over it. (GCRA: one number, the time at which the next take would be exactly on schedule.)
    """

    def __init__(self, top: float, now: float) -> None:
        if not top > 0:
            raise ValueError(f"a rate of {top} requests a second")
        self.top = top
        self.rate = top
        self.paused_until = now
        self._burst = max(BURST, int(top * BURST_SECONDS))
        self._due = now + (self._burst - 1) / top  # no burst at the start: the bucket begins empty
        self._cut_at = float("-inf")
        self._clean_since = now

    def take(self, now: float) -> float:
        """0 when one request may leave now (it is then taken), else the seconds until one could."""
        early = (self._burst - 1) / self.rate
        wait = max(self._due - early, self.paused_until) - now
        if wait > 1e-9:  # less is rounding, and would wake the waiter for nothing
            return wait
        self._due = max(self._due, now) + 1 / self.rate
        return 0.0

    def until(self, now: float, nth: int) -> float:
        """Seconds until the nth take from now on could leave, when those before it leave as early as they may."""
        early = (self._burst - 1) / self.rate
        first = max(self._due - early, self.paused_until, now)
        return max(first, max(self._due, first) + (nth - 1) / self.rate - early) - now

    def limited(self, now: float, pause: float, sent_at: float) -> bool:
        """A 429 for a request sent at `sent_at`: `pause` seconds for all, then x0.7, floor 5/s.

        Answers to what had left before the last cut extend the pause and don't cut again: one full bucket at
        the API's end makes 64 such answers, and the floor would be reached at once. True when the rate was
        cut.
        """
        self.paused_until = max(self.paused_until, now + pause)
        cut = sent_at >= self._cut_at
        if cut:
            self.rate = max(min(FLOOR, self.top), self.rate * CUT_BY_429)
            self._cut_at = now
        # What the bucket had saved is spent: the pause ends with one request, not with ten.
        self._due = max(self._due, self.paused_until + (self._burst - 1) / self.rate)
        self._clean_since = self.paused_until
        return cut

    def succeeded(self, now: float) -> None:
        """An answer that was no 429: each clean second gives 1/s back. Idle time does not count."""
        if self.rate < self.top and now - self._clean_since >= 1:
            self.rate = min(self.top, self.rate + 1)
            self._clean_since = now


class Window:
    """The limit of requests in flight: +1 in a clean window that used it up, x0.9 on a time-out or 5xx.

    A window is as many successes as the limit. A limit that nobody waited for is enough for rate x latency
    (Little) and does not grow. It is never over MOST, whatever `most` is.
    """

    def __init__(self, most: int = MOST) -> None:
        if most < 1:
            raise ValueError(f"a concurrency of {most}")
        self.most = min(most, MOST)
        self._limit = float(min(START, most))
        self._successes = 0
        self._wanted = False
        self._cut_at = float("-inf")

    @property
    def limit(self) -> int:
        return int(self._limit)

    def wanted(self) -> None:
        """Somebody had to wait for a place."""
        self._wanted = True

    def succeeded(self) -> None:
        self._successes += 1
        if self._successes >= self.limit:
            if self._wanted:
                self._limit = min(float(self.most), self._limit + 1)
            self._successes = 0
            self._wanted = False

    def failed(self, now: float, sent_at: float) -> None:
        """A time-out or a 5xx; for a request sent before the last cut it is that cut's echo."""
        self._successes = 0
        self._wanted = False
        if sent_at >= self._cut_at:
            self._limit = max(1.0, self._limit * CUT_BY_FAILURE)
            self._cut_at = now


class Told(Protocol):
    """A store's rate as its sender sees it."""

    @property
    def rate(self) -> float:
        """Requests a second, at the moment."""

    @property
    def paused_until(self) -> float:
        """No request may leave before."""

    def limited(self, now: float, pause: float, sent_at: float) -> bool:
        """A 429; true when it cut the rate."""

    def succeeded(self, now: float) -> None:
        """An answer that was no 429."""


class Pacing(Protocol):
    """What says when a request may leave: `Pace` on one machine, a lease where machines share a store."""

    @property
    def state(self) -> Told: ...

    def ready(self) -> bool:
        """Takes a slot when nobody has to wait for it."""

    def busy(self) -> bool:
        """Whether somebody waits for the rate."""

    async def wait(self) -> None:
        """Until one request may leave. A cancelled wait takes nothing."""


class Pace:
    """The rate, shared by all workers: `await wait()` before each request, in turn."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._clock = clock
        self.state = Rate(rate, clock.monotonic())
        # The first in line sleeps, the others wait for its place: fair, and one timer at a time.
        self._line = anyio.Lock(fast_acquire=True)

    def ready(self) -> bool:
        """Takes a slot when nobody has to wait for it."""
        return not self._line.locked() and not self.state.take(self._clock.monotonic())

    def busy(self) -> bool:
        """Whether somebody waits for the rate."""
        return self._line.locked()

    async def wait(self) -> None:
        """Until one request may leave. A cancelled wait takes nothing."""
        async with self._line:
            while wait := self.state.take(self._clock.monotonic()):
                await self._clock.sleep(wait)


class Concurrency:
    """Places for requests in flight: `await acquire()`, later `release()`; in turn.

    The caller says `state.wanted()` when it lacks a place and nothing else: one who would then wait for the
    rate needs no more places.
    """

    def __init__(self, most: int = MOST) -> None:
        self.state = Window(most)
        self.in_flight = 0
        # A future, not an anyio.Event: at full speed half of all requests stand here, and an Event takes 3 us more.
        self._line: deque[asyncio.Future[bool]] = deque()

    def ready(self) -> bool:
        """Takes a place when nobody has to wait for it."""
        if self._line or self.in_flight >= self.state.limit:
            return False
        self.in_flight += 1
        return True

    async def acquire(self) -> bool:
        """Until there is a place, or `send_away` says that there is none. A cancelled wait takes none."""
        if self.ready():
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            return await turn
        except BaseException:
            if turn in self._line:
                self._line.remove(turn)
            elif (
                not turn.cancelled() and turn.result()
            ):  # the place was given in the moment of the cancelling: pass it on
                self.release()
            raise

    def release(self) -> None:
        self.in_flight -= 1
        while self._line and self.in_flight < self.state.limit:
            turn = self._line.popleft()
            if not turn.done():  # one that is being cancelled
                self.in_flight += 1
                turn.set_result(True)

    def send_away(self) -> None:
        """Who stands in line gets no place."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(False)
