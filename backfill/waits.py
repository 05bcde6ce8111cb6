"""Long waits of a run: told once when they are long, and once when they are over, whoever listens.

A pause of some seconds is progress, and shown as such. In an outage nothing moves for up to half an hour: who runs the
command without progress, or looks from outside, has to be told.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from backfill.pipeline import Sending

__all__ = ["LONG_SECONDS", "Waits"]

LONG_SECONDS = 60.0


class Waits:
    """Sees each state of a delivery. `note` is told in words; `keep` since when and for what is waited, then None."""

    def __init__(
        self,
        note: Callable[[str], object],
        keep: Callable[[tuple[datetime, str] | None], object],
        now: Callable[[], datetime],
    ) -> None:
        self._note, self._keep, self._now = note, keep, now
        self._began: tuple[float, datetime] | None = None
        self._told = False

    def see(self, state: Sending) -> None:
        """A wait is one as long as nothing may leave, whatever the reason is called meanwhile."""
        why = state.snapshot.why
        if not why:
            if self._told and self._began:
                self._note(f"sending goes on, after a wait of {_minutes(state.seconds - self._began[0])}")
                self._keep(None)
            self._began, self._told = None, False
        elif self._began is None:
            self._began = state.seconds, self._now()
        elif not self._told and state.seconds - self._began[0] >= LONG_SECONDS:
            self._told = True
            since = self._began[1]
            self._note(f"nothing could be sent since {since:%H:%M:%S} UTC: {why}; {state.pending:,} left, it waits")
            self._keep((since, why))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
