"""What the sandbox keeps: every event it took, in order of arrival, duplicates too, in SQLite."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson

from backfill.sandbox.answers import to_json
from backfill.sandbox.judge import Json, Taken, is_unset
from backfill.sandbox.kept import Batch, Counts, KeptRefusal, Refusal, Stored, StoreError
from backfill.sandbox.schema import MAX_BULK_EVENTS

# Marks the file as a sandbox's, so that no other database is written to by mistake ("bfsb").
_APPLICATION_ID = 0x62667362
_VERSION = 1
_PAGE = 1000
# Of what was refused, examples are kept: so many for a reason and in all, and no more of each than this.
_MAX_ALIKE = 10
_MAX_REFUSED = 2000
_MAX_REFUSED_TEXT = 20_000

_SCHEMA = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    store TEXT NOT NULL,
    unique_id TEXT,
    name TEXT NOT NULL,
    duplicate INTEGER NOT NULL,
    differs INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    digest BLOB NOT NULL,
    body TEXT NOT NULL,
    bulk INTEGER
);
CREATE UNIQUE INDEX first_of_id ON events (store, unique_id) WHERE duplicate = 0 AND unique_id IS NOT NULL;
"""
# Came later: an older file gets it when it is opened, and an older release does not mind it.
_REFUSED = """
CREATE TABLE IF NOT EXISTS refused (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    store TEXT NOT NULL,
    name TEXT,
    bulk INTEGER NOT NULL,
    reasons TEXT NOT NULL,
    body TEXT NOT NULL
)
"""


class Store:
    """The events of all stores. Safe to use from any thread; a call blocks for as long as SQLite takes."""

    def __init__(self, path: Path | None) -> None:
        """Open or create the database; StoreError when it is none, or another program's."""
        self._path = path
        # One connection under one lock serves the writer and the readers, in memory and on disk alike.
        self._lock = threading.RLock()
        self.counts = Counts()
        self.names: Counter[str] = Counter()
        self._alike: Counter[str] = Counter()
        self._resets = 0
        if path is not None and not path.exists():
            # The events name customers: the file is for its owner's eyes, whatever the umask says.
            try:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            except OSError as error:
                raise StoreError(f"cannot create the sandbox's database {path}: {error.strerror}") from error
        try:
            self._db = sqlite3.connect(
                path if path is not None else ":memory:", isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StoreError(f"cannot open the sandbox's database {path}: {error}") from error
        try:
            self._prepare()
            self._recount()
        except sqlite3.Error as error:
            self._db.close()
            raise StoreError(f"cannot use {path} as the sandbox's database: {error}") from error
        except StoreError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the database; what was added stays in the file."""
        with self._lock:
            self._db.close()

    def add(self, batches: Sequence[Batch]) -> list[list[int]]:
        """Keep all events of all batches in one commit; the seq of each, in order. Raises StoreError.

        The commit reaches the operating system before this returns: kill -9 loses nothing, a power cut may.
        """
        with self._lock:
            try:
                with self._transaction():
                    kept = [[self._add(batch, event) for event in batch.events] for batch in batches]
                    for batch in batches:
                        if batch.refused:
                            self._add_refused(batch)
            except sqlite3.Error as error:
                raise StoreError(f"the sandbox's database takes no more events: {error}") from error
            for batch, rows in zip(batches, kept, strict=True):
                for event, (_, duplicate, differs) in zip(batch.events, rows, strict=True):
                    self._count(event.name, event.unique_id is not None, duplicate, differs, event.dropped)
            return [[seq for seq, _, _ in rows] for rows in kept]

    def events(
        self,
        *,
        after: int = 0,
        limit: int | None = None,
        store: str | None = None,
        event_name: str | None = None,
        duplicates: bool | None = None,
    ) -> Iterator[Stored]:
        """Events with seq > `after` in order of arrival; `duplicates` False: without, True: only them."""
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            with self._lock:
                rows = self._db.execute(_SELECT, (after, store, event_name, duplicates, size)).fetchall()
            yield from map(_stored, rows)
            if len(rows) < size:
                return
            after = rows[-1][0]
            left = None if left is None else left - size

    def last(self, count: int) -> list[Stored]:
        """The newest `count` events, newest first."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM events ORDER BY seq DESC LIMIT ?",  # noqa: S608 - constants only
                (count,),
            ).fetchall()
        return [_stored(row) for row in rows]

    def some(self, seqs: Sequence[int]) -> list[Stored]:
        """The events with these seqs, in this order; one that is not there is left out."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM events WHERE seq IN (SELECT value FROM json_each(?))",  # noqa: S608
                (json.dumps(list(seqs)),),
            ).fetchall()
        found = {row[0]: row for row in rows}
        return [_stored(found[seq]) for seq in seqs if seq in found]

    def request_of(self, seq: int) -> tuple[int, int]:
        """The first and the last seq of the events that came in one request with this one."""
        with self._lock:
            row = self._db.execute(
                "SELECT min(o.seq), max(o.seq) FROM events e JOIN events o"
                " ON o.seq BETWEEN e.seq - ?2 AND e.seq + ?2 AND o.at = e.at AND o.store = e.store"
                " AND (e.bulk IS NULL OR e.bulk AND o.bulk OR o.seq = e.seq) WHERE e.seq = ?1",
                (seq, MAX_BULK_EVENTS),
            ).fetchone()
        return row[0] or seq, row[1] or seq

    def outline(self, after: int, limit: int) -> tuple[int, str]:
        """What an index needs of the events past `after`, as one JSON array; and how often all was forgotten.

        Each is [seq, at, store, name, 0 stored | 1 duplicate | 2 with other content, the first one's seq,
        [eventTimestamp, customer's id, email, phoneNumber, firstName, lastName, value, valueCurrency],
        [[key, value], ...] for what in `data` counts as unset, or null].
        One step of SQLite makes it, outside Python: requests are not kept waiting row by row.
        """
        with self._lock:
            return self._resets, self._db.execute(_OUTLINE, (after, limit)).fetchone()[0]

    def customer_parts(self, seqs: Sequence[int]) -> list[dict[str, Any]]:
        """`customer` of the events with these seqs, in order of arrival."""
        with self._lock:
            (text,) = self._db.execute(_CUSTOMERS, (json.dumps(list(seqs)),)).fetchone()
        parts: list[dict[str, Any]] = orjson.loads(text)
        return parts

    def newest_seq(self) -> int:
        """The seq of the newest event, 0 when there is none."""
        with self._lock:
            return cast(int, self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])

    def wants(self, reasons: Sequence[str]) -> bool:
        """Whether an example of a refusal for these reasons is still to be kept."""
        return self._alike.total() < _MAX_REFUSED and any(self._alike[reason] < _MAX_ALIKE for reason in reasons)

    def refused(self) -> list[KeptRefusal]:
        """The examples of what was refused, in order of arrival."""
        with self._lock:
            rows = self._db.execute(
                "SELECT number, at, store, name, bulk, reasons, body FROM refused ORDER BY number"
            ).fetchall()
        return [
            KeptRefusal(number, at, store, Refusal(name, bool(bulk), tuple(orjson.loads(reasons)), body))
            for number, at, store, name, bulk, reasons, body in rows
        ]

    def ids(self, store: str | None = None) -> set[str]:
        """The distinct uniqueIds that were taken, in one store or in all."""
        with self._lock:
            rows = self._db.execute(
                "SELECT DISTINCT unique_id FROM events"
                " WHERE duplicate = 0 AND unique_id IS NOT NULL AND (?1 IS NULL OR store = ?1)",
                (store,),
            ).fetchall()
        return {row[0] for row in rows}

    def tally(self) -> tuple[Counts, dict[str, int]]:
        """The counts now, and the stored events by name."""
        with self._lock:
            return Counts(**vars(self.counts)), dict(self.names)

    def reset(self) -> None:
        """Forget every event."""
        with self._lock:
            with self._transaction():
                self._db.execute("DELETE FROM events")
                self._db.execute("DELETE FROM refused")
            self._resets += 1
            self._recount()

    def _add(self, batch: Batch, event: Taken) -> tuple[int, bool, bool]:
        """Insert one event: its seq, whether it is a duplicate, and whether its content differs."""
        row = [batch.at, batch.store, event.unique_id, event.name, 0, 0, event.dropped, event.digest]
        row += event.body.decode("utf-8"), batch.bulk
        # Most ids are new: to insert first and look only on a conflict is one statement for each event.
        cursor = self._db.execute(f"{_INSERT} ON CONFLICT DO NOTHING", row)
        duplicate = cursor.rowcount == 0
        differs = False
        if duplicate:
            (first,) = self._db.execute(
                "SELECT digest FROM events"
                " WHERE store = ? AND unique_id = ? AND duplicate = 0 AND unique_id IS NOT NULL",
                (batch.store, event.unique_id),
            ).fetchone()
            differs = first != event.digest
            row[4:6] = 1, int(differs)
            cursor = self._db.execute(_INSERT, row)
        return cast(int, cursor.lastrowid), duplicate, differs

    def _add_refused(self, batch: Batch) -> None:
        for refusal in batch.refused:
            if self.wants(refusal.reasons):
                reasons = to_json(refusal.reasons).decode()
                body = refusal.body[:_MAX_REFUSED_TEXT].encode("utf-8", "replace").decode()
                name = refusal.name and refusal.name.encode("utf-8", "replace").decode()
                row = (batch.at, batch.store, name, refusal.bulk, reasons, body)
                self._db.execute(
                    "INSERT INTO refused (at, store, name, bulk, reasons, body) VALUES (?, ?, ?, ?, ?, ?)", row
                )
                self._alike.update(refusal.reasons)

    def _count(self, name: str, has_id: bool, duplicate: bool, differs: bool, dropped: int, n: int = 1) -> None:
        if duplicate:
            self.counts.duplicates += n
            self.counts.differing += n * differs
            return
        self.counts.stored += n
        self.counts.ids += n * has_id
        self.counts.dropped_values += dropped
        self.names[name] += n

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of the block or none of it: of a request that is half kept, any answer would be a lie."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 5000")
        found = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        empty = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if not empty and found != _APPLICATION_ID:
            raise StoreError(f"{self._path} is a database of another program; give the sandbox a file of its own")
        if not empty and version != _VERSION:
            raise StoreError(f"{self._path} was written by another release of the sandbox; delete it to start anew")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if empty:
            self._db.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION}; COMMIT;"
            )
        self._db.execute(_REFUSED)
        if not self._db.execute("SELECT 1 FROM pragma_table_info('events') WHERE name = 'bulk'").fetchone():
            # So did this, which an older release does not mind either.
            self._db.execute("ALTER TABLE events ADD COLUMN bulk INTEGER")

    def _recount(self) -> None:
        self.counts, self.names = Counts(), Counter()
        self._alike = Counter()
        for (reasons,) in self._db.execute("SELECT reasons FROM refused"):
            self._alike.update(orjson.loads(reasons))
        groups = self._db.execute(
            "SELECT name, unique_id IS NOT NULL, duplicate, differs, sum(dropped), count(*)"
            " FROM events GROUP BY 1, 2, 3, 4"
        )
        for name, has_id, duplicate, differs, dropped, n in groups:
            self._count(name, has_id, duplicate, differs, dropped, n)


_COLUMNS = "seq, at, store, unique_id, name, duplicate, differs, body, bulk"
_SELECT = (
    f"SELECT {_COLUMNS} FROM events WHERE seq > ?1 AND (?2 IS NULL OR store = ?2)"  # noqa: S608 - constants
    " AND (?3 IS NULL OR name = ?3) AND (?4 IS NULL OR duplicate = ?4) ORDER BY seq LIMIT ?5"
)
_OUTLINE = """
SELECT coalesce(json_group_array(json_array(
    seq, at, store, name, duplicate + differs,
    CASE WHEN duplicate THEN (
        SELECT f.seq FROM events f
        WHERE f.store = e.store AND f.unique_id = e.unique_id AND f.duplicate = 0 AND f.unique_id IS NOT NULL
    ) END,
    json_extract(body, '$.eventTimestamp', '$.customer.id', '$.customer.email', '$.customer.phoneNumber',
                 '$.customer.firstName', '$.customer.lastName', '$.value', '$.valueCurrency'),
    CASE WHEN dropped AND NOT duplicate THEN (
        SELECT json_group_array(json_array(key, atom)) FROM json_each(e.body, '$.data')
        WHERE type = 'null' OR atom = '' OR type IN ('integer', 'real') AND atom = 0
    ) END
)), '[]') FROM (SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?) e
"""
_CUSTOMERS = """
SELECT json_group_array(json(part)) FROM (
    SELECT json_extract(body, '$.customer') part FROM events WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq
)
"""
_INSERT = (
    "INSERT INTO events (at, store, unique_id, name, duplicate, differs, dropped, digest, body, bulk)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _stored(row: tuple[Any, ...]) -> Stored:
    seq, at, store, unique_id, name, duplicate, differs, body, bulk = row
    event: dict[str, Any] = orjson.loads(body)
    dropped: dict[str, Json] = {}
    if "data" in event:
        dropped = {key: value for key, value in event["data"].items() if is_unset(value)}
        event["data"] = {key: value for key, value in event["data"].items() if key not in dropped}
    arrival = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Stored(
        seq=seq,
        at=at,
        store=store,
        unique_id=unique_id,
        name=name,
        timestamp=event.get("eventTimestamp", arrival),
        duplicate=bool(duplicate),
        differs=bool(differs),
        event=event,
        dropped=dropped,
        bulk=None if bulk is None else bool(bulk),
    )
