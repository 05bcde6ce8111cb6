"""What the user reads when the disk or the database fails: what was done, where, why, and what to do now."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backfill.errors import SettingsError, StorageError

__all__ = ["aside", "newer", "told", "torn"]


def aside(path: Path) -> str:
    """What to do with a ledger that is of no use; nothing of ours does it unasked."""
    return (
        f"Move {path.name}, with {path.name}-wal and {path.name}-shm if they are there, out of {path.parent} "
        "by hand, put a backup of it there if you have one, and run again. Events keep their ids, so those sent twice "
        "are seen once, as long as the API remembers them: without a backup, begin with --limit 1."
    )


def torn(doing: str, path: Path, why: str) -> StorageError:
    """The error for a file that is no ledger, or no more."""
    return StorageError(f"{doing}: {path} is damaged or not a ledger: {why}", hint=aside(path))


def newer(where: str, version: int, known: int, release: str | None) -> SettingsError:
    """The error for a ledger of a release that is not out yet here."""
    return SettingsError(
        f"opening the ledger {where}: it was written by a newer release of backfill "
        f"(version {version} of the ledger, known here up to {known})",
        hint=f"Install {f'release {release} or later' if release else 'a later release'} of backfill. "
        "The ledger was left as it is.",
    )


_ROOM: Final = "and run again: what is recorded is kept, and events that are not go again under the same ids."


@contextlib.contextmanager
def told(doing: str, path: Path) -> Iterator[None]:
    """Turns the disk's and SQLite's errors into a StorageError: what was done, where, why, what to do now."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:  # Python's own, for a wrong use of the database: a bug, not the disk
            raise
        name = error.sqlite_errorname
        match code & 0xFF:
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                raise torn(doing, path, f"{error} ({name})") from error
            case sqlite3.SQLITE_FULL:
                hint = f"Make room on the disk of {path.parent}, {_ROOM}"
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
                hint = f"Let this user write to {path.parent} and its files, or name another by --state, {_ROOM}"
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
                hint = f"Another program has {path.name} open: close it, {_ROOM}"
            case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOLFS:
                hint = f"See to the disk of {path.parent} (room, quota, its health), {_ROOM}"
            case _:
                raise
        raise StorageError(f"{doing} in {path}: {error} ({name})", hint=hint) from error
    except OSError as error:
        where = error.filename or path
        name = errno.errorcode.get(error.errno or 0, "")
        raise StorageError(
            f"{doing} at {where}: {error.strerror or error} ({name})",
            hint=f"See to the disk and permissions of {where}, or name another folder by --state, {_ROOM}",
        ) from error
