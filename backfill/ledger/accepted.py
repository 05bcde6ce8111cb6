"""The accepted events of all targets: in `events`, sorted by key, and those that came last in `log`, as they came.

A commit of 10,000 random keys into 50 M rows writes 10,000 pages (24,000 events/s). So it is appended to `log` as it
is, 32 bytes an event, and what `log` holds is kept at hand in `recent`, a table in memory. When that has grown to
`ROOM`, each commit moves as many as it adds from `recent` to `events`: a slice of the keys, from where the last slice
ended, so that neighbours share a page. Once round, the part of `log` that was there at the begin of the round can go.

A kill loses only `recent`, which the next opening reads from `log`; what had been moved already is then moved again,
to no effect.

Whole batches go in and out as one statement each: `executemany` and rows to fetch give the GIL away and take it back
for each row, which beside a busy thread can take 5 ms each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Final

__all__ = ["EACH", "RECENT", "Accepted", "joined"]

# Some 15 MB in memory. `log` holds up to three times as many, to be read by the next run within a second.
ROOM: Final = 200_000
# Fewer are not moved: what a statement costs should be shared.
_SLICE: Final = 4_000

_START: Final = (0, b"")
_END: Final = (2**63 - 1, b"")

RECENT: Final = """CREATE TEMP TABLE recent (
    target INTEGER NOT NULL, key BLOB NOT NULL, content BLOB NOT NULL, name INTEGER NOT NULL,
    run INTEGER NOT NULL, PRIMARY KEY (target, key)) WITHOUT ROWID"""

# The numbers 0 to ?2, exclusive; there must be one. ?1 is a blob of so many pieces.
EACH: Final = "WITH RECURSIVE each (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM each WHERE i + 1 < ?2)"
# In hexadecimal: what a text aggregate does with the bytes of a blob is another in each release of SQLite.
_FIND: Final = f"""{EACH} SELECT group_concat(hex(key || content), '') FROM each CROSS JOIN {{table}}
    WHERE target = ?3 AND key = substr(?1, 16 * i + 1, 16)"""  # noqa: S608  (it holds constants only)
_TAKE: Final = f"""{EACH} INSERT OR IGNORE INTO recent (target, key, content, name, run)
    SELECT ?3, substr(?1, 32 * i + 1, 16), substr(?1, 32 * i + 17, 16), ?4, ?5 FROM each ORDER BY 2"""  # noqa: S608  (constants)
_LOG: Final = "INSERT INTO log (entries, events, target, name, run) VALUES (?, ?, ?, ?, ?)"
_COUNT: Final = """INSERT INTO counts (target, name, accepted) VALUES (?, ?, ?)
    ON CONFLICT (target, name) DO UPDATE SET accepted = counts.accepted + excluded.accepted"""
_SLICE_END: Final = """SELECT target, key FROM recent WHERE (target, key) > (?, ?)
    ORDER BY target, key LIMIT 1 OFFSET ?"""
_MOVE: Final = """INSERT OR IGNORE INTO events (target, key, content, name, run, accepted)
    SELECT target, key, content, name, run, 1 FROM recent
    WHERE (target, key) > (?, ?) AND (target, key) <= (?, ?) ORDER BY target, key"""
_MOVED: Final = "DELETE FROM recent WHERE (target, key) > (?, ?) AND (target, key) <= (?, ?)"


def joined(keys: Collection[bytes]) -> tuple[bytes, int]:
    """The parameters ?1 and ?2 for EACH; sorted, because neighbours share a page."""
    return b"".join(sorted(keys)), len(keys)


class Accepted:
    """What one connection knows of the accepted events. All its calls are within a transaction.

    After one that was rolled back call `forget`: what is in memory was rolled back with it.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self.forget()

    def forget(self) -> None:
        """Reads `log` anew at the next call."""
        self._first: int | None = -1  # of the ids in `log`; so that all of it is read
        self._last = 0
        self._rows = 0
        self._at = _START
        self._round = 0

    def known(self, connection: sqlite3.Connection, target: int | None, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """The content digests of those keys that were accepted."""
        self._follow(connection)
        found = _found(connection, "events", target, keys)
        if self._rows:
            found |= _found(connection, "recent", target, [key for key in keys if key not in found])
        return found

    def add(
        self, connection: sqlite3.Connection, target: int | None, run: int, entries: Mapping[bytes, tuple[bytes, int]]
    ) -> None:
        """Remembers key -> (content, number of the name); none of them may be known."""
        self._follow(connection)
        by_name: dict[int, list[bytes]] = {}
        for key in sorted(entries):
            content, name = entries[key]
            by_name.setdefault(name, []).append(key + content)
        for name, pairs in by_name.items():
            row = (b"".join(pairs), len(pairs), target, name, run)
            logged = connection.execute(_LOG, row)
            self._last = logged.lastrowid or 0
            self._take(connection, row)
            connection.execute(_COUNT, (target, name, len(pairs)))
        self._first = _ends(connection)[0]
        self._move(connection, len(entries))

    def _follow(self, connection: sqlite3.Connection) -> None:
        """Takes in what `log` has more than before; where its begin was cut off, all of it anew."""
        first, last = _ends(connection)
        if first != self._first:
            connection.execute("DELETE FROM recent")
            self.forget()
            self._first = first
        if last != self._last:
            # Joined, so that one statement sorts and takes all of a run.
            parts: dict[tuple[int, int, int], list[bytes]] = {}
            new = "SELECT target, name, run, entries FROM log WHERE id > ?"
            for target, name, run, entries in connection.execute(new, (self._last,)):
                parts.setdefault((target, name, run), []).append(entries)
            for (target, name, run), entries in parts.items():
                pairs = b"".join(entries)
                self._take(connection, (pairs, len(pairs) // 32, target, name, run))
            self._last = last

    def _take(self, connection: sqlite3.Connection, row: tuple[bytes, int, int | None, int, int]) -> None:
        before = connection.total_changes
        connection.execute(_TAKE, row)
        self._rows += connection.total_changes - before

    def _move(self, connection: sqlite3.Connection, added: int) -> None:
        # Somewhat more than was added, because after a kill there may be more than `room`.
        count = min(self._rows - self._room, 2 * added + _SLICE)
        if count < min(_SLICE, self._room):
            return
        if self._at == _START:
            self._round = self._last
        end = connection.execute(_SLICE_END, (*self._at, count - 1)).fetchone()
        part = (*self._at, *(end or _END))
        connection.execute(_MOVE, part)
        self._rows -= connection.execute(_MOVED, part).rowcount
        self._at = end or _START
        if end is None:
            connection.execute("DELETE FROM log WHERE id <= ?", (self._round,))
            self._first = _ends(connection)[0]


def _found(
    connection: sqlite3.Connection, table: str, target: int | None, keys: Collection[bytes]
) -> dict[bytes, bytes]:
    if not keys:
        return {}
    (pairs,) = connection.execute(_FIND.format(table=table), (*joined(keys), target)).fetchone()
    both = bytes.fromhex(pairs or "")
    return {both[at : at + 16]: both[at + 16 : at + 32] for at in range(0, len(both), 32)}


def _ends(connection: sqlite3.Connection) -> tuple[int | None, int]:
    """The first and the last id in `log`."""
    # Not in one SELECT, which would read all of it.
    (first,) = connection.execute("SELECT min(id) FROM log").fetchone()
    (last,) = connection.execute("SELECT max(id) FROM log").fetchone()
    return first, last or 0
