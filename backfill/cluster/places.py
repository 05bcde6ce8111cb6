"""What runs in the cluster's processes: work on a part as a task, and what holds a rate or the ledger as an actor."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, cast

import backfill
from backfill.cluster import work
from backfill.cluster.holder import LedgerHolder, RateHolder
from backfill.cluster.lease import Ask, Lease
from backfill.cluster.leased import GIVEN_UP_AFTER, LeasedPace
from backfill.errors import BackfillError, BugError, ExportError, SettingsError, StoppedError, StorageError
from backfill.ledger import Ledger
from backfill.ledger import Target as LedgerTarget
from backfill.pace import SystemClock
from backfill.pipeline import Sending
from backfill.send import Target
from backfill.signals import Stop
from backfill.world import World

__all__ = ["Call", "LedgerActor", "LostError", "Plain", "RateActor", "do", "got", "send"]

BEAT_SECONDS = 0.5
CHECK_SECONDS = 1.0
ANSWER_SECONDS = 10.0


class LostError(StoppedError):
    """The worker that did a task is gone."""


def got(ref: Any, check: Callable[[], None] | None = None) -> Any:
    """What a task gave. Raises what it raised; LostError where there is nothing any more.

    `check` is called every second while it waits, and may raise.
    """
    import ray

    try:
        while True:
            try:
                return ray.get(ref, timeout=None if check is None else CHECK_SECONDS)
            except ray.exceptions.GetTimeoutError:
                assert check is not None
                check()
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, BackfillError):
            raise error.cause from None
        if isinstance(error.cause, ray.exceptions.RayError):
            raise _lost(error.cause) from error
        raise BugError(
            f"an error on a worker that was not foreseen: {type(error.cause).__name__}", hint="please report it"
        ) from error
    except ray.exceptions.RayActorError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, BackfillError):
            raise cause from None
        raise StorageError(
            "the actor that holds the ledger, or a store's rate, is gone",
            hint="run again: what was accepted is recorded",
        ) from error
    except ray.exceptions.RayError as error:
        raise _lost(error) from error


def _lost(error: Exception) -> LostError:
    return LostError(f"a worker is gone ({type(error).__name__})", hint="see what Ray's logs say of it, and run again")


@dataclass(frozen=True)
class Call:
    """Calls the ledger that an actor has open. `check` is for the driver: who works for it can't tell, and goes on."""

    holder: Any
    check: Callable[[], None] | None = None

    def __call__(self, target: LedgerTarget | None, name: str, *args: Any, **options: Any) -> Any:
        return got(self.holder.call.remote(target, name, *args, **options), self.check)

    def __reduce__(self) -> tuple[Any, ...]:
        return Call, (self.holder,)


class RateActor(RateHolder):
    """A store's rate as an actor, which Ray may have begun anew."""

    def __init__(self) -> None:
        super().__init__(follows=_began_anew())


class LedgerActor(LedgerHolder):
    """The ledger as an actor, which Ray may have begun anew."""

    def __init__(self, open_ledger: Callable[[], Ledger]) -> None:
        super().__init__(open_ledger, follows=_began_anew())


def _began_anew() -> bool:
    import ray

    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


@dataclass(frozen=True)
class Plain:
    """What of an errand can travel."""

    number: int
    run: int
    rate: float
    concurrency: int
    is_part: bool
    again: bool


def do(version: str, what: Callable[..., Any], *job: Any) -> Any:
    """Any work on a part, in a task."""
    _same(version)
    with _places():
        return what(*job)


def _same(version: str) -> None:
    if version != backfill.__version__:
        raise SettingsError(
            f"backfill is {version} here and {backfill.__version__} on a worker",
            hint="install one release on all nodes of the cluster",
        )


@contextmanager
def _places() -> Iterator[None]:
    """A file that is not there is not on this machine."""
    try:
        yield
    except ExportError as error:
        if "No such file" not in error.message:
            raise
        raise ExportError(
            f"{error.message} on {os.uname().nodename}",
            hint="with --ray all files have to be where all nodes find them: in object storage, or on a shared disk",
        ) from error


def send(version: str, holder: Any, plain: Plain, *job: Any) -> work.Sent:
    """`send_part` in a task."""
    import ray

    _same(version)
    target = _target(holder)
    heart = _Heart(holder, plain.number)
    me = f"{ray.get_runtime_context().get_worker_id()}-{plain.number}"
    clock = SystemClock()

    async def ask(what: Ask) -> Lease:
        lease = await holder.ask.remote(what)
        if lease is None:
            raise StoppedError(
                "the holder of the rate began anew and does not know it yet",
                hint="run the same command again: what is recorded as delivered is not sent twice",
            )
        return cast("Lease", lease)

    errand = work.Errand(
        target=target,
        run=plain.run,
        rate=plain.rate,
        concurrency=plain.concurrency,
        is_part=plain.is_part,
        pace=lambda: LeasedPace(me, ask, rate=plain.rate, clock=clock),
        world=World(stop=heart.stop, clock=clock),
        watch=heart.watch,
        again=plain.again,
    )
    # Not in the main thread, where signals would come that are Ray's.
    with heart, _places(), ThreadPoolExecutor(1, "send") as thread:
        return thread.submit(work.send_part, *(*job, errand)).result()


def _target(holder: Any) -> Target:
    """Where events go, as soon as the holder knows."""
    import ray

    until = time.monotonic() + GIVEN_UP_AFTER
    while time.monotonic() < until:
        with suppress(ray.exceptions.GetTimeoutError):
            if (target := ray.get(holder.target.remote(), timeout=ANSWER_SECONDS)) is not None:
                return cast("Target", target)
        time.sleep(BEAT_SECONDS)
    raise StoppedError(
        f"who holds the store's rate has not answered for {GIVEN_UP_AFTER:.0f} s",
        hint="see what the cluster's logs say of it, and run again: what was accepted is recorded",
    )


class _Heart:
    """Tells the holder how far a part is, and learns from it when to stop."""

    def __init__(self, holder: Any, number: int) -> None:
        self.stop = Stop()
        self._holder, self._number = holder, number
        self._state: Sending | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="beat", daemon=True)

    def watch(self, state: Sending) -> None:
        self._state = state

    def _beat(self) -> None:
        import ray

        while not self._done.wait(BEAT_SECONDS):
            try:
                asked = ray.get(self._holder.beat.remote(self._number, self._state), timeout=ANSWER_SECONDS)
            except ray.exceptions.RayError:
                continue  # it begins anew elsewhere
            while self.stop.asked < min(asked, 2):
                self.stop()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()
