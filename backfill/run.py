"""A whole run: check, ask, send, remember, report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import backfill
from backfill import mapping as mappings
from backfill.errors import BackfillError, BugError, InterruptedRun, UsageError
from backfill.ledger import Ledger, RunInfo
from backfill.ledger import Target as LedgerTarget
from backfill.pipeline import Delivered, Delivery, Sending, check_balance, deliver
from backfill.printable import plural
from backfill.report import RunFolder, problems_of, render, summarize
from backfill.send import Target
from backfill.settings import Flags, Settings, resolve, state_folder
from backfill.survey import Plan, Survey, plan, survey

__all__ = ["Observer", "Result", "check", "describe", "run"]

SANDBOX_DATABASE = "events.db"


class Observer:
    """Sees what a run does; one that shows nothing, to be extended by those that do."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def checking(self, found: Survey) -> None:
        """A chunk was checked."""

    def checked(self, planned: Plan, found: Survey, settings: Settings | None) -> None:
        """The whole export was checked."""

    def ready(self, found: Survey, settings: Settings, total: int) -> None:
        """`total` events are about to be sent."""

    def confirm(self) -> bool:
        """May they be sent? Only asked when neither flag nor mapping says so."""
        return False

    def sending(self, state: Sending) -> None:
        """The state of delivery, some times a second."""

    def sandbox(self, page_url: str, database: Path) -> None:
        """The sandbox inside the run listens, until the run ends; what it takes stays in the database."""


@dataclass(frozen=True)
class Result:
    """How a run ended. `summary` is what summary.json holds, `folder` where it is; `error` is what stopped it.

    `extras` names what else was written there for the user: rejected.csv, rejected.ndjson, changed.ndjson.
    """

    status: int
    summary: dict[str, Any]
    problems: list[dict[str, Any]]
    folder: Path
    error: BackfillError | None = None
    extras: tuple[str, ...] = field(default=())


def check(path: Path, flags: Flags, observer: Observer) -> tuple[Plan, Survey, Settings | None]:
    """Read, map and validate everything; send nothing, write nothing.

    What the ledger knows counts, when the store is known and there is a ledger.
    """
    now = datetime.now(UTC)
    draft = mappings.read(path)
    planned = plan(draft, now, flags.files)
    settings = _settings_if_any(path, planned, flags)
    with ExitStack() as stack:
        ledger = None
        if settings is not None:
            target = LedgerTarget(settings.base_url, settings.store)
            ledger = stack.enter_context(Ledger.read(settings.state, target))
        scratch = stack.enter_context(_scratch(state_folder(path, flags), planned, ask=False))
        found = survey(planned, ledger, now, scratch, watch=observer.checking)
    observer.checked(planned, found, settings)
    return planned, found, settings


def run(path: Path, flags: Flags, observer: Observer) -> Result:
    """Check the export, ask, send what is missing, and write the report.

    Raises BackfillError for what stops it before it begins (mapping, settings, lock, export); from then on how it
    ended is in the Result.
    """
    started = datetime.now(UTC)
    draft = mappings.read(path)
    if draft.problems:
        plan(draft, started, flags.files)
    settings = resolve(path, draft.mapping.delivery if draft.mapping else mappings.Delivery(), flags)
    # Made here because it refuses ids and secrets that can't be: before anything is read or written.
    target = Target(settings.base_url, settings.store, settings.secret, bulk=settings.bulk)
    for warning in settings.warnings:
        observer.note(warning)
    if settings.sandbox:
        settings.state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(settings.state, LedgerTarget(settings.base_url, settings.store)))
        for warning in ledger.warnings:
            observer.note(warning)
        planned = plan(draft, started, flags.files)
        for note in planned.export.notes:
            observer.note(note)
        folder = RunFolder(settings.state, started, planned.export.name, planned.export.schema)
        stack.callback(folder.close)
        number = ledger.begin_run(RunInfo(path.name, folder.path.name, backfill.__version__))
        stack.push(_ended(ledger, number))
        scratch = stack.enter_context(_scratch(settings.state, planned, ask=True))
        found, delivered = Survey(), Delivered()
        try:
            survey(planned, ledger, started, scratch, watch=observer.checking, reject=folder.reject_rows, into=found)
            folder.change(found.changed.values())
            observer.checked(planned, found, settings)
            delivered = _send(planned, found, settings, target, ledger, number, folder, scratch, observer, stack)
        except BackfillError as error:
            delivered.error = error
        except KeyboardInterrupt:
            delivered.error = InterruptedRun("interrupted while checking", signal=signal.SIGINT, hint="run it again")
        return _finish(path, planned, found, delivered, settings, started, folder, ledger, number)


def _send(
    planned: Plan,
    found: Survey,
    settings: Settings,
    target: Target,
    ledger: Ledger,
    number: int,
    folder: RunFolder,
    scratch: Path | None,
    observer: Observer,
    stack: ExitStack,
) -> Delivered:
    """Ask, and send what the survey found ready."""
    delivery = Delivery(
        planned=planned,
        survey=found,
        ledger=ledger,
        run=number,
        target=target,
        rate=settings.rate,
        concurrency=settings.concurrency,
        limit=settings.limit,
        retry_rejected=settings.retry_rejected,
        scratch=scratch,
        refused=folder.refuse,
        watch=observer.sending,
    )
    delivered = Delivered()
    if delivery.total:
        observer.ready(found, settings, delivery.total)
        if not settings.consent and not observer.confirm():
            raise UsageError(
                f"{delivery.total:,} events would be sent, and nobody agreed",
                hint="they may start live flows; --yes, or delivery.flows: acknowledged, says that is wanted",
            )
        delivered = _deliver(delivery, settings, observer, stack)
    try:
        check_balance(found, delivered, delivery.total)
    except BugError as error:
        delivered.error = delivered.error or error
    return delivered


def describe(status: int, summary: dict[str, Any]) -> tuple[str, str]:
    """(how the run ended, what to do next), in a sentence each."""
    events = summary["events"]
    rejected = summary["rows"]["unreadable"] + events["invalid"] + events["refused"]
    accepted = plural(events["accepted"], "event") + " accepted"
    if status not in (0, 3):
        return f"Stopped: {summary['stopped_by']}", (
            f"{plural(events['pending'], 'event')} left. "
            "Run the same command again: what was delivered is not sent twice."
        )
    parts, todo = [accepted], []
    if not events["total"]:
        parts = ["The export makes no event"]
    elif not summary["requests"] and events["already_delivered"] and not events["pending"]:
        parts = ["Nothing to send: what is ready was delivered before"]
    if rejected:
        parts.append(f"{rejected:,} rejected")
        todo.append(
            "Mend the rejected rows in rejected.csv and import that file (the same command with --files), "
            "or mend the export or the mapping and run again."
        )
    if events["changed"]:
        parts.append(f"{events['changed']:,} changed since they were delivered, not sent")
        todo.append("See changed.ndjson: the API keeps the first content that it was sent under an id.")
    if events["pending"]:
        parts.append(f"{events['pending']:,} left out by --limit")
        todo.append("Look at your store; when all is well, run again without --limit.")
    return ", ".join(parts) + ".", " ".join(todo) or "There is nothing to do."


def _deliver(delivery: Delivery, settings: Settings, observer: Observer, stack: ExitStack) -> Delivered:
    if not settings.sandbox:
        return deliver(delivery)
    from backfill.sandbox import Options, SandboxThread

    database = settings.state / SANDBOX_DATABASE
    box = stack.enter_context(SandboxThread(Options(database=database)))
    observer.sandbox(box.page_url, database)
    target = Target(box.base_url, settings.store, settings.secret, bulk=settings.bulk)
    return deliver(replace(delivery, target=target))


def _finish(
    path: Path,
    planned: Plan,
    found: Survey,
    delivered: Delivered,
    settings: Settings,
    started: datetime,
    folder: RunFolder,
    ledger: Ledger,
    number: int,
) -> Result:
    # An error in the survey leaves undecided what only the whole export shows.
    found.index.resolve()
    status = _status(found, delivered, settings)
    summary = summarize(
        found,
        delivered,
        settings,
        planned.export,
        mapping=path.name,
        started=started,
        finished=datetime.now(UTC),
        status=status,
    )
    problems = problems_of(found, planned.export)
    folder.write("report.html", render(summary, problems, *describe(status, summary)))
    folder.write("summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    ledger.end_run(number, status, summary)
    extras = tuple(name for name in ("rejected.csv", "rejected.ndjson", "changed.ndjson") if folder.has(name))
    return Result(status, summary, problems, folder.path, delivered.error, extras)


def _ended(ledger: Ledger, number: int) -> Callable[..., None]:
    """Writes down how a run ended that ends with an error."""

    def leave(_kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, BackfillError | KeyboardInterrupt):
            status = error.status if isinstance(error, BackfillError) else 128 + signal.SIGINT
            # A ledger that fails here failed before: that error is the one to tell.
            with suppress(BackfillError):
                ledger.end_run(number, status, {"stopped_by": str(error) or "interrupted"})

    return leave


def _status(found: Survey, delivered: Delivered, settings: Settings) -> int:
    if delivered.error is not None:
        return delivered.error.status
    if delivered.pending:
        return 75
    refused_before = 0 if settings.retry_rejected else found.events()["refused"]
    rejected = found.rows.unreadable + found.events()["invalid"] + delivered.refused + refused_before
    return 3 if rejected else 0


def _settings_if_any(path: Path, planned: Plan, flags: Flags) -> Settings | None:
    """For `check`, which needs neither store nor secret, but asks the ledger if they are known."""
    try:
        return resolve(path, planned.mapping.delivery, flags, {"REDO_API_SECRET": "none", **os.environ})
    except BackfillError:
        return None


@contextmanager
def _scratch(state: Path, planned: Plan, *, ask: bool) -> Iterator[Path | None]:
    """A folder for groups that are gathered on disk, removed at the end; None when nothing needs one."""
    group_by = planned.mapping.source.group_by
    if group_by is None or group_by.adjacent:
        yield None
        return
    base = state if ask else None
    if base is not None:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="gather-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
