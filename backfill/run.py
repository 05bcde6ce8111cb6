"""A whole run: check, ask, send, remember, report."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import backfill
from backfill import mapping as mappings
from backfill.attempt import Attempt
from backfill.check import look_for_new_names, name_in
from backfill.chosen import sends
from backfill.copies import copy_run
from backfill.enough import too_few, warnings_of
from backfill.errors import BackfillError, InterruptedRun, StorageError, UsageError, as_told
from backfill.index import State
from backfill.ledger import Ledger, RunInfo
from backfill.ledger import Target as LedgerTarget
from backfill.moved import is_as_it_was, moved, remembered
from backfill.observer import Observer
from backfill.pipeline import Delivered, Delivery, Sending, check_balance, deliver
from backfill.plan import Plan, plan
from backfill.printable import named
from backfill.read import report_like, unread_error
from backfill.report import (
    Course,
    RunFolder,
    describe,
    passed_over_text,
    problems_of,
    render,
    run_page,
    shown_changes,
    since_text,
    summarize,
)
from backfill.scratch import clear_scratch, make_folder, scratch_for
from backfill.send import Target
from backfill.settings import Flags, Settings, resolve
from backfill.signals import later, undisturbed
from backfill.since import Reading, advance, reading_from
from backfill.survey import survey
from backfill.tally import Survey
from backfill.tally import resolve as conclude
from backfill.timeline import binned
from backfill.unchanged import Counts, pass_over, remember, without
from backfill.waits import Waits
from backfill.world import World

__all__ = ["Result", "run"]

SANDBOX_DATABASE = "events.db"
MOST_NOTED = 10


@dataclass(frozen=True)
class Result:
    """How a run ended. `summary` is what summary.json holds, `folder` where it is; `error` is what stopped it.
    `copy` is where its folder was copied, or "".

    `extras` names what else was written there for the user: rejected.csv, rejected.ndjson, changed.ndjson.
    """

    status: int
    summary: dict[str, Any]
    problems: list[dict[str, Any]]
    folder: Path
    error: BackfillError | None = None
    extras: tuple[str, ...] = field(default=())
    copy: str = ""


def run(
    path: Path,
    flags: Flags,
    observer: Observer,
    world: World | None = None,
    *,
    begun: Callable[[], object] = lambda: None,
) -> Result:
    """Check the export, ask, send what is missing, and write the report. `begun` is called when the ledger is held.

    Raises BackfillError for what stops it before it begins (mapping, settings, lock, export), which the ledger is told
    where there is one; from then on how it ended is in the Result.
    """
    world = world or World()
    with Attempt(path, flags, world) as attempt:
        return _run(path, flags, observer, world, begun, attempt)


def _run(
    path: Path, flags: Flags, observer: Observer, world: World, begun: Callable[[], object], attempt: Attempt
) -> Result:
    started = world.now()
    draft = mappings.read(path)
    if draft.problems:
        plan(draft, started, flags.files)
    settings = resolve(path, draft.mapping.delivery if draft.mapping else mappings.Delivery(), flags)
    # Made here because it refuses ids and secrets that can't be: before anything is read or written.
    target = Target(settings.base_url, settings.store, settings.secret, bulk=settings.bulk)
    for warning in settings.warnings:
        observer.note(warning)
    with ExitStack() as stack:
        if settings.sandbox:
            make_folder(settings.state.parent, world)
        at = LedgerTarget(settings.base_url, settings.store)
        opened = Ledger.open(settings.state, at, url=settings.ledger, now=world.now, disk=world.disk)
        ledger = stack.enter_context(opened)
        begun()
        for warning in ledger.warnings:
            observer.note(warning)
        planned = plan(draft, started, flags.files)
        for note in planned.export.notes:
            observer.note(note)
        arise = stack.enter_context(later())
        # Of several files the first one's.
        style = report_like(planned.export.files[0].dialect)
        folder = RunFolder(settings.state, started, planned.export.name, planned.export.schema, world.disk, style)
        stack.callback(folder.close)
        number = ledger.begin_run(RunInfo(path.name, folder.path.name, backfill.__version__))
        attempt.begun = True
        stack.push(_ended(ledger, number))
        if settings.ledger is None:
            # Else runs of other stores may go on in this folder: the lock is not the folder's.
            clear_scratch(folder.path.parent)
        scratch = stack.enter_context(scratch_for(folder.path, planned))
        going = _Going(flags, settings, target, observer, world, started, ledger, planned, folder, number, scratch)
        return going.on(arise)


@dataclass
class _Going:
    """A run that has begun: it ends with a summary, whatever comes."""

    flags: Flags
    settings: Settings
    target: Target
    observer: Observer
    world: World
    started: datetime
    ledger: Ledger
    planned: Plan
    folder: RunFolder
    number: int
    scratch: Path | None
    passed: Mapping[int, Counts] = field(default_factory=dict)
    reading: Plan = field(init=False)
    since: Reading | None = None
    found: Survey = field(default_factory=Survey)
    delivered: Delivered = field(default_factory=Delivered)
    course: Course = field(default_factory=Course)
    copy: str = ""
    is_copied: bool = True
    waits: Waits = field(init=False)

    def __post_init__(self) -> None:
        self.waits = Waits(self.observer.note, self.folder.wait, self.world.now)

    def on(self, arise: Callable[[], None]) -> Result:
        """Check, ask, send, report; `arise` lets a signal through that came before."""
        try:
            arise()
            self._check()
            self._copy_early()
            self._send()
            if self.found.unread:
                self._failed(unread_error(self.found.unread))
        except BackfillError as error:
            self._failed(error)
        except KeyboardInterrupt:
            hint = "run the same command again to go on"
            self._failed(InterruptedRun("interrupted: what was sent is recorded", signal=signal.SIGINT, hint=hint))
        with undisturbed():
            return self._finish()

    @property
    def name(self) -> str:
        """What the ledger calls the mapping."""
        return name_in(self.settings.state, self.planned.mapping.path)

    def _failed(self, error: BackfillError) -> None:
        """The first error tells how the run ended."""
        self.delivered.error = self.delivered.error or error

    def _check(self) -> None:
        everything = bool(self.flags.files) or self.flags.reread
        self.since = reading_from(self.planned, self.ledger, self.name, everything=everything)
        # With its mark void, what earlier runs left out as older is to be read, also of files that have not changed.
        if not everything and not (self.since and self.since.is_void):
            self._pass_over()
        self.reading = without(self.planned, self.passed)
        if self.since and self.since.start is not None:
            self.reading = self.reading.since(self.since.start)
            self.observer.note(f"{since_text(self.since.told(self.reading, self.found))} (--reread reads all)")
        survey(
            self.reading,
            self.ledger,
            self.started,
            self.scratch,
            watch=self.observer.checking,
            reject=self.folder.reject_rows,
            into=self.found,
            not_newer_than=self.settings.not_newer_than,
            retry_rejected=self.settings.retry_rejected,
        )
        self.found.warnings = warnings_of(self.found, self.reading)
        for warning in self.found.warnings:
            self.observer.note(f"warning: {warning}")
        look_for_new_names(self.found, self.ledger, self.settings)
        self.folder.change(self.found.changed.values())
        self.found.moved = moved(
            self.planned,
            self.found,
            self.ledger,
            self.name,
            self.started,
            self.scratch,
            other_files=bool(self.flags.files),
        )
        self.observer.checked(self.planned, self.found, self.settings)
        if self.found.unread:
            # Why is told at the end, by the error.
            names = named((one.name for one in self.found.unread), most=MOST_NOTED)
            self.observer.note(f"can't be read, and is not sent: {names}")
        if few := too_few(self.found, self.reading, self.settings.min_rows):
            raise few
        if self.found.moved and not self.flags.new_ids:
            raise self.found.moved
        if self.found.moved:
            self.observer.note(f"as --new-ids says: {self.found.moved.problems[0].message}")

    def _pass_over(self) -> None:
        """Leave out the files that have not changed since they were delivered."""
        if not is_as_it_was(self.ledger.identity(self.name), self.planned):
            # Whether delivered events would get other ids, only all files show.
            return
        self.passed = pass_over(self.planned, self.ledger, self.name)
        for counts in self.passed.values():
            for name, states in counts.items():
                mine = self.found.passed.setdefault(name, Counter())
                mine.update({State[state]: count for state, count in states.items()})
        if self.passed:
            self.observer.note(f"{passed_over_text(len(self.passed))} (--reread reads all)")

    def _send(self) -> None:
        """Ask, and send what the survey found ready."""
        settings = self.settings
        delivery = Delivery(
            planned=self.reading,
            survey=self.found,
            ledger=self.ledger,
            run=self.number,
            target=self.target,
            rate=settings.rate,
            concurrency=settings.concurrency,
            limit=settings.limit,
            limit_each=settings.limit_each,
            retry_rejected=settings.retry_rejected,
            scratch=self.scratch,
            world=self.world,
            refused=self.folder.refuse,
            watch=self._watch,
        )
        if delivery.total:
            self.found.sends = sends(delivery.chosen, self.found.index)
            self.observer.ready(self.found, settings, delivery.total)
            if not settings.consent and not self.observer.confirm():
                raise UsageError(
                    f"{delivery.total:,} events would be sent, and nobody agreed",
                    hint="they may start live flows; --yes, or delivery.flows: acknowledged, says that is wanted",
                )
        part = self.found.unread or settings.is_part
        first = self.ledger.identity(self.name) is None and not self.found.moved
        if not self.flags.files and (not part or first):
            # Before the first request, so that no kill comes between. After a part of the export, a canary or one with
            # a file that can't be read, nobody knows of the others' events: it is asked once more.
            stored = self.ledger.identity(self.name)
            self.ledger.set_identity(self.name, remembered(stored, self.planned, new_ids=self.flags.new_ids))
        if delivery.total:
            self._deliver(delivery)
        check_balance(self.found, self.delivered, delivery.total)
        # An empty export is to be told of again until it is mended.
        if not self.flags.files and not self.found.warnings:
            done = self.delivered
            sent = not (done.error or done.pending or done.refused or settings.is_part)
            remember(self.planned, self.found, self.passed, self.ledger, self.name, self.world.now(), sent=sent)
            if self.since and sent:
                advance(self.since, self.planned, self.found, self.ledger, self.name)

    def _watch(self, state: Sending) -> None:
        self.course.add(state)
        self.waits.see(state)
        self.observer.sending(state)

    def _deliver(self, delivery: Delivery) -> None:
        settings = self.settings
        self.delivered = Delivered(pending=delivery.total, unsent=delivery.total)
        if not settings.sandbox:
            self.delivered = deliver(delivery)
            return
        from backfill.sandbox import ListenError, Options, SandboxThread, StoreError

        database = settings.state / SANDBOX_DATABASE
        try:
            with SandboxThread(Options(database=database)) as box:
                self.observer.sandbox(box.page_url, database)
                target = Target(box.base_url, settings.store, settings.secret, bulk=settings.bulk)
                self.delivered = deliver(replace(delivery, target=target))
        except (ListenError, StoreError) as error:
            hint = f"make room or mend the permissions in {settings.state}, then run again"
            self._failed(StorageError(f"running the sandbox: {error}", hint=hint))

    def _copy_early(self) -> None:
        """What the check found is copied before anything is sent: a machine that goes away takes its disk along."""
        if self.settings.runs_to and (self.folder.has("rejected.csv") or self.folder.has("changed.ndjson")):
            try:
                copy_run(self.folder.path, self.settings.runs_to)
            except StorageError as error:
                self.observer.note(f"{error.message}; it is tried again at the end")

    def _copy(self) -> bool:
        """Copy the folder as the run leaves it. That it fails is how the run ended if all else went well."""
        if self.settings.runs_to:
            try:
                self.copy = copy_run(self.folder.path, self.settings.runs_to)
            except StorageError as error:
                if self.delivered.error is not None:
                    self.observer.note(f"{error.message}; {error.hint}")
                self._failed(error)
                self.is_copied = False
        return self.is_copied

    def _write(self, problems: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """The report, as it stands now. Raises StorageError."""
        status, summary = self._summary()
        self.folder.write("report.html", self._page(status, summary, problems))
        self.folder.write("summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        return status, summary

    def _finish(self) -> Result:
        # An error in the survey leaves undecided what only the whole export shows.
        conclude(self.found, self.planned.export)
        problems = problems_of(self.found, self.planned.export)
        self.folder.wait(None)
        try:
            self.folder.close()
            status, summary = self._write(problems)
            if not self._copy():
                status, summary = self._write(problems)
            self.ledger.end_run(self.number, status, summary)
        except StorageError as error:
            # What the disk does not take is still shown; there may be room for the end of the run in the ledger.
            self._failed(error)
            status, summary = self._summary()
            with suppress(StorageError):
                self.ledger.end_run(self.number, status, summary)
        extras = tuple(name for name in ("rejected.csv", "rejected.ndjson", "changed.ndjson") if self.folder.has(name))
        return Result(status, summary, problems, self.folder.path, self.delivered.error, extras, self.copy)

    def _page(self, status: int, summary: dict[str, Any], problems: list[dict[str, Any]]) -> str:
        page = run_page(
            summary,
            problems,
            *describe(status, summary),
            times=binned(self.found.timeline, self.found.index.names),
            course=self.course,
            changes=shown_changes(self.planned, self.found),
        )
        return render(page)

    def _summary(self) -> tuple[int, dict[str, Any]]:
        self.found.since = self.since.told(self.reading, self.found) if self.since else None
        status = _status(self.found, self.delivered, self.settings)
        summary = summarize(
            self.found,
            self.delivered,
            self.settings,
            self.planned.export,
            mapping=self.planned.mapping.path.name,
            started=self.started,
            finished=self.world.now(),
            status=status,
            unchanged=self.passed,
        )
        if self.settings.runs_to and self.is_copied:
            summary["runs_to"] = f"{self.settings.runs_to}/{self.folder.path.name}"
        return status, summary


def _ended(ledger: Ledger, number: int) -> Callable[..., None]:
    """Writes down how a run ended that ends with an error."""

    def leave(_kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception | KeyboardInterrupt):
            told = as_told(error)
            # A ledger that fails here failed before: that error is the one to tell.
            with suppress(BackfillError):
                ledger.end_run(number, told.status, {"stopped_by": told.message})

    return leave


def _status(found: Survey, delivered: Delivered, settings: Settings) -> int:
    if delivered.error is not None:
        return delivered.error.status
    refused_before = 0 if settings.retry_rejected else found.events()["refused"]
    rejected = found.rows.unreadable + found.events()["invalid"] + delivered.refused + refused_before
    return 3 if rejected else 0
