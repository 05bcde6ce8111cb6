"""A run to many stores: all are checked, one question is asked, and then they are sent to side by side.

Each store's run is the same as if it were alone (`going`), with a secret, a limit and an end of its own. What is of no
store, and what stops all of them, belongs to the whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import backfill
from backfill.attempt import Attempt
from backfill.copies import copy_run
from backfill.engine import Engine
from backfill.enough import too_few_of_all
from backfill.errors import (
    BackfillError,
    BugError,
    InterruptedRun,
    StorageError,
    as_told,
    gravest,
    of_stores,
    signal_of,
)
from backfill.going import Going, Result, rehearsed, unagreed
from backfill.ledger import Ledger, RunInfo
from backfill.ledger import Target as LedgerTarget
from backfill.mapping import Delivery as HowDelivered
from backfill.mapping import Draft, StoreColumn
from backfill.observer import Observer, StoreReady
from backfill.opening import open_folder, open_ledger_and_export
from backfill.parting import Parted, new_place, part
from backfill.pipeline import Delivered, interrupted
from backfill.plan import Plan
from backfill.read import unread_error
from backfill.report import (
    STORES,
    RunFolder,
    StoreFolder,
    problems_of,
    render,
    stores_page,
    summarize,
    whole_problems,
    whole_summary,
)
from backfill.scratch import scratch_for
from backfill.send import Target
from backfill.settings import Flags, Settings, resolve, secret_from
from backfill.signals import later, undisturbed
from backfill.stores import Part, by_path, chosen, column_of, folder_of, secret_of, settings_of, shared_secrets
from backfill.tally import Survey
from backfill.together import Together
from backfill.world import World

__all__ = ["STORES_AT_ONCE", "picked", "run_many", "settings_of_all"]

STORES_AT_ONCE = 16


def settings_of_all(path: Path, delivery: HowDelivered, flags: Flags) -> Settings:
    """What holds for every store; `store` and `secret` are nobody's. Raises SettingsError."""
    environment = {**os.environ, "REDO_API_SECRET": "-"}
    return resolve(path, delivery, replace(flags, store="-"), environment)


def picked(flags: Flags) -> str | None:
    """The one store that is wanted, if only one is."""
    return flags.store or os.environ.get("REDO_STORE_ID") or None


def run_many(
    draft: Draft,
    flags: Flags,
    observer: Observer,
    world: World,
    engine: Engine,
    attempt: Attempt,
    begun: Callable[[], object],
) -> Result:
    """Check and send an export to all stores that it names. `begun` is called when the ledger is held.

    Raises BackfillError for what stops it before it begins; from then on how it ended is in the Result.
    """
    assert draft.mapping is not None
    started, delivery, path = world.now(), draft.mapping.delivery, draft.path
    column = column_of(delivery)
    assert column is not None
    settings = settings_of_all(path, delivery, flags)
    if not settings.sandbox and delivery.secrets is None:
        # One for all: without it nothing could be sent to any.
        Target(settings.base_url, "-", secret_from(os.environ))
    for warning in settings.warnings:
        observer.note(warning)
    if flags.store is None and os.environ.get("REDO_STORE_ID"):
        observer.note("REDO_STORE_ID is set: of the stores only that one is sent to")
    with ExitStack() as stack:
        ledger, planned = open_ledger_and_export(stack, draft, flags, settings, None, observer, world, engine, begun)
        parts = by_path(planned, column)
        if parts is not None:
            parts = chosen(parts, picked(flags))
        arise = stack.enter_context(later())
        folder = open_folder(stack, settings, started, planned, world)
        attempt.begun = True
        together = Together(observer, world)
        many = _Many(
            flags, settings, delivery, column, observer, together, world, engine, started, ledger, planned, folder,
            stack, parts,
        )  # fmt: skip
        with many.ending():
            arise()
            many.check()
            many.send()
        with undisturbed():
            return many.finish()


@dataclass
class _Many:
    """A run of many stores that has begun."""

    flags: Flags
    settings: Settings
    delivery: HowDelivered
    column: StoreColumn
    observer: Observer
    together: Together
    world: World
    engine: Engine
    started: datetime
    ledger: Ledger
    planned: Plan
    folder: RunFolder
    stack: ExitStack
    parts: list[Part] | None
    rest: Survey = field(default_factory=Survey)
    goings: dict[str, Going] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    error: BackfillError | None = None
    copy: str = ""

    @contextmanager
    def ending(self) -> Iterator[None]:
        """What goes wrong within ends the run for all stores."""
        try:
            yield
        except BackfillError as error:
            self.error = self.error or error
        except KeyboardInterrupt as error:
            self.error = self.error or interrupted(signal_of(error))

    def check(self) -> None:
        """Find the stores, and check each one's part. Raises BackfillError for what concerns all."""
        whole_files = self.parts is not None
        if self.parts is None:
            self.parts = self._parted()
        if wrong := shared_secrets(self.delivery, self.parts):
            raise wrong
        for one in self.parts:
            going = self.goings[one.store] = self._begun(one, whole_files=whole_files)
            if going.error is None:
                with self._alone(going):
                    going.check()
                    _same_rows(one, going)
                self._without_secret(going, one)
            if isinstance(going.error, InterruptedRun):
                raise going.error
        read = [(going.found, going.reading) for going in self.goings.values() if hasattr(going, "reading")]
        if few := too_few_of_all(self.rest, read, self.settings.min_rows):
            raise few

    def _parted(self) -> list[Part]:
        place = new_place(self.folder.path)
        self.stack.callback(shutil.rmtree, place.parent, ignore_errors=True)
        parts = part(self.planned, self.column, place, self.together.parting, self.folder.reject_rows, into=self.rest)
        for unread in self.rest.unread:
            self.observer.note(f"not read: {unread.why}")
        return chosen(parts, picked(self.flags))

    def _begun(self, one: Part, *, whole_files: bool) -> Going:
        """A store's run, in the ledger too, but for one that nothing can be sent to."""
        ledger, number = self.ledger, 0
        folder = StoreFolder(self.folder, folder_of(one.store), one.store)
        wrong: BackfillError | None = one.wrong
        if wrong is None:
            try:
                ledger = self.ledger.beside(LedgerTarget(self.settings.base_url, one.store))
                info = RunInfo(self.planned.mapping.path.name, self.folder.path.name, backfill.__version__)
                number = ledger.begin_run(info)
            except BackfillError as error:
                # Another run sends to this store, or a server has no connection left for it; the others are free.
                wrong = error
        # These are asked of the whole.
        settings = replace(settings_of(self.settings, one, "-"), min_rows=None, runs_to="")
        going = Going(
            self.flags,
            settings,
            # One that can't be is not sent to.
            Target(settings.base_url, "-" if one.wrong else one.store, "-", bulk=settings.bulk),
            self.together.of(one.name),
            self.world,
            self.started,
            ledger,
            one.planned,
            folder,
            number,
            self.stack.enter_context(scratch_for(self.folder.path, one.planned)),
            self.engine,
            whole_files=whole_files,
        )
        if wrong is not None:
            going.failed(wrong)
        return going

    def _without_secret(self, going: Going, one: Part) -> None:
        """The store's own secret, without which it is checked, but not sent to."""
        if self.settings.sandbox:
            return
        with going.ending():
            secret = secret_of(self.delivery, self.planned.mapping.path, one, going.observer.note)
            settings = replace(going.settings, secret=secret)
            going.settings = settings
            going.target = Target(settings.base_url, settings.store, secret, bulk=settings.bulk)

    @contextmanager
    def _alone(self, going: Going) -> Iterator[None]:
        """What goes wrong within, foreseen or not, ends one store's run."""
        try:
            with going.ending():
                yield
        except Exception as error:  # noqa: BLE001  the others go on
            told = as_told(error)
            told.__cause__ = error
            going.failed(told)

    def send(self) -> None:
        """Ask once, and send to all stores that can be sent to, side by side."""
        able = {store: going for store, going in self.goings.items() if going.error is None}
        totals: dict[str, int] = {}
        for store in able:
            self._make_ready(store, totals)
        at_once = min(self.delivery.stores_at_once or STORES_AT_ONCE, max(1, len(able)))
        names = {one.store: one.name for one in self.parts or ()}
        ready = [StoreReady(store, names[store], able[store].found, total) for store, total in totals.items() if total]
        if ready:
            self.observer.stores_ready(ready, self.settings, at_once)
            if not self.settings.consent and not self.observer.confirm():
                raise unagreed(sum(totals.values()))
        self.together.begins({one.name: one.total for one in ready}, self.settings.rate)
        wanted = bool(ready)
        # Here nothing is to hold what the check of a store found, when that store is done.
        del able, ready
        with ExitStack() as stack:
            base_url = stack.enter_context(rehearsed(self.settings, self.observer)) if wanted else None
            stack.enter_context(self.world.stop.by_signals())
            pool = stack.enter_context(ThreadPoolExecutor(at_once, "store"))
            # The largest first: so the last one ends soonest.
            order = sorted(totals, key=lambda store: -totals[store])
            sent = [pool.submit(self._send, store, names[store], base_url) for store in order]
        for one in sent:
            one.result()

    def _make_ready(self, store: str, totals: dict[str, int]) -> None:
        with self._alone(self.goings[store]):
            totals[store] = self.goings[store].make_ready()

    def _send(self, store: str, name: str, base_url: str | None) -> None:
        """One store's sending and its end, in a thread of its own."""
        going = self.goings[store]
        with self._alone(going):
            if self.world.stop.asked:
                raise interrupted(self.world.stop.came[0])
            going.send(base_url)
        self._finish(store)
        self.together.done(name)

    def _finish(self, store: str) -> None:
        # What a store's check found may be large, and nobody needs it any more.
        self.results[store] = self.goings.pop(store).finish()

    def finish(self) -> Result:
        """End what has not ended yet, and write the report over all."""
        order = [one.store for one in self.parts or ()]
        for store in [store for store in order if store in self.goings]:
            if self.error is not None:
                self.goings[store].failed(self.error)
            self._finish(store)
        self.results = {store: self.results[store] for store in order if store in self.results}
        each = [one.problems for one in self.results.values()]
        problems = whole_problems([problems_of(self.rest, self.planned.export), *each])
        try:
            self.folder.close()
            summary = self._summary()
            folders = {store: folder_of(store) for store in self.results}
            self._write(summary, problems, folders)
            try:
                self._copy(folders)
            except StorageError as error:
                self.error = self.error or error
                summary = self._summary()
                self._write(summary, problems, folders)
        except StorageError as error:
            self.error = self.error or error
            summary = self._summary()
        extras = tuple(name for name in ("rejected.csv", "rejected.ndjson", "changed.ndjson") if self.folder.has(name))
        return Result(summary["exit"], summary, problems, self.folder.path, self._told(), extras, self.copy)

    def _write(self, summary: dict[str, Any], problems: list[dict[str, Any]], folders: dict[str, str]) -> None:
        self.folder.write("report.html", render(stores_page(summary, problems, folders)))
        self.folder.write("summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")

    def _copy(self, folders: dict[str, str]) -> None:
        """The run's folder and those of its stores, to where copies go. Raises StorageError."""
        if not self.settings.runs_to:
            return
        copy = copy_run(self.folder.path, self.settings.runs_to)
        for name in folders.values():
            copy_run(self.folder.path / STORES / name, f"{copy}/{STORES}")
        self.copy = copy

    def _told(self) -> BackfillError | None:
        """What ended the run of any store, or of all."""
        errors = {one.name: self.results[one.store].error for one in self.parts or () if one.store in self.results}
        own = {name: error for name, error in errors.items() if error is not None and error is not self.error}
        if self.error is None and self.rest.unread and not own:
            return unread_error(self.rest.unread)
        if not own:
            return self.error
        return of_stores({**own, "all others": self.error} if self.error is not None else own)

    def _summary(self) -> dict[str, Any]:
        names = {one.store: one.name for one in self.parts or ()}
        error = self._told()
        statuses = [one.status for one in self.results.values()]
        statuses += [3] * bool(self.rest.rejected) + [65] * bool(self.rest.unread)
        statuses += [error.status] if error is not None else []
        finished, status = self.world.now(), gravest(statuses)
        rest = summarize(
            self.rest,
            Delivered(),
            self.settings,
            self.planned.export,
            mapping=self.planned.mapping.path.name,
            started=self.started,
            finished=finished,
            status=status,
        )
        return whole_summary(
            rest,
            {store: {"name": names[store], **one.summary} for store, one in self.results.items()},
            started=self.started,
            finished=finished,
            status=status,
            stopped_by=error.message if error is not None else None,
        )


def _same_rows(one: Part, going: Going) -> None:
    """What was counted when the export was parted is what the store's check has read, or it is a bug of ours (70)."""
    export, read = one.planned.export, going.found.rows.read
    if isinstance(export, Parted) and export.rows != read:
        raise BugError(
            f"the numbers do not balance: {export.rows} rows of the store were put aside, {read} read",
            hint="please report it with summary.json",
        )
