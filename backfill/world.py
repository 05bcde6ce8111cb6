"""What a run takes from outside: time, chance, the wire and the disk."""

from __future__ import annotations

import random as dice
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from backfill.disk import Disk
from backfill.pace import Clock, SystemClock
from backfill.signals import Stop
from backfill.transport import make_transport

__all__ = ["World"]


def _wire(connections: int) -> httpx.AsyncBaseTransport:
    return make_transport(connections=connections)


@dataclass(frozen=True)
class World:
    """The machine's own; a test gives what goes wrong where it wants it to.

    `random` gives numbers from 0 to 1; `transport` makes what carries requests, with so many connections at most.
    `stop` ends a run in a thread as Ctrl-C does one in the main thread.
    """

    clock: Clock = field(default_factory=SystemClock)
    random: Callable[[], float] = dice.random
    transport: Callable[[int], httpx.AsyncBaseTransport] = _wire
    disk: Disk = field(default_factory=Disk)
    stop: Stop = field(default_factory=Stop)

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.fromtimestamp(self.clock.wall(), UTC)
