"""What the sender tells of itself: counts, times and why it waits, as plain data for whoever shows it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Latency", "Snapshot", "Watch"]

# Enough for a p95 of the last seconds, and cheap to sort ten times a second.
_RECENT = 512


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from sending to the whole answer, of the last 512 answered requests; zeros before the first."""

    median: float = 0.0
    p95: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The sender at one moment.

    `requests`: sent, each repetition counted; `retries`: the repetitions among them; `rate_limited`: 429s;
    `statuses`: answers by status; `no_answer`: requests that ended without one; `bytes_sent`: bodies.
    `rate` is in requests/s; `concurrency` the limit of the moment, `in_flight` how many of it are in use.
    `pause`: seconds until the next request may leave, when all of them wait, and `reason` says so in words:
    "waiting 12 s: the API asked for it (429)". `outage`: until the API answers again, whenever that is. `trouble` is
    what failed last, in words.
    """

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    statuses: Mapping[int, int] = field(default_factory=dict)
    no_answer: int = 0
    bytes_sent: int = 0
    latency: Latency = Latency()
    rate: float = 0.0
    concurrency: int = 0
    in_flight: int = 0
    pause: float = 0.0
    reason: str = ""
    outage: bool = False
    trouble: str = ""

    @property
    def why(self) -> str:
        """What is waited for, without for how long: "the API asked for it (429)"; "" when nothing waits."""
        return self.reason.partition(": ")[2]

    @classmethod
    def together(cls, each: Sequence[Snapshot], now: Sequence[Snapshot], *, one_rate: bool) -> Snapshot:
        """Several senders as one: all that `each` counted, and the figures of the moment of those that send `now`.

        Latencies are of the one that sent most. `one_rate`: they share it. They wait when all of them do.
        """
        statuses: Counter[int] = Counter()
        for one in each:
            statuses.update(one.statuses)
        busiest = max(now, key=lambda one: one.requests, default=cls())
        waits = bool(now) and all(one.reason for one in now)
        first = min(now, key=lambda one: one.pause) if waits else cls()
        rates = [one.rate for one in now]
        return cls(
            requests=sum(one.requests for one in each),
            retries=sum(one.retries for one in each),
            rate_limited=sum(one.rate_limited for one in each),
            statuses=dict(statuses),
            no_answer=sum(one.no_answer for one in each),
            bytes_sent=sum(one.bytes_sent for one in each),
            latency=busiest.latency,
            rate=max(rates, default=0.0) if one_rate else sum(rates),
            concurrency=sum(one.concurrency for one in now),
            in_flight=sum(one.in_flight for one in now),
            pause=first.pause,
            reason=first.reason,
            outage=first.outage,
            trouble=next((one.trouble for one in each if one.trouble), ""),
        )


class Watch:
    """Counts while the sender works."""

    def __init__(self) -> None:
        self.requests = 0
        self.retries = 0
        self.rate_limited = 0
        self.no_answer = 0
        self.bytes_sent = 0
        self.statuses: Counter[int] = Counter()
        self._seconds: deque[float] = deque(maxlen=_RECENT)

    def sent(self, size: int, *, again: bool) -> None:
        self.requests += 1
        self.retries += again
        self.bytes_sent += size

    def answered(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.rate_limited += status == 429
        self._seconds.append(seconds)

    def latency(self) -> Latency:
        ordered = sorted(self._seconds)
        if not ordered:
            return Latency()
        return Latency(ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100], ordered[-1])
