"""The tables of a ledger in PostgreSQL, within one transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, Final

import psycopg

from backfill.errors import StorageError
from backfill.ledger.postgres.packed import Packed, pairs_in
from backfill.ledger.postgres.session import LIVE
from backfill.ledger.tables import NewRun, Row, RunRow, Tables
from backfill.records import Refusal

__all__ = ["PostgresTables"]

# A store's own partition goes by name: to find it among thousands takes the planner longer than the look-up.
_FIND: Final = """SELECT string_agg(uuid_send(known.key) || uuid_send(known.content), '')
    FROM unnest(:keys) AS wanted (key) JOIN {table} AS known ON known.key = wanted.key {where}"""
_TAKE: Final = """INSERT INTO @events_{target} (target, name, run, key, content)
    SELECT :target, :name, :run, key, content FROM unnest(:keys, :contents) AS new (key, content)
    ON CONFLICT (key) DO NOTHING"""
_COUNT: Final = """INSERT INTO @counts AS counts (target, name, accepted) VALUES (:target, :name, :accepted)
    ON CONFLICT (target, name) DO UPDATE SET accepted = counts.accepted + excluded.accepted"""
_WORDS: Final = """SELECT uuid_send(known.key), status, title, detail FROM unnest(:keys) AS wanted (key)
    JOIN @refusals AS known ON known.key = wanted.key WHERE target = :target"""
_REFUSE: Final = """INSERT INTO @refusals (target, key, content, status, title, detail)
    SELECT :target, key, content, status, title, detail
    FROM unnest(:keys, :contents, CAST(:statuses AS integer[]), CAST(:titles AS text[]), CAST(:details AS text[]))
    AS new (key, content, status, title, detail)
    ON CONFLICT (target, key) DO UPDATE SET content = excluded.content, status = excluded.status,
    title = excluded.title, detail = excluded.detail"""
_FORGIVE: Final = """DELETE FROM @refusals AS known USING unnest(:keys) AS wanted (key)
    WHERE known.target = :target AND known.key = wanted.key"""
_ADD_RUN: Final = """INSERT INTO @runs (target, mapping, folder, release, host, pid, started)
    VALUES (:target, :mapping, :folder, :release, :host, :pid, :started) RETURNING id"""


class PostgresTables(Tables):
    """The tables on one connection, which a new one may follow."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.connection: psycopg.Connection[Any] | None = None
        self._where = where

    def _execute(self, statement: str, values: Mapping[str, Any]) -> psycopg.Cursor[Row]:
        assert self.connection is not None
        return self.connection.execute(_spelled(statement), _plain(values), binary=True)

    def rows(self, statement: str, **values: Any) -> list[Row]:
        return self._execute(statement, values).fetchall()

    def change(self, statement: str, **values: Any) -> int:
        return self._execute(statement, values).rowcount

    def change_many(self, statement: str, values: Sequence[Mapping[str, Any]]) -> None:
        if values:
            assert self.connection is not None
            with self.connection.cursor() as cursor:
                cursor.executemany(_spelled(statement), [_plain(each) for each in values])

    def any_event(self, target: int | None) -> bool:
        of = "" if target is None else " WHERE target = :target"
        tables = (f"EXISTS (SELECT FROM @{table}{of})" for table in ("counts", "refusals"))
        return bool(self.rows(f"SELECT {' OR '.join(tables)}", **({} if target is None else {"target": target}))[0][0])

    def accepted(self, target: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        if not keys:
            return {}
        text = _FIND.format(table=f"@events_{target:d}", where="")
        return pairs_in(self._execute(text, {"keys": Packed(sorted(keys))}))

    def refused(self, target: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        text = _FIND.format(table="@refusals", where="WHERE target = :target")
        return pairs_in(self._execute(text, {"keys": Packed(keys), "target": target}))

    def words(self, target: int, keys: Sequence[bytes]) -> dict[bytes, Refusal]:
        return {key: Refusal(*words) for key, *words in self._execute(_WORDS, {"keys": Packed(keys), "target": target})}

    def accept(self, target: int, run: int, entries: Mapping[bytes, tuple[bytes, int]]) -> None:
        by_name: dict[int, list[bytes]] = {}
        for key in sorted(entries):
            by_name.setdefault(entries[key][1], []).append(key)
        take = _TAKE.format(target=f"{target:d}")
        # In their order, so that two runs that count the same names can't wait for each other.
        for name, keys in sorted(by_name.items()):
            contents = Packed([entries[key][0] for key in keys])
            values = {"target": target, "name": name, "run": run, "keys": Packed(keys), "contents": contents}
            taken = self.change(take, **values)
            self.change(_COUNT, target=target, name=name, accepted=taken)

    def refuse(self, target: int, refusals: Collection[tuple[bytes, bytes, Refusal]]) -> None:
        if not refusals:
            return
        self.change(
            _REFUSE,
            target=target,
            keys=Packed([key for key, _, _ in refusals]),
            contents=Packed([content for _, content, _ in refusals]),
            statuses=[why.status for _, _, why in refusals],
            titles=[_without_nul(why.title) for _, _, why in refusals],
            details=[_without_nul(why.detail) for _, _, why in refusals],
        )

    def forgive(self, target: int, keys: Collection[bytes]) -> None:
        self.change(_FORGIVE, target=target, keys=Packed(keys))

    def add_run(self, new: NewRun) -> int | None:
        ((run,),) = self.rows(_ADD_RUN, **new._asdict())
        self.change("UPDATE @holders SET run = :run WHERE target = :target", run=run, target=new.target)
        return int(run)

    def running(self) -> Callable[[RunRow], bool]:
        now = {row[1] for row in self.rows(LIVE)}
        return lambda run: run.run in now

    def check(self) -> None:
        """Reads all events, and compares them with what was counted."""
        # The table itself, not only its index.
        self.rows("SELECT set_config('enable_seqscan', 'on', true), set_config('enable_indexonlyscan', 'off', true)")
        for (target,) in self.rows("SELECT id FROM @targets ORDER BY id"):
            ((found,),) = self.rows(f"SELECT count(content) FROM @events_{target:d}")  # noqa: S608 (a number)
            ((counted,),) = self.rows("SELECT sum(accepted)::bigint FROM @counts WHERE target = :target", target=target)
            if found != (counted or 0):
                raise StorageError(
                    f"checking the ledger {self._where}: {found:,} events of target {target} are there, and "
                    f"{counted or 0:,} were counted",
                    hint="Restore the database from a backup. Events keep their ids, so those sent twice are seen "
                    "once, as long as the API remembers them.",
                )


@cache
def _spelled(statement: str) -> bytes:
    """A statement of `Tables` as psycopg takes it; a `::` is a cast."""
    named = re.sub(r"@(\w+)", r"backfill.\1", statement)
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", named).encode()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _without_nul(value) if isinstance(value, str) else value for name, value in values.items()}


def _without_nul(text: str) -> str:
    # The only letter that PostgreSQL can't hold.
    return text.replace("\x00", "\\x00")
