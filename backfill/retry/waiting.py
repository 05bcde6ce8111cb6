"""When to try again, and when to give up: one request's back-off, the run's budget and breaker."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx

__all__ = [
    "ATTEMPTS",
    "BASE_AFTER_429",
    "GIVE_UP_AFTER",
    "LONGEST_RETRY_AFTER",
    "Breaker",
    "Budget",
    "Gate",
    "backoff",
    "retry_after",
]

ATTEMPTS = 5
BASE = 0.25
BASE_AFTER_429 = 1.0
LONGEST_BACKOFF = 20.0
LONGEST_RETRY_AFTER = 300.0

TOKENS = 500
TOKENS_A_RETRY = 14

PROBE_EVERY = 30.0
GIVE_UP_AFTER = 1800.0


def retry_after(headers: httpx.Headers, wall_now: float) -> float | None:
    """Retry-After in seconds from now: 0 for a date that has passed, inf for a number beyond measure.

    None when there is none, or when it is neither a number ≥ 0 nor a date. A date is compared with the
    answer's own Date, where it has one: this machine's clock may be wrong.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value):
        return float(value)  # a float's text may be of any length: beyond 1e308 it is inf
    until = _date(value)
    if until is None:
        return None
    now = _date(headers.get("date", ""))
    return max(0.0, until - (wall_now if now is None else now))


def _date(value: str) -> float | None:
    """An HTTP date as seconds since 1970."""
    if not value or len(value) > 100:
        return None
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def backoff(attempt: int, random: Callable[[], float], base: float = BASE) -> float:
    """Full jitter: U(0, min(20 s, base x 2^attempt)); `attempt` counts from 0, `random` gives [0, 1).

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog: of the ways tried there the one with
    least work.
    """
    ceiling = min(LONGEST_BACKOFF, base * 2.0 ** min(attempt, 60))
    return random() * ceiling


class Budget:
    """500 tokens; a retry costs 14, a success gives 1: more than 7 % of failures are not paid for long."""

    def __init__(self, tokens: int = TOKENS) -> None:
        self.most = tokens
        self.tokens = tokens

    def spend(self) -> bool:
        """Pays for one retry; False when the budget can't."""
        if self.tokens < TOKENS_A_RETRY:
            return False
        self.tokens -= TOKENS_A_RETRY
        return True

    def succeeded(self) -> None:
        if self.tokens < self.most:
            self.tokens += 1

    def refill(self) -> None:
        """After an outage: half, so that what is still half broken is noticed sooner than the first time."""
        self.tokens = max(self.tokens, self.most // 2)


class Gate(enum.Enum):
    """What the breaker says to one who wants to send."""

    GO = "go"
    PROBE = "go, and tell what came back"
    WAIT = "wait"
    GIVE_UP = "give up"


class Breaker:
    """Stops all sending when the budget is empty: one probe in 30 s, and after 30 minutes the run ends."""

    def __init__(self) -> None:
        self.opened_at: float | None = None
        self.next_probe = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    def open(self, now: float) -> None:
        """The budget is empty. An open breaker stays as it is."""
        if self.opened_at is None:
            self.opened_at = now
            self.next_probe = now + PROBE_EVERY
            self._probing = False

    def gate(self, now: float) -> tuple[Gate, float]:
        """May a request leave? With WAIT, the seconds after which to ask again. One PROBE at a time."""
        if self.opened_at is None:
            return Gate.GO, 0.0
        give_up = self.opened_at + GIVE_UP_AFTER
        if now >= give_up:
            return Gate.GIVE_UP, 0.0
        if self._probing or now < self.next_probe:
            wait = max(self.next_probe - now, 1.0) if self._probing else self.next_probe - now
            return Gate.WAIT, min(wait, give_up - now)
        self._probing = True
        return Gate.PROBE, 0.0

    def probed(self, now: float, *, alive: bool, after: float = 0.0) -> None:
        """What the probe found. `after`: seconds that the API asked to wait before the next."""
        self._probing = False
        if alive:
            self.opened_at = None
        else:
            self.next_probe = now + max(PROBE_EVERY, after)

    def not_probed(self) -> None:
        """The probe was given up before it was sent: the next in line may be it."""
        self._probing = False
