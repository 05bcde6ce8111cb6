"""What the page knows of the events: an index that follows the store by seq, built when somebody looks.

It is no part of the store: an event that arrives costs no more for it, and the file of an earlier run needs
nothing new. It lives in a database of its own that ends with the process (SQLite keeps what does not fit into
memory in a temporary file without a name), so that a question to it keeps no request of the API waiting.

Who is who: the reference says that a customer's id wins over the email, and that over the phone number; that a customer
who matches nobody is created; and that profile fields are patches, in which an omitted value erases nothing. What it
does not say is decided here: patches apply in order of arrival; an identifier that comes with a customer who lacks it
is theirs from then on, unless it is somebody else's already.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Any

import orjson

from backfill.sandbox.judge import Json
from backfill.sandbox.kept import StoreError
from backfill.sandbox.store import Store

# As many as take some hundredths of a second: a question waits for no longer than that.
_CHUNK = 500
# Keys of `data` whose unset values are counted one by one; of more than that nobody reads the list.
_MAX_UNSET = 2000
# Sums of so many names and currencies are kept apart; names beyond them share theirs.
_MAX_WORTH = 5000

_SCHEMA = """
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
CREATE TABLE seen (seq INTEGER PRIMARY KEY, ms INTEGER, store INTEGER, name INTEGER, who INTEGER);
CREATE INDEX seen_by_customer ON seen (who, ms);
CREATE INDEX seen_by_name ON seen (name);
CREATE TABLE dropped (
    seq INTEGER PRIMARY KEY, at REAL, store INTEGER, name INTEGER, who INTEGER, differs INTEGER, first INTEGER
);
CREATE INDEX dropped_by_customer ON dropped (who);
CREATE INDEX dropped_by_first ON dropped (first);
CREATE TABLE known (key TEXT PRIMARY KEY, who INTEGER) WITHOUT ROWID;
CREATE TABLE customer (
    who INTEGER PRIMARY KEY, store INTEGER, id TEXT, email TEXT, phone TEXT, first TEXT, last TEXT,
    events INTEGER, newest INTEGER, words TEXT
);
CREATE INDEX newest_customer ON customer (newest DESC, who);
CREATE TABLE days (store INTEGER, name INTEGER, day INTEGER, n INTEGER, PRIMARY KEY (store, name, day)) WITHOUT ROWID;
CREATE TABLE totals (store INTEGER, name INTEGER, kind INTEGER, n INTEGER, PRIMARY KEY (store, name, kind))
    WITHOUT ROWID;
"""
_DAY_MS = 86_400_000
# Where SQLite makes text of JSON, a NUL would end it: in the index its picture stands for it.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")

_UNITS = 10_000
_MOST = 1e11
# As wide as doubles are.
_WIDE = Context(prec=400)


@dataclass(slots=True)
class Worth:
    """A sum of decimals, as which doubles are read: of money's four places at most, and of what has more."""

    units: int = 0
    rest: Decimal = Decimal(0)
    events: int = 0

    def count(self, value: float) -> None:
        """One event's value."""
        units = round(value * _UNITS) if abs(value) < _MOST else 0
        if units / _UNITS == value:
            self.units += units
        else:
            self.rest = _WIDE.add(self.rest, Decimal(repr(value)))
        self.events += 1

    def add(self, other: Worth) -> None:
        """Another sum."""
        self.units += other.units
        self.rest = _WIDE.add(self.rest, other.rest)
        self.events += other.events

    def __str__(self) -> str:
        whole = _WIDE.quantize(_WIDE.add(Decimal(self.units) / _UNITS, self.rest), Decimal("0.0001"))
        cents = _WIDE.quantize(whole, Decimal("0.01"))
        return f"{cents if whole == cents else whole.normalize(_WIDE):f}"


Row = tuple[Any, ...]
# Numbers of store and name, the key in `data`, the value as JSON.
Unset = tuple[int, int, str, str]


class Index:
    """The index; safe to use from any thread. Its answers are as old as its last step."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # One connection under one lock: a step is short, and so is a question.
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._resets = 0
        self.seq = 0
        self._clear()

    def close(self) -> None:
        """Give the memory back; a later step begins anew."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._clear()

    def step(self) -> bool:
        """Take in some of the events that are new; whether there are more. Raises StoreError."""
        with self._lock:
            resets, text = self._store.outline(self.seq, _CHUNK)
            if resets != self._resets:
                self.close()
                self._resets = resets
                return True
            if "\\u0000" in text:
                text = _NUL.sub(r"\1\\u2400", text)
            rows: list[list[Any]] = orjson.loads(text)
            if rows:
                try:
                    with self._open() as db:  # one transaction
                        _Chunk(self, db).add(rows)
                except sqlite3.Error as error:
                    self.close()
                    raise _unusable(error) from error
                self.seq = rows[-1][0]
            return len(rows) == _CHUNK

    def still(self) -> AbstractContextManager[object]:
        """While entered, the index takes no step: several questions get answers of one moment, and wait but once."""
        return self._lock

    def ask(self, sql: str, *parameters: object) -> list[Row]:
        """The answer to a question in SQL. Raises StoreError."""
        with self._lock:
            try:
                return self._open().execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise _unusable(error) from error

    def number_of(self, table: dict[str, int], text: str) -> int:
        """The number of a name or store, from 1 in order of arrival."""
        return table.setdefault(text, len(table) + 1)

    @property
    def mark(self) -> tuple[int, int]:
        """Differs whenever an answer may differ."""
        return self._resets, self.seq

    def _clear(self) -> None:
        self._db = None
        self.seq = 0
        self.names: dict[str, int] = {}
        self.stores: dict[str, int] = {}
        # By the number of their store; and values of `data` that count as unset: how many, and the seq of one.
        self.customers: Counter[int] = Counter()
        self.unset: dict[Unset, list[int]] = {}
        # By the numbers of store and name, and the currency ("" for none).
        self.worth: dict[tuple[int, int, str], Worth] = {}

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = sqlite3.connect("", check_same_thread=False)
            self._db.executescript(_SCHEMA)
        return self._db


class _Chunk:
    """Some events on their way in. Rows go in and out as JSON, so that a statement takes them all at once."""

    def __init__(self, index: Index, db: sqlite3.Connection) -> None:
        self._index = index
        self._db = db
        self._known: dict[str, int] = {}
        self._customers: dict[int, list[Any]] = {}
        self._new_keys: dict[str, int] = {}
        self._seen: list[Row] = []
        self._dropped: list[Row] = []
        self._days: Counter[tuple[int, int, int]] = Counter()
        self._totals: Counter[tuple[int, int, int]] = Counter()

    def add(self, rows: list[list[Any]]) -> None:
        """Take them in."""
        index = self._index
        for row in rows:
            row[2] = index.number_of(index.stores, row[2])
            row[3] = index.number_of(index.names, row[3])
        keys = [_keys(row[2], row[6]) for row in rows]
        self._load(keys)
        for row, theirs in zip(rows, keys, strict=True):
            self._take(theirs, *row)
        put = self._put
        put("INSERT INTO seen", self._seen, 5)
        put("INSERT INTO dropped", self._dropped, 7)
        put("INSERT INTO known", list(self._new_keys.items()), 2)
        put("INSERT OR REPLACE INTO customer", list(map(_with_words, self._customers.values())), 10)
        adding = "ON CONFLICT DO UPDATE SET n = n + excluded.n"
        put("INSERT INTO days", [[*key, n] for key, n in self._days.items()], 4, adding)
        put("INSERT INTO totals", [[*key, n] for key, n in self._totals.items()], 4, adding)

    def _take(
        self, keys: list[str], seq: int, at: float, store: int, name: int, kind: int, first: int | None,
        said: list[Any], unset: list[tuple[str, Json]] | None,
    ) -> None:  # fmt: skip
        stamp, *identity, value, currency = said
        self._totals[store, name, kind] += 1
        who = next((self._known[key] for key in keys if key in self._known), None)
        if kind:
            self._dropped.append((seq, at, store, name, who, kind - 1, first))
            return
        who = self._known_by(who, store, keys)
        ms = _milliseconds(stamp, at)
        self._seen.append((seq, ms, store, name, who))
        self._days[store, name, ms // _DAY_MS] += 1
        if value is not None:
            self._count_value(store, name, currency or "", value)
        customer = self._customers[who]
        for place, value in enumerate(identity, 2):
            if value is not None:
                customer[place] = value
        customer[7] += 1
        customer[8] = max(customer[8], ms)
        for key, value in unset or ():
            self._count_unset(seq, store, name, key, value)

    def _known_by(self, who: int | None, store: int, keys: list[str]) -> int:
        """The customer, or a new one; whoever it is has these keys from now on."""
        if who is None:
            who = self._index.customers.total() + 1
            self._index.customers[store] += 1
            self._customers[who] = [who, store, None, None, None, None, None, 0, -(2**62)]
        for key in keys:
            if key not in self._known:
                self._known[key] = self._new_keys[key] = who
        return who

    def _count_unset(self, seq: int, store: int, name: int, key: str, value: Json) -> None:
        counted = self._index.unset
        what = (store, name, key[:200], "null" if value is None else '""' if value == "" else "0")
        if what not in counted and len(counted) >= _MAX_UNSET:
            what = (store, name, "(other keys)", "")
        counted.setdefault(what, [0, seq])[0] += 1

    def _count_value(self, store: int, name: int, currency: str, value: float) -> None:
        worth = self._index.worth
        what = (store, name, currency)
        if what not in worth and len(worth) >= _MAX_WORTH:
            what = (store, 0, currency)
        worth.setdefault(what, Worth()).count(value)

    def _load(self, keys: list[list[str]]) -> None:
        """What is known of the customers who have these keys."""
        found = self._get("key, who", "known", "key", list({key for theirs in keys for key in theirs}))
        self._known = dict(found)
        whos = list(set(self._known.values()))
        columns = "who, store, id, email, phone, first, last, events, newest"
        self._customers = {row[0]: row for row in self._get(columns, "customer", "who", whos)}

    def _get(self, columns: str, table: str, key: str, values: list[Any]) -> list[Any]:
        sql = f"SELECT json_group_array(json_array({columns})) FROM {table} WHERE {key} IN (SELECT value FROM json_each(?))"  # noqa: S608, E501 - constants
        (text,) = self._db.execute(sql, (orjson.dumps(values).decode(),)).fetchone()
        rows: list[Any] = orjson.loads(text)
        return rows

    def _put(self, into: str, rows: list[Any], width: int, then: str = "") -> None:
        if rows:
            columns = ", ".join(f"json_extract(value, '$[{i}]')" for i in range(width))
            sql = f"{into} SELECT {columns} FROM json_each(?) WHERE true {then}"  # noqa: S608 - constants
            self._db.execute(sql, (orjson.dumps(rows).decode(),))


def _keys(store: int, said: list[str | None]) -> list[str]:
    """What a customer is found by, the strongest first."""
    return [f"{store}{kind}{text}" for kind, text in zip("iep", said[1:4], strict=True) if text is not None]


def _with_words(customer: list[Any]) -> list[Any]:
    identity = customer[2:7]
    return [*customer, " ".join(text for text in identity if text).casefold()]


def _milliseconds(stamp: str | None, at: float) -> int:
    """An event's time since 1970; where it has none, or one that no clock shows, that of its arrival."""
    if stamp is not None:
        try:
            moment = datetime.fromisoformat(stamp)
        except ValueError:
            # "t" and "z" are allowed, and so is a leap second.
            try:
                moment = datetime.fromisoformat(stamp.upper().replace(":60", ":59"))
            except ValueError:
                return round(at * 1000)
        return round(moment.timestamp() * 1000)
    return round(at * 1000)


def _unusable(error: sqlite3.Error) -> StoreError:
    return StoreError(f"the page's index cannot be kept: {error}; SQLITE_TMPDIR names a folder with more room")
