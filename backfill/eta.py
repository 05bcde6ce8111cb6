"""How long it will still take: an estimate that a pause does not shake, and words for it that are no finer than it is.

Plain state that is told the time, so that a test can live through an hour's run in a millisecond.
"""

from __future__ import annotations

from math import exp

__all__ = ["Estimate", "roughly"]

# What was seen so long ago counts a third of what is seen now. Shorter, and the rate's own unevenness shows; longer,
# and a slow-down is believed too late.
WINDOW_SECONDS = 60.0
# What is expected beforehand weighs as much as so many seconds of seeing.
EXPECTED_SECONDS = 5.0
# Of one stretch of waiting so much is taken for a part of how fast it goes, as short pauses that come again and again
# are. The rest is an accident, which says nothing about the time after it.
WAIT_SECONDS = 10.0
# An estimate beyond this says no more than that nothing moves.
LONGEST = 100 * 86_400.0

# Up to so many seconds, steps of so many.
STEPS = ((10.0, 1), (60.0, 5), (120.0, 10), (1_200.0, 60), (7_200.0, 300), (172_800.0, 1_800), (LONGEST, 86_400))


class Estimate:
    """The time left for `total` units of work, from how fast they were done lately.

    `expected` is how many a second are thought to be done before anything is seen; None when nothing is known.
    """

    def __init__(self, total: float, expected: float | None = None) -> None:
        self._total = total
        self._units = (expected or 0.0) * EXPECTED_SECONDS
        self._seconds = EXPECTED_SECONDS if expected else 0.0
        self._now = 0.0
        self._done = 0.0
        self._waited = 0.0
        self._waiting = False
        self._pause = 0.0
        self._shown = 0.0

    def see(self, now: float, done: float, *, pause: float = 0.0, waiting: bool = False) -> None:
        """At `now` (seconds since the beginning) `done` units are done.

        `waiting`: nothing is being done, as all wait; `pause`: for so many seconds more, where that is known.
        """
        gone, more = now - self._now, done - self._done
        if gone <= 0:
            return
        self._waited = self._waited + gone if waiting or self._waiting else 0.0
        counts = gone - max(0.0, min(gone, self._waited - WAIT_SECONDS))
        self._now, self._done, self._waiting, self._pause = now, done, waiting, pause
        fade = exp(-counts / WINDOW_SECONDS)
        # What was seen in one look was spread over it.
        spread = (1 - fade) * WINDOW_SECONDS / counts if counts else 1.0
        self._units = self._units * fade + more * spread
        self._seconds = self._seconds * fade + counts * spread

    @property
    def rate(self) -> float:
        """Units a second, as they were done lately; 0 before anything is known."""
        return self._units / self._seconds if self._seconds else 0.0

    def left(self) -> float | None:
        """Seconds until all is done, never less than one while anything is left; None when that can't be known."""
        if self._done >= self._total or self.rate <= 0:
            return None
        seconds = self._pause + (self._total - self._done) / self.rate
        return max(1.0, seconds) if seconds < LONGEST else None

    def words(self) -> str:
        """`12 min`, in steps no finer than the estimate is, and not to and fro between two; empty when not known."""
        left = self.left()
        if left is None:
            return ""
        if abs(left - self._shown) > 0.75 * _step(max(left, self._shown)):
            self._shown = left = _rounded(left)
        return roughly(self._shown)


def _step(seconds: float) -> int:
    return next((step for limit, step in STEPS if seconds < limit), STEPS[-1][1])


def _rounded(seconds: float) -> float:
    step = _step(seconds)
    return max(1.0, float(round(seconds / step) * step))


def roughly(seconds: float) -> str:
    """`8 s`, `45 s`, `12 min`, `1 h 25 min`, `3 days`: an estimate in round numbers, a second at least."""
    rounded = int(_rounded(seconds))
    if rounded < 120:
        return f"{rounded} s"
    minutes = rounded // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    return f"{minutes // 1_440} days"
