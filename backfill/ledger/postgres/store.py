"""Transactions on the server: one that fails for want of a connection is done again, and never twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import psycopg

from backfill.disk import Disk
from backfill.errors import BugError
from backfill.ledger import file
from backfill.ledger.entries import Target
from backfill.ledger.postgres.address import Address
from backfill.ledger.postgres.schema import is_ready
from backfill.ledger.postgres.session import Session, connect, tune
from backfill.ledger.postgres.tables import PostgresTables
from backfill.ledger.postgres.trouble import is_broken, is_collision, trouble
from backfill.ledger.tables import Tables
from backfill.ledger.trouble import told

__all__ = ["PostgresStore"]

Answer = TypeVar("Answer")

_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_CHANGE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
# So often a transaction is done again that met another.
_COLLISIONS: Final = 5


class PostgresStore:
    """A ledger on a server. Made by `open` or `read`, never directly."""

    def __init__(self, address: Address, session: Session | None, folder: Path | None, disk: Disk) -> None:
        self.warnings: tuple[str, ...] = ()
        self.tables = PostgresTables(address.shown)
        self.session = session
        self.place = address.shown
        self._address = address
        self._folder = folder
        self._disk = disk
        self._look: psycopg.Connection[Any] | None = None

    @classmethod
    def open(cls, address: Address, folder: Path, target: Target, disk: Disk) -> Self:
        """To write, with the lock on the target until `close`; `folder` is for the runs' own."""
        warnings = file.prepare(folder, disk, holds_ledger=False)
        store = cls(address, Session(address, target), folder, disk)
        assert store.session is not None
        store.session.take()
        store.warnings = warnings + _durability(store.session.connection)
        return store

    @classmethod
    def read(cls, address: Address) -> Self:
        """To look at; of a database without a ledger, too."""
        store = cls(address, None, None, Disk())
        try:
            store._there("reading the ledger")
        except BaseException:
            store.close()
            raise
        return store

    def enter(self, target: Target) -> int:
        assert self.session is not None
        return self.session.target_id

    def reading(self, doing: str, ask: Callable[[Tables], Answer], otherwise: Answer) -> Answer:
        while True:
            connection = self._there(doing)
            if connection is None:
                return otherwise
            self.tables.connection = connection
            try:
                with _undone(connection):
                    connection.execute(_SNAPSHOT)
                    if self.session is None:
                        tune(connection, run=False)
                    answer = ask(self.tables)
                    connection.execute("COMMIT")
                return answer
            except psycopg.Error as error:
                self.tables.forget()
                self._after(doing, error, connection)

    def writing(self, doing: str, work: Callable[[Tables], Answer]) -> Answer:
        if self.session is None:
            raise BugError(f"{doing}: this ledger was opened to read")
        session, collisions = self.session, 0
        while True:
            connection = self.tables.connection = session.connection
            done: list[Answer] = []
            try:
                with _undone(connection), told(doing, self._folder or Path()):
                    connection.execute(_CHANGE)
                    session.begin(doing)
                    done.append(work(self.tables))
                    self._disk.commit(_Commit(connection), doing)
                session.committed()
                return done[0]
            except psycopg.Error as error:
                self.tables.forget()
                collisions += is_collision(error)
                if is_collision(error) and collisions <= _COLLISIONS:
                    continue
                if self._after(doing, error, connection) and done:
                    return done[0]
            except BaseException:
                self.tables.forget()
                session.doubt()
                raise

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
        self._forget_look()

    def _there(self, doing: str) -> psycopg.Connection[Any] | None:
        """The connection to ask; None when there is no ledger yet."""
        if self.session is not None:
            return self.session.connection
        again = self._look is not None
        try:
            if self._look is None or self._look.closed:
                self._look = connect(self._address)
                # A pool may stand between, which knows of no prepared statements.
                self._look.prepare_threshold = None
            return self._look if is_ready(self._look, self._address.shown) else None
        except psycopg.Error as error:
            if again and is_broken(error, self._look):
                self._forget_look()
                return self._there(doing)
            raise trouble(doing, self._address, error) from error

    def _forget_look(self) -> None:
        if self._look is not None:
            with contextlib.suppress(psycopg.Error):
                self._look.close()
        self._look = None

    def _after(self, doing: str, error: psycopg.Error, connection: psycopg.Connection[Any]) -> bool:
        """What comes after a transaction that failed: an error, or a new connection; whether it had gone through."""
        if is_broken(error, connection):
            if self.session is not None:
                return self.session.regain(doing, error)
            self._forget_look()
            self._there(doing)
            return False
        raise trouble(doing, self._address, error) from error


class _Commit:
    """A connection as `Disk` knows one."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, /) -> object:
        return self._connection.execute(statement.encode())


@contextlib.contextmanager
def _undone(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Takes back what fails within."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(psycopg.Error):
            if not connection.closed:
                connection.rollback()
        raise


def _durability(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """What there is to warn of in how the server keeps what it has promised to keep."""
    row = connection.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')").fetchone()
    assert row is not None
    warnings = []
    if row[0] == "off":
        warnings.append("the ledger's server runs with fsync = off: a power cut can cost it the whole ledger")
    elif row[1] == "off":
        warnings.append(
            "the ledger's server commits without waiting for its disk (synchronous_commit = off): the last events "
            "before a crash of it are sent again, under the same ids"
        )
    return tuple(warnings)
