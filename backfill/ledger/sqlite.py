"""The ledger in a file of the state folder: one run at a time has it, by the folder's lock."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from backfill.disk import Disk
from backfill.errors import BugError, StorageError
from backfill.ledger import file
from backfill.ledger.accepted import EACH, Accepted, joined
from backfill.ledger.entries import Target
from backfill.ledger.lock import Lock, holder
from backfill.ledger.tables import NewRun, Row, RunRow, Tables
from backfill.ledger.trouble import told
from backfill.records import Refusal

__all__ = ["SqliteStore"]

# SQLite takes 999 parameters on old builds.
_LOOKUPS: Final = 500
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
_ADD_RUN: Final = """INSERT INTO runs (target, mapping, folder, release, host, pid, started, ledger)
    VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT value FROM meta WHERE key = 'ledger'))"""

Answer = TypeVar("Answer")


class SqliteTables(Tables):
    """The tables on one connection."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        super().__init__()
        self.recent = Accepted()
        self._connection = connection
        self._folder = folder

    def forget(self) -> None:
        super().forget()
        self.recent.forget()

    def rows(self, statement: str, **values: Any) -> list[Row]:
        return self._connection.execute(_spelled(statement), values).fetchall()

    def change(self, statement: str, **values: Any) -> int:
        return self._connection.execute(_spelled(statement), values).rowcount

    def change_many(self, statement: str, values: Sequence[Mapping[str, Any]]) -> None:
        self._connection.executemany(_spelled(statement), values)

    def any_event(self, target: int | None) -> bool:
        return bool(self._connection.execute(_ANY, (target,)).fetchone()[0])

    def accepted(self, target: int, keys: Collection[bytes]) -> dict[bytes, bytes]:
        return self.recent.known(self._connection, target, keys)

    def refused(self, target: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return dict(self._connection.execute(_FIND_REFUSED, (*joined(keys), target)))

    def words(self, target: int, keys: Sequence[bytes]) -> dict[bytes, Refusal]:
        found: dict[bytes, Refusal] = {}
        for part in _parts(keys):
            marks = ",".join("?" * len(part))
            for key, *words in self._connection.execute(_FIND_WORDS.format(marks=marks), (target, *part)):
                found[key] = Refusal(*words)
        return found

    def accept(self, target: int, run: int, entries: Mapping[bytes, tuple[bytes, int]]) -> None:
        self.recent.add(self._connection, target, run, entries)

    def refuse(self, target: int, refusals: Collection[tuple[bytes, bytes, Refusal]]) -> None:
        rows = [(target, key, why.status, why.title, why.detail, content) for key, content, why in refusals]
        self._connection.executemany(_REFUSE, rows)

    def forgive(self, target: int, keys: Collection[bytes]) -> None:
        self._connection.execute(_FORGIVE, (*joined(keys), target))

    def add_run(self, new: NewRun) -> int | None:
        return self._connection.execute(_ADD_RUN, new).lastrowid

    def running(self) -> Callable[[RunRow], bool]:
        now_holding = holder(self._folder)
        held_by = None if now_holding is None else (now_holding.host, now_holding.pid)
        return lambda run: held_by == (run.host, run.pid)

    def check(self) -> None:
        file.check(self._connection, self._folder / file.LEDGER_FILE)


class SqliteStore:
    """The ledger of a state folder. Made by `open` or `read`, never directly."""

    def __init__(
        self,
        folder: Path,
        connection: sqlite3.Connection | None,
        lock: Lock | None,
        warnings: tuple[str, ...],
        disk: Disk,
    ) -> None:
        self.warnings = warnings
        self.place = str(folder)
        self.connection = connection
        self.tables = None if connection is None else SqliteTables(connection, folder)
        self._path = folder / file.LEDGER_FILE
        self._lock = lock
        self._disk = disk

    @classmethod
    def open(cls, folder: Path, disk: Disk) -> Self:
        """To write: made when there is none, locked until `close`."""
        warnings = file.prepare(folder, disk)
        with contextlib.ExitStack() as undo:
            lock = Lock(folder)
            undo.callback(lock.release)
            connection = file.open_to_write(folder / file.LEDGER_FILE, disk)
            undo.callback(connection.close)
            store = cls(folder, connection, lock, warnings, disk)
            undo.pop_all()
        return store

    @classmethod
    def read(cls, folder: Path) -> Self:
        """To look at; of a folder without a ledger, too."""
        return cls(folder, file.open_to_read(folder / file.LEDGER_FILE), None, file.on_network(folder), Disk())

    def enter(self, target: Target) -> int:
        doing = "entering the target"
        known = self.reading("looking for the target", lambda tables: tables.target(target), None)
        if known is None:
            insert = "INSERT INTO @targets (base_url, store) VALUES (:base_url, :store)"
            new = {"base_url": target.base_url, "store": target.store}
            self.writing(doing, lambda tables: tables.change(insert, **new))
            known = self.reading("looking for the target", lambda tables: tables.target(target), None)
        if known is None:
            raise BugError(f"{doing}: the ledger gave it no number")
        return known

    def reading(self, doing: str, ask: Callable[[Tables], Answer], otherwise: Answer) -> Answer:
        connection, tables = self.connection, self.tables
        if connection is None or tables is None:
            return otherwise
        with told(doing, self._path):
            try:
                return file.transaction(connection, lambda: ask(tables))
            except BaseException:
                tables.recent.forget()
                raise

    def writing(self, doing: str, work: Callable[[Tables], Answer]) -> Answer:
        connection, tables = self.connection, self.tables
        if self._lock is None or connection is None or tables is None:
            raise BugError(f"{doing}: this ledger was opened to read")
        self._lock.verify()
        with told(doing, self._path):
            try:
                return file.transaction(connection, lambda: work(tables), lambda: self._disk.commit(connection, doing))
            except BaseException:
                tables.forget()
                raise

    def close(self) -> None:
        """Folds the write-ahead log into the ledger and gives the lock back."""
        try:
            if self.connection is not None:
                if self._lock is not None:
                    # Commits are safe in the log, whatever stands in the way now (a reader, a full disk, a
                    # second run because the lock's file was removed): the next opening goes on with it.
                    with contextlib.suppress(sqlite3.Error, StorageError):
                        self._lock.verify()
                        self.connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_AT_CLOSE}")
                        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self.connection.close()
        finally:
            if self._lock is not None:
                self._lock.release()


@cache
def _spelled(statement: str) -> str:
    """A statement of `Tables` as SQLite takes it."""
    return re.sub(r"@(\w+)", r"\1", statement)


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _LOOKUPS):
        yield keys[start : start + _LOOKUPS]
