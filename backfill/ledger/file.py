"""The ledger's file and folder: made whole, opened with care, never moved or mended unasked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from backfill.disk import Disk
from backfill.errors import SettingsError, StorageError
from backfill.ledger.accepted import RECENT
from backfill.ledger.lock import network_filesystem
from backfill.ledger.trouble import aside, newer, told, torn

__all__ = ["LEDGER_FILE", "check", "on_network", "open_to_read", "open_to_write", "prepare", "transaction"]

LEDGER_FILE: Final = "ledger.db"

Answer = TypeVar("Answer")

_APPLICATION_ID: Final = int.from_bytes(b"bkfl")

# The version of a ledger is the number of the steps it has been through. A step that was released is never
# edited. `meta` stays in every version: a release that finds a newer ledger reads there which release is
# needed, so each new step sets it.
_SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE targets (
            id INTEGER PRIMARY KEY, base_url TEXT NOT NULL, store TEXT NOT NULL, UNIQUE (base_url, store))""",
        "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT, target INTEGER NOT NULL REFERENCES targets,
            mapping TEXT NOT NULL, folder TEXT NOT NULL, release TEXT NOT NULL,
            host TEXT NOT NULL, pid INTEGER NOT NULL,
            started INTEGER NOT NULL, finished INTEGER, exit_status INTEGER, summary TEXT,
            accepted INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,
            first_accepted INTEGER, last_accepted INTEGER)""",
        # No secondary index and no rowid: 48 bytes an event, and sorted batches touch each page once.
        """CREATE TABLE events (
            target INTEGER NOT NULL, key BLOB NOT NULL, content BLOB NOT NULL, name INTEGER NOT NULL,
            run INTEGER NOT NULL, accepted INTEGER NOT NULL, PRIMARY KEY (target, key)) WITHOUT ROWID""",
        """CREATE TABLE refusals (
            target INTEGER NOT NULL, key BLOB NOT NULL, status INTEGER NOT NULL, title TEXT NOT NULL,
            detail TEXT NOT NULL, PRIMARY KEY (target, key)) WITHOUT ROWID""",
        """CREATE TABLE identities (
            target INTEGER NOT NULL, mapping TEXT NOT NULL, fingerprint TEXT NOT NULL,
            PRIMARY KEY (target, mapping)) WITHOUT ROWID""",
        # The first release that can use a ledger of this version.
        "INSERT INTO meta VALUES ('release', '0.1.0')",
    ),
    (
        # `events` holds accepted events only from here on, and `log` those that came last: see `accepted`.
        """CREATE TABLE log (
            id INTEGER PRIMARY KEY AUTOINCREMENT, target INTEGER NOT NULL, name INTEGER NOT NULL,
            run INTEGER NOT NULL, events INTEGER NOT NULL, entries BLOB NOT NULL)""",
        # What `events` and `log` hold: to count 50 M takes 15 s.
        """CREATE TABLE counts (
            target INTEGER NOT NULL, name INTEGER NOT NULL, accepted INTEGER NOT NULL,
            PRIMARY KEY (target, name)) WITHOUT ROWID""",
        "ALTER TABLE refusals ADD COLUMN content BLOB",
        """UPDATE refusals SET content = (
            SELECT content FROM events WHERE events.target = refusals.target AND events.key = refusals.key)""",
        "DELETE FROM events WHERE accepted = 0 AND (target, key) IN (SELECT target, key FROM refusals)",
        """CREATE TABLE files (
            target INTEGER NOT NULL, mapping TEXT NOT NULL, file TEXT NOT NULL, record TEXT NOT NULL,
            PRIMARY KEY (target, mapping, file)) WITHOUT ROWID""",
        # Each run writes it down again, so that a log of another ledger shows: see `check`.
        "INSERT INTO meta VALUES ('ledger', hex(randomblob(8)))",
        "ALTER TABLE runs ADD COLUMN ledger TEXT",
        "UPDATE meta SET value = '0.2.0' WHERE key = 'release'",
    ),
    (
        """CREATE TABLE marks (
            target INTEGER NOT NULL, mapping TEXT NOT NULL, mark TEXT NOT NULL,
            PRIMARY KEY (target, mapping)) WITHOUT ROWID""",
    ),
)

# So that who looks at an older ledger, which is not upgraded for it, can ask as of one of today.
_VERSION_2_AS_NOW: Final = ("CREATE TEMP TABLE marks (target, mapping, mark)",)
_VERSION_1_AS_NOW: Final = (
    *_VERSION_2_AS_NOW,
    "CREATE TEMP VIEW events AS SELECT * FROM main.events WHERE accepted = 1",
    """CREATE TEMP VIEW refusals AS
        SELECT refusals.*, content FROM main.refusals JOIN main.events USING (target, key)""",
    "CREATE TEMP VIEW counts AS SELECT target, name, count(*) AS accepted FROM events GROUP BY target, name",
    "CREATE TEMP TABLE log (id INTEGER PRIMARY KEY, target, name, run, events, entries)",
    "CREATE TEMP TABLE files (target, mapping, file, record)",
)

_FOREIGN: Final = "SELECT 1 FROM runs WHERE ledger <> (SELECT value FROM meta WHERE key = 'ledger') LIMIT 1"

# Seconds. The writer meets others only while a reader rebuilds the index of a WAL that a killed run left
# behind.
_PATIENCE: Final = 5.0


# A ledger of up to 5 M events is read whole when it is opened.
_CHECKED_BYTES: Final = 256_000_000


def _is_ours(path: Path) -> bool:
    return path.name.startswith("ledger.") or path.name in {"runs", "lost+found"}


def prepare(folder: Path, disk: Disk, *, holds_ledger: bool = True) -> tuple[str, ...]:
    """Makes the state folder, for its owner's eyes only; gives what there is to warn of."""
    with told("making the state folder", folder):
        disk.make_folder(folder)
        found = folder.stat()
        warnings = list(on_network(folder)) if holds_ledger else []
        me = os.geteuid()
        # Whoever owns the folder can put links in it. Root's is trusted (mounted volumes are); root may use
        # any.
        if me not in (0, found.st_uid) and found.st_uid != 0:
            raise SettingsError(
                f"the state folder {folder} belongs to another user (uid {found.st_uid})",
                hint="Name a folder of your own with --state or BACKFILL_STATE.",
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            # Only a folder that holds nothing but ours: `--state /tmp` must not close /tmp to everybody.
            if found.st_uid == me and all(map(_is_ours, folder.iterdir())):
                folder.chmod(0o700)
            else:
                warnings.append(f"others can list the state folder {folder}, though not read its files: chmod 700")
    return tuple(warnings)


def open_to_write(path: Path, disk: Disk) -> sqlite3.Connection:
    """The one writing connection, to a ledger that is made when there is none; the caller holds the lock."""
    with told("opening the ledger", path):
        if not _is_there(path):
            _create(path, disk)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)  # SQLite gives -wal and -shm the same
        # Looked at read-only first: whatever is refused here stays as it was, its -wal too.
        with contextlib.closing(_connect(path, "mode=ro")) as look:
            version = _version(look, path)
            # SQLite reads the missing rest of a last page as zeros.
            (page,) = look.execute("PRAGMA page_size").fetchone()
            if _size(path) % page and not _size(_wal(path)):
                raise torn("opening the ledger", path, "its end is cut off")
            # Pages that were overwritten, or an older copy put under a newer log, are no error until a look-up meets
            # them: see it before sending. (0.1 s for 1 M events.) Of a large ledger that was closed well, the look-ups
            # have to do: a nightly run must not read 50 M events first.
            if _size(_wal(path)) or _size(path) < _CHECKED_BYTES:
                check(look, path)
        connection = _connect(path, "mode=rw")
        if version < len(_SCHEMA):
            try:
                _upgrade(connection, version, disk)
            except BaseException:
                connection.close()
                raise
        return connection


def open_to_read(path: Path) -> sqlite3.Connection | None:
    """A connection that can neither write nor checkpoint (see `_connect`), or None when there is no ledger."""
    with told("reading the ledger", path):
        if not _is_there(path):
            return None
        # On a disk that can't be written (a snapshot, a backup) SQLite can't share an index of the log with a
        # writer, and with an empty log needs none.
        alone = not os.access(path.parent, os.W_OK) and not _size(_wal(path))
        connection = _connect(path, "mode=ro&immutable=1" if alone else "mode=ro")
        try:
            for statement in {1: _VERSION_1_AS_NOW, 2: _VERSION_2_AS_NOW}.get(_version(connection, path), ()):
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection


def on_network(folder: Path) -> tuple[str, ...]:
    """What there is to warn of where the folder's disk is another machine's."""
    kind = network_filesystem(folder)
    if kind is None:
        return ()
    warning = (
        f"the state folder {folder} is on a network file system ({kind}): its lock may not hold off other "
        "hosts, and a broken connection can cost the ledger; --state names a folder on a local disk"
    )
    return (warning,)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_there(path: Path) -> bool:
    """Whether there is a ledger; raises StorageError for one that SQLite would take for new, or follow
    elsewhere.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(
            f"opening the ledger {path}: it is not a regular file",
            hint="A link to the folder is fine, one in its place is not: move it aside by hand.",
        )
    if found.st_size == 0:
        # Ours is put in place whole, so it is never empty; SQLite would make a new one of it, and drop its
        # -wal.
        raise torn("opening the ledger", path, "it is empty")
    return True


def _create(path: Path, disk: Disk) -> None:
    """Puts an empty ledger in place, whole or not at all: a reader never sees half of one."""
    if _size(_wal(path)):
        # SQLite would write it over the new ledger, page by page.
        raise StorageError(
            f"making the ledger {path}: {_wal(path).name} of another ledger is still there",
            hint=f"Move {_wal(path).name} aside by hand, to where its {path.name} went.",
        )
    for leftover in (_wal(path), path.with_name(path.name + "-shm")):
        leftover.unlink(missing_ok=True)
    new = path.with_name(path.name + ".new")
    for leftover in (new, *(new.with_name(new.name + suffix) for suffix in ("-journal", "-wal", "-shm"))):
        leftover.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    connection = _connect(new, "mode=rw")
    try:
        _upgrade(connection, 0, disk)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    finally:
        connection.close()
    if mode != "wal":
        raise StorageError(
            f"making the ledger {path}: this file system can't hold a write-ahead log",
            hint="Name a folder on a local disk with --state or BACKFILL_STATE.",
        )
    disk.rename(new, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _upgrade(connection: sqlite3.Connection, version: int, disk: Disk) -> None:
    # The steps and their record go together: a kill leaves the old version or the new one.
    def steps() -> None:
        for step in _SCHEMA[version:]:
            for statement in step:
                connection.execute(statement)
        if version == 1:
            # Counted here: GROUP BY would sort all events first.
            counts = Counter(connection.execute("SELECT target, name FROM events"))
            connection.executemany("INSERT INTO counts VALUES (?, ?, ?)", [(*one, n) for one, n in counts.items()])
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(_SCHEMA)}")

    transaction(connection, steps, lambda: disk.commit(connection, "making the ledger"))


def transaction(
    connection: sqlite3.Connection, work: Callable[[], Answer], commit: Callable[[], object] | None = None
) -> Answer:
    """What `work` gives: all that it does is one snapshot, which `commit` keeps whole; without one nothing changes."""
    # By hand: Python's own transactions begin late, and leave one open when COMMIT fails on a full disk. And no
    # context manager: Ctrl-C may come on the way into it, after BEGIN, where nothing takes back what was begun.
    try:
        # IMMEDIATE: what stands in the way of writing shows before any work is done.
        connection.execute("BEGIN IMMEDIATE" if commit else "BEGIN")
        answer = work()
        if commit:
            commit()
        else:
            connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors (full, I/O); what it says then is no news.
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise
    return answer


def _connect(path: Path, how: str) -> sqlite3.Connection:
    """A connection that never makes a file; `how` is the query of an SQLite URI."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,  # transactions are begun and ended by `transaction`
        check_same_thread=False,  # Ledger._turn lets in one thread at a time
    )
    try:
        connection.execute("PRAGMA temp_store = MEMORY")  # nothing of it in /tmp
        connection.execute(RECENT)
        if how == "mode=rw":
            connection.execute("PRAGMA synchronous = NORMAL")
            # Some builds write zeros over what is deleted: the log's pages twice, for digests.
            connection.execute("PRAGMA secure_delete = 0")
            # 16 MB: with four times as much a ledger of 1 M events was no faster, the system having its pages too.
            connection.execute("PRAGMA cache_size = -16384")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")  # 16 MB
        else:
            connection.set_authorizer(_no_checkpoint)
    except BaseException:
        connection.close()
        raise
    return connection


def _no_checkpoint(action: int, what: str | None, *_more: str | None) -> int:
    """Whether a reader may do this: read-only as it is, SQLite would still let it reset a log that is folded in."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_PRAGMA and what == "wal_checkpoint" else sqlite3.SQLITE_OK


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Reads all of it; raises StorageError for one that is torn."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise torn("checking the ledger", path, str(verdict).removeprefix("*** in database main ***\n"))
    if _version(connection, path) > 1 and connection.execute(_FOREIGN).fetchone():
        raise torn("checking the ledger", path, f"{_wal(path).name} is of another ledger")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The ledger's version; raises StorageError for what is no ledger, SettingsError for one of a newer
    release.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        raise StorageError(f"opening the ledger {path}: it is another program's database", hint=aside(path))
    if version > len(_SCHEMA):
        row = connection.execute("SELECT value FROM meta WHERE key = 'release'").fetchone()
        raise newer(str(path), version, len(_SCHEMA), row[0] if row else None)
    return int(version)
