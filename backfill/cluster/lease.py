"""One store's rate for many workers: who holds it leases send slots out, and a worker's pace lives on leases.

`Leases` is pure and is told the time. It hands out the slots of one `Rate` a little ahead, as seconds from its
answer on, because the clocks of machines differ. `LeasedPace` (in `leased`) stands in a worker's sender where `Pace`
stands on one machine: it asks ahead of need, and gives its slots out one by one.

How the limit is kept: the planned times of all slots keep to the `Rate`. A slot is never used before its time,
and after it no later than the answer took to arrive plus GRACE; an answer that takes longer than ANSWER_WITHIN is
thrown away. So in any time t at most rate x (t + latency + GRACE) + BURST requests leave, whatever workers do or
die of. What is handed out and not used is lost, not saved up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from backfill.pace import Rate

__all__ = ["ANSWER_WITHIN", "GRACE", "HORIZON", "SUCCESSION", "Ask", "Lease", "Leases", "Limited"]

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
# Nobody is told to come back sooner.
SOON = 0.01


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
