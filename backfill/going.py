"""One store's run once it has begun: checked, sent, remembered and reported, whatever comes.

A run of one store is one of these; a run of many has one for each, and takes their steps side by side.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from backfill.check import look_for_new_names, name_in
from backfill.chosen import sends
from backfill.copies import copy_run
from backfill.engine import Engine
from backfill.enough import too_few, warnings_of
from backfill.errors import BackfillError, InterruptedRun, StoppedError, StorageError, UsageError, signal_of
from backfill.index import State
from backfill.ledger import Ledger
from backfill.moved import is_as_it_was, moved, remembered
from backfill.observer import Observer
from backfill.pipeline import Delivered, Delivery, Sending, check_balance
from backfill.plan import Plan
from backfill.printable import named
from backfill.read import unread_error
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
from backfill.send import Target
from backfill.settings import Flags, Settings
from backfill.since import Reading, advance, reading_from
from backfill.survey import Look
from backfill.tally import Survey
from backfill.tally import resolve as conclude
from backfill.timeline import binned
from backfill.unchanged import Counts, pass_over, remember, without
from backfill.waits import Waits
from backfill.world import World

__all__ = ["Going", "Result", "rehearsed", "unagreed"]

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


@dataclass
class Going:
    """A run to one store that has begun: it ends with a summary, whatever comes.

    `number` is the run's in the ledger, 0 where it has none. `whole_files`: all rows of its files are this store's, so
    that a file which has not changed can be passed over.
    """

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
    engine: Engine
    whole_files: bool = True
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

    @contextmanager
    def ending(self) -> Iterator[None]:
        """What goes wrong within, or is interrupted, ends this run; whoever is around goes on."""
        try:
            yield
        except BackfillError as error:
            self.failed(error)
        except KeyboardInterrupt as error:
            hint = "run the same command again to go on"
            self.failed(InterruptedRun("interrupted: what was sent is recorded", signal=signal_of(error), hint=hint))

    @property
    def name(self) -> str:
        """What the ledger calls the mapping."""
        return name_in(self.settings.state, self.planned.mapping.path)

    @property
    def error(self) -> BackfillError | None:
        """What stopped it, if anything did."""
        return self.delivered.error

    def failed(self, error: BackfillError) -> None:
        """The first error tells how the run ended."""
        self.delivered.error = self.delivered.error or error

    def check(self) -> None:
        """Read everything, and decide about each event. Raises BackfillError."""
        everything = bool(self.flags.files) or self.flags.reread
        self.since = reading_from(self.planned, self.ledger, self.name, everything=everything)
        # With its mark void, what earlier runs left out as older is to be read, also of files that have not changed.
        if self.whole_files and not everything and not (self.since and self.since.is_void):
            self._pass_over()
        self.reading = without(self.planned, self.passed)
        if self.since and self.since.start is not None:
            self.reading = self.reading.since(self.since.start)
            self.observer.note(f"{since_text(self.since.told(self.reading, self.found))} (--reread reads all)")
        settings = self.settings
        look = Look(
            self.reading, self.ledger, self.started, self.scratch, settings.not_newer_than, settings.retry_rejected
        )
        self.engine.survey(look, self.found, self.observer.checking, self.folder.reject_rows)
        self.found.warnings = warnings_of(self.found, self.reading)
        for warning in self.found.warnings:
            self.observer.note(f"warning: {warning}")
        look_for_new_names(self.found, self.ledger, self.settings)
        self.folder.change(self.found.changed.values())
        # Of what was read: the numbers of `found` are of no use for files that were passed over.
        self.found.moved = moved(
            self.reading,
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
        self._copy_early()

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

    @cached_property
    def delivery(self) -> Delivery:
        """What the check found to be sent."""
        settings = self.settings
        return Delivery(
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

    def make_ready(self) -> int:
        """How many events are to be sent; what a user is shown of them is in `found.sends`."""
        if self.delivery.total:
            self.found.sends = sends(self.delivery.chosen, self.found.index)
        return self.delivery.total

    def send(self, base_url: str | None = None) -> None:
        """Send what the check found ready, and remember it; `base_url`: of the sandbox that stands for the API.

        Raises BackfillError.
        """
        settings, delivery = self.settings, self.delivery
        part = self.found.unread or settings.is_part
        first = self.ledger.identity(self.name) is None and not self.found.moved
        if not self.flags.files and (not part or first):
            # Before the first request, so that no kill comes between. After a part of the export, a canary or one with
            # a file that can't be read, nobody knows of the others' events: it is asked once more.
            stored = self.ledger.identity(self.name)
            self.ledger.set_identity(self.name, remembered(stored, self.planned, new_ids=self.flags.new_ids))
        if delivery.total:
            self.delivered = Delivered(pending=delivery.total, unsent=delivery.total)
            if base_url:
                target = Target(base_url, settings.store, settings.secret, bulk=settings.bulk)
                delivery = replace(delivery, target=target)
            self.delivered = self.engine.deliver(delivery)
        check_balance(self.found, self.delivered, delivery.total)
        # An empty export is to be told of again until it is mended.
        if not self.flags.files and not self.found.warnings:
            done = self.delivered
            sent = not (done.error or done.pending or done.refused or settings.is_part)
            if self.whole_files:
                remember(self.planned, self.found, self.passed, self.ledger, self.name, self.world.now(), sent=sent)
            if self.since and sent:
                advance(self.since, self.planned, self.found, self.ledger, self.name)
        if self.found.unread:
            raise unread_error(self.found.unread)

    def _watch(self, state: Sending) -> None:
        self.course.add(state)
        self.waits.see(state)
        self.observer.sending(state)

    def finish(self) -> Result:
        """Write the report, and how it ended into the ledger."""
        # An error in the survey leaves undecided what only the whole export shows.
        conclude(self.found, self.planned.export)
        problems = problems_of(self.found, self.planned.export)
        self.folder.wait(None)
        try:
            self.folder.close()
            status, summary = self._write(problems)
            if not self._copy():
                status, summary = self._write(problems)
            self._end(status, summary)
        except (StorageError, StoppedError) as error:
            # What the disk does not take is still shown; there may be room for the end of the run in the ledger (which
            # a cluster may have taken along).
            self.failed(error)
            status, summary = self._summary()
            with suppress(StorageError, StoppedError):
                self._end(status, summary)
        extras = tuple(name for name in ("rejected.csv", "rejected.ndjson", "changed.ndjson") if self.folder.has(name))
        return Result(status, summary, problems, self.folder.path, self.delivered.error, extras, self.copy)

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
                self.failed(error)
                self.is_copied = False
        return self.is_copied

    def _write(self, problems: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """The report, as it stands now. Raises StorageError."""
        status, summary = self._summary()
        self.folder.write("report.html", self._page(status, summary, problems))
        self.folder.write("summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        return status, summary

    def _end(self, status: int, summary: dict[str, Any]) -> None:
        if self.number:
            self.ledger.end_run(self.number, status, summary)

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


def unagreed(total: int) -> UsageError:
    """What is told when nobody agreed to send."""
    return UsageError(
        f"{total:,} events would be sent, and nobody agreed",
        hint="they may start live flows; --yes, or delivery.flows: acknowledged, says that is wanted",
    )


@contextmanager
def rehearsed(settings: Settings, observer: Observer) -> Iterator[str | None]:
    """The base URL of a sandbox that runs within, where the settings want one; else None. Raises StorageError."""
    if not settings.sandbox:
        yield None
        return
    from backfill.sandbox import ListenError, Options, SandboxThread, StoreError

    database = settings.state / SANDBOX_DATABASE
    try:
        with SandboxThread(Options(database=database)) as box:
            observer.sandbox(box.page_url, database)
            yield box.base_url
    except (ListenError, StoreError) as error:
        hint = f"make room or mend the permissions in {settings.state}, then run again"
        raise StorageError(f"running the sandbox: {error}", hint=hint) from error


def _status(found: Survey, delivered: Delivered, settings: Settings) -> int:
    if delivered.error is not None:
        return delivered.error.status
    refused_before = 0 if settings.retry_rejected else found.events()["refused"]
    rejected = found.rows.unreadable + found.events()["invalid"] + delivered.refused + refused_before
    return 3 if rejected else 0
