"""The rate limit of a store: a token bucket, and the busiest second that was asked of it."""

from __future__ import annotations

from collections import deque


class Bucket:
    """Takes `rate` requests a second; full, it holds one second's worth, which an idle store may burst by.

    The vendor documents the rate and no burst. Times are monotonic seconds, given by the caller.
    """

    def __init__(self, rate: float | None, now: float) -> None:
        self._rate = rate
        self._size = max(1.0, rate or 0.0)
        self._tokens = self._size
        self._at = now
        self._recent: deque[float] = deque()
        self.peak = 0

    def take(self, now: float) -> float:
        """0 when the request is let through, else seconds until one will be. A refusal costs nothing."""
        self._recent.append(now)
        while self._recent[0] <= now - 1:
            self._recent.popleft()
        self.peak = max(self.peak, len(self._recent))
        if self._rate is None:
            return 0.0
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate
