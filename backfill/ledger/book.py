"""The ledger itself: look-ups, records, runs and totals; which database holds them is no matter here."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from backfill.disk import Disk
from backfill.errors import BugError
from backfill.ledger.entries import Entry, RunInfo, RunRecord, Target, Totals
from backfill.ledger.sqlite import SqliteStore
from backfill.ledger.tables import Ended, NewRun, Store, Tables, clean, moment
from backfill.records import Outcome, Refusal

__all__ = ["Ledger"]

# The API's words are cut here: an answer may be 64 KiB, and a wrong mapping can have every event refused.
_WORDS: Final = 2_000

Answer = TypeVar("Answer")


class Ledger:
    """The ledger of a state folder or of a server, seen from one target. Made by `open` or `read`, never directly.

    Any thread may use it, one at a time: a call waits for the one before it. Never use it across a fork.
    """

    def __init__(
        self, folder: Path, target: Target | None, store: Store, now: Callable[[], datetime], *, writes: bool
    ) -> None:
        self.folder = folder
        self.target = target
        self.warnings = store.warnings
        self._store = store
        self._now = now
        self._writes = writes
        self._closed = False
        self._pid = os.getpid()
        self._turn = threading.RLock()
        self._target_id: int | None = None
        self._empty = True
        self._guest = False
        self._url: str | None = None
        self._besides: list[Ledger] = []

    @classmethod
    def open(
        cls,
        folder: Path,
        target: Target | None,
        *,
        url: str | None = None,
        now: Callable[[], datetime] | None = None,
        disk: Disk | None = None,
    ) -> Self:
        """The ledger for a run: made when there is none, locked until `close`; without a target only to be asked for
        those `beside` it.

        It is the file in `folder`, whose lock is that of the folder; or, with `url`, in that PostgreSQL database, whose
        lock is that of the target. Raises LockedError (at once, naming the holder), StorageError, SettingsError (a
        newer release's ledger; a URL that is none).
        """
        plain = None if target is None else target.plain()
        store = _opened(folder, plain, url, disk or Disk())
        with contextlib.ExitStack() as undo:
            undo.callback(store.close)
            ledger = cls(folder, plain, store, now or _utc_now, writes=True)
            ledger._url = url
            if plain is not None:
                ledger._target_id = store.enter(plain)
            undo.pop_all()
        return ledger

    @classmethod
    def read(cls, folder: Path, target: Target | None = None, *, url: str | None = None) -> Self:
        """The ledger to look at, also while a run goes on; empty when there is none; of all targets for None.

        It takes no lock and never holds up a run. Raises StorageError, SettingsError (a newer release's
        ledger; a URL that is none).
        """
        plain = None if target is None else target.plain()
        store: Store
        if url is None:
            store = SqliteStore.read(folder)
        else:
            from backfill.ledger.postgres import read_store

            store = read_store(url)
        with contextlib.ExitStack() as undo:
            undo.callback(store.close)
            ledger = cls(folder, plain, store, _utc_now, writes=False)
            if plain is not None:
                ledger._target_id = store.reading("looking for the target", lambda tables: tables.target(plain), None)
            undo.pop_all()
        return ledger

    def beside(self, target: Target) -> Ledger:
        """The same open ledger, seen from another target. It is of use until this one is closed.

        Raises LockedError where each target has a lock of its own.
        """
        if self._url is not None and self._writes:
            own = type(self).open(self.folder, target, url=self._url, now=self._now)
            self._besides.append(own)
            return own
        other = type(self)(self.folder, target.plain(), self._store, self._now, writes=self._writes)
        other._join(self._turn)  # noqa: SLF001  its own class
        return other

    def _join(self, turn: threading.RLock) -> None:
        """Use what another has open: one connection, so one turn."""
        plain, self._turn, self._guest = self.target, turn, True
        assert plain is not None
        with turn:
            if self._writes:
                self._target_id = self._store.enter(plain)
            else:
                find = "looking for the target"
                self._target_id = self._store.reading(find, lambda tables: tables.target(plain), None)

    @property
    def is_local(self) -> bool:
        """Whether it is a file of this machine, in `folder`."""
        return isinstance(self._store, SqliteStore)

    @property
    def place(self) -> str:
        """Where it is, for people: without what a URL may hold beside that."""
        return self._store.place

    def close(self) -> None:
        """Gives the lock back; a second call does nothing."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
            # In a forked child the connection and the lock are its parent's.
            if os.getpid() == self._pid and not self._guest:
                with contextlib.ExitStack() as each:
                    each.callback(self._store.close)
                    for one in self._besides:
                        each.callback(one.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Events

    def is_empty(self) -> bool:
        """Nothing is known of the target: then every look-up is in vain, and callers skip them."""
        if self._empty:
            of = self._target_id
            if self.target is not None and of is None:
                self._usable()
                return True
            self._empty = not self._read("looking for events", lambda tables: tables.any_event(of), otherwise=False)
        return self._empty

    def look_up(self, keys: Sequence[bytes]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """The content digests of those keys that were accepted, and of those that were refused.

        Ask for some 10,000 at a time: they are found in one step each, without the GIL, at 2 to 5 µs a key, and what
        Python does of it takes 0.5 µs a key.
        """
        nothing: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
        return self._of_target("looking up events", lambda tables, at: _look_up(tables, at, keys), nothing)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """What is known of these events, with the API's words; one that was never recorded is not among the answers."""

        def ask(tables: Tables, target: int) -> dict[bytes, Entry]:
            accepted, refused = _look_up(tables, target, keys)
            words = tables.words(target, list(refused)) if refused else {}
            known = {key: Entry(content, accepted=True) for key, content in accepted.items()}
            return known | {key: Entry(refused[key], accepted=False, refusal=why) for key, why in words.items()}

        return self._of_target("looking up events", ask, {})

    def record(self, outcomes: Sequence[Outcome], run: int, *, asked: bool = False) -> None:
        """Remembers what was accepted and refused, all or nothing; when it returns, a kill -9 can't undo it.

        `asked`: since the ledger was opened the caller was told of each of these events, once each, that it was not
        accepted yet. Then that is not looked up again, which is a third of the time.

        Accepted is final: neither a later refusal nor other content changes it. A refusal gives way to what
        comes later. The API's words are kept up to 2,000 characters each.
        """

        def work(tables: Tables, target: int) -> None:
            accepted, refused = _sorted_out(outcomes, tables)
            if not accepted and not refused:
                return
            known = {} if asked else tables.accepted(target, list(accepted.keys() | refused.keys()))
            new = {key: entry for key, entry in accepted.items() if key not in known} if known else accepted
            words = [
                (key, content, Refusal(why.status, _words(why.title), _words(why.detail)))
                for key, (content, why) in refused.items()
                if key not in known and key not in accepted
            ]
            tables.refuse(target, words)
            if new:
                if tables.any_refused(target):
                    tables.forgive(target, new.keys())
                tables.accept(target, run, new)
            at_time = _milliseconds(self._now()) if accepted else None
            if tables.count(target, run, len(new), len(words), at_time) != 1:
                raise BugError(f"recording outcomes: the ledger knows no run {run} of this target")

        self._write("recording outcomes", work)
        self._empty = self._empty and not any(one.accepted or one.refused for one in outcomes)

    # Runs

    def begin_run(self, info: RunInfo) -> int:
        """Writes down that a run begins, and gives its number.

        Call it before the first request: a disk that is full or read-only shows here.
        """
        words = (clean(info.mapping), clean(info.folder), clean(info.release))
        began = (socket.gethostname(), os.getpid(), _milliseconds(self._now()))
        run = self._write("beginning the run", lambda tables, target: tables.add_run(NewRun(target, *words, *began)))
        if run is None:
            raise BugError("beginning the run: the ledger gave it no number")
        return run

    def end_run(self, run: int, exit_status: int, summary: Mapping[str, Any]) -> None:
        """Writes down how a run ended; `summary` is JSON data without secrets."""
        ended = Ended(_milliseconds(self._now()), exit_status, json.dumps(summary))

        def work(tables: Tables, target: int) -> None:
            if tables.end_run(target, run, ended) != 1:
                raise BugError(f"ending the run: the ledger knows no run {run} of this target")

        self._write("ending the run", work)

    def runs(self, limit: int = 20) -> list[RunRecord]:
        """The last runs, newest first: of the target, or of all when the ledger was read without one.

        A negative limit is none.
        """
        of = self._target_id
        if self.target is not None and of is None:
            self._usable()
            return []
        return self._read("listing runs", lambda tables: _runs(tables, of, None if limit < 0 else limit), [])

    # Totals

    def targets(self) -> list[Target]:
        """All targets that the ledger has seen, in the order of their first run."""
        return self._read("listing targets", lambda tables: tables.targets(), [])

    def totals(self, target: Target | None = None) -> Totals:
        """All that is known of one target: the ledger's own, unless another is named."""
        wanted = target.plain() if target is not None else self.target
        if wanted is None:
            raise BugError("a ledger that was read without a target has no totals of its own: name one")
        nothing = Totals(wanted, {}, 0, None, None, ())

        def ask(tables: Tables) -> Totals:
            known = tables.target(wanted)
            if known is None:
                return nothing
            accepted, refused = tables.counts(known), tables.refusals(known)
            first, last = tables.moments(known)
            unended = tuple(run for run in _runs(tables, known, None, ended=False) if not run.running)
            return Totals(wanted, accepted, refused, moment(first), moment(last), unended)

        return self._read("counting events", ask, nothing)

    # Identity

    def identity(self, mapping: str) -> dict[str, Any] | None:
        """The fingerprint of how `mapping` made its uniqueIds when it last sent to the target, or None."""
        text = self._of_target(
            "reading a mapping's identity", lambda tables, at: tables.identity(at, clean(mapping)), None
        )
        return None if text is None else dict(json.loads(text))

    def identities(self) -> dict[str, dict[str, Any]]:
        """What `identity` would give for each mapping that the target knows, by the mapping."""
        nothing: dict[str, str] = {}
        texts = self._of_target("reading the mappings' identities", lambda tables, at: tables.identities(at), nothing)
        return {name: json.loads(text) for name, text in texts.items()}

    def set_identity(self, mapping: str, fingerprint: Mapping[str, Any]) -> None:
        """Remembers how `mapping` makes its uniqueIds; `fingerprint` is JSON data."""
        name, text = clean(mapping), json.dumps(fingerprint)
        self._write("writing a mapping's identity", lambda tables, at: tables.set_identity(at, name, text))

    # Files

    def files(self, mapping: str) -> dict[str, str]:
        """What `set_files` was last given for the target and `mapping`."""
        nothing: dict[str, str] = {}
        return self._of_target(
            "reading what is known of files", lambda tables, at: tables.files(at, clean(mapping)), nothing
        )

    def set_files(self, mapping: str, records: Mapping[str, str]) -> None:
        """Keeps a JSON text a file for the target and `mapping`, in place of all that was kept before."""
        name, plain = clean(mapping), {clean(file): clean(record) for file, record in records.items()}
        self._write("writing down what is delivered", lambda tables, at: tables.set_files(at, name, plain))

    # Marks

    def mark(self, mapping: str) -> dict[str, Any] | None:
        """Up to where `mapping` has delivered everything to the target, as `set_mark` was last told."""
        return self.marks(mapping=mapping).get(clean(mapping))

    def marks(self, target: Target | None = None, *, mapping: str | None = None) -> dict[str, dict[str, Any]]:
        """The marks of all mappings, or of one, for `target` or the ledger's own."""
        wanted = target or self.target

        def ask(tables: Tables) -> dict[str, dict[str, Any]]:
            known = None if wanted is None else tables.target(wanted.plain())
            if known is None:
                return {}
            found = tables.marks(known, None if mapping is None else clean(mapping))
            return {name: json.loads(mark) for name, mark in found}

        return self._read("reading up to where all is delivered", ask, {})

    def set_mark(self, mapping: str, mark: Mapping[str, Any]) -> None:
        """Remembers up to where `mapping` has delivered everything to the target; `mark` is JSON data."""
        name, text = clean(mapping), json.dumps(mark)
        self._write("writing down up to where all is delivered", lambda tables, at: tables.set_mark(at, name, text))

    def check_integrity(self) -> None:
        """Reads the whole ledger (a file: 0.1 s for 1 M events) and raises StorageError when it is torn."""
        self._read("checking the ledger", lambda tables: tables.check(), None)

    # Within

    def _usable(self) -> None:
        if self._closed:
            raise BugError("the ledger is closed")
        if os.getpid() != self._pid:
            raise BugError("a ledger can't be used across a fork")

    def _read(self, doing: str, ask: Callable[[Tables], Answer], otherwise: Answer) -> Answer:
        """One snapshot for all that is asked within: a run may commit between two questions."""
        with self._turn:
            self._usable()
            return self._store.reading(doing, ask, otherwise)

    def _of_target(self, doing: str, ask: Callable[[Tables, int], Answer], otherwise: Answer) -> Answer:
        """As `_read`, of the ledger's own target."""
        if self.target is None:
            raise BugError("a ledger that was read without a target can't look up events")
        at = self._target_id
        if at is None:
            self._usable()
            return otherwise
        return self._read(doing, lambda tables: ask(tables, at), otherwise)

    def _write(self, doing: str, work: Callable[[Tables, int], Answer]) -> Answer:
        """One transaction: all that is done within is kept, or none of it."""
        with self._turn:
            self._usable()
            at = self._target_id
            if not self._writes or at is None:
                raise BugError(f"{doing}: this ledger was opened to read")
            return self._store.writing(doing, lambda tables: work(tables, at))


def _look_up(tables: Tables, target: int, keys: Sequence[bytes]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    accepted = tables.accepted(target, keys)
    if not keys or not tables.any_refused(target):
        return accepted, {}
    return accepted, tables.refused(target, keys)


def _sorted_out(
    outcomes: Sequence[Outcome], tables: Tables
) -> tuple[dict[bytes, tuple[bytes, int]], dict[bytes, tuple[bytes, Refusal]]]:
    """By key: content and the name's number of what was accepted, content and words of what was refused."""
    accepted: dict[bytes, tuple[bytes, int]] = {}
    refused: dict[bytes, tuple[bytes, Refusal]] = {}
    numbers: dict[str, int] = {}
    for outcome in outcomes:
        keys, contents, names = outcome.events.keys, outcome.events.contents, outcome.events.names
        for index in outcome.accepted:
            if keys[index] not in accepted:
                name = names[index]
                if name not in numbers:
                    numbers[name] = tables.name(name)
                accepted[keys[index]] = (contents[index], numbers[name])
        for index, why in outcome.refused:
            refused[keys[index]] = (contents[index], why)
    return accepted, refused


def _runs(tables: Tables, target: int | None, most: int | None, *, ended: bool = True) -> list[RunRecord]:
    running = tables.running()
    return [row.record(running=running(row)) for row in tables.runs(target, most, ended=ended)]


def _words(text: str) -> str:
    return clean(text if len(text) <= _WORDS else text[: _WORDS - 1] + "…")


def _opened(folder: Path, target: Target | None, url: str | None, disk: Disk) -> Store:
    """The database that a run writes to."""
    if url is None:
        return SqliteStore.open(folder, disk)
    from backfill.ledger.postgres import open_store, read_store

    # A server's lock is a target's: those beside this one have one each.
    return read_store(url) if target is None else open_store(url, folder, target, disk)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
