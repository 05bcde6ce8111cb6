"""Where accepted events are kept: first in the log, later by key; none is lost or counted twice on the way."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from backfill.errors import BugError
from backfill.ledger import LEDGER_FILE, Entry, Ledger, RunInfo, Target, content, key
from backfill.ledger import file as ledger_file
from backfill.ledger.accepted import Accepted
from backfill.records import Outcome, Refusal

Accept = Callable[..., Outcome]

ROOM = 200


def counted(state: Path) -> tuple[int, int]:
    """How many events `events` and `log` hold."""
    with closing(sqlite3.connect(f"{(state / LEDGER_FILE).as_uri()}?mode=ro", uri=True)) as database:
        (events,) = database.execute("SELECT count(*) FROM events").fetchone()
        (logged,) = database.execute("SELECT coalesce(sum(length(entries)) / 32, 0) FROM log").fetchone()
    return events, logged


def small(ledger: Ledger) -> Ledger:
    """With so little room that it is always on the move."""
    ledger._store.tables.recent = Accepted(ROOM)
    return ledger


def test_events_move_from_the_log_to_their_place(state: Path, target: Target, accept: Accept) -> None:
    other = Target(target.base_url, "another")
    chance = random.Random(1)
    ids = [str(number) for number in range(6_000)]
    chance.shuffle(ids)
    for at, start in ((target, 0), (other, 3_000)):
        for first in range(start, start + 3_000, 1_000):
            # Each time by a run of its own, which knows only what the log says.
            with small(Ledger.open(state, at)) as ledger, Ledger.read(state, at) as reader:
                run = ledger.begin_run(RunInfo("m"))
                for begin in range(first, first + 1_000, 100):
                    part = ids[begin : begin + 100]
                    ledger.record([accept(part[:60], "A"), accept(part[60:], "B")], run)
                    for look in (ledger, reader):
                        wanted = [key(one) for one in ids[start : begin + 100]]
                        assert look.look_up([*wanted, key("x")]) == (
                            {key(one): content(one.encode()) for one in ids[start : begin + 100]}, {}
                        )  # fmt: skip
                assert ledger.runs(1)[0].accepted == 1_000
    with Ledger.open(state, target) as ledger:
        ledger.check_integrity()
        assert ledger.totals(target).accepted == {"A": 1_800, "B": 1_200}
        assert ledger.totals(other).accepted == {"A": 1_800, "B": 1_200}
    events, logged = counted(state)
    assert events > 4_000
    assert events + logged >= 6_000
    assert logged < 2_000


def test_what_failed_is_forgotten_also_in_memory(state: Path, target: Target, accept: Accept) -> None:
    with small(Ledger.open(state, target)) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        for begin in range(0, 2_000, 100):
            ids = [str(number) for number in range(begin, begin + 100)]
            with pytest.raises(BugError):
                ledger.record([accept(ids)], 77)
            assert ledger.look_up([key(one) for one in ids]) == ({}, {})
            ledger.record([accept(ids)], run)
            assert len(ledger.look_up([key(str(number)) for number in range(2_000)])[0]) == begin + 100
        assert ledger.totals().accepted == {"Order Placed": 2_000}


def version_1(state: Path) -> None:
    """A ledger as release 0.1.0 left it."""
    state.mkdir(mode=0o700)
    with closing(sqlite3.connect(state / LEDGER_FILE)) as database, database:
        for statement in ledger_file._SCHEMA[0]:
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {ledger_file._APPLICATION_ID}")
        database.execute("PRAGMA user_version = 1")
        database.execute("INSERT INTO targets VALUES (1, 'https://api.example.com', 'store')")
        database.executemany("INSERT INTO names VALUES (?, ?)", [(1, "A"), (2, "B")])
        database.executemany(
            "INSERT INTO events VALUES (1, ?, ?, ?, 1, ?)",
            [(key(one), content(one.encode()), 1 + (one > "b"), one < "d") for one in "abcd"],
        )
        database.execute("INSERT INTO refusals VALUES (1, ?, 400, 'no', 'more')", (key("d"),))
        database.execute("INSERT INTO identities VALUES (1, 'm', '{}')")
    with closing(sqlite3.connect(state / LEDGER_FILE)) as database:
        database.execute("PRAGMA journal_mode = WAL").fetchall()


def test_a_ledger_of_version_1_is_read_as_it_is_and_then_upgraded(state: Path, target: Target, accept: Accept) -> None:
    version_1(state)
    before = (state / LEDGER_FILE).read_bytes()

    def look(ledger: Ledger) -> None:
        assert not ledger.is_empty()
        assert ledger.look_up([key(one) for one in "abcdx"]) == (
            {key(one): content(one.encode()) for one in "abc"}, {key("d"): content(b"d")}
        )  # fmt: skip
        assert ledger.find([key("d")]) == {key("d"): Entry(content(b"d"), False, Refusal(400, "no", "more"))}
        assert ledger.totals().accepted == {"A": 2, "B": 1}
        assert ledger.totals().refused == 1
        assert ledger.files("m") == {}
        assert ledger.identity("m") == {}

    with Ledger.read(state, target) as ledger:
        look(ledger)
    assert (state / LEDGER_FILE).read_bytes() == before
    with Ledger.open(state, target) as ledger:
        look(ledger)
        ledger.record([accept(["d", "e", "a"], "B")], ledger.begin_run(RunInfo("m")))
        assert ledger.totals().accepted == {"A": 2, "B": 3}
        assert ledger.totals().refused == 0
        ledger.check_integrity()


def test_files_are_kept_by_target_and_mapping(state: Path, target: Target) -> None:
    with Ledger.open(state, target) as ledger:
        assert ledger.files("orders") == {}
        ledger.set_files("orders", {"a.csv": "{}", "b \udcff.csv": "[1]"})
        ledger.set_files("returns", {"a.csv": "{}"})
        ledger.set_files("orders", {"b \udcff.csv": "[2]"})
    with Ledger.read(state, target) as ledger:
        assert ledger.files("orders") == {"b \\udcff.csv": "[2]"}
        assert ledger.files("returns") == {"a.csv": "{}"}
    with Ledger.read(state, Target(target.base_url, "another")) as ledger:
        assert ledger.files("orders") == {}
