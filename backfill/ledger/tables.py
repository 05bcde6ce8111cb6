"""What the ledger's tables are asked within one transaction: the same questions for each kind of database.

A statement stands here once: `:name` is a value, `@table` a table. How it is spelled for its database, and how events
are found and put in by the thousand, is each kind's own (`sqlite`, `postgres`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from backfill.ledger.entries import RunInfo, RunRecord, Target
from backfill.records import Refusal

__all__ = ["Ended", "NewRun", "Row", "RunRow", "Store", "Tables", "clean", "moment"]

Answer = TypeVar("Answer")
Row = tuple[Any, ...]

_RUNS: Final = """SELECT base_url, store, runs.target, mapping, folder, release, runs.id, host, pid, started, finished,
    exit_status, summary, accepted, refused, last_accepted FROM @runs AS runs
    JOIN @targets AS targets ON targets.id = runs.target
    WHERE {of} AND {ended} ORDER BY runs.id DESC LIMIT :most"""


class NewRun(NamedTuple):
    """What is written down of a run that begins; `started` is in milliseconds since 1970."""

    target: int
    mapping: str
    folder: str
    release: str
    host: str
    pid: int
    started: int


class Ended(NamedTuple):
    """What is written down of a run that ends; `summary` is JSON."""

    finished: int
    exit_status: int
    summary: str


class RunRow(NamedTuple):
    """A run as the tables hold it; times are in milliseconds since 1970."""

    base_url: str
    store: str
    target: int
    mapping: str
    folder: str
    release: str
    run: int
    host: str
    pid: int
    started: int
    finished: int | None
    exit_status: int | None
    summary: str | None
    accepted: int
    refused: int
    last_accepted: int | None

    def record(self, *, running: bool) -> RunRecord:
        """The run as it is told."""
        return RunRecord(
            run=self.run,
            target=Target(self.base_url, self.store),
            info=RunInfo(self.mapping, self.folder, self.release),
            host=self.host,
            pid=self.pid,
            started=_moment_of(self.started),
            finished=moment(self.finished),
            exit_status=self.exit_status,
            summary=None if self.summary is None else json.loads(self.summary),
            accepted=self.accepted,
            refused=self.refused,
            last_accepted=moment(self.last_accepted),
            running=self.finished is None and running,
        )


class Tables(ABC):
    """The tables, seen from within a transaction. `target` is a target's number."""

    # How many runs there may be, to a database that takes no more than that.
    _ALL: Final = 2**62

    def __init__(self) -> None:
        self._names: dict[str, int] = {}

    def forget(self) -> None:
        """What is in memory may have been rolled back."""
        self._names.clear()

    # Each kind's own

    @abstractmethod
    def rows(self, statement: str, **values: Any) -> list[Row]:
        """The answer to a question."""

    @abstractmethod
    def change(self, statement: str, **values: Any) -> int:
        """How many rows a statement changed."""

    @abstractmethod
    def change_many(self, statement: str, values: Sequence[Mapping[str, Any]]) -> None:
        """The same statement for each of these values."""

    @abstractmethod
    def any_event(self, target: int | None) -> bool:
        """Whether anything was accepted or refused, for the target or for any."""

    @abstractmethod
    def accepted(self, target: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The content digests of those keys that were accepted."""

    @abstractmethod
    def refused(self, target: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The content digests of those keys that were refused."""

    @abstractmethod
    def words(self, target: int, keys: Sequence[bytes]) -> dict[bytes, Refusal]:
        """The API's words for those keys that were refused."""

    @abstractmethod
    def accept(self, target: int, run: int, entries: Mapping[bytes, tuple[bytes, int]]) -> None:
        """Remembers key -> (content, number of the name); none of them may be known."""

    @abstractmethod
    def refuse(self, target: int, refusals: Collection[tuple[bytes, bytes, Refusal]]) -> None:
        """Remembers key, content and the API's words, in place of earlier words."""

    @abstractmethod
    def forgive(self, target: int, keys: Collection[bytes]) -> None:
        """Drops the refusals of those keys."""

    @abstractmethod
    def add_run(self, new: NewRun) -> int | None:
        """The number of a run that begins."""

    @abstractmethod
    def running(self) -> Callable[[RunRow], bool]:
        """Tells whether a run without an end goes on."""

    @abstractmethod
    def check(self) -> None:
        """Reads all of it; raises StorageError for a ledger that is torn."""

    # Targets

    def target(self, target: Target) -> int | None:
        """The target's number."""
        rows = self.rows(
            "SELECT id FROM @targets WHERE base_url = :base_url AND store = :store",
            base_url=target.base_url,
            store=target.store,
        )
        return int(rows[0][0]) if rows else None

    def targets(self) -> list[Target]:
        """All targets, in the order of their first run."""
        return [Target(*row) for row in self.rows("SELECT base_url, store FROM @targets ORDER BY id")]

    # Events

    def any_refused(self, target: int) -> bool:
        """Whether anything was refused and not accepted since."""
        return bool(self.rows("SELECT 1 FROM @refusals WHERE target = :target LIMIT 1", target=target))

    def name(self, name: str) -> int:
        """The number of an event's name, new or not."""
        if number := self._names.get(name):
            return number
        plain = clean(name)
        self.change("INSERT INTO @names (name) VALUES (:name) ON CONFLICT (name) DO NOTHING", name=plain)
        ((found,),) = self.rows("SELECT id FROM @names WHERE name = :name", name=plain)
        self._names[name] = int(found)
        return self._names[name]

    def counts(self, target: int) -> dict[str, int]:
        """How many events of each name were accepted."""
        return dict(
            self.rows(
                "SELECT names.name, accepted FROM @counts AS counts JOIN @names AS names ON names.id = counts.name "
                "WHERE target = :target ORDER BY names.name",
                target=target,
            )
        )

    def refusals(self, target: int) -> int:
        """How many events are refused."""
        return int(self.rows("SELECT count(*) FROM @refusals WHERE target = :target", target=target)[0][0])

    # Runs

    def count(self, target: int, run: int, accepted: int, refused: int, at: int | None) -> int:
        """Adds to what a run recorded; gives how many such runs there are."""
        return self.change(
            """UPDATE @runs SET accepted = accepted + :accepted, refused = refused + :refused,
            first_accepted = coalesce(first_accepted, :at), last_accepted = coalesce(:at, last_accepted)
            WHERE id = :run AND target = :target""",
            accepted=accepted, refused=refused, at=at, run=run, target=target,
        )  # fmt: skip

    def end_run(self, target: int, run: int, ended: Ended) -> int:
        """Writes down a run's end; gives how many such runs there are."""
        return self.change(
            """UPDATE @runs SET finished = :finished, exit_status = :exit_status, summary = :summary
            WHERE id = :run AND target = :target""",
            run=run, target=target, **ended._asdict(),
        )  # fmt: skip

    def runs(self, target: int | None, most: int | None, *, ended: bool = True) -> list[RunRow]:
        """The last runs, newest first, of one target or of all; without `ended` those that have no end."""
        of = "TRUE" if target is None else "runs.target = :target"
        text = _RUNS.format(of=of, ended="TRUE" if ended else "finished IS NULL")
        known = {} if target is None else {"target": target}
        return [RunRow(*row) for row in self.rows(text, most=self._ALL if most is None else most, **known)]

    def moments(self, target: int) -> Row:
        """When the first event was accepted, and the last, in milliseconds since 1970."""
        return self.rows(
            "SELECT min(first_accepted), max(last_accepted) FROM @runs WHERE target = :target", target=target
        )[0]

    # What is known of a mapping

    def identity(self, target: int, mapping: str) -> str | None:
        """What `set_identity` was last given."""
        rows = self.rows(
            "SELECT fingerprint FROM @identities WHERE target = :target AND mapping = :mapping",
            target=target,
            mapping=mapping,
        )
        return str(rows[0][0]) if rows else None

    def identities(self, target: int) -> dict[str, str]:
        """The same of each mapping that the target knows."""
        rows = self.rows(
            "SELECT mapping, fingerprint FROM @identities WHERE target = :target ORDER BY mapping", target=target
        )
        return {str(mapping): str(fingerprint) for mapping, fingerprint in rows}

    def set_identity(self, target: int, mapping: str, fingerprint: str) -> None:
        """Keeps a JSON text, in place of what was kept before."""
        self.change(
            """INSERT INTO @identities (target, mapping, fingerprint) VALUES (:target, :mapping, :fingerprint)
            ON CONFLICT (target, mapping) DO UPDATE SET fingerprint = excluded.fingerprint""",
            target=target, mapping=mapping, fingerprint=fingerprint,
        )  # fmt: skip

    def files(self, target: int, mapping: str) -> dict[str, str]:
        """What `set_files` was last given."""
        text = "SELECT file, record FROM @files WHERE target = :target AND mapping = :mapping"
        return dict(self.rows(text, target=target, mapping=mapping))

    def set_files(self, target: int, mapping: str, records: Mapping[str, str]) -> None:
        """Keeps a JSON text a file, in place of all that was kept before."""
        place = {"target": target, "mapping": mapping}
        self.change("DELETE FROM @files WHERE target = :target AND mapping = :mapping", **place)
        self.change_many(
            "INSERT INTO @files (target, mapping, file, record) VALUES (:target, :mapping, :file, :record)",
            [{**place, "file": file, "record": record} for file, record in records.items()],
        )

    def marks(self, target: int, mapping: str | None) -> list[Row]:
        """The marks of all mappings, or of one: mapping and JSON text."""
        which = "" if mapping is None else "AND mapping = :mapping"
        known = {} if mapping is None else {"mapping": mapping}
        text = f"SELECT mapping, mark FROM @marks WHERE target = :target {which} ORDER BY mapping"  # noqa: S608 (constants)
        return self.rows(text, target=target, **known)

    def set_mark(self, target: int, mapping: str, mark: str) -> None:
        """Keeps a JSON text, in place of what was kept before."""
        self.change(
            """INSERT INTO @marks (target, mapping, mark) VALUES (:target, :mapping, :mark)
            ON CONFLICT (target, mapping) DO UPDATE SET mark = excluded.mark""",
            target=target, mapping=mapping, mark=mark,
        )  # fmt: skip


class Store(Protocol):
    """A database that holds a ledger, open to write (then it holds the lock) or to read."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What there is to warn of where it is."""

    @property
    def place(self) -> str:
        """Where it is, for people."""

    def enter(self, target: Target) -> int:
        """The number of a target, new or not."""

    def reading(self, doing: str, ask: Callable[[Tables], Answer], otherwise: Answer) -> Answer:
        """One snapshot for all that is asked within; `otherwise` when there is no ledger."""

    def writing(self, doing: str, work: Callable[[Tables], Answer]) -> Answer:
        """One transaction: all that is done within is kept when this returns, or none of it.

        `work` may be called again after an attempt that is known to have failed.
        """

    def close(self) -> None:
        """Gives everything back, the lock last."""


def clean(text: str) -> str:
    """The text as a database can hold it."""
    # JSON can spell a lone surrogate, which neither UTF-8 nor SQLite can hold.
    return text.encode("utf-8", "backslashreplace").decode()


def moment(milliseconds: int | None) -> datetime | None:
    """A time as the tables hold it."""
    return None if milliseconds is None else _moment_of(milliseconds)


def _moment_of(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
