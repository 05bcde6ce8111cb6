"""One store's rate for many workers: who holds it leases send slots out, and a worker's pace lives on leases.

`Leases` is pure and is told the time. It hands out the slots of one `Rate` a little ahead, as seconds from its
answer on, because the clocks of machines differ. `LeasedPace` stands in a worker's sender where `Pace` stands on
one machine: it asks ahead of need, and gives its slots out one by one.

How the limit is kept: the planned times of all slots keep to the `Rate`. A slot is never used before its time,
and after it no later than the answer took to arrive plus GRACE; an answer that takes longer than ANSWER_WITHIN is
thrown away. So in any time t at most rate x (t + latency + GRACE) + BURST requests leave, whatever workers do or
die of. What is handed out and not used is lost, not saved up.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio

from backfill.errors import StoppedError
from backfill.pace import Clock, Rate

__all__ = ["ANSWER_WITHIN", "GIVEN_UP_AFTER", "GRACE", "HORIZON", "SUCCESSION", "Ask", "Lease", "LeasedPace", "Leases"]

# How far ahead slots are handed out: what a dead worker loses, and what may still leave after a 429.
HORIZON = 0.25
# A slot is good for so long after its time. As much as `Pace` forgives by its burst at the usual rate: a loop that
# is busy for a moment costs nothing.
GRACE = 0.1
ANSWER_WITHIN = 2.0
# What a holder handed out before it died has run out by then.
SUCCESSION = ANSWER_WITHIN + HORIZON + GRACE
# One who was told when to come and is not there so long after it has lost its turn.
LINGER = 0.25
# Who has not asked for so long shares with nobody.
ACTIVE = 1.0
# The next slots are asked for as long before the last is used as an answer takes, and some.
LEAD = 0.02
LONGEST_LEAD = 0.9 * HORIZON
# Nobody is told to come back sooner.
SOON = 0.01
# A holder that does not answer: waits between asks, doubled up to the longest.
FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 5.0
# One that has not answered for so long does not come back by itself.
GIVEN_UP_AFTER = 300.0


@dataclass(frozen=True, slots=True)
class Limited:
    """429s that a worker saw: the pause that is left of the longest, and the newest lease they were sent under."""

    pause: float
    generation: int


@dataclass(frozen=True, slots=True)
class Ask:
    """What a worker asks for, and what it has seen since it asked last. Its seconds count from when it leaves.

    `wanted`: slots; `succeeded`: answers that were no 429.
    """

    worker: str
    wanted: int
    succeeded: int = 0
    limited: Limited | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """`slots`: when requests may leave, in seconds from the answer; each is good for GRACE after it.

    `again`: seconds after which asking for more makes sense. `generation` is another after each 429: slots of an
    older one are void. `rate`: requests/s of the store at the moment; `paused`: seconds until any slot is given.
    """

    slots: tuple[float, ...]
    again: float
    generation: int
    rate: float
    paused: float


@dataclass(slots=True)
class _Asker:
    """One worker: when it asked, the slots it had (in which workers are made even), and what it still lacks."""

    seen: float
    served: int
    waits_since: float
    lacks: int = 0
    turn_until: float = 0.0


class Leases:
    """What the one holder of a store's rate knows: hands its slots out to any number of workers, evenly.

    `after`: seconds in which nothing is handed out; SUCCESSION for one that follows another that died. No bucket
    is full at the start, and a worker that dies costs the slots that it holds.
    """

    def __init__(self, top: float, now: float, after: float = 0.0) -> None:
        self.rate = Rate(top, now + after)
        self.generation = 0
        self._cut_generation = 0
        self._askers: dict[str, _Asker] = {}

    def ask(self, ask: Ask, now: float) -> Lease:
        """A worker's whole call: what it saw, then what it gets."""
        if ask.limited is not None:
            self.limited(now, ask.limited.pause, ask.limited.generation)
        if ask.succeeded:
            self.succeeded(now)
        return self.lease(ask.worker, ask.wanted, now)

    def limited(self, now: float, pause: float, generation: int) -> bool:
        """A 429 for a request that left under `generation`: nothing is handed out for `pause` seconds.

        The rate is cut once for all that left before the cut was known: what left under an older lease than
        the first after the cut is its echo. True when it was cut.
        """
        fresh = generation >= self._cut_generation
        before = self.rate.paused_until
        cut = self.rate.limited(now, pause, sent_at=now if fresh else float("-inf"))
        if cut or self.rate.paused_until > before:
            self.generation += 1
        if cut:
            self._cut_generation = self.generation
        return cut

    def succeeded(self, now: float) -> None:
        """Some answers that were no 429. How many does not matter: a second gives back the same."""
        self.rate.succeeded(now)

    def lease(self, worker: str, wanted: int, now: float) -> Lease:
        """Up to `wanted` slots, none further ahead than HORIZON, and no more than is fair to the others."""
        asker = self._known(worker, now)
        paused = max(0.0, self.rate.paused_until - now)
        if paused or wanted <= 0:
            asker.lacks, asker.turn_until = max(0, wanted), now + paused + LINGER
            return Lease((), paused, self.generation, self.rate.rate, paused)
        others = [other for other in self._askers.values() if other is not asker]
        # The nearer the last slot that is given away, the sooner one who comes now and then gets its next one.
        horizon = HORIZON if all(other.seen < now - ACTIVE for other in others) else HORIZON / 2
        line = [other for other in others if other.lacks and other.turn_until >= now]

        def wait_for(mine: int) -> float:
            return self.rate.until(now, mine + _before(mine, asker, line))

        slots = self._take(_most(wanted, lambda mine: wait_for(mine) <= horizon + 1e-9), now)
        if slots:
            asker.served += len(slots)
            asker.waits_since = now
        asker.lacks = wanted - len(slots)
        # Back when about half of its share of the horizon is there to be had, rather than for each slot.
        batch = max(1, int(horizon * self.rate.rate / (len(line) + 1) / 2))
        again = max(SOON, wait_for(min(batch, asker.lacks)) - horizon) if asker.lacks else 0.0
        asker.turn_until = now + again + LINGER
        return Lease(slots, again, self.generation, self.rate.rate, 0.0)

    def _known(self, worker: str, now: float) -> _Asker:
        for name in [name for name, one in self._askers.items() if max(one.seen + ACTIVE, one.turn_until) < now]:
            del self._askers[name]
        most = max((one.served for one in self._askers.values()), default=0)
        asker = self._askers.setdefault(worker, _Asker(now, most, now))
        # Who asked for little is not owed all of it later: no more than what the horizon holds.
        asker.served = max(asker.served, most - math.ceil(self.rate.rate * HORIZON))
        asker.seen = now
        return asker

    def _take(self, count: int, now: float) -> tuple[float, ...]:
        slots: list[float] = []
        at = now
        while len(slots) < count:
            if wait := self.rate.take(at):
                at += wait
            else:
                slots.append(at - now)
        return tuple(slots)


def _before(mine: int, asker: _Asker, line: list[_Asker]) -> int:
    """How many slots of those in line come before the asker's `mine`-th, when who had least goes first."""
    level = asker.served + mine - 1
    count = 0
    for other in line:
        first = other.served == level and other.waits_since < asker.waits_since
        count += min(max(level - other.served, 0) + first, other.lacks)
    return count


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest count up to `limit` that fits, where each count below one that fits does too."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


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
