"""The ledger itself: look-ups, records, runs and totals."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from backfill.disk import Disk
from backfill.errors import BugError, StorageError
from backfill.ledger import file
from backfill.ledger.accepted import EACH, Accepted, joined
from backfill.ledger.entries import Entry, RunInfo, RunRecord, Target, Totals
from backfill.ledger.lock import Lock, holder
from backfill.ledger.trouble import told
from backfill.records import Outcome, Refusal

__all__ = ["Ledger"]

# SQLite takes 999 parameters on old builds.
_LOOKUPS: Final = 500
# The API's words are cut here: an answer may be 64 KiB, and a wrong mapping can have every event refused.
_WORDS: Final = 2_000
# Milliseconds that the end of a run waits for readers before it leaves the log to the next opening.
_PATIENCE_AT_CLOSE: Final = 200

_FIND_REFUSED: Final = f"""{EACH} SELECT key, content FROM each CROSS JOIN refusals
    WHERE target = ?3 AND key = substr(?1, 16 * i + 1, 16)"""  # noqa: S608  (it holds constants only)
# The marks are question marks only: what is asked for goes in as parameters.
_FIND_WORDS: Final = "SELECT key, status, title, detail FROM refusals WHERE target = ? AND key IN ({marks})"
_REFUSE: Final = """
    INSERT OR REPLACE INTO refusals (target, key, status, title, detail, content) VALUES (?, ?, ?, ?, ?, ?)"""
_FORGIVE: Final = f"""DELETE FROM refusals WHERE target = ?3 AND key IN (
    {EACH} SELECT substr(?1, 16 * i + 1, 16) FROM each)"""  # noqa: S608  (constants)
_ANY: Final = """SELECT EXISTS (SELECT 1 FROM log WHERE ?1 IS NULL OR target = ?1)
    OR EXISTS (SELECT 1 FROM events WHERE ?1 IS NULL OR target = ?1)
    OR EXISTS (SELECT 1 FROM refusals WHERE ?1 IS NULL OR target = ?1)"""
_RUNS: Final = """
    SELECT base_url, store, mapping, folder, release, runs.id, host, pid, started, finished, exit_status,
    summary, accepted, refused, last_accepted FROM runs JOIN targets ON targets.id = runs.target
    WHERE (?1 IS NULL OR runs.target = ?1) AND (?2 OR finished IS NULL) ORDER BY runs.id DESC LIMIT ?3"""


class Ledger:
    """The ledger of a state folder, seen from one target. Made by `open` or `read`, never directly.

    Any thread may use it, one at a time: a call waits for the one before it. Never use it across a fork.
    """

    def __init__(
        self,
        folder: Path,
        target: Target | None,
        connection: sqlite3.Connection | None,
        lock: Lock | None,
        warnings: tuple[str, ...],
        now: Callable[[], datetime],
        disk: Disk,
    ) -> None:
        self.folder = folder
        self.target = target
        self.warnings = warnings
        self._connection = connection
        self._lock = lock
        self._now = now
        self._disk = disk
        self._closed = False
        self._pid = os.getpid()
        self._turn = threading.RLock()
        self._names: dict[str, int] = {}
        self._target_id: int | None = None
        self._empty = True
        self._guest = False
        self._accepted = Accepted()

    @classmethod
    def open(
        cls,
        folder: Path,
        target: Target | None,
        *,
        now: Callable[[], datetime] | None = None,
        disk: Disk | None = None,
    ) -> Self:
        """The ledger for a run: made when there is none, locked until `close`; without a target only to be asked for
        those `beside` it.

        Raises LockedError (at once, naming the holder), StorageError, SettingsError (a newer release's
        ledger).
        """
        plain = None if target is None else target.plain()
        disk = disk or Disk()
        warnings = file.prepare(folder, disk)
        with contextlib.ExitStack() as undo:
            lock = Lock(folder)
            undo.callback(lock.release)
            connection = file.open_to_write(folder / file.LEDGER_FILE, disk)
            undo.callback(connection.close)
            ledger = cls(folder, plain, connection, lock, warnings, now or _utc_now, disk)
            ledger._enter_target()
            undo.pop_all()
        return ledger

    @classmethod
    def read(cls, folder: Path, target: Target | None = None) -> Self:
        """The ledger to look at, also while a run goes on; empty when there is none; of all targets for None.

        It takes no lock and never holds up a run. Raises StorageError, SettingsError (a newer release's
        ledger).
        """
        plain = None if target is None else target.plain()
        with contextlib.ExitStack() as undo:
            connection = file.open_to_read(folder / file.LEDGER_FILE)
            if connection is not None:
                undo.callback(connection.close)
            ledger = cls(folder, plain, connection, None, file.on_network(folder), _utc_now, Disk())
            ledger._find_target()
            undo.pop_all()
        return ledger

    def beside(self, target: Target) -> Self:
        """The same open ledger, seen from another target. It is of use until this one is closed."""
        other = type(self)(
            self.folder, target.plain(), self._connection, self._lock, self.warnings, self._now, self._disk
        )
        other._join(self._turn, self._accepted)  # noqa: SLF001  its own class
        return other

    def _join(self, turn: threading.RLock, accepted: Accepted) -> None:
        """Use what another has open: one connection, so one turn, and one memory of its temporary tables."""
        self._turn, self._accepted, self._guest = turn, accepted, True
        if self._lock is None:
            self._find_target()
        else:
            self._enter_target()

    def close(self) -> None:
        """Folds the write-ahead log into the ledger and gives the lock back; a second call does nothing."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
            if self._guest:
                return
            if os.getpid() != self._pid:
                return  # a forked child: the connection and the lock are its parent's
            try:
                if self._connection is not None:
                    if self._lock is not None:
                        # Commits are safe in the log, whatever stands in the way now (a reader, a full disk, a
                        # second run because the lock's file was removed): the next opening goes on with it.
                        with contextlib.suppress(sqlite3.Error, StorageError):
                            self._lock.verify()
                            self._connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_AT_CLOSE}")
                            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                    self._connection.close()
            finally:
                if self._lock is not None:
                    self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Events

    def is_empty(self) -> bool:
        """Nothing is known of the target: then every look-up is in vain, and callers skip them."""
        if self._empty:
            with self._reading("looking for events") as connection:
                if connection is None or (self.target is not None and self._target_id is None):
                    return True
                self._empty = not connection.execute(_ANY, (self._target_id,)).fetchone()[0]
        return self._empty

    def look_up(self, keys: Sequence[bytes]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """The content digests of those keys that were accepted, and of those that were refused.

        Ask for some 10,000 at a time: they are found in one step each, without the GIL, at 2 to 5 µs a key, and what
        Python does of it takes 0.5 µs a key.
        """
        with self._reading("looking up events") as connection:
            if connection is None or self._one_target() is None:
                return {}, {}
            return self._look_up(connection, keys)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """What is known of these events, with the API's words; one that was never recorded is not among the answers."""
        with self._reading("looking up events") as connection:
            if connection is None or self._one_target() is None:
                return {}
            accepted, refused = self._look_up(connection, keys)
            entries = {found: Entry(digest, accepted=True) for found, digest in accepted.items()}
            for part in _parts(list(refused)):
                for found, *words in connection.execute(
                    _FIND_WORDS.format(marks=",".join("?" * len(part))), (self._target_id, *part)
                ):
                    entries[found] = Entry(refused[found], accepted=False, refusal=Refusal(*words))
        return entries

    def record(self, outcomes: Sequence[Outcome], run: int, *, asked: bool = False) -> None:
        """Remembers what was accepted and refused, all or nothing; when it returns, a kill -9 can't undo it.

        `asked`: since the ledger was opened the caller was told of each of these events, once each, that it was not
        accepted yet. Then that is not looked up again, which is a third of the time.

        Accepted is final: neither a later refusal nor other content changes it. A refusal gives way to what
        comes later. The API's words are kept up to 2,000 characters each.
        """
        with self._writing("recording outcomes") as connection:
            accepted: dict[bytes, tuple[bytes, int]] = {}
            refused: dict[bytes, tuple[bytes, Refusal]] = {}
            for outcome in outcomes:
                keys, contents, names = outcome.events.keys, outcome.events.contents, outcome.events.names
                for index in outcome.accepted:
                    if keys[index] not in accepted:
                        number = self._names.get(names[index]) or self._name(connection, names[index])
                        accepted[keys[index]] = (contents[index], number)
                for index, why in outcome.refused:
                    refused[keys[index]] = (contents[index], why)
            if not accepted and not refused:
                return
            target = self._target_id
            keys_now = accepted.keys() | refused.keys()
            known = {} if asked else self._accepted.known(connection, target, keys_now)
            new = {key: entry for key, entry in accepted.items() if key not in known} if known else accepted
            words = [
                (target, key, why.status, _words(why.title), _words(why.detail), digest)
                for key, (digest, why) in refused.items()
                if key not in known and key not in accepted
            ]
            connection.executemany(_REFUSE, words)
            if new:
                if self._any_refused(connection):
                    connection.execute(_FORGIVE, (*joined(new), target))
                self._accepted.add(connection, target, run, new)
            at_time = _milliseconds(self._now()) if accepted else None
            counted = connection.execute(
                """UPDATE runs SET accepted = accepted + ?, refused = refused + ?,
                first_accepted = coalesce(first_accepted, ?), last_accepted = coalesce(?, last_accepted)
                WHERE id = ? AND target = ?""",
                (len(new), len(words), at_time, at_time, run, target),
            )
            if counted.rowcount != 1:
                raise BugError(f"recording outcomes: the ledger knows no run {run} of this target")
        self._empty = False

    # Runs

    def begin_run(self, info: RunInfo) -> int:
        """Writes down that a run begins, and gives its number.

        Call it before the first request: a disk that is full or read-only shows here.
        """
        with self._writing("beginning the run") as connection:
            begun = connection.execute(
                """INSERT INTO runs (target, mapping, folder, release, host, pid, started, ledger)
                VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT value FROM meta WHERE key = 'ledger'))""",
                (
                    self._target_id,
                    _clean(info.mapping),
                    _clean(info.folder),
                    _clean(info.release),
                    socket.gethostname(),
                    os.getpid(),
                    _milliseconds(self._now()),
                ),
            )
            run = begun.lastrowid
        if run is None:
            raise BugError("beginning the run: the ledger gave it no number")
        return run

    def end_run(self, run: int, exit_status: int, summary: Mapping[str, Any]) -> None:
        """Writes down how a run ended; `summary` is JSON data without secrets."""
        with self._writing("ending the run") as connection:
            ended = connection.execute(
                "UPDATE runs SET finished = ?, exit_status = ?, summary = ? WHERE id = ? AND target = ?",
                (_milliseconds(self._now()), exit_status, json.dumps(summary), run, self._target_id),
            )
            if ended.rowcount != 1:
                raise BugError(f"ending the run: the ledger knows no run {run} of this target")

    def runs(self, limit: int = 20) -> list[RunRecord]:
        """The last runs, newest first: of the target, or of all when the ledger was read without one."""
        with self._reading("listing runs") as connection:
            return [] if connection is None else self._runs(connection, self._target_id, limit)

    # Totals

    def targets(self) -> list[Target]:
        """All targets that the ledger has seen, in the order of their first run."""
        with self._reading("listing targets") as connection:
            if connection is None:
                return []
            rows = connection.execute("SELECT base_url, store FROM targets ORDER BY id").fetchall()
        return [Target(*row) for row in rows]

    def totals(self, target: Target | None = None) -> Totals:
        """All that is known of one target: the ledger's own, unless another is named."""
        wanted = target.plain() if target is not None else self.target
        if wanted is None:
            raise BugError("a ledger that was read without a target has no totals of its own: name one")
        with self._reading("counting events") as connection:
            known = None if connection is None else _target_id(connection, wanted)
            if connection is None or known is None:
                return Totals(wanted, {}, 0, None, None, ())
            accepted = dict(
                connection.execute(
                    "SELECT names.name, accepted FROM counts JOIN names ON names.id = counts.name "
                    "WHERE target = ? ORDER BY names.name",
                    (known,),
                )
            )
            (refused,) = connection.execute("SELECT count(*) FROM refusals WHERE target = ?", (known,)).fetchone()
            first, last = connection.execute(
                "SELECT min(first_accepted), max(last_accepted) FROM runs WHERE target = ?", (known,)
            ).fetchone()
            unended = tuple(run for run in self._runs(connection, known, -1, ended=False) if not run.running)
        return Totals(wanted, accepted, refused, _moment(first), _moment(last), unended)

    # Identity

    def identity(self, mapping: str) -> dict[str, Any] | None:
        """The fingerprint of how `mapping` made its uniqueIds when it last sent to the target, or None."""
        with self._reading("reading a mapping's identity") as connection:
            if connection is None or self._one_target() is None:
                return None
            row = connection.execute(
                "SELECT fingerprint FROM identities WHERE target = ? AND mapping = ?",
                (self._target_id, _clean(mapping)),
            ).fetchone()
        if row is None:
            return None
        fingerprint: dict[str, Any] = json.loads(row[0])
        return fingerprint

    def set_identity(self, mapping: str, fingerprint: Mapping[str, Any]) -> None:
        """Remembers how `mapping` makes its uniqueIds; `fingerprint` is JSON data."""
        with self._writing("writing a mapping's identity") as connection:
            connection.execute(
                "INSERT OR REPLACE INTO identities (target, mapping, fingerprint) VALUES (?, ?, ?)",
                (self._target_id, _clean(mapping), json.dumps(fingerprint)),
            )

    # Files

    def files(self, mapping: str) -> dict[str, str]:
        """What `set_files` was last given for the target and `mapping`."""
        with self._reading("reading what is known of files") as connection:
            if connection is None or self._one_target() is None:
                return {}
            known = "SELECT file, record FROM files WHERE target = ? AND mapping = ?"
            return dict(connection.execute(known, (self._target_id, _clean(mapping))))

    def set_files(self, mapping: str, records: Mapping[str, str]) -> None:
        """Keeps a JSON text a file for the target and `mapping`, in place of all that was kept before."""
        place = (self._target_id, _clean(mapping))
        with self._writing("writing down what is delivered") as connection:
            connection.execute("DELETE FROM files WHERE target = ? AND mapping = ?", place)
            connection.executemany(
                "INSERT OR REPLACE INTO files (target, mapping, file, record) VALUES (?, ?, ?, ?)",
                [(*place, _clean(file), _clean(record)) for file, record in records.items()],
            )

    # Marks

    def mark(self, mapping: str) -> dict[str, Any] | None:
        """Up to where `mapping` has delivered everything to the target, as `set_mark` was last told."""
        return self.marks(mapping=mapping).get(_clean(mapping))

    def marks(self, target: Target | None = None, *, mapping: str | None = None) -> dict[str, dict[str, Any]]:
        """The marks of all mappings, or of one, for `target` or the ledger's own."""
        wanted = target or self.target
        with self._reading("reading up to where all is delivered") as connection:
            known = None if connection is None or wanted is None else _target_id(connection, wanted.plain())
            if connection is None or known is None:
                return {}
            ask = "SELECT mapping, mark FROM marks WHERE target = ?1 AND (?2 IS NULL OR mapping = ?2) ORDER BY mapping"
            found = connection.execute(ask, (known, None if mapping is None else _clean(mapping)))
            return {name: json.loads(mark) for name, mark in found}

    def set_mark(self, mapping: str, mark: Mapping[str, Any]) -> None:
        """Remembers up to where `mapping` has delivered everything to the target; `mark` is JSON data."""
        with self._writing("writing down up to where all is delivered") as connection:
            connection.execute(
                "INSERT OR REPLACE INTO marks (target, mapping, mark) VALUES (?, ?, ?)",
                (self._target_id, _clean(mapping), json.dumps(mark)),
            )

    def check_integrity(self) -> None:
        """Reads the whole ledger (0.1 s for 1 M events) and raises StorageError when it is torn."""
        with self._reading("checking the ledger") as connection:
            if connection is None:
                return
            file.check(connection, self._path)

    # Within

    @property
    def _path(self) -> Path:
        return self.folder / file.LEDGER_FILE

    def _one_target(self) -> int | None:
        if self.target is None:
            raise BugError("a ledger that was read without a target can't look up events")
        return self._target_id

    def _usable(self) -> None:
        if self._closed:
            raise BugError("the ledger is closed")
        if os.getpid() != self._pid:
            raise BugError("a ledger can't be used across a fork")

    @contextlib.contextmanager
    def _reading(self, doing: str) -> Iterator[sqlite3.Connection | None]:
        """One snapshot for all that is asked within: a run may commit between two questions."""
        with self._turn:
            self._usable()
            if self._connection is None:
                yield None
                return
            with told(doing, self._path):
                try:
                    with file.transaction(self._connection):
                        yield self._connection
                except BaseException:
                    self._accepted.forget()
                    raise

    @contextlib.contextmanager
    def _writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """One transaction: all that is done within is kept, or none of it."""
        with self._turn:
            self._usable()
            if self._lock is None or self._connection is None:
                raise BugError(f"{doing}: this ledger was opened to read")
            connection = self._connection
            self._lock.verify()
            with told(doing, self._path):
                try:
                    with file.transaction(connection, lambda: self._disk.commit(connection, doing)):
                        yield connection
                except BaseException:
                    # They may hold what was rolled back.
                    self._names.clear()
                    self._accepted.forget()
                    raise

    def _find_target(self) -> None:
        with self._reading("looking for the target") as connection:
            if connection is not None and self.target is not None:
                self._target_id = _target_id(connection, self.target)

    def _enter_target(self) -> None:
        self._find_target()
        if self._target_id is None and self.target is not None:
            with self._writing("entering the target") as connection:
                connection.execute(
                    "INSERT INTO targets (base_url, store) VALUES (?, ?)",
                    (self.target.base_url, self.target.store),
                )
            self._find_target()

    def _look_up(
        self, connection: sqlite3.Connection, keys: Sequence[bytes]
    ) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        accepted = self._accepted.known(connection, self._target_id, keys)
        if not keys or not self._any_refused(connection):
            return accepted, {}
        return accepted, dict(connection.execute(_FIND_REFUSED, (*joined(keys), self._target_id)))

    def _any_refused(self, connection: sqlite3.Connection) -> bool:
        any_refusal = connection.execute("SELECT 1 FROM refusals WHERE target = ? LIMIT 1", (self._target_id,))
        return any_refusal.fetchone() is not None

    def _name(self, connection: sqlite3.Connection, name: str) -> int:
        """The number of an event's name, new or not; within a transaction."""
        plain = (_clean(name),)
        connection.execute("INSERT OR IGNORE INTO names (name) VALUES (?)", plain)
        (number,) = connection.execute("SELECT id FROM names WHERE name = ?", plain).fetchone()
        self._names[name] = int(number)
        return self._names[name]

    def _runs(
        self, connection: sqlite3.Connection, target: int | None, limit: int, *, ended: bool = True
    ) -> list[RunRecord]:
        if target is None and self.target is not None:
            return []
        now_holding = holder(self.folder)
        held_by = None if now_holding is None else (now_holding.host, now_holding.pid)
        rows = connection.execute(_RUNS, (target, ended, limit))
        return [_run_record(row, held_by) for row in rows]


def _run_record(row: tuple[Any, ...], held_by: tuple[str, int] | None) -> RunRecord:
    base_url, store, mapping, folder, release, *rest = row
    run, host, pid, started, finished, exit_status, summary, accepted, refused, last_accepted = rest
    return RunRecord(
        run=run,
        target=Target(base_url, store),
        info=RunInfo(mapping, folder, release),
        host=host,
        pid=pid,
        started=_moment_of(started),
        finished=_moment(finished),
        exit_status=exit_status,
        summary=None if summary is None else json.loads(summary),
        accepted=accepted,
        refused=refused,
        last_accepted=_moment(last_accepted),
        running=finished is None and held_by == (host, pid),
    )


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _LOOKUPS):
        yield keys[start : start + _LOOKUPS]


def _clean(text: str) -> str:
    # JSON can spell a lone surrogate, which neither UTF-8 nor SQLite can hold.
    return text.encode("utf-8", "backslashreplace").decode()


def _words(text: str) -> str:
    return _clean(text if len(text) <= _WORDS else text[: _WORDS - 1] + "…")


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _moment_of(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else _moment_of(milliseconds)


def _target_id(connection: sqlite3.Connection, target: Target) -> int | None:
    row = connection.execute(
        "SELECT id FROM targets WHERE base_url = ? AND store = ?", (target.base_url, target.store)
    ).fetchone()
    return None if row is None else int(row[0])
