"""A worker's share of its store's rate: asked for ahead of need, in slots that `lease` hands out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import anyio

from backfill.cluster.lease import ANSWER_WITHIN, GRACE, HORIZON, Ask, Lease, Limited
from backfill.errors import StoppedError
from backfill.pace import Clock

__all__ = ["GIVEN_UP_AFTER", "LeasedPace"]

# The next slots are asked for as long before the last is used as an answer takes, and some.
LEAD = 0.02
LONGEST_LEAD = 0.9 * HORIZON
# A holder that does not answer: waits between asks, doubled up to the longest.
FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 5.0
# One that has not answered for so long does not come back by itself.
GIVEN_UP_AFTER = 300.0


class _Known:
    """What a worker knows of its store's rate, and what it has to tell: stands where `Pace` has a `Rate`."""

    def __init__(self, rate: float, now: float, told: Callable[[], None]) -> None:
        self.rate = rate
        self.paused_until = now
        self.generation = 0
        self.urgent = False  # a 429 that was not told yet
        self.successes = 0
        self._told = told
        self._cut_at = float("-inf")
        self._pause_until = now
        self._limited_generation = 0
        self._learned: deque[tuple[float, int]] = deque([(float("-inf"), 0)], maxlen=32)

    def limited(self, now: float, pause: float, sent_at: float) -> bool:
        cut = sent_at >= self._cut_at
        if cut:
            self._cut_at = now
        under = next((one for at, one in reversed(self._learned) if at <= sent_at), self._learned[0][1])
        self._limited_generation = max(self._limited_generation, under) if self.urgent else under
        self.urgent = True
        self.paused_until = max(self.paused_until, now + pause)
        self._pause_until = self.paused_until
        self._told()
        return cut

    def succeeded(self, now: float) -> None:
        self.successes += 1

    def tell(self, now: float) -> Limited | None:
        return Limited(max(0.0, self._pause_until - now), self._limited_generation) if self.urgent else None

    def learn(self, lease: Lease, now: float) -> bool:
        """True when what is held of older leases is void."""
        self.rate = lease.rate
        longer = self.paused_until > now + lease.paused
        if lease.paused:
            self.paused_until = max(self.paused_until, now + lease.paused)
        if lease.generation == self.generation:
            return False
        if lease.generation < self.generation and longer:
            # Another holder, which began anew: it has to hear of the pause.
            self.urgent = True
            self._pause_until = self.paused_until
            self._limited_generation = lease.generation
        self.generation = lease.generation
        self._cut_at = now
        self._learned.append((now, lease.generation))
        return True


class LeasedPace:
    """A worker's share of its store's rate: `await wait()` before each request, in turn, as with `Pace`.

        async with LeasedPace("worker-3", ask, rate=95, clock=clock) as pace, Sender(..., pace=pace) as sender:

    `ask` calls the holder's `Leases.ask`; when it raises, or does not answer in time, it is asked again after a
    while, and nothing is sent meanwhile: `unanswered_since` and `trouble` tell for how long already, and why. After
    GIVEN_UP_AFTER `wait` raises StoppedError.
    `rate` is what is shown before the first answer.
    """

    def __init__(self, worker: str, ask: Callable[[Ask], Awaitable[Lease]], *, rate: float, clock: Clock) -> None:
        self.worker = worker
        self._ask = ask
        self._clock = clock
        self.state = _Known(rate, clock.monotonic(), self._was_limited)
        self._slots: deque[float] = deque()  # when each may be used, oldest first
        self._line = anyio.Lock(fast_acquire=True)
        self._waiting = 0
        # Slots that were used while others waited, of late: as many will be needed again before the next answer.
        self._pressed: deque[float] = deque()
        self._not_before = float("-inf")
        self.unanswered_since: float | None = None  # on `clock`; None while the holder answers
        self.trouble = ""
        self._failures = 0
        self._trip = 0.0  # seconds that an answer takes, rather too long than too short
        self._asker_nap: anyio.CancelScope | None = None
        self._line_nap: anyio.CancelScope | None = None
        self._group = anyio.create_task_group()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._group.start_soon(self._keep_asking)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._group.cancel_scope.cancel()
        # The body's own error goes on as it is: a task group that was told of it would wrap it.
        await self._group.__aexit__(None, None, None)

    # ------------------------------------------------------------------------------------------ for the sender

    def ready(self) -> bool:
        """Takes a slot when nobody has to wait for it."""
        return not self._line.locked() and self._taken(self._clock.monotonic())

    def busy(self) -> bool:
        """Whether somebody waits for the rate."""
        return self._line.locked()

    async def wait(self) -> None:
        """Until one request may leave. A cancelled wait takes nothing."""
        self._waiting += 1
        try:
            _wake(self._asker_nap)
            async with self._line:
                while not self._taken(now := self._clock.monotonic()):
                    self._see_whether_to_give_up(now)
                    if not self._slots:
                        _wake(self._asker_nap)  # they ran out while the loop was busy, with nobody to notice
                    with anyio.CancelScope() as self._line_nap:
                        await self._sleep(self._slots[0] - now if self._slots else math.inf)
        finally:
            self._waiting -= 1

    def _see_whether_to_give_up(self, now: float) -> None:
        since = self.unanswered_since
        if since is not None and now - since >= GIVEN_UP_AFTER:
            raise StoppedError(
                f"who holds the store's rate has not answered for {now - since:.0f} s ({self.trouble})",
                hint="see what the cluster's logs say of it, and run again: what was accepted is recorded",
            )

    # ------------------------------------------------------------------------------------------------- slots

    def _taken(self, now: float) -> bool:
        slots = self._slots
        while slots and slots[0] + GRACE < now:
            slots.popleft()
        if not slots or slots[0] > now + 1e-9:
            return False
        slots.popleft()
        if self._waiting > 1:
            self._pressed.append(now)
        return True

    def _wanted(self, now: float) -> int:
        while self._pressed and self._pressed[0] < now - HORIZON - self._trip:
            self._pressed.popleft()
        if not self._waiting:
            return 0
        return self._waiting + len(self._pressed) - sum(at + GRACE >= now for at in self._slots)

    def _was_limited(self) -> None:
        self._slots.clear()
        _wake(self._asker_nap)

    # ------------------------------------------------------------------------------------------------- asking

    def _until_ask(self, now: float) -> float:
        """Seconds until the holder is to be asked."""
        if self.state.urgent:
            return self._not_before - now if self._failures else 0.0
        if self._wanted(now) <= 0:
            return math.inf
        ahead = self._slots[-1] - min(LONGEST_LEAD, LEAD + 1.5 * self._trip) if self._slots else now
        return max(ahead, self._not_before, self.state.paused_until) - now

    async def _keep_asking(self) -> None:
        while True:
            now = self._clock.monotonic()
            if (wait := self._until_ask(now)) > 1e-9:
                with anyio.CancelScope() as self._asker_nap:
                    await self._sleep(wait)
                self._asker_nap = None
                continue
            lease = await self._answer(now)
            trip, now = self._clock.monotonic() - now, self._clock.monotonic()
            self._trip = max(trip, 0.9 * self._trip + 0.1 * trip)
            if lease is None:
                self.unanswered_since = now - trip if self.unanswered_since is None else self.unanswered_since
                self._not_before = now + min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**self._failures)
                self._failures += 1
                _wake(self._line_nap)
            else:
                self._failures, self.unanswered_since, self.trouble = 0, None, ""
                self._take_in(lease, now)

    async def _answer(self, now: float) -> Lease | None:
        """None when the holder gave none, for whatever reason: it is asked again, and tells the same."""
        state = self.state
        told, successes = state.tell(now), state.successes
        state.urgent, state.successes = False, 0
        lease = None
        try:
            with anyio.move_on_after(ANSWER_WITHIN):
                lease = await self._ask(Ask(self.worker, max(0, self._wanted(now)), successes, told))
            trouble = f"no answer within {ANSWER_WITHIN:g} s"
        except Exception as error:  # noqa: BLE001 (gone, moved, cut off: all the same; only the engine knows their names)
            trouble = f"{type(error).__name__}: {error}"
        if lease is None:
            self.trouble = trouble
            state.urgent = state.urgent or told is not None
            state.successes += successes
        return lease

    def _take_in(self, lease: Lease, now: float) -> None:
        if self.state.learn(lease, now) or lease.paused:
            self._slots.clear()
        self._not_before = now + lease.again
        if not self.state.urgent:  # what came while a 429 was on its way is void
            last = self._slots[-1] if self._slots else now
            self._slots.extend(max(last, now + delay) for delay in lease.slots)
        _wake(self._line_nap)

    async def _sleep(self, seconds: float) -> None:
        await (anyio.sleep_forever() if seconds == math.inf else self._clock.sleep(seconds))


def _wake(nap: anyio.CancelScope | None) -> None:
    if nap is not None:
        nap.cancel()
