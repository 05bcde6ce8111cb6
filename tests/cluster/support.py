"""Workers that share one store's rate in simulated time: they join, die, are greedy, and are far away."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from backfill.cluster.lease import Ask, Lease, Leases
from backfill.cluster.leased import LeasedPace
from tests.delivery.support import now


class Gone(Exception):
    """The holder does not answer."""


@dataclass
class Skewed:
    """A machine's clock: it runs with the others', and shows another time."""

    ahead: float = 0.0

    def monotonic(self) -> float:
        return now() + self.ahead

    def wall(self) -> float:
        return 1_700_000_000.0 + now()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@dataclass
class Holder:
    """The actor: `Leases` behind a network that takes `latency` seconds at most each way."""

    leases: Leases
    latency: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    clock: Skewed = field(default_factory=lambda: Skewed(12_345.0))
    gone: bool = False
    calls: int = 0

    async def ask(self, ask: Ask) -> Lease:
        await self._trip()
        if self.gone:
            raise Gone
        self.calls += 1
        lease = self.leases.ask(ask, self.clock.monotonic())
        await self._trip()
        return lease

    async def _trip(self) -> None:
        if self.latency:
            await anyio.sleep(self.dice.uniform(0, self.latency))


def holder(rate: float = 95.0, latency: float = 0.0, after: float = 0.0, **options: object) -> Holder:
    """Within a simulated loop."""
    made = Holder(Leases(rate, now() + 12_345.0, after), latency)
    for name, value in options.items():
        setattr(made, name, value)
    return made


@dataclass
class Worker:
    """`tasks` at once, each sending with `seconds` from one request's leaving to the next's wish to."""

    name: str
    ask: Callable[[Ask], Awaitable[Lease]]
    tasks: int = 10
    seconds: float = 0.05
    ahead: float = 0.0
    sent: list[float] = field(default_factory=list)
    answer: Callable[[Worker, float, LeasedPace], None] = lambda worker, sent_at, pace: pace.state.succeeded(sent_at)
    pace: LeasedPace | None = None

    async def run(self, starts: float = 0.0, ends: float = 1e9) -> None:
        await anyio.sleep(starts)
        clock = Skewed(self.ahead)
        with anyio.move_on_after(ends - starts):
            async with (
                LeasedPace(self.name, self.ask, rate=95.0, clock=clock) as self.pace,
                anyio.create_task_group() as group,
            ):
                for _ in range(self.tasks):
                    group.start_soon(self._task, clock)

    async def _task(self, clock: Skewed) -> None:
        assert self.pace
        while True:
            if not self.pace.ready():
                await self.pace.wait()
            sent_at = clock.monotonic()
            self.sent.append(now())
            await anyio.sleep(self.seconds)
            self.answer(self, sent_at, self.pace)


async def together(
    workers: list[Worker], seconds: float, lives: list[tuple[float, float]] | None = None
) -> list[float]:
    """When requests left, of all workers, in order; `lives`: when each joins and dies."""
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as group:
            for index, worker in enumerate(workers):
                starts, ends = lives[index] if lives else (0.0, seconds)
                group.start_soon(worker.run, starts, ends)
    return sorted(time for worker in workers for time in worker.sent)
