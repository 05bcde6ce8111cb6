"""The run over time, as it is watched: how fast events went, what was answered and how soon, what it waited for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from backfill.pipeline import Sending

__all__ = ["Course", "Pause", "Sample"]

MOST_SAMPLES = 300
MOST_PAUSES = 100
FIRST_SECONDS = 0.2
NO_ANSWER = "none"
# How long is still to be waited differs from look to look: "waiting 12 s: …", "waiting 5 s, then one try: …".
COUNTDOWN = re.compile(r"^waiting [\d.,]+ s[^:]*: ")


@dataclass(slots=True)
class Sample:
    """A stretch of the run, in seconds from its first request: events that ended in it, answers by status.

    `median` and `p95` are of the latest answers' times, in seconds; where stretches are put together, the mean of the
    medians by length, and the longer of the p95.
    """

    start: float
    end: float
    events: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    median: float = 0.0
    p95: float = 0.0

    def with_next(self, other: Sample) -> Sample:
        """This stretch and the one behind it."""
        long, more = self.end - self.start, other.end - other.start
        return Sample(
            self.start,
            other.end,
            self.events + other.events,
            self.answers + other.answers,
            (self.median * long + other.median * more) / (long + more or 1.0),
            max(self.p95, other.p95),
        )


@dataclass(slots=True)
class Pause:
    """All requests waited, from `start` to `end` (seconds), and why."""

    start: float
    end: float
    why: str


@dataclass
class Course:
    """Watches delivery; however long it takes, there are 300 samples at most."""

    pauses: list[Pause] = field(default_factory=list)
    _samples: list[Sample] = field(default_factory=list)
    _open: Sample = field(default_factory=lambda: Sample(0.0, 0.0))
    _every: float = FIRST_SECONDS
    _events: int = 0
    _answers: Counter[str] = field(default_factory=Counter)
    _paused: bool = False

    def add(self, state: Sending) -> None:
        """The state of delivery at one moment."""
        snapshot, now = state.snapshot, state.seconds
        events = state.accepted + state.refused
        answers = Counter({str(status): count for status, count in snapshot.statuses.items()})
        answers[NO_ANSWER] = snapshot.no_answer
        since = Sample(self._open.end, now, events - self._events, answers - self._answers)
        since.median, since.p95 = snapshot.latency.median, snapshot.latency.p95
        self._events, self._answers = events, answers
        self._open = self._open.with_next(since)
        self._pause(now, snapshot.reason if snapshot.pause > 0 else "")
        # The looks are not quite as far apart as they should be.
        if self._open.end - self._open.start >= self._every * 0.9:
            self._keep()

    def _keep(self) -> None:
        self._samples.append(self._open)
        self._open = Sample(self._open.end, self._open.end)
        if len(self._samples) >= MOST_SAMPLES:
            pairs = zip(self._samples[::2], self._samples[1::2], strict=True)
            self._samples = [one.with_next(other) for one, other in pairs]
            self._every *= 2

    def _pause(self, now: float, reason: str) -> None:
        why = COUNTDOWN.sub("", reason)
        if self._paused:
            self.pauses[-1].end = now
        self._paused = bool(why)
        if why and not (self.pauses and (self.pauses[-1].why == why and now - self.pauses[-1].end < self._every)):
            if len(self.pauses) < MOST_PAUSES:
                self.pauses.append(Pause(now, now, why))
            else:
                self.pauses[-1].end = now

    @property
    def seconds(self) -> float:
        """From the first look to the last."""
        return self._open.end

    def samples(self) -> list[Sample]:
        """The stretches, in order."""
        last = self._open
        if not self._samples:
            return [last] if last.end > last.start else []
        # What is left at the end is no stretch of its own: a moment has no speed.
        return [*self._samples[:-1], self._samples[-1].with_next(last)]
