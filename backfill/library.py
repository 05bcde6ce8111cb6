"""The Python API: what the commands do, as methods.

    from backfill import Backfill

    orders = Backfill("orders.yaml")
    print(orders.check())
    result = orders.run(sandbox=True)
    result.rejected()                      # the rows to mend, as a Polars frame

It works in a script, in a thread, and in a notebook, where an event loop is running already. Settings that are not
given are taken from the environment and the mapping, as the commands take them; the secret comes from `REDO_API_SECRET`
or `REDO_API_SECRET_FILE`, and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import polars as pl

from backfill import check as checks
from backfill import check_many
from backfill import preview as previews
from backfill import run as runs
from backfill import status as known
from backfill.errors import BackfillError, StorageError, UsageError
from backfill.ledger import Ledger
from backfill.observer import Observer
from backfill.pipeline import Sending
from backfill.printable import printable
from backfill.read import read_report, unread_error
from backfill.report import check_data, describe
from backfill.report.text import check_text, result_text
from backfill.settings import Flags, ledger_url, state_folder
from backfill.tally import Survey
from backfill.world import World

__all__ = ["Backfill", "Check", "PastRun", "Progress", "Result"]

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: rows while `checking` (`total` is then not known), events while `sending`.

    `waiting` says why nothing is sent at the moment, if so.
    """

    stage: Literal["checking", "sending"]
    done: int
    total: int | None = None
    waiting: str = ""


@dataclass(frozen=True)
class Check:
    """What a check found. `print` shows what the command shows.

    `status` is the command's exit status: 0, 3 (some rows or events are rejected), 65 (a file can't be read), 78
    (delivered events would get other ids). `rows` and `events` count by outcome; `names` tells for each eventName how
    many are ready, the oldest and the newest; `problems` has code, count, title, fix and examples with their place.
    `new_names` were never sent to this store, as far as the ledger knows (None: no store is known); `since` tells from
    where on is read.
    """

    status: int
    rows: Mapping[str, int]
    events: Mapping[str, int]
    names: Mapping[str, Mapping[str, Any]]
    problems: Sequence[Mapping[str, Any]]
    notices: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]
    notes: Sequence[str]
    new_names: Sequence[Mapping[str, Any]] | None
    since: Mapping[str, Any] | None
    report: Path | None
    text: str = field(repr=False)
    error: BackfillError | None = None

    def __str__(self) -> str:
        return self.text + (f"\nreport: {printable(str(self.report))}" if self.report else "")

    def raise_for_error(self) -> None:
        """Raises what makes the mapping or a file unfit to be sent; rejected rows are no error."""
        if self.error is not None:
            raise self.error


@dataclass(frozen=True)
class Result:
    """How a run ended. `print` shows what the command shows.

    `status` is the command's exit status, `error` what stopped the run, if anything did; `summary` is what summary.json
    holds; `folder` is the run's: report.html and, where there is cause, rejected.csv, rejected.ndjson, changed.ndjson.
    """

    status: int
    summary: Mapping[str, Any] = field(repr=False)
    folder: Path
    notes: Sequence[str]
    error: BackfillError | None = None

    def __str__(self) -> str:
        return result_text(dict(self.summary), *describe(self.status, dict(self.summary)), [f"report: {self.report}"])

    @property
    def report(self) -> Path:
        """Where report.html is."""
        return self.folder / "report.html"

    def raise_for_error(self) -> None:
        """Raises what stopped the run; rejected rows are no error."""
        if self.error is not None:
            raise self.error

    def rejected(self) -> pl.DataFrame:
        """The rows of rejected.csv: the export's columns and problem, detail, file, row, all String; empty if none.

        Write it back with `write_csv` when it is mended, and import that: `Backfill(mapping, files=[…]).run()`.
        """
        return _rejected(self.folder)


@dataclass(frozen=True)
class PastRun:
    """A run that the ledger knows. `exit_status` and `summary` are None of one that goes on or was killed."""

    started: str
    mapping: str
    exit_status: int | None
    summary: Mapping[str, Any] | None = field(repr=False)
    folder: Path

    def rejected(self) -> pl.DataFrame:
        """As `Result.rejected`."""
        return _rejected(self.folder)


class Backfill:
    """One mapping and its export.

    `state`: the folder of ledger and runs, `.backfill` beside the mapping unless given. `ledger`: the URL of a
    PostgreSQL database that holds the ledger (`backfill help ledger-postgresql`). `files`: read these instead of the
    mapping's own, such as a mended rejected.csv; relative to the working directory. `sandbox`: rehearse: everything
    is about the sandbox inside the run, which has a ledger of its own.
    """

    def __init__(
        self,
        mapping: str | Path,
        *,
        state: str | Path | None = None,
        ledger: str | None = None,
        files: Sequence[str | Path] = (),
        sandbox: bool = False,
    ) -> None:
        self.mapping = Path(mapping)
        self._flags: dict[str, Any] = {
            "state": None if state is None else Path(state),
            "ledger": ledger,
            "files": tuple(str(file) for file in files),
            "sandbox": sandbox,
        }

    @classmethod
    def init(cls, export: str | Path, mapping: str | Path, *, preset: str | None = None) -> Backfill:
        """Look at an export and draft its mapping, into a new file; what only you can decide says TODO there.

        `preset`: a preset's name, or `none`; else an export that is known is recognised. Raises ExportError, UsageError
        (the file is there already; no such preset) and StorageError.
        """
        from backfill import draft

        path = Path(mapping)
        draft.refuse_existing(path)
        looked = draft.look(str(export), Path.cwd(), path.absolute(), datetime.now(UTC), preset=preset)
        draft.save(path, looked.draft({}).text)
        return cls(path)

    def __repr__(self) -> str:
        return f"Backfill({str(self.mapping)!r})"

    def check(
        self,
        *,
        store: str | None = None,
        base_url: str | None = None,
        new_ids: bool = False,
        not_newer_than: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Check:
        """Read, map and validate everything; send nothing.

        Raises MappingError (every problem at once), SettingsError and ExportError.
        """
        flags = Flags(**self._flags, store=store, base_url=base_url, new_ids=new_ids, not_newer_than=not_newer_than)
        world = World()
        watcher = _Watcher(progress, world)
        if check_many.is_for_many(self.mapping):
            with watcher.raised():
                many = _apart(lambda world: check_many.check_stores(self.mapping, flags, watcher, world), world)
            data = many.data()
            told = {key: data[key] for key in _CHECKED}
            return Check(status=many.status, **told, report=None, text=many.text(), error=many.error)
        with watcher.raised():
            planned, found, settings = _apart(lambda world: checks.check(self.mapping, flags, watcher, world), world)
        error: BackfillError | None = None if new_ids else found.moved
        if error is None and found.unread:
            error = unread_error(found.unread)
        data = check_data(planned, found, settings)
        status = error.status if error else 3 if found.rejected else 0
        page = None
        with suppress(StorageError):
            page = checks.write_check_page(self.mapping, flags, (planned, found, settings), status, world)
        return Check(
            status=status,
            **{key: data[key] for key in _CHECKED},
            report=page,
            text=check_text(planned, found, settings, stops=found.moved is not None and not new_ids),
            error=error,
        )

    def preview(self, count: int = 3, *, row: int | None = None) -> list[dict[str, Any]]:
        """The first events as they would be sent; with `row` those of this row of the export (as file:row tells it).

        Of a row of a group they are the group's. Raises UsageError for a row without events, which says why.
        """
        flags = Flags(**self._flags)
        return [json.loads(text) for text in previews.preview(self.mapping, count, flags, row=row)]

    def run(
        self,
        *,
        yes: bool = False,
        store: str | None = None,
        base_url: str | None = None,
        endpoint: Literal["single", "bulk"] | None = None,
        rate: float | None = None,
        concurrency: int | None = None,
        limit: int | None = None,
        limit_each: int | None = None,
        not_newer_than: str | None = None,
        min_rows: int | None = None,
        retry_rejected: bool = False,
        new_ids: bool = False,
        reread: bool = False,
        runs_to: str | None = None,
        ray: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Result:
        """Check, send what is missing, remember, report. Call it again after anything.

        These events may start live flows: `yes`, or `flows: acknowledged` in the mapping, says that this is wanted.
        `rate` is in requests a second; `limit` and `limit_each` (of each event name) are in events: a canary.
        `not_newer_than`, such as "72h", keeps events under this age for a later run. `min_rows`: send nothing if
        fewer rows were read. `runs_to` is a place, such as "s3://bucket/runs", where the run's folder is copied.
        `ray` is the address of a Ray cluster that does the work, or "local".

        Raises BackfillError for what stops it before it begins (mapping, settings, the ledger's lock, the export); of a
        run that has begun the Result tells. Ctrl-C ends the run as it does the command, with a report, and then raises
        KeyboardInterrupt.
        """
        flags = Flags(
            **self._flags,
            yes=yes,
            store=store,
            base_url=base_url,
            endpoint=endpoint,
            rate=rate,
            concurrency=concurrency,
            limit=limit,
            limit_each=limit_each,
            not_newer_than=not_newer_than,
            min_rows=min_rows,
            retry_rejected=retry_rejected,
            new_ids=new_ids,
            reread=reread,
            runs_to=runs_to,
            ray=ray,
        )
        world = World()
        watcher = _Watcher(progress, world)
        with watcher.raised():
            ended = _apart(lambda world: runs.run(self.mapping, flags, watcher, world), world)
        if ended.status == _INTERRUPTED:
            raise KeyboardInterrupt(f"{ended.summary['stopped_by']}; report: {ended.folder / 'report.html'}")
        return Result(ended.status, ended.summary, ended.folder, tuple(watcher.notes), ended.error)

    def status(self) -> dict[str, Any]:
        """What the ledger knows, as `backfill status --json` shows it: stores, their events by name, the last runs."""
        told: dict[str, Any] = json.loads(known.status(self.mapping, Flags(**self._flags), as_json=True))
        return told

    def runs(self, limit: int = 20) -> list[PastRun]:
        """The last runs of this mapping that began, newest first; `status` tells of those that did not, too."""
        folder = state_folder(self.mapping, Flags(**self._flags))
        with Ledger.read(folder, url=ledger_url(Flags(**self._flags))) as ledger:
            records = [
                one for one in ledger.runs(-1) if one.info.folder and Path(one.info.mapping).name == self.mapping.name
            ]
        return [
            PastRun(
                started=one.started.isoformat(timespec="seconds").replace("+00:00", "Z"),
                mapping=one.info.mapping,
                exit_status=one.exit_status,
                summary=one.summary,
                folder=folder / "runs" / one.info.folder,
            )
            for one in records[:limit]
        ]

    def report(self) -> Path:
        """Where the last run's report.html is. Raises UsageError when there is none."""
        return known.last_report(self.mapping, Flags(**self._flags))


_INTERRUPTED = 130
_CHECKED = ("rows", "events", "names", "problems", "notices", "seconds", "notes", "new_names", "since")


class _Watcher(Observer):
    """Passes on how far it is, gathers notes, and stops a check in a thread.

    A user's function that raises ends the run as Ctrl-C does, with a report; its error comes then.
    """

    def __init__(self, progress: Callable[[Progress], None] | None, world: World) -> None:
        self._progress = progress or (lambda _: None)
        self._stop = world.stop
        self._error: BaseException | None = None
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def checking(self, found: Survey) -> None:
        self._tell(Progress("checking", found.rows.read))
        if self._stop.asked or self._error is not None:
            raise KeyboardInterrupt

    def sending(self, state: Sending) -> None:
        before = self._error
        done = state.accepted + state.refused
        self._tell(Progress("sending", done, state.total, state.snapshot.reason))
        if self._error is not before:
            self._stop.here()

    def _tell(self, at: Progress) -> None:
        if self._error is None:
            try:
                self._progress(at)
            except BaseException as error:  # noqa: BLE001 (it is raised when the run has ended)
                self._error = error

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raises at the end what the user's function raised."""
        try:
            yield
        finally:
            if self._error is not None:
                raise self._error


def _apart(work: Callable[[World], Found], world: World) -> Found:
    """`work`, in a thread of its own where this one has an event loop that runs: there can't be two in one.

    Ctrl-C, which comes to this thread, asks the other to stop, and is raised when it has.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work(world)
    found: list[Found] = []
    failed: list[BaseException] = []

    def within() -> None:
        try:
            found.append(work(world))
        except BaseException as error:  # noqa: BLE001 (it is raised where the caller is)
            failed.append(error)

    thread = threading.Thread(target=within, name="backfill")
    with world.stop.by_ctrl_c():
        thread.start()
        thread.join()
    if failed:
        raise failed[0]
    return found[0]


def _rejected(folder: Path) -> pl.DataFrame:
    path = folder / "rejected.csv"
    if not folder.is_dir():
        raise UsageError(f"there is no run's folder {folder}", hint="`runs()` lists those that are known")
    with suppress(FileNotFoundError):
        return read_report(path)
    return pl.DataFrame(schema=dict.fromkeys(("problem", "detail", "file", "row"), pl.String))
