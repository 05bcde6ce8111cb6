"""`python -m tests.simulate`: 1,000 stores, 10 billion events and 200 workers in simulated time; prints what limits them.

What is real in it, and what is not:

- The `Scheduler` is the real one: each split of each store is started, ended, lost and run again by it.
- `Leases` and `LeasedPace` are the real ones, run request by request over stretches of simulated time (see
  `stretch`): one store for some minutes, with 1 to 50 workers and with 429s. What they reach there (the share of
  the rate, calls a second, what a 429 costs) is then what each store of the large simulation does. 100 million
  requests are not simulated one by one.
- Between two events (a split ends, a worker dies, a 429) all goes on evenly, at the least of three: the store's
  limit as leased, the place's share of its worker's core, and the ledger's rate, shared by all.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from backfill.cluster.leased import LeasedPace
from backfill.cluster.scheduler import Phase, Scheduler, Split
from tests.cluster.support import Worker, holder, together
from tests.delivery.support import now, simulate

REQUESTS = 95.0
EVENTS_A_REQUEST = 100
LIMIT = REQUESTS * EVENTS_A_REQUEST
# Measured on one box: seconds of a core for an event that is shaped and sent in bulk, and for a row that is checked.
SEND_SECONDS = 27e-6
CHECK_SECONDS = 2 / 450_000
# The recorder gathers outcomes for so long before it commits (backfill/recorder.py).
GATHER_SECONDS = 0.05
LOOKED_UP_AT_ONCE = 10_000
LATENCY = 0.005


# --------------------------------------------------------------------------------- the real leases, for a stretch


@dataclass(frozen=True)
class Stretch:
    """`reached`: share of the rate; `calls`: asks a second; `least`: what the least served worker had of its share."""

    reached: float
    calls: float
    least: float
    sent: int


def stretch(workers: int, seconds: float, limited_at: float | None = None, pause: float = 2.0) -> Stretch:
    """One store's real leases and its workers' real paces, a task for each request in flight, in simulated time."""
    found: list[Stretch] = []
    told: list[float] = []

    def answer(worker: Worker, sent_at: float, pace: LeasedPace) -> None:
        if limited_at is not None and now() >= limited_at and not told:
            told.append(now())
            pace.state.limited(worker.ahead + now(), pause, sent_at)
        else:
            pace.state.succeeded(sent_at)

    async def main() -> None:
        store = holder(REQUESTS, LATENCY)
        crowd = [Worker(f"w{index}", store.ask, answer=answer, ahead=index * 10.0) for index in range(workers)]
        sent = await together(crowd, seconds)
        least = min(len(one.sent) for one in crowd) * workers / len(sent)
        found.append(Stretch(len(sent) / (REQUESTS * seconds), store.calls / seconds, least, len(sent)))

    simulate(main)
    return found[0]


# ------------------------------------------------------------------------------------------------ the large one


@dataclass(frozen=True)
class Scenario:
    """Who takes part. `ledgers`: database servers, each with the rates below; None for no bound."""

    name: str
    sizes: list[int]
    workers: int = 200
    cores: float = 1.0  # of a worker
    places: int = 4  # of a worker
    split: int = 1_000_000
    seed: int = 7
    days_between_deaths: float = 2.0  # of one worker
    away: float = 60.0
    noticed_after: float = 5.0
    seconds_between_429s: float = 600.0  # of a store that has them
    share_with_429s: float = 0.25
    ledgers: int | None = None
    new_a_second: float = 50_000.0  # of one ledger server
    looked_up_a_second: float = 200_000.0


@dataclass
class Found:
    seconds: float = 0.0
    almost: float = 0.0  # when 99 % were sent
    sent: float = 0.0
    checked: float = 0.0
    peak_sent: float = 0.0
    peak_checked: float = 0.0
    peak_stores: int = 0
    deaths: int = 0
    limited: int = 0
    starts: int = 0
    given_up: int = 0
    work: float = 0.0  # store seconds with work left
    idle_with_place: float = 0.0  # of these: nothing runs although a place is free
    idle_without: float = 0.0  # nothing runs, and no place is free
    dark: float = 0.0  # what runs is on a dead worker, before that is noticed
    core_seconds: float = 0.0


@dataclass(eq=False)
class _Job:
    split: Split
    worker: str
    left: float  # events
    at: float = 0.0  # the flow's own time at which `left` was so many
    rate: float = 0.0
    version: int = 0
    dead: bool = False
    paused: float = 0.0  # seconds until it goes on

    @property
    def phase(self) -> Phase:
        return self.split.phase


@dataclass
class _Flow:
    """Jobs of one phase, each at its rate, all slowed alike when together they pass what the ledger takes.

    Time is counted as if nothing were slowed, and passes slower when it is: no job has to be touched for that.
    """

    capacity: float
    time: float = 0.0
    total: float = 0.0
    queue: list[tuple[float, int, int, _Job]] = field(default_factory=list)
    counter: int = 0

    @property
    def speed(self) -> float:
        return min(1.0, self.capacity / self.total) if self.total > 1e-6 else 1.0

    def set(self, job: _Job, rate: float) -> None:
        job.left -= job.rate * (self.time - job.at)
        self.total += rate - job.rate
        job.at, job.rate, job.version = self.time, rate, job.version + 1
        if rate > 0:
            self.counter += 1
            heapq.heappush(self.queue, (self.time + max(0.0, job.left) / rate, self.counter, job.version, job))

    def next(self) -> tuple[float, _Job] | None:
        """Seconds until the next job ends, and which."""
        while self.queue and self.queue[0][2] != self.queue[0][3].version:
            heapq.heappop(self.queue)
        return ((self.queue[0][0] - self.time) / self.speed, self.queue[0][3]) if self.queue else None


class Simulation:
    """One scenario: `run()`."""

    def __init__(self, scenario: Scenario, reached: float = 1.0, lost_by_429: float = 6.0) -> None:
        self.scenario = one = scenario
        self.limit = LIMIT * reached
        self.lost_by_429 = lost_by_429
        self.dice = random.Random(one.seed)
        self.found = Found()
        self.time = 0.0
        servers = math.inf if one.ledgers is None else one.ledgers
        self.flows = {
            Phase.SEND: _Flow(servers * one.new_a_second),
            Phase.CHECK: _Flow(servers * one.looked_up_a_second),
        }
        self.scheduler = Scheduler(place_rate=1 / SEND_SECONDS)
        self.jobs: dict[Split, _Job] = {}
        self.on: dict[str, list[_Job]] = {}
        self.dead: set[str] = set()
        self.later: list[tuple[float, int, Callable[[], None]]] = []
        self.counter = 0
        self.left: Counter[str] = Counter()  # splits that have not ended, by store
        self.running: Counter[str] = Counter()
        self.stores_with_work = self.stores_running = self.dark = self.sending = 0
        self.to_send = sum(one.sizes)
        self.done_before: dict[Split, float] = {}  # events that the ledger holds of a split that was lost

    def run(self) -> Found:
        one = self.scenario
        for index, size in enumerate(one.sizes):
            name = f"store-{index:04}"
            count = max(1, math.ceil(size / one.split))
            parts = [size // count + (part < size % count) for part in range(count)]
            splits = [Split(name, phase, f"{part}", events) for phase in Phase for part, events in enumerate(parts)]
            self.scheduler.add(name, splits, limit=LIMIT)
            self.left[name] = len(splits)
            self.stores_with_work += 1
            if self.dice.random() < one.share_with_429s:
                self._after(self.dice.expovariate(1 / one.seconds_between_429s), self._limit(name))
        for index in range(one.workers):
            self._join(f"w{index:04}")
        self._start()
        while not self.scheduler.finished():
            self._step()
        self.found.seconds = self.time
        self.found.given_up = len(self.scheduler.given_up)
        return self.found

    # ---------------------------------------------------------------------------------------------- time

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        self.counter += 1
        heapq.heappush(self.later, (self.time + seconds, self.counter, what))

    def _step(self) -> None:
        ends = [found for flow in self.flows.values() if (found := flow.next()) is not None]
        seconds, job = min(ends, key=lambda found: found[0], default=(math.inf, None))
        if self.later and self.later[0][0] - self.time < seconds:
            at, _, what = heapq.heappop(self.later)
            self._pass(at - self.time)
            what()
        else:
            assert job is not None, "everybody waits"
            self._pass(seconds)
            self._end(job)
        self._start()

    def _pass(self, seconds: float) -> None:
        seconds = max(0.0, seconds)
        found, send, check = self.found, self.flows[Phase.SEND], self.flows[Phase.CHECK]
        sends, checks = send.total * send.speed, check.total * check.speed
        if found.sent < 0.99 * self.to_send <= found.sent + sends * seconds:
            found.almost = self.time + (0.99 * self.to_send - found.sent) / sends
        found.sent += sends * seconds
        found.checked += checks * seconds
        found.core_seconds += (sends * SEND_SECONDS + checks * CHECK_SECONDS) * seconds
        if seconds > 1e-6:
            found.peak_sent, found.peak_checked = max(found.peak_sent, sends), max(found.peak_checked, checks)
            found.peak_stores = max(found.peak_stores, self.sending)
        idle = self.stores_with_work - self.stores_running
        found.work += self.stores_with_work * seconds
        found.idle_with_place += seconds * (idle if self.scheduler.free() else 0)
        found.idle_without += seconds * (0 if self.scheduler.free() else idle)
        found.dark += self.dark * seconds
        for flow in (send, check):
            flow.time += seconds * flow.speed
        self.time += seconds

    # ------------------------------------------------------------------------------------------- splits

    def _start(self) -> None:
        while (start := self.scheduler.next()) is not None:
            self.scheduler.started(start)
            split = start.split
            held = self.done_before.get(split, 0.0)
            job = _Job(split, start.worker, split.events - held)
            # What the ledger holds of it already is read and looked up again, and not sent.
            job.paused = held * CHECK_SECONDS
            self.jobs[split] = job
            self.on.setdefault(start.worker, []).append(job)
            self.found.starts += 1
            self.running[split.store] += 1
            self.stores_running += self.running[split.store] == 1
            self.sending += split.phase is Phase.SEND
            job.at = self.flows[split.phase].time
            if start.worker in self.dead:  # which nobody has noticed yet
                job.paused = math.inf
                self.dark += 1
            elif job.paused:
                self._go_on_later(job)
            self._share(start.worker)

    def _share(self, worker: str) -> None:
        """The worker's cores, evenly; what one does not need goes to the others."""
        jobs = [job for job in self.on.get(worker, []) if not job.paused]
        cores, waiting = self.scenario.cores, len(jobs)
        jobs.sort(key=lambda job: job.phase is Phase.CHECK)  # sends need less than checks, which take all there is
        for job in jobs:
            share = cores / waiting
            wanted = self.limit if job.phase is Phase.SEND else math.inf
            seconds = SEND_SECONDS if job.phase is Phase.SEND else CHECK_SECONDS
            rate = min(wanted, min(share, 1.0) / seconds)
            cores, waiting = cores - rate * seconds, waiting - 1
            if rate != job.rate:
                self.flows[job.phase].set(job, rate)

    def _leave(self, job: _Job) -> None:
        """It no longer runs, for whatever reason."""
        self.flows[job.phase].set(job, 0.0)
        job.dead = True
        self.on[job.worker].remove(job)
        del self.jobs[job.split]
        self.sending -= job.phase is Phase.SEND
        self.running[job.split.store] -= 1
        self.stores_running -= not self.running[job.split.store]

    def _end(self, job: _Job) -> None:
        self._leave(job)
        self.scheduler.done(job.split)
        self.left[job.split.store] -= 1
        self.stores_with_work -= not self.left[job.split.store]
        self._share(job.worker)

    # ------------------------------------------------------------------------------------------ trouble

    def _go_on_later(self, job: _Job) -> None:
        version = job.paused

        def go_on() -> None:
            if not job.dead and job.paused == version:
                job.paused = 0.0
                self._share(job.worker)

        self._after(job.paused, go_on)

    def _limit(self, store: str) -> Callable[[], None]:
        def limited() -> None:
            sending = [job for job in self.jobs.values() if job.split.store == store and job.phase is Phase.SEND]
            for job in sending:
                if not job.paused and job.worker in self.on:
                    self.flows[job.phase].set(job, 0.0)
                    job.paused = self.lost_by_429
                    self.found.limited += 1
                    self._go_on_later(job)
                    self._share(job.worker)
            if self.left[store]:
                self._after(self.dice.expovariate(1 / self.scenario.seconds_between_429s), limited)

        return limited

    def _join(self, worker: str) -> None:
        self.on[worker] = []
        self.scheduler.join(worker, self.scenario.places)
        mean = self.scenario.days_between_deaths * 86_400
        self._after(self.dice.expovariate(1 / mean), lambda: self._die(worker))

    def _die(self, worker: str) -> None:
        self.found.deaths += 1
        self.dead.add(worker)
        for job in self.on[worker]:
            self.flows[job.phase].set(job, 0.0)
            job.paused = math.inf  # until somebody notices
            self.dark += 1

        def noticed() -> None:
            for job in list(self.on[worker]):
                if job.phase is Phase.SEND:
                    self.done_before[job.split] = job.split.events - job.left
                self._leave(job)
                self.dark -= 1
            self.scheduler.lost(worker)
            self._after(self.scenario.away, lambda: self._join(f"{worker}+"))

        self._after(self.scenario.noticed_after, noticed)


# --------------------------------------------------------------------------------------------------- what it says


def heavy_tailed(stores: int, events: int, seed: int = 7, sigma: float = 1.5) -> list[int]:
    """Log-normal sizes with exactly that sum."""
    dice = random.Random(seed)
    drawn = [dice.lognormvariate(0, sigma) for _ in range(stores)]
    sizes = [max(1, int(size * events / sum(drawn))) for size in drawn]
    sizes[0] += events - sum(sizes)
    return sizes


def bounds(scenario: Scenario) -> dict[str, float]:
    """The least seconds that each limit allows, whatever runs where."""
    total = sum(scenario.sizes)
    found = {
        "the limit of the largest store": max(scenario.sizes) / LIMIT,
        "the cores": total * (SEND_SECONDS + CHECK_SECONDS) / (scenario.workers * scenario.cores),
    }
    if scenario.ledgers is not None:
        found["the ledger"] = total / (scenario.ledgers * scenario.new_a_second)
    return found


def hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f} h" if seconds >= 3600 else f"{seconds:,.0f} s"


def text(scenario: Scenario, found: Found, alone: Stretch) -> str:
    least = bounds(scenario)
    bound = max(least.values())
    binding = max(least, key=lambda name: least[name])
    total, mean = sum(scenario.sizes), found.sent / found.seconds
    cores = scenario.workers * scenario.cores
    servers = "no bound" if scenario.ledgers is None else f"{scenario.ledgers} server(s)"
    commits = min(1 / GATHER_SECONDS, REQUESTS)
    return "\n".join(
        [
            f"{scenario.name}",
            (
                f"  {len(scenario.sizes):,} stores, {total:,} events (the largest {max(scenario.sizes):,}),"
                f" {scenario.workers} workers of {scenario.cores:g} core and {scenario.places} places, ledger: {servers}"
            ),
            "  bounds: " + "; ".join(f"{name} {hours(seconds)}" for name, seconds in least.items()),
            (
                f"  took {hours(found.seconds)}: {bound / found.seconds:.1%} of what {binding} allows;"
                f" 99 % were sent after {hours(found.almost)}"
            ),
            (
                f"  sent {mean:,.0f} events/s on average, {found.peak_sent:,.0f} at the peak, to {found.peak_stores}"
                f" stores at once at most; the cores were {found.core_seconds / found.seconds / cores:.0%} busy"
            ),
            (
                f"  a store with work stood still {found.idle_with_place / found.work:.4%} of its time while a place was"
                f" free, {found.idle_without / found.work:.1%} for want of a place,"
                f" {found.dark / found.work:.5%} on a dead worker until that was noticed"
            ),
            (
                f"  {found.deaths} deaths of workers, {found.limited:,} 429s, {found.starts:,} splits started,"
                f" {found.given_up} given up; events sent: {found.sent:,.0f}, checked: {found.checked:,.0f}"
            ),
            (
                f"  lease actors: {alone.calls:.1f} calls/s each, {alone.calls * found.peak_stores:,.0f}/s all together"
                " at the peak"
            ),
            (
                f"  ledger: new records {mean:,.0f}/s mean, {found.peak_sent:,.0f}/s peak"
                f" ({found.peak_sent / scenario.new_a_second:,.0f} servers of {scenario.new_a_second:,.0f}/s), in"
                f" {found.peak_stores * commits:,.0f} transactions/s at the peak; look-ups"
                f" {found.checked / found.seconds:,.0f}/s mean, {found.peak_checked:,.0f}/s peak"
                f" ({found.peak_checked / scenario.looked_up_a_second:,.0f} servers), in"
                f" {found.peak_checked / LOOKED_UP_AT_ONCE:,.0f} queries/s"
            ),
            "",
        ]
    )


def scenarios() -> list[Scenario]:
    tail = heavy_tailed(1000, 10_000_000_000)
    even = [10_000_000] * 1000
    return [
        Scenario("heavy-tailed stores, cores to spare", tail),
        Scenario("stores of one size: the cores are the bound", even),
        Scenario("heavy-tailed stores on four workers: the cores are the bound", tail, workers=4),
        Scenario("heavy-tailed stores, one ledger server", tail, ledgers=1),
        Scenario("heavy-tailed stores, ten ledger servers", tail, ledgers=10),
        Scenario("the same, with no more places than the ledger carries stores", tail, ledgers=10, workers=14),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--only", type=int, metavar="N", help="one scenario, counted from 1")
    chosen = parser.parse_args()
    began = time.monotonic()
    print("One store, the real leases, request by request over 120 simulated seconds:")
    alone = stretch(1, 120)
    for count in (1, 2, 8, 50):
        found = alone if count == 1 else stretch(count, 120)
        print(
            f"  {count:2} workers: {found.reached:.2%} of the rate, {found.calls:.1f} calls/s of its actor,"
            f" the least served had {found.least:.1%} of its share"
        )
    limited = stretch(1, 120, limited_at=30)
    lost = (alone.sent - limited.sent) / REQUESTS
    print(f"  a 429 with a pause of 2 s costs as much as {lost:.1f} s without sending\n", flush=True)
    every = scenarios()
    for scenario in every if chosen.only is None else [every[chosen.only - 1]]:
        found = Simulation(scenario, min(1.0, alone.reached), lost).run()
        print(text(scenario, found, alone), flush=True)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
