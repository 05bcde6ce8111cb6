"""What the user reads when the server fails: what was done, where, why, and what to do; and what is worth a retry."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import errors

from backfill.errors import StorageError
from backfill.ledger.postgres.address import Address

__all__ = ["GRANTS", "is_broken", "is_collision", "pooled", "taken_over", "trouble"]

_AGAIN: Final = "and run again: what is recorded is kept, and events that are not go again under the same ids."
GRANTS: Final = (
    "As the database's owner: GRANT CREATE ON DATABASE … TO …; or make the schema for it: CREATE SCHEMA backfill "
    "AUTHORIZATION …. All runs take one role; who only asks for the status needs GRANT USAGE ON SCHEMA backfill and "
    "GRANT SELECT ON ALL TABLES IN SCHEMA backfill."
)
_POOLED: Final = (
    "The lock of a run is its session's, which a pool in transaction mode hands to others. Name the server itself, or "
    "a pool in session mode."
)


def is_broken(error: psycopg.Error, connection: psycopg.Connection[Any] | None) -> bool:
    """Whether the connection is lost, or the server no longer the one that takes writes: to be tried with a new one."""
    if connection is None or connection.closed or connection.broken:
        return True
    return isinstance(
        error,
        errors.AdminShutdown | errors.CrashShutdown | errors.CannotConnectNow | errors.ReadOnlySqlTransaction
        | errors.IdleSessionTimeout | errors.IdleInTransactionSessionTimeout,
    )  # fmt: skip


def is_collision(error: psycopg.Error) -> bool:
    """Whether another session was in the way: the same again will do."""
    return isinstance(error, errors.DeadlockDetected | errors.SerializationFailure | errors.LockNotAvailable)


def trouble(doing: str, address: Address, error: psycopg.Error) -> Exception:
    """A StorageError for what the server's owner can mend; the error itself for what is a bug of ours."""
    match error:
        case errors.InsufficientPrivilege():
            hint = GRANTS
        case errors.TooManyConnections():
            hint = f"Raise the server's max_connections: a run holds one for each of its stores, {_AGAIN}"
        case errors.DiskFull() | errors.OutOfMemory() | errors.InsufficientResources():
            hint = f"Make room on the server, {_AGAIN}"
        case errors.DataCorrupted() | errors.IndexCorrupted() | errors.IoError():
            hint = f"See to the server's disk, restore the database from a backup if it is damaged, {_AGAIN}"
        case errors.LockNotAvailable():
            hint = f"Another session holds a lock on the ledger's tables: end it, {_AGAIN}"
        case errors.ReadOnlySqlTransaction():
            hint = f"The server takes no writes, as a standby or a full one does: name the one that does, {_AGAIN}"
        case errors.UndefinedTable() | errors.UndefinedColumn():
            hint = "Something in the schema `backfill` was dropped by hand. Restore the database from a backup."
        case errors.QueryCanceled() | errors.ObjectNotInPrerequisiteState():
            hint = f"Someone stopped it: run it {_AGAIN[4:]}"
        case errors.OperationalError() | errors.InterfaceError():
            hint = (
                "See that the server runs, that this host reaches it, that database and role are there and the "
                f"password is right (psql with the same URL tells), {_AGAIN}"
            )
        case _:
            return error
    words = address.without_secrets(" ".join(str(error).split()))
    code = f" ({error.sqlstate})" if error.sqlstate else ""
    return StorageError(f"{doing} in {address.shown}: {words or type(error).__name__}{code}", hint=hint)


def pooled(doing: str, address: Address) -> StorageError:
    """The error for a connection pool that would share the lock."""
    return StorageError(f"{doing} in {address.shown}: a connection pool hands this session to others", hint=_POOLED)


def taken_over(doing: str, address: Address, who: str) -> StorageError:
    """The error for a lock that another run has got since."""
    return StorageError(
        f"{doing} in {address.shown}: the connection was lost, and with it the lock, which {who} has taken since",
        hint="When no other run of this store goes on, run again: what is recorded is kept.",
    )
