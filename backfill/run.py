"""A whole run: check, ask, send, remember, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import backfill
from backfill import mapping as mappings
from backfill.attempt import Attempt
from backfill.engine import Engine, Local
from backfill.errors import BackfillError, UsageError, as_told
from backfill.going import Going, Result, rehearsed, unagreed
from backfill.ledger import Ledger, RunInfo
from backfill.ledger import Target as LedgerTarget
from backfill.many import run_many
from backfill.observer import Observer
from backfill.opening import open_folder, open_ledger_and_export
from backfill.plan import plan
from backfill.scratch import scratch_for
from backfill.send import Target
from backfill.settings import Flags, resolve
from backfill.signals import later, undisturbed
from backfill.stores import column_of
from backfill.world import World

__all__ = ["Result", "run"]


def run(
    path: Path,
    flags: Flags,
    observer: Observer,
    world: World | None = None,
    engine: Engine | None = None,
    *,
    begun: Callable[[], object] = lambda: None,
) -> Result:
    """Check the export, ask, send what is missing, and write the report.

    A mapping for many stores runs them side by side. `engine` does the work; this process, unless another is given.
    `begun` is called when the ledger is held.

    Raises BackfillError for what stops it before it begins (mapping, settings, lock, export), which the ledger is told
    where there is one; from then on how it ended is in the Result.
    """
    world = world or World()
    with Attempt(path, flags, world) as attempt:
        draft = mappings.read(path)
        if draft.problems:
            plan(draft, world.now(), flags.files)
        with _engine(engine, flags) as chosen:
            many = draft.mapping is not None and column_of(draft.mapping.delivery) is not None
            return (run_many if many else _run_one)(draft, flags, observer, world, chosen, attempt, begun)


@contextmanager
def _engine(engine: Engine | None, flags: Flags) -> Iterator[Engine]:
    """The engine that is given, or that the flags ask for."""
    if engine is not None or flags.ray is None:
        yield engine or Local()
        return
    from backfill.cluster.onray import LOCAL, Cluster, OnRay

    if flags.sandbox and flags.ray != LOCAL:
        raise UsageError(
            "--sandbox is on this machine, and a cluster's others can't reach it",
            hint="--ray local; or `backfill sandbox` where all reach it, and --base-url",
        )
    with Cluster(flags.ray) as cluster:
        yield OnRay(cluster)


def _run_one(
    draft: mappings.Draft,
    flags: Flags,
    observer: Observer,
    world: World,
    engine: Engine,
    attempt: Attempt,
    begun: Callable[[], object],
) -> Result:
    """A run to one store."""
    path, started = draft.path, world.now()
    settings = resolve(path, draft.mapping.delivery if draft.mapping else mappings.Delivery(), flags)
    # Made here because it refuses ids and secrets that can't be: before anything is read or written.
    target = Target(settings.base_url, settings.store, settings.secret, bulk=settings.bulk)
    for warning in settings.warnings:
        observer.note(warning)
    with ExitStack() as stack:
        at = LedgerTarget(settings.base_url, settings.store)
        ledger, planned = open_ledger_and_export(stack, draft, flags, settings, at, observer, world, engine, begun)
        arise = stack.enter_context(later())
        folder = open_folder(stack, settings, started, planned, world)
        number = ledger.begin_run(RunInfo(path.name, folder.path.name, backfill.__version__))
        attempt.begun = True
        stack.push(_ended(ledger, number))
        scratch = stack.enter_context(scratch_for(folder.path, planned))
        going = Going(
            flags, settings, target, observer, world, started, ledger, planned, folder, number, scratch, engine
        )
        with going.ending():
            arise()
            _go(going)
        with undisturbed():
            return going.finish()


def _go(going: Going) -> None:
    """Check, ask and send. Raises BackfillError."""
    going.check()
    if total := going.make_ready():
        going.observer.ready(going.found, going.settings, total)
        if not going.settings.consent and not going.observer.confirm():
            raise unagreed(total)
    if not total:
        going.send()
        return
    with rehearsed(going.settings, going.observer) as base_url:
        going.send(base_url)


def _ended(ledger: Ledger, number: int) -> Callable[..., None]:
    """Writes down how a run ended that ends with an error."""

    def leave(_kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception | KeyboardInterrupt):
            told = as_told(error)
            # A ledger that fails here failed before: that error is the one to tell.
            with suppress(BackfillError):
                ledger.end_run(number, told.status, {"stopped_by": told.message})

    return leave
