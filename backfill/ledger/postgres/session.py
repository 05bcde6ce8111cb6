"""A connection to the ledger's server and, for a run, the lock on its target.

The lock is an advisory one of the session: it is there for as long as the server sees the connection, and nothing is
left behind by a run that was killed. It is one lock a target, so that many stores run side by side on one server.

`holders` names who has it, under a token of the run's own. Each transaction that writes begins with that row, and goes
on only as its holder, in the session that took the lock; in doing so it counts, so that after a connection that broke
at a commit it is known whether that went through. So a run goes on over a restart of the server, for a minute, unless
another run has had the lock meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from backfill.errors import LockedError, StorageError
from backfill.ledger.entries import Target
from backfill.ledger.lock import Holder, taken
from backfill.ledger.postgres.address import Address
from backfill.ledger.postgres.packed import register
from backfill.ledger.postgres.schema import LOCKS, enter, upgrade
from backfill.ledger.postgres.trouble import pooled, taken_over, trouble

__all__ = ["LIVE", "PATIENCE", "Clock", "Session", "connect", "tune"]

# Seconds that a run waits for a server that has gone: a restart, or a standby that takes over.
PATIENCE: Final = 60.0
_PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
# Seconds until who comes second is turned away: a holder writes its name after it has the lock. One that is known to be
# gone is given longer, because the server will see it in a moment.
_NAMED_WITHIN: Final = 0.4
_GONE_WITHIN: Final = 5.0

# A look-up by key goes by the index, whatever the planner thinks of a partition that was empty a minute ago.
_PLANNER: Final = {"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off", "jit": "off"}
# Of a run's session, whatever the server or the role has for others: a lock must not end because a file was long to
# read, and must not stay because its host vanished unseen.
_LASTING: Final = {
    "statement_timeout": "0",
    "lock_timeout": "60s",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

_MINE: Final = "backfill.session"

# Who has the lock on a target, in words and in numbers.
LIVE: Final = f"""SELECT h.target, h.run, h.token, h.host, h.pid, h.since, h.command FROM backfill.holders AS h
    JOIN pg_locks AS l ON l.locktype = 'advisory' AND l.granted AND l.classid = {LOCKS} AND l.objid = h.target::oid
    AND l.objsubid = 2 AND l.pid = h.backend
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""  # noqa: S608 (constants)
_HOLD: Final = """INSERT INTO backfill.holders (target, token, backend, host, pid, since, command, commits)
    VALUES (%s, %s, pg_backend_pid(), %s, %s, %s, %s, 0)
    ON CONFLICT (target) DO UPDATE SET token = excluded.token, backend = excluded.backend, host = excluded.host,
    pid = excluded.pid, since = excluded.since, command = excluded.command, commits = 0, run = NULL"""
_GO_ON: Final = """UPDATE backfill.holders SET commits = %(number)s WHERE target = %(target)s AND token = %(token)s
    AND commits = %(number)s - 1 AND backend = pg_backend_pid()
    AND current_setting('backfill.session', true) = %(token)s"""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, as a test may want it."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def connect(address: Address) -> psycopg.Connection[Any]:
    """A connection on which transactions are begun and ended by hand. Raises psycopg.Error."""
    connection = psycopg.connect(**address.parameters, autocommit=True)
    try:
        register(connection)
    except BaseException:
        connection.close()
        raise
    _open.add(connection)
    return connection


def tune(connection: psycopg.Connection[Any], *, run: bool) -> None:
    """Settings of our own: for the session of a run, or within a transaction of who only asks.

    A pool may give that one's session to another program.
    """
    own = {**_PLANNER, **(_LASTING if run else {})}
    # Not all are known to each release of the server.
    connection.execute(
        "SELECT set_config(name, setting, %s) FROM unnest(%s::text[], %s::text[]) AS own (name, setting) "
        "WHERE name IN (SELECT name FROM pg_settings)",
        (not run, list(own), list(own.values())),
    )


class Session:
    """The connection of a run: it has the lock on its target from `take` to `close`."""

    def __init__(self, address: Address, target: Target, clock: Clock | None = None) -> None:
        self.address = address
        self.target_id = 0
        self._target = target
        self._clock = clock or Clock()
        self._token = secrets.token_hex(16)
        self._commits = 0
        self._connection: psycopg.Connection[Any] | None = None
        self._backend = 0
        self._in_doubt = False
        self._patience = PATIENCE

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The one that holds the lock, or held it last."""
        assert self._connection is not None
        return self._connection

    def take(self) -> None:
        """Connects, makes what is missing, and takes the lock. Raises LockedError within a second, StorageError."""
        doing = "opening the ledger"
        try:
            self._connection = connection = connect(self.address)
            self._refuse_pool(doing, connection)
            tune(connection, run=True)
            upgrade(connection, self.address.shown)
            self.target_id = enter(connection, self._target)
            self._lock(connection)
            me = Holder.this_process()
            connection.execute(_HOLD, (self.target_id, self._token, me.host, me.pid, me.since, me.command))
            self._mark(connection)
        except psycopg.Error as error:
            self.close()
            raise trouble(doing, self.address, error) from error
        except BaseException:
            self.close()
            raise

    def begin(self, doing: str) -> None:
        """The first step of each transaction that writes: only the lock's holder gets beyond it."""
        if self._in_doubt:
            row = self.connection.execute(
                "SELECT commits FROM backfill.holders WHERE target = %s AND token = %s", (self.target_id, self._token)
            ).fetchone()
            self._commits = int(row[0]) if row else self._commits
            self._in_doubt = False
        values = {"number": self._commits + 1, "target": self.target_id, "token": self._token}
        if self.connection.execute(_GO_ON, values).rowcount == 1:
            return
        found = self.connection.execute(
            "SELECT token, host, pid FROM backfill.holders WHERE target = %s", (self.target_id,)
        ).fetchone()
        if found is not None and found[0] == self._token:
            raise pooled(doing, self.address)
        raise taken_over(doing, self.address, _who(found))

    def committed(self) -> None:
        """The transaction that was begun has gone through."""
        self._commits += 1

    def doubt(self) -> None:
        """The transaction that was begun was interrupted, and may have gone through."""
        self._in_doubt = True

    def regain(self, doing: str, error: psycopg.Error) -> bool:
        """After a connection that broke: a new one, with the lock; whether the transaction had gone through.

        Raises StorageError when the server is not there again in time, or another run has had the lock.
        """
        until = self._clock.now() + self._patience
        tries = 0
        while True:
            try:
                kept = self._try_again(doing)
            except psycopg.Error as again:
                error = again if isinstance(again, psycopg.OperationalError) else error
                kept = None
            if kept is not None:
                break
            if self._clock.now() > until:
                lost = f"{doing}, {self._patience:g} s after the connection was lost"
                # What is written at the end of the run has not to wait once more.
                self._patience = 0.0
                raise trouble(lost, self.address, error) from error
            self._clock.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1
        if kept < self._commits:
            raise StorageError(
                f"{doing} in {self.address.shown}: the server has forgotten the last {self._commits - kept} commits",
                hint="It was restored or another took over that had not got them yet. Run again: their events go again "
                "under the same ids.",
            )
        if kept == self._commits:
            return False
        self._commits = kept
        return True

    def close(self) -> None:
        """Gives the lock back."""
        if self._connection is None:
            return
        with contextlib.suppress(psycopg.Error):
            if not self._connection.closed:
                # By itself, so that it is free when this returns: the end of a session takes the server a moment.
                self._connection.execute("SELECT pg_advisory_unlock_all(), set_config(%s, '', false)", (_MINE,))
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            _open.discard(self._connection)
            with contextlib.suppress(psycopg.Error):
                self._connection.close()

    def _mark(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute("SELECT pg_backend_pid(), set_config(%s, %s, false)", (_MINE, self._token)).fetchone()
        assert row is not None
        self._backend = int(row[0])

    def _try(self, connection: psycopg.Connection[Any]) -> bool:
        got = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCKS, self.target_id)).fetchone()
        return bool(got and got[0])

    def _lock(self, connection: psycopg.Connection[Any]) -> None:
        began = self._clock.now()
        while not self._try(connection):
            row = connection.execute(f"{LIVE} WHERE h.target = %s".encode(), (self.target_id,)).fetchone()
            named = None if row is None else Holder(row[3], row[4], row[5], row[6])
            waited = self._clock.now() - began
            if waited > (_NAMED_WITHIN if named is None or named.is_alive() else _GONE_WITHIN):
                raise self._taken(named)
            if named is not None and named.is_alive():
                raise self._taken(named)
            self._clock.sleep(0.02)

    def _taken(self, named: Holder | None) -> LockedError:
        where = f"{self.address.shown} for store {self._target.store}"
        return taken(where, named, "The lock goes with its process's connection to the server.")

    def _try_again(self, doing: str) -> int | None:
        """With a new connection and the lock: how many transactions have gone through. None: not yet to be had."""
        self._drop()
        self._connection = connection = connect(self.address)
        tune(connection, run=True)
        state = self._state(doing, connection)
        if not self._try(connection):
            if state[1] == self._backend:
                # The server has not noticed yet that the connection is gone.
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND classid = %s AND objid = %s::integer::oid AND objsubid = 2 AND pid = %s",
                    (LOCKS, self.target_id, self._backend),
                )
            return None
        # Once more, now that nobody else can have it.
        state = self._state(doing, connection)
        connection.execute(
            "UPDATE backfill.holders SET backend = pg_backend_pid() WHERE target = %s AND token = %s",
            (self.target_id, self._token),
        )
        self._mark(connection)
        return int(state[0])

    def _state(self, doing: str, connection: psycopg.Connection[Any]) -> tuple[int, int]:
        row = connection.execute(
            "SELECT token, host, pid, commits, backend FROM backfill.holders WHERE target = %s", (self.target_id,)
        ).fetchone()
        if row is None or row[0] != self._token:
            raise taken_over(doing, self.address, _who(row))
        return int(row[3]), int(row[4])

    def _refuse_pool(self, doing: str, connection: psycopg.Connection[Any]) -> None:
        """A pool in transaction mode gives one session to many: to tell by what another left in it, or by asking."""
        row = connection.execute("SELECT pg_backend_pid(), current_setting(%s, true)", (_MINE,)).fetchone()
        assert row is not None
        backend, left = row
        if left:
            raise pooled(doing, self.address)
        if backend == connection.info.backend_pid:
            return
        # Something stands between. Does it give what is idle here to the next who asks?
        with connect(self.address) as other:
            row = other.execute("SELECT pg_backend_pid()").fetchone()
        _open.discard(other)
        if row is not None and row[0] == backend:
            raise pooled(doing, self.address)


def _who(row: tuple[Any, ...] | None) -> str:
    return "another run" if row is None else f"process {row[2]} on {row[1]}"


_open: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()


def _let_go_in_child() -> None:
    # As with the lock's file: a forked child that kept the socket would keep the session when its parent is killed.
    for connection in list(_open):
        with contextlib.suppress(psycopg.Error, OSError):
            os.close(connection.fileno())


os.register_at_fork(after_in_child=_let_go_in_child)
